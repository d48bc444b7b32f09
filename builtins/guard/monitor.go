package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	pgautoctl "github.com/pgrun/pgrun/builtins/pg_autoctl"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

const (
	// monitorTimeout bounds each question to the monitor.
	monitorTimeout = 2 * time.Second

	// idleTimeout is after which silence of a guard the monitor gives its lock to another.
	idleTimeout = "'10s'"

	// listenFor is how long one session listens: nothing would tell where the way to it has become a black hole.
	listenFor = time.Minute
)

// monitor is the one session that the guard has on the monitor. The lock belongs to the session: what is asked for on it is
// asked for by the guard that has the lock, and when the session ends so does the lock.
type monitor struct {
	name      string
	host      reached
	formation string
	target    postgres.Target
	readOnly  bool // without a lock, then

	conn   *pgx.Conn
	locked bool
}

// errUnknown is why nothing is done with a monitor of another version.
var errUnknown = errors.New("its pg_auto_failover is of a version that the guard does not know: it has no perform_promotion(formation, node), or another node_active(...)")

// look reads the formation's nodes, and gets the lock if that can be had.
func (m *monitor) look(ctx context.Context) (nodes []pgautoctl.Node, err error) {
	err = m.ask(ctx, func(ctx context.Context) error {
		defer cut(ctx, m.conn)()
		if !m.readOnly && !m.locked {
			// Two numbers, as pg_auto_failover names a group; its own locks are of another class.
			err := m.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtext($1), 0)", "pgrun guard "+m.formation).Scan(&m.locked)
			if err != nil {
				return err
			}
		}
		nodes, err = pgautoctl.Nodes(ctx, m.conn, m.formation)
		return err
	})
	return nodes, err
}

// errRefused is the error of a promotion that the monitor would not refuse, and that could lose writes.
var errRefused = errors.New("it is not in the quorum, or is never to be promoted (candidate priority 0), or there are other nodes now")

// promote asks for the promotion of a node. The monitor refuses it, with an error of PostgreSQL's, unless the node is a
// secondary and the other one the primary, both settled: then every acknowledged write is on it, if the node is in the quorum.
func (m *monitor) promote(ctx context.Context, node string) error {
	return m.ask(ctx, func(ctx context.Context) error {
		var promoted bool
		err := pgautoctl.BetweenReports(ctx, m.conn, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, `
				SELECT pgautofailover.perform_promotion($1, $2) FROM pgautofailover.node
				WHERE formationid = $1 AND nodename = $2 AND replicationquorum AND candidatepriority > 0
				  AND (SELECT count(*) FROM pgautofailover.node WHERE formationid = $1) = 2`, m.formation, node).Scan(&promoted)
		})
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !promoted {
			err = errRefused
		}
		return err
	})
}

// holdFor is how long a keeper's report is held up, at most: less than the second that its keeper would lose.
const holdFor = 700 * time.Millisecond

// holdTimeout bounds the asking for that: the look by which there is a promotion does not get younger.
const holdTimeout = 500 * time.Millisecond

// hold keeps the monitor from taking a node's next report until release is called, or for holdFor, and has it tell of the node's state once more
// then. It is for a standby whose server is ending its recovery. A keeper that reports meanwhile is told to see to that, finds it not ended, and sleeps
// for a second; so does one that did not listen when it was told of its new state. Where the row cannot be had, it is as without.
func (m *monitor) hold(ctx context.Context, n pgautoctl.Node) (release func()) {
	var tx pgx.Tx
	var conn *pgx.Conn
	within, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	err := m.ask(within, func(ctx context.Context) (err error) {
		conn = m.conn
		defer cut(ctx, conn)()
		if tx, err = conn.Begin(ctx); err == nil {
			_, err = tx.Exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = '50ms'; SET LOCAL idle_in_transaction_session_timeout = '2s'; "+
				"SELECT FROM pgautofailover.node WHERE nodeid = %d FOR UPDATE", n.ID))
		}
		return err
	})
	if tx == nil {
		return func() {}
	}
	end := sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), monitorTimeout)
		defer cancel()
		defer cut(ctx, conn)()
		_, _ = tx.Exec(ctx, tellAgain, n.ID) // where that fails, so does the commit
		if tx.Commit(ctx) != nil && ctx.Err() != nil {
			postgres.HangUp(conn)
		}
	})
	if err != nil {
		end()
		return func() {}
	}
	timer := time.AfterFunc(holdFor, end)
	return func() {
		timer.Stop()
		end()
	}
}

