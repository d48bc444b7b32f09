package load

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/render"
	"github.com/pgrun/pgrun/runtime/suggest"
)

// The types of parameters that are functions, and templates.
const (
	functionType = "function"
	templateType = "template in the project"
)

// maxFaults bounds how many mistakes of one file are shown.
const maxFaults = 10

// lint finds calls of builtins that cannot work: a name that the module does not have, an argument that the
// builtin does not take, as its name or its value where that is written out, or one that is missing. Starlark itself would find them only when the task runs, on a host
// half done.
// A template whose path is written out is read.
func lint(f *syntax.File, s script, known *vocabulary) error {
	l := linter{vocabulary: known, script: s}
	syntax.Walk(f, l.visit)
	return join(l.faults)
}

type linter struct {
	*vocabulary
	script script
	faults []error
}

func (l *linter) visit(n syntax.Node) bool {
	switch n := n.(type) {
	case *syntax.DotExpr:
		l.member(n)
	case *syntax.CallExpr:
		if name, spec, ok := l.callee(n.Fn); ok {
			l.call(n, name, spec)
		} else if name, ok := l.module(n.Fn); ok {
			start, _ := n.Span()
			has := slices.Sorted(maps.Keys(l.builtins[name]))
			l.fault(start, "%s is a module: write %s.NAME(...), where NAME is one of %s", name, name, strings.Join(has, ", "))
		}
	}
	return true
}

// module returns the builtins of the module that an expression names. A variable of the script's own
// with the same name is none.
func (l *linter) module(x syntax.Expr) (string, bool) {
	id, ok := x.(*syntax.Ident)
	if !ok || !predeclared(id) {
		return "", false
	}
	_, ok = l.builtins[id.Name]
	return id.Name, ok
}

func predeclared(id *syntax.Ident) bool {
	binding, ok := id.Binding.(*resolve.Binding)
	return ok && binding.Scope == resolve.Predeclared
}

// member looks for the name behind the dot in the module before it, one of Starlark's own included.
func (l *linter) member(n *syntax.DotExpr) {
	id, ok := n.X.(*syntax.Ident)
	if !ok || !predeclared(id) {
		return
	}
	module, ok := l.names[id.Name].(starlark.HasAttrs)
	if !ok {
		return
	}
	if has := module.AttrNames(); !slices.Contains(has, n.Name.Name) {
		if habit := suggest.Habit(id.Name + "." + n.Name.Name); habit != "" {
			l.fault(n.Name.NamePos, "%s has no builtin %q: %s", id.Name, n.Name.Name, habit)
			return
		}
		l.fault(n.Name.NamePos, "%s has no builtin %q%s", id.Name, n.Name.Name, suggest.Or(n.Name.Name, has, " (has: "+strings.Join(has, ", ")+")"))
	}
}

// callee returns the builtin that a call's function is.
func (l *linter) callee(fn syntax.Expr) (string, builtin.Spec, bool) {
	switch fn := fn.(type) {
	case *syntax.DotExpr:
		if module, ok := l.module(fn.X); ok {
			spec, ok := l.spec(module, fn.Name.Name)
			return module + "." + fn.Name.Name, spec, ok
		}
	case *syntax.Ident:
		if predeclared(fn) {
			spec, ok := l.spec("", fn.Name)
			return fn.Name, spec, ok
		}
	}
	return "", builtin.Spec{}, false
}

// call compares a call's arguments with the builtin's parameters.
func (l *linter) call(n *syntax.CallExpr, name string, spec builtin.Spec) {
	var names []string
	takesAny := false
	for _, p := range spec.Params {
		takesAny = takesAny || strings.HasPrefix(p.Name, "**")
		names = append(names, p.Name)
	}
	given := map[string]bool{}
	var positional []syntax.Expr
	spread := false
	for _, arg := range n.Args {
		switch arg := arg.(type) {
		case *syntax.BinaryExpr:
			if id, ok := arg.X.(*syntax.Ident); ok && arg.Op == syntax.EQ {
				given[id.Name] = true
				if i := slices.Index(names, id.Name); i >= 0 {
					l.value(arg.Y, name, spec.Params[i])
				} else if !takesAny {
					l.fault(id.NamePos, "%s has no parameter %q%s", name, id.Name, instead(id.Name, names))
				}
				continue
			}
		case *syntax.UnaryExpr:
			if arg.Op == syntax.STAR || arg.Op == syntax.STARSTAR {
				spread = true
				continue
			}
		}
		positional = append(positional, arg)
	}
	if spread {
		return
	}
	start, _ := n.Span()
	if spec.TakesHost() {
		if len(positional) == 0 || isWritten(positional[0]) {
			l.fault(start, "%s: the host comes first: %s(h, ...)", name, name)
			return
		}
		positional = positional[1:]
	}
	if len(positional) > min(spec.Positional, len(names)) {
		l.fault(start, "%s", builtin.TooMany(name, spec.Positional, names))
		return
	}
	for i, p := range spec.Params {
		switch {
		case i < len(positional):
			l.value(positional[i], name, p)
		case p.Required && !given[p.Name]:
			l.fault(start, "%s: missing argument for %s%s", name, p.Name, hostFirst(spec, i, name))
		}
	}
}

