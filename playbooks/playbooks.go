// Package playbooks holds the playbooks that the binary carries, so that they run from cron and from
// an installed package by their bare names.
package playbooks

import "embed"

// FS holds the playbooks with their inventories and templates.
//
//go:embed *.star inventories templates
var FS embed.FS
