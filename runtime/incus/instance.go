package incus

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lxc/incus/v6/shared/api"

	"github.com/pgrun/pgrun/runtime/host"
)

// Instance is a container or a virtual machine. Its Settings are its own; what it has with its
// profiles' is expanded.
type Instance struct {
	Name         string
	Status       string // "Running", "Stopped", "Frozen", "Error", or one in between such as "Starting"
	Type         string // "container" or "virtual-machine"
	Architecture string // "x86_64", "aarch64", ...
	Location     string // the member of the cluster that it is on; "none" without a cluster
	Image        string // fingerprint of the image that it was made of
	Ephemeral    bool
	Created      time.Time
	Used         time.Time // when it was last started; zero where it never was
	Project      string
	Settings

	ExpandedConfig  map[string]string
	ExpandedDevices map[string]map[string]string
}

// instanceFrom copies what we tell of an instance.
func instanceFrom(i api.Instance) Instance {
	used := i.LastUsedAt
	if used.Unix() <= 0 { // the daemon's way to say never
		used = time.Time{}
	}
	return Instance{
		Name:         i.Name,
		Status:       i.Status,
		Type:         i.Type,
		Architecture: i.Architecture,
		Location:     i.Location,
		Image:        i.Config["volatile.base_image"],
		Ephemeral:    i.Ephemeral,
		Created:      i.CreatedAt,
		Used:         used,
		Project:      i.Project,
		Settings: Settings{
			Description: &i.Description,
			Config:      i.Config,
			Devices:     i.Devices,
			Profiles:    i.Profiles,
		},
		ExpandedConfig:  i.ExpandedConfig,
		ExpandedDevices: i.ExpandedDevices,
	}
}

// instanceCache keeps the list of instances for a moment, so that all hosts of a play share one
// request.
type instanceCache struct {
	lock    chan struct{} // holds one token while somebody uses or fetches the list
	list    []Instance
	at      time.Time
	dropped int64 // what drops was then

	drops atomic.Int64 // how often the list was forgotten
}

const cacheAge = time.Second

// drop forgets the list, and one that is being fetched.
func (c *instanceCache) drop() { c.drops.Add(1) }

