package systemd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// goal is what a unit is to be. Nil leaves a thing as it is.
type goal struct {
	running *bool
	enabled *bool

	restart string   // why a running unit has to be restarted whatever else; empty for no reason
	newer   []string // files that a running unit must have been started after
	unread  []string // files that it must have been started or reloaded after
	reload  bool     // whether systemd reads its files again even where nothing else is to be done

	// Where the unit's file is known:
	installable bool     // it will say what enabling the unit means
	links       []string // what must exist for the unit to be enabled

	runParams
}

// steps is what it takes to reach a goal.
type steps struct {
	unit   unit
	goal   goal
	reload bool   // systemd's configuration
	enable string // the verb: enable, reenable, disable; empty for none
	run    string // start, restart, reload, stop
	lines  []string
}

// plan says how to reach the goal from the state that a unit is in. fresh says that its file will be
// another by then.
func (g goal) plan(ctx context.Context, r host.Reader, u unit, fresh bool) (*builtin.Change, error) {
	s := steps{unit: u, goal: g}
	if err := s.planRun(ctx, r, fresh); err != nil {
		return nil, err
	}
	if err := s.planEnable(ctx, r, fresh); err != nil {
		return nil, err
	}
	s.reload = fresh || u.needReload && (g.reload || s.run != "" || s.enable != "")
	if s.reload {
		s.lines = append([]string{"reload systemd's configuration"}, s.lines...)
	}
	if len(s.lines) == 0 {
		return nil, nil
	}
	change := &builtin.Change{Summary: s.lines, Apply: s.apply}
	switch s.run {
	case "start", "restart":
		change.Readers = u.startReads()
	case "reload":
		change.Readers = []string{u.reloadReads()}
	case "stop":
		change.Readers = []string{u.stops()}
	}
	return change, nil
}

// planRun decides whether the unit is started, restarted, reloaded or stopped.
func (s *steps) planRun(ctx context.Context, r host.Reader, fresh bool) error {
	u, g := s.unit, s.goal
	running, stopped := u.expected(ctx)
	switch {
	case g.running != nil && !*g.running:
		if !stopped {
			s.run = "stop"
			s.lines = append(s.lines, "stop "+u.name)
		}
		return nil
	case !running && g.running != nil:
		if !fresh {
			if err := u.stays(ctx, r); err != nil {
				return err
			}
		}
		s.run = "start"
		if u.active == "activating" { // by an older file, or for too long: start would only join in
			s.run = "restart"
		}
		s.lines = append(s.lines, s.run+" "+u.name)
		return nil
	case !running:
		return nil
	}
	for _, x := range []struct {
		verb string
		why  func(context.Context, host.Reader, unit) (string, error)
	}{{"restart", g.whyRestart}, {"reload", g.whyReload}} {
		why, err := x.why(ctx, r, u)
		if err != nil {
			return err
		}
		if why != "" {
			s.run = x.verb
			s.lines = append(s.lines, fmt.Sprintf("%s %s: %s", x.verb, u.name, why))
			return nil
		}
	}
	return nil
}

// whyRestart says why a unit that runs has to be restarted; empty for no reason.
func (g goal) whyRestart(ctx context.Context, r host.Reader, u unit) (string, error) {
	if g.restart != "" {
		return g.restart, nil
	}
	changed, err := changedSince(ctx, r, u.reader(), u.started, g.newer)
	if changed == "" || err != nil {
		return "", err
	}
	return fmt.Sprintf("it was started before %s was changed", changed), nil
}

// whyReload says why a unit that goes on running has to read its files again; empty for no reason.
func (g goal) whyReload(ctx context.Context, r host.Reader, u unit) (string, error) {
	if len(g.unread) == 0 {
		return "", nil
	}
	last, err := u.lastLoad(ctx, r)
	if err != nil {
		return "", err
	}
	changed, err := changedSince(ctx, r, u.reloadReads(), last, g.unread)
	if changed == "" || err != nil {
		return "", err
	}
	return fmt.Sprintf("it was neither started nor reloaded by pgrun since %s was changed", changed), nil
}

// reloadable is an error where a unit cannot be reloaded, as its file was when systemd read it: one that has changed since, or may have by
// then in a dry run, may say something else.
func (u unit) reloadable(ctx context.Context) error {
	switch {
	case !isService(u.name):
		return fmt.Errorf("reload_if_newer: %s is no service: use restart_if_newer", u.name)
	case u.canReload || u.load != "loaded" || u.needReload || unsure(ctx):
		return nil
	}
	return fmt.Errorf("reload_if_newer: %s cannot be reloaded, for it has no ExecReload=: use restart_if_newer, or name the files in the call that adds ExecReload=, or in a later one", u.name)
}

// expected reports whether the unit runs or is stopped, or would be by then in a dry run.
func (u unit) expected(ctx context.Context) (running, stopped bool) {
	switch builtin.LastReader(ctx, u.reader(), u.stops()) {
	case u.reader():
		if !u.ended() || u.rewritten(ctx) {
			return true, false
		}
	case u.stops():
		return false, true
	}
	return u.running(), u.stopped()
}

// stays fails for a unit that would be gone when its work is done, as its files are by then.
func (u unit) stays(ctx context.Context, r host.Reader) error {
	if !u.ended() || u.rewritten(ctx) || u.load == "bad-setting" { // of which systemd knows no Type=, and says why when it is to start
		return nil
	}
	if u.needReload {
		says, err := u.onDisk(ctx, r, "", "")
		if err != nil || !says.ends() {
			return err
		}
	}
	return endsError(u.name)
}

