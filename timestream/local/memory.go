// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// memoryWait is how long a statement of QueryRows waits for the memory of others: others hold it
// only while they run, unless their results are larger than spoolBytes and not read in slices.
const memoryWait = 10 * time.Second

// trimEvery is how often memory that is free is given back to the system, while the process has more than a part of its bound.
const trimEvery = time.Second

// trim gives free memory back when the process has more than three quarters of what it may have. Where that cannot be told, nothing is done.
func (db *DB) trim() {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err == nil && pages*int64(os.Getpagesize()) > int64(db.cfg.MemoryLimit)/4*3 {
		duck.Trim()
	}
}

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
