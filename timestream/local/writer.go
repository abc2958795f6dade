// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/metering"
)

// The writer is one goroutine that owns the writing connection, the series index and the high-water marks. All requests
// that wait when it comes round go into one DuckDB transaction, whose COMMIT is their durability: none is answered
// before. Most of what a transaction costs does not depend on how many requests it has, so the writer waits a moment for
// those who write one request after another (company); a lone request waits for nobody.

// maxGroupRecords bounds a transaction, and with it the time that the first of its requests waits.
const maxGroupRecords = 50_000

// writeJob is one WriteRecords request on its way through the writer.
type writeJob struct {
	table *table
	recs  []prepared
	// memoryFrom and magneticFrom are when records that are new are seen, zero for at once.
	memoryFrom, magneticFrom int64
	// sent is the weight of the request.
	sent metering.Request

	rejected         []wtypes.RejectedRecord
	memory, magnetic int
	counts           outcomeCounts
	err              error
	done             chan struct{}
}

// outcomeCounts is what became of records, for the metrics.
type outcomeCounts struct {
	stored, duplicate, updated, rejected, hiddenConflict int
}

func (j *writeJob) reset() {
	j.rejected, j.memory, j.magnetic, j.counts, j.err = nil, 0, 0, outcomeCounts{}, nil
}

// controlJob is a change of the catalogue. change runs in a transaction of its own; applied runs after its commit, under
// the catalogue's lock.
type controlJob struct {
	change  func(*duck.Conn) error
	applied func()
	err     error
	done    chan struct{}
}

type writer struct {
	db   *DB
	conn *duck.Conn
	// commitTx ends a transaction of conn; tests let it fail.
	commitTx func() error
	queue    chan any
	wg       sync.WaitGroup
	// closing is held by those who enqueue, so that none comes after the last.
	closing sync.RWMutex
	closed  bool
	group   []*writeJob
	company company
	tables  map[*table]*tableTx
	// meterText is the memory of a row of cat_cost. meterAt is when the last was written by a transaction, meters tells that the one in hand
	// writes some, and unlogged that there is something that no row has.
	meterText []byte
	meterAt   time.Time
	meters    bool
	unlogged  atomic.Bool
	// grown are the tables that the group in hand has written to.
	grown []*table
	// windows are what is remembered of parts for look-ups.
	windows recollections
	// lanes look records up beside each other.
	lanes lanes

	checkpoints checkpoints
}

var errClosed = errors.New("the database is closed")

func newWriter(db *DB, conn *duck.Conn) *writer {
	return &writer{
		db:       db,
		conn:     conn,
		commitTx: conn.Commit,
		queue:    make(chan any, db.cfg.WriteQueue),
		tables:   map[*table]*tableTx{},
		company:  newCompany(),
		lanes:    lanes{db: db},
	}
}

func (w *writer) start() {
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		w.run()
	}()
}

// shut refuses further jobs, finishes those that wait and returns when the goroutine has ended.
func (w *writer) shut() {
	w.closing.Lock()
	if w.closed {
		w.closing.Unlock()
		return
	}
	w.closed = true
	close(w.queue)
	w.closing.Unlock()
	w.wg.Wait()
}

// offer queues a job without waiting: false means that the queue is full.
func (w *writer) offer(job any) (bool, error) {
	w.closing.RLock()
	defer w.closing.RUnlock()
	if w.closed {
		return false, errClosed
	}
	select {
	case w.queue <- job:
		return true, nil
	default:
		return false, nil
	}
}

