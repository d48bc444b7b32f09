package load

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/inventory"
)

// Declarations lists the modules that loading itself has, for the reference: what a playbook declares with,
// what an inventory does, and what both have.
func Declarations() (playbook, inventory builtin.Module, both []builtin.Module) {
	l := &loader{}
	return l.playbookModule(), l.inventoryModule(), append(l.bothModules(), l.hostsModule())
}

// declarations returns what a file of that role can declare with.
func (l *loader) declarations(as role) []builtin.Module {
	if as == asInventory {
		return append(l.bothModules(), l.inventoryModule())
	}
	return append(l.bothModules(), l.playbookModule(), l.hostsModule())
}

// bothModules are what playbooks and inventories can read alike.
func (l *loader) bothModules() []builtin.Module {
	return append(l.secretModules(), environmentModule())
}

type playParams struct {
	Name      string          `star:"name,required" doc:"Title of the play."`
	Hosts     string          `star:"hosts,required" doc:"Pattern of the hosts: groups and names, as in Ansible: \"web:!web-1\"."`
	Tasks     builtin.Any     `star:"tasks,required" doc:"List of tasks: functions of one host, each with a docstring whose first line is its title, or task(...)."`
	Tags      builtin.Strings `star:"tags" doc:"Tags of all its tasks, for --tags and --skip-tags."`
	Serial    int             `star:"serial" doc:"How many hosts at a time; 0 is all, as many at once as --forks allows."`
	OnFailure string          `star:"on_failure" doc:"What follows a play in which a host failed: \"stop\" ends the run, \"continue\" goes on with the hosts that are left."`
}

type taskParams struct {
	Func  builtin.Callable `star:"function,required" doc:"A function of one host."`
	Title string           `star:"title" doc:"What it does; the first line of the function's docstring if left out."`
	Tags  builtin.Strings  `star:"tags" doc:"Tags besides the play's."`
}

func (l *loader) playbookModule() builtin.Module {
	return builtin.Module{
		Doc: "Declarations of a playbook. They stand at its top level; they declare, and nothing runs until the whole file is loaded.",
		Builtins: []builtin.Builtin{
			&builtin.Control[playParams]{
				Name: "play", AtLoad: true, Positional: 1,
				Doc:      "Does some tasks on some hosts. Plays run one after the other; within a play each host runs its tasks in order, without waiting for the others. Only the playbook itself declares plays, not a file that it loads.",
				Defaults: playParams{OnFailure: "stop"},
				Call:     l.declarePlay,
			},
			&builtin.Control[inventoryParams]{
				Name: "inventory", AtLoad: true, Positional: 1,
				Doc:  "Names the playbook's inventory, which -i replaces. Stands before the first param: an inventory sets params.",
				Call: l.declareInventory,
			},
			&builtin.Control[taskParams]{
				Name: "task", AtLoad: true, Positional: 1,
				Doc:  "Makes a task of a function, with a title or tags of its own.",
				Call: declareTask,
			},
			&builtin.Control[paramParams]{
				Name: "param", AtLoad: true, Positional: 1,
				Doc:  "Declares a value that can be set from outside and returns it. -e KEY=VALUE beats the inventory's params, which beat the default. Without a default it must be set.",
				Call: l.declareParam,
			},
		},
	}
}

func (l *loader) declarePlay(c *builtin.Call, p playParams) (starlark.Value, error) {
	if err := onlyIn(c, asPlaybook, "a playbook's top level"); err != nil {
		return nil, err
	}
	if p.OnFailure != "stop" && p.OnFailure != "continue" {
		return nil, fmt.Errorf("%s: for parameter \"on_failure\": %q is neither \"stop\" nor \"continue\"", c.Name, p.OnFailure)
	}
	if p.Serial < 0 {
		return nil, fmt.Errorf("%s: for parameter \"serial\": %d is negative", c.Name, p.Serial)
	}
	play := &Play{
		Name: p.Name, Pattern: p.Hosts, Tags: p.Tags, Serial: p.Serial, Continue: p.OnFailure == "continue",
		Position: c.Thread.CallFrame(1).Pos.String(),
	}
	list, ok := p.Tasks.Value.(starlark.Iterable)
	if !ok {
		return nil, fmt.Errorf("%s: for parameter \"tasks\": got %s, want a list of tasks", c.Name, p.Tasks.Type())
	}
	for item := range starlark.Elements(list) {
		task, err := newTask(item, "")
		if err != nil {
			return nil, fmt.Errorf("%s: for parameter \"tasks\": item %d: %w", c.Name, len(play.Tasks), err)
		}
		tagged := *task
		tagged.Tags = slices.Concat(play.Tags, task.Tags)
		play.Tasks = append(play.Tasks, &tagged)
	}
	if len(play.Tasks) == 0 {
		return nil, fmt.Errorf("%s: for parameter \"tasks\": the play %q has none", c.Name, p.Name)
	}
	l.late = append(l.late, func() (err error) {
		if play.Hosts, err = l.playbook.Inventory.Match(play.Pattern); err != nil {
			err = fmt.Errorf("%s: play %q: %w", play.Position, play.Name, err)
		}
		return err
	})
	l.playbook.Plays = append(l.playbook.Plays, play)
	return starlark.None, nil
}

