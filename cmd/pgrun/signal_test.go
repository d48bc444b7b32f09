package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const workStar = `
inventory("inv.star")

def work(h):
    """Work."""

    def forever():
        log("working")
        wait_until(lambda: False, timeout = "1h", every = "1h")

    def restore():
        log("restoring")
        for name in ["slow"] if h.name == "slow" else []:
            wait_until(lambda: False, timeout = "1h", every = "1h")
        log("restored")

    always(forever, cleanup = restore)

def after(h):
    """Not reached."""
    log("went on")

play("P", hosts = "all", tasks = [work, after])
`

// start runs pgrun in a process of its own, in a folder with the files.
func start(t *testing.T, files map[string]string, args ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pgrun := filepath.Join(dir, "pgrun")
	if err := os.Symlink(self, pgrun); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(pgrun, args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewReader(out)
}

// until reads lines up to one that contains text.
func until(t *testing.T, r *bufio.Reader, text string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if strings.Contains(line, text) {
			return
		}
		if err != nil {
			t.Fatalf("no line with %q before the end: %v", text, err)
		}
	}
}

func TestSignalRunsCleanups(t *testing.T) {
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd, out := start(t, map[string]string{
				"p.star": workStar, "inv.star": `host("localhost", transport = "local")`,
			}, "p.star")
			until(t, out, "working")
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(out)
			if err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != code {
				t.Errorf("exit code %d, want %d", got, code)
			}
			for _, want := range []string{"restored", "cancelled: [localhost]", "stopped at: Work", "interrupted by SIG"} {
				if !strings.Contains(string(rest), want) {
					t.Errorf("no %q in\n%s", want, rest)
				}
			}
			if strings.Contains(string(rest), "went on") {
				t.Errorf("the run went on:\n%s", rest)
			}
		})
	}
}

func TestSecondSignalEndsCleanups(t *testing.T) {
	cmd, out := start(t, map[string]string{
		"p.star": workStar, "inv.star": `host("slow", transport = "local")`,
	}, "p.star")
	until(t, out, "working")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	until(t, out, "restoring")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 130 {
		t.Errorf("exit code %d, want 130", got)
	}
	if strings.Contains(string(rest), "restored") {
		t.Errorf("the clean-up went on:\n%s", rest)
	}
}
