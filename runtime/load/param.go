package load

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/secret"
	"github.com/pgrun/pgrun/runtime/suggest"
	"github.com/pgrun/pgrun/runtime/vault"
)

type paramParams struct {
	Name    string      `star:"name,required" doc:"Name for -e NAME=VALUE."`
	Default builtin.Any `star:"default" doc:"Its value where nothing else sets it. Without one it must be set."`
	Type    string      `star:"type" doc:"\"string\", \"int\", \"float\", \"bool\", \"duration\", \"list\", \"secret\" or \"any\"; the default's type if left out."`
	Doc     string      `star:"doc" doc:"What it is, for the user."`
	Choices builtin.Any `star:"choices" doc:"A list of the only values that it can have."`
}

// given is a value for a param from the command line.
type given struct {
	text   string         // of KEY=VALUE
	value  starlark.Value // from @FILE; nil for text
	source string
}

// readGiven reads the -e options, a later one over an earlier one.
func (l *loader) readGiven() (map[string]given, error) {
	all := map[string]given{}
	for _, set := range l.Set {
		path, isFile := strings.CutPrefix(set, "@")
		if !isFile {
			name, text, ok := strings.Cut(set, "=")
			if !ok || name == "" {
				return nil, fmt.Errorf("-e %s: write -e KEY=VALUE, or -e @FILE", set)
			}
			all[name] = given{text: text, source: "-e " + name}
			continue
		}
		values, err := l.readValues(path)
		if err != nil {
			return nil, fmt.Errorf("-e %s: %w", set, err)
		}
		for name, value := range values {
			all[name] = given{value: value, source: "-e " + set}
		}
	}
	return all, nil
}

// readValues reads a YAML or JSON file of params. Where any of it is encrypted, all its strings are
// secrets.
func (l *loader) readValues(path string) (starlark.StringDict, error) {
	data, err := readBounded(os.Open(path))
	if err != nil {
		return nil, err
	}
	content, err := vault.Load(l.ctx, path, data, l.Vault)
	if err != nil {
		return nil, err
	}
	mapping, ok := content.(vault.Map)
	if !ok {
		return nil, fmt.Errorf("%s holds no mapping of names to values", path)
	}
	encrypted := bytes.Contains(data, []byte("$ANSIBLE_VAULT;"))
	values := starlark.StringDict{}
	for _, entry := range mapping {
		name, ok := entry.Key.(string)
		if !ok {
			return nil, fmt.Errorf("%s: the key %v is no name", path, entry.Key)
		}
		values[name] = l.fromYAML(entry.Value, encrypted)
	}
	return values, nil
}

// declareParam is the builtin param.
func (l *loader) declareParam(c *builtin.Call, p paramParams) (starlark.Value, error) {
	as, _ := c.Thread.Local(roleKey).(role)
	if as != asPlaybook && as != asModule {
		return nil, fmt.Errorf("%s: belongs at the top level of a playbook, or of a file that it loads", c.Name)
	}
	if !isName(p.Name) {
		return nil, fmt.Errorf("%s: for parameter \"name\": %q is no name: use letters, digits and _", c.Name, p.Name)
	}
	if l.playbook.Inventory == nil {
		return nil, fmt.Errorf("%s: %s: the inventory can set it, so inventory(...) has to stand before", c.Name, p.Name)
	}
	if _, twice := l.params[p.Name]; twice {
		return nil, fmt.Errorf("%s: %q is declared twice", c.Name, p.Name)
	}
	param := Param{Name: p.Name, Type: p.Type, Doc: p.Doc, Required: p.Default.Value == nil, Default: p.Default.Value}
	if param.Type == "" {
		param.Type = typeOf(p.Default.Value)
	}
	if !slices.Contains(paramTypes, param.Type) {
		return nil, fmt.Errorf("%s: for parameter \"type\": %q is none of %s", c.Name, param.Type, strings.Join(paramTypes, ", "))
	}
	choices, err := l.choices(param.Type, p.Choices)
	if err != nil {
		return nil, fmt.Errorf("param %s: %w", p.Name, err)
	}
	for _, choice := range choices {
		param.Choices = append(param.Choices, plainly(choice))
	}
	value, source, err := l.paramValue(param)
	if err != nil {
		return nil, fmt.Errorf("param %s: %w", p.Name, err)
	}
	if err := among(value, choices, param.Choices); err != nil {
		return nil, fmt.Errorf("param %s: %s: %w", p.Name, source, err)
	}
	param.Value = value
	l.params[p.Name] = len(l.playbook.Params)
	l.playbook.Params = append(l.playbook.Params, param)
	if value == nil { // reported with all the others at the end of loading
		if len(choices) > 0 {
			return choices[0], nil
		}
		return l.none(param.Type), nil
	}
	return value, nil
}

