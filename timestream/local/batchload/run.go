// SPDX-License-Identifier: Apache-2.0

package batchload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/bucket"
	"github.com/tributary-project/tributary/timestream/local/internal/delimited"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
	"github.com/tributary-project/tributary/timestream/local/internal/storing"
	"github.com/tributary-project/tributary/timestream/local/mapping"
)

const (
	// atOnce is how many tasks run at one time; others wait. Each has a batch of rows in memory.
	atOnce = 2
	// batchRecords and batchBytes end a batch: what is written before the place in the file moves on.
	batchRecords = 1000
	batchBytes   = 1 << 20
	// SaveEvery is how often that place is written down. What came since is read again after a crash, and is stored already.
	SaveEvery = 2 * time.Second
	// reportName is the last part of a report's key. The service's is not published.
	reportName = "error_report.json"
)

// errTask is what is wrong with the files of a task as a whole.
var errTask = errors.New("the task cannot be carried out")

// Run carries out tasks until ctx ends. One that is interrupted by that stays IN_PROGRESS, for the next start.
func (l *Tasks) Run(ctx context.Context) {
	var running sync.WaitGroup
	for range atOnce {
		running.Go(func() { l.oneByOne(ctx) })
	}
	running.Wait()
}

// oneByOne carries out one task after another.
func (l *Tasks) oneByOne(ctx context.Context) {
	for ctx.Err() == nil {
		t := l.next()
		if t == nil {
			select {
			case <-ctx.Done():
			case <-l.wake:
			}
			continue
		}
		l.carryOut(ctx, t)
		l.awake() // there may be others
	}
}

// next takes the oldest task that is to be run.
func (l *Tasks) next() *task {
	l.mu.Lock()
	defer l.mu.Unlock()
	var next *task
	for _, t := range l.tasks {
		if t.active() && !t.running && (next == nil || t.Spec.Created.Before(next.Spec.Created)) {
			next = t
		}
	}
	if next != nil {
		next.running = true
	}
	return next
}

// run is a task at work. Its state runs ahead of the one that is shown.
type run struct {
	l     *Tasks
	spec  *spec
	state state
	saved time.Time
	store storing.Writer
	// done is the state as of what is stored.
	done state
	// mapper makes the records of the file in hand.
	mapper *mapping.Mapper
	// rows are those of the records in hand.
	records []record.Record
	rows    []rowLines
	bytes   int
}

// rowLines are the lines of a record's row.
type rowLines struct{ first, last int64 }

// carryOut runs a task to its end, or as far as it comes.
func (l *Tasks) carryOut(ctx context.Context, t *task) {
	l.mu.Lock()
	r := &run{l: l, spec: &t.Spec, state: t.State}
	r.state.Errors = r.state.Errors.clone()
	l.mu.Unlock()
	r.state.Status = wtypes.BatchLoadStatusInProgress
	r.store = storing.Writer{Target: l.cfg.Store, Database: t.Spec.Database, Table: t.Spec.Table, Version: t.Spec.RecordVersion, Refused: r.refused, Invalid: r.invalid}
	r.done = r.state
	err := r.save(ctx)
	if err == nil {
		err = r.guarded(ctx)
	}
	// What was read and not stored is read again; that it stands in the report already does not show.
	r.state.Progress, r.state.File, r.state.Offset, r.state.Line = r.done.Progress, r.done.File, r.done.Offset, r.done.Line
	if ctx.Err() == nil || err == nil {
		r.end(err)
	}
	// The process may be about to end: what is written down now is not read again.
	if err := r.save(context.WithoutCancel(ctx)); err != nil {
		l.cfg.Logger.Warn("the state of a batch load task is not written down", "task", r.spec.ID, "err", err)
	}
	l.mu.Lock()
	t.running = false
	l.mu.Unlock()
}

