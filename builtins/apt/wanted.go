package apt

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/pgrun/pgrun/runtime/builtin"
)

// wanted is a package that a playbook asks for: "nginx", "libc6:i386", "nginx=1.22.1-9", "nginx=1.22.*".
type wanted struct {
	name    string // with its architecture, where one was given
	version string // a version, or a shell pattern; empty for any
}

// String is the package as apt-get takes it.
func (w wanted) String() string {
	if w.version == "" {
		return w.name
	}
	return w.name + "=" + w.version
}

// matches reports whether a version is one that is wanted. A pattern means what it means to apt-get.
func (w wanted) matches(version string) bool {
	if w.version == "" || w.version == version {
		return true
	}
	ok, _ := path.Match(w.version, version) // parseWanted has tried the pattern
	return ok
}

// parseWanted reads the parameter packages. Names are checked, since apt-get takes much more: file names,
// patterns, and "name-" for a removal.
func parseWanted(packages builtin.Strings) ([]wanted, error) {
	if len(packages) == 0 {
		return nil, fmt.Errorf("packages: the list is empty")
	}
	var (
		legal = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9-]+)?$`) // Debian policy 5.6.1
		all   []wanted
		seen  = map[string]string{}
	)
	for _, p := range packages {
		w := wanted{name: p}
		var pinned bool
		w.name, w.version, pinned = strings.Cut(p, "=")
		if !legal.MatchString(w.name) {
			return nil, fmt.Errorf("packages: %q is not a package name: write name, name:architecture or name=version", p)
		}
		if pinned && w.version == "" {
			return nil, fmt.Errorf("packages: %q has no version after the =", p)
		}
		if _, err := path.Match(w.version, ""); err != nil || strings.ContainsAny(w.version, " \t\n/") {
			return nil, fmt.Errorf("packages: %q in %q is not a version, nor a pattern such as 1.2*", w.version, p)
		}
		if before, twice := seen[w.name]; twice {
			if before == p {
				continue
			}
			return nil, fmt.Errorf("packages: both %q and %q", before, p)
		}
		seen[w.name] = p
		all = append(all, w)
	}
	return all, nil
}

func names(all []wanted) []string {
	names := make([]string, len(all))
	for i, w := range all {
		names[i] = w.name
	}
	return names
}

// arguments are the packages as apt-get takes them.
func arguments(all []wanted) []string {
	args := make([]string, len(all))
	for i, w := range all {
		args[i] = w.String()
	}
	return args
}

// plainNames checks that packages are named without versions.
func plainNames(packages builtin.Strings) ([]string, error) {
	all, err := parseWanted(packages)
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		if w.version != "" {
			return nil, fmt.Errorf("packages: %q: a version has no meaning here: write %q", w, w.name)
		}
	}
	return names(all), nil
}
