package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/pgrun/pgrun/runtime/host"
)

func mode(m fs.FileMode) *fs.FileMode { return &m }

func TestWriteFile(t *testing.T) {
	c, dir, ctx := inProcess(t, Options{RunDir: t.TempDir()}), t.TempDir(), t.Context()
	path := filepath.Join(dir, "f")
	content := bytes.Repeat([]byte("pgrun\x00\xff"), 1<<20)
	if err := c.WriteFile(ctx, path, bytes.NewReader(content), host.Attributes{}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.ReadFile(ctx, path); err != nil || !bytes.Equal(got, content) {
		t.Fatalf("read %d bytes, %v; want %d", len(got), err, len(content))
	}
	sum := sha256.Sum256(content)
	if got, err := c.Hash(ctx, path); err != nil || got != hex.EncodeToString(sum[:]) {
		t.Errorf("hash %s, %v", got, err)
	}
	if info, err := c.Stat(ctx, path); err != nil || info.Mode != 0o644 || info.Size != int64(len(content)) || info.Name != "f" {
		t.Errorf("%+v, %v", info, err)
	}

	t.Run("what is not said stays", func(t *testing.T) {
		if err := c.SetAttributes(ctx, path, host.Attributes{Mode: mode(0o640)}); err != nil {
			t.Fatal(err)
		}
		if err := c.WriteFile(ctx, path, strings.NewReader("new"), host.Attributes{}); err != nil {
			t.Fatal(err)
		}
		if info, err := c.Stat(ctx, path); err != nil || info.Mode != 0o640 || info.Size != 3 {
			t.Errorf("%+v, %v", info, err)
		}
	})
	t.Run("a link is replaced", func(t *testing.T) {
		link := filepath.Join(dir, "link")
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		if err := c.WriteFile(ctx, link, strings.NewReader("other"), host.Attributes{Mode: mode(0o600)}); err != nil {
			t.Fatal(err)
		}
		if info, err := c.Stat(ctx, link); err != nil || info.Mode != 0o600 {
			t.Errorf("%+v, %v", info, err)
		}
		if got, err := c.ReadFile(ctx, path); err != nil || string(got) != "new" {
			t.Errorf("the link's target: %q, %v", got, err)
		}
	})
	t.Run("setuid survives the owner", func(t *testing.T) {
		needRoot(t)
		a := host.Attributes{Owner: "nobody", Group: "12345", Mode: mode(0o755 | fs.ModeSetuid | fs.ModeSetgid)}
		for _, set := range []func() error{
			func() error { return c.WriteFile(ctx, path, strings.NewReader("x"), a) },
			func() error { return c.SetAttributes(ctx, path, a) },
		} {
			if err := set(); err != nil {
				t.Fatal(err)
			}
			if info, err := c.Stat(ctx, path); err != nil || info.Mode != *a.Mode || info.Owner != "nobody" || info.Group != "12345" {
				t.Errorf("%+v, %v", info, err)
			}
		}
	})
	t.Run("content that fails", func(t *testing.T) {
		broken := errors.New("no more")
		err := c.WriteFile(ctx, path, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), host.Attributes{})
		if !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		if got, err := c.ReadFile(ctx, path); err != nil || string(got) != "x" && string(got) != "new" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("failures", func(t *testing.T) {
		for what, err := range map[string]error{
			"no directory": c.WriteFile(ctx, filepath.Join(dir, "no/f"), bytes.NewReader(content), host.Attributes{}),
			"no owner":     c.WriteFile(ctx, path, bytes.NewReader(content), host.Attributes{Owner: "no-such-user"}),
			"no group":     c.WriteFile(ctx, path, bytes.NewReader(content), host.Attributes{Group: "no-such-group"}),
		} {
			if !errors.Is(err, fs.ErrNotExist) || !host.Missing(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := c.WriteFile(ctx, dir, strings.NewReader("x"), host.Attributes{}); err == nil || !strings.Contains(err.Error(), "is a directory") {
			t.Errorf("onto a directory: %v", err)
		}
		if err := c.WriteFile(ctx, "f", strings.NewReader("x"), host.Attributes{}); err == nil || !strings.Contains(err.Error(), "not absolute") {
			t.Errorf("relative: %v", err)
		}
		up := dir + "/sub/../f"
		for what, err := range map[string]error{
			"write":  c.WriteFile(ctx, up, strings.NewReader("x"), host.Attributes{}),
			"mkdir":  c.Mkdir(ctx, up, host.Attributes{}),
			"remove": c.Remove(ctx, up, true),
			"chmod":  c.SetAttributes(ctx, "/tmp/..", host.Attributes{}),
		} {
			if err == nil || !strings.Contains(err.Error(), "holds a ..") {
				t.Errorf("%s behind a ..: %v", what, err)
			}
		}
	})
	noTemp(t, dir)
}

// noTemp fails if a temporary file is left in dir.
func noTemp(t *testing.T, dir string) {
	t.Helper()
	eventually(t, "temporary files are gone", func() bool {
		left, _ := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
		return len(left) == 0
	})
}

func TestCancelledWriteLeavesNothing(t *testing.T) {
	c, dir := inProcess(t, Options{RunDir: t.TempDir()}), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	go func() {
		_, _ = w.Write([]byte("half"))
		eventually(t, "the temporary file is there", func() bool {
			names, _ := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
			return len(names) == 1
		})
		cancel()
	}()
	if err := c.WriteFile(ctx, filepath.Join(dir, "f"), r, host.Attributes{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	noTemp(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "f")); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
}

func TestReadRefusesWhatIsNoFile(t *testing.T) {
	c, dir, ctx := inProcess(t, Options{}), t.TempDir(), t.Context()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, host.MaxRead+1); err != nil {
		t.Fatal(err)
	}
	for path, why := range map[string]string{
		fifo: "a FIFO", dir: "a directory", "/dev/zero": "a device", big: "larger than", "relative": "not absolute",
	} {
		if _, err := c.ReadFile(ctx, path); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.Truncate(big, host.MaxRead); err != nil {
		t.Fatal(err)
	}
	if b, err := c.ReadFile(ctx, big); err != nil || len(b) != host.MaxRead {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if b, err := c.ReadFile(ctx, "/proc/self/status"); err != nil || len(b) == 0 {
		t.Errorf("/proc: %d bytes, %v", len(b), err)
	}
	if _, err := c.ReadFile(ctx, filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestReadDir(t *testing.T) {
	c, dir, ctx := inProcess(t, Options{}), t.TempDir(), t.Context()
	const n = 3000
	for i := range n {
		if err := os.Symlink("some target", filepath.Join(dir, fmt.Sprintf("%04d", n-1-i))); err != nil {
			t.Fatal(err)
		}
	}
	infos, err := c.ReadDir(ctx, dir)
	if err != nil || len(infos) != n {
		t.Fatalf("%d entries, %v", len(infos), err)
	}
	for i, info := range infos {
		if info.Name != fmt.Sprintf("%04d", i) || info.Target != "some target" || info.Mode.Type() != fs.ModeSymlink {
			t.Fatalf("%d: %+v", i, info)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a\xff"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadDir(ctx, dir); err == nil || !strings.Contains(err.Error(), `a\xff`) {
		t.Errorf("a name that JSON would change: %v", err)
	}
}

func TestDirectoriesAndLinks(t *testing.T) {
	c, dir, ctx := inProcess(t, Options{}), t.TempDir(), t.Context()
	d := filepath.Join(dir, "d")
	if err := c.Mkdir(ctx, d, host.Attributes{Mode: mode(0o777 | fs.ModeSticky)}); err != nil {
		t.Fatal(err)
	}
	if info, err := c.Stat(ctx, d); err != nil || info.Mode != fs.ModeDir|0o777|fs.ModeSticky {
		t.Errorf("%v, %v", info.Mode, err)
	}
	if err := c.Mkdir(ctx, d, host.Attributes{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("again: %v", err)
	}
	if err := c.Mkdir(ctx, filepath.Join(dir, "e"), host.Attributes{Owner: "no-such-user"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	link := filepath.Join(d, "link")
	for _, target := range []string{"one", "two"} {
		if err := c.Symlink(ctx, target, link); err != nil {
			t.Fatal(err)
		}
		if info, err := c.Stat(ctx, link); err != nil || info.Target != target {
			t.Errorf("%+v, %v", info, err)
		}
	}
	if err := c.Symlink(ctx, "x", d); err == nil {
		t.Error("a link replaced a directory")
	}
	if err := c.SetAttributes(ctx, link, host.Attributes{Mode: mode(0o600)}); err == nil || !strings.Contains(err.Error(), "no mode of its own") {
		t.Errorf("the mode of a link: %v", err)
	}
	if err := c.SetAttributes(ctx, d, host.Attributes{Mode: mode(0o4755)}); err == nil {
		t.Error("a mode in chmod's form was taken for one of Go's")
	}
	if err := c.Remove(ctx, d, false); err == nil {
		t.Error("a directory with content was removed")
	}
	for range 2 {
		if err := c.Remove(ctx, d, true); err != nil {
			t.Error(err)
		}
	}
	if err := c.Remove(ctx, "/etc/", true); err == nil || !strings.Contains(err.Error(), "system's own") {
		t.Errorf("/etc: %v", err)
	}
}

// Who may write to the directory above may move a fresh one away, and another of root's to its place.
func TestMkdirSetsNothingButItsOwn(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	for name, prepare := range map[string]func(path string) error{
		"another's": func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chown(path, 12345, 12345)) },
		"older":     func(path string) error { return os.Mkdir(path, 0o755) },
		"a link":    func(path string) error { return os.Symlink("/etc", path) },
		"a file":    func(path string) error { return os.WriteFile(path, nil, 0o700) },
	} {
		path := filepath.Join(dir, name)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := setNew(unix.AT_FDCWD, path, path, ownership{uid: 1, gid: 1, mode: 0o777}); err == nil {
			t.Errorf("%s: its owner and mode were set", name)
		}
		if after, err := os.Lstat(path); err != nil || after.Mode() != before.Mode() || after.Sys().(*syscall.Stat_t).Uid != before.Sys().(*syscall.Stat_t).Uid {
			t.Errorf("%s: %v, %v", name, after, err)
		}
	}
}

func TestChownOfALinkLeavesItsTarget(t *testing.T) {
	needRoot(t)
	c, dir, ctx := inProcess(t, Options{}), t.TempDir(), t.Context()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := c.SetAttributes(ctx, link, host.Attributes{Owner: "nobody"}); err != nil {
		t.Fatal(err)
	}
	if info, err := c.Stat(ctx, link); err != nil || info.Owner != "nobody" {
		t.Errorf("the link: %+v, %v", info, err)
	}
	if info, err := c.Stat(ctx, target); err != nil || info.Owner != "root" {
		t.Errorf("its target: %+v, %v", info, err)
	}
}
