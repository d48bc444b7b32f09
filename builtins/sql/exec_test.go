package sql

import (
	"fmt"
	"strings"
	"testing"
)

func TestExec(t *testing.T) {
	b := newBench(t)
	b.Run(`sql.exec(h, "CREATE TABLE exec_t (n int, s text)", ${at})`)
	b.gives(`sql.exec(h, "INSERT INTO exec_t SELECT n, 'x' FROM generate_series(1, 5) n; UPDATE exec_t SET s = 'y' WHERE n > 3; SELECT * FROM exec_t", ${at}).rows`, "7")
	b.gives(`sql.exec(h, "INSERT INTO exec_t VALUES ($1, $2)", args = [6, None], ${at}).rows`, "1")
	if r := b.Check(`sql.exec(h, "DROP TABLE exec_t", ${at})`); !r.Changed() {
		t.Error("a dry run of a statement would change nothing")
	}
	b.summaryHas("run DROP TABLE exec_t")
	b.psql("SELECT count(*) FROM exec_t", "6")
	// Several statements are all or nothing.
	b.Fails(`sql.exec(h, "DELETE FROM exec_t; SELECT 1/0", ${at})`, "division by zero")
	b.psql("SELECT count(*) FROM exec_t", "6")
	// And some refuse transactions.
	b.Run(`sql.exec(h, "VACUUM exec_t", ${at})`)
	b.Fails(`sql.exec(h, " ", ${at})`, "statement: is empty")
	b.Fails(`sql.exec(h, "SELECT 1", args = {}, ${at})`, "args: got dict, want a list")
}

func TestExecUnless(t *testing.T) {
	b := newBench(t)
	b.Run(`sql.exec(h, "CREATE TABLE unless_t (n int)", ${at})`)
	b.Idempotent(`sql.exec(h, "INSERT INTO unless_t VALUES ($1)", args = [7], unless = "SELECT count(*) FROM unless_t WHERE n = $1", ${at})`)
	b.Idempotent(`sql.exec(h, "INSERT INTO unless_t VALUES (8)", unless = "SELECT true FROM unless_t WHERE n = 8", ${at})`)
	b.Idempotent(`sql.exec(h, "INSERT INTO unless_t VALUES (9)", unless = "SELECT sum(n) FILTER (WHERE n = 9)::numeric FROM unless_t", ${at})`)
	b.gives(`sql.exec(h, "DELETE FROM unless_t", unless = "SELECT 'yes'", ${at}).rows`, "0")
	for _, no := range []string{"SELECT false", "SELECT NULL", "SELECT 0", "SELECT 0.00::numeric", "SELECT ''", "SELECT 1 WHERE false"} {
		if r := b.Check(`sql.exec(h, "SELECT 1", unless = ` + quoted(no) + `, ${at})`); !r.Changed() {
			t.Errorf("%s counts as yes", no)
		}
	}
	b.Fails(`sql.exec(h, "SELECT 1", unless = "DELETE FROM unless_t RETURNING 1", ${at})`, "unless:", "read-only")
	b.Fails(`sql.exec(h, "SELECT 1", unless = "SELECT * FROM nowhere", ${at})`, "unless:", "does not exist")
}

func TestSecretsStayOutOfTheLog(t *testing.T) {
	b := newBench(t)
	const hunter = "hunter2-never-logged"
	b.Run(`sql.exec(h, "CREATE TABLE vault_t (s text PRIMARY KEY)", ${at})`)
	b.Run(`sql.exec(h, "INSERT INTO vault_t VALUES ($1)", args = [secret("` + hunter + `")], unless = "SELECT true FROM vault_t WHERE s = $1", ${at})`)
	b.Run(`sql.exec(h, "INSERT INTO vault_t VALUES ('second-" + secret("` + hunter + `") + "')", ${at})`)
	b.summaryHas("not shown")
	b.Run(`sql.query(h, "SELECT $1::text AS a, $2::jsonb AS b, $3::text[] AS c", args = [secret("` + hunter + `"), [1], ["x"]], ${at})`)
	b.Run(`sql.role(h, "secretive", password = secret("` + hunter + `"), ${at})`)
	b.Check(`sql.role(h, "secretive", password = secret("other-` + hunter + `"), ${at})`)
	b.Run(`sql.role(h, "secretive", password = secret("other-` + hunter + `"), ${at})`)
	// Failing statements, too.
	for _, bad := range []string{
		`sql.exec(h, "INSERT INTO vault_t VALUES ($1, 2)", args = [secret("` + hunter + `")], ${at})`,
		`sql.exec(h, "SELECT 1/0, $1::text", args = [secret("` + hunter + `")], ${at})`,
		`sql.exec(h, "SELECT 1/0, '" + secret("` + hunter + `") + "'", ${at})`,
		`sql.exec(h, "CREATE SUBSCRIPTION s CONNECTION 'host=192.0.2.1 password=" + secret("` + hunter + `") + "' PUBLICATION", ${at})`,
		`sql.role(h, "secretive", password = secret("` + hunter + `"), valid_until = "never ever", ${at})`,
		`sql.role(h, "pg_reserved", password = secret("` + hunter + `"), ${at})`,
	} {
		err := b.Bench.Fails(b.in(bad))
		if shown := b.Mask.Hide(err.Error()); strings.Contains(shown, hunter) {
			t.Errorf("shown: %s", shown)
		}
	}
	b.psql("SELECT count(*) FROM vault_t", "2")
	if log := b.server.Log(); strings.Contains(log, hunter) {
		at := strings.Index(log, hunter)
		t.Errorf("the server's log has it: ...%s...", log[max(0, at-300):min(len(log), at+100)])
	}
}

func TestSecretsOfOrdinaryRoles(t *testing.T) {
	b := newBench(t)
	b.server.Psql(t, `CREATE ROLE ordinary LOGIN PASSWORD 'ordinary-password'`)
	uri := fmt.Sprintf(`uri = secret("postgres://ordinary:ordinary-password@127.0.0.1:%d/postgres?sslmode=disable")`, b.server.Port)
	b.Fails(`sql.query(h, "SELECT $1::text", args = [secret("hunter2hunter2")], `+uri+`)`, "would write the secret into its log", "superuser")
	b.gives(`sql.value(h, "SELECT current_user", `+uri+`)`, `"ordinary"`)
	// Where the server logs nothing, it is let through.
	b.server.Psql(t, `ALTER ROLE ordinary SET log_statement = 'none'; ALTER ROLE ordinary SET log_min_duration_statement = -1; ALTER ROLE ordinary SET log_parameter_max_length_on_error = 0`)
	b.gives(`sql.value(h, "SELECT length($1::text)", args = [secret("hunter2hunter2")], `+uri+`)`, "14")
	b.Fails(`sql.exec(h, "SELECT '" + secret("hunter2hunter2") + "'", `+uri+`)`, "would write the secret into its log")
	b.server.Psql(t, `ALTER ROLE ordinary SET log_min_error_statement = 'panic'`)
	b.Run(`sql.exec(h, "SELECT '" + secret("hunter2hunter2") + "'", ` + uri + `)`)
	if strings.Contains(b.server.Log(), "hunter2hunter2") {
		t.Error("logged")
	}
}

func TestExecLostConnection(t *testing.T) {
	b := newBench(t)
	b.Fails(`sql.exec(h, "SELECT pg_terminate_backend(pg_backend_pid())", ${at})`, "whether the statement that ran took effect is not known")
}
