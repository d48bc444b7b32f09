package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

// MonitorDatabase is the database that pg_autoctl makes on a monitor.
const MonitorDatabase = "pg_auto_failover"

// Node is a data node as the monitor knows it.
type Node struct {
	ID                int64         `star:"id" doc:"Number that the monitor gave it; a node that registers again gets another."`
	Name              string        `star:"name" doc:"Its name."`
	Host              string        `star:"host" doc:"Its address."`
	Port              int           `star:"port" doc:"Its PostgreSQL's port."`
	Group             int           `star:"group" doc:"Its group; 0 but with Citus."`
	ReportedState     string        `star:"reported_state" doc:"The state that it says it is in: primary, secondary, ..."`
	AssignedState     string        `star:"assigned_state" doc:"The state that the monitor wants it in."`
	Health            int           `star:"health" doc:"The monitor's last check of its PostgreSQL: 1 good, 0 bad, -1 not known yet."`
	ReportAge         time.Duration `star:"report_age" doc:"Time since it last reported."`
	StateAge          time.Duration `star:"state_age" doc:"Time since its state last changed."`
	PGRunning         bool          `star:"pg_running" doc:"Whether it reported that its PostgreSQL runs."`
	SyncState         string        `star:"sync_state" doc:"What a primary reported of its standbys: quorum, sync, async or unknown."`
	TLI               int           `star:"tli" doc:"Its timeline."`
	LSN               string        `star:"lsn" doc:"Its position in the WAL."`
	CandidatePriority int           `star:"candidate_priority" doc:"0 to 100; 0 is never promoted."`
	ReplicationQuorum bool          `star:"replication_quorum" doc:"Whether commits may wait for it."`
	SystemIdentifier  string        `star:"system_identifier" doc:"Identifier of its cluster."`
	Healthy           bool          `star:"healthy" doc:"Whether the node itself is settled as single, primary, wait_primary or secondary, reports, runs and passes the monitor's check: to wait for one node while others are still to come."`
}

// address is where the node's server is.
func (n Node) address() string { return fmt.Sprintf("%s:%d", n.Host, n.Port) }

// states is the node's reported and assigned state, for messages.
func (n Node) states() string {
	if n.ReportedState == n.AssignedState {
		return n.ReportedState
	}
	return n.ReportedState + ", to become " + n.AssignedState
}

// in reports whether a node is in a state and is to stay there.
func (n Node) in(states ...string) bool {
	return n.ReportedState == n.AssignedState && n.touches(states...)
}

// touches reports whether a node is in one of the states, or on its way there.
func (n Node) touches(states ...string) bool {
	for _, s := range states {
		if n.ReportedState == s || n.AssignedState == s {
			return true
		}
	}
	return false
}

// writable are the states in which a node's PostgreSQL takes writes.
var writable = map[string]bool{"single": true, "primary": true, "wait_primary": true, "join_primary": true, "apply_settings": true}

// isPrimary reports whether a node takes writes and is to go on so.
func (n Node) isPrimary() bool { return writable[n.ReportedState] && writable[n.AssignedState] }

// formation is a formation's row and its nodes, in the order of their numbers.
type formation struct {
	Name               string
	NumberSyncStandbys int
	Nodes              []Node
}

// find returns the node of that name, or nil.
func (f formation) find(name string) *Node {
	for i := range f.Nodes {
		if f.Nodes[i].Name == name {
			return &f.Nodes[i]
		}
	}
	return nil
}

// need returns the node of that name, or an error that lists those there are.
func (f formation) need(name string) (*Node, error) {
	if n := f.find(name); n != nil {
		return n, nil
	}
	return nil, host.NotThere("node: no node %q in the formation %q (has: %s)", name, f.Name, strings.Join(f.names(), ", "))
}

