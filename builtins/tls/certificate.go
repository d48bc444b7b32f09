package tls

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type certificateParams struct {
	Path        string          `star:"path,required" doc:"Absolute path of the certificate's file."`
	Key         string          `star:"key,required" doc:"Absolute path of its key's file."`
	CA          string          `star:"ca" doc:"Absolute path of a file for the authority's own certificate; none if left out."`
	Authority   builtin.Host    `star:"authority,required" doc:"The host on which the authority is kept."`
	Directory   string          `star:"authority_directory,required" doc:"The authority's directory there, as given to tls.authority."`
	Names       builtin.Strings `star:"names" doc:"DNS names of the host. The first stands for all; so does the first address where there is no name."`
	Addresses   builtin.Strings `star:"addresses" doc:"IP addresses of the host."`
	Usages      builtin.Strings `star:"usages" doc:"\"server\", \"client\" or both; both if left out."`
	Owner       string          `star:"owner" doc:"User who owns the key; root, or whom pgrun runs as, if left out."`
	Group       string          `star:"group" doc:"Group of the key; likewise."`
	KeyMode     builtin.Mode    `star:"key_mode" doc:"Permissions of the key. Others than owner and group have none."`
	Replace     bool            `star:"replace_authority" doc:"Whether to replace what the host has of another authority. Without it that is an error: whoever trusts the other one alone would be shut out."`
	Valid       time.Duration   `star:"valid" doc:"How long the certificate is valid; not longer than the authority's."`
	RenewBefore time.Duration   `star:"renew_before" doc:"How long before its end the certificate is given again."`
}

type certificateResult struct {
	Fingerprint string    `star:"fingerprint" doc:"The certificate's SHA-256, in lower-case hexadecimal."`
	NotAfter    time.Time `star:"not_after" doc:"When the certificate ends."`
}

