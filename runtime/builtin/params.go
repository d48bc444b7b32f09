package builtin

import (
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/secret"
	"github.com/pgrun/pgrun/runtime/suggest"
)

// The types that a parameter's field can have, besides string, bool, int, int64, float64 and
// time.Duration (in a script "90s" or "2m", or a duration of the time module):

type (
	// Strings is a list of strings; a single string counts as a list of one.
	Strings []string

	// StringMap is a dict whose values are strings, numbers or booleans, all kept as strings.
	StringMap map[string]string

	// Argv is a program and its arguments: a list, since a single string would need a shell to split it.
	Argv []string

	// Ints is a list of integers.
	Ints []int

	// Dict is a dict with strings as keys and any values, such as the variables of a template.
	Dict starlark.StringDict

	// Devices is a dict of dicts, such as an Incus instance's devices.
	Devices map[string]map[string]string

	// Mode is a file's permission bits, in octal: "0644". An int is none: 644 is not 0644.
	Mode fs.FileMode

	// KeyWords takes the arguments that no other parameter is named for. Its name begins with **.
	KeyWords starlark.StringDict

	// Any is any value of the script's.
	Any struct{ starlark.Value }

	// Callable is a function of the script's.
	Callable struct{ starlark.Callable }
)

// Text is a string or a secret.
type Text struct {
	value   string
	shown   string // a secret's text with its secret parts hidden
	secret  bool
	derived bool
}

// Plain makes a Text that is no secret.
func Plain(s string) Text { return Text{value: s} }

// Secret makes a Text that is not to be shown.
func Secret(s string) Text { return Text{value: s, shown: secret.Hidden, secret: true} }

// Derived makes a Text around secrets which the script had before, such as a connection URI with a password. shown is
// that text without them, for people.
func Derived(s, shown string) Text {
	return Text{value: s, shown: shown, secret: true, derived: true}
}

// Reveal returns the text; IsSecret tells whether it may be shown.
func (t Text) Reveal() string { return t.value }

// Shown returns the text with its secret parts hidden, for people.
func (t Text) Shown() string {
	if t.secret {
		return t.shown
	}
	return t.value
}

// IsSecret reports whether the text is a secret, or holds one.
func (t Text) IsSecret() bool { return t.secret }

// String hides a secret.
func (t Text) String() string {
	if t.secret {
		return secret.Printed
	}
	return t.value
}

// GoString hides a secret.
func (t Text) GoString() string { return strconv.Quote(t.String()) }

// Optional is a parameter that may be None or left out, where that differs from its zero value.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some is an Optional that is set.
func Some[T any](v T) Optional[T] { return Optional[T]{v, true} }

// Source is a file or directory of the project, named by a path that is relative to the script which
// calls the builtin, or from the project's root with //.
type Source struct {
	Path string // as the script wrote it
	FS   fs.FS  // and there it is: FS, Name
	Name string
}

// Absent is the error of a Source that is not there: a file, a template, ...
func (s Source) Absent(what string) error {
	where := ""
	if s.Name != strings.TrimPrefix(s.Path, "//") {
		where = ", where it would be " + s.Name
	}
	return fmt.Errorf("no %s %q in the project%s", what, s.Path, where)
}

// Template is a Source that is a template. One whose path is written out is read while the playbook loads, so that a
// mistake in it shows before any host is touched.
type Template struct{ Source }

// Host is a parameter that names another host of the inventory.
type Host struct {
	*inventory.Host
	scope *Scope
}

// HostList is a list of hosts, such as inventory.hosts(pattern) gives; a single host counts as a list of one.
type HostList []Host

// Reader returns a Reader of the other host.
func (h Host) Reader() (host.Reader, error) { return h.scope.Hosts.Reader(h.Host) }

// Writer returns both halves of the other host, for what an Apply has to do there, too. In a dry run
// it is an error.
func (h Host) Writer() (host.Host, error) { return h.scope.Hosts.Host(h.Host) }

// Call calls the function: itself, not the parameter around it, which the dialect's check against recursion would not
// know again.
func (f Callable) Call(thread *starlark.Thread, args ...starlark.Value) (starlark.Value, error) {
	return starlark.Call(thread, f.Callable, args, nil)
}

