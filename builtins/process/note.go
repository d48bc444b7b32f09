package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/pgrun/pgrun/runtime/host"
)

// notesDir is where the notes are, a file for each name: "PID START BOOT\n", of which START is field 22 of
// proc_pid_stat(5), the clock ticks from boot to the process's start, and BOOT the kernel's boot_id.
const notesDir = "/run/pgrun/processes"

type nameParams struct {
	Name string `star:"name,required" doc:"Its name: letters, digits, hyphens and dots."`
}

var legalName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`)

func (p nameParams) validate() error {
	if !legalName.MatchString(p.Name) {
		return fmt.Errorf("name: %q: write letters, digits, hyphens and dots", p.Name)
	}
	return nil
}

func (p nameParams) note() string { return notesDir + "/" + p.Name }

// find returns the number of the process that was started under the name; 0 where none runs.
func (p nameParams) find(ctx context.Context, r host.Reader) (int, error) {
	content, err := r.ReadFile(ctx, p.note())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var start, boot string
	var pid int
	if n, _ := fmt.Sscan(string(content), &pid, &start, &boot); n != 3 || pid < 2 {
		return 0, nil // written in part
	}
	now, err := r.ReadFile(ctx, "/proc/sys/kernel/random/boot_id")
	if err != nil {
		return 0, err
	}
	if boot != strings.TrimSpace(string(now)) {
		return 0, nil
	}
	stat, err := r.ReadFile(ctx, fmt.Sprintf("/proc/%d/stat", pid))
	if unreachable := (*host.Unreachable)(nil); errors.As(err, &unreachable) || ctx.Err() != nil {
		return 0, err
	}
	// A process may go while its file is read, which has more than one error: then nothing was read.
	if state, started := parseStat(string(stat)); started != start || state == "Z" {
		return 0, nil
	}
	return pid, nil
}

// parseStat reads a process's state and start time from /proc/PID/stat. The name before them may hold
// anything.
func parseStat(stat string) (state, start string) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return "", ""
	}
	return fields[0], fields[19]
}

// status is what process.status returns.
type status struct {
	Running bool `star:"running" doc:"Whether it runs."`
	PID     int  `star:"pid" doc:"Its process number; 0 if it does not run."`
}

func lookStatus(ctx context.Context, r host.Reader, p nameParams) (status, error) {
	if err := p.validate(); err != nil {
		return status{}, err
	}
	pid, err := p.find(ctx, r)
	return status{pid != 0, pid}, err
}

// number is what process.started learns.
type number struct {
	PID int `star:"pid" doc:"Its process number."`
}
