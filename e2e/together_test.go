package e2e_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// Two runs at once on the same hosts get in each other's way at worst: each ends in success or with an error that says
// where, neither ends the other's work or removes its files, and the next run converges.
func TestTwoAtOnce(t *testing.T) {
	ofOthers.take(t)
	l := newIncus(t)
	t.Run("changes", func(t *testing.T) {
		l.discard(t, killed)
		change := func(version int) *exec.Cmd {
			return command(testdata("kills.star"), "-e", fmt.Sprintf("version=%d", version))
		}
		run(change(1)).check(t, 0)
		watch := startReader(t)
		for version := 2; version < 6; version += 2 {
			l.bothEnd(t, change(version), change(version+1))
		}
		run(change(7)).check(t, 0)
		watch.whole(t)
		run(change(7)).unchanged(t)
		l.nothingLeft(t, killed)
	})
	for name, prepare := range map[string]func(instance string){
		"instances": func(string) {},
		"instances whose creation was cut off": func(instance string) {
			l.incusCLI(t, "init", "pgrun/debian-13", instance, "--profile=pgrun-lab", "--config=user.pgrun.creating="+instance, "--config=user.half=1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l.discard(t, victim, beside)
			prepare(victim)
			prepare(beside)
			playbook := faultPlaybook(t)
			for _, r := range l.bothEnd(t, command(playbook, "-e", "kind=look"), command(playbook, "-e", "kind=look")) {
				if strings.Contains(r.out, "incus.instance: attempted") {
					t.Errorf("one has not taken over the instance that the other was creating:\n%s", r.out)
				}
			}
			run(command(playbook, "-e", "kind=look")).check(t, 0, victim+": went on", beside+": went on")
			for _, instance := range []string{victim, beside} {
				if made, err := l.incus.Instance(t.Context(), instance); err != nil || made.Config["user.half"] != "" {
					t.Errorf("%s was not made anew: %+v, %v", instance, made, err)
				}
			}
		})
	}
}

func TestTwoAtOnceOnFormation(t *testing.T) {
	l := newLab(t)
	l.lose(l.one("secondary"))
	l.bothEnd(t, command("postgres_ha.star"), command("postgres_ha.star"))
	run(command("postgres_ha.star")).check(t, 0)
	l.heal()
	run(command("postgres_ha.star")).unchanged(t)
	for _, name := range l.hosts("postgres_ha.star", "Launch the container") {
		l.nothingLeft(t, name)
	}
}

// bothEnd runs two commands at once, and returns what they left behind.
func (l *lab) bothEnd(t *testing.T, commands ...*exec.Cmd) (results []result) {
	t.Helper()
	var runs []*process
	for _, c := range commands {
		runs = append(runs, l.startFor(t, c))
	}
	for _, p := range runs {
		r := p.wait()
		results = append(results, r)
		t.Logf("exit code %d", r.code)
		if r.code != 0 {
			t.Log(r.out)
		}
		if r.code != 0 && !strings.Contains(r.out, "stopped at: ") || strings.Contains(r.out, "internal error") {
			t.Error("it does not say where it stopped")
		}
	}
	return results
}
