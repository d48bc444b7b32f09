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
	u, err := show(ctx, r, name, p.Timeout)
	if err != nil {
		return nil, err
	}
	if _, pending := builtin.DryRun(ctx); !pending {
		if err := u.removable(ctx, r); err != nil {
			return nil, err
		}
	}
	units := []unit{u}
	if isTemplate(name) {
		if units, err = instances(ctx, r, name, p.Timeout); err != nil {
			return nil, err
		}
	}
	var before, after []*builtin.Change
	stale, gone := false, false
	for _, u := range units {
		if _, stopped := u.expected(ctx); !stopped {
			before = append(before, stopForGood(u, p.Timeout))
		}
		if u.active == "failed" { // else it stays in the list of failed units
			after = append(after, step(p.Timeout, "forget that "+u.name+" failed", "reset-failed", u.name))
		}
		stale = stale || u.needReload && u.load != "not-found"
		gone = gone || u.fragment != "" && u.file == "" // its file, which systemd has not noticed; there may be links
	}
	if u.linked() || gone {
		before = append(before, unlink(name, p.Timeout))
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
func stopForGood(u unit, timeout time.Duration) *builtin.Change {
	stop := change(timeout, "stop "+u.name, func(ctx context.Context, c *control) error {
		if err := c.attempt(ctx, "stop", u.name).tell(ctx); err != nil {
			return err
		}
		return c.forget(ctx, u.name)
	})
	stop.Readers = []string{u.stops()}
	return stop
}

// unlink disables a unit, or all instances of a template. systemctl fails where there is neither a file nor a link, and
// that is no harm.
func unlink(name string, timeout time.Duration) *builtin.Change {
	return change(timeout, "disable "+name, func(ctx context.Context, c *control) error {
		for _, args := range [][]string{{"disable", name}, {"disable", "--runtime", name}} {
			if err := c.systemctl(ctx, args...); err != nil && !errors.As(err, new(*host.Failed)) {
				return err
			}
		}
		return nil
	})
}

// removable fails for a unit that would be there again, or of which something else would be removed: its file is not
// the one of its name in /etc/systemd/system, or not the only one.
func (u unit) removable(ctx context.Context, r host.Reader) error {
	switch dir := path.Dir(u.fragment); {
	case u.masked():
		return maskedError(u.name)
	case u.file == "alias", u.fragment != "" && u.id != u.name:
		return fmt.Errorf("%s is an alias: give the name of the unit that it stands for, see systemctl cat %s", u.name, u.name)
	case u.fragment != "" && dir != unitDir:
		return foreign(u.name, u.fragment)
	}
	for _, name := range []string{u.name, templateOf(u.name)} {
		if name == "" {
			continue
		}
		packaged := path.Join("/usr/lib/systemd/system", name)
		_, err := r.Stat(ctx, packaged)
		if err == nil {
			return foreign(u.name, packaged)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func foreign(name, file string) error {
	return fmt.Errorf("%s comes from a package or from systemd itself (%s): remove what brings it, or use systemd.stopped and systemd.disabled, or systemd.masked", name, file)
}
