package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgrun/pgrun/runtime/host"
)

func TestReadOnlyAgentRefuses(t *testing.T) {
	c, dir, ctx := inProcess(t, Options{ReadOnly: true, RunDir: t.TempDir()}), t.TempDir(), t.Context()
	if !c.ReadOnly() {
		t.Error("the hello does not say it")
	}
	path := filepath.Join(dir, "f")
	_, runErr := c.Run(ctx, host.Command{Argv: []string{"true"}, Reads: true})
	_, lookErr := c.Look(ctx, host.Command{Argv: []string{"touch", path}})
	for what, err := range map[string]error{
		"write":      c.WriteFile(ctx, path, bytes.NewReader(make([]byte, 4<<20)), host.Attributes{}),
		"mkdir":      c.Mkdir(ctx, path, host.Attributes{}),
		"symlink":    c.Symlink(ctx, "x", path),
		"attributes": c.SetAttributes(ctx, dir, host.Attributes{Mode: mode(0o777)}),
		"remove":     c.Remove(ctx, dir, true),
		"run":        runErr,
		"look":       lookErr,
	} {
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if infos, err := c.ReadDir(ctx, dir); err != nil || len(infos) != 0 {
		t.Errorf("%v, %v", infos, err)
	}
	if out, err := c.Look(ctx, host.Command{Argv: []string{"test", "-e", path}}); err != nil || out.RC != 1 {
		t.Errorf("a look of the table: %+v, %v", out, err)
	}
	if out, err := c.Look(ctx, host.Command{Argv: []string{"echo", "promised"}, Reads: true}); err != nil || out.Stdout != "promised\n" {
		t.Errorf("a promised look: %+v, %v", out, err)
	}
}

func TestReadOnlyAgentKeepsNoJournal(t *testing.T) {
	runDir := filepath.Join(t.TempDir(), "run")
	c := inProcess(t, Options{ReadOnly: true, RunDir: runDir})
	if _, err := c.Look(t.Context(), host.Command{Argv: []string{"true"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(runDir); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
}

func TestWritingAgentRefusesLooksThatAreNone(t *testing.T) {
	c := inProcess(t, Options{})
	if _, err := c.Look(t.Context(), host.Command{Argv: []string{"touch", "/tmp/x"}}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "reads = True") {
		t.Errorf("%v", err)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	c := inProcess(t, Options{})
	var all sync.WaitGroup
	for range 4 * MaxCalls {
		all.Go(func() {
			if info, err := c.Stat(t.Context(), "/etc/passwd"); err != nil || info.Name != "passwd" {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
	all.Wait()
	if c.Busy() || len(c.slots) != 0 {
		t.Errorf("%d slots are taken", len(c.slots))
	}
}

func TestFacts(t *testing.T) {
	f, err := inProcess(t, Options{ReadOnly: true}).Facts(t.Context())
	if err != nil || f.Hostname == "" || f.Architecture == "" || f.Kernel == "" || f.CPUs < 1 || f.Memory < 1<<20 || f.Init == "" || f.Addresses == nil {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestGarbageInPlaceOfAnAgent(t *testing.T) {
	head := func(k kind, payload string) string {
		return preamble + string(frame{kind: k, payload: []byte(payload)}.encode(nil))
	}
	for said, why := range map[string]string{
		"":                                      "ended before it said anything",
		"sh: 1: agent: not found\n":             `no agent of pgrun; it said "sh: 1: agent: not found\n"`,
		"\x1b[2J" + strings.Repeat("x", 10_000): `"\x1b[2Jxxxx`,
		"\x00pgr":                               `it said "\x00pgr"`,
		preamble + "\xff\xff\xff\xff\x00\x00\x00\x00\x01": "what came is no frame",
		head(kindPong, ""):                 "in place of its hello",
		head(kindHello, "{"):               "the agent's hello",
		head(kindHello, `{"protocol":99}`): "version 99",
		head(kindHello, "{}")[:18]:         "hello",
	} {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = io.WriteString(theirs, said)
			_ = theirs.Close()
		}()
		_, err := NewClient(t.Context(), ours)
		if err == nil || !strings.Contains(err.Error(), why) || len(err.Error()) > 1000 {
			t.Errorf("%.40q: %v, want %q", said, err, why)
		}
	}
}

func TestSilenceInPlaceOfAnAgent(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := NewClient(ctx, ours); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestLostLinkFailsAllCalls(t *testing.T) {
	p := ownProcess(t, t.TempDir())
	ln := listen(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	conn, err := p.Dial(t.Context(), "tcp", ln, "")
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := p.Run(t.Context(), host.Command{Argv: []string{"sleep", "100"}})
		failed <- err
	}()
	go func() {
		failed <- p.WriteFile(t.Context(), filepath.Join(t.TempDir(), "f"), endless{}, host.Attributes{})
	}()
	go func() {
		_, err := conn.Read(make([]byte, 1))
		failed <- err
	}()
	eventually(t, "three calls are open", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.calls) == 3
	})
	_ = p.cmd.Process.Kill()
	for range 3 {
		if err := <-failed; !errors.Is(err, ErrLost) {
			t.Errorf("%v", err)
		}
	}
	if _, err := p.Stat(t.Context(), "/"); !errors.Is(err, ErrLost) {
		t.Errorf("%v", err)
	}
}

func TestFrozenAgent(t *testing.T) {
	p := ownProcess(t, t.TempDir())
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	defer func() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := p.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping: %v", err)
	}
	// More than pipe, queue and credit hold.
	if err := p.WriteFile(ctx, filepath.Join(t.TempDir(), "f"), endless{}, host.Attributes{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("write: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestPanicIsAnError(t *testing.T) {
	s := &server{} // has nothing to send a body with
	s.handle = s.do
	_, err := s.protected(t.Context(), &serverCall{}, request{Op: opRead, Path: "/etc/passwd"})
	if err == nil || !strings.Contains(err.Error(), "panicked in read") {
		t.Errorf("%v", err)
	}
}

// hostile connects to an agent that answers each request as it likes.
func hostile(t *testing.T, answer func(w io.Writer, f frame)) *Client {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		_, _ = io.WriteString(theirs, preamble)
		_, _ = theirs.Write(frame{kind: kindHello, payload: []byte(`{"protocol":1}`)}.encode(nil))
		for r := bufio.NewReaderSize(theirs, maxData+headerSize); ; {
			f, err := readFrame(r)
			if err != nil {
				return
			}
			answer(theirs, f)
		}
	}()
	c, err := NewClient(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestListWithoutEnd(t *testing.T) {
	c := hostile(t, func(w io.Writer, f frame) {
		if f.kind != kindRequest {
			return
		}
		line := []byte("{}\n")
		for range host.MaxRead / maxData {
			_, _ = w.Write(frame{kindData, f.stream, bytes.Repeat(line, maxData/len(line))}.encode(nil))
		}
		_, _ = w.Write(frame{kindReply, f.stream, []byte("{}")}.encode(nil))
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := c.ReadDir(t.Context(), "/")
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "more than the 100000") {
		t.Errorf("%v", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 20*host.MaxRead {
		t.Errorf("it took %d bytes to refuse", took)
	}
}

func TestNamesThatLeadElsewhere(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b"} {
		c := hostile(t, func(w io.Writer, f frame) {
			if f.kind == kindRequest {
				_, _ = w.Write(frame{kindData, f.stream, fmt.Appendf(nil, "{\"Name\":%q}\n", name)}.encode(nil))
				_, _ = w.Write(frame{kindReply, f.stream, []byte("{}")}.encode(nil))
			}
		})
		if _, err := c.ReadDir(t.Context(), "/srv"); err == nil || !strings.Contains(err.Error(), "no name of a file") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestCancelledCallThatIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := hostile(t, func(w io.Writer, f frame) {
			if f.kind == kindPing {
				_, _ = w.Write(frame{kind: kindPong}.encode(nil))
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range MaxCalls {
			if _, err := c.Stat(ctx, "/"); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		began := time.Now()
		_, err := c.Stat(t.Context(), "/") // needs a slot
		if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "cancelled call (stat)") || time.Since(began) > cancelLimit {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		synctest.Wait()
		if len(c.slots) != 0 {
			t.Errorf("%d slots are taken", len(c.slots))
		}
	})
}

func TestErrorsKeepTheirIdentity(t *testing.T) {
	for _, want := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, ErrRefused, syscall.ECONNREFUSED} {
		got := fromWire(toWire(fmt.Errorf("some\xff path: %w", want)))
		if !errors.Is(got, want) || got.Error() != "some\ufffd path: "+want.Error() {
			t.Errorf("%v", got)
		}
	}
	if got, ok := errors.AsType[*host.NotFound](fromWire(toWire(fmt.Errorf("x: %w", &host.NotFound{Program: "p"})))); !ok || got.Program != "p" {
		t.Errorf("%v", got)
	}
	if got := fromWire(toWire(errors.New(strings.Repeat("x", 1<<20)))); len(got.Error()) > maxErrorText+10 {
		t.Errorf("%d bytes", len(got.Error()))
	}
}

// listen serves each connection on a TCP port of this machine.
func listen(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go accept(l, serve)
	return l.Addr().String()
}

func accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

func TestDial(t *testing.T) {
	c, ctx := inProcess(t, Options{ReadOnly: true}), t.Context()
	echo := listen(t, func(c net.Conn) { _, _ = io.Copy(c, c) })

	t.Run("both ways", func(t *testing.T) {
		conn, err := c.Dial(ctx, "tcp", echo, "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
		go func() { _, _ = conn.Write(sent) }()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%v", err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		conn, err := c.Dial(ctx, "tcp", echo, "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
		_ = conn.SetReadDeadline(time.Time{})
		_, _ = conn.Write([]byte("x"))
		if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
	t.Run("the last words before closing arrive", func(t *testing.T) {
		heard := make(chan string, 1)
		address := listen(t, func(c net.Conn) {
			all, _ := io.ReadAll(c)
			heard <- string(all)
		})
		conn, err := c.Dial(ctx, "tcp", address, "")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("goodbye"))
		_ = conn.Close()
		if got := <-heard; got != "goodbye" {
			t.Errorf("%q", got)
		}
	})
	t.Run("the server's end", func(t *testing.T) {
		conn, err := c.Dial(ctx, "tcp", listen(t, func(c net.Conn) { _, _ = c.Write([]byte("hello")) }), "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if all, err := io.ReadAll(conn); err != nil || string(all) != "hello" {
			t.Errorf("%q, %v", all, err)
		}
	})
	t.Run("failures", func(t *testing.T) {
		if _, err := c.Dial(ctx, "unix", "/no/such/socket", ""); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
		if _, err := c.Dial(ctx, "unix", "/no/such/socket", "no-such-user"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
		if _, err := c.Dial(ctx, "tcp", "127.0.0.1:1", ""); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%v", err)
		}
		if _, err := c.Dial(ctx, "udp", "127.0.0.1:1", ""); err == nil {
			t.Error("a network that is none")
		}
	})
	began := time.Now()
	eventually(t, "all streams are closed", func() bool { return !c.Busy() && len(c.slots) == 0 })
	if took := time.Since(began); took > linger/2 {
		t.Errorf("closing the streams took %s", took)
	}
}

func TestSlowStreamHoldsUpNoOther(t *testing.T) {
	p, ctx := ownProcess(t, t.TempDir()), t.Context()
	flood := listen(t, func(c net.Conn) { _, _ = io.Copy(c, endlessly{}) })
	stop := make(chan struct{})
	deaf := listen(t, func(net.Conn) { <-stop })
	defer close(stop)
	unread, err := p.Dial(ctx, "tcp", flood, "")
	if err != nil {
		t.Fatal(err)
	}
	defer unread.Close()
	unheard, err := p.Dial(ctx, "tcp", deaf, "")
	if err != nil {
		t.Fatal(err)
	}
	defer unheard.Close()
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = io.Copy(unheard, endlessly{})
	}()
	// Both are stuck once the receivers' windows are full.
	p.mu.Lock()
	var full *call
	for _, call := range p.calls {
		if full == nil || call.id < full.id {
			full = call
		}
	}
	p.mu.Unlock()
	eventually(t, "the unread stream has filled its window", func() bool {
		full.in.mu.Lock()
		defer full.in.mu.Unlock()
		return full.in.held > window/2
	})
	for range 100 {
		if _, err := p.Stat(ctx, "/etc/passwd"); err != nil {
			t.Fatal(err)
		}
	}
	full.in.mu.Lock()
	if full.in.held > window {
		t.Errorf("%d bytes are held, window is %d", full.in.held, window)
	}
	full.in.mu.Unlock()
	_ = unheard.Close()
	<-wrote
}

// endlessly is content without end.
type endlessly struct{}

func (endlessly) Read(p []byte) (int, error) { return len(p), nil }

func TestDialAsUser(t *testing.T) {
	needRoot(t)
	c := inProcess(t, Options{ReadOnly: true})
	dir, err := os.MkdirTemp("/tmp", "pgrun-test-") // where every user may go
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	go accept(l, func(c net.Conn) {
		raw, _ := c.(*net.UnixConn).SyscallConn()
		_ = raw.Control(func(fd uintptr) {
			peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
			_, _ = fmt.Fprintln(c, peer.Uid, peer.Gid, err)
		})
	})
	var all sync.WaitGroup
	for range 20 {
		for user, want := range map[string]string{"daemon": "1 1 <nil>\n", "": "0 0 <nil>\n", "root": "0 0 <nil>\n"} {
			all.Go(func() {
				conn, err := c.Dial(t.Context(), "unix", socket, user)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				if got, err := io.ReadAll(conn); err != nil || string(got) != want {
					t.Errorf("%q: the server sees %q, %v", user, got, err)
				}
			})
		}
	}
	all.Wait()
	if err := os.Chmod(socket, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Dial(t.Context(), "unix", socket, "daemon"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a socket of root's alone: %v", err)
	}
}

// A thread that is thrown away must not take the commands with it that were started meanwhile.
func TestDialAsUserSparesCommands(t *testing.T) {
	needRoot(t)
	c := inProcess(t, Options{RunDir: t.TempDir()})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if out, err := c.Run(t.Context(), host.Command{Argv: []string{"sleep", "0.3"}}); err != nil || out.RC != 0 {
				t.Errorf("%+v, %v", out, err)
			}
		})
		all.Go(func() { _, _ = c.Dial(t.Context(), "unix", "/no/such/socket", "daemon") })
	}
	all.Wait()
}
