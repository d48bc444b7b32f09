package file

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/runtime/host"
)

// checkPath refuses what can be no file's path.
func checkPath(p string) error {
	switch {
	case p == "":
		return errors.New("path is empty")
	case !path.IsAbs(p):
		return fmt.Errorf("path %q is not absolute: begin it with /", p)
	case strings.ContainsRune(p, 0):
		return fmt.Errorf("path %q holds a zero byte", p)
	}
	return nil
}

// checkFilePath is checkPath for what cannot be a directory.
func checkFilePath(p string) error {
	if err := checkPath(p); err != nil {
		return err
	}
	if strings.HasSuffix(p, "/") {
		return fmt.Errorf("path %q ends with /: name the file", p)
	}
	return nil
}

// statAny describes what stands at a path; nothing is a nil Info and no error.
func statAny(ctx context.Context, r host.Reader, p string) (*host.Info, error) {
	info, err := r.Stat(ctx, p)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, host.ErrAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &info, nil
}

// isDirectory describes the directory at a path, links followed: "/." has the kernel do so.
func isDirectory(ctx context.Context, r host.Reader, p string) (*host.Info, error) {
	return statAny(ctx, r, strings.TrimSuffix(p, "/")+"/.")
}

// needParent fails unless the directory that is to hold a path exists.
func needParent(ctx context.Context, r host.Reader, p string) error {
	dir := path.Dir(path.Clean(p))
	info, err := isDirectory(ctx, r, dir)
	if err == nil && info == nil {
		return host.NotThere("no directory %s on the machine: file.directory makes it", dir)
	}
	return err
}

// MaxLinks is how many links are followed, as in path_resolution(7).
const MaxLinks = 40

// follow resolves a path whose last element may be a link. The Info is nil where nothing is at the end.
func follow(ctx context.Context, r host.Reader, p string) (string, *host.Info, error) {
	for range MaxLinks {
		info, err := statAny(ctx, r, p)
		if err != nil || info == nil || info.Mode&fs.ModeSymlink == 0 {
			return p, info, err
		}
		if p, err = Behind(ctx, r, p, info.Target); err != nil {
			return "", nil, err
		}
	}
	return "", nil, TooManyLinks(p)
}

// TooManyLinks is the error of a path that MaxLinks have not come to the end of.
func TooManyLinks(p string) error {
	return fmt.Errorf("path %s: more than %d links, one behind the other", p, MaxLinks)
}

// Behind is the path of what a link with that target names.
func Behind(ctx context.Context, r host.Reader, link, target string) (string, error) {
	if path.IsAbs(target) {
		return tidy(target), nil
	}
	dir, _ := path.Split(link)
	return beside(ctx, r, cmp.Or(strings.TrimRight(dir, "/"), "/"), target)
}

// beside is the path of what a link in a directory names. A ".." at its beginning is taken out where the directory is no link
// itself, whose own parent is another.
func beside(ctx context.Context, r host.Reader, dir, target string) (string, error) {
	for strings.HasPrefix(target, "../") && !climbs(dir) {
		info, err := statAny(ctx, r, dir)
		if err != nil {
			return "", err
		}
		if info == nil || info.Mode&fs.ModeSymlink != 0 {
			break
		}
		dir, target = path.Dir(dir), target[len("../"):]
	}
	return tidy(dir + "/" + target), nil
}

// climbs reports whether a path holds a "..": what is before that may be a link.
func climbs(p string) bool { return slices.Contains(strings.Split(p, "/"), "..") }

// tidy is path.Clean of a path that does not climb.
func tidy(p string) string {
	if climbs(p) {
		return p
	}
	return path.Clean(p)
}

// kind is the word for a file's type that file.stat returns.
func kind(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "file"
	case fs.ModeDir:
		return "directory"
	case fs.ModeSymlink:
		return "link"
	case fs.ModeSocket:
		return "socket"
	case fs.ModeNamedPipe:
		return "fifo"
	}
	return "device"
}

// notFile is the error where something else stands in a file's place.
func notFile(p string, info *host.Info) error {
	if info.Mode.IsDir() {
		return fmt.Errorf("path %s is a directory, where a file is wanted: remove it first, with file.absent", p)
	}
	return fmt.Errorf("path %s is a %s, where a file is wanted: remove it first, with file.absent", p, kind(info.Mode))
}
