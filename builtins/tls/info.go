package tls

import (
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

type infoParams struct {
	Path string `star:"path,required" doc:"Absolute path of a PEM file."`
}

type info struct {
	Subject     string    `star:"subject" doc:"Whose certificate it is: \"CN=db-1\"."`
	Issuer      string    `star:"issuer" doc:"Who gave it."`
	IssuerKey   string    `star:"issuer_key" doc:"The identifier of the issuer's key, in hexadecimal; empty where it names none. It is the authority's own key."`
	Key         string    `star:"key" doc:"The identifier of its own key, in hexadecimal; empty where it names none."`
	Names       []string  `star:"names" doc:"DNS names."`
	Addresses   []string  `star:"addresses" doc:"IP addresses."`
	Usages      []string  `star:"usages" doc:"server, client."`
	Authority   bool      `star:"authority" doc:"Whether it is an authority's."`
	NotBefore   time.Time `star:"not_before" doc:"From when it is valid."`
	NotAfter    time.Time `star:"not_after" doc:"Until when."`
	Fingerprint string    `star:"fingerprint" doc:"Its SHA-256, in lower-case hexadecimal."`
}

func look(ctx context.Context, r host.Reader, p infoParams) (info, error) {
	if !path.IsAbs(p.Path) {
		return info{}, fmt.Errorf("path %q is not absolute: begin it with /", p.Path)
	}
	data, err := r.ReadFile(ctx, p.Path)
	if err != nil {
		return info{}, err
	}
	cert, err := parseCertificate(data)
	if err != nil {
		return info{}, fmt.Errorf("%s: %w", p.Path, err)
	}
	s := subjectOf(cert)
	found := info{
		Subject: cert.Subject.String(), Issuer: cert.Issuer.String(),
		IssuerKey: hex.EncodeToString(cert.AuthorityKeyId), Key: hex.EncodeToString(cert.SubjectKeyId),
		Names: s.names, Usages: s.usages, Authority: cert.IsCA,
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Fingerprint: fingerprint(cert),
	}
	for _, ip := range s.addresses {
		found.Addresses = append(found.Addresses, ip.String())
	}
	return found, nil
}
