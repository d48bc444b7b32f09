package reach_test

import (
	"context"
	"fmt"
	"testing"
	"time"

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
