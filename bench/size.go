package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/pgrun/pgrun/runtime/agent/bin"
)

// sizes tells how large the programs are. The agent is that of this machine's architecture, as it is pushed.
func sizes(_ context.Context, b *bench) ([]line, error) {
	info, err := os.Stat(b.pgrun)
	if err != nil {
		return nil, err
	}
	agent, err := bin.For(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	program, err := agent.Program()
	if err != nil {
		return nil, fmt.Errorf("unpack the agent: %w", err)
	}
	return []line{
		{Work: "size of pgrun", Ours: constant("MB", "stat bin/pgrun", megabytes(info.Size())), Target: target{absoluteAtMost, 30}},
		{Work: "size of the agent", Ours: constant("MB", "", megabytes(int64(len(program)))), Target: target{absoluteAtMost, 4}},
	}, nil
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }
