package guard

import (
	"context"
	"errors"
	"io"
	"iter"
	"strconv"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
	"github.com/pgrun/pgrun/runtime/postgres"
	"github.com/pgrun/pgrun/runtime/transport"
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

// daemon is what the guard has of Incus: an *incus.Server.
type daemon interface {
	Instance(ctx context.Context, name string) (incus.Instance, error)
	Stopping(ctx context.Context, name string) (bool, error)
	UpdateInstance(ctx context.Context, name string, want incus.Settings) error
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string, force bool) error
	Watch(ctx context.Context) iter.Seq2[incus.Event, error]
	Transport(instance string) transport.Transport
}

// reached is a host that the guard has the way to: a builtin.Host.
type reached interface {
	Reader() (host.Reader, error)
	Writer() (host.Host, error)
}

// machine is the instance of a data node.
type machine struct {
	name    string // the node's
	host    reached
	watcher *watcher
	opening *opening // the last on its server, which may be to be promoted

	find func(context.Context) (daemon, string, error) // its daemon, and the name of its instance there
}

func newMachine(name string, h reached, target postgres.Target, wake func()) *machine {
	m := &machine{name: name, host: h}
	m.find = m.ofIncus
	m.watcher = &watcher{open: func() session { return transport.NewReader(name, m) }, target: target, wake: wake}
	return m
}

// instance is how Incus finds it.
type instance struct {
	status    string // "Running", "Stopped", "Frozen", ...; empty where that is not known
	stopping  bool   // the daemon is at it
	unseen    error  // why it could not be seen whether it is
	config    map[string]string
	off       bool // by its configuration, or a profile's
	ephemeral bool
	err       error
}

// mark is the number of the node for which the guard has stopped it; empty where it has not.
func (i instance) mark() string { return i.config[fencedKey] }

// ofIncus is find.
func (m *machine) ofIncus(ctx context.Context) (daemon, string, error) {
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
	// In this order: it is Running until it is stopped. In a cluster each member is asked, and one that is dead is to keep nobody from the rest.
	brief, cancel := context.WithTimeout(ctx, stoppingTimeout)
	stopping, unseen := s.Stopping(brief, name)
	cancel()
	i, err := s.Instance(ctx, name)
	return instance{i.Status, stopping, unseen, i.Config, i.ExpandedConfig[switchKey] == "off", i.Ephemeral, err}
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

// setMark says in the instance's configuration that the guard stops it, and keeps it from starting by itself.
func (m *machine) setMark(ctx context.Context, i instance, node int64) error {
	return m.configure(ctx, marking(i.config, node))
}

// unmark takes that back.
func (m *machine) unmark(ctx context.Context, i instance) error {
	return m.configure(ctx, unmarking(i.config))
}

// marking is what a mark changes in a configuration. What autostart was is kept, unless that is the guard's own, of another mark.
func marking(config map[string]string, node int64) map[string]string {
	change := map[string]string{fencedKey: strconv.FormatInt(node, 10), autostart: "false"}
	if config[fencedKey] == "" || config[autostart] != "false" {
		change[autostartKey] = config[autostart]
	}
	return change
}

// unmarking is what takes it back. An autostart that is not as the guard left it is somebody else's.
func unmarking(config map[string]string) map[string]string {
	change := map[string]string{fencedKey: "", autostartKey: ""}
	if config[autostart] == "false" {
		change[autostart] = config[autostartKey]
	}
	return change
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

// stopping reports whether somebody is at stopping it.
func (m *machine) stopping(ctx context.Context) (bool, error) {
	s, name, err := m.find(ctx)
	if err != nil {
		return false, err
	}
	return s.Stopping(ctx, name)
}

func (m *machine) start(ctx context.Context) error {
	s, name, err := m.find(ctx)
	if err != nil {
		return err
	}
	return s.Start(ctx, name)
}
