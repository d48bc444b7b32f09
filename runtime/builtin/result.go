package builtin

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"

	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"github.com/pgrun/pgrun/runtime/outcome"
	"github.com/pgrun/pgrun/runtime/secret"
)

// result is what an action returns: changed, diff, and what it learned.
type result struct {
	builtin string
	attrs   starlark.StringDict
	unknown []string // learned only by applying, in a dry run
}

var _ starlark.HasAttrs = (*result)(nil)

// newResult makes the value of an action's call. kind is the zero value of what it can learn, learned
// what it did learn, or nil.
func newResult(scope *Scope, name string, changed bool, diff string, kind, learned any) starlark.Value {
	r := &result{builtin: name, attrs: starlark.StringDict{"changed": starlark.Bool(changed), "diff": starlark.String(diff)}}
	if learned != nil {
		structAttrs(scope, reflect.ValueOf(learned), r.attrs)
	} else if kind != nil {
		for _, f := range fieldsOf(reflect.TypeOf(kind)) {
			r.unknown = append(r.unknown, f.name)
		}
	}
	return r
}

func (r *result) String() string {
	return starlarkstruct.FromStringDict(starlark.String(r.builtin), r.attrs).String()
}
func (r *result) Type() string          { return "result" }
func (r *result) Freeze()               { r.attrs.Freeze() }
func (r *result) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: result") }

// Truth is changed, so that `if file.content(...):` does what it reads like.
func (r *result) Truth() starlark.Bool { return r.attrs["changed"].(starlark.Bool) }

func (r *result) AttrNames() []string {
	names := append(r.attrs.Keys(), r.unknown...)
	sort.Strings(names)
	return names
}

func (r *result) Attr(name string) (starlark.Value, error) {
	for _, unknown := range r.unknown {
		if name == unknown {
			return nil, &outcome.Undetermined{What: r.builtin + "(...)." + name}
		}
	}
	if v, ok := r.attrs[name]; ok {
		return v, nil
	}
	return nil, starlark.NoSuchAttrError(fmt.Sprintf("what %s(...) returns has no .%s (has: %s)", r.builtin, name, strings.Join(r.AttrNames(), ", ")))
}

// Revealer is a Go value that becomes a secret in a script.
type Revealer interface{ Reveal() string }

// toValue turns what a builtin found into a frozen Starlark value: structs by their star tags,
// slices, maps with string keys, pointers (nil is None), basic types, durations, times; a Text that is
// secret, or a Revealer, becomes a secret.
func toValue(scope *Scope, v reflect.Value) starlark.Value {
	value := toStarlark(scope, v)
	value.Freeze()
	return value
}

func toStarlark(scope *Scope, v reflect.Value) starlark.Value {
	if !v.IsValid() {
		return starlark.None
	}
	switch x := v.Interface().(type) {
	case starlark.Value:
		if x == nil {
			return starlark.None
		}
		return x
	case time.Duration:
		return starlarktime.Duration(x)
	case time.Time:
		return starlarktime.Time(x)
	case Text:
		if x.derived {
			return secret.Derive(scope.Mask, x.value, x.shown)
		}
		if x.secret {
			return secret.New(scope.Mask, x.value)
		}
		return starlark.String(x.value)
	case Revealer:
		return secret.New(scope.Mask, x.Reveal())
	}
	switch v.Kind() {
	case reflect.Bool:
		return starlark.Bool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return starlark.MakeInt64(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return starlark.MakeUint64(v.Uint())
	case reflect.Float32, reflect.Float64:
		return starlark.Float(v.Float())
	case reflect.String:
		return starlark.String(v.String())
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return starlark.None
		}
		return toStarlark(scope, v.Elem())
	case reflect.Slice, reflect.Array:
		items := make([]starlark.Value, v.Len())
		for i := range items {
			items[i] = toStarlark(scope, v.Index(i))
		}
		return starlark.NewList(items)
	case reflect.Map:
		dict := starlark.NewDict(v.Len())
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
		for _, k := range keys {
			_ = dict.SetKey(starlark.String(k.String()), toStarlark(scope, v.MapIndex(k))) // a new dict, a string key
		}
		return dict
	case reflect.Struct:
		attrs := starlark.StringDict{}
		structAttrs(scope, v, attrs)
		return starlarkstruct.FromStringDict(starlark.String(strings.ToLower(v.Type().Name())), attrs)
	}
	panic(fmt.Sprintf("no Starlark form of %s", v.Type()))
}

func structAttrs(scope *Scope, v reflect.Value, attrs starlark.StringDict) {
	v = reflect.Indirect(v)
	for _, f := range fieldsOf(v.Type()) {
		attrs[f.name] = toStarlark(scope, v.FieldByIndex(f.index))
	}
}
