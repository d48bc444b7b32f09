// Package reference writes the reference of the builtins from their declarations.
package reference

import (
	"fmt"
	"strings"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/suggest"
)

// Parts are the modules to describe.
type Parts struct {
	Playbook, Inventory builtin.Module // what each declares with
	Modules             []builtin.Module
}

// Markdown returns the reference of everything, or of one module or builtin, named as in a script.
func Markdown(p Parts, name string) (string, error) {
	var b strings.Builder
	p.Modules = joinUnnamed(p.Modules)
	if name == "" {
		b.WriteString("# Reference of the builtins\n\nWritten by `make docs` from their declarations; `pgrun docs NAME` prints a part of it.\n\n")
		b.WriteString("The first argument of an action or a look is the host. The parameter after it may be given by position, all others by name. One string, or host, is a list of one. ")
		b.WriteString("An action returns a struct with `changed` and `diff`; a look returns data.\n\n")
		contents(&b, p)
		section(&b, "Declarations of a playbook", p.Playbook)
		section(&b, "Declarations of an inventory", p.Inventory)
		for _, m := range p.Modules {
			section(&b, title(m), m)
		}
		return b.String(), nil
	}
	var names, modules []string
	for _, m := range append([]builtin.Module{p.Playbook, p.Inventory}, p.Modules...) {
		if m.Name != "" && m.Name == name {
			section(&b, title(m), m)
		}
		if m.Name != "" {
			names, modules = append(names, m.Name), append(modules, m.Name)
		}
		for _, entry := range m.Builtins {
			full := qualified(m, entry.Spec())
			if full == name {
				describe(&b, m, entry.Spec())
			}
			names = append(names, full)
		}
	}
	if b.Len() > 0 {
		return b.String(), nil
	}
	if text := suggest.Habit(name); text != "" {
		return "", fmt.Errorf("no module or builtin %q: %s", name, text)
	}
	return "", fmt.Errorf("no module or builtin %q%s", name, suggest.Or(name, names, " (modules: "+strings.Join(modules, ", ")+")"))
}

// joinUnnamed makes one module, the first, of those whose builtins need no prefix.
func joinUnnamed(modules []builtin.Module) []builtin.Module {
	all := []builtin.Module{{Doc: "Builtins without a prefix: steering a script, commands, templates, secrets."}}
	for _, m := range modules {
		if m.Name == "" {
			all[0].Builtins = append(all[0].Builtins, m.Builtins...)
		} else {
			all = append(all, m)
		}
	}
	return all
}

func title(m builtin.Module) string {
	if m.Name == "" {
		return "Without a prefix"
	}
	return m.Name
}

func contents(b *strings.Builder, p Parts) {
	for _, m := range p.Modules {
		var names []string
		for _, entry := range m.Builtins {
			full := qualified(m, entry.Spec())
			names = append(names, fmt.Sprintf("[%s](#%s)", full, anchor(full)))
		}
		first, _, _ := strings.Cut(m.Doc, ". ")
		fmt.Fprintf(b, "- **%s**: %s %s\n", title(m), strings.TrimSuffix(first, ".")+".", strings.Join(names, ", "))
	}
	b.WriteString("\n")
}

// anchor is what GitHub makes of a heading.
func anchor(heading string) string {
	return strings.NewReplacer(".", "", " ", "-").Replace(strings.ToLower(heading))
}

func section(b *strings.Builder, title string, m builtin.Module) {
	fmt.Fprintf(b, "## %s\n\n", title)
	if m.Doc != "" {
		fmt.Fprintf(b, "%s\n\n", m.Doc)
	}
	for _, entry := range m.Builtins {
		describe(b, m, entry.Spec())
	}
}

func qualified(m builtin.Module, s builtin.Spec) string {
	if m.Name == "" {
		return s.Name
	}
	return m.Name + "." + s.Name
}

func describe(b *strings.Builder, m builtin.Module, s builtin.Spec) {
	name := qualified(m, s)
	fmt.Fprintf(b, "### %s\n\n```python\n%s\n```\n\n%s\n\n", name, signature(name, s), s.Doc)
	if s.Kind == builtin.Acts {
		b.WriteString("An action: it changes the host where it is not already so.\n\n")
	}
	if len(s.Params) > 0 {
		b.WriteString("| parameter | type | default | |\n| --- | --- | --- | --- |\n")
		for _, p := range s.Params {
			value := "`" + p.Default + "`"
			if p.Default == "" || p.Default == `""` {
				value = ""
			}
			if p.Required {
				value = "required"
			}
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", p.Name, p.Type, value, cell(p.Doc))
		}
		b.WriteString("\n")
	}
	if s.Kind == builtin.Looks && len(s.Result) == 1 && s.Result[0].Name == "" {
		fmt.Fprintf(b, "Returns: %s.\n\n", s.Result[0].Type)
		return
	}
	if len(s.Result) > 0 && (s.Kind == builtin.Looks || len(s.Result) > 2) {
		b.WriteString("Returns a struct:\n\n| attribute | type | |\n| --- | --- | --- |\n")
		for _, f := range s.Result {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.Name, f.Type, cell(f.Doc))
		}
		b.WriteString("\n")
	}
}

// signature is a call with every parameter.
func signature(name string, s builtin.Spec) string {
	var words []string
	if s.TakesHost() {
		words = append(words, "h")
	}
	for i, p := range s.Params {
		switch {
		case strings.HasPrefix(p.Name, "**"):
			words = append(words, p.Name)
		case p.Required && i == 0:
			words = append(words, p.Name)
		case p.Required:
			words = append(words, p.Name+" = ...")
		case p.Default == "":
			words = append(words, "["+p.Name+" = ...]")
		default:
			words = append(words, p.Name+" = "+p.Default)
		}
	}
	line := name + "(" + strings.Join(words, ", ") + ")"
	if len(line) <= 100 {
		return line
	}
	return name + "(\n    " + strings.Join(words, ",\n    ") + ",\n)"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
