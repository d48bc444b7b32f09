package vault

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

const example = `---
# names are not secret, strings are
user: admin
"quoted": '5'
port: 5432
ratio: 0.5
on_call: yes
nothing: ~
hosts: [a, 1, {b: c}]
text: |
  one
  two
5: five
`

var exampleValue = Map{
	{"user", Secret("admin")},
	{"quoted", Secret("5")},
	{"port", int64(5432)},
	{"ratio", 0.5},
	{"on_call", true},
	{"nothing", nil},
	{"hosts", []any{Secret("a"), int64(1), Map{{"b", Secret("c")}}}},
	{"text", Secret("one\ntwo\n")},
	{int64(5), Secret("five")},
}

func load(t testing.TB, text string) (any, error) {
	t.Helper()
	return Load(t.Context(), "vars.yml", []byte(text), asking(t, "pw"))
}

// inline renders a value as encrypt-string does, indented by ten.
func inline(t testing.TB, tag, plain string) string {
	t.Helper()
	return tag + " |\n          " + strings.ReplaceAll(strings.TrimSpace(string(seal(t, plain, "pw", "prod"))), "\n", "\n          ") + "\n"
}

func TestLoadWholeFile(t *testing.T) {
	for name, text := range map[string]string{
		"encrypted": string(seal(t, example, "pw", "")),
		"plain":     example,
		"CRLF":      strings.ReplaceAll(example, "\n", "\r\n"),
		"BOM":       "\ufeff" + example,
	} {
		got, err := load(t, text)
		if err != nil || !reflect.DeepEqual(got, any(exampleValue)) {
			t.Errorf("%s: %#v, %v", name, got, err)
		}
	}
}

func TestLoadPlainFileAsksNobody(t *testing.T) {
	if _, err := Load(t.Context(), "vars.yml", []byte(example), nil); err != nil {
		t.Error(err)
	}
}

func TestLoadValues(t *testing.T) {
	both := string(seal(t, "inner: "+inline(t, "!vault", "twice"), "pw", ""))
	for name, c := range map[string]struct {
		text string
		want any
	}{
		"empty":            {"", nil},
		"comment":          {"# nothing yet\n", nil},
		"marker":           {"---\n", nil},
		"no mapping":       {"word\n", Secret("word")},
		"!vault":           {"a: " + inline(t, "!vault", "line\n") + "b: 1\n", Map{{"a", Secret("line\n")}, {"b", int64(1)}}},
		"!vault-encrypted": {"- " + inline(t, "!vault-encrypted", "7"), []any{Secret("7")}},
		"CRLF !vault":      {strings.ReplaceAll("a: "+inline(t, "!vault", "x"), "\n", "\r\n"), Map{{"a", Secret("x")}}},
		"!vault in vault":  {both, Map{{"inner", Secret("twice")}}},
		"binary content":   {"a: " + inline(t, "!vault", "\xff\x00"), Map{{"a", Secret("\xff\x00")}}},

		"tags":                {`[!!str 5, !!int "5", !!float 5, !!bool no, !!null "", ! 12, !unsafe '{{ x }}', !!binary aGk=]`, []any{Secret("5"), int64(5), 5.0, false, nil, Secret("12"), Secret("{{ x }}"), Secret("hi")}},
		"tagged lists":        {"{a: !!seq [], b: !unsafe [1], c: !!map {}}", Map{{"a", []any{}}, {"b", []any{int64(1)}}, {"c", Map{}}}},
		"alias":               {"a: &x {k: v}\nb: *x\n", Map{{"a", Map{{"k", Secret("v")}}}, {"b", Map{{"k", Secret("v")}}}}},
		"alias of !vault":     {"a: &x " + inline(t, "!vault", "s") + "b: *x\n", Map{{"a", Secret("s")}, {"b", Secret("s")}}},
		"alias as key":        {"a: &x k\n*x : 1\n", Map{{"a", Secret("k")}, {"k", int64(1)}}},
		"merge":               {"base: &b {x: 1, y: 2}\nm: {y: 3, <<: *b, z: 4}\n", Map{{"base", Map{{"x", int64(1)}, {"y", int64(2)}}}, {"m", Map{{"x", int64(1)}, {"y", int64(3)}, {"z", int64(4)}}}}},
		"merge, earlier wins": {"{<<: [{a: 1}, {a: 2, b: 2}]}", Map{{"a", int64(1)}, {"b", int64(2)}}},
		"merge of its own":    {"{a: &x {k: 1}, <<: *x}", Map{{"k", int64(1)}, {"a", Map{{"k", int64(1)}}}}},
		"quoted <<":           {`"<<": 1`, Map{{"<<", int64(1)}}},
	} {
		got, err := load(t, c.text)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %#v, %v", name, got, err)
		}
	}
}

