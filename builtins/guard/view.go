package guard

import (
	"context"
	"fmt"
	"sync"
	"time"

	pgautoctl "github.com/pgrun/pgrun/builtins/pg_autoctl"
)

// view is one look at everything.
type view struct {
	taken  moment   // before the first question
	seeing moment   // since when looks have found everything, with no gap between them
	nodes  []node   // that the monitor knows; none where it does not answer, or another guard acts
	strays []string // hosts whose instances bear the guard's mark, and are none of these
	why    string   // no failover can be decided on: why; empty where one can
}

// node is a data node in a view.
type node struct {
	pgautoctl.Node
	instance
	sign
	machine *machine // nil where it is none of the hosts
}

// settled reports whether the node is in a state, and is to stay in it.
func (n node) settled(state string) bool {
	return n.ReportedState == state && n.AssignedState == state
}

// follows says since when the guard has seen everything: as long as the look before, unless that found less or was too long ago.
func (v *view) follows(last view, gap time.Duration) {
	v.seeing = v.taken
	if last.why == "" && last.seeing != 0 && v.taken.since(last.taken) <= gap {
		v.seeing = last.seeing
	}
}

// look takes a view. The monitor and the daemons are asked at the same time.
func (g *guard) look(ctx context.Context) view {
	v := view{taken: now()}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	instances := make([]instance, len(g.machines))
	var asking sync.WaitGroup
	for i, m := range g.machines {
		asking.Go(func() { instances[i] = m.look(ctx) })
	}
	known, err := g.monitor.look(ctx)
	asking.Wait()
	if err == nil && !g.monitor.readOnly && !g.monitor.locked {
		v.why = "another guard has the lock in the monitor"
		return v
	}
	stray := map[string]bool{}
	for i, m := range g.machines {
		stray[m.name] = instances[i].mark() != ""
	}
	for _, n := range known {
		stray[n.Name] = false
		i := g.find(n.Name)
		if i < 0 {
			v.why = fmt.Sprintf("the monitor knows a node %s, which is not among the hosts", n.Name)
			v.nodes = append(v.nodes, node{Node: n})
			continue
		}
		if err := instances[i].err; err != nil {
			v.why = fmt.Sprintf("how the instance of %s is cannot be seen: %v", n.Name, err)
		}
		v.nodes = append(v.nodes, node{n, instances[i], g.machines[i].watcher.sign(), g.machines[i]})
	}
	for _, m := range g.machines {
		if stray[m.name] {
			v.strays = append(v.strays, m.name)
		}
	}
	switch {
	case err != nil:
		v.why = fmt.Sprintf("the monitor, %s, does not answer: %v", g.monitor.name, err)
	case v.why == "" && (len(v.nodes) != 2 || v.nodes[0].Group != v.nodes[1].Group):
		v.why = fmt.Sprintf("the formation has %d data nodes: the guard acts only where there are two, in one group", len(v.nodes))
	}
	return v
}

// lookTimeout bounds a look: little longer than stale, so that a busy monitor does not cost the session with it, and the lock.
const lookTimeout = stale + 500*time.Millisecond

// stoppingTimeout bounds the part of it that asks whether the daemon is at stopping an instance.
const stoppingTimeout = 500 * time.Millisecond

func (g *guard) find(name string) int {
	for i, m := range g.machines {
		if m.name == name {
			return i
		}
	}
	return -1
}
