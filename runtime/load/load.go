package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"go.starlark.net/lib/json"
	"go.starlark.net/lib/math"
	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/outcome"
	"github.com/pgrun/pgrun/runtime/secret"
	"github.com/pgrun/pgrun/runtime/vault"
)

// Options say what a playbook is loaded with.
type Options struct {
	Inventory  string           // replaces the path that the playbook gives; empty leaves it
	Set        []string         // values for params: KEY=VALUE, or @FILE of YAML or JSON
	AllowUnset bool             // params may lack a value: the playbook is not to run
	Modules    []builtin.Module // the builtins
	Stdlib     fs.FS            // what @stdlib// names
	Playbooks  fs.FS            // the playbooks that the binary carries
	Vault      *vault.Identities
	Mask       *secret.Mask
	Print      func(message string) // where print() goes
}

const (
	maxScript = 512 << 10  // bytes of one file
	maxSteps  = 50_000_000 // of the interpreter, for the top level of one file
)

// dialect is Starlark with sets; loops and conditions belong in functions.
var dialect = &syntax.FileOptions{Set: true}

// Load loads the playbook that the user calls name. Whatever is wrong with it is an
// *outcome.Unusable: exit code 3.
func Load(ctx context.Context, name string, o Options) (*Playbook, error) {
	main, err := find(name, o.Playbooks)
	if err != nil {
		return nil, &outcome.Unusable{Err: err}
	}
	l := &loader{
		Options: o, ctx: ctx, main: main,
		modules: map[string]*module{}, vocabularies: map[role]*vocabulary{},
		scripts: map[string]script{main.shown(): main},
		stdlib:  &tree{fsys: o.Stdlib, prefix: "@stdlib//"},
	}
	playbook, err := l.load()
	var unusable *outcome.Unusable
	if err != nil && !errors.As(err, &unusable) {
		err = &outcome.Unusable{Err: err}
	}
	return playbook, err
}

// loader holds the state of loading one playbook.
type loader struct {
	Options
	ctx     context.Context
	main    script
	stdlib  *tree
	modules map[string]*module // by shown name
	scripts map[string]script  // every file executed, by shown name
	loading []string           // the chain of load statements being executed

	playbook Playbook
	given    map[string]given // values from -e, by param
	late     []func() error   // what waits for the end of the top level
	params   map[string]int   // index in playbook.Params

	vocabularies map[role]*vocabulary
}

// module is a file loaded by load().
type module struct {
	globals starlark.StringDict
	err     error
	done    bool
}

// role is what a file is executed as; it decides what its top level may do.
type role string

const (
	asPlaybook  role = "playbook"
	asModule    role = "module"
	asInventory role = "inventory"
)

const (
	roleKey    = "pgrun.role"
	builderKey = "pgrun.inventory"
)

func (l *loader) load() (*Playbook, error) {
	var err error
	if l.given, err = l.readGiven(); err != nil {
		return nil, err
	}
	l.playbook.Path, l.playbook.Files = l.main.shown(), l
	l.params = map[string]int{}

	f, _, err := l.exec(l.main, asPlaybook, nil)
	if err != nil {
		return nil, err
	}
	l.playbook.Doc = docOf(f)
	if l.playbook.Inventory == nil {
		return nil, fmt.Errorf("%s names no inventory: write inventory(\"hosts.star\") at its top, which -i can replace", l.main.shown())
	}
	if len(l.playbook.Plays) == 0 {
		return nil, fmt.Errorf("%s has no play: nothing would run", l.main.shown())
	}
	for _, f := range l.late {
		if err := f(); err != nil {
			return nil, err
		}
	}
	if err := l.checkParams(); err != nil {
		return nil, err
	}
	for _, play := range l.playbook.Plays { // a function made by another is reached from no global
		for _, task := range play.Tasks {
			task.Freeze()
		}
	}
	return &l.playbook, nil
}

// exec parses, resolves and executes one file.
func (l *loader) exec(s script, as role, prepare func(*starlark.Thread)) (*syntax.File, starlark.StringDict, error) {
	source, err := read(s)
	if err != nil {
		return nil, nil, err
	}
	l.scripts[s.shown()] = s
	known := l.vocabulary(as)
	f, program, err := l.compile(s, source, known)
	if err != nil {
		return nil, nil, err
	}
	thread := &starlark.Thread{
		Name: s.shown(),
		Load: func(_ *starlark.Thread, path string) (starlark.StringDict, error) { return l.loadModule(s, path) },
		Print: func(thread *starlark.Thread, message string) {
			l.Print(thread.CallFrame(1).Pos.String() + ": " + message)
		},
	}
	thread.SetMaxExecutionSteps(maxSteps)
	thread.SetLocal(roleKey, as)
	builtin.BindFiles(thread, l)
	if prepare != nil {
		prepare(thread)
	}
	stop := context.AfterFunc(l.ctx, func() { thread.Cancel(context.Cause(l.ctx).Error()) })
	defer stop()
	globals, err := program.Init(thread, known.names)
	globals.Freeze()
	return f, globals, err
}

