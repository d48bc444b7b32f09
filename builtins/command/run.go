package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/outcome"
)

type params struct {
	Argv    builtin.Argv      `star:"argv,required" doc:"The program and its arguments. For pipes and the like, [\"sh\", \"-c\", \"...\"]."`
	Stdin   builtin.Text      `star:"stdin" doc:"What the command reads; the way to give it a secret."`
	User    string            `star:"user" doc:"User to run as, with its groups and home; root if left out."`
	Dir     string            `star:"dir" doc:"Absolute path of the working directory; the user's home if left out."`
	Env     builtin.StringMap `star:"env" doc:"Environment variables. Every process of the user can read them: no secrets."`
	Reads   bool              `star:"reads" doc:"The author's promise that the command changes nothing: it runs in a dry run, too, and never counts as a change."`
	Creates string            `star:"creates" doc:"Absolute path that the command makes: where it exists, the command is not needed."`
	Unless  builtin.Argv      `star:"unless" doc:"A command that only reads: where it ends with 0, this one is not needed. Where its program is not there, this one is needed. It runs in a dry run, too, with the same user, dir, env and timeout."`
	Timeout time.Duration     `star:"timeout" doc:"How long it may take; past it the command is killed and the task ends with exit code 2. If left out, a command that only reads has one minute, any other has no limit."`
	RC      builtin.Ints      `star:"rc" doc:"Exit codes that are no failure; [0] if left out."`
}

// result is what a command leaves behind.
type result struct {
	RC     int    `star:"rc" doc:"Exit code, or 128 + the signal that ended it. 0 if the command was not needed."`
	Stdout string `star:"stdout" doc:"Its output without the newlines at the end; of more than 1 MiB, the beginning and the end."`
	Stderr string `star:"stderr" doc:"Its errors, likewise."`
}

func check(ctx context.Context, r host.Reader, p params) (*builtin.Change, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	if p.Reads {
		return p.look(ctx, r)
	}
	if needed, err := p.needed(ctx, r); err != nil || !needed {
		return &builtin.Change{Learned: &result{}}, err
	}
	c := &builtin.Change{Summary: []string{p.summary()}}
	c.Apply = func(ctx context.Context, h host.Host) error {
		learned, err := p.run(ctx, h.Run)
		if err != nil {
			return err
		}
		c.Learned = learned
		return p.created(ctx, h)
	}
	return c, nil
}

func (p params) validate() error {
	for _, x := range []struct{ name, path string }{{"dir", p.Dir}, {"creates", p.Creates}} {
		if x.path != "" && !path.IsAbs(x.path) {
			return fmt.Errorf("%s %q is not an absolute path: begin it with /", x.name, x.path)
		}
	}
	switch {
	case p.Reads && p.Creates != "":
		return errors.New("reads and creates are both given: a command that only reads creates nothing")
	case p.Reads && p.Unless != nil:
		return errors.New("reads and unless are both given: a command that only reads is run each time")
	case p.RC != nil && len(p.RC) == 0:
		return errors.New("rc is an empty list: name the exit codes that are no failure, or leave it out for [0]")
	}
	return nil
}

func (p params) command(argv builtin.Argv) host.Command {
	return host.Command{Argv: argv, User: p.User, Dir: p.Dir, Env: p.Env, Reads: true}
}

// look runs a command that only reads. Where it fails in a dry run because of what is pending, nothing is
// learned, and a script that asks what was ends as undetermined.
func (p params) look(ctx context.Context, r host.Reader) (*builtin.Change, error) {
	learned, err := p.run(ctx, r.Look)
	if _, pending := builtin.DryRun(ctx); pending && host.Missing(err) {
		return &builtin.Change{}, nil
	}
	return &builtin.Change{Learned: learned}, err
}

// needed reports whether neither creates nor unless says that the command is not.
func (p params) needed(ctx context.Context, r host.Reader) (bool, error) {
	if p.Creates != "" {
		_, err := r.Stat(ctx, p.Creates)
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	if p.Unless != nil {
		needed, err := p.unless(ctx, r)
		if err != nil {
			return false, fmt.Errorf("unless: %w", err)
		}
		return needed, nil
	}
	if dry, _ := builtin.DryRun(ctx); dry {
		_, err := r.Stat(ctx, "/") // a run would find out that the host is not there
		return true, err
	}
	return true, nil
}

// unless reports whether the command that tells does not say that this one is not needed. That its program is not
// there says so, too: it may be what this command brings. One that was killed has said nothing.
func (p params) unless(ctx context.Context, r host.Reader) (bool, error) {
	c := p.command(p.Unless)
	out, err := p.within(ctx, lookLimit, c, r.Look)
	if errors.As(err, new(*host.NotFound)) {
		return true, nil
	}
	if err == nil && out.RC > 128 && out.RC < 128+65 {
		return false, fmt.Errorf("%s was killed by signal %d (exit code %d), so that it did not tell", short(p.Unless), out.RC-128, out.RC)
	}
	return out.RC != 0, err
}

// lookLimit bounds a command that only reads where no timeout is given: one that hangs is not to hang the run.
const lookLimit = time.Minute

// within runs a command within the timeout, or where none is given, within a default: 0 is no limit.
func (p params) within(ctx context.Context, limit time.Duration, c host.Command, with func(context.Context, host.Command) (host.Output, error)) (host.Output, error) {
	if p.Timeout > 0 {
		limit = p.Timeout
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errTimeout)
		defer cancel()
	}
	out, err := with(ctx, c)
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		if p.Timeout == 0 {
			return out, fmt.Errorf("the command %s has not ended after %s, the limit of one that only reads: give it a timeout", short(c.Argv), limit)
		}
		err = &outcome.Deadline{What: "the command " + short(c.Argv) + " has ended", After: limit}
	}
	return out, err
}

// run runs the command and judges its exit code.
func (p params) run(ctx context.Context, with func(context.Context, host.Command) (host.Output, error)) (*result, error) {
	c := p.command(p.Argv)
	c.Stdin = []byte(p.Stdin.Reveal())
	c.Reads = p.Reads
	var limit time.Duration
	if p.Reads {
		limit = lookLimit
	}
	out, err := p.within(ctx, limit, c, with)
	if err != nil {
		return nil, err
	}
	ok := p.RC
	if ok == nil {
		ok = builtin.Ints{0}
	}
	if !slices.Contains(ok, out.RC) {
		return nil, &host.Failed{Command: c.String(), Output: out}
	}
	return &result{out.RC, strings.TrimRight(out.Stdout, "\n"), strings.TrimRight(out.Stderr, "\n")}, nil
}

// errTimeout tells a command's own timeout from a deadline around it.
var errTimeout = errors.New("the command's timeout")

// created fails where the command did not make what it was to: it would run each time.
func (p params) created(ctx context.Context, r host.Reader) error {
	if p.Creates == "" {
		return nil
	}
	_, err := r.Stat(ctx, p.Creates)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s ended well, but did not make what creates names: %s", short(p.Argv), p.Creates)
	}
	return err
}

func (p params) summary() string {
	s := "run " + short(p.Argv)
	if p.User != "" {
		s += " as " + p.User
	}
	return s
}

// short is a command on one line that is not too long.
func short(argv builtin.Argv) string {
	const most = 200
	s := []rune(strings.Join(strings.Fields(host.Command{Argv: argv}.String()), " "))
	if len(s) > most {
		return string(s[:most]) + " ..."
	}
	return string(s)
}
