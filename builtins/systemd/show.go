package systemd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// unit is a unit as systemd knows it. The words are those of systemctl(1).
type unit struct {
	name       string
	load       string // loaded, not-found, masked, bad-setting, error
	active     string // active, reloading, inactive, failed, activating, deactivating, ...
	sub        string // of a service: running, exited, dead, auto-restart, ...
	file       string // enabled, disabled, static, masked, ...; empty where there is no file
	fragment   string // the path of its file
	needReload bool   // its files were changed since systemd has read them
	canReload  bool

	started time.Time // when its main process was started, or else the unit; zero for never

	// Of services only:
	kind       string // Type=
	remain     bool   // RemainAfterExit=
	result     string // success, exit-code, signal, timeout, ...
	exitCode   string // how the main process ended: exited, killed, dumped
	exitStatus string // its exit status, or the signal's number
	pid        int
	restarts   int // by systemd itself, since the last start that was asked for
	memory     int64
}

// show asks systemd about a unit. One that does not exist is no error.
func show(ctx context.Context, r host.Reader, name string) (unit, error) {
	all, err := showAll(ctx, r, name)
	if err != nil {
		return unit{}, err
	}
	if len(all) != 1 {
		return unit{}, fmt.Errorf("systemctl show %s: %d units in the answer", name, len(all))
	}
	all[0].name = name // not the one that an alias stands for
	return all[0], nil
}

// instances lists the instances of a template that systemd has loaded.
func instances(ctx context.Context, r host.Reader, template string) ([]unit, error) {
	before, after, _ := strings.Cut(template, "@")
	return showAll(ctx, r, strings.ReplaceAll(before, `\`, `\\`)+"@*"+after)
}

// showAll asks about a unit, or about those loaded whose names match a pattern.
func showAll(ctx context.Context, r host.Reader, pattern string) ([]unit, error) {
	const properties = "Id,LoadState,ActiveState,SubState,UnitFileState,FragmentPath,NeedDaemonReload,CanReload," +
		"ActiveEnterTimestamp,Type,RemainAfterExit,Result,ExecMainStartTimestamp,ExecMainCode,ExecMainStatus," +
		"MainPID,NRestarts,MemoryCurrent"
	out, err := look(ctx, r, host.Command{Argv: []string{"systemctl", "show", "--timestamp=us+utc", "--property=" + properties, pattern}})
	if err != nil {
		return nil, err
	}
	var all []unit
	for properties := range strings.SplitSeq(out.Stdout, "\n\n") {
		if u := parseUnit(properties); u.name != "" {
			all = append(all, u)
		}
	}
	return all, nil
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

func parseUnit(properties string) unit {
	p := map[string]string{}
	for line := range strings.Lines(properties) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		p[key] = value
	}
	u := unit{
		name: p["Id"], load: p["LoadState"], active: p["ActiveState"], sub: p["SubState"], file: p["UnitFileState"],
		fragment: p["FragmentPath"], needReload: p["NeedDaemonReload"] == "yes", canReload: p["CanReload"] == "yes",
		started: timestamp(p["ExecMainStartTimestamp"]),
		kind:    p["Type"], remain: p["RemainAfterExit"] == "yes", result: p["Result"],
		exitStatus: p["ExecMainStatus"],
	}
	if u.started.IsZero() {
		u.started = timestamp(p["ActiveEnterTimestamp"])
	}
	u.pid, _ = strconv.Atoi(p["MainPID"])
	u.restarts, _ = strconv.Atoi(p["NRestarts"])
	u.memory, _ = strconv.ParseInt(p["MemoryCurrent"], 10, 64) // "[not set]"
	switch p["ExecMainCode"] {
	case "1": // CLD_EXITED, CLD_KILLED and CLD_DUMPED of sigaction(2)
		u.exitCode = "exited"
	case "2":
		u.exitCode = "killed"
	case "3":
		u.exitCode = "dumped"
	}
	return u
}

// timestamp reads "Mon 2026-11-23 08:26:30.329094 UTC".
func timestamp(s string) time.Time {
	t, err := time.Parse("Mon 2006-01-02 15:04:05.999999 MST", s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// running reports whether the unit is up.
func (u unit) running() bool {
	return u.active == "active" || u.active == "reloading" || u.active == "refreshing"
}

// changing reports whether the unit is on its way to another state by itself. A service that waits to be
// started again after a failure is not: it may wait, and fail, for ever.
func (u unit) changing() bool {
	return u.active == "deactivating" || u.active == "activating" && !strings.HasPrefix(u.sub, "auto-restart")
}

// stopped reports whether nothing of the unit runs, nor is about to.
func (u unit) stopped() bool { return u.active == "inactive" || u.active == "failed" }

// enabled reports whether the unit starts at boot. An alias exists only as long as the unit it stands for
// is enabled; indirect means that another name of it is.
func (u unit) enabled() bool {
	return u.file == "enabled" || u.file == "alias" || u.file == "indirect" || u.file == "generated"
}

func (u unit) masked() bool { return u.load == "masked" || strings.HasPrefix(u.file, "masked") }

// ended reports whether a unit is one that does its work and is gone: it cannot be kept running.
func (u unit) ended() bool { return u.kind == "oneshot" && !u.remain }

// steady is show, once a unit that is starting or stopping has come to a state, or the timeout is over.
func steady(ctx context.Context, r host.Reader, name string, timeout time.Duration) (unit, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last unit
	for {
		u, err := show(ctx, r, name)
		if err != nil && last.name != "" && errors.Is(err, context.DeadlineExceeded) {
			return last, nil
		}
		if err != nil || !u.changing() {
			return u, err
		}
		last = u
		if host.Pause(ctx, 100*time.Millisecond) != nil {
			return last, nil
		}
	}
}

// exists says why there is no such unit.
func (u unit) exists() error {
	if u.load == "not-found" {
		return host.NotThere("no unit %s on the machine: correct the name, or install what brings it first", u.name)
	}
	return nil
}
