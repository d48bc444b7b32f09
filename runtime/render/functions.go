package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// functions are what a template can call besides text/template's own:
//
//	{{ .list | join ", " }}      the items, joined
//	{{ .value | quote }}         one word of a POSIX shell
//	{{ .text | indent 4 }}       every line that is not empty, moved to the right
//	{{ .value | default "x" }}   "x" for None, "" and an empty list or dict; a missing key stays an error
//	{{ .value | toJson }}        as JSON, on one line
func (r *rendering) functions() template.FuncMap {
	return template.FuncMap{
		printer:   emit,
		"join":    join,
		"quote":   quote,
		"indent":  indent,
		"default": orDefault,
		"toJson":  toJSON,
	}
}

// text is a value as it is printed.
func text(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", mistaken(`the value is None: write {{if}} around it, or {{ ... | default "x" }}`)
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return number(v), nil
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	case []any:
		return "", mistaken(`the value is a list: write {{range}}, {{ ... | join ", " }} or {{ ... | toJson }}`)
	case map[string]any:
		return "", mistaken(`the value is a dict or struct: write one of its keys, {{range}} or {{ ... | toJson }}`)
	case *hidden, *big.Int, time.Duration:
		return fmt.Sprint(v), nil
	}
	return fmt.Sprint(v), nil // what text/template's own functions return
}

// number writes a float without an exponent where that is readable, and as an integer where it is one.
func number(f float64) string {
	if magnitude := math.Abs(f); magnitude != 0 && (magnitude < 1e-6 || magnitude >= 1e21) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func join(separator string, items any) (string, error) {
	all, ok := items.([]any)
	if !ok {
		return "", mistaken("join: got %s, want a list", kind(items))
	}
	words := make([]string, len(all))
	for i, item := range all {
		var err error
		if words[i], err = text(item); err != nil {
			return "", mistaken("join: item %d: %v", i, err)
		}
	}
	return strings.Join(words, separator), nil
}

func quote(v any) (string, error) {
	s, err := text(v)
	return host.Quote(s), err
}

func indent(spaces int, v any) (string, error) {
	s, err := text(v)
	if err != nil {
		return "", err
	}
	if spaces < 0 {
		return "", mistaken("indent: a negative number of spaces")
	}
	var b strings.Builder
	for line := range strings.Lines(s) {
		if strings.TrimRight(line, "\r\n") != "" {
			b.WriteString(strings.Repeat(" ", spaces))
		}
		b.WriteString(line)
	}
	return b.String(), nil
}

func orDefault(instead, v any) any {
	if truth, ok := template.IsTrue(v); v == nil || ok && !truth && !isNumberOrBool(v) {
		return instead
	}
	return v
}

// isNumberOrBool is for default: 0 and False are values.
func isNumberOrBool(v any) bool {
	switch v.(type) {
	case bool, int, float64, *big.Int, time.Duration:
		return true
	}
	return false
}

func toJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", mistaken("toJson: %v", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func kind(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case map[string]any:
		return "a dict or struct"
	case string, *hidden:
		return "a string"
	case bool:
		return "a bool"
	}
	return "a number"
}
