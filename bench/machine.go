package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// machine is what the figures were measured on.
type machine struct {
	Processor string  `json:"processor"`
	Cores     int     `json:"cores"`
	MemoryMB  int     `json:"memory_mb"`
	Kernel    string  `json:"kernel"`
	System    string  `json:"system"`
	Load      float64 `json:"load"` // of the last minute, before the first row of this run
}

func thisMachine(ctx context.Context) machine {
	m := machine{Cores: runtime.NumCPU(), Load: load()}
	m.Processor = valueOf("/proc/cpuinfo", "model name", ":")
	if kB, err := strconv.Atoi(strings.TrimSuffix(valueOf("/proc/meminfo", "MemTotal", ":"), " kB")); err == nil {
		m.MemoryMB = kB / 1024
	}
	m.System = strings.Trim(valueOf("/etc/os-release", "PRETTY_NAME", "="), `"`)
	if out, err := output(command(ctx, "uname", "-r")); err == nil {
		m.Kernel = strings.TrimSpace(out)
	}
	return m
}

// valueOf finds a key's value in a file of such lines; empty where it is not there.
func valueOf(path, key, separator string) string {
	content, _ := os.ReadFile(path)
	for text := range strings.Lines(string(content)) {
		if k, v, ok := strings.Cut(text, separator); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// load is the load average of the last minute.
func load() float64 {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return 0
	}
	return float64(info.Loads[0]*100/(1<<16)) / 100
}

// versions are those of the programs that are compared, as they name themselves. Ansible is there with its container.
func versions(ctx context.Context, pgrun string) map[string]string {
	found := map[string]string{"bench": runtime.Version()}
	for name, c := range map[string]*exec.Cmd{
		"pgrun":   command(ctx, pgrun, "version"),
		"incus":   incusCommand(ctx, "version"),
		"ansible": inControl(ctx, "ansible", "--version"),
	} {
		if out, err := output(c); err == nil {
			first, rest, _ := strings.Cut(out, "\n")
			if name == "incus" { // a line for the client, one for the server
				first += ", " + strings.TrimSpace(rest)
			}
			found[name] = first
		}
	}
	return found
}
