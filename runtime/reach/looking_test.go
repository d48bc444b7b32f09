package reach_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/reach"
)

// Whatever a path looks like, it is known where it leads to what an earlier step of the dry run would replace.
func TestReplaced(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"opt/v1/etc", "srv/a"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "opt/v1/etc/conf"), []byte("x"), 0o644))
	for link, target := range map[string]string{
		"opt/app": "v1", "srv/up": "../opt", "srv/a/far": filepath.Join(dir, "srv/up/app"), "srv/through": "a/far/../app/etc", "srv/loop": "loop", "opt/self": ".",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	on := inventory.NewHost("here", nil)
	on.Transport = "local"
	hosts := reach.New(true)
	defer hosts.Close()
	r, err := hosts.Reader(on)
	must(t, err)
	hosts.Announce(on, builtin.Announcement{Builtin: "file.link", Writes: []string{dir + "/srv/up/app"}, Replaces: []string{dir + "/srv//up/self/./app"}})
	ended, end := context.WithCancel(t.Context())
	end()
	_, _ = r.Stat(ended, dir+"/opt/app") // leaves nothing half found out

	var replaced *host.Replaced
	for _, p := range []string{"/opt/app", "/opt/app/", "/opt//app/etc/conf", "/opt/./app/none", "/srv/up/app/etc", "/srv/a/far/etc/conf", "/srv/through/conf", "/opt/self/app/etc"} {
		if _, err := r.Stat(t.Context(), dir+p); !errors.As(err, &replaced) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", p, err)
		}
	}
	for _, p := range []string{"/opt", "/opt/v1/etc/conf", "/srv/a/far", "/srv/through", "/srv/loop"} {
		if _, err := r.Stat(t.Context(), dir+p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := r.ReadDir(t.Context(), dir+"/srv/a/far"); !errors.As(err, &replaced) {
		t.Errorf("a list through a link: %v", err)
	}

	// What would be removed is not there, until something is put there.
	hosts.Announce(on, builtin.Announcement{Builtin: "file.absent", Writes: []string{dir + "/opt/v1"}, Removes: []string{dir + "/opt/v1/etc"}})
	if _, err := r.ReadFile(t.Context(), dir+"/opt/v1/etc/conf"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what would be removed: %v", err)
	}
	if found, err := r.ReadDir(t.Context(), dir+"/opt/v1"); err != nil || len(found) > 0 {
		t.Errorf("what would be removed is in its directory: %v, %v", found, err)
	}
	hosts.Announce(on, builtin.Announcement{Builtin: "file.absent", Writes: []string{dir + "/srv"}, Removes: []string{dir + "/srv/a"}})
	if _, err := r.Stat(t.Context(), dir+"/srv/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what would be removed: %v", err)
	}
	hosts.Announce(on, builtin.Announcement{Builtin: "file.directory", Writes: []string{dir + "/opt/v1/etc", dir + "/opt/v1"}})
	if _, err := r.ReadFile(t.Context(), dir+"/opt/v1/etc/conf"); !errors.As(err, &replaced) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what would be made anew: %v", err)
	}
	if _, err := r.Stat(t.Context(), dir+"/srv/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what would be removed, and something else be made: %v", err)
	}
	hosts.Announce(on, builtin.Announcement{Builtin: "command"})
	if _, err := r.Stat(t.Context(), dir+"/srv/a"); !errors.As(err, &replaced) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a command may make anew: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
