package incus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest/container"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
	"github.com/pgrun/pgrun/runtime/outcome"
)

// lab is a bench on this machine's daemon, with a prefix for the names of all that a test makes.
type lab struct {
	*builtintest.Bench
	t       *testing.T
	machine builtintest.Machine
	server  *incus.Server
	name    string
}

func newLab(t *testing.T) lab {
	t.Helper()
	machine := container.Local(t)
	server, _, err := incus.Of(t.Context(), machine.Host)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("bltn%x", time.Now().UnixNano()&0xffffff)
	return lab{builtintest.New(t, machine, Module()), t, machine, server, name}
}

// script fills in NAME, and IMAGE with the profile that goes with it.
func (l lab) script(s string) string {
	image := fmt.Sprintf("%q", container.Image())
	if profiles := container.Profiles(l.t, l.server); profiles != nil {
		image += fmt.Sprintf(", profiles = [%q]", profiles[0])
	}
	return strings.NewReplacer("NAME", l.name, `"IMAGE"`, image).Replace(s)
}

func (l lab) removes(remove func(context.Context, string) error) {
	l.t.Cleanup(func() {
		if err := remove(context.WithoutCancel(l.t.Context()), l.name); err != nil {
			l.t.Error(err)
		}
	})
}

func (l lab) removesInstance() {
	l.removes(func(ctx context.Context, name string) error { return l.server.DeleteInstance(ctx, name, true) })
}

func TestInstance(t *testing.T) {
	l := newLab(t)
	l.removesInstance()
	declared := l.script(`incus.instance(h, "NAME", image = "IMAGE", description = "a test", config = {"limits.memory": "256MiB", "user.x": "1"})`)

	l.Idempotent(declared)
	r := l.Run(l.script(`
r = ` + declared + `
if r.created or r.name != "NAME": fail(r)
i = incus.info(h, "NAME")
if not i.exists or i.status != "Running" or not i.made or i.description != "a test": fail(i)
if i.address == "" or i.address != r.address or i.address not in i.addresses: fail("%s %s" % (i, r))
if i != incus.info(h, "NAME", addresses = True): fail(i)
bare = incus.info(h, "NAME", addresses = False)
if bare.address or bare.addresses or bare.config != i.config or bare.status != "Running": fail(bare)
if [x.name for x in incus.instances(h) if x.name == "NAME"] != ["NAME"]: fail("not listed")
[x.name for x in incus.instances(h, profile = "no-such")]`))
	if got := r.Value.String(); got != "[]" {
		t.Errorf("instances of a profile that none has: %s", got)
	}

	// Somebody else's keys stay; ours come back.
	err := l.server.UpdateInstance(t.Context(), l.name, incus.Settings{Config: map[string]string{"user.other": "kept", "user.x": "2"}})
	if err != nil {
		t.Fatal(err)
	}
	l.Idempotent(declared)
	l.Run(l.script(`
c = incus.info(h, "NAME").config
if (c["user.other"], c["user.x"]) != ("kept", "1"): fail(c)
if "user.pgrun.creating" in c: fail(c)`))

	l.Check(l.script(`incus.instance(h, "NAME", image = "no-such-image", config = {"user.x": "", "limits.memory": "512MiB"})`))
	want := l.script("update instance NAME: config limits.memory 256MiB -> 512MiB\nupdate instance NAME: config user.x unset (was 1)")
	if got := strings.Join(l.Summary(), "\n"); got != want {
		t.Errorf("summary:\n%s\nwant:\n%s", got, want)
	}
	l.Fails(l.script(`incus.instance(h, "NAME", image = "IMAGE", type = "virtual-machine")`), "type: ", "incus.absent")
	if err := l.CheckFails(l.script(`incus.instance(h, "NAME", image = "pgrun/debian-13", profiles = ["no-such"])`)); !strings.Contains(err.Error(), `profiles: look at profile "no-such"`) {
		t.Errorf("got %v", err)
	}
}

