// Package command holds the builtins command and facts.
//
// A command that pgrun knows nothing about is the one thing that cannot be looked at before it is done.
// So its author says what is to be known: that it only reads (then it runs in a dry run, too), or when it
// is not needed. Without either it counts as a change each time, and a dry run only names it.
package command

import (
	"context"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// Module returns the builtins, which need no prefix.
func Module() builtin.Module {
	return builtin.Module{
		Doc: "Running commands, and knowing the machine.",
		Builtins: []builtin.Builtin{
			&builtin.Action[params]{
				Name: "command",
				Doc: "Runs a command, without a shell. Say reads = True of one that changes nothing: it runs in a dry run, too. " +
					"Say of another when it is not needed, with creates or unless; without these it counts as a change each time. " +
					"An exit code that is not in rc fails the task.",
				Result: result{},
				Check:  check,
			},
			&builtin.Look[struct{}, host.Facts]{
				Name: "facts",
				Doc:  "Describes the machine.",
				Run: func(ctx context.Context, r host.Reader, _ struct{}) (host.Facts, error) {
					return r.Facts(ctx)
				},
			},
		},
	}
}
