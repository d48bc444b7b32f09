package incus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lxc/incus/v6/shared/api"
)

// TestRemote reaches the daemon of this machine as a remote, through a proxy that speaks TLS, next to
// the local one.
func TestRemote(t *testing.T) {
	local := connectTest(t, Remote{})
	info, err := local.base.GetConnectionInfo()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("INCUS_CONF", dir)
	pair := certificate(t, dir)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	proxy := &proxy{listener: listener}
	t.Cleanup(proxy.stop)
	go proxy.serve(t, info.SocketPath)
	config := fmt.Sprintf(`remotes:
  far: {addr: "https://%s", protocol: incus, auth_type: tls}
  bad: {addr: "https://%[1]s", protocol: incus, auth_type: tls}
  sso: {addr: "https://%[1]s", protocol: incus, auth_type: oidc}
  img: {addr: "https://%[1]s", protocol: simplestreams, public: true}
`, listener.Addr())
	if err := os.WriteFile(dir+"/config.yml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	far := connectTest(t, Remote{Name: "far", ReadOnly: true})
	name := testInstance(t, local, true)
	talk(t, far, name, true, "hello agent --read-only")
	if _, err := far.Transport(name).Open(t.Context(), false); err == nil {
		t.Error("the guard is not there")
	}
	for remote, want := range map[string]string{"bad": "certificate", "sso": "logs in with oidc", "img": "image server"} {
		_, err := Connect(t.Context(), Remote{Name: remote})
		if u, ok := isUnreachable(err); !ok || !u.NoDaemon || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", remote, err)
		}
	}
	proxy.stop()
	_, err = Connect(t.Context(), Remote{Name: "far"})
	if u, ok := isUnreachable(err); !ok || !u.NoDaemon || !strings.Contains(err.Error(), "incus remote list") {
		t.Errorf("nobody listens: %v", err)
	}
}

// certificate makes one that serves both ends, and puts it where incus keeps them.
func certificate(t *testing.T, dir string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "far"},
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.Mkdir(dir+"/servercerts", 0o700); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{
		"client.crt":          cert,
		"client.key":          pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"servercerts/far.crt": cert,
	} {
		if err := os.WriteFile(dir+"/"+file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestExplain(t *testing.T) {
	dial := func(err error) error {
		return fmt.Errorf("Get: %w", &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", err)})
	}
	tests := []struct {
		err      error
		want     string
		noDaemon bool
	}{
		{dial(syscall.EACCES), "join the incus-admin group", true},
		{dial(syscall.ENOENT), "make lab does", true},
		{api.StatusErrorf(403, "not authorized"), `must trust this user or client certificate for project "default"`, true},
		{api.StatusErrorf(500, "no space left on device"), "try it: no space left on device: the storage pool is full", false},
		{errors.New("something new"), "try it: something new", false},
	}
	s := &Server{name: "local"}
	if err := s.connect(""); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		err := s.explain(t.Context(), "try it", test.err)
		if !strings.Contains(err.Error(), test.want) || noDaemon(err) != test.noDaemon {
			t.Errorf("%v became %v", test.err, err)
		}
	}

	// Whatever another creation of the instance is at, the name is taken.
	for _, at := range []string{"create", "start"} {
		err := s.explain(t.Context(), "create it", fmt.Errorf("Failed creating instance record: Instance is busy running a %q operation", at))
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("%v does not say that it exists", err)
		}
	}
	if err := s.explain(t.Context(), "update it", errors.New(`Instance is busy running a "start" operation`)); errors.Is(err, fs.ErrExist) {
		t.Errorf("%v says that it exists", err)
	}
}
