package load

import (
	"fmt"
	"slices"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/inventory"
)

type hostParams struct {
	Name      string      `star:"name,required" doc:"The host's name, unique in the inventory."`
	Vars      builtin.Any `star:"vars" doc:"A dict of variables, which win over its groups'."`
	Transport string      `star:"transport" doc:"How it is reached: \"incus\", or \"local\" for the machine that pgrun runs on."`
	Instance  string      `star:"instance" doc:"The Incus instance's name; the host's if left out."`
	Remote    string      `star:"remote" doc:"The Incus remote that the instance is on; the local daemon if left out."`
	Project   string      `star:"project" doc:"The Incus project; INCUS_PROJECT, or the remote's own, if left out."`
}

type groupParams struct {
	Name     string          `star:"name,required" doc:"The group's name. A second declaration adds to the first. Every host is in \"all\"."`
	Hosts    builtin.Any     `star:"hosts" doc:"List of hosts, or of names of hosts declared elsewhere."`
	Children builtin.Strings `star:"children" doc:"Groups whose hosts are in this one too. Their variables win over this one's."`
	Vars     builtin.Any     `star:"vars" doc:"A dict of variables for its hosts."`
}

type paramsParams struct {
	Values builtin.KeyWords `star:"**values" doc:"Values for params that the playbook declares, by name."`
}

func (l *loader) inventoryModule() builtin.Module {
	return builtin.Module{
		Doc: "Declarations of an inventory.",
		Builtins: []builtin.Builtin{
			&builtin.Control[hostParams]{
				Name: "host", AtLoad: true, Positional: 1,
				Doc:      "Declares a host and returns it, for a group's list.",
				Defaults: hostParams{Transport: "incus"},
				Call:     declareHost,
			},
			&builtin.Control[groupParams]{
				Name: "group", AtLoad: true, Positional: 1,
				Doc:  "Declares a group of hosts and its variables.",
				Call: declareGroup,
			},
			&builtin.Control[paramsParams]{
				Name: "params", AtLoad: true,
				Doc:  "Sets params of the playbook; -e beats them.",
				Call: declareParams,
			},
		},
	}
}

func builderOf(c *builtin.Call) (*inventory.Builder, error) {
	b, ok := c.Thread.Local(builderKey).(*inventory.Builder)
	if !ok {
		return nil, fmt.Errorf("%s: belongs in an inventory only", c.Name)
	}
	return b, nil
}

func declareHost(c *builtin.Call, p hostParams) (starlark.Value, error) {
	b, err := builderOf(c)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"incus", "local"}, p.Transport) {
		return nil, fmt.Errorf("%s: for parameter \"transport\": %q is neither \"incus\" nor \"local\"", c.Name, p.Transport)
	}
	vars, err := dictOf(c.Name, "vars", p.Vars)
	if err != nil {
		return nil, err
	}
	h := &inventory.Host{Name: p.Name, Transport: p.Transport, Instance: p.Instance, Remote: p.Remote, Project: p.Project}
	if h.Instance == "" && h.Transport == "incus" {
		h.Instance = p.Name
	}
	if err := b.AddHost(h, vars); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return h, nil
}

func declareGroup(c *builtin.Call, p groupParams) (starlark.Value, error) {
	b, err := builderOf(c)
	if err != nil {
		return nil, err
	}
	g := &inventory.Group{Name: p.Name, Position: c.Thread.CallFrame(1).Pos.String(), Children: p.Children}
	if g.Vars, err = dictOf(c.Name, "vars", p.Vars); err != nil {
		return nil, err
	}
	if p.Hosts.Value != nil {
		list, ok := p.Hosts.Value.(starlark.Iterable)
		if !ok {
			return nil, fmt.Errorf("%s: for parameter \"hosts\": got %s, want a list", c.Name, p.Hosts.Type())
		}
		for item := range starlark.Elements(list) {
			switch item := item.(type) {
			case *inventory.Host:
				g.Hosts = append(g.Hosts, item.Name)
			case starlark.String:
				g.Hosts = append(g.Hosts, string(item))
			default:
				return nil, fmt.Errorf("%s: for parameter \"hosts\": item %d is a %s, want a host or its name", c.Name, len(g.Hosts), item.Type())
			}
		}
	}
	if err := b.AddGroup(g); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return starlark.None, nil
}

func declareParams(c *builtin.Call, p paramsParams) (starlark.Value, error) {
	b, err := builderOf(c)
	if err != nil {
		return nil, err
	}
	b.AddParams(starlark.StringDict(p.Values))
	return starlark.None, nil
}

// dictOf reads a dict of variables.
func dictOf(name, param string, v builtin.Any) (starlark.StringDict, error) {
	vars := starlark.StringDict{}
	if v.Value == nil {
		return vars, nil
	}
	dict, ok := v.Value.(*starlark.Dict)
	if !ok {
		return nil, fmt.Errorf("%s: for parameter %q: got %s, want a dict", name, param, v.Type())
	}
	for _, item := range dict.Items() {
		key, ok := starlark.AsString(item[0])
		if !ok {
			return nil, fmt.Errorf("%s: for parameter %q: key %s is a %s, want string", name, param, item[0], item[0].Type())
		}
		vars[key] = item[1]
	}
	return vars, nil
}
