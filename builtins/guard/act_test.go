package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// whole is what a failover from a primary that hangs takes.
var whole = []string{"ask b", "fence a", "report a", "let in a", "unmark a"}

// A guard that is killed anywhere, between two steps or within one, leaves what the next one finishes.
func TestGuardKilledAnywhere(t *testing.T) {
	actions := map[string][]string{"fence a": {"configure a", "stop a"}, "let in a": {"start a"}, "unmark a": {"configure a"}}
	for killed := range len(whole) + 1 {
		next := append(slices.Clone(whole), "")[killed]
		for _, within := range append([]string{""}, actions[next]...) {
			w := newWorld(t)
			w.hung = "a"
			first, _ := w.guard()
			done := w.goOn(first, killed)
			if within != "" { // and begins another
				w.fails[within] = errDied
				done = append(done, w.goOn(first, 1)...)
				delete(w.fails, within)
				if len(done) != killed+1 || done[killed] != next {
					t.Fatalf("%q, want %q next", done, next)
				}
			}
			first.monitor.close()

			second, _ := w.guard()
			rest := w.goOn(second, len(whole))
			name := fmt.Sprintf("killed after %q, in %q, the next does %q", done, within, rest)
			if states := w.states(); states != "secondary/secondary primary/primary" {
				t.Errorf("%s: %s", name, states)
			}
			if a := w.instances["a"]; a.Status != "Running" || a.Config[fencedKey] != "" || a.Config[autostartKey] != "" || a.Config[autostart] != "true" {
				t.Errorf("%s: %s, %v", name, a.Status, a.Config)
			}
			second.monitor.close()
			if slices.ContainsFunc(w.did, func(what string) bool { return strings.HasSuffix(what, " b") }) {
				t.Errorf("%s: %q", name, w.did)
			}
		}
	}
}

func TestGuardWithoutInterruption(t *testing.T) {
	w := newWorld(t)
	w.hung = "a"
	g, said := w.guard()
	if got := w.goOn(g, 100); !slices.Equal(got, whole) || said.alarms > 0 {
		t.Errorf("%q (%d alarms)", got, said.alarms)
	}
	want := []string{"configure a", "stop a", "start a", "configure a"}
	if !slices.Equal(w.did, want) {
		t.Errorf("%q", w.did)
	}
	said.has(t, "asks the monitor to promote b: a is Running, and has given no sign of life for 2s, done in ")
}

// While the daemon is at stopping a primary, the standby takes over as far as it can; that the primary is stopped is told when it is.
func TestGuardOfPrimaryBeingStopped(t *testing.T) {
	w := newWorld(t)
	g, _ := w.guard()
	w.look(g)
	w.stopping, w.hung = "a", "a"
	if steps := strings.Join(w.goOn(g, 100), ", "); steps != "ask b, promote b" {
		t.Errorf("steps: %s", steps)
	}
	w.instances["a"].Status = "Stopped"
	if steps := strings.Join(w.goOn(g, 100), ", "); steps != "report a" {
		t.Errorf("steps: %s", steps)
	}
	if states := w.states(); states != "demote_timeout/demoted wait_primary/wait_primary" {
		t.Errorf("states: %s", states)
	}
}

