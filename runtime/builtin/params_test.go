package builtin

import "testing"

func TestAbsent(t *testing.T) {
	for want, source := range map[string]Source{
		`no template "a.tmpl" in the project`:                                     {Path: "a.tmpl", Name: "a.tmpl"},
		`no template "//web/a.tmpl" in the project`:                               {Path: "//web/a.tmpl", Name: "web/a.tmpl"},
		`no template "a.tmpl" in the project, where it would be playbooks/a.tmpl`: {Path: "a.tmpl", Name: "playbooks/a.tmpl"},
	} {
		if got := source.Absent("template").Error(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
