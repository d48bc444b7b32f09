package probe

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/host"
)

// table is where the writers write.
const table = "pgrun_probe"

const (
	// lockTimeout bounds the wait for a table that is being written to.
	lockTimeout = "10s"

	// lastSessions is how long the server may take to notice that the clients of an earlier run are dead.
	lastSessions = 5 * time.Second
)

// prepare makes the table, in place of one that a killed run left behind.
func (r *run) prepare(ctx context.Context) error {
	conn, err := r.servers.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	if err := alone(ctx, conn); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf(`
		SET lock_timeout = '%[2]s';
		DROP TABLE IF EXISTS %[1]s;
		CREATE TABLE %[1]s (writer int, number int, PRIMARY KEY (writer, number));
		COMMENT ON TABLE %[1]s IS 'Made by pgrun (probe.writes) while it runs; may be dropped.'`, table, lockTimeout), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return fmt.Errorf("making table %s in database %s: %w", table, r.Database, err)
	}
	return nil
}

// alone makes sure that no other run writes to the table.
func alone(ctx context.Context, conn *connection) error {
	for deadline := time.Now().Add(lastSessions); ; {
		var others int
		err := conn.QueryRow(ctx, `
			SELECT count(*) FROM pg_stat_activity
			WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()`, applicationName).Scan(&others)
		switch {
		case err != nil:
			return err
		case others == 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("another run of probe.writes has %d sessions on this database: wait until it has ended", others)
		}
		if host.Pause(ctx, 4*retryPause) != nil {
			return context.Cause(ctx)
		}
	}
}

// verify returns the acknowledged writes that are not in the table, and drops it.
func (r *run) verify(ctx context.Context) ([]ack, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	conn, err := r.servers.only(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	found, err := rows(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("%s: reading table %s: %w", conn.server, table, err)
	}
	if err := dropBy(ctx, conn); err != nil {
		return nil, err
	}
	return r.record.missing(found), nil
}

func rows(ctx context.Context, conn *connection) (map[write]bool, error) {
	found := map[write]bool{}
	list, err := conn.Query(ctx, "SELECT writer, number FROM "+table)
	if err != nil {
		return nil, err
	}
	var w write
	_, err = pgx.ForEachRow(list, []any{&w.writer, &w.number}, func() error {
		found[w] = true
		return nil
	})
	return found, err
}

// drop removes the table.
func (r *run) drop(ctx context.Context) error {
	conn, err := r.servers.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	return dropBy(ctx, conn)
}

func dropBy(ctx context.Context, conn *connection) error {
	_, err := conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = '%[2]s'; DROP TABLE IF EXISTS %[1]s", table, lockTimeout), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return fmt.Errorf("%s: dropping table %s: %w", conn.server, table, err)
	}
	return nil
}
