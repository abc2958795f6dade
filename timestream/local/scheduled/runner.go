// SPDX-License-Identifier: Apache-2.0

package scheduled

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Job is one run to be made.
type Job struct {
	// ID is that of the query.
	ID string
	// Invocation is the value of @scheduled_runtime.
	Invocation time.Time
	Manual     bool
	// Insights asks for them in the summary of the run.
	Insights bool
}

// Runner makes runs: those of one query one after another, of all queries a few at a time, in the order in which they were asked for.
type Runner struct {
	run        func(context.Context, Job)
	concurrent int

	life context.Context
	end  context.CancelFunc
	runs sync.WaitGroup

	mu     sync.Mutex
	closed bool
	// waiting are in order of their coming; queued counts them by query.
	waiting []Job
	queued  map[string]int
	// running are the queries that run, with what ends them.
	running map[string]context.CancelFunc
}

// MaxWaiting bounds the runs that wait. Of automatic ones there is at most one for each query.
const MaxWaiting = 10_000

// ErrManyWaiting is that more runs wait than are remembered.
var ErrManyWaiting = errors.New("too many runs of scheduled queries wait")

// NewRunner returns a runner that calls run for each job, in goroutines of its own, as many as concurrent at one time. The context ends when the
// query is forgotten or the runner is closed.
func NewRunner(concurrent int, run func(context.Context, Job)) *Runner {
	r := &Runner{run: run, concurrent: concurrent, running: map[string]context.CancelFunc{}, queued: map[string]int{}}
	r.life, r.end = context.WithCancel(context.Background())
	return r
}

// Submit asks for a run.
func (r *Runner) Submit(j Job) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return context.Canceled
	case len(r.waiting) >= MaxWaiting:
		return ErrManyWaiting
	}
	r.waiting = append(r.waiting, j)
	r.queued[j.ID]++
	r.startLocked()
	return nil
}

// startLocked starts those that wait and may run.
func (r *Runner) startLocked() {
	if r.closed || len(r.running) >= r.concurrent {
		return
	}
	left := r.waiting[:0]
	for _, j := range r.waiting {
		if _, busy := r.running[j.ID]; busy || len(r.running) >= r.concurrent {
			left = append(left, j)
			continue
		}
		r.taken(j.ID)
		ctx, cancel := context.WithCancel(r.life)
		r.running[j.ID] = cancel
		r.runs.Go(func() {
			defer r.ended(j.ID, cancel)
			r.run(ctx, j)
		})
	}
	clear(r.waiting[len(left):])
	r.waiting = left
}

// taken counts one run of a query less among those that wait.
func (r *Runner) taken(id string) {
	if r.queued[id]--; r.queued[id] == 0 {
		delete(r.queued, id)
	}
}

func (r *Runner) ended(id string, cancel context.CancelFunc) {
	cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, id)
	r.startLocked()
}

// Busy tells whether a query runs or has a run that waits.
func (r *Runner) Busy(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running[id] != nil || r.queued[id] > 0
}

// Count is how many queries run, and how many runs wait.
func (r *Runner) Count() (running, waiting int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.running), len(r.waiting)
}

// Forget ends the run of a query and drops those that wait.
func (r *Runner) Forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cancel := r.running[id]; cancel != nil {
		cancel()
	}
	delete(r.queued, id)
	r.waiting = slices.DeleteFunc(r.waiting, func(j Job) bool { return j.ID == id })
}

// Close ends what runs, drops what waits, and returns how many that were when no run is left.
func (r *Runner) Close() (dropped int) {
	r.mu.Lock()
	r.closed = true
	dropped = len(r.waiting)
	r.waiting, r.queued = nil, nil
	r.mu.Unlock()
	r.end()
	r.runs.Wait()
	return dropped
}
