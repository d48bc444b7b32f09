package e2e_test

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What a guard says before each step, in the order of a failover whose old primary hangs.
const (
	guardsLine  = "guards "
	asksLine    = "asks the monitor to promote "
	stopsLine   = "stops the instance of "
	tellsLine   = "tells the monitor that "
	startsLine  = "starts the instance of "
	unmarksLine = "takes its mark from the instance of "
)

// guard starts a guard of the formation.
func (l *lab) guard(args ...string) *process {
	l.t.Helper()
	return l.start(command(append([]string{"guard"}, args...)...))
}

// unmarked fails the test where the guard's mark is left on an instance, or the instance does not start with its host.
func (l *lab) unmarked(name string) {
	l.t.Helper()
	instance, err := l.incus.Instance(l.t.Context(), name)
	must(l.t, err)
	if mark := instance.Config["user.pgrun.guard.fenced"] + instance.Config["user.pgrun.guard.autostart"]; mark != "" || instance.Config["boot.autostart"] != "true" {
		l.t.Errorf("%s has the configuration %v", name, instance.Config)
	}
}

// A guard has the standby take over from a primary that is stopped, before the time that pg_auto_failover gives an old primary to see
// that it is one no more.
func TestGuardOfStoppedPrimary(t *testing.T) {
	l := newLab(t)
	victim := l.one("primary")
	p := l.guard()
	p.until(guardsLine + victim)
	data := l.exits(0, command("test_pg_failover.star", "--output", "json"), "PASS: ").data(t)
	const demoteTimeout = 20.0
	if first, _ := data["first_write"].(float64); first <= 0 || first >= demoteTimeout || data["lost"] != 0.0 {
		t.Errorf("data: %v", data)
	}
	t.Logf("first write %v s after the kill", data["first_write"])
	p.until(guardsLine + data["primary"].(string))
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	r := p.wait()
	r.check(t, 143, asksLine, tellsLine+victim)
	if strings.Contains(r.out, stopsLine) || strings.Contains(r.out, startsLine) {
		t.Errorf("it stopped or started what somebody else had stopped:\n%s", r.out)
	}
	l.unmarked(victim)
}

// A guard stops a primary that hangs, has the standby take over, and lets the old one in again. Where it is killed on the way, the
// next one does the rest. PGRUN_KILLS has it killed before each step, else it is before the one that matters most.
func TestGuardOfFrozenPrimary(t *testing.T) {
	t.Parallel() // its subtests take their turns
	kills := []string{"nowhere", stopsLine}
	if os.Getenv("PGRUN_KILLS") != "" {
		kills = []string{"nowhere", asksLine, stopsLine, tellsLine, startsLine, unmarksLine}
	}
	for _, where := range kills {
		t.Run("killed where it "+strings.TrimSpace(where), func(t *testing.T) {
			l := newLab(t)
			victim, other := l.one("primary"), l.one("secondary")
			p := l.guard()
			p.until(guardsLine + victim)
			must(t, l.incus.Freeze(t.Context(), victim))
			if where != "nowhere" {
				p.until(where)
				must(t, p.cmd.Process.Kill())
				p.wait()
				p = l.guard()
			}
			p.until(guardsLine + other)
			l.heal()
			if now := l.one("primary"); now != other {
				t.Errorf("%s is the primary:\n%s", now, p.printed())
			}
			l.unmarked(victim)
		})
	}
}

// A primary that is cut off from all others is replaced by the monitor, which would wait for it for 20 s: a guard stops it, though its
// machine answers, and lets it in again.
func TestGuardOfPrimaryCutOff(t *testing.T) {
	l := newLab(t)
	victim, other := l.one("primary"), l.one("secondary")
	p := l.guard()
	p.until(guardsLine + victim)
	l.cut(victim, 18*time.Second)
	p.until(tellsLine + victim)
	if strings.Contains(p.printed(), asksLine) || !strings.Contains(p.printed(), stopsLine+victim+" by force: it has not reported to the monitor for 5s, which has given it up") {
		t.Errorf("printed:\n%s", p.printed())
	}
	p.until(guardsLine + other)
	l.heal()
	l.unmarked(victim)
}

