package load

import (
	"math/big"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// written returns the value of an expression that is written out: a literal, or a list or dict of them.
func written(x syntax.Expr) (starlark.Value, bool) {
	switch x := x.(type) {
	case *syntax.ParenExpr:
		return written(x.X)
	case *syntax.Literal:
		return literal(x)
	case *syntax.Ident:
		if binding, ok := x.Binding.(*resolve.Binding); ok && binding.Scope == resolve.Universal {
			v, ok := starlark.Universe[x.Name]
			_, isFunction := v.(*starlark.Builtin)
			return v, ok && !isFunction // None, True, False
		}
	case *syntax.ListExpr:
		items := make([]starlark.Value, len(x.List))
		for i, item := range x.List {
			var ok bool
			if items[i], ok = written(item); !ok {
				return nil, false
			}
		}
		return starlark.NewList(items), true
	case *syntax.DictExpr:
		dict := starlark.NewDict(len(x.List))
		for _, entry := range x.List {
			entry := entry.(*syntax.DictEntry)
			key, ok := written(entry.Key)
			if !ok {
				return nil, false
			}
			value, ok := written(entry.Value)
			if !ok || dict.SetKey(key, value) != nil {
				return nil, false
			}
		}
		return dict, true
	}
	return nil, false
}

func literal(x *syntax.Literal) (starlark.Value, bool) {
	switch v := x.Value.(type) {
	case string:
		if x.Token == syntax.BYTES {
			return starlark.Bytes(v), true
		}
		return starlark.String(v), true
	case int64:
		return starlark.MakeInt64(v), true
	case *big.Int:
		return starlark.MakeBigInt(v), true
	case float64:
		return starlark.Float(v), true
	}
	return nil, false
}

// isWritten reports whether an expression is of a kind that gives no host: a literal, a list, a dict.
func isWritten(x syntax.Expr) bool {
	switch x := x.(type) {
	case *syntax.ParenExpr:
		return isWritten(x.X)
	case *syntax.Literal, *syntax.ListExpr, *syntax.DictExpr, *syntax.TupleExpr, *syntax.Comprehension, *syntax.LambdaExpr:
		return true
	case *syntax.BinaryExpr:
		return isWritten(x.X) || isWritten(x.Y)
	}
	return false
}
