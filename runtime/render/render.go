// Package render fills in templates: Go's text/template, with what a playbook needs around it.
//
// A template sees the values of a script as natural Go values: strings, numbers, bools, lists and maps
// (of dicts and structs; ranges go in the order of keys). A host is a map with name, groups and vars.
// True prints as true. What is most likely a mistake is an error that names the file and line: a key
// that is not there, a None, list or dict that is printed as it is.
//
// A secret is clear text to the template. When it gets into what the template prints, all of that is a
// secret from then on; one that is only passed in, such as among a host's variables, changes nothing.
package render

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
)

// Read reads a template of the project.
func Read(source builtin.Source) (string, error) {
	content, err := fs.ReadFile(source.FS, source.Name)
	// Neither error is wrapped: what is missing here says nothing about the host.
	if errors.Is(err, fs.ErrNotExist) {
		return "", source.Absent("template")
	}
	if err != nil {
		return "", errors.New("template: " + err.Error())
	}
	return string(content), nil
}

// Check says what is wrong with a template by itself, whatever its variables.
func Check(name, text string) error {
	_, err := parsed(&rendering{}, name, text, nil)
	return err
}

// Render fills in a template with variables. The name is the file's, as messages shall show it.
func Render(name, text string, vars starlark.StringDict) (builtin.Text, error) {
	r := &rendering{}
	data := make(map[string]any, len(vars))
	for key, v := range vars {
		value, err := r.value(v)
		if err != nil {
			return builtin.Text{}, fmt.Errorf("%s: variable %s: %w", name, key, err)
		}
		data[key] = value
	}
	t, err := parsed(r, name, text, vars.Keys())
	if err != nil {
		return builtin.Text{}, err
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return builtin.Text{}, located(err, vars.Keys())
	}
	if r.revealed {
		return builtin.Secret(b.String()), nil
	}
	return builtin.Plain(b.String()), nil
}

// parsed is a template before it is filled in.
func parsed(r *rendering, name, text string, vars []string) (*template.Template, error) {
	if line := jinja(text); line > 0 {
		return nil, fmt.Errorf("%s:%d: {%% is Jinja's: write {{ if .name }} ... {{ end }} or {{ range .list }} ... {{ end }}, and {{ \"{%%\" }} for {%% itself", name, line)
	}
	t, err := template.New(name).Option("missingkey=error").Funcs(r.functions()).Parse(text)
	if err != nil {
		return nil, located(err, vars)
	}
	for _, part := range t.Templates() {
		printThrough(part.Root)
	}
	return t, nil
}

// jinja returns the first line with a statement of Jinja's, which would be printed as it is; 0 is none.
func jinja(text string) int {
	at := regexp.MustCompile(`\{%-? *[a-z]`).FindStringIndex(text)
	if at == nil {
		return 0
	}
	return 1 + strings.Count(text[:at[0]], "\n")
}

// rendering is one run of a template.
type rendering struct {
	revealed bool // a secret was printed, or went into what is
	depth    int  // of the value being converted
}

// printer is the function that everything printed goes through.
const printer = "_print"

// printThrough makes every {{ value }} below a node {{ value | _print "value" }}, as html/template does
// for its escaping.
func printThrough(node parse.Node) {
	switch n := node.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, inner := range n.Nodes {
				printThrough(inner)
			}
		}
	case *parse.IfNode:
		printThrough(n.List)
		printThrough(n.ElseList)
	case *parse.RangeNode:
		printThrough(n.List)
		printThrough(n.ElseList)
	case *parse.WithNode:
		printThrough(n.List)
		printThrough(n.ElseList)
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 {
			expression := n.Pipe.String()
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{
				parse.NewIdentifier(printer).SetPos(n.Pos),
				&parse.StringNode{NodeType: parse.NodeString, Pos: n.Pos, Quoted: strconv.Quote(expression), Text: expression},
			}})
		}
	}
}

// mistake is an error that says by itself what is wrong, without the template engine's words around it.
type mistake struct{ expression, text string }

func (m *mistake) Error() string { return m.text }

func mistaken(format string, args ...any) error { return &mistake{text: fmt.Sprintf(format, args...)} }

// emit is what the printer does: expression is what its value stands as in the template.
func emit(expression string, v any) (string, error) {
	s, err := text(v)
	if err != nil {
		return "", &mistake{expression, err.Error()}
	}
	return s, nil
}

var (
	// engineError takes the engine's errors apart: file:line, the expression, what is wrong.
	engineError = regexp.MustCompile(`(?s)^template: (.*?:\d+)(?::\d+)?: (?:executing ".*?" at <(.*?)>: )?(.*)$`)
	missingKey  = regexp.MustCompile(`^map has no entry for key "(.*)"$`)
	nilPointer  = regexp.MustCompile(`^nil pointer evaluating interface \{\}\.(.*)$`)
	noFunction  = regexp.MustCompile(`^function "(.*)" not defined$`)
	nilData     = regexp.MustCompile(`^nil data; no entry for key "(.*)"$`)
)

// located rewrites an error of the template engine as file:line: expression: what is wrong. The names of
// the variables are shown with one that is missing among them.
func located(err error, names []string) error {
	parts := engineError.FindStringSubmatch(err.Error())
	if parts == nil {
		return err
	}
	where, expression, what := parts[1], parts[2], parts[3]
	var own *mistake
	if errors.As(err, &own) {
		what = own.text
		if own.expression != "" {
			expression = own.expression
		}
	} else if m := missingKey.FindStringSubmatch(what); m != nil {
		what = fmt.Sprintf("no %q", m[1])
		if expression == "."+m[1] || strings.HasPrefix(expression, "."+m[1]+".") {
			what = fmt.Sprintf("no variable %q was given to the template (given: %s)", m[1], list(names))
		}
	} else if m := noFunction.FindStringSubmatch(what); m != nil {
		what = fmt.Sprintf("no function %q: a variable is written {{ .%s }}; functions are default, indent, join, quote, toJson and those of Go's text/template", m[1], m[1])
	} else if m := nilPointer.FindStringSubmatch(what); m != nil {
		what = fmt.Sprintf("no %q: what stands before it is None", m[1])
	} else if m := nilData.FindStringSubmatch(what); m != nil {
		what = fmt.Sprintf("no %q: what stands before it is None", m[1])
	}
	if expression == "" {
		return fmt.Errorf("%s: %s", where, what)
	}
	return fmt.Errorf("%s: {{%s}}: %s", where, expression, what)
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
