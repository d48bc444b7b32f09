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
	first, second := opened{make(chan struct{})}, opened{make(chan struct{})}
	s.Keep("key", first, time.Hour)
	s.Keep("key", second, time.Hour)
	if s.Kept("other") != nil || s.Kept("key") != second || s.Kept("key") != first || s.Kept("key") != nil {
		t.Fatal("what is kept under a key is taken back once, the newest first")
	}
	s.Keep("key", first, time.Hour)
	if _, err := s.Stat(t.Context(), "/"); err != nil || first.isClosed() {
		t.Fatalf("a look closed what was kept (%v)", err)
	}
	if _, err := s.Run(t.Context(), host.Command{Argv: []string{"true"}}); err != nil || !first.isClosed() {
		t.Fatalf("it is still open where the machine may have changed (%v)", err)
	}
	brief := opened{make(chan struct{})}
	s.Keep("key", brief, time.Millisecond)
	<-brief.closed
	if s.Kept("key") != nil {
		t.Fatal("what nobody took in time is still kept")
	}
	s.Keep("key", first, time.Hour)
	_ = s.Kept("key")
	go s.Keep("key", first, time.Hour)
	if s.Kept("key") != first || s.Kept("key") != nil {
		t.Fatal("what another look is about to give back is waited for; what does not come back is not, for long")
	}
	s.Keep("key", second, time.Hour)
	if err := s.Close(); err != nil || !second.isClosed() {
		t.Fatalf("it is still open after the session's end (%v)", err)
	}
}
