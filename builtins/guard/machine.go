package guard

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
)

// Configuration keys of an instance.
const (
	switchKey = "user.pgrun.guard" // "off": the guard does nothing to it

	// fencedKey marks what the guard has stopped, with the node's number, and autostartKey keeps what autostart was: while
	// it is fenced, the instance does not start with its host.
	fencedKey    = "user.pgrun.guard.fenced"
	autostartKey = "user.pgrun.guard.autostart"
	autostart    = "boot.autostart"
)

// machine is the instance of a data node.
type machine struct {
	name    string // the node's
	host    builtin.Host
	watcher *watcher
	opening *opening // on its server, which is to be promoted; nil most of the time
}

// instance is how Incus finds it.
type instance struct {
	status string // "Running", "Stopped", "Frozen", ...
	config map[string]string
	off    bool // by its configuration, or a profile's
	err    error
}

func (i instance) fenced() bool { return i.config[fencedKey] != "" }

// find returns the machine's daemon and the name of its instance there.
func (m *machine) find(ctx context.Context) (*incus.Server, string, error) {
	r, err := m.host.Reader()
	if err != nil {
		return nil, "", err
	}
	s, name, err := incus.Of(ctx, r)
	if err == nil && name == "" {
		err = errors.New("it is no Incus instance")
	}
	return s, name, err
}

// look asks the daemon.
func (m *machine) look(ctx context.Context) instance {
	s, name, err := m.find(ctx)
	if err != nil {
		return instance{err: err}
	}
	i, err := s.Instance(ctx, name)
	return instance{i.Status, i.Config, i.ExpandedConfig[switchKey] == "off", err}
}

// Open starts an agent for a session of the watcher's own. It is that of transport.Transport.
func (m *machine) Open(ctx context.Context, readOnly bool) (io.ReadWriteCloser, error) {
	s, name, err := m.find(ctx)
	if err != nil {
		return nil, err
	}
	return s.Transport(name).Open(ctx, readOnly)
}

// follow calls wake when something happens to the instance, until ctx ends.
func (m *machine) follow(ctx context.Context, wake func()) {
	for ctx.Err() == nil {
		s, name, err := m.find(ctx)
		if err == nil {
			for event, err := range s.Watch(ctx) {
				if err != nil || event.Name == name {
					wake()
				}
			}
		}
		_ = host.Pause(ctx, signEvery)
	}
}

// mark says in the instance's configuration that the guard stops it, and keeps it from starting by itself.
func (m *machine) mark(ctx context.Context, i instance, node int64) error {
	config := map[string]string{fencedKey: strconv.FormatInt(node, 10), autostart: "false"}
	if !i.fenced() { // else what it was is kept already
		config[autostartKey] = i.config[autostart]
	}
	return m.configure(ctx, config)
}

// unmark takes that back.
func (m *machine) unmark(ctx context.Context, i instance) error {
	return m.configure(ctx, map[string]string{fencedKey: "", autostartKey: "", autostart: i.config[autostartKey]})
}

func (m *machine) configure(ctx context.Context, config map[string]string) error {
	s, name, err := m.find(ctx)
	if err != nil {
		return err
	}
	return s.UpdateInstance(ctx, name, incus.Settings{Config: config})
}

func (m *machine) stop(ctx context.Context) error {
	s, name, err := m.find(ctx)
	if err != nil {
		return err
	}
	return s.Stop(ctx, name, true)
}

func (m *machine) start(ctx context.Context) error {
	s, name, err := m.find(ctx)
	if err != nil {
		return err
	}
	return s.Start(ctx, name)
}
