package systemd

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// socket is a machine of which only systemd's socket is there: serve is what answers.
type socket struct {
	host.Reader
	serve func(conn net.Conn)
	dials int

	mu   sync.Mutex
	kept []io.Closer
}

func (s *socket) Dial(context.Context, string, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	s.dials++
	go func() {
		defer theirs.Close()
		s.serve(theirs)
	}()
	return ours, nil
}

func (s *socket) Keep(_ any, c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, c)
}

func (s *socket) Kept(any) io.Closer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 {
		return nil
	}
	c := s.kept[0]
	s.kept = s.kept[1:]
	return c
}

func (s *socket) Release() {}

// letIn is the beginning of a conversation as systemd holds it: what comes together with BEGIN is left lying.
func letIn(conn net.Conn) {
	var said []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(said, []byte("BEGIN\r\n")) {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		said = append(said, buf[:n]...)
	}
	if bytes.HasPrefix(said, []byte("\x00AUTH EXTERNAL 30\r\n")) {
		_, _ = io.WriteString(conn, "OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n")
	} else {
		_, _ = io.WriteString(conn, "REJECTED EXTERNAL\r\n")
	}
}

// reply is a reply to a call, of a body that is encoded already.
func reply(kind byte, to uint32, signature string, body encoder) []byte {
	e := encoder{'l', kind, 0, 1}
	e.number(uint32(len(body)))
	e.number(7) // its own serial
	fields := encoder{fieldReplySerial, 1, 'u', 0}
	fields.number(to)
	fields = append(fields, fieldSignature, 1, 'g', 0, byte(len(signature)))
	fields = append(append(fields, signature...), 0)
	e.number(uint32(len(fields)))
	e = append(e, fields...)
	e.align(8)
	return append(e, body...)
}

// aUnit is the properties of a unit that runs.
func aUnit() encoder {
	var entries encoder
	for _, p := range [][2]string{{"LoadState", "loaded"}, {"ActiveState", "active"}} {
		entries.align(8)
		entries.text(p[0])
		entries = append(entries, 1, 's', 0)
		entries.text(p[1])
	}
	// A{sv} with what is passed over: ConditionTimestamp, (ba(sv)), and an empty array of structs.
	entries.align(8)
	entries.text("Other")
	entries = append(append(entries, 8), "(ba(sv))\x00"...)
	entries.align(8)
	entries.number(1)
	entries.number(0)
	entries.align(8)
	var body encoder
	body.number(uint32(len(entries)))
	body.align(8)
	return append(body, entries...)
}

// answers are the replies to the two calls that a look makes.
func answers(call int) []byte {
	if call%2 == 1 {
		var path encoder
		path.text("/org/freedesktop/systemd1/unit/x")
		return reply(methodReturn, uint32(call), "o", path)
	}
	return reply(methodReturn, uint32(call), "a{sv}", aUnit())
}

// systemd answers so many calls, each with what answers gives.
func systemd(calls int, answers func(call int) []byte) func(conn net.Conn) {
	return func(conn net.Conn) {
		letIn(conn)
		for call := 1; call <= calls; call++ {
			if _, err := conn.Read(make([]byte, 4096)); err != nil {
				return
			}
			if _, err := conn.Write(answers(call)); err != nil {
				return
			}
		}
	}
}

func TestAsk(t *testing.T) {
	s := &socket{serve: systemd(4, func(call int) []byte {
		signal := reply(4, 0, "s", encoder{0, 0, 0, 0, 0}) // which is passed over, as is an answer to another call
		return slices.Concat(signal, reply(methodReturn, 99, "", nil), answers(call))
	})}
	for range 5 { // two calls each, so that a connection serves two looks, and is gone at the third
		u, err := show(t.Context(), s, "x.service")
		if err != nil || !u.running() || u.name != "x.service" {
			t.Fatalf("got %+v, %v", u, err)
		}
	}
	if s.dials != 3 {
		t.Errorf("5 looks took %d connections, want 3", s.dials)
	}
}

