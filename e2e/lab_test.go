// Package e2e_test runs the playbooks as a user does, on the real lab: a formation in Incus containers.
//
// The tests run where PGRUN_E2E=1 (make test sets it), since they bring the lab up where it is not and take
// minutes. They run bin/pgrun, or what PGRUN names. With PGRUN_E2E_INVENTORY they run on the formation of
// that inventory instead, which has to be there, and whose containers they stop, freeze and delete.
//
// Whatever a test takes, it puts back: each that is about the lab's formation begins and ends with a healthy one.
//
// Tests wait for most of their time, and so go two at once, each of a lane of its own: those about the lab's formation,
// those about other instances. What harms the Incus daemon harms both lanes, and comes before them, alone.
package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/incus"
)

// lab is the lab's Incus, and the formation under test.
type lab struct {
	t     *testing.T
	incus *incus.Server
}

// lane is what tests do one after another.
type lane struct{ one sync.Mutex }

var ofFormation, ofOthers lane

// take has the test go on when its turn has come, beside a test of the other lane. go test -parallel has to be large enough for
// those that wait.
func (l *lane) take(t *testing.T) {
	t.Helper()
	t.Parallel()
	l.one.Lock()
	t.Cleanup(l.one.Unlock)
}

// newLab returns the lab with its formation, up and healthy. Where Incus cannot run, the test is skipped, or fails in CI.
func newLab(t *testing.T) *lab {
	t.Helper()
	ofFormation.take(t)
	return newLabAlone(t)
}

// newLabAlone is newLab for a test that no other goes beside.
func newLabAlone(t *testing.T) *lab {
	t.Helper()
	l := newIncus(t)
	if why := formationUp(); why != nil {
		t.Fatal(why)
	}
	t.Cleanup(l.putBack)
	l.heal()
	return l
}

