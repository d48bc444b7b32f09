package sql

import (
	"context"
	"fmt"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

type extensionParams struct {
	Name    string `star:"name,required" doc:"Extension's name."`
	Version string `star:"version" doc:"Version, or latest for the newest that is installed on the server. By default, any that is there, and latest for a new one."`
	Schema  string `star:"schema" doc:"Schema of its objects, which must exist."`
	Cascade bool   `star:"cascade" doc:"Whether to make the extensions that it needs as well; with state absent, to drop what depends on it."`
	State   string `star:"state" choices:"present absent" doc:"present or absent."`
	server
}

func checkExtension(ctx context.Context, r host.Reader, p extensionParams) (*builtin.Change, error) {
	if err := checkName("name", p.Name); err != nil {
		return nil, err
	}
	return p.change(ctx, r, together, func(ctx context.Context, tx *postgres.Tx) (steps, error) {
		var version, schema, latest *string
		err := tx.QueryRow(ctx, `
			SELECT extversion, nspname, default_version
			FROM (SELECT $1::name) q (name)
				LEFT JOIN pg_extension e ON extname = q.name LEFT JOIN pg_namespace n ON n.oid = extnamespace
				LEFT JOIN pg_available_extensions a ON a.name = q.name`, p.Name).Scan(&version, &schema, &latest)
		if err != nil {
			return nil, err
		}
		database := tx.Database()
		switch {
		case p.State == absent && version == nil:
			return nil, nil
		case p.State == absent:
			return p.drop(database), nil
		case version == nil && latest == nil:
			return nil, host.NotThere("name: there is no extension %q on the server's machine: install the package that brings it, such as postgresql-17-%s, with apt.install", p.Name, p.Name)
		case version == nil:
			return p.create(database, *latest), nil
		}
		return p.alter(database, *version, *schema, latest)
	})
}

func (p extensionParams) drop(database string) steps {
	statement := "DROP EXTENSION " + postgres.QuoteName(p.Name)
	if p.Cascade {
		statement += " CASCADE"
	}
	return steps{{fmt.Sprintf("drop extension %s of database %s", shown(p.Name), shown(database)), statement}}
}

func (p extensionParams) create(database, latest string) steps {
	version := latest
	statement := "CREATE EXTENSION " + postgres.QuoteName(p.Name)
	if p.Schema != "" {
		statement += " SCHEMA " + postgres.QuoteName(p.Schema)
	}
	if p.Version != "" && p.Version != "latest" {
		version = p.Version
		statement += " VERSION " + postgres.QuoteText(version)
	}
	if p.Cascade {
		statement += " CASCADE"
	}
	return steps{{fmt.Sprintf("create extension %s %s in database %s", shown(p.Name), version, shown(database)), statement}}
}

func (p extensionParams) alter(database, version, schema string, latest *string) (steps, error) {
	var todo steps
	alter := "ALTER EXTENSION " + postgres.QuoteName(p.Name)
	want := p.Version
	if want == "latest" {
		if latest == nil {
			return nil, host.NotThere("version: the files of extension %q are not on the server's machine any more: install its package with apt.install", p.Name)
		}
		want = *latest
	}
	if want != "" && want != version {
		todo.add(fmt.Sprintf("update extension %s of database %s: %s -> %s", shown(p.Name), shown(database), version, want),
			alter+" UPDATE TO "+postgres.QuoteText(want))
	}
	if p.Schema != "" && p.Schema != schema {
		todo.add(fmt.Sprintf("move extension %s of database %s to schema %s", shown(p.Name), shown(database), shown(p.Schema)),
			alter+" SET SCHEMA "+postgres.QuoteName(p.Schema))
	}
	return todo, nil
}
