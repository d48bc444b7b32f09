package apt

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type holdParams struct {
	Packages    builtin.Strings `star:"packages,required" doc:"Package names."`
	LockTimeout time.Duration   `star:"lock_timeout" doc:"How long to wait for another package manager to finish."`
}

func checkHold(ctx context.Context, r host.Reader, p holdParams) (*builtin.Change, error) {
	return checkMark(ctx, r, p, "hold", func(name string, e entry) (bool, error) {
		if !e.installed() {
			return false, host.NotThere("%s is not installed, so there is nothing to hold: call apt.install first", name)
		}
		return !e.held(), nil
	})
}

func checkUnhold(ctx context.Context, r host.Reader, p holdParams) (*builtin.Change, error) {
	return checkMark(ctx, r, p, "unhold", func(_ string, e entry) (bool, error) { return e.held(), nil })
}

// checkMark finds the packages that have to be marked.
func checkMark(ctx context.Context, r host.Reader, p holdParams, verb string, needed func(string, entry) (bool, error)) (*builtin.Change, error) {
	packages, err := plainNames(p.Packages)
	if err != nil {
		return nil, err
	}
	db, err := query(ctx, r, packages...)
	if err != nil {
		return nil, err
	}
	change := &builtin.Change{}
	var todo []string
	for _, name := range packages {
		e, _ := db.get(name)
		mark, err := needed(name, e)
		if err != nil {
			return nil, err
		}
		if mark {
			todo = append(todo, name)
			change.Summary = append(change.Summary, fmt.Sprintf("%s %s%s", verb, name, at(e)))
		}
	}
	if len(todo) == 0 {
		return nil, nil
	}
	change.Apply = func(ctx context.Context, h host.Host) error {
		ctx, cancel := context.WithTimeout(ctx, p.LockTimeout+time.Minute)
		defer cancel()
		g := &get{h, p.LockTimeout}
		_, err := g.run(ctx, verb+" "+some(todo, len(todo)), append([]string{"apt-mark", verb}, todo...)...)
		return err
	}
	return change, nil
}
