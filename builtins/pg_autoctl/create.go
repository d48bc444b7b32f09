package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/outcome"
)

// creation holds the parameters that monitor and node share.
type creation struct {
	PGData string `star:"pgdata,required" doc:"Data directory. The directory that it is in must exist and belong to postgres."`
	server
	Hostname      string          `star:"hostname,required" doc:"Address by which the other nodes reach this one, and which its certificate names."`
	SSLCAFile     string          `star:"ssl_ca_file,required" doc:"The authority's certificate, on the host."`
	ServerCert    string          `star:"server_cert,required" doc:"The server's certificate, on the host."`
	ServerKey     string          `star:"server_key,required" doc:"The server's key, on the host, readable for postgres alone."`
	SSLMode       string          `star:"ssl_mode" doc:"How connections check the other side: verify-full, verify-ca or require."`
	Include       string          `star:"include" doc:"A settings file outside of pgdata that has the last word in postgresql.conf; it names the hba_file. None if left out."`
	Locale        string          `star:"locale" doc:"Locale of a new cluster, for initdb."`
	InitdbOptions builtin.Strings `star:"initdb_options" doc:"More options for initdb."`
	PGCtl         string          `star:"pgctl" doc:"Path of pg_ctl: /usr/lib/postgresql/17/bin/pg_ctl. If left out, that of the only version installed."`
	Service       string          `star:"service" doc:"The systemd service that runs pg_autoctl, or will. Its RuntimeDirectory and /run/NAME as XDG_RUNTIME_DIR go with its name."`
}

func (c creation) validate() error {
	for param, p := range map[string]string{"pgdata": c.PGData, "ssl_ca_file": c.SSLCAFile, "server_cert": c.ServerCert, "server_key": c.ServerKey} {
		if err := checkPath(param, p); err != nil {
			return err
		}
	}
	if c.Include != "" {
		if err := checkPath("include", c.Include); err != nil {
			return err
		}
	}
	switch c.SSLMode {
	case "verify-full", "verify-ca", "require":
	default:
		return fmt.Errorf("ssl_mode: got %q, want verify-full, verify-ca or require", c.SSLMode)
	}
	return errors.Join(checkAddress("hostname", c.Hostname), checkService(c.Service), c.server.validate())
}

// create runs pg_autoctl create, with the service stopped.
//
// It runs in a transient unit: a creation is several processes, PostgreSQL among them, and here all of them end
// together, whatever becomes of pgrun. Where pgrun itself is killed, the creation goes on to its end, and the
// next run waits for it (see awaitCreation). Its output is in the journal, not in a pipe which would break.
func (c creation) create(ctx context.Context, h host.Host, timeout time.Duration, what, pgctl string, options ...string) error {
	s := service(c.Service)
	creating, err := s.creating(ctx, h)
	if err != nil {
		return err
	}
	if creating {
		return fmt.Errorf("another run has begun to create it, with %s: run again when that has ended", s.creation())
	}
	if err := stop(ctx, h, string(s)); err != nil {
		return err
	}
	log := fmt.Sprintf("%s-create-%d", s.name(), time.Now().UnixNano())
	argv := []string{"systemd-run", "--quiet", "--wait", "--collect", "--unit=" + s.creation(), "--service-type=exec",
		"--property=User=" + osUser, "--property=Group=" + osUser, "--property=UMask=0077", "--property=WorkingDirectory=~", "--property=SyslogIdentifier=" + log,
		"--property=RuntimeDirectory=" + s.name(), "--property=RuntimeDirectoryMode=0750",
		"--property=KillMode=mixed", "--property=TimeoutStopSec=60", "--property=LimitNOFILE=65536",
		fmt.Sprintf("--property=RuntimeMaxSec=%d", int(timeout.Seconds())+1)}
	for name, value := range s.environment(c.PGData) {
		argv = append(argv, "--setenv="+name+"="+value)
	}
	argv = append(argv, "--setenv=LANG=C.UTF-8", "/usr/bin/pg_autoctl", "create", what,
		"--pgdata", c.PGData, "--pgctl", pgctl, "--pgport", fmt.Sprint(c.Port), "--hostname", c.Hostname,
		"--skip-pg-hba", "--ssl-ca-file", c.SSLCAFile, "--server-cert", c.ServerCert, "--server-key", c.ServerKey, "--ssl-mode", c.SSLMode)

	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, err := h.Run(limited, host.Command{Argv: append(argv, options...)})
	switch {
	case err == nil && out.RC == 0:
		return nil
	case err == nil:
		return fmt.Errorf("pg_autoctl create %s: exit code %d\n%s", what, out.RC, telling(readLog(ctx, h, log)+out.Stderr))
	}
	// The wait was cut off, and what it waited for must not go on.
	after, end := context.WithTimeout(context.WithoutCancel(ctx), 90*time.Second)
	defer end()
	err = errors.Join(err, stop(after, h, s.creation()))
	if ctx.Err() != nil || limited.Err() == nil {
		return err
	}
	return &outcome.Deadline{What: "pg_autoctl create " + what, After: timeout, Last: errors.New(telling(readLog(after, h, log)))}
}

// readLog returns what was logged under an identifier.
func readLog(ctx context.Context, h host.Host, identifier string) string {
	out, err := h.Run(ctx, host.Command{Argv: []string{"journalctl", "--identifier=" + identifier, "--lines=60", "--output=cat", "--no-pager"}})
	if err != nil {
		return "" // the failure that it is to explain matters more
	}
	return out.Stdout
}

// creating reports whether a creation is under way, of a run that was killed for one.
func (s service) creating(ctx context.Context, r host.Reader) (bool, error) {
	active, err := activeState(ctx, r, s.creation())
	return err == nil && !stopped(active), err
}

// awaitCreation waits until a creation that another run began has ended, as it may.
func (c creation) awaitCreation(ctx context.Context, r host.Reader, timeout time.Duration) error {
	unit := service(c.Service).creation()
	return waitFor(ctx, unit+" of an earlier run", timeout, func(ctx context.Context) error {
		active, err := activeState(ctx, r, unit)
		if err == nil && !stopped(active) {
			err = errors.New("it is " + active)
		}
		return err
	})
}

// uriOfMonitor is the URI by which data nodes reach their monitor. Without the limits of TCP, pg_autoctl would
// wait for minutes for a monitor whose machine is gone.
func uriOfMonitor(hostname string, port int, sslMode, sslRootCert string) string {
	return "postgresql://autoctl_node@" + joinHostPort(hostname, port) + "/" + MonitorDatabase + "?" + strings.Join([]string{
		"sslmode=" + sslMode, "sslrootcert=" + sslRootCert,
		"connect_timeout=3", "keepalives_idle=3", "keepalives_interval=1", "keepalives_count=3", "tcp_user_timeout=5000",
	}, "&")
}
