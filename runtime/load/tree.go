package load

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/runtime/suggest"
)

// tree is a set of files that scripts can name, with a root that nothing leads out of: the user's
// project, the standard library, or the playbooks that the binary carries.
type tree struct {
	fsys   fs.FS
	prefix string // how its files are shown: a path to the root, or "@stdlib//"
	bounds string // of a project: its root, and why it is that
}

// script is a file of a tree.
type script struct {
	tree *tree
	name string // slash-separated, from the root
}

// shown is how messages name the script. For a project's file that is a path which the user's shell
// would find.
func (s script) shown() string {
	if strings.HasSuffix(s.tree.prefix, "//") {
		return s.tree.prefix + s.name
	}
	return filepath.Join(s.tree.prefix, filepath.FromSlash(s.name))
}

// sibling resolves a path as a script writes it: relative to the script, or from the root with //.
func (s script) sibling(name string) (script, error) {
	clean := path.Join(path.Dir(s.name), name)
	if rest, ok := strings.CutPrefix(name, "//"); ok {
		clean = path.Clean(rest)
	} else if path.IsAbs(name) {
		return script{}, fmt.Errorf("%q is an absolute path: name a file relative to this one, or from the project's root as //dir/file", name)
	}
	if !fs.ValidPath(clean) {
		if s.tree.bounds == "" {
			return script{}, fmt.Errorf("%q is outside of %s", name, s.tree.prefix)
		}
		return script{}, fmt.Errorf("%q is outside of the project, whose root is %s: "+
			"move the file into it, or make a folder .git or playbooks in one that holds both", name, s.tree.bounds)
	}
	return script{s.tree, clean}, nil
}

// project opens the tree that a file of the user's belongs to, whose root projectRoot finds. A
// symbolic link that leads out of it cannot be followed.
func project(file string) (script, error) {
	absolute, err := filepath.Abs(file)
	if err != nil {
		return script{}, fmt.Errorf("cannot find %s: %w", file, err)
	}
	// The user may name a file through a link, as in ~/bin; what scripts name may not leave the project.
	if target, err := filepath.EvalSymlinks(absolute); err == nil {
		absolute = target
	}
	dir, marked := projectRoot(filepath.Dir(absolute))
	bounds := dir + ", the nearest folder with .git or a folder playbooks in it"
	if !marked {
		bounds = dir + ", the folder of " + filepath.Base(absolute) + ", as none from there upwards has .git or a folder playbooks in it"
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return script{}, err
	}
	inside, err := filepath.Rel(dir, absolute)
	if err != nil {
		return script{}, err
	}
	prefix := dir
	if wd, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(wd, dir); err == nil && len(short) < len(dir) {
			prefix = short
		}
	}
	return script{&tree{root.FS(), prefix, bounds}, filepath.ToSlash(inside)}, nil
}

// projectRoot is the nearest directory, from dir upwards, that holds .git or a directory playbooks, which mark
// it as one; dir itself where none does.
func projectRoot(dir string) (root string, marked bool) {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, ".git")); err == nil {
			return at, true
		}
		if info, err := os.Stat(filepath.Join(at, "playbooks")); err == nil && info.IsDir() {
			return at, true
		}
		if at == filepath.Dir(at) {
			return dir, false
		}
	}
}

// find says which file the user means by the playbook's name: a path as it is; a bare name, whose .star may be left out, here, then in
// the project root's playbooks, then among those that the binary carries.
func find(name string, carried fs.FS) (script, error) {
	isFile := func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && !info.IsDir()
	}
	if isFile(name) {
		return project(name)
	}
	if name != filepath.Base(name) {
		return script{}, fmt.Errorf("no playbook %s", name)
	}
	wd, err := os.Getwd()
	if err != nil {
		return script{}, err
	}
	root, _ := projectRoot(wd)
	playbooks := filepath.Join(root, "playbooks")
	names := []string{name}
	if filepath.Ext(name) != ".star" {
		names = append(names, name+".star")
	}
	for _, name := range names {
		for _, path := range []string{name, filepath.Join(playbooks, name)} {
			if isFile(path) {
				return project(path)
			}
		}
		if _, err := fs.Stat(carried, name); err == nil {
			return script{&tree{fsys: carried, prefix: "@playbooks//"}, name}, nil
		}
	}
	var have []string
	for _, from := range []fs.FS{os.DirFS("."), os.DirFS(playbooks), carried} {
		found, _ := fs.Glob(from, "*.star")
		have = append(have, slices.DeleteFunc(found, func(name string) bool { // what others load, and what is named already
			source, err := fs.ReadFile(from, name)
			return slices.Contains(have, name) || err != nil || !bytes.Contains(source, []byte("\nplay("))
		})...)
	}
	return script{}, fmt.Errorf("no playbook %s here, in %s, or among those pgrun carries%s",
		name, playbooks, suggest.Or(names[len(names)-1], have, " ("+strings.Join(have, ", ")+")"))
}