// end decides what a task is after it ran, and writes its report.
func (r *run) end(err error) {
	s, log := &r.state, r.l.cfg.Logger
	switch {
	case err != nil && isStopped(err):
		until := r.l.cfg.Now().Add(resumable)
		s.Status, s.ResumableUntil, s.Message = wtypes.BatchLoadStatusProgressStopped, &until, reportReason(err.Error())
		log.Warn("a batch load task stopped", "task", r.spec.ID, "err", err)
	case err != nil:
		s.Errors.task(err)
		s.Status, s.Message = wtypes.BatchLoadStatusFailed, reportReason(err.Error())
	case s.Errors.any():
		s.Status, s.Message = wtypes.BatchLoadStatusFailed, "There are errors."
	default:
		s.Status = wtypes.BatchLoadStatusSucceeded
	}
	if s.Errors.any() {
		s3 := r.spec.Report.ReportS3Configuration
		key := reportName
		if prefix := strings.Trim(aws.ToString(s3.ObjectKeyPrefix), "/"); prefix != "" {
			key = prefix + "/" + r.spec.ID + "/" + key
		} else {
			key = r.spec.ID + "/" + key
		}
		b, err := s.Errors.report(r.spec.ID)
		if err == nil {
			err = r.l.cfg.Buckets.Put(*s3.BucketName, key, b)
		}
		if err != nil {
			log.Warn("the error report of a batch load task is not written", "task", r.spec.ID, "err", err)
			s.Message += " " + reportReason("The error report could not be written: "+err.Error())
		} else {
			s.Message += " See the error report s3://" + *s3.BucketName + "/" + key + "."
		}
	}
	if s.Status != wtypes.BatchLoadStatusProgressStopped {
		s.Errors, s.File = failures{}, ""
	}
	log.Debug("batch load task", "task", r.spec.ID, "status", string(s.Status), "records", s.Progress.RecordsIngested)
}

// save shows the state and writes it down.
func (r *run) save(ctx context.Context) error {
	r.state.Updated = r.l.cfg.Now()
	r.saved = time.Now()
	shown := r.state
	shown.Errors = r.state.Errors.clone()
	return r.l.update(ctx, r.spec.ID, func(t *task) error {
		t.State = shown
		return nil
	})
}

// errPanic is the end of a task by a mistake of ours. It must not end the process, which would do the same again at each start.
var errPanic = errors.New("there was an internal error, which the log describes")

// guarded is files without its panics.
func (r *run) guarded(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.l.cfg.Logger.Error("panic in a batch load task", "task", r.spec.ID, "panic", p, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return r.files(ctx)
}

// files reads the files of a task by their keys, from where it was.
func (r *run) files(ctx context.Context) error {
	source := r.spec.Source.DataSourceS3Configuration
	name, prefix := *source.BucketName, aws.ToString(source.ObjectKeyPrefix)
	list, err := r.l.cfg.Buckets.List(name, prefix, maxFiles)
	if errors.Is(err, bucket.ErrTooMany) {
		return fmt.Errorf("%w: %w", errTask, err)
	}
	if err != nil {
		return err
	}
	var total int64
	for _, o := range list {
		total += o.Size
	}
	switch {
	case len(list) == 0:
		return fmt.Errorf("%w: no object in bucket %s has the prefix %q", errTask, name, prefix)
	case total > maxBytes:
		return fmt.Errorf("%w: its files have %d bytes, more than %d", errTask, total, int64(maxBytes))
	}
	model, err := mapping.FromDataModel(&r.spec.Model)
	if err != nil {
		return fmt.Errorf("%w: %w", errTask, err)
	}
	for _, o := range list {
		if o.Key < r.state.File {
			continue
		}
		if o.Key != r.state.File {
			r.state.File, r.state.Offset, r.state.Line = o.Key, 0, 0
		}
		var failed *fileError
		if err := r.file(ctx, name, o.Key, model); errors.As(err, &failed) {
			r.state.Progress.FileFailures++
			r.state.Errors.file(o.Key, failed.err)
		} else if err != nil {
			return err
		}
		// It is done with, and all before it.
		r.state.File, r.state.Offset, r.state.Line = o.Key+"\x00", 0, 0
		r.done = r.state
	}
	return nil
}

// fileError is why the rest of a file cannot be loaded.
type fileError struct{ err error }

func (e *fileError) Error() string { return e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// file loads one file.
func (r *run) file(ctx context.Context, bucketName, key string, model *mapping.Model) error {
	f, err := r.l.cfg.Buckets.Get(bucketName, key, maxFileBytes)
	if err != nil {
		return &fileError{err}
	}
	defer func() { _ = f.Close() }()
	opts, err := csvOptions(r.spec.Source.CsvConfiguration)
	if err != nil {
		return &fileError{err}
	}
	in := &until{ctx: ctx, Reader: f}
	rows := delimited.NewReader(in, opts, 1)
	header, err := rows.Header()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF):
		return &fileError{errors.New("the file is empty: it has to begin with the names of its columns")}
	case err != nil:
		return &fileError{err}
	}
	columns := make([]mapping.Column, header.Len())
	for i := range columns {
		columns[i].Name, _ = header.Field(i)
	}
	if r.mapper, err = model.Bind(columns); err != nil {
		return &fileError{err}
	}
	start := header.End
	if r.state.Offset > start {
		if start, err = f.Seek(r.state.Offset, io.SeekStart); err != nil {
			return &fileError{err}
		}
		rows = delimited.NewReader(in, opts, r.state.Line)
	} else {
		r.state.Offset = start
	}
	base := int64(0)
	if start != header.End {
		base = start
	}
	return r.rowsOf(ctx, key, rows, base, len(columns))
}

