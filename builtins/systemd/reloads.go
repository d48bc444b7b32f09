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

// reloadsDir is where reloads are noted, a file for each service. It goes with the next boot, as the services do.
const reloadsDir = "/run/pgrun-reloads"

func (u unit) reloadNote() string { return path.Join(reloadsDir, u.reader()) }

// noted is what a note says of a reload: when the process that was reloaded had been started, and when the reload began, by the machine's
// clock.
func (u unit) noted(began time.Time) string {
	return u.started.Format(time.RFC3339Nano) + " " + began.Format(time.RFC3339Nano) + "\n"
}

// lastLoad is when a service last began to read its files: when it was started, or since then reloaded.
func (u unit) lastLoad(ctx context.Context, r host.Reader) (time.Time, error) {
	note, err := r.ReadFile(ctx, u.reloadNote())
	if errors.Is(err, fs.ErrNotExist) {
		return u.started, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	_, text, _ := strings.Cut(strings.TrimSuffix(string(note), "\n"), " ")
	if began, err := time.Parse(time.RFC3339Nano, text); err == nil && string(note) == u.noted(began) {
		return began, nil
	}
	return u.started, nil // the reload was another process's
}

// reload reloads a service that runs, sees that it is up then, and notes when that began: of a reload that failed or was cut off there is no
// note, and the next run makes another.
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
		err = a.h.WriteFile(ctx, u.reloadNote(), strings.NewReader(u.noted(began)), host.Attributes{})
	}
	if err != nil {
		return fmt.Errorf("note that %s was reloaded: %w", u.name, err)
	}
	return nil
}
