package sql

import (
	"strings"
	"testing"
)

func TestQueryValues(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct{ sql, want string }{
		{"SELECT 1", "1"},
		{"SELECT 9223372036854775807", "9223372036854775807"},
		{"SELECT 1.5::float8", "1.5"},
		{"SELECT 'NaN'::float8", "nan"},
		{"SELECT 1.50::numeric", `"1.50"`},
		{"SELECT true", "True"},
		{"SELECT NULL", "None"},
		{"SELECT NULL::int[]", "None"},
		{"SELECT ''", `""`},
		{"SELECT 'ü \"q\" 😀'", `"ü \"q\" 😀"`},
		{"SELECT timestamptz '2026-02-03 04:05:06.789+02'", "2026-02-03 02:05:06.789 +0000 UTC"},
		{"SELECT timestamp '2026-02-03 04:05:06'", "2026-02-03 04:05:06 +0000 UTC"},
		{"SELECT timestamptz 'infinity'", `"infinity"`},
		{"SELECT timestamp '-infinity'", `"-infinity"`},
		{"SELECT timestamptz '4000-01-01 BC'", "-3999-01-01 00:00:00 +0000 UTC"},
		{"SELECT date '2026-02-03'", `"2026-02-03"`},
		{"SELECT interval '1 day 2 hours'", `"1 day 02:00:00"`},
		{`SELECT '\x00ff'::bytea`, `b"\x00\xff"`},
		{`SELECT '{"a": [1, 2.5, null, 12345678901234567890], "b": true}'::jsonb`, `{"a": [1, 2.5, None, 12345678901234567890], "b": True}`},
		{"SELECT 'null'::json", "None"},
		{"SELECT ARRAY[1, NULL, 3]", "[1, None, 3]"},
		{"SELECT ARRAY[[1, 2], [3, 4], [5, 6]]", "[[1, 2], [3, 4], [5, 6]]"},
		{"SELECT ARRAY[[[1], [2]], [[3], [4]]]", "[[[1], [2]], [[3], [4]]]"},
		{"SELECT '{}'::int[]", "[]"},
		{`SELECT ARRAY['a,b', 'c"d', 'NULL', NULL, '', '\']`, `["a,b", "c\"d", "NULL", None, "", "\\"]`},
		{"SELECT '[2:3]={7,8}'::int[]", "[7, 8]"},
		{"SELECT ARRAY[true, false]", "[True, False]"},
		{"SELECT ARRAY['{\"a\": 1}'::jsonb]", `[{"a": 1}]`},
		{"SELECT '192.0.2.1/24'::inet", `"192.0.2.1/24"`},
		{"SELECT '5f0c9d4e-0000-4000-8000-000000000000'::uuid", `"5f0c9d4e-0000-4000-8000-000000000000"`},
		{"SELECT (1, 'x')", `"(1,x)"`},
		{"SELECT int4range(1, 5)", `"[1,5)"`},
		{"SELECT 'pg_class'::regclass", `"pg_class"`},
		{"SELECT count(*) FROM pg_database WHERE false", "0"},
		{"SELECT 1 WHERE false", "None"},
		{"SELECT pg_sleep(0)", `""`},
		{"SHOW timezone", `"UTC"`},
		{"EXPLAIN (COSTS off) SELECT 1", `"Result"`},
	} {
		b.gives("sql.value(h, "+quoted(c.sql)+", ${at})", c.want)
	}
}

func TestQueryRows(t *testing.T) {
	b := newBench(t)
	b.gives(`sql.query(h, "SELECT n, n * n AS square FROM generate_series(1, 3) n", ${at})`,
		`[struct(n = 1, square = 1), struct(n = 2, square = 4), struct(n = 3, square = 9)]`)
	b.gives(`sql.query(h, "SELECT 1 WHERE false", ${at})`, "[]")
	b.gives(`sql.query(h, "SELECT 7 AS \"odd name\"", ${at})[0]
getattr(sql.query(h, "SELECT 7 AS \"odd name\"", ${at})[0], "odd name")`, "7")
	b.Fails(`sql.query(h, "SELECT 1 AS a, 2 AS a", ${at})`, `two columns are called "a"`)
	b.Fails(`sql.query(h, "SELECT repeat('x', 1000000) FROM generate_series(1, 50)", ${at})`, "query: returns more than 16 MiB")
}

