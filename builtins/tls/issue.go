package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// skew is how long before now a new certificate is valid from, for machines whose clocks are behind.
const skew = 24 * time.Hour

// authority is a certificate authority that can sign.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// newAuthority makes an authority with a key of its own: it may sign certificates of machines, and no
// further authority (RFC 5280, 4.2.1.9).
func newAuthority(key *ecdsa.PrivateKey, name string, until time.Time) ([]byte, error) {
	return sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotAfter:              until,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, key, nil, key)
}

// subject is what a certificate says of its owner.
type subject struct {
	names     []string
	addresses []net.IP
	usages    []string // server, client
}

// issue makes a certificate and its key.
func (a *authority) issue(s subject, until time.Time) (certificate []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = newKey(); err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: s.common()},
		DNSNames:              s.names,
		IPAddresses:           s.addresses,
		NotAfter:              until,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
	for _, usage := range s.usages {
		template.ExtKeyUsage = append(template.ExtKeyUsage, extended[usage])
	}
	certificate, err = sign(template, key, a.certificate, a.key)
	return certificate, key, err
}

// extended are the usages that a certificate can have.
var extended = map[string]x509.ExtKeyUsage{
	"server": x509.ExtKeyUsageServerAuth,
	"client": x509.ExtKeyUsageClientAuth,
}

// common is the name that stands for all.
func (s subject) common() string {
	if len(s.names) > 0 {
		return s.names[0]
	}
	return s.addresses[0].String()
}

// lines writes the subject for people.
func (s subject) lines() []string {
	addresses := make([]string, len(s.addresses))
	for i, ip := range s.addresses {
		addresses[i] = ip.String()
	}
	return []string{
		"names " + strings.Join(s.names, ", "),
		"addresses " + strings.Join(addresses, ", "),
		"usages " + strings.Join(s.usages, ", "),
	}
}

// subjectOf reads a certificate's subject back.
func subjectOf(cert *x509.Certificate) subject {
	s := subject{names: cert.DNSNames, addresses: cert.IPAddresses}
	for usage, number := range extended {
		if slices.Contains(cert.ExtKeyUsage, number) {
			s.usages = append(s.usages, usage)
		}
	}
	return s
}

// same compares two subjects, whatever their order.
func (s subject) same(other subject) bool {
	a, b := s.lines(), other.lines()
	for i := range a {
		split := func(r rune) bool { return r == ',' || r == ' ' }
		x, y := strings.FieldsFunc(a[i], split), strings.FieldsFunc(b[i], split)
		slices.Sort(x)
		slices.Sort(y)
		if !slices.Equal(x, y) {
			return false
		}
	}
	return s.common() == other.common()
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// sign makes a certificate of a template. Without a parent it is signed by itself.
func sign(template *x509.Certificate, key *ecdsa.PrivateKey, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, error) {
	// 127 random bits: positive, and 16 bytes at most, where RFC 5280 (4.1.2.2) allows 20.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-skew)
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate: %w", err)
	}
	return encodeCertificate(der), nil
}
