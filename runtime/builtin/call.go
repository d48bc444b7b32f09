package builtin

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/outcome"
	"github.com/pgrun/pgrun/runtime/secret"
)

// Failure is the error of a builtin that could not do its work on a host, as opposed to an error in
// the script. wait_until and retry take it as "not yet".
type Failure struct {
	Host, Builtin string
	Err           error
}

func (e *Failure) Error() string {
	message := e.Err.Error()
	if e.Builtin == "" { // the script's own words
		return message
	}
	return fmt.Sprintf("%s: %s: %s", e.Host, e.Builtin, strings.TrimPrefix(message, e.Host+" "))
}

func (e *Failure) Unwrap() error { return e.Err }

func (a *Action[P]) value(module string) *starlark.Builtin {
	name := qualified(module, a.Name)
	return starlark.NewBuiltin(name, func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (_ starlark.Value, err error) {
		defer guard(name, &err)
		scope, on, err := begin(thread, name, args)
		if err != nil {
			return nil, err
		}
		p := a.Defaults
		if err := unpack(name, afterHost, &p, callerOf(thread), args[1:], kwargs); err != nil {
			return nil, err
		}
		return a.run(thread, scope, on, name, p)
	})
}

// run checks, and outside of a dry run applies.
func (a *Action[P]) run(thread *starlark.Thread, scope *Scope, on *inventory.Host, name string, p P) (starlark.Value, error) {
	started := time.Now()
	event := Event{Host: on.Name, Builtin: name, Object: object(p, scope.Mask), Position: callSite(thread), Status: Same}
	report := func() {
		event.Took = time.Since(started)
		scope.Report(event)
	}
	fail := func(err error) (starlark.Value, error) {
		event.Status = FailedStatus
		report()
		return nil, failure(scope.Context, on.Name, name, err)
	}

	reader, err := scope.Hosts.Reader(on)
	if err != nil {
		return fail(err)
	}
	ctx := scope.contextOf(on)
	change, err := a.Check(ctx, reader, p)
	if notKnown(ctx, err) {
		why := strings.TrimPrefix(firstLine(err), on.Name+": ")
		scope.Hosts.Announce(on, Announcement{Builtin: name, Object: event.Object, Writes: []string{event.Object}, Vague: true}) // most likely, where it is a file
		event.Status, event.Summary = Unknown, []string{strings.TrimSpace("would change "+event.Object) + "; details not known until applied (" + why + ")"}
		report()
		return newResult(scope, name, true, "", a.Result, nil), nil
	}
	if err != nil {
		return fail(err)
	}
	if change == nil {
		change = &Change{}
	}
	if change.Needed() {
		if scope.Check {
			scope.Hosts.Announce(on, Announcement{
				Builtin: name, Object: event.Object,
				Writes: change.Writes, Readers: change.Readers, Replaces: change.Replaces, Removes: change.Removes,
			})
		} else {
			writer, err := scope.Hosts.Host(on)
			if err != nil {
				return fail(err)
			}
			if err := change.Apply(ctx, writer); err != nil {
				event.Summary, event.Diff = change.Summary, renderDiffs(change.Diffs) // some of it may be done
				return fail(err)
			}
		}
		event.Status, event.Summary, event.Diff = Changed, change.Summary, renderDiffs(change.Diffs) // Apply may know better: versions, for one
	}
	report()
	return newResult(scope, name, change.Needed(), event.Diff, a.Result, change.Learned), nil
}

// notKnown reports whether an error of a look in a dry run says only that an earlier step has not been made. What that would have replaced may
// be another host's.
func notKnown(ctx context.Context, err error) bool {
	var replaced *host.Replaced
	_, pending := DryRun(ctx)
	return pending && host.Missing(err) || errors.As(err, &replaced)
}

