package apt

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type removeParams struct {
	Packages    builtin.Strings `star:"packages,required" doc:"Package names."`
	Purge       bool            `star:"purge" doc:"Whether their configuration, and what data their own scripts delete, goes too."`
	Autoremove  bool            `star:"autoremove" doc:"Whether packages go along that were installed for a removed one only."`
	Timeout     time.Duration   `star:"timeout" doc:"The longest that the removal may take."`
	LockTimeout time.Duration   `star:"lock_timeout" doc:"How long to wait for another package manager to finish."`
}

func checkRemove(ctx context.Context, r host.Reader, p removeParams) (*builtin.Change, error) {
	packages, err := plainNames(p.Packages)
	if err != nil {
		return nil, err
	}
	db, err := query(ctx, r, packages...)
	if err != nil {
		return nil, err
	}
	dry, pending := builtin.DryRun(ctx)
	var todo, lines []string
	for _, name := range packages {
		e, _ := db.get(name)
		switch {
		case e.installed() && e.held() && !pending:
			return nil, fmt.Errorf("%s is held at %s: end that with apt.unhold first", name, e.version)
		case e.installed() && p.Purge:
			lines = append(lines, fmt.Sprintf("purge %s %s", name, e.version))
		case e.installed():
			lines = append(lines, fmt.Sprintf("remove %s %s", name, e.version))
		case e.state == "config-files" && p.Purge:
			lines = append(lines, fmt.Sprintf("purge the configuration of %s", name))
		default:
			continue
		}
		todo = append(todo, name)
	}
	if len(todo) == 0 {
		return nil, nil
	}
	all, err := query(ctx, r)
	if err != nil {
		return nil, err
	}
	broken, err := unfinished(ctx, r, all)
	if err != nil {
		return nil, err
	}
	args := []string{"remove"}
	if p.Purge {
		args = append(args, "--purge")
	}
	if p.Autoremove {
		args = append(args, "--autoremove")
	}
	args = append(args, todo...)
	if dry && len(broken) == 0 {
		l, err := lookAtLists(ctx, r)
		if err != nil {
			return nil, err
		}
		t, out, err := simulate(ctx, r, l, args...)
		if err != nil {
			return nil, explain(ctx, r, "", out, err)
		}
		lines = removals(lines, t, packages)
	}
	change := &builtin.Change{Summary: append(repairs(broken), lines...)}
	change.Apply = func(ctx context.Context, h host.Host) error {
		ctx, cancel := context.WithTimeout(ctx, p.Timeout)
		defer cancel()
		g := &get{h, p.LockTimeout}
		if len(broken) > 0 {
			if err := g.repair(ctx); err != nil {
				return err
			}
		}
		out, err := g.transact(ctx, "remove "+some(todo, len(todo)), args...)
		if err != nil {
			return explain(ctx, h, "", out, err)
		}
		change.Summary = append(repairs(broken), removals(lines, parseTransaction(out.Stdout), packages)...)
		return nil
	}
	return change, nil
}

// removals adds to what was asked for what else a transaction does: packages that go too, others that
// come in their place.
func removals(asked []string, t transaction, packages []string) []string {
	lines := append([]string(nil), asked...)
	asks := map[string]bool{}
	for _, p := range packages {
		asks[p] = true
	}
	others := transaction{installed: t.installed, upgraded: t.upgraded, downgraded: t.downgraded}
	for _, s := range t.removed {
		if !asks[s.name] {
			others.removed = append(others.removed, s)
		}
	}
	return append(lines, others.summary(nil)...)
}
