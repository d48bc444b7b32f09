package guard

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
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
	demoted          = "demoted"
	catchingUp       = "catchingup"
)

// alone reports whether a node takes writes in a state without a standby that has all of them.
func alone(state string) bool {
	switch state {
	case "single", "wait_primary", "join_primary", "apply_settings":
		return true
	}
	return false
}

const (
	// fresh is how old a sign of life may be to count as one now.
	fresh = signEvery + signTimeout

	// late is how old a keeper's last report may be for it to be at work. They come every second, on a busy machine every two or
	// three: that none has come for so long says little, and one that has come says that the machine lives. A node that is gone
	// has thus not reported since its silence began, or, where that goes on for longer, for late.
	late = 5 * time.Second

	// stopLate is after what silence a stop of an instance that does not end is somebody's business.
	stopLate = 15 * time.Second
)

// decide says what is to be done in the situation that a view shows. It knows nothing else: so a guard goes on where another
// one was cut off. silence is how long a primary that runs may give no sign of life.
func decide(v view, silence time.Duration) step {
	s := v.failover(silence)
	if s.kind == watch {
		s = v.returning(s, silence)
	}
	if s.kind == watch {
		s = v.unguarded(s, silence)
	}
	return s
}

// idle says why no failover is decided on, whatever becomes of the nodes; empty where one is.
func (v view) idle() (why string, alarm bool) {
	if v.why != "" {
		return v.why, false
	}
	for _, n := range v.nodes {
		switch {
		case n.off:
			return fmt.Sprintf("the instance of %s has %s = off", n.Name, switchKey), false
		case n.ephemeral:
			return fmt.Sprintf("the instance of %s is ephemeral, so that Incus would delete it where the guard stops it", n.Name), true
		}
	}
	return "", false
}

