package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/transport"
)

// changed matches the recap's line of a host on which something changed.
var changed = regexp.MustCompile(`changed=[1-9]`)

// unchanged fails the test unless a run did nothing on any host.
func (r result) unchanged(t *testing.T) {
	t.Helper()
	r.check(t, 0)
	if changed.MatchString(r.out) {
		t.Errorf("something changed:\n%s", r.out)
	}
}

func TestNothingToDo(t *testing.T) {
	l := newLab(t)
	for _, playbook := range []string{"lab.star", "postgres_ha.star"} {
		run(command(playbook)).unchanged(t)
		l.exits(0, command(playbook, "--check", "--diff", "--fail-on-change"), "nothing was changed")
	}
}

// A unit file that somebody edited is the one difference that a dry run shows, and a run restores it.
func TestEditedUnitFile(t *testing.T) {
	l := newLab(t)
	const unit = "/etc/systemd/system/pg_autoctl.service"
	standby := l.one("secondary")
	before := l.shell(standby, "cat "+unit)
	l.shell(standby, "sed -i s/65536/1024/ "+unit)

	r := l.exits(0, command("postgres_ha.star", "--check", "--diff"), "-LimitNOFILE=1024", "+LimitNOFILE=65536")
	if n := len(changed.FindAllString(r.out, -1)); n != 1 {
		t.Errorf("a dry run would change %d hosts, want 1:\n%s", n, r.out)
	}
	if got := l.shell(standby, "cat "+unit); got == before {
		t.Error("the dry run restored the file")
	}
	l.exits(0, command("postgres_ha.star"))
	if got := l.shell(standby, "cat "+unit); got != before {
		t.Errorf("the file is\n%s\nwant\n%s", got, before)
	}
	run(command("postgres_ha.star")).unchanged(t)
}

