package pgautoctl

import (
	"context"
	"fmt"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type maintenanceParams struct {
	Node string `star:"node,required" doc:"Name of the data node."`
	registry
	Enabled       bool `star:"enabled" doc:"Whether the node is to be in maintenance."`
	AllowFailover bool `star:"allow_failover" doc:"Whether the node may be the primary, which is then failed over from first."`
}

// inMaintenance are the states of a node that is in maintenance, or on its way there.
var inMaintenance = []string{"maintenance", "wait_maintenance", "prepare_maintenance"}

func checkMaintenance(ctx context.Context, r host.Reader, p maintenanceParams) (*builtin.Change, error) {
	f, err := p.read(ctx, r)
	if err != nil {
		return nil, err
	}
	n, err := f.need(p.Node)
	if err != nil {
		return nil, err
	}
	if p.Enabled {
		return p.enable(*n)
	}
	return p.disable(*n)
}

func (p maintenanceParams) enable(n Node) (*builtin.Change, error) {
	switch {
	case n.in("maintenance"):
		return nil, nil
	case n.isPrimary() && !p.AllowFailover:
		return nil, fmt.Errorf("node: %s is the primary: switch over first, or say allow_failover = True", n.Name)
	}
	begun := n.touches(inMaintenance...)
	return &builtin.Change{
		Summary: []string{"put " + n.Name + " into maintenance"},
		Apply: func(ctx context.Context, h host.Host) error {
			if !begun {
				if err := p.call(ctx, h, `SELECT pgautofailover.start_maintenance($1)`, n.ID); err != nil {
					return err
				}
			}
			// A primary's maintenance is there before its successor is. Ended then, it would make the same
			// node primary again: so wait for the successor, too.
			return p.await(ctx, h, n.Name+" in maintenance", func(f formation) error {
				now, err := f.need(n.Name)
				switch p := f.primary(); {
				case err != nil:
					return final{err}
				case !now.in("maintenance"):
					return fmt.Errorf("%s is %s", now.Name, now.states())
				case p == nil || !p.in("primary", "wait_primary", "single"):
					return fmt.Errorf("no settled primary: %s", f.progress())
				}
				return nil
			})
		},
	}, nil
}

func (p maintenanceParams) disable(n Node) (*builtin.Change, error) {
	if !n.touches(inMaintenance...) {
		return nil, nil
	}
	return &builtin.Change{
		Summary: []string{"take " + n.Name + " out of maintenance"},
		Apply: func(ctx context.Context, h host.Host) error {
			called := false
			return p.await(ctx, h, n.Name+" out of maintenance", func(f formation) error {
				now, err := f.need(n.Name)
				if err != nil {
					return final{err}
				}
				if now.in("maintenance") && !called {
					if err := p.call(ctx, h, `SELECT pgautofailover.stop_maintenance($1)`, n.ID); err != nil {
						return final{err}
					}
					called = true
				}
				if !now.in("secondary", "primary", "single") {
					return fmt.Errorf("%s is %s", now.Name, now.states())
				}
				return f.settled()
			})
		},
	}, nil
}
