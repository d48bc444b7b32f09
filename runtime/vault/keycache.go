package vault

import "sync"

// keyCache derives keys once for each password and salt. A run opens the same
// group_vars for every host, from several goroutines, and a derivation takes
// milliseconds. The zero value is ready for use.
type keyCache struct {
	mu      sync.Mutex
	derived map[cacheKey]func() (*keys, error)
}

type cacheKey struct {
	password Secret
	salt     string
}

// get holds the lock only to find the entry, so different derivations run in
// parallel while callers for the same one wait for the first.
func (c *keyCache) get(password Secret, salt []byte) (*keys, error) {
	id := cacheKey{password, string(salt)}
	c.mu.Lock()
	derive, ok := c.derived[id]
	if !ok {
		derive = sync.OnceValues(func() (*keys, error) { return deriveKeys(password, salt) })
		if c.derived == nil {
			c.derived = make(map[cacheKey]func() (*keys, error))
		}
		c.derived[id] = derive
	}
	c.mu.Unlock()
	return derive()
}
