package render

import (
	"strings"
	"testing"
)

// No template brings pgrun down, and a secret shows in a text that is marked as secret only, never in an error.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		"port = {{.port}}", "{{range .list}}{{.}},{{end}}", "{{quote .p}}{{toJson .p}}", `{{printf "%9s%v" .p .list}}`, "{{with .p}}{{index . 0}}{{end}}",
		"{{% if x %}", "{{.h.vars.password | indent 2}}", "{{.none}}", `{{define "a"}}{{template "a"}}{{end}}`, "{{slice .p 0 2}}{{html .p}}{{len .p}}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "hunter22") || strings.Contains(text, "template") || strings.Contains(text, "block") {
			return // it says so itself; recursion goes on to a depth of 100,000
		}
		given := vars(t, `port = 5432, list = [1, "a"], p = secret, h = h, none = None`)
		got, err := Render("x.tmpl", text, given)
		if err != nil && strings.Contains(err.Error(), "hunter22") {
			t.Errorf("the error shows the secret: %v", err)
		}
		if err == nil && strings.Contains(got.Reveal(), "hunter22") && !got.IsSecret() {
			t.Errorf("%q shows the secret and is none", got.Reveal())
		}
	})
}
