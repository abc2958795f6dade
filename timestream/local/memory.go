// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// memoryWait is how long a statement of QueryRows waits for the memory of others: others hold it
// only while they run, unless their results are larger than spoolBytes.
const memoryWait = 10 * time.Second

// outOfMemory tells whether DuckDB had no memory for a statement (Config.MemoryLimit).
func outOfMemory(err error) bool {
	var e *duck.Error
	return errors.As(err, &e) && strings.HasPrefix(e.Text, "Out of Memory Error")
}

// evict ends the results that have not been asked for a page lately, and tells whether one of them held memory.
func (q *queries) evict() bool { return q.closeIdle(reusableAfter) > 0 }

// holds notes that a statement of QueryRows may hold memory, freed that it does no longer: then those go on that wait for some.
func (q *queries) holds() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.holding++
}

func (q *queries) freed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.holding--
	q.frees++
	close(q.memory)
	q.memory = make(chan struct{})
}

// withMemory calls start, which begins a statement and has freed what it held when it fails, and again when there was no memory
// for it: those that found none begin one after the other, since together they would find none again. It must be called without a
// place among the running statements.
func (q *queries) withMemory(ctx context.Context, start func() error) error {
	err := start()
	if !outOfMemory(err) {
		return err
	}
	q.waiting.Add(1)
	defer q.waiting.Add(-1)
	select {
	case q.scarce <- struct{}{}:
		defer func() { <-q.scarce }()
	case <-ctx.Done():
		return errors.Join(ctx.Err(), err)
	}
	late := time.NewTimer(memoryWait)
	defer late.Stop()
	for {
		q.evict()
		q.mu.Lock()
		before := q.frees
		q.mu.Unlock()
		if err := start(); !outOfMemory(err) {
			return err
		}
		q.mu.Lock()
		// One of the frees is that of start.
		others, holding, memory := q.frees-before > 1, q.holding, q.memory
		q.mu.Unlock()
		if !others && holding == 0 {
			return err // it is too large by itself, or beside results of several pages
		}
		if others { // what came free meanwhile may do
			now := make(chan struct{})
			close(now)
			memory = now
		}
		select {
		case <-memory:
		case <-late.C:
			return err
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