func (f formation) names() []string {
	var names []string
	for _, n := range f.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// primary returns the one node that takes writes and is to go on so; nil where that is none, or more than one.
func (f formation) primary() *Node {
	var found *Node
	for i := range f.Nodes {
		if f.Nodes[i].isPrimary() {
			if found != nil {
				return nil
			}
			found = &f.Nodes[i]
		}
	}
	return found
}

// quorum counts the nodes that take part in the replication quorum.
func (f formation) quorum() (n int) {
	for _, node := range f.Nodes {
		if node.ReplicationQuorum {
			n++
		}
	}
	return n
}

// settled says what keeps the monitor from taking a change of settings: nil when the primary has nothing left to do.
func (f formation) settled() error {
	switch p := f.primary(); {
	case len(f.Nodes) == 0:
		return errors.New("no data node is registered")
	case p == nil:
		return errors.New("there is no primary")
	case !p.in("primary", "single"):
		return fmt.Errorf("%s is in state %s", p.Name, p.states())
	}
	return nil
}

// stable says which node is not yet where the monitor wants it.
func (f formation) stable() error {
	for _, n := range f.Nodes {
		if !n.in("primary", "single", "secondary", "maintenance") {
			return fmt.Errorf("%s is in state %s", n.Name, n.states())
		}
	}
	return f.settled()
}

// maxNodes is how many nodes are believed: a monitor may be hostile.
const maxNodes = 1000

// readFormation reads a formation from the monitor on r.
func (s server) readFormation(ctx context.Context, r host.Reader, name string) (f formation, err error) {
	err = postgres.Read(ctx, r, s.target(MonitorDatabase), func(tx *postgres.Tx) error {
		f, err = queryFormation(ctx, tx, name)
		return err
	})
	return f, err
}

// Nodes reads the data nodes of a formation on a connection to its monitor's database, in the order of their numbers.
func Nodes(ctx context.Context, q postgres.Querier, formation string) ([]Node, error) {
	f, err := queryFormation(ctx, q, formation)
	return f.Nodes, err
}

func queryFormation(ctx context.Context, q postgres.Querier, name string) (formation, error) {
	f := formation{Name: name}
	rows, err := q.Query(ctx, `
		SELECT f.number_sync_standbys, n.nodeid, n.nodename, n.nodehost, n.nodeport, n.groupid,
		       n.reportedstate::text, n.goalstate::text, n.health,
		       extract(epoch FROM clock_timestamp() - n.reporttime)::float8,
		       extract(epoch FROM clock_timestamp() - n.statechangetime)::float8,
		       n.reportedpgisrunning, n.reportedrepstate::text, n.reportedtli, n.reportedlsn::text,
		       n.candidatepriority, n.replicationquorum, n.sysidentifier::text
		FROM pgautofailover.formation f LEFT JOIN pgautofailover.node n USING (formationid)
		WHERE f.formationid = $1 ORDER BY n.nodeid`, name)
	if err != nil {
		return f, err
	}
	known := false
	var (
		id                                                 *int64
		nodeName, address, reported, goal, rep, lsn, ident *string
		port, group, health, tli, priority                 *int
		reportAge, stateAge                                *float64
		running, quorum                                    *bool
	)
	_, err = pgx.ForEachRow(rows, []any{&f.NumberSyncStandbys, &id, &nodeName, &address, &port, &group, &reported, &goal, &health,
		&reportAge, &stateAge, &running, &rep, &tli, &lsn, &priority, &quorum, &ident}, func() error {
		known = true
		if id == nil {
			return nil
		}
		if len(f.Nodes) == maxNodes {
			return fmt.Errorf("the monitor lists more than %d nodes", maxNodes)
		}
		f.Nodes = append(f.Nodes, Node{
			ID: *id, Name: or(nodeName), Host: or(address), Port: or(port), Group: or(group),
			ReportedState: or(reported), AssignedState: or(goal), Health: or(health),
			ReportAge: seconds(reportAge), StateAge: seconds(stateAge), PGRunning: or(running), SyncState: or(rep),
			TLI: or(tli), LSN: or(lsn), CandidatePriority: or(priority), ReplicationQuorum: or(quorum), SystemIdentifier: or(ident),
		})
		return nil
	})
	if err == nil && !known {
		err = host.NotThere("the monitor has no formation %q", name)
	}
	return f, err
}

// or is what p points at, or its zero value.
func or[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func seconds(s *float64) time.Duration {
	return time.Duration(or(s) * float64(time.Second)).Round(time.Millisecond)
}

// call runs one of the monitor's functions that change what nodes are to become.
func (s server) call(ctx context.Context, h host.Host, sql string, args ...any) error {
	return postgres.Write(ctx, h, s.target(MonitorDatabase), func(conn *pgx.Conn) error {
		return BetweenReports(ctx, conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sql, args...)
			return err
		})
	})
}

