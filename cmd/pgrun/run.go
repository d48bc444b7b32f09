package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/pgrun/pgrun/builtins"
	"github.com/pgrun/pgrun/playbooks"
	"github.com/pgrun/pgrun/runtime/load"
	"github.com/pgrun/pgrun/runtime/outcome"
	"github.com/pgrun/pgrun/runtime/reach"
	"github.com/pgrun/pgrun/runtime/report"
	"github.com/pgrun/pgrun/runtime/run"
	"github.com/pgrun/pgrun/runtime/secret"
	"github.com/pgrun/pgrun/runtime/vault"
	"github.com/pgrun/pgrun/stdlib"
)

func runFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "inventory", Aliases: []string{"i"}, Usage: "read the hosts from `FILE`, instead of the one the playbook names"},
		&cli.StringSliceFlag{Name: "extra-vars", Aliases: []string{"e"}, Usage: "set a param: `KEY=VALUE`, or @FILE of YAML or JSON; may be repeated"},
		&cli.StringFlag{Name: "limit", Aliases: []string{"l"}, Usage: "run on the hosts of this `PATTERN` only"},
		&cli.IntFlag{Name: "forks", Aliases: []string{"f"}, Value: 10, Usage: "run on `N` hosts at once"},
		&cli.BoolFlag{Name: "check", Aliases: []string{"C"}, Usage: "only say what would change"},
		&cli.BoolFlag{Name: "diff", Aliases: []string{"D"}, Usage: "show what changes in files and settings"},
		&cli.BoolFlag{Name: "fail-on-change", Usage: "with --check: exit code 1 where something would change"},
		&cli.BoolFlag{Name: "syntax-check", Usage: "only load the playbook and everything it loads"},
		&cli.BoolFlag{Name: "list-tasks", Usage: "only list the plays, their hosts and tasks"},
		&cli.BoolFlag{Name: "list-params", Usage: "only say what the playbook is for, and list the params that -e sets"},
		&cli.StringSliceFlag{Name: "tags", Aliases: []string{"t"}, Usage: "run only the tasks with one of these `TAGS`, separated by commas"},
		&cli.StringSliceFlag{Name: "skip-tags", Usage: "leave out the tasks with one of these `TAGS`"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "show the builtins that had nothing to change, too"},
		&cli.StringFlag{Name: "output", Value: "text", Usage: "`FORMAT` of the report: text, or json (an object a line)"},
		&cli.StringFlag{Name: "color", Value: "auto", Usage: "`WHEN` to use color: auto, always or never"},
		&cli.StringSliceFlag{Name: "vault-id", Usage: "a vault password: `[LABEL@]prompt|PATH`; may be repeated"},
		&cli.StringSliceFlag{Name: "vault-password-file", Usage: "read a vault password from `PATH`, or from the output of the program there"},
		&cli.BoolFlag{Name: "ask-vault-pass", Aliases: []string{"J"}, Usage: "ask for a vault password"},
	}
}

