// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"sync/atomic"
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

// A page is made beside the call that asks for it. A call of the service ends within a minute (API reference, Query), while a statement may run
// for an hour (Developer Guide, ts-limits); captures of the service show pages without rows meanwhile. So a call whose page is not ready in time
// is answered by one without rows and a token for the next; the statement goes on, and the call with that token waits for the same
// page.

// making is a page that is being made.
type making struct {
	done chan struct{}
	rows []byte
	last bool
	err  error
	// left is set by the first of two: the call that no longer waits, which leaves its place among the running statements to the page, and
	// the page, when it is ready.
	left atomic.Bool
}

// place is a call's place among the running statements; taken tells that a page has it now.
type place struct{ taken bool }

func (q *queries) leave(p *place) {
	if !p.taken {
		q.release()
	}
}

// lateError says that a page is not ready in the time of a call.
type lateError struct{}

func (lateError) Error() string { return "the page is not ready" }

// await returns the page that is being made; where there is none it lets work make one. A lateError tells that the time of the call is
// over. When the caller leaves, the statement ends. The result is locked by the caller.
func (q *queries) await(ctx context.Context, r *openResult, p *place, work func() ([]byte, bool, error)) ([]byte, bool, error) {
	if r.plan.SQL == "" {
		return work() // there is no statement
	}
	m := r.making
	if m == nil {
		m = &making{done: make(chan struct{})}
		r.making = m
		r.start()
		q.calls.Add(1) // there is one already, the caller's
		go func() {
			defer q.calls.Done()
			m.rows, m.last, m.err = r.within(q.db.cfg.QueryTime, q.db.cfg.flag("query.timeout"), work)
			r.stop()
			close(m.done)
			if !m.left.CompareAndSwap(false, true) {
				q.release()
			}
		}()
	}
	detach := context.AfterFunc(ctx, r.cancel)
	defer detach()
	limit := time.NewTimer(q.db.cfg.CallTime)
	defer limit.Stop()
	select {
	case <-m.done:
	case <-limit.C:
		if ctx.Err() == nil {
			if m.left.CompareAndSwap(false, true) {
				p.taken = true
				return nil, false, lateError{}
			}
			select {
			case <-m.done:
			default: // an earlier call has left its place to the page
				return nil, false, lateError{}
			}
		}
		<-m.done
	}
	r.making = nil
	return m.rows, m.last, m.err
}

// within bounds the time that a statement works, over all its pages; flag is what moves the limit.
func (r *openResult) within(limit time.Duration, flag string, work func() ([]byte, bool, error)) ([]byte, bool, error) {
	start := time.Now()
	var over atomic.Bool
	t := time.AfterFunc(limit-r.worked, func() {
		over.Store(true)
		r.cancel()
	})
	end := r.charge.begin()
	rows, last, err := work()
	end()
	t.Stop()
	r.worked += time.Since(start)
	if err != nil && over.Load() {
		err = &qtypes.QueryExecutionException{Message: text("The query ran longer than %v (%s).", limit, flag)}
	}
	return rows, last, err
}

// start and stop surround the making of a page, during which what the statement holds cannot be freed.
func (r *openResult) start() {
	r.life.Lock()
	defer r.life.Unlock()
	r.working = true
}

func (r *openResult) stop() {
	r.life.Lock()
	defer r.life.Unlock()
	r.working = false
	if r.ending {
		r.free()
	}
}

// close ends the statement; the page that was handed out stays. What it holds is freed now, or when the page that is being made is ready.
func (r *openResult) close() {
	r.life.Lock()
	defer r.life.Unlock()
	r.cancel()
	if r.ending = true; !r.working {
		r.free()
	}
}

// open tells whether the statement has not been read to its end.
func (r *openResult) open() bool {
	r.life.Lock()
	defer r.life.Unlock()
	return r.conn != nil
}

// free is called under life.
func (r *openResult) free() {
	if r.rows != nil {
		r.rows.Close()
		r.rows = nil
	}
	if r.conn != nil {
		r.conn.Close()
		r.conn = nil
	}
}
