package incus

import (
	"maps"
	"slices"
	"strings"
)

// Settings are what instances, profiles, networks and pools have in common. They say what is there,
// and what one wants: then only what is given counts, and all else stays as it is.
type Settings struct {
	// Description is free text; nil leaves it.
	Description *string

	// Config maps keys to values: "limits.memory": "2GiB". An empty value unsets the key.
	Config map[string]string

	// Devices maps names to keys and values: "eth0": {"type": "nic", "network": "incusbr0"}. Keys
	// that are not given stay; an empty value unsets one; a nil map removes the device. Of instances
	// and profiles only. On an instance, a device that its profiles bring is taken over from them,
	// with its keys, once it is given here.
	Devices map[string]map[string]string

	// Profiles are an instance's, in the order in which they apply; nil leaves them. Of instances only.
	Profiles []string
}

// Difference is one setting that would change. An empty Old or New means that it is not set.
type Difference struct {
	Key      string // "config limits.memory", "device eth0 network", "profiles", "description"
	Old, New string
}

// Differences says what of have would change so that it is as want says, in a fixed order. Nothing
// means that it is so already.
func (want Settings) Differences(have Settings) []Difference {
	var all []Difference
	differ := func(key, from, to string) {
		if from != to {
			all = append(all, Difference{key, from, to})
		}
	}
	after := want.over(have)
	differ("description", text(have.Description), text(after.Description))
	differ("profiles", strings.Join(have.Profiles, ", "), strings.Join(after.Profiles, ", "))
	for _, key := range bothKeys(have.Config, after.Config) {
		differ("config "+key, have.Config[key], after.Config[key])
	}
	for _, name := range bothKeys(have.Devices, after.Devices) {
		from, to := have.Devices[name], after.Devices[name]
		for _, key := range bothKeys(from, to) {
			differ("device "+name+" "+key, from[key], to[key])
		}
	}
	return all
}

// over returns have with want put over it.
func (want Settings) over(have Settings) Settings {
	after := Settings{
		Description: have.Description,
		Config:      merged(have.Config, want.Config),
		Devices:     maps.Clone(have.Devices),
		Profiles:    have.Profiles,
	}
	if want.Description != nil {
		after.Description = want.Description
	}
	if want.Profiles != nil {
		after.Profiles = slices.Clone(want.Profiles)
	}
	for name, device := range want.Devices {
		if device == nil {
			delete(after.Devices, name)
			continue
		}
		if after.Devices == nil {
			after.Devices = map[string]map[string]string{}
		}
		kept := have.Devices[name]
		if device["type"] != "" && kept["type"] != device["type"] {
			kept = nil // another kind of device: its keys mean nothing here
		}
		after.Devices[name] = merged(kept, device)
	}
	return after
}

// inherit returns have with those of want's devices that it lacks and expanded knows: the ones that
// an instance gets from its profiles. For an instance's own device hides the profile's as a whole.
func (want Settings) inherit(have Settings, expanded map[string]map[string]string) Settings {
	have.Devices = maps.Clone(have.Devices)
	for name, device := range want.Devices {
		_, own := have.Devices[name]
		from, there := expanded[name]
		if device == nil || own || !there {
			continue
		}
		if have.Devices == nil {
			have.Devices = map[string]map[string]string{}
		}
		have.Devices[name] = from
	}
	return have
}

// Differences says what of the instance would change so that it is as want says. A device that the
// profiles bring just so is no difference.
func (i Instance) Differences(want Settings) []Difference {
	return want.Differences(want.inherit(i.Settings, i.ExpandedDevices))
}

// merged puts want over have; an empty value unsets a key.
func merged(have, want map[string]string) map[string]string {
	after := map[string]string{}
	maps.Copy(after, have)
	maps.Copy(after, want)
	maps.DeleteFunc(after, func(_, value string) bool { return value == "" })
	return after
}

func bothKeys[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
