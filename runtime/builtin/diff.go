package builtin

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"
)

// Diff is a difference to show: a file's content, or settings written as lines.
type Diff struct {
	Path          string // what differs; a file's path
	Before, After string
	Secret        bool   // only that it differs is shown
	Withheld      string // why only that is shown, else
}

// maxDiff bounds the texts that are compared line by line.
const maxDiff = 1 << 20

// String is the difference in unified form, with three lines of context.
func (d Diff) String() string {
	switch {
	case d.Before == d.After:
		return ""
	case d.Secret:
		return fmt.Sprintf("--- %s\n+++ %s\n(content not shown: it holds a secret)\n", d.Path, d.Path)
	case d.Withheld != "":
		return fmt.Sprintf("--- %s\n+++ %s\n(content not shown: %s)\n", d.Path, d.Path, d.Withheld)
	case !isText(d.Before) || !isText(d.After):
		return fmt.Sprintf("--- %s\n+++ %s\n(binary content, %d bytes -> %d bytes)\n", d.Path, d.Path, len(d.Before), len(d.After))
	case len(d.Before)+len(d.After) > maxDiff:
		return fmt.Sprintf("--- %s\n+++ %s\n(too large to compare, %d bytes -> %d bytes)\n", d.Path, d.Path, len(d.Before), len(d.After))
	}
	return udiff.Unified(d.Path, d.Path, d.Before, d.After)
}

func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}