// What PyYAML makes of plain scalars, and where we differ.
func TestResolve(t *testing.T) {
	for text, want := range map[string]any{
		"": nil, "~": nil, "Null": nil, "nUll": Secret("nUll"),
		"yes": true, "Off": false, "oN": Secret("oN"), "y": Secret("y"), "True": true,
		"0": int64(0), "-0": int64(0), "+5": int64(5), "1_000": int64(1000), "0644": int64(420), "08": Secret("08"),
		"0x1F": int64(31), "-0b11": int64(-3), "0o17": Secret("0o17"), "0x_": Secret("0x_"), "1 2": Secret("1 2"),
		"9223372036854775807": int64(math.MaxInt64), "-9223372036854775808": int64(math.MinInt64),
		"1.": 1.0, ".5": 0.5, "-.5": Secret("-.5"), "1_0.5": 10.5, "1.5e+3": 1500.0, "1.5e3": Secret("1.5e3"), "12e45678": Secret("12e45678"),
		".inf": math.Inf(1), "-.INF": math.Inf(-1), "+.Inf": math.Inf(1), "1.0e+999": math.Inf(1), ".": Secret("."),
		"2026-01-02": Secret("2026-01-02"), "12:30": Secret("12:30"), "=": Secret("="), "1.2.3": Secret("1.2.3"),
	} {
		if got, err := resolve(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v, %v; want %#v", text, got, err, want)
		}
	}
	if got, err := resolve(".NaN"); err != nil || !math.IsNaN(got.(float64)) {
		t.Errorf(".NaN: %v, %v", got, err)
	}
	if got, err := resolve("99999999999999999999"); err == nil {
		t.Errorf("too large: %v", got)
	}
}

