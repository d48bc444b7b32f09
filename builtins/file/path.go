package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// CheckPath refuses what can be no path of a host; the error begins with the parameter's name.
func CheckPath(parameter, p string) error {
	switch {
	case p == "":
		return fmt.Errorf("%s is empty", parameter)
	case !path.IsAbs(p):
		return fmt.Errorf("%s %q is not absolute: begin it with /", parameter, p)
	case slices.Contains(strings.Split(p, "/"), ".."):
		return fmt.Errorf("%s %q holds a .., which behind a link is another place than it seems: write it without", parameter, p)
	case strings.ContainsRune(p, 0):
		return fmt.Errorf("%s %q holds a zero byte", parameter, p)
	}
	return nil
}

// CheckFilePath is CheckPath for what cannot be a directory.
func CheckFilePath(parameter, p string) error {
	if err := CheckPath(parameter, p); err != nil {
		return err
	}
	if strings.HasSuffix(p, "/") {
		return fmt.Errorf("%s %q ends with /: name the file", parameter, p)
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
	if err != nil || info != nil {
		return err
	}
	if err := notDangling(ctx, r, dir); err != nil {
		return err
	}
	return host.NotThere("no directory %s on the machine: file.directory makes it", dir)
}

// notDangling is an error where what is no directory is a link to nothing.
func notDangling(ctx context.Context, r host.Reader, p string) error {
	end, info, err := follow(ctx, r, p)
	if err != nil || info != nil || end == p {
		return err
	}
	return danglingLink(p, end)
}

// danglingLink is the error where a directory is wanted and a link to nothing stands.
func danglingLink(p, target string) error {
	return host.NotThere("path %s is a link to %s, which does not exist: make that, or remove the link first", p, target)
}

// follow resolves a path whose last element may be a link. The Info is nil where nothing is at the end.
func follow(ctx context.Context, r host.Reader, p string) (string, *host.Info, error) {
	trail, err := Trail(ctx, r, p)
	if err != nil {
		return "", nil, err
	}
	end := trail[len(trail)-1]
	return end.Path, end.Info, nil
}

// Place is a path and what stands there; nothing is a nil Info.
type Place struct {
	Path string
	Info *host.Info
}

// Trail returns the place of a path, and while that is a link the one that it leads to. Their paths are the kernel's own, links among the
// directories left as they are, and hold no "..". With an error come those up to where it was.
func Trail(ctx context.Context, r host.Reader, p string) ([]Place, error) {
	w := walk{ctx: ctx, r: r, asked: p}
	start, err := w.from("/", p)
	if err != nil {
		return nil, err
	}
	return w.trail(start)
}

// Among reports whether a path is one of others, by another spelling of the directories above it if need be.
func Among(ctx context.Context, r host.Reader, p string, others []string) bool {
	if slices.Contains(others, p) {
		return true
	}
	dir := ""
	for _, other := range others {
		if path.Base(other) != path.Base(p) {
			continue
		}
		if dir == "" {
			dir = directory(ctx, r, path.Dir(p))
		}
		if dir != "" && directory(ctx, r, path.Dir(other)) == dir {
			return true
		}
	}
	return false
}

// directory is the place of a directory; empty where the way to it would be another by then in a dry run.
func directory(ctx context.Context, r host.Reader, dir string) string {
	if still, ok := r.(host.Still); ok && isReplaced(still.Known(ctx, dir)) {
		return ""
	}
	return host.Place(ctx, r, dir+"/.")
}

// isReplaced reports whether a look found what is not known in a dry run.
func isReplaced(err error) bool {
	var replaced *host.Replaced
	return errors.As(err, &replaced) && !replaced.Gone
}

// isGone reports whether a look found nothing because a dry run would have removed it.
func isGone(err error) bool {
	var replaced *host.Replaced
	return errors.As(err, &replaced) && replaced.Gone
}

// rewritten is an error in a dry run where an earlier step would have written a file: what is in it now says nothing.
func rewritten(ctx context.Context, r host.Reader, p string) error {
	for _, a := range builtin.Pending(ctx) {
		if Among(ctx, r, p, a.Writes) {
			return &host.Replaced{Path: p, By: a.Builtin}
		}
	}
	return nil
}

// walk is the way to one path's end.
type walk struct {
	ctx   context.Context
	r     host.Reader
	asked string
	links int
}

func (w *walk) trail(p string) ([]Place, error) {
	var all []Place
	for {
		info, err := statAny(w.ctx, w.r, p)
		all = append(all, Place{p, info})
		if err != nil || info == nil || info.Mode&fs.ModeSymlink == 0 {
			return all, err
		}
		if w.links++; w.links > host.MaxLinks {
			return all, fmt.Errorf("path %s: more than %d links, one behind the other: correct them", w.asked, host.MaxLinks)
		}
		if p, err = w.from(path.Dir(p), info.Target); err != nil {
			return all, err
		}
	}
}

// from returns the path that a target names from a directory. A ".." is the parent of where the directory before it is, links followed.
func (w *walk) from(dir, target string) (string, error) {
	if path.IsAbs(target) {
		dir = "/"
	}
	for name := range strings.SplitSeq(target, "/") {
		if name != ".." {
			dir = path.Join(dir, name)
			continue
		}
		trail, err := w.trail(dir)
		if err != nil {
			return "", err
		}
		end := trail[len(trail)-1]
		if end.Info == nil || !end.Info.Mode.IsDir() {
			return "", host.NotThere("path %s: a link on its way leads through %s, which is no directory on the machine: correct the link, or make the directory", w.asked, end.Path)
		}
		dir = path.Dir(end.Path)
	}
	return dir, nil
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
