package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// wholeFleet is how many containers there are at most.
const wholeFleet = 32

// fleet measures how a run that finds nothing to do grows with the number of hosts.
func fleet(ctx context.Context, b *bench) ([]line, error) {
	if err := b.wholeFleetReady(ctx); err != nil {
		return nil, err
	}
	counts := []int{1, 4, 16, wholeFleet}
	var sides []side
	for _, n := range counts {
		sides = append(sides, b.fleetRun(n, "--forks", strconv.Itoa(wholeFleet)))
	}
	sides = append(sides, b.fleetRun(wholeFleet), entering(wholeFleet))
	f, err := turns(ctx, b.warm, b.runs, sides...)
	if err != nil {
		return nil, err
	}
	var lines []line
	for i, n := range counts[1:] {
		lines = append(lines, line{
			Work: fmt.Sprintf("no-op of 20 tasks on %d hosts", n), Ours: f[i+1], Against: "on 1 host", Theirs: &f[0],
			Target: target{ratioAtMost, float64(n)},
		})
	}
	return append(lines,
		line{Work: "32 hosts, --forks 32", Ours: f[3], Against: entered, Theirs: &f[5], Target: target{absoluteAtMost, 1.5}},
		line{Work: "32 hosts, as many at once as by default", Ours: f[4], Against: entered, Theirs: &f[5], Target: target{absoluteAtMost, 1.5}},
	), nil
}

const entered = "incus exec NAME -- true, on all at once"

// entering is the least that it takes to look at anything on so many hosts: a process in each.
func entering(hosts int) side {
	return side{unit: "s", command: entered, run: timed(func(ctx context.Context) error {
		all, ctx := errgroup.WithContext(ctx)
		for n := range hosts {
			all.Go(func() error { return done(incusCommand(ctx, "exec", "-T", fleetName(n+1), "--", "true"), "") })
		}
		return all.Wait()
	})}
}

// wholeFleetReady has all containers up, and so as the playbook wants them.
func (b *bench) wholeFleetReady(ctx context.Context) error {
	if err := b.fleetOf(ctx, wholeFleet); err != nil {
		return fmt.Errorf("make the fleet: %w", err)
	}
	_, err := output(b.onFleet(ctx, wholeFleet, b.playbook("fleet.star")))
	return err
}

// fleetRun is a run on a part of the fleet that finds nothing to do.
func (b *bench) fleetRun(hosts int, args ...string) side {
	args = append([]string{b.playbook("fleet.star")}, args...)
	shown := fmt.Sprintf("PGRUN_BENCH_HOSTS=%d pgrun fleet.star %s", hosts, strings.Join(args[1:], " "))
	return side{unit: "s", command: strings.TrimSpace(shown), run: timed(func(ctx context.Context) error {
		out, err := output(b.onFleet(ctx, hosts, args...))
		if err == nil && changed.MatchString(out) {
			err = errors.New("it changed something:\n" + tail(out))
		}
		return err
	})}
}
