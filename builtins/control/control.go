// Package control holds the builtins that steer a script: they wait, try again, catch, clean up, end
// the run and say something.
//
// Starlark has no exceptions and no while. A builtin that fails ends its task on that host, unless one of
// these stands around it:
//
//	attempt     gives the outcome as a value
//	retry       tries again until it works
//	wait_until  asks again until the answer is yes
//	always      cleans up, whatever happens
//
// Three things pass through all of them: exit(), the end of the task itself (a signal, a deadline around
// it), and in a dry run an answer that cannot be known yet.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/outcome"
	"github.com/pgrun/pgrun/runtime/secret"
)

// Module returns the control builtins, which need no prefix.
func Module() builtin.Module {
	return builtin.Module{
		Doc: "Steering a script: waiting, trying again, catching, cleaning up, ending the run.",
		Builtins: []builtin.Builtin{
			&builtin.Control[attemptParams]{
				Name: "attempt", Positional: 1,
				Doc:  "Calls a function and returns what became of it: a struct of ok (bool), value (what it returned, or None), error (the message, or None) and kind (\"failed\", \"timeout\", \"missing\", \"unreachable\", or None).",
				Call: attempt,
			},
			&builtin.Control[retryParams]{
				Name: "retry", Positional: 1,
				Doc:      "Calls a function until it does not fail, and returns what it returned. An error in the script itself, such as a wrong argument, is not tried again.",
				Defaults: retryParams{Attempts: 3, Every: time.Second},
				Call:     retry,
			},
			&builtin.Control[waitParams]{
				Name: "wait_until", Positional: 1,
				Doc:      "Calls a function until what it returns is true, and returns that. A builtin that fails in it means not yet; fail() ends the wait. Past the timeout the task ends with exit code 2. In a dry run it asks once.",
				Defaults: waitParams{Every: time.Second},
				Call:     waitUntil,
			},
			&builtin.Control[alwaysParams]{
				Name: "always", Positional: 1,
				Doc:      "Calls a function and then the clean-up, also when the function failed, a deadline passed or the run was interrupted. Returns what the function returned, or fails as it failed.",
				Defaults: alwaysParams{Timeout: 5 * time.Minute},
				Call:     always,
			},
			&builtin.Control[exitParams]{
				Name: "exit", Positional: 2,
				Doc:  "Ends the run on all hosts, after their clean-ups, with an exit code: 0 done, 1 failed, 2 too late, 3 cannot run here.",
				Call: exit,
			},
			&builtin.Control[failParams]{
				Name: "fail", Positional: 1, AtLoad: true,
				Doc:  "Fails the task on this host. In a dry run that would change something there first, the task ends as undetermined instead. While a playbook loads, refuses to run it at all: exit code 3.",
				Call: fail,
			},
			&builtin.Control[pendingParams]{
				Name: "pending", Positional: 2,
				Doc:  "Returns whether this is a dry run that would have changed something on the host by now, so that what is read there may not be what a run would find.",
				Call: pending,
			},
			&builtin.Control[logParams]{
				Name: "log", Positional: 1,
				Doc:  "Prints a line under the task. Secrets in it are hidden. With --output json the line is an event, with the other arguments as its data; durations are seconds there.",
				Call: log,
			},
		},
	}
}

type attemptParams struct {
	Function builtin.Callable `star:"function,required" doc:"A function without parameters."`
}

func attempt(c *builtin.Call, p attemptParams) (starlark.Value, error) {
	value, err := p.Function.Call(c.Thread)
	if err != nil && passesOn(c.Scope, err) {
		return nil, err
	}
	fields := starlark.StringDict{"ok": starlark.Bool(err == nil), "value": starlark.None, "error": starlark.None, "kind": starlark.None}
	if err == nil {
		fields["value"] = value
	} else {
		fields["error"], fields["kind"] = starlark.String(c.Scope.Mask.Hide(err.Error())), starlark.String(outcome.Kind(err))
	}
	return starlarkstruct.FromStringDict(starlark.String("outcome"), fields), nil
}

// passesOn reports whether no combinator may hold err back.
func passesOn(s *builtin.Scope, err error) bool {
	var exit *outcome.Exit
	var undetermined *outcome.Undetermined
	return s.Context.Err() != nil || errors.As(err, &exit) || errors.As(err, &undetermined)
}

type retryParams struct {
	Function builtin.Callable                `star:"function,required" doc:"A function without parameters."`
	Attempts int                             `star:"attempts" doc:"How often it is called at most."`
	Every    time.Duration                   `star:"every" doc:"Pause between two calls."`
	Timeout  builtin.Optional[time.Duration] `star:"timeout" doc:"How long it may take in all; past it the task ends with exit code 2. No limit if left out."`
}