func TestQueryArguments(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct{ sql, arg, want string }{
		{"SELECT $1::int", "42", "42"},
		{"SELECT $1::int", `"42"`, "42"},
		{"SELECT $1::text", "None", "None"},
		{"SELECT $1::bool", "True", "True"},
		{"SELECT $1::float8", "0.1", "0.1"},
		{"SELECT $1::numeric", "12345678901234567890123", `"12345678901234567890123"`},
		{"SELECT $1", `"it's; DROP TABLE x; --"`, `"it's; DROP TABLE x; --"`},
		{"SELECT $1::bytea", `b"\x00\xff"`, `b"\x00\xff"`},
		{"SELECT $1::int[]", "[1, None, 3]", "[1, None, 3]"},
		{"SELECT $1::int[]", "[[1, 2], [3, 4]]", "[[1, 2], [3, 4]]"},
		{"SELECT $1::text[]", `["a,b", "c\"d", "NULL", "", "\\", "{x}"]`, `["a,b", "c\"d", "NULL", "", "\\", "{x}"]`},
		{"SELECT $1::text[]", "[]", "[]"},
		{"SELECT $1::text[]", `("a",)`, `["a"]`},
		{"SELECT 5 = ANY ($1)", "[4, 5]", "True"},
		{"SELECT $1::jsonb", `{"a": [1, "x", None]}`, `{"a": [1, "x", None]}`},
		{"SELECT $1::jsonb", `[1, [2]]`, `[1, [2]]`},
		{"SELECT $1::jsonb[]", `[{"a": 1}]`, `[{"a": 1}]`},
		{"SELECT length($1)", `secret("hunter2hunter2")`, "14"},
	} {
		b.gives("sql.value(h, "+quoted(c.sql)+", args = ["+c.arg+"], ${at})", c.want)
	}
	b.Fails(`sql.value(h, "SELECT $1::int", ${at})`, "args: the statement has 1 parameters ($1, ...), got 0")
	b.Fails(`sql.value(h, "SELECT 1", args = [1], ${at})`, "args: the statement has 0 parameters ($1, ...), got 1")
	b.Fails(`sql.value(h, "SELECT 1", args = "x", ${at})`, "args: got string, want a list")
	b.Fails(`sql.value(h, "SELECT $1", args = ["a\x00b"], ${at})`, "args: item 0: a text with a zero byte")
	b.Fails(`sql.value(h, "SELECT $1", args = [len], ${at})`, "args: item 0: a builtin_function_or_method cannot be sent")
	b.Fails(`sql.value(h, "SELECT $1", args = ["%s" % secret("hunter2hunter2")], ${at})`, "printed secret")
	b.Fails(`sql.value(h, "SELECT $1::int", args = ["x"], ${at})`, "query: invalid input syntax for type integer")
}

func TestQueryCannotWrite(t *testing.T) {
	b := newBench(t)
	canary := b.server.Dir + "/canary"
	for _, c := range []struct{ sql, want string }{
		{"CREATE TABLE by_a_look (n int)", "sql.exec"},
		{"INSERT INTO pg_description SELECT 0, 0, 0, 'x' RETURNING 1", "read-only"},
		{"WITH w AS (INSERT INTO pg_description SELECT 0, 0, 0, 'x' RETURNING 1) SELECT * FROM w", "read-only"},
		{"COPY (SELECT 1) TO '" + canary + "'", "sql.exec"},
		{"COPY (SELECT 1) TO PROGRAM 'touch " + canary + "'", "sql.exec"},
		{"COMMIT", "sql.exec"},
		{"SELECT 1; DROP TABLE x", "multiple commands"},
		{"SELECT set_config('transaction_read_only', 'off', true)", "read-write mode"},
		{"ALTER SYSTEM SET work_mem = '1MB'", "sql.exec"},
	} {
		err := b.Bench.Fails(b.in("sql.query(h, "+quoted(c.sql)+", ${at})"), c.want)
		if !strings.HasPrefix(err.Error(), "db: sql.query: query: ") {
			t.Errorf("which parameter? %v", err)
		}
	}
	// This one READ ONLY overlooks, and the end of the transaction takes back.
	b.Run(`sql.query(h, "EXPLAIN ANALYZE CREATE TABLE by_a_look AS SELECT 1", ${at})`)
	b.psql("SELECT to_regclass('by_a_look') IS NULL", "t")
	if strings.Contains(b.server.Psql(t, "SELECT pg_ls_dir('"+b.server.Dir+"')"), "canary") {
		t.Error("a look wrote a file")
	}
}

func TestQueryBadParameters(t *testing.T) {
	b := newBench(t)
	b.Fails(`sql.query(h, "SELECT 1", port = 0)`, "port: 0 is not between")
	b.Fails(`sql.query(h, "SELECT 1", timeout = "0s")`, "timeout:")
	b.Fails(`sql.query(h, "SELECT 1", via_host = True)`, "via_host:")
	b.Fails(`sql.query(h, "SELECT 1", socket = "relative")`, "socket:")
	b.Fails(`sql.query(h, secret("x"))`, "got a secret")
	b.Fails(`sql.query(h, "SELECT pg_sleep(30)", timeout = "200ms", ${at})`, "in time")
	b.Fails(`sql.query(h, "SELECT * FROM nowhere", ${at})`, `relation "nowhere" does not exist`)
}
