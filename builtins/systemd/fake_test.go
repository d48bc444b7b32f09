package systemd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// socket is a machine of which only systemd's socket is there: serve is what answers.
type socket struct {
	host.Reader
	serve  func(conn net.Conn)
	refuse func(address string) error // may be nil
	init   string                     // the name of process 1
	dials  int

	mu   sync.Mutex
	kept []io.Closer
}

func (s *socket) Dial(_ context.Context, _, address, _ string) (net.Conn, error) {
	s.dials++
	if s.refuse != nil {
		if err := s.refuse(address); err != nil {
			return nil, err
		}
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		s.serve(theirs)
	}()
	return ours, nil
}

func (s *socket) Facts(context.Context) (host.Facts, error) { return host.Facts{Init: s.init}, nil }

func (s *socket) Keep(_ any, c io.Closer, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, c)
}

func (s *socket) Kept(...any) io.Closer {
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
	if bytes.HasPrefix(said, []byte("\x00AUTH EXTERNAL\r\nDATA\r\n")) { // with no identity but the kernel's
		_, _ = io.WriteString(conn, "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n")
	} else {
		_, _ = io.WriteString(conn, "REJECTED EXTERNAL\r\n")
	}
}

// call is one that systemd got.
type call struct {
	serial uint32
	member string
	text   string // all of it
}

func readCall(in *bufio.Reader) (call, error) {
	head, err := in.Peek(12)
	if err != nil {
		return call{}, err
	}
	c := call{serial: binary.LittleEndian.Uint32(head[8:])}
	m, err := readMessage(in)
	if err != nil {
		return call{}, err
	}
	c.member = m.fields[fieldMember]
	c.text = fmt.Sprintf("%s %s %s.%s", m.fields[fieldDestination], m.fields[fieldPath], m.fields[fieldInterface], c.member)
	for signature := m.fields[fieldSignature]; signature != ""; {
		if rest, ok := strings.CutPrefix(signature, "as"); ok {
			c.text += fmt.Sprintf(" %q", m.body.texts())
			signature = rest
		} else {
			c.text += fmt.Sprintf(" %q", m.body.value(signature[:1]))
			signature = signature[1:]
		}
	}
	if m.kind != methodCall || m.body.err != nil || len(m.body.rest) > 0 {
		return call{}, fmt.Errorf("no call: %+v", m)
	}
	return c, nil
}

// systemd answers calls with what answer gives, and hangs up where that is nothing.
func systemd(answer func(c call) []byte) func(conn net.Conn) {
	return func(conn net.Conn) {
		letIn(conn)
		for in := bufio.NewReader(conn); ; {
			c, err := readCall(in)
			if err != nil {
				return
			}
			said := answer(c)
			if said == nil {
				return
			}
			if _, err := conn.Write(said); err != nil {
				return
			}
		}
	}
}

// instead is systemd with another answer to the calls of a member.
func instead(member string, answer func(c call) []byte) func(conn net.Conn) {
	return systemd(func(c call) []byte {
		if c.member == member {
			return answer(c)
		}
		return answers(c)
	})
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
	if kind == errorReply {
		fields.align(8)
		fields = append(fields, fieldErrorName, 1, 's', 0)
		fields.text("org.freedesktop.DBus.Error.Failed")
	}
	e.number(uint32(len(fields)))
	e = append(e, fields...)
	e.align(8)
	return append(e, body...)
}

// array is an array whose elements are aligned at 8.
func array(elements encoder) (body encoder) {
	body.number(uint32(len(elements)))
	body.align(8)
	return append(body, elements...)
}

func text(s string) (e encoder) {
	e.text(s)
	return e
}

// aUnit is the properties of a unit that runs, and more of them.
func aUnit(more ...[2]string) encoder {
	var entries encoder
	for _, p := range append([][2]string{{"LoadState", "loaded"}, {"ActiveState", "active"}, {"Id", "x.service"}}, more...) {
		entries.align(8)
		entries.text(p[0])
		entries = append(entries, 1, 's', 0)
		entries.text(p[1])
	}
	entries.align(8)
	entries.text("DropInPaths")
	entries = append(entries, "\x02as\x00"...)
	paths := text("/etc/a.conf")
	paths.text("/etc/b.conf")
	entries.number(uint32(len(paths)))
	entries = append(entries, paths...)
	// A{sv} with what is passed over: ConditionTimestamp, (ba(sv)), and an empty array of structs.
	entries.align(8)
	entries.text("Other")
	entries = append(append(entries, 8), "(ba(sv))\x00"...)
	entries.align(8)
	entries.number(1)
	entries.number(0)
	entries.align(8)
	return array(entries)
}

// aList is what ListUnitsByPatterns returns.
func aList(names ...string) encoder {
	var units encoder
	for _, name := range names {
		units.align(8)
		for _, s := range []string{name, "what it is for", "loaded", "active", "running", "", "/org/freedesktop/systemd1/unit/x"} {
			units.text(s)
		}
		units.number(0)
		units.text("")
		units.text("/")
	}
	return array(units)
}

// answers are replies of a systemd all of whose units run and are enabled.
func answers(c call) []byte {
	switch c.member {
	case "GetUnitFileState":
		return reply(methodReturn, c.serial, "s", text("enabled"))
	case "ListUnitsByPatterns":
		return reply(methodReturn, c.serial, "a(ssssssouso)", aList("x@1.service", "x@2.service"))
	case "Hello":
		return reply(methodReturn, c.serial, "s", text(":1.7"))
	}
	return reply(methodReturn, c.serial, "a{sv}", aUnit())
}
