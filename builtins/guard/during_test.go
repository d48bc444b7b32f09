package guard

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/secret"
)

// called is a call of during with a function of Go's.
func called(t *testing.T, f func() error) (*builtin.Call, duringParams) {
	c := &builtin.Call{
		Thread: &starlark.Thread{}, Name: "guard.during",
		Scope: &builtin.Scope{Context: t.Context(), Host: inventory.NewHost("m", nil), Report: func(builtin.Event) {}},
	}
	function := starlark.NewBuiltin("f", func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
		return starlark.String("done"), f()
	})
	return c, duringParams{During: builtin.Callable{Callable: function}, guarded: defaults, Timeout: 20 * time.Second}
}

// live has the watchers of a guard see what the world's nodes do, as they would by themselves, without asking.
func (w *world) live(g *guard) {
	for _, m := range g.machines {
		m.watcher.open = func() session {
			return &fakeSession{Reader: server.Host, lost: make(chan struct{}), dials: true, answers: func(ctx context.Context) error {
				w.mu.Lock()
				hung := w.hung == m.name
				w.mu.Unlock()
				if hung {
					return hangs(ctx)
				}
				return nil
			}}
		}
	}
	w.sql("UPDATE pgautofailover.node SET reporttime = clock_timestamp() + interval '1 hour'")
}

// replaceHung has a hang, and the monitor be at having b take over.
func (w *world) replaceHung() {
	w.mu.Lock()
	w.hung = "a"
	w.mu.Unlock()
	w.sql(`UPDATE pgautofailover.node SET goalstate = CASE nodename WHEN 'a' THEN 'draining' ELSE 'prepare_promotion' END,
		reporttime = CASE nodename WHEN 'a' THEN clock_timestamp() ELSE reporttime END`)
}

// becomes waits until the world is as is says.
func (w *world) becomes(what string, is func() bool) {
	w.t.Helper()
	eventually(w.t, what, 20*time.Second, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return is()
	})
}

// The function runs while the guard guards, and what it returned comes back, or its error, with the guard's end.
func TestDuring(t *testing.T) {
	for _, want := range []error{nil, errors.New("the function's own")} {
		w := newWorld(t)
		g, said := w.guard()
		w.live(g)
		c, p := called(t, func() error {
			eventually(t, "the guard says that it guards", 5*time.Second, func() bool { // right after the function was called, perhaps
				return strings.Contains(said.text(), "guards a, which b stands by for")
			})
			return want
		})
		value, tries, err := g.during(c, p)
		if !errors.Is(err, want) || value != starlark.Value(starlark.String("done")) && err == nil || len(tries) > 0 {
			t.Errorf("%v, %v, %v", value, tries, err)
		}
		if g.monitor.conn != nil {
			t.Error("the guard has not ended")
		}
	}
}

// What the guard did is told.
func TestDuringSteps(t *testing.T) {
	w := newWorld(t)
	g, _ := w.guard()
	w.live(g)
	c, p := called(t, func() error {
		defer time.Sleep(3 * g.every)
		return g.machines[0].configure(t.Context(), map[string]string{fencedKey: "1"})
	})
	_, tries, err := g.during(c, p)
	if err != nil || len(tries) != 1 || tries[0].kind != unmark || tries[0].node.Name != "a" || tries[0].err != nil || tries[0].took <= 0 || time.Since(tries[0].at) > time.Minute {
		t.Fatalf("%+v, %v", tries, err)
	}
	tries[0].err = errors.New("no")
	seen := stepsOf(secret.NewMask(), tries).(*starlark.List).Index(0).String()
	for _, want := range []string{`step = "unmark"`, `node = "a"`, `error = "no"`, "at = 20", "took = "} {
		if !strings.Contains(seen, want) {
			t.Errorf("no %s in %s", want, seen)
		}
	}
}

// A stop of an instance takes a while, in which the guard goes on to look, and which it does not leave in the midst.
func TestDuringFence(t *testing.T) {
	w := newWorld(t)
	w.stopTakes = 2 * time.Second
	g, _ := w.guard()
	w.live(g)
	c, p := called(t, func() error {
		w.replaceHung()
		w.becomes("the guard stops a", func() bool { return w.stopping == "a" })
		for range 2 {
			before := g.metrics.last.Load()
			eventually(t, "another look", w.stopTakes/2, func() bool { return g.metrics.last.Load() > before })
		}
		return nil
	})
	_, tries, err := g.during(c, p)
	if err != nil || len(tries) != 1 || tries[0].kind != fence || tries[0].err != nil || tries[0].took < w.stopTakes {
		t.Errorf("%+v, %v", tries, err)
	}
	if a := w.instances["a"]; a.Status != "Stopped" || a.Config[fencedKey] != "1" {
		t.Errorf("%+v", a)
	}
}

// A primary that is back while it is being fenced is stopped all the same, and keeps the mark by which it is let in.
func TestDuringFenceOfPrimaryThatIsBack(t *testing.T) {
	w := newWorld(t)
	w.stopTakes = time.Second
	w.does = func(action string) {
		if action == "configure a" {
			w.hung = ""
			w.mu.Unlock()
			time.Sleep(500 * time.Millisecond) // looks are taken, of a node that is marked and runs
			w.mu.Lock()
		}
	}
	g, _ := w.guard()
	w.live(g)
	c, p := called(t, func() error {
		w.replaceHung()
		w.becomes("the guard has stopped a", func() bool { return w.instances["a"].Status == "Stopped" })
		return nil
	})
	_, tries, err := g.during(c, p)
	if err != nil || len(tries) != 1 || tries[0].kind != fence || w.instances["a"].Config[fencedKey] != "1" {
		t.Errorf("%+v, %v, %v", tries, err, w.instances["a"].Config)
	}
}

// Where the guard cannot guard, the function is not called.
func TestDuringWithoutGuard(t *testing.T) {
	w := newWorld(t)
	g, _ := w.guard()
	w.live(g)
	w.instances["b"].Config[switchKey] = "off"
	c, p := called(t, func() error { t.Error("called"); return nil })
	p.Timeout = time.Second
	_, _, err := g.during(c, p)
	var failure *builtin.Failure
	if !errors.As(err, &failure) || !strings.Contains(err.Error(), "it does not guard after 1s: does nothing: the instance of b has user.pgrun.guard = off") {
		t.Errorf("%v", err)
	}
}

// A dry run calls the function, and nothing else. A script sees what its arguments lack, and what it gets back.
func TestDuringInScript(t *testing.T) {
	b := builtintest.New(t, builtintest.Machine{Reader: server.Host, Host: server.Host}, Module())
	r := b.Check(`
r = guard.during(h, lambda: 42, hosts = [h])
result = (r.value, r.steps)`)
	if got := r.Globals["result"].String(); got != "(42, [])" {
		t.Error(got)
	}
	b.Fails(`guard.during(h, lambda: 42, hosts = [])`, "guard.during: for parameter hosts: the list is empty")
	b.Fails(`guard.during(h, lambda: 42, hosts = [h], timeout = "0s")`, "timeout: want more than 0s")
	b.Fails(`guard.during(h, lambda: 42, hosts = [h], silence = "1s")`, "silence: 1s is less than 2s")
	b.Fails(`guard.during(h, lambda: 42, hosts = [h], timeout = "200ms", every = "100ms")`, "db: guard.during: it does not guard after 200ms: ")
	b.CheckFails(`guard.during(h, lambda: 1 // 0, hosts = [h])`)
}
