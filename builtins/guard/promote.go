package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/postgres"
)

const (
	// promoteTimeout is how long a standby's server may take to end its recovery.
	promoteTimeout = 5 * time.Second

	// unused is how long a session is kept for a promotion that does not come.
	unused = 10 * time.Second
)

// opening is a session that is being opened on a standby's server, or its outcome.
type opening struct {
	done   chan struct{}
	conn   *pgx.Conn
	err    error
	expiry *time.Timer
}

// prepare begins to open a session on the standby's server: it may be to take over in a moment, and its keeper is slower by a
// second where it is the first to see to that.
func (m *machine) prepare(ctx context.Context) {
	o := &opening{done: make(chan struct{})}
	m.opening = o
	o.expiry = time.AfterFunc(unused, func() {
		<-o.done
		if o.conn != nil {
			postgres.HangUp(o.conn)
		}
	})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), promoteTimeout)
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

// warm has an agent started on a standby's machine that can write, once as long as it answers: that takes the most of a promotion.
func (g *guard) warm(ctx context.Context, v view) {
	for _, n := range v.nodes {
		if n.status != "Running" || n.unanswered > 0 {
			n.machine.warmed = false
		}
	}
	if _, standby, _ := v.roles(); v.guarding() && !g.dry && !standby.machine.warmed {
		standby.machine.warmed = true
		standby.machine.prepare(ctx)
	}
}

// promote has the server take over, if its keeper has not been quicker.
func (m *machine) promote(ctx context.Context) error {
	if m.opening == nil || !m.opening.expiry.Stop() { // as where another guard has asked for it
		m.prepare(ctx)
		m.opening.expiry.Stop()
	}
	o := m.opening
	m.opening = nil
	<-o.done
	if o.err != nil {
		return o.err
	}
	defer postgres.HangUp(o.conn)
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
