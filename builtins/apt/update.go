package apt

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type updateParams struct {
	MaxAge      time.Duration `star:"max_age" doc:"The oldest that the lists may be; \"0s\" refreshes them always."`
	Timeout     time.Duration `star:"timeout" doc:"The longest that the refresh may take."`
	LockTimeout time.Duration `star:"lock_timeout" doc:"How long to wait for another package manager to finish."`
}

func checkUpdate(ctx context.Context, r host.Reader, p updateParams) (*builtin.Change, error) {
	l, err := lookAtLists(ctx, r)
	if err != nil || !l.stale(p.MaxAge) {
		return nil, err
	}
	return planRefresh(l, p.Timeout, p.LockTimeout), nil
}

func planRefresh(l lists, timeout, lockTimeout time.Duration) *builtin.Change {
	return &builtin.Change{
		Summary: []string{fmt.Sprintf("refresh the package lists (%s)", l)},
		Apply: func(ctx context.Context, h host.Host) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return (&get{h, lockTimeout}).refresh(ctx)
		},
	}
}
