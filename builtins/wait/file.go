package wait

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type fileParams struct {
	Path     string                   `star:"path,required" doc:"Absolute path."`
	State    string                   `star:"state" choices:"present absent" doc:"present or absent."`
	Contains builtin.Optional[string] `star:"contains" doc:"Text that the file must contain."`
	pace
}

func file(ctx context.Context, r host.Reader, p fileParams) (time.Duration, error) {
	switch {
	case !path.IsAbs(p.Path):
		return 0, fmt.Errorf("path %q is not absolute: begin it with /", p.Path)
	case p.State == "absent" && p.Contains.Set:
		return 0, errors.New("contains is for state = \"present\"")
	}
	what := "file " + p.Path + " " + p.State
	if p.Contains.Set {
		what = fmt.Sprintf("file %s containing %q", p.Path, p.Contains.Value)
	}
	return p.until(ctx, what, func(ctx context.Context) error { return p.look(ctx, r) })
}

func (p fileParams) look(ctx context.Context, r host.Reader) error {
	if p.Contains.Set {
		content, err := r.ReadFile(ctx, p.Path)
		if err == nil && !strings.Contains(string(content), p.Contains.Value) {
			err = fmt.Errorf("its %d bytes do not contain it", len(content))
		}
		return err
	}
	_, err := r.Stat(ctx, p.Path)
	if p.State == "present" {
		return err
	}
	switch {
	case err == nil:
		return errors.New("it is still there")
	case errors.Is(err, fs.ErrNotExist) && !errors.Is(err, host.ErrAbsent):
		return nil
	}
	return err
}
