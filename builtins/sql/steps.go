package sql

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

// step is a statement with the line that describes it. Only the line is ever shown.
type step struct{ summary, statement string }

// steps make a change, in their order.
type steps []step

func (s *steps) add(summary, statement string) { *s = append(*s, step{summary, statement}) }

// mode says how steps run.
type mode bool

const (
	together mode = true  // in one transaction
	oneByOne mode = false // each for itself, for statements that refuse transactions
)

// change looks in a READ ONLY transaction for the steps to take, and makes a change of them. Where
// there are some, a server that cannot take them is an error at once, so that a dry run says so, too.
func (s server) change(ctx context.Context, r host.Reader, m mode, look func(ctx context.Context, tx *postgres.Tx) (steps, error)) (*builtin.Change, error) {
	var todo steps
	err := s.look(ctx, r, func(ctx context.Context, tx *postgres.Tx) (err error) {
		if todo, err = look(ctx, tx); err != nil || len(todo) == 0 {
			return err
		}
		return takesWrites(ctx, tx)
	})
	if err != nil || len(todo) == 0 {
		return nil, err
	}
	change := &builtin.Change{Apply: func(ctx context.Context, h host.Host) error {
		return s.write(ctx, h, func(ctx context.Context, conn *pgx.Conn) error { return todo.run(ctx, conn, m) })
	}}
	for _, step := range todo {
		change.Summary = append(change.Summary, step.summary)
	}
	return change, nil
}

func (s steps) run(ctx context.Context, conn *pgx.Conn, m mode) error {
	if m == oneByOne {
		for _, step := range s {
			if _, err := conn.Exec(ctx, step.statement); err != nil {
				return fmt.Errorf("%s: %w", step.summary, err)
			}
		}
		return nil
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return s.run(ctx, tx.Conn(), oneByOne) })
}

// takesWrites is an error on a standby, and on a server whose sessions are read-only: a primary that
// pg_auto_failover has promoted but not yet let go.
func takesWrites(ctx context.Context, tx *postgres.Tx) error {
	var standby, readOnly bool
	err := tx.QueryRow(ctx, `SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool`).Scan(&standby, &readOnly)
	switch {
	case err != nil:
		return err
	case standby:
		return errors.New("the server is a standby, and the change is not on it: call this for the primary")
	case readOnly:
		return errors.New("default_transaction_read_only is on, so nothing can be changed: wait until the server takes writes, or call this for the primary")
	}
	return nil
}
