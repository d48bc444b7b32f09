package incus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
)

type instanceParams struct {
	which
	Image    string                            `star:"image,required" doc:"Alias or fingerprint of an image of the daemon, or REMOTE:IMAGE of an image server (\"images:debian/13\"). Looked at only when the instance is created."`
	Profiles builtin.Optional[builtin.Strings] `star:"profiles" doc:"Its profiles, in the order in which they apply. Left out they stay; a new instance has \"default\"."`
	settingsParams
	devicesParams
	Type      string `star:"type" doc:"\"container\" or \"virtual-machine\"."`
	Target    string `star:"target" doc:"Member of the cluster, or @group, to create it on; the cluster chooses if left out."`
	Ephemeral bool   `star:"ephemeral" doc:"Whether an instance that is created here is deleted when it stops."`
	Started   bool   `star:"started" doc:"Whether to start it. If False it is left as it is, running or not."`
	waitParams
}

// made is what incus.instance learns.
type made struct {
	Name    string `star:"name" doc:"The instance's name."`
	Created bool   `star:"created" doc:"Whether this call created it."`
	Address string `star:"address" doc:"Its IPv4 address; empty where none was waited for."`
}

// want checks the parameters and makes settings of them.
func (p instanceParams) want() (incus.Settings, error) {
	want, err := p.settings()
	if err != nil {
		return want, err
	}
	if p.Type != "container" && p.Type != "virtual-machine" {
		return want, fmt.Errorf("type: %q is neither \"container\" nor \"virtual-machine\"", p.Type)
	}
	if p.Image == "" {
		return want, errors.New("image: it is empty: name one, see incus image list")
	}
	want.Devices = p.devices()
	if p.Profiles.Set {
		want.Profiles = append([]string{}, p.Profiles.Value...)
	}
	return want, p.validate()
}

func checkInstance(ctx context.Context, r host.Reader, p instanceParams) (*builtin.Change, error) {
	want, err := p.want()
	if err != nil {
		return nil, err
	}
	s, name, err := p.find(ctx, r)
	if err != nil {
		return nil, err
	}
	have, err := s.Instance(ctx, name)
	switch {
	case errors.Is(err, host.ErrAbsent):
		return p.planCreate(ctx, s, name, want)
	case err != nil:
		return nil, err
	case have.Type != p.Type:
		return nil, fmt.Errorf("type: %s is a %s, which cannot become a %s: remove it with incus.absent first", name, have.Type, p.Type)
	}
	half, err := cutOff(ctx, s, have)
	if err != nil {
		return nil, err
	}
	if half {
		return p.planRecreate(ctx, s, name, want)
	}
	return p.planUpdate(ctx, s, have, want)
}

// cutOff reports whether an instance may be there in part only. One that was ever started is whole: the daemon starts it when all
// else is done. Whoever has used it may have left data in it, and so may who has made snapshots; files that somebody has pushed
// into one that never ran cannot be seen.
func cutOff(ctx context.Context, s *incus.Server, have incus.Instance) (bool, error) {
	if have.Config[creatingKey] != have.Name || have.Status != "Stopped" || !have.Used.IsZero() || have.Config["volatile.last_state.power"] != "" {
		return false, nil
	}
	kept, err := s.HasSnapshots(ctx, have.Name)
	return err == nil && !kept, err
}

// planCreate says how the instance is created. That its image and profiles are there is looked at now, so
// that a dry run tells.
func (p instanceParams) planCreate(ctx context.Context, s *incus.Server, name string, want incus.Settings) (*builtin.Change, error) {
	if !strings.Contains(p.Image, ":") {
		if _, err := s.Image(ctx, p.Image); err != nil {
			return nil, fmt.Errorf("image: %w", err)
		}
	}
	for _, profile := range want.Profiles {
		if _, err := s.Profile(ctx, profile); err != nil {
			return nil, fmt.Errorf("profiles: %w", err)
		}
	}
	kind := p.Type
	if p.Started {
		kind += ", and start it"
	}
	t := thing{kind: "instance", name: name}
	change := t.planCreate(fmt.Sprintf("from image %s (%s)", p.Image, kind), want, nil)
	change.Apply = func(ctx context.Context, h host.Host) error {
		learned := made{Name: name, Created: true}
		err := p.create(ctx, s, name, want)
		if errors.Is(err, fs.ErrExist) {
			return p.takeOver(ctx, h, s, name, change)
		}
		if err == nil && p.Started {
			learned.Address, err = p.up(ctx, s, name)
		}
		change.Learned = learned
		return err
	}
	return change, nil
}

