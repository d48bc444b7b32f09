package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgrun/pgrun/runtime/host"
)

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
