package agent

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
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

// Main is the whole of the small agent, and of pgrun when its first argument is Argument. args are
// those after the program's name. It returns the exit code.
func Main(args []string) int {
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
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	if err := Serve(ctx, os.Stdin, os.Stdout, o); err != nil {
		fmt.Fprintf(os.Stderr, "pgrun agent: %v\n", err)
		return 1
	}
	return 0
}
