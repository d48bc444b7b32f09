package pgautoctl

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgrun/pgrun/runtime/host"
)

// osUser is whom PostgreSQL and pg_autoctl run as in Debian's packages.
const osUser = "postgres"

// layout says where pg_autoctl keeps what belongs to a PGDATA: under its user's home, in paths made of
// that of PGDATA.
type layout struct {
	home, pgdata string
}

func (l layout) settings() string {
	return path.Join(l.home, ".config/pg_autoctl", l.pgdata, "pg_autoctl.cfg")
}

// state is made before a data node is registered, see cutOff.
func (l layout) state() string {
	return path.Join(l.home, ".local/share/pg_autoctl", l.pgdata, "pg_autoctl.state")
}

// init is there while a data node's creation is not finished.
func (l layout) init() string {
	return path.Join(l.home, ".local/share/pg_autoctl", l.pgdata, "pg_autoctl.init")
}

// ofCreation are the files that a creation leaves when it is cut off.
func (l layout) ofCreation() []string { return []string{l.state(), l.init(), l.settings()} }

// created is our own mark that a monitor's creation has finished. pg_autoctl has none.
func (l layout) created() string {
	return path.Join(path.Dir(l.settings()), "created.pgrun")
}

// reload is our own mark that settings are being changed, and that the service has not read them yet.
func (l layout) reload() string {
	return path.Join(path.Dir(l.settings()), "reload.pgrun")
}

// backup is where the base backup for a node is put before it becomes PGDATA.
func (l layout) backup(nodeID int64) string {
	return path.Join(path.Dir(l.pgdata), "backup", fmt.Sprintf("node_%d", nodeID))
}

// cutOff reports whether a creation was cut off that has left a state file and no init file, as a finished node has: pg_autoctl makes the
// first before the monitor has registered the node, and the second just before that is committed. A finished node has come to some state,
// and this one is still in INIT. Ask it of a node that the monitor does not know.
func (l layout) cutOff(ctx context.Context, r host.Reader) (bool, error) {
	content, err := r.ReadFile(ctx, l.state()) // pg_autoctl show file would make a directory
	if err != nil {
		return false, err
	}
	// A C struct (KeeperStateData, version 1), to whose end alone its authors add. What has another form may be a node.
	const version, currentRole = 0, 56 // places
	const initState = 1                // of NodeState
	number := func(at int) uint32 { return binary.LittleEndian.Uint32(content[at:]) }
	return len(content) >= currentRole+4 && number(version) == 1 && number(currentRole) == initState, nil
}

// layoutOf finds the layout of a PGDATA, and refuses one that is reached through a symbolic link:
// pg_autoctl resolves links, and we would look for its files in the wrong place.
func layoutOf(ctx context.Context, r host.Reader, pgdata string) (layout, error) {
	if err := checkPath("pgdata", pgdata); err != nil {
		return layout{}, err
	}
	var home, resolved string
	looks, inner := errgroup.WithContext(ctx)
	looks.Go(func() (err error) { home, err = homeOf(inner, r, osUser); return err })
	looks.Go(func() (err error) { resolved, err = resolve(inner, r, pgdata); return err })
	err := looks.Wait()
	if err == nil && resolved != pgdata {
		err = fmt.Errorf("pgdata: %s is reached through a symbolic link: name %s", pgdata, resolved)
	}
	return layout{home, pgdata}, err
}

// homeOf finds the home directory of an account, which a package makes in /etc/passwd: reading that costs the machine less
// than getent, which is asked where it is not there.
func homeOf(ctx context.Context, r host.Reader, user string) (string, error) {
	const fields = 7
	home := func(entry string) (string, bool) {
		f := strings.Split(strings.TrimSpace(entry), ":")
		if len(f) != fields || f[0] != user {
			return "", false
		}
		return f[5], true
	}
	all, err := r.ReadFile(ctx, "/etc/passwd")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(all)) {
		if h, ok := home(line); ok {
			return h, nil
		}
	}
	out, err := r.Look(ctx, host.Command{Argv: []string{"getent", "passwd", user}})
	if err != nil {
		return "", err
	}
	if h, ok := home(out.Stdout); ok && out.RC == 0 {
		return h, nil
	}
	return "", host.NotThere("there is no operating-system user %s: install PostgreSQL first", user)
}

