// Package sql holds the builtins that look into PostgreSQL servers and change them: databases, roles,
// privileges, extensions, settings, and statements of the script's own.
//
// They connect as package postgres does: to the host's own server through its Unix socket as the
// operating-system user postgres, unless told otherwise, or to a URI. What looks runs in READ ONLY
// transactions; so does every Check, which compares what is declared with the server's catalogs
// and makes a list of steps (steps.go), statements with a line each that says what they do. Apply runs
// them as they are.
package sql

import (
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/postgres"
)

// Module is the sql module.
func Module() builtin.Module {
	at := server{Port: postgres.DefaultPort, Socket: postgres.DefaultSocket, User: postgres.DefaultUser, Timeout: time.Minute}
	return builtin.Module{
		Name: "sql",
		Doc: "PostgreSQL servers: queries, databases, roles, privileges, extensions and settings. " +
			"Connects to the host's own server through its Unix socket as the operating-system user postgres (peer authentication), or to uri.",
		Builtins: []builtin.Builtin{
			&builtin.Look[queryParams, []*starlarkstruct.Struct]{
				Name: "query",
				Doc: "Returns the rows of a query as a list of structs, one attribute a column. The query runs in a READ ONLY transaction, in UTC. " +
					"Integers, floats, booleans, times, JSON and arrays become values of their kind, NULL None, bytea bytes; " +
					"all else, numeric and date included, is the text that PostgreSQL prints. " +
					"Functions that act outside of transactions, such as pg_promote(), are not held back: they belong in sql.exec.",
				Defaults: queryParams{server: at},
				Run:      query,
			},
			&builtin.Look[queryParams, starlark.Value]{
				Name:     "value",
				Doc:      "Returns the first column of a query's first row, or None where there is no row. Otherwise like sql.query.",
				Defaults: queryParams{server: at},
				Run:      value,
			},
			&builtin.Action[execParams]{
				Name: "exec",
				Doc: "Runs a statement, or several separated by semicolons as one transaction. It counts as changed each time and does not run in a dry run; " +
					"with unless, only where that query says that there is something to do. " +
					"A secret belongs in args, or where a statement takes none (DDL), joined to the statement as sql.quote(secret): the server is then told to log neither.",
				Defaults: execParams{server: at},
				Result:   execResult{},
				Check:    checkExec,
			},
			&builtin.Action[databaseParams]{
				Name: "database",
				Doc: "Makes a database exist, with what is declared of it, or not exist. Owner, connection limit and settings are changed where they differ; " +
					"encoding, locale and tablespace are those of its creation, and another one is an error.",
				Defaults: databaseParams{server: at, State: present},
				Check:    checkDatabase,
			},
			&builtin.Action[roleParams]{
				Name: "role",
				Doc: "Makes a role exist, with what is declared of it, or not exist. What is not declared stays as it is. " +
					"A password is turned into a SCRAM-SHA-256 verifier before it is sent, so that the server and its log never see it, and is compared with the verifier that the server has.",
				Defaults: roleParams{server: at, State: present},
				Check:    checkRole,
			},
			&builtin.Action[grantParams]{
				Name: "grant",
				Doc: "Makes a role hold privileges on objects, or not hold them. Privileges that are not named stay as they are. " +
					"Only what is granted to the role itself counts, not what it has as a member of another.",
				Defaults: grantParams{server: at, Type: "table", State: present},
				Check:    checkGrant,
			},
			&builtin.Action[extensionParams]{
				Name:     "extension",
				Doc:      "Makes an extension exist in a database, in a version and schema where those are declared, or not exist.",
				Defaults: extensionParams{server: at, State: present},
				Check:    checkExtension,
			},
			&builtin.Action[settingParams]{
				Name: "setting",
				Doc: "Makes settings of the whole server (ALTER SYSTEM), and reloads it. Values are compared in the server's units: 1GB is 1024MB. " +
					"A setting that the configuration files have already is left where it is.",
				Defaults: settingParams{server: at},
				Result:   settingResult{},
				Check:    checkSetting,
			},
			&builtin.Control[quoteParams]{
				Name:       "quote",
				Doc:        "Returns a text as a constant of SQL, quotes included: for statements that take no args. Of a secret it is a secret, to be joined with +.",
				Positional: 1,
				Call:       quote,
			},
			&builtin.Control[lockedParams]{
				Name: "locked",
				Doc: "Calls a function while it holds a lock on the server, and returns what that returned. A second call with the same name, " +
					"from any run on any machine, fails at once. The lock ends with the call, and with the run however that ends. " +
					"Locks are those of the database that is connected to. A dry run takes none.",
				Positional: 2,
				Defaults:   lockedParams{server: at},
				Call:       locked,
			},
		},
	}
}
