package incus

import (
	"context"
	"fmt"
	"maps"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
)

type networkParams struct {
	nameParams
	settingsParams
	Type string `star:"type" doc:"\"bridge\", \"ovn\", \"physical\", ...; only for one that is made."`
}

func lookNetwork(ctx context.Context, r host.Reader, name string) (*incus.Server, incus.Network, thing, error) {
	s, _, err := daemon(ctx, r)
	if err != nil {
		return nil, incus.Network{}, thing{}, err
	}
	have, err := s.Network(ctx, name)
	t, err := found("network", name, have.Settings, err)
	return s, have, t, err
}

func checkNetwork(ctx context.Context, r host.Reader, p networkParams) (*builtin.Change, error) {
	want, err := p.settings()
	if err != nil {
		return nil, err
	}
	s, have, t, err := lookNetwork(ctx, r, p.Name)
	if err != nil {
		return nil, err
	}
	// Incus also lists the interfaces of the machine that it does not manage.
	if t.exists && !have.Managed {
		return nil, fmt.Errorf("name: %q is an interface of the machine that Incus does not manage: choose another name, or remove it (ip link delete)", p.Name)
	}
	if !t.exists {
		return t.planCreate("("+p.Type+")", want, func(ctx context.Context, want incus.Settings) error {
			return s.CreateNetwork(ctx, p.Name, p.Type, want)
		}), nil
	}
	want.Config = resolved(want.Config, have.Config)
	update := t.planUpdate(want.Differences(t.have), func(ctx context.Context) error {
		return s.UpdateNetwork(ctx, p.Name, want)
	})
	up, err := s.NetworkUp(ctx, p.Name)
	if err != nil || up || have.Type != "bridge" {
		return update, err
	}
	return builtin.Join(update, &builtin.Change{
		Summary: []string{fmt.Sprintf("bring up %s, whose interface is gone", t)},
		Apply:   func(ctx context.Context, _ host.Host) error { return s.RestartNetwork(ctx, p.Name) },
	}), nil
}

// resolved leaves out what Incus was told to choose by itself, and has chosen: it keeps its choice in the
// place of "auto".
func resolved(want, have map[string]string) map[string]string {
	want = maps.Clone(want)
	maps.DeleteFunc(want, func(key, value string) bool { return value == "auto" && have[key] != "" })
	return want
}

func checkNetworkRestarted(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	s, _, t, err := lookNetwork(ctx, r, p.Name)
	if err != nil {
		return nil, err
	}
	if !t.exists {
		return nil, host.NotThere("no network %q: make it with incus.network first", p.Name)
	}
	return &builtin.Change{
		Summary: []string{fmt.Sprintf("restart %s", t)},
		Apply:   func(ctx context.Context, _ host.Host) error { return s.RestartNetwork(ctx, p.Name) },
	}, nil
}

func checkNetworkAbsent(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	s, have, t, err := lookNetwork(ctx, r, p.Name)
	if err != nil || !have.Managed {
		return nil, err
	}
	return t.planAbsent(func(ctx context.Context) error { return s.DeleteNetwork(ctx, p.Name) }), nil
}

func networkInfo(ctx context.Context, r host.Reader, p nameParams) (settingsInfo, error) {
	_, have, t, err := lookNetwork(ctx, r, p.Name)
	if !have.Managed {
		return settingsInfo{}, err
	}
	return t.info(), err
}
