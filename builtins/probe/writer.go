package probe

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgrun/pgrun/runtime/host"
)

// write is a writer's life: it connects to one of some servers, writes until the connection breaks, and connects again, until the
// run stops it. It says once that it has written.
func (r *run) write(writer int, to cluster, wrote chan<- struct{}) {
	var conn *connection
	defer func() {
		if conn != nil {
			conn.close()
		}
	}()
	for number := 1; r.writing.Err() == nil; number++ {
		if conn == nil {
			var err error
			if conn, err = to.connect(r.writing); err != nil {
				return // stopped
			}
		}
		if !r.insert(conn, write{writer, number}) {
			conn.close()
			conn = nil
		} else if wrote != nil {
			wrote <- struct{}{}
			wrote = nil
		}
		_ = host.Pause(r.writing, r.Every)
	}
}

// insert writes one row, enters what became of it, and reports whether it was acknowledged.
//
// It is not cut short when the run stops: a write of which nobody waits for the answer would be
// indeterminate without need.
func (r *run) insert(conn *connection, w write) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.writing), r.WriteTimeout)
	defer cancel()
	conn.warned = false
	a := ack{write: w, server: conn.server, begun: time.Now()}
	err := conn.QueryRow(ctx, "INSERT INTO "+table+" (writer, number) VALUES ($1, $2) RETURNING left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)",
		w.writer, w.number).Scan(&a.timeline)
	switch {
	case err == nil && !conn.warned:
		r.record.acknowledge(a)
		return true
	case err == nil || !refused(err):
		r.record.doubt()
	}
	return false
}

// refused reports whether a write that failed has certainly had no effect: it was not sent, or the server
// answered with an error and goes on. What ends the session (FATAL) may come after the commit.
func refused(err error) bool {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.SeverityUnlocalized == "ERROR"
	}
	return pgconn.SafeToRetry(err)
}