// enqueue queues a job and waits for a place if it has to.
func (w *writer) enqueue(ctx context.Context, job any) error {
	w.closing.RLock()
	defer w.closing.RUnlock()
	if w.closed {
		return errClosed
	}
	select {
	case w.queue <- job:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// control runs a change of the catalogue and waits for it.
func (w *writer) control(ctx context.Context, change func(*duck.Conn) error, applied func()) error {
	job := &controlJob{change: change, applied: applied, done: make(chan struct{})}
	if err := w.enqueue(ctx, job); err != nil {
		return err
	}
	<-job.done
	return job.err
}

func (w *writer) run() {
	for job := range w.queue {
		for job != nil {
			job = w.next(job)
			w.checkpointIfDue()
		}
	}
}

// next handles job and whatever waits behind it. It returns a job that it took but has to be handled apart.
func (w *writer) next(job any) any {
	switch j := job.(type) {
	case *controlJob:
		j.err = w.runControl(j)
		close(j.done)
		return nil
	case *betweenJob:
		j.f()
		close(j.done)
		return nil
	}
	w.group = w.group[:0]
	for records := 0; ; job = w.waiting() {
		j, ok := job.(*writeJob)
		if !ok {
			break
		}
		w.group = append(w.group, j)
		if records += len(j.recs); records >= maxGroupRecords {
			job = nil
			break
		}
	}
	w.commit(w.group)
	for _, t := range w.grown {
		w.sealFull(t)
	}
	clear(w.group)
	clear(w.grown)
	w.grown = w.grown[:0]
	return job
}

// waiting returns the next job in the queue, nil when there is none and none is expected.
func (w *writer) waiting() any {
	select {
	case j := <-w.queue:
		return j
	default:
	}
	if !w.company.await(len(w.group)) {
		return nil
	}
	defer w.company.timer.Stop()
	select {
	case j := <-w.queue:
		return j
	case <-w.company.timer.C:
		return nil
	}
}

func (w *writer) runControl(c *controlJob) error {
	if err := w.inTx(func() error { return c.change(w.conn) }); err != nil {
		return err
	}
	if c.applied != nil {
		w.db.cat.mu.Lock()
		c.applied()
		w.db.cat.mu.Unlock()
	}
	return nil
}

// inTx runs f in a transaction. Once the database has to be opened anew there are none: memory may not be what the file is.
func (w *writer) inTx(f func() error) error {
	if w.db.usable.Err() != nil {
		return context.Cause(w.db.usable)
	}
	if err := w.conn.Exec("BEGIN"); err != nil {
		w.db.noteFatal(err)
		return err
	}
	err := f()
	if err == nil {
		if err = w.commitTx(); err == nil {
			return w.syncNewLog()
		}
	}
	w.db.noteFatal(err)
	// After a failed COMMIT there is nothing to roll back, and DuckDB says so. Of a fatal one this may be the first to tell:
	// COMMIT words all its failures as its own.
	if rerr := w.conn.Exec("ROLLBACK"); rerr != nil {
		w.db.noteFatal(rerr)
		w.db.log.Debug("rollback", "err", rerr)
	}
	return err
}

// commit stores a group of requests and answers them. When the transaction of several fails they are tried one by one, so
// that one request's trouble is not the others'.
func (w *writer) commit(jobs []*writeJob) {
	start := time.Now()
	err := w.try(jobs)
	if err != nil && len(jobs) > 1 {
		w.db.log.Warn("a group of writes failed; trying its requests one by one", "requests", len(jobs), "err", err)
		for _, j := range jobs {
			j.reset()
			w.finish(j, w.try([]*writeJob{j}))
		}
		return
	}
	for _, j := range jobs {
		w.finish(j, err)
	}
	took := time.Since(start)
	w.db.metrics.group(len(jobs), took)
	w.company.answered(len(jobs)+len(w.queue), took)
}

func (w *writer) finish(j *writeJob, err error) {
	if err != nil {
		j.reset()
		j.err = writeFailed(err)
		w.db.log.LogAttrs(context.Background(), slog.LevelError, "write failed",
			slog.String("database", j.table.database), slog.String("table", j.table.name), slog.Any("err", explain(w.db.cfg.Dir, err)))
	}
	close(j.done)
}

// try runs one transaction for jobs. On an error memory is as it was before.
func (w *writer) try(jobs []*writeJob) (err error) {
	defer func() {
		for t, tx := range w.tables {
			tx.end()
			delete(w.tables, t)
		}
	}()
	for _, j := range jobs {
		w.decide(j)
	}
	dirty := false
	for _, tx := range w.tables {
		dirty = dirty || tx.dirty()
	}
	if !dirty {
		// Duplicates and rejections only. The memory has not changed either.
		w.meter(jobs)
		return nil
	}
	err = w.inTx(func() error {
		for _, tx := range w.tables {
			if err := tx.write(w); err != nil {
				return fmt.Errorf("table %s.%s: %w", tx.t.database, tx.t.name, err)
			}
		}
		return w.writeMeters(jobs)
	})
	for _, tx := range w.tables {
		if err != nil {
			tx.rollback()
			w.windows.forget(tx.t)
			continue
		}
		if tx.schemaChanged {
			tx.t.publish()
		}
		tx.t.spans.update(tx)
		w.noteMeters(tx)
		w.grown = append(w.grown, tx.t)
		for k := range tx.replaced {
			tx.t.noteDeleted(kind(k), tx.replaced[k])
		}
	}
	return err
}
