package systemd

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// unitDir is where the administrator's unit files are.
const unitDir = "/etc/systemd/system"

// unitName checks a unit's name and gives one without a type its ".service".
func unitName(name string) (string, error) {
	types := []string{".service", ".socket", ".target", ".timer", ".path", ".mount", ".automount", ".swap", ".slice", ".scope", ".device"}
	full := name
	if !slices.Contains(types, path.Ext(name)) {
		full += ".service"
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9:_.\\@-]*$`).MatchString(full) || len(full) > 255 { // systemd.unit(5)
		return "", fmt.Errorf("name: %q is not a unit's name: write letters, digits and any of :_.\\@-", name)
	}
	return full, nil
}

// isTemplate reports whether a name is that of a template, foo@.service, of which instances are made.
func isTemplate(name string) bool {
	_, instance, ok := strings.Cut(strings.TrimSuffix(name, path.Ext(name)), "@")
	return ok && instance == ""
}

// templateOf returns the template of an instance's name: foo@.service of foo@1.service; "" of another name.
func templateOf(name string) string {
	before, after, ok := strings.Cut(strings.TrimSuffix(name, path.Ext(name)), "@")
	if !ok || after == "" {
		return ""
	}
	return before + "@" + path.Ext(name)
}

func isService(name string) bool { return path.Ext(name) == ".service" }
