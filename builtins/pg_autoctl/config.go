package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
		change.Summary = append(change.Summary, fmt.Sprintf("let %s read its settings, which an earlier run has changed, and was cut off", p.Service))
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
		s := service(p.Service)
		// The file alone does not tell whether the service has read it: a mark stands beside it until it has.
		mark := "pg_autoctl.cfg is being changed, and the service that runs has not read it yet.\n"
		if err := h.WriteFile(ctx, files.reload(), strings.NewReader(mark), host.Attributes{Owner: osUser, Group: osUser}); err != nil {
			return err
		}
		if err := s.set(ctx, h, files, p.Settings, differ); err != nil {
			return err
		}
		return h.Remove(ctx, files.reload(), false)
	}
	return change, nil
}

// set changes pg_autoctl.cfg, and lets the service read it. A service that reads the file writes it, too, so that what is
// set at that moment fails, or is lost again: three times are enough.
func (s service) set(ctx context.Context, h host.Host, files layout, settings map[string]string, keys []string) error {
	once := func() error {
		for _, key := range keys {
			if err := s.autoctl(ctx, h, files.pgdata, "config", "set", "--pgdata", files.pgdata, key, settings[key]); err != nil {
				return err
			}
		}
		if err := s.reload(ctx, h, files.pgdata); err != nil {
			return err
		}
		found, err := readSettings(ctx, h, files)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if found[key] != settings[key] {
				return fmt.Errorf("pg_autoctl was told to set %s to %s, and %s says %q: write the value as pg_autoctl does", key, settings[key], files.settings(), found[key])
			}
		}
		return nil
	}
	for tries := 3; ; tries-- {
		err := once()
		if _, away := errors.AsType[*host.Unreachable](err); err == nil || away || tries == 1 {
			return err
		}
		if err := host.Pause(ctx, pollEvery); err != nil {
			return err
		}
	}
}
