package host

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrAbsent is the error of every look at a machine that does not exist yet: a container not
// created. Such a host is pending in a dry run.
var ErrAbsent = errors.New("the instance does not exist")

// Unreachable is the error of a call that did not reach the machine: it is stopped or frozen, its
// agent cannot be started, the link broke. The next call tries again.
type Unreachable struct {
	Host string
	Err  error

	// NoDaemon says that the daemon which owns the machine was not reached at all: then nothing can
	// run here (exit code 3); otherwise the one host has failed (1).
	NoDaemon bool

	// Down says that the machine is there, but stopped or frozen, and why nothing answers is thereby known.
	Down bool
}

func (e *Unreachable) Error() string { return fmt.Sprintf("%s cannot be reached: %v", e.Host, e.Err) }
func (e *Unreachable) Unwrap() error { return e.Err }

// NotFound is the error of a command whose program is not there. It counts as fs.ErrNotExist.
type NotFound struct{ Program string }

func (e *NotFound) Error() string { return fmt.Sprintf("no program %q on the machine", e.Program) }
func (e *NotFound) Unwrap() error { return fs.ErrNotExist }

// NotThere makes an error that says in its own words what is not there (yet). It counts as fs.ErrNotExist.
func NotThere(format string, args ...any) error { return notThere(fmt.Sprintf(format, args...)) }

type notThere string

func (e notThere) Error() string { return string(e) }
func (e notThere) Unwrap() error { return fs.ErrNotExist }

// Replaced is the error of a look in a dry run at, or through, a path where an earlier step would have put something else: what is there now
// says nothing. Where nothing would be left there it counts as fs.ErrNotExist.
type Replaced struct {
	Path, By string
	Gone     bool
}

func (e *Replaced) Error() string {
	if e.Gone {
		return fmt.Sprintf("%s would remove %s first", e.By, e.Path)
	}
	return fmt.Sprintf("%s would change %s first", e.By, e.Path)
}

// Is has what is gone be fs.ErrNotExist.
func (e *Replaced) Is(target error) bool { return e.Gone && target == fs.ErrNotExist }

// Failed is the error that builtins make of a command's non-zero exit code.
type Failed struct {
	Command string
	Output  Output
}

func (e *Failed) Error() string {
	said := lastLines(e.Output.Stderr, 12)
	if said == "" {
		said = lastLines(e.Output.Stdout, 12)
	}
	if said == "" {
		return fmt.Sprintf("%s: exit code %d, nothing printed", e.Command, e.Output.RC)
	}
	return fmt.Sprintf("%s: exit code %d\n%s", e.Command, e.Output.RC, said)
}

// Succeeded turns an Output with a non-zero exit code into a *Failed, for a call such as
//
//	out, err := host.Succeeded(c)(h.Run(ctx, c))
func Succeeded(c Command) func(Output, error) (Output, error) {
	return func(o Output, err error) (Output, error) {
		if err == nil && o.RC != 0 {
			err = &Failed{Command: c.String(), Output: o}
		}
		return o, err
	}
}

// Missing reports whether err says that something is not there (yet): a path, a program, the
// machine itself or that it runs, or what a look asked for. In a dry run of a host with changes pending, such an
// error means that the details are not known until those changes are made.
func Missing(err error) bool {
	var failed *Failed
	var unreachable *Unreachable
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrAbsent) || errors.As(err, &failed) ||
		errors.As(err, &unreachable) && unreachable.Down
}
