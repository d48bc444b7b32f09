package sql

import (
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin"
)

func TestGrant(t *testing.T) {
	b := newBench(t)
	b.server.Psql(t, `
		CREATE ROLE reader; CREATE ROLE "Odd ""Role";
		CREATE SCHEMA shop; CREATE TABLE shop.orders (n serial); CREATE TABLE shop."Odd ""Table" (n int); CREATE VIEW shop.v AS SELECT 1;
		CREATE FUNCTION shop.f(a int, text DEFAULT '') RETURNS int LANGUAGE sql AS 'SELECT 1';
		CREATE PROCEDURE shop.p() LANGUAGE sql AS 'SELECT 1';
		CREATE SCHEMA "Odd ""Schema"; CREATE TABLE "Odd ""Schema".t (n int)`)
	for _, call := range []string{
		`privileges = "CONNECT", type = "database", on = "postgres", grant_option = True`,
		`privileges = ["usage", "CREATE"], type = "schema", on = ["shop", "Odd \"Schema"]`,
		`privileges = ["SELECT", "INSERT"], on = "shop.orders"`,
		`privileges = "SELECT", on = ["shop.orders", "shop.\"Odd \"\"Table\"", "shop.v"], grant_option = True`,
		`privileges = "ALL", on = "shop.orders"`,
		`privileges = "USAGE", type = "sequence", on = "shop.orders_n_seq"`,
		`privileges = "EXECUTE", type = "function", on = ["shop.f(int, text)", "shop.p()"]`,
		`privileges = ["UPDATE"], type = "tables", on = ["shop", "Odd \"Schema"]`,
		`privileges = "SELECT", type = "sequences", on = "shop"`,
	} {
		for _, role := range []string{"reader", `Odd "Role`} {
			b.Idempotent(`sql.grant(h, ` + quoted(role) + `, ` + call + `, ${at})`)
		}
		b.Idempotent(`sql.grant(h, "reader", ` + call + `, state = "absent", ${at})`)
	}
	b.psql(`SELECT has_table_privilege('Odd "Role', 'shop."Odd ""Table"', 'SELECT WITH GRANT OPTION')`, "t")
	b.psql(`SELECT has_table_privilege('reader', 'shop."Odd ""Table"', 'SELECT')`, "t") // only the grant option was taken
	b.Run(`sql.grant(h, "reader", privileges = "SELECT", type = "tables", on = "shop", ${at})`)
	b.summaryHas(`grant SELECT on table shop.orders to reader`)
}

func TestGrantPublic(t *testing.T) {
	b := newBench(t)
	b.server.Psql(t, `CREATE DATABASE private; CREATE FUNCTION public_f() RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	// What everyone has by default is seen although no ACL is stored.
	b.same(`sql.grant(h, "public", privileges = "EXECUTE", type = "function", on = "public_f()", ${at})`)
	b.Idempotent(`sql.grant(h, "public", privileges = ["CONNECT", "TEMP"], type = "database", on = "private", state = "absent", ${at})`)
	b.Idempotent(`sql.grant(h, "public", privileges = "EXECUTE", type = "function", on = "public_f()", state = "absent", ${at})`)
	b.psql(`SELECT datacl FROM pg_database WHERE datname = 'private'`, "{postgres=CTc/postgres}")
}

func TestGrantErrors(t *testing.T) {
	b := newBench(t)
	b.server.Psql(t, `CREATE ROLE middle; CREATE ROLE last; CREATE TABLE passed_on (n int); GRANT SELECT ON passed_on TO middle WITH GRANT OPTION; SET ROLE middle; GRANT SELECT ON passed_on TO last`)
	b.Fails(`sql.grant(h, "nobody", privileges = "SELECT", on = "passed_on", ${at})`, "role: there is no role nobody", "sql.role")
	b.Fails(`sql.grant(h, "middle", privileges = "FLY", on = "passed_on", ${at})`, `privileges: a table has no privilege "FLY"`, "SELECT")
	b.Fails(`sql.grant(h, "middle", privileges = "SELECT", on = "nowhere.t", ${at})`, "on: there is no table nowhere.t in the database \"postgres\"")
	b.Fails(`sql.grant(h, "middle", privileges = "SELECT", on = "a b", ${at})`, "on:")
	b.Fails(`sql.grant(h, "middle", privileges = "SELECT", type = "tables", on = "nowhere", ${at})`, "on: there is no schema")
	b.Fails(`sql.grant(h, "middle", privileges = "CONNECT", type = "database", on = "nowhere", ${at})`, "on: there is no database")
	b.Fails(`sql.grant(h, "middle", privileges = "SELECT", type = "planet", on = "x", ${at})`, "type: got \"planet\"")
	b.Fails(`sql.grant(h, "middle", privileges = [], on = "x", ${at})`, "privileges: is empty")
	b.Fails(`sql.grant(h, "middle", privileges = "SELECT", on = [], ${at})`, "on: is empty")
	b.Fails(`sql.grant(h, "last", privileges = "SELECT", on = "passed_on", state = "absent", ${at})`, "that middle granted")
	b.same(`sql.grant(h, "nobody", privileges = "SELECT", on = "passed_on", state = "absent", ${at})`)
	b.same(`sql.grant(h, "last", privileges = "SELECT", on = "nowhere", state = "absent", ${at})`)
	b.Check(`sql.database(h, "later", ${at})
sql.grant(h, "public", privileges = "ALL", type = "database", on = "later", state = "absent", ${at})`)
	if len(b.Events) != 2 || b.Events[1].Status == builtin.Same {
		t.Errorf("a dry run that would make the database passes over what is to be revoked: %v", b.Events)
	}
	b.same(`sql.grant(h, "last", privileges = "SELECT", type = "tables", on = "pg_toast", state = "absent", ${at})`)
}
