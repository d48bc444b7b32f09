package incus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
)

const (
	// madeKey marks what pgrun made. Its value is the thing's own name: a copy, which has the mark as well, has
	// another one.
	madeKey = "user.pgrun.made"

	// creatingKey marks an instance, with its name too, from the request that creates it until it is known to be
	// whole.
	creatingKey = "user.pgrun.creating"
)

// settingsParams are what instances, profiles, networks and storage pools have in common.
type settingsParams struct {
	Description builtin.Optional[string] `star:"description" doc:"Free text."`
	Config      builtin.StringMap        `star:"config" doc:"Keys and values, such as {\"limits.memory\": \"2GiB\"}. A key that is not given stays as it is; an empty value unsets one."`
}

type devicesParams struct {
	Devices builtin.Devices `star:"devices" doc:"Devices by name, such as {\"eth0\": {\"ipv4.address\": \"198.18.0.11\"}}. What is not given stays as it is; an empty value unsets a key, an empty dict removes the device. On an instance, what its profiles say of the device is kept."`
}

// settings checks the parameters and makes of them what runtime/incus compares and writes.
func (p settingsParams) settings() (incus.Settings, error) {
	var want incus.Settings
	if p.Description.Set {
		want.Description = &p.Description.Value
	}
	for key := range p.Config {
		if strings.HasPrefix(key, "volatile.") {
			return want, fmt.Errorf("config: %q is Incus's own: volatile keys cannot be set", key)
		}
	}
	want.Config = p.Config
	return want, nil
}

// devices returns the devices as runtime/incus takes them: there, nil removes one.
func (p devicesParams) devices() map[string]map[string]string {
	all := maps.Clone(map[string]map[string]string(p.Devices))
	for name, device := range all {
		if len(device) == 0 {
			all[name] = nil
		}
	}
	return all
}

// with returns settings with one more key in their configuration.
func with(want incus.Settings, key, value string) incus.Settings {
	want.Config = maps.Clone(want.Config)
	if want.Config == nil {
		want.Config = map[string]string{}
	}
	want.Config[key] = value
	return want
}

// thing is a profile, a network, a storage pool: something with a name and settings.
type thing struct {
	kind, name string
	exists     bool
	have       incus.Settings
}

// found makes a thing of what a look returned. That it does not exist is no error.
func found(kind, name string, have incus.Settings, err error) (thing, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return thing{kind: kind, name: name}, nil
	}
	return thing{kind, name, err == nil, have}, err
}

func (t thing) String() string { return fmt.Sprintf("%s %s", t.kind, t.name) }

// planCreate says what it takes to make the thing. how tells more, for the summary; it may be empty.
func (t thing) planCreate(how string, want incus.Settings, create func(context.Context, incus.Settings) error) *builtin.Change {
	return &builtin.Change{
		Summary: []string{strings.TrimSpace(fmt.Sprintf("create %s %s", t, how))},
		Diffs:   t.diffs(want.Differences(incus.Settings{})),
		Apply:   func(ctx context.Context, _ host.Host) error { return create(ctx, with(want, madeKey, t.name)) },
	}
}

// planUpdate says what it takes to make these differences go; nil where there are none.
func (t thing) planUpdate(differences []incus.Difference, update func(context.Context) error) *builtin.Change {
	if len(differences) == 0 {
		return nil
	}
	c := &builtin.Change{
		Diffs: t.diffs(differences),
		Apply: func(ctx context.Context, _ host.Host) error { return update(ctx) },
	}
	for _, d := range differences {
		c.Summary = append(c.Summary, fmt.Sprintf("update %s: %s", t, told(d)))
	}
	return c
}

// planAbsent says what it takes to delete the thing; nil where there is none.
func (t thing) planAbsent(remove func(context.Context) error) *builtin.Change {
	if !t.exists {
		return nil
	}
	return &builtin.Change{
		Summary: []string{"delete " + t.String()},
		Apply:   func(ctx context.Context, _ host.Host) error { return remove(ctx) },
	}
}

// diffs shows differences, a line each.
func (t thing) diffs(differences []incus.Difference) []builtin.Diff {
	var before, after strings.Builder
	for _, d := range differences {
		if d.Old != "" {
			fmt.Fprintf(&before, "%s: %s\n", d.Key, d.Old)
		}
		if d.New != "" {
			fmt.Fprintf(&after, "%s: %s\n", d.Key, d.New)
		}
	}
	return []builtin.Diff{{Path: t.String(), Before: before.String(), After: after.String()}}
}

// told is a difference in one line.
func told(d incus.Difference) string {
	switch {
	case d.Old == "":
		return fmt.Sprintf("%s = %s", d.Key, short(d.New))
	case d.New == "":
		return fmt.Sprintf("%s unset (was %s)", d.Key, short(d.Old))
	}
	return fmt.Sprintf("%s %s -> %s", d.Key, short(d.Old), short(d.New))
}

// short cuts a value, which may be a whole cloud-init file, to what a line can hold.
func short(value string) string {
	const most = 60
	value = strings.ReplaceAll(value, "\n", " ")
	if runes := []rune(value); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return value
}

// nameParams name a profile, network or storage pool.
type nameParams struct {
	Name string `star:"name,required" doc:"Its name."`
}

// settingsInfo describes a profile, network or storage pool.
type settingsInfo struct {
	Exists      bool                         `star:"exists" doc:"Whether it is there. If it is not, the other attributes are empty."`
	Description string                       `star:"description" doc:"Free text."`
	Config      map[string]string            `star:"config" doc:"Keys and values."`
	Devices     map[string]map[string]string `star:"devices" doc:"Devices by name; of a profile only."`
}

func (t thing) info() settingsInfo {
	i := settingsInfo{Exists: t.exists, Config: t.have.Config, Devices: t.have.Devices}
	if t.have.Description != nil {
		i.Description = *t.have.Description
	}
	return i
}
