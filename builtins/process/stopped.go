package process

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type stoppedParams struct {
	nameParams
	Timeout   time.Duration                   `star:"timeout" doc:"How long it has to end; past it the task fails, and the process is left alone."`
	KillAfter builtin.Optional[time.Duration] `star:"kill_after" doc:"How long after SIGTERM it is killed by SIGKILL, which it cannot ignore; less than timeout. Never if left out."`
}

func checkStopped(ctx context.Context, r host.Reader, p stoppedParams) (*builtin.Change, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	if p.Timeout <= 0 {
		return nil, errors.New("timeout: it has to be more than nothing")
	}
	if p.KillAfter.Set && (p.KillAfter.Value < 0 || p.KillAfter.Value >= p.Timeout) {
		return nil, fmt.Errorf("kill_after: %v is not less than timeout (%v)", p.KillAfter.Value, p.Timeout)
	}
	pid, err := p.find(ctx, r)
	if err != nil || pid == 0 {
		return nil, err
	}
	return &builtin.Change{
		Summary: []string{fmt.Sprintf("stop %s (process %d)", p.Name, pid)},
		Apply:   p.stop,
	}, nil
}

func (p stoppedParams) stop(ctx context.Context, h host.Host) error {
	pid, err := p.find(ctx, h)
	if err != nil || pid == 0 {
		return err
	}
	if err := p.signal(ctx, h, "TERM", pid); err != nil {
		return err
	}
	began, killed := time.Now(), !p.KillAfter.Set
	for {
		pid, err := p.find(ctx, h)
		took := time.Since(began)
		switch {
		case err != nil:
			return err
		case pid == 0:
			return h.Remove(ctx, p.note(), false)
		case took > p.Timeout:
			return p.stays(pid)
		case !killed && took >= p.KillAfter.Value:
			killed = true
			if err := p.signal(ctx, h, "KILL", pid); err != nil {
				return err
			}
		}
		if err := host.Pause(ctx, every); err != nil {
			return err
		}
	}
}

// signal sends a signal to the process, which may have ended meanwhile.
func (p stoppedParams) signal(ctx context.Context, h host.Host, name string, pid int) error {
	c := host.Command{Argv: []string{"kill", "-" + name, strconv.Itoa(pid)}}
	_, err := host.Succeeded(c)(h.Run(ctx, c))
	if err == nil {
		return nil
	}
	if now, looked := p.find(ctx, h); looked == nil && now == 0 {
		return nil
	}
	return err
}

// stays is the error of a process that did not end in time.
func (p stoppedParams) stays(pid int) error {
	if p.KillAfter.Set {
		return fmt.Errorf("%s (process %d) did not end within %v, of SIGKILL neither: it waits in the kernel, see cat /proc/%[2]d/stack", p.Name, pid, p.Timeout)
	}
	return fmt.Errorf("%s (process %d) did not end within %v of SIGTERM: give it longer with timeout, or say kill_after, or end it with kill -9 %[2]d", p.Name, pid, p.Timeout)
}
