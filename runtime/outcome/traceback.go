package outcome

import (
	"errors"
	"fmt"
	"strings"

	"go.starlark.net/starlark"
)

// Explain writes an error with the calls of the script that led to it, outermost first.
func Explain(err error) string {
	return strings.Join(append([]string{err.Error()}, calls(err)...), "\n  at ")
}

// Locate writes an error with the place in the script where it was met.
func Locate(err error) string {
	all := calls(err)
	return strings.Join(append([]string{err.Error()}, all[max(0, len(all)-1):]...), "\n  at ")
}

// calls are the calls of a script that led to an error.
func calls(err error) (list []string) {
	var eval *starlark.EvalError
	for errors.As(err, &eval) {
		for _, frame := range eval.CallStack {
			if frame.Pos.Line > 0 { // a builtin has none
				list = append(list, fmt.Sprintf("%s in %s", frame.Pos, frame.Name))
			}
		}
		err = eval.Unwrap()
	}
	return list
}
