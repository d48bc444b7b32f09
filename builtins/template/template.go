// Package template holds the builtin template: a file of the project, filled in.
package template

import (
	"fmt"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/render"
	"github.com/pgrun/pgrun/runtime/secret"
)

// Module returns the builtin, which needs no prefix.
func Module() builtin.Module {
	return builtin.Module{
		Doc: "Text from templates.",
		Builtins: []builtin.Builtin{
			&builtin.Control[params]{
				Name: "template", Positional: 1, AtLoad: true,
				Doc:  "Fills in a template of the project (Go's text/template) and returns the text: a secret, if a secret was used in it. A variable that the template names and the call does not give is an error. Its own functions: join, quote (for a shell), indent, default (for None and empty values), toJson.",
				Call: call,
			},
		},
	}
}

type params struct {
	Path builtin.Template `star:"path,required" doc:"The template, relative to the file that calls, or from the project's root with //."`
	Vars builtin.KeyWords `star:"**vars" doc:"The template's variables, by name: .port in the template is port = 5432 here."`
}

func call(c *builtin.Call, p params) (starlark.Value, error) {
	text, err := Fill(p.Path.Source, starlark.StringDict(p.Vars))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	if !text.IsSecret() {
		return starlark.String(text.Reveal()), nil
	}
	if c.Scope == nil {
		return nil, fmt.Errorf("%s: %s uses a secret: call it in a task", c.Name, p.Path.Path)
	}
	// Derived: the lines of the template that hold no secret stay readable wherever they are shown.
	return secret.Derive(c.Scope.Mask, text.Reveal(), text.Reveal()), nil
}

// Fill reads a template of the project and fills it in.
func Fill(source builtin.Source, vars starlark.StringDict) (builtin.Text, error) {
	content, err := render.Read(source)
	if err != nil {
		return builtin.Text{}, err
	}
	return render.Render(source.Path, content, vars)
}
