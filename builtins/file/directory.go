package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type directoryParams struct {
	Path string `star:"path,required" doc:"Absolute path of the directory."`
	attributeParams
	Parents bool `star:"parents" doc:"Whether missing directories above it are made too: root's, with mode 0755."`
}

func checkDirectory(ctx context.Context, r host.Reader, p directoryParams) (*builtin.Change, error) {
	if err := CheckPath("path", p.Path); err != nil {
		return nil, err
	}
	return PlanDirectory(ctx, r, path.Clean(p.Path), p.attributes(), p.Parents)
}

// PlanDirectory says what it takes to have a directory with those attributes; nil where it is so. A link
// to a directory counts as one, and the attributes are those of the directory.
func PlanDirectory(ctx context.Context, r host.Reader, p string, a host.Attributes, parents bool) (*builtin.Change, error) {
	end, info, err := follow(ctx, r, p)
	if err != nil {
		return nil, err
	}
	if info != nil {
		if !info.Mode.IsDir() {
			return nil, fmt.Errorf("path %s is a %s, where a directory is wanted: remove it first, with file.absent", end, kind(info.Mode))
		}
		attributes, err := want(ctx, r, a).differ(*info)
		return attributes.change(end), err
	}
	if end != p {
		return nil, danglingLink(p, end)
	}
	if err := want(ctx, r, a).known(); err != nil {
		return nil, err
	}
	missing, err := missingParents(ctx, r, p)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 && !parents {
		return nil, host.NotThere("no directory %s on the machine: say parents = True to have it made", path.Dir(p))
	}
	return makeDirectories(missing, p, a), nil
}

// missingParents lists the directories above p that do not exist, the topmost first.
func missingParents(ctx context.Context, r host.Reader, p string) ([]string, error) {
	var missing []string
	for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
		info, err := isDirectory(ctx, r, dir)
		if err != nil {
			return nil, err
		}
		if info != nil {
			break
		}
		if err := notDangling(ctx, r, dir); err != nil {
			return nil, err
		}
		missing = append([]string{dir}, missing...)
	}
	return missing, nil
}

func makeDirectories(parents []string, p string, a host.Attributes) *builtin.Change {
	c := &builtin.Change{}
	for _, dir := range parents {
		c.Summary = append(c.Summary, "create directory "+dir)
	}
	c.Summary = append(c.Summary, with("create directory "+p, describe(a)))
	for _, dir := range append(slices.Clone(parents), p) {
		c.Writes = append(c.Writes, Dated(dir)...)
	}
	c.Apply = func(ctx context.Context, h host.Host) error {
		for _, dir := range parents {
			if err := h.Mkdir(ctx, dir, host.Attributes{}); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
		err := h.Mkdir(ctx, p, a)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Another run has made it since it was looked at. What is no directory itself, but a link to one, is somebody else's.
		info, err := statAny(ctx, h, p)
		if err != nil {
			return err
		}
		if info != nil && !info.Mode.IsDir() {
			return fmt.Errorf("path %s: somebody else has made it a %s meanwhile", p, kind(info.Mode))
		}
		rest, err := PlanDirectory(ctx, h, p, a, false)
		if err != nil || !rest.Needed() {
			return err
		}
		return rest.Apply(ctx, h)
	}
	return c
}
