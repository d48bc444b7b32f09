package playbooks_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.starlark.net/syntax"
)

// example is a script in a document, and before it the name of the file that it stands for, if it has one.
var example = regexp.MustCompile("(?m)(?:^`([a-z_.]+)`.*:\n\n)?^```python\n((?s:.*?))^```$")

// TestDocumentsExamples loads the playbooks that the documents show, and reads all else that they show.
// What a reference shows is no script but a signature.
func TestDocumentsExamples(t *testing.T) {
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range append(documents, "../README.md", "../CONTRIBUTING.md") {
		if filepath.Base(document) == "builtins.md" {
			continue
		}
		t.Run(filepath.Base(document), func(t *testing.T) {
			text, err := os.ReadFile(document)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			var playbooks []string
			for _, found := range example.FindAllStringSubmatch(string(text), -1) {
				name, script := found[1], found[2]
				if _, err := (&syntax.FileOptions{TopLevelControl: true}).Parse(document, script, 0); err != nil {
					t.Error(err)
				}
				if name == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o600); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(script, "\nplay(") {
					playbooks = append(playbooks, name)
				}
			}
			for _, name := range playbooks {
				if _, err := loaded(t, filepath.Join(dir, name), ""); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}
