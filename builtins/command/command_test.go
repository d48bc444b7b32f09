package command

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/outcome"
	"github.com/pgrun/pgrun/runtime/transport"
)

func bench(t *testing.T) *builtintest.Bench {
	t.Helper()
	reader := transport.NewReader("here", transport.Local())
	session := transport.NewSession("here", transport.Local(), false)
	t.Cleanup(func() { _, _ = reader.Close(), session.Close() })
	return builtintest.New(t, builtintest.Machine{Reader: reader, Host: session}, Module())
}

func TestCommand(t *testing.T) {
	b := bench(t)
	r := b.Run(`
r = command(h, ["sh", "-c", "echo out; echo err >&2; cat; exit 3"], stdin = "in\n\n", rc = [0, 3])
if (r.rc, r.stdout, r.stderr, r.changed) != (3, "out\nin", "err", True): fail(r)
r`)
	if !r.Changed() {
		t.Error("a command counts as no change")
	}
	b.Run(`
r = command(h, ["sh", "-c", "pwd; echo $X"], dir = "/usr", env = {"X": 1})
if r.stdout != "/usr\n1": fail(r)`)
	b.Fails(`command(h, ["sh", "-c", "echo one; echo two >&2; exit 4"])`, "command: ", "sh -c 'echo one; echo two >&2; exit 4': exit code 4\n  two")
	b.Fails(`command(h, ["no-such-program"])`, `no program "no-such-program"`)
	b.Fails(`command(h, "ls -l | wc")`, `for parameter "argv": got a string: write a list`, `["sh", "-c", "ls -l | wc"]`)
	b.Fails(`command(h, [])`, `for parameter "argv": the list is empty`)
	b.Fails(`command(h, [""])`, `for parameter "argv": the first item`)
	b.Fails(`command(h, ["echo", secret("hunter22")])`, `for parameter "argv": item 1 is a secret`, "stdin")
	b.Fails(`command(h, ["true"], dir = "x")`, `dir "x" is not an absolute path`)
	b.Fails(`command(h, ["true"], dir = "/nowhere")`, "/nowhere")
	b.Fails(`command(h, ["true"], creates = "x")`, `creates "x" is not an absolute path`)
	b.Fails(`command(h, ["true"], unless = "test -e /x")`, `for parameter "unless": got a string`)
	b.Fails(`command(h, ["true"], reads = True, creates = "/x")`, "reads and creates are both given")
	b.Fails(`command(h, ["true"], reads = True, unless = ["true"])`, "reads and unless are both given")
	b.Fails(`command(h, ["true"], rc = [])`, "rc is an empty list")
	b.Fails(`command(h, ["true"], rc = ["0"])`, `for parameter "rc": item 0`)
	b.Fails(`command(h, ["true"], user = "no-such-user")`, "no-such-user")
}

func TestCommandInDryRun(t *testing.T) {
	b := bench(t)
	file := t.TempDir() + "/made"
	touch := `command(h, ["touch", "` + file + `"]`

	r := b.Check(touch + `)`)
	if !r.Changed() {
		t.Error("a dry run does not count it as a change")
	}
	if got := b.Summary(); len(got) != 1 || got[0] != "run touch "+file {
		t.Errorf("summary %q", got)
	}
	if _, err := os.Stat(file); err == nil {
		t.Fatal("it ran in a dry run")
	}
	b.Idempotent(touch + `, creates = "` + file + `")`)
	b.Run(`
r = ` + touch + `, creates = "` + file + `")
if (r.rc, r.stdout, r.changed) != (0, "", False): fail(r)`)

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	b.Idempotent(touch + `, unless = ["test", "-e", "` + file + `"])`)
	b.Fails(`command(h, ["true"], creates = "/nowhere/made")`, "true ended well, but did not make what creates names: /nowhere/made")
	b.Fails(touch+`, unless = ["sh", "-c", "kill -9 $$"])`, "unless: sh -c 'kill -9 $$' was killed by signal 9 (exit code 137)")

	// One that only reads runs in a dry run.
	if b.Check(`
r = command(h, ["cat", "/etc/hostname"], reads = True)
if not r.stdout: fail(r)`).Changed() {
		t.Error("one that reads counts as a change")
	}
}

// What would tell whether a command is needed is often what the command brings.
func TestUnlessWithoutItsProgram(t *testing.T) {
	b := bench(t)
	file := t.TempDir() + "/made"
	call := `command(h, ["touch", "` + file + `"], unless = ["` + file + `"])`
	if !b.Check(call).Changed() {
		t.Error("a dry run does not count it as needed")
	}
	b.Run(call)
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	b.Fails(`command(h, ["true"], unless = ["true"], user = "no-such-user")`, "unless: ", "no-such-user")
}

