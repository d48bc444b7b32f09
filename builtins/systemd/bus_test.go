package systemd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

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

// answer answers calls: LoadUnit, and GetAll with properties.
func answer(conn net.Conn, calls int, properties map[string]dbus.Variant) {
	letIn(conn)
	for range calls {
		call, err := dbus.DecodeMessage(conn)
		if err != nil {
			return
		}
		var body any = properties
		if call.Headers[dbus.FieldMember].Value() == "LoadUnit" {
			body = dbus.ObjectPath("/org/freedesktop/systemd1/unit/x")
		}
		reply := &dbus.Message{Type: dbus.TypeMethodReply, Body: []any{body}, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(call.Serial()), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body)),
		}}
		var encoded bytes.Buffer
		if reply.EncodeTo(&encoded, binary.LittleEndian) != nil {
			return
		}
		if _, err := conn.Write(encoded.Bytes()); err != nil {
			return
		}
	}
}

func TestAsk(t *testing.T) {
	s := &socket{}
	s.serve = func(conn net.Conn) {
		answer(conn, 4, map[string]dbus.Variant{"LoadState": dbus.MakeVariant("loaded"), "ActiveState": dbus.MakeVariant("active")})
	}
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

// A machine may be hostile, or not answer: a look ends, and holds little.
func TestHostileBus(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"silent":            func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
		"silent afterwards": func(conn net.Conn) { letIn(conn); _, _ = io.Copy(io.Discard, conn) },
		"gone":              func(net.Conn) {},
		"rejects": func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, "REJECTED\r\n")
		},
		"a line without end": func(conn net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for _, err := io.WriteString(conn, strings.Repeat("x", 4096)); err == nil; _, err = io.WriteString(conn, strings.Repeat("x", 4096)) {
			}
		},
		"a long message": func(conn net.Conn) {
			letIn(conn)
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			_, _ = conn.Write([]byte{'l', 2, 0, 1, 0, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0, 0}) // of 112 MiB
			for _, err := conn.Write(make([]byte, 64<<10)); err == nil; _, err = conn.Write(make([]byte, 64<<10)) {
			}
		},
		"no message": func(conn net.Conn) {
			letIn(conn)
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for _, err := io.WriteString(conn, strings.Repeat("x", 4096)); err == nil; _, err = io.WriteString(conn, strings.Repeat("x", 4096)) {
			}
		},
		"silent but for calls": func(conn net.Conn) {
			letIn(conn)
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			call := &dbus.Message{Type: dbus.TypeMethodCall, Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/x")), dbus.FieldMember: dbus.MakeVariant("X"),
			}}
			var encoded bytes.Buffer
			for err := call.EncodeTo(&encoded, binary.LittleEndian); err == nil; _, err = conn.Write(encoded.Bytes()) {
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began, goroutines := time.Now(), runtime.NumGoroutine()
			_, err := show(ctx, &socket{serve: serve}, "x.service")
			if err == nil || !strings.Contains(err.Error(), "systemd") {
				t.Errorf("got the error %v", err)
			}
			if strings.HasPrefix(name, "silent") && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got the error %v", err)
			}
			if more := runtime.NumGoroutine() - goroutines; more > 100 {
				t.Errorf("%d goroutines more", more)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}