// failover is the next step of a failover, if one is due.
func (v view) failover(silence time.Duration) step {
	if why, alarm := v.idle(); why != "" {
		return step{kind: watch, why: "does nothing: " + why, alarm: alarm}
	}
	old, standby, ok := v.roles()
	if !ok {
		return step{kind: watch, why: v.healthy()}
	}
	dying := v.dying(old)
	gone := cmp.Or(dying, v.gone(old, silence), v.givenUp(old, standby))
	switch {
	case gone == "": // and if it is being demoted, that is a switchover, which needs nobody
		return step{kind: watch, why: v.healthy()}
	case !v.serves(standby):
		return step{kind: watch, why: fmt.Sprintf("%s %s, and %s, which would take over, does not answer either", old.Name, gone, standby.Name), alarm: true}
	case old.AssignedState == primary:
		if !old.settled(primary) || !standby.complete() {
			return step{kind: watch, why: fmt.Sprintf("%s %s, and %s, which is %s, cannot take over: it may not have all that was acknowledged. Start %[1]s",
				old.Name, gone, standby.Name, standby.ReportedState), alarm: true}
		}
		if old.served == 0 || old.recovering || !standby.recovering {
			return step{kind: watch, why: fmt.Sprintf("%s %s, and this guard has never seen it serve as the primary: leaves that to the monitor", old.Name, gone), alarm: true}
		}
		return step{kind: ask, node: standby, why: fmt.Sprintf("%s %s", old.Name, gone)}
	case !standby.takingOver():
		return step{kind: watch, why: v.healthy()}
	case dying != "" && old.ended() && standby.recovering && standby.candidate():
		// Before its keeper gets to that, which waits for a second where its server is not ready.
		return step{kind: promote, node: standby, why: fmt.Sprintf("%s %s", old.Name, gone)}
	case dying != "":
		return step{kind: watch, why: fmt.Sprintf("%s %s, and %s is about to take over", old.Name, gone, standby.Name), alarm: old.silence(v.taken) > stopLate}
	case old.status != "Stopped" && old.unseen != nil:
		return step{kind: watch, why: fmt.Sprintf("%s %s, and whether somebody stops it cannot be seen: %v", old.Name, gone, old.unseen), alarm: true}
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

// ended reports whether the server of a primary that is being stopped is one no more, for all that this guard knows, which has seen it
// serve: nothing on its machine answers, and it was not alone, so that it acknowledges nothing without its standby.
func (n node) ended() bool {
	return (n.broken || n.unanswered > 1) && n.served != 0 && !n.recovering && !alone(n.ReportedState)
}

// candidate reports whether a standby may be promoted, and commits wait for it.
func (n node) candidate() bool { return n.ReplicationQuorum && n.CandidatePriority > 0 }

// complete reports whether a standby has every acknowledged write, and may be promoted, as the monitor knows it.
func (n node) complete() bool {
	return n.settled(secondary) && n.candidate()
}

// takingOver reports whether a node is on its way to be the primary.
func (n node) takingOver() bool {
	return n.AssignedState == preparePromotion || n.AssignedState == stopReplication
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
// neither its machine nor its server has answered for a while, nor its keeper reported, while the monitor has answered, and the daemon. A
// broken session alone, or a silent daemon, say nothing about a node; nor does an instance that is not where it was: it may have been
// moved.
func (v view) gone(n node, silence time.Duration) string {
	switch n.status {
	case "Stopped":
		return "is stopped"
	case "Running", "Frozen":
		silent := n.silence(v.taken)
		// What the guard was blind for is no silence of the node's.
		if min(silent, v.taken.since(v.seeing)) >= silence && n.ReportAge >= max(silence, min(silent, late)) {
			return fmt.Sprintf("is %s, and has given no sign of life for %s", n.status, silence)
		}
	}
	return ""
}

// dying says how a node is as good as gone whose instance the daemon is at stopping, for which it takes a second or more; empty where that is
// not so, or its machine and its server answer. That is enough to ask, which can do no harm. To stop it is somebody else's work then, and it
// is to stay stopped; nor is the monitor told that it is, before it is.
func (v view) dying(n node) string {
	if n.status != "Stopped" && n.stopping && (n.cutShort() || v.taken.since(n.served) > fresh) {
		return "is being stopped, and does not answer any more"
	}
	return ""
}

// givenUp says how a node that is alive is one that the monitor itself replaces, and does not know: its server is a primary still, and it
// has not reported for long. In a switchover it does, or is at ending its server. The monitor would wait for the demote timeout to pass.
func (v view) givenUp(old, standby node) string {
	if old.status == "Running" && !old.stopping && (old.AssignedState == draining || old.AssignedState == demoteTimeout) &&
		standby.takingOver() && old.ReportAge >= late && v.taken.since(old.served) <= fresh && !old.recovering {
		return fmt.Sprintf("has not reported to the monitor for %s, which has given it up", late)
	}
	return ""
}

// serves reports whether a node's machine runs, its server has answered just now, and its keeper reports: without that nobody
// would promote it.
func (v view) serves(n node) bool {
	return n.status == "Running" && n.unanswered == 0 && n.served != 0 && v.taken.since(n.served) <= fresh && n.ReportAge < late && n.PGRunning
}

// returning is the step that lets a node in again which was fenced, or takes its mark away, if there is one; else the one given, which
// says so where a mark stays that no failover under way accounts for. None of that depends on what the guard may do to other nodes.
func (v view) returning(otherwise step, silence time.Duration) step {
	var held []string
	for _, n := range v.nodes {
		number := strconv.FormatInt(n.ID, 10)
		switch {
		case n.mark() == "", n.status != "Stopped" && (n.stopping || n.unseen != nil): // a guard may not have got that far
		case n.off:
			held = append(held, fmt.Sprintf("%s, which has %s = off", n.Name, switchKey))
		case n.mark() != number && n.status == "Running":
			return step{kind: unmark, node: n, why: fmt.Sprintf("it was that of a node with the number %s, and this one has %s", n.mark(), number)}
		case n.mark() != number:
			held = append(held, fmt.Sprintf("%s, whose mark is that of a node with the number %s, and this one has %s", n.Name, n.mark(), number))
		case n.status == "Running":
			return step{kind: unmark, node: n, why: "it runs"}
		case n.status == "Stopped":
			if why := v.place(n, silence); why != "" {
				return step{kind: letIn, node: n, why: why}
			}
			held = append(held, fmt.Sprintf("%s, which is to be %s", n.Name, n.AssignedState))
		default:
			held = append(held, fmt.Sprintf("%s, which is %s", n.Name, n.status))
		}
	}
	for _, name := range v.strays {
		held = append(held, name+", which the monitor tells nothing of")
	}
	if len(held) == 0 || len(v.strays) == 0 && v.underWay() {
		return otherwise
	}
	otherwise.alarm = true
	otherwise.why += "; not let in, though a guard has stopped it: " + strings.Join(held, "; ")
	return otherwise
}

// underWay reports whether a standby that answers is taking over.
func (v view) underWay() bool {
	_, standby, ok := v.roles()
	return ok && standby.takingOver() && v.serves(standby)
}

// place says why a node that was fenced may be started; empty where it may not. It may where the monitor has told it to be a standby:
// not sooner, for it would be stopped again at once. And where it is the primary yet, or was, and no other node has taken over or
// can do so, it has the only complete data.
//
// Its keeper's own state may be primary still. On the way to demoted, draining and demote_timeout it starts no server as one, and on
// the way to other states it would: so a standby's are believed where the keeper itself has reported one.
func (v view) place(n node, silence time.Duration) string {
	state := n.AssignedState
	serving := state == primary || alone(state)
	switch {
	case state == demoted || ofStandby(state) && ofStandby(n.ReportedState):
		return fmt.Sprintf("it may come back as a standby: it is to be %s", state)
	case !serving && state != draining && state != demoteTimeout:
		return ""
	}
	why := "it has the only complete data"
	for _, other := range v.nodes {
		if other.Name == n.Name || other.Group != n.Group {
			continue
		}
		gone := v.gone(other, silence)
		switch {
		case other.AssignedState == primary || alone(other.AssignedState): // has taken over
			return ""
		case gone != "":
			why += fmt.Sprintf(", for %s %s", other.Name, gone)
		case serving && !other.complete() && (other.AssignedState == secondary || other.AssignedState == catchingUp):
			why += fmt.Sprintf(", for %s, which is %s, cannot take over", other.Name, other.ReportedState)
		default:
			return ""
		}
	}
	return why
}

// ofStandby reports whether a state is one of a standby, or of what is to be one.
func ofStandby(state string) bool {
	return state == demoted || state == catchingUp || state == secondary
}

// unguarded is the step given, with an alarm where the one node that takes writes is gone, and nobody is to take over from it.
func (v view) unguarded(otherwise step, silence time.Duration) step {
	for _, n := range v.nodes {
		if gone := v.gone(n, silence); gone != "" && alone(n.AssignedState) {
			otherwise.alarm = true
			otherwise.why += fmt.Sprintf("; %s, which is to be %s, %s, and no other node has all that was acknowledged. Start it", n.Name, n.AssignedState, gone)
		}
	}
	return otherwise
}

// guarding reports whether there is a primary, and a standby that can take over from it.
func (v view) guarding() bool {
	why, _ := v.idle()
	old, standby, ok := v.roles()
	return why == "" && ok && old.settled(primary) && old.served != 0 && old.unseen == nil && standby.complete()
}

// healthy says what is guarded.
func (v view) healthy() string {
	old, standby, ok := v.roles()
	switch {
	case !ok || !old.settled(primary) || !standby.settled(secondary):
	case old.served == 0: // a failover from it would be left to the monitor
		return fmt.Sprintf("waits for the first answer of the server of %s", old.Name)
	case standby.complete() && old.unseen != nil:
		return fmt.Sprintf("could not stop %s, for whether somebody else does cannot be seen: %v", old.Name, old.unseen)
	case standby.complete():
		return fmt.Sprintf("guards %s, which %s stands by for", old.Name, standby.Name)
	default:
		return fmt.Sprintf("could not have %s take over from %s: it is not in the quorum, or has the candidate priority 0", standby.Name, old.Name)
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
	return !ok || !old.settled(primary) || old.status != "Running" || old.unanswered > 0 || old.mark() != ""
}
