package incus

import (
	"context"
	"fmt"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
)

type poolParams struct {
	nameParams
	settingsParams
	Driver string `star:"driver" doc:"\"dir\", which works everywhere, \"btrfs\", \"zfs\", \"lvm\", ..."`
}

func lookPool(ctx context.Context, r host.Reader, name string) (*incus.Server, incus.StoragePool, thing, error) {
	s, _, err := daemon(ctx, r)
	if err != nil {
		return nil, incus.StoragePool{}, thing{}, err
	}
	have, err := s.StoragePool(ctx, name)
	t, err := found("storage pool", name, have.Settings, err)
	return s, have, t, err
}

func checkPool(ctx context.Context, r host.Reader, p poolParams) (*builtin.Change, error) {
	want, err := p.settings()
	if err != nil {
		return nil, err
	}
	s, have, t, err := lookPool(ctx, r, p.Name)
	if err != nil {
		return nil, err
	}
	if !t.exists {
		return t.planCreate("("+p.Driver+")", want, func(ctx context.Context, want incus.Settings) error {
			return s.CreateStoragePool(ctx, p.Name, p.Driver, want)
		}), nil
	}
	if have.Driver != p.Driver {
		return nil, fmt.Errorf("driver: storage pool %s has %q, which cannot be changed to %q", p.Name, have.Driver, p.Driver)
	}
	return t.planUpdate(want.Differences(t.have), func(ctx context.Context) error {
		return s.UpdateStoragePool(ctx, p.Name, want)
	}), nil
}

func checkPoolAbsent(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	s, _, t, err := lookPool(ctx, r, p.Name)
	if err != nil {
		return nil, err
	}
	return t.planAbsent(func(ctx context.Context) error { return s.DeleteStoragePool(ctx, p.Name) }), nil
}

func poolInfo(ctx context.Context, r host.Reader, p nameParams) (settingsInfo, error) {
	_, _, t, err := lookPool(ctx, r, p.Name)
	return t.info(), err
}
