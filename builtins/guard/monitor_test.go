package guard

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	pgautoctl "github.com/pgrun/pgrun/builtins/pg_autoctl"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

// One guard has the lock, until its session ends; a dry run takes none.
func TestMonitorLock(t *testing.T) {
	w := newWorld(t)
	first, _ := w.guard()
	second, _ := w.guard()
	dry, _ := w.guard()
	dry.monitor.readOnly = true
	for _, x := range []struct {
		name string
		of   *guard
		why  string
	}{
		{"first", first, ""},
		{"second", second, "another guard has the lock in the monitor"},
		{"dry", dry, ""},
		{"first again", first, ""},
	} {
		if v := x.of.look(t.Context()); v.why != x.why {
			t.Errorf("%s: %q", x.name, v.why)
		}
	}
	first.monitor.close()
	eventually(t, "the second has the lock", 5*time.Second, func() bool { return second.look(t.Context()).why == "" })
	if err := dry.monitor.promote(t.Context(), "b"); err == nil {
		t.Error("a dry run has asked for a promotion")
	}
}

// A monitor of another version is not acted with.
func TestMonitorUnknown(t *testing.T) {
	w := newWorld(t)
	w.sql("DROP FUNCTION pgautofailover.perform_promotion(text, text)")
	g, _ := w.guard()
	if _, err := g.monitor.look(t.Context()); !errors.Is(err, errUnknown) {
		t.Errorf("%v", err)
	}
}

// What is reported is where the node's log ended, as its keeper last said.
func TestMonitorReport(t *testing.T) {
	w := newWorld(t)
	g, _ := w.guard()
	v := w.look(g)
	if err := g.monitor.report(t.Context(), v.nodes[0].Node); err != nil {
		t.Fatal(err)
	}
	if got := w.states(); got != "demote_timeout/primary secondary/secondary" {
		t.Error(got)
	}
}

// A monitor that hangs, and obeys no request to cancel, holds no look up for longer than the look is good for.
func TestLookAtMonitorThatHangs(t *testing.T) {
	w := newWorld(t)
	g, _ := w.guard()
	if v := w.look(g); v.why != "" {
		t.Fatal(v.why)
	}
	pid := int(g.monitor.conn.PgConn().PID())
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	began := now()
	v := g.look(t.Context())
	if took := now().since(began); took > lookTimeout+500*time.Millisecond || !strings.Contains(v.why, "the monitor, m, does not answer") {
		t.Errorf("%s: %q", took, v.why)
	}
}

