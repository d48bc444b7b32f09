package incus

import (
	"context"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
)

type profileParams struct {
	nameParams
	settingsParams
	devicesParams
}

func lookProfile(ctx context.Context, r host.Reader, name string) (*incus.Server, thing, error) {
	s, _, err := daemon(ctx, r)
	if err != nil {
		return nil, thing{}, err
	}
	have, err := s.Profile(ctx, name)
	t, err := found("profile", name, have.Settings, err)
	return s, t, err
}

func checkProfile(ctx context.Context, r host.Reader, p profileParams) (*builtin.Change, error) {
	want, err := p.settings()
	if err != nil {
		return nil, err
	}
	want.Devices = p.devices()
	s, t, err := lookProfile(ctx, r, p.Name)
	if err != nil {
		return nil, err
	}
	if !t.exists {
		return t.planCreate("", want, func(ctx context.Context, want incus.Settings) error {
			return s.CreateProfile(ctx, p.Name, want)
		}), nil
	}
	return t.planUpdate(want.Differences(t.have), func(ctx context.Context) error {
		return s.UpdateProfile(ctx, p.Name, want)
	}), nil
}

func checkProfileAbsent(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	s, t, err := lookProfile(ctx, r, p.Name)
	if err != nil {
		return nil, err
	}
	return t.planAbsent(func(ctx context.Context) error { return s.DeleteProfile(ctx, p.Name) }), nil
}

func profileInfo(ctx context.Context, r host.Reader, p nameParams) (settingsInfo, error) {
	_, t, err := lookProfile(ctx, r, p.Name)
	return t.info(), err
}
