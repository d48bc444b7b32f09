package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/builtins/template"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type wholeParams struct {
	Path    string       `star:"path,required" doc:"Absolute path of the file."`
	Content builtin.Text `star:"content,required" doc:"The file's whole content, as it is: a last newline is neither added nor taken away."`
	contentParams
}

func checkContent(ctx context.Context, r host.Reader, p wholeParams) (*builtin.Change, error) {
	return PlanContent(ctx, r, Spec{p.Path, p.Content, p.attributes(), Showing(p.Diff)})
}

type templateParams struct {
	Path     string           `star:"path,required" doc:"Absolute path of the file."`
	Template builtin.Template `star:"template,required" doc:"The template, relative to the file that calls, or from the project's root with //."`
	Vars     builtin.Dict     `star:"vars" doc:"The template's variables: dict(port = 5432) is .port in the template."`
	contentParams
}

func checkTemplate(ctx context.Context, r host.Reader, p templateParams) (*builtin.Change, error) {
	content, err := template.Fill(p.Template.Source, starlark.StringDict(p.Vars))
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	return PlanContent(ctx, r, Spec{p.Path, content, p.attributes(), Showing(p.Diff)})
}

// Spec is a file as it is to be.
type Spec struct {
	Path    string
	Content builtin.Text
	host.Attributes
	Showing Showing // of its content in a diff
}

// PlanContent says what it takes to make a file so; nil where it is. Its errors name the parameters path,
// owner and group. A file that is already so costs two round trips.
func PlanContent(ctx context.Context, r host.Reader, s Spec) (*builtin.Change, error) {
	if err := CheckFilePath("path", s.Path); err != nil {
		return nil, err
	}
	info, err := statAny(ctx, r, s.Path)
	if err != nil {
		return nil, err
	}
	if info == nil || info.Mode&fs.ModeSymlink != 0 {
		return planNew(ctx, r, s, info)
	}
	if !info.Mode.IsRegular() {
		return nil, notFile(s.Path, info)
	}
	old, err := current(ctx, r, s.Path, *info, s.Content.Reveal())
	if err != nil {
		return nil, err
	}
	return planReplace(ctx, r, s, *info, old)
}

// planNew makes a file where there is none, or a link.
func planNew(ctx context.Context, r host.Reader, s Spec, link *host.Info) (*builtin.Change, error) {
	if err := want(ctx, r, s.Attributes).known(); err != nil {
		return nil, err
	}
	if link != nil {
		c := s.create(fmt.Sprintf("replace the link %s -> %s by a file", s.Path, link.Target))
		c.Replaces = []string{s.Path}
		return c, nil
	}
	if err := needParent(ctx, r, s.Path); err != nil {
		return nil, err
	}
	return s.create("create " + s.Path), nil
}

// create makes a file that is not there.
func (s Spec) create(summary string) *builtin.Change {
	if s.Mode == nil && s.Content.IsSecret() {
		private := fs.FileMode(0o600)
		s.Mode = &private
	}
	return &builtin.Change{
		Summary: []string{with(summary, size(int64(len(s.Content.Reveal()))), describe(s.Attributes))},
		Diffs:   []builtin.Diff{s.diff("", nil)},
		Writes:  Dated(s.Path),
		Apply:   s.write,
	}
}

// PlanContentAndParents is PlanContent for a file whose directory may be missing: it and those above it
// are made too, root's with mode 0755.
func PlanContentAndParents(ctx context.Context, r host.Reader, s Spec) (*builtin.Change, error) {
	if err := CheckFilePath("path", s.Path); err != nil {
		return nil, err
	}
	missing, err := missingParents(ctx, r, path.Clean(s.Path))
	if err != nil {
		return nil, err
	}
	if len(missing) == 0 {
		return PlanContent(ctx, r, s)
	}
	if err := want(ctx, r, s.Attributes).known(); err != nil {
		return nil, err
	}
	last := len(missing) - 1
	return builtin.Join(makeDirectories(missing[:last], missing[last], host.Attributes{}), s.create("create "+s.Path)), nil
}

// diff is how the file differs from what is there now, or nil.
func (s Spec) diff(before string, info *host.Info) builtin.Diff {
	return s.Showing.of(builtin.Diff{Path: s.Path, Before: before, After: s.Content.Reveal(), Secret: s.Content.IsSecret()}, info, s.Mode)
}

// Dated are the paths that have a new date when a file is put in its place, or made: it and its directory.
func Dated(p string) []string {
	p = path.Clean(p)
	return []string{p, path.Dir(p)}
}

// write puts the file in its place.
func (s Spec) write(ctx context.Context, h host.Host) error {
	return h.WriteFile(ctx, s.Path, strings.NewReader(s.Content.Reveal()), s.Attributes)
}

// content is what a file holds: its text, where that was read.
type content struct {
	text string
	read bool
	same bool // as what is wanted
}

// maxShown is the size up to which files are read to show how they differ.
const maxShown = 512 << 10

// current reads a regular file if that is needed to compare it with what is wanted, or to show how they
// differ. Large files are compared by their hash.
func current(ctx context.Context, r host.Reader, p string, info host.Info, wanted string) (content, error) {
	if err := rewritten(ctx, r, p); err != nil {
		return content{}, err
	}
	sameSize := info.Size == int64(len(wanted))
	if sameSize && info.Size > maxShown {
		has, err := r.Hash(ctx, p)
		sum := sha256.Sum256([]byte(wanted))
		return content{same: has == hex.EncodeToString(sum[:])}, err
	}
	if !sameSize && info.Size > maxShown {
		return content{}, nil
	}
	text, err := r.ReadFile(ctx, p)
	return content{string(text), true, string(text) == wanted}, err
}

// planReplace makes a regular file what it is to be. Where the content is a secret and no mode is given, everyone
// loses the file: a new one would not be theirs either.
func planReplace(ctx context.Context, r host.Reader, s Spec, info host.Info, old content) (*builtin.Change, error) {
	if s.Mode == nil && s.Content.IsSecret() && info.Mode&everyone != 0 {
		narrowed := info.Mode &^ (fs.ModeType | everyone)
		s.Mode = &narrowed
	}
	attributes, err := want(ctx, r, s.Attributes).differ(info)
	if err != nil {
		return nil, err
	}
	if old.same {
		return attributes.change(s.Path), nil
	}
	summary := "change " + s.Path
	if !old.read {
		summary = with(summary, size(info.Size)+" -> "+size(int64(len(s.Content.Reveal()))))
	}
	c := &builtin.Change{Summary: []string{summary}, Writes: Dated(s.Path), Apply: s.write}
	if old.read {
		c.Diffs = append(c.Diffs, s.diff(old.text, &info))
	}
	if attributes.needed() {
		c.Summary = append(c.Summary, attributes.summary(s.Path))
		c.Diffs = append(c.Diffs, attributes.diff(s.Path))
	}
	return c, nil
}

// everyone are the permission bits of those who are neither a file's owner nor in its group.
const everyone fs.FileMode = 0o007

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n == 1:
		return "1 byte"
	case n < 10<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
