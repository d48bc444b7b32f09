package incus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/lxc/incus/v6/shared/api"

	"github.com/pgrun/pgrun/runtime/host"
)

// InstanceSpec says how to create an instance.
type InstanceSpec struct {
	Name string

	// Image is an alias or a fingerprint (or its beginning) on the server itself, or one of an image
	// server: "images:ubuntu/22.04", which the daemon then downloads.
	Image string

	Type      string // "container", the default, or "virtual-machine"
	Target    string // member of the cluster, or "@group"; empty leaves the choice to the daemon
	Ephemeral bool
	Start     bool

	Settings // nil Profiles mean "default"
}

// CreateInstance creates an instance and waits until it is there, and started when asked for. When
// ctx ends first, the daemon may still finish it.
func (s *Server) CreateInstance(ctx context.Context, spec InstanceSpec) error {
	ctx, cancel := bounded(ctx, createTimeout)
	defer cancel()
	doing := fmt.Sprintf("create instance %q from image %q", spec.Name, spec.Image)
	source, err := s.instanceSource(ctx, spec.Image)
	if err != nil {
		return s.explain(ctx, doing, err)
	}
	inherited, err := s.profileDevices(ctx, spec)
	if err != nil {
		return s.explain(ctx, doing, err)
	}
	settings := spec.over(spec.inherit(Settings{}, inherited))
	defer s.instances.drop()
	op, err := s.target(ctx, spec.Target).CreateInstance(api.InstancesPost{
		Name:   spec.Name,
		Source: source,
		Type:   api.InstanceType(cmp.Or(spec.Type, "container")),
		Start:  spec.Start,
		InstancePut: api.InstancePut{
			Description: text(settings.Description),
			Config:      settings.Config,
			Devices:     settings.Devices,
			Profiles:    settings.Profiles,
			Ephemeral:   spec.Ephemeral,
		},
	})
	if err == nil {
		_, err = s.finish(ctx, op)
	}
	return s.explain(ctx, doing, err)
}

// instanceSource says what the daemon shall make an instance of.
func (s *Server) instanceSource(ctx context.Context, ref string) (api.InstanceSource, error) {
	from, remote, err := s.remoteImage(ref)
	if err != nil {
		return api.InstanceSource{}, err
	}
	if remote {
		return api.InstanceSource{Type: "image", Mode: "pull", Alias: from.Alias, Server: from.Server,
			Protocol: from.Protocol, Certificate: from.Certificate}, nil
	}
	image, err := s.Image(ctx, strings.TrimPrefix(ref, s.name+":"))
	return api.InstanceSource{Type: "image", Fingerprint: image.Fingerprint}, err
}

// profileDevices are the devices that a new instance gets from its profiles. They matter only where
// it brings devices of its own.
func (s *Server) profileDevices(ctx context.Context, spec InstanceSpec) (map[string]map[string]string, error) {
	if len(spec.Devices) == 0 {
		return nil, nil
	}
	profiles := spec.Profiles
	if profiles == nil {
		profiles = []string{"default"}
	}
	devices := map[string]map[string]string{}
	for _, name := range profiles {
		profile, err := s.Profile(ctx, name)
		if err != nil {
			return nil, err
		}
		maps.Copy(devices, profile.Devices)
	}
	return devices, nil
}

// UpdateInstance puts settings over an instance's. Limits take effect at once; some keys want a
// restart, which is the caller's.
func (s *Server) UpdateInstance(ctx context.Context, name string, want Settings) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	defer s.instances.drop()
	c := s.client(ctx)
	return s.explain(ctx, fmt.Sprintf("update instance %q", name), again(ctx, func() error {
		got, etag, err := c.GetInstance(name)
		if err != nil {
			return s.instanceError(name, err)
		}
		have := instanceFrom(*got)
		after := want.over(want.inherit(have.Settings, have.ExpandedDevices))
		put := got.Writable()
		put.Description, put.Config, put.Devices, put.Profiles = text(after.Description), after.Config, after.Devices, after.Profiles
		op, err := c.UpdateInstance(name, put, etag)
		if err == nil {
			_, err = s.finish(ctx, op)
		}
		return err
	}))
}

// Start starts an instance that is stopped and thaws one that is frozen. One that runs is fine.
func (s *Server) Start(ctx context.Context, name string) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	instance, err := s.Instance(ctx, name)
	switch {
	case err != nil:
		return err
	case instance.Status == "Running":
		return nil
	case instance.Status == "Frozen":
		return s.Unfreeze(ctx, name)
	}
	return s.changeState(ctx, name, api.InstanceStatePut{Action: "start"})
}

// stopTimeout is how long a clean stop may take where the context does not say.
const stopTimeout = time.Minute

// Stop stops an instance: cleanly, until ctx's deadline or for a minute, or by force at once. One
// that is stopped is fine.
func (s *Server) Stop(ctx context.Context, name string, force bool) error {
	return s.halt(ctx, name, "stop", force)
}

// Restart restarts a running instance, in the ways of Stop.
func (s *Server) Restart(ctx context.Context, name string, force bool) error {
	return s.halt(ctx, name, "restart", force)
}

