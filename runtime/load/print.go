package load

import (
	"strings"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/secret"
)

// printLine is Starlark's print, but that a text with secrets in it is shown with these hidden, as log does.
func printLine(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	sep := " "
	if err := starlark.UnpackArgs(b.Name(), nil, kwargs, "sep?", &sep); err != nil {
		return nil, err
	}
	words := make([]string, len(args))
	for i, v := range args {
		switch v := v.(type) {
		case starlark.String:
			words[i] = string(v)
		case secret.Value:
			words[i] = v.Shown()
		default:
			words[i] = v.String()
		}
	}
	thread.Print(thread, strings.Join(words, sep))
	return starlark.None, nil
}
