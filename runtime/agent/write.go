package agent

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgrun/pgrun/runtime/host"
)

// tempPrefix begins the names of files that have not got their own yet.
const tempPrefix = ".pgrun-"

// ownership is what Attributes come to: numbers. -1 leaves what is there.
type ownership struct {
	uid, gid int
	mode     int // permission bits, setuid, setgid and sticky as chmod(2) has them
}

// resolve turns Attributes into numbers.
func (s *server) resolve(a host.Attributes) (ownership, error) {
	o := ownership{uid: -1, gid: -1, mode: -1}
	var err error
	if a.Owner != "" {
		if o.uid, err = s.accounts.uid(a.Owner); err != nil {
			return o, err
		}
	}
	if a.Group != "" {
		if o.gid, err = s.accounts.gid(a.Group); err != nil {
			return o, err
		}
	}
	if a.Mode != nil {
		if o.mode, err = unixMode(*a.Mode); err != nil {
			return o, err
		}
	}
	return o, nil
}

// unixMode turns permission bits, setuid, setgid and sticky into those of chmod(2).
func unixMode(m fs.FileMode) (int, error) {
	if unknown := m &^ (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky); unknown != 0 {
		return 0, fmt.Errorf("the mode %#o has more than permissions, setuid, setgid and sticky", uint32(m))
	}
	mode := int(m.Perm())
	if m&fs.ModeSetuid != 0 {
		mode |= unix.S_ISUID
	}
	if m&fs.ModeSetgid != 0 {
		mode |= unix.S_ISGID
	}
	if m&fs.ModeSticky != 0 {
		mode |= unix.S_ISVTX
	}
	return mode, nil
}

// orNew fills in what a new file has where nothing is said: root's, or the agent's own where it is not
// root, and mode.
func (o ownership) orNew(mode int) ownership {
	if o.uid < 0 {
		o.uid = os.Geteuid()
	}
	if o.gid < 0 {
		o.gid = os.Getegid()
	}
	if o.mode < 0 {
		o.mode = mode
	}
	return o
}

// orOld fills in what a file that is being replaced has.
func (o ownership) orOld(st unix.Stat_t) ownership {
	if o.uid < 0 {
		o.uid = int(st.Uid)
	}
	if o.gid < 0 {
		o.gid = int(st.Gid)
	}
	if o.mode < 0 {
		o.mode = int(st.Mode & 0o7777)
	}
	return o
}

// cleanPath is filepath.Clean of a path that something is to be changed at. One with a ".." is refused: behind a link the kernel takes it for
// another place than the text says.
func cleanPath(path string) (string, error) {
	if err := checkPath(path); err != nil {
		return "", err
	}
	if slices.Contains(strings.Split(path, "/"), "..") {
		return "", fmt.Errorf("the path %q holds a .., which behind a link is another place than it seems: write it without", path)
	}
	return filepath.Clean(path), nil
}

// parent opens the directory that holds path, so that what follows happens there whatever becomes of
// the names above it, and returns path's last element.
func parent(path string) (dir *os.File, base string, err error) {
	if path, err = cleanPath(path); err != nil {
		return nil, "", err
	}
	if path == "/" {
		return nil, "", errors.New("the root directory cannot be replaced")
	}
	dir, err = os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	return dir, filepath.Base(path), err
}

// tempName is a name that nobody else has.
func tempName() string { return tempPrefix + randomText() }

// randomText is 16 random letters and digits. It asks the kernel itself: crypto/rand would be a tenth
// of the small agent.
func randomText() string {
	var b [8]byte
	if _, err := unix.Getrandom(b[:], 0); err != nil {
		panic(err) // Linux has it since 3.17
	}
	return hex.EncodeToString(b[:])
}

// writeFile puts content at path, whole or not at all.
func (s *server) writeFile(path string, content io.Reader, a host.Attributes) (err error) {
	o, err := s.resolve(a)
	if err != nil {
		return err
	}
	dir, base, err := parent(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	at := int(dir.Fd())
	var old unix.Stat_t
	switch err := unix.Fstatat(at, base, &old, unix.AT_SYMLINK_NOFOLLOW); {
	case err == nil && old.Mode&unix.S_IFMT == unix.S_IFREG:
		o = o.orOld(old)
	case err == nil && old.Mode&unix.S_IFMT == unix.S_IFDIR:
		return pathError("write", path, unix.EISDIR)
	case err == nil || err == unix.ENOENT:
		o = o.orNew(0o644)
	default:
		return pathError("stat", path, err)
	}

	temp := tempName()
	tempPath := filepath.Join(filepath.Dir(path), temp)
	done, err := s.journal.file(tempPath)
	if err != nil {
		return err
	}
	defer done()
	fd, err := unix.Openat(at, temp, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return pathError("create", tempPath, err)
	}
	f := os.NewFile(uintptr(fd), tempPath)
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = unix.Unlinkat(at, temp, 0)
		}
	}()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	if err := f.Chown(o.uid, o.gid); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := unix.Fchmod(fd, uint32(o.mode)); err != nil {
		return pathError("chmod", path, err)
	}
	if a.Durable {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := unix.Renameat(at, temp, at, base); err != nil {
		return pathError("write", path, err)
	}
	if a.Durable {
		return pathError("sync the directory of", path, syncDirectory(at))
	}
	return nil
}

