package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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
	eventually(t, "it is stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		return err == nil && bytes.Contains(stat, []byte(") T "))
	})
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
	s := &server{handle: func(context.Context, *serverCall, request) (reply, error) { panic("a bug") }}
	_, err := s.protected(t.Context(), &serverCall{}, request{Op: opRead, Path: "/etc/passwd"})
	if err == nil || !strings.Contains(err.Error(), "panicked in read") {
		t.Errorf("%v", err)
	}
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
