package file

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type pathParams struct {
	Path string `star:"path,required" doc:"Absolute path."`
}

type readParams struct {
	Path   string `star:"path,required" doc:"Absolute path of the file."`
	Secret bool   `star:"secret" doc:"Whether the content is a secret: then it comes back as one."`
}

func read(ctx context.Context, r host.Reader, p readParams) (builtin.Text, error) {
	if err := CheckFilePath("path", p.Path); err != nil {
		return builtin.Text{}, err
	}
	content, err := r.ReadFile(ctx, p.Path)
	if p.Secret {
		return builtin.Secret(string(content)), err
	}
	return builtin.Plain(string(content)), err
}

// status is what file.stat returns.
type status struct {
	Exists bool       `star:"exists" doc:"Whether anything is there. If nothing is, the other attributes are empty."`
	Kind   string     `star:"kind" doc:"file, directory, link, socket, fifo or device."`
	Size   int64      `star:"size" doc:"Bytes."`
	Mode   string     `star:"mode" doc:"Permissions, in octal: \"0644\"."`
	Owner  string     `star:"owner" doc:"User name, or the number where it has none."`
	Group  string     `star:"group" doc:"Group name, or the number where it has none."`
	MTime  *time.Time `star:"mtime" doc:"When the content last changed."`
	Target string     `star:"target" doc:"Where a link points to."`
}

func stat(ctx context.Context, r host.Reader, p pathParams) (status, error) {
	if err := CheckPath("path", p.Path); err != nil {
		return status{}, err
	}
	info, err := statAny(ctx, r, p.Path)
	if err != nil || info == nil {
		return status{}, err
	}
	return status{
		Exists: true, Kind: kind(info.Mode), Size: info.Size, Mode: builtin.Mode(info.Mode &^ fs.ModeType).String(),
		Owner: info.Owner, Group: info.Group, MTime: &info.ModTime, Target: info.Target,
	}, nil
}

func list(ctx context.Context, r host.Reader, p pathParams) ([]string, error) {
	if err := CheckPath("path", p.Path); err != nil {
		return nil, err
	}
	found, err := r.ReadDir(ctx, p.Path)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = f.Name
	}
	return foretold(ctx, r, p.Path, names)
}

// foretold are the names in a directory as they would be by then in a dry run.
func foretold(ctx context.Context, r host.Reader, dir string, names []string) ([]string, error) {
	pending := builtin.Pending(ctx)
	if len(pending) == 0 {
		return names, nil
	}
	dir = directory(ctx, r, dir)
	for _, a := range pending {
		if a.Vague && !a.OfFile() {
			continue
		}
		for _, p := range a.Writes {
			p = path.Clean(p)
			switch {
			case !path.IsAbs(p), p == "/", directory(ctx, r, path.Dir(p)) != dir:
			case a.Vague && a.Builtin == "file.absent":
				return nil, &host.Replaced{Path: p, By: a.Builtin}
			case slices.Contains(names, path.Base(p)):
			default:
				if _, err := r.Stat(ctx, p); !isGone(err) {
					names = append(names, path.Base(p))
				}
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

func hash(ctx context.Context, r host.Reader, p pathParams) (string, error) {
	if err := CheckFilePath("path", p.Path); err != nil {
		return "", err
	}
	return r.Hash(ctx, p.Path)
}
