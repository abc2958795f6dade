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
	young, old map[uint64]cached
	_          [64]byte // keeps neighbours out of each other's cache line
}

type cached struct {
	table  uint64
	series *batch.Series
}

func newCache(size int) *cache {
	c := &cache{}
	for i := range c.shards {
		c.shards[i].limit = max(1, size/shards/2)
		c.shards[i].young = map[uint64]cached{}
	}
	return c
}

func cacheKey(table, hash uint64) uint64 { return hash ^ table*0x9e3779b97f4a7c15 }

func (c *cache) shard(key uint64) *shard { return &c.shards[key>>60] }

// get returns the encoded series of a table with these labels, or nil when it is not there, or was encoded with another
// generation of the catalogue.
func (c *cache) get(table uint64, sr *series.Series, generation uint64) *batch.Series {
	key := cacheKey(table, sr.Hash)
	s := c.shard(key)
	s.mu.Lock()
	e, ok := s.young[key]
	if !ok {
		if e, ok = s.old[key]; ok {
			delete(s.old, key)
			s.put(key, e)
		}
	}
	s.mu.Unlock()
	// Different label sets may share a hash, so the labels decide.
	if !ok || e.table != table || e.series.Generation != generation || !e.series.Is(sr.Labels) {
		return nil
	}
	return e.series
}

func (c *cache) add(table uint64, s *batch.Series) {
	key := cacheKey(table, s.Hash)
	sh := c.shard(key)
	sh.mu.Lock()
	delete(sh.old, key)
	sh.put(key, cached{table, s})
	sh.mu.Unlock()
}

// put adds to the young generation. The caller holds the lock.
func (s *shard) put(key uint64, e cached) {
	if _, have := s.young[key]; !have && len(s.young) >= s.limit {
		s.young, s.old = map[uint64]cached{}, s.young
	}
	s.young[key] = e
}

// size is the number of series in the cache.
func (c *cache) size() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.young) + len(s.old)
		s.mu.Unlock()
	}
	return n
}
