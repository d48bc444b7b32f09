// Package transport carries pgrun's calls to a machine.
//
// On the machine an agent answers: a small program that reads requests from its standard input and
// writes replies to its standard output (package agent). A Transport is a way to start that agent
// and hold both ends of its pipes; a Session keeps one agent on one host, starts it again when the
// link breaks, and is the host.Host that builtins see. A Reader is a Session without the methods that
// write, on an agent that was started read-only. So a new transport has one method to write, and all
// of them behave alike.
package transport

import (
	"context"
	"io"
)

// Transport starts agents on one machine.
type Transport interface {
	// Open starts an agent and returns its standard input and output as one stream, which ends when
	// the agent does. A read-only agent refuses whatever would change the machine.
	//
	// ctx bounds the opening alone; the stream outlives it.
	//
	// A machine that does not exist is host.ErrAbsent; one that cannot be reached, *host.Unreachable.
	// Closing the stream ends the agent and every command it still runs.
	Open(ctx context.Context, readOnly bool) (io.ReadWriteCloser, error)
}