// syncDirectory has the names in a directory on disk. The descriptor may be one of O_PATH, which fsync(2) refuses.
func syncDirectory(at int) error {
	fd, err := unix.Openat(at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written through it
	return unix.Fsync(fd)
}

// mkdir makes a directory. It is the agent's alone until its owner and mode are set.
func (s *server) mkdir(path string, a host.Attributes) error {
	o, err := s.resolve(a)
	if err != nil {
		return err
	}
	o = o.orNew(0o755)
	dir, base, err := parent(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	at := int(dir.Fd())
	if err := unix.Mkdirat(at, base, 0o700); err != nil {
		return pathError("mkdir", path, err)
	}
	return setNew(at, base, path, o)
}

// setNew sets owner and mode of a directory that was just made, or removes it. Whoever may write to the directory above could
// have put another in its place, and would get that: the new one can be told by its owner and mode, which nobody else can give
// to one that he made. Another run may have taken it over: then it is that run's.
func setNew(at int, base, path string, o ownership) error {
	fd, st, err := openAt(at, base, path)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written through it
	// Some file systems give each file the owner and mode that they were mounted with.
	isSet := int(st.Uid) == o.uid && int(st.Gid) == o.gid && int(st.Mode&0o7777) == o.mode
	isNew := st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == os.Geteuid() && st.Mode&0o777 == 0o700
	if !isSet && !isNew {
		return pathError("mkdir", path, errors.New("somebody else has changed it meanwhile"))
	}
	err = set(fd, st, path, o)
	if err != nil {
		_ = unix.Unlinkat(at, base, unix.AT_REMOVEDIR)
	}
	return err
}

// symlink makes path a link to target. The new link gets its name by rename, so that a reader sees the
// old one or the new one.
func (s *server) symlink(target, path string) error {
	if target == "" {
		return fmt.Errorf("the link %s has no target", path)
	}
	dir, base, err := parent(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	at := int(dir.Fd())
	temp := tempName()
	done, err := s.journal.file(filepath.Join(filepath.Dir(path), temp))
	if err != nil {
		return err
	}
	defer done()
	if err := unix.Symlinkat(target, at, temp); err != nil {
		return pathError("symlink", path, err)
	}
	if err := unix.Renameat(at, temp, at, base); err != nil {
		_ = unix.Unlinkat(at, temp, 0)
		return pathError("symlink", path, err)
	}
	return nil
}

// setAttributes changes owner, group and mode.
func (s *server) setAttributes(path string, a host.Attributes) error {
	o, err := s.resolve(a)
	if err != nil {
		return err
	}
	clean, err := cleanPath(path)
	if err != nil {
		return err
	}
	if clean == "/" {
		return setAt(unix.AT_FDCWD, "/", path, o)
	}
	dir, base, err := parent(clean)
	if err != nil {
		return err
	}
	defer dir.Close()
	return setAt(int(dir.Fd()), base, path, o)
}

// setAt sets what o has. The file is opened first, without following a link, so that owner and mode
// go to the same one whoever renames it meanwhile. Owner before mode: chown(2) takes setuid away.
func setAt(at int, base, path string, o ownership) error {
	fd, st, err := openAt(at, base, path)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written through it
	return set(fd, st, path, o)
}

// openAt opens a file for its attributes alone.
func openAt(at int, base, path string) (fd int, st unix.Stat_t, err error) {
	if fd, err = unix.Openat(at, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return fd, st, pathError("open", path, err)
	}
	if err = unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return fd, st, pathError("stat", path, err)
	}
	return fd, st, nil
}

func set(fd int, st unix.Stat_t, path string, o ownership) error {
	if o.mode >= 0 && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return pathError("chmod", path, errors.New("a symbolic link has no mode of its own"))
	}
	if o.uid >= 0 || o.gid >= 0 {
		if err := unix.Fchownat(fd, "", o.uid, o.gid, unix.AT_EMPTY_PATH); err != nil {
			return pathError("chown", path, err)
		}
	}
	if o.mode >= 0 {
		// fchmod(2) refuses a descriptor opened with O_PATH; its name in /proc is followed to the very file.
		if err := unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), uint32(o.mode)); err != nil {
			return pathError("chmod", path, err)
		}
	}
	return nil
}

// protectedPaths are not removed recursively: nobody means to.
var protectedPaths = []string{"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root",
	"/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib"}

// remove deletes path. os.RemoveAll follows no links on its way.
func remove(path string, recursive bool) error {
	path, err := cleanPath(path)
	if err != nil {
		return err
	}
	for _, p := range protectedPaths {
		if recursive && path == p {
			return fmt.Errorf("remove %s: it is one of the system's own directories", path)
		}
	}
	if recursive {
		err = os.RemoveAll(path)
	} else {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// pathError wraps a system call's error; nil stays nil.
func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// isTemp reports whether path is a file that tempName named.
func isTemp(path string) bool {
	return filepath.IsAbs(path) && strings.HasPrefix(filepath.Base(path), tempPrefix) &&
		len(filepath.Base(path)) == len(tempPrefix)+16
}