func runAction(code *outcome.Code, mask *secret.Mask) cli.ActionFunc {
	return func(c *cli.Context) error {
		switch {
		case c.NArg() == 0:
			return &usageError{"name a playbook: pgrun PLAYBOOK"}
		case c.NArg() > 1:
			return &usageError{fmt.Sprintf("one playbook at a time: %s is too much", strings.Join(c.Args().Slice()[1:], " "))}
		case c.String("output") != "text" && c.String("output") != "json":
			return &usageError{fmt.Sprintf("--output is text or json, not %q", c.String("output"))}
		case c.Int("forks") < 1:
			return &usageError{"--forks is at least 1"}
		case c.Bool("fail-on-change") && !c.Bool("check"):
			return &usageError{"--fail-on-change goes with --check"}
		}
		for _, name := range []string{"limit", "inventory", "tags", "skip-tags"} {
			if c.IsSet(name) && strings.Trim(strings.Join(append(c.StringSlice(name), c.String(name)), ""), "[] ,") == "" {
				return &usageError{"--" + name + " is empty: leave it out"} // as in --limit "$UNSET", which would run everywhere
			}
		}
		color, err := useColor(c.String("color"))
		if err != nil {
			return err
		}
		work, root := interruptible()
		ids, err := vault.NewIdentities(vault.Options{
			VaultIDs: c.StringSlice("vault-id"), PasswordFiles: c.StringSlice("vault-password-file"), Ask: c.Bool("ask-vault-pass"),
			Getenv: os.Getenv, Prompt: prompt, Stdin: os.Stdin, Stderr: os.Stderr, Learn: mask.Learn,
		})
		if err != nil {
			return err
		}
		playbook, err := load.Load(work, c.Args().First(), load.Options{
			Inventory: c.String("inventory"), Set: c.StringSlice("extra-vars"), AllowUnset: c.Bool("list-params"), Vault: ids, Mask: mask,
			Modules: builtins.Modules(), Stdlib: stdlib.FS, Playbooks: playbooks.FS,
			Print: func(message string) { fmt.Fprintln(os.Stderr, mask.Hide(message)) },
		})
		if err != nil {
			if cause := context.Cause(work); cause != nil {
				return cause
			}
			return err
		}
		if c.Bool("list-params") {
			fmt.Fprint(c.App.Writer, mask.Hide(listParams(playbook)))
			return nil
		}
		options := run.Options{
			Check: c.Bool("check"), FailOnChange: c.Bool("fail-on-change"), Limit: c.String("limit"), Forks: c.Int("forks"),
			Tags: words(c.StringSlice("tags")), SkipTags: words(c.StringSlice("skip-tags")), Mask: mask, Root: root,
		}
		plays, err := run.Plan(playbook, options)
		switch {
		case err != nil:
			return err
		case c.Bool("syntax-check"):
			return nil
		case c.Bool("list-tasks"):
			fmt.Fprint(c.App.Writer, mask.Hide(listTasks(plays)))
			return nil
		}
		hosts := reach.New(options.Check)
		defer hosts.Close()
		options.Hosts = hosts
		if c.String("output") == "json" {
			options.Sink = report.NewJSON(c.App.Writer)
		} else {
			text := report.TextOptions{Color: color, Diff: c.Bool("diff"), Verbose: c.Bool("verbose"), Check: options.Check}
			if out := int(os.Stdout.Fd()); term.IsTerminal(out) && os.Getenv("TERM") != "dumb" {
				text.Width = func() int { width, _, _ := term.GetSize(out); return width }
			}
			options.Sink = report.NewText(c.App.Writer, text)
		}
		*code = run.Run(work, playbook, plays, options)
		return nil
	}
}

// interruptible returns a context for the work, which the first signal cancels, and one for all, clean-ups
// included, which the second does. The third ends pgrun at once.
func interruptible() (work, root context.Context) {
	root, stopAll := context.WithCancelCause(context.Background())
	work, stopWork := context.WithCancelCause(root)
	signals := make(chan os.Signal, 2)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as nohup has it, and the shell of a job in the background
			signal.Notify(signals, s)
		}
	}
	go func() {
		for _, stop := range []context.CancelCauseFunc{stopWork, stopAll} {
			s := (<-signals).(syscall.Signal)
			stop(&run.Interrupted{Signal: signalName(s), Code: outcome.Code(128 + int(s))})
		}
		os.Exit(128 + int((<-signals).(syscall.Signal)))
	}()
	return work, root
}

func signalName(s syscall.Signal) string {
	switch s {
	case syscall.SIGINT:
		return "SIGINT"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	}
	return s.String()
}

func useColor(when string) (bool, error) {
	switch when {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(os.Stdout.Fd())), nil
	}
	return false, &usageError{fmt.Sprintf("--color is auto, always or never, not %q", when)}
}

// words splits values at commas.
func words(values []string) []string {
	var all []string
	for _, v := range values {
		for word := range strings.SplitSeq(v, ",") {
			if word = strings.TrimSpace(word); word != "" {
				all = append(all, word)
			}
		}
	}
	return all
}

// prompt asks on the terminal, without echo, until ctx is done.
func prompt(ctx context.Context, question string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("no terminal to ask on: %w", err)
	}
	defer tty.Close()
	state, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return nil, err
	}
	fmt.Fprint(tty, question)
	defer fmt.Fprintln(tty)
	type answer struct {
		password []byte
		err      error
	}
	answers := make(chan answer, 1) // a read of a terminal cannot be cut off: it is left behind
	go func() {
		password, err := term.ReadPassword(int(tty.Fd()))
		answers <- answer{password, err}
	}()
	select {
	case a := <-answers:
		return a.password, a.err
	case <-ctx.Done():
		_ = term.Restore(int(tty.Fd()), state)
		return nil, context.Cause(ctx)
	}
}
