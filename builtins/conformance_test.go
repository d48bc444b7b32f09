package builtins_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgrun/pgrun/builtins"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest/container"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/secret"
)

// Every acting builtin shows here, on a real machine, what all of them promise: a dry run touches nothing
// and finds what is to be done, a run does it, after which neither a dry run nor another run finds
// anything; a call with a mistake fails and names the parameter.
//
// What to call is in builtins/<module>/testdata/conformance/<builtin>.star, or <module>.<builtin>.star where
// a package holds several modules. Such a file has sections, each begun by a line of its own:
//
//	# --- on: local                    (first line; h is this machine, whose Incus is looked at; else a container)
//	# --- volatile: /var/lib/x/*       (paths, as find -path has them, that change by themselves)
//	# --- setup                        (what has to be there before)
//	# --- apply                        (the calls that are judged)
//	# --- always: <reason>             (in place of apply: calls that act each time, such as a restart)
//	# --- bad: <part of the message>   (a call with a mistake, found by a dry run, too; as many as you like)
//	# --- cleanup
//
// Scripts see h, every module and secret("text"). Files that Source parameters name stand beside them. What
// they make in Incus has a name that begins with pgrun-conf.

var (
	keep          = flag.Bool("keep", false, "keep the container of the conformance test, and use one that was kept")
	containerName = flag.String("container", "pgrun-conformance", "name of that container")
)

func TestConformance(t *testing.T) {
	if *keep {
		t.Setenv("PGRUN_TEST_KEEP", "1")
	}
	var missing []string
	cases := map[string]conformance{}
	names := []string{}
	files := conformanceFiles(t)
	for name := range acting() {
		file, ok := files[name]
		if !ok {
			missing = append(missing, name)
			continue
		}
		delete(files, name)
		names = append(names, name)
		cases[name] = parseConformance(t, file)
	}
	slices.Sort(names)
	slices.Sort(missing)
	for _, name := range missing {
		t.Errorf("%s has no conformance file", name)
	}
	for name, file := range files {
		t.Errorf("%s is for %s, which is no acting builtin", file, name)
	}
	// A formation takes its time to settle, and little else: others do not wait for it.
	formations := func(name string) bool { return strings.HasPrefix(name, "pg_autoctl.") }
	others := func(name string) bool { return !formations(name) }
	t.Run("formations", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, *containerName+"-pg", slices.DeleteFunc(slices.Clone(names), others), cases)
	})
	t.Run("others", func(t *testing.T) {
		t.Parallel()
		judgeAll(t, *containerName, slices.DeleteFunc(slices.Clone(names), formations), cases)
	})
}

// judgeAll judges builtins one after the other, on a container of their own.
func judgeAll(t *testing.T, containerName string, names []string, cases map[string]conformance) {
	c := container.New(t, containerName)
	local := container.Local(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			x := cases[name]
			m, look := c.Machine, machineState(t, c.Machine, x.volatile)
			if x.local {
				m, look = local, incusState(t) // others work on this machine, too
			}
			var mask *secret.Mask
			b := builtintest.New(t, watched(m, func(c host.Command) {
				if said := c.String() + fmt.Sprint(c.Env); mask.Hide(said) != said {
					t.Errorf("every process on the machine can see the secret in: %s", mask.Hide(said))
				}
			}), builtins.Modules()...)
			mask, b.Dir = b.Mask, filepath.Dir(x.file)
			x.judge(b, look, t.Errorf)
		})
	}
}

// acting yields the names of all acting builtins, with their modules.
func acting() map[string]builtin.Spec {
	all := map[string]builtin.Spec{}
	for _, m := range builtins.Modules() {
		for _, b := range m.Builtins {
			if s := b.Spec(); s.Kind == builtin.Acts {
				all[strings.TrimPrefix(m.Name+"."+s.Name, ".")] = s
			}
		}
	}
	return all
}

// conformanceFiles finds the files by the builtin that each is for.
func conformanceFiles(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("*/testdata/conformance/*.star")
	if err != nil {
		t.Fatal(err)
	}
	known := acting()
	files := map[string]string{}
	for _, path := range paths {
		folder, _, _ := strings.Cut(filepath.ToSlash(path), "/")
		name := strings.TrimSuffix(filepath.Base(path), ".star")
		if _, inModule := known[folder+"."+name]; inModule {
			name = folder + "." + name
		}
		files[name] = path
	}
	return files
}

// conformance is a file, parsed.
type conformance struct {
	file                  string
	local                 bool
	volatile              []string
	setup, apply, cleanup string
	always                bool
	bad                   []badCall
}

