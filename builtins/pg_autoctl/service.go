package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// service is the systemd unit that runs pg_autoctl. Its name gives two others:
//
//   - the runtime directory, /run/NAME, which the unit makes (RuntimeDirectory=NAME) and in which pg_autoctl
//     keeps its pid file (Environment=XDG_RUNTIME_DIR=/run/NAME). Left to itself it would use /tmp, which is
//     cleaned, and pg_autoctl ends when its pid file is gone;
//   - NAME-create.service, the transient unit in which a creation runs.
type service string

func checkService(s string) error {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	name, ok := strings.CutSuffix(s, ".service")
	if !ok || name == "" || strings.Trim(name, plain) != "" {
		return fmt.Errorf("service: %q: want the name of a systemd service, like pg_autoctl.service", s)
	}
	return nil
}

func (s service) name() string       { return strings.TrimSuffix(string(s), ".service") }
func (s service) runtimeDir() string { return "/run/" + s.name() }
func (s service) creation() string   { return s.name() + "-create.service" }

// environment is what pg_autoctl needs in each call.
func (s service) environment(pgdata string) map[string]string {
	return map[string]string{"PGDATA": pgdata, "XDG_RUNTIME_DIR": s.runtimeDir()}
}

// activeState is systemd's ActiveState of a unit; one that it does not know is inactive.
func activeState(ctx context.Context, r host.Reader, unit string) (string, error) {
	c := host.Command{Argv: []string{"systemctl", "show", "--property=ActiveState", "--value", unit}}
	out, err := host.Succeeded(c)(r.Look(ctx, c))
	return strings.TrimSpace(out.Stdout), err
}

// stopped reports whether nothing of a unit runs, nor is about to.
func stopped(active string) bool { return active == "inactive" || active == "failed" }

// stop stops a unit if it runs, or is about to be started again.
func stop(ctx context.Context, h host.Host, unit string) error {
	active, err := activeState(ctx, h, unit)
	if err != nil || stopped(active) {
		return err
	}
	c := host.Command{Argv: []string{"systemctl", "stop", unit}}
	_, err = host.Succeeded(c)(h.Run(ctx, c))
	return err
}

// reload tells the service to read pg_autoctl.cfg, and reports whether it runs: it does so when it starts, too. One that is about to start
// or end is waited for.
func (s service) reload(ctx context.Context, h host.Host, pgdata string) (runs bool, err error) {
	var active string
	err = waitOwn(ctx, "settling of "+string(s)+" (see journalctl -u "+s.name()+")", 30*time.Second, func(ctx context.Context) (err error) {
		if active, err = activeState(ctx, h, string(s)); err == nil && active != "active" && !stopped(active) {
			err = errors.New("it is " + active)
		}
		return err
	})
	if err != nil || stopped(active) {
		return false, err
	}
	return true, s.autoctl(ctx, h, pgdata, "reload", "--pgdata", pgdata)
}

// autoctlTimeout is how long a pg_autoctl beside the service may take.
const autoctlTimeout = time.Minute

// autoctl runs pg_autoctl beside its service.
func (s service) autoctl(ctx context.Context, h host.Host, pgdata string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, autoctlTimeout)
	defer cancel()
	mode := fs.FileMode(0o750)
	err := h.Mkdir(ctx, s.runtimeDir(), host.Attributes{Owner: osUser, Group: osUser, Mode: &mode})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	c := host.Command{Argv: append([]string{"pg_autoctl"}, args...), User: osUser, Env: s.environment(pgdata)}
	out, err := h.Run(ctx, c)
	if err == nil && out.RC != 0 {
		err = fmt.Errorf("pg_autoctl %s: exit code %d\n%s", strings.Join(args[:min(2, len(args))], " "), out.RC, telling(out.Stderr))
	}
	return err
}

// telling picks from pg_autoctl's log what tells why it failed: its errors and hints, or its last lines.
func telling(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	var serious []string
	for _, line := range lines {
		if strings.Contains(line, " ERROR ") || strings.Contains(line, " FATAL ") || strings.Contains(line, " HINT") {
			serious = append(serious, line)
		}
	}
	if len(serious) > 0 {
		lines = serious
	}
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