func TestStates(t *testing.T) {
	l := newLab(t)
	l.removesInstance()
	l.Idempotent(l.script(`incus.instance(h, "NAME", image = "IMAGE", started = False)`))
	l.Idempotent(l.script(`incus.started(h, "NAME")`))
	l.Idempotent(l.script(`incus.frozen(h, "NAME")`))
	l.Idempotent(l.script(`incus.instance(h, "NAME", image = "IMAGE")`)) // thaws
	l.Run(l.script(`
i = incus.info(h, "NAME")
if not i.address: fail(i)
r = incus.restarted(h, "NAME", force = True)
if not r.changed: fail(r)
if incus.info(h, "NAME").status != "Running": fail("not running")`))
	l.Fails(l.script(`incus.absent(h, "NAME")`), "force: ", "Running", "incus.stopped")
	l.Idempotent(l.script(`incus.stopped(h, "NAME", force = True)`))
	l.Fails(l.script(`incus.frozen(h, "NAME")`), "Stopped")
	l.Idempotent(l.script(`incus.instance(h, "NAME", image = "IMAGE")`)) // starts
	l.Idempotent(l.script(`incus.absent(h, "NAME", force = True)`))
	l.Run(l.script(`
i = incus.info(h, "NAME")
if i.exists or i.status: fail(i)`))

	err := l.Fails(l.script(`incus.started(h, "NAME")`), l.name)
	if outcome.Of(err) != outcome.CannotRun {
		t.Errorf("exit code %d for an instance that does not exist", outcome.Of(err))
	}
}

