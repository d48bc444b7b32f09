package incus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/agent/bin"
	"github.com/pgrun/pgrun/runtime/host"
)

func TestOpen(t *testing.T) {
	s := connectTest(t, Remote{})
	ctx := t.Context()
	transport := s.Transport("itest-none")
	if _, err := transport.Open(ctx, true); !errors.Is(err, host.ErrAbsent) {
		t.Errorf("an absent instance: %v", err)
	}

	name := testInstance(t, s, false)
	transport = s.Transport(name)
	expectState := func(want string) {
		t.Helper()
		_, err := transport.Open(ctx, false)
		if u, ok := isUnreachable(err); !ok || u.NoDaemon || !u.Down || u.Host != name || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an *Unreachable that is down with %q", err, want)
		}
	}
	expectState("it is Stopped: start it with incus start, or in a playbook with incus.started")

	if err := s.Start(ctx, name); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 5 { // all of them find no /run/pgrun, and push
		wg.Go(func() { talk(t, s, name, true, "hello agent --read-only") })
	}
	wg.Wait()
	began := time.Now()
	talk(t, s, name, false, "hello agent")
	t.Logf("open: %v", time.Since(began))
	if got := shell(t, s, name, "stat -c '%a %u' /run/pgrun /run/pgrun/*; ls -A /run/pgrun | wc -l"); got != "700 0\n700 0\n1\n" {
		t.Errorf("on the instance there is\n%s", got)
	}
	// A push that was killed has left one of these behind; the other one's process is alive.
	shell(t, s, name, "mkdir /var/lib/pgrun; touch /var/lib/pgrun/.new-1 /var/lib/pgrun/.new-99999999")
	shell(t, s, name, "rm -r /run/pgrun; mount -o remount,noexec /run")
	talk(t, s, name, false, "hello agent")
	if got := shell(t, s, name, "ls -A /run/pgrun; cd /var/lib/pgrun; ls -d .new-*; ls agent-* | wc -l; mount -o remount,exec /run"); got != ".new-1\n1\n" {
		t.Errorf("on the instance there is\n%s", got)
	}

	if err := s.Freeze(ctx, name); err != nil {
		t.Fatal(err)
	}
	expectState("it is Frozen")
	if err := s.Start(ctx, name); err != nil {
		t.Fatal(err)
	}
	talk(t, s, name, false, "hello agent")

	// Somebody else stops it just after we listed it as running.
	other := connectTest(t, Remote{})
	if _, err := s.Instances(ctx); err != nil {
		t.Fatal(err)
	}
	if err := other.Stop(ctx, name, true); err != nil {
		t.Fatal(err)
	}
	expectState("it is Stopped")
}