func read(s script) ([]byte, error) {
	f, err := s.tree.fsys.Open(s.name)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return nil, fmt.Errorf("cannot read %s: %w", s.shown(), err)
	}
	defer f.Close()
	source, err := io.ReadAll(io.LimitReader(f, maxScript+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", s.shown(), err)
	}
	if len(source) > maxScript {
		return nil, fmt.Errorf("%s is larger than %d KiB: is it a playbook?", s.shown(), maxScript>>10)
	}
	return source, nil
}

// loadModule serves a load statement.
func (l *loader) loadModule(from script, path string) (starlark.StringDict, error) {
	var s script
	var err error
	if rest, ok := strings.CutPrefix(path, "@stdlib//"); ok {
		s, err = script{l.stdlib, "."}.sibling("//" + rest)
	} else if strings.HasPrefix(path, "@") {
		err = fmt.Errorf("%q: the only library is @stdlib//", path)
	} else {
		s, err = from.sibling(path)
	}
	if err != nil {
		return nil, err
	}
	name := s.shown()
	if m, ok := l.modules[name]; ok {
		if !m.done {
			return nil, fmt.Errorf("files load each other in a circle: %s", strings.Join(append(l.loading[slices.Index(l.loading, name):], name), " -> "))
		}
		return m.globals, m.err
	}
	m := &module{}
	l.modules[name] = m
	l.loading = append(l.loading, name)
	_, m.globals, m.err = l.exec(s, asModule, nil)
	l.loading = l.loading[:len(l.loading)-1]
	m.done = true
	return m.globals, m.err
}

// script returns the file that messages show as from; the playbook for what is none, such as a builtin.
func (l *loader) script(from string) script {
	if s, ok := l.scripts[from]; ok {
		return s
	}
	return l.main
}

// Resolve says where a file is that a script names.
func (l *loader) Resolve(from, path string) (fs.FS, string, error) {
	file, err := l.script(from).sibling(path)
	if err != nil {
		return nil, "", err
	}
	return file.tree.fsys, file.name, nil
}

// vocabulary is what a file finds there, made once for all files of a role.
type vocabulary struct {
	names    starlark.StringDict                   // all that is predeclared
	builtins map[string]map[string]builtin.Builtin // by module and name
	specs    map[builtin.Builtin]builtin.Spec      // of those that a file has called
}

// spec describes a builtin, if the module has one of that name.
func (v *vocabulary) spec(module, name string) (builtin.Spec, bool) {
	b, ok := v.builtins[module][name]
	if !ok {
		return builtin.Spec{}, false
	}
	spec, known := v.specs[b]
	if !known {
		spec = b.Spec()
		v.specs[b] = spec
	}
	return spec, true
}

func (l *loader) vocabulary(as role) *vocabulary {
	if v := l.vocabularies[as]; v != nil {
		return v
	}
	modules := l.declarations(as)
	if as != asInventory { // which has nothing to do: its group is no module
		modules = append(modules, l.Modules...)
	}
	v := &vocabulary{
		names: builtin.Predeclared(modules), builtins: map[string]map[string]builtin.Builtin{}, specs: map[builtin.Builtin]builtin.Spec{},
	}
	for _, m := range modules {
		if v.builtins[m.Name] == nil {
			v.builtins[m.Name] = map[string]builtin.Builtin{}
		}
		maps.Copy(v.builtins[m.Name], m.ByName())
	}
	v.names["json"], v.names["math"], v.names["time"] = json.Module, math.Module, starlarktime.Module
	v.names["print"] = starlark.NewBuiltin("print", printLine)
	v.names["struct"] = starlark.NewBuiltin("struct", starlarkstruct.Make)
	if module, ok := v.names["inventory"].(*starlarkstruct.Module); ok {
		v.names["inventory"] = inventoryValue{builtin.Predeclared([]builtin.Module{l.playbookModule()})["inventory"].(*starlark.Builtin), module, l}
	}
	l.vocabularies[as] = v
	return v
}

func docOf(f *syntax.File) string {
	if len(f.Stmts) == 0 {
		return ""
	}
	if expr, ok := f.Stmts[0].(*syntax.ExprStmt); ok {
		if lit, ok := expr.X.(*syntax.Literal); ok && lit.Token == syntax.STRING {
			return strings.TrimSpace(lit.Value.(string))
		}
	}
	return ""
}
