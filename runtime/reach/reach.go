// Package reach keeps the way to each host of a run: which transport it has, and the one session
// that all its tasks share.
package reach

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/transport"
)

// Hosts reaches the hosts of an inventory. It is safe for concurrent use.
type Hosts struct {
	builtin.Announcements
	readOnly bool

	mu      sync.Mutex
	servers map[incus.Remote]*connection
	hosts   map[string]machine

	over    context.Context // done when the run is over: no session is opened any more
	end     context.CancelFunc
	warming sync.WaitGroup
}

// New makes Hosts. Read-only ones, for a dry run, have no way to write to any host or daemon.
func New(readOnly bool) *Hosts {
	over, end := context.WithCancel(context.Background())
	return &Hosts{
		over:     over,
		end:      end,
		readOnly: readOnly,
		servers:  map[incus.Remote]*connection{},
		hosts:    map[string]machine{},
	}
}

// connection is one to an Incus daemon, or the attempt to make it, which is one for all hosts that wait for it.
type connection struct {
	ready  chan struct{} // closed when server or err is set
	server *incus.Server
	err    error
}

// failed reports whether another attempt is due: a playbook may have started the daemon meanwhile.
func (c *connection) failed() bool {
	select {
	case <-c.ready:
		return c.err != nil
	default:
		return false
	}
}

// server returns the connection to a daemon, made when it is first needed. The attempt goes on when one of
// those who wait for it gives up.
func (h *Hosts) server(ctx context.Context, remote incus.Remote) (*incus.Server, error) {
	h.mu.Lock()
	c := h.servers[remote]
	if c == nil || c.failed() {
		c = &connection{ready: make(chan struct{})}
		h.servers[remote] = c
		go func() {
			defer close(c.ready)
			c.server, c.err = incus.Connect(h.over, remote)
		}()
	}
	h.mu.Unlock()
	select {
	case <-c.ready:
		return c.server, c.err
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to %s: %w", remote, context.Cause(ctx))
	}
}

// owned says which daemon a host belongs to, for the builtins that act on the instance itself.
type owned struct {
	hosts *Hosts
	host  *inventory.Host
}

// Incus returns the daemon that owns the instance, or the one that runs on a local host.
func (o owned) Incus(ctx context.Context) (*incus.Server, error) {
	return o.hosts.server(ctx, incus.Remote{Name: o.host.Remote, Project: o.host.Project, ReadOnly: o.hosts.readOnly})
}

// Instance is the name of the host's Incus instance; empty for a local host.
func (o owned) Instance() string { return o.host.Instance }

// machine is what the builtins get for a host: looking in a dry run, else acting.
type machine interface {
	host.Reader
	incus.Owned
	Connect(ctx context.Context) error
	Close() error
}

type acting struct {
	*transport.Session
	owned
}

var _ host.Host = acting{}

// Reader returns the looking half of a host.
func (h *Hosts) Reader(on *inventory.Host) (host.Reader, error) { return h.machine(on) }

// Host returns both halves of a host; a read-only Hosts has none.
func (h *Hosts) Host(on *inventory.Host) (host.Host, error) {
	m, err := h.machine(on)
	if err != nil {
		return nil, err
	}
	writer, ok := m.(host.Host)
	if !ok {
		return nil, errors.New("internal error: a dry run asked for a host to write to")
	}
	return writer, nil
}

func (h *Hosts) machine(on *inventory.Host) (machine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := h.hosts[on.Name]; m != nil {
		return m, nil
	}
	if h.over.Err() != nil {
		return nil, fmt.Errorf("%s: the run is over", on.Name)
	}
	daemon := owned{h, on}
	var way transport.Transport
	switch on.Transport {
	case "local":
		way = transport.Local()
	case "incus":
		way = instance{daemon}
	default:
		return nil, fmt.Errorf("%s: no transport %q", on.Name, on.Transport)
	}
	session := transport.NewSession(on.Name, way, h.readOnly)
	if h.readOnly {
		h.hosts[on.Name] = looking{&session.Reader, daemon, &places{by: map[string]*host.Replaced{}}}
	} else {
		h.hosts[on.Name] = acting{session, daemon}
	}
	return h.hosts[on.Name], nil
}

// Warm opens the sessions of the hosts that can be reached now, all at once, so that the first task
// need not wait. What fails here is reported by the task that needs it.
func (h *Hosts) Warm(ctx context.Context, hosts []*inventory.Host) {
	ctx, stop := context.WithCancel(ctx)
	context.AfterFunc(h.over, stop)
	for _, on := range hosts {
		if m, err := h.machine(on); err == nil {
			h.warming.Go(func() { _ = m.Connect(ctx) })
		}
	}
}

// Close ends all sessions. An attempt to open one may need the lock, so it is not held meanwhile.
func (h *Hosts) Close() {
	h.end()
	h.mu.Lock()
	machines, connections := slices.Collect(maps.Values(h.hosts)), slices.Collect(maps.Values(h.servers))
	h.mu.Unlock()

	h.warming.Wait()
	var closing sync.WaitGroup
	for _, m := range machines {
		closing.Go(func() { _ = m.Close() }) // the agent ends with its input, at the latest
	}
	closing.Wait()
	for _, c := range connections {
		<-c.ready // an attempt ends with the run
		if c.server != nil {
			c.server.Close()
		}
	}
}