func retry(c *builtin.Call, p retryParams) (starlark.Value, error) {
	if p.Attempts < 1 {
		return nil, fmt.Errorf("%s: for parameter \"attempts\": %d is less than 1", c.Name, p.Attempts)
	}
	if p.Timeout.Set && p.Timeout.Value == 0 {
		return nil, fmt.Errorf("%s: for parameter \"timeout\": 0s is no time to try", c.Name)
	}
	deadline := newDeadline(c, p.Timeout, "retry")
	defer deadline.end()
	for n := 1; ; n++ {
		value, err := deadline.call(p.Function)
		if err != nil && passesOn(c.Scope, err) {
			return nil, err
		}
		if deadline.passed() {
			return nil, deadline.error()
		}
		if err == nil || !isFailure(err) {
			return value, err
		}
		if n == p.Attempts || c.Scope.Check {
			return nil, err
		}
		if err := deadline.pause(p.Every); err != nil {
			return nil, err
		}
	}
}

type waitParams struct {
	Condition builtin.Callable `star:"condition,required" doc:"A function without parameters; what it returns is true when the wait is over."`
	Timeout   time.Duration    `star:"timeout,required" doc:"How long to wait at most."`
	Every     time.Duration    `star:"every" doc:"Pause between two calls."`
	What      string           `star:"what" doc:"What is waited for, for the message."`
}

func waitUntil(c *builtin.Call, p waitParams) (starlark.Value, error) {
	if p.Timeout == 0 {
		return nil, fmt.Errorf("%s: for parameter \"timeout\": 0s is no time to wait", c.Name)
	}
	what := p.What
	if what == "" {
		what = "wait_until"
	}
	deadline := newDeadline(c, builtin.Some(p.Timeout), what)
	defer deadline.end()
	for {
		value, err := deadline.call(p.Condition)
		switch {
		case err != nil && passesOn(c.Scope, err):
			return nil, err
		case err == nil && value.Type() == "result":
			return nil, fmt.Errorf("%s: the function returned the result of an action, which is neither true nor false: return .rc == 0, .changed or the like", c.Name)
		case deadline.passed():
			return nil, deadline.error()
		case err == nil && bool(value.Truth()):
			return value, nil
		case err != nil && (!isFailure(err) || isFail(err)):
			return nil, err
		case c.Scope.Check:
			return nil, &outcome.Undetermined{What: what, Err: err}
		}
		if err := deadline.pause(p.Every); err != nil {
			return nil, err
		}
	}
}

// isFailure reports whether a builtin could not do its work, or a wait took too long, as opposed to an error
// in the script.
func isFailure(err error) bool {
	var failure *builtin.Failure
	var late *outcome.Deadline
	return errors.As(err, &failure) || errors.As(err, &late)
}

// isFail reports whether the script itself gave up.
func isFail(err error) bool {
	var failure *builtin.Failure
	return errors.As(err, &failure) && failure.Builtin == ""
}

// deadline is a time limit around calls of the script's functions.
type deadline struct {
	invoked *builtin.Call
	outer   context.Context
	inner   context.Context
	cancel  context.CancelFunc
	what    string
	after   time.Duration
	whole   bool  // whether last is of a call that came to its end
	last    error // what the last of those said, or else the one that the deadline cut off
}

func newDeadline(c *builtin.Call, after builtin.Optional[time.Duration], what string) *deadline {
	d := &deadline{invoked: c, outer: c.Scope.Context, what: what, after: after.Value}
	if after.Set {
		d.inner, d.cancel = context.WithTimeoutCause(d.outer, after.Value, &outcome.Deadline{What: what, After: after.Value})
	} else {
		d.inner, d.cancel = context.WithCancel(d.outer)
	}
	return d
}

func (d *deadline) end() { d.cancel() }

func (d *deadline) call(f builtin.Callable) (starlark.Value, error) {
	defer d.invoked.Scope.Within(d.inner)()
	value, err := f.Call(d.invoked.Thread)
	if cutOff := err != nil && d.inner.Err() != nil; !cutOff || !d.whole {
		d.last, d.whole = err, !cutOff
	}
	return value, err
}

// passed reports whether this limit is over, and no other around it.
func (d *deadline) passed() bool { return d.inner.Err() != nil && d.outer.Err() == nil }

func (d *deadline) error() error {
	return &outcome.Deadline{What: d.what, After: d.after, Last: d.last}
}

