package render

import (
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"

	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/secret"
)

// vars evaluates a Starlark call such as `port = 5432, names = ["a"]` to variables.
func vars(t *testing.T, arguments string) starlark.StringDict {
	t.Helper()
	mask := secret.NewMask()
	h := inventory.NewHost("db1", starlark.StringDict{"port": starlark.MakeInt(6000), "password": secret.New(mask, "hunter22")})
	predeclared := starlark.StringDict{
		"struct": starlark.NewBuiltin("struct", starlarkstruct.Make),
		"secret": secret.New(mask, "it's"), "empty": secret.New(mask, ""), "h": h,
	}
	v, err := starlark.EvalOptions(&syntax.FileOptions{Set: true}, &starlark.Thread{}, "vars", "dict("+arguments+")", predeclared)
	if err != nil {
		t.Fatal(err)
	}
	d := starlark.StringDict{}
	for _, item := range v.(*starlark.Dict).Items() {
		d[string(item[0].(starlark.String))] = item[1]
	}
	return d
}

func TestRender(t *testing.T) {
	for _, test := range []struct{ name, vars, text, want string }{
		{"plain", `port = 5432, on = True, off = False`, "port {{.port}} {{.on}} {{.off}}\n", "port 5432 true false\n"},
		{"floats", `a = 0.5, b = 2.0, c = 1e30`, "{{.a}} {{.b}} {{.c}}", "0.5 2 1e+30"},
		{"large integer", `n = 1 << 70`, "{{.n}}", "1180591620717411303424"},
		{"compare", `port = 5432`, "{{if eq .port 5432}}yes{{end}}", "yes"},
		{"range over a list", `names = ["b", "a"]`, "{{range $i, $n := .names}}{{$i}}={{$n}} {{end}}", "0=b 1=a "},
		{"range over a tuple and a set", `t = (1, 2), s = set([3])`, "{{range .t}}{{.}}{{end}}{{range .s}}{{.}}{{end}}", "123"},
		{"range over a dict", `m = {"b": 1, "a": 2}`, "{{range $k, $v := .m}}{{$k}}={{$v}} {{end}}", "a=2 b=1 "},
		{"struct", `s = struct(a = struct(b = "x"))`, "{{.s.a.b}}", "x"},
		{"host", `h = h`, "{{.h.name}}:{{.h.vars.port}}", "db1:6000"},
		{"none is false", `x = None`, "{{if .x}}yes{{else}}no{{end}}", "no"},
		{"with, else and define", `x = "v"`, `{{define "a"}}<{{.}}>{{end}}{{with .x}}{{template "a" .}}{{else}}-{{end}}`, "<v>"},
		{"variable", `x = "v"`, "{{$y := .x}}{{$y}}", "v"},
		{"join", `l = [1, "b", True]`, `{{.l | join ", "}}`, "1, b, true"},
		{"quote", `x = "it's", y = "plain"`, `{{quote .x}} {{.y | quote}}`, `'it'\''s' plain`},
		{"indent", `x = "a\n\nb\n"`, `{{.x | indent 2}}`, "  a\n\n  b\n"},
		{"default", `x = None, y = "", z = 0, l = [], f = False`, `{{.x | default "d"}} {{.y | default "e"}} {{.z | default 1}} {{.l | default "m"}} {{.f | default true}}`, "d e 0 m false"},
		{"toJson", `x = {"a": [1, None, "<"], "b": 0.5}`, `{{.x | toJson}}`, `{"a":[1,null,"<"],"b":0.5}`},
		{"index and len", `l = ["a", "b"]`, `{{index .l 1}} {{len .l}}`, "b 2"},
		{"printf", `x = 7`, `{{printf "%03d" .x}}`, "007"},
		{"nothing", ``, "", ""},
		{"bytes that are no UTF-8", `x = b"\xff"`, "{{.x}}", "\xff"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Render("x.tmpl", test.text, vars(t, test.vars))
			if err != nil {
				t.Fatal(err)
			}
			if got.Reveal() != test.want || got.IsSecret() {
				t.Errorf("got %q (secret: %t), want %q", got.Reveal(), got.IsSecret(), test.want)
			}
		})
	}
}