// newIncus returns the lab, whether its formation is up or not, for a test alone or of the lane ofOthers.
func newIncus(t *testing.T) *lab {
	t.Helper()
	if os.Getenv("PGRUN_E2E") != "1" {
		t.Skip("end-to-end tests run with PGRUN_E2E=1: make test")
	}
	if why := incusUp(); why != nil {
		var cannot *cannotRun
		if errors.As(why, &cannot) && os.Getenv("CI") == "" {
			t.Skip(why)
		}
		t.Fatal(why)
	}
	server, err := incus.Connect(t.Context(), incus.Remote{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return &lab{t, server}
}

// cannotRun says why there can be no lab here.
type cannotRun struct{ why string }

func (e *cannotRun) Error() string { return "no lab: " + e.why }

// incusUp and formationUp bring the lab up, once for all tests.
var (
	incusUp = sync.OnceValue(func() error {
		if os.Geteuid() != 0 {
			return &cannotRun{"the lab wants root"}
		}
		r := bringUp("lab.star")
		if r.code == 3 {
			return &cannotRun{"Incus cannot run here:\n" + r.out}
		}
		return r.failure("lab.star")
	})
	formationUp = sync.OnceValue(func() error { return bringUp("postgres_ha.star").failure("postgres_ha.star") })
)

// bringUp runs a playbook, unless the formation under test is another's.
func bringUp(playbook string) result {
	if os.Getenv("PGRUN_E2E_INVENTORY") != "" {
		return result{}
	}
	return run(command(playbook))
}

// failure is the error of a run that did not end well.
func (r result) failure(what string) error {
	if r.code == 0 {
		return nil
	}
	return errors.New(what + ":\n" + r.out)
}

// hurry has the monitor wait for a lost primary as fast-stale-reads has it, 1 s in place of 20, until the test ends: for a test that shows
// something else than how long a failover takes.
func (l *lab) hurry() {
	l.t.Helper()
	l.monitorSQL("ALTER SYSTEM SET pgautofailover.primary_demote_timeout = '1s'")
	l.t.Cleanup(func() {
		l.monitorSQL("ALTER SYSTEM RESET pgautofailover.primary_demote_timeout")
		l.monitorSQL("SELECT pg_reload_conf()")
	})
	l.monitorSQL("SELECT pg_reload_conf()")
}

// healTime bounds how long the formation takes to be healthy again.
const healTime = 2 * time.Minute

// putBack heals the formation after a test. What one that failed left of it is not left to the next.
func (l *lab) putBack() {
	l.t.Helper()
	if l.t.Failed() {
		if r := bringUp("postgres_ha.star"); r.code != 0 {
			l.t.Errorf("the formation cannot be put back:\n%s", r.out)
		}
	}
	l.heal()
}

// heal starts what a test stopped and waits until the formation is healthy.
func (l *lab) heal() {
	l.t.Helper()
	// Not the test's own context, which has ended in a clean-up.
	ctx, cancel := context.WithTimeout(context.Background(), healTime)
	defer cancel()
	var r result
	for ; ctx.Err() == nil; time.Sleep(time.Second) {
		if r = run(command("pg_state.star")); r.code == 0 {
			return
		}
		for _, name := range l.hosts("postgres_ha.star", "Launch the container") {
			if err := l.incus.Start(ctx, name); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	l.t.Fatalf("the formation is not healthy:\n%s", r.out)
}

// node is a line of the formation's table.
type node struct{ name, state string }

// tableRow is a row of that table: the host's name, then NAME ID ADDRESS REPORTED ASSIGNED HEALTH ...
var tableRow = regexp.MustCompile(`^  [^ ]+: ([^ ]+) +[0-9]+ +[^ ]+:[0-9]+ +([a-z_]+) `)

// nodes reads the table that pg_state.star printed.
func (l *lab) nodes(r result) []node {
	var nodes []node
	for line := range strings.Lines(r.out) {
		if row := tableRow.FindStringSubmatch(line); row != nil {
			nodes = append(nodes, node{row[1], row[2]})
		}
	}
	return nodes
}

// one returns the name of the one node that is in a state.
func (l *lab) one(state string) string {
	l.t.Helper()
	r := run(command("pg_state.star"))
	for _, n := range l.nodes(r) {
		if n.state == state {
			return n.name
		}
	}
	l.t.Fatalf("no node is %s:\n%s", state, r.out)
	return ""
}

// monitor returns the name of the monitor's host, on which the playbooks run.
func (l *lab) monitor() string {
	l.t.Helper()
	return l.hosts("pg_state.star", "Look at the formation")[0]
}

// hosts returns the names of the hosts that do a task of a playbook.
func (l *lab) hosts(playbook, task string) []string {
	l.t.Helper()
	r := run(command(playbook, "--list-tasks"))
	before, _, found := strings.Cut(r.out, "  - "+task+"\n")
	names := before[strings.LastIndex(before, "hosts: ")+len("hosts: "):]
	if !found || r.code != 0 {
		l.t.Fatalf("no task %q in:\n%s", task, r.out)
	}
	names, _, _ = strings.Cut(names, "\n")
	return strings.Split(names, ", ")
}

// result is what a run of pgrun left behind.
type result struct {
	code int
	out  string // both streams
}

// command is a run of pgrun as cron starts it: no terminal, a bare environment, some directory. The playbook
// is one that the binary carries.
func command(args ...string) *exec.Cmd {
	program := os.Getenv("PGRUN")
	if program == "" {
		program = "../bin/pgrun"
	}
	program, _ = filepath.Abs(program) // fails only without a working directory
	if inventory := os.Getenv("PGRUN_E2E_INVENTORY"); inventory != "" {
		args = append([]string{"-i", inventory}, args...)
	}
	c := exec.Command(program, args...)
	c.Dir = os.TempDir()
	c.Env = []string{"PATH=/usr/bin:/bin"}
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); name == "HOME" || name == "PGRUN_LAB_NETWORK" || strings.HasPrefix(name, "INCUS_") || strings.HasPrefix(name, "ANSIBLE_VAULT_") {
			c.Env = append(c.Env, entry)
		}
	}
	return c
}

// run runs a command to its end.
func run(c *exec.Cmd) result {
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return result{-1, err.Error()}
	}
	return result{c.ProcessState.ExitCode(), string(out)}
}

// exits runs pgrun and fails the test unless it exits with the code and prints all of want.
func (l *lab) exits(code int, c *exec.Cmd, want ...string) result {
	l.t.Helper()
	r := run(c)
	r.check(l.t, code, want...)
	return r
}

func (r result) check(t *testing.T, code int, want ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("%s\nexit code %d, want %d", r.out, r.code, code)
	}
	for _, w := range want {
		if !strings.Contains(r.out, w) {
			t.Errorf("%s\nthere is no %q in this output", r.out, w)
		}
	}
}

// data returns what came with the last logged line that has data, of a run with --output json.
func (r result) data(t *testing.T) map[string]any {
	t.Helper()
	var found map[string]any
	for line := range strings.Lines(r.out) {
		var event struct{ Data map[string]any }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if event.Data != nil {
			found = event.Data
		}
	}
	if found == nil {
		t.Fatalf("no event with data in:\n%s", r.out)
	}
	return found
}

// process is a run of pgrun that goes on.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
}

func (l *lab) start(c *exec.Cmd) *process {
	l.t.Helper()
	return l.startFor(l.t, c)
}

// startFor is start for a subtest.
func (l *lab) startFor(t *testing.T, c *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: c, done: make(chan struct{})}
	c.Stdout, c.Stderr = p, p
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.Wait() // the exit code says all
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-p.done
	})
	return p
}

// Write takes what the process prints.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// until waits until the process has printed a text.
func (p *process) until(text string) {
	p.t.Helper()
	p.within(2*time.Minute, text)
}

// within is until for what may take longer.
func (p *process) within(limit time.Duration, text string) {
	p.t.Helper()
	for deadline := time.Now().Add(limit); !strings.Contains(p.printed(), text); time.Sleep(10 * time.Millisecond) {
		select {
		case <-p.done:
			p.t.Fatalf("ended before it printed %q:\n%s", text, p.printed())
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("has not printed %q:\n%s", text, p.printed())
		}
	}
}

// wait waits for the end.
func (p *process) wait() result {
	<-p.done
	return result{p.cmd.ProcessState.ExitCode(), p.printed()}
}
