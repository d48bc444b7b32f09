package password

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/transport"
)

func bench(t *testing.T) *builtintest.Bench {
	t.Helper()
	writing := transport.NewSession("here", transport.Local(), false)
	reading := transport.NewSession("here", transport.Local(), true)
	t.Cleanup(func() { _, _ = writing.Close(), reading.Close() })
	return builtintest.New(t, builtintest.Machine{Reader: &reading.Reader, Host: writing}, Module())
}

func TestKept(t *testing.T) {
	b, at := bench(t), filepath.Join(t.TempDir(), "below", "app.password")
	call := fmt.Sprintf("password.kept(h, %q)", at)
	b.Idempotent(call)

	data, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSuffix(string(data), "\n"); len(got) != 32 || strings.Trim(got, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		t.Errorf("the file holds %d bytes of another alphabet, or another length", len(got))
	}
	if info, err := os.Stat(at); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want mode 0600", info.Mode(), err)
	}

	// The script gets a secret, the same each time.
	r := b.Run(call + ".value == " + call + ".value")
	if r.Value.String() != "True" {
		t.Errorf("two calls give two passwords")
	}
	if got := b.Run("str(" + call + ".value)").Value.String(); got != `"<secret>"` {
		t.Errorf("the value prints as %s", got)
	}
	if got := b.Mask.Hide(string(data)); strings.Contains(got, string(data[:8])) {
		t.Error("the password is not hidden in output")
	}

	if err := os.Chmod(at, 0o644); err != nil {
		t.Fatal(err)
	}
	b.Idempotent(call)
}

// A password that a run made before it was cut off, or the power was, may be in use already: it is kept.
func TestDraftLeftBehind(t *testing.T) {
	b, at := bench(t), filepath.Join(t.TempDir(), "app.password")
	if err := os.WriteFile(at+".new", []byte("in-use-already-on-a-machine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Idempotent(fmt.Sprintf("password.kept(h, %q)", at))
	if data, err := os.ReadFile(at); err != nil || string(data) != "in-use-already-on-a-machine\n" {
		t.Errorf("the file holds %q (%v)", data, err)
	}
	if _, err := os.Stat(at + ".new"); !os.IsNotExist(err) {
		t.Errorf("the draft: %v", err)
	}
}

// TestAtOnce has several runs make the same password: each gets the one that is kept, however they meet.
func TestAtOnce(t *testing.T) {
	dir := t.TempDir()
	reading := transport.NewSession("here", transport.Local(), true)
	t.Cleanup(func() { _ = reading.Close() })
	p := keptParams{Path: filepath.Join(dir, "below", "p"), Length: 32, Alphabet: "0123456789"}
	type run struct {
		change *builtin.Change
		host   host.Host
	}
	var runs []run
	for range 8 { // all of them look before any of them writes
		writing := transport.NewSession("here", transport.Local(), false)
		t.Cleanup(func() { _ = writing.Close() })
		change, err := check(t.Context(), &reading.Reader, p)
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, run{change, writing})
	}
	var all sync.WaitGroup
	for _, r := range runs {
		all.Go(func() {
			if err := r.change.Apply(t.Context(), r.host); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	data, err := os.ReadFile(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	for n, r := range runs {
		if got := r.change.Learned.(*keptResult).Value.Reveal(); got+"\n" != string(data) {
			t.Errorf("run %d has another password than the file", n)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(p.Path)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestDryRunGoesOn(t *testing.T) {
	b, at := bench(t), filepath.Join(t.TempDir(), "p")
	if got := b.Check(fmt.Sprintf("type(password.kept(h, %q).value)", at)).Value.String(); got != `"secret"` {
		t.Errorf("in a dry run the value is a %s", got)
	}
}

func TestFails(t *testing.T) {
	b, dir := bench(t), t.TempDir()
	two := filepath.Join(dir, "two")
	if err := os.WriteFile(two, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ call, want string }{
		{`password.kept(h, "relative")`, "path"},
		{`password.kept(h, "/x/../p")`, "holds a .."},
		{`password.kept(h, "/x/p", length = 4)`, "length"},
		{`password.kept(h, "/x/p", alphabet = "abc")`, "alphabet"},
		{fmt.Sprintf("password.kept(h, %q)", two), "does not hold one line"},
	} {
		b.Fails(test.call, test.want)
	}
}
