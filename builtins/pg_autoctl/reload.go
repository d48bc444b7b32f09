package pgautoctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

type reloadParams struct {
	server
	Timeout time.Duration `star:"timeout" doc:"How long the server may take to reload."`
}

type reloadResult struct {
	PendingRestart []string `star:"pending_restart" doc:"Settings that only a restart will make true; in a dry run, those that were waiting already."`
}

// loaded is what a server runs with.
type loaded struct {
	At             time.Time // of its last reload, or start
	Files          []string  // that it reads
	Errors         []string  // in those files, as they are now
	Rejected       []string  // settings in them whose values it does not take
	Undecided      []string  // settings in them that either wait for a restart, or would keep the server from starting again
	PendingRestart []string
}

// pendingRestart is SQL for whether a setting of pg_settings waits for a restart. A promoted standby shows three of
// replication as pending for ever; they mean nothing.
const pendingRestart = `pending_restart AND name NOT IN ('primary_conninfo', 'primary_slot_name', 'recovery_target_timeline')`

// readLoaded asks a server what it runs with.
//
// A setting "could not be applied" where its value is bad, and where it waits for a restart; which it is, one that only a
// restart can change tells after a reload: it is pending, or it is bad. A row without a file is about a setting that was
// taken out of the files, and that only a restart gives up.
func (s server) readLoaded(ctx context.Context, r host.Reader) (l loaded, err error) {
	err = postgres.Read(ctx, r, s.anyDatabase(), func(tx *postgres.Tx) error {
		return tx.QueryRow(ctx, `
			WITH setting AS MATERIALIZED (SELECT name, setting, context, sourcefile, pending_restart FROM pg_settings),
			     file_setting AS MATERIALIZED (SELECT * FROM pg_file_settings WHERE sourcefile IS NOT NULL),
			     dir AS (SELECT current_setting('data_directory') AS d)
			SELECT pg_conf_load_time(),
			  ARRAY(SELECT DISTINCT CASE WHEN f LIKE '/%' THEN f ELSE d || '/' || f END FROM dir, (
			          SELECT sourcefile FROM file_setting
			          UNION SELECT sourcefile FROM setting
			          UNION SELECT setting FROM setting WHERE name IN
			            ('config_file', 'hba_file', 'ident_file', 'ssl_cert_file', 'ssl_key_file', 'ssl_ca_file', 'ssl_crl_file')
			          UNION SELECT 'postgresql.auto.conf') AS files(f) WHERE f <> ''),
			  ARRAY(SELECT concat_ws(': ', sourcefile || ':' || sourceline, name, error) FROM file_setting
			        WHERE error IS NOT NULL AND error <> 'setting could not be applied'
			        UNION ALL SELECT current_setting('hba_file') || ':' || line_number || ': ' || error FROM pg_hba_file_rules WHERE error IS NOT NULL
			        UNION ALL SELECT current_setting('ident_file') || ':' || line_number || ': ' || error FROM pg_ident_file_mappings WHERE error IS NOT NULL),
			  ARRAY(SELECT concat_ws(':', sourcefile, sourceline, ' the value of ' || name || ' is not taken') FROM file_setting
			        WHERE error = 'setting could not be applied' AND name NOT IN (SELECT name FROM setting WHERE context = 'postmaster')),
			  ARRAY(SELECT concat_ws(':', sourcefile, sourceline, ' the value of ' || name || ' is not taken') FROM file_setting
			        WHERE error = 'setting could not be applied' AND name IN (SELECT name FROM setting WHERE context = 'postmaster' AND NOT pending_restart)),
			  ARRAY(SELECT name FROM setting WHERE `+pendingRestart+` ORDER BY 1)`).Scan(&l.At, &l.Files, &l.Errors, &l.Rejected, &l.Undecided, &l.PendingRestart)
	})
	return l, err
}

func checkReload(ctx context.Context, r host.Reader, p reloadParams) (*builtin.Change, error) {
	if p.Timeout <= 0 {
		return nil, fmt.Errorf("timeout: %s is not a time to finish in", p.Timeout)
	}
	if err := p.server.validate(); err != nil {
		return nil, err
	}
	now, err := p.readLoaded(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := now.bad(false); err != nil {
		return nil, err
	}
	newer, err := now.newer(ctx, r, p.target("").Server())
	if err != nil {
		return nil, err
	}
	learned := &reloadResult{now.PendingRestart}
	if len(newer) == 0 {
		if err := now.bad(true); err != nil {
			return nil, err
		}
		return &builtin.Change{Learned: learned}, nil
	}
	return &builtin.Change{
		Summary: []string{"reload PostgreSQL: newer than its last reload: " + strings.Join(newer, ", ")},
		Learned: learned,
		Readers: []string{p.target("").Server()},
		Apply: func(ctx context.Context, h host.Host) error {
			if err := postgres.Write(ctx, h, p.target("postgres"), func(conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, `SELECT pg_reload_conf()`)
				return err
			}); err != nil {
				return err
			}
			var then loaded
			err := waitFor(ctx, "reloading PostgreSQL", p.Timeout, func(ctx context.Context) (err error) {
				if then, err = p.readLoaded(ctx, h); err == nil && !then.At.After(now.At) {
					err = errors.New("it still runs with its old settings")
				}
				return err
			})
			if err != nil {
				return err
			}
			learned.PendingRestart = then.PendingRestart
			return then.bad(true)
		},
	}, nil
}

// newer are the files that have changed since they were read, or would have in a dry run.
func (l loaded) newer(ctx context.Context, r host.Reader, server string) ([]string, error) {
	written, read := builtin.Unread(ctx, server)
	changed := make([]bool, len(l.Files))
	unknown := make([]error, len(l.Files))
	looks, inner := errgroup.WithContext(ctx)
	for i, name := range l.Files {
		looks.Go(func() error {
			trail, err := file.Trail(inner, r, name)
			changed[i] = slices.ContainsFunc(trail, func(at file.Place) bool {
				return file.Among(inner, r, at.Path, written) || !read && at.Info != nil && at.Info.ModTime.After(l.At)
			})
			replaced := (*host.Replaced)(nil)
			switch {
			case changed[i], errors.Is(err, fs.ErrNotExist):
				return nil
			case errors.As(err, &replaced):
				unknown[i] = err
				return nil
			}
			return err
		})
	}
	if err := looks.Wait(); err != nil {
		return nil, err
	}
	var newer []string
	for i, file := range l.Files {
		if changed[i] {
			newer = append(newer, file)
		}
	}
	if len(newer) == 0 {
		return nil, cmp.Or(unknown...)
	}
	return newer, nil
}

// bad lists what is wrong with the files; after they have been read, settings among it that would keep the
// server from starting again.
func (l loaded) bad(afterReload bool) error {
	wrong := append(slices.Clone(l.Errors), l.Rejected...)
	if afterReload {
		wrong = append(wrong, l.Undecided...)
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("the server cannot take its files as they are: correct them\n%s", strings.Join(wrong, "\n"))
}
