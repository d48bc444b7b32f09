package apt

import (
	"context"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type packagesParams struct {
	Packages builtin.Strings `star:"packages,required" doc:"Package names."`
}

func installed(ctx context.Context, r host.Reader, p packagesParams) (map[string]*string, error) {
	packages, err := plainNames(p.Packages)
	if err != nil {
		return nil, err
	}
	db, err := query(ctx, r, packages...)
	if err != nil {
		return nil, err
	}
	found := map[string]*string{}
	for _, name := range packages {
		found[name] = nil
		if e, ok := db.get(name); ok && e.installed() {
			found[name] = &e.version
		}
	}
	return found, nil
}

type candidateParams struct {
	Package string `star:"package,required" doc:"Package name."`
	Release string `star:"default_release" doc:"The release to take it from, such as \"trixie-backports\"."`
}

func candidate(ctx context.Context, r host.Reader, p candidateParams) (*string, error) {
	packages, err := plainNames(builtin.Strings{p.Package})
	if err != nil {
		return nil, err
	}
	known, err := policies(ctx, r, p.Release, packages...)
	if err != nil {
		return nil, err
	}
	if version := known[packages[0]].candidate; version != "" {
		return &version, nil
	}
	return nil, nil
}