const (
	// betweenFor is how long a time between reports is waited for, at most.
	betweenFor = 20 * time.Second

	// betweenTry is how long one try can take: three waits of lock_timeout, and some to spare.
	betweenTry = time.Second
)

// BetweenReports runs f in a transaction on a connection to a monitor's database, while no report of a node is in the midst.
//
// pg_auto_failover (2.2) reads a reporting node's row before it waits for its turn, and then decides by what it has read. A primary whose
// report waits while it is told to end is told to go on, alone and without synchronous replication, though its standby takes over: what it
// acknowledges from then on is lost. With the table of nodes locked first, a report has either been dealt with, or reads what f wrote.
//
// Other functions of the monitor take their locks in another order. So the waits for the table and for what f locks are together short of
// deadlock_timeout, 1s, after which PostgreSQL could end the other transaction instead, and are tried again. Nor does a transaction whose client
// is gone, or whose machine sleeps, hold up the nodes' reports, and with them every failover. No further try begins that ctx might cut off.
func BetweenReports(ctx context.Context, conn *pgx.Conn, f func(pgx.Tx) error) error {
	until := time.Now().Add(betweenFor)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-betweenTry).Before(until) {
		until = deadline.Add(-betweenTry)
	}
	for {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			const lock = "SET LOCAL lock_timeout = '300ms'; SET LOCAL idle_in_transaction_session_timeout = '2s'; " +
				"LOCK TABLE pgautofailover.node IN ACCESS EXCLUSIVE MODE"
			if _, err := tx.Exec(ctx, lock); err != nil {
				return err
			}
			return f(tx)
		})
		if postgres.Code(err) != postgres.LockNotAvailable {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("other sessions keep the monitor's table of nodes, see pg_locks there: %w", err)
		}
	}
}

// registry holds the parameters of the builtins that change a formation, called for its monitor's host.
type registry struct {
	server
	Formation string        `star:"formation" doc:"Name of the formation."`
	Timeout   time.Duration `star:"timeout" doc:"How long to wait until it is done."`
}

func (g registry) validate() error {
	if g.Timeout <= 0 {
		return fmt.Errorf("timeout: %s is not a time to finish in", g.Timeout)
	}
	return g.server.validate()
}

func (g registry) read(ctx context.Context, r host.Reader) (formation, error) {
	if err := g.validate(); err != nil {
		return formation{}, err
	}
	return g.readFormation(ctx, r, g.Formation)
}

// await waits until the formation is as ready says.
func (g registry) await(ctx context.Context, r host.Reader, what string, ready func(f formation) error) error {
	return waitFor(ctx, what, g.Timeout, func(ctx context.Context) error {
		f, err := g.readFormation(ctx, r, g.Formation)
		if err != nil {
			return err
		}
		return ready(f)
	})
}

// set calls a function of the monitor that changes a setting: when the primary has nothing to do, once more
// where it has been given something meanwhile, and until it has taken the setting in.
func (g registry) set(ctx context.Context, h host.Host, what, sql string, args ...any) error {
	err := g.await(ctx, h, what, func(f formation) error {
		if err := f.settled(); err != nil {
			return err
		}
		err := g.call(ctx, h, sql, args...)
		if err != nil && !strings.Contains(err.Error(), "goal state") {
			return final{err}
		}
		return err
	})
	if err != nil {
		return err
	}
	return g.await(ctx, h, what, formation.settled)
}