func TestLoadRefuses(t *testing.T) {
	broken := strings.Replace(inline(t, "!vault", "x"), "\n          3", "\n          4", 1)
	for name, c := range map[string]struct {
		text string
		is   error
		want string
	}{
		"duplicate":           {"a: 1\nb: 2\na: s3cr3t\n", ErrYAML, "vars.yml:3:1: not usable YAML: the key is at line 1 already"},
		"duplicate, nested":   {"x:\n  - {s3cr3t: 1, 's3cr3t': 2}\n", ErrYAML, "vars.yml:2:17: "},
		"duplicate, number":   {"1: a\n0x1: b\n", ErrYAML, "vars.yml:2:1: "},
		"two merges":          {"{<<: {a: 1}, <<: {b: 2}}", ErrYAML, "vars.yml:1:14: "},
		"merge of a list":     {"<<: [1]", ErrYAML, "vars.yml:1:5: not usable YAML: << takes a mapping"},
		"unknown tag":         {"a: !s3cr3t x", ErrYAML, "vars.yml:1:4: not usable YAML: unknown tag: only !vault"},
		"unknown tag of list": {"a: !s3cr3t [x]", ErrYAML, "vars.yml:1:4: not usable YAML: unknown tag"},
		"timestamp tag":       {"a: !!timestamp 2026-01-02", ErrYAML, "unknown tag"},
		"redefined !":         {"%TAG ! tag:example.com,2000:\n---\na: !vault s3cr3t", ErrYAML, "vars.yml:3:4: not usable YAML: unknown tag"},
		"!vault of a list":    {"a: !vault [s3cr3t]", ErrYAML, "unknown tag"},
		"not a number":        {"a: !!int s3cr3t", ErrYAML, "vars.yml:1:4: not usable YAML: the value is not what its tag !!int says"},
		"not base64":          {"a: !!binary s3cr3t", ErrYAML, "vars.yml:1:4: not usable YAML: the value is not base64,"},
		"large number":        {"a: 99999999999999999999", ErrYAML, "vars.yml:1:4: not usable YAML: a whole number of more than 64 bits: put it in quotes"},
		"list as key":         {"? [s3cr3t]\n: 1\n", ErrYAML, "vars.yml:1:3: "},
		"!vault as key":       {"? !vault s3cr3t\n: 1\n", ErrYAML, "a key cannot be encrypted"},
		"two documents":       {"a: 1\n---\nb: 2\n", ErrYAML, "vars.yml:2:1: not usable YAML: a second document"},
		"syntax":              {"a: s3cr3t: c\n", ErrYAML, "vars.yml:1:10: not usable YAML: syntax error: a colon too many"},
		"open quote":          {"a: \"s3cr3t\n", ErrYAML, "syntax error: a quotation mark is not closed"},
		"tab":                 {"a:\n\tb: s3cr3t", ErrYAML, "vars.yml:2:1: "},
		"unknown anchor":      {"a: *s3cr3t", ErrYAML, "vars.yml:1:4: not usable YAML: syntax error"},
		"control character":   {"a: s3cr3t\x01", ErrYAML, "vars.yml: not usable YAML: syntax error"},
		"syntax after it":     {"a: 1\n---\n]", ErrYAML, "vars.yml:3:1: "},
		"contains itself":     {"a: &x [*x]", ErrYAML, "vars.yml:1:4: not usable YAML: a value contains itself"},
		"merges itself":       {"&x {<<: *x}", ErrYAML, "contains itself"},
		"deep":                {strings.Repeat("[", 20_000), ErrYAML, "nested too deeply"},
		"large":               {"a: " + strings.Repeat("x", maxYAML), ErrYAML, "vars.yml: not usable YAML: it has"},
		"value is damaged":    {"a: 1\nb: " + broken, ErrUnreadable, "vars.yml:2:4: cannot open the vault: "},
		"value is no vault":   {"a: !vault s3cr3t", ErrNotEncrypted, "vars.yml:1:4: cannot open the vault: "},
		"value has no password": {
			"a: " + strings.ReplaceAll(inline(t, "!vault", "x"), "prod", "p"), nil, "",
		},
		"decrypted":       {string(seal(t, "a: 1\na: s3cr3t\n", "pw", "")), ErrYAML, "vars.yml:2:1: not usable YAML: the key is at line 1 already: remove one of the two (a position in the decrypted text)"},
		"file is damaged": {string(seal(t, "a: 1", "pw", ""))[:200], ErrDamaged, "vars.yml: cannot open the vault: the file is cut short"},
	} {
		ids := asking(t, "pw")
		if name == "value has no password" {
			ids, c.is, c.want = nil, ErrNoPassword, "vars.yml:1:4: cannot open the vault: no vault password"
		}
		got, err := Load(t.Context(), "vars.yml", []byte(c.text), ids)
		switch {
		case got != nil || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %#v, %v", name, got, err)
		case errors.Is(err, ErrYAML) == errors.Is(err, ErrUnreadable):
			t.Errorf("%s: either YAML or the vault is at fault: %v", name, err)
		case strings.Contains(err.Error(), "s3cr3t"):
			t.Errorf("%s: the error quotes the file: %v", name, err)
		}
	}
}

func TestAliasBomb(t *testing.T) {
	var text strings.Builder
	text.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&text, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), ","))
	}
	got, err := load(t, text.String())
	if got != nil || !errors.Is(err, ErrYAML) || !strings.Contains(err.Error(), "aliases repeat more than 100000") {
		t.Errorf("%v", err)
	}
	// A chain of merges repeats as much without nesting.
	text.Reset()
	text.WriteString("m0: &m0 {k: v}\n")
	for i := 1; i < 2000; i++ {
		fmt.Fprintf(&text, "m%d: &m%d {<<: *m%d, k%d: v}\n", i, i, i-1, i)
	}
	if _, err := load(t, text.String()); !errors.Is(err, ErrYAML) {
		t.Errorf("merges: %v", err)
	}
}

func TestMapGet(t *testing.T) {
	if v, ok := exampleValue.Get("port"); v != int64(5432) || !ok {
		t.Errorf("port: %v, %v", v, ok)
	}
	if v, ok := exampleValue.Get("absent"); v != nil || ok {
		t.Errorf("absent: %v, %v", v, ok)
	}
}

func ExampleLoad() {
	data := []byte("db_password: example # encrypt me\nport: 5432\n")
	vars, err := Load(context.Background(), "group_vars/all.yml", data, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	password, _ := vars.(Map).Get("db_password")
	fmt.Println(vars)
	fmt.Println(password.(Secret).Reveal())
	// Output:
	// [{db_password ********} {port 5432}]
	// example
}