// resolve follows the symbolic links in a path. Where there is none, nothing has to be run.
func resolve(ctx context.Context, r host.Reader, p string) (string, error) {
	var links atomic.Bool
	looks, inner := errgroup.WithContext(ctx)
	for at := p; at != "/"; at = path.Dir(at) {
		looks.Go(func() error {
			info, err := r.Stat(inner, at)
			if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, host.ErrAbsent) {
				return nil
			}
			if err == nil && info.Mode&fs.ModeSymlink != 0 {
				links.Store(true)
			}
			return err
		})
	}
	if err := looks.Wait(); err != nil || !links.Load() {
		return p, err
	}
	c := host.Command{Argv: []string{"readlink", "-m", p}}
	out, err := host.Succeeded(c)(r.Look(ctx, c))
	return strings.TrimSuffix(out.Stdout, "\n"), err
}

// checkPath refuses what pg_autoctl, systemd or a settings file would read as something else.
func checkPath(param, p string) error {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_.-+@"
	switch {
	case !path.IsAbs(p) || path.Clean(p) != p || p == "/":
		return fmt.Errorf("%s: %q is not an absolute, clean path", param, p)
	case strings.Trim(p, plain) != "":
		return fmt.Errorf("%s: %q: use letters, digits and / _ . - + @ only", param, p)
	}
	return nil
}

// checkAddress refuses what would be read as something else in a URI or an argument.
func checkAddress(param, a string) error {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_"
	if a == "" || a[0] == '-' || strings.Trim(a, plain) != "" {
		return fmt.Errorf("%s: %q is no host name or address", param, a)
	}
	return nil
}

// exists reports whether there is anything at path.
func exists(ctx context.Context, r host.Reader, path string) (bool, error) {
	_, err := r.Stat(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// creationMarks are what pg_autoctl leaves of a data node's creation.
type creationMarks struct {
	state bool // the state file: its creation has begun
	init  bool // its creation was not finished
}

func (m creationMarks) finished() bool { return m.state && !m.init }

func (l layout) marks(ctx context.Context, r host.Reader) (m creationMarks, err error) {
	looks, inner := errgroup.WithContext(ctx)
	looks.Go(func() (err error) { m.state, err = exists(inner, r, l.state()); return err })
	looks.Go(func() (err error) { m.init, err = exists(inner, r, l.init()); return err })
	return m, looks.Wait()
}

// readSettings reads pg_autoctl.cfg: option by section.option.
func readSettings(ctx context.Context, r host.Reader, l layout) (map[string]string, error) {
	content, err := r.ReadFile(ctx, l.settings())
	// A pg_autoctl that is told to reload empties the file, and writes it again.
	for end := time.Now().Add(time.Second); err == nil && len(content) == 0; {
		if time.Now().After(end) {
			return nil, fmt.Errorf("%s is empty: pg_autoctl was cut off while it wrote it, or had no space. Restore that file or, if the data in %s is not wanted any more, remove it", l.settings(), l.pgdata)
		}
		if err = host.Pause(ctx, time.Millisecond); err == nil {
			content, err = r.ReadFile(ctx, l.settings())
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, host.NotThere("%s is not there: pg_autoctl has created nothing in %s yet", l.settings(), l.pgdata)
	}
	if err != nil {
		return nil, err
	}
	return parseSettings(content), nil
}

// parseSettings reads the INI dialect of pg_autoctl, in which a value is the rest of its line.
func parseSettings(content []byte) map[string]string {
	settings, section := map[string]string{}, ""
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if name, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(name, "]")
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && line[0] != '#' && line[0] != ';' {
			settings[section+"."+strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return settings
}
