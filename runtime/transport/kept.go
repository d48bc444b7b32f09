package transport

import (
	"io"
	"sync"
	"time"
)

// patience is how long a look waits for what another look has at that moment, which opening a session of PostgreSQL takes, too. What is not
// given back, for it has broken or its look takes long, is waited for once.
const patience = 10 * time.Millisecond

// kept is what looks at a machine have opened and may open again: see host.Keeper.
type kept struct {
	mu    sync.Mutex
	open  map[any][]*keptOne
	taken map[any]int   // how many looks have taken one, as far as is known: one that breaks does not come back
	back  chan struct{} // closed when something comes back; nil while nobody waits
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
	if k.taken[key] > 0 {
		k.taken[key]--
	}
	k.wake()
}

// take takes back the newest that is kept under the first of the keys that has one, or what another look is about to give back.
func (k *kept) take(keys ...any) io.Closer {
	k.mu.Lock()
	defer k.mu.Unlock()
	var over <-chan time.Time
	for {
		taken := false
		for _, key := range keys {
			if all := k.open[key]; len(all) > 0 {
				one := all[len(all)-1]
				k.open[key] = all[:len(all)-1]
				one.expiry.Stop()
				if k.taken == nil {
					k.taken = map[any]int{}
				}
				k.taken[key]++
				return one.Closer
			}
			taken = taken || k.taken[key] > 0
		}
		if !taken {
			return nil
		}
		if over == nil {
			over = time.After(patience)
		}
		if k.back == nil {
			k.back = make(chan struct{})
		}
		back := k.back
		k.mu.Unlock()
		select {
		case <-back:
			k.mu.Lock()
		case <-over:
			k.mu.Lock()
			for _, key := range keys {
				delete(k.taken, key)
			}
			return nil
		}
	}
}

// wake has those look again who wait.
func (k *kept) wake() {
	if k.back != nil {
		close(k.back)
		k.back = nil
	}
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
	k.open, k.taken = nil, nil
	k.wake()
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
