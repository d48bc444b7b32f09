package guard

import (
	"strings"
	"testing"
	"time"

	pgautoctl "github.com/pgrun/pgrun/builtins/pg_autoctl"
)

const silent = 2 * time.Second

// at is when the views of these tests were taken.
const at = moment(time.Hour)

// a is a data node; the words change what is usual: running, answering, neither marked nor switched off.
func a(name, reported, assigned string, words ...string) node {
	n := node{
		Node:     pgautoctl.Node{ID: 1, Name: name, ReportedState: reported, AssignedState: assigned, PGRunning: true, ReplicationQuorum: true, CandidatePriority: 50},
		instance: instance{status: "Running", config: map[string]string{}},
		sign:     sign{served: at - moment(time.Second), recovering: reported != primary && !alone(reported)},
	}
	for _, word := range words {
		switch word {
		case "stopped":
			n.status, n.unanswered, n.silent = "Stopped", 5, at-moment(time.Second)
		case "dying":
			n.stopping, n.broken = true, true
		case "being stopped":
			n.stopping = true
		case "unseen":
			n.unseen = errDied
		case "frozen":
			n.status = "Frozen"
		case "silent":
			n.unanswered, n.silent, n.ReportAge = 3, at-moment(silent), silent
		case "silent for a moment":
			n.unanswered, n.silent, n.ReportAge = 3, at-moment(silent-1), silent
		case "asked once":
			n.unanswered, n.silent, n.ReportAge = 1, at-moment(time.Hour), silent
		case "reports":
			n.ReportAge = silent - 1
		case "not answering":
			n.unanswered = 1
		case "silent keeper":
			n.ReportAge = late
		case "no quorum":
			n.ReplicationQuorum = false
		case "never promoted":
			n.CandidatePriority = 0
		case "never seen":
			n.served = 0
		case "served long ago":
			n.served = at - moment(fresh) - 1
		case "promoted":
			n.recovering = false
		case "silent for long":
			n.unanswered, n.silent, n.ReportAge = 8, at-moment(time.Minute), late
		case "reports now and then":
			n.ReportAge = late - 1
		case "fenced":
			n.config[fencedKey] = "1"
		case "fenced as another":
			n.config[fencedKey] = "7"
		case "ephemeral":
			n.ephemeral = true
		case "unknown":
			n.instance, n.sign = instance{}, sign{}
		case "off":
			n.off = true
		default:
			n.status = word
		}
	}
	return n
}

