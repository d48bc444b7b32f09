package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"

	"github.com/pgrun/pgrun/runtime/host"
)

const (
	// dialTimeout is how long a server may take to accept a connection. A stopped machine's address
	// answers nothing.
	dialTimeout = 300 * time.Millisecond

	// handshakeTimeout bounds the whole of TLS, login and the question whether the server takes writes. A
	// frozen machine's kernel accepts connections, and nothing follows.
	handshakeTimeout = 2 * time.Second

	// userTimeout is how long what was sent may stay unacknowledged by the other side's kernel.
	userTimeout = time.Second

	// retryPause is between two attempts at a server.
	retryPause = 50 * time.Millisecond
)

// applicationName is how the sessions are called in pg_stat_activity.
const applicationName = "pgrun probe"

// cluster is the servers of which one takes writes.
type cluster []*server

// server is one of them.
type server struct {
	name, address string
	config        *pgx.ConnConfig // of a connection to this server alone

	// attempting is held by the one connection attempt that is made at a time, so that many writers
	// do not hinder a server which is just being promoted.
	attempting chan struct{}
	attempts   sync.WaitGroup

	mu       sync.Mutex
	last     error // of the latest attempt
	answered error // the latest that came of what the server said: an error of its own, a certificate
}

func newCluster(p writesParams) (cluster, error) {
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM([]byte(p.CA.Reveal())) {
		return nil, errors.New("ca: it holds no certificate in PEM form")
	}
	var all cluster
	for name, address := range p.Servers {
		if name == "" || address == "" {
			return nil, fmt.Errorf("servers: %q: %q: a name or an address is empty", name, address)
		}
		// ParseConfig is the only way to make a ConnConfig. It looks at the PG* variables of the
		// environment: what they can set is set again.
		config, err := pgx.ParseConfig("sslmode=disable")
		if err != nil {
			return nil, errors.New("servers: the PG* variables in your environment cannot be read: unset PGSERVICE and the others")
		}
		config.Host, config.Port = name, uint16(p.Port)
		config.Database, config.User, config.Password = p.Database, p.User, p.Password.Reveal()
		config.TLSConfig = &tls.Config{RootCAs: authorities, ServerName: name, MinVersion: tls.VersionTLS12}
		config.Fallbacks = nil
		config.ConnectTimeout = handshakeTimeout
		config.RequireAuth, config.ChannelBinding = "", "prefer"
		config.RuntimeParams = map[string]string{"application_name": applicationName}
		config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{address}, nil }
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
		all = append(all, &server{name: name, address: address, config: config, attempting: make(chan struct{}, 1)})
	}
	slices.SortFunc(all, func(a, b *server) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// connection is a session on one server.
type connection struct {
	*pgx.Conn
	server string
	warned bool // by the server, since it was last set to false
	socket atomic.Pointer[net.Conn]
}

// connect races the servers for a session that can write. It goes on until there is one or ctx ends.
func (c cluster) connect(ctx context.Context) (*connection, error) {
	racing, cancel := context.WithCancel(ctx)
	defer cancel()
	first := make(chan *connection)
	for _, s := range c {
		s.attempts.Go(func() {
			conn := s.persist(racing)
			if conn == nil {
				return
			}
			select {
			case first <- conn:
			case <-racing.Done():
				conn.close()
			}
		})
	}
	select {
	case conn := <-first:
		return conn, nil
	case <-ctx.Done():
		return nil, c.problems()
	}
}

// only returns a session on the one server that takes writes. Two of them are an error.
func (c cluster) only(ctx context.Context) (*connection, error) {
	for {
		answers := make([]*connection, len(c))
		var asking sync.WaitGroup
		for i, s := range c {
			asking.Go(func() { answers[i], _ = s.connect(ctx, writable) }) // problems tells why not
		}
		asking.Wait()
		writing := slices.DeleteFunc(answers, func(conn *connection) bool { return conn == nil })
		switch len(writing) {
		case 0:
			if host.Pause(ctx, retryPause) != nil {
				return nil, c.problems()
			}
		case 1:
			return writing[0], nil
		default:
			for _, conn := range writing {
				conn.close()
			}
			return nil, fmt.Errorf("%s and %s both take writes", writing[0].server, writing[1].server)
		}
	}
}

// wait waits until no attempt is under way. Those of a race that was decided end at once.
func (c cluster) wait() {
	for _, s := range c {
		s.attempts.Wait()
	}
}

// problems says why each server could not be written to.
func (c cluster) problems() error {
	words := make([]string, len(c))
	for i, s := range c {
		s.mu.Lock()
		words[i] = s.name + ": " + said(s.last)
		if s.answered != nil && s.answered != s.last {
			words[i] += " at last, before: " + said(s.answered)
		}
		s.mu.Unlock()
	}
	return fmt.Errorf("no server takes writes (%s)", strings.Join(words, "; "))
}

// persist tries until there is a session that can write, or ctx ends: then it returns nil.
func (s *server) persist(ctx context.Context) *connection {
	select {
	case s.attempting <- struct{}{}:
		defer func() { <-s.attempting }()
	case <-ctx.Done():
		return nil
	}
	for {
		conn, err := s.connect(ctx, writable)
		if err == nil {
			return conn
		}
		if host.Pause(ctx, retryPause) != nil {
			return nil
		}
	}
}

// writable refuses a server that takes no writes.
var writable = pgconn.ValidateConnectTargetSessionAttrsReadWrite

// connect tries once, for a server that is as validate says, if that is given.
func (s *server) connect(ctx context.Context, validate pgconn.ValidateConnectFunc) (*connection, error) {
	conn := &connection{server: s.name}
	config := s.config.Copy()
	config.ValidateConnect = validate
	dialer := net.Dialer{Timeout: dialTimeout, Control: setUserTimeout}
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		// pgx dials again to cancel a statement that took too long. A commit that waits for its standby
		// would be acknowledged by that, without one.
		if conn.socket.Load() != nil {
			return nil, errors.New("not dialled again")
		}
		socket, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			conn.socket.Store(&socket)
		}
		return socket, err
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		conn.warned = conn.warned || n.SeverityUnlocalized == "WARNING"
	}
	var err error
	conn.Conn, err = pgx.ConnectConfig(ctx, config)
	if err != nil {
		if ctx.Err() == nil && validate != nil {
			s.mu.Lock()
			s.last = err
			if errors.As(err, new(*pgconn.PgError)) || errors.As(err, new(*tls.CertificateVerificationError)) {
				s.answered = err
			}
			s.mu.Unlock()
		}
		return nil, err
	}
	return conn, nil
}

// close ends the session. One that broke is cut: pgx would say goodbye to nobody for 15 seconds.
func (c *connection) close() {
	if c.IsClosed() {
		_ = (*c.socket.Load()).Close() // it is broken already
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Conn.Close(ctx) // whatever it says, the session is over
}

func setUserTimeout(_, _ string, raw syscall.RawConn) error {
	var set error
	err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout/time.Millisecond))
	})
	return errors.Join(err, set)
}

// said puts the error of an attempt in few words.
func said(err error) string {
	var answer *pgconn.PgError
	var connecting *pgconn.ConnectError
	switch {
	case err == nil:
		return "no answer yet"
	case errors.As(err, &answer):
		return answer.Message
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return "no answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH):
		return "no route to host"
	case errors.As(err, &connecting):
		err = connecting.Unwrap()
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}
