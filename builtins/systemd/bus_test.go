package systemd

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"io/fs"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

func TestAsk(t *testing.T) {
	s := &socket{serve: systemd(func(c call) []byte {
		if c.serial > 4 { // two calls each, so that a connection serves two looks, and is gone at the third
			return nil
		}
		signal := reply(4, 0, "s", encoder{0, 0, 0, 0, 0}) // which is passed over, as is an answer to another call
		return slices.Concat(signal, reply(methodReturn, 99, "", nil), answers(c))
	})}
	for range 5 {
		u, err := show(t.Context(), s, "x.service", 0)
		if err != nil || !u.running() || !u.enabled() || u.name != "x.service" || !slices.Equal(u.dropins, []string{"/etc/a.conf", "/etc/b.conf"}) {
			t.Fatalf("got %+v, %v", u, err)
		}
	}
	if s.dials != 3 {
		t.Errorf("5 looks took %d connections, want 3", s.dials)
	}
}

// What is asked, and that no more is asked than a look needs.
func TestCalls(t *testing.T) {
	const (
		manager    = "org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager."
		unit       = "org.freedesktop.systemd1 /org/freedesktop/systemd1/unit/"
		properties = ` org.freedesktop.DBus.Properties.GetAll ""`
	)
	var calls []string
	s := &socket{serve: systemd(func(c call) []byte {
		calls = append(calls, c.text)
		if strings.HasSuffix(c.text, `"alias.service"`) {
			return reply(methodReturn, c.serial, "s", text("alias"))
		}
		return answers(c)
	})}
	asked := func(look func() error, want ...string) {
		t.Helper()
		calls = nil
		if err := look(); err != nil {
			t.Error(err)
		}
		if !slices.Equal(calls, want) {
			t.Errorf("got the calls:\n%s\nwant:\n%s", strings.Join(calls, "\n"), strings.Join(want, "\n"))
		}
	}
	one := func(name string) func() error {
		return func() error { _, err := show(t.Context(), s, name, 0); return err }
	}
	asked(one("x.service"), manager+`GetUnitFileState "x.service"`, unit+"x_2eservice"+properties)
	asked(one(`7z_0-\x2d@a.service`), manager+`GetUnitFileState "7z_0-\\x2d@a.service"`, unit+"_37z_5f0_2d_5cx2d_40a_2eservice"+properties)
	asked(one("x@.service"), manager+`GetUnitFileState "x@.service"`)
	asked(one("alias.service"), manager+`GetUnitFileState "alias.service"`, unit+"alias_2eservice"+properties, manager+`GetUnitFileState "x.service"`)
	asked(func() error { _, err := instances(t.Context(), s, "x@.service", 0); return err },
		manager+`ListUnitsByPatterns [] ["x@*.service"]`,
		manager+`GetUnitFileState "x@1.service"`, unit+"x_401_2eservice"+properties,
		manager+`GetUnitFileState "x@2.service"`, unit+"x_402_2eservice"+properties)

	// An operator who is not root asks the bus of all, which wants a greeting.
	s = &socket{serve: s.serve, refuse: func(address string) error {
		if address == privateSocket {
			return &fs.PathError{Op: "dial", Path: address, Err: fs.ErrPermission}
		}
		return nil
	}}
	asked(one("x.service"), "org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus.Hello",
		manager+`GetUnitFileState "x.service"`, unit+"x_2eservice"+properties)
	s = &socket{refuse: func(address string) error {
		if address == privateSocket {
			return fs.ErrPermission
		}
		return fs.ErrNotExist
	}}
	if err := one("x.service")(); !host.Missing(err) || !strings.Contains(err.Error(), "no D-Bus daemon") {
		t.Errorf("without a bus: got the error %v", err)
	}
}

