// Package bin carries the agents that pgrun pushes to machines.
//
// `make build` puts one small agent for each architecture into files before it builds pgrun. A pgrun
// that was built without that step, by a plain `go install`, pushes itself where it can: it is an
// agent, too, when it is started as one.
package bin

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
)

// files holds agent-<GOARCH>.gz and agent-<GOARCH>.sha256, none in a fresh clone, and a placeholder that keeps
// the folder.
//
//go:embed all:files
var files embed.FS

// Agent is a program that is started as agent.Argv says.
type Agent struct {
	SHA256 string // in lower-case hexadecimal
	read   func() ([]byte, error)
}

// Of makes an Agent of a program.
func Of(program []byte) Agent {
	sum := sha256.Sum256(program)
	return Agent{hex.EncodeToString(sum[:]), func() ([]byte, error) { return program, nil }}
}

// Program returns the program. Mostly it is on the machine already, and its sum is all that is asked for.
func (a Agent) Program() ([]byte, error) { return a.read() }

// agents caches what For returned, by architecture.
var agents sync.Map // string → func() (Agent, error)

// For returns the agent for an architecture, one of Go's words (amd64, arm64, ...).
func For(arch string) (Agent, error) {
	once, _ := agents.LoadOrStore(arch, sync.OnceValues(func() (Agent, error) { return find(arch) }))
	return once.(func() (Agent, error))()
}

func find(arch string) (Agent, error) {
	name := "files/agent-" + arch
	sum, err := files.ReadFile(name + ".sha256")
	if err == nil {
		return Agent{strings.TrimSpace(string(sum)), sync.OnceValues(func() ([]byte, error) { return unpack(name + ".gz") })}, nil
	}
	program, err := self(arch)
	if err != nil {
		return Agent{}, fmt.Errorf("no agent for %s: %w", arch, err)
	}
	return Of(program), nil
}

func unpack(name string) ([]byte, error) {
	packed, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return io.ReadAll(r)
}

// self returns the running pgrun, if a machine of that architecture could run it.
func self(arch string) ([]byte, error) {
	if arch != runtime.GOARCH {
		return nil, fmt.Errorf("this pgrun was built without agents, and is itself for %s: build it with `make build`", runtime.GOARCH)
	}
	// The file may have been replaced since pgrun was started; this is the one that runs.
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("this pgrun was built without agents, and cannot read itself: %w", err)
	}
	if err := static(data); err != nil {
		return nil, fmt.Errorf("this pgrun was built without agents, and cannot serve as one: %w: build it with `make build`, or with `CGO_ENABLED=0 go install ./cmd/pgrun`", err)
	}
	return data, nil
}

// static checks that a program needs no loader and no library.
func static(program []byte) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("it is linked to the C library of this machine")
		}
	}
	return nil
}