// badCall is a call that must fail.
type badCall struct{ message, script string }

func parseConformance(t *testing.T, file string) conformance {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	x := conformance{file: file}
	var ignored string
	into := &ignored
	lines := bufio.NewScanner(strings.NewReader(string(content)))
	for n := 1; lines.Scan(); n++ {
		header, ok := strings.CutPrefix(lines.Text(), "# --- ")
		if !ok {
			*into += lines.Text() + "\n"
			continue
		}
		section, argument, _ := strings.Cut(header, ":")
		argument = strings.TrimSpace(argument)
		into = &ignored
		switch section {
		case "on":
			x.local = argument == "local"
			if !x.local {
				t.Errorf("%s:%d: on %q: only local", file, n, argument)
			}
		case "volatile":
			x.volatile = append(x.volatile, argument)
		case "setup":
			into = &x.setup
		case "apply", "always":
			into, x.always = &x.apply, section == "always"
			if x.always && argument == "" {
				t.Errorf("%s:%d: always: say why", file, n)
			}
		case "bad":
			x.bad = append(x.bad, badCall{argument, ""})
			into = &x.bad[len(x.bad)-1].script
			if argument == "" {
				t.Errorf("%s:%d: bad: what does the message say?", file, n)
			}
		case "cleanup":
			into = &x.cleanup
		default:
			t.Errorf("%s:%d: no section %q", file, n, section)
		}
	}
	if strings.TrimSpace(x.apply) == "" {
		t.Errorf("%s: nothing to apply", file)
	}
	if len(x.bad) == 0 {
		t.Errorf("%s: no bad call", file)
	}
	return x
}

// judge is what every acting builtin must pass. It says what is wrong by errorf.
func (x conformance) judge(b *builtintest.Bench, look fingerprint, errorf func(format string, args ...any)) {
	try := func(script string, check bool) (*builtintest.Result, bool) {
		r, err := b.Try(script, check)
		if err != nil {
			errorf("%s\nfails (dry run: %t): %v", script, check, err)
		}
		for _, e := range b.Events {
			if said := strings.Join(e.Summary, "\n") + e.Diff; b.Mask.Hide(said) != said {
				errorf("%s shows a secret: %s", e.Builtin, b.Mask.Hide(said))
			}
		}
		return r, err == nil
	}
	if _, ok := try(x.setup, false); !ok {
		return
	}
	defer try(x.cleanup, false)

	before := look()
	dry, ok := try(x.apply, true)
	if !ok {
		return
	}
	if !dry.Changed() {
		errorf("a dry run finds nothing to change")
	}
	for _, e := range b.Events {
		if e.Status == builtin.Changed && len(e.Summary) == 0 {
			errorf("%s: %s would change something and does not say what", e.Position, e.Builtin)
		}
	}
	if touched := difference(before, look()); len(touched) > 0 {
		errorf("a dry run touched the machine:\n%s", strings.Join(touched[:min(20, len(touched))], "\n"))
	}

	if r, ok := try(x.apply, false); !ok {
		return
	} else if !r.Changed() {
		errorf("the run changes nothing: did the dry run?")
	}
	for _, check := range []bool{true, false} {
		r, ok := try(x.apply, check)
		switch {
		case ok && x.always && !r.Changed():
			errorf("said to act each time, but finds nothing to do after the run (dry run: %t): use apply", check)
		case ok && !x.always && r.Changed():
			errorf("still changes something after the run (dry run: %t): %s", check, describe(b.Events))
		}
	}

	for _, bad := range x.bad {
		for _, check := range []bool{true, false} {
			_, err := b.Try(bad.script, check)
			switch {
			case err == nil:
				errorf("a bad call succeeds (dry run: %t):\n%s", check, bad.script)
			case !strings.Contains(err.Error(), bad.message):
				errorf("a bad call (dry run: %t):\n%s\nfails with: %v\nwant in it: %s", check, bad.script, err, bad.message)
			case b.Mask.Hide(err.Error()) != err.Error():
				errorf("a bad call shows a secret: %s", b.Mask.Hide(err.Error()))
			}
		}
	}
}

func describe(events []builtin.Event) string {
	var b strings.Builder
	for _, e := range events {
		if e.Status != builtin.Same {
			fmt.Fprintf(&b, "\n%s %s: %s\n%s", e.Builtin, e.Status, strings.Join(e.Summary, "; "), e.Diff)
		}
	}
	return b.String()
}
