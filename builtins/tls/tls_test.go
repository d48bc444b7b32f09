package tls

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/transport"
)

func local(t *testing.T) builtintest.Machine {
	t.Helper()
	writing := transport.NewSession("here", transport.Local(), false)
	reading := transport.NewSession("here", transport.Local(), true)
	t.Cleanup(func() { _, _ = writing.Close(), reading.Close() })
	return builtintest.Machine{Reader: &reading.Reader, Host: writing}
}

// script calls with the paths of a directory in place.
func script(dir, text string) string { return strings.ReplaceAll(text, "DIR", dir) }

const (
	makeAuthority = `tls.authority(h, "DIR/ca", name = "test authority")`
	give          = `tls.certificate(h, "DIR/crt", key = "DIR/key", ca = "DIR/root", authority = h, authority_directory = "DIR/ca", names = ["db-1", "db-1.incus"], addresses = ["198.18.0.51"])`
)

// replace is give, from whatever authority.
var replace = strings.Replace(give, "names =", "replace_authority = True, names =", 1)

func TestAuthority(t *testing.T) {
	dir := t.TempDir()
	b := builtintest.New(t, local(t), Module())
	b.Idempotent(script(dir, makeAuthority))
	for name, want := range map[string]os.FileMode{"ca": 0o700, "ca/ca.key": 0o600, "ca/ca.crt": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %o", name, info.Mode(), err, want)
		}
	}
	ca := certificate(t, filepath.Join(dir, "ca/ca.crt"))
	if !ca.IsCA || !ca.MaxPathLenZero || ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("IsCA %v, MaxPathLenZero %v, KeyUsage %v", ca.IsCA, ca.MaxPathLenZero, ca.KeyUsage)
	}

	// A key that everyone can read is put right, and the key itself stays.
	if err := os.Chmod(filepath.Join(dir, "ca/ca.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.Idempotent(script(dir, makeAuthority))

	if err := os.Remove(filepath.Join(dir, "ca/ca.key")); err != nil {
		t.Fatal(err)
	}
	b.Fails(script(dir, makeAuthority), "ca.key is gone")
}

func TestAuthorityRenewed(t *testing.T) {
	dir := t.TempDir()
	b := builtintest.New(t, local(t), Module())
	b.Run(script(dir, `tls.authority(h, "DIR/ca", name = "test authority", valid = "48h", renew_before = "1h")`))
	b.Run(script(dir, give))
	old, leaf := certificate(t, filepath.Join(dir, "ca/ca.crt")), certificate(t, filepath.Join(dir, "crt"))
	b.Idempotent(script(dir, makeAuthority))
	renewed := certificate(t, filepath.Join(dir, "ca/ca.crt"))
	if !renewed.NotAfter.After(old.NotAfter) {
		t.Errorf("renewed until %s, was %s", renewed.NotAfter, old.NotAfter)
	}
	for _, ca := range []*x509.Certificate{old, renewed} {
		if !issuedBy(leaf, ca) {
			t.Errorf("the certificate is no longer valid under the one until %s", ca.NotAfter)
		}
	}
	b.Idempotent(script(dir, give)) // takes the renewed one, which is no other authority
}

// TestAnotherAuthority has a second operator, with an authority of the same name: what the hosts trust is not
// replaced by it.
func TestAnotherAuthority(t *testing.T) {
	dir := t.TempDir()
	b := builtintest.New(t, local(t), Module())
	b.Run(script(dir, makeAuthority+"\n"+give))
	other := strings.NewReplacer("DIR/ca", "DIR/other")
	given := certificate(t, filepath.Join(dir, "crt"))
	refused := []string{
		"authority: ", filepath.Join(dir, "crt") + ` is of the authority "test authority" (key `, "not of the one in " + filepath.Join(dir, "other"),
		"copy " + filepath.Join(dir, "other") + " from the machine where the playbook ran before", "replace_authority = True",
	}

	// In a dry run, in which that authority is yet to be made, already.
	call := script(dir, other.Replace(makeAuthority+"\n"+give))
	if _, err := b.Try(call, true); err == nil || !strings.Contains(err.Error(), refused[1]) {
		t.Errorf("a dry run: %v", err)
	}
	b.Fails(call, refused...)
	if !certificate(t, filepath.Join(dir, "crt")).Equal(given) {
		t.Error("the certificate was replaced")
	}
	spoil(t, dir, "rm key")
	b.Fails(call, refused...)

	// Where the certificate is gone, what the host trusts is still there.
	spoil(t, dir, "rm crt")
	b.Fails(call, filepath.Join(dir, "root")+` is of the authority "test authority"`)
	b.Run(script(dir, give))

	b.Idempotent(script(dir, other.Replace(replace)))
	if !issuedBy(certificate(t, filepath.Join(dir, "crt")), certificate(t, filepath.Join(dir, "other/ca.crt"))) {
		t.Error("replace_authority = True has not replaced it")
	}
	b.Fails(script(dir, give), "replace_authority")
}

func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	b := builtintest.New(t, local(t), Module())
	if r := b.Check(script(dir, give)); !r.Changed() {
		t.Error("a dry run without an authority finds nothing to do")
	}
	b.Fails(script(dir, give), "no authority in")
	b.Run(script(dir, makeAuthority))
	b.Idempotent(script(dir, give))

	cert := certificate(t, filepath.Join(dir, "crt"))
	roots := x509.NewCertPool()
	roots.AddCert(certificate(t, filepath.Join(dir, "root")))
	for _, name := range []string{"db-1", "db-1.incus", "198.18.0.51"} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			for _, clock := range []time.Duration{0, -time.Hour} { // a machine's that is behind
				options := x509.VerifyOptions{DNSName: name, Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: time.Now().Add(clock)}
				if _, err := cert.Verify(options); err != nil {
					t.Errorf("%s, where the clock differs by %s: %v", name, clock, err)
				}
			}
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info, err)
	}
	r := b.Run(script(dir, `tls.info(h, "DIR/crt").addresses[0]`))
	if got := r.Value.String(); got != `"198.18.0.51"` {
		t.Errorf("info: addresses[0] = %s", got)
	}
}

