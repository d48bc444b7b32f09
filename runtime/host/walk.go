package host

import (
	"context"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
)

// MaxLinks is how many links are followed, as in path_resolution(7).
const MaxLinks = 40

// Still is what a Reader can be, too, where nothing moves meanwhile: in a dry run.
type Still interface {
	// Remembering looks at each directory and link once.
	Remembering() Reader

	// Known is *Replaced where a path, links followed, would be another by then. It looks at nothing else.
	Known(ctx context.Context, path string) error
}

// Walk goes along a path as the kernel does, links followed but for one at its end, and yields the place of each thing on the way, to which no
// link leads. Where it can go no further, the rest of the path is as it stands: who looks there is told why.
func Walk(ctx context.Context, r Reader, p string) iter.Seq[string] {
	if still, ok := r.(Still); ok {
		r = still.Remembering()
	}
	return func(yield func(string) bool) {
		at, lost := "/", false
		for rest, links := strings.Split(p, "/"), 0; len(rest) > 0; {
			name := rest[0]
			rest = rest[1:]
			if name == "" || name == "." {
				continue
			}
			next := path.Join(at, name) // of a .. the parent, as no link leads to at
			if !yield(next) {
				return
			}
			if len(rest) == 0 || lost {
				at = next
				continue
			}
			switch info, err := r.Stat(ctx, next); {
			case err == nil && info.Mode&fs.ModeSymlink != 0 && links < MaxLinks:
				links++
				if path.IsAbs(info.Target) {
					at = "/"
				}
				rest = slices.Concat(strings.Split(info.Target, "/"), rest)
				if !yield(at) { // a link to it may end there
					return
				}
			default:
				at, lost = next, err != nil || info.Mode&fs.ModeDir == 0
			}
		}
	}
}

// Place is a path as no link leads to it.
func Place(ctx context.Context, r Reader, p string) string {
	end := "/"
	for end = range Walk(ctx, r, p) {
	}
	return end
}
