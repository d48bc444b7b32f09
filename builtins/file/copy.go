package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sync/errgroup"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// atOnce is how many files of a directory are looked at, or written, at the same time.
const atOnce = 16

// maxShownTogether bounds what is read of a directory to show how its files differ.
const maxShownTogether = 4 << 20

type copyParams struct {
	Path   string         `star:"path,required" doc:"Absolute path on the host: of the file, or of the directory."`
	Source builtin.Source `star:"source,required" doc:"The file or directory of the project, relative to the file that calls, or from the project's root with //."`
	contentParams
	DirectoryMode builtin.Optional[builtin.Mode] `star:"directory_mode" doc:"Permissions of the directories of a directory; mode is for the files."`
}

func checkCopy(ctx context.Context, r host.Reader, p copyParams) (*builtin.Change, error) {
	if err := CheckPath("path", p.Path); err != nil {
		return nil, err
	}
	source, err := fs.Stat(p.Source.FS, p.Source.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("source: %w", p.Source.Absent("file or directory"))
	}
	if err != nil {
		return nil, sourceError(err)
	}
	files := want(ctx, r, p.attributes())
	if source.IsDir() {
		directories := host.Attributes{Owner: p.Owner, Group: p.Group, Mode: modeOf(p.DirectoryMode)}
		return planTree(ctx, r, p.Source, path.Clean(p.Path), files, directories, Showing(p.Diff))
	}
	if p.DirectoryMode.Set {
		return nil, fmt.Errorf("directory_mode is for directories, and the source %q is a file", p.Source.Path)
	}
	if err := CheckFilePath("path", p.Path); err != nil {
		return nil, err
	}
	one := original{p.Source.FS, p.Source.Name, source, source.Size() <= maxShown, Showing(p.Diff)}
	info, err := statAny(ctx, r, p.Path)
	if err != nil {
		return nil, err
	}
	if info == nil {
		if err := needParent(ctx, r, p.Path); err != nil {
			return nil, err
		}
	}
	return one.plan(ctx, r, p.Path, info, files)
}

// sourceError is an error of the project's files. It is not wrapped: that one of them is missing says nothing
// about the host.
func sourceError(err error) error { return errors.New("source: " + err.Error()) }

// tree is a directory of the project and what the host has in its place.
type tree struct {
	path    string // on the host
	entries []entry
	found   map[string]map[string]host.Info // entries of the host's directories, by path and name; nil: no such directory
}

// entry is a file or directory of the tree; its path is relative.
type entry struct {
	path string
	original
}

