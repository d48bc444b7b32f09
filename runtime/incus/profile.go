package incus

import (
	"context"
	"fmt"
	"net/http"

	"github.com/lxc/incus/v6/shared/api"
)

// Profile is a set of settings for instances.
type Profile struct {
	Name string
	Settings
}

// Profile returns a profile; one that does not exist is fs.ErrNotExist.
func (s *Server) Profile(ctx context.Context, name string) (Profile, error) {
	got, err := look(ctx, s, fmt.Sprintf("look at profile %q", name), func(ctx context.Context) (*api.Profile, error) {
		got, _, err := s.client(ctx).GetProfile(name)
		return got, err
	})
	if err != nil {
		return Profile{}, err
	}
	return Profile{got.Name, Settings{Description: &got.Description, Config: got.Config, Devices: got.Devices}}, nil
}

// CreateProfile makes a profile.
func (s *Server) CreateProfile(ctx context.Context, name string, want Settings) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	after := want.over(Settings{})
	err := s.client(ctx).CreateProfile(api.ProfilesPost{Name: name, ProfilePut: api.ProfilePut{
		Description: text(after.Description), Config: after.Config, Devices: after.Devices,
	}})
	return s.explain(ctx, fmt.Sprintf("create profile %q", name), err)
}

// UpdateProfile puts settings over a profile's; instances that use it follow at once.
func (s *Server) UpdateProfile(ctx context.Context, name string, want Settings) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	defer s.instances.drop()
	c := s.client(ctx)
	return s.explain(ctx, fmt.Sprintf("update profile %q", name), again(ctx, func() error {
		got, etag, err := c.GetProfile(name)
		if err != nil {
			return err
		}
		after := want.over(Settings{Description: &got.Description, Config: got.Config, Devices: got.Devices})
		put := got.Writable()
		put.Description, put.Config, put.Devices = text(after.Description), after.Config, after.Devices
		return c.UpdateProfile(name, put, etag)
	}))
}

// DeleteProfile deletes a profile that no instance uses. One that does not exist is fine.
func (s *Server) DeleteProfile(ctx context.Context, name string) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	return s.explain(ctx, fmt.Sprintf("delete profile %q", name), unlessAbsent(s.client(ctx).DeleteProfile(name)))
}

// unlessAbsent makes it no error to delete what is not there.
func unlessAbsent(err error) error {
	if api.StatusErrorCheck(err, http.StatusNotFound) {
		return nil
	}
	return err
}
