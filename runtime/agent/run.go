package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgrun/pgrun/runtime/host"
)

const (
	// grace is how long a cancelled command has between SIGTERM and SIGKILL.
	grace = 2 * time.Second

	// pipeDelay is how long output is still read when a command has ended but a process that it left
	// behind holds its pipes.
	pipeDelay = 500 * time.Millisecond

	// EndsWithin is how long an agent takes to end its commands, and itself, once its input has ended: the grace,
	// the last look at each group, the wait for output, and as much again for a busy machine.
	EndsWithin = grace + 3*pipeDelay

	// defaultPath is the PATH of commands, and where they are looked for.
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	// trustedPath is that of looks of the table, whose forms are about the distribution's programs.
	trustedPath = "/usr/sbin:/usr/bin:/sbin:/bin"
)

// run runs a command in a process group of its own and sends its output as the body.
func (s *server) run(ctx context.Context, c *serverCall, req request, body func([]byte) error) (reply, error) {
	if req.Command == nil || len(req.Command.Argv) == 0 {
		return reply{}, errors.New("an empty command")
	}
	path := defaultPath
	if req.Op == opLook && !req.Command.Reads {
		path = trustedPath
	}
	cmd, err := s.command(*req.Command, path)
	if err != nil {
		return reply{}, err
	}
	stdout, stderr := &output{size: host.MaxOutput}, &output{size: host.MaxOutput}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	var stdin io.WriteCloser
	if req.Stdin {
		if stdin, err = cmd.StdinPipe(); err != nil {
			return reply{}, err
		}
	}
	done, err := s.start(cmd)
	if err != nil {
		return reply{}, startError(cmd, err)
	}
	defer done()
	var feeding sync.WaitGroup
	if req.Stdin {
		feeding.Go(func() {
			// An error means that the command does not want more, or that the call is over.
			_, _ = io.Copy(stdin, c.in.reader(ctx))
			_ = stdin.Close()
		})
	}
	err = s.wait(ctx, cmd)
	if req.Stdin {
		// Credit that is granted after the reply would be for a stream that the client has closed.
		c.in.end(io.ErrClosedPipe)
		feeding.Wait()
	}
	if err != nil {
		return reply{}, err
	}
	out := stdout.bytes()
	r := reply{RC: exitCode(cmd.ProcessState), Stdout: len(out), Dropped: stdout.dropped + stderr.dropped}
	if err := body(out); err != nil {
		return reply{}, err
	}
	return r, body(stderr.bytes())
}

// wait waits until a started command ends, or ends its group when ctx does.
//
// The group's leader is not reaped before the group has been dealt with: as long as it is a zombie,
// its number, which is the group's, cannot become another's. Once it has ended by itself, the number is
// the group's for as long as the group has a member: one that holds the pipes, which Wait waits for.
func (s *server) wait(ctx context.Context, cmd *exec.Cmd) error {
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}()
	cancelled := ctx.Done()
	select {
	case <-exited:
	case <-cancelled:
		endGroup(cmd.Process.Pid)
		<-exited
		cancelled = nil
	}
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()
	var err error
	select {
	case err = <-waited:
	case <-cancelled:
		endGroup(cmd.Process.Pid)
		err = <-waited
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, failed := errors.AsType[*exec.ExitError](err); failed || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}

// endGroup ends a process group: each member has the grace to end by itself, whether the leader lives or not.
func endGroup(pgid int) {
	for _, step := range []struct {
		signal unix.Signal
		wait   time.Duration
	}{{unix.SIGTERM, grace}, {unix.SIGKILL, pipeDelay}} {
		_ = unix.Kill(-pgid, step.signal)
		for end := time.Now().Add(step.wait); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if len(groupMembers(pgid)) == 0 {
				return
			}
		}
	}
}