func checkCertificate(ctx context.Context, r host.Reader, p certificateParams) (*builtin.Change, error) {
	want, err := p.subject()
	if err != nil {
		return nil, err
	}
	ca, err := p.authority(ctx)
	if err != nil {
		return nil, err
	}
	old, key, err := p.current(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := p.sameAuthority(ctx, r, old, ca); err != nil {
		return nil, err
	}
	if ca == nil { // in a dry run only: the authority itself would be made
		return &builtin.Change{
			Summary: []string{fmt.Sprintf("give %s a certificate (%s), by an authority that is yet to be made", want.common(), p.Path)},
			Writes:  slices.Concat(file.Dated(p.Path), file.Dated(p.Key), file.Dated(p.CA)),
			Apply:   func(context.Context, host.Host) error { return errors.New("internal error: applied in a dry run") },
		}, nil
	}
	until := time.Now().Add(p.Valid)
	if until.After(ca.certificate.NotAfter) {
		until = ca.certificate.NotAfter
	}
	if why := p.reason(old, key, want, ca, until); why != "" {
		return p.issue(ctx, r, ca, want, old, until, why)
	}
	return p.keep(ctx, r, ca, old, key)
}

// subject checks the parameters.
func (p certificateParams) subject() (subject, error) {
	s := subject{names: p.Names, usages: p.Usages}
	for _, at := range []struct{ parameter, path string }{{"path", p.Path}, {"key", p.Key}, {"authority_directory", p.Directory}, {"ca", cmp.Or(p.CA, "/")}} {
		if err := file.CheckPath(at.parameter, at.path); err != nil {
			return s, err
		}
	}
	switch {
	case p.Path == p.Key || p.Path == p.CA || p.Key == p.CA:
		return s, errors.New("path, key and ca are to be three files")
	case fs.FileMode(p.KeyMode)&0o007 != 0:
		return s, fmt.Errorf("key_mode %s lets everyone on the host at the key: 0600, or 0640 for a group", p.KeyMode)
	case len(p.Names)+len(p.Addresses) == 0:
		return s, errors.New("names and addresses are both empty: say what the host is called")
	case p.Valid <= p.RenewBefore:
		return s, fmt.Errorf("renew_before: %s is not less than valid (%s)", p.RenewBefore, p.Valid)
	}
	for _, name := range p.Names {
		if name == "" || strings.ContainsAny(name, " ,:/") || net.ParseIP(name) != nil {
			return s, fmt.Errorf("names: %q is not a DNS name", name)
		}
	}
	for _, address := range p.Addresses {
		ip := net.ParseIP(address)
		if ip == nil {
			return s, fmt.Errorf("addresses: %q is not an IP address", address)
		}
		s.addresses = append(s.addresses, ip)
	}
	for _, usage := range p.Usages {
		if _, ok := extended[usage]; !ok {
			return s, fmt.Errorf("usages: %q is neither \"server\" nor \"client\"", usage)
		}
	}
	if len(s.usages) == 0 {
		s.usages = []string{"server", "client"}
	}
	return s, nil
}

// authority reads the authority; nil in a dry run where it is not there yet.
func (p certificateParams) authority(ctx context.Context) (*authority, error) {
	keeper, err := p.Authority.Reader()
	if err != nil {
		return nil, err
	}
	cert, key, err := readAuthority(ctx, keeper, p.Directory)
	if err != nil {
		return nil, fmt.Errorf("the authority on %s: %w", p.Authority.Name, err)
	}
	if cert != nil {
		return &authority{cert, key}, nil
	}
	if dry, _ := builtin.DryRun(ctx); dry {
		return nil, nil
	}
	return nil, fmt.Errorf("no authority in %s on %s: make it first, with tls.authority", p.Directory, p.Authority.Name)
}

// current reads what the host has. A file that holds something else counts as missing.
func (p certificateParams) current(ctx context.Context, r host.Reader) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	data, err := readIfThere(ctx, r, p.Path)
	if err != nil {
		return nil, nil, err
	}
	cert, _ := parseCertificate(data)
	if data, err = readIfThere(ctx, r, p.Key); err != nil {
		return nil, nil, err
	}
	key, _ := parseKey(data)
	return cert, key, nil
}

// sameAuthority fails where what the host has is another authority's: its certificate, or the authority's own that
// it keeps beside. The usual cause is another operator, or another machine, with an authority of its own; ca is nil
// where that would be made.
func (p certificateParams) sameAuthority(ctx context.Context, r host.Reader, old *x509.Certificate, ca *authority) error {
	if p.Replace {
		return nil
	}
	var root *x509.Certificate
	if p.CA != "" {
		data, err := readIfThere(ctx, r, p.CA)
		if err != nil {
			return err
		}
		root, _ = parseCertificate(data)
	}
	for _, found := range []struct {
		cert *x509.Certificate
		path string
	}{{old, p.Path}, {root, p.CA}} {
		if found.cert == nil || ca != nil && issuedBy(found.cert, ca.certificate) {
			continue
		}
		ours := "which is yet to be made"
		if ca != nil {
			ours = givenBy(ca.certificate)
		}
		return fmt.Errorf("authority: %s is of the authority %s, not of the one in %s on %s, %s: copy %[3]s from the machine where the playbook ran before, or say replace_authority = True",
			found.path, givenBy(found.cert), p.Directory, p.Authority.Name, ours)
	}
	return nil
}

// givenBy names the authority that gave a certificate: with its key, since two may have the same name. That of an
// authority's own is its subject's.
func givenBy(cert *x509.Certificate) string {
	key := cert.AuthorityKeyId
	if len(key) == 0 {
		key = cert.SubjectKeyId
	}
	return fmt.Sprintf("%q (key %.4x)", cert.Issuer.CommonName, key)
}

