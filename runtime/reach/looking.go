package reach

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/transport"
)

// looking is a host in a dry run. What it would look at where an earlier step would have put something else is *host.Replaced.
type looking struct {
	*transport.Reader
	owned
	others *places
}

// places are where something else would stand by then, as no link leads to them.
type places struct {
	mu   sync.Mutex
	seen int                       // of what was announced
	by   map[string]*host.Replaced // never written to, as others read it

	infos sync.Map // of directories and links, by path
}

// Stat is that of host.Reader.
func (l looking) Stat(ctx context.Context, p string) (host.Info, error) {
	info, err := l.Reader.Stat(ctx, p)
	return info, l.known(ctx, p, err)
}

// ReadFile is that of host.Reader.
func (l looking) ReadFile(ctx context.Context, p string) ([]byte, error) {
	content, err := l.Reader.ReadFile(ctx, p)
	return content, l.known(ctx, followed(p), err)
}

// ReadDir is that of host.Reader.
func (l looking) ReadDir(ctx context.Context, p string) ([]host.Info, error) {
	found, err := l.Reader.ReadDir(ctx, p)
	if err = l.known(ctx, followed(p), err); err != nil {
		return nil, err
	}
	if others := l.replaced(ctx); len(others) > 0 {
		dir, _ := l.walk(ctx, followed(p), others)
		found = slices.DeleteFunc(found, func(i host.Info) bool {
			by := others[path.Join("/", dir, i.Name)]
			return by != nil && by.Gone
		})
	}
	return found, nil
}

// Hash is that of host.Reader.
func (l looking) Hash(ctx context.Context, p string) (string, error) {
	sum, err := l.Reader.Hash(ctx, p)
	return sum, l.known(ctx, followed(p), err)
}

// followed is a path whose end is followed where it is a link.
func followed(p string) string { return p + "/." }

// Known is that of host.Still.
func (l looking) Known(ctx context.Context, p string) error { return l.known(ctx, followed(p), nil) }

// known is the error of a look at a path, which something else that would stand on its way makes another one.
func (l looking) known(ctx context.Context, p string, err error) error {
	var unreachable *host.Unreachable
	if ctx.Err() != nil || errors.Is(err, host.ErrAbsent) || errors.As(err, &unreachable) {
		return err
	}
	others := l.replaced(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if len(others) == 0 {
		return err
	}
	if _, by := l.walk(ctx, p, others); by != nil {
		return by
	}
	return err
}

// replaced are the places of all that was announced.
func (l looking) replaced(ctx context.Context) map[string]*host.Replaced {
	l.others.mu.Lock()
	defer l.others.mu.Unlock()
	announced := l.hosts.Announced(l.host)
	for _, a := range announced[l.others.seen:] {
		by := maps.Clone(l.others.by)
		l.refill(ctx, a, by)
		l.replace(ctx, a, a.Replaces, false, by)
		l.replace(ctx, a, a.Removes, true, by)
		if ctx.Err() != nil { // then not all was found out
			break
		}
		l.others.by = by
		l.others.seen++
	}
	return l.others.by
}

// replace notes what would stand elsewhere than at some paths, but for those which another such one is before.
func (l looking) replace(ctx context.Context, a builtin.Announcement, paths []string, gone bool, by map[string]*host.Replaced) {
	for _, p := range paths {
		p = path.Clean(p)
		if dir, before := l.walk(ctx, followed(path.Dir(p)), by); before == nil {
			by[path.Join("/", dir, path.Base(p))] = &host.Replaced{Path: p, By: a.Builtin, Gone: gone}
		}
	}
}

// refill has what was to be gone not be so where something is written in its place, or below, or may be: what runs writes more than it says.
func (l looking) refill(ctx context.Context, a builtin.Announcement, by map[string]*host.Replaced) {
	for place, r := range by {
		if r.Gone && !a.OfFile() {
			by[place] = &host.Replaced{Path: r.Path, By: r.By}
		}
	}
	for _, p := range a.Writes {
		if place, r := l.walk(ctx, p, by); r != nil && r.Gone {
			by[place] = &host.Replaced{Path: r.Path, By: a.Builtin}
		}
	}
}

// walk returns the place of a path, or the error of another thing that would be on the way.
func (l looking) walk(ctx context.Context, p string, others map[string]*host.Replaced) (place string, by *host.Replaced) {
	for place = range host.Walk(ctx, l, p) {
		if by := others[place]; by != nil {
			return place, by
		}
	}
	return place, nil
}

// Remembering is that of host.Still: a dry run moves nothing.
func (l looking) Remembering() host.Reader { return remembering{l.Reader, &l.others.infos} }

type remembering struct {
	*transport.Reader
	infos *sync.Map // by path
}

// Stat is that of host.Reader.
func (r remembering) Stat(ctx context.Context, p string) (host.Info, error) {
	if info, ok := r.infos.Load(p); ok {
		return info.(host.Info), nil
	}
	info, err := r.Reader.Stat(ctx, p)
	if err == nil && info.Mode&(fs.ModeDir|fs.ModeSymlink) != 0 {
		r.infos.Store(p, info)
	}
	return info, err
}
