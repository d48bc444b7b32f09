package builtin_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/outcome"
)

// thing is what the builtins of this test change: one value in memory.
type thing struct{ value string }

type setParams struct {
	Value   builtin.Text           `star:"value,required" doc:"The value."`
	Mode    builtin.Mode           `star:"mode" doc:"Bits."`
	Wait    time.Duration          `star:"wait" doc:"How long."`
	Names   builtin.Strings        `star:"names" doc:"Names."`
	Labels  builtin.StringMap      `star:"labels" doc:"Labels."`
	Count   int                    `star:"count" doc:"How many."`
	Maybe   builtin.Optional[bool] `star:"maybe" doc:"Or not."`
	Source  builtin.Source         `star:"source" doc:"A file."`
	Missing bool                   `star:"missing" doc:"Whether the look finds nothing."`
	Down    bool                   `star:"down" doc:"Whether the machine is stopped."`
	Broken  bool                   `star:"broken" doc:"Whether the link to it is broken."`
	Fails   bool                   `star:"fails" doc:"Whether it fails to apply."`
}

type setResult struct {
	Was string `star:"was" doc:"The value before."`
}

func (x *thing) module() builtin.Module {
	return builtin.Module{Name: "thing", Doc: "A thing.", Builtins: []builtin.Builtin{
		&builtin.Action[setParams]{
			Name: "set", Doc: "Sets the value.", Defaults: setParams{Wait: time.Minute, Mode: 0o644}, Result: setResult{},
			Check: func(_ context.Context, _ host.Reader, p setParams) (*builtin.Change, error) {
				if p.Missing {
					return nil, fmt.Errorf("no thing: %w", fs.ErrNotExist)
				}
				if p.Down || p.Broken {
					return nil, &host.Unreachable{Host: "fake", Down: p.Down, Err: errors.New("no answer")}
				}
				if x.value == p.Value.Reveal() {
					return &builtin.Change{Learned: setResult{x.value}}, nil
				}
				c := &builtin.Change{
					Summary: []string{"set it"},
					Diffs:   []builtin.Diff{{Path: "thing", Before: x.value + "\n", After: p.Value.Reveal() + "\n", Secret: p.Value.IsSecret()}},
				}
				c.Apply = func(context.Context, host.Host) error {
					if p.Fails {
						return errors.New("it is stuck: give it a push")
					}
					c.Learned = setResult{x.value}
					x.value = p.Value.Reveal()
					return nil
				}
				return c, nil
			},
		},
		&builtin.Look[struct{}, string]{
			Name: "get", Doc: "Gets the value.",
			Run: func(context.Context, host.Reader, struct{}) (string, error) {
				if x.value == "" {
					return "", fmt.Errorf("no value: %w", fs.ErrNotExist)
				}
				return x.value, nil
			},
		},
	}}
}

type fakeHost struct{ host.Host }

func (fakeHost) Name() string { return "fake" }

func bench(t *testing.T) (*thing, *builtintest.Bench) {
	x := &thing{}
	return x, builtintest.New(t, builtintest.Machine{Reader: fakeHost{}, Host: fakeHost{}}, x.module())
}

func TestActionChecksThenApplies(t *testing.T) {
	x, b := bench(t)
	b.Idempotent(`thing.set(h, "one")`)
	if x.value != "one" {
		t.Errorf("value is %q", x.value)
	}
	r := b.Run(`r = thing.set(h, "two")
[r.changed, r.was, r.diff]`)
	if got, want := r.Value.String(), `[True, "one", "--- thing\n+++ thing\n@@ -1 +1 @@\n-one\n+two\n"]`; got != want {
		t.Errorf("result is %s, want %s", got, want)
	}
	if got := b.Run(`thing.get(h)`).Value.String(); got != `"two"` {
		t.Errorf("get gave %s", got)
	}
}

func TestDryRunOfWhatIsNotThereYet(t *testing.T) {
	_, b := bench(t)
	// Nothing pending: an error as in a real run.
	if err := b.CheckFails(`thing.get(h)`); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	if err := b.CheckFails(`thing.set(h, "x", missing = True)`); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	// Something pending: not known until it is applied.
	b.Check("thing.set(h, \"x\")\nthing.set(h, \"y\", missing = True)")
	if got := strings.Join(b.Summary(), "\n"); !strings.Contains(got, "details not known until applied") {
		t.Errorf("summary is %q", got)
	}
	b.Check("thing.set(h, \"x\")\nthing.set(h, \"y\", down = True)")
	if got := strings.Join(b.Summary(), "\n"); !strings.Contains(got, "details not known until applied") {
		t.Errorf("summary of a stopped machine is %q", got)
	}
	var unreachable *host.Unreachable
	if err := b.CheckFails("thing.set(h, \"x\")\nthing.set(h, \"y\", broken = True)"); !errors.As(err, &unreachable) {
		t.Errorf("a broken link: error is %v", err)
	}
	var undetermined *outcome.Undetermined
	if err := b.CheckFails("thing.set(h, \"x\")\nthing.get(h)"); !errors.As(err, &undetermined) {
		t.Errorf("error is %v", err)
	}
	if err := b.CheckFails(`thing.set(h, "x").was`); !errors.As(err, &undetermined) {
		t.Errorf("what only applying learns: error is %v", err)
	}
}

