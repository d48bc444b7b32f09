package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type startedParams struct {
	nameParams
	Argv builtin.Argv      `star:"argv,required" doc:"The program and its arguments. It must stay in the foreground by itself."`
	Env  builtin.StringMap `star:"env" doc:"Environment variables besides PATH, HOME and LANG. Every process of the user can read them: no secrets."`
	Log  string            `star:"log" doc:"Absolute path of the file that its output is added to; /var/log/NAME.log if left out."`
}

func checkStarted(ctx context.Context, r host.Reader, p startedParams) (*builtin.Change, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	if p.Log == "" {
		p.Log = "/var/log/" + p.Name + ".log"
	}
	if !path.IsAbs(p.Log) {
		return nil, fmt.Errorf("log: %q is not an absolute path: begin it with /", p.Log)
	}
	pid, err := p.find(ctx, r)
	if err != nil || pid != 0 {
		return &builtin.Change{Learned: number{pid}}, err
	}
	change := &builtin.Change{Summary: []string{fmt.Sprintf("start %s: %s", p.Name, host.Command{Argv: p.Argv})}}
	change.Apply = func(ctx context.Context, h host.Host) error {
		pid, err := p.start(ctx, h)
		change.Learned = number{pid}
		return err
	}
	return change, nil
}

// launch starts "$@" in a session of its own, with a note of who it is in the file $1 and its output in $2.
// The inner shell becomes the program, so that what it notes of itself holds.
const launch = `set -eu
mkdir -p "${1%/*}" "${2%/*}"
rm -f "$1"
exec setsid -f sh -c '
	note=$1 log=$2
	shift 2
	exec < /dev/null >> "$log" 2>&1
	start=$(cut -d " " -f 22 "/proc/$$/stat")
	read -r boot < /proc/sys/kernel/random/boot_id
	echo "$$ $start $boot" > "$note.new"
	mv "$note.new" "$note"
	exec env -i PATH="$PATH" HOME="$HOME" LANG="$LANG" "$@"
' pgrun "$@"`

// start starts the program and makes sure that it is still there a moment after it was noted.
func (p startedParams) start(ctx context.Context, h host.Host) (int, error) {
	const (
		noting   = 10 * time.Second // on a machine that is very busy
		settling = 200 * time.Millisecond
	)
	argv := []string{"sh", "-c", launch, "pgrun", p.note(), p.Log}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		argv = append(argv, name+"="+p.Env[name]) // env(1) takes them before the program
	}
	c := host.Command{Argv: append(argv, p.Argv...)}
	if _, err := host.Succeeded(c)(h.Run(ctx, c)); err != nil {
		return 0, err
	}
	for deadline := time.Now().Add(noting); time.Now().Before(deadline); {
		if _, err := h.Stat(ctx, p.note()); err == nil {
			break
		}
		if err := host.Pause(ctx, every); err != nil {
			return 0, err
		}
	}
	if err := host.Pause(ctx, settling); err != nil {
		return 0, err
	}
	pid, err := p.find(ctx, h)
	if err == nil && pid == 0 {
		err = errors.New(p.Name + " ended at once" + lastWords(ctx, h, p.Log))
	}
	return pid, err
}

// every is the pause between two looks at a process.
const every = 20 * time.Millisecond

// lastWords are the last lines of a log, for an error.
func lastWords(ctx context.Context, r host.Reader, log string) string {
	const most = 12
	content, err := r.ReadFile(ctx, log)
	if err != nil || len(content) == 0 {
		return ", and said nothing"
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return fmt.Sprintf("; the end of %s:\n  %s", log, strings.Join(lines[max(0, len(lines)-most):], "\n  "))
}