// A guard does nothing to a healthy primary, whatever happens to the guard's own ways of looking.
func TestGuardLeavesHealthyPrimaryAlone(t *testing.T) {
	l := newLabAlone(t) // the daemon is silenced, and killed
	primary := l.one("primary")
	p := l.guard("--output", "json")
	p.until(guardsLine + primary)
	for _, x := range []struct {
		name    string
		happen  func()
		givenUp bool // the monitor may replace it, while its keeper is late: then it is stopped
	}{
		{"its agents killed", func() { l.incusCLI(t, "exec", primary, "--", "pkill", "-9", "-f", "^/run/pgrun/agent-") }, false},
		{"its agents stopped, so that only new sessions answer", func() {
			// Once the guard has one again, after those were killed.
			l.incusCLI(t, "exec", primary, "--", "sh", "-c", "for i in $(seq 100); do pkill -STOP -f '^/run/pgrun/agent-' && exit; sleep 0.1; done; exit 1")
			time.Sleep(8 * time.Second)
			l.incusCLI(t, "exec", primary, "--", "sh", "-c", "pkill -9 -f '^/run/pgrun/agent-'; [ $? -le 1 ]") // 1: none is left
		}, false},
		{"the monitor restarted", func() {
			p.prints("does nothing: the monitor, ", func() { must(t, l.incus.Restart(t.Context(), l.monitor(), true)) })
			p.prints(guardsLine, func() {})
		}, false},
		{"the Incus daemon silent", func() { silence(t, 8*time.Second) }, false},
		{"the Incus daemon killed and started", func() { restartDaemon(t) }, false},
		{"a busy machine", func() { busy(10 * time.Second) }, true},
		{"its server killed", func() { l.incusCLI(t, "exec", primary, "--", "pkill", "-9", "-x", "postgres") }, true},
	} {
		x.happen()
		l.heal()
		if now := l.one("primary"); now != primary { // the monitor has its own timers
			t.Logf("%s: %s is the primary in place of %s", x.name, now, primary)
			primary = now
		}
		for line := range strings.Lines(p.printed()) {
			if strings.Contains(line, asksLine) || strings.Contains(line, stopsLine) && !(x.givenUp && strings.Contains(line, "which has given it up")) {
				t.Fatalf("%s:\n%s", x.name, p.printed())
			}
		}
	}
}

// cut has an instance's packets to others on its bridge dropped for a while, both ways. A timer of its own lets them pass again whatever
// becomes of the test.
func (l *lab) cut(name string, d time.Duration) {
	l.t.Helper()
	addresses, err := l.incus.Addresses(l.t.Context(), name)
	must(l.t, err)
	var rules string
	for _, a := range addresses {
		if a.Family == "inet" && a.Scope == "global" {
			rules += "  ip saddr " + a.Address + " drop\n  ip daddr " + a.Address + " drop\n"
		}
	}
	if rules == "" {
		l.t.Fatalf("%s has no address: %v", name, addresses)
	}
	const heal = "nft delete table bridge pgrun_e2e_guard"
	undo := exec.Command("sh", "-c", `sleep "$1"; `+heal, "sh", d.String())
	undo.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives whatever ends the test
	_ = exec.Command("sh", "-c", heal).Run()              // of a test that was killed
	must(l.t, undo.Start())
	shell(l.t, "nft -f - <<'END'\ntable bridge pgrun_e2e_guard {\n chain forward {\n  type filter hook forward priority 0;\n"+rules+" }\n}\nEND")
	must(l.t, undo.Wait())
}

// silence stops the Incus daemon for a while, as if the way to it were cut. A timer of its own lets it go on whatever becomes of the test.
func silence(t *testing.T, d time.Duration) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "pgrep", "-x", "incusd").Output()
	must(t, err)
	pids := strings.Fields(string(out)) // its children's, too, some of which may end meanwhile
	undo := exec.Command("sh", append([]string{"-c", `sleep "$1"; shift; for p; do kill -CONT "$p"; done; exit 0`, "sh", d.String()}, pids...)...)
	undo.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives whatever ends the test
	must(t, undo.Start())
	for _, p := range pids {
		pid, err := strconv.Atoi(p)
		must(t, err)
		if err := syscall.Kill(pid, syscall.SIGSTOP); !errors.Is(err, syscall.ESRCH) {
			must(t, err)
		}
	}
	must(t, undo.Wait())
}

// busy keeps all processors busy for a while, twice over.
func busy(d time.Duration) {
	var spinning sync.WaitGroup
	for range 2 * runtime.NumCPU() {
		spinning.Go(func() {
			for until := time.Now().Add(d); time.Now().Before(until); {
			}
		})
	}
	spinning.Wait()
}

