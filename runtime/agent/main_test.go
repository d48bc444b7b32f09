package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// The test binary is an agent when it is started as one, so that tests can kill it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Argument {
		if dir := os.Getenv("PGRUN_TEST_RUN_DIR"); dir != "" {
			err := Serve(context.Background(), os.Stdin, os.Stdout, Options{RunDir: dir})
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// inProcess connects to an agent in this process.
func inProcess(tb testing.TB, o Options) *Client {
	tb.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = Serve(context.Background(), theirs, theirs, o)
		_ = theirs.Close()
	}()
	c, err := NewClient(tb.Context(), ours)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = c.Close()
		<-ended
	})
	return c
}

// process is an agent in a process of its own.
type process struct {
	*Client
	cmd    *exec.Cmd
	exited chan struct{}
	stderr *bytes.Buffer
}

type pipes struct {
	io.ReadCloser
	in io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p pipes) Close() error                { _ = p.in.Close(); return nil }

// ownProcess starts an agent in a process of its own, with its journals in runDir.
func ownProcess(tb testing.TB, runDir string) *process {
	tb.Helper()
	p := &process{cmd: exec.Command(os.Args[0], Argument), exited: make(chan struct{}), stderr: new(bytes.Buffer)}
	p.cmd.Env = append(os.Environ(), "PGRUN_TEST_RUN_DIR="+runDir)
	p.cmd.Stderr = p.stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	if p.Client, err = NewClient(tb.Context(), pipes{out, in}); err != nil {
		tb.Fatal(err)
	}
	go func() {
		<-p.Done() // StdoutPipe must be read to its end before Wait
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	tb.Cleanup(func() {
		_ = p.Close()
		<-p.exited
	})
	return p
}

func TestSignalShowsInTheExitCode(t *testing.T) {
	cmd := exec.Command(os.Args[0], Argument, "--read-only")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len(preamble))); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("%v", cmd.ProcessState)
	}
}

// eventually waits until what is so, for ten seconds.
func eventually(tb testing.TB, what string, so func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("not within ten seconds: %s", what)
		}
	}
}

// alive reports whether a process runs.
func alive(pid int) bool {
	f := statFields(pid)
	return len(f) > 0 && f[0] != "Z"
}

// needRoot skips a test that changes owners or users.
func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			tb.Fatal("this test needs root")
		}
		tb.Skip("this test needs root")
	}
}
