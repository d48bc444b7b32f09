package guard

import (
	"context"
	"errors"
	"iter"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
	"github.com/pgrun/pgrun/runtime/postgres"
	"github.com/pgrun/pgrun/runtime/postgres/postgrestest"
	"github.com/pgrun/pgrun/runtime/transport"
)

var server postgrestest.Server

func TestMain(m *testing.M) { postgrestest.Main(m, &server) }

// reachedServer is a host with the test's server.
type reachedServer struct{}

func (reachedServer) Reader() (host.Reader, error) { return server.Host, nil }
func (reachedServer) Writer() (host.Host, error)   { return server.Host, nil }

// monitorSQL is as much of pg_auto_failover's monitor as the guard sees.
const monitorSQL = `
DROP SCHEMA IF EXISTS pgautofailover CASCADE;
CREATE SCHEMA pgautofailover;
CREATE DOMAIN pgautofailover.replication_state AS text;
CREATE TABLE pgautofailover.formation (formationid text, number_sync_standbys int DEFAULT 0);
INSERT INTO pgautofailover.formation VALUES ('default');
CREATE TABLE pgautofailover.node (
	formationid text DEFAULT 'default', nodeid bigint, nodename text, nodehost text DEFAULT '', nodeport int DEFAULT 5432, groupid int DEFAULT 0,
	reportedstate text, goalstate text, health int DEFAULT 1, reporttime timestamptz DEFAULT clock_timestamp(), statechangetime timestamptz DEFAULT clock_timestamp(),
	reportedpgisrunning bool DEFAULT true, reportedrepstate text DEFAULT 'sync', reportedtli int DEFAULT 7, reportedlsn pg_lsn DEFAULT '0/16B3748',
	candidatepriority int DEFAULT 50, replicationquorum bool DEFAULT true, sysidentifier bigint DEFAULT 1);
INSERT INTO pgautofailover.node (nodeid, nodename, reportedstate, goalstate) VALUES (1, 'a', 'primary', 'primary'), (2, 'b', 'secondary', 'secondary');
CREATE FUNCTION pgautofailover.perform_promotion(text, text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM pgautofailover.node WHERE nodename = $2 AND goalstate = 'primary') THEN RETURN false; END IF;
	IF EXISTS (SELECT FROM pgautofailover.node WHERE reportedstate <> goalstate) THEN RAISE 'not stable'; END IF;
	UPDATE pgautofailover.node SET goalstate = CASE nodename WHEN $2 THEN 'prepare_promotion' ELSE 'draining' END;
	RETURN true;
END $$;
CREATE FUNCTION pgautofailover.node_active(text, bigint, int, pgautofailover.replication_state, bool, int, pg_lsn, text) RETURNS TABLE (told bigint) LANGUAGE sql AS $$
	UPDATE pgautofailover.node SET reportedstate = $4, reportedpgisrunning = $5, reporttime = clock_timestamp()
	WHERE formationid = $1 AND nodeid = $2 AND groupid = $3 AND reportedtli = $6 AND reportedlsn = $7 RETURNING nodeid
$$`