func (s *Server) halt(ctx context.Context, name, action string, force bool) error {
	ctx, cancel := bounded(ctx, stopTimeout)
	defer cancel()
	instance, err := s.Instance(ctx, name)
	switch {
	case err != nil:
		return err
	case instance.Status == "Stopped" && action == "stop":
		return nil
	case instance.Status == "Frozen" && !force:
		if err := s.Unfreeze(ctx, name); err != nil { // nothing in it could react
			return err
		}
	}
	put := api.InstanceStatePut{Action: action, Force: force, Timeout: -1}
	if deadline, ok := ctx.Deadline(); ok && !force {
		// The daemon gives up a little earlier than we, and says so.
		put.Timeout = max(1, int((time.Until(deadline) - time.Second).Seconds()))
	}
	return s.changeState(ctx, name, put)
}

// Freeze suspends all of an instance's processes.
func (s *Server) Freeze(ctx context.Context, name string) error {
	return s.changeState(ctx, name, api.InstanceStatePut{Action: "freeze"})
}

// Unfreeze lets them go on.
func (s *Server) Unfreeze(ctx context.Context, name string) error {
	return s.changeState(ctx, name, api.InstanceStatePut{Action: "unfreeze"})
}

func (s *Server) changeState(ctx context.Context, name string, put api.InstanceStatePut) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	defer s.instances.drop()
	err := again(ctx, func() error {
		op, err := s.client(ctx).UpdateInstanceState(name, put, "")
		if err == nil {
			_, err = s.finish(ctx, op)
		}
		if err != nil && strings.HasPrefix(err.Error(), "The instance is already ") {
			return nil // running, stopped: somebody was quicker
		}
		return err
	})
	return s.explain(ctx, fmt.Sprintf("%s instance %q", put.Action, name), s.instanceError(name, err))
}

// DeleteInstance deletes an instance with its snapshots. By force it stops a running one first. One
// that does not exist is fine.
func (s *Server) DeleteInstance(ctx context.Context, name string, force bool) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	return s.deletion(ctx, name, again(ctx, func() error {
		for tries := 1; ; tries++ {
			if force {
				if err := s.Stop(ctx, name, true); err != nil {
					return err
				}
			}
			err := s.deleteOnce(ctx, name)
			if !force || err == nil || !strings.Contains(err.Error(), "Instance is running") || tries == 5 {
				return err
			}
			// Something has started it since, such as a creation that was given up.
			if host.Pause(ctx, pollEvery) != nil {
				return err
			}
		}
	}))
}

// DeleteIdle deletes an instance as DeleteInstance does, but fails where the daemon is at something else with it.
func (s *Server) DeleteIdle(ctx context.Context, name string) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	return s.deletion(ctx, name, s.deleteOnce(ctx, name))
}

func (s *Server) deleteOnce(ctx context.Context, name string) error {
	defer s.instances.drop()
	op, err := s.client(ctx).DeleteInstance(name)
	if err == nil {
		_, err = s.finish(ctx, op)
	}
	return err
}

// deletion is what came of one.
func (s *Server) deletion(ctx context.Context, name string, err error) error {
	if errors.Is(err, host.ErrAbsent) || api.StatusErrorCheck(err, http.StatusNotFound) {
		return nil // an ephemeral one went when it was stopped
	}
	return s.explain(ctx, fmt.Sprintf("delete instance %q", name), err)
}

// pollEvery is the time between two looks at an instance that something is awaited of.
const pollEvery = 100 * time.Millisecond

// WaitAddress waits until an instance has a global address on an interface ("" is any but lo) and
// returns it. The family is "inet" or "inet6".
func (s *Server) WaitAddress(ctx context.Context, name, iface, family string) (string, error) {
	ctx, cancel := bounded(ctx, time.Minute)
	defer cancel()
	for {
		list, err := s.Addresses(ctx, name)
		if err != nil {
			return "", err
		}
		for _, a := range list {
			if a.Family == family && a.Scope == "global" && (iface == "" || a.Interface == iface) {
				return a.Address, nil
			}
		}
		if err := host.Pause(ctx, pollEvery); err != nil {
			return "", fmt.Errorf("wait for an %s address on %s of instance %q: %w: incus console --show-log %[3]s may say why",
				family, cmp.Or(iface, "an interface"), name, err)
		}
	}
}

// WaitExec waits until commands can be run on an instance.
func (s *Server) WaitExec(ctx context.Context, name string) error {
	ctx, cancel := bounded(ctx, time.Minute)
	defer cancel()
	for {
		p, err := s.exec(ctx, name, []string{"true"})
		if err == nil {
			select {
			case <-p.done:
			case <-ctx.Done():
			}
			p.kill()
			if p.rc == 0 && p.waitErr == nil {
				return nil
			}
			err = p.why(ctx, 0)
		}
		if noDaemon(err) || errors.Is(err, host.ErrAbsent) || errors.As(err, new(*Refused)) {
			return err
		}
		if host.Pause(ctx, pollEvery) != nil {
			return fmt.Errorf("wait until commands run on instance %q: %w (last: %w)", name, context.Cause(ctx), err)
		}
	}
}
