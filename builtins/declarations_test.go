package builtins_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgrun/pgrun/builtins"
	"github.com/pgrun/pgrun/runtime/builtin"
)

var snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// reserved are Starlark's keywords, and Python's that Starlark keeps free: none can be a name.
var reserved = strings.Fields(`and as assert async await break class continue def del elif else except finally for from
	global if import in is lambda load nonlocal not or pass raise return try while with yield None True False`)

// wanted are names that playbooks use for their own: a builtin or module of that name would take it away.
var wanted = []string{"h", "host", "hosts", "name", "names", "path", "result", "version"}

// Every builtin is documented whole, and named so that a script can call it.
func TestDeclarations(t *testing.T) {
	top := map[string]bool{}
	declare := func(t *testing.T, name string) {
		if top[name] || slices.Contains(wanted, name) || slices.Contains(reserved, name) {
			t.Errorf("%q is declared twice, a keyword, or a name that playbooks want", name)
		}
		top[name] = true
	}
	for _, m := range builtins.Modules() {
		if !isSentence(m.Doc) {
			t.Errorf("module %q: its doc is no sentence: %q", m.Name, m.Doc)
		}
		if m.Name != "" {
			declare(t, m.Name)
			if !snakeCase.MatchString(m.Name) {
				t.Errorf("module %q: not in snake_case", m.Name)
			}
		}
		seen := map[string]bool{}
		for _, b := range m.Builtins {
			s := b.Spec()
			name := strings.TrimPrefix(m.Name+"."+s.Name, ".")
			t.Run(name, func(t *testing.T) {
				if m.Name == "" {
					declare(t, s.Name)
				}
				if seen[s.Name] || !snakeCase.MatchString(s.Name) || slices.Contains(reserved, s.Name) {
					t.Error("declared twice, not in snake_case, or a keyword")
				}
				seen[s.Name] = true
				checkSpec(t, s)
			})
		}
	}
}

func checkSpec(t *testing.T, s builtin.Spec) {
	if !isSentence(s.Doc) {
		t.Errorf("its doc is no sentence: %q", s.Doc)
	}
	params := map[string]bool{}
	for i, p := range s.Params {
		name := strings.TrimPrefix(p.Name, "**")
		if params[name] || !snakeCase.MatchString(name) || slices.Contains(reserved, name) {
			t.Errorf("parameter %q: there twice, not in snake_case, or a keyword", p.Name)
		}
		params[name] = true
		if !isSentence(p.Doc) {
			t.Errorf("parameter %q: its doc is no sentence: %q", p.Name, p.Doc)
		}
		if p.Type == "" || p.Type == "struct" {
			t.Errorf("parameter %q: no word for its type: %q", p.Name, p.Type)
		}
		if name != p.Name && i != len(s.Params)-1 {
			t.Errorf("parameter %q takes what is left: it comes last", p.Name)
		}
	}
	for _, f := range s.Result {
		// The only attribute without a name is a result that is no struct.
		if f.Name == "" && len(s.Result) == 1 {
			continue
		}
		if !snakeCase.MatchString(f.Name) || slices.Contains(reserved, f.Name) {
			t.Errorf("attribute %q of the result: not in snake_case, or a keyword", f.Name)
		}
		if !isSentence(f.Doc) {
			t.Errorf("attribute %q of the result: its doc is no sentence: %q", f.Name, f.Doc)
		}
	}
}

// isSentence reports whether a doc reads as one: a capital (or a parameter's name) first, a full stop last.
func isSentence(doc string) bool {
	return doc == strings.TrimSpace(doc) && len(doc) > 3 && strings.ContainsAny(doc[len(doc)-1:], ".)")
}
