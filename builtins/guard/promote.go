package guard

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/postgres"
)

const (
	// openTimeout is how long a session on a standby's server may take to be opened, openWait how long a promotion waits for one, and
	// unused how long it is kept for a promotion that does not come.
	openTimeout = 5 * time.Second
	openWait    = 500 * time.Millisecond
	unused      = 10 * time.Second

	// promoteTimeout is how long a standby's server may take to end its recovery.
	promoteTimeout = 2 * time.Second
)

// opening is a session that is being opened on a standby's server, or its outcome.
type opening struct {
	cancel  context.CancelFunc
	done    chan struct{} // closed when there are the two below
	conn    *pgx.Conn
	err     error
	expiry  *time.Timer
	expired atomic.Bool
}

// failed reports whether it has come to nothing.
func (o *opening) failed() bool {
	select {
	case <-o.done:
		return o.err != nil
	default:
		return false
	}
}

// hangUp ends the session, once it is there.
func (o *opening) hangUp() {
	o.cancel()
	<-o.done
	if o.conn != nil {
		postgres.HangUp(o.conn)
	}
}

// prepare begins to open a session on the standby's server, where none is there: it may be to take over in a moment, and its keeper is
// slower by a second where it is the first to see to that.
func (m *machine) prepare(ctx context.Context) {
	if o := m.opening; o != nil && !o.failed() && o.expiry.Stop() {
		o.expiry.Reset(unused)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openTimeout)
	o := &opening{cancel: cancel, done: make(chan struct{})}
	m.opening = o
	o.expiry = time.AfterFunc(unused, func() { o.hangUp(); o.expired.Store(true) })
	go func() {
		defer cancel()
		defer close(o.done)
		h, err := m.host.Writer()
		if err == nil {
			o.conn, err = postgres.ConnectToWrite(ctx, h, m.watcher.target)
		}
		o.err = err
	}()
}

// release ends a session that there may be, or be at being opened.
func (m *machine) release() {
	if m.opening != nil && m.opening.expiry.Stop() {
		m.opening.hangUp()
	}
	m.opening = nil
}

// warm has an agent started on the standby's machine that can write, by a session which nobody may need: a promotion that had to wait for
// it would come too late.
func (g *guard) warm(ctx context.Context, v view) {
	for _, n := range v.nodes {
		if n.machine != nil && (n.status == "Stopped" || n.broken) { // the agent is gone
			n.machine.release()
		}
	}
	if _, standby, _ := v.roles(); v.guarding() && v.serves(standby) && !g.dry {
		if o := standby.machine.opening; o == nil || o.failed() && o.expired.Load() {
			standby.machine.prepare(ctx)
		}
	}
}

var errOpening = errors.New("the session on its server is still being opened")

// promote has the server take over, if its keeper has not been quicker, by what a look of not long ago has found. It is early, and has a hold
// on its keeper's report, where the monitor does not know yet of the old primary's end. Then it is to refuse writes first, as its keeper has it, which
// takes that back once the monitor does.
func (m *machine) promote(ctx context.Context, taken moment, early func() (release func())) error {
	m.prepare(ctx) // as where another guard has asked for it
	o := m.opening
	select {
	case <-o.done:
	case <-time.After(openWait):
		return errOpening
	}
	defer m.release()
	if o.err != nil {
		return o.err
	}
	if early != nil {
		defer early()()
	}
	if now().since(taken) > stale {
		return errStale
	}
	if early != nil {
		if err := refuseWrites(ctx, o.conn, taken); err != nil {
			return err
		}
	}
	var promoted bool
	err := o.conn.QueryRow(ctx, "SELECT NOT pg_is_in_recovery() OR pg_promote(true, $1)", int(promoteTimeout.Seconds())).Scan(&promoted)
	switch {
	case err != nil:
		return postgres.Explain(err)
	case !promoted:
		return fmt.Errorf("its server has not ended its recovery within %s", promoteTimeout)
	}
	m.watcher.promoted()
	return nil
}

// refuseWrites has transactions be read-only by default. Where the guard was held up on the way, the keeper may have taken that back
// before it came: so it is undone.
func refuseWrites(ctx context.Context, conn *pgx.Conn, taken moment) error {
	set := func(statement string) error {
		_, err := conn.Exec(ctx, statement)
		if err == nil {
			_, err = conn.Exec(ctx, "SELECT pg_reload_conf()")
		}
		return postgres.Explain(err)
	}
	err := set("ALTER SYSTEM SET default_transaction_read_only = 'on'")
	if now().since(taken) > stale {
		return errors.Join(errStale, set("ALTER SYSTEM RESET default_transaction_read_only"))
	}
	return err
}
