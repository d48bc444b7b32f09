package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/outcome"
)

type dropParams struct {
	Node string `star:"node,required" doc:"Name of the data node."`
	registry
}

type dropResult struct {
	WasMember bool `star:"was_member" doc:"Whether the formation had a node of that name."`
}

// dropPatience is how long a node has to take note that it was dropped, which takes one that lives two seconds.
const dropPatience = 30 * time.Second

func checkDrop(ctx context.Context, r host.Reader, p dropParams) (*builtin.Change, error) {
	if err := checkNodeName("node", p.Node); err != nil {
		return nil, err
	}
	f, err := p.read(ctx, r)
	if err != nil {
		return nil, err
	}
	n := f.find(p.Node)
	if n == nil {
		return &builtin.Change{Learned: dropResult{}}, nil
	}
	if others := len(f.Nodes) - 1; others > 0 {
		if p := f.primary(); p == nil || p.ID == n.ID {
			return nil, fmt.Errorf("node: %s is the primary, or there is none: make another node the primary first, with pg_autoctl.perform", n.Name)
		}
	}
	return &builtin.Change{
		Summary: []string{fmt.Sprintf("drop %s from the formation %s", n.Name, f.Name)},
		Learned: dropResult{WasMember: true},
		Apply: func(ctx context.Context, h host.Host) error {
			if n.AssignedState != "dropped" {
				if err := p.remove(ctx, h, *n, false); err != nil {
					return err
				}
			}
			patient := p
			patient.Timeout = min(p.Timeout, dropPatience)
			err := patient.awaitGone(ctx, h, *n)
			if late, isLate := errors.AsType[*outcome.Deadline](err); !isLate || late.After < dropPatience {
				return err
			}
			if err := p.remove(ctx, h, *n, true); err != nil {
				return err
			}
			return p.awaitGone(ctx, h, *n)
		},
	}, nil
}

func (p dropParams) remove(ctx context.Context, h host.Host, n Node, force bool) error {
	return p.call(ctx, h, `SELECT pgautofailover.remove_node($1, $2, $3)`, n.Host, n.Port, force)
}

// awaitGone waits until the monitor has forgotten the node, and the primary does without it.
func (p dropParams) awaitGone(ctx context.Context, h host.Host, n Node) error {
	return p.await(ctx, h, "dropping "+n.Name, func(f formation) error {
		now := f.find(n.Name)
		switch {
		case now != nil && now.ID == n.ID:
			return fmt.Errorf("%s is %s", now.Name, now.states())
		case len(f.Nodes) == 0:
			return nil
		}
		return f.settledOrAlone()
	})
}

// settledOrAlone is settled, where a primary may also be waiting for the standbys that it no longer has.
func (f formation) settledOrAlone() error {
	if p := f.primary(); p != nil && p.in("wait_primary") {
		return nil
	}
	return f.settled()
}
