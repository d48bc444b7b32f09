package sql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pgrun/pgrun/runtime/postgres"
)

// exposure says what of a statement is secret.
type exposure bool

const (
	argsOnly       exposure = false
	wholeStatement exposure = true
)

// quieting are the settings that keep a session's statements and their parameters out of the server's
// log, of pg_stat_activity and of pg_stat_statements, which keeps utility statements as they are.
// Those with a dot belong to modules; where a module is not loaded, setting one does nothing.
var quieting = [][2]string{
	{"log_statement", "none"},
	{"log_min_duration_statement", "-1"},
	{"log_min_duration_sample", "-1"},
	{"log_transaction_sample_rate", "0"},
	{"log_min_error_statement", "panic"},
	{"log_parameter_max_length", "0"},
	{"log_parameter_max_length_on_error", "0"},
	{"track_activities", "off"},
	{"auto_explain.log_min_duration", "-1"},
	{"pgaudit.log", "none"},
	{"pgaudit.log_parameter", "off"},
	{"pg_stat_statements.track", "none"},
}

// keepFromLog makes the server keep what the session runs from now on to itself. Only a superuser may
// ask for that; for others it is an error where the server would log the secret.
func keepFromLog(ctx context.Context, conn postgres.Querier, what exposure) error {
	var superuser, logs bool
	err := conn.QueryRow(ctx, `
		SELECT rolsuper,
			current_setting('log_statement') <> 'none'
			OR current_setting('log_min_duration_statement') <> '-1'
			OR current_setting('log_min_duration_sample') <> '-1'
			OR current_setting('log_transaction_sample_rate') <> '0'
			OR current_setting('log_parameter_max_length_on_error') <> '0'
			OR coalesce(nullif(current_setting('pgaudit.log', true), ''), 'none') <> 'none'
			OR $1 AND current_setting('log_min_error_statement') NOT IN ('fatal', 'panic')
		FROM pg_roles WHERE rolname = current_user`, what == wholeStatement).Scan(&superuser, &logs)
	switch {
	case err != nil:
		return fmt.Errorf("looking whether the server would log the secret: %w", err)
	case superuser:
		return beQuiet(ctx, conn)
	case logs:
		return errors.New("the server would write the secret into its log (log_statement, log_min_duration_statement, log_min_error_statement and the like), and only a superuser can tell it not to: connect as one, or change those settings for the role")
	}
	return nil
}

// keepVerifierFromLog is for statements with a verifier, from which a password can be found by guessing
// only: a superuser keeps it out of the log, too, and anybody else sends it as it is.
func keepVerifierFromLog(ctx context.Context, conn postgres.Querier) error {
	var superuser bool
	if err := conn.QueryRow(ctx, `SELECT rolsuper FROM pg_roles WHERE rolname = current_user`).Scan(&superuser); err != nil || !superuser {
		return err
	}
	return beQuiet(ctx, conn)
}

func beQuiet(ctx context.Context, conn postgres.Querier) error {
	var sets []string
	for _, s := range quieting {
		sets = append(sets, "set_config("+postgres.QuoteText(s[0])+", "+postgres.QuoteText(s[1])+", false)")
	}
	if _, err := conn.Exec(ctx, "SELECT "+strings.Join(sets, ", ")); err != nil {
		return fmt.Errorf("keeping the secret out of the server's log: %w", err)
	}
	return nil
}
