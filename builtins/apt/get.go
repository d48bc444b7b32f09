package apt

import (
	"context"
	"errors"
	"fmt"
	"regexp"
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

// repair finishes what an interrupted dpkg left half-done. Where packages lack others that they depend on,
// dpkg alone cannot, and apt-get fetches what is missing.
func (g *get) repair(ctx context.Context) error {
	_, err := g.run(ctx, "finish the interrupted installation",
		"dpkg", "--force-confdef", "--force-confold", "--configure", "-a")
	if failed := (*host.Failed)(nil); !errors.As(err, &failed) {
		return err
	}
	_, err = g.transact(ctx, "finish the interrupted installation", "--fix-broken", "install")
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
		lock, locked := lockIn(out)
		if !locked {
			return out, err
		}
		if time.Since(began) >= g.lockTimeout {
			return out, fmt.Errorf("%s: %s, and was not free within %s (lock_timeout): wait until that is done, or stop it",
				what, lock, g.lockTimeout)
		}
		if err := host.Pause(ctx, time.Second); err != nil {
			return out, fmt.Errorf("%s: %s: %w", what, lock, err)
		}
	}
}

// lockIn reports whether a command failed because of a lock, and says which one and who holds it.
//
// APT says so as "E: Could not get lock F. It is held by process 7 (apt-get)", or after it has waited for it
// with that on its standard output, and "E: Unable to acquire the dpkg frontend lock (F), is another process
// using it?" as the error. dpkg says "dpkg: error: dpkg frontend lock was locked by another process with pid
// 7", since version 1.22 with the program's path.
func lockIn(out host.Output) (string, bool) {
	if !regexp.MustCompile(`Could not get lock|is another process using it|lock was locked by`).MatchString(out.Stderr) {
		return "", false
	}
	said := out.Stderr + out.Stdout
	if m := regexp.MustCompile(`Could not get lock (\S+)\. It is held by process (\d+) \((.*?)\)`).FindStringSubmatch(said); m != nil {
		return fmt.Sprintf("%s is held by process %s (%s)", m[1], m[2], m[3]), true
	}
	if m := regexp.MustCompile(`(dpkg \w+ lock) was locked by (?:another process|(\S+) process) with pid (\d+)`).FindStringSubmatch(said); m != nil {
		holder := m[3]
		if m[2] != "" {
			holder += " (" + m[2] + ")"
		}
		return fmt.Sprintf("the %s is held by process %s", m[1], holder), true
	}
	return "the package manager is in use by another process", true
}
