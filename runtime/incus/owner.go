package incus

import (
	"context"
	"fmt"

	"github.com/pgrun/pgrun/runtime/host"
)

// Owned is what a host of a run is besides a host.Reader: it tells which Incus daemon it belongs to.
type Owned interface {
	// Incus returns the daemon that owns the instance, or, for a local host, the one on that machine.
	Incus(ctx context.Context) (*Server, error)

	// Instance is the name of the host's instance; empty for a local host.
	Instance() string
}

// Of returns the daemon of a host and the name of its instance there, which is empty for a local host.
func Of(ctx context.Context, r host.Reader) (*Server, string, error) {
	owned, ok := r.(Owned)
	if !ok {
		return nil, "", fmt.Errorf("%s has nothing to do with Incus", r.Name())
	}
	s, err := owned.Incus(ctx)
	return s, owned.Instance(), err
}
