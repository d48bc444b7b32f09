package postgres

import (
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

// session is a connection that is kept.
type session struct {
	*pgx.Conn
	opened time.Time
}

func (s session) Close() error {
	HangUp(s.Conn)
	return nil
}

// keep reports whether the connection is kept: not that to a URI, whose password could change.
func (t Target) keep(r host.Reader, s session) bool {
	keeper, ok := r.(host.Keeper)
	left := oldest - time.Since(s.opened)
	if !ok || t.URI.Reveal() != "" || s.IsClosed() || left <= 0 {
		return false
	}
	keeper.Keep(t.named(), s, left)
	return true
}

// kept returns a connection that was kept, if there is one.
func (t Target) kept(r host.Reader) (session, bool) {
	keeper, ok := r.(host.Keeper)
	if !ok || t.URI.Reveal() != "" {
		return session{}, false
	}
	s, ok := keeper.Kept(t.named()).(session)
	return s, ok
}
