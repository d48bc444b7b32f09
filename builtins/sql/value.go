package sql

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	starlarkjson "go.starlark.net/lib/json"
	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/secret"
)

// fromServer turns a value, as PostgreSQL prints it, into a Starlark one. text is nil for NULL.
func fromServer(types *pgtype.Map, oid uint32, text []byte) (starlark.Value, error) {
	if text == nil {
		return starlark.None, nil
	}
	s := string(text)
	switch oid {
	case pgtype.BoolOID:
		return starlark.Bool(s == "t"), nil
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID, pgtype.XIDOID, pgtype.XID8OID, pgtype.CIDOID:
		n, ok := new(big.Int).SetString(s, 10)
		if !ok {
			return nil, fmt.Errorf("%q is not an integer", s)
		}
		return starlark.MakeBigInt(n), nil
	case pgtype.Float4OID, pgtype.Float8OID:
		f, err := strconv.ParseFloat(s, 64)
		return starlark.Float(f), err
	case pgtype.TimestamptzOID, pgtype.TimestampOID:
		var t pgtype.Timestamptz
		if oid == pgtype.TimestampOID {
			s += "+00" // the session is in UTC
		}
		err := types.Scan(pgtype.TimestamptzOID, pgtype.TextFormatCode, []byte(s), &t)
		if err == nil && t.InfinityModifier == pgtype.Finite {
			return starlarktime.Time(t.Time.UTC()), nil
		}
		return starlark.String(text), nil // infinity, or a year that Go's time does not read
	case pgtype.ByteaOID:
		raw, err := hex.DecodeString(strings.TrimPrefix(s, `\x`))
		return starlark.Bytes(raw), err
	case pgtype.JSONOID, pgtype.JSONBOID:
		return starlark.Call(&starlark.Thread{Name: "json"}, starlarkjson.Module.Members["decode"], starlark.Tuple{starlark.String(s)}, nil)
	}
	if t, ok := types.TypeForOID(oid); ok {
		if array, ok := t.Codec.(*pgtype.ArrayCodec); ok {
			return arrayFromServer(types, oid, array.ElementType.OID, text)
		}
	}
	return starlark.String(s), nil
}

func arrayFromServer(types *pgtype.Map, oid, element uint32, text []byte) (starlark.Value, error) {
	var array pgtype.Array[*string]
	if err := types.Scan(oid, pgtype.TextFormatCode, text, &array); err != nil {
		return nil, err
	}
	values := make([]starlark.Value, len(array.Elements))
	for i, e := range array.Elements {
		var raw []byte
		if e != nil {
			raw = append([]byte{}, *e...)
		}
		v, err := fromServer(types, element, raw)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	// Inner dimensions become lists in lists.
	for i := len(array.Dims) - 1; i > 0; i-- {
		size := int(array.Dims[i].Length)
		var outer []starlark.Value
		for ; len(values) >= size; values = values[size:] {
			outer = append(outer, starlark.NewList(values[:size:size]))
		}
		values = outer
	}
	return starlark.NewList(values), nil
}

// toServer turns an argument into the text that PostgreSQL reads as the parameter's type; nil is NULL.
func toServer(oid uint32, v starlark.Value) ([]byte, error) {
	isJSON := oid == pgtype.JSONOID || oid == pgtype.JSONBOID
	switch v := v.(type) {
	case starlark.NoneType:
		return nil, nil
	case secret.Value:
		return asText(v.Reveal())
	case starlark.String:
		return asText(string(v))
	case starlark.Bytes:
		return []byte(`\x` + hex.EncodeToString([]byte(v))), nil
	case starlarktime.Time:
		return []byte(time.Time(v).UTC().Format("2006-01-02 15:04:05.999999999+00")), nil
	case starlarktime.Duration:
		return fmt.Appendf(nil, "%d microseconds", time.Duration(v).Microseconds()), nil
	case starlark.Bool:
		return strconv.AppendBool(nil, bool(v)), nil
	case starlark.Int:
		return []byte(v.String()), nil
	case starlark.Float:
		return strconv.AppendFloat(nil, float64(v), 'g', -1, 64), nil
	case *starlark.Dict:
		return toJSON(v)
	case *starlark.List, starlark.Tuple:
		if isJSON {
			return toJSON(v)
		}
		var b bytes.Buffer
		err := writeArray(&b, v.(starlark.Indexable))
		return b.Bytes(), err
	}
	return nil, fmt.Errorf("a %s cannot be sent to PostgreSQL: convert it to a string, number, list or dict", v.Type())
}

// asText refuses what would not arrive as it is.
func asText(s string) ([]byte, error) {
	if strings.ContainsRune(s, 0) {
		return nil, errors.New("a text with a zero byte cannot be sent to PostgreSQL: use bytes for bytea")
	}
	if strings.Contains(s, secret.Printed) {
		return nil, fmt.Errorf("the text contains a printed secret (%s): join secrets and strings with +", secret.Printed)
	}
	return append([]byte{}, s...), nil
}

// writeArray writes a list as an array constant: {"a",NULL,{"b"}}.
func writeArray(b *bytes.Buffer, list starlark.Indexable) error {
	b.WriteByte('{')
	for i := range list.Len() {
		if i > 0 {
			b.WriteByte(',')
		}
		item := list.Index(i)
		if inner, ok := item.(starlark.Indexable); ok && item.Type() != "string" && item.Type() != "bytes" {
			if err := writeArray(b, inner); err != nil {
				return err
			}
			continue
		}
		text, err := toServer(0, item)
		if err != nil {
			return err
		}
		if text == nil {
			b.WriteString("NULL")
			continue
		}
		b.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(text)) + `"`)
	}
	b.WriteByte('}')
	return nil
}

func toJSON(v starlark.Value) ([]byte, error) {
	encoded, err := starlark.Call(&starlark.Thread{Name: "json"}, starlarkjson.Module.Members["encode"], starlark.Tuple{v}, nil)
	if err != nil {
		return nil, err
	}
	return asText(string(encoded.(starlark.String)))
}
