package sql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

// server is the parameters that all builtins of the module share: where to connect, and as whom.
type server struct {
	Database string        `star:"database" doc:"Database to connect to; by default postgres, or the URI's."`
	Socket   string        `star:"socket" doc:"Directory of the server's Unix socket on the host."`
	Port     int           `star:"port" doc:"Port of the server, which is part of the socket's name."`
	User     string        `star:"user" doc:"Operating-system user that connects to the socket, and role to log in as."`
	URI      builtin.Text  `star:"uri" doc:"Connection URI, instead of socket, port and user: postgres://role:password@address:5432/database?sslmode=verify-full. Files that it names are on the machine that runs pgrun."`
	ViaHost  bool          `star:"via_host" doc:"Whether to connect to the URI from the host instead of from the machine that runs pgrun."`
	Timeout  time.Duration `star:"timeout" doc:"Longest time for connecting and for all statements together."`

	quiet bool // what is written holds a verifier, which is to stay out of the server's log
}

func (s server) target() postgres.Target {
	return postgres.Target{
		Socket: s.Socket, Port: s.Port, User: s.User, Database: s.Database, URI: s.URI, ViaHost: s.ViaHost,
	}
}

func (s server) validate() error {
	switch {
	case s.Port < 1 || s.Port > 65535:
		return fmt.Errorf("port: %d is not between 1 and 65535", s.Port)
	case s.Timeout <= 0:
		return fmt.Errorf("timeout: %s is not a time to finish in", s.Timeout)
	case s.ViaHost && s.URI.Reveal() == "":
		return errors.New("via_host: is about uri, which is not given")
	case s.URI.Reveal() == "" && s.User == "":
		return errors.New("user: is empty")
	}
	return nil
}

// look runs f in a READ ONLY transaction.
func (s server) look(ctx context.Context, r host.Reader, f func(ctx context.Context, tx *postgres.Tx) error) error {
	if err := s.validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	return postgres.Read(ctx, r, s.target(), func(tx *postgres.Tx) error { return f(ctx, tx) })
}

// write runs f on a connection that can write.
func (s server) write(ctx context.Context, h host.Host, f func(ctx context.Context, conn *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	return postgres.Write(ctx, h, s.target(), func(conn *pgx.Conn) error {
		if s.quiet {
			if err := keepVerifierFromLog(ctx, conn); err != nil {
				return err
			}
		}
		return f(ctx, conn)
	})
}

// The values of state.
const (
	present = "present"
	absent  = "absent"
)

// checkName checks the parameter that holds a name.
func checkName(param, name string) error {
	if err := postgres.CheckName(name); err != nil {
		return fmt.Errorf("%s: %w", param, err)
	}
	return nil
}

// shown quotes a name for a message, as little as it needs.
func shown(name string) string {
	const plain = "abcdefghijklmnopqrstuvwxyz0123456789_"
	if name != "" && strings.Trim(name, plain) == "" {
		return name
	}
	return postgres.QuoteName(name)
}