// none is what the rest of a playbook has of a param that is not set: it goes on as far as it can.
func (l *loader) none(kind string) starlark.Value {
	switch kind {
	case "string":
		return starlark.String("")
	case "int":
		return starlark.MakeInt(0)
	case "float":
		return starlark.Float(0)
	case "bool":
		return starlark.False
	case "duration":
		return starlarktime.Duration(0)
	case "list":
		return starlark.NewList(nil)
	case "secret":
		return secret.New(l.Mask, "")
	}
	return starlark.None
}

// choices are the only values that a param, or each item of a list, can have; nil where any will do.
func (l *loader) choices(kind string, given builtin.Any) (choices []starlark.Value, err error) {
	if given.Value == nil {
		return nil, nil
	}
	list, ok := given.Value.(starlark.Iterable)
	if !ok {
		return nil, fmt.Errorf("for parameter \"choices\": got %s, want a list", given.Value.Type())
	}
	for choice := range starlark.Elements(list) {
		if choice, err = l.convert(itemType(kind), choice); err != nil {
			return nil, fmt.Errorf("for parameter \"choices\": %w", err)
		}
		choices = append(choices, choice)
	}
	return choices, nil
}

// among refuses a value that is not one of the choices; of a list, each item has to be one.
func among(value starlark.Value, choices []starlark.Value, names []string) error {
	if choices == nil || value == nil {
		return nil
	}
	items, isList := value.(*starlark.List)
	if !isList {
		items = starlark.NewList([]starlark.Value{value})
	}
	for item := range starlark.Elements(items) {
		found := slices.ContainsFunc(choices, func(choice starlark.Value) bool {
			same, err := starlark.Equal(item, choice)
			return err == nil && same
		})
		if !found {
			return fmt.Errorf("%s is none of %s%s", plainly(item), strings.Join(names, ", "), suggest.Or(plainly(item), names, ""))
		}
	}
	return nil
}

// itemType is the type of a list's items, or of a value that is no list.
func itemType(kind string) string {
	if kind == "list" {
		return "any"
	}
	return kind
}

// plainly is a value without a string's quotes.
func plainly(v starlark.Value) string {
	if s, ok := starlark.AsString(v); ok {
		return s
	}
	return v.String()
}

// several is what follows the first of several assignments in one.
var several = regexp.MustCompile(` [A-Za-z0-9_]+=`)

// paramValue finds a param's value, and where it came from: -e, the inventory, the default.
func (l *loader) paramValue(p Param) (starlark.Value, string, error) {
	if g, ok := l.given[p.Name]; ok {
		value, err := l.parse(p, g)
		if err != nil && several.MatchString(g.text) {
			err = fmt.Errorf("%w: each NAME=VALUE has a -e of its own", err)
		}
		return value, g.source, err
	}
	source := "the default"
	value := p.Default
	if v, ok := l.playbook.Inventory.Params[p.Name]; ok {
		value, source = v, "the inventory "+l.playbook.Inventory.Path
	}
	if value == nil {
		return nil, "", nil
	}
	converted, err := l.convert(p.Type, value)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", source, err)
	}
	return converted, source, nil
}

func (l *loader) parse(p Param, g given) (starlark.Value, error) {
	value := g.value
	if value == nil {
		switch p.Type {
		case "int":
			n, err := strconv.ParseInt(g.text, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %q is not an integer", g.source, g.text)
			}
			return starlark.MakeInt64(n), nil
		case "float":
			n, err := strconv.ParseFloat(g.text, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %q is not a number", g.source, g.text)
			}
			return starlark.Float(n), nil
		case "bool":
			return parseBool(g)
		case "list":
			var items []starlark.Value
			for item := range strings.SplitSeq(g.text, ",") {
				if item = strings.TrimSpace(item); item != "" {
					items = append(items, starlark.String(item))
				}
			}
			return starlark.NewList(items), nil
		}
		value = starlark.String(g.text)
	}
	converted, err := l.convert(p.Type, value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.source, err)
	}
	return converted, nil
}

