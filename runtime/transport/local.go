package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pgrun/pgrun/runtime/agent"
)

// Local returns the transport to the machine that pgrun runs on: the agent runs inside pgrun, as
// pgrun's own user.
func Local() Transport { return local{} }

type local struct{}

func (local) Open(_ context.Context, readOnly bool) (io.ReadWriteCloser, error) {
	ours, theirs := net.Pipe()
	s := &localStream{Conn: ours, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		// The agent outlives the context of opening; it ends with its stream.
		err := agent.Serve(context.Background(), theirs, theirs, agent.Options{ReadOnly: readOnly, RunDir: agent.RunDir()})
		if errors.Is(err, io.ErrClosedPipe) {
			err = nil
		}
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		_ = theirs.Close()
	}()
	return s, nil
}

// localStream is a pipe to an agent in this process.
type localStream struct {
	net.Conn
	ended chan struct{}

	mu  sync.Mutex
	err error // why the agent ended
}

// Read passes on why the agent ended: there is no standard error that would tell.
func (s *localStream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err == io.EOF {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err != nil {
			err = s.err
		}
	}
	return n, err
}

// Close waits until the agent has ended its commands, or ten seconds: pgrun must not exit before.
func (s *localStream) Close() error {
	err := s.Conn.Close()
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
	}
	return err
}
