package apt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/runtime/host"
)

// policy is what the package lists know of a package.
type policy struct {
	candidate string // the version that would be installed; empty where there is none
	versions  []string
}

// policies asks apt-cache about packages. A name that it has never heard of is not in the answer; one that
// is only referred to, or is virtual, has no candidate and no versions.
func policies(ctx context.Context, r host.Reader, release string, names ...string) (map[string]policy, error) {
	l, err := lookAtLists(ctx, r)
	if err != nil {
		return nil, err
	}
	argv := append([]string{"apt-cache", "policy"}, l.noCache(ctx)...)
	if release != "" {
		argv = append(argv, "-oAPT::Default-Release="+release)
	}
	c := host.Command{Argv: append(argv, names...)}
	out, err := host.Succeeded(c)(r.Look(ctx, c))
	if notFound := (*host.NotFound)(nil); errors.As(err, &notFound) {
		return nil, fmt.Errorf("not a machine with APT: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return parsePolicies(out.Stdout), nil
}

// parsePolicies reads the output of apt-cache policy:
//
//	postgresql-17:
//	  Installed: (none)
//	  Candidate: 17.11-0+deb13u1
//	  Version table:
//	     17.11-0+deb13u1 500
//	        500 http://deb.debian.org/debian trixie/main amd64 Packages
//	 *** 17.10-0+deb13u1 100
//	        100 /var/lib/dpkg/status
func parsePolicies(listing string) map[string]policy {
	all := map[string]policy{}
	name := ""
	for line := range strings.Lines(listing) {
		line = strings.TrimRight(line, "\n")
		text := strings.TrimSpace(line)
		switch p := all[name]; {
		case text == "":
		case !strings.HasPrefix(line, " "):
			name = strings.TrimSuffix(text, ":")
			all[name] = policy{}
		case strings.HasPrefix(text, "Candidate: "):
			if p.candidate = strings.TrimPrefix(text, "Candidate: "); p.candidate == "(none)" {
				p.candidate = ""
			}
			all[name] = p
		case strings.HasPrefix(line, " *** "), strings.HasPrefix(line, "     ") && !strings.HasPrefix(line, "      "):
			version, _, _ := strings.Cut(strings.TrimPrefix(text, "*** "), " ")
			p.versions = append(p.versions, version)
			all[name] = p
		}
	}
	return all
}

// has reports whether the lists have a version of the package that is wanted.
func (p policy) has(w wanted) bool {
	if w.version == "" {
		return p.candidate != ""
	}
	return slices.ContainsFunc(p.versions, w.matches)
}