// hostFirst reminds of the host where the parameter after it is missing: what was given may have been meant for
// that one.
func hostFirst(spec builtin.Spec, param int, name string) string {
	if !spec.TakesHost() || param > 0 {
		return ""
	}
	return fmt.Sprintf(", after the host: %s(h, ...)", name)
}

// instead says what to write for a parameter that there is not.
func instead(name string, names []string) string {
	if text := suggest.TaskKeyword(name); text != "" {
		return ": " + text
	}
	return suggest.Or(name, names, " (has: "+strings.Join(names, ", ")+")")
}

// value checks an argument that is written out, and one that calls a builtin where a function is wanted.
func (l *linter) value(x syntax.Expr, name string, p builtin.Param) {
	if call, ok := x.(*syntax.CallExpr); ok && p.Type == functionType {
		if called, _, ok := l.callee(call.Fn); ok {
			start, _ := x.Span()
			l.fault(start, "%s: for parameter %q: this calls %s at once: write lambda: %s(...)", name, p.Name, called, called)
		}
	}
	v, ok := written(x)
	if !ok {
		return
	}
	err := p.Accepts(v)
	if path, ok := v.(starlark.String); ok && p.Type == templateType {
		err = l.template(string(path))
	}
	if err != nil {
		start, _ := x.Span()
		l.fault(start, "%s: for parameter %q: %v", name, p.Name, err)
	}
}

// template looks a template over.
func (l *linter) template(path string) error {
	at, err := l.script.sibling(path)
	if err != nil {
		return err
	}
	text, err := render.Read(builtin.Source{Path: path, FS: at.tree.fsys, Name: at.name})
	if err != nil {
		return err
	}
	return render.Check(path, text)
}

func (l *linter) fault(at syntax.Position, format string, args ...any) {
	l.faults = append(l.faults, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

// join lists the first mistakes of a file.
func join(faults []error) error {
	if more := len(faults) - maxFaults; more > 0 {
		faults = append(faults[:maxFaults:maxFaults], fmt.Errorf("and %d more", more))
	}
	return errors.Join(faults...)
}

// every lists all that the resolver found, where it says only the first by itself, with what was probably
// meant by a name that is not known.
func every(err error, names []string) error {
	var list resolve.ErrorList
	if !errors.As(err, &list) {
		return err
	}
	faults := make([]error, len(list))
	for i, e := range list {
		faults[i] = e
		name, undefined := strings.CutPrefix(e.Msg, "undefined: ")
		switch {
		case undefined && suggest.Habit(name) != "":
			faults[i] = fmt.Errorf("%w: %s", e, suggest.Habit(name))
		case undefined:
			faults[i] = fmt.Errorf("%w%s", e, suggest.Or(name, names, ""))
		case strings.HasSuffix(e.Msg, "while loops"):
			faults[i] = fmt.Errorf("%w: %s", e, suggest.Habit("while"))
		case strings.HasSuffix(e.Msg, "not within a function"):
			faults[i] = fmt.Errorf("%w: the top level only declares: put it into a def, or write a comprehension", e)
		}
	}
	return join(faults)
}

// compile parses and resolves a file and looks it over.
func (l *loader) compile(s script, source []byte, known *vocabulary) (*syntax.File, *starlark.Program, error) {
	f, program, err := starlark.SourceProgramOptions(dialect, s.shown(), source, known.names.Has)
	if err != nil {
		return nil, nil, every(habitual(err, source), append(known.names.Keys(), starlark.Universe.Keys()...))
	}
	return f, program, lint(f, s, known)
}
