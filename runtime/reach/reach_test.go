package reach_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/reach"
)

// A run may end while the sessions that it wanted early are still being opened.
func TestCloseWhileWarming(t *testing.T) {
	t.Setenv("INCUS_SOCKET", "/nonexistent/unix.socket")
	var hosts []*inventory.Host
	for i := range 100 {
		hosts = append(hosts, inventory.NewHost(fmt.Sprint("host-", i), nil))
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for range 20 {
			h := reach.New(false)
			h.Warm(context.Background(), hosts)
			r, err := h.Reader(hosts[0])
			if err == nil {
				_, err = r.Stat(context.Background(), "/")
			}
			if err == nil {
				t.Error("reached a host without Incus")
			}
			h.Close()
		}
	}()
	select {
	case <-closed:
	case <-time.After(30 * time.Second):
		t.Fatal("Close hangs")
	}
}

// All hosts of a daemon that hangs wait for one attempt, each no longer than its own deadline, and share its end.
func TestDaemonThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unix.socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var connections atomic.Int32
	hangUp := make(chan struct{})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				<-hangUp
				_ = conn.Close()
			}()
		}
	}()
	t.Setenv("INCUS_SOCKET", path)
	h := reach.New(false)
	defer h.Close()
	connect := func(ctx context.Context, n int) error {
		r, err := h.Reader(inventory.NewHost(fmt.Sprint("host-", n), nil))
		if err == nil {
			_, _, err = incus.Of(ctx, r)
		}
		return err
	}
	all := func(ctx context.Context, check func(error)) {
		var waiting sync.WaitGroup
		for n := range 32 {
			waiting.Go(func() { check(connect(ctx, n)) })
		}
		waiting.Wait()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	all(ctx, func(err error) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("within a deadline: %v", err)
		}
	})
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
	time.AfterFunc(100*time.Millisecond, func() { close(hangUp); _ = l.Close() })
	all(t.Context(), func(err error) {
		if u, ok := errors.AsType[*host.Unreachable](err); !ok || !u.NoDaemon {
			t.Errorf("without one: %v", err)
		}
	})
}
