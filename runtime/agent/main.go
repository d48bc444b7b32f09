package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/pgrun/pgrun/runtime/collect"
)

// Argument is the first argument of an agent: it tells pgrun that it is one. The small agent takes the
// same arguments.
const Argument = "agent"

// Argv is the command that starts the agent in file.
func Argv(file string, readOnly bool) []string {
	if readOnly {
		return []string{file, Argument, "--read-only"}
	}
	return []string{file, Argument}
}

// memoryBeforeCollection is more than an agent needs for some hundreds of looks.
const memoryBeforeCollection = 12 << 20

// Main is the whole of the small agent, and of pgrun when its first argument is Argument. args are
// those after the program's name. It returns the exit code.
func Main(args []string) int {
	collect.After(memoryBeforeCollection)
	o := Options{RunDir: RunDir()}
	for i, a := range args {
		switch {
		case i == 0 && a == Argument:
		case a == "--read-only":
			o.ReadOnly = true
		default:
			fmt.Fprintf(os.Stderr, "pgrun agent: unknown argument %q\n", a)
			return 3
		}
	}
	// A client that has gone shows as SIGPIPE on a pipe; caught, it is an error of the write.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() { cancel(signalled{(<-signals).(syscall.Signal)}) }()
	err := Serve(ctx, os.Stdin, os.Stdout, o)
	if by, ok := errors.AsType[signalled](context.Cause(ctx)); ok {
		return 128 + int(by.Signal) // as if it had not been caught: it tells the client that the machine goes down
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "pgrun agent: %v\n", err)
		return 1
	}
	return 0
}

// signalled is why an agent ends that got a signal.
type signalled struct{ syscall.Signal }

func (s signalled) Error() string { return "ended by signal: " + s.String() }
