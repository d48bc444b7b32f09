package load

import (
	"testing"
	"testing/fstest"
)

// No file brings the reading of playbooks down, and none but a good one is accepted without a word.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		"inventory(\"hosts.star\")\n", "def t(h):\n\t\"\"\"T.\"\"\"\n    x = 1\n", "play(hosts: web)", "- hosts: all", "param(\"a\", default = 1, choices = [1])",
		"inventory.hosts(*[1], **{})", "load(\"@stdlib//x.star\", \"x\")", "x = lambda: (yield 1)", "env()\xff", "template(\"t.tmpl\")", "template(\"../x\")", "while True: pass",
	} {
		f.Add(seed)
	}
	l := &loader{main: script{tree: &tree{fsys: fstest.MapFS{"t.tmpl": {Data: []byte("{{ .x }}")}}}, name: "fuzz.star"}, vocabularies: map[role]*vocabulary{}}
	known := l.vocabulary(asPlaybook)
	f.Fuzz(func(t *testing.T, text string) {
		file, program, err := l.compile(l.main, []byte(text), known)
		if err == nil && (file == nil || program == nil) {
			t.Error("neither a program nor an error")
		}
	})
}