func TestAnswerIsAnError(t *testing.T) {
	var text encoder
	text.text("Unit name x is not valid.")
	s := &socket{serve: systemd(2, func(call int) []byte { return reply(errorReply, uint32(call), "s", text) })}
	for range 2 {
		_, err := show(t.Context(), s, "x")
		if err == nil || err.Error() != "asking systemd about x: Unit name x is not valid." {
			t.Errorf("got the error %v", err)
		}
	}
	if s.dials != 1 {
		t.Errorf("2 looks took %d connections, want 1", s.dials)
	}
}

// What is cut off anywhere is an error, or asked again.
func TestAnswerCutOff(t *testing.T) {
	for cut := range len(answers(2)) {
		s := &socket{serve: systemd(2, func(call int) []byte {
			if call == 2 {
				return answers(call)[:cut]
			}
			return answers(call)
		})}
		if _, err := show(t.Context(), s, "x.service"); err == nil || s.dials != 2 {
			t.Errorf("cut off at %d: got the error %v after %d connections, want one after 2", cut, err, s.dials)
		}
	}
}

// A machine may be hostile, or not answer: a look ends, and holds little.
func TestHostileBus(t *testing.T) {
	endless := func(conn net.Conn, piece []byte) {
		for _, err := conn.Write(piece); err == nil; _, err = conn.Write(piece) {
		}
	}
	second := func(answer []byte) func(net.Conn) {
		return systemd(2, func(call int) []byte {
			if call == 2 {
				return answer
			}
			return answers(call)
		})
	}
	const slow, malformed = "context deadline exceeded", "its answer is no message of D-Bus"
	long := func(n uint32) (e encoder) { e.number(n); e.align(8); return e }
	for name, x := range map[string]struct {
		serve func(net.Conn)
		want  string
	}{
		"silent":            {func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, slow},
		"silent afterwards": {func(conn net.Conn) { letIn(conn); _, _ = io.Copy(io.Discard, conn) }, slow},
		"does not read":     {func(conn net.Conn) { letIn(conn); time.Sleep(3 * time.Second) }, slow},
		"gone":              {func(net.Conn) {}, "closed pipe"},
		"gone afterwards":   {letIn, "closed pipe"},
		"rejects":           {func(conn net.Conn) { _, _ = conn.Read(make([]byte, 4096)); _, _ = io.WriteString(conn, "REJECTED\r\n") }, "did not let us in"},
		"a line without end": {func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 4096))
			endless(conn, bytes.Repeat([]byte("x"), 4096))
		}, "buffer full"},
		"a long message": {second([]byte{'l', 2, 0, 1, 0, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0, 0}), malformed}, // of 112 MiB
		"long fields":    {second([]byte{'l', 2, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255}), malformed},
		"no message":     {second(bytes.Repeat([]byte("x"), 64)), malformed},
		"another type":   {second(reply(methodReturn, 2, "s", aUnit())), malformed},
		"a long array":   {second(reply(methodReturn, 2, "a{sv}", long(1<<31))), malformed},
		"an empty unit":  {second(reply(methodReturn, 2, "a{sv}", long(0))), malformed},
		"calls without end": {func(conn net.Conn) {
			letIn(conn)
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			endless(conn, reply(methodCall, 0, "", nil))
		}, slow},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			if x.want != slow {
				ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
			}
			defer cancel()
			_, err := show(ctx, &socket{serve: x.serve}, "x.service")
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("got the error %v, want one with %q", err, x.want)
			}
		})
	}
}

// FuzzMessage reads what may come from a hostile machine.
func FuzzMessage(f *testing.F) {
	f.Add(answers(1))
	f.Add(answers(2))
	f.Add(reply(errorReply, 1, "s", encoder{255, 255, 255, 255}))
	f.Add([]byte{'B', 2, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8, 6, 1, 'a', '(', 'v', ')', 0, 0})
	f.Fuzz(func(t *testing.T, sent []byte) {
		m, err := readMessage(bufio.NewReader(bytes.NewReader(sent)))
		if err != nil {
			return
		}
		total := 0
		m.body.array(func(entry *decoder) {
			total += len(entry.text())
			if text, ok := entry.value(entry.signature()).(string); ok {
				total += len(text)
			}
		})
		if total > len(sent) {
			t.Errorf("%d bytes of text in a message of %d", total, len(sent))
		}
	})
}
