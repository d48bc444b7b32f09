package systemd

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

type statusParams struct {
	Name string `star:"name,required" doc:"The unit's name; without a suffix, a service's."`
}

// status is what systemd.status returns.
type status struct {
	Active   bool       `star:"active" doc:"Whether it is up."`
	State    string     `star:"state" doc:"active, inactive, failed, activating, deactivating or reloading."`
	Sub      string     `star:"sub" doc:"The same in the words of its type: running, exited, dead, auto-restart, ..."`
	Enabled  bool       `star:"enabled" doc:"Whether it starts at boot."`
	File     string     `star:"file" doc:"The state of its file: enabled, disabled, static, masked, ...; empty where there is none."`
	Load     string     `star:"load_state" doc:"loaded, not-found, masked, bad-setting or error."`
	PID      int        `star:"pid" doc:"Its main process; 0 for none."`
	Since    *time.Time `star:"since" doc:"When its main process was last started, or else the unit; None for never."`
	Memory   int64      `star:"memory" doc:"Bytes of memory that it uses; 0 where that is not known."`
	Result   string     `star:"result" doc:"Of a service: success, or how it last failed: exit-code, signal, timeout, ..."`
	Restarts int        `star:"restarts" doc:"How often systemd has restarted it by itself since it was last started."`
	Path     string     `star:"path" doc:"The path of its file; empty where there is none."`
	Stale    bool       `star:"needs_daemon_reload" doc:"Whether files have changed since systemd has read them: its own or, since systemd 255, those of any unit."`
}

func lookAtStatus(ctx context.Context, r host.Reader, p statusParams) (status, error) {
	name, err := unitName(p.Name)
	if err != nil {
		return status{}, err
	}
	if isTemplate(name) {
		return status{}, fmt.Errorf("name: %s is a template, which has no state: name an instance of it, such as %q", name, "worker@1")
	}
	u, err := show(ctx, r, name, 0)
	if err != nil {
		return status{}, err
	}
	s := status{
		Active: u.running(), State: u.active, Sub: u.sub, Enabled: u.enabled(), File: u.file, Load: u.load, PID: u.pid,
		Memory: u.memory, Result: u.result, Restarts: u.restarts, Path: u.fragment, Stale: u.needReload,
	}
	if !u.started.IsZero() {
		s.Since = &u.started
	}
	return s, nil
}
