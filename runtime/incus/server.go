// Package incus reaches Incus: the only package that knows its client.
//
// A Server is a connection to one daemon and one project there. It has three sides.
//
//   - Looks return data: instances, profiles, networks, images, as plain structs.
//   - Writes own only the keys that they are given. They read what is there with its ETag, put the
//     given keys over it, and write it back; when somebody else was quicker, they do it again. So
//     a key that another tool has set, and all of volatile.*, stays.
//   - Server.Transport starts pgrun's agent on an instance (see transport.go).
//
// A read-only Server refuses every request that could change something, in the HTTP round tripper,
// below anything that a builtin could get wrong (see guard.go).
//
// The daemon's state belongs to others, too. What is cached is kept for a second only, so that the
// hosts of a play share one request.
package incus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"time"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"
	"github.com/lxc/incus/v6/shared/cliconfig"

	"github.com/pgrun/pgrun/runtime/agent/bin"
	"github.com/pgrun/pgrun/runtime/host"
)

// Deadlines of calls whose context has none. Those of looks are in look.go.
const (
	writeTimeout  = 2 * time.Minute
	createTimeout = 15 * time.Minute // an image may have to be downloaded and unpacked
)

// connectTimeout bounds connecting, whatever time the context has. A session waits longer for its agent: so that it is
// told that no daemon answers.
const connectTimeout = 20 * time.Second

var errNoAnswer = fmt.Errorf("no answer within %v: the daemon is busy, or hangs, or a firewall is in between: try again, and see whether incus list answers", connectTimeout)

// Remote says which daemon to connect to.
type Remote struct {
	// Name is one of the remotes of the incus command line. Empty or "local" is the daemon of this
	// machine, through its Unix socket: $INCUS_SOCKET, or unix.socket in $INCUS_DIR, /run/incus or
	// /var/lib/incus.
	Name string

	// Project is a project of that daemon. Empty is $INCUS_PROJECT, else the remote's own project,
	// else "default".
	Project string

	// ReadOnly refuses every request that could change something, except those which push and
	// start the read-only agent.
	ReadOnly bool
}

// String names the daemon for messages: "Incus (local)".
func (r Remote) String() string { return fmt.Sprintf("Incus (%s)", cmp.Or(r.Name, "local")) }

// Server is a connection to one project of one daemon. It is safe for concurrent use.
type Server struct {
	name     string
	project  string // as asked for, or ""
	readOnly bool

	base    *client.ProtocolIncus
	http    *http.Transport
	remotes *cliconfig.Config

	instances instanceCache

	// agent returns the agent for a GOARCH, with its SHA-256.
	agent func(arch string) (bin.Agent, error)
}

// Connect connects to a daemon and lists its instances, which is the one request that every run
// needs. That it cannot, for whatever reason, is a *host.Unreachable with NoDaemon.
func Connect(ctx context.Context, r Remote) (*Server, error) {
	s := &Server{name: cmp.Or(r.Name, "local"), readOnly: r.ReadOnly, agent: bin.For}
	s.instances.lock = make(chan struct{}, 1)
	err := s.connect(r.Project)
	limited, cancel := context.WithTimeoutCause(ctx, connectTimeout, errNoAnswer)
	defer cancel()
	if err == nil {
		err = s.hasProject(limited)
	}
	if err == nil {
		_, err = s.Instances(limited)
	}
	if err == nil {
		return s, nil
	}
	if s.base != nil {
		s.Close()
	}
	if !noDaemon(err) && context.Cause(ctx) == nil {
		err = &host.Unreachable{Host: s.String(), NoDaemon: true, Err: err}
	}
	return nil, err
}

// connect makes the client, without a request.
func (s *Server) connect(project string) error {
	var err error
	if s.remotes, err = cliconfig.LoadConfig(""); err != nil {
		return fmt.Errorf("read the remotes of the incus command line: %w", err)
	}
	s.project = cmp.Or(project, os.Getenv("INCUS_PROJECT"), s.remotes.Remotes[s.name].Project)

	// No event stream: operations are waited for by a request each, which a context can end.
	args := client.ConnectionArgs{UserAgent: "pgrun", SkipGetEvents: true, SkipGetServer: true}
	var made client.InstanceServer
	if s.name == "local" {
		made, err = client.ConnectIncusUnix("", &args)
	} else {
		made, err = connectTLS(s.remotes, s.name, args)
	}
	if err != nil {
		return err
	}
	if s.project != "" {
		made = made.UseProject(s.project)
	}
	s.base = made.(*client.ProtocolIncus)

	// The client wraps its transport for TLS only, so we do it here for both.
	c, err := s.base.GetHTTPClient()
	if err != nil {
		return err
	}
	s.http = c.Transport.(*http.Transport)
	// On its Unix socket the daemon (6.0.4 does) takes no other connection, nobody's, while there is one that has
	// not said anything yet. And http.Transport, which makes a connection and uses another that gets free first,
	// keeps the one made for later: unless it is to keep none. The price is 0.1 ms a request.
	s.http.DisableKeepAlives = s.name == "local"
	s.http.IdleConnTimeout = 30 * time.Second
	s.http.MaxIdleConnsPerHost = 8
	s.http.ResponseHeaderTimeout = 0 // contexts bound our calls, and waiting for an operation takes long
	c.Transport = &guard{inner: s.http, readOnly: s.readOnly}
	return nil
}

// hasProject fails when the project does not exist, where the daemon would just list nothing.
func (s *Server) hasProject(ctx context.Context) error {
	if s.project == "" || s.project == "default" {
		return nil
	}
	_, err := look(ctx, s, fmt.Sprintf("look at project %q", s.project), func(ctx context.Context) (*api.Project, error) {
		got, _, err := s.client(ctx).GetProject(s.project)
		return got, err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no project %q there: incus project create makes it", s.project)
	}
	return err
}

// Close drops the idle connections. Streams stay open.
func (s *Server) Close() { s.http.CloseIdleConnections() }

// String names the server for messages: "Incus (local)".
func (s *Server) String() string {
	if s.project != "" && s.project != "default" {
		return fmt.Sprintf("Incus (%s, project %s)", s.name, s.project)
	}
	return fmt.Sprintf("Incus (%s)", s.name)
}

// client returns a client whose requests end with ctx. WithContext changes the client it is called
// on, so that it needs a copy of ours: which UseTarget makes.
func (s *Server) client(ctx context.Context) client.InstanceServer { return s.target(ctx, "") }

// target is client for requests to one member of a cluster.
func (s *Server) target(ctx context.Context, member string) client.InstanceServer {
	return s.base.UseTarget(member).(*client.ProtocolIncus).WithContext(ctx)
}

// bounded gives ctx a deadline if it has none. Running into ours is no context.DeadlineExceeded,
// which would pass for a deadline that the playbook wrote.
func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return within(ctx, d)
}

// within gives ctx a deadline, or an earlier one.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("not done after %v", d))
}

// projectName is the project that requests go to.
func (s *Server) projectName() string {
	info, _ := s.base.GetConnectionInfo()
	return info.Project
}
