package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// reloadsDir is where the last reload of each service is noted, a file for each: when it began, by the machine's clock. It goes with the
// next boot, as the services do.
const reloadsDir = "/run/pgrun/reloads"

func (u unit) reloadNote() string { return path.Join(reloadsDir, u.reader()) }

// lastLoad is when a service last began to read its files: when it was started, or since then reloaded.
func (u unit) lastLoad(ctx context.Context, r host.Reader) (time.Time, error) {
	note, err := r.ReadFile(ctx, u.reloadNote())
	if errors.Is(err, fs.ErrNotExist) {
		return u.started, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	if began, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(note))); err == nil && began.After(u.started) {
		return began, nil
	}
	return u.started, nil
}

// reload reloads a service that runs, sees that it goes on running, and then notes when that began: of one that failed, or was cut off, there is
// no note, and the next run makes another.
func (a attempt) reload(ctx context.Context, u unit) error {
	began, err := clock(ctx, a.h)
	if err != nil {
		return err
	}
	if err := a.start(ctx, true); err != nil {
		return err
	}
	err = a.h.Mkdir(ctx, reloadsDir, host.Attributes{})
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = a.h.WriteFile(ctx, u.reloadNote(), strings.NewReader(began.Format(time.RFC3339Nano)+"\n"), host.Attributes{})
	}
	if err != nil {
		return fmt.Errorf("note that %s was reloaded: %w", u.name, err)
	}
	return nil
}
