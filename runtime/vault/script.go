package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// unknownLabel is a client script's exit status for a label it does not know.
const unknownLabel = 2

// run executes a password script and returns what it prints, less surrounding
// line ends: Ansible keeps a script's spaces.
//
// The script stays in this process group, so that it may ask on the terminal.
// Its complaints go straight to the user and never into an error, which is
// logged: a script that traces itself prints the password there.
func (f file) run(ctx context.Context, scriptTime time.Duration) ([]byte, error) {
	path, err := filepath.Abs(f.path) // a bare name would be looked up in PATH
	if err != nil {
		return nil, f.failed("run the vault password script", err)
	}
	limited, cancel := context.WithTimeout(ctx, scriptTime)
	defer cancel()
	out := boundedBuffer{max: maxPassword}
	cmd := exec.CommandContext(limited, path, f.arguments()...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f.stdin, &out, f.stderr
	// A child the script leaves behind may hold its output open for ever.
	cmd.WaitDelay = time.Second

	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case limited.Err() != nil:
		err = fmt.Errorf("it did not finish within %s", scriptTime)
	case out.exceeded:
		err = fmt.Errorf("it printed more than %d KiB, too much for a password", maxPassword>>10)
	default:
		err = f.explain(err)
	}
	if err != nil {
		return nil, f.failed("run the vault password script", err)
	}
	return bytes.Trim(out.kept.Bytes(), "\r\n"), nil
}

// isClient reports whether the script is one that is told which password is
// wanted: its name ends in -client, before any extension.
func (f file) isClient() bool {
	return strings.HasSuffix(strings.TrimSuffix(f.path, filepath.Ext(f.path)), "-client")
}

func (f file) arguments() []string {
	if f.isClient() && f.clientLabel != "" {
		return []string{"--vault-id", f.clientLabel}
	}
	return nil
}

// explain says what a user can do about the error of running the script.
func (f file) explain(err error) error {
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // it succeeded, and left behind a child, say gpg's agent
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if f.isClient() && exit.ExitCode() == unknownLabel {
			return fmt.Errorf("it knows no password for the label %q (exit status %d)", f.clientLabel, unknownLabel)
		}
		return fmt.Errorf("it failed with %w", exit)
	}
	var start *fs.PathError
	if !errors.As(err, &start) {
		return err
	}
	switch {
	case errors.Is(start.Err, syscall.ENOEXEC), errors.Is(start.Err, fs.ErrPermission):
		return fmt.Errorf("%w: if it holds the password itself, make it not executable with chmod -x", start.Err)
	case errors.Is(start.Err, fs.ErrNotExist): // it is there itself, or would not have been run
		return fmt.Errorf("%w: its first line names a program that is not installed", start.Err)
	}
	return start.Err
}

var errExceeded = errors.New("too much output")

// boundedBuffer refuses the first write past its maximum, which closes the
// script's output. It does not embed the buffer: io.Copy would find ReadFrom
// and pass by Write.
type boundedBuffer struct {
	kept     bytes.Buffer
	max      int
	exceeded bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > b.max {
		b.exceeded = true
		return 0, errExceeded
	}
	return b.kept.Write(p)
}
