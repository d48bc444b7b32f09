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

type daemonReloadParams struct {
	Timeout time.Duration `star:"timeout" doc:"The longest to wait for systemd."`
}

func checkDaemonReload(ctx context.Context, r host.Reader, p daemonReloadParams) (*builtin.Change, error) {
	ctx, cancel := bounded(ctx, p.Timeout)
	defer cancel()
	out, err := look(ctx, r, host.Command{Argv: []string{"systemctl", "show", "--property=NeedDaemonReload", "*"}})
	switch {
	case err != nil:
		return nil, err
	case strings.Contains(out.Stdout, "NeedDaemonReload=yes"):
		return step(p.Timeout, "reload systemd's configuration: files have changed since it has read them", "daemon-reload"), nil
	case out.Dropped > 0:
		return nil, fmt.Errorf("systemctl show printed more than the %d bytes that are looked at: too many units are loaded, see systemctl list-units --all", host.MaxOutput)
	}
	return nil, nil
}

// look runs systemctl to look.
func look(ctx context.Context, r host.Reader, c host.Command) (host.Output, error) {
	out, err := host.Succeeded(c)(r.Look(ctx, c))
	if notFound := (*host.NotFound)(nil); errors.As(err, &notFound) {
		return out, fmt.Errorf("not a machine with systemd: %w", err)
	}
	if strings.Contains(out.Stderr, "not been booted with systemd") {
		return out, errors.New("systemd does not run on this machine: its process 1 is another program")
	}
	return out, err
}
