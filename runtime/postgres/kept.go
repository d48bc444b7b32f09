package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/host"
)

// Connections that looks are made on are kept with the host: making one takes the server ten times as long
// as most looks.
//
// None grows old, however often a script looks: a server that is told to shut down smartly waits for its clients, and
// pg_autoctl tells it so where it rewinds an old primary.
const oldest = time.Second

// overTimeout is how long the end of a look's transaction may take.
const overTimeout = time.Second

// session is a connection that is kept.
type session struct {
	*pgx.Conn
	to     Target // with nothing left empty
	opened time.Time
	over   chan struct{} // closed when the transaction of the last look has ended
}

func (s session) Close() error {
	select {
	case <-s.over:
	case <-time.After(overTimeout):
		_ = s.PgConn().Conn().Close() // which ends it
		<-s.over
	}
	HangUp(s.Conn)
	return nil
}

// keep keeps the connection of a look, whose transaction ends while the script goes on. Not that to a URI, whose password could change.
func (t Target) keep(r host.Reader, tx *Tx) {
	s := tx.session
	keeper, ok := r.(host.Keeper)
	left := oldest - time.Since(s.opened)
	if !ok || t.URI.Reveal() != "" || left <= 0 || tx.next() != nil || s.IsClosed() || s.PgConn().IsBusy() {
		HangUp(s.Conn)
		return
	}
	s.over = make(chan struct{})
	go func() {
		defer close(s.over)
		ctx, cancel := context.WithTimeout(context.Background(), overTimeout)
		defer cancel()
		// What a look may leave of itself in the session, besides the transaction.
		if _, err := s.Exec(ctx, "ROLLBACK; SELECT pg_advisory_unlock_all()", pgx.QueryExecModeSimpleProtocol); err != nil {
			HangUp(s.Conn)
		}
	}()
	keeper.Keep(s.to, s, left)
}

// kept returns a connection that was kept, if there is one.
func (t Target) kept(ctx context.Context, r host.Reader) (session, bool) {
	keeper, ok := r.(host.Keeper)
	if !ok || t.URI.Reveal() != "" {
		return session{}, false
	}
	keys := []any{t.named()}
	if t.OrDatabase != "" {
		t.Database = t.OrDatabase
		keys = append(keys, t.named())
	}
	s, ok := keeper.Kept(keys...).(session)
	if !ok {
		return session{}, false
	}
	select {
	case <-s.over:
		return s, !s.IsClosed()
	case <-ctx.Done():
		go func() { _ = s.Close() }()
		return session{}, false
	}
}
