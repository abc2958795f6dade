// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// memoryWait is how long a statement of QueryRows waits for the memory of others: long enough for those that read on, and an end
// for those that wait for each other.
const memoryWait = 10 * time.Second

// outOfMemory tells whether DuckDB had no memory for a statement (Config.MemoryLimit).
func outOfMemory(err error) bool {
	var e *duck.Error
	return errors.As(err, &e) && strings.HasPrefix(e.Text, "Out of Memory Error")
}

// evict ends the results that have not been asked for a page lately, and tells whether there was one that held memory.
func (q *queries) evict() bool { return q.closeIdle(reusableAfter) > 0 }

// freed lets those go on that wait for memory.
func (q *queries) freed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	close(q.memory)
	q.memory = make(chan struct{})
}

// withMemory calls start, which begins a statement and leaves nothing behind when it fails, and again when there was no memory
// for it and some has come free. It must be called without a place among the running statements.
func (q *queries) withMemory(ctx context.Context, start func() error) error {
	var late <-chan time.Time
	for {
		q.mu.Lock()
		freed := q.memory
		q.mu.Unlock()
		err := start()
		if !outOfMemory(err) {
			return err
		}
		if q.evict() {
			continue
		}
		if q.streams.Load() == q.waiting.Load()+1 {
			return err // nobody else has any
		}
		if late == nil {
			t := time.NewTimer(memoryWait)
			defer t.Stop()
			late = t.C
		}
		q.waiting.Add(1)
		select {
		case <-freed:
			q.waiting.Add(-1)
		case <-late:
			q.waiting.Add(-1)
			return err
		case <-ctx.Done():
			q.waiting.Add(-1)
			return errors.Join(ctx.Err(), err)
		}
	}
}
