package apt

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/suggest"
)

// Errors that say that the repositories lack something are host.NotThere: in a dry run it may come with a
// repository that an earlier task would add.

// unknown is the error of the first package that the lists have never heard of, or not in the version
// asked for; nil where there is none.
func (i *installation) unknown(ctx context.Context, r host.Reader) error {
	for _, w := range i.todo {
		name, _, _ := strings.Cut(w.name, ":")
		p, ok := i.known[w.name]
		if !ok {
			p, ok = i.known[name]
		}
		switch {
		case !ok && i.lists.empty:
			return host.NotThere("the package lists are empty, so that %s cannot be found: leave update at its default, or call apt.update first", w.name)
		case !ok:
			return noPackage(ctx, r, i.params.Release, w.name)
		case w.version != "" && len(p.versions) > 0 && !p.has(w):
			return noVersion(ctx, r, w, p.versions)
		}
	}
	return nil
}

// explain puts an error of apt-get's in our words, where there is more to say than it does.
func explain(ctx context.Context, r host.Reader, release string, out host.Output, err error) error {
	failed := (*host.Failed)(nil)
	if !errors.As(err, &failed) {
		return err
	}
	if m := regexp.MustCompile(`Unable to locate package (\S+)`).FindStringSubmatch(out.Stderr); m != nil {
		return noPackage(ctx, r, release, m[1])
	}
	if m := regexp.MustCompile(`Version '(.+?)' for '(.+?)' was not found`).FindStringSubmatch(out.Stderr); m != nil {
		known, err := policies(ctx, r, release, m[2])
		if err != nil {
			return err
		}
		return noVersion(ctx, r, wanted{m[2], m[1]}, known[m[2]].versions)
	}
	if m := regexp.MustCompile(`Package '(\S+)' has no installation candidate`).FindStringSubmatch(out.Stderr); m != nil {
		if providers := providersIn(out.Stdout, m[1]); len(providers) > 0 {
			return host.NotThere("%s is a virtual package: name one of those that provide it: %s", m[1], some(providers, 20))
		}
		return noPackage(ctx, r, release, m[1])
	}
	switch {
	case strings.Contains(out.Stderr, "without --allow-downgrades"):
		return fmt.Errorf("a package is installed in a newer version than asked for: say downgrade = True to go back\n%w", err)
	case strings.Contains(out.Stderr, "without --allow-change-held-packages"):
		return fmt.Errorf("a held package would have to change: end that with apt.unhold first\n%w", withList(failed))
	}
	return withList(failed)
}

// withList adds to apt-get's error what it prints on its standard output about it: which packages do not
// go together.
func withList(failed *host.Failed) error {
	for _, heading := range []string{"The following packages have unmet dependencies:", "The following held packages will be changed:"} {
		_, list, ok := strings.Cut(failed.Output.Stdout, heading)
		if !ok {
			continue
		}
		var lines strings.Builder
		lines.WriteString(heading + "\n")
		for line := range strings.Lines(strings.TrimLeft(list, "\n")) {
			if !strings.HasPrefix(line, " ") {
				break
			}
			lines.WriteString(line)
		}
		explained := *failed
		explained.Output.Stderr = lines.String() + failed.Output.Stderr
		return &explained
	}
	return failed
}

// providersIn reads, after "Package awk is a virtual package provided by:", the lines "  mawk 1.3".
func providersIn(stdout, name string) []string {
	_, list, ok := strings.Cut(stdout, "Package "+name+" is a virtual package provided by:\n")
	var providers []string
	for line := range strings.Lines(list) {
		if !ok || !strings.HasPrefix(line, " ") {
			break
		}
		providers = append(providers, strings.Fields(line)[0])
	}
	return sorted(providers)
}

func noVersion(ctx context.Context, r host.Reader, w wanted, have []string) error {
	distribution, err := distribution(ctx, r)
	if err != nil {
		return err
	}
	return host.NotThere("no version %s of %s for %s (have %s)", w.version, w.name, distribution, some(have, 12))
}

// noPackage is the error for a package that no repository has, with those that may have been meant.
func noPackage(ctx context.Context, r host.Reader, release, name string) error {
	distribution, err := distribution(ctx, r)
	if err != nil {
		return err
	}
	near, err := similar(ctx, r, release, name)
	if err != nil {
		return err
	}
	message := fmt.Sprintf("no package %q for %s", name, distribution)
	if len(near) > 0 {
		message += fmt.Sprintf(" (have %s)", some(near, 12))
	}
	return host.NotThere("%s: correct the name, or add a repository that has it with apt.repository", message)
}

func distribution(ctx context.Context, r host.Reader) (string, error) {
	facts, err := r.Facts(ctx)
	if err != nil {
		return "", err
	}
	if facts.OS == "" {
		return "this distribution", nil
	}
	return strings.TrimSpace(strings.ToUpper(facts.OS[:1]) + facts.OS[1:] + " " + facts.OSVersion), nil
}

// similar lists the packages to be had whose names differ from name in numbers only (postgresql-17 for
// postgresql-18), or else those within a slip or two of the finger.
func similar(ctx context.Context, r host.Reader, release, name string) ([]string, error) {
	name, _, _ = strings.Cut(name, ":")
	prefix := name[:min(3, len(name))]
	l, err := lookAtLists(ctx, r)
	if err != nil {
		return nil, err
	}
	c := host.Command{Argv: append(append([]string{"apt-cache", "pkgnames"}, l.noCache(ctx)...), prefix)}
	out, err := r.Look(ctx, c)
	if err != nil {
		return nil, err
	}
	var family, slips []string
	for line := range strings.Lines(out.Stdout) {
		switch other := strings.TrimSpace(line); {
		case shape(other) == shape(name):
			family = append(family, other)
		case suggest.Distance(other, name) <= 2:
			slips = append(slips, other)
		}
	}
	near := family
	if len(near) == 0 {
		near = slips
	}
	if len(near) == 0 {
		return nil, nil
	}
	known, err := policies(ctx, r, release, near[:min(len(near), 100)]...)
	if err != nil {
		return nil, err
	}
	near = slices.DeleteFunc(near, func(n string) bool { return known[n].candidate == "" })
	slices.SortFunc(near, func(a, b string) int {
		if len(a) != len(b) { // so that 9 comes before 10
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return near, nil
}

// shape is a name with its numbers left out.
func shape(name string) string { return regexp.MustCompile(`[0-9]+`).ReplaceAllString(name, "#") }
