// Package host says what pgrun can do with a machine once it is reached, whatever the
// transport: Incus, local, or one to come.
//
// There are two halves. A Reader only looks: it stats, reads, lists, hashes and runs commands
// that are known to change nothing. A Host can do all that and write. A builtin's Check is given
// a Reader; only its Apply is given a Host, and under --check no Host is ever made: the agent
// session behind the Reader was opened read-only and refuses every write by itself. So a builtin
// with a bug fails loudly in a dry run instead of changing the machine.
package host

import (
	"context"
	"io"
	"io/fs"
	"net"
	"strings"
	"time"
)

// MaxRead bounds ReadFile; a larger file is an error, not a truncated answer.
const MaxRead = 16 << 20

// MaxOutput bounds each of a command's two output streams. What exceeds it is dropped from the
// middle and counted in Output.Dropped; the command itself goes on.
const MaxOutput = 1 << 20

// Reader looks at one machine and cannot change it. Its methods are safe for concurrent use, obey
// the context's deadline and return fs.ErrNotExist (wrapped) for a path that is not there.
type Reader interface {
	// Name is the host's name in the inventory.
	Name() string

	// Stat describes path without following a final symbolic link.
	Stat(ctx context.Context, path string) (Info, error)

	// ReadFile returns a regular file's content, MaxRead bytes at most.
	ReadFile(ctx context.Context, path string) ([]byte, error)

	// ReadDir lists a directory in the order of names.
	ReadDir(ctx context.Context, path string) ([]Info, error)

	// Hash returns the SHA-256 of a regular file, in lower-case hexadecimal.
	Hash(ctx context.Context, path string) (string, error)

	// Look runs a command that only reads. It must have one of the forms in the table of looks
	// (agent.Looks), unless c.Reads carries a playbook author's promise that it only reads. A non-zero exit
	// code is not an error: it is in the Output.
	Look(ctx context.Context, c Command) (Output, error)

	// Facts describes the machine.
	Facts(ctx context.Context) (Facts, error)

	// Dial connects from inside the machine: network is "tcp" or "unix". For "unix", user
	// names whose identity the connection carries, for peer authentication; empty is root.
	Dial(ctx context.Context, network, address, user string) (net.Conn, error)
}

// Keeper is what a Reader can be, too: it keeps what a look has opened on the machine, such as a connection to a
// server, for the next look. All that is kept is closed before the machine is changed, when nobody takes it
// in time, and with the session.
type Keeper interface {
	// Keep hands over something under a key, by which others of its kind find it, for so long.
	Keep(key any, open io.Closer, limit time.Duration)

	// Kept takes one back, of the first of the keys that has one; nil where none is kept, nor about to be by a look that has it. It may
	// have broken meanwhile.
	Kept(keys ...any) io.Closer

	// Release closes all that is kept.
	Release()
}

// Host can also write. Every write is atomic for a reader on the machine: a file is replaced by
// rename, never seen half-written. Paths are absolute and hold no "..".
type Host interface {
	Reader

	// WriteFile puts content at path through a temporary file in the same directory, with its
	// owner and mode set before it gets its name. The directory must exist. A symbolic link at
	// path is replaced, not followed.
	WriteFile(ctx context.Context, path string, content io.Reader, a Attributes) error

	// Mkdir makes one directory; that it exists already is fs.ErrExist.
	Mkdir(ctx context.Context, path string, a Attributes) error

	// Symlink makes path a symbolic link to target, replacing a link or file that is there.
	Symlink(ctx context.Context, target, path string) error

	// SetAttributes changes those of owner, group and mode that are set in a.
	SetAttributes(ctx context.Context, path string, a Attributes) error

	// Remove deletes a file, link or empty directory, with all below it when recursive. A path
	// that is not there is no error.
	Remove(ctx context.Context, path string, recursive bool) error

	// Run runs a command. It and every process it started in its process group end when ctx does.
	// A non-zero exit code is not an error: it is in the Output.
	Run(ctx context.Context, c Command) (Output, error)
}

// Info describes a file.
type Info struct {
	Name    string      `json:"name"` // base name
	Mode    fs.FileMode `json:"mode"` // type and permission bits, setuid, setgid and sticky included
	Size    int64       `json:"size"`
	ModTime time.Time   `json:"mtime"`
	Owner   string      `json:"owner"` // user name, or the number where it has none
	Group   string      `json:"group"`
	Target  string      `json:"target,omitempty"` // of a symbolic link
}

// Attributes are what a file has besides its content. Empty strings and a nil Mode leave what is
// there; on a new file they mean root, root and 0644 (0755 for a directory).
type Attributes struct {
	Owner string       `json:"owner,omitempty"` // user name or number
	Group string       `json:"group,omitempty"`
	Mode  *fs.FileMode `json:"mode,omitempty"` // permission bits, setuid, setgid, sticky

	// Durable has the content on disk before its name is: for what nobody can make again, should the power fail.
	Durable bool `json:"durable,omitempty"`
}

// Command is a program to run, without a shell.
type Command struct {
	Argv []string `json:"argv"`

	// User runs it as that user, with its groups and home; empty is root.
	User string `json:"user,omitempty"`

	// Dir is the working directory; empty is the user's home, or /.
	Dir string `json:"dir,omitempty"`

	// Env adds to a small fixed environment (PATH, HOME, LANG=C.UTF-8). It shows in the process
	// list: a secret goes through Stdin or a file.
	Env map[string]string `json:"env,omitempty"`

	// Stdin is what the command reads. It never shows in a process list or a log.
	Stdin []byte `json:"-"`

	// Reads says that a playbook's author promised that the command changes nothing.
	Reads bool `json:"reads,omitempty"`
}

// String is the command as one would type it, for messages.
func (c Command) String() string {
	words := make([]string, len(c.Argv))
	for i, w := range c.Argv {
		words[i] = Quote(w)
	}
	return strings.Join(words, " ")
}

// Quote makes a word safe for a POSIX shell, and leaves it as it is where it already is.
func Quote(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Output is what a command left behind.
type Output struct {
	RC      int    // exit code, or 128 + the signal that ended it
	Stdout  string // MaxOutput bytes at most
	Stderr  string
	Dropped int64 // bytes of both that did not fit
}

// Facts describe a machine.
type Facts struct {
	Hostname     string   `json:"hostname" star:"hostname" doc:"Host name, without the domain."`
	OS           string   `json:"os" star:"os" doc:"ID of os-release: debian, ubuntu, ..."`
	OSVersion    string   `json:"os_version" star:"os_version" doc:"VERSION_ID of os-release: 13, 24.04, ..."`
	Codename     string   `json:"codename" star:"codename" doc:"VERSION_CODENAME of os-release: trixie, noble, ..."`
	Architecture string   `json:"architecture" star:"architecture" doc:"The distribution's word for the processor: amd64, arm64, ..."`
	Kernel       string   `json:"kernel" star:"kernel" doc:"Kernel release."`
	CPUs         int      `json:"cpus" star:"cpus" doc:"Processors that the machine may use."`
	Memory       int64    `json:"memory" star:"memory" doc:"Bytes of memory that the machine may use: a container's own limit, not the host's."`
	Init         string   `json:"init" star:"init" doc:"Name of process 1: systemd, ..."`
	Addresses    []string `json:"addresses" star:"addresses" doc:"Global addresses, IPv4 first."`
}
