package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// attempt is a start, restart, reload or stop of a unit.
type attempt struct {
	*control
	verb, name string
	since      string // the journal's cursor before it; empty where that could not be had
}

// attempt begins one. What follows of the journal is about it.
func (c *control) attempt(ctx context.Context, verb, name string) attempt {
	return attempt{control: c, verb: verb, name: name, since: c.cursor(ctx)}
}

// explainLimit bounds finding out why an attempt failed.
const explainLimit = 10 * time.Second

// failed is the error of an attempt: how the unit is, and what it has said since. err is what systemctl said,
// or nil.
func (a attempt) failed(ctx context.Context, err error) error {
	failed, tooLate := (*host.Failed)(nil), (*late)(nil)
	if ctx.Err() != nil || err != nil && !errors.As(err, &failed) && !errors.As(err, &tooLate) { // the link broke, for one
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, explainLimit, fmt.Errorf("no answer within %s", explainLimit))
	defer cancel()
	u, showErr := show(ctx, a.h, a.name, 0)
	if showErr != nil {
		return errors.Join(err, showErr)
	}
	e := &startError{text: fmt.Sprintf("%s %s: %s", a.verb, a.name, u.describe()), err: err}
	switch {
	case tooLate != nil:
		e.text = fmt.Sprintf("%s %s: %s: %s", a.verb, a.name, tooLate, u.describe())
	case failed != nil && u.load != "loaded":
		e.text = fmt.Sprintf("%s %s: %s", a.verb, a.name, firstLine(failed.Output.Stderr))
	case failed != nil && u.running(): // a reload
		e.text = fmt.Sprintf("%s %s: %s", a.verb, a.name, firstLine(failed.Output.Stderr))
	}
	e.journal = a.journal(ctx, u.id)
	return e
}

// startError is the failure of a unit to come up, to reload or to stop.
type startError struct {
	text    string
	journal []string
	err     error // may be nil
}

func (e *startError) Error() string {
	if len(e.journal) == 0 {
		return e.text + "\n  nothing of it in the journal"
	}
	return e.text + "\n  in the journal:\n    " + strings.Join(e.journal, "\n    ")
}

func (e *startError) Unwrap() error { return e.err }

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// describe says how a unit is, when it is not as it should be.
func (u unit) describe() string {
	if u.load != "loaded" {
		return "its file is " + u.load
	}
	text := fmt.Sprintf("it is %s (%s)", u.active, u.sub)
	if u.result != "" && u.result != "success" {
		text += ", " + u.result
	}
	switch u.exitCode {
	case "exited":
		text += ", its process ended with exit code " + u.exitStatus
	case "killed", "dumped":
		text += ", its process was ended by signal " + u.exitStatus
	}
	if u.restarts > 0 {
		text += fmt.Sprintf(", restarted %d times", u.restarts)
	}
	return text
}

// maxJournal is how many lines of the journal an error shows.
const maxJournal = 15

// journal returns the last lines that a unit, and systemd about it, wrote since the attempt began. That they
// cannot be had is no reason to hide why they were wanted.
//
// The journal knows a unit by its id, and not by an alias. The place in the journal tells what is new. The unit's
// invocation id would not: journald cannot note it for a process that is gone when its line is read, which is the very
// case. Nor can it note the unit, so that --unit finds of systemd's own lines about it only those of process 1, and not that
// a program could not be executed, which the new process says, as the unit's user. So UNIT= is taken from anybody,
// who may thus put a line into the error.
func (a attempt) journal(ctx context.Context, id string) []string {
	a.journalctl(ctx, "--sync") // else the last lines may be under way
	args := []string{"--quiet", "--no-pager", "--output=cat", "--boot", "_SYSTEMD_UNIT=" + id, "+", "UNIT=" + id, "+", "_UID=0", "OBJECT_SYSTEMD_UNIT=" + id}
	if a.since != "" {
		args = append(args, "--after-cursor="+a.since)
	} else {
		args = append(args, fmt.Sprintf("--lines=%d", maxJournal))
	}
	var lines []string
	for line := range strings.Lines(a.journalctl(ctx, args...)) {
		lines = append(lines, strings.TrimRight(line, " \r\n"))
	}
	return lines[max(0, len(lines)-maxJournal):]
}

// cursor is the journal's present end.
func (c *control) cursor(ctx context.Context) string {
	out := c.journalctl(ctx, "--quiet", "--no-pager", "--lines=0", "--show-cursor")
	_, cursor, _ := strings.Cut(out, "-- cursor: ")
	return strings.TrimSpace(cursor)
}

// journalctl returns what it prints; nothing if it fails.
func (c *control) journalctl(ctx context.Context, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := c.h.Run(ctx, host.Command{Argv: append([]string{"journalctl"}, args...)})
	if err != nil || out.RC != 0 {
		return ""
	}
	return out.Stdout
}
