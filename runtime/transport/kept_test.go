package transport

import (
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// opened notes that it was closed.
type opened struct{ closed chan struct{} }

func (o opened) Close() error {
	close(o.closed)
	return nil
}

func (o opened) isClosed() bool {
	select {
	case <-o.closed:
		return true
	default:
		return false
	}
}

func TestKept(t *testing.T) {
	s := NewSession("box", Local(), false)
	s.link.kept.limit = time.Hour // a busy machine may take longer than the usual limit for one call
	first, second := opened{make(chan struct{})}, opened{make(chan struct{})}
	s.Keep("key", first)
	s.Keep("key", second)
	if s.Kept("other") != nil || s.Kept("key") != second || s.Kept("key") != first || s.Kept("key") != nil {
		t.Fatal("what is kept under a key is taken back once, the newest first")
	}
	s.Keep("key", first)
	if _, err := s.Stat(t.Context(), "/"); err != nil || first.isClosed() {
		t.Fatalf("a look closed what was kept (%v)", err)
	}
	if _, err := s.Run(t.Context(), host.Command{Argv: []string{"true"}}); err != nil || !first.isClosed() {
		t.Fatalf("it is still open where the machine may have changed (%v)", err)
	}
	s.Keep("key", second)
	if err := s.Close(); err != nil || !second.isClosed() {
		t.Fatalf("it is still open after the session's end (%v)", err)
	}
}