// becomesTakeOver has a change say that it takes over an instance, and what else it does.
func becomesTakeOver(change *builtin.Change, name string, rest *builtin.Change) {
	takesOver := fmt.Sprintf("take over instance %s, which something else is creating", name)
	change.Summary, change.Diffs, change.Learned = []string{takesOver}, nil, nil
	if rest == nil {
		return
	}
	for _, line := range rest.Summary {
		if line != takesOver { // which it may say itself
			change.Summary = append(change.Summary, line)
		}
	}
	change.Diffs, change.Learned = rest.Diffs, rest.Learned
}

// takeOver waits for an instance that somebody else is creating, such as another run, and does what is still to be done in place of change.
func (p instanceParams) takeOver(ctx context.Context, h host.Host, s *incus.Server, name string, change *builtin.Change) error {
	visible, cancel := within(ctx, time.Minute, fmt.Sprintf("something else is creating instance %s (see incus operation list, and run again): it is not to be seen", name))
	defer cancel()
	for {
		if _, err := s.Instance(visible, name); !errors.Is(err, host.ErrAbsent) {
			break
		}
		if err := host.Pause(visible, 200*time.Millisecond); err != nil {
			return err
		}
	}
	rest, err := checkInstance(ctx, h, p)
	if err != nil {
		return err
	}
	if rest.Needed() {
		err = rest.Apply(ctx, h)
	}
	becomesTakeOver(change, name, rest)
	return err
}

// create creates the instance, with a mark that goes when it is whole. One that keeps the mark was cut off:
// the daemon died while it unpacked the image, say, and left a part of it.
func (p instanceParams) create(ctx context.Context, s *incus.Server, name string, want incus.Settings) error {
	want = with(with(want, madeKey, name), creatingKey, name)
	err := s.CreateInstance(ctx, incus.InstanceSpec{
		Name: name, Image: p.Image, Type: p.Type, Target: p.Target, Ephemeral: p.Ephemeral, Start: p.Started, Settings: want,
	})
	if err != nil {
		return err
	}
	return whole(ctx, s, name)
}

// whole takes away the mark of an instance that is being created.
func whole(ctx context.Context, s *incus.Server, name string) error {
	return s.UpdateInstance(ctx, name, incus.Settings{Config: map[string]string{creatingKey: ""}})
}

// planRecreate replaces an instance whose creation was cut off, unless the daemon is still at it.
func (p instanceParams) planRecreate(ctx context.Context, s *incus.Server, name string, want incus.Settings) (*builtin.Change, error) {
	creating, err := s.Creating(ctx, name)
	if err != nil {
		return nil, err
	}
	change, err := p.planCreate(ctx, s, name, want)
	if err != nil {
		return nil, err
	}
	create := *change
	anew := append([]string{fmt.Sprintf("delete instance %s, whose creation was cut off (it has %s)", name, creatingKey)}, create.Summary...)
	makes := func(ctx context.Context, h host.Host, summary []string) error {
		change.Summary, change.Diffs = summary, create.Diffs
		return create.Apply(ctx, h)
	}
	change.Summary = anew
	if creating {
		becomesTakeOver(change, name, nil)
	}
	change.Apply = func(ctx context.Context, h host.Host) error {
		for tries := 1; ; tries++ {
			becomesTakeOver(change, name, nil)
			now, half, err := awaitCreation(ctx, s, name)
			switch {
			case errors.Is(err, host.ErrAbsent):
				return makes(ctx, h, create.Summary)
			case err != nil:
				return err
			case !half:
				update, err := p.planUpdate(ctx, s, now, want)
				if err != nil {
					return err
				}
				if update.Needed() {
					err = update.Apply(ctx, h)
				}
				becomesTakeOver(change, name, update)
				return err
			}
			change.Summary = anew
			// Another run may be at replacing it, too: what it creates is not to be waited for, and deleted.
			if err := s.DeleteIdle(ctx, name); err == nil {
				return makes(ctx, h, anew)
			} else if tries == 3 {
				return err
			}
		}
	}
	return change, nil
}

