package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

func TestSlow(t *testing.T) {
	silent := &socket{serve: func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }}
	for _, x := range []struct {
		name     string
		deadline time.Duration // the playbook's
		timeout  time.Duration // the builtin's
		want     string
		after    time.Duration
		written  bool // somebody wrote that limit
	}{
		{"no limit", 0, 0, "no answer within 1m0s", time.Minute, false},
		{"the builtin's", 0, 5 * time.Second, "no answer within 5s (timeout)", 5 * time.Second, true},
		{"the playbook's", time.Second, 5 * time.Second, "context deadline exceeded", time.Second, true},
		{"the playbook's alone", 5 * time.Minute, 0, "context deadline exceeded", 5 * time.Minute, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, began := t.Context(), time.Now()
				if x.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, x.deadline)
					defer cancel()
				}
				_, err := show(ctx, silent, "x.service", x.timeout)
				if err == nil || !strings.HasPrefix(err.Error(), "asking systemd about x.service: ") || !strings.Contains(err.Error(), x.want) ||
					errors.Is(err, context.DeadlineExceeded) != x.written {
					t.Errorf("got the error %v, want one with %q", err, x.want)
				}
				if took := time.Since(began); took != x.after {
					t.Errorf("it took %s, want %s", took, x.after)
				}
			})
		})
	}
}

// hung is a machine that is reached, and on which nothing goes on.
type hung struct{ host.Host }

func (hung) Dial(context.Context, string, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	return ours, nil
}

func (hung) Stat(_ context.Context, path string) (host.Info, error) {
	if path == unitDir+"/." {
		return host.Info{Mode: fs.ModeDir}, nil
	}
	return host.Info{}, fs.ErrNotExist
}

func (hung) Run(ctx context.Context, _ host.Command) (host.Output, error) {
	<-ctx.Done()
	return host.Output{}, ctx.Err()
}

func (hung) Look(ctx context.Context, c host.Command) (host.Output, error) {
	if c.Argv[0] == "getent" {
		return host.Output{Stdout: "root:x:0:"}, nil
	}
	return hung{}.Run(ctx, c)
}

// A builtin's timeout bounds what it looks at, too, and finding out why something failed is bounded anyway.
func TestHung(t *testing.T) {
	const timeout = 5 * time.Second
	name := nameParams{Name: "x", Timeout: timeout}
	for what, x := range map[string]struct {
		do    func(ctx context.Context) error
		after time.Duration
	}{
		"started": {func(ctx context.Context) error {
			_, err := checkStarted(ctx, hung{}, startedParams{Name: "x", runParams: runParams{Timeout: timeout}})
			return err
		}, timeout},
		"unit": {func(ctx context.Context) error {
			p := unitParams{Name: "x", Content: builtin.Plain("[Service]"), runParams: runParams{Timeout: timeout}}
			_, err := checkUnit(ctx, hung{}, p)
			return err
		}, timeout},
		"template": {func(ctx context.Context) error {
			p := unitParams{Name: "x@", Content: builtin.Plain("[Service]"), runParams: runParams{Timeout: timeout}}
			_, err := checkUnit(ctx, hung{}, p)
			return err
		}, timeout},
		"masked": {func(ctx context.Context) error { _, err := checkMasked(ctx, hung{}, name); return err }, timeout},
		"absent": {func(ctx context.Context) error { _, err := checkAbsent(ctx, hung{}, name); return err }, timeout},
		"daemon_reload": {func(ctx context.Context) error {
			_, err := checkDaemonReload(ctx, hung{}, daemonReloadParams{timeout})
			return err
		}, timeout},
		"a failure": {func(ctx context.Context) error {
			return attempt{control: &control{h: hung{}}, verb: "start", name: "x.service"}.failed(ctx, &late{timeout})
		}, explainLimit},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				if err := x.do(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got the error %v", err)
				}
				if took := time.Since(began); took != x.after {
					t.Errorf("it took %s, want %s", took, x.after)
				}
			})
		})
	}
}

// unconnected is a machine whose agent does not start.
type unconnected struct{ host.Reader }

func (unconnected) Dial(ctx context.Context, _, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("start the agent: %w", ctx.Err())
}

func TestSlowAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := show(t.Context(), unconnected{}, "x.service", 0)
		if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 1m0s") || !strings.Contains(err.Error(), "start the agent") {
			t.Errorf("got the error %v", err)
		}
	})
}

func TestNotListening(t *testing.T) {
	for _, x := range []struct {
		name, init string
		until      time.Duration // from then on it listens
		err        error
		want       string // empty: it is connected to
		missing    bool
	}{
		{"no systemd", "tini", time.Hour, fs.ErrNotExist, "its process 1 is another program", true},
		{"a machine that boots", "systemd", 3 * time.Second, fs.ErrNotExist, "", false},
		{"systemd executes itself", "systemd", time.Second, syscall.ECONNREFUSED, "", false},
		{"systemd never listens", "systemd", time.Hour, syscall.ECONNREFUSED, "systemd has not listened for 10s", false},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s := &socket{init: x.init, serve: systemd(answers), refuse: func(string) error {
					if time.Since(began) < x.until {
						return &net.OpError{Op: "dial", Err: x.err}
					}
					return nil
				}}
				_, err := show(t.Context(), s, "x.service", 0)
				if kept := s.Kept(nil); kept != nil {
					_ = kept.Close()
				}
				if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
					t.Errorf("got the error %v, want %q", err, x.want)
				}
				if host.Missing(err) != x.missing {
					t.Errorf("%v: is it missing? %t", err, !x.missing)
				}
			})
		})
	}
}
