package builtin

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// Spec describes the action.
func (a *Action[P]) Spec() Spec {
	result := []Field{
		{"changed", "bool", "Whether anything changed, or would change in a dry run."},
		{"diff", "string", "What changed, in unified form; empty where there is nothing to compare."},
	}
	if a.Result != nil {
		result = append(result, describeResult(reflect.TypeOf(a.Result))...)
	}
	return Spec{a.Name, a.Doc, Acts, describe(reflect.ValueOf(a.Defaults)), result, afterHost}
}

func (a *Action[P]) name() string  { return a.Name }
func (l *Look[P, R]) name() string { return l.Name }
func (c *Control[P]) name() string { return c.Name }

// Spec describes the look.
func (l *Look[P, R]) Spec() Spec {
	return Spec{l.Name, l.Doc, Looks, describe(reflect.ValueOf(l.Defaults)), describeResult(reflect.TypeFor[R]()), afterHost}
}

// Spec describes the control.
func (c *Control[P]) Spec() Spec {
	return Spec{c.Name, c.Doc, Controls, describe(reflect.ValueOf(c.Defaults)), nil, c.Positional}
}

func describe(defaults reflect.Value) []Param {
	var params []Param
	for _, f := range fieldsOf(defaults.Type()) {
		p := Param{Name: f.name, Type: typeWord(f.typ), Doc: f.doc, Required: f.required, Accepts: accepts(f)}
		if !f.required {
			p.Default = literal(defaults.FieldByIndex(f.index))
		}
		params = append(params, p)
	}
	return params
}

func accepts(f field) func(starlark.Value) error {
	switch f.typ {
	case reflect.TypeFor[KeyWords](), reflect.TypeFor[Source](), reflect.TypeFor[Template](): // the one takes arguments, the others find a file
		return func(starlark.Value) error { return nil }
	}
	return func(v starlark.Value) error { return (&unpacker{f, reflect.New(f.typ).Elem(), caller{}}).Unpack(v) }
}

func describeResult(t reflect.Type) []Field {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[Text]() {
		return []Field{{"", typeWord(t), ""}}
	}
	var all []Field
	for _, f := range fieldsOf(t) {
		all = append(all, Field{f.name, typeWord(f.typ), f.doc})
	}
	return all
}

// typeWord is the word for a Go type in messages and in the reference.
func typeWord(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[time.Time]():
		return "time"
	case reflect.TypeFor[Text]():
		return "string or secret"
	case reflect.TypeFor[Mode]():
		return "file mode"
	case reflect.TypeFor[Strings]():
		return "list of strings"
	case reflect.TypeFor[Argv]():
		return "list of strings"
	case reflect.TypeFor[Ints]():
		return "list of integers"
	case reflect.TypeFor[StringMap](), reflect.TypeFor[Dict]():
		return "dict"
	case reflect.TypeFor[Devices]():
		return "dict of dicts"
	case reflect.TypeFor[Callable]():
		return "function"
	case reflect.TypeFor[Host]():
		return "host"
	case reflect.TypeFor[HostList]():
		return "list of hosts"
	case reflect.TypeFor[Source]():
		return "path in the project"
	case reflect.TypeFor[Template]():
		return "template in the project"
	case reflect.TypeFor[Any](), reflect.TypeFor[KeyWords](), reflect.TypeFor[starlark.Value]():
		return "any"
	case reflect.TypeFor[*starlarkstruct.Struct]():
		return "struct"
	}
	if strings.HasPrefix(t.Name(), "Optional[") {
		return typeWord(t.Field(0).Type) + " or None"
	}
	if t.Implements(reflect.TypeFor[Revealer]()) {
		return "secret"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeWord(t.Elem()) + " or None"
	case reflect.Slice:
		return "list of " + typeWord(t.Elem())
	case reflect.Map:
		return "dict of " + typeWord(t.Elem())
	case reflect.Struct:
		return "struct"
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint64, reflect.Uint32:
		return "int"
	case reflect.Float64:
		return "float"
	}
	return t.Kind().String()
}

// literal writes a default as a script would.
func literal(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		if x == 0 {
			return ""
		}
		return strconv.Quote(shortDuration(x))
	case Text:
		return strconv.Quote(x.String())
	case Mode:
		if x == 0 {
			return ""
		}
		return strconv.Quote(x.String())
	case string:
		return strconv.Quote(x)
	case bool:
		if x {
			return "True"
		}
		return "False"
	case int, int64, float64:
		return fmt.Sprint(x)
	}
	if strings.HasPrefix(v.Type().Name(), "Optional[") {
		if v.FieldByName("Set").Bool() {
			return literal(v.FieldByName("Value"))
		}
		return "None"
	}
	return ""
}

// shortDuration writes 2m0s as 2m.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Predeclared returns the names that the modules add to every script.
func Predeclared(modules []Module) starlark.StringDict {
	names := starlark.StringDict{}
	for _, m := range modules {
		if m.Name == "" {
			for _, b := range m.Builtins {
				names[b.name()] = b.value("")
			}
			continue
		}
		members := starlark.StringDict{}
		for _, b := range m.Builtins {
			members[b.name()] = b.value(m.Name)
		}
		names[m.Name] = &starlarkstruct.Module{Name: m.Name, Members: members}
	}
	return names
}
