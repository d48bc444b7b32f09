package playbooks_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgrun/pgrun/builtins"
	"github.com/pgrun/pgrun/playbooks"
	"github.com/pgrun/pgrun/runtime/load"
	"github.com/pgrun/pgrun/runtime/secret"
	"github.com/pgrun/pgrun/runtime/vault"
	"github.com/pgrun/pgrun/stdlib"
)

// loaded loads a playbook of this directory, with an inventory in place of its own if that is not empty.
func loaded(t *testing.T, name, inventory string, set ...string) (*load.Playbook, error) {
	t.Helper()
	ids, err := vault.NewIdentities(vault.Options{Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	return load.Load(t.Context(), name, load.Options{
		Inventory: inventory, Set: set, Vault: ids, Mask: secret.NewMask(),
		Modules: builtins.Modules(), Stdlib: stdlib.FS, Playbooks: playbooks.FS, Print: func(string) {},
	})
}

// TestPlaybooksLoad loads every playbook with the inventory that it names. A file that playbooks load has no
// line for the shell at its top.
func TestPlaybooksLoad(t *testing.T) {
	names, err := fs.Glob(playbooks.FS, "*.star")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(playbooks.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "#!/usr/bin/env pgrun\n") {
			continue
		}
		p, err := loaded(t, name, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Doc == "" {
			t.Errorf("%s has no docstring that says what it is for", name)
		}
		for _, param := range p.Params {
			if param.Doc == "" {
				t.Errorf("%s: param %s has no doc", name, param.Name)
			}
		}
	}
}

// TestFormationTakes tells with what networks it begins.
func TestFormationTakes(t *testing.T) {
	for _, networks := range []string{"samenet", "192.0.2.0/24,0.0.0.0/0", "2001:db8::/32", "::/0", "::1/128", "2001:db8:0:1:2:3:4:5/128"} {
		if _, err := loaded(t, "postgres_ha.star", "", "app_networks="+networks); err != nil {
			t.Errorf("%s: %v", networks, err)
		}
	}
}

// TestGuardServiceMetrics tells on which addresses the guard's service begins.
func TestGuardServiceMetrics(t *testing.T) {
	for address, good := range map[string]bool{
		"": true, "127.0.0.1:9187": true, ":9187": true, "[::1]:9187": true,
		"9187": false, "127.0.0.1": false, "127.0.0.1:": false, "127.0.0.1:99999": false, "127.0.0.1:foo": false,
		"http://127.0.0.1:9187": false, "::1:9187": false, "a:b:9187": false, "h]:9187": false, "a[b:9187": false, "[[::1]]:9187": false,
	} {
		if _, err := loaded(t, "guard_service.star", "", "metrics="+address); good != (err == nil) {
			t.Errorf("metrics=%s: %v", address, err)
		}
	}
}

// TestFormationRefuses tells what postgres_ha.star does not begin with.
func TestFormationRefuses(t *testing.T) {
	for _, test := range []struct {
		name, inventory string
		set             []string
		want            []string
	}{
		{"the placeholder outside of a lab", "inventories/example.star", nil, []string{"vault_pg_app_password", "placeholder", "ansible-vault"}},
		{"one synchronous standby of two data nodes", "", []string{"number_sync_standbys=1"}, []string{"takes 3 data nodes", "has 2", "add data nodes", "auto"}},
		{"a number that is none", "", []string{"number_sync_standbys=one"}, []string{"neither a number nor auto"}},
		{"a variable that is misspelled", `group("incus_hosts", hosts = [host("localhost", transport = "local")])
group("postgres_ha_monitor", hosts = [host("m", vars = {"address": "192.0.2.11"})])
group("postgres_ha_nodes", hosts = [host("a", vars = {"address": "192.0.2.12", "incus_device": {}})])
group("postgres_ha", children = ["postgres_ha_monitor", "postgres_ha_nodes"], vars = {"vault_pg_app_password": secret("x")})
`, nil, []string{"a: there is no variable incus_device: ", "incus_devices"}},
		{"an octet too large", "", []string{"app_networks=192.0.2.0/24,300.0.0.0/8"}, []string{"app_networks", `"300.0.0.0/8"`}},
		{"an octet that may be octal", "", []string{"app_networks=010.0.0.0/8"}, []string{"app_networks", `"010.0.0.0/8"`}},
		{"an IPv6 network with two gaps", "", []string{"app_networks=2001:db8::1::/64"}, []string{"app_networks", "2001:db8::1::/64"}},
		{"digits that are none of ours", "", []string{"app_networks=192.0.2.1/٣"}, []string{"app_networks"}},
		{"a size in digits that are none of ours", "", []string{"memory=٣GiB"}, []string{"memory", "not a size"}},
		{"memory by a percentage", "", []string{"memory=10%"}, []string{"memory", "not a size", "such as 2GiB"}},
		{"memory that is too little", "", []string{"monitor_memory=16MiB"}, []string{"monitor_memory", "16MiB", "256MiB at least"}},
		{"a host without a mask", "", []string{"app_networks=192.0.2.1"}, []string{"app_networks", `"192.0.2.1"`}},
		{"no networks of the application", "", []string{"app_networks="}, []string{"app_networks is empty"}},
		{"processors that are none", "", []string{"cpus=many"}, []string{"cpus", `"many"`}},
		{"unknown timers", "", []string{"timers=fastest"}, []string{"timers", "fast"}},
	} {
		inventory := test.inventory
		if strings.Contains(inventory, "\n") { // its text
			inventory = filepath.Join(t.TempDir(), "inventory.star")
			if err := os.WriteFile(inventory, []byte(test.inventory), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := loaded(t, "postgres_ha.star", inventory, test.set...)
		if err == nil {
			t.Errorf("%s: it loads", test.name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q lacks %q", test.name, err, want)
			}
		}
	}
}