// Where the monitor refuses, nothing is stopped, and the guard says so.
func TestActRefused(t *testing.T) {
	for _, x := range []struct{ change, says string }{
		{"UPDATE pgautofailover.node SET goalstate = 'catchingup' WHERE nodename = 'b'", "not stable"},
		{"UPDATE pgautofailover.node SET replicationquorum = false WHERE nodename = 'b'", "it is not in the quorum"},
		{"UPDATE pgautofailover.node SET candidatepriority = 0 WHERE nodename = 'b'", "it is not in the quorum"},
		{"INSERT INTO pgautofailover.node (nodeid, nodename, reportedstate, goalstate) VALUES (3, 'c', 'secondary', 'secondary')", "other nodes now"},
		{"UPDATE pgautofailover.node SET goalstate = 'primary' WHERE nodename = 'b'", "it is not in the quorum"},
	} {
		w := newWorld(t)
		w.hung = "a"
		g, said := w.guard()
		v := w.look(g)
		v.nodes[0].served = now()
		s := decide(v, g.silence)
		if s.kind != ask {
			t.Fatalf("%s: %s (%s)", x.change, s.kind, s.why)
		}
		w.sql(x.change) // since the look
		if g.do(t.Context(), v, s) || len(w.did) > 0 || said.alarms != 1 || g.metrics.gauge.alarm.Load() != 1 {
			t.Errorf("%s: %q, %d alarms", x.change, w.did, said.alarms)
		}
		said.has(t, "The monitor refuses: ")
		said.has(t, x.says)
		g.monitor.close()
	}
}

// No step rests on an old look, and that there are only such does not stay unsaid.
func TestActOnOldLook(t *testing.T) {
	w := newWorld(t)
	g, said := w.guard()
	v := w.look(g)
	v.taken -= moment(stale) + 1
	for _, k := range []kind{ask, fence, report, promote, letIn, unmark} {
		if err := g.act(t.Context(), v, step{kind: k, node: v.nodes[0]}); !errors.Is(err, errStale) {
			t.Errorf("%s: %v", k, err)
		}
	}
	if states := w.states(); len(w.did) > 0 || states != "primary/primary secondary/secondary" {
		t.Errorf("%q, %s", w.did, states)
	}
	s := step{kind: fence, node: v.nodes[0], why: "it hangs"}
	for range maxStale - 1 {
		if !g.do(t.Context(), v, s) || said.alarms > 0 {
			t.Fatalf("%q", said.all)
		}
	}
	if g.do(t.Context(), v, s) || said.alarms != 1 || g.metrics.gauge.alarm.Load() != 1 {
		t.Errorf("%q", said.all)
	}
	said.has(t, "5 times in a row")
	g.do(t.Context(), v, s)
	if said.alarms != 1 {
		t.Errorf("says it again and again: %q", said.all)
	}
}

// A primary whose mark took long to set may be back: it is not stopped any more on account of the look before.
func TestFenceWhereMarkTakesLong(t *testing.T) {
	w := newWorld(t)
	w.does = func(string) { time.Sleep(stale) }
	g, _ := w.guard()
	v := w.look(g)
	if err := g.act(t.Context(), v, step{kind: fence, node: v.nodes[0]}); !errors.Is(err, errStale) || !slices.Equal(w.did, []string{"configure a"}) {
		t.Errorf("%v, %q", err, w.did)
	}
}

// A stop that the daemon does not get to is not left to happen at some time.
func TestFenceEnds(t *testing.T) {
	w := newWorld(t)
	g, _ := w.guard()
	v := w.look(g)
	var left time.Duration
	g.machines[0].find = func(ctx context.Context) (daemon, string, error) {
		if deadline, ok := ctx.Deadline(); ok {
			left = time.Until(deadline)
		}
		return fakeDaemon{w}, "a", nil
	}
	if err := g.act(t.Context(), v, step{kind: fence, node: v.nodes[0]}); err != nil || left <= 0 || left > fenceTimeout {
		t.Errorf("%v, %s", err, left)
	}
}

// What is said of a failed step is said once, while it is tried again.
func TestActThatFails(t *testing.T) {
	w := newWorld(t)
	g, said := w.guard()
	w.fails["start a"] = errDied
	for range 3 {
		v := w.look(g)
		if g.do(t.Context(), v, step{kind: letIn, node: v.nodes[0], why: "it may"}) {
			t.Fatal("done")
		}
	}
	if len(said.all) != 2 || said.alarms != 1 {
		t.Errorf("%q", said.all)
	}
	said.has(t, "That failed: killed")
}