// Instances lists the project's instances in the order of their names. The list may be a second
// old. It is the caller's, what is in it is shared: do not change it.
func (s *Server) Instances(ctx context.Context) ([]Instance, error) {
	return look(ctx, s, "list instances", func(ctx context.Context) ([]Instance, error) {
		cache := &s.instances
		select {
		case cache.lock <- struct{}{}:
			defer func() { <-cache.lock }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		at, dropped := time.Now(), cache.drops.Load()
		if at.Sub(cache.at) < cacheAge && cache.dropped == dropped {
			return slices.Clone(cache.list), nil
		}
		got, err := s.client(ctx).GetInstances(api.InstanceTypeAny)
		if err != nil {
			return nil, err
		}
		cache.list, cache.at, cache.dropped = sorted(got), at, dropped
		return slices.Clone(cache.list), nil
	})
}

// AllInstances lists the instances of all projects that we may see, in the order of their names.
func (s *Server) AllInstances(ctx context.Context) ([]Instance, error) {
	return look(ctx, s, "list the instances of all projects", func(ctx context.Context) ([]Instance, error) {
		got, err := s.client(ctx).GetInstancesAllProjects(api.InstanceTypeAny)
		return sorted(got), err
	})
}

// sorted copies what we tell of instances, in the order of their names.
func sorted(got []api.Instance) []Instance {
	list := make([]Instance, len(got))
	for n, i := range got {
		list[n] = instanceFrom(i)
	}
	slices.SortFunc(list, func(a, b Instance) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// cached returns an instance from the list.
func (s *Server) cached(ctx context.Context, name string) (Instance, error) {
	list, err := s.Instances(ctx)
	if err != nil {
		return Instance{}, err
	}
	if n := slices.IndexFunc(list, func(i Instance) bool { return i.Name == name }); n >= 0 {
		return list[n], nil
	}
	return Instance{}, s.absent(name)
}

// Instance returns one instance as it is now. One that does not exist is host.ErrAbsent.
func (s *Server) Instance(ctx context.Context, name string) (Instance, error) {
	return look(ctx, s, fmt.Sprintf("look at instance %q", name), func(ctx context.Context) (Instance, error) {
		got, _, err := s.client(ctx).GetInstance(name)
		if err != nil {
			return Instance{}, s.instanceError(name, err)
		}
		return instanceFrom(*got), nil
	})
}

// What the daemon calls operations on an instance; of what kind they are, it does not say otherwise.
const (
	creating = "Creating instance"
	stopping = "Stopping instance"
)

// Creating reports whether the daemon is at creating an instance, which may be seen before it is whole.
func (s *Server) Creating(ctx context.Context, name string) (bool, error) {
	return s.underWay(ctx, name, creating)
}

// Stopping reports whether the daemon is at stopping an instance, be it cleanly or by force, which it finds Running until that is done.
func (s *Server) Stopping(ctx context.Context, name string) (bool, error) {
	return s.underWay(ctx, name, stopping)
}

func (s *Server) underWay(ctx context.Context, name, description string) (bool, error) {
	return look(ctx, s, fmt.Sprintf("look at what is done to instance %q", name), func(ctx context.Context) (bool, error) {
		operations, err := s.client(ctx).GetOperations()
		return slices.ContainsFunc(operations, func(op api.Operation) bool {
			return op.Description == description && op.StatusCode == api.Running &&
				slices.ContainsFunc(op.Resources["instances"], func(resource string) bool {
					address, err := url.Parse(resource) // "/1.0/instances/NAME", or with "?project=PROJECT"
					return err == nil && path.Base(address.Path) == name
				})
		}), err
	})
}

// HasSnapshots reports whether an instance has any.
func (s *Server) HasSnapshots(ctx context.Context, name string) (bool, error) {
	return look(ctx, s, fmt.Sprintf("look at the snapshots of instance %q", name), func(ctx context.Context) (bool, error) {
		names, err := s.client(ctx).GetInstanceSnapshotNames(name)
		return len(names) > 0, s.instanceError(name, err)
	})
}

func (s *Server) absent(name string) error {
	return absentError(fmt.Sprintf("no instance %q on %s: correct the name, or make it with incus.instance", name, s))
}

// absentError is host.ErrAbsent of one instance.
type absentError string

func (e absentError) Error() string { return string(e) }
func (e absentError) Unwrap() error { return host.ErrAbsent }

// instanceError makes a 404 host.ErrAbsent.
func (s *Server) instanceError(name string, err error) error {
	if api.StatusErrorCheck(err, http.StatusNotFound) {
		return s.absent(name)
	}
	return err
}

// Address is one of an instance's network addresses.
type Address struct {
	Interface string // the name inside the instance: "eth0"
	Family    string // "inet" or "inet6"
	Address   string
	Netmask   string // the length of the prefix: "24"
	Scope     string // "global", "link" or "local"
}

// Addresses lists an instance's addresses, by interface, IPv4 first. A stopped one has none. The
// daemon has to enter the instance for them: this takes it some ten milliseconds.
func (s *Server) Addresses(ctx context.Context, name string) ([]Address, error) {
	state, err := look(ctx, s, fmt.Sprintf("look at the addresses of instance %q", name), func(ctx context.Context) (*api.InstanceState, error) {
		state, _, err := s.client(ctx).GetInstanceState(name)
		return state, s.instanceError(name, err)
	})
	if err != nil {
		return nil, err
	}
	var list []Address
	for iface, network := range state.Network {
		for _, a := range network.Addresses {
			list = append(list, Address{iface, a.Family, a.Address, a.Netmask, a.Scope})
		}
	}
	slices.SortFunc(list, func(a, b Address) int {
		return strings.Compare(a.Interface+" "+a.Family+" "+a.Address, b.Interface+" "+b.Family+" "+b.Address)
	})
	return list, nil
}
