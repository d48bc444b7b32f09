package inventory

import (
	"strings"
	"testing"

	"go.starlark.net/starlark"
)

// build makes an inventory of hosts a, b, c, d: web has a and b; db has c; site has web and db as children.
func build(t *testing.T) *Inventory {
	t.Helper()
	b := NewBuilder("inv.star")
	add := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	vars := func(pairs ...string) starlark.StringDict {
		d := starlark.StringDict{}
		for i := 0; i < len(pairs); i += 2 {
			d[pairs[i]] = starlark.String(pairs[i+1])
		}
		return d
	}
	for name, own := range map[string]starlark.StringDict{"a": vars("own", "a", "who", "host")} {
		add(b.AddHost(&Host{Name: name}, own))
	}
	for _, name := range []string{"b", "c", "d"} {
		add(b.AddHost(&Host{Name: name}, nil))
	}
	add(b.AddGroup(&Group{Name: "web", Hosts: []string{"a", "b"}, Vars: vars("who", "web", "level", "inner")}))
	add(b.AddGroup(&Group{Name: "db", Hosts: []string{"c"}, Vars: vars("who", "db")}))
	add(b.AddGroup(&Group{Name: "site", Children: []string{"web", "db"}, Vars: vars("who", "site", "level", "outer", "site", "yes")}))
	add(b.AddGroup(&Group{Name: "all", Vars: vars("who", "all", "zone", "utc")}))
	inv, err := b.Finish()
	add(err)
	return inv
}

func TestVarsNearestWins(t *testing.T) {
	inv := build(t)
	for _, test := range []struct{ host, name, want string }{
		{"a", "who", "host"}, {"b", "who", "web"}, {"c", "who", "db"}, {"d", "who", "all"},
		{"a", "level", "inner"}, {"c", "level", "outer"}, {"b", "site", "yes"}, {"d", "zone", "utc"}, {"a", "own", "a"},
	} {
		h, err := inv.Host(test.host)
		if err != nil {
			t.Fatal(err)
		}
		got, err := h.Vars.Attr(test.name)
		if err != nil || got != starlark.String(test.want) {
			t.Errorf("%s.%s = %v, %v, want %q", test.host, test.name, got, err, test.want)
		}
	}
	d, _ := inv.Host("d")
	if _, err := d.Vars.Attr("site"); err == nil || !strings.Contains(err.Error(), `host d has no variable "site" (has: who, zone)`) {
		t.Errorf("a variable that is not set: %v", err)
	}
}

func TestMatch(t *testing.T) {
	inv := build(t)
	for pattern, want := range map[string]string{
		"all": "a b c d", "*": "a b c d", "web": "a b", "web,db": "a b c", "web:db": "a b c", "d,a": "a d",
		"site:!web": "c", "!web": "c d", "site:&web": "a b", "site:!a:!c": "b", "[ab]": "a b", "w*": "a b", "?": "a b c d", "a": "a",
	} {
		hosts, err := inv.Match(pattern)
		var names []string
		for _, h := range hosts {
			names = append(names, h.Name)
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("%q chooses %q, %v, want %q", pattern, got, err, want)
		}
	}
	for pattern, want := range map[string]string{
		"wbe":     `no host or group "wbe" in the inventory inv.star (did you mean web?)`,
		"web:!wb": `no host or group "wb"`,
		"":        `the pattern "" chooses no host`,
		"a:!a":    "chooses no host",
		"a:&db":   "chooses no host",
		"[":       `"[" is not a pattern`,
	} {
		if hosts, err := inv.Match(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q chooses %v, %v, want an error with %q", pattern, hosts, err, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for want, declare := range map[string]func(*Builder) error{
		`host "a" is declared twice`: func(b *Builder) error {
			return b.AddHost(&Host{Name: "a"}, nil)
		},
		`"a b" is no name for a host`:         func(b *Builder) error { return b.AddHost(&Host{Name: "a b"}, nil) },
		`group "g": no host "z" is declared`:  func(b *Builder) error { return b.AddGroup(&Group{Name: "g", Hosts: []string{"z"}}) },
		`group "g": no group "z" is declared`: func(b *Builder) error { return b.AddGroup(&Group{Name: "g", Children: []string{"z"}}) },
		`group "g" is its own child: g -> h -> g`: func(b *Builder) error {
			if err := b.AddGroup(&Group{Name: "g", Children: []string{"h"}}); err != nil {
				return err
			}
			return b.AddGroup(&Group{Name: "h", Children: []string{"g"}})
		},
	} {
		b := NewBuilder("inv.star")
		if err := b.AddHost(&Host{Name: "a"}, nil); err != nil {
			t.Fatal(err)
		}
		err := declare(b)
		if err == nil {
			_, err = b.Finish()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func FuzzMatch(f *testing.F) {
	for _, seed := range []string{"all", "web:!a", "&,:", "[a-", "w*,!?"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		b := NewBuilder("inv.star")
		for _, name := range []string{"a", "b"} {
			if err := b.AddHost(&Host{Name: name}, nil); err != nil {
				t.Fatal(err)
			}
		}
		inv, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if hosts, err := inv.Match(pattern); err == nil && len(hosts) == 0 {
			t.Errorf("%q chose no host without an error", pattern)
		}
	})
}
