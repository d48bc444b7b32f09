package suggest_test

import (
	"regexp"
	"testing"

	"github.com/pgrun/pgrun/builtins"
	"github.com/pgrun/pgrun/runtime/suggest"
)

// Every builtin that a hint names is there.
func TestHabitsNameBuiltins(t *testing.T) {
	have := map[string]bool{"vault.read": true} // of the loader
	modules := map[string]bool{"vault": true}
	for _, m := range builtins.Modules() {
		modules[m.Name] = true
		for _, b := range m.Builtins {
			have[m.Name+"."+b.Spec().Name] = true
		}
	}
	builtin := regexp.MustCompile(`\b([a-z_]+)\.([a-z_]+)\b`)
	for name, text := range suggest.Texts() {
		for _, m := range builtin.FindAllStringSubmatch(text, -1) {
			if modules[m[1]] && !have[m[0]] {
				t.Errorf("%s: the hint names %s, which is not there", name, m[0])
			}
		}
	}
}
