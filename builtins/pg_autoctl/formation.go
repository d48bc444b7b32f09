package pgautoctl

import (
	"context"
	"fmt"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type formationParams struct {
	NumberSyncStandbys builtin.Any `star:"number_sync_standbys,required" doc:"An integer, or \"auto\": the number of data nodes less 2, and not below 0."`
	registry
}

type formationResult struct {
	NumberSyncStandbys int `star:"number_sync_standbys" doc:"What it is set to."`
}

func checkFormation(ctx context.Context, r host.Reader, p formationParams) (*builtin.Change, error) {
	n, auto, err := numberOf(p.NumberSyncStandbys)
	if err != nil {
		return nil, err
	}
	f, err := p.read(ctx, r)
	if err != nil {
		return nil, err
	}
	if len(f.Nodes) == 0 {
		return nil, host.NotThere("the formation %q has no data node yet", f.Name)
	}
	if auto {
		n = max(0, f.quorum()-2)
	}
	if err := f.admits(n); err != nil {
		return nil, err
	}
	learned := formationResult{n}
	if f.NumberSyncStandbys == n {
		return &builtin.Change{Learned: learned}, nil
	}
	return &builtin.Change{
		Summary: []string{fmt.Sprintf("set number_sync_standbys of the formation %s to %d (was %d)", f.Name, n, f.NumberSyncStandbys)},
		Learned: learned,
		Apply: func(ctx context.Context, h host.Host) error {
			return p.set(ctx, h, "number_sync_standbys", `SELECT pgautofailover.set_formation_number_sync_standbys($1, $2)`, p.Formation, n)
		},
	}, nil
}

func numberOf(v builtin.Any) (n int, auto bool, err error) {
	switch v := v.Value.(type) {
	case starlark.String:
		if v == "auto" {
			return 0, true, nil
		}
	case starlark.Int:
		if err := starlark.AsInt(v, &n); err == nil && n >= 0 {
			return n, false, nil
		}
	}
	return 0, false, fmt.Errorf("number_sync_standbys: got %s, want an integer from 0 on, or \"auto\"", v.Value)
}

// admits says why the monitor would refuse a number_sync_standbys.
func (f formation) admits(n int) error {
	standbys := f.quorum() - 1
	if n == 0 || standbys > n {
		return nil
	}
	return fmt.Errorf("number_sync_standbys: %d needs %d standbys in the replication quorum, and the formation %q has %d (data nodes: %d): "+
		"either set 0 (or \"auto\"), with which commits wait for a standby as long as there is one, or add data nodes until there are %d",
		n, n+1, f.Name, max(0, standbys), len(f.Nodes), n+2)
}