func TestInstances(t *testing.T) {
	list := func(names ...string) *socket {
		return &socket{serve: instead("ListUnitsByPatterns", func(c call) []byte {
			return reply(methodReturn, c.serial, "a(ssssssouso)", aList(names...))
		})}
	}
	all, err := instances(t.Context(), list("x@1.service", "--root=x", "y@1.service", "x@.service", "x@2.timer", "x@b.c.service"), "x@.service", 0)
	var names []string
	for _, u := range all {
		names = append(names, u.name)
	}
	if want := []string{"x@1.service", "x@b.c.service"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("got %q, %v, want %q: what was not asked for is passed over", names, err, want)
	}
	if all, err := instances(t.Context(), list(), "x@.service", 0); len(all) > 0 || err != nil {
		t.Errorf("of none: got %v, %v", all, err)
	}
}

func TestAnswerIsAnError(t *testing.T) {
	said := func(what string) *socket {
		return &socket{serve: instead("GetAll", func(c call) []byte { return reply(errorReply, c.serial, "s", text(what)) })}
	}
	s := said("Unit name x is not valid.")
	for range 2 {
		_, err := show(t.Context(), s, "x", 0)
		if err == nil || err.Error() != "asking systemd about x: Unit name x is not valid." {
			t.Errorf("got the error %v", err)
		}
	}
	if s.dials != 1 {
		t.Errorf("2 looks took %d connections, want 1", s.dials)
	}
	if _, err := show(t.Context(), said(""), "x", 0); err == nil || err.Error() != "asking systemd about x: org.freedesktop.DBus.Error.Failed" {
		t.Errorf("one without a text: got the error %v", err)
	}
	if _, err := show(t.Context(), said(strings.Repeat("x", 100_000)), "x", 0); err == nil || len(err.Error()) > 5_000 {
		t.Errorf("a long one: got an error of %d bytes", len(err.Error()))
	}
	noFile := &socket{serve: instead("GetUnitFileState", func(c call) []byte { return reply(errorReply, c.serial, "s", text("No such file")) })}
	if u, err := show(t.Context(), noFile, "x.service", 0); err != nil || u.file != "" || !u.running() {
		t.Errorf("of a unit without a file: got %+v, %v", u, err)
	}
}

// What is cut off anywhere is an error, or asked again.
func TestAnswerCutOff(t *testing.T) {
	for _, member := range []string{"GetUnitFileState", "GetAll", "ListUnitsByPatterns"} {
		for cut := range len(answers(call{1, member, ""})) {
			s := &socket{serve: func(conn net.Conn) {
				instead(member, func(c call) []byte {
					_, _ = conn.Write(answers(c)[:cut])
					return nil
				})(conn)
			}}
			if _, err := instances(t.Context(), s, "x@.service", 0); err == nil || s.dials != 2 {
				t.Errorf("%s, cut off at %d: got the error %v after %d connections, want one after 2", member, cut, err, s.dials)
			}
		}
	}
}

