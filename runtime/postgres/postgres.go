// Package postgres connects to PostgreSQL servers on or through pgrun's hosts.
//
// A Target says which server, which database, and as whom. Usually it is the server on the host
// itself: the connection goes through the transport to the server's Unix socket, and carries the
// identity of the operating-system user postgres, so that peer authentication lets it in and no
// password exists. A Target with a URI is any server that the URI reaches, from the operator's
// machine or, with ViaHost, from the host.
//
// The two halves of a host are kept here, too. What Connect and Read make of a host.Reader is a
// read-only session, in which PostgreSQL itself refuses to write; only ConnectToWrite and Write, which
// want a host.Host, give another. So the look of a builtin cannot change a database.
//
//	err := postgres.Read(ctx, r, postgres.Target{Database: "app"}, func(tx *postgres.Tx) error {
//		return tx.QueryRow(ctx, `SELECT count(*) FROM orders`).Scan(&n)
//	})
//
// Every session is in UTC, with ISO dates, and called pgrun in pg_stat_activity. Errors say what to
// do; that a server, database, role or table is not there is fs.ErrNotExist to errors.Is, and so
// counts as host.Missing (see Explain).
//
// The package also computes SCRAM verifiers, so that no clear password reaches a server or its
// log, and quotes names and texts for statements that take no parameters.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// What a Target's empty fields mean.
const (
	DefaultSocket   = "/var/run/postgresql"
	DefaultPort     = 5432
	DefaultUser     = "postgres"
	DefaultDatabase = "postgres"
)

const (
	// connectTimeout bounds making a connection where the URI has no connect_timeout.
	connectTimeout = 10 * time.Second

	// DefaultTimeout bounds a Read or Write whose context has no deadline of its own.
	DefaultTimeout = time.Minute

	// cancelGrace is how long a server has to obey a cancel request before the connection is cut.
	cancelGrace = 2 * time.Second
)

// Target is a database on a server, and who connects to it. Its zero value is the database postgres
// of the server on the host, reached as postgres.
type Target struct {
	// Socket is the directory of the server's Unix socket on the host. Empty: DefaultSocket.
	Socket string

	// Port is the server's port, which is part of its socket's name. 0: DefaultPort.
	Port int

	// User is the operating-system user as which the socket is connected to. Empty: DefaultUser.
	User string

	// Role is the role to log in as. Empty: User.
	Role string

	// Database is the database's name. Empty: DefaultDatabase, or what the URI says.
	Database string

	// OrDatabase is a database to which a session that is kept does as well, for a Read that finds the same in both.
	OrDatabase string

	// URI is a connection URI, postgres://role:password@host/database?sslmode=verify-full, instead
	// of Socket, Port and Role. Files that it names are the operator's. More than one host is tried in
	// order, as libpq does.
	URI builtin.Text

	// ViaHost dials the URI's addresses from inside the host instead of the operator's machine. A
	// socket directory is then one on the host, connected to as User.
	ViaHost bool
}

// named returns a target on the host's own server with nothing left empty, so that two which mean the same are equal.
func (t Target) named() Target {
	t.URI, t.ViaHost, t.OrDatabase = builtin.Text{}, false, ""
	t.Socket = cmp.Or(t.Socket, DefaultSocket)
	t.Port = cmp.Or(t.Port, DefaultPort)
	t.User = cmp.Or(t.User, DefaultUser)
	t.Role = cmp.Or(t.Role, t.User)
	t.Database = cmp.Or(t.Database, DefaultDatabase)
	return t
}

// Server names the server on the host by its socket; "" where a URI says which.
func (t Target) Server() string {
	if t.URI.Reveal() != "" {
		return ""
	}
	t = t.named()
	return fmt.Sprintf("PostgreSQL on port %d of %s", t.Port, path.Clean(t.Socket))
}

// Read runs look in a READ ONLY transaction. Its connection is kept for the next Read (see host.Keeper).
func Read(ctx context.Context, r host.Reader, t Target, look func(tx *Tx) error) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	tx := &Tx{}
	open := func(ctx context.Context) error {
		conn, err := connect(ctx, r, t)
		if err == nil {
			tx.session = session{Conn: conn, to: t.named(), opened: time.Now()}
		}
		return err
	}
	if s, ok := t.kept(ctx, r); ok {
		tx.session, tx.reopen = s, open
	} else if err := open(ctx); err != nil {
		return err
	}
	err := ended(ctx, look(tx))
	t.keep(r, tx)
	return err
}

// Write runs work on its own connection, and closes it. work begins a transaction itself where it
// needs one.
func Write(ctx context.Context, h host.Host, t Target, work func(conn *pgx.Conn) error) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	if keeper, ok := h.(host.Keeper); ok {
		keeper.Release() // a database that is in use cannot be dropped
	}
	conn, err := ConnectToWrite(ctx, h, t)
	if err != nil {
		return err
	}
	defer HangUp(conn)
	return ended(ctx, work(conn))
}

