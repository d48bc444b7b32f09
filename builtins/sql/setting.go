package sql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

// reloadTimeout bounds the wait for a server that reloads its configuration.
const reloadTimeout = 10 * time.Second

type settingParams struct {
	Settings builtin.StringMap `star:"settings" doc:"Dict of names and values, as in postgresql.conf but without quotes: {\"work_mem\": \"64MB\"}."`
	Reset    builtin.Strings   `star:"reset" doc:"Names to take out of postgresql.auto.conf, so that postgresql.conf or the default counts again."`
	server
}

type settingResult struct {
	PendingRestart []string `star:"pending_restart" doc:"Those of the names whose value counts only after a restart of the server."`
}

// current is what the server says of a setting.
type current struct {
	setting
	running string // what counts in this session, in the setting's unit
	printed string // the same, as SHOW prints it
	source  string // where that comes from
	context string // when it can change: postmaster, sighup, ...
	builtIn string
	file    *string // what the configuration files say, if anything
	auto    bool    // the last to say so is postgresql.auto.conf
	pending bool    // a restart will change it
}

func checkSetting(ctx context.Context, r host.Reader, p settingParams) (*builtin.Change, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	var (
		todo    steps
		lines   [2]string // before, after
		pending []string
		reload  bool
	)
	err := p.look(ctx, r, func(ctx context.Context, tx *postgres.Tx) error {
		all, err := p.find(ctx, tx)
		if err != nil {
			return err
		}
		for _, name := range p.names() {
			c, ok := all[strings.ToLower(name)]
			if !ok {
				return host.NotThere("settings: the server knows no setting %q: is it misspelt, or one of a library that shared_preload_libraries does not name, or that waits for a restart?", name)
			}
			value, set := p.Settings[name]
			differs, err := c.compare(name, value, set)
			switch {
			case err != nil:
				return err
			case !differs && c.reloads(value, set):
				reload = true
			case differs:
				old := c.shown()
				lines[0] += name + " = " + old + "\n"
				if set {
					todo.add(fmt.Sprintf("set %s: %s -> %s", name, old, value), "ALTER SYSTEM SET "+quoteSetting(name)+" = "+quoteSettingValue(name, value))
					lines[1] += name + " = " + value + "\n"
				} else {
					todo.add(fmt.Sprintf("reset %s: %s -> what else is configured", name, old), "ALTER SYSTEM RESET "+quoteSetting(name))
				}
			}
			if c.pending && !differs || differs && c.context == "postmaster" {
				pending = append(pending, name)
			}
		}
		if len(todo) > 0 || reload {
			return p.loadable(ctx, tx)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	change := &builtin.Change{Learned: settingResult{pending}}
	if len(todo) == 0 && !reload {
		return change, nil
	}
	for _, step := range todo {
		change.Summary = append(change.Summary, step.summary)
	}
	if len(todo) == 0 {
		change.Summary = []string{"reload the configuration, which has the settings already"}
	} else {
		change.Diffs = []builtin.Diff{{Path: "postgresql.auto.conf", Before: lines[0], After: lines[1]}}
	}
	change.Writes, change.Readers = []string{"postgresql.auto.conf"}, []string{p.target().Server()} // which alone reads it, in PGDATA
	change.Apply = func(ctx context.Context, h host.Host) error {
		return p.write(ctx, h, func(ctx context.Context, conn *pgx.Conn) error {
			if err := todo.run(ctx, conn, oneByOne); err != nil {
				return err
			}
			pending, err := p.reload(ctx, conn)
			change.Learned = settingResult{pending}
			return err
		})
	}
	return change, nil
}

func (p settingParams) check() error {
	if len(p.Settings) == 0 && len(p.Reset) == 0 {
		return errors.New("settings: is empty, and so is reset: name what to set")
	}
	for _, name := range p.Reset {
		if _, both := p.Settings[name]; both {
			return fmt.Errorf("reset: %s is in settings, too", name)
		}
	}
	return checkSettingNames(p.Settings)
}

func (p settingParams) names() []string {
	return append(slices.Sorted(maps.Keys(p.Settings)), p.Reset...)
}

// find reads the settings that are named, by their names in lower case.
func (p settingParams) find(ctx context.Context, q postgres.Querier) (map[string]current, error) {
	var lower []string
	for _, name := range p.names() {
		lower = append(lower, strings.ToLower(name))
	}
	rows, err := q.Query(ctx, `
		SELECT s.name, s.vartype, coalesce(s.unit, ''), s.setting, current_setting(s.name), s.source, s.context, coalesce(s.boot_val, ''), s.pending_restart,
			f.setting, coalesce(f.sourcefile LIKE '%/postgresql.auto.conf', false)
		FROM pg_settings s LEFT JOIN (
			SELECT DISTINCT ON (lower(name)) lower(name) AS name, setting, sourcefile
			FROM pg_file_settings WHERE name IS NOT NULL ORDER BY lower(name), seqno DESC
		) f ON f.name = lower(s.name)
		WHERE lower(s.name) = ANY ($1)`, lower)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration files through the server: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c current, err error) {
		return c, row.Scan(&c.name, &c.kind, &c.unit, &c.running, &c.printed, &c.source, &c.context, &c.builtIn, &c.pending, &c.file, &c.auto)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the configuration files through the server: %w", err)
	}
	byName := map[string]current{}
	for _, c := range all {
		byName[strings.ToLower(c.name)] = c
	}
	return byName, nil
}

// compare reports whether the configuration files have to change for the setting to be value, or for it to
// be reset.
func (c current) compare(name, value string, set bool) (differs bool, err error) {
	switch {
	case !set:
		return c.auto, nil
	case c.context == "internal":
		return false, fmt.Errorf("settings: %s cannot be set: it is a fact of the server, %s", name, c.running)
	case (c.source == "command line" || c.source == "environment variable") && !c.same(c.running, value):
		return false, fmt.Errorf("settings: %s is %s by the server's %s, which no file overrides: change it there", name, c.running, c.source)
	case c.source == "command line" || c.source == "environment variable":
		return false, nil
	case c.file != nil:
		return !c.same(*c.file, value), nil
	}
	return !c.same(c.builtIn, value), nil
}

// reloads reports whether the files have the value and the running server has not: they were edited, or a run
// ended before its reload. A session's own value hides the server's: then nothing is known, and nothing done.
func (c current) reloads(value string, set bool) bool {
	if !set { // what else is configured
		if c.file == nil {
			return !c.pending && c.source == "configuration file"
		}
		value = *c.file
	}
	return !c.pending && (c.source == "configuration file" || c.source == "default") && !c.same(c.running, value)
}

// shown is the value that counts before the change: as the files write it, else as the server does.
func (c current) shown() string {
	switch {
	case c.file != nil && *c.file != "":
		return *c.file
	case c.file != nil || c.printed == "":
		return "''"
	}
	return c.printed
}

// reload makes the server read its configuration, waits until this session has it, and returns those of the
// settings that a restart is needed for.
func (p settingParams) reload(ctx context.Context, conn *pgx.Conn) (pending []string, err error) {
	var before, now time.Time
	const loaded = `SELECT pg_conf_load_time()`
	if err := conn.QueryRow(ctx, loaded).Scan(&before); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `SELECT pg_reload_conf()`); err != nil {
		return nil, fmt.Errorf("reloading the configuration: %w", err)
	}
	for started := time.Now(); ; {
		if err := conn.QueryRow(ctx, loaded).Scan(&now); err != nil {
			return nil, err
		}
		if now.After(before) {
			break
		}
		if time.Since(started) > reloadTimeout {
			return nil, cmp.Or(p.loadable(ctx, conn), fmt.Errorf("the server was told to reload its configuration, and has not in %s: see its log", reloadTimeout))
		}
		if err := host.Pause(ctx, 5*time.Millisecond); err != nil {
			return nil, err
		}
	}
	all, err := p.find(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, name := range p.names() {
		if all[strings.ToLower(name)].pending {
			pending = append(pending, name)
		}
	}
	return pending, nil
}

// loadable is an error where a line of the configuration files would make the server refuse all of them.
// A value that only a restart can apply, or a bad one, does not, nor a setting that was taken out, whose row names no file.
func (p settingParams) loadable(ctx context.Context, q postgres.Querier) error {
	var where, what string
	err := q.QueryRow(ctx, `
		SELECT sourcefile || ', line ' || coalesce(sourceline, 0), error FROM pg_file_settings
		WHERE error IS NOT NULL AND error <> 'setting could not be applied' AND sourcefile IS NOT NULL LIMIT 1`).Scan(&where, &what)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the configuration files through the server: %w", err)
	}
	return fmt.Errorf("the server cannot reload its configuration because of %s (%s): correct that line first", where, what)
}
