// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
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

	timer *time.Timer
	// left: its batch is on its way and it takes no more members. aboard is how many wait for it. Both are under the
	// table's sharing lock.
	left   bool
	aboard int
	// cancel ends the batch; it is there once the crew has left. done is closed when the batch has ended.
	cancel context.CancelFunc
	done   chan struct{}
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
	c.aboard++
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
	t.sharing.Lock()
	defer t.sharing.Unlock()
	if c.aboard--; c.aboard == 0 {
		s.leave(t, c) // nobody may come aboard any more, and with nobody there it ends at once
		c.cancel()
	}
}

// leave sends a crew's batch, once. The caller holds t.sharing.
func (s *Store) leave(t *table, c *crew) {
	if c.left {
		return
	}
	c.left = true
	c.timer.Stop()
	if t.open == c {
		t.open = nil
	}
	if len(c.owners) > 1 {
		s.shared.Inc()
	}
	ctx := context.Background()
	if c.deadline.IsZero() {
		ctx, c.cancel = context.WithCancel(ctx)
	} else {
		ctx, c.cancel = context.WithDeadline(ctx, c.deadline)
	}
	go func() {
		defer close(c.done)
		defer c.cancel()
		order := t.order.Load()
		for i := range c.items {
			c.items[i].Place(order)
		}
		new(batch.Sorter).Arrange(c.items)
		for wave := c.items; len(wave) > 0; {
			// None may count for another's, so repeats of others are sent after what they repeat.
			var later []batch.Item
			wave, later = batch.Distinct(wave)
			s.write(ctx, c.owners, wave)
			wave = later
		}
	}()
}
