package transport

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/agent"
	"github.com/pgrun/pgrun/runtime/host"
)

func TestReconnect(t *testing.T) {
	p := &processes{}
	s := newSession(t, p)
	for range 3 {
		if _, err := s.Stat(t.Context(), "/"); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGKILL) // the next call may find the link up or down
	}
}

// Who watches a link learns that it has broken, also where it broke just before.
func TestLost(t *testing.T) {
	p := &processes{}
	s := newSession(t, p)
	if s.Lost() != nil {
		t.Error("a link is watched that was never opened")
	}
	if err := s.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost := s.Lost()
	select {
	case <-lost:
		t.Fatal("a link that is open counts as lost")
	default:
	}
	p.signal(os.Kill)
	<-lost
	select {
	case <-s.Lost():
	default:
		t.Error("a link that has just broken does not count as lost")
	}
}

func TestLookIsMadeAgainAndRunIsNot(t *testing.T) {
	p := &processes{}
	s := newSession(t, p)
	marks := filepath.Join(t.TempDir(), "marks")
	// The command kills its agent the first time that it runs.
	suicide := host.Command{Argv: []string{"sh", "-c", "echo >> " + marks + "; [ $(wc -l < " + marks + ") -gt 1 ] || kill -9 $PPID; echo survived"}, Reads: true}
	out, err := s.Look(t.Context(), suicide)
	if err != nil || out.Stdout != "survived\n" || p.count() != 2 {
		t.Errorf("look: %+v, %v, %d agents", out, err, p.count())
	}
	if err := os.Remove(marks); err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(t.Context(), suicide)
	if u, ok := errors.AsType[*host.Unreachable](err); !ok || u.Host != "box" || !errors.Is(err, agent.ErrLost) || !strings.Contains(err.Error(), "may have completed") {
		t.Errorf("run: %v", err)
	}
	if content, err := os.ReadFile(marks); err != nil || string(content) != "\n" {
		t.Errorf("run: %q, %v", content, err)
	}
}

func TestFrozenMachine(t *testing.T) {
	p := &processes{}
	s := newSession(t, p)
	s.link.pingEvery, s.link.pingLimit = 10*time.Millisecond, 50*time.Millisecond
	if err := s.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.freeze(t)
	for what, call := range map[string]func() error{
		"look":  func() error { _, err := s.Stat(t.Context(), "/"); return err },
		"write": func() error { return s.Mkdir(t.Context(), "/no/such/dir", host.Attributes{}) },
	} {
		if p.count() > 1 {
			p.freeze(t)
		}
		err := call()
		if _, ok := errors.AsType[*host.Unreachable](err); !ok || !strings.Contains(err.Error(), "no sign of life") {
			t.Errorf("%s: %v", what, err)
		}
		if err := s.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, started := range p.started {
		_ = started.Kill()
	}
}

func TestSlowCommandIsNotAFrozenMachine(t *testing.T) {
	s := newSession(t, Local())
	s.link.pingEvery, s.link.pingLimit = 5*time.Millisecond, 100*time.Millisecond
	if out, err := s.Run(t.Context(), host.Command{Argv: []string{"sleep", "0.5"}}); err != nil || out.RC != 0 {
		t.Errorf("%+v, %v", out, err)
	}
}
