package incus

import (
	"context"
	"fmt"

	"github.com/lxc/incus/v6/shared/api"
)

// StoragePool is where instances and images have their disks.
type StoragePool struct {
	Name   string
	Driver string // "dir", "btrfs", "zfs", "lvm", ...
	Status string // "Created", "Pending", "Errored", ...
	Settings
}

// StoragePool returns a storage pool; one that does not exist is fs.ErrNotExist.
func (s *Server) StoragePool(ctx context.Context, name string) (StoragePool, error) {
	got, err := look(ctx, s, fmt.Sprintf("look at storage pool %q", name), func(ctx context.Context) (*api.StoragePool, error) {
		got, _, err := s.client(ctx).GetStoragePool(name)
		return got, err
	})
	if err != nil {
		return StoragePool{}, err
	}
	return StoragePool{got.Name, got.Driver, got.Status, Settings{Description: &got.Description, Config: got.Config}}, nil
}

// CreateStoragePool makes a storage pool with a driver: "dir" works everywhere.
func (s *Server) CreateStoragePool(ctx context.Context, name, driver string, want Settings) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	after := want.over(Settings{})
	err := s.client(ctx).CreateStoragePool(api.StoragePoolsPost{Name: name, Driver: driver, StoragePoolPut: api.StoragePoolPut{
		Description: text(after.Description), Config: after.Config,
	}})
	return s.explain(ctx, fmt.Sprintf("create storage pool %q", name), err)
}

// UpdateStoragePool puts settings over a storage pool's. Most keys can only be given when it is made.
func (s *Server) UpdateStoragePool(ctx context.Context, name string, want Settings) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	c := s.client(ctx)
	return s.explain(ctx, fmt.Sprintf("update storage pool %q", name), again(ctx, func() error {
		got, etag, err := c.GetStoragePool(name)
		if err != nil {
			return err
		}
		after := want.over(Settings{Description: &got.Description, Config: got.Config})
		put := got.Writable()
		put.Description, put.Config = text(after.Description), after.Config
		return c.UpdateStoragePool(name, put, etag)
	}))
}

// DeleteStoragePool deletes a storage pool that nothing uses. One that does not exist is fine.
func (s *Server) DeleteStoragePool(ctx context.Context, name string) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	return s.explain(ctx, fmt.Sprintf("delete storage pool %q", name), unlessAbsent(s.client(ctx).DeleteStoragePool(name)))
}
