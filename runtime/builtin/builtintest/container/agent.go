package container

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pgrun/pgrun/runtime/agent/bin"
)

// builtAgent builds the agent as it is in the source now. The go command's cache makes that quick, and the
// file the same each time, so that it is pushed once.
func builtAgent(arch string) (bin.Agent, error) {
	dir, err := os.MkdirTemp("", "pgrun-agent-")
	if err != nil {
		return bin.Agent{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "agent")
	build := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-buildvcs=false", "-o", file, "github.com/pgrun/pgrun/cmd/pgrun-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		return bin.Agent{}, fmt.Errorf("build the agent: %w\n%s", err, out)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		return bin.Agent{}, err
	}
	return bin.Of(program), nil
}
