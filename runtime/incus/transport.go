package incus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/transport"
)

// startTimeout bounds the start of an agent, and pushTimeout a push: of 3.3 MB, perhaps on a slow link.
const (
	startTimeout = 30 * time.Second
	pushTimeout  = 2 * time.Minute
)

// explainTimeout bounds the look that may explain why an agent did not start.
const explainTimeout = 2 * time.Second

// Transport starts agents on an instance, which need not exist yet.
func (s *Server) Transport(instance string) transport.Transport {
	return instanceTransport{s, instance}
}

type instanceTransport struct {
	server   *Server
	instance string
}

// Open starts an agent, which is one command on the instance and its websockets; the file is there
// from the last time, or pushed now.
func (t instanceTransport) Open(ctx context.Context, readOnly bool) (io.ReadWriteCloser, error) {
	s := t.server
	ctx, cancel := bounded(ctx, startTimeout+pushTimeout)
	defer cancel()
	look, cancelLook := within(ctx, startTimeout)
	defer cancelLook()
	instance, err := s.running(look, t.instance)
	if err != nil {
		return nil, err
	}
	program, err := s.agent(goarch(instance.Architecture))
	if err != nil {
		return nil, t.unreachable(fmt.Errorf("no agent for its architecture, %s: %w", instance.Architecture, err))
	}
	file := "agent-" + program.SHA256
	p, err := s.startAgent(ctx, t.instance, file, readOnly)
	// More than once: an instance that boots mounts its /run over what was put there.
	for pushes := 0; errors.Is(err, errNoAgent) && pushes < 3; pushes++ {
		if err = s.pushAgent(ctx, t.instance, file, program); err == nil {
			p, err = s.startAgent(ctx, t.instance, file, readOnly)
		}
	}
	if err == nil {
		return p, nil
	}
	// The list may be a second old: what the instance is now says more than a command that failed.
	s.instances.drop()
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, t.unreachable(err) // nobody waits for an explanation
	}
	after, cancelAfter := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
	defer cancelAfter()
	if _, now := s.running(after, t.instance); now != nil && after.Err() == nil {
		return nil, now
	}
	return nil, t.unreachable(err)
}

// unreachable says which instance it is that an error keeps us from.
func (t instanceTransport) unreachable(err error) error {
	var already *host.Unreachable
	if errors.As(err, &already) {
		return err
	}
	return &host.Unreachable{Host: t.instance, Err: err}
}

// running returns an instance that commands can be run on. One that is absent is host.ErrAbsent, one
// in another state a *host.Unreachable that says what to do. The cached list serves if it says that
// the instance runs, and only then.
func (s *Server) running(ctx context.Context, name string) (Instance, error) {
	instance, err := s.cached(ctx, name)
	if err != nil || instance.Status != "Running" {
		instance, err = s.Instance(ctx, name)
	}
	if err == nil {
		err = instance.running()
	}
	return instance, err
}

// running is a *host.Unreachable that says what to do where an instance does not run.
func (i Instance) running() error {
	down, advice := false, "wait until it is Running"
	switch i.Status {
	case "Running":
		return nil
	case "Stopped":
		down, advice = true, "start it with incus start, or in a playbook with incus.started"
	case "Frozen":
		down, advice = true, "unfreeze it with incus resume, or in a playbook with incus.started"
	case "Error":
		advice = "incus info --show-log " + i.Name + " may say why"
	}
	return &host.Unreachable{Host: i.Name, Down: down, Err: fmt.Errorf("it is %s: %s", i.Status, advice)}
}
