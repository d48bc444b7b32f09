// Package load turns a playbook's file into something that can be run.
//
// A playbook is Starlark. Loading it executes its top level, which only declares: inventory names
// the file that knows the hosts, param what can be set from outside, play what is to be done where.
// It loads other files (load) that define functions. Nothing acts yet: a builtin that would refuses.
// When the top level has ended everything is frozen, so that tasks can run on many hosts at once.
package load

import (
	"fmt"
	"strings"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/inventory"
)

// Playbook is a loaded playbook.
type Playbook struct {
	Path      string // as messages show it
	Doc       string // its docstring
	Inventory *inventory.Inventory
	Params    []Param
	Plays     []*Play

	// Files resolves the paths that tasks name.
	Files builtin.Files
}

// Param is a value that can be set from outside.
type Param struct {
	Name, Type, Doc string
	Required        bool
	Default         starlark.Value // nil when required
	Value           starlark.Value // nil where it is not set
	Choices         []string       // the only values, or those of its items; nil where any will do
}

// Play is a list of tasks for some hosts.
type Play struct {
	Name     string
	Pattern  string
	Hosts    []*inventory.Host
	Tasks    []*Task
	Tags     []string
	Serial   int    // hosts at a time; 0 is all
	Continue bool   // whether the run goes on without the hosts that failed
	Position string // file:line:col
}

// Task is a function of a host.
type Task struct {
	Title string
	Tags  []string // the play's included
	Func  starlark.Callable
}

func (t *Task) String() string        { return fmt.Sprintf("<task %q>", t.Title) }
func (t *Task) Type() string          { return "task" }
func (t *Task) Freeze()               { t.Func.Freeze() }
func (t *Task) Truth() starlark.Bool  { return true }
func (t *Task) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: task") }

// newTask makes a task of what a play lists: a function, or a task. An empty title is that of the docstring.
func newTask(v starlark.Value, title string) (*Task, error) {
	switch v := v.(type) {
	case *Task:
		return v, nil
	case *starlark.Function:
		if !takesHost(v) {
			return nil, fmt.Errorf("function %s (%s) is not called with a host alone: write def %s(h)", v.Name(), v.Position(), v.Name())
		}
		if title == "" {
			title = titleOf(v)
		}
		if title == "" {
			return nil, fmt.Errorf("function %s (%s) has no docstring: its first line is the task's title; or write task(%s, title = ...)", v.Name(), v.Position(), v.Name())
		}
		return &Task{Title: title, Func: v}, nil
	}
	without := "()"
	if _, ok := v.(starlark.String); ok {
		without = "quotes"
	}
	return nil, fmt.Errorf("got %s, want a function of a host: write its name without %s", v.Type(), without)
}

// takesHost reports whether a function can be called with one positional argument.
func takesHost(f *starlark.Function) bool {
	named := f.NumParams() - f.NumKwonlyParams()
	if f.HasVarargs() {
		named--
	}
	if f.HasKwargs() {
		named--
	}
	for i := range f.NumParams() {
		variadic := f.HasVarargs() && i == named+f.NumKwonlyParams() || f.HasKwargs() && i == f.NumParams()-1
		if i != 0 && !variadic && f.ParamDefault(i) == nil {
			return false
		}
	}
	return named > 0 || f.HasVarargs()
}

// titleOf is the first line of a function's docstring, without the full stop.
func titleOf(f *starlark.Function) string {
	line, _, _ := strings.Cut(strings.TrimSpace(f.Doc()), "\n")
	return strings.TrimSuffix(strings.TrimSpace(line), ".")
}
