package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrun/pgrun/runtime/agent"
	"github.com/pgrun/pgrun/runtime/host"
)

// The test binary is an agent when it is started as one, so that tests can kill and freeze it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == agent.Argument {
		os.Exit(agent.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// processes is a transport to this machine whose agents are processes.
type processes struct {
	mu      sync.Mutex
	started []*os.Process
}

type stream struct {
	io.ReadCloser
	in io.WriteCloser
}

func (s stream) Write(b []byte) (int, error) { return s.in.Write(b) }
func (s stream) Close() error {
	_ = s.in.Close()
	return s.ReadCloser.Close()
}

func (p *processes) Open(_ context.Context, readOnly bool) (io.ReadWriteCloser, error) {
	argv := agent.Argv(os.Args[0], readOnly)
	cmd := exec.Command(argv[0], argv[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = append(p.started, cmd.Process)
	go func() { _, _ = cmd.Process.Wait() }()
	return stream{out, in}, nil
}

// signal sends a signal to the agent that was started last.
func (p *processes) signal(s os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.started[len(p.started)-1].Signal(s)
}

// freeze stops the agent that was started last, and waits until each of its threads stands still.
func (p *processes) freeze(t *testing.T) {
	t.Helper()
	p.signal(syscall.SIGSTOP)
	p.mu.Lock()
	tasks := fmt.Sprintf("/proc/%d/task/*/stat", p.started[len(p.started)-1].Pid)
	p.mu.Unlock()
	runs := func() bool {
		threads, _ := filepath.Glob(tasks)
		for _, thread := range threads {
			// "PID (NAME) STATE ..."
			if stat, err := os.ReadFile(thread); err == nil && !strings.Contains(string(stat), ") T ") {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(10 * time.Second); runs(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the agent does not stop")
		}
	}
}

func (p *processes) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.started)
}

func newSession(t *testing.T, tr Transport) *Session {
	s := NewSession("box", tr, false)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// opener is a transport made of a function.
type opener func(ctx context.Context, readOnly bool) (io.ReadWriteCloser, error)

func (o opener) Open(ctx context.Context, readOnly bool) (io.ReadWriteCloser, error) {
	return o(ctx, readOnly)
}

func TestLocal(t *testing.T) {
	s, ctx, path := newSession(t, Local()), t.Context(), filepath.Join(t.TempDir(), "f")
	if err := s.WriteFile(ctx, path, strings.NewReader("content"), host.Attributes{}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ReadFile(ctx, path); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	if out, err := s.Run(ctx, host.Command{Argv: []string{"cat"}, Stdin: []byte("in")}); err != nil || out.Stdout != "in" {
		t.Errorf("%+v, %v", out, err)
	}
	if f, err := s.Facts(ctx); err != nil || f.Kernel == "" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := s.Stat(ctx, path+"x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestReaderHasNothingThatWrites(t *testing.T) {
	var r host.Reader = NewReader("box", Local())
	if _, ok := r.(host.Host); ok {
		t.Error("a Reader is a host.Host")
	}
}

func TestReadOnlySession(t *testing.T) {
	s := NewSession("box", Local(), true)
	defer s.Close()
	if err := s.Mkdir(t.Context(), filepath.Join(t.TempDir(), "d"), host.Attributes{}); !errors.Is(err, agent.ErrRefused) {
		t.Errorf("%v", err)
	}
}

func TestCloseEndsCommands(t *testing.T) {
	s, file := NewSession("box", Local(), false), filepath.Join(t.TempDir(), "pid")
	failed := make(chan error, 1)
	go func() {
		_, err := s.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", "echo $$ > " + file + ".new; mv " + file + ".new " + file + "; sleep 300"}})
		failed <- err
	}()
	var content []byte
	for err := fs.ErrNotExist; err != nil; content, err = os.ReadFile(file) {
		time.Sleep(time.Millisecond)
	}
	_ = s.Close()
	if err := <-failed; !errors.Is(err, agent.ErrLost) {
		t.Errorf("%v", err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(content)))
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("the command: %v", err)
	}
}

func TestOneAttemptForAll(t *testing.T) {
	p := &processes{}
	s := newSession(t, p)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := s.Stat(t.Context(), "/"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if p.count() != 1 {
		t.Errorf("%d agents were started", p.count())
	}
}

func TestAgentThatDoesNotStart(t *testing.T) {
	refused := &host.Unreachable{Err: errors.New("stopped")}
	for name, c := range map[string]struct {
		open  opener
		check func(error) bool
	}{
		"absent": {
			func(context.Context, bool) (io.ReadWriteCloser, error) { return nil, host.ErrAbsent },
			func(err error) bool { return errors.Is(err, host.ErrAbsent) && host.Missing(err) },
		},
		"unreachable": {
			func(context.Context, bool) (io.ReadWriteCloser, error) { return nil, refused },
			func(err error) bool {
				return errors.Is(err, refused) && strings.HasPrefix(err.Error(), "box cannot be reached")
			},
		},
		"garbage": {
			func(context.Context, bool) (io.ReadWriteCloser, error) {
				ours, theirs := net.Pipe()
				go func() { _, _ = theirs.Write([]byte("sh: not found")); _ = theirs.Close() }()
				return ours, nil
			},
			func(err error) bool { return strings.Contains(err.Error(), "sh: not found") },
		},
		"silent": {
			func(context.Context, bool) (io.ReadWriteCloser, error) {
				ours, _ := net.Pipe()
				return ours, nil
			},
			func(err error) bool {
				return strings.Contains(err.Error(), "within 50ms") && !errors.Is(err, context.DeadlineExceeded)
			},
		},
		"stuck": {
			func(ctx context.Context, _ bool) (io.ReadWriteCloser, error) { <-ctx.Done(); return nil, ctx.Err() },
			func(err error) bool {
				return strings.Contains(err.Error(), "within 50ms") && !errors.Is(err, context.DeadlineExceeded)
			},
		},
		"not read-only": {
			func(ctx context.Context, _ bool) (io.ReadWriteCloser, error) { return Local().Open(ctx, false) },
			func(err error) bool { return strings.Contains(err.Error(), "was to be read-only") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSession("box", c.open, true)
			if name == "silent" || name == "stuck" {
				s.link.connectLimit = 50 * time.Millisecond
			}
			defer s.Close()
			_, err := s.Stat(t.Context(), "/")
			if err == nil || !c.check(err) {
				t.Errorf("%v", err)
			}
			if _, ok := errors.AsType[*host.Unreachable](err); !ok && !errors.Is(err, host.ErrAbsent) {
				t.Errorf("%T: %v", err, err)
			}
		})
	}
}

func TestWaitingForAnAgentEndsWithTheContext(t *testing.T) {
	var opened atomic.Int32
	s := newSession(t, opener(func(ctx context.Context, _ bool) (io.ReadWriteCloser, error) {
		opened.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	for range 2 { // the second waits for the first one's attempt
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := s.Stat(ctx, "/"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		cancel()
	}
	if opened.Load() != 1 {
		t.Errorf("%d attempts", opened.Load())
	}
}

// ending is an agent's stream that ends with an error of the transport's, once it is cut.
type ending struct {
	io.ReadWriteCloser
	cut chan struct{}
	err error
}

func (e ending) Read(p []byte) (int, error) {
	n, err := e.ReadWriteCloser.Read(p)
	if err != nil {
		<-e.cut
		return n, e.err
	}
	return n, nil
}

// What the transport knows of a link that broke decides the exit code.
func TestLostLinkSaysWhatTheTransportKnows(t *testing.T) {
	for name, why := range map[string]*host.Unreachable{
		"no daemon": {Host: "Incus", Err: errors.New("it went away"), NoDaemon: true},
		"down":      {Host: "box", Err: errors.New("it is Stopped"), Down: true},
	} {
		t.Run(name, func(t *testing.T) {
			cut := make(chan struct{})
			s := newSession(t, opener(func(ctx context.Context, readOnly bool) (io.ReadWriteCloser, error) {
				stream, err := (&processes{}).Open(ctx, readOnly)
				return ending{stream, cut, why}, err
			}))
			failed := make(chan error, 1)
			go func() {
				_, err := s.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", "kill -9 $PPID; sleep 100"}})
				failed <- err
			}()
			close(cut)
			err := <-failed
			u, ok := errors.AsType[*host.Unreachable](err)
			if !ok || u.Host != "box" || u.NoDaemon != why.NoDaemon || u.Down != why.Down || !errors.Is(err, agent.ErrLost) {
				t.Errorf("%+v, %v", u, err)
			}
		})
	}
}

func TestCloseWhileATransportHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		s := NewSession("box", opener(func(context.Context, bool) (io.ReadWriteCloser, error) {
			<-hang
			return nil, errors.New("too late")
		}), false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		began := time.Now()
		if err := s.Close(); err == nil || time.Since(began) != closeLimit {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		close(hang)
	})
}

func TestDeadlines(t *testing.T) {
	s := newSession(t, Local())
	slow := host.Command{Argv: []string{"sleep", "100"}}
	written := errors.New("the playbook's")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, written)
	defer cancel()
	if _, err := s.Run(ctx, slow); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, written) {
		t.Errorf("the caller's: %v", err)
	}
	_, err := again(t.Context(), s.link, what{"", slow.String(), 20 * time.Millisecond}, func(ctx context.Context, c *agent.Client) (host.Output, error) {
		return c.Run(ctx, slow)
	})
	if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "sleep 100: not done within 20ms") {
		t.Errorf("the default: %v", err)
	}
}

func TestFactsEndWithTheContext(t *testing.T) {
	p := &processes{}
	s := newSession(t, p)
	if err := s.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.freeze(t)
	defer p.signal(syscall.SIGKILL)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Facts(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestLargeFileOverAPipe(t *testing.T) {
	s, path := newSession(t, &processes{}), filepath.Join(t.TempDir(), "f")
	content := bytes.Repeat([]byte("0123456789abcdef"), host.MaxRead/16)
	if err := s.WriteFile(t.Context(), path, bytes.NewReader(content), host.Attributes{}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ReadFile(t.Context(), path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func ExampleLocal() {
	s := NewSession("localhost", Local(), false)
	defer s.Close()
	out, err := s.Run(context.Background(), host.Command{Argv: []string{"echo", "hello"}})
	fmt.Printf("%q %v\n", out.Stdout, err)
	// Output: "hello\n" <nil>
}
