package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type performParams struct {
	Operation string `star:"operation,required" choices:"failover switchover promotion" doc:"failover, switchover or promotion."`
	registry
	Node string `star:"node" doc:"The node to promote: for a promotion, and if one is wanted for a switchover."`
}

type performResult struct {
	Primary  string        `star:"primary" doc:"Name of the primary now."`
	Previous string        `star:"previous" doc:"Name of the primary before."`
	Took     time.Duration `star:"took" doc:"Time until the new primary took writes."`
}

// inPromotion are the states of a node that is on its way from secondary to primary.
var inPromotion = []string{"prepare_promotion", "fast_forward", "stop_replication", "wait_primary"}

func (p performParams) validate() error {
	switch p.Operation {
	case "promotion":
		if p.Node == "" {
			return errors.New("node: a promotion needs the name of the node to promote")
		}
	case "failover":
		if p.Node != "" {
			return errors.New("node: a failover takes the node that the monitor chooses: for a certain one, ask for a promotion or switchover")
		}
	}
	return nil
}

func checkPerform(ctx context.Context, r host.Reader, p performParams) (*builtin.Change, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	f, err := p.read(ctx, r)
	if err != nil {
		return nil, err
	}
	begun := false
	if p.Node != "" {
		n, err := f.need(p.Node)
		if err != nil {
			return nil, err
		}
		if n.isPrimary() && !f.underWay(n) {
			return &builtin.Change{Learned: performResult{n.Name, n.Name, 0}}, nil
		}
		begun = n.isPrimary() || n.touches(inPromotion...) // by a run that was cut off, or by the monitor itself
		if !begun && !n.in("secondary", "report_lsn") {
			return nil, fmt.Errorf("node: %s is %s: only a secondary can be promoted", n.Name, n.states())
		}
	}
	if len(f.Nodes) < 2 {
		return nil, fmt.Errorf("the formation %q has no other node to fail over to (data nodes: %d)", f.Name, len(f.Nodes))
	}
	if p.Operation == "switchover" && !begun {
		if problems := f.problems(alive); len(problems) > 0 {
			return nil, fmt.Errorf("the formation %q is not healthy, and nothing was done: %s. A failover does not ask for that", f.Name, strings.Join(problems, "; "))
		}
	}
	previous := primaryName(f.primary())
	if previous == p.Node {
		previous = "" // the new one is that far already
	}
	change := &builtin.Change{Summary: []string{p.line(previous)}}
	learned := &performResult{Previous: previous}
	if dry, _ := builtin.DryRun(ctx); !dry {
		change.Learned = learned
	}
	change.Apply = func(ctx context.Context, h host.Host) error {
		start := time.Now()
		if !begun {
			if err := p.begin(ctx, h); err != nil {
				return err
			}
		}
		err := p.await(ctx, h, p.Operation, func(f formation) error {
			now := f.primary()
			if now == nil || now.Name == previous || p.Node != "" && now.Name != p.Node {
				return fmt.Errorf("the primary is still to come: %s", f.progress())
			}
			learned.Primary = now.Name
			return nil
		})
		if err != nil {
			return err
		}
		learned.Took = time.Since(start).Round(time.Millisecond)
		if p.Operation == "failover" {
			return nil // the old primary may be gone for good
		}
		return p.await(ctx, h, p.Operation+": the other nodes", formation.stable)
	}
	return change, nil
}

// underWay reports whether a node besides the one that is alive has not got to where it is to stay.
func (f formation) underWay(besides *Node) bool {
	for _, n := range f.Nodes {
		if n.ID != besides.ID && n.ReportAge < alive && !n.in("secondary", "maintenance") {
			return true
		}
	}
	return false
}

func (p performParams) line(previous string) string {
	from, to := "", ""
	if previous != "" {
		from = " from " + previous
	}
	if p.Node != "" {
		to = " to " + p.Node
	}
	return p.Operation + from + to
}

func (p performParams) begin(ctx context.Context, h host.Host) error {
	if p.Node != "" {
		return p.call(ctx, h, `SELECT pgautofailover.perform_promotion($1, $2)`, p.Formation, p.Node)
	}
	return p.call(ctx, h, `SELECT pgautofailover.perform_failover($1, 0)`, p.Formation)
}

// progress lists the states of all nodes.
func (f formation) progress() string {
	var all []string
	for _, n := range f.Nodes {
		all = append(all, n.Name+" "+n.states())
	}
	return strings.Join(all, "; ")
}
