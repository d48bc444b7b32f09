// Command pgrun runs playbooks written in Starlark.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/pgrun/pgrun/runtime/agent"
	"github.com/pgrun/pgrun/runtime/collect"
	"github.com/pgrun/pgrun/runtime/outcome"
	"github.com/pgrun/pgrun/runtime/run"
	"github.com/pgrun/pgrun/runtime/secret"
)

// memoryBeforeCollection is more than most runs need. Those that find nothing to do are a fifth quicker without garbage collection.
const memoryBeforeCollection = 64 << 20

func main() {
	// pgrun pushed to a machine is its own agent there.
	if len(os.Args) > 1 && os.Args[1] == agent.Argument {
		os.Exit(agent.Main(os.Args[1:]))
	}
	collect.After(memoryBeforeCollection)
	// A closed pipe is an error of the write, not the end of the run: pgrun x.star | head still cleans up.
	// Caught, not ignored: what pgrun starts would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(int(execute(os.Args)))
}

// execute runs the command line and returns the exit code.
func execute(argv []string) (code outcome.Code) {
	mask := secret.NewMask()
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintln(os.Stderr, mask.Hide(fmt.Sprintf("pgrun: internal error, please report it: %v\n%s", p, debug.Stack())))
			code = outcome.Failed
		}
	}()
	out := &output{}
	app := newApp(&code, mask)
	app.Writer = out
	argv, err := arrange(app, argv)
	if err == nil {
		err = app.Run(argv)
	}
	if out.lost != nil {
		fmt.Fprintf(os.Stderr, "pgrun: cannot write to the standard output: %v\n", out.lost)
		code = outcome.Worse(code, outcome.Failed)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "pgrun: %s\n", strings.TrimSpace(mask.Hide(outcome.Explain(err))))
		var interrupted *run.Interrupted
		if errors.As(err, &interrupted) {
			return interrupted.Code
		}
		var usage *usageError
		if errors.As(err, &usage) {
			fmt.Fprintln(os.Stderr, "pgrun --help lists the options.")
		}
		return outcome.CannotRun
	}
	return code
}

func newApp(code *outcome.Code, mask *secret.Mask) *cli.App {
	return &cli.App{
		Name:      "pgrun",
		Usage:     "run a playbook written in Starlark",
		UsageText: "pgrun [options] PLAYBOOK\npgrun [options] COMMAND",
		Description: "PLAYBOOK is a file; a bare name is looked for here, then in the project root's playbooks, then among those\n" +
			"that pgrun carries. Options stand before or after it. PLAYBOOK --help says what it is for.\n\n" +
			"Exit codes: 0 done, or already so; 1 a task failed; 2 a deadline of the playbook passed; 3 it cannot be loaded,\n" +
			"or it cannot run here.",
		Version:                   version(),
		HideVersion:               true,
		HideHelpCommand:           true,
		Flags:                     runFlags(),
		Action:                    runAction(code, mask),
		Commands:                  []*cli.Command{docsCommand(), versionCommand()},
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              func(_ *cli.Context, err error, _ bool) error { return &usageError{err.Error()} },
	}
}

// usageError is a mistake in the command line.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }
