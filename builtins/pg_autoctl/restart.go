package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

type restartParams struct {
	PGData string `star:"pgdata,required" doc:"Data directory."`
	waitingParams
	Force   bool          `star:"force" doc:"Restart although no setting waits for it."`
	PGCtl   string        `star:"pgctl" doc:"Path of pg_ctl. If left out, that of the cluster's version."`
	Service string        `star:"service" doc:"The systemd service that runs pg_autoctl."`
	Timeout time.Duration `star:"timeout" doc:"How long the server may take to be back."`
}

// waitingParams say what may wait for a restart.
type waitingParams struct {
	server
	Unwritten builtin.StringMap `star:"unwritten" doc:"Dict of settings that an earlier step writes, with their values, as SHOW writes them, empty for one that it takes out: a dry run, in which it has not, counts those that only a restart can change, and that differ from what the server runs with, once it would have read them."`
}

// waiting are the settings that wait for a restart. Once a dry run would have had the server read its files, they do with what these hold now,
// and with what is not even written.
func (p waitingParams) waiting(ctx context.Context, r host.Reader) (names []string, err error) {
	sinceStart, restarted := builtin.Unread(ctx, p.restarted())
	sinceRead, read := builtin.Unread(ctx, p.target("").Server())
	if restarted && len(sinceStart) == len(sinceRead) { // nothing was written, and then read
		return nil, nil
	}
	query, args := `SELECT name FROM pg_settings WHERE `+pendingRestart, []any{}
	if read {
		l, err := p.readLoaded(ctx, r)
		if err != nil {
			return nil, err
		}
		if restarted {
			l.PendingRestart = []string{}
		}
		var written, values []string
		for name, value := range p.Unwritten {
			written, values = append(written, name), append(values, value)
		}
		// A dry run knows that postgresql.auto.conf would have been changed, not in which setting. It takes all of what is unwritten to
		// count then, and may announce a restart too many.
		query, args = `
			SELECT s.name FROM pg_settings s LEFT JOIN unnest($2::text[], $3::text[]) AS u (name, value) USING (name)
			WHERE CASE
			  WHEN u.value IS NULL THEN s.name = ANY ($1)
			  WHEN NOT $4 AND EXISTS (SELECT FROM pg_file_settings f WHERE f.name = s.name AND f.sourcefile LIKE '%/postgresql.auto.conf') -- read last
			    THEN s.name = ANY ($1)
			  WHEN s.context <> 'postmaster' THEN false
			  WHEN u.value = '' THEN s.setting IS DISTINCT FROM s.boot_val
			  WHEN u.value ~ '^[0-9]+ *[kMGT]B$' AND current_setting(s.name) ~ '^[0-9]+[kMGT]B$' THEN pg_size_bytes(u.value) <> pg_size_bytes(current_setting(s.name))
			  ELSE u.value <> current_setting(s.name) END`,
			[]any{l.PendingRestart, written, values, slices.Contains(builtin.Written(ctx), "postgresql.auto.conf")}
	}
	err = postgres.Read(ctx, r, p.anyDatabase(), func(tx *postgres.Tx) error {
		return tx.QueryRow(ctx, `SELECT ARRAY(`+query+` ORDER BY 1)`, args...).Scan(&names)
	})
	return names, err
}

func readWaiting(ctx context.Context, r host.Reader, p waitingParams) ([]string, error) {
	if err := p.server.validate(); err != nil {
		return nil, err
	}
	return p.waiting(ctx, r)
}

// restarted is the reader that a server is when it starts again, as a dry run has it.
func (s server) restarted() string { return s.target("").Server() + ", started again" }

// running is what a restart has to know of a server.
type running struct {
	Since      time.Time
	InRecovery bool
	Feeds      bool // it has standbys
}

func (s server) readRunning(ctx context.Context, r host.Reader) (x running, err error) {
	err = postgres.Read(ctx, r, s.anyDatabase(), func(tx *postgres.Tx) error {
		return tx.QueryRow(ctx, `
			SELECT pg_postmaster_start_time(), pg_is_in_recovery(),
			       EXISTS (SELECT FROM pg_replication_slots WHERE slot_name LIKE 'pgautofailover\_standby\_%')
			       OR EXISTS (SELECT FROM pg_stat_replication WHERE application_name LIKE 'pgautofailover\_standby\_%')`,
		).Scan(&x.Since, &x.InRecovery, &x.Feeds)
	})
	return x, err
}

func checkRestart(ctx context.Context, r host.Reader, p restartParams) (*builtin.Change, error) {
	if p.Timeout <= 0 {
		return nil, fmt.Errorf("timeout: %s is not a time to finish in", p.Timeout)
	}
	if err := errors.Join(checkPath("pgdata", p.PGData), checkService(p.Service), p.server.validate()); err != nil {
		return nil, err
	}
	waiting, err := p.waiting(ctx, r)
	if err != nil || len(waiting) == 0 && !p.Force {
		return nil, err
	}
	settings, err := p.readLoaded(ctx, r)
	if err != nil {
		return nil, err
	}
	dry, _ := builtin.DryRun(ctx)
	if err := settings.bad(!dry); err != nil {
		return nil, err // it would not start again
	}
	now, err := p.readRunning(ctx, r)
	if err != nil {
		return nil, err
	}
	if !now.InRecovery && now.Feeds {
		return nil, fmt.Errorf("this is the primary, and its restart might be a failover: restart the standbys first, and switch over with pg_autoctl.perform, "+
			"which restarts this one (settings that wait: %s)", strings.Join(waiting, ", "))
	}
	if active, err := activeState(ctx, r, p.Service); err != nil {
		return nil, err
	} else if active != "active" {
		return nil, fmt.Errorf("service: %s is %s, so that nothing would start PostgreSQL again: start it first", p.Service, active)
	}
	pgctl, err := creation{PGData: p.PGData, PGCtl: p.PGCtl}.findPGCtl(ctx, r)
	if err != nil {
		return nil, err
	}
	why := "as forced"
	if len(waiting) > 0 {
		why = "for " + strings.Join(waiting, ", ")
	}
	return &builtin.Change{
		Summary: []string{"restart PostgreSQL " + why},
		Readers: []string{p.target("").Server(), p.restarted()},
		Apply: func(ctx context.Context, h host.Host) error {
			// Not pg_ctl restart: pg_autoctl, which sees the server gone, would be quicker. Nor does pg_ctl wait: it would not see that the server
			// has stopped where pg_autoctl starts it again between two looks, and wait for that one.
			c := host.Command{Argv: []string{pgctl, "--pgdata", p.PGData, "--mode=fast", "--no-wait", "stop"}, User: osUser}
			if _, err := host.Succeeded(c)(h.Run(ctx, c)); err != nil {
				return err
			}
			return waitFor(ctx, "restarting PostgreSQL", p.Timeout, func(ctx context.Context) error {
				then, err := p.readRunning(ctx, h)
				if err == nil && !then.Since.After(now.Since) {
					err = errors.New("it has not stopped yet")
				}
				return err
			})
		},
	}, nil
}