// tellAgain is what the monitor itself says to those who listen, by which keepers wake up.
const tellAgain = `
	SELECT pg_notify('state', json_build_object('type', 'state', 'formation', formationid, 'groupId', groupid, 'nodeId', nodeid, 'name', nodename,
		'host', nodehost, 'port', nodeport, 'reportedState', reportedstate, 'goalState', goalstate,
		'health', CASE health WHEN 1 THEN 'good' WHEN 0 THEN 'bad' ELSE 'unknown' END)::text)
	FROM pgautofailover.node WHERE nodeid = $1`

// report tells the monitor of a node that is stopped that its server does not run, in its keeper's place.
func (m *monitor) report(ctx context.Context, n pgautoctl.Node) error {
	return m.ask(ctx, func(ctx context.Context) error {
		_, err := m.conn.Exec(ctx, "SELECT * FROM pgautofailover.node_active($1, $2, $3, 'demote_timeout', false, $4, $5::text::pg_lsn, '')",
			m.formation, n.ID, n.Group, n.TLI, n.LSN)
		return err
	})
}

// ask runs f on the session, which is opened where there is none, and given up where it fails.
func (m *monitor) ask(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	err := m.connect(ctx)
	if err == nil {
		err = f(ctx)
	}
	if err != nil && m.conn != nil && (ctx.Err() != nil || m.conn.IsClosed()) {
		m.close()
	}
	return postgres.Explain(err)
}

func (m *monitor) connect(ctx context.Context) error {
	if m.conn != nil {
		return nil
	}
	conn, err := m.dial(ctx)
	if err != nil {
		return err
	}
	defer cut(ctx, conn)()
	var known bool
	err = conn.QueryRow(ctx, `
		SELECT to_regprocedure('pgautofailover.perform_promotion(text, text)') IS NOT NULL
		   AND to_regprocedure('pgautofailover.node_active(text, bigint, integer, pgautofailover.replication_state, boolean, integer, pg_lsn, text)') IS NOT NULL`).Scan(&known)
	m.conn, m.locked = conn, false
	if err == nil && !known {
		err = errUnknown
	}
	if err == nil { // a guard whose machine is gone says no farewell
		_, err = conn.Exec(ctx, "SET idle_session_timeout = "+idleTimeout)
	}
	if err != nil {
		m.close()
	}
	return err
}

// cut has a connection end with ctx, and not after the two seconds more that pgx gives a server to obey: a look has grown old by then.
func cut(ctx context.Context, conn *pgx.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.PgConn().Conn().Close() })
}

func (m *monitor) dial(ctx context.Context) (*pgx.Conn, error) {
	if m.readOnly {
		r, err := m.host.Reader()
		if err != nil {
			return nil, err
		}
		return postgres.Connect(ctx, r, m.target)
	}
	h, err := m.host.Writer()
	if err != nil {
		return nil, err
	}
	return postgres.ConnectToWrite(ctx, h, m.target)
}

// follow calls wake when the monitor tells of another state of a node, until ctx ends.
func (m *monitor) follow(ctx context.Context, wake func()) {
	for ctx.Err() == nil {
		_ = m.listen(ctx, wake) // looks are taken without it, too
		_ = host.Pause(ctx, time.Second)
	}
}

func (m *monitor) listen(ctx context.Context, wake func()) error {
	r, err := m.host.Reader()
	if err != nil {
		return err
	}
	conn, err := postgres.Connect(ctx, r, m.target)
	if err != nil {
		return err
	}
	defer postgres.HangUp(conn)
	ctx, cancel := context.WithTimeout(ctx, listenFor)
	defer cancel()
	if _, err := conn.Exec(ctx, "LISTEN state"); err != nil {
		return err
	}
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
		wake()
	}
}

// close ends the session, and with it the lock.
func (m *monitor) close() {
	if m.conn == nil {
		return
	}
	postgres.HangUp(m.conn)
	m.conn, m.locked = nil, false
}
