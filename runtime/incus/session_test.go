package incus

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/agent/bin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/transport"
)

// useAgent builds the small agent and has s push it.
func useAgent(tb testing.TB, s *Server) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "agent")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, "github.com/pgrun/pgrun/cmd/pgrun-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	s.agent = func(string) (bin.Agent, error) { return bin.Of(data), nil }
}

// TestSession has the real agent, through a session as builtins have it.
func TestSession(t *testing.T) {
	s := connectTest(t, Remote{})
	useAgent(t, s)
	ctx := t.Context()
	name := testInstance(t, s, false)

	reader := transport.NewSession(name, s.Transport(name), true)
	defer reader.Close()
	if _, err := reader.Stat(ctx, "/etc"); err == nil {
		t.Error("the instance is stopped, and answers")
	}
	if err := s.Start(ctx, name); err != nil {
		t.Fatal(err)
	}
	facts, err := reader.Facts(ctx)
	if err != nil || facts.Hostname != name {
		t.Errorf("got %+v, %v", facts, err)
	}
	mode := fs.FileMode(0o640)
	if err := reader.WriteFile(ctx, "/etc/new", strings.NewReader("x"), host.Attributes{Mode: &mode}); err == nil {
		t.Error("the read-only agent wrote")
	}

	writer := transport.NewSession(name, s.Transport(name), false)
	defer writer.Close()
	if err := writer.WriteFile(ctx, "/etc/new", strings.NewReader("x"), host.Attributes{Mode: &mode}); err != nil {
		t.Fatal(err)
	}
	if info, err := reader.Stat(ctx, "/etc/new"); err != nil || info.Mode != mode {
		t.Errorf("got %+v, %v", info, err)
	}

	// A boot takes the agent along, and /run; the same sessions go on.
	if err := s.Restart(ctx, name, true); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Stat(ctx, "/etc/new"); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if err := writer.Remove(ctx, "/etc/new", false); err != nil {
		// A write that the broken link was found by is not made again; the next one is.
		if err := writer.Remove(ctx, "/etc/new", false); err != nil {
			t.Errorf("after a restart: %v", err)
		}
	}
	if err := s.DeleteInstance(ctx, name, true); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first may still find the link broken
		_, err = reader.Stat(ctx, "/etc")
	}
	if !errors.Is(err, host.ErrAbsent) {
		t.Errorf("after it was deleted: %v", err)
	}
}

// TestAgentEnds ends real agents in several ways.
func TestAgentEnds(t *testing.T) {
	s := connectTest(t, Remote{})
	useAgent(t, s)
	ctx := t.Context()
	name := testInstance(t, s, true)
	watch := transport.NewSession(name, s.Transport(name), false)
	defer watch.Close()

	t.Run("by a signal, as at a shutdown", func(t *testing.T) {
		session := transport.NewSession(name, s.Transport(name), false)
		defer session.Close()
		_, err := session.Run(ctx, host.Command{Argv: []string{"sh", "-c", "kill -TERM $PPID; exec sleep 100"}})
		if u, ok := isUnreachable(err); !ok || u.NoDaemon || !strings.Contains(err.Error(), "its agent was ended: the instance is shutting down") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("closed, with a command that does not obey", func(t *testing.T) {
		session := transport.NewSession(name, s.Transport(name), false)
		go func() {
			_, _ = session.Run(ctx, host.Command{Argv: []string{"sh", "-c", "trap '' TERM; sleep 4711 & touch /run/ready; wait"}})
		}()
		running := func(what string) bool {
			out, err := watch.Run(ctx, host.Command{Argv: []string{"sh", "-c", what}})
			return err == nil && out.RC == 0
		}
		until(t, "the command runs", func() bool { return running("test -e /run/ready && pgrep -f '^sleep 4711'") })
		began := time.Now()
		if err := session.Close(); err != nil {
			t.Error(err)
		}
		if running("pgrep -f '[s]leep 4711'") {
			t.Errorf("the command runs on, %v after the session was closed", time.Since(began))
		}
		t.Logf("closing took %v", time.Since(began))
	})
	t.Run("looks take the distribution's programs", func(t *testing.T) {
		mode := fs.FileMode(0o755)
		if err := watch.WriteFile(ctx, "/usr/local/bin/uname", strings.NewReader("#!/bin/sh\necho another\n"), host.Attributes{Mode: &mode}); err != nil {
			t.Fatal(err)
		}
		uname := host.Command{Argv: []string{"uname"}}
		if out, err := watch.Look(ctx, uname); err != nil || out.Stdout != "Linux\n" {
			t.Errorf("a look: %+v, %v", out, err)
		}
		if out, err := watch.Run(ctx, uname); err != nil || out.Stdout != "another\n" {
			t.Errorf("a command: %+v, %v", out, err)
		}
	})
}