func TestBadArguments(t *testing.T) {
	_, b := bench(t)
	for script, want := range map[string]string{
		`thing.set()`:                                    "thing.set: the first argument is the host",
		`thing.set("h", "x")`:                            "the first argument is the host, one at a time: got string",
		`thing.set([h], "x")`:                            "one at a time: got list",
		`thing.set(h)`:                                   "thing.set: missing argument for value",
		`thing.set(h, 1)`:                                `thing.set: for parameter "value": got int, want string or secret`,
		`thing.set(h, None)`:                             `for parameter "value": got None, want string or secret: leave the argument out instead`,
		`thing.set(h, "x", "0644")`:                      "thing.set: too many positional arguments: give mode and what follows it by name",
		`thing.set(h, "x", mode = "rw")`:                 `for parameter "mode": "rw" is not a file mode: write it in octal, "0644"`,
		`thing.set(h, "x", mode = 644)`:                  `for parameter "mode": got int, want a file mode: write it as a string: "0644"`,
		`thing.set(h, "x", wait = 3)`:                    `for parameter "wait": got int, want a duration: "90s", "2m"`,
		`thing.set(h, "x", wait = "soon")`:               `for parameter "wait": "soon" is not a duration`,
		`thing.set(h, "x", wait = "-1s")`:                "is negative",
		`thing.set(h, "x", names = [1])`:                 "for parameter \"names\": item 0 is a int, want string",
		`thing.set(h, "x", names = {})`:                  "for parameter \"names\": got dict, want a list of strings",
		`thing.set(h, "x", labels = ["a"])`:              "for parameter \"labels\": got list, want a dict",
		`thing.set(h, "x", labels = {"a": []})`:          "for parameter \"labels\": a is a list",
		`thing.set(h, "x", labels = {"a": secret("y")})`: `for parameter "labels": a is a secret, and others can read what stands here: pass it by stdin, or in a file`,
		`thing.set(h, "x", count = "1")`:                 "for parameter \"count\": got string, want int",
		`thing.set(h, "x", cuont = 1)`:                   `unexpected keyword argument "cuont"`,
		`thing.set(h, "x", source = "../../etc")`:        "for parameter \"source\": ../../etc is outside of the project",
		`thing.set(h, "%s" % secret("hunter22"))`:        `for parameter "value": the text contains a printed secret`,
		`thing.set(h, "x", names = [secret("y")])`:       "for parameter \"names\": item 0 is a secret, want string",
		`thing.set(h, "x", fails = True)`:                "fake: thing.set: it is stuck: give it a push",
	} {
		b.Fails(script, want)
	}
	b.Run(`thing.set(h, "x", maybe = None, names = "one", labels = {"a": 1, "b": True}, mode = "0600", wait = "1h30m")`)
}

func TestFailureOnTheWayTellsWhatWasBegun(t *testing.T) {
	_, b := bench(t)
	b.Fails(`thing.set(h, "x", fails = True)`, "it is stuck")
	e := b.Events[len(b.Events)-1]
	if !e.Attempted() || !e.Changes() || strings.Join(e.Summary, "\n") != "set it" || !strings.Contains(e.Diff, "+x") {
		t.Errorf("event is %+v", e)
	}
	b.Fails(`thing.set(h, "x", missing = True)`, "no thing")
	if e := b.Events[len(b.Events)-1]; e.Attempted() || e.Changes() {
		t.Errorf("nothing was begun, event is %+v", e)
	}
}

func TestSecretIsNotShown(t *testing.T) {
	_, b := bench(t)
	b.Run(`thing.set(h, "pw=" + secret("hunter22"))`)
	for _, e := range b.Events {
		if shown := fmt.Sprintf("%+v", e); strings.Contains(shown, "hunter22") || !strings.Contains(shown, "holds a secret") {
			t.Errorf("event shows %s", shown)
		}
	}
}