// A session that reads the nodes for a moment holds a promotion up for as long; one that stays with them does not pass for a monitor that
// has refused.
func TestPromoteBesideReader(t *testing.T) {
	w := newWorld(t)
	g, _ := w.guard()
	w.look(g)
	w.sql("BEGIN; SELECT FROM pgautofailover.node")
	if err := g.monitor.promote(t.Context(), "b"); err == nil || refused(err) {
		t.Errorf("while the table is read: %v", err)
	}
	read := make(chan struct{})
	time.AfterFunc(500*time.Millisecond, func() {
		w.sql("COMMIT")
		close(read)
	})
	if err := g.monitor.promote(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	<-read // the connection is one
	if got := w.states(); got != "primary/draining secondary/prepare_promotion" {
		t.Error(got)
	}
	if err := g.monitor.promote(t.Context(), "b"); !refused(err) {
		t.Errorf("of a node that is no secondary any more: %v", err)
	}
}

// A report of the node that is held waits until it is released, and not longer than holdFor; the lock outlives both.
func TestHold(t *testing.T) {
	w := newWorld(t)
	g, _ := w.guard()
	v := w.look(g)
	report := func() time.Duration {
		began := now()
		w.sql("UPDATE pgautofailover.node SET reporttime = now() WHERE nodename = 'b'")
		return now().since(began)
	}
	w.sql("LISTEN state")
	release := g.monitor.hold(t.Context(), v.nodes[1].Node)
	time.AfterFunc(200*time.Millisecond, release)
	if took := report(); took < 200*time.Millisecond || took >= holdFor {
		t.Errorf("released after 200ms, and held for %s", took)
	}
	release() // it may be at its end yet
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if told, err := w.conn.WaitForNotification(ctx); err != nil || !strings.Contains(told.Payload, `"nodeId" : 2, "name" : "b"`) {
		t.Errorf("told %+v, %v", told, err)
	}
	release = g.monitor.hold(t.Context(), v.nodes[1].Node)
	if took := report(); took < holdFor-50*time.Millisecond {
		t.Errorf("never released, and held for %s", took)
	}
	release()
	if v := g.look(t.Context()); v.why != "" || !g.monitor.locked {
		t.Errorf("afterwards: %s", v.why)
	}
	w.sql("BEGIN; UPDATE pgautofailover.node SET reporttime = now() WHERE nodename = 'b'")
	g.monitor.hold(t.Context(), v.nodes[1].Node)()
	w.sql("COMMIT")
	if v := g.look(t.Context()); v.why != "" || !g.monitor.locked {
		t.Errorf("after a row that could not be had: %s", v.why)
	}
}

// A guard that sleeps in the midst does not keep others from the nodes.
func TestPromotionThatStalls(t *testing.T) {
	w := newWorld(t)
	g, _ := w.guard()
	w.look(g)
	err := pgautoctl.BetweenReports(t.Context(), g.monitor.conn, func(pgx.Tx) error {
		_ = w.states()
		return nil
	})
	if postgres.Code(err) != "25P03" && (err == nil || !g.monitor.conn.IsClosed()) {
		t.Errorf("the transaction went on: %v", err)
	}
}

// blackHole is a host to which connections are made that nothing comes back on.
type blackHole struct{ host.Host }

func (blackHole) Name() string { return "hole" }

func (blackHole) Dial(context.Context, string, string, string) (net.Conn, error) {
	near, _ := net.Pipe()
	return near, nil
}

type reachedHole struct{}

func (reachedHole) Reader() (host.Reader, error) { return blackHole{}, nil }
func (reachedHole) Writer() (host.Host, error)   { return blackHole{}, nil }

func TestLookIntoBlackHole(t *testing.T) {
	m := &monitor{name: "m", host: reachedHole{}, formation: "default"}
	ctx, cancel := context.WithTimeout(t.Context(), lookTimeout)
	defer cancel()
	began := now()
	if _, err := m.look(ctx); err == nil || now().since(began) > lookTimeout+300*time.Millisecond {
		t.Errorf("%v after %s", err, now().since(began))
	}
}

// A standby's server that does not end its recovery is no promotion that worked.
func TestPromoteFails(t *testing.T) {
	server.Need(t)
	server.Psql(t, "DROP DATABASE IF EXISTS stuck")
	server.Psql(t, "CREATE DATABASE stuck")
	// What is named before pg_catalog hides what is in that.
	server.Psql(t, `ALTER DATABASE stuck SET search_path = fake, pg_catalog
\gexec
\c stuck
CREATE SCHEMA fake;
CREATE FUNCTION fake.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION fake.pg_promote(bool, int) RETURNS bool LANGUAGE sql AS 'SELECT false'`)
	m := newMachine("b", reachedServer{}, postgres.Target{Socket: server.Dir, Port: server.Port, Database: "stuck"}, func() {})
	m.watcher.server.recovering = true
	if err := m.promote(t.Context(), now(), nil); err == nil || !strings.Contains(err.Error(), "has not ended its recovery within 2s") {
		t.Errorf("%v", err)
	}
	if !m.watcher.sign().recovering {
		t.Error("the server counts as promoted")
	}
}

// What is to take over refuses writes first; a guard that was held up takes that back.
func TestRefuseWrites(t *testing.T) {
	server.Need(t)
	conn, err := postgres.ConnectToWrite(t.Context(), server.Host, postgres.Target{Socket: server.Dir, Port: server.Port, Database: "postgres"})
	if err != nil {
		t.Fatal(err)
	}
	defer postgres.HangUp(conn)
	is := func(want string) {
		t.Helper()
		if got := server.Psql(t, "SELECT setting FROM pg_file_settings WHERE name = 'default_transaction_read_only'"); got != want {
			t.Errorf("default_transaction_read_only is %q in the files, want %q", got, want)
		}
	}
	defer server.Psql(t, "ALTER SYSTEM RESET default_transaction_read_only")
	if err := refuseWrites(t.Context(), conn, now()); err != nil {
		t.Fatal(err)
	}
	is("on")
	if err := refuseWrites(t.Context(), conn, now()-moment(2*stale)); !errors.Is(err, errStale) {
		t.Fatal(err)
	}
	is("")
}

// A node that is none of the hosts has no machine to get ready.
func TestWarmStranger(t *testing.T) {
	g := &guard{}
	g.warm(t.Context(), view{nodes: []node{a("a", primary, primary), a("b", secondary, secondary), a("c", secondary, secondary)}})
}