// world is a formation of a, the primary, and b: a real server plays the monitor, and the nodes' servers; their keepers and the
// instances are the test's.
type world struct {
	t         *testing.T
	conn      *pgx.Conn  // to the monitor, the test's own
	mu        sync.Mutex // held in a call of the daemon
	instances map[string]*incus.Instance
	fails     map[string]error // of an action of the daemon's
	does      func(action string)
	did       []string
	hung      string // the node that gives no sign of life though its instance runs
	stopping  string // the node whose instance the daemon is at stopping
	stopTakes time.Duration
	promoted  bool // b's server was, by a guard
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server.Need(t)
	// The server is the monitor's and b's at once: that b is to refuse writes is nothing to the monitor.
	server.Psql(t, "ALTER ROLE postgres SET default_transaction_read_only = off")
	t.Cleanup(func() { server.Psql(t, "ALTER SYSTEM RESET default_transaction_read_only") })
	ctx := context.Background()
	conn, err := postgres.ConnectToWrite(ctx, server.Host, postgres.Target{Socket: server.Dir, Port: server.Port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { postgres.HangUp(conn) })
	w := &world{t: t, conn: conn, instances: map[string]*incus.Instance{}, fails: map[string]error{}}
	w.sql("SET client_min_messages = warning;" + monitorSQL)
	for _, name := range []string{"a", "b"} {
		w.instances[name] = &incus.Instance{Name: name, Status: "Running", Settings: incus.Settings{Config: map[string]string{autostart: "true"}}}
	}
	return w
}

// action notes what was asked of a daemon, and fails as the test wants.
func (w *world) action(ctx context.Context, what string) error {
	w.did = append(w.did, what)
	if w.does != nil {
		w.does(what)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.fails[what]
}

// fakeDaemon is the Incus daemon that the guard sees.
type fakeDaemon struct{ *world }

func (d fakeDaemon) Instance(_ context.Context, name string) (incus.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.instances[name]
	if !ok {
		return incus.Instance{}, host.ErrAbsent
	}
	found := *i
	found.Config, found.ExpandedConfig = maps.Clone(i.Config), maps.Clone(i.Config)
	return found, d.fails["look at "+name]
}

func (d fakeDaemon) Stopping(_ context.Context, name string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping == name, d.fails["look at what is done to "+name]
}

func (d fakeDaemon) UpdateInstance(ctx context.Context, name string, want incus.Settings) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.action(ctx, "configure "+name)
	for key, value := range want.Config {
		if err == nil && value == "" {
			delete(d.instances[name].Config, key)
		} else if err == nil {
			d.instances[name].Config[key] = value
		}
	}
	return err
}

func (d fakeDaemon) Stop(ctx context.Context, name string, force bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.action(ctx, "stop "+name)
	if !force {
		d.t.Errorf("%s is not stopped by force", name)
	}
	if err == nil && d.stopTakes > 0 {
		d.stopping = name
		d.mu.Unlock()
		err = host.Pause(ctx, d.stopTakes)
		d.mu.Lock()
		d.stopping = ""
	}
	if err == nil {
		d.instances[name].Status, d.hung = "Stopped", ""
	}
	return err
}

func (d fakeDaemon) Start(ctx context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.action(ctx, "start "+name)
	if err == nil {
		d.instances[name].Status = "Running"
	}
	return err
}

func (d fakeDaemon) Watch(context.Context) iter.Seq2[incus.Event, error] {
	return func(func(incus.Event, error) bool) {}
}

func (d fakeDaemon) Transport(string) transport.Transport { return nil }

// guard is one that works in the world, without its watchers: live says what they know.
func (w *world) guard() (*guard, *lines) {
	said := &lines{}
	target := postgres.Target{Socket: server.Dir, Port: server.Port}
	g := &guard{
		every: time.Second, silence: leastSilence, woken: make(chan struct{}, 1), metrics: newMeter(), tell: said.add,
		monitor: &monitor{name: "m", host: reachedServer{}, formation: "default", target: target},
	}
	for _, name := range []string{"a", "b"} {
		m := newMachine(name, reachedServer{}, target, g.wake)
		m.find = func(context.Context) (daemon, string, error) { return fakeDaemon{w}, name, nil }
		g.machines = append(g.machines, m)
	}
	w.t.Cleanup(g.monitor.close)
	return g, said
}

// lines are what a guard has said.
type lines struct {
	mu     sync.Mutex
	all    []string
	alarms int
}

func (l *lines) add(s step, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
	if s.alarm {
		l.alarms++
	}
}

func (l *lines) has(t *testing.T, want string) {
	t.Helper()
	if all := l.text(); !strings.Contains(all, want) {
		t.Errorf("no %q in %q", want, all)
	}
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

// sql runs statements on the monitor.
func (w *world) sql(statements string) {
	w.t.Helper()
	if _, err := w.conn.Exec(context.Background(), statements, pgx.QueryExecModeSimpleProtocol); err != nil {
		w.t.Fatal(err)
	}
}

// states are the nodes' states as the monitor has them: "primary/draining secondary/prepare_promotion".
func (w *world) states() (states string) {
	w.t.Helper()
	err := w.conn.QueryRow(context.Background(), "SELECT string_agg(reportedstate || '/' || goalstate, ' ' ORDER BY nodeid) FROM pgautofailover.node").Scan(&states)
	if err != nil {
		w.t.Fatal(err)
	}
	return states
}

// look takes a view of the guard's, which has looked for long, with what its watchers would know.
func (w *world) look(g *guard) view {
	w.t.Helper()
	states := strings.Fields(w.states())
	for i, m := range g.machines {
		at := now()
		m.watcher.mu.Lock()
		switch live := w.instances[m.name].Status == "Running" && w.hung != m.name; {
		case live:
			_, goal, _ := strings.Cut(states[i], "/")
			w.promoted = w.promoted || (goal == preparePromotion || goal == stopReplication) && m.watcher.server.at != 0 && !m.watcher.server.recovering
			m.watcher.asked, m.watcher.brokeAt = nil, 0
			m.watcher.server = answer{at, at, goal != primary && !alone(goal) && !w.promoted}
			w.sql("UPDATE pgautofailover.node SET reporttime = clock_timestamp() WHERE nodename = '" + m.name + "'")
		case w.stopping == m.name:
			m.watcher.asked, m.watcher.brokeAt = questions{{at, true}}, at
		default:
			silent := at - moment(10*time.Second)
			m.watcher.asked = questions{{silent, true}, {silent + 1, true}}
			m.watcher.server.at = silent
			w.sql("UPDATE pgautofailover.node SET reporttime = clock_timestamp() - interval '10s' WHERE nodename = '" + m.name + "'")
		}
		m.watcher.mu.Unlock()
	}
	var v view
	eventually(w.t, "the lock", 5*time.Second, func() bool { // which the guard before may have for a moment yet
		v = g.look(w.t.Context())
		return !strings.Contains(v.why, "has the lock")
	})
	v.seeing = v.taken - moment(time.Hour)
	return v
}

// keepers do what those of nodes that live do next, and the monitor with what they report. It reports whether anything was to do.
func (w *world) keepers() bool {
	w.t.Helper()
	before := w.states()
	set := func(name, reported, goal string) {
		w.sql("UPDATE pgautofailover.node SET reportedpgisrunning = true, reportedstate = '" + reported + "', goalstate = '" + goal + "' WHERE nodename = '" + name + "'")
	}
	live := w.instances["a"].Status == "Running" && w.hung != "a"
	switch before {
	case "primary/draining secondary/prepare_promotion":
		set("a", "primary", "demote_timeout")
		set("b", "prepare_promotion", "stop_replication")
	case "demote_timeout/demote_timeout prepare_promotion/stop_replication":
		set("b", "stop_replication", "wait_primary")
		set("a", "demote_timeout", "demoted")
	case "demote_timeout/demoted stop_replication/wait_primary":
		set("b", "wait_primary", "wait_primary")
	case "demote_timeout/demoted wait_primary/wait_primary":
		if live {
			set("a", "demoted", "catchingup")
		}
	case "demoted/catchingup wait_primary/wait_primary":
		if live {
			set("a", "secondary", "secondary")
			set("b", "primary", "primary")
		}
	}
	return w.states() != before
}

// goOn has a guard do steps, at most so many, until there is nothing left to do. It returns what they were.
func (w *world) goOn(g *guard, most int) (steps []string) {
	w.t.Helper()
	for range 100 {
		v := w.look(g)
		s := decide(v, g.silence)
		if s.kind == watch {
			if !w.keepers() {
				return steps
			}
			continue
		}
		if len(steps) == most {
			return steps
		}
		steps = append(steps, string(s.kind)+" "+s.node.Name)
		if !g.do(w.t.Context(), v, s) {
			return steps
		}
	}
	w.t.Fatalf("it goes on for ever: %s", steps)
	return nil
}

var errDied = errors.New("killed")