func TestResultsThatADryRunDoesNotKnow(t *testing.T) {
	b := bench(t)
	for _, script := range []string{
		`command(h, ["touch", "/nowhere"]).stdout`,
		// What it reads may be there after what is pending.
		"command(h, [\"true\"])\ncommand(h, [\"cat\", \"/nowhere/x\"], reads = True).stdout",
		"command(h, [\"true\"])\ncommand(h, [\"no-such-program\"], reads = True).rc",
	} {
		_, err := b.Try(script, true)
		if undetermined := (*outcome.Undetermined)(nil); !errors.As(err, &undetermined) {
			t.Errorf("%s\ngot %v, want undetermined", script, err)
		}
	}
	if _, err := b.Try(`command(h, ["cat", "/nowhere/x"], reads = True)`, true); err == nil || !strings.Contains(err.Error(), "exit code 1") {
		t.Errorf("with nothing pending: %v", err)
	}
}

func TestTimeout(t *testing.T) {
	b := bench(t)
	err := b.Fails(`command(h, ["sleep", "60"], timeout = "200ms")`, "the command sleep 60 has ended: not so after 200ms")
	if outcome.Of(err) != outcome.TimedOut {
		t.Errorf("exit code %d", outcome.Of(err))
	}
	b.Run(`command(h, ["true"], timeout = "1m")`)
	err = b.Fails(`command(h, ["true"], unless = ["sleep", "60"], timeout = "200ms")`, "unless: the command sleep 60 has ended: not so after 200ms")
	if outcome.Of(err) != outcome.TimedOut {
		t.Errorf("exit code %d", outcome.Of(err))
	}
}

// TestLookLimit has commands that hang. One that only reads, or that tells whether another is needed, ends after a
// minute; the command itself may take as long as it likes.
func TestLookLimit(t *testing.T) {
	for _, test := range []struct {
		name  string
		p     params
		hangs string
		after time.Duration // 0 is never
	}{
		{"reads", params{Reads: true}, "x", time.Minute},
		{"reads, timeout given", params{Reads: true, Timeout: time.Hour}, "x", time.Hour},
		{"unless", params{Unless: builtin.Argv{"u"}}, "u", time.Minute},
		{"unless, timeout given", params{Unless: builtin.Argv{"u"}, Timeout: time.Second}, "u", time.Second},
		{"command", params{}, "x", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
				defer cancel()
				began := time.Now()
				test.p.Argv = builtin.Argv{"x"}
				h := hanging{program: test.hangs}
				change, err := check(ctx, h, test.p)
				if change.Needed() {
					err = change.Apply(ctx, h)
				}
				switch code := outcome.Of(err); {
				case test.after == 0 && !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("after %s: %v", time.Since(began), err)
				case test.after > 0 && time.Since(began) != test.after:
					t.Errorf("after %s: %v, want %s", time.Since(began), err, test.after)
				case test.p.Timeout > 0 && code != outcome.TimedOut, test.after > 0 && test.p.Timeout == 0 && code != outcome.Failed:
					t.Errorf("exit code %d for %v", code, err) // a deadline that the playbook wrote has one of its own
				}
			})
		})
	}
}

// hanging is a host on which a program hangs.
type hanging struct {
	host.Host
	program string
}

func (h hanging) Look(ctx context.Context, c host.Command) (host.Output, error) { return h.Run(ctx, c) }
func (h hanging) Run(ctx context.Context, c host.Command) (host.Output, error) {
	if c.Argv[0] == h.program {
		<-ctx.Done()
		return host.Output{}, ctx.Err()
	}
	return host.Output{RC: 1}, nil
}

func TestSecretsStayHidden(t *testing.T) {
	b := bench(t)
	err := b.Fails(`command(h, ["sh", "-c", "cat >&2; exit 1"], stdin = secret("hunter22"))`, "exit code 1")
	if hidden := b.Mask.Hide(err.Error()); strings.Contains(hidden, "hunter") {
		t.Error(hidden)
	}
	for _, e := range b.Events {
		if strings.Contains(strings.Join(e.Summary, "\n"), "hunter") {
			t.Error(e)
		}
	}
}

func TestFacts(t *testing.T) {
	b := bench(t)
	b.Run(`
f = facts(h)
if not f.os or f.cpus < 1 or f.memory < 1: fail(f)`)
}