// Pending reports whether something on the other host would have changed by now in this dry run: anything, or what a builtin or the
// object of a call names.
func (h Host) Pending(what string) bool {
	return slices.ContainsFunc(h.scope.Hosts.Announced(h.Host), func(a Announcement) bool {
		return what == "" || what == a.Builtin || what == a.Object
	})
}

// field is a parameter, prepared once when its builtin is declared.
type field struct {
	name, doc string
	index     []int
	required  bool
	choices   []string // of a string: the only ones that it can be
	typ       reflect.Type
}

// known are the fields of each struct type, which do not change: looking them up is more than half of what a call of a
// builtin costs by itself.
var known sync.Map // reflect.Type to []field

// fieldsOf lists the tagged fields of a struct type, those of embedded structs included.
func fieldsOf(t reflect.Type) []field {
	if fields, ok := known.Load(t); ok {
		return fields.([]field)
	}
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		tag, ok := f.Tag.Lookup("star")
		if !ok {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		fields = append(fields, field{name, f.Tag.Get("doc"), f.Index, option == "required", strings.Fields(f.Tag.Get("choices")), f.Type})
	}
	known.Store(t, fields)
	return fields
}

// unpack sets the fields of dst, a pointer to a parameter struct which holds the defaults, to a call's
// arguments. Only the first positional parameters may be given by position.
func unpack(name string, positional int, dst any, from caller, args starlark.Tuple, kwargs []starlark.Tuple) error {
	root := reflect.ValueOf(dst).Elem()
	fields := fieldsOf(root.Type())
	if len(args) > min(positional, len(fields)) {
		names := make([]string, len(fields))
		for i, f := range fields {
			names[i] = f.name
		}
		return TooMany(name, positional, names)
	}
	given := make([]starlark.Tuple, len(args), len(args)+len(kwargs))
	for i, v := range args {
		given[i] = starlark.Tuple{starlark.String(fields[i].name), v}
	}
	pairs := make([]any, 0, 2*len(fields))
	for _, f := range fields {
		if strings.HasPrefix(f.name, "**") {
			var rest KeyWords
			rest, kwargs = takeRest(fields, kwargs)
			root.FieldByIndex(f.index).Set(reflect.ValueOf(rest))
			continue
		}
		mark := "?"
		if f.required {
			mark = ""
		}
		pairs = append(pairs, f.name+mark, &unpacker{f, root.FieldByIndex(f.index), from})
	}
	// UnpackArgs takes every parameter after an optional one as optional: put the required first, and name them all.
	return starlark.UnpackArgs(name, nil, append(given, kwargs...), requiredFirst(pairs)...)
}

// TooMany is the error of a call with more positional arguments than its parameters, the host aside, may take.
func TooMany(name string, positional int, params []string) error {
	positional = min(positional, len(params))
	if positional > 0 && positional < len(params) && !strings.HasPrefix(params[positional], "**") {
		return fmt.Errorf("%s: too many positional arguments: give %s and what follows it by name", name, params[positional])
	}
	return fmt.Errorf("%s: too many positional arguments (%d at most here): give the others by name", name, positional)
}

// takeRest splits off the keyword arguments that none of the fields is named for.
func takeRest(fields []field, kwargs []starlark.Tuple) (KeyWords, []starlark.Tuple) {
	rest, named := KeyWords{}, []starlark.Tuple{}
	for _, pair := range kwargs {
		name := string(pair[0].(starlark.String))
		if slices.ContainsFunc(fields, func(f field) bool { return f.name == name }) {
			named = append(named, pair)
		} else {
			rest[name] = pair[1]
		}
	}
	return rest, named
}

func requiredFirst(pairs []any) []any {
	var required, optional []any
	for i := 0; i < len(pairs); i += 2 {
		if strings.HasSuffix(pairs[i].(string), "?") {
			optional = append(optional, pairs[i:i+2]...)
		} else {
			required = append(required, pairs[i:i+2]...)
		}
	}
	return append(required, optional...)
}

