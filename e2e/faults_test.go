package e2e_test

import (
	"bytes"
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

// What faults happen to, and what stands beside it.
const (
	victim = "pgrun-e2e-fault"
	beside = "pgrun-e2e-beside"
)

// faultLimit is within which every run has to end, whatever happens to its host.
const faultLimit = 90 * time.Second

// fault is what can happen to a machine while pgrun works on it. ready comes before the call. undo makes the machine whole
// again as an operator would; what it leaves undone, the next run of the playbook has to do.
type fault struct {
	name         string
	happen, undo func(t *testing.T, l *lab)
	ready        func(t *testing.T, l *lab)
}

// What the calls write to is a file system of its own for some faults.
var (
	ownDisk = inVictim("mount -t tmpfs -o size=300m data /srv/data")
	oldDisk = inVictim("umount -l /srv/data")
)

// daemonKilled is what every instance meets, those of other tests, too.
var daemonKilled = fault{name: "the Incus daemon killed and started", happen: func(t *testing.T, l *lab) { restartDaemon(t) }}

// faults are those that one instance meets.
var faults = []fault{
	{"stopped by force", func(t *testing.T, l *lab) { must(t, l.incus.Stop(t.Context(), victim, true)) }, nil, nil},
	{"shut down", func(t *testing.T, l *lab) { must(t, l.incus.Stop(t.Context(), victim, false)) }, nil, nil},
	{"restarted", func(t *testing.T, l *lab) { must(t, l.incus.Restart(t.Context(), victim, true)) }, nil, nil},
	{"frozen", func(t *testing.T, l *lab) { must(t, l.incus.Freeze(t.Context(), victim)) }, nil, nil},
	{"deleted", func(t *testing.T, l *lab) { must(t, l.incus.DeleteInstance(t.Context(), victim, true)) }, nil, nil},
	{"its agent killed", inVictim("pkill -9 -f '^/run/pgrun/agent-'"), nil, nil},
	{"/run/pgrun wiped", inVictim("rm -rf /run/pgrun"), nil, nil},
	{"all processes killed but init", inVictim("kill -9 -1"), nil, nil},
	{"disk full", inVictim("cat /dev/zero > /srv/data/full 2> /dev/null; true"), oldDisk, ownDisk},
	// While a file is open for writing, a file system cannot be made read-only.
	{"read-only file system", inVictim("for i in $(seq 200); do mount -o remount,ro /srv/data 2> /dev/null && break; sleep 0.05; done"), oldDisk, ownDisk},
	{"out of memory", func(t *testing.T, l *lab) {
		l.incusCLI(t, "config", "set", victim, "limits.memory=96MiB")
		inVictim("tail /dev/zero; true")(t, l)
	}, unlimited, nil},
	{"out of memory, its agent the first to go", func(t *testing.T, l *lab) {
		l.incusCLI(t, "config", "set", victim, "limits.memory=96MiB")
		inVictim("for p in $(pgrep -f '^/run/pgrun/agent-'); do echo 1000 > /proc/$p/oom_score_adj; done; tail /dev/zero; true")(t, l)
	}, unlimited, nil},
}

func unlimited(t *testing.T, l *lab) { l.incusCLI(t, "config", "unset", victim, "limits.memory") }

// kinds are the calls of testdata/faults.star.
var kinds = []string{"look", "command", "write", "copy", "wait", "service"}

// TestFaults has each fault happen in the midst of each kind of call. Every run ends in time, in success or with an error
// that names the host; the host beside it, if the fault is not its own, goes on to the end; and the next run, once the fault is undone, succeeds.
// With PGRUN_FAULTS=FILE it is all of them, and FILE gets the table of what happened; else it is a few.
func TestFaults(t *testing.T) {
	l := newIncus(t)
	if _, err := os.Stat("/run/pgrun/processes/incusd"); errors.Is(err, fs.ErrNotExist) {
		t.Log("systemd runs the daemon here: it is restarted through systemd")
	}
	playbook := faultPlaybook(t)
	table := fmt.Sprintf("| fault | %s |\n|%s\n", strings.Join(kinds, " | "), strings.Repeat(" --- |", len(kinds)+1))
	t.Run(daemonKilled.name, func(t *testing.T) {
		l.discard(t, victim, beside)
		table += l.row(t, playbook, daemonKilled, 0)
	})
	ofOthers.take(t)
	l.discard(t, victim, beside)
	for i, fault := range faults {
		t.Run(fault.name, func(t *testing.T) { table += l.row(t, playbook, fault, i+1) })
	}
	if everything := os.Getenv("PGRUN_FAULTS"); everything != "" {
		must(t, os.WriteFile(everything, []byte(table), 0o644))
	}
}

// row has a fault happen in the midst of the kinds of call, and returns what happened as row i of the table.
func (l *lab) row(t *testing.T, playbook string, f fault, i int) string {
	t.Helper()
	row := "| " + f.name + " |"
	for j, kind := range kinds {
		if os.Getenv("PGRUN_FAULTS") == "" && (i+j)%len(kinds) != 0 { // each fault once or twice, and each kind
			continue
		}
		t.Run(kind, func(t *testing.T) {
			happened := "has not ended"
			defer func() { row += " " + happened + " |" }()
			undo := func() {}
			if f.undo != nil {
				undo = sync.OnceFunc(func() { f.undo(t, l) })
			}
			t.Cleanup(undo)
			happened = meetFault(t, l, playbook, kind, f)
			t.Log(happened)
			undo()
			again := run(command(playbook, "-e", "kind=look"))
			again.check(t, 0, "went on")
		})
	}
	return row + "\n"
}

// discard deletes containers that a test makes, now and at its end.
func (l *lab) discard(t *testing.T, names ...string) {
	t.Helper()
	remove := func() {
		for _, name := range names {
			// Not the test's own context, which has ended in a clean-up.
			if err := l.incus.DeleteInstance(context.Background(), name, true); err != nil {
				t.Error(err)
			}
		}
	}
	remove()
	t.Cleanup(remove)
}

// faultPlaybook is the playbook in a folder of its own, beside a large file to copy.
func faultPlaybook(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"faults.star", "faults_hosts.star"} {
		script, err := os.ReadFile(testdata(name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), script, 0o644))
	}
	must(t, os.WriteFile(filepath.Join(dir, "large"), bytes.Repeat([]byte("0123456789abcde\n"), 16<<20), 0o644))
	return filepath.Join(dir, "faults.star")
}

