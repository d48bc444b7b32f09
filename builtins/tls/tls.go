// Package tls is the module tls: a certificate authority that a playbook keeps, and the certificates
// that it gives to hosts.
//
// The authority's key never leaves the machine on which it is kept, usually the one that pgrun runs on:
// a certificate is signed in pgrun's own process, and only the certificate and its own new key are
// written to the host. Keys are ECDSA on the curve P-256. They appear in no diff and no message.
//
// The files, in reading order: authority.go, certificate.go, issue.go, which makes certificates, and
// pem.go, which reads and writes them.
package tls

import (
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
)

// Module returns the module tls.
func Module() builtin.Module {
	return builtin.Module{
		Name: "tls",
		Doc:  "Certificates for hosts, from an authority that the playbook keeps.",
		Builtins: []builtin.Builtin{
			&builtin.Action[authorityParams]{
				Name: "authority",
				Doc: "Makes a certificate authority and keeps it: ca.crt, and ca.key that only the owner can read. It is best kept where pgrun runs, on a host with the transport \"local\". " +
					"An authority that is there stays as it is; when it nears its end, its certificate is renewed with the same key, so that the certificates it gave remain valid.",
				Defaults: authorityParams{Valid: 10 * year, RenewBefore: year},
				Result:   authorityResult{},
				Check:    checkAuthority,
			},
			&builtin.Action[certificateParams]{
				Name: "certificate",
				Doc: "Gives a host a certificate of an authority, with a new key. It is given again where it is missing, does not fit its key, " +
					"is for other names, addresses or usages, or has less than renew_before left; where it is another authority's, only with replace_authority = True. Whoever uses it has to read it again then: see changed. " +
					"It is valid from a day before, for machines whose clocks are behind.",
				Defaults: certificateParams{KeyMode: builtin.ModeOf(0o600), Valid: year, RenewBefore: 30 * day},
				Result:   certificateResult{},
				Check:    checkCertificate,
			},
			&builtin.Look[infoParams, info]{
				Name: "info",
				Doc:  "Describes a certificate: the first one in a PEM file.",
				Run:  look,
			},
		},
	}
}

const (
	day  = 24 * time.Hour
	year = 365 * day
)
