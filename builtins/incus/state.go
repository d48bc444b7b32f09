package incus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
)

// look returns an instance that has to exist.
func (w which) look(ctx context.Context, r host.Reader) (*incus.Server, incus.Instance, error) {
	s, name, err := w.find(ctx, r)
	if err != nil {
		return nil, incus.Instance{}, err
	}
	have, err := s.Instance(ctx, name)
	return s, have, err
}

type startedParams struct {
	which
	waitParams
}

func checkStarted(ctx context.Context, r host.Reader, p startedParams) (*builtin.Change, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	s, have, err := p.look(ctx, r)
	if err != nil {
		return nil, err
	}
	return planStart(s, have, p.waitParams, new(string)), nil
}

// planStart says what it takes to have an instance running and up; nil where it runs. Its address goes to
// address.
func planStart(s *incus.Server, have incus.Instance, wait waitParams, address *string) *builtin.Change {
	verb := "start"
	switch have.Status {
	case "Running":
		return nil
	case "Frozen":
		verb = "thaw"
	}
	return &builtin.Change{
		Summary: []string{fmt.Sprintf("%s instance %s", verb, have.Name)},
		Apply: func(ctx context.Context, _ host.Host) error {
			err := s.Start(ctx, have.Name)
			if err == nil {
				*address, err = wait.up(ctx, s, have.Name)
			}
			return err
		},
	}
}

type stoppedParams struct {
	which
	Force   bool          `star:"force" doc:"Whether to stop it at once, without asking it to shut down."`
	Timeout time.Duration `star:"timeout" doc:"How long a clean stop may take; past it the task fails and the instance runs on."`
}

func checkStopped(ctx context.Context, r host.Reader, p stoppedParams) (*builtin.Change, error) {
	if p.Timeout <= 0 {
		return nil, errors.New("timeout: it has to be more than nothing")
	}
	s, have, err := p.look(ctx, r)
	if err != nil || have.Status == "Stopped" {
		return nil, err
	}
	how := "stop"
	if p.Force {
		how = "stop by force"
	}
	return &builtin.Change{
		Summary: []string{fmt.Sprintf("%s instance %s", how, have.Name)},
		Apply: func(ctx context.Context, _ host.Host) error {
			ctx, cancel := within(ctx, p.Timeout, "not stopped")
			defer cancel()
			return s.Stop(ctx, have.Name, p.Force)
		},
	}, nil
}

type restartedParams struct {
	which
	Force bool `star:"force" doc:"Whether to stop it at once, without asking it to shut down."`
	waitParams
}

func checkRestarted(ctx context.Context, r host.Reader, p restartedParams) (*builtin.Change, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	s, have, err := p.look(ctx, r)
	if err != nil {
		return nil, err
	}
	if have.Status == "Stopped" {
		return planStart(s, have, p.waitParams, new(string)), nil
	}
	return &builtin.Change{
		Summary: []string{"restart instance " + have.Name},
		Apply: func(ctx context.Context, _ host.Host) error {
			stop, cancel := within(ctx, p.Timeout, "not restarted")
			defer cancel()
			if err := s.Restart(stop, have.Name, p.Force); err != nil {
				return err
			}
			_, err := p.up(ctx, s, have.Name)
			return err
		},
	}, nil
}

type frozenParams struct{ which }

func checkFrozen(ctx context.Context, r host.Reader, p frozenParams) (*builtin.Change, error) {
	s, have, err := p.look(ctx, r)
	switch {
	case err != nil || have.Status == "Frozen":
		return nil, err
	case have.Status != "Running":
		return nil, fmt.Errorf("instance %s is %s: only one that runs can be frozen", have.Name, have.Status)
	}
	return &builtin.Change{
		Summary: []string{"freeze instance " + have.Name},
		Apply:   func(ctx context.Context, _ host.Host) error { return s.Freeze(ctx, have.Name) },
	}, nil
}

type absentParams struct {
	which
	Force   bool          `star:"force" doc:"Whether one that runs is stopped at once and deleted. Without it that is an error."`
	Timeout time.Duration `star:"timeout" doc:"How long it may take."`
}

func checkAbsent(ctx context.Context, r host.Reader, p absentParams) (*builtin.Change, error) {
	s, have, err := p.look(ctx, r)
	switch {
	case errors.Is(err, host.ErrAbsent):
		return nil, nil
	case err != nil:
		return nil, err
	case have.Status != "Stopped" && !p.Force:
		return nil, fmt.Errorf("force: instance %s is %s: stop it with incus.stopped first, or say force = True", have.Name, have.Status)
	}
	return &builtin.Change{
		Summary: []string{"delete instance " + have.Name},
		Apply: func(ctx context.Context, _ host.Host) error {
			ctx, cancel := within(ctx, p.Timeout, "not deleted")
			defer cancel()
			return s.DeleteInstance(ctx, have.Name, p.Force)
		},
	}, nil
}
