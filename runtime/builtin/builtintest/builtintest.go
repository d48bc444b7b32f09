// Package builtintest runs builtins in tests as a task would, one script at a time.
//
//	b := builtintest.New(t, local, file.Module())
//	b.Run(`file.content(h, "/tmp/x", content = "hello")`)     // applies
//	b.Check(`file.content(h, "/tmp/x", content = "changed")`) // a dry run
//	b.Fails(`file.content(h)`, `missing argument for path`)
//
// In a script, h is the host, and result holds what the last line's expression came to. It may load files by
// paths relative to Dir.
package builtintest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/secret"
)

// Machine is a host to run on, with the read-only Reader that a dry run gets.
type Machine struct {
	Reader host.Reader // opened read-only
	Host   host.Host
}

// Bench runs scripts on one host.
type Bench struct {
	t       *testing.T
	machine Machine
	modules []builtin.Module
	host    *inventory.Host

	Mask   *secret.Mask
	Events []builtin.Event // of the last script
	Dir    string          // the project's root, where Source parameters are looked for
}

// New makes a Bench for the modules.
func New(t *testing.T, m Machine, modules ...builtin.Module) *Bench {
	t.Helper()
	return &Bench{
		t: t, machine: m, modules: modules, Mask: secret.NewMask(), Dir: t.TempDir(),
		host: inventory.NewHost(m.Host.Name(), nil),
	}
}

// Run runs a script for real and fails the test if it fails.
func (b *Bench) Run(script string) *Result {
	b.t.Helper()
	r, err := b.run(script, false)
	if err != nil {
		b.t.Fatalf("%s\n%v", script, explain(err))
	}
	return r
}

// Check runs a script as a dry run and fails the test if it fails.
func (b *Bench) Check(script string) *Result {
	b.t.Helper()
	r, err := b.run(script, true)
	if err != nil {
		b.t.Fatalf("--check: %s\n%v", script, explain(err))
	}
	return r
}

// Fails runs a script for real and fails the test unless it fails with a message that contains all of want.
func (b *Bench) Fails(script string, want ...string) error {
	b.t.Helper()
	_, err := b.run(script, false)
	if err == nil {
		b.t.Fatalf("%s\nsucceeded, want an error with %q", script, want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			b.t.Errorf("%s\ngot error: %v\nwant in it: %q", script, err, w)
		}
	}
	return err
}

// Try runs a script, for real or as a dry run, and returns how it failed.
func (b *Bench) Try(script string, check bool) (*Result, error) {
	b.t.Helper()
	return b.run(script, check)
}

// CheckFails runs a script as a dry run and fails the test unless it fails.
func (b *Bench) CheckFails(script string) error {
	b.t.Helper()
	_, err := b.run(script, true)
	if err == nil {
		b.t.Fatalf("--check: %s\nsucceeded, want an error", script)
	}
	return err
}

// Idempotent checks an action the way the conformance test does: a dry run finds a change and makes none, a
// run makes it, after which neither a dry run nor a second run finds anything.
func (b *Bench) Idempotent(script string) {
	b.t.Helper()
	if r := b.Check(script); !r.Changed() {
		b.t.Errorf("%s\na dry run found nothing to change", script)
	}
	if r := b.Run(script); !r.Changed() {
		b.t.Errorf("%s\nthe run changed nothing: did the dry run?", script)
	}
	if r := b.Check(script); r.Changed() {
		b.t.Errorf("%s\na dry run after the run would change: %v", script, b.Summary())
	}
	if r := b.Run(script); r.Changed() {
		b.t.Errorf("%s\na second run changed: %v", script, b.Summary())
	}
}

// Summary lists what the last script changed, or would have.
func (b *Bench) Summary() []string {
	var all []string
	for _, e := range b.Events {
		all = append(all, e.Summary...)
	}
	return all
}

// Result is what a script came to.
type Result struct {
	Value   starlark.Value // of the last line, when that is an expression
	Globals starlark.StringDict
	events  []builtin.Event
}

// Changed reports whether any builtin changed something, or would have.
func (r *Result) Changed() bool {
	for _, e := range r.events {
		if e.Status == builtin.Changed || e.Status == builtin.Unknown {
			return true
		}
	}
	return false
}

func (b *Bench) run(script string, check bool) (*Result, error) {
	b.Events = nil
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Minute)
	defer cancel()
	scope := &builtin.Scope{
		Context: ctx, Root: ctx, Check: check, Host: b.host, Mask: b.Mask,
		Hosts:  &hosts{machine: b.machine, check: check},
		Report: func(e builtin.Event) { b.Events = append(b.Events, e) },
	}
	thread := &starlark.Thread{Name: "test"}
	builtin.Bind(thread, scope)
	builtin.BindFiles(thread, dir(b.Dir))
	predeclared := builtin.Predeclared(b.modules)
	predeclared["h"] = b.host
	predeclared["secret"] = starlark.NewBuiltin("secret", func(_ *starlark.Thread, f *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var text string
		if err := starlark.UnpackPositionalArgs(f.Name(), args, kwargs, 1, &text); err != nil {
			return nil, err
		}
		return secret.New(b.Mask, text), nil
	})
	options := &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true}
	thread.Load = func(thread *starlark.Thread, path string) (starlark.StringDict, error) {
		return starlark.ExecFileOptions(options, thread, filepath.Join(b.Dir, path), nil, predeclared)
	}
	lines := strings.Split(strings.TrimSpace(script), "\n")
	if last := lines[len(lines)-1]; isExpression(options, last) {
		lines[len(lines)-1] = "result = " + last
	}
	globals, err := starlark.ExecFileOptions(options, thread, "test.star", strings.Join(lines, "\n"), predeclared)
	if err != nil {
		return nil, err
	}
	return &Result{globals["result"], globals, b.Events}, nil
}

func isExpression(options *syntax.FileOptions, line string) bool {
	_, err := options.ParseExpr("test.star", line, 0)
	return err == nil && strings.TrimLeft(line, " \t") == line
}

func explain(err error) string {
	var eval *starlark.EvalError
	if errors.As(err, &eval) {
		return eval.Backtrace()
	}
	return err.Error()
}

// hosts is one machine under any name.
type hosts struct {
	builtin.Announcements
	machine Machine
	check   bool
}

func (h *hosts) Reader(*inventory.Host) (host.Reader, error) {
	if h.check {
		return h.machine.Reader, nil
	}
	return h.machine.Host, nil
}

func (h *hosts) Host(*inventory.Host) (host.Host, error) {
	if h.check {
		return nil, fmt.Errorf("asked for a writing host in a dry run")
	}
	return h.machine.Host, nil
}

// dir is a project whose scripts all stand in its root.
type dir string

func (d dir) Resolve(_, path string) (fs.FS, string, error) {
	if !filepath.IsLocal(path) {
		return nil, "", fmt.Errorf("%s is outside of the project", path)
	}
	return os.DirFS(string(d)), filepath.ToSlash(filepath.Clean(path)), nil
}
