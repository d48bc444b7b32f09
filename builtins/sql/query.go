package sql

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

// maxResult bounds what a query may return, in bytes of its values.
const maxResult = host.MaxRead

type queryParams struct {
	Query string      `star:"query,required" doc:"A statement that returns rows, with $1, $2, ... for args."`
	Args  builtin.Any `star:"args" doc:"List of the query's parameters. They may be secrets; a list is sent as an array, a dict as JSON."`
	server
}

func query(ctx context.Context, r host.Reader, p queryParams) ([]*starlarkstruct.Struct, error) {
	rows := []*starlarkstruct.Struct{}
	err := p.run(ctx, r, func(names []string, values []starlark.Value) bool {
		row := starlark.StringDict{}
		for i, name := range names {
			row[name] = values[i]
		}
		rows = append(rows, starlarkstruct.FromStringDict(starlarkstruct.Default, row))
		return true
	})
	return rows, err
}

func value(ctx context.Context, r host.Reader, p queryParams) (first starlark.Value, err error) {
	first = starlark.None
	err = p.run(ctx, r, func(_ []string, values []starlark.Value) bool {
		first = values[0]
		return false
	})
	return first, err
}

func (p queryParams) run(ctx context.Context, r host.Reader, row func(names []string, values []starlark.Value) bool) error {
	values, err := listOf(p.Args)
	if err != nil {
		return err
	}
	return p.look(ctx, r, func(ctx context.Context, tx *postgres.Tx) error {
		statement, err := prepare(ctx, tx, "query", p.Query, values)
		if err != nil {
			return err
		}
		return selectRows(ctx, tx, "query", statement, values, row)
	})
}

// prepare prepares a query for selectRows. param names the builtin's parameter that holds it.
func prepare(ctx context.Context, tx *postgres.Tx, param, query string, values []starlark.Value) (*pgconn.StatementDescription, error) {
	if holdSecret(values) {
		if err := keepFromLog(ctx, tx, argsOnly); err != nil {
			return nil, err
		}
	}
	statement, err := tx.Prepare(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", param, err)
	}
	return statement, nil
}

// valueSize is what a value takes besides its text, about.
const valueSize = 16

// selectRows runs a query that was prepared, and passes each row to row until that returns false.
func selectRows(ctx context.Context, tx *postgres.Tx, param string, statement *pgconn.StatementDescription, values []starlark.Value, row func(names []string, values []starlark.Value) bool) error {
	// What returns no rows is found out before it runs: among it is what READ ONLY does not hold back,
	// such as COPY TO PROGRAM and LOAD.
	if len(statement.Fields) == 0 {
		return fmt.Errorf("%s: the statement returns no columns: sql.exec runs statements that act", param)
	}
	names := make([]string, len(statement.Fields))
	seen := map[string]bool{}
	for i, f := range statement.Fields {
		names[i] = f.Name
		if seen[f.Name] {
			return fmt.Errorf("%s: two columns are called %q: name them with AS", param, f.Name)
		}
		seen[f.Name] = true
	}
	sent, err := toParameters(statement, values)
	if err != nil {
		return err
	}
	result := tx.Execute(ctx, statement, sent)
	size := 0
	for result.NextRow() {
		converted := make([]starlark.Value, len(names))
		for i, text := range result.Values() {
			size += valueSize + len(text)
			if converted[i], err = fromServer(tx.TypeMap(), statement.Fields[i].DataTypeOID, text); err != nil {
				return fmt.Errorf("%s: column %s: %w", param, names[i], err)
			}
		}
		if size > maxResult {
			return fmt.Errorf("%s: returns more than %d MiB: add LIMIT, or let the server summarize", param, maxResult>>20)
		}
		if !row(names, converted) {
			if result.NextRow() {
				tx.Drop() // and the rest with it
				return nil
			}
			break
		}
	}
	if _, err := result.Close(); err != nil {
		return fmt.Errorf("%s: %w", param, err)
	}
	return nil
}

// toParameters turns arguments into the texts of a statement's parameters.
func toParameters(statement *pgconn.StatementDescription, values []starlark.Value) ([][]byte, error) {
	if want := len(statement.ParamOIDs); want != len(values) {
		return nil, fmt.Errorf("args: the statement has %d parameters ($1, ...), got %d", want, len(values))
	}
	sent := make([][]byte, len(values))
	for i, v := range values {
		var err error
		if sent[i], err = toServer(statement.ParamOIDs[i], v); err != nil {
			return nil, fmt.Errorf("args: item %d: %w", i, err)
		}
	}
	return sent, nil
}

// listOf reads the args parameter.
func listOf(a builtin.Any) ([]starlark.Value, error) {
	switch v := a.Value.(type) {
	case nil:
		return nil, nil
	case *starlark.List, starlark.Tuple:
		list := v.(starlark.Indexable)
		values := make([]starlark.Value, list.Len())
		for i := range values {
			values[i] = list.Index(i)
		}
		return values, nil
	}
	return nil, errors.New("args: got " + a.Type() + ", want a list")
}
