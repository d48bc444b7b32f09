package guard

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// A look finds everything or says what it lacks, and marks in any case.
func TestLook(t *testing.T) {
	for _, x := range []struct {
		name   string
		happen func(w *world, g *guard)
		why    string
		nodes  int
		strays []string
	}{
		{"all there", func(*world, *guard) {}, "", 2, nil},
		{"an instance is gone", func(w *world, _ *guard) { delete(w.instances, "b") }, "how the instance of b is cannot be seen", 2, nil},
		{"the daemon is silent", func(w *world, _ *guard) { w.fails["look at a"] = errDied }, "how the instance of a is cannot be seen: killed", 2, nil},
		{"a node that is none of the hosts", func(_ *world, g *guard) { g.machines = g.machines[:1] }, "a node b, which is not among the hosts", 2, nil},
		{"one node, and its host", func(w *world, _ *guard) { w.sql("DELETE FROM pgautofailover.node WHERE nodename = 'b'") }, "has 1 data nodes", 1, nil},
		{"a marked host that is no node any more", func(w *world, _ *guard) {
			w.sql("DELETE FROM pgautofailover.node WHERE nodename = 'a'")
			w.instances["a"].Config[fencedKey] = "1"
		}, "has 1 data nodes", 1, []string{"a"}},
		{"two groups", func(w *world, _ *guard) { w.sql("UPDATE pgautofailover.node SET groupid = nodeid") }, "only where there are two, in one group", 2, nil},
		{"no monitor", func(w *world, g *guard) {
			g.monitor.host = reachedHole{}
			w.instances["a"].Config[fencedKey] = "1"
		}, "the monitor, m, does not answer", 0, []string{"a"}},
	} {
		w := newWorld(t)
		g, _ := w.guard()
		x.happen(w, g)
		var v view
		eventually(t, "the lock", 5*time.Second, func() bool {
			v = g.look(t.Context())
			return !strings.Contains(v.why, "has the lock")
		})
		if (x.why == "") != (v.why == "") || !strings.Contains(v.why, x.why) || len(v.nodes) != x.nodes || !slices.Equal(v.strays, x.strays) {
			t.Errorf("%s: %q, %d nodes, strays %q", x.name, v.why, len(v.nodes), v.strays)
		}
		g.monitor.close()
	}
}

func TestLookAtInstance(t *testing.T) {
	w := newWorld(t)
	w.instances["a"].Ephemeral = true
	w.instances["b"].Config[switchKey] = "off"
	g, _ := w.guard()
	v := g.look(t.Context())
	if a, b := v.nodes[0], v.nodes[1]; !a.ephemeral || a.off || b.ephemeral || !b.off || a.status != "Running" {
		t.Errorf("%+v, %+v", a.instance, b.instance)
	}
	delete(w.instances, "a")
	if i := g.machines[0].look(t.Context()); i.err == nil || !host.Missing(i.err) || i.mark() != "" {
		t.Errorf("%+v", i)
	}
}

// What the guard has not looked at for a while it was blind for.
func TestViewFollows(t *testing.T) {
	const second = moment(time.Second)
	seen := view{taken: 10 * second, seeing: 2 * second}
	for _, x := range []struct {
		name string
		last view
		want moment
	}{
		{"as before", seen, 2 * second},
		{"the first", view{}, 12 * second},
		{"after one that found less", view{taken: 10 * second, seeing: 2 * second, why: "the monitor does not answer"}, 12 * second},
		{"after a while", view{taken: 9 * second, seeing: 2 * second}, 12 * second},
	} {
		v := view{taken: 12 * second}
		if v.follows(x.last, 2*time.Second); v.seeing != x.want {
			t.Errorf("%s: since %d", x.name, v.seeing)
		}
	}
}