// A machine may be hostile, or not answer: a look ends, and holds little.
func TestHostileBus(t *testing.T) {
	endless := func(conn net.Conn, piece []byte) {
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		for _, err := conn.Write(piece); err == nil; _, err = conn.Write(piece) {
		}
	}
	properties := func(answer []byte) func(net.Conn) {
		return instead("GetAll", func(call) []byte { return answer })
	}
	const slow, malformed, tooMuch = "context deadline exceeded", "its answer is no message of D-Bus", "it answers more than systemd would"
	long := func(n uint32) (e encoder) { e.number(n); e.align(8); return e }
	large := aUnit([2]string{"SubState", strings.Repeat("x", 1<<19)}, [2]string{"Result", strings.Repeat("x", 1<<18)})
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
		"a long message": {properties([]byte{'l', 2, 0, 1, 0, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0, 0}), tooMuch}, // of 112 MiB
		"long fields":    {properties([]byte{'l', 2, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255}), tooMuch},
		"no message":     {properties(bytes.Repeat([]byte("x"), 64)), malformed},
		"another type":   {properties(reply(methodReturn, 2, "s", aUnit())), malformed},
		"a long array":   {properties(reply(methodReturn, 2, "a{sv}", long(1<<31))), malformed},
		"an empty unit":  {properties(reply(methodReturn, 2, "a{sv}", long(0))), malformed},
		"no error": {properties(slices.Concat([]byte{'l', errorReply, 0, 1, 0, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0},
			[]byte{fieldReplySerial, 1, 'u', 0, 2, 0, 0, 0})), malformed},
		"calls without end": {func(conn net.Conn) {
			letIn(conn)
			endless(conn, reply(methodCall, 0, "", make(encoder, 1<<19)))
		}, tooMuch},
		"a long list": {instead("ListUnitsByPatterns", func(c call) []byte {
			return reply(methodReturn, c.serial, "a(ssssssouso)", long(1<<31))
		}), malformed},
		"a list that is none": {instead("ListUnitsByPatterns", func(c call) []byte {
			return reply(methodReturn, c.serial, "a(ssssssouso)", array(bytes.Repeat([]byte{1}, 64)))
		}), malformed},
		"many large units": {systemd(func(c call) []byte {
			switch c.member {
			case "ListUnitsByPatterns":
				return reply(methodReturn, c.serial, "a(ssssssouso)", aList(slices.Repeat([]string{"x@1.service"}, 5000)...))
			case "GetAll":
				return reply(methodReturn, c.serial, "a{sv}", large)
			}
			return answers(c)
		}), tooMuch},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			if x.want != slow {
				ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
			}
			defer cancel()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s := &socket{serve: x.serve}
			_, err := show(ctx, s, "x.service", 0)
			if err == nil {
				_, err = instances(ctx, s, "x@.service", 0)
			}
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("got the error %v, want one with %q", err, x.want)
			}
			if x.want == tooMuch && s.dials > 1 {
				t.Error("so much was asked for again")
			}
			most := uint64(4 << 20)
			if name == "calls without end" || name == "many large units" { // the fake one's share included
				most = 4 * maxLook
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > most {
				t.Errorf("it took %d bytes to refuse", took)
			}
		})
	}
}

// FuzzMessage reads what may come from a hostile machine.
func FuzzMessage(f *testing.F) {
	for _, member := range []string{"GetAll", "GetUnitFileState", "ListUnitsByPatterns"} {
		f.Add(answers(call{1, member, ""}))
	}
	f.Add(reply(errorReply, 1, "s", encoder{255, 255, 255, 255}))
	f.Add([]byte{'B', 2, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8, 6, 1, 'a', '(', 'v', ')', 0, 0})
	f.Fuzz(func(t *testing.T, sent []byte) {
		m, err := readMessage(bufio.NewReader(bytes.NewReader(sent)))
		if err != nil {
			return
		}
		body := *m.body
		m.body.array(func(entry *decoder) {
			entry.text()
			entry.value(entry.signature())
		})
		for _, kind := range []string{"s", "o", "b", "u", "i", "t", "as"} {
			taken, skipped := body, body
			taken.value(kind)
			skipped.skip(kind)
			// The texts in a list that is passed over are not looked at.
			if kind != "as" && (taken.err == nil) != (skipped.err == nil) || taken.err == nil && len(taken.rest) != len(skipped.rest) {
				t.Errorf("%s: taken, %d bytes and %v are left; skipped, %d bytes and %v", kind, len(taken.rest), taken.err, len(skipped.rest), skipped.err)
			}
		}
		// The same whether entries are taken or passed over as a whole.
		taken, skipped := body, body
		n := 0
		taken.array(func(u *decoder) {
			n++
			for range 7 {
				u.text()
			}
			u.number()
			u.text()
			u.text()
		})
		skipped.skip("a(ssssssouso)")
		if taken.err == nil && (skipped.err != nil || len(taken.rest) != len(skipped.rest) || n > len(sent)/45) {
			t.Errorf("%d units taken, %d bytes are left; skipped, %d bytes and %v", n, len(taken.rest), len(skipped.rest), skipped.err)
		}
	})
}
