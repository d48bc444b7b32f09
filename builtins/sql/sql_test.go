package sql

import (
	"strings"
	"testing"
	"time"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/postgres/postgrestest"
)

var server1 postgrestest.Server

func TestMain(m *testing.M) { postgrestest.Main(m, &server1) }

// bench runs scripts against a server; in them, sql's builtins find it at the socket that on() names.
type bench struct {
	*builtintest.Bench
	t      *testing.T
	server *postgrestest.Server
}

// newBench makes a bench on the package's server, with nothing left on it of another test.
func newBench(t *testing.T) bench {
	server1.Need(t)
	server1.Psql(t, `
		SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1') \gexec
		SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)' \gexec
		CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO public;
		SELECT format('DROP OWNED BY %I', rolname) FROM pg_roles WHERE rolname !~ '^(pg_|postgres$)' \gexec
		SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname !~ '^(pg_|postgres$)' \gexec
		ALTER SYSTEM RESET ALL;`)
	b := benchOn(t, &server1)
	b.reload()
	return b
}

func benchOn(t *testing.T, s *postgrestest.Server) bench {
	b := builtintest.New(t, builtintest.Machine{Reader: s.Host, Host: s.Host}, Module())
	return bench{b, t, s}
}

// reload has the server read its configuration, and waits until it has: one that comes late would read what a test has
// written meanwhile. Each session begins with the server's own.
func (b bench) reload() {
	b.t.Helper()
	const loaded = "SELECT pg_conf_load_time()"
	before := b.server.Psql(b.t, loaded)
	b.server.Psql(b.t, "SELECT pg_reload_conf()")
	for deadline := time.Now().Add(time.Minute); b.server.Psql(b.t, loaded) == before; {
		if time.Now().After(deadline) {
			b.t.Fatal("the server has not read its configuration in a minute: ", b.server.Log())
		}
	}
}

// in puts where the server is into a script: call(h, ..., ${at}).
func (b bench) in(script string) string {
	at := "socket = " + quoted(b.server.Dir) + ", port = " + starlark.MakeInt(b.server.Port).String()
	return strings.ReplaceAll(script, "${at}", at)
}

func quoted(s string) string { return starlark.String(s).String() }

func (b bench) Run(script string) *builtintest.Result {
	b.t.Helper()
	return b.Bench.Run(b.in(script))
}

func (b bench) Check(script string) *builtintest.Result {
	b.t.Helper()
	return b.Bench.Check(b.in(script))
}

func (b bench) Fails(script string, want ...string) {
	b.t.Helper()
	_ = b.Bench.Fails(b.in(script), want...)
}

func (b bench) Idempotent(script string) {
	b.t.Helper()
	b.Bench.Idempotent(b.in(script))
}

// same fails the test unless a script changes nothing.
func (b bench) same(script string) {
	b.t.Helper()
	if r := b.Run(script); r.Changed() {
		b.t.Errorf("%s\nchanged: %v", script, b.Summary())
	}
}

// gives compares what a script's last line comes to, as it prints.
func (b bench) gives(script, want string) {
	b.t.Helper()
	if r := b.Run(script); r.Value.String() != want {
		b.t.Errorf("%s\ngot  %s\nwant %s", script, r.Value, want)
	}
}

// psql compares what psql prints for a query.
func (b bench) psql(query, want string) {
	b.t.Helper()
	if got := b.server.Psql(b.t, query); got != want {
		b.t.Errorf("%s\ngot  %s\nwant %s", query, got, want)
	}
}

func (b bench) summaryHas(want string) {
	b.t.Helper()
	if !strings.Contains(strings.Join(b.Summary(), "\n"), want) {
		b.t.Errorf("summary %q lacks %q", b.Summary(), want)
	}
}
