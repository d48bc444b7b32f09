package incus

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

func TestInstance(t *testing.T) {
	s, other := connectTest(t, Remote{}), connectTest(t, Remote{})
	ctx := t.Context()
	name := testInstance(t, s, false)

	// Keys of another tool, written at the same time as ours, and the daemon's own must stay.
	var wg sync.WaitGroup
	for n, server := range []*Server{s, other} {
		wg.Go(func() {
			for k := range 3 {
				want := Settings{Config: map[string]string{fmt.Sprintf("user.writer%d.key%d", n, k): "x"}}
				if err := server.UpdateInstance(ctx, name, want); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	description := "changed"
	want := Settings{
		Description: &description,
		Config:      map[string]string{"limits.memory": "", "limits.cpu": "1", "user.writer0.key0": ""},
		Devices:     map[string]map[string]string{"eth0": {"security.mac_filtering": "true"}},
	}
	before, err := s.Instance(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if got := before.Differences(want); len(got) != 5 {
		t.Errorf("differences: %v", got)
	}
	if err := s.UpdateInstance(ctx, name, want); err != nil {
		t.Fatal(err)
	}
	after, err := s.Instance(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if got := after.Differences(want); got != nil {
		t.Errorf("still to change: %v", got)
	}
	if after.Config["user.writer1.key2"] != "x" || after.Config["user.writer0.key2"] != "x" || after.Image != before.Image || after.Image == "" {
		t.Errorf("keys are lost: %v", after.Config)
	}
	if after.Devices["eth0"]["network"] == "" || after.Devices["eth0"]["security.mac_filtering"] != "true" {
		t.Errorf("the profile's device was not taken over: %v", after.Devices)
	}
	if err := s.UpdateInstance(ctx, name, Settings{Devices: map[string]map[string]string{"eth0": nil}}); err != nil {
		t.Fatal(err)
	}

	// States, each of them twice.
	step := func(do string, f func() error, status string) {
		t.Helper()
		for range 2 {
			if err := f(); err != nil {
				t.Fatalf("%s: %v", do, err)
			}
		}
		if i, err := s.cached(ctx, name); err != nil || i.Status != status {
			t.Fatalf("after %s it is %q, %v", do, i.Status, err)
		}
	}
	step("start", func() error { return s.Start(ctx, name) }, "Running")
	if err := s.WaitExec(ctx, name); err != nil {
		t.Error(err)
	}
	address, err := s.WaitAddress(ctx, name, "eth0", "inet")
	if err != nil || strings.Count(address, ".") != 3 {
		t.Errorf("address %q, %v", address, err)
	}
	if err := s.DeleteInstance(ctx, name, false); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("deleting it while it runs: %v", err)
	}
	if err := s.Restart(ctx, name, true); err != nil {
		t.Error(err)
	}
	if err := s.Freeze(ctx, name); err != nil {
		t.Error(err)
	}
	step("start of a frozen one", func() error { return s.Start(ctx, name) }, "Running")
	seen := make(chan bool)
	watching, stopped := context.WithCancel(ctx)
	go func() {
		var stopping bool
		for watching.Err() == nil && !stopping {
			stopping, _ = s.Stopping(watching, name)
		}
		seen <- stopping
	}()
	step("force stop", func() error { return s.Stop(ctx, name, true) }, "Stopped")
	stopped()
	if !<-seen {
		t.Error("that it was being stopped could not be seen")
	}
	if stopping, err := s.Stopping(ctx, name); err != nil || stopping {
		t.Errorf("a stopped one is being stopped: %t, %v", stopping, err)
	}
	if list, err := s.Addresses(ctx, name); err != nil || list != nil {
		t.Errorf("a stopped one has addresses %v, %v", list, err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := s.WaitAddress(short, name, "eth0", "inet"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for an address that will not come: %v", err)
	}
	for range 2 {
		if err := s.DeleteInstance(ctx, name, false); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Instance(ctx, name); !errors.Is(err, host.ErrAbsent) {
		t.Errorf("after it was deleted: %v", err)
	}
	for do, err := range map[string]error{
		"start":     s.Start(ctx, name),
		"stop":      s.Stop(ctx, name, true),
		"freeze":    s.Freeze(ctx, name),
		"update":    s.UpdateInstance(ctx, name, Settings{Config: map[string]string{"user.x": "y"}}),
		"addresses": func() error { _, err := s.Addresses(ctx, name); return err }(),
		"wait":      s.WaitExec(ctx, name),
	} {
		if !errors.Is(err, host.ErrAbsent) {
			t.Errorf("%s of an absent one: %v", do, err)
		}
	}
}

// TestInterrupted gives up on a creation, which the daemon goes on with, and cleans up after it.
func TestInterrupted(t *testing.T) {
	s := connectTest(t, Remote{})
	name := fmt.Sprintf("itest-i%d", os.Getpid())
	short, cancel := context.WithCancel(t.Context())
	go func() {
		for short.Err() == nil { // until the creation is on its way
			if _, err := s.Instance(t.Context(), name); err == nil {
				cancel()
			}
		}
	}()
	spec := testSpec(name)
	spec.Start = true
	err := s.CreateInstance(short, spec)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := s.DeleteInstance(t.Context(), name, true); err != nil {
		t.Error(err)
	}
	if _, err := s.Instance(t.Context(), name); !errors.Is(err, host.ErrAbsent) {
		t.Errorf("after it was deleted: %v", err)
	}
}

func TestCreateErrors(t *testing.T) {
	s := connectTest(t, Remote{})
	spec := func(change func(*InstanceSpec)) InstanceSpec {
		spec := testSpec("itest-never")
		change(&spec)
		return spec
	}
	type devices = map[string]map[string]string
	tests := []struct {
		spec InstanceSpec
		want string
	}{
		{spec(func(s *InstanceSpec) { s.Image = "nope" }), `no image "nope"`},
		{spec(func(s *InstanceSpec) { s.Image = "nowhere:debian/13" }), `no incus remote "nowhere" (have images, local): incus remote add nowhere`},
		{spec(func(s *InstanceSpec) { s.Profiles = []string{"nope"} }), "make it with incus.profile first"},
		{spec(func(s *InstanceSpec) { s.Devices = devices{"eth0": {"network": "nope"}} }), "make it with incus.network first"},
		{spec(func(s *InstanceSpec) { s.Devices = devices{"root": {"pool": "nope"}} }), "make it with incus.storage_pool first"},
		{spec(func(s *InstanceSpec) { s.Profiles = []string{} }), "root disk"},
		{spec(func(s *InstanceSpec) { s.Config = map[string]string{"limits.memry": "1"} }), "limits.memry: the keys are listed"},
		{spec(func(s *InstanceSpec) { s.Target = "nope" }), "not in a cluster"},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			err := s.CreateInstance(t.Context(), test.spec)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
			if errors.Is(err, host.ErrAbsent) {
				t.Error("that counts as the instance being absent")
			}
		})
	}
	name := testInstance(t, s, false)
	err := s.CreateInstance(t.Context(), testSpec(name))
	if err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := Connect(t.Context(), Remote{Project: "itest-nope"}); err == nil || !strings.Contains(err.Error(), `no project "itest-nope"`) {
		t.Errorf("a project that is not there: %v", err)
	}
	if _, err := Connect(t.Context(), Remote{Name: "nope"}); err == nil || !strings.Contains(err.Error(), `no incus remote "nope"`) {
		t.Errorf("a remote that is not there: %v", err)
	}
}

// TestOthers goes through the life of all that is not an instance.
func TestOthers(t *testing.T) {
	s := connectTest(t, Remote{})
	ctx := t.Context()
	fresh := fmt.Sprintf("itest%d", os.Getpid()%100000)
	description := "of a test"
	tests := []struct {
		kind   string
		look   func() (Settings, error)
		create func(Settings) error
		update func(Settings) error
		remove func() error
		config [2]map[string]string // at first, and then over it
	}{
		{
			"profile",
			func() (Settings, error) { p, err := s.Profile(ctx, fresh); return p.Settings, err },
			func(w Settings) error { return s.CreateProfile(ctx, fresh, w) },
			func(w Settings) error { return s.UpdateProfile(ctx, fresh, w) },
			func() error { return s.DeleteProfile(ctx, fresh) },
			[2]map[string]string{{"limits.cpu": "1", "user.kept": "x"}, {"limits.cpu": "", "user.new": "y"}},
		},
		{
			"network",
			func() (Settings, error) { n, err := s.Network(ctx, fresh); return n.Settings, err },
			func(w Settings) error { return s.CreateNetwork(ctx, fresh, "bridge", w) },
			func(w Settings) error { return s.UpdateNetwork(ctx, fresh, w) },
			func() error { return s.DeleteNetwork(ctx, fresh) },
			[2]map[string]string{{"ipv4.address": "none", "ipv6.address": "none", "user.kept": "x"}, {"user.new": "y"}},
		},
		{
			"storage pool",
			func() (Settings, error) { p, err := s.StoragePool(ctx, fresh); return p.Settings, err },
			func(w Settings) error { return s.CreateStoragePool(ctx, fresh, "dir", w) },
			func(w Settings) error { return s.UpdateStoragePool(ctx, fresh, w) },
			func() error { return s.DeleteStoragePool(ctx, fresh) },
			[2]map[string]string{{"user.kept": "x"}, {"user.new": "y"}},
		},
	}
	for _, test := range tests {
		t.Run(test.kind, func(t *testing.T) {
			if _, err := test.look(); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("before: %v", err)
			}
			want := Settings{Description: &description, Config: test.config[0]}
			if err := test.create(want); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				for range 2 {
					if err := test.remove(); err != nil {
						t.Error(err)
					}
				}
			})
			if have, err := test.look(); err != nil || want.Differences(have) != nil {
				t.Errorf("created: %v, %v", want.Differences(have), err)
			}
			want = Settings{Config: test.config[1]}
			if err := test.update(want); err != nil {
				t.Fatal(err)
			}
			if have, err := test.look(); err != nil || want.Differences(have) != nil || have.Config["user.kept"] != "x" {
				t.Errorf("updated: %v, %v", have, err)
			}
			if err := test.create(want); err == nil {
				t.Error("it could be created twice")
			}
		})
	}
	if err := s.DeleteProfile(ctx, "default"); err == nil {
		t.Error("the default profile is gone")
	}
}

func TestImages(t *testing.T) {
	s := connectTest(t, Remote{})
	ctx := t.Context()
	alias := fmt.Sprintf("itest-%d", os.Getpid())
	prints := [2]string{}
	for n := range prints {
		path := t.TempDir() + "/image.tar"
		writeImage(t, path, fmt.Sprintf("test image %d of %d", n, os.Getpid()))
		t.Cleanup(func() {
			for range 2 {
				if err := s.DeleteImage(context.WithoutCancel(ctx), prints[n]); err != nil {
					t.Error(err)
				}
			}
		})
		for range 2 { // the second time it is there
			var err error
			if prints[n], err = s.ImportImage(ctx, ImageFiles{Metadata: path}, alias); err != nil {
				t.Fatal(err)
			}
		}
		image, err := s.Image(ctx, alias) // which moves to the second image
		if err != nil || image.Fingerprint != prints[n] || len(image.Aliases) != 1 || image.Architecture != "x86_64" {
			t.Errorf("got %+v, %v", image, err)
		}
	}
	if image, err := s.Image(ctx, prints[0][:12]); err != nil || image.Fingerprint != prints[0] || image.Aliases != nil {
		t.Errorf("got %+v, %v", image, err)
	}
	if _, err := s.PullImage(ctx, "debian/13", ""); err == nil || !strings.Contains(err.Error(), "REMOTE:IMAGE") {
		t.Errorf("got %v", err)
	}
}

// writeImage writes the smallest image that Incus takes.
func writeImage(t *testing.T, path, description string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	meta := "architecture: x86_64\ncreation_date: 1\nproperties:\n  description: " + description + "\n"
	w := tar.NewWriter(file)
	for _, err := range []error{
		w.WriteHeader(&tar.Header{Name: "metadata.yaml", Mode: 0o644, Size: int64(len(meta))}),
		func() error { _, err := w.Write([]byte(meta)); return err }(),
		w.WriteHeader(&tar.Header{Name: "rootfs/", Typeflag: tar.TypeDir, Mode: 0o755}),
		w.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestInfo(t *testing.T) {
	info, err := connectTest(t, Remote{}).Info(t.Context())
	if err != nil || info.Version == "" || len(info.Architectures) == 0 {
		t.Errorf("got %+v, %v", info, err)
	}
}

// TestRestartNetwork brings back a bridge that somebody removed, and leaves the network's configuration as it was,
// although an earlier restart was cut off.
func TestRestartNetwork(t *testing.T) {
	s := connectTest(t, Remote{})
	ctx := t.Context()
	name := fmt.Sprintf("itest%d", os.Getpid()%100000)
	config := map[string]string{"ipv4.address": "none", "ipv6.address": "none", "raw.dnsmasq": "cache-size=100", "ipv4.dhcp.expiry": "2h"}
	if err := s.CreateNetwork(ctx, name, "bridge", Settings{Config: config}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.DeleteNetwork(context.WithoutCancel(ctx), name); err != nil {
			t.Error(err)
		}
	})
	want, err := s.Network(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"cache-size=100", "cache-size=100\n# pgrun restarts the network"} {
		if err := s.UpdateNetwork(ctx, name, Settings{Config: map[string]string{"raw.dnsmasq": left}}); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("ip", "link", "delete", name).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := s.RestartNetwork(ctx, name); err != nil {
			t.Fatal(err)
		}
		if up, err := s.NetworkUp(ctx, name); err != nil || !up {
			t.Errorf("it is up: %v, %v", up, err)
		}
		if have, err := s.Network(ctx, name); err != nil || !maps.Equal(have.Config, want.Config) {
			t.Errorf("got %v, want %v; %v", have.Config, want.Config, err)
		}
	}
}

func TestWatch(t *testing.T) {
	s := connectTest(t, Remote{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	name := fmt.Sprintf("itest-w%d", os.Getpid())
	go func() { // until it is seen: the listener may not be there yet
		for ctx.Err() == nil {
			_ = s.CreateProfile(ctx, name, Settings{})
			_ = s.DeleteProfile(ctx, name)
			_ = host.Pause(ctx, 50*time.Millisecond)
		}
		_ = s.DeleteProfile(context.WithoutCancel(ctx), name)
	}()
	for event, err := range s.Watch(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Name == name && event.Action == "profile-deleted" {
			return
		}
	}
	t.Error("no event came")
}
