package render

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/secret"
)

// maxDepth bounds how deep a script's values are nested: a list may contain itself.
const maxDepth = 100

// value turns a script's value into the one that a template sees.
func (r *rendering) value(v starlark.Value) (any, error) {
	if r.depth++; r.depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep: does it contain itself?", maxDepth)
	}
	defer func() { r.depth-- }()
	switch v := v.(type) {
	case nil, starlark.NoneType:
		return nil, nil
	case starlark.Bool:
		return bool(v), nil
	case starlark.String:
		return string(v), nil
	case starlark.Bytes:
		return string(v), nil
	case starlark.Int:
		return integer(v), nil
	case starlark.Float:
		return float64(v), nil
	case starlarktime.Duration:
		return time.Duration(v), nil
	case starlarktime.Time:
		return time.Time(v), nil
	case secret.Value:
		if v.Reveal() == "" {
			return (*hidden)(nil), nil // false in {{if}}, and prints as nothing
		}
		return &hidden{r, v.Reveal()}, nil
	case starlark.IterableMapping:
		return r.mapping(v)
	case starlark.Iterable:
		return r.items(v)
	case starlark.Callable:
		return nil, fmt.Errorf("a template cannot use a %s", v.Type())
	case starlark.HasAttrs:
		return r.attributes(v)
	}
	return nil, fmt.Errorf("a template cannot use a %s", v.Type())
}

// integer is an int wherever it fits, so that {{eq .port 5432}} compares like with like.
func integer(v starlark.Int) any {
	if n, ok := v.Int64(); ok {
		return int(n)
	}
	return new(big.Int).Set(v.BigInt())
}

func (r *rendering) items(v starlark.Iterable) ([]any, error) {
	all := []any{}
	it := v.Iterate()
	defer it.Done()
	var x starlark.Value
	for it.Next(&x) {
		item, err := r.value(x)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", len(all), err)
		}
		all = append(all, item)
	}
	return all, nil
}

func (r *rendering) mapping(v starlark.IterableMapping) (map[string]any, error) {
	m := map[string]any{}
	for _, item := range v.Items() {
		key, ok := starlark.AsString(item[0])
		if !ok {
			key = item[0].String()
		}
		value, err := r.value(item[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		m[key] = value
	}
	return m, nil
}

// attributes makes a map of a struct, a host or a host's variables. What cannot be shown, such as a
// function, is left out: the template says that it is not there.
func (r *rendering) attributes(v starlark.HasAttrs) (map[string]any, error) {
	m := map[string]any{}
	for _, name := range v.AttrNames() {
		attr, err := v.Attr(name)
		if err != nil {
			return nil, err
		}
		if _, ok := attr.(starlark.Callable); ok || attr == nil {
			continue
		}
		if m[name], err = r.value(attr); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return m, nil
}

// hidden is a secret in a template: clear text to what prints it, which it takes note of.
type hidden struct {
	rendering *rendering
	text      string
}

// String returns the clear text, for whatever prints it, printf included.
func (h *hidden) String() string {
	if h == nil {
		return ""
	}
	h.rendering.revealed = true
	return h.text
}

// Format is String for every verb.
func (h *hidden) Format(f fmt.State, verb rune) {
	if verb == 'v' || strings.ContainsRune("dbcoOU", verb) {
		verb = 's'
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), h.String())
}

// MarshalJSON is String, for toJson.
func (h *hidden) MarshalJSON() ([]byte, error) { return json.Marshal(h.String()) }
