package pgautoctl

import (
	"context"
	"fmt"
	"path"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

// server holds the parameters that say where the PostgreSQL of a host listens.
type server struct {
	Port   int    `star:"port" doc:"Port of the host's PostgreSQL."`
	Socket string `star:"socket" doc:"Directory of its Unix socket."`
}

func (s server) validate() error {
	switch {
	case s.Port < 1 || s.Port > 65535:
		return fmt.Errorf("port: %d is not between 1 and 65535", s.Port)
	case !path.IsAbs(s.Socket):
		return fmt.Errorf("socket: %q is not an absolute path of a directory", s.Socket)
	}
	return nil
}

func (s server) target(database string) postgres.Target {
	return postgres.Target{Socket: s.Socket, Port: s.Port, Database: database}
}

// anyDatabase is a database of the server's, for what is the same in all: on a monitor its own does as well as postgres.
func (s server) anyDatabase() postgres.Target {
	t := s.target("postgres")
	t.OrDatabase = MonitorDatabase
	return t
}

// member is what a data node's own server says of itself.
type member struct {
	InRecovery bool
	ReadOnly   bool   // its sessions are, unless they say otherwise
	SyncNames  string // synchronous_standby_names
	Replicas   map[string]replica
}

// replica is a standby that streams from a primary.
type replica struct{ State, Sync string }

// standbyName is the application_name of a node's replication connection.
func standbyName(nodeID int64) string { return fmt.Sprintf("pgautofailover_standby_%d", nodeID) }

// readMember asks a data node's server.
func (s server) readMember(ctx context.Context, r host.Reader) (member, error) {
	m := member{Replicas: map[string]replica{}}
	err := postgres.Read(ctx, r, s.target("postgres"), func(tx *postgres.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool,
			       current_setting('synchronous_standby_names'),
			       coalesce(application_name, ''), coalesce(state, ''), coalesce(sync_state, '')
			FROM (SELECT) AS always
			LEFT JOIN pg_stat_replication ON application_name LIKE 'pgautofailover\_standby\_%'`)
		if err != nil {
			return err
		}
		var name string
		var from replica
		_, err = pgx.ForEachRow(rows, []any{&m.InRecovery, &m.ReadOnly, &m.SyncNames, &name, &from.State, &from.Sync}, func() error {
			if name != "" {
				m.Replicas[name] = from
			}
			return nil
		})
		return err
	})
	return m, err
}
