package apt

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/runtime/host"
)

// transaction is what apt-get says that it does, as it is printed with -V both by a simulation and by the
// real thing.
type transaction struct {
	installed, upgraded, downgraded, removed []step
}

// step is what happens to one package.
type step struct {
	name, from, to string
	purged         bool
}

// simulate asks apt-get what it would do. An error of apt-get's is a *host.Failed.
func simulate(ctx context.Context, r host.Reader, l lists, args ...string) (transaction, host.Output, error) {
	argv := append([]string{"apt-get", "-s", "-y", "-q", "-V", noPlannerLog}, l.noCache(ctx)...)
	c := host.Command{Argv: append(argv, args...)}
	out, err := host.Succeeded(c)(r.Look(ctx, c))
	return parseTransaction(out.Stdout), out, err
}

// parseTransaction reads
//
//	The following packages will be REMOVED:
//	   mawk (1.3.4.20250131-1)
//	The following packages will be upgraded:
//	   base-files (13.8 => 13.8+deb13u1)
func parseTransaction(listing string) transaction {
	var (
		t       transaction
		section *[]step
	)
	for line := range strings.Lines(listing) {
		if !strings.HasPrefix(line, " ") {
			switch heading := strings.TrimSpace(line); heading {
			case "The following NEW packages will be installed:":
				section = &t.installed
			case "The following packages will be upgraded:":
				section = &t.upgraded
			case "The following packages will be DOWNGRADED:":
				section = &t.downgraded
			case "The following packages will be REMOVED:":
				section = &t.removed
			default:
				section = nil
			}
			continue
		}
		if section == nil {
			continue
		}
		name, version, ok := strings.Cut(strings.TrimSpace(line), " (")
		if !ok {
			continue
		}
		var s step
		s.name, s.purged = strings.CutSuffix(name, "*")
		s.from, s.to, ok = strings.Cut(strings.TrimSuffix(version, ")"), " => ")
		if !ok && section == &t.installed {
			s.from, s.to = "", s.from
		}
		*section = append(*section, s)
	}
	return t
}

// summary tells a transaction: the packages that were asked for a line each, the others together, and those
// that are removed for it all of them, since nobody may overlook one.
func (t transaction) summary(asked []string) []string {
	var lines, others, gone []string
	tell := func(verb string, s step) {
		line := fmt.Sprintf("%s %s %s", verb, s.name, s.to)
		if s.from != "" {
			line = fmt.Sprintf("%s %s %s -> %s", verb, s.name, s.from, s.to)
		}
		if slices.Contains(asked, s.name) {
			lines = append(lines, line)
		} else {
			others = append(others, s.name)
		}
	}
	for _, s := range t.installed {
		tell("install", s)
	}
	for _, s := range t.upgraded {
		tell("upgrade", s)
	}
	for _, s := range t.downgraded {
		tell("downgrade", s)
	}
	for _, s := range t.removed {
		verb := "remove"
		if s.purged {
			verb = "purge"
		}
		if slices.Contains(asked, s.name) {
			lines = append(lines, fmt.Sprintf("%s %s %s", verb, s.name, s.from))
		} else {
			gone = append(gone, s.name+" "+s.from)
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int { return cmp.Compare(order(asked, a), order(asked, b)) })
	if len(others) > 0 {
		lines = append(lines, fmt.Sprintf("with %d more: %s", len(others), some(sorted(others), 12)))
	}
	if len(gone) > 0 {
		lines = append(lines, "remove too: "+strings.Join(gone, ", "))
	}
	return lines
}

// order is the place of the package that a line of a summary is about among those asked for.
func order(asked []string, line string) int {
	return slices.Index(asked, strings.Fields(line)[1])
}

// some joins the first n words.
func some(words []string, n int) string {
	if len(words) > n {
		return strings.Join(words[:n], ", ") + ", ..."
	}
	return strings.Join(words, ", ")
}

func sorted(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}
