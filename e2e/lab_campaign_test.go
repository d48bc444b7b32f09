package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A campaign that was killed in the midst of a fault leaves the formation to the next one, which puts it right and does the cycles that
// are not done yet; pgrun-report sums them up.
func TestCampaign(t *testing.T) {
	l := newLab(t)
	results := filepath.Join(t.TempDir(), "campaign")
	campaign := func() *exec.Cmd {
		return command("failover_campaign.star", "-e", "results="+results, "-e", "faults=switchover,cut from the peer,pause", "-e", "guard=on", "-e", "hold=5s")
	}
	p := l.start(campaign())
	p.until("incus.frozen: freeze instance ")
	must(t, p.cmd.Process.Kill())
	p.wait()
	r := l.exits(0, campaign(), "cycles to do, ", "3 of 3: ")
	l.unmarked(l.one("primary"))
	l.unmarked(l.one("secondary"))
	if strings.Contains(r.out, "NOT AS EXPECTED") {
		t.Errorf("printed:\n%s", r.out)
	}
	l.exits(0, campaign(), "0 cycles to do, 3 are there already")

	report := exec.Command(filepath.Join(filepath.Dir(command().Path), "pgrun-report"), "--check", results)
	run(report).check(t, 0, "PASSED: 3 cycles, ", ", none lost", "Every cycle ended as expected.")
	var summary struct{ Passed bool }
	content, err := os.ReadFile(filepath.Join(results, "summary.json"))
	must(t, err)
	must(t, json.Unmarshal(content, &summary))
	if !summary.Passed {
		t.Errorf("summary: %s", content)
	}
}

// A primary that sees neither the monitor nor its standby stops its server, though its keeper has never been without the monitor
// before.
func TestSelfFencing(t *testing.T) {
	l := newLab(t)
	victim := l.one("secondary")
	inside(t, victim, "dpkg -s nftables > /dev/null 2>&1 || { apt-get -qq update && apt-get -qq -y install nftables > /dev/null; }")
	heal := func() { // also in a clean-up, where the test's context has ended
		_ = exec.Command("incus", "exec", "-T", victim, "--", "sh", "-c", "nft delete table inet pgrun_test; systemctl stop pgrun-test.timer").Run()
	}
	t.Cleanup(heal)
	// As if its keeper had never been without the monitor.
	inside(t, victim, `systemctl stop pg_autoctl
dd if=/dev/zero of=$(find /var/lib/postgresql/.local -name pg_autoctl.state) bs=1 seek=64 count=8 conv=notrunc status=none
systemctl start pg_autoctl`)
	l.heal()
	l.exits(0, command("pg_switchover.star", "-e", "to="+victim))
	inside(t, victim, `systemd-run --quiet --collect --unit=pgrun-test --on-active=3m --timer-property=AccuracySec=1s nft delete table inet pgrun_test
nft -f - <<'E'
table inet pgrun_test {
	chain input { type filter hook input priority 0; iifname != "lo" drop; }
	chain output { type filter hook output priority 0; oifname != "lo" drop; }
}
E`)
	for deadline := time.Now().Add(time.Minute); strings.TrimSpace(inside(t, victim, "pgrep -x postgres; true")) != ""; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("PostgreSQL still runs on %s, which is cut off:\n%s", victim, inside(t, victim, "journalctl -u pg_autoctl --no-pager | tail -n 20"))
		}
	}
	if log := inside(t, victim, "journalctl -u pg_autoctl --no-pager -g 'shut down PostgreSQL to prevent split brain' | tail -n 1"); log == "" {
		t.Errorf("the keeper of %s has not said that it stops PostgreSQL", victim)
	}
	heal()
	l.heal()
}
