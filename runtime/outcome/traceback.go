package outcome

import (
	"errors"
	"fmt"
	"strings"

	"go.starlark.net/starlark"
)

// Explain writes an error with the calls of the script that led to it, outermost first.
func Explain(err error) string {
	var eval *starlark.EvalError
	if !errors.As(err, &eval) {
		return err.Error()
	}
	var b strings.Builder
	b.WriteString(err.Error())
	for eval != nil {
		for _, frame := range eval.CallStack {
			if frame.Pos.Line > 0 { // a builtin has none
				fmt.Fprintf(&b, "\n  at %s in %s", frame.Pos, frame.Name)
			}
		}
		inner := eval
		if eval = nil; !errors.As(inner.Unwrap(), &eval) {
			eval = nil
		}
	}
	return b.String()
}