// A size that changes takes a restart of each server, and with it a switchover: a dry run says so, and a run does it.
func TestMemory(t *testing.T) {
	l := newLab(t)
	t.Cleanup(func() { run(command("postgres_ha.star")).check(t, 0) })
	buffers := func(node string) string {
		return strings.TrimSpace(l.shell(node, "runuser -u postgres -- psql -XAt -c 'SHOW shared_buffers'"))
	}
	noRestart := func(r result) {
		t.Helper()
		if strings.Contains(r.out, "pg_autoctl.restart") || strings.Contains(r.out, "pg_autoctl.perform") {
			t.Errorf("a restart that there would not be:\n%s", r.out)
		}
	}
	first, err := l.incus.Instance(t.Context(), l.one("primary"))
	must(t, err)
	before, had := first.Config["limits.memory"], buffers(first.Name)
	matters := regexp.MustCompile(`(?m)^ +(\+|.*: pg_autoctl\.(reload|restart|perform): ).*`)
	for _, size := range []struct{ memory, buffers, limit string }{
		{"1280MiB", "320MB", before + " -> 1280MiB"},
		{before, had, "1280MiB -> " + before},
	} {
		primary, standby := l.one("primary"), l.one("secondary")
		resize := func(options ...string) *exec.Cmd {
			return command(append(options, "postgres_ha.star", "-e", "memory="+size.memory)...)
		}
		restarts := standby + ": pg_autoctl.restart: restart PostgreSQL for shared_buffers"
		switchover := "pg_autoctl.perform: switchover from " + primary

		// A dry run looks once, and on a busy machine a formation is at times not healthy for a moment: another one is made then.
		foretell := func(want ...string) string {
			t.Helper()
			var r result
			for range 5 {
				if r = run(resize("--check", "--diff")); !strings.Contains(r.out, "the formation is healthy: not known in a dry run") {
					break
				}
			}
			r.check(t, 0, append(want, restarts, switchover)...)
			return r.out
		}

		if size.memory != before { // tags that leave out what would give it, or use it, leave PostgreSQL as it is
			run(resize("--tags=formation")).unchanged(t)
			run(resize("--skip-tags=containers")).unchanged(t)
			noRestart(l.exits(0, resize("--check", "--tags=containers,formation"), "limits.memory "+size.limit))
			noRestart(l.exits(0, resize("--check", "--skip-tags=containers", "-e", "app_networks=samenet,192.0.2.0/24"), "pg_hba.conf"))
			noRestart(l.exits(0, resize("--check", "--skip-tags=nodes"), "postgresql.conf"))
			noRestart(l.exits(0, resize("--check", "--tags=machines,formation", "-e", "max_connections=200"), "postgresql.conf"))
			noRestart(l.exits(0, resize("--tags=containers,machines,nodes"), "pg_autoctl.reload")) // and back, to what the servers still run with
			noRestart(l.exits(0, command("postgres_ha.star", "--check"), "postgresql.conf", "pg_autoctl.reload"))
			noRestart(l.exits(0, command("postgres_ha.star"), "postgresql.conf", "pg_autoctl.reload"))
		}
		would := foretell("limits.memory "+size.limit, "+shared_buffers = '"+size.buffers+"'")
		did := ""
		if size.memory != before {
			did = l.exits(0, resize("--diff"), restarts, switchover).out
		} else { // in two runs, of which the first is cut off before a server reads what is written
			did = l.exits(0, resize("--diff", "--tags=containers,machines"), primary+" keeps its memory, more than "+before, standby+" keeps its memory").out
			foretell()
			run(resize("--check", "--tags=formation")).unchanged(t) // a run would not have the servers read it
			noRestart(l.exits(0, resize("--check", "--tags=containers,formation", "-e", "cpus=2"), "limits.cpu"))
			did += l.exits(0, resize("--diff"), restarts, switchover).out
		}
		a, b := matters.FindAllString(would, -1), matters.FindAllString(did, -1)
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(a, b) {
			t.Errorf("a dry run shows\n%s\nand a run\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
		for _, node := range []string{primary, standby} {
			if got := buffers(node); got != size.buffers {
				t.Errorf("shared_buffers of %s is %s, want %s", node, got, size.buffers)
			}
		}
		run(resize()).unchanged(t)
	}
}

// Fewer connections than the servers run with are refused: a standby would not come up with them.
func TestFewerConnections(t *testing.T) {
	l := newLab(t)
	fewer := func(args ...string) {
		t.Helper()
		l.exits(1, command(append([]string{"postgres_ha.star", "-e", "max_connections=99"}, args...)...), "has max_connections = 100, and with 99 a standby of it would not come up")
	}
	fewer("--check")
	fewer()
	run(command("postgres_ha.star")).unchanged(t)

	// Also of a machine without its file, and where no server answers.
	t.Cleanup(func() { run(command("postgres_ha.star")).check(t, 0) })
	standby, primary := l.one("secondary"), l.one("primary")
	inside(t, standby, "rm /etc/pgaf/postgresql.conf; systemctl stop pg_autoctl")
	inside(t, primary, "systemctl stop pg_autoctl")
	fewer("--check")
	fewer()
	inside(t, primary, "test -e /etc/pgaf/postgresql.conf && ! systemctl is-active pg_autoctl")
	inside(t, standby, "test ! -e /etc/pgaf/postgresql.conf")
}

// Where a standby alone waits for a restart, the primary stays as it is.
func TestStandbyAloneWaits(t *testing.T) {
	l := newLab(t)
	standby := l.one("secondary")
	alter := func(statement string) {
		l.shell(standby, `cd /; runuser -u postgres -- psql -XqAt -c "ALTER SYSTEM `+statement+`" -c "SELECT pg_reload_conf()"
timeout 20 sh -c 'until runuser -u postgres -- psql -XqAtc "SELECT pending_restart FROM pg_settings WHERE name = \$\$max_worker_processes\$\$" | grep -qx t; do :; done'`)
	}
	t.Cleanup(func() { run(command("postgres_ha.star")).check(t, 0) })
	defer alter("RESET max_worker_processes") // while the test's context lasts
	alter("SET max_worker_processes = 11")
	r := l.exits(0, command("postgres_ha.star"), standby+": pg_autoctl.restart: restart PostgreSQL for max_worker_processes")
	if strings.Contains(r.out, "pg_autoctl.perform") || l.one("secondary") != standby {
		t.Errorf("the primary does not wait, and was switched over:\n%s", r.out)
	}
}

// A server that pg_autoctl starts again before anybody has seen that it stopped is restarted.
func TestRestarts(t *testing.T) {
	l := newLab(t)
	l.exits(0, command(testdata("restarts.star")))
}

// A container that is gone is made anew, and joins.
func TestLostContainer(t *testing.T) {
	l := newLab(t)
	standby := l.one("secondary")
	must(t, l.incus.DeleteInstance(t.Context(), standby, true))
	r := l.exits(0, command("postgres_ha.star"), "create instance "+standby)
	if strings.Contains(r.out, "create the standby") {
		t.Errorf("its data were on a disk of its own, and it was made anew:\n%s", r.out)
	}
	l.exits(0, command("pg_state.star"), standby)
	run(command("postgres_ha.star")).unchanged(t)
}

// A disk that would be mounted in place of the one that the data are on is refused, before anything is done.
func TestDiskOverData(t *testing.T) {
	l := newLab(t)
	inventories := t.TempDir()
	must(t, os.CopyFS(inventories, os.DirFS("../playbooks/inventories")))
	path := filepath.Join(inventories, "lab.star")
	content, err := os.ReadFile(path)
	must(t, err)
	other := strings.Replace(string(content), "/var/lib/pgrun-lab/%s/data", "/var/lib/pgrun-lab/%s/other", 1)
	must(t, os.WriteFile(path, []byte(other), 0o644))
	l.exits(1, command("postgres_ha.star", "-i", path), "has data in /var/lib/postgresql, which its device data, as incus_devices has it, would hide")
	run(command("postgres_ha.star")).unchanged(t)
}

// lose deletes a data node's container together with the data on its disk.
func (l *lab) lose(name string) {
	l.t.Helper()
	inside(l.t, name, "systemctl kill --signal=KILL pg_autoctl; find /var/lib/postgresql -mindepth 1 -delete")
	must(l.t, l.incus.DeleteInstance(l.t.Context(), name, true))
}

// A run that is killed, wherever that is, is finished by the next one.
func TestKilledRun(t *testing.T) {
	l := newLab(t)
	standby := l.one("secondary")
	l.lose(standby)
	for _, done := range []string{"incus.instance: create instance " + standby, "tls.certificate: give " + standby, "pg_autoctl.node: create the standby"} {
		p := l.start(command("postgres_ha.star"))
		p.within(10*time.Minute, done) // a new machine's packages are installed meanwhile
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.wait()
	}
	l.exits(0, command("postgres_ha.star"))
	l.exits(0, command("pg_state.star"), standby)
	run(command("postgres_ha.star")).unchanged(t)
}

// A daemon that died, and all containers with it, as when a machine without systemd starts again: the lab is
// brought up from what is left.
func TestDeadDaemon(t *testing.T) {
	l := newLabAlone(t)
	started, err := os.ReadFile("/run/pgrun/processes/incusd")
	if err != nil {
		t.Skipf("pgrun did not start the daemon: systemd does it here: %v", err)
	}
	pid, _, _ := strings.Cut(string(started), " ")
	containers := []string{l.monitor(), l.one("primary"), l.one("secondary")}
	victims := []string{pid}
	for _, name := range containers {
		out, err := exec.CommandContext(t.Context(), "pgrep", "-f", `^\[lxc monitor\] .* `+name+"$").Output()
		if err != nil {
			t.Fatalf("no monitor of %s: %v", name, err)
		}
		victims = append(victims, strings.Fields(string(out))...)
	}
	if out, err := exec.CommandContext(t.Context(), "kill", append([]string{"-9"}, victims...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, playbook := range []string{"lab.star", "postgres_ha.star"} {
		l.exits(0, command(playbook))
	}
	l.heal()
	for _, playbook := range []string{"lab.star", "postgres_ha.star"} {
		run(command(playbook)).unchanged(t)
	}
}

// Containers that somebody stopped are started.
func TestStoppedContainers(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{l.monitor(), l.one("primary"), l.one("secondary")} {
		if err := l.incus.Stop(t.Context(), name, true); err != nil {
			t.Fatal(err)
		}
	}
	l.exits(0, command("postgres_ha.star"))
	l.exits(0, command("pg_state.star"))
}

// A keeper that waits for the end of a crash recovery which has failed waits for ever. A run takes away what it failed for, a setting here, and has
// the keeper start anew.
func TestKeeperThatHangs(t *testing.T) {
	l := newLab(t)
	l.hurry()
	victim := l.one("primary")
	log := "journalctl -u pg_autoctl --no-pager --since=@" + strings.TrimSpace(inside(t, victim, "date +%s"))
	inside(t, victim, "echo nonsense >> /etc/pgaf/postgresql.conf; pkill -KILL -u postgres -f bin/postgres")
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(inside(t, victim, log), "needs to enter crash recovery"); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("the keeper of %s has not come to crash recovery:\n%s", victim, inside(t, victim, log))
		}
	}
	l.exits(0, command("postgres_ha.star"), "pg_autoctl of "+victim+" has not reported for ", "and waits for a PostgreSQL that has ended")
	l.exits(0, command("pg_state.star"))
}

// So it does for a standby whose PostgreSQL asks for more than there is.
func TestStandbyThatDoesNotStart(t *testing.T) {
	l := newLab(t)
	victim := l.one("secondary")
	inside(t, victim, `echo "max_connections = 100000" >> /etc/pgaf/postgresql.conf
pgdata=$(echo /var/lib/postgresql/*/pgaf)
version=$(cat $pgdata/PG_VERSION)
! runuser -u postgres -- /usr/lib/postgresql/$version/bin/pg_ctl restart --silent -m fast -t 10 -D $pgdata > /dev/null 2>&1`)
	deadline := time.Now().Add(2 * time.Minute)
	for zombies := 0; zombies < 10; time.Sleep(time.Second) { // one that the keeper is about to collect is no sign of a hang
		if zombies++; strings.TrimSpace(inside(t, victim, "ps -C postgres -o stat=; true")) != "Z" {
			zombies = 0
		}
		if time.Now().After(deadline) {
			t.Fatalf("the keeper of %s does not hang:\n%s", victim, inside(t, victim, "ps ax"))
		}
	}
	// Where a run was cut off that had told the keeper to read its settings, that is made up for once the keeper hears again.
	inside(t, victim, "cd ~postgres/.config/pg_autoctl/var/lib/postgresql/*/pgaf; touch reload.pgrun")
	l.exits(0, command("postgres_ha.star"), "pg_autoctl of "+victim+" has not reported for ", "and waits for a PostgreSQL that has ended",
		victim+": pg_autoctl.config: let pg_autoctl.service read its settings")
	l.exits(0, command("pg_state.star"))
}

// One that is busy is not given up before the run has come to where it waits for it.
func TestKeeperThatDoesNotListen(t *testing.T) {
	l := newLab(t)
	victim := l.one("secondary")
	inside(t, victim, `systemctl kill --kill-who=main --signal=STOP pg_autoctl
cd ~postgres/.config/pg_autoctl/var/lib/postgresql/*/pgaf; touch reload.pgrun
systemd-run --quiet --collect --on-active=20s --timer-property=AccuracySec=1s systemctl kill --kill-who=main --signal=CONT pg_autoctl`)
	l.exits(0, command("postgres_ha.star"), victim+": pg_autoctl.config: let pg_autoctl.service read its settings")
	run(command("postgres_ha.star")).unchanged(t)
}

// An old primary that comes back when its successor has removed the WAL that it would go on with takes a new copy.
func TestOldPrimaryThatComesLate(t *testing.T) {
	l := newLab(t)
	l.hurry()
	ask := func(node string, statements ...string) string {
		return strings.TrimSpace(inside(t, node, "cd /; runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -c \""+strings.Join(statements, "\" -c \"")+"\""))
	}
	nodes := []string{l.one("primary"), l.one("secondary")}
	defer func() {
		l.heal() // for a test that failed before that
		for _, node := range nodes {
			ask(node, "ALTER SYSTEM RESET wal_keep_size", "ALTER SYSTEM RESET max_slot_wal_keep_size", "SELECT pg_reload_conf()")
		}
	}()
	const keeperLog = "journalctl --boot --unit pg_autoctl --no-pager"
	comesLate := func() (old, successor string, r result) {
		old, successor = l.one("primary"), l.one("secondary")
		ask(successor, "ALTER SYSTEM SET wal_keep_size = 0", "ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'", "SELECT pg_reload_conf()")
		must(t, l.incus.Stop(t.Context(), old, true))
		const succeeds = "SELECT NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off'"
		for deadline := time.Now().Add(2 * time.Minute); ask(successor, succeeds) != "t"; time.Sleep(200 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not take over", successor)
			}
		}
		file := []string{"SELECT pg_logical_emit_message(false, 'test', 'text')", "SELECT pg_switch_wal()"}
		ask(successor, append(slices.Repeat(file, 6), "CHECKPOINT")...)
		return old, successor, l.exits(0, command("postgres_ha.star"))
	}
	old, successor, r := comesLate()
	// A keeper that cannot rewind takes a new copy by itself, as where PostgreSQL is not up within its 10 s: then there was nothing to find.
	for range 2 {
		if strings.Contains(r.out, "waits in vain") || !strings.Contains(inside(t, old, keeperLog), "trying pg_basebackup instead") {
			break
		}
		t.Logf("the keeper of %s took a new copy by itself", old)
		old, successor, r = comesLate()
	}
	if want := old + " waits in vain for the file of WAL "; !strings.Contains(r.out, want) || !strings.Contains(r.out, "which "+successor+" has removed: it takes a new copy") {
		t.Errorf("%s\n%s\nthe run does not say %q", r.out, inside(t, old, keeperLog), want)
	}
	l.exits(0, command("pg_state.star"))
	run(command("postgres_ha.star")).unchanged(t)
}

// Nobody gets in without TLS, with a wrong password, or as another role; from a machine that is none of the formation not even with the
// passwords of its own roles.
func TestNobodyElseGetsIn(t *testing.T) {
	l := newLab(t)
	const outside = "pgrun-e2e-outside"
	l.discard(t, outside)
	l.exits(0, command(testdata("outside.star")))
	password := func(role string) string {
		content, err := os.ReadFile(filepath.Join(os.Getenv("HOME"), ".local/share/pgrun/lab", role+".password"))
		must(t, err)
		return strings.TrimSpace(string(content))
	}
	address := func(name string) string { return strings.TrimSpace(inside(t, name, "hostname -I | cut -d' ' -f1")) }
	monitor, primary, standby := address(l.monitor()), address(l.one("primary")), l.one("secondary")
	const app, refused = "changeme-DEV-ONLY", "no pg_hba.conf entry"
	for _, c := range []struct{ from, server, user, database, mode, password, want string }{
		{outside, primary, "app", "app", "require", app, "1"},
		{outside, primary, "app", "app", "disable", app, refused},
		{outside, primary, "app", "app", "verify-full", app, "root certificate file"},
		{outside, primary, "app", "app", "require", "wrong", "password authentication failed"},
		{outside, primary, "app", "postgres", "require", app, refused},
		{outside, primary, "postgres", "postgres", "require", app, refused},
		{outside, primary, "pgautofailover_replicator", "postgres", "require", password("pgautofailover_replicator"), refused},
		{outside, primary, "pgautofailover_replicator", "x replication=true", "require", password("pgautofailover_replicator"), refused},
		{outside, primary, "pgautofailover_monitor", "postgres", "require", "pgautofailover_monitor", refused},
		{outside, monitor, "autoctl_node", "pg_auto_failover", "require", password("autoctl_node"), refused},
		{outside, monitor, "postgres", "pg_auto_failover", "require", "", refused},
		{standby, primary, "postgres", "postgres", "require", app, refused},
		{standby, primary, "pgautofailover_replicator", "postgres", "disable", password("pgautofailover_replicator"), refused},
		{standby, monitor, "autoctl_node", "pg_auto_failover", "disable", password("autoctl_node"), refused},
	} {
		psql := fmt.Sprintf("PGPASSWORD='%s' psql -X -A -t -c 'SELECT 1' 'host=%s user=%s dbname=%s sslmode=%s connect_timeout=5' 2>&1; true", c.password, c.server, c.user, c.database, c.mode)
		if got := inside(t, c.from, psql); !strings.Contains(got, c.want) {
			t.Errorf("%s as %s to %s of %s, sslmode=%s: psql says %q, want %q", c.from, c.user, c.database, c.server, c.mode, got, c.want)
		}
	}
}

// shell runs a line in an instance and returns its standard output.
func (l *lab) shell(instance, line string) string {
	l.t.Helper()
	session := transport.NewSession(instance, l.incus.Transport(instance), false)
	defer session.Close()
	c := host.Command{Argv: []string{"sh", "-c", line}}
	out, err := host.Succeeded(c)(session.Run(l.t.Context(), c))
	if err != nil {
		l.t.Fatalf("%s: %v", instance, err)
	}
	return out.Stdout
}
