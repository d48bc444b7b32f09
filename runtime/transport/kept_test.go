package transport

import (
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	s.Keep("key", second, time.Hour)
	if err := s.Close(); err != nil || !second.isClosed() {
		t.Fatalf("it is still open after the session's end (%v)", err)
	}
}

// Two looks at once share what one of them has opened.
func TestKeptIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, one := &kept{}, opened{make(chan struct{})}
		takes := func(want io.Closer, after time.Duration, keys ...any) {
			t.Helper()
			began := time.Now()
			if got, took := k.take(keys...), time.Since(began); got != want || took != after {
				t.Errorf("got %v after %s, want %v after %s", got, took, want, after)
			}
		}
		comesBack := func(key any) {
			go func() {
				time.Sleep(3 * time.Millisecond)
				k.put(key, one, time.Hour)
			}()
		}
		k.put("a", one, time.Hour)
		takes(one, 0, "a")
		comesBack("a")
		takes(one, 3*time.Millisecond, "a")
		comesBack("b") // is nobody's: it has only been opened
		takes(nil, patience, "a")
		takes(nil, 0, "a") // it has broken, or is in use for long
		takes(one, 0, "a", "b")
		comesBack("b")
		takes(one, 3*time.Millisecond, "a", "b")
		k.put("b", one, time.Hour)
		takes(one, 0, "b")
		k.put("b", one, time.Hour)
		takes(nil, 0, "a") // nothing of it is expected

		takes(one, 0, "b")
		var taken atomic.Int64
		for range 2 {
			go func() {
				if k.take("b") != nil {
					taken.Add(1)
				}
			}()
		}
		comesBack("b")
		time.Sleep(2 * patience)
		if taken.Load() != 1 {
			t.Errorf("%d looks have what was given back once", taken.Load())
		}
		k.put("b", one, time.Hour)
		takes(one, 0, "b")
		k.release()
		takes(nil, 0, "b")
	})
}
