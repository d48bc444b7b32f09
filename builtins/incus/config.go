package incus

import (
	"context"
	"errors"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type configParams struct {
	Config builtin.StringMap `star:"config,required" doc:"Keys and values, such as {\"limits.memory\": \"2GiB\"}. A key that is not given stays as it is; an empty value unsets one."`
	which
}

func checkConfig(ctx context.Context, r host.Reader, p configParams) (*builtin.Change, error) {
	if len(p.Config) == 0 {
		return nil, errors.New("config: the dict is empty")
	}
	want, err := settingsParams{Config: p.Config}.settings()
	if err != nil {
		return nil, err
	}
	s, have, err := p.look(ctx, r)
	if err != nil {
		return nil, err
	}
	return thing{kind: "instance", name: have.Name}.planUpdate(have.Differences(want), func(ctx context.Context) error {
		return s.UpdateInstance(ctx, have.Name, want)
	}), nil
}
