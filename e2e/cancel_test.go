package e2e_test

import (
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// However a run is ended before its time, no process stays in a container, clean-ups have run, and the recap says how far
// each host got.
func TestCancelled(t *testing.T) {
	ofOthers.take(t)
	l := newIncus(t)
	l.discard(t, victim, beside)
	playbook := testdata("cancel.star")
	for _, test := range []struct {
		name string
		args []string
		end  func(*testing.T, *process)
		code int
	}{
		{"Ctrl-C", nil, send(syscall.SIGINT), 130},
		{"SIGTERM", nil, send(syscall.SIGTERM), 143},
		{"SIGHUP", nil, send(syscall.SIGHUP), 129},
		{"a deadline", []string{"-e", "limit=2s"}, func(*testing.T, *process) {}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := command(append([]string{playbook}, test.args...)...)
			// pgrun does not end by a SIGHUP where it is started under nohup, as these tests may be.
			c.Path, c.Args = "/usr/bin/env", append([]string{"env", "--default-signal=HUP", c.Path}, c.Args[1:]...)
			p := l.startFor(t, c)
			p.until(victim + ": at work")
			p.until(beside + ": at work")
			for _, name := range []string{victim, beside} {
				if test.args == nil {
					waitForSleepers(t, name, 3)
				}
			}
			test.end(t, p)
			r := p.wait()
			r.check(t, test.code)
			for _, name := range []string{victim, beside} {
				if !regexp.MustCompile(`(?m)^` + name + ` +: ok=1 .*stopped at: Work$`).MatchString(r.out) {
					t.Errorf("the recap does not say how far %s got:\n%s", name, r.out)
				}
				if strings.Contains(r.out, name+": went on") {
					t.Errorf("%s went on", name)
				}
				if got := inside(t, name, "cat /srv/cleaned"); got != "cleaned\n" {
					t.Errorf("%s: the clean-up has not run: %q", name, got)
				}
				waitForSleepers(t, name, 0)
				l.nothingLeft(t, name)
			}
		})
	}
}

func send(s syscall.Signal) func(*testing.T, *process) {
	return func(t *testing.T, p *process) {
		t.Helper()
		must(t, p.cmd.Process.Signal(s))
	}
}

// waitForSleepers waits until a container has so many of the processes that the work starts.
func waitForSleepers(t *testing.T, name string, want int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		got := len(strings.Fields(inside(t, name, "pgrep -f '[s]leep 1234'; test $? -le 1"))) // 1: there is none
		switch {
		case got == want:
			return
		case time.Now().After(deadline):
			t.Fatalf("%s has %d processes of the work, want %d", name, got, want)
		}
	}
}

// inside runs a line in a container, not through pgrun's agent, and returns what it prints.
func inside(t *testing.T, name, line string) string {
	t.Helper()
	var out, said strings.Builder
	c := exec.CommandContext(t.Context(), "incus", "exec", "-T", name, "--", "sh", "-c", line)
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		t.Fatalf("%s: %s: %v\n%s%s", name, line, err, out.String(), said.String())
	}
	return out.String()
}
