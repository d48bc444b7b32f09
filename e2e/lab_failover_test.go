package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	markedLine  = "incus.config: update instance" // the victim is about to be stopped
	stoppedLine = "incus.stopped: stop by force instance "
	startedLine = "incus.started: start instance "
)

func TestFailoverPasses(t *testing.T) {
	l := newLab(t)
	victim := l.one("primary")
	if r := l.exits(0, command("test_pg_failover.star", "--check"), stoppedLine+victim); strings.Contains(r.out, "failed: ") {
		t.Errorf("a dry run failed:\n%s", r.out)
	}
	r := l.exits(0, command("test_pg_failover.star", "--output", "json"), "PASS: ")
	data := r.data(t)
	if data["result"] != "PASS" || data["victim"] != victim || data["primary"] == victim || data["lost"] != 0.0 {
		t.Errorf("data: %v", data)
	}
	for _, name := range []string{"promoted", "first_write", "gap"} {
		if seconds, _ := data[name].(float64); seconds <= 0 || seconds > 60 {
			t.Errorf("%s: %v seconds", name, data[name])
		}
	}
	if n, _ := data["acknowledged"].(float64); n < 100 {
		t.Errorf("%v acknowledged writes", data["acknowledged"])
	}
	t.Logf("promoted %v s, first write %v s after the kill; %v acknowledged, %v indeterminate, %v lost",
		data["promoted"], data["first_write"], data["acknowledged"], data["indeterminate"], data["lost"])
	if l.one("primary") == victim {
		t.Errorf("%s is still the primary", victim)
	}
}

func TestFailoverOfUnhealthyFormation(t *testing.T) {
	l := newLab(t)
	standby := l.one("secondary")
	if err := l.incus.Stop(t.Context(), standby, true); err != nil {
		t.Fatal(err)
	}
	l.exits(1, command("test_pg_failover.star", "--check"), "unhealthy baseline: ", standby)
	r := l.exits(1, command("test_pg_failover.star"), "unhealthy baseline: ", standby)
	if strings.Contains(r.out, stoppedLine) {
		t.Errorf("something was stopped:\n%s", r.out)
	}
	l.exits(1, command("pg_state.star"), "unhealthy, ")
}

func TestFailoverWithoutMonitor(t *testing.T) {
	l := newLab(t)
	monitor := l.monitor()
	if err := l.incus.Stop(t.Context(), monitor, true); err != nil {
		t.Fatal(err)
	}
	l.exits(1, command("test_pg_failover.star"), "the formation's state is not known", "Stopped")
	if err := l.incus.Start(t.Context(), monitor); err != nil {
		t.Fatal(err)
	}
}

func TestFailoverTooLate(t *testing.T) {
	l := newLab(t)
	l.exits(2, command("test_pg_failover.star", "-e", "rto_target=1s"), "FAIL: no standby promoted within 1s", " 0 of ")
	l.exits(0, command("pg_state.star"))
}

// A standby that hangs cannot be promoted.
func TestFailoverToFrozenStandby(t *testing.T) {
	l := newLab(t)
	standby := l.one("secondary")
	p := l.start(command("test_pg_failover.star", "-e", "rto_target=8s"))
	p.until(markedLine)
	if err := l.incus.Freeze(t.Context(), standby); err != nil {
		t.Fatal(err)
	}
	p.until(startedLine)
	if err := l.incus.Unfreeze(t.Context(), standby); err != nil {
		t.Fatal(err)
	}
	p.wait().check(t, 2, "FAIL: no standby promoted within 8s", " 0 of ")
	l.exits(0, command("pg_state.star"))
}

func TestFailoverCannotRun(t *testing.T) {
	l := newLab(t)
	noIncus := command("test_pg_failover.star")
	noIncus.Env = append(noIncus.Env, "INCUS_SOCKET=/nonexistent/unix.socket")
	l.exits(3, noIncus, "no Incus daemon at /nonexistent/unix.socket")

	inventory := filepath.Join(t.TempDir(), "elsewhere.star")
	err := os.WriteFile(inventory, []byte(`
group("incus_hosts", hosts = [host("localhost", transport = "local")])
group("postgres_ha_monitor", hosts = [host("pgrun-no-monitor")])
group("postgres_ha_nodes", hosts = [host("pgrun-no-node")])
`), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := command("test_pg_failover.star", "-i", inventory)
	l.exits(3, elsewhere, "there is no instance pgrun-no-monitor")
}

// A test that is interrupted puts the victim back before it ends.
func TestFailoverInterrupted(t *testing.T) {
	t.Parallel() // its subtests take their turns
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		t.Run(signal.String(), func(t *testing.T) {
			l := newLab(t)
			p := l.start(command("test_pg_failover.star"))
			p.until(stoppedLine)
			if err := p.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			p.wait().check(t, code, startedLine, "interrupted by SIG")
			l.exits(0, command("pg_state.star"))
		})
	}
}

