package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// killed is the container that runs are killed in the midst of changing.
const killed = "pgrun-e2e-kills"

// TestKilledAnywhere kills pgrun at random moments. Each time the next run converges, nothing of the killed one is left in a
// container after it, and nobody ever reads half a file. PGRUN_KILLS says how often, for a change, a failover test and the
// first run of a formation; without it, a change is killed a few times. PGRUN_SEED repeats a run's moments.
func TestKilledAnywhere(t *testing.T) {
	ofOthers.take(t)
	l := newIncus(t)
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("PGRUN_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		must(t, err)
	}
	t.Logf("PGRUN_SEED=%d", seed)
	moments := rand.New(rand.NewPCG(seed, 0))
	kills, everything := 4, false
	if given := os.Getenv("PGRUN_KILLS"); given != "" {
		var err error
		kills, err = strconv.Atoi(given)
		must(t, err)
		everything = true
	}
	t.Run("change", func(t *testing.T) { killChanges(t, l, kills, moments) })
	if everything {
		t.Run("failover test", func(t *testing.T) { killFailoverTests(t, kills, moments) })
		t.Run("first run", func(t *testing.T) { killFirstRuns(t, kills, moments) })
	}
}

// kill starts a command and kills it after a part of the time that it takes. It reports whether it was in time; a command
// that ends by itself must do so well.
func (l *lab) kill(t *testing.T, c *exec.Cmd, after time.Duration) bool {
	t.Helper()
	p := l.startFor(t, c)
	select {
	case <-p.done:
		p.wait().check(t, 0)
		return false
	case <-time.After(after): // the moment is the point
	}
	_ = p.cmd.Process.Kill() // it may end by itself just now
	r := p.wait()
	if r.code >= 0 {
		r.check(t, 0)
		return false
	}
	t.Logf("killed after %s: %s", after.Round(time.Millisecond), lastLine(r.out))
	return true
}

func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// part is a random part of a time.
func part(moments *rand.Rand, of time.Duration) time.Duration {
	return time.Duration(moments.Float64() * float64(of))
}

func killChanges(t *testing.T, l *lab, kills int, moments *rand.Rand) {
	playbook := testdata("kills.star")
	l.discard(t, killed)
	change := func(version int) *exec.Cmd { return command(playbook, "-e", fmt.Sprintf("version=%d", version)) }
	run(change(1)).check(t, 0)
	var whole time.Duration // of the longer of both kinds of change
	version := 2
	for ; version < 4; version++ {
		began := time.Now()
		run(change(version)).check(t, 0)
		whole = max(whole, time.Since(began))
	}
	for n := 0; n < kills; version++ {
		watch := startReader(t)
		if l.kill(t, change(version), part(moments, whole)) {
			n++
		}
		run(change(version)).check(t, 0)
		watch.whole(t)
		run(change(version)).unchanged(t)
		l.nothingLeft(t, killed)
	}
}

func killFailoverTests(t *testing.T, kills int, moments *rand.Rand) {
	l := newLab(t)
	began := time.Now()
	run(command("test_pg_failover.star")).check(t, 0, "PASS: ")
	whole := time.Since(began)
	for n := 0; n < kills; {
		if l.kill(t, command("test_pg_failover.star"), part(moments, whole)) {
			n++
		}
		run(command("test_pg_failover.star")).check(t, 0, "PASS: ")
		for _, name := range l.hosts("postgres_ha.star", "Launch the container") {
			l.nothingLeft(t, name)
		}
	}
	run(command("postgres_ha.star")).unchanged(t)
}

func killFirstRuns(t *testing.T, kills int, moments *rand.Rand) {
	f := newFormation(t, "killed")
	for n := 0; n < kills; {
		f.remove()
		for f.kill(t, f.command("postgres_ha.star"), part(moments, 40*time.Second)) {
			n++
		}
		run(f.command("postgres_ha.star")).check(t, 0)
		run(f.command("postgres_ha.star")).unchanged(t)
		f.healthy()
		for _, name := range f.instances(t.Context()) {
			f.nothingLeft(t, name)
		}
	}
}

// nothingLeft fails the test where a run has left a process, a temporary file or its journal in a container. An agent has a
// moment to see that nobody is there any more.
func (l *lab) nothingLeft(t *testing.T, instance string) {
	t.Helper()
	look := `pgrep -af '[/]run/pgrun/agent-|[s]rv/ran-'
pgrep -a '^(apt-get|dpkg)$'
find / -xdev \( -name '.pgrun-*' -o -name '*.pgrun-new' -o -name '*.pgrun-initdb' \)
find /run/pgrun -mindepth 1 ! -name 'agent-*'
true`
	var out string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if out = inside(t, instance, look); out == "" {
			return
		}
	}
	t.Errorf("%s: left behind:\n%s", instance, out)
}

// reader reads a file again and again, in a container, and looks whether it is one version's, whole.
type reader struct {
	cmd *exec.Cmd
	out strings.Builder
}

// readWhole is for Perl, which every Debian has.
const readWhole = `my $read = 0;
$SIG{INT} = sub { print "$read whole\n"; exit };
while (1) {
	if (open(my $f, "<", "/srv/data/large")) {
		local $/; my $c = <$f>; my $n = length($c); my $first = substr($c, 0, 1);
		if ($n == 8 << 20 and $c eq $first x $n) { $read++ } else { print "half a file: $n bytes\n" }
	}
	select(undef, undef, undef, 0.01);
}`

func startReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{cmd: exec.CommandContext(t.Context(), "incus", "exec", "-T", killed, "--", "perl", "-e", "$| = 1; "+readWhole)}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	must(t, r.cmd.Start())
	return r
}

// whole ends the reading, and fails the test where it met half a file.
func (r *reader) whole(t *testing.T) {
	t.Helper()
	shell(t, "incus exec -T "+killed+" -- pkill -INT -x perl")
	err := r.cmd.Wait()
	var read int
	if _, bad := fmt.Sscanf(r.out.String(), "%d whole\n", &read); err != nil || bad != nil || read == 0 {
		t.Errorf("%v: not read whole each time: %s", err, r.out.String())
	}
}
