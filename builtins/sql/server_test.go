package sql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres/postgrestest"
)

func TestStandby(t *testing.T) {
	b := newBench(t)
	b.Run(`sql.role(h, "replicated", password = secret("replicated-1"), ${at})
sql.database(h, "replicated", ${at})`)
	standby := benchOn(t, b.server.Standby(t))
	standby.gives(`sql.value(h, "SELECT pg_is_in_recovery()", ${at})`, "True")
	standby.same(`sql.role(h, "replicated", password = secret("replicated-1"), ${at})`)
	standby.same(`sql.database(h, "replicated", ${at})`)
	for _, call := range []string{
		`sql.role(h, "another", ${at})`, `sql.database(h, "another", ${at})`, `sql.extension(h, "pgcrypto", ${at})`,
		`sql.grant(h, "replicated", privileges = "CREATE", type = "database", on = "replicated", ${at})`,
	} {
		standby.Fails(call, "the server is a standby", "for the primary")
	}
	standby.Fails(`sql.exec(h, "CREATE TABLE t (n int)", ${at})`, "standby", "on the primary")
	standby.Idempotent(`sql.setting(h, settings = {"work_mem": "11MB"}, ${at})`) // its own file
}

// A primary that pg_auto_failover has promoted and not let go yet.
func TestReadOnlyServer(t *testing.T) {
	b := newBench(t)
	b.Idempotent(`sql.setting(h, settings = {"default_transaction_read_only": True}, ${at})`)
	b.Fails(`sql.role(h, "another", ${at})`, "default_transaction_read_only is on")
	b.Fails(`sql.exec(h, "CREATE TABLE t (n int)", ${at})`, "read-only")
	b.Idempotent(`sql.setting(h, reset = ["default_transaction_read_only"], ${at})`)
}

func TestServerNotThereYet(t *testing.T) {
	b := newBench(t)
	none := fmt.Sprintf("socket = %s", quoted(t.TempDir()))
	b.Fails(`sql.role(h, "x", `+none+`)`, "not running")
	// In a dry run, after a change that may bring the server, it is not known.
	b.Check(`sql.exec(h, "CREATE TABLE t (n int)", ${at})
sql.role(h, "x", ` + none + `)
sql.database(h, "x", ` + none + `)
sql.exec(h, "SELECT 1", unless = "SELECT 1", ` + none + `)
sql.grant(h, "no_such_role", privileges = "SELECT", on = "no_such_table", ${at})
sql.extension(h, "no-such", ${at})
sql.setting(h, settings = {"not_loaded.yet": 1}, ${at})
sql.exec(h, "SELECT 1", unless = "SELECT 1 FROM no_such_table", ${at})
sql.role(h, "x", ${at}, database = "no_such_database")`)
	unknown := 0
	for _, e := range b.Events {
		if e.Status == builtin.Unknown {
			unknown++
		}
	}
	if unknown != 8 {
		t.Errorf("%d calls are unknown: %v", unknown, b.Summary())
	}
}

// cutting is a host whose connections break after some bytes were written to them.
type cutting struct {
	postgrestest.Dialer
	after *atomic.Int64
}

func (c cutting) Dial(ctx context.Context, network, address, user string) (net.Conn, error) {
	conn, err := c.Dialer.Dial(ctx, network, address, user)
	return &cut{conn, c.after}, err
}

type cut struct {
	net.Conn
	left *atomic.Int64
}

func (c *cut) Write(p []byte) (int, error) {
	if c.left.Add(-int64(len(p))) < 0 {
		_ = c.Close()
		return 0, &host.Unreachable{Host: "db", Err: errors.New("the link broke")}
	}
	return c.Conn.Write(p)
}

func TestConnectionLostAnywhere(t *testing.T) {
	b := newBench(t)
	left := &atomic.Int64{}
	h := cutting{b.server.Host, left}
	weak := bench{builtintest.New(t, builtintest.Machine{Reader: h, Host: h}, Module()), t, b.server}
	for after := int64(0); ; after += 150 {
		left.Store(after)
		_, err := weak.Try(weak.in(`sql.role(h, "cut", password = secret("cut-password"), member_of = "pg_monitor", settings = {"work_mem": "8MB"}, ${at})`), false)
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "the link broke") || strings.Contains(err.Error(), "cut-password") {
			t.Errorf("after %d bytes: %v", after, err)
		}
		if after > 20000 {
			t.Fatal("never succeeds")
		}
		// All or nothing, whatever point it broke at.
		b.psql(`SELECT count(*) FROM pg_roles WHERE rolname = 'cut'`, "0")
	}
	b.same(`sql.role(h, "cut", password = secret("cut-password"), member_of = "pg_monitor", settings = {"work_mem": "8MB"}, ${at})`)
}

func TestSummariesShowNoSecret(t *testing.T) {
	b := newBench(t)
	b.Check(`sql.exec(h, "SELECT '" + secret("hunter2hunter2") + "'", ${at})
sql.role(h, "unseen", password = secret("hunter2hunter2"), ${at})`)
	if all := strings.Join(b.Summary(), "\n"); strings.Contains(all, "hunter2") || strings.Contains(all, "SCRAM") {
		t.Error(all)
	}
}

func TestDocs(t *testing.T) {
	for _, declared := range Module().Builtins {
		spec := declared.Spec()
		if spec.Doc == "" {
			t.Errorf("%s has no doc", spec.Name)
		}
		for _, p := range spec.Params {
			if p.Doc == "" || !strings.HasSuffix(p.Doc, ".") {
				t.Errorf("%s: %s: doc %q", spec.Name, p.Name, p.Doc)
			}
		}
		for _, f := range spec.Result {
			if strings.Contains(f.Type, "interface") || strings.Contains(f.Type, "ptr") {
				t.Errorf("%s: result %v", spec.Name, f)
			}
		}
	}
}

func BenchmarkNothingToDo(b *testing.B) {
	server1.Need(b)
	p := roleParams{Name: "postgres", State: present}
	p.Socket, p.Port, p.User, p.Timeout = server1.Dir, server1.Port, "postgres", 60e9
	for b.Loop() {
		if change, err := checkRole(b.Context(), server1.Host, p); err != nil || change != nil {
			b.Fatal(change, err)
		}
	}
}
