package bin

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestNoAgentForAnotherMachine(t *testing.T) {
	if _, err := For("z80"); err == nil || !strings.Contains(err.Error(), "no agent for z80") || !strings.Contains(err.Error(), "make build") {
		t.Errorf("%v", err)
	}
}

func TestForHasTheRightSum(t *testing.T) {
	a, err := For(runtime.GOARCH)
	if err != nil { // a test binary with cgo in it
		if !strings.Contains(err.Error(), "CGO_ENABLED=0") {
			t.Error(err)
		}
		return
	}
	program, err := a.Program()
	if err != nil {
		t.Fatal(err)
	}
	if want := Of(program).SHA256; a.SHA256 != want {
		t.Errorf("the sum is %s, want %s", a.SHA256, want)
	}
	if again, _ := a.Program(); &again[0] != &program[0] {
		t.Error("the agent was unpacked twice")
	}
}

func TestStatic(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent")
	build := exec.Command("go", "build", "-o", file, "github.com/pgrun/pgrun/cmd/pgrun-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	own, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := static(own); err != nil {
		t.Error(err)
	}
	if len(own) > 8<<20 {
		t.Errorf("the agent has grown to %d bytes, unstripped", len(own))
	}
	if shell, err := os.ReadFile("/bin/sh"); err == nil && static(shell) == nil {
		t.Log("this machine's shell is static") // as busybox is
	}
	if static([]byte("#!/bin/sh")) == nil {
		t.Error("a script is taken for a program")
	}
}
