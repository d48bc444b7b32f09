// Package secret keeps secrets out of everything that pgrun shows.
//
// It does so twice. A Value is the Starlark form of a secret: it prints as <secret> and reaches
// only the builtins that take secrets. And each Value's text is told to a Mask, which hides it by
// value in whatever is about to be shown: output, diffs, errors, events. So a secret that a
// command echoes is hidden too.
package secret

import (
	"crypto/subtle"
	"errors"
	"fmt"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Printed is how a Value prints. A builtin that finds it in a text it is given refuses it: the
// script formatted a secret into a string instead of joining it with +.
const Printed = "<secret>"

// Value is a secret in a playbook. Joined to a string with + it gives a Value again; compared to
// another with == it tells whether both are the same; it can not be read otherwise.
type Value struct {
	text  string
	shown string // the text with each secret part hidden, however short that is
	mask  *Mask
}

var (
	_ starlark.Comparable = Value{}
	_ starlark.HasBinary  = Value{}
)

// New makes a Value and has mask hide text from now on.
func New(mask *Mask, text string) Value {
	mask.Learn(text)
	return Value{text, Hidden, mask}
}

// Derive makes a Value of a text that contains secrets which mask knows already, such as a connection URI. When it is
// shown, shown is, with what mask knows hidden.
func Derive(mask *Mask, text, shown string) Value { return Value{text, mask.Hide(shown), mask} }

// Reveal returns the clear text.
func (v Value) Reveal() string { return v.text }

// Shown returns the text as a user may see it: what the script joined to secrets, and these hidden.
func (v Value) Shown() string { return v.shown }

func (v Value) String() string        { return Printed }
func (v Value) GoString() string      { return Printed }
func (v Value) Type() string          { return "secret" }
func (v Value) Freeze()               {}
func (v Value) Truth() starlark.Bool  { return v.text != "" }
func (v Value) Hash() (uint32, error) { return 0, errors.New("a secret cannot be a key") }

// Format keeps every verb from showing the text.
func (v Value) Format(f fmt.State, _ rune) { fmt.Fprint(f, Printed) }

// MarshalJSON keeps the text out of JSON.
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Printed + `"`), nil }

// CompareSameType implements == and != in constant time.
func (v Value) CompareSameType(op syntax.Token, other starlark.Value, _ int) (bool, error) {
	same := subtle.ConstantTimeCompare([]byte(v.text), []byte(other.(Value).text)) == 1
	switch op {
	case syntax.EQL:
		return same, nil
	case syntax.NEQ:
		return !same, nil
	}
	return false, errors.New("secrets can be compared with == and != only")
}

// Binary joins secrets and strings with +.
func (v Value) Binary(op syntax.Token, other starlark.Value, side starlark.Side) (starlark.Value, error) {
	var joined Value
	switch other := other.(type) {
	case starlark.String:
		joined = Value{string(other), string(other), v.mask}
	case Value:
		joined = other
	default:
		return nil, nil
	}
	if op != syntax.PLUS {
		return nil, nil
	}
	left, right := v, joined
	if side == starlark.Right {
		left, right = joined, v
	}
	return Value{left.text + right.text, left.shown + right.shown, v.mask}, nil
}
