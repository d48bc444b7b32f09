package incus

import (
	"reflect"
	"testing"
)

func TestDifferences(t *testing.T) {
	describe := func(s string) *string { return &s }
	type devices = map[string]map[string]string
	have := Instance{
		Settings: Settings{
			Description: describe("ours"),
			Config:      map[string]string{"limits.cpu": "2", "user.foreign": "theirs", "volatile.uuid": "u"},
			Devices:     devices{"disk": {"type": "disk", "path": "/srv", "source": "/a"}},
			Profiles:    []string{"default"},
		},
		ExpandedDevices: devices{
			"eth0": {"type": "nic", "network": "br0", "name": "eth0"},
			"disk": {"type": "disk", "path": "/srv", "source": "/a"},
		},
	}
	tests := []struct {
		name string
		want Settings
		diff []Difference
	}{
		{"nothing asked for", Settings{}, nil},
		{"as it is", Settings{Description: describe("ours"), Config: map[string]string{"limits.cpu": "2"}, Profiles: []string{"default"},
			Devices: devices{"disk": {"source": "/a"}}}, nil},
		{"a key", Settings{Config: map[string]string{"limits.cpu": "3", "limits.memory": "1GiB"}},
			[]Difference{{"config limits.cpu", "2", "3"}, {"config limits.memory", "", "1GiB"}}},
		{"unset", Settings{Config: map[string]string{"limits.cpu": "", "limits.disk": ""}}, []Difference{{"config limits.cpu", "2", ""}}},
		{"description and profiles", Settings{Description: describe(""), Profiles: []string{"default", "db"}},
			[]Difference{{"description", "ours", ""}, {"profiles", "default", "default, db"}}},
		{"no profiles", Settings{Profiles: []string{}}, []Difference{{"profiles", "default", ""}}},
		{"a device's key", Settings{Devices: devices{"disk": {"readonly": "true", "source": ""}}},
			[]Difference{{"device disk readonly", "", "true"}, {"device disk source", "/a", ""}}},
		{"a device goes", Settings{Devices: devices{"disk": nil, "none": nil}},
			[]Difference{{"device disk path", "/srv", ""}, {"device disk source", "/a", ""}, {"device disk type", "disk", ""}}},
		{"another kind of device", Settings{Devices: devices{"disk": {"type": "none"}}},
			[]Difference{{"device disk path", "/srv", ""}, {"device disk source", "/a", ""}, {"device disk type", "disk", "none"}}},
		{"a profile's device as it is", Settings{Devices: devices{"eth0": {"network": "br0"}}}, nil},
		{"a profile's device changed", Settings{Devices: devices{"eth0": {"ipv4.address": "198.18.0.7"}}},
			[]Difference{{"device eth0 ipv4.address", "", "198.18.0.7"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := have.Differences(test.want); !reflect.DeepEqual(got, test.diff) {
				t.Errorf("got  %v\nwant %v", got, test.diff)
			}
			after := have
			after.Settings = test.want.over(test.want.inherit(have.Settings, have.ExpandedDevices))
			after.ExpandedDevices = after.Devices
			if got := test.want.Differences(after.Settings); got != nil {
				t.Errorf("after the change there still is %v", got)
			}
			if after.Config["user.foreign"] != "theirs" || after.Config["volatile.uuid"] != "u" {
				t.Errorf("foreign keys are lost: %v", after.Config)
			}
			if have.Config["limits.cpu"] != "2" || have.Devices["disk"]["source"] != "/a" || len(have.Devices) != 1 {
				t.Fatal("what we had was changed")
			}
		})
	}
}
