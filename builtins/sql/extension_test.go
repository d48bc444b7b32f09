package sql

import "testing"

func TestExtension(t *testing.T) {
	b := newBench(t)
	b.server.Psql(t, `CREATE SCHEMA ext; CREATE SCHEMA "Ext 2"`)
	b.Idempotent(`sql.extension(h, "pgcrypto", ${at})`)
	b.same(`sql.extension(h, "pgcrypto", version = "latest", schema = "public", ${at})`)
	b.Idempotent(`sql.extension(h, "pgcrypto", schema = "Ext 2", ${at})`)
	b.Idempotent(`sql.extension(h, "pgcrypto", state = "absent", ${at})`)
	b.Idempotent(`sql.extension(h, "pg_trgm", version = "1.5", schema = "ext", ${at})`)
	b.Idempotent(`sql.extension(h, "pg_trgm", version = "latest", ${at})`)
	b.summaryHas("")
	b.Idempotent(`sql.extension(h, "earthdistance", cascade = True, ${at})`)
	b.Fails(`sql.extension(h, "cube", state = "absent", ${at})`, "drop extension cube", "depends")
	b.Idempotent(`sql.extension(h, "cube", state = "absent", cascade = True, ${at})`)
	b.Fails(`sql.extension(h, "no-such", ${at})`, `name: there is no extension "no-such"`, "apt.install")
	b.Fails(`sql.extension(h, "pgcrypto", schema = "nowhere", ${at})`, `schema "nowhere" does not exist`)
	b.same(`sql.extension(h, "no-such", state = "absent", ${at})`)
}