func (l *Look[P, R]) value(module string) *starlark.Builtin {
	name := qualified(module, l.Name)
	return starlark.NewBuiltin(name, func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (_ starlark.Value, err error) {
		defer guard(name, &err)
		scope, on, err := begin(thread, name, args)
		if err != nil {
			return nil, err
		}
		p := l.Defaults
		if err := unpack(name, afterHost, &p, callerOf(thread), args[1:], kwargs); err != nil {
			return nil, err
		}
		ctx := scope.contextOf(on)
		reader, err := scope.Hosts.Reader(on)
		if err == nil {
			var found R
			if found, err = l.Run(ctx, reader, p); err == nil {
				return toValue(scope, reflect.ValueOf(found)), nil
			}
		}
		var undetermined *outcome.Undetermined
		if notKnown(ctx, err) && !errors.As(err, &undetermined) {
			return nil, &outcome.Undetermined{What: on.Name + ": " + name, Err: err}
		}
		return nil, failure(scope.Context, on.Name, name, err)
	})
}

func (c *Control[P]) value(module string) *starlark.Builtin {
	name := qualified(module, c.Name)
	return starlark.NewBuiltin(name, func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (_ starlark.Value, err error) {
		defer guard(name, &err)
		scope := ScopeOf(thread)
		if scope == nil && !c.AtLoad {
			return nil, atLoad(name)
		}
		p := c.Defaults
		if err := unpack(name, c.Positional, &p, callerOf(thread), args, kwargs); err != nil {
			return nil, err
		}
		return c.Call(&Call{thread, scope, name}, p)
	})
}

// afterHost is how many parameters of an action or a look may be given by position, after the host.
const afterHost = 1

// begin returns the scope of a call and its first argument, the host.
func begin(thread *starlark.Thread, name string, args starlark.Tuple) (*Scope, *inventory.Host, error) {
	scope := ScopeOf(thread)
	if scope == nil {
		return nil, nil, atLoad(name)
	}
	if err := scope.Context.Err(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, context.Cause(scope.Context))
	}
	if len(args) == 0 {
		return nil, nil, fmt.Errorf("%s: the first argument is the host: %s(h, ...)", name, name)
	}
	on, ok := args[0].(*inventory.Host)
	if !ok {
		return nil, nil, fmt.Errorf("%s: the first argument is the host, one at a time: got %s: write %s(h, ...)", name, args[0].Type(), name)
	}
	return scope, on, nil
}

func atLoad(name string) error {
	return fmt.Errorf("%s: cannot be called while the playbook loads: call it in a task", name)
}

// guard makes an error of a panic in a builtin, so that what stands around its call, such as always, still
// does its work.
func guard(name string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s: internal error, please report it: %v\n%s", name, p, debug.Stack())
	}
}

// failure says which builtin failed where. The end of the task's own context is passed on as it is.
func failure(ctx context.Context, on, name string, err error) error {
	if cause := context.Cause(ctx); cause != nil && (errors.Is(err, cause) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		err = cause
		if deadline := (*outcome.Deadline)(nil); errors.As(cause, &deadline) {
			err = cutOff{cause}
		}
	}
	return &Failure{on, name, err}
}

// cutOff is the error of a builtin that ran when the time of a wait around it was over, which says itself
// what it waited for.
type cutOff struct{ cause error }

func (e cutOff) Error() string { return "cut off by the deadline around it" }
func (e cutOff) Unwrap() error { return e.cause }

// object is what a call is about: its first parameter, where that holds names.
func object(params any, mask *secret.Mask) string {
	fields := fieldsOf(reflect.TypeOf(params))
	if len(fields) == 0 {
		return ""
	}
	switch v := reflect.ValueOf(params).FieldByIndex(fields[0].index).Interface().(type) {
	case string:
		return v
	case Strings:
		const most = 4
		if len(v) > most {
			return fmt.Sprintf("%s and %d more", strings.Join(v[:most], ", "), len(v)-most)
		}
		return strings.Join(v, ", ")
	case Argv:
		line, _, _ := strings.Cut(mask.Hide(strings.Join(v, " ")), "\n") // before half a secret is cut off
		const longest = 60
		if r := []rune(line); len(r) > longest {
			line = string(r[:longest]) + " ..."
		}
		return line
	}
	return ""
}

// callSite is where the script called the builtin that runs now.
func callSite(thread *starlark.Thread) string {
	if thread.CallStackDepth() < 2 {
		return ""
	}
	return thread.CallFrame(1).Pos.String()
}

func qualified(module, name string) string {
	if module == "" {
		return name
	}
	return module + "." + name
}

func renderDiffs(diffs []Diff) string {
	var b strings.Builder
	for _, d := range diffs {
		b.WriteString(d.String())
	}
	return b.String()
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
