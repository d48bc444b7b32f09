package probe_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/builtins/control"
	"github.com/pgrun/pgrun/builtins/probe"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/postgres/postgrestest"
)

var primary postgrestest.Server

func TestMain(m *testing.M) { postgrestest.Main(m, &primary) }

const password = "clients-password"

// formation is the servers "a" and "b" behind proxies on one port, and a script's way to them.
type formation struct {
	*builtintest.Bench
	t     *testing.T
	a, b  *proxy
	steps []func() // what a script's step() does, one after the other
	given string   // the arguments that every call of probe.writes has
}

// newFormation puts two proxies in front of the one server. follow gives b a server of its own.
func newFormation(t *testing.T) *formation {
	t.Helper()
	primary.Need(t)
	ca := certify(t, primary.Dir)
	primary.Psql(t, fmt.Sprintf(`
		ALTER SYSTEM RESET ALL;
		ALTER SYSTEM SET ssl_cert_file = '%[1]s/server.crt';
		ALTER SYSTEM SET ssl_key_file = '%[1]s/server.key';
		ALTER SYSTEM SET ssl = on;
		SELECT pg_reload_conf();
		DROP TABLE IF EXISTS pgrun_probe;
		SELECT 'CREATE ROLE clients LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clients') \gexec
		ALTER ROLE clients PASSWORD '%[2]s';
		GRANT CREATE ON SCHEMA public TO clients;`, primary.Dir, password))
	f := &formation{t: t}
	f.a = newProxy(t, "127.0.0.1:0")
	f.b = newProxy(t, "127.0.0.2:"+strconv.Itoa(f.a.port()))
	f.Bench = builtintest.New(t, builtintest.Machine{Reader: primary.Host, Host: primary.Host}, control.Module(), probe.Module(), f.module())
	f.given = fmt.Sprintf(`servers = {"a": "127.0.0.1", "b": "127.0.0.2"}, port = %d, database = "postgres", user = "clients", password = secret(%q), ca = %q`,
		f.a.port(), password, ca)
	return f
}

// module lets a script call the test's own function.
func (f *formation) module() builtin.Module {
	return builtin.Module{Builtins: []builtin.Builtin{&builtin.Control[struct{}]{
		Name: "step", Doc: "Does the test's next step.",
		Call: func(*builtin.Call, struct{}) (starlark.Value, error) {
			next := f.steps[0]
			f.steps = f.steps[1:]
			next()
			return starlark.None, nil
		},
	}}}
}

// field is an attribute of what the last line of a script came to.
func field(t *testing.T, r *builtintest.Result, name string) starlark.Value {
	t.Helper()
	v, err := r.Value.(starlark.HasAttrs).Attr(name)
	if err != nil || v == nil {
		t.Fatalf("no attribute %s in %s (%v)", name, r.Value, err)
	}
	return v
}

func number(t *testing.T, r *builtintest.Result, name string) int {
	t.Helper()
	n, err := starlark.AsInt32(field(t, r, name))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// certify gives the server in dir a certificate for the names a and b, and returns its authority's.
func certify(t *testing.T, dir string) (ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"a", "b"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	owner, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"server.crt": certificate, "server.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}),
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(file, int(owner.Sys().(*syscall.Stat_t).Uid), -1); err != nil {
			t.Fatal(err)
		}
	}
	return string(certificate)
}

// proxy forwards connections to a server, until it is frozen: then it takes them, and nothing follows, as
// with a machine whose processes are suspended.
type proxy struct {
	listener net.Listener
	target   atomic.Value  // an address, a string
	frozen   chan struct{} // closed when it is
	ended    chan struct{} // closed with the test, and with it every connection
}

// newProxy makes a proxy of the package's server.
func newProxy(t *testing.T, address string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, frozen: make(chan struct{}), ended: make(chan struct{})}
	t.Cleanup(func() { _ = listener.Close(); close(p.ended) })
	p.forward(&primary)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p
}

func (p *proxy) port() int { return p.listener.Addr().(*net.TCPAddr).Port }

func (p *proxy) forward(to *postgrestest.Server) {
	p.target.Store(net.JoinHostPort("127.0.0.1", strconv.Itoa(to.Port)))
}

func (p *proxy) freeze() { close(p.frozen) }

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.target.Load().(string))
	if err != nil {
		_ = client.Close()
		return
	}
	go func() {
		<-p.ended
		_ = server.Close()
		_ = client.Close()
	}()
	pass := func(to, from net.Conn) {
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			select {
			case <-p.frozen:
				_, _ = io.Copy(io.Discard, from)
				return
			default:
			}
			if n > 0 {
				_, _ = to.Write(buffer[:n])
			}
			if err != nil {
				_ = to.Close()
				_ = from.Close()
				return
			}
		}
	}
	go pass(server, client)
	pass(client, server)
}
