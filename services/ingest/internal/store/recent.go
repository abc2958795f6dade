// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync"
	"time"
)

// recent remembers keys for a time, a bounded number of them: when the young half is full it becomes the old one, and the
// old one goes. What was forgotten too early is stored once more, which does no harm.
type recent struct {
	limit int // of each half
	age   int64

	mu         sync.RWMutex
	young, old map[uint64]int64 // milliseconds since the epoch
}

func newRecent(size int, age time.Duration) *recent {
	return &recent{limit: max(1, size/2), age: age.Milliseconds(), young: map[uint64]int64{}}
}

// has tells whether a key was added within the age.
func (r *recent) has(key uint64, nowMs int64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	at, ok := r.young[key]
	if !ok {
		at, ok = r.old[key]
	}
	return ok && nowMs-at < r.age
}

func (r *recent) add(key uint64, nowMs int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= r.limit {
		r.young, r.old = map[uint64]int64{}, r.young
	}
	r.young[key] = nowMs
}
