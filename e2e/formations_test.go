package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// formation is one of an inventory in testdata, besides the lab's, in the lab's network. A test brings it up
// from nothing, and leaves nothing of it.
type formation struct {
	*lab
	inventory string
	prefix    string // of its instances' names
	directory string // for its authority and passwords; not there yet
	vault     string // file with the vault's password
}

func newFormation(t *testing.T, name string) *formation {
	t.Helper()
	if os.Getenv("PGRUN_E2E_INVENTORY") != "" {
		t.Skip("a formation of its own takes the lab's network, and PGRUN_E2E_INVENTORY is not the lab")
	}
	dir := t.TempDir()
	f := &formation{newIncus(t), testdata(name + ".star"), "pgrun-e2e-" + name + "-", filepath.Join(dir, "formation"), filepath.Join(dir, "vault-password")}
	password := "no vault in this inventory"
	if _, err := os.Stat(strings.TrimSuffix(f.inventory, ".star") + ".vault.yml"); err == nil {
		password = vaultPassword
	}
	must(t, os.WriteFile(f.vault, []byte(password+"\n"), 0o600))
	f.remove() // what a test left that was killed
	t.Cleanup(f.remove)
	return f
}

// testdata is the path of a file in testdata, for a run of pgrun elsewhere.
func testdata(name string) string {
	path, _ := filepath.Abs(filepath.Join("testdata", name)) // fails only without a working directory
	return path
}

// command is a run of a playbook on the formation.
func (f *formation) command(playbook string, args ...string) *exec.Cmd {
	return command(append([]string{playbook, "-i", f.inventory, "--vault-password-file", f.vault, "-e", "directory=" + f.directory}, args...)...)
}

// instances returns the names of the formation's instances that there are.
func (f *formation) instances(ctx context.Context) []string {
	f.t.Helper()
	all, err := f.incus.Instances(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		if strings.HasPrefix(i.Name, f.prefix) {
			names = append(names, i.Name)
		}
	}
	return names
}

// remove deletes the formation's instances.
func (f *formation) remove() {
	f.t.Helper()
	// Not the test's own context, which has ended in a clean-up.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var deleted sync.WaitGroup
	for _, name := range f.instances(ctx) {
		deleted.Go(func() {
			if err := f.incus.DeleteInstance(ctx, name, true); err != nil {
				f.t.Error(err)
			}
		})
	}
	deleted.Wait()
}

// untouched fails the test if anything of the formation is there.
func (f *formation) untouched() {
	f.t.Helper()
	if made := f.instances(f.t.Context()); made != nil {
		f.t.Errorf("there are the instances %v", made)
	}
	if _, err := os.Lstat(f.directory); !errors.Is(err, fs.ErrNotExist) {
		f.t.Errorf("there is %s (%v)", f.directory, err)
	}
}

// healthy waits until the formation is, and returns the names of its nodes by their states.
func (f *formation) healthy() map[string][]string {
	f.t.Helper()
	var r result
	for deadline := time.Now().Add(healTime); time.Now().Before(deadline); time.Sleep(time.Second) {
		if r = run(f.command("pg_state.star")); r.code != 0 {
			continue
		}
		states := map[string][]string{}
		for _, node := range f.nodes(r) {
			states[node.state] = append(states[node.state], node.name)
		}
		return states
	}
	f.t.Fatalf("the formation is not healthy:\n%s", r.out)
	return nil
}

// sql returns what a query gives on one of the formation's instances, as psql prints it without alignment.
func (f *formation) sql(instance, database, query string) string {
	f.t.Helper()
	return strings.TrimSpace(f.shell(f.prefix+instance, fmt.Sprintf("runuser -u postgres -- psql -XAt -d %s -c %q", database, query)))
}

// What testdata/debian12.vault.yml holds, and its own password.
const (
	appPassword   = "planted+app/password:4kz7"
	vaultPassword = "planted vault password 9b1f"
)

// The formation on Debian 12, from the first dry run on, before which there is nothing; and where its secrets are then.
func TestDebian12(t *testing.T) {
	ofOthers.take(t)
	f := newFormation(t, "debian12")
	f.exits(0, command("lab.star", "-e", "debian=12"))

	h := startHunt(t, f)
	h.exits(0, f.command("postgres_ha.star", "--check", "--diff", "-v"),
		"make the certificate authority",
		"create instance pgrun-e2e-debian12-monitor from image pgrun/debian-12", "+device eth0 ipv4.address: ",
		"pgrun-e2e-debian12-monitor: pg_autoctl.monitor: would change",
		"pgrun-e2e-debian12-a: pg_autoctl.node: would change",
		"pgrun-e2e-debian12-b: systemd.unit: would change",
		"RECAP of a dry run: nothing was changed")
	f.untouched()

	h.exits(0, f.command("postgres_ha.star", "--diff", "-v"))
	run(f.command("postgres_ha.star")).unchanged(t)
	for _, node := range []string{"monitor", "a", "b"} {
		if got := f.sql(node, "postgres", "SHOW server_version"); !strings.HasPrefix(got, "15.") {
			t.Errorf("%s: PostgreSQL %s", node, got)
		}
		if got := f.shell(f.prefix+node, "pg_autoctl version"); !strings.HasPrefix(got, "pg_autoctl version 2.0") {
			t.Errorf("%s: %s", node, got)
		}
	}
	const extension = "SELECT extversion FROM pg_extension WHERE extname = 'pgautofailover'"
	if got := f.sql("monitor", "pg_auto_failover", extension); got != "2.0" {
		t.Errorf("pg_auto_failover's extension %s", got)
	}
	f.exits(0, f.command("test_pg_failover.star"), "PASS: ")

	// Each secret is set anew somewhere, and is in what goes wrong.
	primary := strings.TrimPrefix(f.healthy()["primary"][0], f.prefix) // before the nodes cannot report any more
	f.sql("monitor", "postgres", "ALTER ROLE autoctl_node PASSWORD 'another'")
	f.sql(primary, "postgres", "ALTER ROLE app PASSWORD 'another'; ALTER ROLE pgautofailover_replicator PASSWORD 'another'")
	f.shell(f.prefix+primary, "sed -i s/autoctl_node/nobody/ /var/lib/postgresql/.pgpass")
	h.exits(0, f.command("postgres_ha.star", "--diff", "--output", "json", "-v"))
	h.exits(1, f.command("postgres_ha.star", "--diff", "--output", "json", "-v", "-e", "timezone=No/Where"), "no time zone")
	h.exits(0, f.command("pg_uri.star"), "DATABASE_URL=")
	for _, place := range h.notFound(t, f.planted()) {
		t.Log("looked at ", place)
	}
}

