package incus

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"
	"github.com/lxc/incus/v6/shared/cliconfig"
)

// connectTLS makes a client for a remote that was added with "incus remote add".
func connectTLS(remotes *cliconfig.Config, name string, args client.ConnectionArgs) (client.InstanceServer, error) {
	remote, ok := remotes.Remotes[name]
	if !ok {
		return nil, noRemote(remotes, name)
	}
	if remote.Protocol != "incus" || remote.Public {
		return nil, fmt.Errorf("incus remote %q is an image server: instances need a remote of an Incus daemon", name)
	}
	if path, ok := strings.CutPrefix(remote.Addr, "unix:"); ok {
		return client.ConnectIncusUnix(strings.TrimPrefix(path, "//"), &args)
	}
	if remote.AuthType != api.AuthenticationMethodTLS && remote.AuthType != "" {
		return nil, fmt.Errorf("incus remote %q logs in with %s, which pgrun cannot: add it with a client certificate (incus remote add --auth-type=tls)",
			name, remote.AuthType)
	}
	var err error
	args.TLSClientCert, args.TLSClientKey, args.TLSCA, err = remotes.GetClientCertificate(name)
	if err != nil {
		return nil, fmt.Errorf("client certificate of incus remote %q: %w", name, err)
	}
	if args.TLSClientCert == "" {
		return nil, fmt.Errorf("no client certificate for incus remote %q in %s: incus remote generate-certificate makes one",
			name, remotes.ConfigDir)
	}
	if args.TLSServerCert, err = serverCertificate(remotes, name); err != nil {
		return nil, err
	}
	return client.ConnectIncus(remote.Addr, &args)
}

// serverCertificate is the one that was accepted when the remote was added; "" leaves it to the
// system's authorities.
func serverCertificate(remotes *cliconfig.Config, name string) (string, error) {
	pem, err := os.ReadFile(remotes.ServerCertPath(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("server certificate of incus remote %q: %w", name, err)
	}
	return string(pem), nil
}

func noRemote(remotes *cliconfig.Config, name string) error {
	return fmt.Errorf("no incus remote %q (have %s): incus remote add %[1]s URL adds it",
		name, strings.Join(slices.Sorted(maps.Keys(remotes.Remotes)), ", "))
}

// remoteImage splits "images:debian/13" when images is a remote, and says from where the daemon is
// to get it. It downloads by itself: we never speak to image servers.
func (s *Server) remoteImage(ref string) (source api.ImageSource, remote bool, err error) {
	name, image, found := strings.Cut(ref, ":")
	if !found || name == s.name {
		return api.ImageSource{}, false, nil
	}
	r, ok := s.remotes.Remotes[name]
	switch {
	case !ok:
		return api.ImageSource{}, false, noRemote(s.remotes, name)
	case !r.Public:
		return api.ImageSource{}, false, fmt.Errorf("image %q is on a private server: incus image copy %[1]s %s: brings it here", ref, s.name)
	}
	cert, err := serverCertificate(s.remotes, name)
	return api.ImageSource{Alias: image, Server: r.Addr, Protocol: r.Protocol, Certificate: cert}, true, err
}
