package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// asciiSpace is what Ansible strips: Unicode's other spaces belong to a password.
const asciiSpace = " \t\n\r\v\f"

// maxPassword bounds what is read as a password. A larger file is a mistaken
// path rather than a password.
const maxPassword = 64 << 10

// source is where one password comes from.
type source interface {
	// read obtains the password. A script may run for scriptTime.
	read(ctx context.Context, scriptTime time.Duration) ([]byte, error)
	// final reports whether a failure means that no other is to be tried.
	final() bool
	// String is its place in a --vault-id.
	String() string
}

// prompt asks the user.
type prompt struct {
	ask      func(ctx context.Context, question string) ([]byte, error)
	question string
}

func (p prompt) String() string { return "prompt" }

func (p prompt) final() bool { return true }

func (p prompt) read(ctx context.Context, _ time.Duration) ([]byte, error) {
	if p.ask == nil {
		return nil, errors.New("cannot ask for the vault password without a terminal: use --vault-password-file")
	}
	answer, err := p.ask(ctx, p.question)
	if err != nil {
		return nil, fmt.Errorf("ask for the vault password: %w", err)
	}
	return bytes.Trim(answer, asciiSpace), nil
}

// file is a password file, or a program that prints the password.
type file struct {
	option      string // where it was named, for errors
	path        string
	clientLabel string // what a -client script is asked for
	stdin       io.Reader
	stderr      io.Writer
}

func (f file) String() string { return f.path }

func (f file) final() bool { return false }

func (f file) read(ctx context.Context, scriptTime time.Duration) ([]byte, error) {
	info, err := os.Stat(f.path)
	switch {
	case err != nil:
		return nil, f.failed("read the vault password file", err)
	case info.IsDir():
		return nil, f.failed("read the vault password file", errors.New("it is a directory"))
	case info.Mode().Perm()&0o111 != 0:
		return f.run(ctx, scriptTime)
	}
	password, err := readAll(ctx, f.path)
	if err != nil {
		return nil, f.failed("read the vault password file", err)
	}
	if len(password) > maxPassword {
		return nil, f.failed("read the vault password file", fmt.Errorf("it is larger than %d KiB, too large for a password", maxPassword>>10))
	}
	if Encrypted(password) {
		return nil, f.failed("read the vault password file", errors.New("it is itself encrypted: use a script that prints its content"))
	}
	return bytes.Trim(password, asciiSpace), nil
}

// readAll reads a little more than the largest password. The file may be a
// pipe, as in --vault-password-file <(pass show vault), whose writer may still
// be asking the user: a read deadline is how cancelling reaches it.
func readAll(ctx context.Context, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	// An ordinary file has no deadlines, and needs none.
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	b, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return b, err
}

// failed names the path once, and the option, because that is what the user can
// correct.
func (f file) failed(doing string, err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	return fmt.Errorf("%s %s (%s): %w", doing, f.path, f.option, err)
}
