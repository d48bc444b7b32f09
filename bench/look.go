package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/agent"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/transport"
)

// The file that looks find already so, see playbooks/look.star.
const (
	lookedAt      = "/etc/pgrun-bench"
	lookedContent = "already so\n"
)

// looksARun is how many looks make one run, and pings; playbooks/look.star does as many.
const looksARun = 500

// oneLook measures a look on a connection that is open: what file.content does about a file that is already so, called
// from here and as a run reports it, beside a round trip to the agent and back.
func oneLook(ctx context.Context, b *bench) ([]line, error) {
	if err := b.fleetOf(ctx, 1); err != nil {
		return nil, err
	}
	name := fleetName(1)
	session := transport.NewSession(name, b.server.Transport(name), false)
	defer session.Close()
	mode := host.Attributes{Owner: "root", Group: "root"}
	if err := session.WriteFile(ctx, lookedAt, strings.NewReader(lookedContent), mode); err != nil {
		return nil, err
	}
	stream, err := b.server.Transport(name).Open(ctx, true)
	if err != nil {
		return nil, err
	}
	client, err := agent.NewClient(ctx, stream)
	if err != nil {
		return nil, err
	}
	defer client.Close()

	look := side{unit: "ms", command: "Session.Stat and ReadFile", run: average(func(ctx context.Context) error {
		if _, err := session.Stat(ctx, lookedAt); err != nil {
			return err
		}
		content, err := session.ReadFile(ctx, lookedAt)
		if err == nil && !bytes.Equal(content, []byte(lookedContent)) {
			err = fmt.Errorf("%s of %s has changed", lookedAt, name)
		}
		return err
	})}
	ping := side{unit: "ms", command: "Client.Ping", run: average(client.Ping)}
	run := side{unit: "ms", command: "pgrun look.star -v --output json", run: b.lookOfARun}
	f, err := turns(ctx, b.warm, b.runs, look, ping, run)
	if err != nil {
		return nil, err
	}
	return []line{
		{Work: "one look on a warm connection", Ours: f[0], Against: "a ping of the agent", Theirs: &f[1], Target: target{absoluteAtMost, 1}},
		{Work: "the same, file.content as a run reports it", Ours: f[2], Against: "a ping of the agent", Theirs: &f[1], Target: target{absoluteAtMost, 1}},
	}, nil
}

// average measures a function that takes little in milliseconds, over many calls.
func average(f func(ctx context.Context) error) func(ctx context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		start := time.Now()
		for range looksARun {
			if err := f(ctx); err != nil {
				return 0, err
			}
		}
		return time.Since(start).Seconds() * 1000 / looksARun, nil
	}
}

// lookOfARun is the mean time in milliseconds of the looks of a run.
func (b *bench) lookOfARun(ctx context.Context) (float64, error) {
	out, err := output(b.onFleet(ctx, 1, b.playbook("look.star"), "-v", "--output", "json"))
	if err != nil {
		return 0, err
	}
	var sum float64
	n := 0
	for text := range strings.Lines(out) {
		var event struct {
			Builtin string
			Status  string
			Seconds float64
		}
		if err := json.Unmarshal([]byte(text), &event); err != nil {
			return 0, fmt.Errorf("pgrun look.star: %w: %s", err, text)
		}
		if event.Builtin == "file.content" && event.Status == "ok" {
			sum += event.Seconds
			n++
		}
	}
	if n != looksARun {
		return 0, fmt.Errorf("pgrun look.star: %d looks found nothing to change, want %d", n, looksARun)
	}
	return sum * 1000 / float64(n), nil
}