// TestGivenAgain spoils a certificate in each of the ways that call for a new one.
func TestGivenAgain(t *testing.T) {
	for _, test := range []struct{ name, spoil, call, why string }{
		{"missing", "rm crt", give, "there is none"},
		{"no key", "rm key", give, "its key is missing"},
		{"another key", "cp ca/ca.key key", give, "its key is another"},
		{"not a certificate", "cp key crt", give, "there is none"},
		{"another authority", "rm ca/ca.crt ca/ca.key", replace, "another authority's"},
		{"another name", "", strings.Replace(give, `"db-1.incus"`, `"db-1.lan"`, 1), "for something else"},
		{"another address", "", strings.Replace(give, "0.51", "0.52", 1), "for something else"},
		{"another usage", "", strings.Replace(give, "names =", `usages = "server", names =`, 1), "for something else"},
		{"ends soon", "", strings.Replace(give, "names =", `valid = "17520h", renew_before = "8761h", names =`, 1), "the one there ends"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			b := builtintest.New(t, local(t), Module())
			b.Run(script(dir, makeAuthority+"\n"+give))
			spoil(t, dir, test.spoil)
			b.Run(script(dir, makeAuthority))
			b.Check(script(dir, test.call))
			if got := strings.Join(b.Summary(), "\n"); !strings.Contains(got, test.why) {
				t.Errorf("summary %q, want %q in it", got, test.why)
			}
			b.Idempotent(script(dir, test.call))
		})
	}
}

// TestKeysAreNotShown looks for the keys in all that is reported.
func TestKeysAreNotShown(t *testing.T) {
	dir := t.TempDir()
	b := builtintest.New(t, local(t), Module())
	b.Run(script(dir, makeAuthority+"\n"+give))
	for _, name := range []string{"key", "ca/ca.key"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		line := strings.Split(string(data), "\n")[1]
		for _, e := range b.Events {
			if strings.Contains(e.Diff+strings.Join(e.Summary, "\n"), line) {
				t.Errorf("%s is shown by %s", name, e.Builtin)
			}
		}
	}
}

func TestParameters(t *testing.T) {
	b := builtintest.New(t, local(t), Module())
	for _, test := range []struct{ call, want string }{
		{strings.Replace(makeAuthority, "DIR/ca", "ca", 1), "directory"},
		{strings.Replace(makeAuthority, "DIR/ca", "DIR/x/../ca", 1), "directory \""},
		{strings.Replace(makeAuthority, "test authority", "", 1), "name is empty"},
		{strings.Replace(give, "DIR/key", "DIR/x/../key", 1), "key \""},
		{strings.Replace(give, `"198.18.0.51"`, `"db-2"`, 1), "addresses"},
		{strings.Replace(give, `"db-1"`, `"a b"`, 1), "names"},
		{strings.Replace(give, "names =", `usages = ["mail"], names =`, 1), "usages"},
		{strings.Replace(give, "names =", `key_mode = "0644", names =`, 1), "key_mode"},
		{strings.Replace(give, "names =", `valid = "24h", names =`, 1), "renew_before"},
		{strings.Replace(give, "DIR/key", "DIR/crt", 1), "three files"},
	} {
		b.Fails(script(t.TempDir(), test.call), test.want)
	}
}

// spoil removes or copies files: "rm a b", "cp a b".
func spoil(t *testing.T, dir, how string) {
	t.Helper()
	words := strings.Fields(how)
	if len(words) == 0 {
		return
	}
	for i, w := range words[1:] {
		words[i+1] = filepath.Join(dir, w)
	}
	var err error
	switch words[0] {
	case "rm":
		for _, w := range words[1:] {
			err = os.Remove(w)
		}
	case "cp":
		var data []byte
		if data, err = os.ReadFile(words[1]); err == nil {
			err = os.WriteFile(words[2], data, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func certificate(t *testing.T, at string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestSubjectSame(t *testing.T) {
	want := subject{names: []string{"a", "b"}, addresses: []net.IP{net.ParseIP("10.0.0.1"), net.ParseIP("fd00::1")}, usages: []string{"server", "client"}}
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := newAuthority(key, "x", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := parseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	made, _, err := (&authority{ca, key}).issue(want, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parseCertificate(made)
	if err != nil {
		t.Fatal(err)
	}
	if got := subjectOf(cert); !want.same(got) {
		t.Errorf("%v is not the same as %v", got, want)
	}
}
