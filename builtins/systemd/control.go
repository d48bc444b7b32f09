package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// control has systemd do things.
type control struct {
	h host.Host
	runParams
}

// systemctl runs a command of systemctl's and waits until it is done.
func (c *control) systemctl(ctx context.Context, args ...string) error {
	within, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cmd := host.Command{Argv: append([]string{"systemctl", "--no-ask-password"}, args...)}
	_, err := host.Succeeded(cmd)(c.h.Run(within, cmd))
	if failed := (*host.Failed)(nil); errors.As(err, &failed) {
		failed.Command = "systemctl " + strings.Join(args, " ")
		return err
	}
	if err != nil && ctx.Err() == nil && within.Err() != nil {
		return fmt.Errorf("systemctl %s: %w", strings.Join(args, " "), &late{c.Timeout})
	}
	return err
}

// change is one that control makes.
func change(timeout time.Duration, summary string, do func(ctx context.Context, c *control) error) *builtin.Change {
	return &builtin.Change{Summary: []string{summary}, Apply: func(ctx context.Context, h host.Host) error {
		return do(ctx, &control{h, runParams{Timeout: timeout}})
	}}
}

// step is a change that is one command of systemctl's.
func step(timeout time.Duration, summary string, args ...string) *builtin.Change {
	return change(timeout, summary, func(ctx context.Context, c *control) error { return c.systemctl(ctx, args...) })
}

// disable keeps a unit, or all instances of a template, from starting at boot.
func (c *control) disable(ctx context.Context, name string) error {
	return c.undo(ctx, "disable", name, unit.linked, "a generator of systemd's enables it at each boot: keep it from starting with systemd.masked")
}

// undo disables or unmasks a unit: what was done to it in /etc and, where that was not all, in /run. If it still is so
// after that, somebody else does it, as why says.
func (c *control) undo(ctx context.Context, verb, name string, still func(unit) bool, why string) error {
	var u unit
	for _, args := range [][]string{{verb, name}, {verb, "--runtime", name}} {
		err := c.systemctl(ctx, args...)
		if err == nil {
			u, err = show(ctx, c.h, name, c.Timeout)
		}
		if err != nil || !still(u) {
			return err
		}
	}
	return fmt.Errorf("%s %s: that leaves it %s: %s", verb, name, u.file, why)
}

// tell has systemd stop the unit.
func (a attempt) tell(ctx context.Context) error {
	if err := a.systemctl(ctx, a.verb, a.name); err != nil {
		return a.failed(ctx, err)
	}
	return nil
}

// start starts, restarts or reloads the unit and sees that it is up; reload notes that, too. stays says that it must not end by itself.
func (a attempt) start(ctx context.Context, stays bool) error {
	// systemd refuses to start what was started too often of late, by itself or by us (StartLimitBurst=). That
	// limit is against endless loops, and this is none.
	if err := a.forget(ctx, a.name); err != nil {
		return err
	}
	deadline := time.Now().Add(a.Timeout)
	if err := a.systemctl(ctx, a.verb, a.name); err != nil {
		return a.failed(ctx, err)
	}
	settled := time.Now().Add(a.Settle)
	for pause := 25 * time.Millisecond; ; pause *= 2 {
		u, err := show(ctx, a.h, a.name, a.Timeout)
		if err != nil {
			return err
		}
		left := time.Until(settled)
		switch {
		case u.running() && u.restarts == 0 && (u.tells() || left <= 0):
			return nil
		case u.stopped() && u.result == "success" && !stays:
			return nil
		case u.stopped() && u.result == "success" && u.ended():
			return endsError(a.name)
		case u.stopped(), u.restarts > 0, strings.HasPrefix(u.sub, "auto-restart"):
			return a.failed(ctx, nil)
		case time.Now().After(deadline):
			return a.failed(ctx, &late{a.Timeout})
		}
		if u.running() {
			pause = min(pause, max(left, time.Millisecond))
		}
		if err := host.Pause(ctx, min(pause, time.Second)); err != nil {
			return err
		}
	}
}

// forget has systemd forget a unit's failures and how often it was started. For a unit that has nothing to
// forget systemctl fails, which does not matter.
func (c *control) forget(ctx context.Context, name string) error {
	err := c.systemctl(ctx, "reset-failed", name)
	if errors.As(err, new(*host.Failed)) {
		return nil
	}
	return err
}

// tells reports whether systemd knows when the unit is ready, so that active means it. Of the other kinds
// of service it only knows that a process was started.
func (u unit) tells() bool {
	switch u.kind {
	case "simple", "exec", "idle":
		return false
	}
	return true
}

// late is the error of what systemd did not get done in time. It goes on trying.
type late struct{ after time.Duration }

func (e *late) Error() string {
	return fmt.Sprintf("not done after %s (timeout), systemd goes on trying", e.after)
}
func (e *late) Unwrap() error { return context.DeadlineExceeded }