func planTree(ctx context.Context, r host.Reader, source builtin.Source, to string, files *wanted, d host.Attributes, showing Showing) (*builtin.Change, error) {
	t := &tree{path: to, found: map[string]map[string]host.Info{}}
	if err := t.read(source, showing); err != nil {
		return nil, err
	}
	directories := want(ctx, r, d)
	top, err := PlanDirectory(ctx, r, to, d, false)
	if err != nil {
		return nil, err
	}
	if err := t.look(ctx, r); err != nil {
		return nil, err
	}

	// Directories come first, those above before those below: entries are in that order.
	changes := []*builtin.Change{top}
	for _, e := range t.entries {
		if !e.info.IsDir() {
			continue
		}
		c, err := t.planDirectory(ctx, r, e, directories)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	copies := make([]*builtin.Change, len(t.entries))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, e := range t.entries {
		if !e.info.IsDir() {
			group.Go(func() (err error) {
				copies[i], err = e.plan(inner, r, t.at(e.path), t.info(e.path), files)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return summarised(builtin.Join(append(changes, together(copies))...)), nil
}

// at is where an entry goes on the host.
func (t *tree) at(relative string) string { return path.Join(t.path, relative) }

// info is what the host has there, or nil.
func (t *tree) info(relative string) *host.Info {
	if info, ok := t.found[path.Dir(t.at(relative))][path.Base(relative)]; ok {
		return &info
	}
	return nil
}

// read lists the source. A link to a file counts as the file.
func (t *tree) read(source builtin.Source, showing Showing) error {
	shown := int64(0)
	return fs.WalkDir(source.FS, source.Name, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return sourceError(err)
		}
		if name == source.Name {
			return nil
		}
		info, err := d.Info()
		if err == nil && d.Type()&fs.ModeSymlink != 0 {
			info, err = fs.Stat(source.FS, name)
		}
		switch {
		case err != nil:
			return sourceError(err)
		case d.IsDir(), info.Mode().IsRegular():
		default:
			return fmt.Errorf("source: %s is neither a file, a directory nor a link to a file: cannot be copied", name)
		}
		relative := name
		if source.Name != "." {
			relative = name[len(source.Name)+1:]
		}
		show := info.Size() <= maxShown && shown+info.Size() <= maxShownTogether
		if show {
			shown += info.Size()
		}
		t.entries = append(t.entries, entry{relative, original{source.FS, name, info, show, showing}})
		return nil
	})
}

// look lists the host's directories, one level of them after the other: what is in one that is missing
// is missing too.
func (t *tree) look(ctx context.Context, r host.Reader) error {
	level := []string{"."}
	for len(level) > 0 {
		listed := make([]map[string]host.Info, len(level))
		group, inner := errgroup.WithContext(ctx)
		group.SetLimit(atOnce)
		for i, dir := range level {
			group.Go(func() error {
				infos, err := r.ReadDir(inner, t.at(dir))
				if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, host.ErrAbsent) {
					return nil
				}
				if err != nil {
					return err
				}
				listed[i] = make(map[string]host.Info, len(infos))
				for _, info := range infos {
					listed[i][info.Name] = info
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		there := map[string]bool{}
		for i, dir := range level {
			t.found[t.at(dir)] = listed[i]
			there[dir] = true
		}
		level = nil
		for _, e := range t.entries {
			// What is no directory there is planDirectory's to refuse.
			if info := t.info(e.path); e.info.IsDir() && there[path.Dir(e.path)] && info != nil && info.Mode&(fs.ModeDir|fs.ModeSymlink) != 0 {
				level = append(level, e.path)
			}
		}
	}
	return nil
}

func (t *tree) planDirectory(ctx context.Context, r host.Reader, e entry, d *wanted) (*builtin.Change, error) {
	at, info := t.at(e.path), t.info(e.path)
	switch {
	case info == nil:
		return makeDirectories(nil, at, d.Attributes), d.known()
	case info.Mode.IsDir():
		attributes, err := d.differ(*info)
		return attributes.change(at), err
	}
	return PlanDirectory(ctx, r, at, d.Attributes, false) // a link to a directory, or an error
}

// original is a file of the project.
type original struct {
	fs   fs.FS
	name string
	info fs.FileInfo
	show bool // whether it is small enough to show how its copy differs

	showing Showing
}

// plan says what it takes to have a copy at a path; info is what is there now, or nil.
func (o original) plan(ctx context.Context, r host.Reader, p string, info *host.Info, w *wanted) (*builtin.Change, error) {
	if info == nil || info.Mode&fs.ModeSymlink != 0 {
		return o.planNew(p, info, w)
	}
	if !info.Mode.IsRegular() {
		return nil, notFile(p, info)
	}
	attributes, err := w.differ(*info)
	if err != nil {
		return nil, err
	}
	same, err := o.same(ctx, r, p, info)
	if err != nil {
		return nil, err
	}
	if same {
		return attributes.change(p), nil
	}
	c := &builtin.Change{
		Summary: []string{with("change "+p, size(info.Size)+" -> "+size(o.info.Size()))},
		Writes:  Dated(p),
		Apply:   func(ctx context.Context, h host.Host) error { return o.write(ctx, h, p, w.Attributes) },
	}
	if o.show && info.Size <= maxShown {
		before, err := r.ReadFile(ctx, p)
		if err != nil {
			return nil, err
		}
		after, err := fs.ReadFile(o.fs, o.name)
		if err != nil {
			return nil, sourceError(err)
		}
		c.Diffs = append(c.Diffs, o.showing.of(builtin.Diff{Path: p, Before: string(before), After: string(after)}, info, w.Mode))
	}
	if attributes.needed() {
		c.Summary = append(c.Summary, attributes.summary(p))
		c.Diffs = append(c.Diffs, attributes.diff(p))
	}
	return c, nil
}

func (o original) planNew(p string, link *host.Info, w *wanted) (*builtin.Change, error) {
	if err := w.known(); err != nil {
		return nil, err
	}
	a := w.Attributes
	if a.Mode == nil && o.info.Mode()&0o100 != 0 {
		executable := fs.FileMode(0o755)
		a.Mode = &executable
	}
	summary, replaces := "create "+p, []string(nil)
	if link != nil {
		summary, replaces = fmt.Sprintf("replace the link %s -> %s by a file", p, link.Target), []string{p}
	}
	c := &builtin.Change{
		Summary:  []string{with(summary, size(o.info.Size()), describe(a))},
		Writes:   Dated(p),
		Replaces: replaces,
		Apply:    func(ctx context.Context, h host.Host) error { return o.write(ctx, h, p, a) },
	}
	if o.show {
		after, err := fs.ReadFile(o.fs, o.name)
		if err != nil {
			return nil, sourceError(err)
		}
		c.Diffs = []builtin.Diff{o.showing.of(builtin.Diff{Path: p, After: string(after)}, nil, a.Mode)}
	}
	return c, nil
}

// same compares a file of the host with the original: by size, then by hash.
func (o original) same(ctx context.Context, r host.Reader, p string, info *host.Info) (bool, error) {
	if info.Size != o.info.Size() {
		return false, nil
	}
	var here, there string
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() (err error) { there, err = r.Hash(inner, p); return err })
	group.Go(func() (err error) { here, err = o.hash(inner); return err })
	err := group.Wait()
	return here == there, err
}