// reason says why a new certificate is needed; empty when it is not.
func (p certificateParams) reason(old *x509.Certificate, key *ecdsa.PrivateKey, want subject, ca *authority, until time.Time) string {
	switch {
	case old == nil:
		return "there is none"
	case key == nil:
		return "its key is missing"
	case !fits(old, key):
		return "its key is another"
	case !issuedBy(old, ca.certificate):
		return "the one there is another authority's"
	case !want.same(subjectOf(old)):
		return "the one there is for something else"
	// An authority that ends soon itself cannot give a later one.
	case time.Until(old.NotAfter) < p.RenewBefore && until.After(old.NotAfter.Add(time.Hour)):
		return "the one there ends " + date(old.NotAfter)
	}
	return ""
}

// issue gives the host a new certificate and key.
func (p certificateParams) issue(ctx context.Context, r host.Reader, ca *authority, want subject, old *x509.Certificate, until time.Time, why string) (*builtin.Change, error) {
	made, key, err := ca.issue(want, until)
	if err != nil {
		return nil, err
	}
	files, err := p.files(ctx, r, ca, made, key)
	if err != nil {
		return nil, err
	}
	cert, err := parseCertificate(made)
	if err != nil {
		return nil, err
	}
	return &builtin.Change{
		Summary: []string{fmt.Sprintf("give %s a certificate of %q, valid until %s (%s): %s", want.common(), ca.certificate.Subject.CommonName, date(until), p.Path, why)},
		Diffs:   []builtin.Diff{{Path: p.Path, Before: description(old), After: description(cert)}},
		Writes:  files.Writes,
		Apply:   files.Apply,
		Learned: certificateResult{fingerprint(cert), cert.NotAfter},
	}, nil
}

// keep sees to the permissions of a certificate that is as it should be, and to the authority's.
func (p certificateParams) keep(ctx context.Context, r host.Reader, ca *authority, cert *x509.Certificate, key *ecdsa.PrivateKey) (*builtin.Change, error) {
	change, err := p.files(ctx, r, ca, encodeCertificate(cert.Raw), key)
	if err != nil {
		return nil, err
	}
	if change == nil {
		change = &builtin.Change{}
	}
	change.Learned = certificateResult{fingerprint(cert), cert.NotAfter}
	return change, nil
}

// files plans the files, the certificate last: a run that is cut off leaves one that does not fit its key,
// and the next gives another.
func (p certificateParams) files(ctx context.Context, r host.Reader, ca *authority, cert []byte, key *ecdsa.PrivateKey) (*builtin.Change, error) {
	secret, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	specs := []file.Spec{
		{Path: p.Key, Content: builtin.Secret(string(secret)), Attributes: host.Attributes{Owner: p.Owner, Group: p.Group, Mode: mode(fs.FileMode(p.KeyMode))}},
		{Path: p.Path, Content: builtin.Plain(string(cert)), Attributes: host.Attributes{Mode: mode(0o644)}},
	}
	if p.CA != "" {
		specs = append(specs, file.Spec{Path: p.CA, Content: builtin.Plain(string(encodeCertificate(ca.certificate.Raw))), Attributes: host.Attributes{Mode: mode(0o644)}})
	}
	var changes []*builtin.Change
	for _, spec := range specs {
		change, err := file.PlanContent(ctx, r, spec)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change)
	}
	return builtin.Join(changes...), nil
}

// description writes a certificate as lines, for a diff.
func description(cert *x509.Certificate) string {
	if cert == nil {
		return ""
	}
	lines := append(subjectOf(cert).lines(), "authority "+cert.Issuer.CommonName, "until "+date(cert.NotAfter), "fingerprint "+fingerprint(cert))
	return strings.Join(lines, "\n") + "\n"
}

// write puts a file of this package's in its place.
func write(ctx context.Context, h host.Host, at string, content []byte, permissions fs.FileMode) error {
	return h.WriteFile(ctx, at, bytes.NewReader(content), host.Attributes{Mode: mode(permissions), Durable: true})
}
