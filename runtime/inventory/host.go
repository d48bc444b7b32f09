package inventory

import (
	"fmt"
	"sort"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// Host is one machine of the inventory, as a playbook sees it: h.name, h.groups, h.vars.
type Host struct {
	Name      string
	Transport string // "incus" or "local"

	// Of an Incus instance: its own name, the remote it is on and the project there. Empty
	// remote and project mean the client's defaults.
	Instance, Remote, Project string

	Groups []string // every group it is in, sorted
	Vars   *Vars
}

var _ starlark.HasAttrs = (*Host)(nil)

func (h *Host) String() string        { return h.Name }
func (h *Host) Type() string          { return "host" }
func (h *Host) Freeze()               { h.Vars.Freeze() }
func (h *Host) Truth() starlark.Bool  { return true }
func (h *Host) Hash() (uint32, error) { return starlark.String(h.Name).Hash() }
func (h *Host) AttrNames() []string {
	return []string{"groups", "instance", "name", "transport", "vars"}
}

// Attr returns an attribute of the host.
func (h *Host) Attr(name string) (starlark.Value, error) {
	switch name {
	case "name":
		return starlark.String(h.Name), nil
	case "instance":
		return starlark.String(h.Instance), nil
	case "transport":
		return starlark.String(h.Transport), nil
	case "vars":
		return h.Vars, nil
	case "groups":
		groups := make([]starlark.Value, len(h.Groups))
		for i, g := range h.Groups {
			groups[i] = starlark.String(g)
		}
		return starlark.NewList(groups), nil
	}
	has := fmt.Sprintf(" (has: %s)", strings.Join(h.AttrNames(), ", "))
	if _, ok := h.Vars.values[name]; ok {
		has = fmt.Sprintf(": it is a variable: h.vars.%s", name)
	}
	return nil, starlark.NoSuchAttrError(fmt.Sprintf("host %s has no .%s%s", h.Name, name, has))
}

// Vars are a host's variables: its own over its groups'. A variable that is not set is an error
// that names the host; getattr(h.vars, "name", default) asks without one.
type Vars struct {
	owner  string
	values starlark.StringDict // nil while the inventory is being loaded
}

var (
	_ starlark.HasAttrs = (*Vars)(nil)
	_ starlark.Mapping  = (*Vars)(nil)
)

func (v *Vars) String() string {
	return starlarkstruct.FromStringDict(starlark.String("vars"), v.values).String()
}
func (v *Vars) Type() string          { return "vars" }
func (v *Vars) Freeze()               { v.values.Freeze() }
func (v *Vars) Truth() starlark.Bool  { return len(v.values) > 0 }
func (v *Vars) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: vars") }

// AttrNames lists the variables that are set.
func (v *Vars) AttrNames() []string {
	names := v.values.Keys()
	sort.Strings(names)
	return names
}

// Attr returns a variable.
func (v *Vars) Attr(name string) (starlark.Value, error) {
	if value, ok := v.values[name]; ok {
		return value, nil
	}
	if v.values == nil {
		return nil, fmt.Errorf("host %s: its variables are put together when the inventory is loaded, its groups' with its own: read them in the playbook", v.owner)
	}
	return nil, starlark.NoSuchAttrError(fmt.Sprintf("host %s has no variable %q (has: %s)",
		v.owner, name, strings.Join(v.AttrNames(), ", ")))
}

// Get serves "name" in h.vars. h.vars["name"] is refused: one way to write it is enough.
func (v *Vars) Get(key starlark.Value) (starlark.Value, bool, error) {
	name, ok := starlark.AsString(key)
	if !ok {
		return nil, false, fmt.Errorf("variables have names, not %s: write h.vars.NAME", key.Type())
	}
	_, found := v.values[name]
	return starlark.None, found, fmt.Errorf("write h.vars.%s, or getattr(h.vars, name) for a name in a variable", name)
}

// NewHost makes a host with variables of its own only, reached through Incus under its own name.
func NewHost(name string, vars starlark.StringDict) *Host {
	return &Host{Name: name, Transport: "incus", Instance: name, Vars: &Vars{name, vars}}
}