// One guard acts at a time; a dry run says what it would do; and an instance can be left out.
func TestGuardsBesideEachOther(t *testing.T) {
	l := newLab(t)
	primary := l.one("primary")
	first := l.guard()
	first.until(guardsLine + primary)
	second := l.guard()
	second.until("does nothing: another guard has the lock in the monitor")
	must(t, first.cmd.Process.Signal(syscall.SIGSTOP)) // as if its machine were gone
	second.until(guardsLine + primary)
	must(t, first.cmd.Process.Signal(syscall.SIGCONT))
	first.until("does nothing: another guard has the lock in the monitor")
	must(t, first.cmd.Process.Kill())
	first.wait()

	l.incusCLI(t, "config", "set", primary, "user.pgrun.guard=off")
	t.Cleanup(func() { _ = exec.Command("incus", "config", "unset", primary, "user.pgrun.guard").Run() }) // where the test did not get there
	second.until("does nothing: the instance of " + primary + " has user.pgrun.guard = off")
	dry := l.guard("--check")
	dry.until("does nothing: the instance of " + primary)
	l.incusCLI(t, "config", "unset", primary, "user.pgrun.guard")
	dry.until(guardsLine + primary)
	must(t, second.cmd.Process.Kill())
	second.wait()

	must(t, l.incus.Freeze(t.Context(), primary))
	dry.until("not done in a dry run: " + asksLine)
	if instance, err := l.incus.Instance(t.Context(), primary); err != nil || instance.Status != "Frozen" {
		t.Errorf("%s is %s (%v)", primary, instance.Status, err)
	}
	l.unmarked(primary)
}

// A standby that could not take over without loss, or at all, is not asked for when the primary is stopped: somebody is called.
func TestGuardCallsSomebody(t *testing.T) {
	t.Parallel() // its subtests take their turns
	const cannot = "could not have "
	for _, x := range []struct {
		name   string
		happen func(l *lab, p *process, standby string)
		undo   func(l *lab, standby string)
		says   string
	}{
		{"the keeper of the standby is dead", func(l *lab, _ *process, standby string) {
			l.incusCLI(l.t, "exec", standby, "--", "pkill", "-STOP", "-x", "pg_autoctl")
			time.Sleep(7 * time.Second) // reports come every second or two
		}, func(l *lab, standby string) {
			l.incusCLI(l.t, "exec", standby, "--", "pkill", "-CONT", "-x", "pg_autoctl")
		}, "does not answer either"},
		{"the standby is not in the quorum", func(l *lab, p *process, standby string) {
			p.prints(cannot, func() {
				l.monitorSQL("UPDATE pgautofailover.node SET replicationquorum = false WHERE nodename = '" + standby + "'")
			})
		}, func(l *lab, standby string) {
			l.monitorSQL("UPDATE pgautofailover.node SET replicationquorum = true WHERE nodename = '" + standby + "'")
		}, "cannot take over"},
		{"the standby is never to be promoted", func(l *lab, p *process, standby string) {
			p.prints(cannot, func() {
				l.monitorSQL("UPDATE pgautofailover.node SET candidatepriority = 0 WHERE nodename = '" + standby + "'")
			})
		}, func(l *lab, standby string) {
			l.monitorSQL("UPDATE pgautofailover.node SET candidatepriority = 50 WHERE nodename = '" + standby + "'")
		}, "cannot take over"},
	} {
		t.Run(x.name, func(t *testing.T) {
			l := newLab(t)
			primary, standby := l.one("primary"), l.one("secondary")
			p := l.guard("--output", "json")
			p.until(guardsLine + primary)
			defer func() {
				must(t, l.incus.Start(t.Context(), primary))
				x.undo(l, standby)
			}()
			x.happen(l, p, standby)
			p.prints(`"alarm":true`, func() { must(t, l.incus.Stop(t.Context(), primary, true)) })
			if !strings.Contains(p.printed(), x.says) {
				t.Errorf("no %q in:\n%s", x.says, p.printed())
			}
			time.Sleep(3 * time.Second)
			if strings.Contains(p.printed(), asksLine) {
				t.Errorf("it has asked for %s:\n%s", standby, p.printed())
			}
		})
	}
}

// psql is a psql on the monitor's database, as its superuser.
func (l *lab) psql(statements ...string) *exec.Cmd {
	l.t.Helper()
	args := []string{"exec", "-T", "--cwd", "/", l.monitor(), "--", "runuser", "-u", "postgres", "--", "psql", "-XAt", "-v", "ON_ERROR_STOP=1", "-d", "pg_auto_failover"}
	for _, statement := range statements {
		args = append(args, "-c", statement)
	}
	return exec.Command("incus", args...)
}

// monitorSQL has the monitor's database run a statement, and returns what it prints.
func (l *lab) monitorSQL(statement string) string {
	l.t.Helper()
	r := run(l.psql(statement))
	r.check(l.t, 0)
	return r.out
}

// prints waits until the process prints a text again, after something has happened.
func (p *process) prints(text string, happen func()) {
	p.t.Helper()
	before := len(p.printed())
	happen()
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(p.printed()[before:], text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("has not printed %q since:\n%s", text, p.printed())
		}
	}
}
