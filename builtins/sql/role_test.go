package sql

import (
	"strings"
	"testing"
)

// odd names break whatever does not quote.
var odd = []string{"plain", "Mixed Case", `quo"te`, "apo'strophe", `back\slash`, "ünï😀", "select", "$1", "semi;colon--", "a.b", " spaces "}

func TestRole(t *testing.T) {
	b := newBench(t)
	for _, name := range odd {
		n := quoted(name)
		b.Idempotent(`sql.role(h, ` + n + `, ${at})`)
		b.Idempotent(`sql.role(h, ` + n + `, login = True, createdb = True, connection_limit = 3, valid_until = "2030-01-01", ${at})`)
		b.Idempotent(`sql.role(h, ` + n + `, settings = {"work_mem": "8MB", "search_path": "\"$user\", public", "app.flag": "it's"}, ${at})`)
		b.Idempotent(`sql.role(h, ` + n + `, member_of = ["pg_monitor", "pg_read_all_data"], ${at})`)
		b.Idempotent(`sql.role(h, ` + n + `, password = secret("hunter2hunter2"), ${at})`)
		b.same(`sql.role(h, ` + n + `, ${at})`)
		b.Idempotent(`sql.role(h, ` + n + `, state = "absent", ${at})`)
	}
}

func TestRoleOwnsOnlyWhatIsDeclared(t *testing.T) {
	b := newBench(t)
	b.server.Psql(t, `CREATE ROLE kept LOGIN CREATEDB CONNECTION LIMIT 7 PASSWORD 'kept-password'; ALTER ROLE kept SET work_mem = '9MB'; GRANT pg_monitor TO kept`)
	b.Idempotent(`sql.role(h, "kept", replication = True, settings = {"maintenance_work_mem": "32MB"}, member_of = "pg_signal_backend", ${at})`)
	b.psql(`SELECT rolcanlogin, rolcreatedb, rolconnlimit, rolreplication FROM pg_roles WHERE rolname = 'kept'`, "t|t|7|t")
	b.psql(`SELECT setconfig FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = setrole WHERE rolname = 'kept'`, "{work_mem=9MB,maintenance_work_mem=32MB}")
	if out, err := b.server.PsqlAs("kept", "kept-password", "SELECT 1"); err != nil {
		t.Error(out)
	}
	b.same(`sql.role(h, "kept", valid_until = "infinity", ${at})`)
	b.Idempotent(`sql.role(h, "kept", login = False, createdb = False, connection_limit = -1, ${at})`)
	b.summaryHas("")
}

func TestPassword(t *testing.T) {
	b := newBench(t)
	for _, password := range []string{"simple-1", "it's \\ \"quoted\" $$", "pässwörd😀", " spaces "} {
		call := `sql.role(h, "rotated", password = secret(` + quoted(password) + `), ${at})`
		b.Check(call)
		for _, line := range b.Summary() {
			if strings.Contains(line, password) || strings.Contains(line, "SCRAM") {
				t.Errorf("summary: %s", line)
			}
		}
		b.Idempotent(call)
		if out, err := b.server.PsqlAs("rotated", password, "SELECT 1"); err != nil {
			t.Errorf("%q does not log in: %s", password, out)
		}
	}
	b.psql(`SELECT rolpassword ~ '^SCRAM-SHA-256\$4096:' FROM pg_authid WHERE rolname = 'rotated'`, "t")
	// An MD5 hash of the same password is replaced.
	b.server.Psql(t, `SET password_encryption = 'md5'; ALTER ROLE rotated PASSWORD 'same-password'`)
	b.Idempotent(`sql.role(h, "rotated", password = "same-password", ${at})`)
	// The server's own verifier of the password is as good as ours.
	b.server.Psql(t, `ALTER ROLE rotated PASSWORD 'set-by-psql'`)
	b.same(`sql.role(h, "rotated", password = secret("set-by-psql"), ${at})`)
	// A verifier is taken as it is.
	verifier := b.server.Psql(t, `SELECT rolpassword FROM pg_authid WHERE rolname = 'rotated'`)
	b.Idempotent(`sql.role(h, "copied", password = secret("` + verifier + `"), ${at})`)
	if out, err := b.server.PsqlAs("copied", "set-by-psql", "SELECT 1"); err != nil {
		t.Error(out)
	}
	b.same(`sql.role(h, "copied", password = None, ${at})`)
	b.Fails(`sql.role(h, "rotated", password = "", ${at})`, "password: is empty")
}

func TestRoleErrors(t *testing.T) {
	b := newBench(t)
	b.Fails(`sql.role(h, "", ${at})`, "name: a name is empty")
	b.Fails(`sql.role(h, "`+strings.Repeat("x", 64)+`", ${at})`, "name:", "63 bytes")
	b.Fails(`sql.role(h, "x", state = "gone", ${at})`, `for parameter "state": "gone" is none of its values: present, absent`)
	b.Fails(`sql.role(h, "x", connection_limit = -2, ${at})`, "connection_limit:")
	b.Fails(`sql.role(h, "x", valid_until = "someday", ${at})`, "valid_until:", "someday")
	b.Fails(`sql.role(h, "x", settings = {"": "y"}, ${at})`, "settings:")
	b.Fails(`sql.role(h, "x", settings = {"no_such_setting": "y"}, ${at})`, "no_such_setting")
	b.Fails(`sql.role(h, "x", member_of = ["nobody"], ${at})`, "make role x a member of nobody", "does not exist")
	b.psql(`SELECT count(*) FROM pg_roles WHERE rolname = 'x'`, "0") // all or nothing
	b.server.Psql(t, `CREATE ROLE owning; CREATE TABLE owned (n int); ALTER TABLE owned OWNER TO owning`)
	b.Fails(`sql.role(h, "owning", state = "absent", ${at})`, "drop role owning", "owner of table owned", "reassign")
}

// TestVerifierStaysOutOfTheLog: the test's server logs every statement.
func TestVerifierStaysOutOfTheLog(t *testing.T) {
	b := newBench(t)
	before := strings.Count(b.server.Log(), "PASSWORD 'SCRAM-SHA-256$")
	b.Run(`sql.role(h, "kept_quiet", password = secret("first password"), ${at})`)
	b.Run(`sql.role(h, "kept_quiet", password = secret("second password"), ${at})`)
	if after := strings.Count(b.server.Log(), "PASSWORD 'SCRAM-SHA-256$"); after != before {
		t.Errorf("the server logged %d statements with a verifier", after-before)
	}
	b.Run(`sql.role(h, "kept_quiet", state = "absent", ${at})`)
}
