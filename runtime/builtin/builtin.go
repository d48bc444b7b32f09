// Package builtin is how a Starlark builtin is declared: once, as one Go record, from which all
// else follows: unpacking its arguments, the dry run, diffs, events, the reference.
//
// There are three kinds.
//
//   - An Action changes a host. Its Check looks and says what would change; nothing of it writes.
//     The Change that it returns carries the function that makes it so, which runs only outside of
//     --check. So an action is idempotent and honest in a dry run by its shape.
//   - A Look returns data about a host.
//   - A Control is about the script itself: it waits, retries, cleans up, ends the run.
//
// A builtin's parameters are a Go struct. A field's type is the parameter's type, its tag the name:
//
//	type installParams struct {
//		Packages builtin.Strings `star:"packages,required" doc:"Package names."`
//		State    string          `star:"state" doc:"present, absent or latest."`
//	}
//
// The first argument of an action or a look is always the host. The first field may be given by
// position, the others by name only. See params.go for the types that a field can have.
package builtin

import (
	"context"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/host"
)

// Module is a Starlark module: a name in every playbook, such as apt, with its builtins. The
// module with the empty name holds the builtins that need no prefix.
type Module struct {
	Name     string
	Doc      string // its first sentence is its summary
	Builtins []Builtin
}

// ByName returns the module's builtins by their names.
func (m Module) ByName() map[string]Builtin {
	all := make(map[string]Builtin, len(m.Builtins))
	for _, b := range m.Builtins {
		all[b.name()] = b
	}
	return all
}

// Builtin is an Action, a Look or a Control.
type Builtin interface {
	// Spec describes the builtin, for the reference, completion and checks. It is made anew in each call.
	Spec() Spec

	name() string
	value(module string) *starlark.Builtin
}

// Kind tells the three kinds of builtin apart.
type Kind string

// The kinds of builtin.
const (
	Acts     Kind = "action"
	Looks    Kind = "look"
	Controls Kind = "control"
)

// Spec describes a builtin.
type Spec struct {
	Name   string
	Doc    string
	Kind   Kind
	Params []Param // without the host
	Result []Field // of the struct it returns; nil when it returns none

	// Positional is how many of the parameters may be given by position.
	Positional int
}

// TakesHost reports whether the first argument is a host.
func (s Spec) TakesHost() bool { return s.Kind != Controls }

// Param describes a parameter.
type Param struct {
	Name, Type, Doc string
	Required        bool
	Default         string // as one would write it in a script; empty when there is none

	// Accepts says what is wrong with a value for it, as a call would.
	Accepts func(starlark.Value) error
}

// Field describes an attribute of a result.
type Field struct{ Name, Type, Doc string }

// Action is a builtin that brings a host to a state. P is the struct of its parameters.
type Action[P any] struct {
	Name string
	Doc  string

	// Defaults holds the values of the parameters that a call leaves out. It is copied for each
	// call: no maps, slices or pointers in it.
	Defaults P

	// Result is a zero value of the struct that Change.Learned holds, or nil.
	Result any

	// Check looks at the host and says what differs. It returns nil, or a Change without Apply,
	// where all is as it should be. It must not write, and cannot.
	Check func(ctx context.Context, r host.Reader, p P) (*Change, error)
}

// Look is a builtin that returns data about a host: R is a struct, or a basic type.
type Look[P, R any] struct {
	Name     string
	Doc      string
	Defaults P
	Run      func(ctx context.Context, r host.Reader, p P) (R, error)
}

// Control is a builtin that works on the script itself.
type Control[P any] struct {
	Name     string
	Doc      string
	Defaults P

	// Positional is how many parameters may be given by position.
	Positional int

	AtLoad bool // may be called while a playbook loads

	Call func(c *Call, p P) (starlark.Value, error)
}

// Call is a call of a Control.
type Call struct {
	Thread *starlark.Thread
	Scope  *Scope // nil while loading
	Name   string
}

// Change is what an Action would do, and how.
type Change struct {
	// Summary says what changes, a line each, in the imperative: "install postgresql-17 17.11". Apply may
	// replace it by what it did.
	Summary []string

	// Diffs shows what changes in files and settings, for --diff. Apply may replace them, too.
	Diffs []Diff

	// Writes are the paths with a new date then: of files with another content, and of directories that get or lose an entry. Readers are the
	// names of those who then read their files again: a unit that is started, a server that reloads; and of what ends that, a unit's stop. A dry
	// run has what Unread and LastReader say of them.
	Writes, Readers []string

	// Replaces are the paths where something else stands then, through which another place may be reached, such as a link: what a dry run would
	// look at there, or below, is not known. Removes are those where nothing does.
	Replaces, Removes []string

	// Apply makes the change. A nil Apply means that there is nothing to change.
	Apply func(ctx context.Context, h host.Host) error

	// Learned holds what the script gets back besides changed and diff: a struct of the type of the
	// Action's Result, or nil. Apply may fill it.
	Learned any
}

// Needed reports whether c changes anything.
func (c *Change) Needed() bool { return c != nil && c.Apply != nil }

// Join makes one change of several, which are applied in their order. Those that are not needed
// are left out; where none is, the result is nil.
func Join(changes ...*Change) *Change {
	var needed []*Change
	for _, c := range changes {
		if c.Needed() {
			needed = append(needed, c)
		}
	}
	if len(needed) == 0 {
		return nil
	}
	all := &Change{}
	for _, c := range needed {
		all.Summary = append(all.Summary, c.Summary...)
		all.Diffs = append(all.Diffs, c.Diffs...)
		all.Writes = append(all.Writes, c.Writes...)
		all.Readers = append(all.Readers, c.Readers...)
		all.Replaces = append(all.Replaces, c.Replaces...)
		all.Removes = append(all.Removes, c.Removes...)
	}
	all.Apply = func(ctx context.Context, h host.Host) error {
		for _, c := range needed {
			if err := c.Apply(ctx, h); err != nil {
				return err
			}
		}
		return nil
	}
	return all
}
