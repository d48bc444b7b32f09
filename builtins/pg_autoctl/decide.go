package pgautoctl

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// todo is what decide says is to be done, in this order. The zero value is nothing.
type todo struct {
	Wait        bool  // until the creation that is under way has ended; then look again
	Outlive     *Node // wait until another node is the primary, and this row's node is known to be gone
	RemoveState bool  // remove the state of a creation that was cut off, or of data that are gone
	Forget      *Node // remove this row from the monitor
	ForgetNow   bool  // with no word to the keeper: nothing else is in the formation
	RemoveData  bool  // remove a cluster in which no server has ever run
	Leftover    bool  // remove what an initdb that was cut off has left
	Initdb      bool
	Create      bool
	First       bool // it will be the first node of its formation
}

func (t todo) nothing() bool { return t == todo{} }

// alive is how old a report may be of a node that lives: each reports once a second.
const alive = 10 * time.Second

// decide says what to do about a data node that is to exist. It never gives up data: what it has
// removed is a cluster in which no server has ever run, what pg_autoctl has noted of a creation that was cut off or of data that are gone,
// and rows of the monitor.
func (p nodeParams) decide(s situation) (todo, error) {
	switch {
	case s.Creating:
		return todo{Wait: true}, nil

	case s.Init && (!s.State || s.Self == nil):
		// A creation that was cut off before its registration was committed, or for a monitor that is no more.
		s.State, s.Init = false, false
		t, err := p.decide(s)
		t.RemoveState = true
		return t, err

	case s.State && !s.Init && s.Self != nil && (s.Data != noCluster || s.Running):
		// Where it runs, its keeper may be about to replace the data.
		return todo{}, p.sameMonitor(s.Monitor)

	case s.State && !s.Init && s.Self == nil:
		return todo{}, fmt.Errorf("the monitor does not know this node, though its creation is finished. "+
			"If the monitor is a new one and the node runs, pg_autoctl.register registers it. %s", ifUnknown(service(p.Service), s.Files))

	case s.Data == otherContent:
		return todo{}, errOtherContent(p.PGData)

	case len(s.Others) == 0 && s.Self != nil && s.Self.ReportedState != "init" && s.Data != usedCluster:
		// Its keeper has reported, so there was data. Which state the monitor has it on the way to says nothing of that.
		return todo{}, fmt.Errorf("the monitor has %s, which is %s, as the only node of the formation %q, and its data is not in %s: bring that back, "+
			"or begin with an empty cluster by dropping the node first: pg_autoctl.drop(monitor, node = %q)", p.Name, s.Self.states(), p.Formation, p.PGData, p.Name)

	case s.State && !s.Init:
		// Its data were removed, or are not mounted: it joins anew.
		return todo{Outlive: s.Self, RemoveState: true, Forget: s.Self, Create: true}, nil

	case s.State:
		// Its creation was cut off after it had been registered. The same creation goes on from there.
		return todo{Create: true, First: len(s.Others) == 0}, nil

	case s.Self == nil && len(s.Others) == 0:
		return todo{Initdb: s.Data == noCluster, Create: true, First: true}, nil

	case s.Self == nil && s.Data == usedCluster:
		return todo{}, fmt.Errorf("pgdata: %s holds a cluster that was in use, and is no member of the formation %q, which has other nodes: "+
			"move it away, and the node will get a copy of the primary's", p.PGData, p.Formation)

	case s.Self == nil:
		return todo{RemoveData: s.Data == newCluster, Create: true}, nil

	case len(s.Others) == 0:
		// Cut off between its registration and the writing of its state file, or that file was lost.
		return todo{Forget: s.Self, ForgetNow: true, Initdb: s.Data == noCluster, Create: true, First: true}, nil

	case s.Data == usedCluster:
		return todo{}, fmt.Errorf("pgdata: the monitor knows %s, but there is no state file of it here, and %s holds a cluster that was in use: "+
			"bring the state file back, or move %s away, and the node will get a copy of the primary's", p.Name, p.PGData, p.PGData)
	}
	// A member of a formation with other nodes whose machine was lost, or a creation that was cut off between
	// its registration and the writing of its state file: it joins anew.
	return todo{Outlive: s.Self, Forget: s.Self, RemoveData: s.Data == newCluster, Create: true}, nil
}

// sameMonitor says what to do about a node whose keeper has another monitor in its settings, or none.
func (p nodeParams) sameMonitor(uri string) error {
	if uri == monitorDisabled {
		return errors.New("the node works without a monitor, though the monitor knows it: an earlier registration was cut off. " +
			"Register it again with pg_autoctl.register")
	}
	want := joinHostPort(p.MonitorHostname, p.MonitorPort)
	found := "an address that cannot be read"
	if u, err := url.Parse(uri); err == nil {
		found = u.Host
	}
	if found == want {
		return nil
	}
	return fmt.Errorf("monitor_hostname: the node reports to the monitor at %s, and it is to be at %s. If it is the same monitor with another address, "+
		"tell the node: pg_autoctl.config(h, pgdata = %q, service = %q, settings = {\"pg_autoctl.monitor\": %q})",
		found, want, p.PGData, p.Service, uriOfMonitor(p.MonitorHostname, p.MonitorPort, p.SSLMode, p.SSLCAFile))
}

// gone says why a node cannot be taken for lost yet: it may live on under another roof, or be the only
// one with the data.
func (s situation) gone() error {
	switch {
	case s.Self == nil:
		return nil
	case s.Self.ReportAge < alive && s.Self.Health != 0 && s.Self.ReportedState != "init" && s.Self.ReportedState != "wait_standby":
		return fmt.Errorf("it reported to the monitor %s ago: does another machine use its name or address?", s.Self.ReportAge.Round(time.Second))
	case s.primary() == nil:
		return fmt.Errorf("no other node has become the primary; %s is %s", s.Self.Name, s.Self.states())
	case s.primary().ReportAge >= alive || s.primary().Health == 0: // it could not give it a copy, and this node may be wanted again
		return fmt.Errorf("%s, the primary, has not reported for %s, or does not answer", s.primary().Name, s.primary().ReportAge.Round(time.Second))
	}
	return nil
}

// summary lists what is to be done; each field of a todo shows in it.
func (p nodeParams) summary(t todo, files layout) (lines []string) {
	add := func(yes bool, line string, args ...any) {
		if yes {
			lines = append(lines, fmt.Sprintf(line, args...))
		}
	}
	add(t.Wait, "wait for the creation that an earlier run began, and finish it")
	add(t.Outlive != nil, "wait up to %s until the formation does without %s", outliveTimeout, p.Name)
	add(t.RemoveState, "remove what pg_autoctl has noted of a creation that was cut off, or of a node that is no more: %s", strings.Join(files.ofCreation(), ", "))
	if t.Forget != nil {
		how := ""
		if t.ForgetNow {
			how = " at once, without a word to it"
		}
		add(true, "remove the lost node %s from the monitor%s", p.Name, how)
		add(true, "remove what is left of it: %s and %s", files.settings(), files.backup(t.Forget.ID))
	}
	add(t.RemoveData, "remove the unused cluster in %s", p.PGData)
	if t.Leftover {
		add(true, "%s", p.leftoverLine())
	}
	add(t.Initdb, "initialize a cluster in %s", p.PGData)
	add(t.Create && t.First, "create the formation's first node, %s, at %s", p.Name, joinHostPort(p.Hostname, p.Port))
	add(t.Create && !t.First, "create the standby %s at %s by a base backup", p.Name, joinHostPort(p.Hostname, p.Port))
	return lines
}
