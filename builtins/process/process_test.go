package process

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/transport"
)

func bench(t *testing.T) (*builtintest.Bench, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the notes are root's: run as root")
	}
	reader := transport.NewReader("here", transport.Local())
	session := transport.NewSession("here", transport.Local(), false)
	t.Cleanup(func() { _, _ = reader.Close(), session.Close() }) // after the one below
	b := builtintest.New(t, builtintest.Machine{Reader: reader, Host: session}, Module())
	name := fmt.Sprintf("pgrun-test-%d", os.Getpid())
	t.Cleanup(func() {
		if pid, err := (nameParams{name}).find(context.WithoutCancel(t.Context()), reader); err == nil && pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = os.Remove(nameParams{name}.note())
	})
	return b, name
}

func TestProcess(t *testing.T) {
	b, name := bench(t)
	log := t.TempDir() + "/logs/x.log"
	declared := fmt.Sprintf(`process.started(h, %q, argv = ["sh", "-c", "echo $X; exec sleep 1000"], env = {"X": "said it"}, log = %q)`, name, log)
	b.Idempotent(declared)
	pid := b.Run(declared + ".pid").Value.String()
	if got, err := os.ReadFile("/proc/" + pid + "/cmdline"); err != nil || string(got) != "sleep\x001000\x00" {
		t.Errorf("process %s is %q, %v", pid, got, err)
	}
	environ, err := os.ReadFile("/proc/" + pid + "/environ")
	if err != nil || strings.Contains(string(environ), "PGRUN") {
		t.Errorf("environment %q, %v", environ, err)
	}
	if got, err := os.ReadFile(log); err != nil || string(got) != "said it\n" {
		t.Errorf("log %q, %v", got, err)
	}

	// Another process that has the number now is not it.
	note := nameParams{name}.note()
	content, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{strings.Replace(string(content), pid, "1", 1), strings.Replace(string(content), pid, fmt.Sprint(os.Getpid()), 1), "", pid + " 1"} {
		if err := os.WriteFile(note, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := b.Run(fmt.Sprintf(`process.status(h, %q).running`, name)).Value.String(); got != "False" {
			t.Errorf("with the note %q it counts as running", other)
		}
		if b.Run(fmt.Sprintf(`process.stopped(h, %q)`, name)).Changed() {
			t.Errorf("with the note %q something was stopped", other)
		}
	}
	if err := os.WriteFile(note, content, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Idempotent(fmt.Sprintf(`process.stopped(h, %q)`, name))
	if got := b.Run(fmt.Sprintf(`process.status(h, %q).pid`, name)).Value.String(); got != "0" {
		t.Errorf("process %s still runs", got)
	}
	b.Idempotent(declared)
}

func TestProcessThatEnds(t *testing.T) {
	b, name := bench(t)
	log := t.TempDir() + "/x.log"
	b.Fails(fmt.Sprintf(`process.started(h, %q, argv = ["sh", "-c", "echo cannot work; exit 3"], log = %q)`, name, log), "ended at once", "cannot work")
	b.Fails(fmt.Sprintf(`process.started(h, %q, argv = ["no-such-program"], log = %q)`, name, log), "ended at once", "no-such-program")
	b.Run(fmt.Sprintf(`process.started(h, %q, argv = ["sh", "-c", "trap '' TERM; while :; do sleep 0.2; done"], log = %q)`, name, log))
	pid := b.Run(fmt.Sprintf(`process.status(h, %q).pid`, name)).Value.String()
	b.Fails(fmt.Sprintf(`process.stopped(h, %q, timeout = "300ms")`, name), "did not end within 300ms", "kill_after", "kill -9 "+pid)
	b.Idempotent(fmt.Sprintf(`process.stopped(h, %q, timeout = "10s", kill_after = "300ms")`, name))
	if got := b.Run(fmt.Sprintf(`process.status(h, %q).running`, name)).Value.String(); got != "False" {
		t.Errorf("process %s still runs", pid)
	}
}

func TestWrongArguments(t *testing.T) {
	b, name := bench(t)
	b.Fails(`process.started(h, "../x", argv = ["true"])`, "name: ")
	b.Fails(`process.started(h, "x", argv = "true")`, `for parameter "argv"`)
	b.Fails(fmt.Sprintf(`process.started(h, %q, argv = ["true"], log = "x")`, name), "log: ")
	b.Fails(fmt.Sprintf(`process.stopped(h, %q, timeout = "0s")`, name), "timeout: ")
	b.Fails(fmt.Sprintf(`process.stopped(h, %q, timeout = "5s", kill_after = "5s")`, name), "kill_after: 5s is not less than timeout")
}
