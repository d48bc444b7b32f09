package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgrun/pgrun/runtime/postgres"
)

// String is a step other than watch in words.
func (s step) String() string {
	switch s.kind {
	case ask:
		return fmt.Sprintf("asks the monitor to promote %s: %s", s.node.Name, s.why)
	case fence:
		return fmt.Sprintf("stops the instance of %s by force: %s", s.node.Name, s.why)
	case report:
		return fmt.Sprintf("tells the monitor that %s does not run: %s", s.node.Name, s.why)
	case promote:
		return fmt.Sprintf("has the server of %s take over: %s", s.node.Name, s.why)
	case letIn:
		return fmt.Sprintf("starts the instance of %s, which it has stopped: %s", s.node.Name, s.why)
	case unmark:
		return fmt.Sprintf("takes its mark from the instance of %s: %s", s.node.Name, s.why)
	}
	return string(s.kind)
}

const (
	// stale is the age of a look from which no step is done any more on account of it.
	stale = time.Second

	// fenceTimeout bounds the stop of an instance.
	fenceTimeout = 5 * time.Second

	// actTimeout bounds a step.
	actTimeout = 30 * time.Second
)

// errStale is why a step was not done, and everything is to be looked at again.
var errStale = errors.New("the look that it rests on has grown old")

// maxStale is how often in a row that may happen without a word.
const maxStale = 5

// try is a step that was tried.
type try struct {
	step
	at   time.Time
	took time.Duration
	err  error // nil where it was done
}

// do does a step, and reports whether it worked.
func (g *guard) do(ctx context.Context, v view, s step) bool {
	g.announce(s)
	return g.conclude(g.attempt(ctx, v, s))
}

// begin begins a step, whose outcome is to be concluded.
func (g *guard) begin(ctx context.Context, v view, s step) (outcome chan try) {
	g.announce(s)
	outcome = make(chan try, 1)
	go func() { outcome <- g.attempt(ctx, v, s) }()
	return outcome
}

// announce says what is about to be done, unless that has failed just now, and is tried again.
func (g *guard) announce(s step) {
	if g.failed != s.String() {
		g.say(s, s.String())
	}
	g.failed = ""
}

// attempt tries a step. It may do so beside what else the guard does.
func (g *guard) attempt(ctx context.Context, v view, s step) try {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	at, began := time.Now(), now()
	err := g.act(ctx, v, s)
	return try{s, at, now().since(began), err}
}

// conclude says what came of a step, and reports whether it worked.
func (g *guard) conclude(t try) bool {
	if !errors.Is(t.err, errStale) {
		g.stale = 0
	} else if g.stale++; g.stale < maxStale {
		return true
	} else {
		t.err = fmt.Errorf("%w, %d times in a row or more: this machine is too busy, or the monitor or the Incus daemon too slow", t.err, maxStale)
	}
	g.metrics.did(t.step, t.err)
	if g.tried != nil {
		g.tried(t)
	}
	if t.err == nil {
		g.say(t.step, fmt.Sprintf("%s, done in %s", t.step, t.took.Round(time.Millisecond)))
		return true
	}
	g.failed, t.alarm = t.String(), true
	if t.kind == ask && refused(t.err) {
		g.say(t.step, fmt.Sprintf("%s. The monitor refuses: %v", t.step, t.err))
	} else {
		g.say(t.step, fmt.Sprintf("%s. That failed: %v", t.step, t.err))
	}
	return false
}

// refused reports whether the monitor has decided against a promotion: it had the time to.
func refused(err error) bool {
	code := postgres.Code(err)
	return errors.Is(err, errRefused) || code != "" && code != postgres.LockNotAvailable && !slices.Contains(troubles, code[:2])
}

// troubles are the classes of SQLSTATE of a server that could not answer: connections, transactions, rollbacks, resources, an operator's
// intervention, the system.
var troubles = []string{"08", "25", "40", "53", "57", "58"}

func (g *guard) act(ctx context.Context, v view, s step) error {
	m := s.node.machine
	if now().since(v.taken) > stale {
		return errStale
	}
	switch s.kind {
	case ask:
		m.prepare(ctx)
		return g.monitor.promote(ctx, s.node.Name)
	case fence:
		return g.fence(ctx, v, s.node)
	case report:
		if err := g.monitor.report(ctx, s.node.Node); err != nil {
			return err
		}
		// The standby's keeper gets to it in a moment, and then waits for a second: no time for another look.
		if _, standby, _ := v.roles(); standby.promotable() {
			_ = standby.machine.promote(ctx, v.taken, nil) // the next look shows whether that is still to be done
		}
		return nil
	case promote:
		if s.node.AssignedState == preparePromotion {
			return m.promote(ctx, v.taken, func() (release func()) { return g.monitor.hold(ctx, s.node.Node) })
		}
		return m.promote(ctx, v.taken, nil)
	case letIn:
		return m.start(ctx)
	case unmark:
		return m.unmark(ctx, s.node.instance)
	}
	return nil
}

// fence stops a primary that is being replaced. What it rests on is that the primary was gone a moment ago: one that was back for
// longer might be a healthy one again, after another failover.
func (g *guard) fence(ctx context.Context, v view, n node) error {
	switch stopping, err := n.machine.stopping(ctx); {
	case err != nil:
		return err
	case stopping:
		return errStale
	}
	// First, so that a guard which finds it stopped knows why.
	if err := n.machine.setMark(ctx, n.instance, n.ID); err != nil {
		return err
	}
	if now().since(v.taken) > stale {
		return errStale
	}
	// Not for long, where the daemon is busy with the instance: it may be coming back.
	brief, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	if err := n.machine.stop(brief); err != nil || now().since(v.taken) <= stale {
		return err
	}
	// Again: where the daemon took its time, another guard may have the lock now, and have taken the mark from a node that ran yet.
	return n.machine.setMark(ctx, n.instance, n.ID)
}
