// Package outcome says how a run, or a part of it, ended, and which exit code that is.
//
//	0  done, or already so
//	1  a task failed, or a host was not reached; or the report could not be written
//	2  a deadline that the playbook wrote has passed
//	3  it cannot run: a mistake found while loading, no hosts, a missing daemon or instance
package outcome

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// Code is a process's exit code.
type Code int

// The exit codes that every pgrun command uses.
const (
	OK        Code = 0
	Failed    Code = 1
	TimedOut  Code = 2
	CannotRun Code = 3
)

// Exit is the error by which the exit builtin ends the run.
type Exit struct {
	Code    Code
	Message string
}

func (e *Exit) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("exit %d", e.Code)
	}
	return e.Message
}

// Deadline is the error of a wait that took longer than its playbook allowed.
type Deadline struct {
	What  string        // what was waited for
	After time.Duration // how long
	Last  error         // what the last try said; may be nil
}

func (e *Deadline) Error() string {
	s := fmt.Sprintf("%s: not so after %s", e.What, e.After.Round(time.Millisecond))
	if e.Last != nil {
		s += "; last: " + e.Last.Error()
	}
	return s
}

// Unusable is an error because of which nothing can run here.
type Unusable struct{ Err error }

func (e *Unusable) Error() string { return e.Err.Error() }
func (e *Unusable) Unwrap() error { return e.Err }

// Undetermined is the error of a dry run that would need to know what only a real run can tell.
type Undetermined struct {
	What string
	Err  error // may be nil
}

func (e *Undetermined) Error() string {
	s := e.What + ": not known in a dry run"
	if e.Err != nil {
		s += " (" + e.Err.Error() + ")"
	}
	return s
}

func (e *Undetermined) Unwrap() error { return e.Err }

// Of returns the exit code that err stands for.
func Of(err error) Code {
	var (
		exit        *Exit
		deadline    *Deadline
		unusable    *Unusable
		unreachable *host.Unreachable
	)
	switch {
	case err == nil:
		return OK
	case errors.As(err, &exit):
		return exit.Code
	case errors.As(err, &unusable):
		return CannotRun
	case errors.As(err, &deadline):
		return TimedOut
	case errors.As(err, &unreachable) && unreachable.NoDaemon, errors.Is(err, host.ErrAbsent):
		return CannotRun
	}
	return Failed
}

// Kind is the word that attempt gives a playbook for err: "exit", "timeout", "undetermined",
// "unreachable", "missing", "cancelled" or "failed".
func Kind(err error) string {
	var (
		exit         *Exit
		deadline     *Deadline
		undetermined *Undetermined
		unreachable  *host.Unreachable
	)
	switch {
	case errors.As(err, &exit):
		return "exit"
	case errors.As(err, &undetermined):
		return "undetermined"
	case errors.As(err, &deadline), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &unreachable):
		return "unreachable"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, host.ErrAbsent):
		return "missing"
	}
	return "failed"
}

// Worse returns the code that decides when two hosts, or two parts of a run, ended differently: 3
// beats 1 beats 2 beats 0. Codes that only exit() gives rank with 1, the higher one first.
func Worse(a, b Code) Code {
	rank := func(c Code) int {
		switch c {
		case OK:
			return 0
		case TimedOut:
			return 1
		case Failed:
			return 2
		case CannotRun:
			return 1000
		}
		return int(c)
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}
