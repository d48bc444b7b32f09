package inventory

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/runtime/suggest"
)

// Match returns the hosts that a pattern chooses, in the inventory's order. A pattern is Ansible's:
// names of groups and hosts, separated by commas or colons; * and ? match any part of a name; a
// part after ! is left out, a part after & must be in too:
//
//	web:db        in web or in db
//	all:!monitor  all but those in monitor
//	web:&lab      in both
//
// A name that is neither a group nor a host is an error, and so is a pattern that chooses no host.
func (inv *Inventory) Match(pattern string) ([]*Host, error) {
	var in, out, both [][]*Host
	for _, part := range strings.FieldsFunc(pattern, func(r rune) bool { return r == ',' || r == ':' }) {
		part = strings.TrimSpace(part)
		list := &in
		switch {
		case strings.HasPrefix(part, "!"):
			list, part = &out, part[1:]
		case strings.HasPrefix(part, "&"):
			list, part = &both, part[1:]
		}
		hosts, err := inv.named(part)
		if err != nil {
			return nil, err
		}
		*list = append(*list, hosts)
	}
	if len(in) == 0 && len(out)+len(both) > 0 {
		in = append(in, inv.Hosts)
	}
	var chosen []*Host
	for _, h := range inv.Hosts {
		has := func(hosts []*Host) bool { return slices.Contains(hosts, h) }
		missing := func(hosts []*Host) bool { return !slices.Contains(hosts, h) }
		if slices.ContainsFunc(in, has) && !slices.ContainsFunc(out, has) && !slices.ContainsFunc(both, missing) {
			chosen = append(chosen, h)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("the pattern %q chooses no host of the inventory %s", pattern, inv.Path)
	}
	return chosen, nil
}

// named returns the hosts of one part of a pattern.
func (inv *Inventory) named(name string) ([]*Host, error) {
	var hosts []*Host
	known := []string{All}
	for _, g := range inv.Groups {
		known = append(known, g.Name)
	}
	isGroup := name == All || slices.Contains(known, name)
	for _, h := range inv.Hosts {
		known = append(known, h.Name)
		glob, err := path.Match(name, h.Name)
		if err != nil {
			return nil, fmt.Errorf("%q is not a pattern: %w", name, err)
		}
		inGlobbed := slices.ContainsFunc(h.Groups, func(g string) bool { ok, _ := path.Match(name, g); return ok })
		if glob || inGlobbed {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 && !isGroup {
		return nil, fmt.Errorf("no host or group %q in the inventory %s%s", name, inv.Path,
			suggest.Or(name, known, " (has: "+strings.Join(known, ", ")+")"))
	}
	return hosts, nil
}