// pause waits before the next call.
func (d *deadline) pause(every time.Duration) error {
	switch {
	case host.Pause(d.inner, every) == nil:
		return nil
	case d.passed():
		return d.error()
	default:
		return context.Cause(d.outer)
	}
}

type alwaysParams struct {
	Function builtin.Callable `star:"function,required" doc:"A function without parameters."`
	Cleanup  builtin.Callable `star:"cleanup,required" doc:"A function without parameters, called in any case."`
	Timeout  time.Duration    `star:"cleanup_timeout" doc:"How long the clean-up may take."`
}

func always(c *builtin.Call, p alwaysParams) (starlark.Value, error) {
	value, err := p.Function.Call(c.Thread)
	cutOff := c.Scope.Context.Err() != nil

	ctx, cancel := context.WithTimeoutCause(c.Scope.Root, p.Timeout, &outcome.Deadline{What: "clean-up", After: p.Timeout})
	defer cancel()
	_, cleanupErr := c.Scope.Fresh(c.Thread, ctx, p.Cleanup)
	switch {
	case cleanupErr == nil:
		return value, err
	case outcome.Of(err) == outcome.OK, cutOff: // exit(0) included, this host's or another's
		return nil, cleanupErr
	}
	c.Scope.Log("clean-up failed: " + outcome.Explain(cleanupErr))
	return nil, err
}

type exitParams struct {
	Code    int          `star:"code" doc:"The exit code, 0 to 125."`
	Message builtin.Text `star:"message" doc:"What to say."`
}

func exit(c *builtin.Call, p exitParams) (starlark.Value, error) {
	if p.Code < 0 || p.Code > 125 {
		return nil, fmt.Errorf("%s: for parameter \"code\": %d is not in 0 to 125", c.Name, p.Code)
	}
	return nil, &outcome.Exit{Code: outcome.Code(p.Code), Message: p.Message.Shown()}
}

type failParams struct {
	Message builtin.Text `star:"message,required" doc:"Why."`
}

func fail(c *builtin.Call, p failParams) (starlark.Value, error) {
	if c.Scope == nil {
		return nil, errors.New(p.Message.Shown())
	}
	if len(c.Scope.Hosts.Announced(c.Scope.Host)) > 0 {
		return nil, &outcome.Undetermined{What: "fail", Err: errors.New(p.Message.Shown())}
	}
	return nil, &builtin.Failure{Host: c.Scope.Host.Name, Err: errors.New(p.Message.Shown())}
}

type pendingParams struct {
	Host builtin.Host `star:"host,required" doc:"The host."`
	What string       `star:"what" doc:"What would have changed: the name of a builtin, such as \"incus.instance\", or what a call is about, such as the path of a file; anything if empty."`
}

func pending(_ *builtin.Call, p pendingParams) (starlark.Value, error) {
	return starlark.Bool(p.Host.Pending(p.What)), nil
}

type logParams struct {
	Message builtin.Any      `star:"message,required" doc:"What to say. A secret joined to a string is shown with the secret hidden."`
	Data    builtin.KeyWords `star:"**data" doc:"What a program that reads the JSON output gets besides: strings, numbers, booleans, durations, times, None."`
}

func log(c *builtin.Call, p logParams) (starlark.Value, error) {
	message := p.Message.String()
	switch v := p.Message.Value.(type) {
	case starlark.String:
		message = string(v)
	case secret.Value:
		message = v.Shown()
	}
	data := map[string]any{}
	for name, v := range p.Data {
		value, err := datum(v)
		if err != nil {
			return nil, fmt.Errorf("%s: for parameter %s: %w", c.Name, name, err)
		}
		data[name] = value
	}
	c.Scope.Report(builtin.Event{Host: c.Scope.Host.Name, Status: builtin.Logged, Summary: []string{message}, Data: data})
	return starlark.None, nil
}

// datum turns a value of the script into what JSON has for it.
func datum(v starlark.Value) (any, error) {
	switch v := v.(type) {
	case starlark.NoneType:
		return nil, nil
	case starlark.Bool:
		return bool(v), nil
	case starlark.Int:
		return json.Number(v.String()), nil
	case starlark.Float:
		if f := float64(v); !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f, nil
		}
		return nil, fmt.Errorf("JSON has no number for %s", v)
	case starlark.String:
		return string(v), nil
	case starlarktime.Duration:
		return time.Duration(v).Round(time.Microsecond).Seconds(), nil
	case starlarktime.Time:
		return time.Time(v).UTC().Format(time.RFC3339Nano), nil
	}
	return nil, fmt.Errorf("got %s, want a string, number, bool, duration, time or None", v.Type())
}