// Connect opens a session whose transactions are read-only. The caller closes it, and passes what its
// calls return through Explain.
func Connect(ctx context.Context, r host.Reader, t Target) (*pgx.Conn, error) {
	conn, err := connect(ctx, r, t)
	if err != nil {
		return nil, err
	}
	// Not an option at the start: a URI may ask for a server that takes writes, and libpq's way of
	// finding one is to ask whether the session does.
	if _, err := conn.Exec(ctx, "SET default_transaction_read_only = on"); err != nil {
		HangUp(conn)
		return nil, ended(ctx, err)
	}
	return conn, nil
}

// ConnectToWrite opens a session that can write. The caller closes it, and passes what its calls
// return through Explain.
func ConnectToWrite(ctx context.Context, h host.Host, t Target) (*pgx.Conn, error) {
	return connect(ctx, h, t)
}

func connect(ctx context.Context, r host.Reader, t Target) (*pgx.Conn, error) {
	config, err := t.config(r)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["application_name"] = "pgrun"
	config.RuntimeParams["timezone"] = "UTC"
	config.RuntimeParams["datestyle"] = "ISO, MDY"
	config.RuntimeParams["intervalstyle"] = "postgres"
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := pgproto3.NewFrontend(r, w)
		f.SetMaxBodyLen(host.MaxRead) // what a message says of its length is allocated at once, and the server may be hostile
		return f
	}
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: cancelGrace}
	}
	limited, cancel := context.WithTimeout(ctx, config.ConnectTimeout*time.Duration(1+len(config.Fallbacks)))
	defer cancel()
	conn, err := pgx.ConnectConfig(limited, config)
	if err != nil {
		err = t.explain(config, err)
		if ctx.Err() == nil || context.Cause(ctx) == errLimit {
			err = unwritten(err)
		}
		return nil, err
	}
	return conn, nil
}

// config turns t into pgx's terms.
func (t Target) config(r host.Reader) (*pgx.ConnConfig, error) {
	if t.URI.Reveal() != "" {
		return t.uriConfig(r)
	}
	// ParseConfig is the only way to make a ConnConfig. It looks at the operator's PG* variables,
	// which say nothing about a server on the host: what they can set is set again.
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, errors.New("the PG* variables in your environment cannot be read: unset PGSERVICE and the others")
	}
	t = t.named()
	config.Host = t.Socket
	config.Port = uint16(t.Port)
	config.User = t.Role
	config.Database = t.Database
	config.Password = ""
	config.TLSConfig = nil
	config.Fallbacks = nil
	config.ValidateConnect = nil
	config.RequireAuth, config.ChannelBinding = "", "prefer"
	config.ConnectTimeout = connectTimeout
	config.RuntimeParams = map[string]string{}
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return r.Dial(ctx, network, address, t.User)
	}
	if !path.IsAbs(config.Host) {
		return nil, fmt.Errorf("socket: %q is not an absolute path of a directory", config.Host)
	}
	return config, nil
}

func (t Target) uriConfig(r host.Reader) (*pgx.ConnConfig, error) {
	u, err := url.Parse(t.URI.Reveal())
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		// The parser's error would quote the URI, with its password.
		return nil, errors.New("uri: not a connection URI: write postgres://role:password@host:5432/database?sslmode=verify-full, special characters in it percent-encoded")
	}
	config, err := pgx.ParseConfig(t.URI.Reveal())
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the URI
		}
		return nil, fmt.Errorf("uri: %v", err) // a file that it names and lacks is not missing on the host
	}
	if t.Database != "" {
		config.Database = t.Database
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if t.ViaHost {
		config.LookupFunc = func(_ context.Context, name string) ([]string, error) { return []string{name}, nil }
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			user := ""
			if network == "unix" {
				user = cmp.Or(t.User, DefaultUser)
			}
			return r.Dial(ctx, network, address, user)
		}
	}
	return config, nil
}

// where describes config for messages: database "app" as "postgres" at /run/postgresql:5432.
func where(config *pgx.ConnConfig) string {
	at := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	if path.IsAbs(config.Host) {
		at = path.Join(config.Host, ".s.PGSQL."+strconv.Itoa(int(config.Port)))
	}
	if others := otherServers(config); others > 0 {
		at += fmt.Sprintf(" and %d more", others)
	}
	return fmt.Sprintf("PostgreSQL at %s (database %q, role %q)", at, config.Database, config.User)
}

// otherServers counts the servers of a URI after its first. A fallback may also be the same server without TLS.
func otherServers(config *pgx.ConnConfig) (n int) {
	for _, f := range config.Fallbacks {
		if f.Host != config.Host || f.Port != config.Port {
			n++
		}
	}
	return n
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, DefaultTimeout, errLimit)
}

// errLimit is the cause of a context that ended by DefaultTimeout.
var errLimit = errors.New("limit")

// HangUp closes a connection, with a short time for its last message: the caller's context may have ended already.
func HangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // whatever it says, the connection is gone
}
