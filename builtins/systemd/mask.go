package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

func checkMasked(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	name, u, err := maskable(ctx, r, p)
	if err != nil || u.file == "masked" {
		return nil, err
	}
	// The mask is a link to /dev/null in this very place.
	switch info, err := r.Stat(ctx, path.Join(unitDir, name)); {
	case err == nil && info.Mode.IsRegular():
		return nil, fmt.Errorf("%s has its file in %s, where the mask would stand: use systemd.stopped and systemd.disabled, or systemd.absent", name, unitDir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return step(p.Timeout, "mask "+name, "mask", name), nil
}

func checkUnmasked(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	name, u, err := maskable(ctx, r, p)
	if err != nil || !u.masked() {
		return nil, err
	}
	return change(p.Timeout, "unmask "+name, func(ctx context.Context, c *control) error {
		return c.undo(ctx, "unmask", name, unit.masked, "its package or a generator of systemd's masks it, and there it has to be changed")
	}), nil
}

// maskable finds a unit, which need not exist.
func maskable(ctx context.Context, r host.Reader, p nameParams) (string, unit, error) {
	name, err := unitName(p.Name)
	if err != nil {
		return "", unit{}, err
	}
	if isTemplate(name) {
		return "", unit{}, fmt.Errorf("name: %s is a template: name an instance of it, such as %q", name, "worker@1")
	}
	u, err := show(ctx, r, name, p.Timeout)
	return name, u, err
}
