package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type configParams struct {
	PGData   string            `star:"pgdata,required" doc:"Data directory."`
	Settings builtin.StringMap `star:"settings,required" doc:"Values by section.option: {\"timeout.network_partition_timeout\": 3}."`
	Service  string            `star:"service" doc:"The systemd service that runs pg_autoctl."`
}

func (p configParams) validate() error {
	for key, value := range p.Settings {
		switch section, option, ok := strings.Cut(key, "."); {
		case !ok || section == "" || option == "" || section[0] == '-':
			return fmt.Errorf("settings: %q is not of the form section.option", key)
		case key == "replication.password":
			return errors.New("settings: replication.password would stand in clear in files that others can read: write it to ~postgres/.pgpass")
		case value == "" || strings.HasPrefix(value, "-") || strings.ContainsAny(value, "\n\x00"):
			return fmt.Errorf("settings: %s: %q is no value that pg_autoctl takes", key, value)
		}
	}
	return checkService(p.Service)
}

func checkConfig(ctx context.Context, r host.Reader, p configParams) (*builtin.Change, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	files, err := layoutOf(ctx, r, p.PGData)
	if err != nil {
		return nil, err
	}
	if slices.Contains(builtin.Written(ctx), files.settings()) {
		return nil, host.NotThere("%s is yet to be written by pg_autoctl", files.settings())
	}
	found, err := readSettings(ctx, r, files)
	if err != nil {
		return nil, err
	}
	var differ []string
	before, after := "", ""
	for key, value := range p.Settings {
		if found[key] != value {
			differ = append(differ, key)
		}
	}
	unread, err := exists(ctx, r, files.reload())
	if err != nil || len(differ) == 0 && !unread {
		return nil, err
	}
	slices.Sort(differ)
	change := &builtin.Change{}
	if unread {
		change.Summary = append(change.Summary, fmt.Sprintf("let %s read its settings, which an earlier run has changed", p.Service))
	}
	for _, key := range differ {
		change.Summary = append(change.Summary, fmt.Sprintf("set %s to %s", key, p.Settings[key]))
		if value, there := found[key]; there {
			before += key + " = " + value + "\n"
		}
		after += key + " = " + p.Settings[key] + "\n"
	}
	if len(differ) > 0 {
		change.Diffs = []builtin.Diff{{Path: files.settings(), Before: before, After: after}}
	}
	change.Apply = func(ctx context.Context, h host.Host) error {
		// The file alone does not tell whether the service has read it: a mark stands beside it until it has.
		mark := "pg_autoctl.cfg is being changed, and the service that runs has not read it yet.\n"
		if err := h.WriteFile(ctx, files.reload(), strings.NewReader(mark), host.Attributes{Owner: osUser, Group: osUser}); err != nil {
			return err
		}
		read, err := service(p.Service).set(ctx, h, files, p.Settings, found)
		if err != nil {
			return err
		}
		if !read && len(differ) == 0 {
			return fmt.Errorf("%s was told by an earlier run to read its settings, and now, and has not within %s: see journalctl -u %s, and run again when it is not busy any more",
				p.Service, readTimeout, p.Service)
		}
		if !read {
			change.Summary = append(change.Summary, fmt.Sprintf("%s has not read its settings within %s, see journalctl -u %s: the next call tells it again", p.Service, readTimeout, p.Service))
			return nil
		}
		return h.Remove(ctx, files.reload(), false)
	}
	return change, nil
}

const (
	// readTimeout is how long a service may take to read its settings. One that copies the primary, for one, does so afterwards.
	readTimeout = 15 * time.Second

	// tellAgainAfter is how long it is waited for before it is told again: one that is told while it acts on what it has read does not hear it.
	tellAgainAfter = 3 * time.Second

	// setTries is how often a setting is set that the service has written over, see set.
	setTries = 3
)

// set changes pg_autoctl.cfg where it differs from the settings, and reports whether the service that runs has read it.
//
// A keeper that is told to reads the file, waits while its PostgreSQL starts, writes the file with what it has read, and acts on it. So
// what was set after it had read is lost; and a file that has been written since it was told, and that has the settings, is one that it knows.
func (s service) set(ctx context.Context, h host.Host, files layout, settings, found map[string]string) (read bool, err error) {
	for try := 1; ; try++ {
		for key, value := range settings {
			if found[key] == value {
				continue
			}
			if err := s.setOne(ctx, h, files.pgdata, key, value); err != nil {
				return false, err
			}
		}
		if read, err = s.reads(ctx, h, files, found["pg_autoctl.role"]); err != nil || !read {
			return false, err
		}
		if found, err = readSettings(ctx, h, files); err != nil {
			return false, err
		}
		lost := ""
		for key, value := range settings {
			if found[key] != value {
				lost = key
			}
		}
		if lost == "" {
			return true, nil
		}
		if try == setTries {
			return false, fmt.Errorf("settings: %s was set to %q %d times, and %s has %q then: if that means the same, write it so, too; if it is one that pg_autoctl takes "+
				"only when it starts, stop %s (on a primary, switch over first), run again, and start it. Until then leave it out", lost, settings[lost], setTries, files.settings(), found[lost], s)
		}
	}
}

// setOne changes one setting, which fails while the service writes the file.
func (s service) setOne(ctx context.Context, h host.Host, pgdata, key, value string) error {
	for try := 1; ; try++ {
		err := s.autoctl(ctx, h, pgdata, "config", "set", "--pgdata", pgdata, key, value)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("settings: %s: pg_autoctl config set has not ended within %s: it waits while PostgreSQL starts, so run again when that is up", key, autoctlTimeout)
		}
		if _, away := errors.AsType[*host.Unreachable](err); err == nil || away || try == setTries || host.Pause(ctx, pollEvery) != nil {
			return err
		}
	}
}

// reads tells the service to read its settings, and reports whether it has. One that does not run does when it starts. A monitor, which
// writes nothing, is believed.
func (s service) reads(ctx context.Context, h host.Host, files layout, role string) (read bool, err error) {
	written := func() (time.Time, error) {
		info, err := h.Stat(ctx, files.settings())
		return info.ModTime, err
	}
	for end := time.Now().Add(readTimeout); time.Now().Before(end); {
		before, err := written()
		if err != nil {
			return false, err
		}
		runs, err := s.reload(ctx, h, files.pgdata)
		if err != nil || !runs || role == "monitor" {
			return err == nil, err
		}
		for told := time.Now(); time.Since(told) < tellAgainAfter; {
			if err := host.Pause(ctx, pollEvery); err != nil {
				return false, err
			}
			now, err := written()
			if err != nil || !now.Equal(before) {
				return err == nil, err
			}
		}
	}
	return false, nil
}
