package inbound

import (
	"sync"
	"time"
)

// rejectedFor is how long a refusal is repeated to the same Call-ID and tag.
const rejectedFor = 60 * time.Second

type rejection struct {
	code   int
	reason string
	tag    string
	at     time.Time
}

// rejectedCache repeats refusals: a caller that tries again with the same
// Call-ID and From tag gets the same answer without a new call.
type rejectedCache struct {
	mu sync.Mutex
	m  map[string]rejection
}

func (c *rejectedCache) get(key string) (rejection, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.m[key]
	if ok && time.Since(r.at) > rejectedFor {
		delete(c.m, key)
		return rejection{}, false
	}
	return r, ok
}

func (c *rejectedCache) put(key string, r rejection) {
	r.at = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]rejection{}
	}
	if len(c.m) > 1000 {
		for k, old := range c.m {
			if time.Since(old.at) > rejectedFor {
				delete(c.m, k)
			}
		}
	}
	c.m[key] = r
}