// start starts a command on a thread that lives as long as the agent: the kernel sends a child its
// parent-death signal when the thread that made it ends, and Go ends threads (dialAs does). The group
// is in the journal when start returns.
func (s *server) start(cmd *exec.Cmd) (done func(), err error) {
	s.forking.Do(func() {
		go func() {
			runtime.LockOSThread() // and never unlock: the thread ends with this goroutine
			for {
				select {
				case f := <-s.forks:
					f()
				case <-s.over:
					return
				}
			}
		}()
	})
	started := make(chan struct{})
	fork := func() {
		defer close(started)
		if err = cmd.Start(); err == nil {
			done, err = s.journal.group(cmd.Process.Pid)
		}
	}
	select {
	case s.forks <- fork:
		<-started
	case <-s.over:
		return nil, errors.New("the agent is ending")
	}
	if err != nil && cmd.Process != nil {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Wait()
	}
	return done, err
}

// command prepares what host.Command describes, with a PATH where it names none.
func (s *server) command(c host.Command, path string) (*exec.Cmd, error) {
	user, credential, err := s.runAs(c.User)
	if err != nil {
		return nil, err
	}
	env := map[string]string{
		"PATH": path, "LANG": "C.UTF-8",
		"HOME": user.home, "USER": user.name, "LOGNAME": user.name, "SHELL": user.shell,
	}
	for k, v := range c.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.Contains(v, "\x00") {
			return nil, fmt.Errorf("%q is no name of an environment variable, or its value holds a zero byte", k)
		}
		env[k] = v
	}
	dir := c.Dir
	switch {
	case dir == "":
		if dir = user.home; !isDir(dir) {
			dir = "/"
		}
	case !filepath.IsAbs(dir):
		return nil, fmt.Errorf("the working directory %q is not absolute", dir)
	case !isDir(dir):
		return nil, &fs.PathError{Op: "run in", Path: dir, Err: dirError(dir)}
	}
	program, err := lookProgram(c.Argv[0], env["PATH"], dir)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: program, Args: c.Argv, Dir: dir,
		WaitDelay:   pipeDelay,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: credential},
	}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	slices.Sort(cmd.Env)
	cmd.Env = append(cmd.Env, s.journal.environment()...)
	return cmd, nil
}

// runAs finds the user to run as. The credential is nil where that is the agent's own.
func (s *server) runAs(name string) (account, *syscall.Credential, error) {
	self := uint32(os.Geteuid())
	if name == "" {
		if user, err := s.accounts.user(fmt.Sprint(self)); err == nil {
			return user, nil, nil
		}
		return account{name: fmt.Sprint(self), home: "/", shell: "/bin/sh"}, nil, nil // no account; so be it
	}
	user, err := s.accounts.user(name)
	if err != nil || user.uid == self {
		return user, nil, err
	}
	if self != 0 {
		return user, nil, fmt.Errorf("running as %q needs root, the agent runs as user %d: %w", name, self, fs.ErrPermission)
	}
	groups, err := s.accounts.groupsOf(user)
	return user, &syscall.Credential{Uid: user.uid, Gid: user.gid, Groups: groups}, err
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// dirError says why path is no directory.
func dirError(path string) error {
	if _, err := os.Stat(path); err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			return pathErr.Err
		}
		return err
	}
	return syscall.ENOTDIR
}

// lookProgram finds a program as execvp(3) does, with the command's own PATH and directory.
func lookProgram(name, path, dir string) (string, error) {
	executable := func(file string) bool {
		fi, err := os.Stat(file)
		return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
	}
	if strings.Contains(name, "/") {
		file := name
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		if _, err := os.Stat(file); err != nil {
			return "", &host.NotFound{Program: name}
		}
		if !executable(file) {
			return "", &fs.PathError{Op: "run", Path: file, Err: fs.ErrPermission}
		}
		return file, nil
	}
	for d := range strings.SplitSeq(path, ":") {
		if file := filepath.Join(d, name); name != "" && filepath.IsAbs(d) && executable(file) {
			return file, nil
		}
	}
	return "", &host.NotFound{Program: name}
}

// startError explains why a program that is there did not start.
func startError(cmd *exec.Cmd, err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%s does not start: the interpreter or loader that it names is missing", cmd.Path)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%s does not start: it is no program for this machine, and no script with #! in its first line", cmd.Path)
	case errors.Is(err, syscall.E2BIG):
		return fmt.Errorf("%s does not start: its arguments and environment are too long; use standard input or a file", cmd.Path)
	}
	return err
}

// exitCode is the exit code, or 128 + the signal that ended the process.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