// meetFault starts a call, has the fault happen, and says what became of the call.
func meetFault(t *testing.T, l *lab, playbook, kind string, f fault) string {
	t.Helper()
	run(command(playbook, "-e", "kind=look")).check(t, 0)
	inVictim("rm -rf /srv/data/*; systemctl stop slow; true")(t, l)
	if f.ready != nil {
		f.ready(t, l)
	}
	p := l.startFor(t, command(playbook, "-e", "kind="+kind))
	p.until(victim + ": calling")
	time.Sleep(200 * time.Millisecond) // the call is under way: nothing else tells
	began := time.Now()
	f.happen(t, l)
	select {
	case <-p.done:
	case <-time.After(faultLimit):
		t.Fatalf("has not ended %s after the fault:\n%s", faultLimit, p.printed())
	}
	took := time.Since(began).Round(100 * time.Millisecond)
	r := p.wait()
	spared := f.name != daemonKilled.name
	if spared && !strings.Contains(r.out, beside+": went on") && !(kind == "wait" && strings.Contains(r.out, "failed: ["+beside+"]")) {
		t.Errorf("the host beside it did not go on:\n%s", r.out)
	}
	if strings.Contains(r.out, "internal error") || strings.Contains(r.out, "goroutine ") {
		t.Errorf("an internal error:\n%s", r.out)
	}
	if well := strings.Contains(r.out, victim+": went on") && strings.Contains(r.out, beside+": went on"); well != (r.code == 0) {
		t.Errorf("exit code %d; both hosts went on to the end: %t", r.code, well)
	}
	if strings.Contains(r.out, victim+": went on") {
		return fmt.Sprintf("went on, %s", took)
	}
	_, why, found := strings.Cut(r.out, victim+": made the call\n")
	if !found {
		_, why, _ = strings.Cut(r.out, "["+victim+"]")
	}
	for line := range strings.Lines(why) {
		if line = strings.TrimSpace(line); strings.Contains(line, victim+": ") || strings.Contains(line, victim+" cannot be reached") {
			t.Logf("exit code %d: %s", r.code, line)
			return fmt.Sprintf("%s, %s", brief(line), took)
		}
	}
	t.Errorf("exit code %d, and no error that names %s:\n%s", r.code, victim, r.out)
	return fmt.Sprintf("exit code %d, %s", r.code, took)
}

// brief is an error in the few words of a table.
func brief(line string) string {
	for _, b := range [][2]string{
		{"no sign of life", "no sign of life"}, {"not so after", "not in time"}, {"it is Stopped", "it is Stopped"}, {"no instance", "no instance"},
		{"agent was killed", "its agent was killed"}, {"agent was ended", "its agent was ended"},
		{"Incus (local) cannot be reached", "no Incus daemon"}, {"no space left", "no space left"}, {"read-only file system", "read-only file system"},
	} {
		if strings.Contains(line, b[0]) {
			return b[1]
		}
	}
	parts := strings.Split(strings.ReplaceAll(line, "|", "\\|"), ": ")
	return parts[len(parts)-1]
}

// inVictim runs a line in the container, not through pgrun's agent.
func inVictim(line string) func(t *testing.T, l *lab) {
	return func(t *testing.T, l *lab) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "incus", "exec", victim, "--", "sh", "-c", line).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() < 128) { // the fault may take the line with it
			t.Fatalf("incus exec %s: %v: %s", line, err, out)
		}
	}
}

func (l *lab) incusCLI(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "incus", args...).CombinedOutput(); err != nil {
		t.Fatalf("incus %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// restartDaemon kills the daemon and has it started again, while containers go on.
func restartDaemon(t *testing.T) {
	t.Helper()
	note, err := os.ReadFile("/run/pgrun/processes/incusd")
	if errors.Is(err, fs.ErrNotExist) {
		out, err := exec.CommandContext(t.Context(), "systemctl", "restart", "incus.service").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	must(t, err)
	pid, _, _ := strings.Cut(string(note), " ")
	if out, err := exec.CommandContext(t.Context(), "kill", "-9", pid).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run(command("lab.star")).check(t, 0)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
