package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/incus"
)

// What the lab makes (lab.star), and the names of all that is made here.
const (
	image      = "pgrun/debian-13"
	labProfile = "pgrun-lab"
	prefix     = "pgrun-bench-"
	ownProfile = "pgrun-bench" // carries the mark
)

// profiles are those of all containers that are made here.
var profiles = []string{labProfile, ownProfile}

// written is what is written by hand and run: the floor, the first run, the Ansible role and the playbooks.
//
//go:embed floor first ansible playbooks
var written embed.FS

// bench is what rows measure with.
type bench struct {
	pgrun   string // the program, an absolute path
	warm    int    // runs that do not count
	runs    int    // those that do
	keep    bool
	stopped bool   // the lab's formation is
	work    string // a directory of our own, with what is written in it
	server  *incus.Server
}

func newBench(ctx context.Context, pgrun string, warm, runs int, keep bool) (*bench, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("no root, which Incus wants: run it with sudo")
	}
	b := &bench{warm: warm, runs: runs, keep: keep}
	var err error
	if b.pgrun, err = filepath.Abs(pgrun); err == nil {
		_, err = os.Stat(b.pgrun)
	}
	if err != nil {
		return nil, fmt.Errorf("no program to measure: make build, or -pgrun: %w", err)
	}
	if b.server, err = incus.Connect(ctx, incus.Remote{}); err != nil {
		return nil, fmt.Errorf("no lab (make lab): %w", err)
	}
	if _, err := b.server.Image(ctx, image); err != nil {
		return nil, fmt.Errorf("no lab (make lab): %w", err)
	}
	if !keep {
		if err := b.sweep(ctx); err != nil {
			return nil, err
		}
	}
	if err := b.makeProfile(ctx); err != nil {
		return nil, err
	}
	if b.work, err = os.MkdirTemp("", "pgrun-bench-"); err != nil {
		return nil, err
	}
	if err := os.CopyFS(b.work, written); err != nil {
		return nil, fmt.Errorf("write the scripts and playbooks to %s: %w", b.work, err)
	}
	return b, nil
}

func (b *bench) makeProfile(ctx context.Context) error {
	marked := incus.Settings{Config: map[string]string{"user.pgrun.test": "true"}}
	_, err := b.server.Profile(ctx, ownProfile)
	if errors.Is(err, fs.ErrNotExist) {
		return b.server.CreateProfile(ctx, ownProfile, marked)
	}
	if err != nil {
		return err
	}
	return b.server.UpdateProfile(ctx, ownProfile, marked)
}

// close removes what was made, whether or not the run was cut off.
func (b *bench) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	err := os.RemoveAll(b.work)
	if !b.keep {
		err = errors.Join(err, b.sweep(ctx))
	}
	if b.stopped {
		err = errors.Join(err, b.wantFormation(ctx, up))
	}
	b.server.Close()
	return err
}

// sweep removes all containers that are ours, and the profile.
func (b *bench) sweep(ctx context.Context) error {
	if err := b.remove(ctx, func(string) bool { return true }); err != nil {
		return err
	}
	return b.server.DeleteProfile(ctx, ownProfile)
}

// remove deletes those of our containers whose names are chosen.
func (b *bench) remove(ctx context.Context, chosen func(name string) bool) error {
	all, err := b.server.Instances(ctx)
	if err != nil {
		return err
	}
	for _, i := range all {
		if !strings.HasPrefix(i.Name, prefix) || !chosen(i.Name) {
			continue
		}
		if i.ExpandedConfig["user.pgrun.test"] == "" {
			return fmt.Errorf("the instance %s has a name of the bench and not its mark user.pgrun.test: rename or delete it", i.Name)
		}
		if err := b.server.DeleteInstance(ctx, i.Name, true); err != nil {
			return err
		}
	}
	return nil
}

// containers makes those of the names that are not there, and starts all.
func (b *bench) containers(ctx context.Context, config map[string]string, names ...string) error {
	all, err := b.server.Instances(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if slices.ContainsFunc(all, func(i incus.Instance) bool { return i.Name == name }) {
			err = b.server.Start(ctx, name)
		} else {
			err = b.server.CreateInstance(ctx, incus.InstanceSpec{
				Name: name, Image: image, Start: true,
				Settings: incus.Settings{Profiles: profiles, Config: config},
			})
		}
		if err != nil {
			return err
		}
	}
	for _, name := range names {
		if _, err := b.server.WaitAddress(ctx, name, "eth0", "inet"); err != nil {
			return fmt.Errorf("wait for an address of %s: %w", name, err)
		}
	}
	return nil
}

// fleetName is the name of a container of the fleet.
func fleetName(n int) string { return fmt.Sprintf("%s%02d", prefix, n) }

// fleetOf has the containers of the fleet up.
func (b *bench) fleetOf(ctx context.Context, n int) error {
	names := make([]string, n)
	for i := range names {
		names[i] = fleetName(i + 1)
	}
	return b.containers(ctx, map[string]string{"limits.memory": "256MiB", "limits.processes": "200"}, names...)
}

// playbook is the path of a playbook that is written here.
func (b *bench) playbook(name string) string { return filepath.Join(b.work, "playbooks", name) }

// onFleet runs pgrun on a part of the fleet.
func (b *bench) onFleet(ctx context.Context, hosts int, args ...string) *exec.Cmd {
	c := command(ctx, b.pgrun, args...)
	c.Env = append(os.Environ(), fmt.Sprintf("PGRUN_BENCH_HOSTS=%d", hosts))
	return c
}

// command is a program that is asked to end before it is killed.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = time.Minute
	return c
}

// output runs a command to its end, and returns what it printed.
func output(c *exec.Cmd) (string, error) {
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", filepath.Base(c.Path), err, tail(out.String()+errs.String()))
	}
	return out.String(), nil
}

// done is output for what is measured: what it printed must have a text in it.
func done(c *exec.Cmd, want string) error {
	out, err := output(c)
	if err == nil && !strings.Contains(out, want) {
		err = fmt.Errorf("%s: no %q in what it printed:\n%s", filepath.Base(c.Path), want, tail(out))
	}
	return err
}

// tail is the end of an output, which tells why something failed.
func tail(out string) string {
	const most = 30_000 // all of a run of Ansible
	return out[max(0, len(out)-most):]
}

// incusCommand is the command line of Incus.
func incusCommand(ctx context.Context, args ...string) *exec.Cmd {
	return command(ctx, "incus", args...)
}
