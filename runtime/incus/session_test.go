package incus

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
