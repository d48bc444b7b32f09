package reach

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"strings"
	"sync"

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
	return found, l.known(ctx, followed(p), err)
}

// Hash is that of host.Reader.
func (l looking) Hash(ctx context.Context, p string) (string, error) {
	sum, err := l.Reader.Hash(ctx, p)
	return sum, l.known(ctx, followed(p), err)
}

// followed is a path whose end is followed where it is a link.
func followed(p string) string { return p + "/." }

// known is the error of a look at a path, which something else that would stand on its way makes another one.
func (l looking) known(ctx context.Context, p string, err error) error {
	var unreachable *host.Unreachable
	if ctx.Err() != nil || errors.Is(err, host.ErrAbsent) || errors.As(err, &unreachable) {
		return err
	}
	others := l.replaced(ctx)
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
		for _, other := range a.Replaces {
			if !path.IsAbs(other) { // what is vague may be about no file
				continue
			}
			if at, before := l.walk(ctx, followed(path.Dir(path.Clean(other))), l.others.by); before == nil {
				l.others.by = maps.Clone(l.others.by)
				l.others.by[path.Join(at, path.Base(other))] = &host.Replaced{Path: other, By: a.Builtin}
			}
		}
	}
	l.others.seen = len(announced)
	return l.others.by
}

// maxLinks is how many links are followed, as in path_resolution(7).
const maxLinks = 40

// walk goes to the end of a path as the kernel does, and to the first place of another thing if one is on the way. Where it can go no further,
// the rest of the path is as it stands: who looks there is told why.
func (l looking) walk(ctx context.Context, p string, others map[string]*host.Replaced) (at string, by *host.Replaced) {
	at = "/"
	for rest, links := strings.Split(p, "/"), 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		next := path.Join(at, name) // of a .. the parent, as no link leads to at
		if by := others[next]; by != nil {
			return next, by
		}
		if len(rest) == 0 {
			return next, nil
		}
		switch info, err := l.Reader.Stat(ctx, next); {
		case err == nil && info.Mode&fs.ModeSymlink == 0:
			at = next
		case err == nil && links < maxLinks:
			links++
			if path.IsAbs(info.Target) {
				at = "/"
			}
			rest = append(strings.Split(info.Target, "/"), rest...)
		default:
			return path.Join(next, path.Join(rest...)), nil
		}
	}
	return at, nil
}
