package sql

import (
	"cmp"
	"context"
	"errors"
	"math/big"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
	"github.com/pgrun/pgrun/runtime/secret"
)

type execParams struct {
	Statement builtin.Text `star:"statement,required" doc:"Statement, with $1, $2, ... for args; without args, several may be separated by semicolons, and are one transaction."`
	Args      builtin.Any  `star:"args" doc:"List of the statement's parameters. They may be secrets; a list is sent as an array, a dict as JSON."`
	Unless    string       `star:"unless" doc:"Query that tells that there is nothing to do: its first value is true, or a number other than 0, or a text that is not empty. It gets as many of args as it has parameters."`
	server
}

type execResult struct {
	Rows int64 `star:"rows" doc:"Rows that were inserted, updated, deleted, merged or copied."`
}

func checkExec(ctx context.Context, r host.Reader, p execParams) (*builtin.Change, error) {
	values, err := listOf(p.Args)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(p.Statement.Reveal()) == "" {
		return nil, errors.New("statement: is empty")
	}
	if err := p.validate(); err != nil {
		return nil, err
	}
	if p.Unless != "" {
		done, err := p.done(ctx, r, values)
		if err != nil {
			return nil, err
		}
		if done {
			return &builtin.Change{Learned: execResult{}}, nil
		}
	}
	change := &builtin.Change{Summary: []string{"run " + brief(p.Statement)}}
	change.Apply = func(ctx context.Context, h host.Host) error {
		return p.write(ctx, h, func(ctx context.Context, conn *pgx.Conn) error {
			rows, err := p.exec(ctx, conn, values)
			change.Learned = execResult{rows}
			return err
		})
	}
	return change, nil
}

// done asks the unless query.
func (p execParams) done(ctx context.Context, r host.Reader, values []starlark.Value) (done bool, err error) {
	err = p.look(ctx, r, func(ctx context.Context, tx *postgres.Tx) error {
		statement, err := prepare(ctx, tx, "unless", p.Unless, values)
		if err != nil {
			return err
		}
		some := values[:min(len(values), len(statement.ParamOIDs))]
		return selectRows(ctx, tx, "unless", statement, some, func(_ []string, row []starlark.Value) bool {
			done = holds(row[0])
			return false
		})
	})
	return done, err
}

// holds reports whether an answer means yes. A numeric, which is text here, counts as the number it is.
func holds(v starlark.Value) bool {
	if s, ok := v.(starlark.String); ok {
		if n, ok := new(big.Rat).SetString(string(s)); ok {
			return n.Sign() != 0
		}
	}
	return bool(v.Truth())
}

func (p execParams) exec(ctx context.Context, conn *pgx.Conn, values []starlark.Value) (rows int64, err error) {
	switch {
	case p.Statement.IsSecret():
		err = keepFromLog(ctx, conn, wholeStatement)
	case holdSecret(values):
		err = keepFromLog(ctx, conn, argsOnly)
	}
	if err != nil {
		return 0, err
	}
	if len(values) == 0 {
		return affected(conn.PgConn().Exec(ctx, p.Statement.Reveal()))
	}
	statement, err := conn.PgConn().Prepare(ctx, "", p.Statement.Reveal(), nil)
	if err != nil {
		return 0, err
	}
	sent, err := toParameters(statement, values)
	if err != nil {
		return 0, err
	}
	result := conn.PgConn().ExecStatement(ctx, statement, sent, nil, nil).Read()
	return written(result.CommandTag), result.Err
}

func affected(results *pgconn.MultiResultReader) (rows int64, err error) {
	for results.NextResult() {
		tag, oneErr := results.ResultReader().Close()
		rows += written(tag)
		err = cmp.Or(err, oneErr)
	}
	return rows, cmp.Or(err, results.Close())
}

// written is how many rows a statement changed: a SELECT's tag counts those that it returned.
func written(tag pgconn.CommandTag) int64 {
	if tag.Select() {
		return 0
	}
	return tag.RowsAffected()
}

// brief is a statement on one line, for a summary.
func brief(statement builtin.Text) string {
	if statement.IsSecret() {
		return "a statement (not shown: it holds a secret)"
	}
	const longest = 100
	line := strings.Join(strings.Fields(statement.Reveal()), " ")
	if runes := []rune(line); len(runes) > longest {
		return string(runes[:longest]) + "..."
	}
	return line
}

func holdSecret(values []starlark.Value) bool {
	for _, v := range values {
		switch v := v.(type) {
		case secret.Value:
			return true
		case *starlark.Dict:
			for _, item := range v.Items() {
				if holdSecret(item[1:]) {
					return true
				}
			}
		case starlark.Indexable:
			if v.Type() == "string" || v.Type() == "bytes" {
				continue
			}
			for i := range v.Len() {
				if holdSecret([]starlark.Value{v.Index(i)}) {
					return true
				}
			}
		}
	}
	return false
}
