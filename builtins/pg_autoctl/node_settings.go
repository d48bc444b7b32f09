package pgautoctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type nodeSettingsParams struct {
	Node string `star:"node,required" doc:"Name of the data node."`
	registry
	CandidatePriority builtin.Optional[int]  `star:"candidate_priority" doc:"0 to 100: of two equally good standbys the higher one is promoted; 0 is never promoted."`
	ReplicationQuorum builtin.Optional[bool] `star:"replication_quorum" doc:"Whether commits may wait for the node."`
}

func checkPriority(p builtin.Optional[int]) error {
	if p.Set && (p.Value < 0 || p.Value > 100) {
		return fmt.Errorf("candidate_priority: %d is not between 0 and 100", p.Value)
	}
	return nil
}

func checkNodeSettings(ctx context.Context, r host.Reader, p nodeSettingsParams) (*builtin.Change, error) {
	if err := checkPriority(p.CandidatePriority); err != nil {
		return nil, err
	}
	f, err := p.read(ctx, r)
	if err != nil {
		return nil, err
	}
	n, err := f.need(p.Node)
	if err != nil {
		return nil, err
	}
	var changes []*builtin.Change
	add := func(setting string, was, is any) {
		changes = append(changes, &builtin.Change{
			Summary: []string{fmt.Sprintf("set %s of %s to %v (was %v)", setting, n.Name, is, was)},
			Apply: func(ctx context.Context, h host.Host) error {
				return p.set(ctx, h, setting, `SELECT pgautofailover.set_node_`+setting+`($1, $2, $3)`, p.Formation, n.Name, is)
			},
		})
	}
	// An election adds 100 to a priority, or takes them off, until it is over.
	if n.CandidatePriority < 0 || n.CandidatePriority > 100 {
		return nil, errors.New("the formation is in a failover: wait until pg_autoctl.state says that it is healthy")
	}
	if want := p.CandidatePriority; want.Set && want.Value != n.CandidatePriority {
		add("candidate_priority", n.CandidatePriority, want.Value)
	}
	if want := p.ReplicationQuorum; want.Set && want.Value != n.ReplicationQuorum {
		add("replication_quorum", n.ReplicationQuorum, want.Value)
	}
	return builtin.Join(changes...), nil
}
