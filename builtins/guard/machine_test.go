package guard

import (
	"maps"
	"testing"
)

// A mark goes as it came, and takes with it no setting that is somebody else's.
func TestMark(t *testing.T) {
	for _, x := range []struct{ name, before, between, after string }{
		{"started with its host", "true", "", "true"},
		{"not set", "", "", ""},
		{"not started with its host", "false", "", "false"},
		{"changed meanwhile", "false", "true", "true"},
		{"unset meanwhile", "true", "unset", ""},
	} {
		for _, again := range []bool{false, true} { // by a guard that does not know whether the one before got to stop it
			config := map[string]string{"user.other": "stays"}
			put := func(change map[string]string) {
				maps.Copy(config, change)
				maps.DeleteFunc(config, func(_, value string) bool { return value == "" })
			}
			put(map[string]string{autostart: x.before})
			put(marking(config, 3))
			if again {
				put(marking(config, 3))
			}
			if config[fencedKey] != "3" || config[autostart] != "false" {
				t.Errorf("%s: marked: %v", x.name, config)
			}
			switch x.between {
			case "unset":
				delete(config, autostart)
			case "true":
				config[autostart] = x.between
			}
			put(unmarking(config))
			want := map[string]string{"user.other": "stays"}
			if x.after != "" {
				want[autostart] = x.after
			}
			if !maps.Equal(config, want) {
				t.Errorf("%s (again: %t): %v, want %v", x.name, again, config, want)
			}
		}
	}
	// Fenced anew after somebody has changed it: that is what it was.
	config := map[string]string{fencedKey: "3", autostartKey: "false", autostart: "true"}
	maps.Copy(config, marking(config, 3))
	if maps.Copy(config, unmarking(config)); config[autostart] != "true" {
		t.Errorf("%v", config)
	}
}
