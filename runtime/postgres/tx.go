package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// Querier is a connection, or a transaction on one.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Tx is the READ ONLY transaction of a look. It is begun together with its first statement, so that it costs no way of its own
// to the server and back, which takes longer than most statements.
type Tx struct {
	session session
	begun   bool
	first   pgx.BatchResults                // with what the first statement has answered
	reopen  func(ctx context.Context) error // makes a new connection, while it is not known whether the one that was kept still serves
}

const begin = "BEGIN READ ONLY"

// start sends the first statement.
func (x *Tx) start(ctx context.Context, sql string, args []any) error {
	var batch pgx.Batch
	batch.Queue(begin)
	batch.Queue(sql, args...)
	x.first = x.session.SendBatch(ctx, &batch)
	_, err := x.first.Exec()
	if err == nil {
		x.begun, x.reopen = true, nil
		return nil
	}
	_ = x.first.Close() // for the same reason
	x.first = nil
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		err = answer // without what pgx says of the batch
	}
	if again, err := x.renew(ctx, err); !again {
		return err
	}
	return x.start(ctx, sql, args)
}

// renew makes a new connection in place of one that was kept, if that has broken meanwhile, and says whether it did.
func (x *Tx) renew(ctx context.Context, err error) (again bool, _ error) {
	if x.reopen == nil || !x.session.IsClosed() {
		return false, err
	}
	open := x.reopen
	x.begun, x.reopen = false, nil
	err = open(ctx)
	return err == nil, err
}

// next makes the connection free for a further statement.
func (x *Tx) next() error {
	if x.first == nil {
		return nil
	}
	err := x.first.Close()
	x.first = nil
	return err
}

// ready begins the transaction with a statement, whose answer comes from first then, or makes the connection free for it.
func (x *Tx) ready(ctx context.Context, sql string, args []any) (sent bool, err error) {
	if x.begun {
		return false, x.next()
	}
	return true, x.start(ctx, sql, args)
}

// Query is that of pgx.
func (x *Tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	switch sent, err := x.ready(ctx, sql, args); {
	case err != nil:
		return nil, err
	case sent:
		return x.first.Query()
	}
	return x.session.Query(ctx, sql, args...)
}

// QueryRow is that of pgx.
func (x *Tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	switch sent, err := x.ready(ctx, sql, args); {
	case err != nil:
		return failed{err}
	case sent:
		return x.first.QueryRow()
	}
	return x.session.QueryRow(ctx, sql, args...)
}

// failed is the row of a statement that was not sent, or had no answer.
type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }

// Exec is that of pgx.
func (x *Tx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	switch sent, err := x.ready(ctx, sql, args); {
	case err != nil:
		return pgconn.CommandTag{}, err
	case sent:
		return x.first.Exec()
	}
	return x.session.Exec(ctx, sql, args...)
}

// Prepare prepares a statement that has no name. The next takes its place.
func (x *Tx) Prepare(ctx context.Context, sql string) (*pgconn.StatementDescription, error) {
	if x.begun {
		if err := x.next(); err != nil {
			return nil, err
		}
		return x.session.PgConn().Prepare(ctx, "", sql, nil)
	}
	statement, err := x.startPrepared(ctx, sql)
	if err == nil {
		x.reopen = nil
		return statement, nil
	}
	if again, err := x.renew(ctx, err); !again {
		return nil, err
	}
	return x.startPrepared(ctx, sql)
}

// Execute runs what Prepare has prepared.
func (x *Tx) Execute(ctx context.Context, statement *pgconn.StatementDescription, params [][]byte) *pgconn.ResultReader {
	return x.session.PgConn().ExecStatement(ctx, statement, params, nil, nil)
}

// TypeMap is that of pgx.
func (x *Tx) TypeMap() *pgtype.Map { return x.session.TypeMap() }

// Database is the name of the database.
func (x *Tx) Database() string { return x.session.Config().Database }

// Drop ends the connection, and with it a statement that has more to answer.
func (x *Tx) Drop() { _ = x.session.PgConn().Conn().Close() }

// startPrepared begins the transaction and prepares a statement in one message.
func (x *Tx) startPrepared(ctx context.Context, sql string) (statement *pgconn.StatementDescription, err error) {
	pipe := x.session.PgConn().StartPipeline(ctx)
	pipe.SendQueryParams(begin, nil, nil, nil, nil)
	pipe.SendPrepare("", sql, nil)
	err = pipe.Sync()
	for err == nil {
		var result any
		result, err = pipe.GetResults()
		switch result := result.(type) {
		case *pgconn.ResultReader:
			_, err = result.Close()
			x.begun = err == nil
		case *pgconn.StatementDescription:
			statement = result
		case *pgconn.PipelineSync:
			return statement, pipe.Close()
		}
	}
	_ = pipe.Close() // for the same reason
	return nil, err
}
