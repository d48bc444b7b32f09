package systemd

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type startedParams struct {
	Name           string          `star:"name,required" doc:"The unit's name; without a suffix, a service's."`
	RestartIfNewer builtin.Strings `star:"restart_if_newer" doc:"Files of the host that the unit reads when it starts: a running one is restarted if one of them is newer than its process. One that is not there does not count; where one is a symbolic link, what it leads to counts, too, but no link among the directories above it, which is named by itself; of a directory counts what comes and goes in it. A name with *, ? or [ is refused as a pattern."`
	ReloadIfNewer  builtin.Strings `star:"reload_if_newer" doc:"Files of the host that the unit reads when it is reloaded, too: a running one is reloaded if one of them is newer than its last start and than the last reload that pgrun made and that succeeded. Links and directories count as in restart_if_newer. Of a service only."`
	runParams
}

func checkStarted(ctx context.Context, r host.Reader, p startedParams) (*builtin.Change, error) {
	if err := errors.Join(absolute("restart_if_newer", p.RestartIfNewer), absolute("reload_if_newer", p.ReloadIfNewer)); err != nil {
		return nil, err
	}
	running := true
	return reach(ctx, r, p.Name, goal{running: &running, newer: p.RestartIfNewer, unread: p.ReloadIfNewer, runParams: p.runParams})
}

func checkStopped(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	running := false
	return reach(ctx, r, p.Name, goal{running: &running, runParams: runParams{Timeout: p.Timeout}})
}

func checkEnabled(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	enabled := true
	return reach(ctx, r, p.Name, goal{enabled: &enabled, runParams: runParams{Timeout: p.Timeout}})
}

func checkDisabled(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	enabled := false
	return reach(ctx, r, p.Name, goal{enabled: &enabled, runParams: runParams{Timeout: p.Timeout}})
}

// reach plans how a unit that exists comes to a goal.
func reach(ctx context.Context, r host.Reader, name string, g goal) (*builtin.Change, error) {
	u, err := existing(ctx, r, name, g)
	if err != nil {
		return nil, err
	}
	if len(g.unread) > 0 {
		if err := u.reloadable(ctx); err != nil {
			return nil, err
		}
	}
	return g.plan(ctx, r, u, false)
}

// existing finds a unit, which must be there and fit for its goal.
func existing(ctx context.Context, r host.Reader, name string, g goal) (unit, error) {
	name, err := unitName(name)
	if err != nil {
		return unit{}, err
	}
	if isTemplate(name) {
		return unit{}, fmt.Errorf("name: %s is a template: name an instance of it, such as %q", name, "worker@1")
	}
	u, err := show(ctx, r, name, g.Timeout)
	if err == nil && g.running != nil && *g.running && u.changing() {
		u, err = steady(ctx, r, name, g.Timeout)
	}
	if err != nil {
		return u, err
	}
	wanted := g.running != nil && *g.running || g.enabled != nil && *g.enabled
	if _, pending := builtin.DryRun(ctx); u.masked() && wanted && !pending {
		return u, maskedError(name)
	}
	if g.running != nil && !*g.running && !u.stopped() { // what runs can be stopped, even if its file is gone
		return u, nil
	}
	if g.running != nil && builtin.LastReader(ctx, u.reader(), u.stops()) != "" { // so it would be there
		return u, nil
	}
	return u, u.exists()
}

type restartedParams struct {
	Name string `star:"name,required" doc:"The unit's name; without a suffix, a service's."`
	runParams
}

func checkRestarted(ctx context.Context, r host.Reader, p restartedParams) (*builtin.Change, error) {
	running := true
	g := goal{running: &running, runParams: p.runParams}
	u, err := existing(ctx, r, p.Name, g)
	if err != nil {
		return nil, err
	}
	lines := []string{"restart " + u.name}
	if u.needReload {
		lines = append([]string{"reload systemd's configuration"}, lines...)
	}
	return &builtin.Change{Summary: lines, Readers: u.startReads(), Apply: func(ctx context.Context, h host.Host) error {
		c := &control{h, p.runParams}
		a := c.attempt(ctx, "restart", u.name)
		if u.needReload {
			if err := c.systemctl(ctx, "daemon-reload"); err != nil {
				return err
			}
		}
		return a.start(ctx, !u.ended())
	}}, nil
}

func checkReloaded(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	u, err := existing(ctx, r, p.Name, goal{runParams: runParams{Timeout: p.Timeout}})
	if err != nil {
		return nil, err
	}
	if _, pending := builtin.DryRun(ctx); !pending {
		if !u.running() {
			return nil, fmt.Errorf("%s is not running, it is %s: start it with systemd.started", u.name, u.active)
		}
		if !u.canReload {
			return nil, fmt.Errorf("%s cannot be reloaded, for it has no ExecReload=: restart it with systemd.restarted", u.name)
		}
	}
	reload := change(p.Timeout, "reload "+u.name, func(ctx context.Context, c *control) error {
		return c.attempt(ctx, "reload", u.name).reload(ctx, u)
	})
	reload.Readers = []string{u.reloadReads()}
	return reload, nil
}
