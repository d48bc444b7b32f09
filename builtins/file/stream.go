package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// hash is the original's SHA-256, as host.Reader has it.
func (o original) hash(ctx context.Context) (string, error) {
	f, err := o.fs.Open(o.name)
	if err != nil {
		return "", sourceError(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, untilDone{ctx, f}); err != nil {
		return "", fmt.Errorf("source %s: %w", o.name, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// write streams the original to the host.
func (o original) write(ctx context.Context, h host.Host, p string, a host.Attributes) error {
	f, err := o.fs.Open(o.name)
	if err != nil {
		return sourceError(err)
	}
	defer f.Close()
	return h.WriteFile(ctx, p, f, a)
}

// untilDone reads no more once its context is done.
type untilDone struct {
	ctx  context.Context
	from io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.from.Read(p)
}

// together is builtin.Join for changes that need no order: several are made at a time.
func together(changes []*builtin.Change) *builtin.Change {
	all := builtin.Join(changes...)
	if all == nil {
		return nil
	}
	all.Apply = func(ctx context.Context, h host.Host) error {
		group, inner := errgroup.WithContext(ctx)
		group.SetLimit(atOnce)
		for _, c := range changes {
			if c.Needed() {
				group.Go(func() error { return c.Apply(inner, h) })
			}
		}
		return group.Wait()
	}
	return all
}

// maxLines is how many lines of a summary say what becomes of single files.
const maxLines = 20

// summarised shortens the summary of a large directory.
func summarised(c *builtin.Change) *builtin.Change {
	if c != nil && len(c.Summary) > maxLines {
		more := len(c.Summary) - maxLines
		c.Summary = append(c.Summary[:maxLines:maxLines], fmt.Sprintf("and %d more changes", more))
	}
	return c
}
