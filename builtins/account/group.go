package account

import (
	"context"
	"fmt"
	"strconv"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type groupParams struct {
	Name   string                `star:"name,required" doc:"Its name."`
	GID    builtin.Optional[int] `star:"gid" doc:"Its number. Files of a group whose number changes keep the old one."`
	System bool                  `star:"system" doc:"Whether a new group gets a number from the system's range."`
}

func checkGroup(ctx context.Context, r host.Reader, p groupParams) (*builtin.Change, error) {
	if err := checkName("name", p.Name); err != nil {
		return nil, err
	}
	if err := checkNumber("gid", p.GID); err != nil {
		return nil, err
	}
	found, err := findGroups(ctx, r, p.Name)
	if err != nil {
		return nil, err
	}
	g, exists := found[p.Name]
	switch {
	case !exists:
		argv := []string{"groupadd"}
		summary := "create group " + p.Name
		if p.System {
			argv = append(argv, "--system")
			summary = "create system group " + p.Name
		}
		if p.GID.Set {
			argv = append(argv, "--gid", strconv.Itoa(p.GID.Value))
			summary += fmt.Sprintf(" (gid %d)", p.GID.Value)
		}
		return &builtin.Change{Summary: []string{summary}, Apply: run(append(argv, p.Name))}, nil
	case p.GID.Set && p.GID.Value != g.gid:
		return &builtin.Change{
			Summary: []string{fmt.Sprintf("set gid %d of group %s (was %d)", p.GID.Value, p.Name, g.gid)},
			Diffs:   []builtin.Diff{{Path: "group " + p.Name, Before: fmt.Sprintf("gid %d\n", g.gid), After: fmt.Sprintf("gid %d\n", p.GID.Value)}},
			Apply:   run([]string{"groupmod", "--gid", strconv.Itoa(p.GID.Value), p.Name}),
		}, nil
	}
	return nil, nil
}

func checkGroupAbsent(ctx context.Context, r host.Reader, p nameParams) (*builtin.Change, error) {
	if err := checkName("name", p.Name); err != nil {
		return nil, err
	}
	found, err := findGroups(ctx, r, p.Name)
	if _, exists := found[p.Name]; err != nil || !exists {
		return nil, err
	}
	return &builtin.Change{Summary: []string{"remove group " + p.Name}, Apply: run([]string{"groupdel", p.Name})}, nil
}

// checkNumber refuses what can be no uid or gid. The largest two mean "no change" and "nobody" to the
// kernel.
func checkNumber(parameter string, n builtin.Optional[int]) error {
	if n.Set && (n.Value < 0 || n.Value > 1<<32-3) {
		return fmt.Errorf("%s %d is out of range: want 0 to %d", parameter, n.Value, 1<<32-3)
	}
	return nil
}

// run is an Apply that runs one command.
func run(argv []string) func(context.Context, host.Host) error {
	return func(ctx context.Context, h host.Host) error { return runWith(ctx, h, argv, "") }
}

// runWith runs a command that reads stdin.
func runWith(ctx context.Context, h host.Host, argv []string, stdin string) error {
	c := host.Command{Argv: argv, Stdin: []byte(stdin)}
	_, err := host.Succeeded(c)(h.Run(ctx, c))
	return err
}
