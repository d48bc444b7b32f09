package transport

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/pgrun/pgrun/runtime/agent"
	"github.com/pgrun/pgrun/runtime/host"
)

// Default deadlines of calls whose context has none. A command that Run starts has none: how long it
// may take is the playbook's to say.
const (
	lookLimit  = time.Minute
	writeLimit = time.Minute
	longLimit  = 10 * time.Minute // what moves much data or removes many files
)

// Reader is a host.Reader on one machine, behind an agent that refuses to write. It is what a dry run
// has; it has no method that writes.
type Reader struct {
	link *link
}

var (
	_ host.Reader = (*Reader)(nil)
	_ host.Keeper = (*Reader)(nil)
)

// NewReader returns a Reader for the host of that name. Nothing is opened before the first call.
func NewReader(name string, t Transport) *Reader {
	return &Reader{newLink(name, t, true)}
}

// Connect opens the link, if it is not open, so that the first call need not.
func (r *Reader) Connect(ctx context.Context) error {
	_, err := r.link.client(ctx)
	return err
}

// Lost returns a channel that is closed when the link breaks that was opened last, or has broken already. It is nil where
// none was, or is being, opened.
func (r *Reader) Lost() <-chan struct{} {
	r.link.mu.Lock()
	c := r.link.current
	r.link.mu.Unlock()
	if c == nil {
		return nil
	}
	select {
	case <-c.ready:
		if c.client != nil {
			return c.client.Done()
		}
	default:
	}
	return nil
}

// Close ends the agent and every command that it runs. The next call starts another.
func (r *Reader) Close() error { return r.link.close() }

// Name is that of host.Reader, as are the others.
func (r *Reader) Name() string { return r.link.name }

func (r *Reader) Stat(ctx context.Context, path string) (host.Info, error) {
	return again(ctx, r.link, what{"stat", path, lookLimit}, func(ctx context.Context, c *agent.Client) (host.Info, error) {
		return c.Stat(ctx, path)
	})
}

func (r *Reader) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return again(ctx, r.link, what{"read", path, lookLimit}, func(ctx context.Context, c *agent.Client) ([]byte, error) {
		return c.ReadFile(ctx, path)
	})
}

func (r *Reader) ReadDir(ctx context.Context, path string) ([]host.Info, error) {
	return again(ctx, r.link, what{"list", path, lookLimit}, func(ctx context.Context, c *agent.Client) ([]host.Info, error) {
		return c.ReadDir(ctx, path)
	})
}

func (r *Reader) Hash(ctx context.Context, path string) (string, error) {
	return again(ctx, r.link, what{"hash", path, longLimit}, func(ctx context.Context, c *agent.Client) (string, error) {
		return c.Hash(ctx, path)
	})
}

func (r *Reader) Look(ctx context.Context, cmd host.Command) (host.Output, error) {
	return again(ctx, r.link, what{"", cmd.String(), lookLimit}, func(ctx context.Context, c *agent.Client) (host.Output, error) {
		return c.Look(ctx, cmd)
	})
}

func (r *Reader) Facts(ctx context.Context) (host.Facts, error) {
	return again(ctx, r.link, what{"facts", "", lookLimit}, func(ctx context.Context, c *agent.Client) (host.Facts, error) { return c.Facts(ctx) })
}

func (r *Reader) Dial(ctx context.Context, network, address, user string) (net.Conn, error) {
	return again(ctx, r.link, what{"dial", network + " " + address, lookLimit}, func(ctx context.Context, c *agent.Client) (net.Conn, error) {
		return c.Dial(ctx, network, address, user)
	})
}

// Keep is that of host.Keeper, as are the others.
func (r *Reader) Keep(key any, c io.Closer, limit time.Duration) { r.link.kept.put(key, c, limit) }

func (r *Reader) Kept(keys ...any) io.Closer { return r.link.kept.take(keys...) }

func (r *Reader) Release() { r.link.kept.release() }