// talk opens an agent, has it repeat a line, and closes it.
func talk(t *testing.T, s *Server, name string, readOnly bool, hello string) {
	t.Helper()
	link, err := s.Transport(name).Open(t.Context(), readOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	lines := bufio.NewReader(link)
	for _, line := range []string{hello, "one", strings.Repeat("x", 1<<20)} {
		if line != hello {
			go fmt.Fprintln(link, line)
		}
		got, err := lines.ReadString('\n')
		if err != nil || got != line+"\n" {
			t.Fatalf("got %.80q, %v; want %.80q", got, err, line)
		}
	}
}

// shell runs a script on an instance and returns what it prints.
func shell(t *testing.T, s *Server, name, script string) string {
	t.Helper()
	p, err := s.exec(t.Context(), name, []string{"sh", "-euc", script})
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	out, err := io.ReadAll(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestStreamEnds(t *testing.T) {
	s := connectTest(t, Remote{})
	ctx := t.Context()
	name := testInstance(t, s, true)
	talk(t, s, name, false, "hello agent") // so that it is pushed

	open := func(t *testing.T) (io.ReadWriteCloser, *bufio.Reader) {
		t.Helper()
		if err := s.Start(ctx, name); err != nil {
			t.Fatal(err)
		}
		link, err := s.Transport(name).Open(ctx, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = link.Close() })
		lines := bufio.NewReader(link)
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		return link, lines
	}
	// ends waits for the stream's error and how long after an event it came.
	ends := func(t *testing.T, lines *bufio.Reader, since *time.Time) string {
		t.Helper()
		_, err := lines.ReadByte()
		took := time.Since(*since)
		if u, ok := isUnreachable(err); !ok || u.NoDaemon || u.Host != name {
			t.Errorf("got %v, want an *Unreachable", err)
		}
		t.Logf("after %v: %v", took, err)
		if took > time.Second {
			t.Errorf("noticed after %v", took)
		}
		return err.Error()
	}

	t.Run("no goroutine stays", func(t *testing.T) {
		s.Close()
		before := runtime.NumGoroutine()
		for range 5 {
			talk(t, s, name, false, "hello agent")
		}
		s.Close()
		until(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	})
	t.Run("the agent is killed", func(t *testing.T) {
		link, lines := open(t)
		since := time.Now()
		p := link.(*process)
		if err := p.control.WriteJSON(map[string]any{"command": "signal", "signal": 9}); err != nil {
			t.Fatal(err)
		}
		if got := ends(t, lines, &since); !strings.Contains(got, "was killed") {
			t.Errorf("got %q", got)
		}
		if _, err := link.Write([]byte("x")); err == nil {
			t.Error("a write after the end worked")
		}
	})
	t.Run("the instance is stopped by force", func(t *testing.T) {
		_, lines := open(t)
		since := time.Now()
		stopped := make(chan error)
		go func() { stopped <- s.Stop(ctx, name, true) }()
		ends(t, lines, &since)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	t.Run("the instance is shut down", func(t *testing.T) {
		_, lines := open(t)
		since := time.Now()
		stopped := make(chan error)
		go func() { stopped <- s.Stop(ctx, name, false); since = time.Now() }()
		if _, err := lines.ReadByte(); err == nil {
			t.Error("it lives on")
		} else {
			t.Log(time.Since(since), err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	t.Run("it is closed", func(t *testing.T) {
		link, lines := open(t)
		read := make(chan error)
		go func() { _, err := lines.ReadByte(); read <- err }()
		began := time.Now()
		if err := link.Close(); err != nil {
			t.Error(err)
		}
		if err := <-read; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a read got %v", err)
		}
		if took := time.Since(began); took > killGrace {
			t.Errorf("closing took %v", took)
		} else {
			t.Logf("closing took %v", took)
		}
	})
	t.Run("a writer hangs when it is closed", func(t *testing.T) {
		link, _ := open(t)
		wrote := make(chan error)
		go func() { // cat blocks: nobody reads what it repeats
			for {
				if _, err := link.Write(make([]byte, 1<<20)); err != nil {
					wrote <- err
					return
				}
			}
		}()
		time.Sleep(200 * time.Millisecond) // until it hangs; were it sooner, the test would only be easier
		began := time.Now()
		if err := link.Close(); err != nil {
			t.Error(err)
		}
		if err := <-wrote; err == nil {
			t.Error("the write went on")
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("closing took %v", took)
		}
	})
	t.Run("the context ends at the start", func(t *testing.T) {
		if err := s.Start(ctx, name); err != nil {
			t.Fatal(err)
		}
		s := connectTest(t, Remote{})
		s.agent = func(string) (bin.Agent, error) {
			return bin.Of([]byte("#!/bin/sh\nexec sleep 60\n")), nil // never speaks
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		began := time.Now()
		_, err := s.Transport(name).Open(short, false)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 3*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
	t.Run("a broken agent", func(t *testing.T) {
		s := connectTest(t, Remote{})
		s.agent = func(string) (bin.Agent, error) {
			return bin.Of([]byte("#!/bin/sh\necho no such option >&2; exit 3\n")), nil
		}
		_, err := s.Transport(name).Open(ctx, false)
		if _, ok := isUnreachable(err); !ok || !strings.Contains(err.Error(), "exit code 3: no such option") {
			t.Errorf("got %v", err)
		}
	})
}

func TestNoDaemon(t *testing.T) {
	tests := []struct {
		name, want string
		socket     func(path string) error
	}{
		{"no socket", "no Incus daemon at", func(string) error { return nil }},
		{"nobody listens", "is not running", func(path string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := t.TempDir() + "/unix.socket"
			if err := test.socket(path); err != nil {
				t.Fatal(err)
			}
			t.Setenv("INCUS_SOCKET", path)
			_, err := Connect(t.Context(), Remote{})
			if u, ok := isUnreachable(err); !ok || !u.NoDaemon || host.Missing(err) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestDaemonGoes loses the daemon in the middle, by way of a proxy for its socket.
func TestDaemonGoes(t *testing.T) {
	direct := connectTest(t, Remote{})
	name := testInstance(t, direct, true)
	info, err := direct.base.GetConnectionInfo()
	if err != nil {
		t.Fatal(err)
	}
	proxy := startProxy(t, info.SocketPath)
	t.Setenv("INCUS_SOCKET", proxy.path)
	s := connectTest(t, Remote{})
	link, err := s.Transport(name).Open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	lines := bufio.NewReader(link)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	proxy.stop()
	began := time.Now()
	_, err = lines.ReadByte()
	if u, ok := isUnreachable(err); !ok || !u.NoDaemon {
		t.Errorf("the stream ended with %v", err)
	}
	t.Logf("after %v: %v", time.Since(began), err)
	if _, err := link.Write([]byte("x")); err == nil {
		t.Error("a write worked")
	}
	for what, err := range map[string]error{
		"open":  func() error { _, err := s.Transport(name).Open(t.Context(), false); return err }(),
		"look":  func() error { _, err := s.Instance(t.Context(), name); return err }(),
		"write": s.Start(t.Context(), name),
	} {
		if u, ok := isUnreachable(err); !ok || !u.NoDaemon {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSilentConnection finds no connection on which nothing was said once requests have ended, however many
// there were at once: the daemon would wait for it, and for nobody else.
func TestSilentConnection(t *testing.T) {
	s := connectTest(t, Remote{})
	var silent atomic.Int32
	dial := s.http.DialContext
	s.http.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		time.Sleep(2 * time.Millisecond) // so that another connection gets free meanwhile
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		silent.Add(1)
		return &heard{conn, sync.OnceFunc(func() { silent.Add(-1) })}, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 10 {
		var requests sync.WaitGroup
		for range 10 {
			requests.Go(func() {
				if _, _, err := s.client(ctx).GetProfile("default"); err != nil {
					t.Error(err)
				}
			})
		}
		requests.Wait()
		until(t, "the connections are used, or closed", func() bool { return silent.Load() == 0 })
	}
}

// heard is a connection that tells when something is said on it, or when it is closed.
type heard struct {
	net.Conn
	said func()
}

func (c *heard) Write(b []byte) (int, error) {
	c.said()
	return c.Conn.Write(b)
}

func (c *heard) Close() error {
	c.said()
	return c.Conn.Close()
}

// proxy passes connections on to a socket until it is stopped.
type proxy struct {
	path     string
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p := &proxy{path: t.TempDir() + "/unix.socket"}
	var err error
	if p.listener, err = net.Listen("unix", p.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	go p.serve(t, target)
	return p
}

func (p *proxy) serve(t *testing.T, target string) {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("unix", target)
		if err != nil {
			t.Error(err)
			return
		}
		p.mu.Lock()
		p.conns = append(p.conns, from, to)
		p.mu.Unlock()
		go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
		go func() { _, _ = io.Copy(from, to); _ = from.Close() }()
	}
}

func (p *proxy) stop() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}
