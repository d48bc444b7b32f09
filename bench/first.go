package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// firstNames begin the names of the formation that first runs make.
var firstNames = []string{prefix + "monitor", prefix + "a", prefix + "b"}

// firstRun compares a first run, from no containers to a healthy formation with the application's database, with the
// same steps as a script. Most of it is the package manager's, and the mirror's.
func firstRun(ctx context.Context, b *bench) ([]line, error) {
	if !b.keep { // containers of other rows, idle, would take a part of a small machine
		if err := b.remove(ctx, func(string) bool { return true }); err != nil {
			return nil, err
		}
	}
	secrets := filepath.Join(b.work, "formation")
	afresh := func(ctx context.Context) error {
		if err := os.RemoveAll(secrets); err != nil {
			return err
		}
		if err := os.MkdirAll(secrets, 0o700); err != nil {
			return err
		}
		return b.remove(ctx, func(name string) bool {
			for _, n := range firstNames {
				if name == n {
					return true
				}
			}
			return false
		})
	}
	pgrun := side{unit: "s", command: "pgrun postgres_ha.star -i bench/playbooks/first.star", before: afresh, run: timed(func(ctx context.Context) error {
		return done(command(ctx, b.pgrun, noopPlaybook, "-i", b.playbook("first.star"), "-e", "directory="+secrets), "failed=0")
	})}
	script := side{unit: "s", command: "bash bench/first/first.sh", before: afresh, run: timed(func(ctx context.Context) error {
		args := append([]string{filepath.Join(b.work, "first/first.sh"), secrets, labNetwork(), image}, profiles...)
		return done(command(ctx, "bash", args...), "made\n")
	})}
	// Not warmed up: nothing of one run serves the next but what the mirror and the disk remember.
	f, err := turns(ctx, 0, min(b.runs, 3), pgrun, script)
	if err != nil {
		return nil, err
	}
	return []line{{
		Work: "first run from no containers", Ours: f[0],
		Against: "the same steps as a raw script (" + strings.TrimPrefix(f[1].Command, "bash bench/") + ")", Theirs: &f[1],
		Target: target{ratioAtMost, 1.05},
	}}, afresh(ctx)
}