// until reads until ctx ends: where a file has no row that can be loaded, nothing else would notice.
type until struct {
	ctx context.Context
	io.Reader
}

func (u *until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(p)
}

// rowsOf loads the rows of a file, whose ends count from base.
func (r *run) rowsOf(ctx context.Context, key string, rows *delimited.Reader, base int64, columns int) error {
	for {
		row, err := rows.Next()
		var bad *delimited.RowError
		switch {
		case errors.Is(err, io.EOF):
			return r.flush(ctx)
		case errors.As(err, &bad):
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			if flushed := r.flush(ctx); flushed != nil {
				return flushed
			}
			return &fileError{err}
		case row.Len() != columns:
			bad = &delimited.RowError{Reason: fmt.Sprintf("The row has %d columns, the header has %d.", row.Len(), columns)}
		}
		before := len(r.records)
		if bad == nil {
			var err error
			if r.records, err = r.mapper.Row(r.records, row.Field); err != nil {
				bad = &delimited.RowError{Reason: err.Error()}
			}
		}
		if bad != nil {
			r.state.Progress.RecordsProcessed++
			r.state.Progress.ParseFailures++
			r.state.Errors.lines(key, bad.Reason, row.First, row.Last)
		}
		for range len(r.records) - before {
			r.rows = append(r.rows, rowLines{row.First, row.Last})
		}
		r.bytes += int(base + row.End - r.state.Offset) // of rows that are none, too
		r.state.Offset, r.state.Line = base+row.End, row.Last+1
		if len(r.records) >= batchRecords || r.bytes >= batchBytes {
			if err := r.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// flush writes the records in hand. After an error the place in the file is where it was before them.
func (r *run) flush(ctx context.Context) error {
	records, bytes := r.store.Records, r.store.Bytes
	if err := r.store.Write(ctx, r.records); err != nil {
		return err
	}
	p := &r.state.Progress
	p.RecordsProcessed += int64(len(r.records))
	p.RecordsIngested += r.store.Records - records
	p.BytesMetered += r.store.Bytes - bytes
	clear(r.records)
	r.records, r.rows, r.bytes = r.records[:0], r.rows[:0], 0
	r.done = r.state
	if time.Since(r.saved) >= r.l.cfg.SaveEvery {
		return r.save(ctx)
	}
	return ctx.Err()
}

// refused notes a record that was not stored, invalid one that nobody would store.
func (r *run) refused(rec *record.Record, reason string) {
	r.state.Progress.RecordIngestionFailures++
	r.note(rec, reason)
}

func (r *run) invalid(rec *record.Record, reason string) {
	r.state.Progress.ParseFailures++
	r.note(rec, reason)
}

func (r *run) note(rec *record.Record, reason string) {
	reason = r.mapper.Explain(rec, reason)
	for i := range r.records {
		if &r.records[i] == rec {
			r.state.Errors.lines(r.state.File, reason, r.rows[i].first, r.rows[i].last)
		}
	}
}