func TestDecide(t *testing.T) {
	b := a("b", secondary, secondary)
	for _, x := range []struct {
		name string
		old  node
		next node
		want string
		says string
	}{
		{"all is well", a("a", primary, primary), b, "watch", "guards a, which b stands by for"},
		{"all is well, and the guard has begun just now", a("a", primary, primary, "never seen"), b, "watch", "waits for the first answer of the server of a"},
		{"a standby is lost", a("a", primary, primary), a("b", secondary, secondary, "stopped"), "watch", "guards a"},
		{"the primary is stopped", a("a", primary, primary, "stopped"), b, "ask b", "a is stopped"},
		{"it hangs", a("a", primary, primary, "silent"), b, "ask b", "a is Running, and has given no sign of life for 2s"},
		{"it is frozen", a("a", primary, primary, "frozen", "silent"), b, "ask b", "a is Frozen"},
		{"it was frozen just now", a("a", primary, primary, "frozen", "silent for a moment"), b, "watch", ""},
		{"it did not answer once, the guard having slept", a("a", primary, primary, "asked once"), b, "watch", ""},
		{"it reports, but its agent does not answer", a("a", primary, primary, "silent", "reports"), b, "watch", ""},
		{"its server is down, and the machine answers", a("a", primary, primary, "served long ago"), b, "watch", ""},
		{"it hangs for long, and its keeper does not", a("a", primary, primary, "silent for long", "reports now and then"), b, "watch", ""},
		{"it hangs for long, and its keeper has stopped later", a("a", primary, primary, "silent for long"), b, "ask b", ""},
		{"it is about to be stopped", a("a", primary, primary, "Stopping", "silent"), b, "watch", ""},
		{"Incus finds it in error", a("a", primary, primary, "Error", "silent"), b, "watch", ""},
		{"both are stopped, as at the host's start", a("a", primary, primary, "stopped"), a("b", secondary, secondary, "stopped"), "watch!", "does not answer either"},
		{"the standby does not answer", a("a", primary, primary, "stopped"), a("b", secondary, secondary, "not answering"), "watch!", ""},
		{"the standby's server does not answer", a("a", primary, primary, "stopped"), a("b", secondary, secondary, "served long ago"), "watch!", ""},
		{"the standby's keeper is silent", a("a", primary, primary, "stopped"), a("b", secondary, secondary, "silent keeper"), "watch!", "does not answer either"},
		{"the standby is not in the quorum", a("a", primary, primary, "stopped"), a("b", secondary, secondary, "no quorum"), "watch!", "cannot take over"},
		{"the standby is never to be promoted", a("a", primary, primary, "stopped"), a("b", secondary, secondary, "never promoted"), "watch!", "cannot take over"},
		{"the primary is on its way up, or its instance another's", a("a", primary, primary, "stopped", "never seen"), b, "watch!", "never seen it serve"},
		{"it was alone", a("a", "wait_primary", "wait_primary", "stopped"), a("b", "catchingup", "catchingup"), "watch!", "a, which is to be wait_primary, is stopped"},
		{"it was alone, and hangs", a("a", "wait_primary", "wait_primary", "silent"), a("b", "catchingup", "catchingup"), "watch!", "no sign of life"},
		{"it is alone", a("a", "wait_primary", "wait_primary"), a("b", "catchingup", "catchingup", "stopped"), "watch", "waits until the formation is settled"},
		{"the standby is in no quorum, and all is well", a("a", primary, primary), a("b", secondary, secondary, "no quorum"), "watch", "could not have b take over"},
		{"it was about to be alone", a("a", "wait_primary", primary, "stopped"), b, "watch!", "it may not have all that was acknowledged"},
		{"its standby was not that far", a("a", primary, primary, "stopped"), a("b", "catchingup", secondary), "watch!", "Start a"},
		{"it was fenced in vain", a("a", primary, primary, "stopped", "fenced"), a("b", secondary, "catchingup"), "let in a", "cannot take over"},
		{"it was fenced in vain, and the standby is lost", a("a", primary, primary, "stopped", "fenced"), a("b", secondary, secondary, "silent"), "let in a", "b is Running, and has given no sign of life"},
		{"the standby missed an answer", a("a", primary, primary, "stopped", "fenced"), a("b", secondary, secondary, "not answering"), "watch!", "not let in, though a guard has stopped it: a"},
		{"the standby's keeper is late", a("a", primary, draining, "stopped", "fenced"), a("b", secondary, preparePromotion, "silent keeper"), "watch!", "not let in"},
		{"the standby missed an answer while it takes over", a("a", primary, draining, "stopped", "fenced"), a("b", secondary, preparePromotion, "not answering"), "watch!", "not let in"},
		{"fenced, seen by a guard that never saw it serve", a("a", primary, primary, "stopped", "fenced", "never seen"), b, "watch!", "not let in"},
		{"fenced, the standby took over and is lost", a("a", primary, demoteTimeout, "stopped", "fenced"), a("b", stopReplication, "wait_primary", "stopped"), "watch!", "Start it"},
		{"switched off there", a("a", primary, primary, "stopped", "off"), b, "watch", "user.pgrun.guard = off"},
		{"switched off at the standby", a("a", primary, primary, "stopped"), a("b", secondary, secondary, "off"), "watch", ""},
		{"ephemeral", a("a", primary, primary, "ephemeral"), b, "watch!", "Incus would delete it"},
		{"ephemeral, and it hangs", a("a", primary, primary, "silent", "ephemeral"), b, "watch!", "Incus would delete it"},
		{"ephemeral, and accepted", a("a", primary, draining, "silent", "ephemeral"), a("b", secondary, preparePromotion), "watch!", ""},

		{"it is being stopped, and answers", a("a", primary, primary, "being stopped"), b, "watch", "guards a"},
		{"it is being stopped, and does not answer", a("a", primary, primary, "dying"), b, "ask b", "a is being stopped"},
		{"it is being stopped, and its standby does not answer", a("a", primary, primary, "dying"), a("b", secondary, secondary, "not answering"), "watch!", ""},
		{"it is being stopped, and its server is already", a("a", primary, primary, "being stopped", "served long ago"), b, "ask b", ""},
		{"accepted, it is being stopped, and its machine answers", a("a", primary, demoteTimeout, "being stopped", "served long ago"), a("b", preparePromotion, stopReplication), "watch", "is being stopped"},
		{"it hangs, and whether somebody stops it is not known", a("a", primary, draining, "silent", "unseen"), a("b", secondary, preparePromotion), "watch!", "cannot be seen"},
		{"a stop does not end", a("a", primary, demoteTimeout, "silent for long", "being stopped"), a("b", preparePromotion, stopReplication, "promoted"), "watch!", "is being stopped"},
		{"accepted, it is being stopped", a("a", primary, draining, "dying"), a("b", secondary, preparePromotion), "promote b", ""},
		{"its server is promoted, and its keeper does not know yet", a("a", primary, draining, "dying"), a("b", secondary, preparePromotion, "promoted"), "watch", "b is about to take over"},
		{"accepted, it is being stopped and answers", a("a", primary, draining, "being stopped", "served long ago"), a("b", secondary, preparePromotion), "watch", "b is about to take over"},
		{"the standby's keeper is about to promote it", a("a", primary, demoteTimeout, "dying"), a("b", preparePromotion, stopReplication), "promote b", ""},
		{"its server is promoted", a("a", primary, demoteTimeout, "dying"), a("b", preparePromotion, stopReplication, "promoted"), "watch", "is being stopped"},
		{"and the stop hangs", a("a", primary, demoteTimeout, "dying", "silent"), a("b", preparePromotion, stopReplication, "promoted"), "watch", "is being stopped"},
		{"it hangs and is being stopped, by a guard that was cut off", a("a", primary, draining, "dying", "silent", "fenced"), a("b", secondary, preparePromotion), "promote b", "is being stopped"},
		{"it is frozen and being stopped, by a guard that was cut off", a("a", primary, draining, "frozen", "dying", "fenced"), a("b", secondary, preparePromotion), "promote b", "is being stopped"},

		{"a switchover", a("a", primary, draining), a("b", secondary, preparePromotion), "watch", ""},
		{"a switchover, further on", a("a", primary, demoteTimeout), a("b", preparePromotion, stopReplication), "watch", ""},
		{"a switchover, and its keeper is slow", a("a", primary, draining, "reports now and then"), a("b", secondary, preparePromotion), "watch", ""},
		{"the monitor replaces it, and it is cut off", a("a", primary, draining, "silent keeper"), a("b", secondary, preparePromotion), "fence a", "which has given it up"},
		{"the monitor replaces it, and it is cut off, later", a("a", primary, demoteTimeout, "silent keeper"), a("b", preparePromotion, stopReplication), "fence a", ""},
		{"a switchover, and its server takes long to end", a("a", primary, demoteTimeout, "silent keeper", "served long ago"), a("b", preparePromotion, stopReplication), "watch", ""},
		{"the monitor replaces it, and somebody stops it", a("a", primary, draining, "silent keeper", "being stopped"), a("b", secondary, preparePromotion), "watch", ""},
		{"the monitor replaces it, and its standby does not answer", a("a", primary, draining, "silent keeper"), a("b", secondary, preparePromotion, "not answering"), "watch!", ""},
		{"it is cut off, and the monitor leaves it", a("a", primary, primary, "silent keeper"), b, "watch", ""},
		{"accepted, and it hangs", a("a", primary, draining, "silent"), a("b", secondary, preparePromotion), "fence a", "b is taking over"},
		{"accepted, it hangs, marked by a guard that was cut off", a("a", primary, draining, "silent", "fenced"), a("b", secondary, preparePromotion), "fence a", ""},
		{"accepted, and it hangs, late", a("a", primary, demoteTimeout, "silent"), a("b", preparePromotion, stopReplication), "fence a", ""},
		{"accepted, and it is back", a("a", primary, draining, "fenced"), a("b", secondary, preparePromotion), "unmark a", ""},
		{"accepted, it is stopped", a("a", primary, draining, "stopped"), a("b", secondary, preparePromotion), "watch", "b is about to take over"},
		{"accepted, it is fenced", a("a", primary, draining, "stopped", "fenced"), a("b", secondary, preparePromotion), "watch", "b is about to take over"},
		{"the monitor waits for it", a("a", primary, demoteTimeout, "stopped"), a("b", preparePromotion, stopReplication), "report a", ""},
		{"the monitor knows", a("a", demoteTimeout, demoteTimeout, "stopped"), a("b", preparePromotion, stopReplication), "promote b", ""},
		{"the standby's server is promoted", a("a", demoteTimeout, demoteTimeout, "stopped"), a("b", preparePromotion, stopReplication, "promoted"), "watch", "b is taking over from a"},
		{"the standby is lost while it takes over", a("a", primary, draining, "stopped"), a("b", secondary, preparePromotion, "stopped"), "watch!", ""},
		{"and the fenced one has the only data", a("a", primary, draining, "stopped", "fenced"), a("b", secondary, preparePromotion, "stopped"), "let in a", ""},

		{"it may come back", a("a", demoted, demoted, "stopped", "fenced"), a("b", "wait_primary", "wait_primary", "promoted"), "let in a", ""},
		{"it is back", a("a", demoted, "catchingup", "fenced"), a("b", "wait_primary", "wait_primary", "promoted"), "unmark a", ""},
		{"somebody else has stopped it", a("a", demoted, demoted, "stopped"), a("b", "wait_primary", "wait_primary", "promoted"), "watch", ""},
		{"fenced, and frozen by somebody", a("a", demoted, demoted, "frozen", "fenced"), a("b", primary, primary, "promoted"), "watch!", "a, which is Frozen"},
		{"fenced, and its own keeper has not been demoted", a("a", demoteTimeout, "catchingup", "stopped", "fenced"), a("b", "wait_primary", "wait_primary"), "watch!", "a, which is to be catchingup"},
		{"fenced, once more", a("a", demoted, "catchingup", "stopped", "fenced"), a("b", "wait_primary", "wait_primary", "promoted"), "let in a", ""},
		{"fenced, and the other was dropped", a("a", demoteTimeout, "report_lsn", "stopped", "fenced"), a("b", "wait_primary", "dropped"), "watch!", "a, which is to be report_lsn"},
		{"fenced, and the primary again", a("a", "wait_primary", "wait_primary", "stopped", "fenced"), b, "watch!", "a, which is to be wait_primary"},
		{"fenced, and alone again", a("a", "wait_primary", "wait_primary", "stopped", "fenced"), a("b", "catchingup", "catchingup"), "let in a", "the only complete data"},
		{"fenced, and then left alone", a("a", demoted, demoted, "stopped", "fenced", "off"), a("b", "wait_primary", "wait_primary", "promoted"), "watch!", "a, which has user.pgrun.guard = off"},
		{"fenced, and the other is left alone", a("a", demoted, demoted, "stopped", "fenced"), a("b", "wait_primary", "wait_primary", "promoted", "off"), "let in a", ""},
		{"it is back, and the other is left alone", a("a", secondary, secondary, "fenced"), a("b", primary, primary, "promoted", "off"), "unmark a", ""},
		{"fenced, and the other is none of the hosts", a("a", demoted, demoted, "stopped", "fenced"), a("b", "wait_primary", "wait_primary", "unknown"), "let in a", ""},
		{"fenced, and made anew by that name", a("a", secondary, secondary, "stopped", "fenced as another"), a("b", primary, primary, "promoted"), "watch!", "number 7"},
	} {
		for _, nodes := range [][]node{{x.old, x.next}, {x.next, x.old}} {
			s := decide(view{taken: at, nodes: nodes}, silent)
			got := string(s.kind)
			if s.kind != watch {
				got += " " + s.node.Name
			}
			if s.alarm {
				got += "!"
			}
			if got != x.want || !strings.Contains(s.why, x.says) {
				t.Errorf("%s: got %q (%s), want %q (%s)", x.name, got, s.why, x.want, x.says)
			}
		}
	}
	blind := view{taken: at, seeing: at - moment(silent) + 1, nodes: []node{a("a", primary, primary, "silent"), b}}
	if s := decide(blind, silent); s.kind != watch {
		t.Errorf("the guard was blind until a moment ago: %+v", s)
	}
	if s := decide(view{why: "the monitor does not answer"}, silent); s.kind != watch || s.why != "does nothing: the monitor does not answer" || s.alarm {
		t.Errorf("a view of nothing: %+v", s)
	}
	if s := decide(view{why: "the monitor does not answer", strays: []string{"a"}}, silent); s.kind != watch || !s.alarm || !strings.Contains(s.why, "not let in, though a guard has stopped it: a") {
		t.Errorf("a view of nothing but a mark: %+v", s)
	}
}

