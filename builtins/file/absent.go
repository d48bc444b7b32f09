package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type absentParams struct {
	Path      string `star:"path,required" doc:"Absolute path. A link is removed, not what it points to."`
	Recursive bool   `star:"recursive" doc:"Whether a directory is removed with all below it."`
}

func checkAbsent(ctx context.Context, r host.Reader, p absentParams) (*builtin.Change, error) {
	if err := CheckPath("path", p.Path); err != nil {
		return nil, err
	}
	return PlanAbsent(ctx, r, path.Clean(p.Path), p.Recursive)
}

// PlanAbsent says what it takes to have nothing at a path; nil where nothing is.
func PlanAbsent(ctx context.Context, r host.Reader, p string, recursive bool) (*builtin.Change, error) {
	if p == "/" {
		return nil, fmt.Errorf("path is the root directory")
	}
	info, err := r.Stat(ctx, p)
	if isGone(err) {
		return nil, nil
	}
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, host.ErrAbsent) {
		return nil, rewritten(ctx, r, p)
	}
	if err != nil {
		return nil, err
	}
	summary := fmt.Sprintf("remove %s %s", kind(info.Mode), p)
	if info.Mode.IsDir() {
		inside, err := r.ReadDir(ctx, p)
		if err != nil {
			return nil, err
		}
		if len(inside) > 0 && !recursive {
			for _, entry := range inside {
				if _, err := r.Stat(ctx, path.Join(p, entry.Name)); isReplaced(err) {
					return nil, err
				}
			}
			return nil, fmt.Errorf("path %s is a directory that is not empty (%s): say recursive = True to remove it with all below it", p, first(inside))
		}
		if len(inside) > 0 {
			summary += fmt.Sprintf(" and all below it (%s)", first(inside))
		}
	}
	return &builtin.Change{
		Summary: []string{summary},
		Writes:  []string{path.Dir(p)},
		Removes: []string{p},
		Apply:   func(ctx context.Context, h host.Host) error { return h.Remove(ctx, p, recursive) },
	}, nil
}

// first names the first entries of a directory.
func first(inside []host.Info) string {
	const most = 3
	var names []string
	for _, info := range inside[:min(most, len(inside))] {
		names = append(names, info.Name)
	}
	list := strings.Join(names, ", ")
	if more := len(inside) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", list, more)
	}
	return list
}
