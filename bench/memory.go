package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memory measures the most memory that pgrun has over the whole fleet, and an agent while it looks and while it writes
// a large file.
func memory(ctx context.Context, b *bench) ([]line, error) {
	if err := b.wholeFleetReady(ctx); err != nil {
		return nil, err
	}
	if err := b.bigFile(); err != nil {
		return nil, err
	}
	var ours, agents []float64
	for range b.runs {
		pgrun, looking, err := watched(b.onFleet(ctx, wholeFleet, b.playbook("fleet.star"), "--forks", strconv.Itoa(wholeFleet)))
		if err != nil {
			return nil, err
		}
		if err := b.removed(ctx, bigCopy); err != nil {
			return nil, err
		}
		_, writing, err := watched(b.onFleet(ctx, 1, b.playbook("copy_file.star")))
		if err != nil {
			return nil, err
		}
		if looking == 0 || writing == 0 {
			return nil, errors.New("no agent was seen in a container of the fleet")
		}
		ours, agents = append(ours, pgrun), append(agents, max(looking, writing))
	}
	return []line{
		{Work: "memory of pgrun over 32 hosts", Ours: figureOf("MB", "pgrun fleet.star --forks 32", ours), Target: target{absoluteAtMost, 100}},
		{Work: "memory of an agent", Ours: figureOf("MB", "pgrun fleet.star; pgrun copy_file.star", agents), Target: target{absoluteAtMost, 20}},
	}, b.removed(ctx, bigCopy)
}

// watched runs pgrun, and tells the most memory in MB that it had, and the most that an agent in a container of the
// fleet had meanwhile. Both are read from /proc, every now and then: what wait4(2) says of a child counts what its
// parent had when the child was started.
func watched(c *exec.Cmd) (pgrun, agent float64, err error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		return 0, 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for {
		pgrun, agent = max(pgrun, mostMemory(c.Process.Pid)), max(agent, biggestAgent())
		select {
		case err := <-ended:
			if err != nil {
				err = fmt.Errorf("%s: %w\n%s", filepath.Base(c.Path), err, tail(out.String()))
			}
			return pgrun, agent, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// biggestAgent is the most memory in MB that an agent has had that runs now. The containers' processes are in this
// machine's /proc, too.
func biggestAgent() (most float64) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		dir := filepath.Dir(path)
		argv, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(argv), "/pgrun/agent-") {
			continue
		}
		if group, err := os.ReadFile(dir + "/cgroup"); err != nil || !strings.Contains(string(group), prefix) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			most = max(most, mostMemory(pid))
		}
	}
	return most
}

// mostMemory is the most memory in MB that a process has had; 0 where it has ended.
func mostMemory(pid int) float64 {
	kB, err := strconv.ParseFloat(strings.TrimSuffix(valueOf(fmt.Sprintf("/proc/%d/status", pid), "VmHWM", ":"), " kB"), 64)
	if err != nil {
		return 0
	}
	return kB * 1024 / 1e6
}
