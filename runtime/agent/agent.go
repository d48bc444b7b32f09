// Package agent is what answers pgrun on a machine, and pgrun's end of the conversation with it.
//
// An agent reads requests from its standard input and writes replies to its standard output. It
// runs in three ways, all of them this code: as the small static program cmd/pgrun-agent, which a
// transport pushes to a machine; as pgrun itself, started with the hidden argument "agent" where no
// small agent was built in (Main serves both); and inside pgrun, for the local transport (Serve).
//
// # The conversation
//
// The agent begins with eight bytes, "\x00pgrun1\n", so that a client knows at once whether it has
// reached an agent or a shell's error message. After that both sides send frames: a length, a stream
// number, a kind and a payload (frame.go). The first is the agent's hello.
//
// A client opens a stream with a request, the agent ends it with a reply, and up to MaxCalls streams
// are open at once. Heads (requests and replies) are JSON, bodies are raw bytes in data frames: a
// file's content, a command's input and output, a connection's bytes. Whatever the length of a body
// is not bounded by its nature (uploads, a command's input, both ways of a connection) needs credit
// from the receiver, so that a slow stream holds up no other.
//
// # Bounds
//
// Neither side can make the other use memory without bound:
//
//   - a head is maxHead (1 MiB) at most, a data frame maxData (64 KiB); longer is a broken link;
//   - a stream with credit buffers window (512 KiB) at most at its receiver;
//   - a reply's body is bounded by what was asked for: host.MaxRead (16 MiB) for a file or a
//     directory, twice host.MaxOutput (2 MiB) for a command, nothing for the rest;
//   - the agent holds twice MaxCalls (512) streams at most, and lists directories of up to
//     maxEntries (100 000) names;
//   - an error's text is maxErrorText (64 KiB) at most, and queued (16) frames wait at a client
//     to be written;
//   - a cancelled call is answered within cancelLimit (30 s), or the link is broken.
//
// # What stays behind
//
// Nothing. A command runs in a process group of its own; the group ends when its call is cancelled
// and when the client goes away: SIGTERM, and SIGKILL for those that are left two seconds later. If the agent itself is killed, the kernel kills its direct children
// (PDEATHSIG), and the next agent on the machine reads the journal of the dead one (journal.go),
// kills what is left of its groups and removes its temporary files.
//
// # Reading only
//
// An agent started with --read-only refuses every operation that writes, and every command that
// neither has one of the forms in Looks nor carries a playbook author's promise that it only reads.
// It keeps no journal and sweeps none: should it be killed, the kernel kills the commands that it looks with, but
// not what those have started.
package agent