// What a guard has stopped it lets in again also where it does nothing else: with another number of nodes, or with unknown ones.
func TestDecideLetsInWithOtherNodes(t *testing.T) {
	fenced := func(words ...string) node { return a("a", demoted, demoted, append(words, "fenced")...) }
	draining := a("a", primary, draining, "stopped", "fenced")
	for _, x := range []struct {
		name  string
		nodes []node
		want  kind
		alarm bool
	}{
		{"alone", []node{a("a", "single", "single", "stopped", "fenced")}, letIn, false},
		{"alone, and not marked", []node{a("a", "single", "single", "stopped")}, watch, true},
		{"of three", []node{fenced("stopped"), a("b", primary, primary), a("c", secondary, secondary)}, letIn, false},
		{"of three, and it runs", []node{fenced(), a("b", primary, primary), a("c", secondary, secondary)}, unmark, false},
		{"of three, one unknown", []node{fenced("stopped"), a("b", primary, primary), a("c", secondary, secondary, "unknown")}, letIn, false},
		{"of three, being replaced", []node{draining, a("b", secondary, preparePromotion), a("c", secondary, secondary)}, watch, true},
		{"of three, being replaced, one is lost", []node{draining, a("b", secondary, preparePromotion, "stopped"), a("c", secondary, secondary)}, watch, true},
		{"of three, being replaced, one is unknown", []node{draining, a("b", secondary, preparePromotion, "stopped"), a("c", secondary, secondary, "unknown")}, watch, true},
		{"of three, being replaced, all are lost", []node{draining, a("b", secondary, preparePromotion, "stopped"), a("c", secondary, secondary, "stopped")}, letIn, false},
	} {
		v := view{taken: at, nodes: x.nodes, why: "these are not two"}
		if s := decide(v, silent); s.kind != x.want || s.alarm != x.alarm || s.kind != watch && s.node.Name != "a" {
			t.Errorf("%s: %s %s, alarm %t (%s)", x.name, s.kind, s.node.Name, s.alarm, s.why)
		}
	}
}

