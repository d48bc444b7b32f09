package reach

import (
	"context"
	"io"
)

// instance is the transport to an Incus instance, whose daemon is connected to on first use.
type instance struct{ owned }

func (i instance) Open(ctx context.Context, readOnly bool) (io.ReadWriteCloser, error) {
	server, err := i.Incus(ctx)
	if err != nil {
		return nil, err
	}
	return server.Transport(i.host.Instance).Open(ctx, readOnly)
}
