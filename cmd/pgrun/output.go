package main

import (
	"errors"
	"os"
	"syscall"
)

// output is the standard output, which remembers why something could not be written to it. That a reader has
// gone away, as in pgrun x.star | head, is nothing to remember.
type output struct{ lost error }

// Write writes to the standard output.
func (o *output) Write(p []byte) (int, error) {
	n, err := os.Stdout.Write(p)
	if err != nil && o.lost == nil && !errors.Is(err, syscall.EPIPE) {
		o.lost = err
	}
	return n, err
}