// Whatever the situation: nothing is done to a primary that may be alive, unless the monitor replaces it and it does not know, none is
// asked for without the zero-loss gate, and nothing is told that is not so.
func TestDecideIsSafe(t *testing.T) {
	states := []string{primary, "wait_primary", draining, demoteTimeout, demoted, secondary, preparePromotion, stopReplication}
	conditions := [][]string{
		{}, {"stopped"}, {"silent"}, {"frozen", "silent"}, {"silent", "reports"}, {"silent for a moment"}, {"asked once"}, {"not answering"},
		{"served long ago"}, {"promoted"}, {"fenced"}, {"stopped", "fenced"}, {"silent", "fenced"}, {"off"}, {"stopped", "off"}, {"Error", "silent"},
		{"stopped", "fenced as another"}, {"stopped", "fenced", "off"}, {"silent", "ephemeral"}, {"silent keeper"}, {"dying"}, {"dying", "silent"}, {"dying", "fenced"},
		{"being stopped"}, {"being stopped", "silent keeper"}, {"being stopped", "served long ago"}, {"silent keeper", "served long ago"}, {"silent", "unseen"},
		{"fenced", "unseen"},
	}
	var nodes [2][]node
	for i, name := range []string{"a", "b"} {
		for _, reported := range states {
			for _, assigned := range states {
				for _, words := range conditions {
					nodes[i] = append(nodes[i], a(name, reported, assigned, words...))
				}
			}
		}
	}
	did := map[kind]int{}
	for _, x := range nodes[0] {
		for _, y := range nodes[1] {
			v := view{taken: at, nodes: []node{x, y}}
			s := decide(v, silent)
			did[s.kind]++
			if s.kind == watch {
				continue
			}
			n, other := x, y
			if s.node.Name == y.Name {
				n, other = y, x
			}
			stopped, marked := n.status == "Stopped", n.mark() == "1"
			hangs := n.unanswered > 1 && at.since(n.silent) >= silent && n.ReportAge >= silent && (n.status == "Running" || n.status == "Frozen")
			otherDying := other.status != "Stopped" && other.stopping && (other.broken || other.unanswered > 0 || at.since(other.served) > fresh)
			otherStopped := other.status == "Stopped"
			otherHangs := other.unanswered > 1 && at.since(other.silent) >= silent && other.ReportAge >= silent && (other.status == "Running" || other.status == "Frozen")
			serves := func(n node) bool {
				return n.status == "Running" && n.unanswered == 0 && at.since(n.served) <= fresh && n.ReportAge < late
			}
			taking := func(n node) bool { return n.AssignedState == preparePromotion || n.AssignedState == stopReplication }
			var safe bool
			switch s.kind {
			case ask:
				safe = (otherStopped || otherHangs || otherDying) && other.settled(primary) && n.settled(secondary) && serves(n) && n.ReplicationQuorum && n.CandidatePriority > 0
			case fence:
				doesNotKnow := n.status == "Running" && n.ReportAge >= late && at.since(n.served) <= fresh && !n.recovering
				safe = (hangs || doesNotKnow) && !n.stopping && n.unseen == nil && (n.AssignedState == draining || n.AssignedState == demoteTimeout) && taking(other) && serves(other)
			case report:
				safe = stopped && n.AssignedState == demoteTimeout && taking(other)
			case promote:
				ended := otherStopped && other.settled(demoteTimeout) && n.AssignedState == stopReplication
				ending := otherDying && (other.broken || other.unanswered > 1) && (other.AssignedState == draining || other.AssignedState == demoteTimeout) &&
					other.served != 0 && !other.recovering && !alone(other.ReportedState) && n.ReplicationQuorum && n.CandidatePriority > 0
				safe = (ended || ending) && taking(n) && serves(n)
			case letIn:
				lost := otherStopped || otherHangs
				standby := n.AssignedState == demoted || n.AssignedState == secondary && (n.ReportedState == demoted || n.ReportedState == secondary)
				serving := n.AssignedState == primary || n.AssignedState == "wait_primary"
				replaced := n.AssignedState == draining || n.AssignedState == demoteTimeout
				// The other takes writes by now, or may soon, as the monitor has it.
				writes := other.AssignedState == primary || other.AssignedState == "wait_primary"
				canTakeOver := other.settled(secondary) || taking(other) || !serving
				safe = stopped && marked && (standby || (serving || replaced) && !writes && (lost || !canTakeOver))
			case unmark:
				safe = n.status == "Running" && !n.stopping && n.unseen == nil && (marked || n.mark() == "7")
			}
			acts := s.kind == letIn || s.kind == unmark
			safe = safe && !n.off && (acts || !other.off && !n.ephemeral && !other.ephemeral)
			if !safe {
				t.Fatalf("%s %s, while a is %s/%s (%+v, %+v) and b is %s/%s (%+v, %+v)", s.kind, s.node.Name,
					x.ReportedState, x.AssignedState, x.instance, x.sign, y.ReportedState, y.AssignedState, y.instance, y.sign)
			}
		}
	}
	for _, k := range []kind{watch, ask, fence, report, promote, letIn, unmark} {
		if did[k] == 0 {
			t.Errorf("no situation came to %q: the test tests nothing of it", k)
		}
	}
	t.Logf("%v", did)
}