func TestRenderErrors(t *testing.T) {
	for _, test := range []struct{ name, vars, text, want string }{
		{"missing variable", `port = 1, user = "x"`, "a\n{{.prot}}\n", `x.tmpl:2: {{.prot}}: no variable "prot" was given to the template (given: port, user)`},
		{"missing variable, none given", ``, "{{.a}}", `x.tmpl:1: {{.a}}: no variable "a" was given to the template (given: none)`},
		{"missing key below", `s = struct(a = 1)`, "\n\n{{.s.b}}", `x.tmpl:3: {{.s.b}}: no "b"`},
		{"missing variable of a host", `h = h`, "{{.h.vars.prot}}", `x.tmpl:1: {{.h.vars.prot}}: no "prot"`},
		{"missing in a condition", `a = 1`, "{{if .b}}{{end}}", `no variable "b"`},
		{"missing in a defined template", `a = {"x": 1}`, `{{define "d"}}{{.y}}{{end}}{{template "d" .a}}`, `x.tmpl:1: {{.y}}:`},
		{"below None", `a = None`, "{{.a.b}}", `x.tmpl:1: {{.a.b}}: no "b": what stands before it is None`},
		{"None printed", `a = None`, "x\n{{.a}}", `x.tmpl:2: {{.a}}: the value is None`},
		{"list printed", `a = [1]`, "{{.a}}", `{{.a}}: the value is a list`},
		{"dict printed", `a = {}`, "{{.a}}", `the value is a dict or struct`},
		{"join of a string", `a = "x"`, `{{.a | join ","}}`, `join: got a string, want a list`},
		{"join of None", `a = [None]`, `{{.a | join ","}}`, `join: item 0: the value is None`},
		{"function", `a = len`, "", `x.tmpl: variable a: a template cannot use a builtin_function_or_method`},
		{"syntax", ``, "a\n{{if}}", `x.tmpl:2: `},
		{"unknown function", ``, "{{nope}}", `x.tmpl:1: no function "nope": a variable is written {{ .nope }}; functions are default, indent, join, quote, toJson`},
		{"as in Jinja", `port = 80`, "{{ port }}", `x.tmpl:1: no function "port": a variable is written {{ .port }}`},
		{"a statement of Jinja's", `on = True`, "a\n{% if on %}b{% endif %}", `x.tmpl:2: {% is Jinja's: write {{ if .name }}`},
		{"never closed", ``, "{{range .x}}", `x.tmpl:1: unexpected EOF`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Render("x.tmpl", test.text, vars(t, test.vars))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v\nwant %s", err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), printer) || strings.Contains(err.Error(), "interface {}")) {
				t.Errorf("the engine's inner words in: %v", err)
			}
		})
	}
}

func TestSecretsInTemplates(t *testing.T) {
	for _, test := range []struct {
		name, vars, text, want string
		secret                 bool
	}{
		{"printed", `p = secret`, "x={{.p}}", "x=it's", true},
		{"through quote", `p = secret`, "{{quote .p}}", `'it'\''s'`, true},
		{"through printf", `p = secret`, `{{printf "<%s>" .p}}`, "<it's>", true},
		{"through JSON", `p = {"a": [secret]}`, "{{toJson .p}}", `{"a":["it's"]}`, true},
		{"through join", `p = [secret, "x"]`, `{{join ":" .p}}`, "it's:x", true},
		{"through urlquery", `p = secret`, `{{urlquery .p}}`, "it%27s", true},
		{"in a host's variables", `h = h`, "{{.h.vars.password}}", "hunter22", true},
		{"passed and not used", `h = h`, "{{.h.vars.port}}", "6000", false},
		{"only asked for", `p = secret`, "{{if .p}}yes{{end}}", "yes", false},
		{"empty", `p = empty`, "{{if .p}}yes{{end}}{{.p}}.", ".", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Render("x.tmpl", test.text, vars(t, test.vars))
			if err != nil {
				t.Fatal(err)
			}
			if got.Reveal() != test.want || got.IsSecret() != test.secret {
				t.Errorf("got %q (secret: %t), want %q (%t)", got.Reveal(), got.IsSecret(), test.want, test.secret)
			}
		})
	}
}
