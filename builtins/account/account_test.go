package account

import (
	"strings"
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest/container"
	"github.com/pgrun/pgrun/runtime/host"
)

const (
	hashA = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"
	hashB = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
)

// TestAccounts runs on one container, whose accounts its parts hand on.
func TestAccounts(t *testing.T) {
	c := container.New(t, "pgrun-test-account")
	b := builtintest.New(t, c.Machine, User(), Group())
	output := func(argv ...string) string {
		t.Helper()
		out, err := host.Succeeded(host.Command{Argv: argv})(c.Host.Run(t.Context(), host.Command{Argv: argv}))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out.Stdout)
	}
	want := func(what, got, wanted string) {
		t.Helper()
		if got != wanted {
			t.Errorf("%s is %q, want %q", what, got, wanted)
		}
	}
	shadow := func(name string) string { return strings.Split(output("getent", "shadow", name), ":")[1] }

	t.Run("a user", func(t *testing.T) {
		b.Idempotent(`user.present(h, "ann", comment = "Ann", shell = "/bin/bash")`)
		want("her home", output("stat", "-c", "%U:%G", "/home/ann"), "ann:ann")
		b.Run(`
u = user.info(h, "ann")
if (u.exists, u.name, u.groups, u.home, u.shell, u.comment) != (True, "ann", ["ann"], "/home/ann", "/bin/bash", "Ann"): fail(u)
if user.info(h, "nobody-here").exists: fail("there")`)
		b.Check(`user.present(h, "ann", comment = "Ann B", uid = 4711)`)
		want("summary", strings.Join(b.Summary(), "\n"), "change user ann: uid 4711, comment Ann B")
		if d := b.Events[0].Diff; !strings.Contains(d, "-comment Ann\n") || !strings.Contains(d, "+uid 4711\n") {
			t.Errorf("diff: %s", d)
		}
		b.Idempotent(`user.present(h, "ann", comment = "", uid = 4711, home = "/srv/ann")`)
	})

	t.Run("groups", func(t *testing.T) {
		b.Idempotent(`group.present(h, "staff1", gid = 4800)`)
		b.Idempotent(`group.present(h, "staff2", system = True)`)
		b.Idempotent(`user.present(h, "ann", groups = ["staff1"])`)
		b.Idempotent(`user.present(h, "ann", groups = ["staff2"])`)
		want("her groups", output("id", "-Gn", "ann"), "ann staff1 staff2")
		b.Idempotent(`user.present(h, "ann", group = "staff1")`)
		if b.Run(`user.present(h, "ann", group = "4800", groups = ["staff1"])`).Changed() {
			t.Error("her primary group, by number, counts as another")
		}
		b.Idempotent(`group.present(h, "staff1", gid = 4801)`)
		b.Fails(`user.present(h, "ann", groups = ["staff1", "none1"])`, `groups: no group "none1"`, "group.present")
		b.Fails(`user.present(h, "bob", group = "none1")`, `group: no group "none1"`)
		b.Fails(`group.absent(h, "staff1")`, "primary group")
	})

	t.Run("a group of the user's name", func(t *testing.T) {
		b.Run(`group.present(h, "carl")`)
		b.Idempotent(`user.present(h, "carl", create_home = False)`)
		want("his group", output("id", "-gn", "carl"), "carl")
		want("his home", output("sh", "-c", "test -e /home/carl || echo none"), "none")
	})

	t.Run("a system user", func(t *testing.T) {
		b.Idempotent(`user.present(h, "svc", system = True, home = "/var/lib/svc", shell = "/usr/sbin/nologin")`)
		want("the home", output("sh", "-c", "test -e /var/lib/svc || echo none"), "none")
		want("the range", output("sh", "-c", "test $(id -u svc) -lt 1000 && echo low"), "low")
	})

	t.Run("passwords", func(t *testing.T) {
		present := func(args string) string { return `user.present(h, "dora", ` + args + `)` }
		b.Idempotent(present(`password_hash = secret("` + hashA + `")`))
		want("the hash", shadow("dora"), hashA)
		b.Idempotent(present(`password_hash = "` + hashB + `"`))
		for _, e := range b.Events {
			if strings.Contains(strings.Join(e.Summary, "")+e.Diff, "$y$") {
				t.Errorf("shows the hash: %v", e)
			}
		}
		b.Idempotent(present(`locked = True`))
		want("the hash, locked", shadow("dora"), "!"+hashB)
		b.Idempotent(present(`locked = False`))
		want("the hash, unlocked", shadow("dora"), hashB)
		b.Idempotent(present(`password_hash = "` + hashA + `", locked = True`))
		want("another hash, locked", shadow("dora"), "!"+hashA)
		b.Idempotent(present(`password_hash = "` + hashA + `"`))
		want("the hash, given", shadow("dora"), hashA)
		b.Run(`user.present(h, "ed")`)
		b.Fails(`user.present(h, "ed", locked = False)`, "locked = False", "password_hash")
		err := b.Fails(`user.present(h, "ed", password_hash = secret("clear-text-1"))`, "password_hash is not a hash", "mkpasswd")
		if strings.Contains(err.Error(), "clear-text") {
			t.Error(err)
		}
	})

	t.Run("removal", func(t *testing.T) {
		b.Idempotent(`user.absent(h, "dora", remove_home = True)`)
		want("the home", output("sh", "-c", "test -e /home/dora || echo none"), "none")
		b.Idempotent(`user.absent(h, "ed")`)
		want("the home", output("sh", "-c", "test -e /home/ed && echo there"), "there")
		b.Idempotent(`group.absent(h, "staff2")`)
		b.Fails(`user.absent(h, "root")`, `name "root" is the superuser`)
	})

	t.Run("a dry run of what depends on each other", func(t *testing.T) {
		b.Check(`
group.present(h, "later")
user.present(h, "fay", groups = ["later"])`)
		if len(b.Events) != 2 || b.Events[1].Status != "unknown" {
			t.Errorf("events: %v", b.Events)
		}
	})
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"postgres": true, "_apt": true, "a-b.c_1": true, "machine$": true, "Anna": true,
		"": false, "-x": false, "1a": false, "4711": false, "a:b": false, "a b": false, "a\n": false, "ä": false,
		strings.Repeat("x", 33): false,
	} {
		if err := checkName("name", name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
