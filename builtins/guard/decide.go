package guard

import (
	"fmt"
	"time"
)

// kind is what a step does.
type kind string

// The steps, in the order of a failover.
const (
	watch   kind = "watch"   // nothing
	ask     kind = "ask"     // the monitor for the promotion of the standby
	fence   kind = "fence"   // stop the old primary by force, marked
	report  kind = "report"  // tell the monitor that it is stopped
	promote kind = "promote" // have the standby's server take over at once, not when its keeper gets to it
	letIn   kind = "let in"  // start what was fenced
	unmark  kind = "unmark"  // what was fenced runs: take its mark away
)

// step is what is to be done now.
type step struct {
	kind  kind
	node  node   // that it is done to; of an ask and a promotion, the standby
	why   string // in words; of a watch: what is watched, or why nothing is done
	alarm bool   // somebody should look
}

// States of pg_auto_failover that steps depend on.
const (
	primary          = "primary"
	secondary        = "secondary"
	draining         = "draining"
	demoteTimeout    = "demote_timeout"
	preparePromotion = "prepare_promotion"
	stopReplication  = "stop_replication"
)

const (
	// fresh is how old a sign of life may be to count as one now.
	fresh = signEvery + signTimeout

	// late is how old a keeper's last report may be for it to be at work: on a busy machine they come every two or three seconds.
	late = 5 * time.Second
)

// decide says what is to be done in the situation that a view shows. It knows nothing else: so a guard goes on where another
// one was cut off. silence is how long a primary that runs may give no sign of life.
func decide(v view, silence time.Duration) step {
	if v.why != "" {
		return step{kind: watch, why: "does nothing: " + v.why}
	}
	for _, n := range v.nodes {
		if n.off {
			return step{kind: watch, why: fmt.Sprintf("does nothing: the instance of %s has %s = off", n.Name, switchKey)}
		}
	}
	if old, standby, ok := v.roles(); ok {
		gone := v.gone(old, silence)
		switch {
		case gone == "": // and if it is being demoted, that is a switchover, which needs nobody
		case !v.serves(standby):
			return v.returning(step{kind: watch, why: fmt.Sprintf("%s %s, and %s, which would take over, does not answer either", old.Name, gone, standby.Name), alarm: true})
		case old.AssignedState == primary:
			if !old.settled(primary) || !standby.settled(secondary) || !standby.ReplicationQuorum || standby.CandidatePriority == 0 {
				return v.returning(step{kind: watch, why: fmt.Sprintf("%s %s, and %s, which is %s, cannot take over: it may not have all that was acknowledged. Start %[1]s",
					old.Name, gone, standby.Name, standby.ReportedState), alarm: true})
			}
			if old.served == 0 || old.recovering || !standby.recovering {
				return step{kind: watch, why: fmt.Sprintf("%s %s, and this guard has never seen it serve as the primary: leaves that to the monitor", old.Name, gone), alarm: true}
			}
			return step{kind: ask, node: standby, why: fmt.Sprintf("%s %s", old.Name, gone)}
		case standby.AssignedState != preparePromotion && standby.AssignedState != stopReplication:
			return v.returning(step{kind: watch, why: v.healthy()})
		case old.status != "Stopped":
			return step{kind: fence, node: old, why: fmt.Sprintf("it %s, and %s is taking over", gone, standby.Name)}
		case old.AssignedState == draining: // until the standby's keeper has said that it prepares
			return step{kind: watch, why: fmt.Sprintf("%s is stopped, and %s is about to take over", old.Name, standby.Name)}
		case old.ReportedState != demoteTimeout:
			return step{kind: report, node: old, why: "it is stopped"}
		case standby.promotable():
			return step{kind: promote, node: standby, why: fmt.Sprintf("%s is stopped, and the monitor knows", old.Name)}
		default:
			return step{kind: watch, why: fmt.Sprintf("%s is taking over from %s, which is stopped", standby.Name, old.Name)}
		}
	}
	return v.returning(step{kind: watch, why: v.healthy()})
}

// promotable reports whether a node's server is to end its recovery, as the next that its keeper does.
func (n node) promotable() bool { return n.AssignedState == stopReplication && n.recovering }

// roles tells the node that is the primary, or is being demoted, from the one that would take over. Once that one takes
// writes, it is the primary.
func (v view) roles() (old, standby node, ok bool) {
	var olds, others []node
	for _, n := range v.nodes {
		switch n.AssignedState {
		case primary, draining, demoteTimeout:
			olds = append(olds, n)
		default:
			others = append(others, n)
		}
	}
	if len(olds) != 1 || len(others) != 1 {
		return node{}, node{}, false
	}
	return olds[0], others[0], true
}

// gone says how a node is gone; empty where it may be alive. It is stopped, as its daemon says; or it is there for the daemon, and
// neither its machine nor its server has answered for a while, nor its keeper reported, while the other node answers on the
// same ways. A broken session alone, or a silent daemon, say nothing about a node; nor does an instance that is not where it was:
// it may have been moved.
func (v view) gone(n node, silence time.Duration) string {
	switch n.status {
	case "Stopped":
		return "is stopped"
	case "Running", "Frozen":
		// What the guard was blind for is no silence of the node's.
		if quiet := min(n.silence(v.taken), n.ReportAge, v.taken.since(v.seeing)); quiet >= silence {
			return fmt.Sprintf("is %s, and has given no sign of life for %s", n.status, silence)
		}
	}
	return ""
}

// serves reports whether a node's machine runs, its server has answered just now, and its keeper reports: without that nobody
// would promote it.
func (v view) serves(n node) bool {
	return n.status == "Running" && n.unanswered == 0 && n.served != 0 && v.taken.since(n.served) <= fresh && n.ReportAge < late && n.PGRunning
}

// returning is the step that lets a node in again which was fenced, if there is one; else the one given.
//
// Not before the monitor has told it to be something else than the primary that is being replaced: else it would be stopped
// again at once. But where the other node cannot take over it has the only complete data.
func (v view) returning(otherwise step) step {
	for _, n := range v.nodes {
		switch {
		case !n.fenced():
		case n.status == "Running":
			return step{kind: unmark, node: n, why: "it runs"}
		case n.status != "Stopped":
		case otherwise.alarm:
			return step{kind: letIn, node: n, why: otherwise.why}
		case n.AssignedState != primary && n.AssignedState != draining && n.AssignedState != demoteTimeout:
			return step{kind: letIn, node: n, why: fmt.Sprintf("it may come back as a standby: it is to be %s", n.AssignedState)}
		}
	}
	return otherwise
}

// healthy says what is guarded.
func (v view) healthy() string {
	old, standby, ok := v.roles()
	if ok && old.settled(primary) && standby.settled(secondary) {
		return fmt.Sprintf("guards %s, which %s stands by for", old.Name, standby.Name)
	}
	var states string
	for _, n := range v.nodes {
		if states != "" {
			states += ", "
		}
		states += n.Name + " is " + n.ReportedState
		if n.ReportedState != n.AssignedState {
			states += ", to become " + n.AssignedState
		}
	}
	return "waits until the formation is settled: " + states
}

// suspicious reports whether a view is to be followed by another at once.
func (v view) suspicious() bool {
	if v.why != "" {
		return false
	}
	old, _, ok := v.roles()
	return !ok || !old.settled(primary) || old.status != "Running" || old.unanswered > 0 || old.fenced()
}
