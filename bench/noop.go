package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sync/errgroup"
)

// The lab's formation, see playbooks/inventories/lab.star.
const (
	noopPlaybook = "postgres_ha.star"
	monitor      = "pgaf-monitor"
)

var dataNodes = []string{"pgaf-primary", "pgaf-replica"}

// formationDirectory is where the formation's authority and passwords are kept.
func formationDirectory() string {
	home := os.Getenv("HOME")
	if home == "" {
		home = "/root"
	}
	return filepath.Join(home, ".local/share/pgrun/lab")
}

// labNetwork is the first three numbers of the lab's addresses.
func labNetwork() string {
	if network := os.Getenv("PGRUN_LAB_NETWORK"); network != "" {
		return network
	}
	return "198.18.0"
}

// changed finds a host in a recap that has something changed or failed.
var changed = regexp.MustCompile(`(changed|unreachable|failed)=[1-9]`)

// wantFormation has the lab's formation as a row wants it.
func (b *bench) wantFormation(ctx context.Context, as formation) error {
	switch as {
	case asItIs:
		return nil
	case up:
		b.stopped = false
		return b.converge(ctx)
	}
	for _, name := range append(dataNodes, monitor) {
		// By force, which is too quick for a failover.
		switch err := b.server.Stop(ctx, name, true); {
		case err == nil:
			b.stopped = true
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// converge runs postgres_ha.star once, which starts what is stopped, so that the next run finds nothing to do: another
// version's may have been the last.
func (b *bench) converge(ctx context.Context) error {
	_, err := output(command(ctx, b.pgrun, noopPlaybook))
	return err
}

const workNoop = "no-op of postgres_ha.star, 3 containers"

// noop is a run of postgres_ha.star that finds nothing to do.
func (b *bench) noop() side {
	return side{unit: "s", command: "pgrun " + noopPlaybook, run: timed(func(ctx context.Context) error {
		out, err := output(command(ctx, b.pgrun, noopPlaybook))
		if err == nil && changed.MatchString(out) {
			err = errors.New("it changed something: is somebody at work on the formation?\n" + tail(out))
		}
		return err
	})}
}

// noopFloor compares a run that finds nothing to do with the same looks written by hand.
func noopFloor(ctx context.Context, b *bench) ([]line, error) {
	floor, err := b.floor()
	if err != nil {
		return nil, err
	}
	f, err := turns(ctx, b.warm, b.runs, b.noop(), floor)
	if err != nil {
		return nil, err
	}
	return []line{{
		Work: workNoop, Ours: f[0],
		Against: "its looks by hand, a shell script a container", Theirs: &f[1],
		Target: target{ratioAtMost, 1.2},
	}}, nil
}

// floor is the looks by hand: a script in each container and one here, all at once.
func (b *bench) floor() (side, error) {
	scripts := map[string]string{}
	for _, name := range []string{"operator", "machine", "monitor", "node"} {
		text, err := written.ReadFile("floor/" + name + ".sh")
		if err != nil {
			return side{}, err
		}
		scripts[name] = string(text)
	}
	look := func(ctx context.Context) error {
		all, ctx := errgroup.WithContext(ctx)
		all.Go(func() error {
			return done(command(ctx, "sh", "-c", scripts["operator"], "sh", formationDirectory()), "looked\n")
		})
		for i, name := range append([]string{monitor}, dataNodes...) {
			script := scripts["machine"] + scripts["node"]
			if name == monitor {
				script = scripts["machine"] + scripts["monitor"]
			}
			address := fmt.Sprintf("%s.%d", labNetwork(), 11+i)
			all.Go(func() error {
				return done(incusCommand(ctx, "exec", "-T", name, "--", "sh", "-c", script, "sh", address), "looked\n")
			})
		}
		return all.Wait()
	}
	return side{unit: "s", command: "incus exec NAME -- sh -c \"$(cat bench/floor/machine.sh bench/floor/{monitor,node}.sh)\"", run: timed(look)}, nil
}

// cutShort is what Ansible says where a module did not arrive whole through its connection plugin, as happens now and
// then: such a run does not count.
const cutShort = "Module result deserialization failed"

// noopAnsible compares it with the same as an Ansible role.
func noopAnsible(ctx context.Context, b *bench) ([]line, error) {
	if err := b.controlContainer(ctx); err != nil {
		return nil, fmt.Errorf("make the control container: %w", err)
	}
	once := timed(func(ctx context.Context) error {
		out, err := output(inControl(ctx, "ansible-playbook", "site.yml"))
		if err == nil && (changed.MatchString(out) || strings.Count(out, "changed=0") != 1+len(dataNodes)) {
			err = errors.New("it is no no-op:\n" + tail(out))
		}
		return err
	})
	ansible := side{unit: "s", command: "ansible-playbook site.yml", run: func(ctx context.Context) (took float64, err error) {
		for range 3 {
			if took, err = once(ctx); err == nil || !strings.Contains(err.Error(), cutShort) {
				break
			}
			fmt.Fprintf(os.Stderr, "  failed, and does not count: %s\n", cutShort)
		}
		return took, err
	}}
	f, err := turns(ctx, b.warm, min(b.runs, 3), b.noop(), ansible)
	err = errors.Join(err, b.tidyAfterAnsible(ctx))
	if err != nil {
		return nil, err
	}
	return []line{{
		Work: workNoop, Ours: f[0],
		Against: "the role as an Ansible playbook", Theirs: &f[1],
		Target: target{timesFaster, 80},
	}}, nil
}
