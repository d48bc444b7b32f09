// Package password is the module password: passwords that a playbook makes once and keeps.
//
// A kept password is a file on the operator's side, outside of every host that it gives access to: who
// loses a host has not lost it, and every run finds the same one again.
package password

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path"
	"strings"

	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// Module returns the module password.
func Module() builtin.Module {
	return builtin.Module{
		Name: "password",
		Doc:  "Passwords that are made once and kept.",
		Builtins: []builtin.Builtin{
			&builtin.Action[keptParams]{
				Name: "kept",
				Doc: "Returns the password that is kept in a file, which only its owner can read; where there is none, makes one. " +
					"The file is best where pgrun runs, on a host with the transport \"local\". In a dry run a password that is not there yet is stood in for by another.",
				Defaults: keptParams{Length: 32, Alphabet: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"},
				Result:   keptResult{},
				Check:    check,
			},
		},
	}
}

type keptParams struct {
	Path     string `star:"path,required" doc:"Absolute path of the file. Missing directories above it are made."`
	Length   int    `star:"length" doc:"Characters of a new password."`
	Alphabet string `star:"alphabet" doc:"What a new password is made of."`
}

type keptResult struct {
	Value builtin.Text `star:"value" doc:"The password."`
}

// shortest is the least length of a new password.
const shortest = 12

func check(ctx context.Context, r host.Reader, p keptParams) (*builtin.Change, error) {
	if err := p.valid(); err != nil {
		return nil, err
	}
	kept, err := read(ctx, r, p.Path)
	if err != nil {
		return nil, err
	}
	if kept != "" {
		return p.private(ctx, r, kept)
	}
	directory, err := file.PlanDirectory(ctx, r, path.Dir(path.Clean(p.Path)), host.Attributes{}, true)
	if err != nil {
		return nil, err
	}
	result := &keptResult{builtin.Secret(p.generate())}
	return &builtin.Change{
		Summary: []string{fmt.Sprintf("make a password of %d characters and keep it in %s", p.Length, p.Path)},
		Writes:  file.Dated(p.Path),
		Learned: result,
		Apply: func(ctx context.Context, h host.Host) error {
			if directory.Needed() {
				if err := directory.Apply(ctx, h); err != nil && !errors.Is(err, fs.ErrExist) {
					return err
				}
			}
			kept, err := p.keep(ctx, h, result.Value.Reveal())
			result.Value = builtin.Secret(kept)
			return err
		},
	}, nil
}

// keep writes a password to the file and returns it; where somebody else was quicker, another task or another run,
// it returns theirs. The file gets its name by a hard link, which fails where the name is taken. The draft's name is
// always the same, and one that was left behind is used: when power fails, the file's new name can be lost while other
// machines have the password already.
func (p keptParams) keep(ctx context.Context, h host.Host, made string) (string, error) {
	draft, permissions := path.Clean(p.Path)+".new", fs.FileMode(0o600)
	if left, err := read(ctx, h, draft); err != nil {
		return "", err
	} else if left == "" {
		if err := h.WriteFile(ctx, draft, strings.NewReader(made+"\n"), host.Attributes{Mode: &permissions, Durable: true}); err != nil {
			return "", err
		}
	}
	c := host.Command{Argv: []string{"ln", "-T", draft, path.Clean(p.Path)}}
	_, linked := host.Succeeded(c)(h.Run(ctx, c))
	if err := h.Remove(ctx, draft, false); err != nil {
		return "", err
	}
	kept, err := read(ctx, h, p.Path)
	if err == nil && kept == "" {
		err = cmp.Or(linked, fmt.Errorf("%s is gone, which was just made: something removes it", p.Path))
	}
	return kept, err
}

func (p keptParams) valid() error {
	if err := file.CheckFilePath("path", p.Path); err != nil {
		return err
	}
	switch {
	case p.Length < shortest || p.Length > 1024:
		return fmt.Errorf("length: %d is not in %d to 1024", p.Length, shortest)
	case len(p.Alphabet) < 10:
		return errors.New("alphabet: fewer than 10 characters to choose from")
	}
	for _, c := range p.Alphabet {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("alphabet: %q is no visible ASCII character", c)
		}
	}
	return nil
}

// private sees to the permissions of a file that is there.
func (p keptParams) private(ctx context.Context, r host.Reader, kept string) (*builtin.Change, error) {
	change := &builtin.Change{Learned: keptResult{builtin.Secret(kept)}}
	info, err := r.Stat(ctx, p.Path)
	if err != nil {
		return nil, err
	}
	if info.Mode.Perm()&0o077 != 0 {
		permissions := fs.FileMode(0o600)
		change.Summary = []string{"set mode 0600 of " + p.Path}
		change.Apply = func(ctx context.Context, h host.Host) error {
			return h.SetAttributes(ctx, p.Path, host.Attributes{Mode: &permissions})
		}
	}
	return change, nil
}

// read returns what a file keeps; empty where there is no file.
func read(ctx context.Context, r host.Reader, at string) (string, error) {
	data, err := r.ReadFile(ctx, at)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, host.ErrAbsent) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	kept := strings.TrimRight(string(data), "\r\n")
	if kept == "" || strings.ContainsAny(kept, "\r\n") {
		return "", fmt.Errorf("%s does not hold one line, the password: put it back, or remove the file to have another made", at)
	}
	return kept, nil
}

func (p keptParams) generate() string {
	b := make([]byte, p.Length)
	for i := range b {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(p.Alphabet))))
		if err != nil {
			panic(err) // crypto/rand's Reader never fails
		}
		b[i] = p.Alphabet[n.Int64()]
	}
	return string(b)
}
