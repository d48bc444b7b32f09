package incus

import (
	"context"
	"fmt"
	"strings"

	"github.com/lxc/incus/v6/shared/api"
)

// Network is a network that Incus manages, or an interface of the host that it only knows.
type Network struct {
	Name    string
	Type    string // "bridge", "ovn", "physical", ...
	Managed bool
	Status  string // "Created", "Pending", "Unavailable", ...
	Settings
}

// Network returns a network; one that does not exist is fs.ErrNotExist.
func (s *Server) Network(ctx context.Context, name string) (Network, error) {
	got, err := look(ctx, s, fmt.Sprintf("look at network %q", name), func(ctx context.Context) (*api.Network, error) {
		got, _, err := s.client(ctx).GetNetwork(name)
		return got, err
	})
	if err != nil {
		return Network{}, err
	}
	return Network{got.Name, got.Type, got.Managed, got.Status, Settings{Description: &got.Description, Config: got.Config}}, nil
}

// CreateNetwork makes a network; the empty kind is "bridge".
func (s *Server) CreateNetwork(ctx context.Context, name, kind string, want Settings) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	after := want.over(Settings{})
	return s.explain(ctx, fmt.Sprintf("create network %q", name), again(ctx, func() error {
		return s.client(ctx).CreateNetwork(api.NetworksPost{Name: name, Type: kind, NetworkPut: api.NetworkPut{
			Description: text(after.Description), Config: after.Config,
		}})
	}))
}

// UpdateNetwork puts settings over a network's.
func (s *Server) UpdateNetwork(ctx context.Context, name string, want Settings) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	c := s.client(ctx)
	return s.explain(ctx, fmt.Sprintf("update network %q", name), again(ctx, func() error {
		got, etag, err := c.GetNetwork(name)
		if err != nil {
			return err
		}
		after := want.over(Settings{Description: &got.Description, Config: got.Config})
		put := got.Writable()
		put.Description, put.Config = text(after.Description), after.Config
		return c.UpdateNetwork(name, put, etag)
	}))
}

// DeleteNetwork deletes a network that nothing uses. One that does not exist is fine.
func (s *Server) DeleteNetwork(ctx context.Context, name string) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	return s.explain(ctx, fmt.Sprintf("delete network %q", name), unlessAbsent(again(ctx, func() error { return s.client(ctx).DeleteNetwork(name) })))
}

// NetworkUp reports whether a network's interface is there. A bridge that somebody removed behind Incus's
// back is down, although its Status does not say so.
func (s *Server) NetworkUp(ctx context.Context, name string) (bool, error) {
	return look(ctx, s, fmt.Sprintf("look at the state of network %q", name), func(ctx context.Context) (bool, error) {
		_, err := s.client(ctx).GetNetworkState(name)
		if err != nil && strings.Contains(err.Error(), "not found") {
			return false, nil
		}
		return err == nil, err
	})
}

// RestartNetwork has the daemon set a network up anew, with its interface, firewall rules and DNS and DHCP
// server. Incus has no such request, but does so when a key of its own changes: so dnsmasq's configuration gets a
// comment, which is taken out again. To be cut off between the two leaves the comment, until the next restart.
func (s *Server) RestartNetwork(ctx context.Context, name string) error {
	const key, comment = "raw.dnsmasq", "\n# pgrun restarts the network"
	have, err := s.Network(ctx, name)
	if err != nil {
		return err
	}
	own := strings.TrimSuffix(have.Config[key], comment)
	if have.Config[key] == own {
		if err := s.UpdateNetwork(ctx, name, Settings{Config: map[string]string{key: own + comment}}); err != nil {
			return err
		}
	}
	return s.UpdateNetwork(context.WithoutCancel(ctx), name, Settings{Config: map[string]string{key: own}})
}
