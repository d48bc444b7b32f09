package apt

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// noPlannerLog keeps APT from compressing a record of each plan into /var/log/apt/eipp.log.xz, which serves
// to debug APT alone, and takes a third of a second.
const noPlannerLog = "-oDir::Log::Planner="

// get runs apt-get and dpkg on a machine so that they never ask and wait for their turn.
type get struct {
	h           host.Host
	lockTimeout time.Duration
}

// environment is that of every command. A user's own settings in apt.conf stay as they are.
func environment() map[string]string {
	return map[string]string{
		"DEBIAN_FRONTEND":          "noninteractive",
		"DEBIAN_PRIORITY":          "critical",
		"APT_LISTCHANGES_FRONTEND": "none",
		"APT_LISTBUGS_FRONTEND":    "none",
		"UCF_FORCE_CONFFOLD":       "1",
		"NEEDRESTART_MODE":         "l", // list, do not restart: what restarts is the playbook's business
	}
}

// transact runs an apt-get command that installs or removes.
func (g *get) transact(ctx context.Context, what string, args ...string) (host.Output, error) {
	argv := []string{"apt-get", "-y", "-q", "-V", noPlannerLog,
		"-oDpkg::Use-Pty=0",
		"-oDpkg::Options::=--force-confdef", "-oDpkg::Options::=--force-confold",
		fmt.Sprintf("-oDPkg::Lock::Timeout=%d", int(g.lockTimeout.Seconds()))}
	return g.run(ctx, what, append(argv, args...)...)
}

// repair finishes what an interrupted dpkg left half-done. dpkg alone does not, where it was killed while it unpacked a package, which
// has to be unpacked once more; nor does apt-get by itself, each time. It cannot where packages lack others that they depend on:
// apt-get fetches what is missing.
func (g *get) repair(ctx context.Context) error {
	const what = "finish the interrupted installation"
	_, configuring := g.run(ctx, what, "dpkg", "--force-confdef", "--force-confold", "--configure", "-a")
	if failed := (*host.Failed)(nil); configuring != nil && !errors.As(configuring, &failed) {
		return configuring
	}
	db, err := query(ctx, g.h)
	if err != nil {
		return err
	}
	again, held := db.unpackedInPart()
	args := []string{"--fix-broken", "install"}
	if len(again) > 0 {
		args = append(append(args, "--reinstall"), again...)
	} else if configuring == nil {
		return nil
	}
	if _, err := g.transact(ctx, what, args...); err != nil || len(held) == 0 {
		return err
	}
	_, err = g.run(ctx, what, append([]string{"apt-mark", "hold"}, held...)...) // what was named is held no more
	return err
}

// run runs a command once nobody else holds a lock that it needs. APT waits for dpkg's lock by itself; for
// those of the lists and of the archives, and for dpkg's own run, it is tried again here.
func (g *get) run(ctx context.Context, what string, argv ...string) (host.Output, error) {
	c := host.Command{Argv: argv, Env: environment()}
	for began := time.Now(); ; {
		out, err := host.Succeeded(c)(g.h.Run(ctx, c))
		if errors.Is(err, context.DeadlineExceeded) {
			return out, fmt.Errorf("%s: %s is not done within the timeout: %w", what, argv[0], err)
		}
		failed := (*host.Failed)(nil)
		if !errors.As(err, &failed) {
			return out, err
		}
		failed.Command = what
		lock := lockIn(out.Stderr)
		if lock == "" {
			return out, err
		}
		held := fmt.Sprintf("%s is held by %s", lock, holder(ctx, g.h, lock))
		if time.Since(began) >= g.lockTimeout {
			return out, fmt.Errorf("%s: %s, and was not free within %s (lock_timeout): wait until that is done, or stop it",
				what, held, g.lockTimeout)
		}
		if err := host.Pause(ctx, time.Second); err != nil {
			return out, fmt.Errorf("%s: %s: %w", what, held, err)
		}
	}
}

// lockIn returns the lock because of which a command failed, or "".
//
// APT says "E: Could not get lock F." with more, or "E: Unable to acquire the dpkg frontend lock (F), is another
// process using it?"; dpkg says "dpkg: error: dpkg frontend lock was locked by", and of its other one "dpkg
// database lock".
func lockIn(stderr string) string {
	if m := regexp.MustCompile(`Could not get lock (\S+?)\.? |lock \((\S+)\), is another process using it`).FindStringSubmatch(stderr); m != nil {
		return m[1] + m[2]
	}
	switch m := regexp.MustCompile(`dpkg (frontend|database) lock was locked by`).FindStringSubmatch(stderr); {
	case m == nil:
		return ""
	case m[1] == "frontend":
		return "/var/lib/dpkg/lock-frontend"
	default:
		return "/var/lib/dpkg/lock"
	}
}

// holder says who holds a lock, where that can be seen.
func holder(ctx context.Context, h host.Host, lock string) string {
	// What APT and dpkg say of it depends on their versions, and on how long they waited.
	out, err := h.Run(ctx, host.Command{Argv: []string{"lslocks", "--raw", "--noheadings", "--output=PID,COMMAND,PATH"}})
	if err == nil {
		for line := range strings.Lines(out.Stdout) {
			if f := strings.Fields(line); len(f) == 3 && f[2] == lock {
				return fmt.Sprintf("process %s (%s)", f[0], f[1])
			}
		}
	}
	return "another process"
}
