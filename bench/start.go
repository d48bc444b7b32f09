package main

import (
	"context"
	"os/exec"
)

// processStart measures what is there before the first host is reached.
func processStart(ctx context.Context, b *bench) ([]line, error) {
	const runs = 20
	of := func(want string, args ...string) side {
		shown := "pgrun"
		for _, a := range args {
			shown += " " + a
		}
		return side{unit: "ms", command: shown, run: milliseconds(timed(func(ctx context.Context) error {
			return done(command(ctx, b.pgrun, args...), want)
		}))}
	}
	nothing, err := exec.LookPath("true")
	if err != nil {
		return nil, err
	}
	f, err := turns(ctx, b.warm, runs,
		of("", "version"), of("", "--syntax-check", noopPlaybook), of("Proof", "--list-tasks", noopPlaybook),
		side{unit: "ms", command: "true", run: milliseconds(timed(func(ctx context.Context) error { return done(command(ctx, nothing), "") }))},
	)
	if err != nil {
		return nil, err
	}
	const against = "a process that does nothing"
	return []line{
		{Work: "pgrun version", Ours: f[0], Against: against, Theirs: &f[3], Target: target{absoluteAtMost, 20}},
		{Work: "pgrun --syntax-check postgres_ha.star", Ours: f[1], Against: against, Theirs: &f[3], Target: target{absoluteAtMost, 50}},
		{Work: "pgrun --list-tasks postgres_ha.star", Ours: f[2], Against: against, Theirs: &f[3], Target: target{absoluteAtMost, 50}},
	}, nil
}
