// Package stdlib holds the Starlark library that playbooks load as @stdlib//name.star.
package stdlib

import "embed"

// FS holds the library's files.
//
//go:embed *.star
var FS embed.FS
