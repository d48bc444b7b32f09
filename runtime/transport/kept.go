package transport

import (
	"io"
	"sync"
	"time"
)

// kept is what looks at a machine have opened and may open again: see host.Keeper.
type kept struct {
	mu   sync.Mutex
	open map[any][]*keptOne
}

type keptOne struct {
	io.Closer
	expiry *time.Timer
}

func (k *kept) put(key any, c io.Closer, limit time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open == nil {
		k.open = map[any][]*keptOne{}
	}
	one := &keptOne{Closer: c}
	one.expiry = time.AfterFunc(limit, func() {
		if k.remove(key, one) {
			_ = one.Close()
		}
	})
	k.open[key] = append(k.open[key], one)
}

func (k *kept) take(key any) io.Closer {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.open[key]
	if len(all) == 0 {
		return nil
	}
	one := all[len(all)-1]
	k.open[key] = all[:len(all)-1]
	one.expiry.Stop()
	return one.Closer
}

// remove reports whether it was still kept.
func (k *kept) remove(key any, one *keptOne) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, other := range k.open[key] {
		if other == one {
			k.open[key] = append(k.open[key][:i:i], k.open[key][i+1:]...)
			return true
		}
	}
	return false
}

// release closes all that is kept.
func (k *kept) release() {
	k.mu.Lock()
	all := k.open
	k.open = nil
	k.mu.Unlock()
	var closing sync.WaitGroup
	for _, several := range all {
		for _, one := range several {
			one.expiry.Stop()
			closing.Go(func() { _ = one.Close() })
		}
	}
	closing.Wait()
}
