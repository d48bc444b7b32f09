package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/pgrun/pgrun/builtins"
	"github.com/pgrun/pgrun/runtime/load"
	"github.com/pgrun/pgrun/runtime/reference"
)

func docsCommand() *cli.Command {
	return &cli.Command{
		Name:      "docs",
		Usage:     "print the reference of the builtins",
		ArgsUsage: "[MODULE | MODULE.BUILTIN]",
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return &usageError{"docs takes one name at a time"}
			}
			text, err := documentation(c.Args().First())
			if err != nil {
				return err
			}
			fmt.Fprint(c.App.Writer, text)
			return nil
		},
	}
}

// documentation is the reference of everything, or of one module or builtin.
func documentation(name string) (string, error) {
	playbook, inventory, secrets := load.Declarations()
	return reference.Markdown(reference.Parts{
		Playbook: playbook, Inventory: inventory, Modules: append(secrets, builtins.Modules()...),
	}, name)
}