func endsError(name string) error {
	return fmt.Errorf("state: %s is of Type=oneshot and is gone when its work is done: it cannot be kept started; set RemainAfterExit=yes in it, or give state = None and run it with systemd.restarted or a timer", name)
}

// reader is the unit as what reads files when it is started, see Change.
func (u unit) reader() string { return cmp.Or(u.id, u.name) }

// reloadReads is the unit as what reads files when it is started or reloaded.
func (u unit) reloadReads() string { return u.reader() + " reload" }

// stops is, among the readers, that the unit is stopped.
func (u unit) stops() string { return u.reader() + " stop" }

// startReads are both: who is started reads all of its files.
func (u unit) startReads() []string { return []string{u.reader(), u.reloadReads()} }

// changedSince returns the first of some files that was changed after a reader had last read them, or would be in a dry run; empty for none.
// See the package comment for why times may be compared. A file that is not there is no reason. A symbolic link is changed where what it
// leads to is, too; what the kernel follows on the way there is not looked at.
func changedSince(ctx context.Context, r host.Reader, reader string, last time.Time, paths []string) (string, error) {
	written, read := builtin.Unread(ctx, reader)
	var unknown error // unless another file says all
	for _, p := range paths {
		trail, err := file.Trail(ctx, r, p)
		for _, at := range trail {
			if file.Among(ctx, r, at.Path, written) {
				return at.Path, nil
			}
			if at.Info == nil || read {
				continue
			}
			if older, err := isOlder(ctx, r, last, *at.Info); older || err != nil {
				return at.Path, err
			}
		}
		if replaced := (*host.Replaced)(nil); errors.As(err, &replaced) && !replaced.Gone {
			unknown = cmp.Or(unknown, err)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", unknown
}

// isOlder reports whether a time is before a file's, and that is not in the future.
func isOlder(ctx context.Context, r host.Reader, last time.Time, info host.Info) (bool, error) {
	if last.IsZero() || !info.ModTime.After(last) {
		return false, nil
	}
	now, err := clock(ctx, r)
	return !info.ModTime.After(now), err
}

// clock is the machine's own time.
func clock(ctx context.Context, r host.Reader) (time.Time, error) {
	c := host.Command{Argv: []string{"date", "+%s.%N"}}
	out, err := host.Succeeded(c)(r.Look(ctx, c))
	if err != nil {
		return time.Time{}, err
	}
	seconds, nanoseconds, _ := strings.Cut(strings.TrimSpace(out.Stdout), ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("date: %q is not a time", out.Stdout)
	}
	n, _ := strconv.ParseInt(nanoseconds, 10, 64) // not everywhere
	return time.Unix(s, n), nil
}

// planEnable decides whether the unit is enabled or disabled.
func (s *steps) planEnable(ctx context.Context, r host.Reader, fresh bool) error {
	u, g := s.unit, s.goal
	switch {
	case g.enabled == nil:
		return nil
	case u.file == "generated" && !fresh:
		return fmt.Errorf("%s cannot be enabled or disabled, for it has no unit file: a generator of systemd's makes it of something else (systemctl cat %s says what): change that, or keep the unit from starting with systemd.masked", u.name, u.name)
	case !*g.enabled:
		if u.linked() {
			s.enable = "disable"
		}
	case !u.enabled():
		if !g.installable {
			if err := u.installable(ctx, r); err != nil {
				return err
			}
		}
		s.enable = "enable"
	default:
		for _, link := range g.links {
			_, err := r.Stat(ctx, link)
			if errors.Is(err, fs.ErrNotExist) {
				s.enable = "reenable"
				break
			}
			if err != nil {
				return err
			}
		}
	}
	switch s.enable {
	case "":
		return nil
	case "reenable":
		s.lines = append([]string{fmt.Sprintf("enable %s as its file now says", u.name)}, s.lines...)
	default:
		s.lines = append([]string{s.enable + " " + u.name}, s.lines...)
	}
	return nil
}

// installable fails for a unit whose file does not say what enabling it means.
func (u unit) installable(ctx context.Context, r host.Reader) error {
	switch u.file {
	case "static":
		return fmt.Errorf("%s cannot be enabled, for no [Install] section in its file says what would start it: others start it when they need it", u.name)
	case "indirect": // it names others, or is enabled under another name
		content, err := r.ReadFile(ctx, u.fragment)
		if err == nil && !parseUnitFile(string(content)).installable() {
			err = fmt.Errorf("%s cannot be enabled, for the [Install] section in its file only names others (Also=): enable those", u.name)
		}
		return err
	}
	return nil
}

// apply takes the steps in the order in which a run that is cut off between any two of them can be
// taken up by the next.
func (s *steps) apply(ctx context.Context, h host.Host) error {
	c := &control{h, s.goal.runParams}
	var run attempt
	if s.run != "" {
		run = c.attempt(ctx, s.run, s.unit.name) // before the reload, which may say what is wrong with the file
	}
	if s.reload && s.enable == "" { // enable and disable do it, too
		if err := c.systemctl(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	switch s.enable {
	case "":
	case "disable":
		if err := c.disable(ctx, s.unit.name); err != nil {
			return err
		}
	default:
		if err := c.systemctl(ctx, s.enable, s.unit.name); err != nil {
			return err
		}
	}
	switch s.run {
	case "start", "restart":
		return run.start(ctx, s.goal.running != nil)
	case "reload":
		return run.reload(ctx, s.unit)
	case "stop":
		return run.tell(ctx)
	}
	return nil
}
