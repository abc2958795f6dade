// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync"

	"github.com/tributary-project/tributary/services/ingest/internal/batch"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// cache keeps encoded series, so that a series that is written again and again is encoded once. Its memory is bounded by
// two generations: when the young one is full it becomes the old one, and the old one goes. What is used stays, because a
// hit in the old generation moves to the young one.
type cache struct {
	shards [shards]shard
}

const shards = 16 // so that requests in parallel seldom wait for each other

type shard struct {
	mu         sync.Mutex
	limit      int // of each generation
	young, old slots
	_          [64]byte // keeps neighbours out of each other's cache line
}

// slots is a hash table with linear probing. Go's maps look in two places for every key; with many series that is half
// of what finding one costs.
type slots struct {
	slots []slot // a power of two of them, at most half of them taken
	used  int
}

type slot struct {
	key    uint64
	series *batch.Series // nil: free
}

// find returns the place of a key, or the free one where it would be. slots must not be empty.
func (t *slots) find(key uint64) *slot {
	mask := uint64(len(t.slots) - 1)
	for i := key * 0x9e3779b97f4a7c15 >> 20 & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.series == nil || s.key == key {
			return s
		}
	}
}

func (t *slots) get(key uint64) *batch.Series {
	if t.used == 0 {
		return nil
	}
	return t.find(key).series
}

func (t *slots) put(key uint64, s *batch.Series) {
	if 2*t.used >= len(t.slots) {
		before := t.slots
		t.slots = make([]slot, max(16, 2*len(before)))
		for _, x := range before {
			if x.series != nil {
				*t.find(x.key) = x
			}
		}
	}
	at := t.find(key)
	if at.series == nil {
		t.used++
	}
	*at = slot{key, s}
}

func newCache(size int) *cache {
	c := &cache{}
	for i := range c.shards {
		c.shards[i].limit = max(1, size/shards/2)
	}
	return c
}

func cacheKey(table, hash uint64) uint64 { return hash ^ table*0x9e3779b97f4a7c15 }

func (c *cache) shard(key uint64) *shard { return &c.shards[key>>60] }

// get returns the encoded series of a table with these labels, or nil when it is not there, or was encoded with another
// generation of the catalogue.
func (c *cache) get(table uint64, sr *series.Series, generation uint64) *batch.Series {
	key := cacheKey(table, sr.Hash.A)
	s := c.shard(key)
	s.mu.Lock()
	found := s.young.get(key)
	if found == nil {
		if found = s.old.get(key); found != nil {
			s.put(key, found)
		}
	}
	s.mu.Unlock()
	if found == nil || found.Hash != sr.Hash || found.Scope != table || found.Generation != generation {
		return nil
	}
	return found
}

func (c *cache) add(s *batch.Series) {
	key := cacheKey(s.Scope, s.Hash.A)
	sh := c.shard(key)
	sh.mu.Lock()
	sh.put(key, s)
	sh.mu.Unlock()
}

// put adds to the young generation. The caller holds the lock.
func (s *shard) put(key uint64, x *batch.Series) {
	if s.young.used >= s.limit && s.young.get(key) == nil {
		s.young, s.old = slots{}, s.young
	}
	s.young.put(key, x)
}

// size is the number of series in the cache; one that is in both generations counts twice.
func (c *cache) size() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.young.used + s.old.used
		s.mu.Unlock()
	}
	return n
}
