package file

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// attributeParams are the parameters that all files have.
type attributeParams struct {
	Owner string                         `star:"owner" doc:"User who owns it: a name, or a number."`
	Group string                         `star:"group" doc:"Group that it belongs to: a name, or a number."`
	Mode  builtin.Optional[builtin.Mode] `star:"mode" doc:"Permissions, in octal: \"0644\". Left out they stay; what is new gets 0644, a directory 0755, a file with a secret 0600: see pgrun docs file, and file.copy."`
}

// contentParams are the parameters of what gives a file its content.
type contentParams struct {
	attributeParams
	Diff builtin.Optional[bool] `star:"diff" doc:"Whether --diff shows the content. Left out, it does where everyone may read the file. That of a secret is never shown."`
}

// Showing says whether the content of a file is shown that everyone may read, or not everyone. Its zero value leaves
// that to the file's mode.
type Showing builtin.Optional[bool]

// of is how a file differs; info is what is there now, or nil, and mode what it will be, where that is known.
func (s Showing) of(d builtin.Diff, info *host.Info, mode *fs.FileMode) builtin.Diff {
	switch {
	case s.Set && !s.Value:
		d.Withheld = "diff = False"
	case !s.Set && (info != nil && narrow(info.Mode) || mode != nil && narrow(*mode)):
		d.Withheld = "not everyone may read the file; diff = True shows it"
	}
	return d
}

// narrow reports whether a mode keeps everyone from reading: what the file holds may be a secret that pgrun does not
// know.
func narrow(mode fs.FileMode) bool { return mode&0o004 == 0 }

func (p attributeParams) attributes() host.Attributes {
	return host.Attributes{Owner: p.Owner, Group: p.Group, Mode: modeOf(p.Mode)}
}

func modeOf(m builtin.Optional[builtin.Mode]) *fs.FileMode {
	if !m.Set {
		return nil
	}
	mode := fs.FileMode(m.Value)
	return &mode
}

// wanted are attributes to compare with those of files. Their accounts are looked up once, and only
// where the names alone do not tell.
type wanted struct {
	host.Attributes
	owner, group func() ([]string, error) // every way to write the account
}

func want(ctx context.Context, r host.Reader, a host.Attributes) *wanted {
	return &wanted{
		Attributes: a,
		owner:      sync.OnceValues(func() ([]string, error) { return account(ctx, r, "passwd", a.Owner) }),
		group:      sync.OnceValues(func() ([]string, error) { return account(ctx, r, "group", a.Group) }),
	}
}

// account returns an account's name and number.
func account(ctx context.Context, r host.Reader, database, name string) ([]string, error) {
	parameter, module := "owner", "user"
	if database == "group" {
		parameter, module = "group", "group"
	}
	if strings.HasPrefix(name, "-") || strings.ContainsAny(name, ": \t\n/") {
		return nil, fmt.Errorf("%s %q is not a name that a %s can have", parameter, name, module)
	}
	c := host.Command{Argv: []string{"getent", database, name}}
	out, err := r.Look(ctx, c)
	if err != nil {
		return nil, err
	}
	if fields := strings.Split(out.Stdout, ":"); out.RC == 0 && len(fields) > 2 {
		return []string{name, fields[0], fields[2]}, nil
	}
	if _, err := strconv.ParseUint(name, 10, 32); err == nil {
		return []string{name}, nil // a number needs no account
	}
	if out.RC != 2 { // getent(1): one or more keys could not be found
		return nil, &host.Failed{Command: c.String(), Output: out}
	}
	return nil, host.NotThere("%s %q: no such %s on the machine: make it first, with %s.present", parameter, name, module, module)
}

// known fails where an account is wanted that does not exist.
func (w *wanted) known() error {
	if w.Owner != "" {
		if _, err := w.owner(); err != nil {
			return err
		}
	}
	if w.Group != "" {
		if _, err := w.group(); err != nil {
			return err
		}
	}
	return nil
}

// attributeChange is what differs between a file's attributes and those wanted.
type attributeChange struct {
	set           host.Attributes // those that differ
	before, after []string        // as lines
}

func (c attributeChange) needed() bool { return len(c.after) > 0 }

// differ compares.
func (w *wanted) differ(info host.Info) (attributeChange, error) {
	var c attributeChange
	if w.Owner != "" && w.Owner != info.Owner {
		names, err := w.owner()
		if err != nil {
			return c, err
		}
		if !slices.Contains(names, info.Owner) {
			c.set.Owner = w.Owner
			c.add("owner", info.Owner, w.Owner)
		}
	}
	if w.Group != "" && w.Group != info.Group {
		names, err := w.group()
		if err != nil {
			return c, err
		}
		if !slices.Contains(names, info.Group) {
			c.set.Group = w.Group
			c.add("group", info.Group, w.Group)
		}
	}
	if has := info.Mode &^ fs.ModeType; w.Mode != nil && *w.Mode != has {
		c.set.Mode = w.Mode
		c.add("mode", builtin.Mode(has).String(), builtin.Mode(*w.Mode).String())
	}
	if c.needed() && c.set.Mode == nil && info.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		// chown(2) takes setuid and setgid away, and they were to stay.
		has := info.Mode &^ fs.ModeType
		c.set.Mode = &has
	}
	return c, nil
}

func (c *attributeChange) add(what, before, after string) {
	c.before = append(c.before, what+" "+before+"\n")
	c.after = append(c.after, what+" "+after+"\n")
}

// summary is "set mode 0600, owner postgres of /x".
func (c attributeChange) summary(p string) string {
	words := make([]string, len(c.after))
	for i, line := range c.after {
		words[i] = strings.TrimSpace(line)
	}
	return "set " + strings.Join(words, ", ") + " of " + p
}

// diff shows the attributes as lines.
func (c attributeChange) diff(p string) builtin.Diff {
	return builtin.Diff{Path: p + " (attributes)", Before: strings.Join(c.before, ""), After: strings.Join(c.after, "")}
}

// change sets the attributes of a file whose content stays; nil where nothing differs.
func (c attributeChange) change(p string) *builtin.Change {
	if !c.needed() {
		return nil
	}
	return &builtin.Change{
		Summary: []string{c.summary(p)},
		Diffs:   []builtin.Diff{c.diff(p)},
		Apply:   func(ctx context.Context, h host.Host) error { return h.SetAttributes(ctx, p, c.set) },
	}
}

// describe is "mode 0600, owner postgres" for a new file with those attributes; empty for none.
func describe(a host.Attributes) string {
	var words []string
	if a.Owner != "" {
		words = append(words, "owner "+a.Owner)
	}
	if a.Group != "" {
		words = append(words, "group "+a.Group)
	}
	if a.Mode != nil {
		words = append(words, "mode "+builtin.Mode(*a.Mode).String())
	}
	return strings.Join(words, ", ")
}

// with is text and its details in brackets, where there are any.
func with(text string, details ...string) string {
	details = slices.DeleteFunc(details, func(d string) bool { return d == "" })
	if len(details) == 0 {
		return text
	}
	return text + " (" + strings.Join(details, ", ") + ")"
}
