package tls

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// The files of an authority.
const (
	authorityCertificate = "ca.crt"
	authorityKey         = "ca.key"
)

type authorityParams struct {
	Directory   string        `star:"directory,required" doc:"Absolute path of the directory that holds ca.crt and ca.key. It is made, for its owner alone."`
	Name        string        `star:"name,required" doc:"What the authority calls itself. One that is there keeps its name."`
	Valid       time.Duration `star:"valid" doc:"How long its certificate is valid."`
	RenewBefore time.Duration `star:"renew_before" doc:"How long before the end its certificate is renewed, with the same key."`
}

type authorityResult struct {
	Certificate string    `star:"certificate" doc:"The authority's certificate, in PEM form: what those need who are to trust it."`
	Fingerprint string    `star:"fingerprint" doc:"The certificate's SHA-256, in lower-case hexadecimal."`
	NotAfter    time.Time `star:"not_after" doc:"When the certificate ends."`
}

func checkAuthority(ctx context.Context, r host.Reader, p authorityParams) (*builtin.Change, error) {
	if err := file.CheckPath("directory", p.Directory); err != nil {
		return nil, err
	}
	switch {
	case p.Name == "":
		return nil, errors.New("name is empty")
	case p.Valid <= p.RenewBefore:
		return nil, fmt.Errorf("renew_before: %s is not less than valid (%s)", p.RenewBefore, p.Valid)
	}
	cert, key, err := readAuthority(ctx, r, p.Directory)
	if err != nil {
		return nil, err
	}
	directory, err := file.PlanDirectory(ctx, r, path.Clean(p.Directory), host.Attributes{Mode: mode(0o700)}, true)
	if err != nil {
		return nil, err
	}
	if cert != nil && time.Until(cert.NotAfter) > p.RenewBefore {
		return keepAuthority(ctx, r, p, cert, directory)
	}
	return p.renew(cert, key, directory)
}

// renew makes an authority, or gives one that is there a new certificate.
func (p authorityParams) renew(cert *x509.Certificate, key *ecdsa.PrivateKey, directory *builtin.Change) (*builtin.Change, error) {
	name, until, known := p.Name, time.Now().Add(p.Valid), key != nil
	summary := fmt.Sprintf("make the certificate authority %q in %s, valid until %s", name, p.Directory, date(until))
	if cert != nil {
		name = cert.Subject.CommonName
		summary = fmt.Sprintf("renew the certificate of the authority %q in %s, which ends %s: until %s", name, p.Directory, date(cert.NotAfter), date(until))
	}
	if !known {
		var err error
		if key, err = newKey(); err != nil {
			return nil, err
		}
	}
	made, err := newAuthority(key, name, until)
	if err != nil {
		return nil, err
	}
	if cert, err = parseCertificate(made); err != nil {
		return nil, err
	}
	secret, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	writes := file.Dated(path.Join(p.Directory, authorityCertificate))
	if !known {
		writes = append(writes, path.Join(p.Directory, authorityKey))
	}
	return &builtin.Change{
		Summary: []string{summary},
		Writes:  writes,
		Learned: learned(cert),
		Apply: func(ctx context.Context, h host.Host) error {
			if directory.Needed() {
				if err := directory.Apply(ctx, h); err != nil {
					return err
				}
			}
			// The key first: a key without its certificate is completed by the next run.
			if !known {
				if err := write(ctx, h, path.Join(p.Directory, authorityKey), secret, 0o600); err != nil {
					return err
				}
			}
			return write(ctx, h, path.Join(p.Directory, authorityCertificate), made, 0o644)
		},
	}, nil
}

// keepAuthority sees to the permissions of an authority that is there.
func keepAuthority(ctx context.Context, r host.Reader, p authorityParams, cert *x509.Certificate, directory *builtin.Change) (*builtin.Change, error) {
	changes := []*builtin.Change{directory}
	for name, permissions := range map[string]fs.FileMode{authorityKey: 0o600, authorityCertificate: 0o644} {
		at := path.Join(p.Directory, name)
		info, err := r.Stat(ctx, at)
		if err != nil {
			return nil, err
		}
		if info.Mode.Perm() != permissions {
			changes = append(changes, &builtin.Change{
				Summary: []string{fmt.Sprintf("set mode %s of %s", builtin.Mode(permissions), at)},
				Apply: func(ctx context.Context, h host.Host) error {
					return h.SetAttributes(ctx, at, host.Attributes{Mode: mode(permissions)})
				},
			})
		}
	}
	change := builtin.Join(changes...)
	if change == nil {
		change = &builtin.Change{}
	}
	change.Learned = learned(cert)
	return change, nil
}

// readAuthority reads the files of an authority. Both are nil where there is none; the certificate alone
// is where making one was cut off.
func readAuthority(ctx context.Context, r host.Reader, directory string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	cert, err := readCertificate(ctx, r, path.Join(directory, authorityCertificate))
	if err != nil {
		return nil, nil, err
	}
	at := path.Join(directory, authorityKey)
	data, err := readIfThere(ctx, r, at)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case data == nil && cert == nil:
		return nil, nil, nil
	case data == nil:
		return nil, nil, fmt.Errorf("the authority's key %s is gone, its certificate is there: put the key back, or remove %s to have another authority made, which nobody trusts yet", at, path.Join(directory, authorityCertificate))
	}
	key, err := parseKey(data)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", at, err)
	case cert != nil && (!cert.IsCA || !fits(cert, key)):
		return nil, nil, fmt.Errorf("%s is not the certificate of an authority with the key %s: put back the one that belongs to it", path.Join(directory, authorityCertificate), at)
	}
	return cert, key, nil
}

// readCertificate reads a certificate; one that is not there is nil.
func readCertificate(ctx context.Context, r host.Reader, at string) (*x509.Certificate, error) {
	data, err := readIfThere(ctx, r, at)
	if data == nil || err != nil {
		return nil, err
	}
	cert, err := parseCertificate(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return cert, nil
}

// readIfThere reads a file; nil where there is none.
func readIfThere(ctx context.Context, r host.Reader, at string) ([]byte, error) {
	data, err := r.ReadFile(ctx, at)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, host.ErrAbsent) {
		return nil, nil
	}
	if data == nil && err == nil {
		data = []byte{}
	}
	return data, err
}

func learned(cert *x509.Certificate) authorityResult {
	return authorityResult{string(encodeCertificate(cert.Raw)), fingerprint(cert), cert.NotAfter}
}

// date is a day, for messages.
func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func mode(m fs.FileMode) *fs.FileMode { return &m }
