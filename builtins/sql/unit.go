package sql

import (
	"math"
	"strconv"
	"strings"
)

// setting is a row of pg_settings, as far as values are compared.
type setting struct {
	name string // as the server writes it
	kind string // vartype: bool, integer, real, string, enum
	unit string // of numbers without a unit: kB, 8kB, ms, ...; may be empty
}

// same reports whether two values mean the same to the server.
func (s setting) same(a, b string) bool {
	if a == b || sameText(s.name, a, b) {
		return true
	}
	switch s.kind {
	case "bool":
		x, ok1 := parseBool(a)
		y, ok2 := parseBool(b)
		return ok1 && ok2 && x == y
	case "enum":
		return strings.EqualFold(a, b)
	case "integer":
		x, ok1 := s.number(a)
		y, ok2 := s.number(b)
		return ok1 && ok2 && math.RoundToEven(x) == math.RoundToEven(y)
	case "real":
		x, ok1 := s.number(a)
		y, ok2 := s.number(b)
		return ok1 && ok2 && math.Abs(x-y) <= 1e-9*math.Max(math.Abs(x), math.Abs(y))
	}
	return false
}

// number reads a number with an optional unit, and gives it in the setting's own unit.
func (s setting) number(text string) (float64, bool) {
	text = strings.TrimSpace(text)
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if strings.HasPrefix(strings.ToLower(text), "0x") {
		digits = text
	}
	value, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if err != nil {
		n, hexErr := strconv.ParseInt(digits, 0, 64)
		if hexErr != nil {
			return 0, false
		}
		value = float64(n)
	} else if len(digits) > 1 && digits[0] == '0' && !strings.ContainsAny(digits, ".eE") {
		if n, err := strconv.ParseInt(digits, 8, 64); err == nil { // as C reads 0644
			value = float64(n)
		}
	}
	unit := text[len(digits):]
	if unit == "" {
		return value, true
	}
	size, ok1 := unitSize(unit)
	own, ok2 := unitSize(s.unit)
	return value * size / own, ok1 && ok2
}

// unitSize is the size of a unit as in the manual, "Parameter names and values", with the block sizes in
// front that pg_settings has: bytes for memory, microseconds for time.
func unitSize(unit string) (float64, bool) {
	name := strings.TrimLeft(unit, "0123456789")
	blocks, err := strconv.ParseFloat(strings.TrimSuffix(unit, name), 64)
	if err != nil {
		blocks = 1
	}
	sizes := map[string]float64{
		"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40,
		"us": 1, "ms": 1e3, "s": 1e6, "min": 60e6, "h": 3600e6, "d": 86400e6,
	}
	size, ok := sizes[name]
	return blocks * size, ok
}

// parseBool reads what PostgreSQL takes for a boolean: on, off, 1, 0, and what true, false, yes and no begin
// with.
func parseBool(text string) (value, ok bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	switch {
	case text == "":
		return false, false
	case text == "on", text == "1", strings.HasPrefix("true", text), strings.HasPrefix("yes", text):
		return true, true
	case text == "off", text == "of", text == "0", strings.HasPrefix("false", text), strings.HasPrefix("no", text):
		return false, true
	}
	return false, false
}
