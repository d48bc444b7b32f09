package pgautoctl

import (
	"context"
	"errors"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/outcome"
)

// pollEvery is the pause between two looks at something that is waited for.
const pollEvery = 200 * time.Millisecond

// final is an error that waiting will not cure.
type final struct{ error }

func (e final) Unwrap() error { return e.error }

// waitOwn is waitFor with a limit that the playbook did not write: past it the error is an ordinary one.
func waitOwn(ctx context.Context, what string, limit time.Duration, ready func(ctx context.Context) error) error {
	err := waitFor(ctx, what, limit, ready)
	if late, ok := errors.AsType[*outcome.Deadline](err); ok && ctx.Err() == nil {
		return errors.New(late.Error())
	}
	return err
}

// waitFor asks until ready returns nil, or a final error. What it returned last is told when the time is over.
func waitFor(ctx context.Context, what string, timeout time.Duration, ready func(ctx context.Context) error) error {
	inner, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last error
	for {
		err := ready(inner)
		over, hopeless := errors.AsType[final](err)
		switch {
		case err == nil:
			return nil
		case hopeless:
			return over.error
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case inner.Err() == nil:
			last = err // the one that the deadline caused says nothing
		}
		if host.Pause(inner, pollEvery) != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return &outcome.Deadline{What: what, After: timeout, Last: last}
		}
	}
}