// caller is where a call comes from: what hosts and project files it names are resolved by it.
type caller struct {
	scope *Scope // nil while loading
	file  string // the script
	files Files
}

// resolve finds a file of the project.
func (c caller) resolve(to *Source, v starlark.Value, wrong error) error {
	path, ok := starlark.AsString(v)
	if !ok {
		return wrong
	}
	fsys, name, err := c.files.Resolve(c.file, path)
	if err == nil {
		*to = Source{path, fsys, name}
	}
	return err
}

// unpacker sets one field.
type unpacker struct {
	field
	dst  reflect.Value
	from caller
}

func (u *unpacker) Unpack(v starlark.Value) error {
	if text, ok := v.(starlark.String); ok && len(u.choices) > 0 && !slices.Contains(u.choices, string(text)) {
		return fmt.Errorf("%s is none of its values: %s%s", text, strings.Join(u.choices, ", "), suggest.Or(string(text), u.choices, ""))
	}
	return set(u.dst, v, u.from)
}

func set(dst reflect.Value, v starlark.Value, from caller) error {
	if strings.HasPrefix(dst.Type().Name(), "Optional[") {
		if v == starlark.None {
			dst.SetZero()
			return nil
		}
		dst.FieldByName("Set").SetBool(true)
		return set(dst.FieldByName("Value"), v, from)
	}
	if p, ok := dst.Addr().Interface().(*Any); ok {
		p.Value = v
		return nil
	}
	if v == starlark.None {
		return fmt.Errorf("got None, want %s: leave the argument out instead", typeWord(dst.Type()))
	}
	wrong := fmt.Errorf("got %s, want %s", v.Type(), typeWord(dst.Type()))
	switch p := dst.Addr().Interface().(type) {
	case *string:
		s, ok := starlark.AsString(v)
		if _, isSecret := v.(secret.Value); isSecret {
			return fmt.Errorf("got a secret, want string: this parameter is shown in logs and process lists")
		}
		if !ok {
			return wrong
		}
		*p = s
		return notPrinted(s)
	case *bool:
		b, ok := v.(starlark.Bool)
		if !ok {
			return wrong
		}
		*p = bool(b)
	case *int, *int64:
		if _, ok := v.(starlark.Int); !ok {
			return wrong
		}
		return starlark.AsInt(v, p)
	case *float64:
		f, ok := starlark.AsFloat(v)
		if !ok {
			return wrong
		}
		*p = f
	case *time.Duration:
		d, err := AsDuration(v)
		if err != nil {
			return err
		}
		*p = d
	case *Text:
		t, ok := asText(v)
		if !ok {
			return wrong
		}
		*p = t
		if !t.secret {
			return notPrinted(t.value)
		}
	case *Mode:
		m, err := asMode(v)
		if err != nil {
			return err
		}
		*p = m
	case *Strings:
		list, err := asStrings(v)
		if err != nil {
			return err
		}
		*p = list
	case *Argv:
		argv, err := asArgv(v)
		if err != nil {
			return err
		}
		*p = argv
	case *Ints:
		ints, err := asInts(v)
		if err != nil {
			return err
		}
		*p = ints
	case *Dict:
		dict, err := asDict(v)
		if err != nil {
			return err
		}
		*p = dict
	case *StringMap:
		m, err := asStringMap(v)
		if err != nil {
			return err
		}
		*p = m
	case *Devices:
		return setDevices(p, v)
	case *Source:
		return from.resolve(p, v, wrong)
	case *Template:
		return from.resolve(&p.Source, v, wrong)
	case *Callable:
		f, ok := v.(starlark.Callable)
		if !ok {
			return wrong
		}
		p.Callable = f
	case *Host:
		h, ok := v.(*inventory.Host)
		if !ok {
			return fmt.Errorf("got %s, want a host: inventory.host(name) gives one", v.Type())
		}
		*p = Host{h, from.scope}
	case *HostList:
		list, err := asHosts(v, from.scope)
		if err != nil {
			return err
		}
		*p = list
	default:
		return fmt.Errorf("internal error: no way to unpack %s", dst.Type())
	}
	return nil
}
