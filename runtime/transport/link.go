package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pgrun/pgrun/runtime/agent"
	"github.com/pgrun/pgrun/runtime/host"
)

// connectLimit is how long starting an agent may take, a push of it on a slow link included, and closeLimit how long to end
// when it was cancelled.
const (
	connectLimit = 3 * time.Minute
	closeLimit   = 5 * time.Second
)

// Of a link with calls open: how often the agent is asked for a sign of life, and how long it may keep
// silent before the link is taken for dead. A frozen container is noticed after their sum.
const (
	pingEvery = 5 * time.Second
	pingLimit = 15 * time.Second
)

// errSilent is why a link was given up.
var errSilent = errors.New("the agent gives no sign of life: the machine is frozen, overloaded or cut off")

// link keeps one agent on one machine: it starts the agent when the first call needs it, watches it, and
// starts it again when it is lost.
type link struct {
	name      string
	transport Transport
	readOnly  bool

	pingEvery, pingLimit, connectLimit time.Duration

	mu      sync.Mutex
	current *connection // the last one; may be under way or lost

	kept kept
}

// connection is one agent, or the attempt to start it.
type connection struct {
	ready  chan struct{} // closed when client or err is set
	client *agent.Client
	err    error
	cancel context.CancelFunc // ends the attempt
}

func newLink(name string, t Transport, readOnly bool) *link {
	return &link{name: name, transport: t, readOnly: readOnly,
		pingEvery: pingEvery, pingLimit: pingLimit, connectLimit: connectLimit}
}

// client returns the agent's client, connected. Concurrent callers share one attempt, which goes on
// when one of them gives up.
func (l *link) client(ctx context.Context) (*agent.Client, error) {
	c, err := l.connection(ctx)
	if err != nil {
		return nil, err
	}
	return c.client, nil
}

func (l *link) connection(ctx context.Context) (*connection, error) {
	l.mu.Lock()
	c := l.current
	if c == nil || c.over() {
		c = &connection{ready: make(chan struct{})}
		var attempt context.Context
		attempt, c.cancel = context.WithTimeout(context.WithoutCancel(ctx), l.connectLimit)
		l.current = c
		go l.connect(attempt, c)
	}
	l.mu.Unlock()
	select {
	case <-c.ready:
		return c, c.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: start the agent: %w", l.name, ended(ctx))
	}
}

// over reports whether the connection has failed or is lost, so that another is due.
func (c *connection) over() bool {
	select {
	case <-c.ready:
	default:
		return false
	}
	if c.err != nil {
		return true
	}
	select {
	case <-c.client.Done():
		return true
	default:
		return false
	}
}

func (l *link) connect(ctx context.Context, c *connection) {
	defer close(c.ready)
	defer c.cancel()
	stream, err := l.transport.Open(ctx, l.readOnly)
	if err == nil {
		c.client, err = agent.NewClient(ctx, stream)
	}
	if err == nil && l.readOnly && !c.client.ReadOnly() {
		_ = c.client.Close()
		err = errors.New("the agent was to be read-only and is not")
	}
	if err != nil {
		c.err = l.unreachable(ctx, err)
		return
	}
	go l.watch(c.client)
}

// unreachable makes the error of a failed attempt.
func (l *link) unreachable(ctx context.Context, err error) error {
	if errors.Is(err, host.ErrAbsent) {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	if u, ok := errors.AsType[*host.Unreachable](err); ok {
		if u.Host == "" {
			u.Host = l.name
		}
		return u
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		// The caller's deadline is another: this error must not pass for it.
		err = fmt.Errorf("no agent answered within %s (%s)", l.connectLimit, strings.TrimSpace(err.Error()))
	}
	return &host.Unreachable{Host: l.name, Err: err}
}

// watch pings the agent while calls are open, and gives the link up when nothing comes back.
func (l *link) watch(c *agent.Client) {
	tick := time.NewTicker(l.pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.Done():
			return
		case <-tick.C:
		}
		if !c.Busy() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), l.pingLimit)
		if err := c.Ping(ctx); err != nil && ctx.Err() != nil {
			c.Lose(errSilent)
		}
		cancel()
	}
}

func (l *link) close() error {
	l.kept.release()
	l.mu.Lock()
	c := l.current
	l.current = nil
	l.mu.Unlock()
	if c == nil {
		return nil
	}
	c.cancel()
	select {
	case <-c.ready:
	case <-time.After(closeLimit):
		return fmt.Errorf("%s: the start of its agent does not end", l.name) // should it end, NewClient closes the stream
	}
	if c.client == nil {
		return nil
	}
	return c.client.Close()
}

// what is a call, for its error messages, and how long it may take where its context has no deadline.
type what struct {
	verb, object string
	limit        time.Duration // 0 sets none
}

func (w what) String() string { return strings.TrimSpace(w.verb + " " + w.object) }

// again makes a call that only reads, a second time on a new link if the first one broke.
func again[T any](ctx context.Context, l *link, w what, call func(context.Context, *agent.Client) (T, error)) (T, error) {
	ctx, cancel := w.deadline(ctx)
	defer cancel()
	v, err := try(ctx, l, call)
	if errors.Is(err, agent.ErrLost) && !errors.Is(err, errSilent) {
		v, err = try(ctx, l, call)
	}
	return v, l.explain(ctx, w, err, "")
}

// once makes a call that may change the machine.
func once[T any](ctx context.Context, l *link, w what, call func(context.Context, *agent.Client) (T, error)) (T, error) {
	l.kept.release()
	ctx, cancel := w.deadline(ctx)
	defer cancel()
	v, err := try(ctx, l, call)
	return v, l.explain(ctx, w, err, "; the call may have completed")
}

// write is once for a call that returns an error alone.
func (l *link) write(ctx context.Context, w what, call func(context.Context, *agent.Client) error) error {
	_, err := once(ctx, l, w, func(ctx context.Context, c *agent.Client) (struct{}, error) {
		return struct{}{}, call(ctx, c)
	})
	return err
}

func try[T any](ctx context.Context, l *link, call func(context.Context, *agent.Client) (T, error)) (T, error) {
	c, err := l.client(ctx)
	if err != nil {
		var none T
		return none, err
	}
	return call(ctx, c)
}

// errLimit is the cause of a context that ended by what.limit.
var errLimit = errors.New("limit")

func (w what) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || w.limit == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, w.limit, errLimit)
}

// explain says what failed. A deadline that nobody wrote must not pass for the caller's own, which has
// an exit code of its own: it does not wrap context.DeadlineExceeded.
func (l *link) explain(ctx context.Context, w what, err error, doubt string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, agent.ErrLost):
		lost := &host.Unreachable{Host: l.name, Err: fmt.Errorf("%s: %w%s", w, err, doubt)}
		if why, ok := errors.AsType[*host.Unreachable](err); ok { // the transport knows
			lost.NoDaemon, lost.Down = why.NoDaemon, why.Down
		}
		return lost
	case context.Cause(ctx) == errLimit && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: not done within %s, which is the limit where the playbook sets none", w, w.limit)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return fmt.Errorf("%s: %w", w, ended(ctx))
	}
	return err
}

// ended is why ctx is done: its error, and its cause where that says more.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ctx.Err()
}
