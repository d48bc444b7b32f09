// Package inventory knows the machines: hosts, groups, variables and the patterns that choose among
// them.
//
// An inventory is a Starlark file. It calls host, group and params:
//
//	group("web", hosts = [host("web-1"), host("web-2", vars = {"port": 8081})], vars = {"port": 8080})
//	group("all", vars = {"lab": True})
//	params(version = 17)
//
// A host's variables are its groups', the outer group's before the inner one's and "all" before
// any, and then its own; what comes later wins. Every host is in "all".
package inventory

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/suggest"
)

// All is the group that every host is in.
const All = "all"

// Inventory is a finished inventory. It does not change.
type Inventory struct {
	Path   string              // the file it was read from, as named by the user
	Hosts  []*Host             // in the order of declaration
	Groups []*Group            // in the order of declaration
	Params starlark.StringDict // values for the playbook's params
}

// Group is a named set of hosts.
type Group struct {
	Name     string
	Position string   // file:line:col of its first declaration
	Hosts    []string // declared in it
	Children []string
	Vars     starlark.StringDict
}

// Host returns a host by name.
func (inv *Inventory) Host(name string) (*Host, error) {
	names := make([]string, len(inv.Hosts))
	for i, h := range inv.Hosts {
		if h.Name == name {
			return h, nil
		}
		names[i] = h.Name
	}
	return nil, fmt.Errorf("no host %q in the inventory %s%s", name, inv.Path, suggest.Or(name, names, " (has: "+strings.Join(names, ", ")+")"))
}

func (inv *Inventory) group(name string) *Group {
	for _, g := range inv.Groups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// Builder collects what an inventory file declares.
type Builder struct {
	path   string
	hosts  []*Host
	own    map[string]starlark.StringDict // variables of each host
	groups []*Group
	params starlark.StringDict
}

// NewBuilder starts an empty inventory.
func NewBuilder(path string) *Builder {
	return &Builder{path: path, own: map[string]starlark.StringDict{}, params: starlark.StringDict{}}
}

// AddHost declares a host.
func (b *Builder) AddHost(h *Host, vars starlark.StringDict) error {
	if err := checkName("host", h.Name); err != nil {
		return err
	}
	if _, dup := b.own[h.Name]; dup {
		return fmt.Errorf("host %q is declared twice: to put it in two groups, give both its name", h.Name)
	}
	h.Vars = &Vars{owner: h.Name} // Build fills them in
	b.hosts = append(b.hosts, h)
	b.own[h.Name] = vars
	return nil
}

// AddGroup declares a group. A second declaration of a name adds to the first.
func (b *Builder) AddGroup(g *Group) error {
	if err := checkName("group", g.Name); err != nil {
		return err
	}
	for _, known := range b.groups {
		if known.Name == g.Name {
			known.Hosts = append(known.Hosts, g.Hosts...)
			known.Children = append(known.Children, g.Children...)
			for name, value := range g.Vars {
				known.Vars[name] = value
			}
			return nil
		}
	}
	b.groups = append(b.groups, g)
	return nil
}

// AddParams sets values for params of the playbook.
func (b *Builder) AddParams(values starlark.StringDict) {
	for name, value := range values {
		b.params[name] = value
	}
}

// Finish resolves groups and variables.
func (b *Builder) Finish() (*Inventory, error) {
	inv := &Inventory{Path: b.path, Hosts: b.hosts, Groups: b.groups, Params: b.params}
	for _, g := range b.groups {
		for _, name := range g.Hosts {
			if _, ok := b.own[name]; !ok {
				return nil, fmt.Errorf("%s: group %q: no host %q is declared%s", g.Position, g.Name, name, suggest.Or(name, slices.Collect(maps.Keys(b.own)), ""))
			}
		}
		for _, name := range g.Children {
			if name == All {
				return nil, fmt.Errorf("%s: group %q: %q is no child: every host is in it by itself", g.Position, g.Name, All)
			}
			if inv.group(name) == nil {
				return nil, fmt.Errorf("%s: group %q: no group %q is declared", g.Position, g.Name, name)
			}
		}
	}
	depth := map[string]int{All: 0}
	for _, g := range b.groups {
		if _, err := inv.depth(g.Name, depth, nil); err != nil {
			return nil, err
		}
	}
	members := map[string]map[string]bool{}
	outerFirst := slices.Clone(b.groups)
	sort.SliceStable(outerFirst, func(i, j int) bool { return depth[outerFirst[i].Name] < depth[outerFirst[j].Name] })
	for _, h := range b.hosts {
		h.Vars.values = starlark.StringDict{}
		for _, g := range outerFirst {
			if g.Name != All && !inv.members(g, members)[h.Name] {
				continue
			}
			if g.Name != All {
				h.Groups = append(h.Groups, g.Name)
			}
			for name, value := range g.Vars {
				h.Vars.values[name] = value
			}
		}
		for name, value := range b.own[h.Name] {
			h.Vars.values[name] = value
		}
		h.Groups = append(h.Groups, All)
		slices.Sort(h.Groups)
		h.Freeze()
	}
	inv.Params.Freeze()
	return inv, nil
}

// depth is how far a group is below the outermost one: its variables win over those above.
func (inv *Inventory) depth(name string, known map[string]int, below []string) (int, error) {
	if d, ok := known[name]; ok {
		return d, nil
	}
	if slices.Contains(below, name) {
		return 0, fmt.Errorf("%s: group %q is its own child: %s", inv.group(name).Position, name, strings.Join(append(below, name), " -> "))
	}
	d := 1
	for _, parent := range inv.Groups {
		if parent.Name != All && slices.Contains(parent.Children, name) {
			above, err := inv.depth(parent.Name, known, append(below, name))
			if err != nil {
				return 0, err
			}
			d = max(d, above+1)
		}
	}
	known[name] = d
	return d, nil
}

// members are the hosts of a group and of those below it, kept in known: a group may be below another in many ways.
func (inv *Inventory) members(g *Group, known map[string]map[string]bool) map[string]bool {
	if all, ok := known[g.Name]; ok {
		return all
	}
	all := map[string]bool{}
	for _, host := range g.Hosts {
		all[host] = true
	}
	for _, child := range g.Children {
		maps.Copy(all, inv.members(inv.group(child), known))
	}
	known[g.Name] = all
	return all
}

func checkName(kind, name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
	if name == "" || strings.Trim(name, allowed) != "" {
		return fmt.Errorf("%q is no name for a %s: use letters, digits, _ . and -", name, kind)
	}
	return nil
}
