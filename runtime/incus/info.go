package incus

import (
	"context"

	"github.com/lxc/incus/v6/shared/api"
)

// Info describes the daemon.
type Info struct {
	Version       string // "6.0.4"
	Name          string // of the machine or the cluster's member
	Clustered     bool
	Architectures []string          // that it can run instances of, its own first
	Config        map[string]string // the server's: "core.https_address", ...
}

// Info returns what the daemon tells of itself.
func (s *Server) Info(ctx context.Context) (Info, error) {
	got, err := look(ctx, s, "look at the daemon", func(ctx context.Context) (*api.Server, error) {
		got, _, err := s.client(ctx).GetServer()
		return got, err
	})
	if err != nil {
		return Info{}, err
	}
	return Info{
		Version:       got.Environment.ServerVersion,
		Name:          got.Environment.ServerName,
		Clustered:     got.Environment.ServerClustered,
		Architectures: got.Environment.Architectures,
		Config:        got.Config,
	}, nil
}
