package pgautoctl

import (
	"context"
	"fmt"

	"github.com/pgrun/pgrun/runtime/host"
)

// situation is all that decides what is to be done about a data node.
type situation struct {
	Files layout

	Creating bool // a creation is under way, begun by another run

	// What pg_autoctl keeps of the node on its host, see creationMarks.
	State, Init bool

	Data    cluster
	Running bool   // its service runs, or is about to; looked at where a finished node has no data
	Monitor string // the monitor's URI in a finished node's settings

	// Of the monitor. It is not asked where a creation is under way that does not look finished.
	Self   *Node // the row of this node's name or address
	Others []Node
}

// primary returns the other node that is the primary, if there is one.
func (s situation) primary() *Node { return formation{Nodes: s.Others}.primary() }

// look finds out how far the node has come.
func (p nodeParams) look(ctx context.Context, r host.Reader, files layout, marks creationMarks) (s situation, err error) {
	s.Files, s.State, s.Init = files, marks.state, marks.init
	finished := marks.finished()
	if !finished {
		if s.Creating, err = service(p.Service).creating(ctx, r); err != nil {
			return s, err
		}
	}
	if s.Data, err = clusterAt(ctx, r, p.PGData); err != nil || s.Creating {
		return s, err
	}
	if finished && s.Data == noCluster {
		active, err := activeState(ctx, r, p.Service)
		if err != nil {
			return s, err
		}
		s.Running = !stopped(active)
	}
	if finished {
		settings, err := readSettings(ctx, r, files)
		if err != nil {
			return s, err
		}
		s.Monitor = settings["pg_autoctl.monitor"]
	}
	monitor, err := p.Monitor.Reader()
	if err != nil {
		return s, err
	}
	f, err := p.onMonitor().readFormation(ctx, monitor, p.Formation)
	if err != nil {
		return s, fmt.Errorf("the monitor, %s: %w", p.Monitor.Name, err)
	}
	for _, n := range f.Nodes {
		switch same := n.Host == p.Hostname && n.Port == p.Port; {
		case n.Name == p.Name && same:
			s.Self = &n
		case n.Name == p.Name:
			return s, fmt.Errorf("name: the formation %q has a node %q at %s already, and this one is at %s: choose another name, or drop that node with pg_autoctl.drop",
				p.Formation, n.Name, n.address(), joinHostPort(p.Hostname, p.Port))
		case same:
			return s, fmt.Errorf("hostname: at %s the formation %q has a node %q already: name this one so, or drop that node with pg_autoctl.drop",
				n.address(), p.Formation, n.Name)
		default:
			s.Others = append(s.Others, n)
		}
	}
	if finished && s.Self == nil { // it looks the same before it is registered
		if s.Creating, err = service(p.Service).creating(ctx, r); err == nil {
			s.Init, err = files.cutOff(ctx, r)
		}
	}
	return s, err
}
