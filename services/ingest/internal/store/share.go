// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tributary-project/tributary/services/ingest/internal/batch"
	"github.com/tributary-project/tributary/services/ingest/internal/send"
	"github.com/tributary-project/tributary/timestream"
)

// crew is a batch that several small requests share. It lives on when some of them end early, and ends when all have.
type crew struct {
	items  []batch.Item
	owners []*job
	// deadline is the latest of the members'.
	deadline time.Time

	timer   *time.Timer
	leaving sync.Once // the crew has left: it takes no more members
	done    chan struct{}
	ctx     context.Context
	cancel  context.CancelFunc
	aboard  atomic.Int32
}

// share puts the items of a request that do not fill a batch together with those of others to the same table that come within
// ShareWait, and waits for their fate.
func (s *Store) share(ctx context.Context, j *job, items []batch.Item) {
	t := j.table
	t.sharing.Lock()
	c := t.open
	if c != nil && len(c.items)+len(items) > timestream.MaxRecordsPerWrite {
		s.leave(t, c)
		c = nil
	}
	if c == nil {
		c = &crew{done: make(chan struct{})}
		t.open = c
		c.timer = time.AfterFunc(s.cfg.ShareWait, func() {
			t.sharing.Lock()
			defer t.sharing.Unlock()
			s.leave(t, c)
		})
	}
	for i := range items {
		items[i].Owner = uint32(len(c.owners))
	}
	c.items, c.owners = append(c.items, items...), append(c.owners, j)
	c.aboard.Add(1)
	if deadline, ok := ctx.Deadline(); ok && deadline.After(c.deadline) {
		c.deadline = deadline
	}
	if len(c.items) == timestream.MaxRecordsPerWrite {
		s.leave(t, c)
	}
	t.sharing.Unlock()
	select {
	case <-c.done:
		return
	case <-ctx.Done():
	}
	j.mu.Lock()
	j.gone = true
	if j.failure == nil {
		j.failure = send.Interrupt(ctx)
	}
	j.mu.Unlock()
	if c.aboard.Add(-1) == 0 {
		t.sharing.Lock()
		s.leave(t, c) // with nobody aboard it ends at once
		t.sharing.Unlock()
		c.cancel()
	}
}

// leave sends a crew's batch, once. The caller holds t.sharing.
func (s *Store) leave(t *table, c *crew) {
	c.leaving.Do(func() {
		c.timer.Stop()
		if t.open == c {
			t.open = nil
		}
		if c.deadline.IsZero() {
			c.ctx, c.cancel = context.WithCancel(context.Background())
		} else {
			c.ctx, c.cancel = context.WithDeadline(context.Background(), c.deadline)
		}
		if len(c.owners) > 1 {
			s.shared.Inc()
		}
		go func() {
			defer close(c.done)
			defer c.cancel()
			for wave := c.items; len(wave) > 0; {
				var later []batch.Item
				wave, later = oneOfEach(wave)
				s.write(c.ctx, c.owners, wave)
				wave = later
			}
		}()
	})
}

// oneOfEach orders items and takes out those whose entry is there already: what becomes of two records of one identity in one
// batch is not documented, and one request's must not count for another's.
func oneOfEach(items []batch.Item) (wave, later []batch.Item) {
	new(batch.Sorter).Arrange(items)
	kept := 0
	for i := range items {
		if kept > 0 && batch.SameEntry(&items[kept-1], &items[i]) {
			later = append(later, items[i])
			continue
		}
		items[kept] = items[i]
		kept++
	}
	return items[:kept], later
}
