package systemd

import (
	"context"
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
