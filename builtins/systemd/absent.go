package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// checkAbsent goes by what is left, so that a run which was cut off is finished by the next: the unit may
// still run although its file is gone, and systemd may not have noticed that it is.
func checkAbsent(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	name, err := unitName(p.Name)
	if err != nil {
		return nil, err
	}
	var units []unit
	if isTemplate(name) {
		units, err = instances(ctx, r, name)
	} else {
		units = make([]unit, 1)
		units[0], err = show(ctx, r, name)
	}
	if err != nil {
		return nil, err
	}
	if err := notPackaged(ctx, r, name); err != nil {
		return nil, err
	}
	var before, after []*builtin.Change
	stale := false
	for _, u := range units {
		if !u.stopped() {
			before = append(before, stopForGood(u.name, p.Timeout))
		}
		if u.enabled() || u.file == "enabled-runtime" {
			before = append(before, step(p.Timeout, "disable "+u.name, "disable", u.name))
		}
		if u.active == "failed" { // else it stays in the list of failed units
			after = append(after, step(p.Timeout, "forget that "+u.name+" failed", "reset-failed", u.name))
		}
		stale = stale || u.needReload
	}
	unitFile, err := file.PlanAbsent(ctx, r, path.Join(unitDir, name), false)
	if err != nil {
		return nil, err
	}
	dropins, err := file.PlanAbsent(ctx, r, path.Join(unitDir, name+".d"), true)
	if err != nil {
		return nil, err
	}
	if stale || unitFile.Needed() || dropins.Needed() {
		after = append([]*builtin.Change{step(p.Timeout, "reload systemd's configuration", "daemon-reload")}, after...)
	}
	return builtin.Join(append(append(before, unitFile, dropins), after...)...), nil
}

// stopForGood stops a unit and forgets it: one whose process does not take the stop well would stay in the
// list of failed units after its file is gone.
func stopForGood(name string, timeout time.Duration) *builtin.Change {
	return &builtin.Change{Summary: []string{"stop " + name}, Apply: func(ctx context.Context, h host.Host) error {
		c := &control{h, runParams{Timeout: timeout}}
		if err := c.tell(ctx, "stop", name); err != nil {
			return err
		}
		return c.forget(ctx, name)
	}}
}

// notPackaged fails for a unit that a package brings: it would be there again.
func notPackaged(ctx context.Context, r host.Reader, name string) error {
	names := []string{name}
	if t := templateOf(name); t != "" {
		names = append(names, t)
	}
	for _, dir := range []string{"/usr/lib/systemd/system", "/lib/systemd/system"} {
		for _, n := range names {
			_, err := r.Stat(ctx, path.Join(dir, n))
			if err == nil {
				return fmt.Errorf("%s comes from a package (%s): remove that, or use systemd.stopped and systemd.disabled, or systemd.masked", name, path.Join(dir, n))
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
