package probe_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	starlarktime "go.starlark.net/lib/time"

	"github.com/pgrun/pgrun/runtime/outcome"
)

// call is a script that calls probe.writes with the body of its function.
func (f *formation) call(body, more string) string {
	return "def fault(clients):\n    " + strings.ReplaceAll(strings.TrimSpace(body), "\n", "\n    ") +
		"\n\nprobe.writes(fault, " + f.given + more + ")"
}

// wrote is the body of a function that waits until the clients have written n times more.
const wrote = `wait_until(lambda: clients.acknowledged >= 50, timeout = "20s", every = "10ms")
`

// clean fails the test if a table or a session is left on the server.
func clean(t *testing.T) {
	t.Helper()
	if left := primary.Psql(t, "SELECT to_regclass('pgrun_probe')"); left != "" {
		t.Errorf("the table %s is left", left)
	}
	deadline := time.Now().Add(5 * time.Second)
	for primary.Psql(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgrun probe'") != "0" {
		if time.Now().After(deadline) {
			t.Error("sessions are left")
			return
		}
	}
}

func TestNothingHappens(t *testing.T) {
	f := newFormation(t)
	f.b.freeze()
	primary.Psql(t, "CREATE TABLE pgrun_probe (left_behind int); ALTER TABLE pgrun_probe OWNER TO clients")
	r := f.Run(f.call(wrote+`return clients.first_write(besides = "a")`, ""))
	if n := number(t, r, "acknowledged"); n < 50 {
		t.Errorf("%d writes acknowledged", n)
	}
	if n := number(t, r, "indeterminate"); n != 0 {
		t.Errorf("%d writes indeterminate", n)
	}
	if lost := field(t, r, "lost").String(); lost != "[]" {
		t.Errorf("lost: %s", lost)
	}
	if v := field(t, r, "value").String(); v != "None" {
		t.Errorf("b, which is frozen, acknowledged a write at %s", v)
	}
	if gap := time.Duration(field(t, r, "gap").(starlarktime.Duration)); gap <= 0 || gap > 5*time.Second {
		t.Errorf("a gap of %s", gap)
	}
	clean(t)
}

func TestFailover(t *testing.T) {
	f := newFormation(t)
	standby := primary.Standby(t)
	f.b.forward(standby)
	primary.Psql(t, "ALTER SYSTEM SET synchronous_standby_names = '*'")
	primary.Psql(t, "SELECT pg_reload_conf()")
	var silence time.Duration // neither takes writes for so long, at least
	f.steps = []func(){func() {
		f.a.freeze()
		frozen := time.Now()
		standby.Psql(t, "SELECT pg_is_in_recovery()")
		silence = time.Since(frozen)
		standby.Psql(t, "SELECT pg_promote()")
	}}
	r := f.Run(f.call(strings.Replace(wrote, "50", "200", 1)+`
step()
first = wait_until(lambda: clients.first_write(besides = "a"), timeout = "20s", every = "10ms")
before = clients.acknowledged
wait_until(lambda: clients.acknowledged > before + 50, timeout = "20s", every = "10ms")
return clients.first_write(after = first) > first`, `, write_timeout = "500ms", readers = 1`))
	if found := field(t, r, "overlapping").String(); found != "[]" {
		t.Errorf("overlapping: %s", found)
	}
	if servers := field(t, r, "servers").String(); strings.Count(servers, "stale_reads = 0") != 2 || strings.Contains(servers, " reads = 0") || strings.Contains(servers, "first = None") {
		t.Errorf("servers: %s", servers)
	}
	if began := field(t, r, "gap_began").Type(); began != "time.time" {
		t.Errorf("gap_began is a %s", began)
	}
	if v := field(t, r, "value").String(); v != "True" {
		t.Errorf("first_write(after = ...) is %s", v)
	}
	if lost := field(t, r, "lost").String(); lost != "[]" {
		t.Errorf("lost: %s", lost)
	}
	if n := number(t, r, "indeterminate"); n > 6 {
		t.Errorf("%d writes indeterminate, want one of each writer at most", n)
	}
	if gap := time.Duration(field(t, r, "gap").(starlarktime.Duration)); gap < silence {
		t.Errorf("a gap of %s, want %s at least", gap, silence)
	}
}

