package file

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type linkParams struct {
	Path   string `star:"path,required" doc:"Absolute path of the link."`
	Target string `star:"target,required" doc:"What it points to: an absolute path, or one relative to the link's directory. It need not exist."`
	Force  bool   `star:"force" doc:"Whether a file that stands at the path is replaced by the link."`
}

func checkLink(ctx context.Context, r host.Reader, p linkParams) (*builtin.Change, error) {
	if err := CheckFilePath("path", p.Path); err != nil {
		return nil, err
	}
	if p.Target == "" {
		return nil, fmt.Errorf("target is empty")
	}
	info, err := statAny(ctx, r, p.Path)
	if err != nil {
		return nil, err
	}
	c := &builtin.Change{
		Summary:  []string{fmt.Sprintf("link %s -> %s", p.Path, p.Target)},
		Diffs:    []builtin.Diff{{Path: p.Path, After: "link to " + p.Target + "\n"}},
		Writes:   Dated(p.Path),
		Replaces: []string{p.Path},
		Apply:    func(ctx context.Context, h host.Host) error { return h.Symlink(ctx, p.Target, p.Path) },
	}
	switch {
	case info == nil:
		return c, needParent(ctx, r, p.Path)
	case info.Mode&fs.ModeSymlink != 0 && info.Target == p.Target:
		return nil, nil
	case info.Mode&fs.ModeSymlink != 0:
		c.Summary[0] += " (was " + info.Target + ")"
		c.Diffs[0].Before = "link to " + info.Target + "\n"
	case info.Mode.IsRegular() && p.Force:
		c.Summary[0] += " (replaces a file of " + size(info.Size) + ")"
		c.Diffs[0].Before = "file of " + size(info.Size) + "\n"
	case info.Mode.IsRegular():
		return nil, fmt.Errorf("path %s is a file, where a link is wanted: say force = True to replace it", p.Path)
	default:
		return nil, fmt.Errorf("path %s is a %s, where a link is wanted: remove it first, with file.absent", p.Path, kind(info.Mode))
	}
	return c, nil
}
