package incus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"github.com/pgrun/pgrun/runtime/agent"
	"github.com/pgrun/pgrun/runtime/agent/bin"
)

// agentDirs are where the agent may be, as one file agent-<sha256>. /run goes with the next boot; the
// other serves where /run is mounted noexec, as Debian's virtual machines do. Nobody looks whether
// the file is there: starting it tells.
var agentDirs = []string{"/run/pgrun", "/var/lib/pgrun"}

// agentPath matches the agent's path.
var agentPath = regexp.MustCompile(`^(?:/run|/var/lib)/pgrun/agent-[0-9a-f]{64}$`)

// pushScript reads the agent from standard input, $1 bytes long, and gives it its name once it is
// whole; other agents go, and what a push that was killed left behind, which in /run an agent's sweep takes away, too. It
// is constant, so that a read-only connection can know it again, and needs nothing but a POSIX shell and the basic tools.
const pushScript = `set -eu
umask 077
trap 'rm -f /run/pgrun/.new-$$ /var/lib/pgrun/.new-$$' EXIT
trap 'exit 1' HUP INT TERM PIPE
push() {
	mkdir -p "$1"
	chmod 0700 "$1"
	for old in "$1"/.new-*; do [ -e "/proc/${old##*.new-}" ] || rm -f "$old"; done
	new="$1/.new-$$"
	cat > "$new"
	[ "$(wc -c < "$new")" -eq "$size" ] || { echo "the agent arrived in part" >&2; exit 1; }
	chmod 0700 "$new"
}
size=$1 name=$2
push /run/pgrun
if ! [ -x "$new" ]; then
	push /var/lib/pgrun < "$new"
	rm -f /run/pgrun/.new-$$
	[ -x "$new" ] || { echo "/run and /var/lib are both mounted noexec" >&2; exit 126; }
fi
dir=${new%/*}
for old in "$dir"/agent-*; do [ "$old" = "$dir/$name" ] || rm -f "$old"; done
mv -f "$new" "$dir/$name"`

func pushCommand(size int, file string) []string {
	return []string{"/bin/sh", "-c", pushScript, "pgrun", strconv.Itoa(size), file}
}

// errNoAgent says that the agent has to be pushed first, or that this failed on the instance.
var errNoAgent = errors.New("the agent is not on the instance")

// startAgent starts an agent that is there, else fails with errNoAgent. An agent speaks first: so
// it has started once there is something to read.
func (s *Server) startAgent(ctx context.Context, instance, file string, readOnly bool) (*process, error) {
	ctx, cancel := within(ctx, startTimeout)
	defer cancel()
	for _, dir := range agentDirs {
		p, err := s.exec(ctx, instance, agent.Argv(dir+"/"+file, readOnly))
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, p.kill)
		err = p.out.next()
		if !stop() {
			<-p.done
			return nil, fmt.Errorf("start the agent: %w", context.Cause(ctx))
		}
		if err == nil {
			return p, nil
		}
		p.kill()
		if !p.notFound {
			return nil, p.why(ctx, downTimeout)
		}
	}
	return nil, errNoAgent
}

// pushAgent puts the agent onto the instance.
func (s *Server) pushAgent(ctx context.Context, instance, file string, program bin.Agent) error {
	ctx, cancel := within(ctx, pushTimeout)
	defer cancel()
	data, err := program.Program()
	if err != nil {
		return fmt.Errorf("push the agent: %w", err)
	}
	p, err := s.exec(ctx, instance, pushCommand(len(data), file))
	if err != nil {
		return err
	}
	defer p.kill()
	defer context.AfterFunc(ctx, p.kill)()
	_, err = io.Copy(p, bytes.NewReader(data))
	if err == nil {
		err = p.CloseWrite()
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("push the agent: %w", context.Cause(ctx))
	}
	if p.waitErr != nil || p.rc != 0 {
		why := p.said()
		if why == "" {
			why = p.why(ctx, downTimeout).Error()
		}
		return fmt.Errorf("%w, and cannot be put there: %s", errNoAgent, why)
	}
	return err
}

// goarch turns an architecture's name in Incus, which is the kernel's, into Go's.
func goarch(name string) string {
	switch name {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "i686":
		return "386"
	case "armv6l", "armv7l", "armv8l":
		return "arm"
	case "loongarch64":
		return "loong64"
	}
	return name // ppc64le, s390x, riscv64: the same
}

// UseAgent has the server push another agent than the one that this program carries: find returns it
// for a GOARCH. Tests need it, whose own program cannot serve as an agent.
func (s *Server) UseAgent(find func(arch string) (bin.Agent, error)) {
	s.agent = find
}
