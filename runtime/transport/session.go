package transport

import (
	"context"
	"io"

	"github.com/pgrun/pgrun/runtime/agent"
	"github.com/pgrun/pgrun/runtime/host"
)

// Session is a host.Host on one machine: a Reader that can also write. A write that the link breaks
// under is not made again: it may have happened.
//
// A dry run hands out no Session but its Reader, &s.Reader, which has no method that writes.
type Session struct {
	Reader
}

var _ host.Host = (*Session)(nil)

// NewSession returns a Session for the host of that name. Nothing is opened before the first call.
// The agent of a read-only one refuses every write, whoever asks.
func NewSession(name string, t Transport, readOnly bool) *Session {
	return &Session{Reader{newLink(name, t, readOnly)}}
}

// WriteFile is that of host.Host, as are the others.
func (s *Session) WriteFile(ctx context.Context, path string, content io.Reader, a host.Attributes) error {
	return s.link.write(ctx, what{"write", path, longLimit}, func(ctx context.Context, c *agent.Client) error {
		return c.WriteFile(ctx, path, content, a)
	})
}

func (s *Session) Mkdir(ctx context.Context, path string, a host.Attributes) error {
	return s.link.write(ctx, what{"mkdir", path, writeLimit}, func(ctx context.Context, c *agent.Client) error {
		return c.Mkdir(ctx, path, a)
	})
}

func (s *Session) Symlink(ctx context.Context, target, path string) error {
	return s.link.write(ctx, what{"symlink", path, writeLimit}, func(ctx context.Context, c *agent.Client) error {
		return c.Symlink(ctx, target, path)
	})
}

func (s *Session) SetAttributes(ctx context.Context, path string, a host.Attributes) error {
	return s.link.write(ctx, what{"set attributes of", path, writeLimit}, func(ctx context.Context, c *agent.Client) error {
		return c.SetAttributes(ctx, path, a)
	})
}

func (s *Session) Remove(ctx context.Context, path string, recursive bool) error {
	return s.link.write(ctx, what{"remove", path, longLimit}, func(ctx context.Context, c *agent.Client) error {
		return c.Remove(ctx, path, recursive)
	})
}

func (s *Session) Run(ctx context.Context, cmd host.Command) (host.Output, error) {
	return once(ctx, s.link, what{"", cmd.String(), 0}, func(ctx context.Context, c *agent.Client) (host.Output, error) {
		return c.Run(ctx, cmd)
	})
}
