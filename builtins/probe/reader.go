package probe

import (
	"context"

	"github.com/pgrun/pgrun/runtime/host"
)

// read is a reader's life: it asks one server, whatever that is just now, which writes it has, until the run stops it. A standby may
// be behind; what calls itself the primary must have everything that was acknowledged before it was asked.
func (r *run) read(s *server) {
	var conn *connection
	defer func() {
		if conn != nil {
			conn.close()
		}
	}()
	for r.writing.Err() == nil {
		if conn == nil {
			limited, cancel := context.WithTimeout(r.writing, handshakeTimeout)
			conn, _ = s.connect(limited, nil) // there is none where the server is down: that is no finding
			cancel()
		}
		if conn != nil && !r.ask(conn) {
			conn.close()
			conn = nil
		}
		_ = host.Pause(r.writing, max(r.Every, retryPause))
	}
}

// ask asks once, enters the answer, and reports whether there was one.
func (r *run) ask(conn *connection) bool {
	ctx, cancel := context.WithTimeout(r.writing, r.WriteTimeout)
	defer cancel()
	acknowledged := r.record.acknowledgedSoFar()
	var standby bool
	var last []int
	// In this order: one that was a standby when it was asked for what it has may call itself the primary a moment later.
	err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&standby)
	if err == nil {
		err = conn.QueryRow(ctx, "SELECT ARRAY(SELECT coalesce((SELECT max(number) FROM "+table+" WHERE writer = w), 0) FROM generate_series(1, $1) w ORDER BY w)",
			r.writers()).Scan(&last)
	}
	if err != nil {
		return false
	}
	numbers := make(map[int]int, len(last))
	for i, number := range last {
		numbers[i+1] = number
	}
	r.record.read(conn.server, standby, numbers, acknowledged)
	return true
}
