package incus

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
)

// summary is what incus.instances tells of each.
type summary struct {
	Name         string            `star:"name" doc:"The instance's name."`
	Status       string            `star:"status" doc:"Running, Stopped, Frozen, Error, ..."`
	Type         string            `star:"type" doc:"container or virtual-machine."`
	Architecture string            `star:"architecture" doc:"The kernel's word: x86_64, aarch64, ..."`
	Location     string            `star:"location" doc:"The cluster's member that it is on; \"none\" without a cluster."`
	Image        string            `star:"image" doc:"Fingerprint of the image that it was made of."`
	Ephemeral    bool              `star:"ephemeral" doc:"Whether it is deleted when it stops."`
	Description  string            `star:"description" doc:"Free text."`
	Profiles     []string          `star:"profiles" doc:"Its profiles, in the order in which they apply."`
	Config       map[string]string `star:"config" doc:"Its settings, those of its profiles included."`
	Made         bool              `star:"made" doc:"Whether pgrun made it, under this name: a copy of one that it made does not count."`
	Project      string            `star:"project" doc:"The project that it is in."`
}

func summaryOf(i incus.Instance) summary {
	return summary{
		Name: i.Name, Status: i.Status, Type: i.Type, Architecture: i.Architecture, Location: i.Location, Image: i.Image,
		Ephemeral: i.Ephemeral, Description: deref(i.Description), Profiles: i.Profiles, Config: i.ExpandedConfig,
		Made: i.Config[madeKey] == i.Name, Project: i.Project,
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

type instancesParams struct {
	Profile     string `star:"profile" doc:"Only those with this profile."`
	AllProjects bool   `star:"all_projects" doc:"Whether those of the daemon's other projects are listed, too."`
}

func instances(ctx context.Context, r host.Reader, p instancesParams) ([]summary, error) {
	s, _, err := daemon(ctx, r)
	if err != nil {
		return nil, err
	}
	list := s.Instances
	if p.AllProjects {
		list = s.AllInstances
	}
	found, err := list(ctx)
	if err != nil {
		return nil, err
	}
	all := []summary{}
	for _, i := range found {
		if p.Profile == "" || slices.Contains(i.Profiles, p.Profile) {
			all = append(all, summaryOf(i))
		}
	}
	return all, nil
}

type infoParams struct {
	which
	Addresses bool `star:"addresses" doc:"Whether its addresses are asked for. The daemon has to enter the instance for them, which takes longer than all else."`
}

// instanceInfo is what incus.info returns.
type instanceInfo struct {
	Exists bool `star:"exists" doc:"Whether it is there. If it is not, the other attributes are empty."`
	summary
	Created   *time.Time                   `star:"created" doc:"When it was made."`
	Devices   map[string]map[string]string `star:"devices" doc:"Its devices by name, those of its profiles included."`
	Address   string                       `star:"address" doc:"The IPv4 address on its first network interface; empty if addresses = False."`
	Addresses []string                     `star:"addresses" doc:"All global addresses, by interface, IPv4 first; likewise."`
}

func info(ctx context.Context, r host.Reader, p infoParams) (instanceInfo, error) {
	s, have, err := p.look(ctx, r)
	if errors.Is(err, host.ErrAbsent) {
		return instanceInfo{}, nil
	}
	if err != nil {
		return instanceInfo{}, err
	}
	i := instanceInfo{Exists: true, summary: summaryOf(have), Created: &have.Created, Devices: have.ExpandedDevices}
	if have.Status != "Running" || !p.Addresses {
		return i, nil
	}
	iface, _ := firstInterface(have)
	list, err := s.Addresses(ctx, have.Name)
	if err != nil {
		return instanceInfo{}, err
	}
	for _, a := range list {
		if a.Scope != "global" {
			continue
		}
		i.Addresses = append(i.Addresses, a.Address)
		if i.Address == "" && a.Family == "inet" && (iface == "" || a.Interface == iface) {
			i.Address = a.Address
		}
	}
	return i, nil
}