// Three data nodes, of which two have each commit, with PostgreSQL from a repository as PGDG's. What comes
// from there has a version that ends in +pgrun1, see repository.star.
func TestThreeNodesFromRepository(t *testing.T) {
	ofOthers.take(t)
	f := newFormation(t, "three")
	fingerprint, _ := f.exits(0, command(testdata("repository.star"), "--output", "json")).data(t)["fingerprint"].(string)

	// Signed by another key than the one that is expected.
	f.exits(1, f.command("postgres_ha.star", "-e", "pgdg_key_fingerprint="+strings.Repeat("0", 40)),
		"apt.repository: key_url: http://", "the key's fingerprint is "+fingerprint+", which is not among key_fingerprints")
	for _, node := range []string{"monitor", "a", "b", "c"} {
		if got := f.shell(f.prefix+node, "ls /etc/apt/sources.list.d /etc/apt/keyrings | grep pgdg; dpkg-query -W | grep postgresql; true"); got != "" {
			t.Errorf("%s: there is, in spite of the wrong key:\n%s", node, got)
		}
	}

	f.exits(0, f.command("postgres_ha.star", "-e", "pgdg_key_fingerprint="+fingerprint))
	run(f.command("postgres_ha.star", "-e", "pgdg_key_fingerprint="+fingerprint)).unchanged(t)
	for _, node := range []string{"monitor", "a", "b", "c"} {
		versions := strings.Fields(f.shell(f.prefix+node, `dpkg-query -W -f '${Version}\n' postgresql-17 postgresql-17-auto-failover pg-auto-failover-cli`))
		for _, version := range versions {
			if !strings.HasSuffix(version, "+pgrun1") {
				t.Errorf("%s has versions %v: not all are the repository's", node, versions)
			}
		}
		if got := f.shell(f.prefix+node, "cat /etc/apt/sources.list.d/pgdg.sources"); !strings.Contains(got, "\nSuites: trixie-pgdg\n") || !strings.Contains(got, "\nSigned-By: /etc/apt/keyrings/pgdg.asc\n") {
			t.Errorf("%s: pgdg.sources:\n%s", node, got)
		}
	}

	states := f.healthy()
	if len(states["primary"]) != 1 || len(states["secondary"]) != 2 {
		t.Fatalf("states: %v", states)
	}
	primary := states["primary"][0]
	if got := f.sql("monitor", "pg_auto_failover", "SELECT number_sync_standbys FROM pgautofailover.formation"); got != "1" {
		t.Errorf("number_sync_standbys is %s", got)
	}
	if got := f.sql(strings.TrimPrefix(primary, f.prefix), "postgres", "SHOW synchronous_standby_names"); !strings.HasPrefix(got, "ANY 1 (") || strings.Count(got, ",") != 1 {
		t.Errorf("synchronous_standby_names is %s", got)
	}
	data := f.exits(0, f.command("test_pg_failover.star", "--output", "json")).data(t)
	if data["result"] != "PASS" || data["victim"] != primary || data["lost"] != 0.0 {
		t.Errorf("data: %v", data)
	}
}

// pg_auto_failover wants one standby more than have to have a commit.
func TestTooManySyncStandbys(t *testing.T) {
	ofOthers.take(t)
	f := newFormation(t, "debian12")
	f.exits(3, f.command("postgres_ha.star", "-e", "number_sync_standbys=1"),
		"number_sync_standbys = 1 takes 3 data nodes, and the group postgres_ha_nodes has 2",
		"add data nodes to it, or leave it at auto")
	f.untouched()
}

// The placeholder is refused in an inventory that is not a lab's, such as the example that users copy. Its
// hosts are on a remote that there is not: who touched them would fail in another way.
func TestPlaceholderPassword(t *testing.T) {
	ofOthers.take(t)
	l := newIncus(t)
	directory := filepath.Join(t.TempDir(), "formation")
	l.exits(3, command("postgres_ha.star", "-i", testdata("../../playbooks/inventories/example.star"), "-e", "directory="+directory),
		"vault_pg_app_password is the placeholder", "encrypt it with ansible-vault", `vars = {"lab": True}`)
	if _, err := os.Lstat(directory); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is %s (%v)", directory, err)
	}
}