func declareTask(c *builtin.Call, p taskParams) (starlark.Value, error) {
	f, ok := p.Func.Callable.(*starlark.Function)
	if !ok {
		return nil, fmt.Errorf("%s: for parameter \"function\": got %s, want a function of a host", c.Name, p.Func.Type())
	}
	task, err := newTask(f, p.Title)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	task.Tags = p.Tags
	return task, nil
}

// onlyIn refuses a declaration outside of the one role that has it, and at run time.
func onlyIn(c *builtin.Call, as role, where string) error {
	if got, _ := c.Thread.Local(roleKey).(role); got != as {
		return fmt.Errorf("%s: belongs at %s only", c.Name, where)
	}
	return nil
}

type inventoryParams struct {
	Path string `star:"path,required" doc:"The inventory's file, a Starlark file, from the playbook's directory."`
}

type oneHostParams struct {
	Name string `star:"name,required" doc:"The host's name."`
}

type hostsParams struct {
	Pattern string `star:"pattern" doc:"Groups and names, as in Ansible: \"web:!web-1\"."`
}

// hostsModule is what a playbook asks of its inventory.
func (l *loader) hostsModule() builtin.Module {
	return builtin.Module{
		Name: "inventory",
		Doc:  "The hosts of the inventory that the playbook names. inventory.path is its file, as errors show it.",
		Builtins: []builtin.Builtin{
			&builtin.Control[oneHostParams]{
				Name: "host", AtLoad: true, Positional: 1,
				Doc:  "Returns the host of that name. It has the attributes name, transport, instance, groups and vars.",
				Call: l.inventoryHost,
			},
			&builtin.Control[hostsParams]{
				Name: "hosts", AtLoad: true, Positional: 1,
				Doc:      "Returns the list of the hosts that a pattern matches, in the inventory's order.",
				Defaults: hostsParams{Pattern: inventory.All},
				Call:     l.inventoryHosts,
			},
		},
	}
}

// inventoryValue is the name inventory in a playbook: called, it names the inventory's file; behind a dot it
// is the module.
type inventoryValue struct {
	*starlark.Builtin // names the file
	module            *starlarkstruct.Module
	loader            *loader
}

var (
	_ starlark.Callable = inventoryValue{}
	_ starlark.HasAttrs = inventoryValue{}
)

func (v inventoryValue) AttrNames() []string { return append(v.module.AttrNames(), "path") }

func (v inventoryValue) Attr(name string) (starlark.Value, error) {
	if name != "path" {
		return v.module.Attr(name)
	}
	named, err := v.loader.named("inventory.path")
	if err != nil {
		return nil, err
	}
	return starlark.String(named.Path), nil
}

// named is the inventory that the playbook names, for a builtin that asks it something.
func (l *loader) named(asking string) (*inventory.Inventory, error) {
	if l.playbook.Inventory == nil {
		return nil, fmt.Errorf("%s: no inventory is named yet: write inventory(\"hosts.star\") at the playbook's top", asking)
	}
	return l.playbook.Inventory, nil
}

// declareInventory reads the inventory that the playbook names, or the one that -i put in its place.
func (l *loader) declareInventory(c *builtin.Call, p inventoryParams) (starlark.Value, error) {
	if err := onlyIn(c, asPlaybook, "a playbook's top level"); err != nil {
		return nil, err
	}
	if l.playbook.Inventory != nil {
		return nil, fmt.Errorf("inventory: the playbook names two inventories")
	}
	if len(l.playbook.Params) > 0 {
		return nil, fmt.Errorf("inventory: stands before the first param: an inventory sets params")
	}
	var err error
	l.playbook.Inventory, err = l.readInventory(c.Thread, p.Path)
	return starlark.None, err
}

func (l *loader) inventoryHost(c *builtin.Call, p oneHostParams) (starlark.Value, error) {
	named, err := l.named(c.Name)
	if err != nil {
		return nil, err
	}
	h, err := named.Host(p.Name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return h, nil
}

func (l *loader) inventoryHosts(c *builtin.Call, p hostsParams) (starlark.Value, error) {
	named, err := l.named(c.Name)
	if err != nil {
		return nil, err
	}
	hosts, err := named.Match(p.Pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	list := make([]starlark.Value, len(hosts))
	for i, h := range hosts {
		list[i] = h
	}
	return starlark.NewList(list), nil
}

// readInventory executes an inventory's file.
func (l *loader) readInventory(thread *starlark.Thread, path string) (*inventory.Inventory, error) {
	var file script
	var err error
	if l.Options.Inventory != "" {
		file, err = project(l.Options.Inventory)
	} else {
		file, err = l.script(thread.CallFrame(1).Pos.Filename()).sibling(path)
	}
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	if ext := filepath.Ext(file.name); ext != ".star" {
		return nil, fmt.Errorf("inventory: %s: an inventory is a Starlark file (.star); see docs/playbooks.md for the same in Starlark", file.shown())
	}
	b := inventory.NewBuilder(file.shown())
	_, _, err = l.exec(file, asInventory, func(t *starlark.Thread) { t.SetLocal(builderKey, b) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	if err != nil {
		return nil, err
	}
	inv, err := b.Finish()
	if err != nil {
		return nil, err
	}
	if len(inv.Hosts) == 0 {
		return nil, fmt.Errorf("%s declares no host", strings.TrimSpace(file.shown()))
	}
	return inv, nil
}