// A test that is killed leaves the victim stopped; the next one puts it back, and goes on.
func TestFailoverKilled(t *testing.T) {
	l := newLab(t)
	l.hurry()
	victim := l.one("primary")
	p := l.start(command("test_pg_failover.star"))
	p.until(stoppedLine + victim)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wait()
	instance, err := l.incus.Instance(t.Context(), victim)
	if err != nil || instance.Status != "Stopped" {
		t.Fatalf("%s is %s (%v)", victim, instance.Status, err)
	}
	r := l.exits(0, command("test_pg_failover.star"), startedLine+victim, "PASS: ")
	if back, kill := strings.Index(r.out, startedLine+victim), strings.Index(r.out, stoppedLine); back > kill {
		t.Errorf("the victim was put back after the next kill:\n%s", r.out)
	}
}

func TestSwitchover(t *testing.T) {
	l := newLab(t)
	before := l.one("primary")
	data := l.exits(0, command("pg_switchover.star", "--output", "json")).data(t)
	if data["previous"] != before || data["primary"] == before || data["lost"] != 0.0 {
		t.Errorf("data: %v", data)
	}
	l.exits(0, command("pg_switchover.star", "-e", "to="+before), before+" is the primary in place of ")
	l.exits(0, command("pg_switchover.star", "-e", "to="+before), before+" is the primary already")
}

// The old primary reports while the monitor is giving it another goal, which is when pg_auto_failover 2.2 by itself has it go on alone:
// from pgrun's first look at the monitor on, a transaction keeps the standby's row, and so holds up what is asked for, until such a report
// waits, too.
func TestSwitchoverAmidReport(t *testing.T) {
	l := newLab(t)
	before, standby := l.one("primary"), l.one("secondary")
	last := strings.TrimSpace(l.monitorSQL("SELECT coalesce(max(eventid), 0) FROM pgautofailover.event"))
	until := func(condition string) string {
		return `DO $$ BEGIN
			FOR i IN 1 .. 6000 LOOP
				EXIT WHEN ` + condition + `;
				IF i = 6000 THEN RAISE 'not within a minute'; END IF;
				PERFORM pg_stat_clear_snapshot(), pg_sleep(0.01);
			END LOOP;
		END $$`
	}
	const pgrun = "usename = 'postgres' AND client_addr IS NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
	const waits = " AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted)"
	holder := l.start(l.psql("SELECT 'looks'",
		until("EXISTS (SELECT FROM pg_stat_activity a WHERE "+pgrun+")"),
		"BEGIN", "SELECT FROM pgautofailover.node WHERE nodename = '"+standby+"' FOR UPDATE",
		until("EXISTS (SELECT FROM pg_stat_activity a WHERE "+pgrun+waits+") AND EXISTS (SELECT FROM pg_stat_activity a JOIN pgautofailover.node n "+
			"ON host(client_addr) = n.nodehost WHERE n.nodename = '"+before+"'"+waits+")"),
		"COMMIT"))
	holder.until("looks")
	r := run(command("pg_switchover.star", "--output", "json"))
	holder.wait().check(t, 0)
	r.check(t, 0, `"primary":"`+standby+`"`, `"lost":0,`)
	events := l.monitorSQL("SELECT nodename, goalstate, description FROM pgautofailover.event WHERE eventid > " + last + " ORDER BY eventid")
	if strings.Contains(events, before+"|wait_primary|") {
		t.Errorf("%s took writes alone when it had to end:\n%s", before, events)
	}
}

func TestURI(t *testing.T) {
	l := newLab(t)
	l.exits(0, command("pg_uri.star"),
		"DATABASE_URL=postgresql://app:********@", "/app?target_session_attrs=read-write&sslmode=verify-full&sslrootcert=/", "/ca/ca.crt",
		"DATABASE_URL_READ=postgresql://app:********@", "/app?target_session_attrs=prefer-standby&")
}

// The nightly check as cron runs it: a real cron, which sees no table but this test's.
func TestFailoverUnderCron(t *testing.T) {
	l := newLab(t)
	l.hurry()
	dir := t.TempDir()
	c := command("test_pg_failover.star")
	line := strings.Join(append(c.Env, c.Args...), " ") // none has a space in it
	table := "* * * * * root [ -e " + dir + "/began ] || { touch " + dir + "/began; env -i " + line + " > " + dir + "/out 2>&1; echo $? > " + dir + "/code; }\n"
	must(t, os.WriteFile(filepath.Join(dir, "crontab"), []byte(table), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "pid"), nil, 0o600))
	cron := exec.Command("unshare", "--mount", "sh", "-euc", `cd "$1"
for at in /etc/cron.d /var/spool/cron/crontabs; do mount --bind empty "$at"; done
touch /run/crond.pid
mount --bind crontab /etc/crontab
mount --bind pid /run/crond.pid
exec cron -f`, "sh", dir)
	p := l.start(cron)
	code := filepath.Join(dir, "code")
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if content, err := os.ReadFile(code); err == nil && strings.HasSuffix(string(content), "\n") {
			break
		}
		if time.Now().After(deadline) {
			out, _ := os.ReadFile(filepath.Join(dir, "out")) // for the message
			t.Fatalf("cron has not run it to its end: %s%s", p.printed(), out)
		}
	}
	content, err := os.ReadFile(code)
	must(t, err)
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	must(t, err)
	result{0, string(out)}.check(t, 0, "PASS: ")
	if string(content) != "0\n" {
		t.Errorf("exit code %s, printed:\n%s", content, out)
	}
}