func parseBool(g given) (starlark.Value, error) {
	switch strings.ToLower(g.text) {
	case "true", "yes", "on", "1":
		return starlark.True, nil
	case "false", "no", "off", "0":
		return starlark.False, nil
	}
	return nil, fmt.Errorf("%s: %q is neither true nor false", g.source, g.text)
}

var paramTypes = []string{"string", "int", "float", "bool", "duration", "list", "secret", "any"}

func isName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

func typeOf(v starlark.Value) string {
	switch v.(type) {
	case starlark.Int:
		return "int"
	case starlark.Float:
		return "float"
	case starlark.Bool:
		return "bool"
	case *starlark.List, starlark.Tuple:
		return "list"
	case starlarktime.Duration:
		return "duration"
	case secret.Value:
		return "secret"
	case starlark.String, nil:
		return "string"
	}
	return "any"
}

// convert makes v a value of the param's type.
func (l *loader) convert(kind string, v starlark.Value) (starlark.Value, error) {
	ok := false
	switch kind {
	case "any":
		return v, nil
	case "string":
		if s, isSecret := v.(secret.Value); isSecret {
			return s, nil
		}
		_, ok = v.(starlark.String)
	case "int":
		_, ok = v.(starlark.Int)
	case "float":
		f, isNumber := starlark.AsFloat(v)
		return starlark.Float(f), errorUnless(isNumber, v, kind)
	case "bool":
		_, ok = v.(starlark.Bool)
	case "list":
		_, isList := v.(*starlark.List)
		_, isTuple := v.(starlark.Tuple)
		ok = isList || isTuple
	case "duration":
		d, err := builtin.AsDuration(v)
		return starlarktime.Duration(d), err
	case "secret":
		if s, isString := v.(starlark.String); isString {
			return secret.New(l.Mask, string(s)), nil
		}
		_, ok = v.(secret.Value)
	}
	return v, errorUnless(ok, v, kind)
}

func errorUnless(ok bool, v starlark.Value, kind string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("got %s, want %s", v.Type(), kind)
}

// checkParams says at once what params are missing, and which were set that the playbook does not have.
func (l *loader) checkParams() error {
	var known []string
	var wrong []error
	for _, p := range l.playbook.Params {
		known = append(known, p.Name)
		if p.Value == nil && !l.AllowUnset {
			wrong = append(wrong, fmt.Errorf("param %s is not set: -e %s=VALUE%s", p.Name, p.Name, about(p.Doc)))
		}
	}
	names := make([]string, 0, len(l.given))
	for name := range l.given {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !slices.Contains(known, name) {
			list := " (it has none)"
			if len(known) > 0 {
				list = " (has: " + strings.Join(known, ", ") + ")"
			}
			wrong = append(wrong, fmt.Errorf("%s: %s has no param %q%s", l.given[name].source, l.main.shown(), name, suggest.Or(name, known, list)))
		}
	}
	if len(wrong) == 0 {
		l.noteMisspelt(known)
	}
	return errors.Join(wrong...)
}

// noteMisspelt prints what of the inventory's params looks like a param of the playbook's that the inventory does not set. It is no error: another
// playbook may have it.
func (l *loader) noteMisspelt(known []string) {
	in := l.playbook.Inventory
	for _, name := range slices.Sorted(maps.Keys(in.Params)) {
		near := suggest.Nearest(name, known)
		_, here := in.Params[near]
		if _, there := l.given[near]; near != "" && !here && !there {
			l.Print(fmt.Sprintf("%s: params: %s has no param %q: did you mean %s?", in.Path, l.main.shown(), name, near))
		}
	}
}

func about(doc string) string {
	if doc == "" {
		return ""
	}
	return " (" + strings.TrimSuffix(doc, ".") + ")"
}