// A run that is cut off leaves an instance behind that may be half there.
func TestCutOffCreation(t *testing.T) {
	l := newLab(t)
	l.removesInstance()
	declared := l.script(`incus.instance(h, "NAME", image = "IMAGE")`)

	// The daemon died in the middle: the mark is there, and the instance was never started.
	half := map[string]string{creatingKey: l.name, "user.old": "1"}
	err := l.server.CreateInstance(t.Context(), incus.InstanceSpec{Name: l.name, Image: container.Image(),
		Settings: incus.Settings{Profiles: container.Profiles(t, l.server), Config: half}})
	if err != nil {
		t.Fatal(err)
	}
	l.Check(declared)
	if got, want := l.Summary()[0], "delete instance "+l.name+", whose creation was cut off (it has user.pgrun.creating)"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	l.Idempotent(declared)
	l.Run(l.script(`
i = incus.info(h, "NAME")
if "user.old" in i.config or i.status != "Running": fail(i)`))

	// Only whoever asked for it died: it was started, and the mark is there. Whatever it does now, it stays.
	for _, state := range []string{"Running", "Frozen", "Stopped"} {
		if err := l.server.UpdateInstance(t.Context(), l.name, incus.Settings{Config: half}); err != nil {
			t.Fatal(err)
		}
		switch state {
		case "Frozen":
			err = l.server.Freeze(t.Context(), l.name)
		case "Stopped":
			err = l.server.Stop(t.Context(), l.name, true)
		}
		if err != nil {
			t.Fatal(err)
		}
		l.Idempotent(declared)
		l.Run(l.script(`
c = incus.info(h, "NAME").config
if c.get("user.old") != "1": fail("it was made again when it was ` + state + `")
if "user.pgrun.creating" in c: fail(c)`))
	}

	// Nor is one made again that has snapshots, or that has the mark of another, of which it is a copy.
	for name, prepare := range map[string]func() error{
		"snapshots": func() error { return l.cli("snapshot", "create", l.name) },
		"a copy":    func() error { return l.cli("config", "set", l.name, creatingKey+"=another") },
	} {
		if err := l.server.DeleteInstance(t.Context(), l.name, true); err != nil {
			t.Fatal(err)
		}
		if err := l.server.CreateInstance(t.Context(), incus.InstanceSpec{Name: l.name, Image: container.Image(),
			Settings: incus.Settings{Profiles: container.Profiles(t, l.server), Config: half}}); err != nil {
			t.Fatal(err)
		}
		if err := prepare(); err != nil {
			t.Fatal(err)
		}
		l.Idempotent(l.script(`incus.instance(h, "NAME", image = "IMAGE", started = False)`))
		l.Run(l.script(`
if incus.info(h, "NAME").config.get("user.old") != "1": fail("it was made again, with ` + name + `")`))
	}

	// Somebody else has just made it, and is about to say so.
	if err := l.server.DeleteInstance(t.Context(), l.name, true); err != nil {
		t.Fatal(err)
	}
	if err := l.server.CreateInstance(t.Context(), incus.InstanceSpec{Name: l.name, Image: container.Image(),
		Settings: incus.Settings{Profiles: container.Profiles(t, l.server), Config: half}}); err != nil {
		t.Fatal(err)
	}
	said := make(chan error, 1)
	go func() {
		time.Sleep(2 * time.Second) // the moment is the point
		said <- l.cli("config", "unset", l.name, creatingKey)
	}()
	l.Run(l.script(`incus.instance(h, "NAME", image = "IMAGE", started = False)`))
	if err := <-said; err != nil {
		t.Fatal(err)
	}
	if got, want := l.Summary()[0], "take over instance "+l.name+", which something else is creating"; got != want || l.Events[0].Diff != "" {
		t.Errorf("summary %q, want %q; diff %q", got, want, l.Events[0].Diff)
	}
	l.Run(l.script(`
if incus.info(h, "NAME").config.get("user.old") != "1": fail("it was made again after another had made it")`))

	// The daemon is still at it.
	if err := l.server.DeleteInstance(t.Context(), l.name, true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	created := make(chan error, 1)
	go func() {
		created <- l.server.CreateInstance(ctx, incus.InstanceSpec{Name: l.name, Image: container.Image(), Start: true,
			Settings: incus.Settings{Profiles: container.Profiles(t, l.server), Config: map[string]string{creatingKey: l.name, "user.old": "1"}}})
	}()
	for {
		if _, err := l.server.Instance(t.Context(), l.name); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-created; !errors.Is(err, context.Canceled) {
		t.Fatalf("the creation was not cut off: %v", err)
	}
	l.Run(declared)
	if got, want := l.Summary()[0], "take over instance "+l.name+", which something else is creating"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	l.Run(l.script(`
if incus.info(h, "NAME").config.get("user.old") != "1": fail("it was made again while the daemon was making it")`))
	if r := l.Run(declared); r.Changed() {
		t.Errorf("a second run changed: %v", l.Summary())
	}
}

// cli runs the incus command line, as another user of the daemon would; in a cleanup, too.
func (l lab) cli(args ...string) error {
	c := host.Command{Argv: append([]string{"incus"}, args...)}
	_, err := host.Succeeded(c)(l.machine.Host.Run(context.WithoutCancel(l.t.Context()), c))
	return err
}

// A copy has the marks of what it was made of, and was not made by pgrun.
func TestMadeByPgrun(t *testing.T) {
	l := newLab(t)
	l.removesInstance()
	l.Run(l.script(`incus.instance(h, "NAME", image = "IMAGE", started = False)`))
	t.Cleanup(func() {
		if err := l.server.DeleteInstance(context.WithoutCancel(t.Context()), l.name+"-copy", true); err != nil {
			t.Error(err)
		}
	})
	if err := l.cli("copy", l.name, l.name+"-copy"); err != nil {
		t.Fatal(err)
	}
	l.Run(l.script(`
if not incus.info(h, "NAME").made: fail("the one that was made")
if incus.info(h, "NAME-copy").made: fail("the copy")
made = {i.name: i.made for i in incus.instances(h)}
if (made["NAME"], made["NAME-copy"]) != (True, False): fail(made)`))
}

func TestAllProjects(t *testing.T) {
	l := newLab(t)
	if err := l.cli("project", "create", l.name, "-c", "features.images=false", "-c", "features.profiles=false"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, args := range [][]string{{"delete", "-f", "--project", l.name, l.name}, {"project", "delete", l.name}} {
			if err := l.cli(args...); err != nil {
				t.Error(err)
			}
		}
	})
	args := []string{"init", container.Image(), l.name, "--project", l.name}
	for _, profile := range container.Profiles(t, l.server) {
		args = append(args, "-p", profile)
	}
	if err := l.cli(args...); err != nil {
		t.Fatal(err)
	}
	l.Run(l.script(`
def projects(**kwargs): return [i.project for i in incus.instances(h, **kwargs) if i.name == "NAME"]
if projects() != []: fail(projects())
if projects(all_projects = True) != ["NAME"]: fail(projects(all_projects = True))
if projects(all_projects = True, profile = "no-such") != []: fail("the profile")`))
}

// The daemon enters an instance to see its addresses. Where the configuration tells which it has, it is not asked.
func TestFixedAddress(t *testing.T) {
	fixed := map[string]map[string]string{"eth0": {"type": "nic", "ipv4.address": "198.18.0.77"}}
	p := instanceParams{waitParams: waitParams{Wait: waitAddress}}
	i := incus.Instance{Name: "x", Status: "Running", Type: "container", ExpandedDevices: fixed, Used: time.Now().Add(-time.Hour)}
	if got, err := p.addressNow(t.Context(), nil, i); err != nil || got != "198.18.0.77" {
		t.Errorf("address %q, %v", got, err)
	}
	for want, devices := range map[string]map[string]map[string]string{
		"":            {"eth0": {"type": "nic", "ipv4.address": "none"}, "root": {"type": "disk"}},
		"198.18.0.78": {"eth1": {"type": "nic", "ipv4.address": "198.18.0.79"}, "eth0": {"type": "nic", "ipv4.address": "198.18.0.78"}},
	} {
		if got := fixedAddress(incus.Instance{Type: "container", ExpandedDevices: devices}); got != want {
			t.Errorf("%v: %q, want %q", devices, got, want)
		}
	}
}

func TestProfile(t *testing.T) {
	l := newLab(t)
	l.removes(l.server.DeleteProfile)
	l.Idempotent(l.script(`incus.profile(h, "NAME", description = "a test", config = {"limits.memory": "1GiB", "user.x": 1}, devices = {"none0": {"type": "none"}})`))
	l.Idempotent(l.script(`incus.profile(h, "NAME", config = {"user.x": ""}, devices = {"none0": {}, "none1": {"type": "none"}})`))
	l.Run(l.script(`
p = incus.profile_info(h, "NAME")
if not p.exists or p.description != "a test" or p.devices != {"none1": {"type": "none"}}: fail(p)
if p.config != {"limits.memory": "1GiB", "user.pgrun.made": "NAME"}: fail(p)`))
	l.Idempotent(l.script(`incus.profile_absent(h, "NAME")`))
	l.Run(l.script(`
if incus.profile_info(h, "NAME").exists: fail("still there")`))
}

func TestNetwork(t *testing.T) {
	l := newLab(t)
	l.removes(l.server.DeleteNetwork)
	declared := l.script(`incus.network(h, "NAME", config = {"ipv4.address": "198.18.77.1/29", "ipv4.nat": True, "ipv6.address": "none"})`)
	l.Idempotent(declared)
	l.Idempotent(l.script(`incus.network(h, "NAME", config = {"ipv4.nat": False})`))
	l.Run(declared)
	l.Fails(`incus.network(h, "lo")`, "name: ", "does not manage")
	l.Run(`incus.network_absent(h, "lo")`)

	if os.Geteuid() != 0 {
		return
	}
	if _, err := l.Try(l.script(`incus.network_restarted(h, "NAME")`), false); err != nil {
		t.Fatal(err)
	}
	link(t, "delete", l.name)
	l.Idempotent(declared)
	if s := l.Run(l.script(`incus.network_info(h, "NAME").config.get("ipv4.dhcp.expiry", "unset")`)).Value.String(); s != `"unset"` {
		t.Errorf("bringing the network up has set ipv4.dhcp.expiry to %s", s)
	}
	l.Idempotent(l.script(`incus.network_absent(h, "NAME")`))
}

// link runs ip link on this machine.
func link(t *testing.T, args ...string) {
	t.Helper()
	machine := container.Local(t)
	c := host.Command{Argv: append([]string{"ip", "link"}, args...)}
	if _, err := host.Succeeded(c)(machine.Host.Run(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
}

func TestStoragePool(t *testing.T) {
	l := newLab(t)
	l.removes(l.server.DeleteStoragePool)
	l.Idempotent(l.script(`incus.storage_pool(h, "NAME", description = "a test", config = {"user.x": "1"})`))
	l.Fails(l.script(`incus.storage_pool(h, "NAME", driver = "zfs")`), "driver: ", "cannot be changed")
	l.Idempotent(l.script(`incus.storage_pool(h, "NAME", config = {"user.x": "2"})`))
	l.Idempotent(l.script(`incus.storage_pool_absent(h, "NAME")`))
	l.Run(l.script(`
if incus.storage_pool_info(h, "NAME").exists: fail("still there")`))
}

func TestImage(t *testing.T) {
	l := newLab(t)
	file := tinyImage(t, l.name)
	declared := fmt.Sprintf(`incus.image(h, "%s/x", file = %q)`, l.name, file)
	l.t.Cleanup(func() {
		if image, err := l.server.Image(context.WithoutCancel(t.Context()), l.name+"/x"); err == nil {
			_ = l.server.DeleteImage(context.WithoutCancel(t.Context()), image.Fingerprint)
		}
	})
	l.Idempotent(declared)
	r := l.Run(`
i = incus.image_info(h, "` + l.name + `/x")
if not i.exists or i.fingerprint != ` + declared + `.fingerprint: fail(i)
incus.image_info(h, i.fingerprint[:12]).aliases`)
	if want := fmt.Sprintf("[%q]", l.name+"/x"); r.Value.String() != want {
		t.Errorf("aliases %s, want %s", r.Value, want)
	}

	// With a second alias, the image stays.
	fingerprint, err := incus.ImageFiles{Metadata: file}.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.server.SetImageAlias(t.Context(), l.name+"/y", fingerprint); err != nil {
		t.Fatal(err)
	}
	l.Idempotent(`incus.image_absent(h, "` + l.name + `/y")`)
	l.Run(`
if not incus.image_info(h, "` + l.name + `/x").exists: fail("gone")`)
	l.Idempotent(`incus.image_absent(h, "` + l.name + `/x")`)
	l.Run(`
if incus.image_info(h, "` + fingerprint + `").exists: fail("still there")`)

	l.Fails(`incus.image(h, "x")`, "source: ")
	l.Fails(`incus.image(h, "x", file = "relative")`, "file: ", "absolute")
	l.Fails(`incus.image(h, "x", file = "/no/such/file")`, "file: ", "/no/such/file")
	l.Fails(`incus.image(h, "x", source = "images:x", rootfs = "/x")`, "rootfs: ")
}

// tinyImage makes an image's tarball with nothing in it.
func tinyImage(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	metadata := "architecture: x86_64\ncreation_date: 1\nproperties: {description: " + name + "}\n"
	if err := os.WriteFile(dir+"/metadata.yaml", []byte(metadata), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/rootfs", 0o700); err != nil {
		t.Fatal(err)
	}
	machine := container.Local(t)
	c := host.Command{Argv: []string{"tar", "-C", dir, "-cf", dir + "/image.tar", "metadata.yaml", "rootfs"}}
	if _, err := host.Succeeded(c)(machine.Host.Run(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
	return dir + "/image.tar"
}

func TestWrongArguments(t *testing.T) {
	l := newLab(t)
	for script, want := range map[string]string{
		`incus.instance(h, "not_a_name", image = "x")`:                                   "instance: ",
		`incus.instance(h, image = "x")`:                                                 "instance: name one",
		`incus.instance(h, "bltn-x", image = "no-such-image")`:                           `image: no image "no-such-image"`,
		`incus.instance(h, "bltn-x", image = "")`:                                        "image: ",
		`incus.instance(h, "bltn-x", image = "pgrun/debian-13", profiles = ["no-such"])`: "profiles: ",
		`incus.instance(h, "bltn-x", image = "IMAGE", wait = "forever")`:                 "wait: ",
		`incus.instance(h, "bltn-x", image = "IMAGE", type = "jail")`:                    "type: ",
		`incus.instance(h, "bltn-x", image = "IMAGE", config = {"volatile.x": "1"})`:     "config: ",
		`incus.instance(h, "bltn-x", image = "IMAGE", devices = {"eth0": "nic"})`:        "devices",
		`incus.stopped(h, "bltn-x", timeout = "0s")`:                                     "timeout: ",
		`incus.network_restarted(h, "bltn-no-such")`:                                     "bltn-no-such",
		`incus.image_offered(h, "no-such-remote:x")`:                                     "no-such-remote",
	} {
		l.Fails(l.script(script), want)
	}
}

func TestServer(t *testing.T) {
	l := newLab(t)
	l.Run(`
s = incus.server(h)
if not s.reachable or not s.version or s.error: fail(s)`)
}

// Where there is no daemon, everything is exit code 3, and nothing is found missing.
func TestNoDaemon(t *testing.T) {
	t.Setenv("INCUS_SOCKET", t.TempDir()+"/none")
	m := builtintest.Machine{Reader: unreachable{}, Host: unreachable{}}
	b := builtintest.New(t, m, Module())
	for _, script := range []string{
		`incus.instance(h, "x", image = "y")`, `incus.info(h, "x")`, `incus.absent(h, "x")`, `incus.profile(h, "x")`, `incus.network_absent(h, "x")`,
		`incus.storage_pool_info(h, "x")`, `incus.image(h, "x", source = "images:x")`,
	} {
		if err := b.Fails(script, "no Incus daemon"); outcome.Of(err) != outcome.CannotRun {
			t.Errorf("%s: exit code %d", script, outcome.Of(err))
		}
	}
	b.Run(`
s = incus.server(h)
if s.reachable or "no Incus daemon" not in s.error: fail(s)`)
}

// unreachable is a host whose daemon is not there.
type unreachable struct{ host.Host }

func (unreachable) Name() string     { return "localhost" }
func (unreachable) Instance() string { return "" }
func (unreachable) Incus(ctx context.Context) (*incus.Server, error) {
	return incus.Connect(ctx, incus.Remote{})
}