// Two servers that both take writes are found out: by what they acknowledged, and by what they answer to readers.
func TestSplitBrain(t *testing.T) {
	f := newFormation(t)
	standby := primary.Standby(t)
	f.b.forward(standby)
	f.steps = []func(){func() { standby.Psql(t, "SELECT pg_promote()") }}
	cut := func() {
		primary.Psql(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgrun probe' ORDER BY random() LIMIT 1")
	}
	for range 200 {
		f.steps = append(f.steps, cut)
	}
	r := f.Run(f.call(wrote+`
step()
wait_until(lambda: step() or clients.first_write(besides = "a"), timeout = "20s", every = "100ms")
before = clients.first_write(besides = "a")
wait_until(lambda: clients.first_write(besides = "b", after = before), timeout = "20s", every = "10ms")`, `, readers = 1`))
	if found := field(t, r, "overlapping").String(); !strings.Contains(found, `server = "a"`) {
		t.Errorf("overlapping: %s", found)
	}
	if servers := field(t, r, "servers").String(); strings.Count(servers, "stale_reads = 0") == 2 {
		t.Errorf("servers: %s", servers)
	}
}

// What is not there any more was lost, whatever took it.
func TestLost(t *testing.T) {
	f := newFormation(t)
	f.b.freeze()
	f.steps = []func(){func() { primary.Psql(t, "DELETE FROM pgrun_probe WHERE number = 3 AND writer <= 2") }}
	r := f.Run(f.call(wrote+"step()", ""))
	lost := field(t, r, "lost").String()
	if strings.Count(lost, `number = 3, server = "a"`) != 2 || strings.Count(lost, "write(") != 2 {
		t.Errorf("lost: %s", lost)
	}
	clean(t)
}

// A failure of the script's own function goes before the clients' findings, which are told all the same.
func TestLostAndFailed(t *testing.T) {
	f := newFormation(t)
	f.b.freeze()
	f.steps = []func(){func() { primary.Psql(t, "DELETE FROM pgrun_probe WHERE number = 3") }}
	f.Fails(f.call(wrote+`step()
fail("no promotion")`, ""), "no promotion")
	if told := strings.Join(f.Summary(), "\n"); !strings.Contains(told, "4 of ") || !strings.Contains(told, "acknowledged writes are lost") {
		t.Errorf("told: %s", told)
	}
	clean(t)
}

// Without its standby a commit is not acknowledged; the client gives up on it.
func TestPastItsDeadline(t *testing.T) {
	f := newFormation(t)
	f.b.freeze()
	f.steps = []func(){standbyLost(t), standbyGivenUp(t)}
	r := f.Run(f.call(wrote+`
step()
wait_until(lambda: clients.indeterminate >= 4, timeout = "20s", every = "10ms")
step()`, `, write_timeout = "200ms"`))
	if n := number(t, r, "indeterminate"); n < 4 {
		t.Errorf("%d writes indeterminate, want one of each writer at least", n)
	}
	if lost := field(t, r, "lost").String(); lost != "[]" {
		t.Errorf("lost: %s", lost)
	}
	clean(t)
}

// A commit whose wait for the standby is cancelled succeeds, with a warning.
func TestAcknowledgedWithWarning(t *testing.T) {
	f := newFormation(t)
	f.b.freeze()
	f.steps = []func(){standbyLost(t), func() {
		await(t, "SELECT count(*) = 4 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
		primary.Psql(t, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	}, standbyGivenUp(t)}
	r := f.Run(f.call(wrote+"step()\nstep()\nstep()", `, write_timeout = "20s"`))
	if n := number(t, r, "indeterminate"); n < 4 {
		t.Errorf("%d writes indeterminate, want one of each writer at least", n)
	}
	clean(t)
}

// standbyLost makes commits wait for a standby that is not there, standbyGivenUp ends that.
func standbyLost(t *testing.T) func() {
	return func() {
		primary.Psql(t, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
		primary.Psql(t, "SELECT pg_reload_conf()")
	}
}

func standbyGivenUp(t *testing.T) func() {
	return func() {
		primary.Psql(t, "ALTER SYSTEM RESET synchronous_standby_names")
		primary.Psql(t, "SELECT pg_reload_conf()")
	}
}

// await waits until a query gives true.
func await(t *testing.T, query string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); primary.Psql(t, query) != "t"; {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", query)
		}
	}
}

// A task that ends early takes its clients and its table along.
func TestInterrupted(t *testing.T) {
	f := newFormation(t)
	f.b.freeze()
	err := f.Fails(`
def fault(clients):
    wait_until(lambda: False, timeout = "1h")

wait_until(lambda: probe.writes(fault, `+f.given+`), timeout = "2s", what = "the test")`, "the test")
	if code := outcome.Of(err); code != outcome.TimedOut {
		t.Errorf("exit code %d", code)
	}
	clean(t)
}

func TestOtherRun(t *testing.T) {
	f := newFormation(t)
	f.b.freeze()
	f.Fails(f.call(`probe.writes(lambda other: None, `+f.given+`)`, ""), "another run of probe.writes has 4 sessions on this database")
	clean(t)
}

func TestTwoServersTakeWrites(t *testing.T) {
	f := newFormation(t)
	r := f.Run(f.call(wrote, ""))
	if why := field(t, r, "unverified").String(); !strings.Contains(why, "a and b both take writes") {
		t.Errorf("unverified: %s", why)
	}
}

func TestCannotStart(t *testing.T) {
	f := newFormation(t)
	f.b.freeze()
	for name, c := range map[string]struct{ old, new, want string }{
		"password":  {password, "wrong-password", `password authentication failed for user "clients"`},
		"database":  {`database = "postgres"`, `database = "nowhere"`, `database "nowhere" does not exist`},
		"authority": {f.given[strings.Index(f.given, "ca = "):], "ca = " + strconv.Quote(certify(t, t.TempDir())), "certificate signed by unknown authority"},
		"name":      {`"a": "127.0.0.1", `, `"c": "127.0.0.1", `, "certificate is valid for a, b, not c"},
		"address":   {`"127.0.0.1"`, `"192.0.2.1"`, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			script := strings.Replace(f.call("fail(\"called\")", `, timeout = "6s"`), c.old, c.new, 1)
			err := f.Fails(script, "probe.writes: starting to write", c.want)
			if strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "wrong-password") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestDryRun(t *testing.T) {
	f := newFormation(t)
	called := false
	f.steps = []func(){func() { called = true }}
	_, err := f.Try(f.call("step()", ""), true)
	var undetermined *outcome.Undetermined
	if !errors.As(err, &undetermined) || !called {
		t.Errorf("error %v; called: %t", err, called)
	}
	if told := strings.Join(f.Summary(), "\n"); !strings.Contains(told, "write to table pgrun_probe of database postgres with 4 clients") {
		t.Errorf("told: %s", told)
	}
	clean(t)
}

func TestWrongArguments(t *testing.T) {
	f := newFormation(t)
	for _, c := range []struct{ old, new, want string }{
		{`servers = {"a": "127.0.0.1", "b": "127.0.0.2"}`, "servers = {}", "for parameter servers: the dict is empty"},
		{`"127.0.0.2"`, `""`, "for parameter servers:"},
		{`database = "postgres"`, `database = ""`, "for parameter database: it is empty"},
		{`user = "clients"`, `user = ""`, "for parameter user: it is empty"},
		{fmt.Sprintf("port = %d", f.a.port()), "port = 70000", "for parameter port: 70000 is not in 1 to 65535"},
		{`user = `, `writers = 0, user = `, "for parameter writers: 0 is not in 1 to 100"},
		{`user = `, `readers = -1, user = `, "for parameter readers: -1 is not in 0 to 100"},
		{`user = `, `every = "0s", user = `, "for parameter every: 0s is less than 1ms"},
		{`user = `, `write_timeout = "0s", user = `, "for parameter write_timeout:"},
		{`user = `, `timeout = "0s", user = `, "for parameter timeout:"},
		{f.given[strings.Index(f.given, "ca = "):], `ca = "none"`, "for parameter ca: it holds no certificate"},
	} {
		f.Fails("probe.writes(lambda clients: None, "+strings.Replace(f.given, c.old, c.new, 1)+")", c.want)
	}
}

// What the function returned is not lost with the servers.
func TestUnverified(t *testing.T) {
	f := newFormation(t)
	f.b.freeze()
	f.steps = []func(){f.a.freeze}
	r := f.Run(f.call(wrote+`
step()
return "a verdict"`, `, timeout = "3s"`))
	if why := field(t, r, "unverified").String(); !strings.Contains(why, "no server takes writes") || field(t, r, "value").String() != `"a verdict"` {
		t.Errorf("unverified: %s", why)
	}
}