// unmarking is how long whoever has created an instance may take to take the mark away, over a bad link, too.
const unmarking = 10 * time.Second

// awaitCreation waits while the daemon creates an instance, and for its mark to go. It says whether the creation was cut off.
func awaitCreation(ctx context.Context, s *incus.Server, name string) (now incus.Instance, half bool, err error) {
	ctx, cancel := within(ctx, 15*time.Minute, fmt.Sprintf("something else is still creating instance %s (see incus operation list, and run again): it is not whole", name))
	defer cancel()
	last := time.Now() // that it may have been at it
	for {
		creating, err := s.Creating(ctx, name)
		if err != nil {
			return now, false, err
		}
		if creating {
			last = time.Now()
		}
		now, err = s.Instance(ctx, name)
		if err == nil {
			half, err = cutOff(ctx, s, now)
		}
		if err != nil || !half || time.Since(last) > unmarking {
			return now, half, err
		}
		if err := host.Pause(ctx, 100*time.Millisecond); err != nil {
			return now, false, err
		}
	}
}

// planUpdate says what differs in an instance that exists, its state included.
func (p instanceParams) planUpdate(ctx context.Context, s *incus.Server, have incus.Instance, want incus.Settings) (*builtin.Change, error) {
	if have.Config[creatingKey] != "" { // whoever created it was interrupted, but it is whole
		want = with(want, creatingKey, "")
	}
	for _, profile := range want.Profiles {
		if slices.Contains(have.Profiles, profile) {
			continue
		}
		if _, err := s.Profile(ctx, profile); err != nil {
			return nil, fmt.Errorf("profiles: %w", err)
		}
	}
	learned := &made{Name: have.Name}
	update := thing{kind: "instance", name: have.Name}.planUpdate(have.Differences(want), func(ctx context.Context) error {
		return s.UpdateInstance(ctx, have.Name, want)
	})
	if p.Started && have.Status != "Running" {
		change := builtin.Join(update, planStart(s, have, p.waitParams, &learned.Address))
		apply := change.Apply
		change.Apply = func(ctx context.Context, h host.Host) error {
			change.Learned = learned // the address is known from now on
			return apply(ctx, h)
		}
		return change, nil
	}
	if update == nil {
		update = &builtin.Change{}
	}
	update.Learned = learned
	var err error
	learned.Address, err = p.addressNow(ctx, s, have)
	return update, err
}

// settled is how long after its start an instance that is to have a fixed address counts as having it.
const settled = time.Minute

// addressNow is the address of an instance that runs. Where it has none yet, it has been started a moment
// ago, by a run that was interrupted perhaps: that is worth a wait, though no change. The daemon is asked only
// where its configuration does not say: it has to enter the instance.
func (p instanceParams) addressNow(ctx context.Context, s *incus.Server, have incus.Instance) (string, error) {
	if p.Wait != waitAddress || have.Status != "Running" {
		return "", nil
	}
	if fixed := fixedAddress(have); fixed != "" && time.Since(have.Used) > settled {
		return fixed, nil
	}
	got, err := address(ctx, s, have)
	if dry, _ := builtin.DryRun(ctx); err != nil || got != "" || dry {
		return got, err
	}
	return p.up(ctx, s, have.Name)
}
