package sql

import "testing"

func TestDatabase(t *testing.T) {
	b := newBench(t)
	b.server.Psql(t, `CREATE ROLE db_owner`)
	for _, name := range odd {
		n := quoted(name)
		b.Idempotent(`sql.database(h, ` + n + `, ${at})`)
		b.Idempotent(`sql.database(h, ` + n + `, owner = "db_owner", connection_limit = 5, settings = {"work_mem": "8MB"}, ${at})`)
		b.gives(`sql.value(h, "SELECT current_database()", database = `+n+`, ${at})`, n)
		b.same(`sql.database(h, ` + n + `, ${at})`)
		b.Idempotent(`sql.database(h, ` + n + `, state = "absent", ${at})`)
	}
}

func TestDatabaseEncoding(t *testing.T) {
	b := newBench(t)
	b.Idempotent(`sql.database(h, "latin", encoding = "LATIN1", locale = "C", ${at})`)
	b.same(`sql.database(h, "latin", encoding = "iso-8859-1", lc_collate = "C", ${at})`)
	b.Fails(`sql.database(h, "latin", encoding = "UTF8", ${at})`, "encoding: the database latin has LATIN1, not UTF8", "restore")
	b.Fails(`sql.database(h, "latin", lc_ctype = "C.UTF-8", ${at})`, "lc_ctype: the database latin has C, not C.UTF-8")
	b.Fails(`sql.database(h, "latin", locale_provider = "icu", ${at})`, "locale_provider:")
	b.Fails(`sql.database(h, "latin", tablespace = "fast", ${at})`, "tablespace: the database latin is in pg_default")
	b.same(`sql.database(h, "postgres", encoding = "utf-8", locale = "C.utf8", ${at})`)
	b.Idempotent(`sql.database(h, "full", encoding = "UTF8", lc_collate = "C", lc_ctype = "C.UTF-8", template = "template0", tablespace = "pg_default", connection_limit = 2, owner = "postgres", settings = {"search_path": "app, public"}, ${at})`)
	b.Idempotent(`sql.database(h, "german", locale_provider = "icu", provider_locale = "de", locale = "C", encoding = "UTF8", ${at})`)
}

func TestDatabaseErrors(t *testing.T) {
	b := newBench(t)
	b.Fails(`sql.database(h, "x", owner = "nobody", ${at})`, "create database x", `role "nobody" does not exist`)
	b.Fails(`sql.database(h, "x", locale = "C", lc_ctype = "C", ${at})`, "locale:")
	b.Fails(`sql.database(h, "x", locale_provider = "moon", ${at})`, "locale_provider:")
	b.Fails(`sql.database(h, "x", force = True, ${at})`, "force:")
	b.Fails(`sql.database(h, "postgres", state = "absent", ${at})`, "currently open")
	b.Run(`sql.database(h, "busy", ${at})`)
	b.Fails(`sql.exec(h, "DROP DATABASE busy", database = "busy", ${at})`, "currently open")
}
