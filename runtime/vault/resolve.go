package vault

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// The forms of numbers in YAML 1.1 as PyYAML reads them, which is what decides
// in Ansible. An exponent needs both a point and a sign: 12e45678 is a
// password, not a number.
var (
	integer = regexp.MustCompile(`^([-+]?)(?:0b([01_]+)|0x([0-9a-fA-F_]+)|0([0-7_]+)|(0|[1-9][0-9_]*))$`)
	decimal = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
)

// bases belong to the groups of the pattern for integers, after the sign.
var bases = []int{2, 16, 8, 10}

// words are the plain scalars that stand for something else.
var words = map[string]any{
	"": nil, "~": nil, "null": nil, "Null": nil, "NULL": nil,
	"yes": true, "Yes": true, "YES": true, "no": false, "No": false, "NO": false,
	"true": true, "True": true, "TRUE": true, "false": false, "False": false, "FALSE": false,
	"on": true, "On": true, "ON": true, "off": false, "Off": false, "OFF": false,
}

// resolve gives a scalar without quotes or a tag its type: nil, bool, int64,
// float64 or [Secret].
func resolve(text string) (any, error) {
	if value, ok := words[text]; ok {
		return value, nil
	}
	if groups := integer.FindStringSubmatch(text); groups != nil {
		return resolveInteger(text, groups[1], groups[2:])
	}
	if decimal.MatchString(text) {
		return resolveDecimal(text), nil
	}
	return Secret(text), nil
}

// resolveDecimal takes what the pattern matched. Too large is infinite, as in
// Python; nothing else can go wrong.
func resolveDecimal(text string) float64 {
	number := strings.ReplaceAll(text, "_", "")
	if i := strings.IndexAny(number, "iInN"); i > 0 {
		number = number[:i-1] + number[i:] // Go has inf and nan without the point
	}
	f, _ := strconv.ParseFloat(number, 64)
	return f
}

func resolveInteger(text, sign string, digits []string) (any, error) {
	for i, base := range bases {
		d := strings.ReplaceAll(digits[i], "_", "")
		if d == "" {
			continue
		}
		n, err := strconv.ParseInt(sign+d, base, 64)
		if err != nil {
			return nil, errors.New("a whole number of more than 64 bits: put it in quotes")
		}
		return n, nil
	}
	return Secret(text), nil // underscores only, as in 0x_
}
