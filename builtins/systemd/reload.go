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
	out, err := look(ctx, r, host.Command{Argv: []string{"systemctl", "show", "--property=Id,NeedDaemonReload", "*"}})
	if err != nil {
		return nil, err
	}
	var changed []string
	for properties := range strings.SplitSeq(out.Stdout, "\n\n") {
		id, needed := "", false
		for line := range strings.Lines(properties) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch key {
			case "Id":
				id = value
			case "NeedDaemonReload":
				needed = value == "yes"
			}
		}
		if needed {
			changed = append(changed, id)
		}
	}
	if len(changed) == 0 {
		return nil, nil
	}
	return step(p.Timeout, "reload systemd's configuration: files of "+strings.Join(changed, ", ")+" have changed", "daemon-reload"), nil
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
