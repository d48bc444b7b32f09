package systemd

import (
	"cmp"
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// unit is a unit as systemd knows it. The words are those of systemctl(1).
type unit struct {
	name       string // the one asked for, which may be an alias
	id         string // the one that an alias stands for
	load       string // loaded, not-found, masked, bad-setting, error
	active     string // active, reloading, inactive, failed, activating, deactivating, ...
	sub        string // of a service: running, exited, dead, auto-restart, ...
	file       string // enabled, disabled, static, masked, ...; empty where there is no file
	fragment   string // the path of its file
	dropins    []string
	needReload bool // files, of this unit or of another, were changed since systemd has read them
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

// show asks systemd about a unit, see bus.unit. A timeout of 0 is none.
func show(ctx context.Context, r host.Reader, name string, timeout time.Duration) (u unit, err error) {
	err = ask(ctx, r, name, timeout, func(b *bus) error {
		u, err = b.unit(name)
		return err
	})
	return u, err
}

// instances lists the instances of a template that systemd has loaded.
func instances(ctx context.Context, r host.Reader, template string, timeout time.Duration) (all []unit, err error) {
	err = ask(ctx, r, template, timeout, func(b *bus) error {
		all, err = b.instances(template)
		return err
	})
	return all, err
}

// properties are a unit's, of all its interfaces.
type properties map[string]any

// property returns one; the zero value where the unit has none of that name and type.
func property[T any](p properties, name string) T {
	v, _ := p[name].(T)
	return v
}

func (p properties) unit(name string) unit {
	u := unit{
		name: name, id: cmp.Or(property[string](p, "Id"), name),
		load: property[string](p, "LoadState"), active: property[string](p, "ActiveState"), sub: property[string](p, "SubState"),
		fragment: property[string](p, "FragmentPath"), dropins: property[[]string](p, "DropInPaths"),
		needReload: property[bool](p, "NeedDaemonReload"), canReload: property[bool](p, "CanReload"),
		started: p.time("ExecMainStartTimestamp"),
		remain:  property[bool](p, "RemainAfterExit"), result: property[string](p, "Result"),
		exitStatus: strconv.Itoa(int(property[int32](p, "ExecMainStatus"))), pid: int(property[uint32](p, "MainPID")),
		restarts: int(property[uint32](p, "NRestarts")),
	}
	if u.started.IsZero() {
		u.started = p.time("ActiveEnterTimestamp")
	}
	if isService(name) { // a mount has a Type=, too
		u.kind = property[string](p, "Type")
	}
	if memory := property[uint64](p, "MemoryCurrent"); memory <= math.MaxInt64 { // else it is not known
		u.memory = int64(memory)
	}
	switch property[int32](p, "ExecMainCode") {
	case 1: // CLD_EXITED, CLD_KILLED and CLD_DUMPED of sigaction(2)
		u.exitCode = "exited"
	case 2:
		u.exitCode = "killed"
	case 3:
		u.exitCode = "dumped"
	}
	return u
}

// time reads a time in microseconds; 0 is never.
func (p properties) time(name string) time.Time {
	t := property[uint64](p, name)
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(t)).UTC()
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

// enabled reports whether the unit starts at boot.
func (u unit) enabled() bool { return u.file == "enabled" }

// linked reports whether there is something for systemctl disable to do. That of a template disables all instances,
// for which the template is indirect.
func (u unit) linked() bool {
	return u.enabled() || u.file == "enabled-runtime" || u.file == "indirect" && isTemplate(u.name)
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
		u, err := show(ctx, r, name, timeout)
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
