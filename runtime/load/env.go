package load

import (
	"fmt"
	"os"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
)

type envParams struct {
	Name    string      `star:"name,required" doc:"The variable's name."`
	Default builtin.Any `star:"default" doc:"What it is where the variable is not set, or empty. Without one it must be set."`
}

// environmentModule reads the environment of the user who runs pgrun, in playbooks and inventories alike.
func environmentModule() builtin.Module {
	return builtin.Module{
		Doc: "The environment: variables of the user who runs pgrun.",
		Builtins: []builtin.Builtin{&builtin.Control[envParams]{
			Name: "env", AtLoad: true, Positional: 1,
			Doc:  "Returns a variable of the environment that pgrun runs in, such as HOME.",
			Call: env,
		}},
	}
}

func env(c *builtin.Call, p envParams) (starlark.Value, error) {
	if value := os.Getenv(p.Name); value != "" {
		return starlark.String(value), nil
	}
	if p.Default.Value == nil {
		return nil, fmt.Errorf("%s: the environment variable %s is not set: set it, or give a default", c.Name, p.Name)
	}
	return p.Default.Value, nil
}
