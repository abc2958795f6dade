// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
	"github.com/tributary-project/tributary/timestream/local/internal/storing"
	"github.com/tributary-project/tributary/timestream/local/mapping"
	"github.com/tributary-project/tributary/timestream/local/scheduled"
	"github.com/tributary-project/tributary/timestream/result"
)

// Types of notifications that are not the status of a run (Developer Guide, scheduledqueries-notification).
const (
	notifyCreating = "SCHEDULED_QUERY_CREATING"
	notifyUpdate   = "SCHEDULED_QUERY_UPDATE"
	notifyDeleted  = "SCHEDULED_QUERY_DELETED"
)

// scheduleEvery is how often it is looked which scheduled queries are due: their times are whole minutes, or whole seconds for rates.
const scheduleEvery = time.Second

// keepSchedule starts the runs that are due until ctx ends.
func (db *DB) keepSchedule(ctx context.Context) {
	tick := time.NewTicker(db.cfg.scheduleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			db.startDue()
		}
	}
}

// startDue starts the runs that are due. Of the invocations that passed while the process did not run, or while an earlier run did, only the last
// is made up for. What the service does then is not documented; it is not away for hours as a process on somebody's machine is.
func (db *DB) startDue() {
	now := db.now()
	for _, q := range db.dueScheduled(now) {
		if db.runs.Busy(q.ID) {
			continue
		}
		at, others := q.schedule.Latest(q.Created, q.state.From, now)
		if at.IsZero() {
			continue
		}
		if err := db.runs.Submit(scheduled.Job{ID: q.ID, Invocation: at}); err != nil {
			db.log.Debug("a scheduled query waits for its turn", "query", q.ID, "err", err)
			return
		}
		if others {
			db.metrics.scheduledSkipped.Inc()
			db.log.Warn("a scheduled query was not run at some of its times, only at the last of them", "query", q.ID, "first", q.next, "run", at)
		}
	}
}

// dueScheduled returns the scheduled queries that have a time which has come.
func (db *DB) dueScheduled(now time.Time) (due []scheduledQuery) {
	db.cat.mu.RLock()
	defer db.cat.mu.RUnlock()
	for _, q := range db.cat.scheduled {
		if !q.next.IsZero() && !q.next.After(now) {
			due = append(due, *q)
		}
	}
	return due
}

// notify is what the service does by SNS: here a line in the log, for those who look for it, and a number.
func (db *DB) notify(d *scheduled.Definition, kind string, r *scheduled.Run) {
	db.metrics.notifications.WithLabelValues(kind).Inc()
	args := []any{"type", kind, "arn", db.scheduledARN(d.ID), "topic", d.Topic}
	if r != nil {
		args = append(args, "invocation", r.Invocation, "rows", r.Stats.Rows, "records", r.Stats.Records, "bytes_metered", r.Stats.BytesMetered, "data_writes", r.Stats.Written)
	}
	db.log.Debug("notification of a scheduled query", args...)
}

// errRunTime is the cause of the end of a run that took too long.
var errRunTime = errors.New("the run took too long")

// runScheduled makes one run and remembers it, unless the query is deleted or the process ends meanwhile: an automatic one is made again then.
func (db *DB) runScheduled(ctx context.Context, j scheduled.Job) {
	q := db.cat.scheduledQuery(j.ID)
	if q == nil || !j.Manual && !q.state.Enabled {
		return
	}
	run := &scheduledRun{db: db, query: q, job: j, Run: scheduled.Run{Invocation: j.Invocation, Trigger: db.now(), Manual: j.Manual}}
	version := q.state.Triggered(run.Trigger).Version
	limited, cancel := context.WithTimeoutCause(ctx, db.cfg.QueryTime, errRunTime)
	disable := run.judge(limited, run.do(limited, version))
	cancel()
	if ctx.Err() != nil {
		return
	}
	run.Failure = shortened(run.Failure)
	run.Stats.Took = db.now().Sub(run.Trigger)
	run.report()
	finish := func(s scheduled.State) scheduled.State {
		s.Version = version
		return s.Finished(run.Run, disable)
	}
	before := q.state.Enabled
	state, err := db.changeScheduled(ctx, q.ID, finish)
	var gone *qtypes.ResourceNotFoundException
	switch {
	case errors.As(err, &gone) || ctx.Err() != nil:
		return
	case err != nil:
		// Else it would be run again at once, and then again.
		db.log.Warn("a run of a scheduled query is not remembered beyond the end of the process", "query", q.ID, "err", err)
		db.cat.mu.Lock()
		if live := db.cat.scheduled[q.ID]; live != nil {
			state = finish(live.state)
			live.put(state)
		}
		db.cat.mu.Unlock()
	}
	status := run.Status()
	db.metrics.scheduledRuns.WithLabelValues(string(status)).Inc()
	db.notify(&q.Definition, string(status), &run.Run)
	if run.Failure != "" {
		db.log.Warn("a run of a scheduled query failed", "query", q.ID, "invocation", run.Invocation, "reason", run.Failure)
	}
	if disable && before && !state.Enabled {
		db.log.Warn("a scheduled query is disabled, because its run would fail again", "query", q.ID)
		db.notify(&q.Definition, notifyUpdate, nil)
	}
}

// scheduledRun is a run that is being made.
type scheduledRun struct {
	scheduled.Run
	db     *DB
	query  *scheduledQuery
	job    scheduled.Job
	errors scheduled.Report

	plan   *sqlplan.Plan
	mapper *mapping.Mapper
	store  storing.Writer
	batch  []record.Record
	// output is what the rows would be as the service sends them.
	output int64
}

// do runs the statement and writes its rows. A panic is a mistake of ours, which must not end the process.
func (r *scheduledRun) do(ctx context.Context, version int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.db.log.Error("panic in a run of a scheduled query", "query", r.query.ID, "panic", p, "stack", string(debug.Stack()))
			err = queryInternal()
		}
	}()
	if t := r.query.Target; t != nil {
		r.store = storing.Writer{Target: inside{r.db}, Database: *t.DatabaseName, Table: *t.TableName, Version: version,
			Refused: func(rec *record.Record, reason string) { r.errors.Record(reason, rec) }}
	}
	s := &stream{
		q: r.db.queries, row: func(row result.Row) error { return r.row(ctx, row) },
		values: map[string]time.Time{scheduledRuntime: r.Invocation},
		planned: func(p *sqlplan.Plan) (err error) {
			r.plan = p
			r.mapper, err = r.db.fitScheduled(&r.query.Definition, p)
			return err
		},
	}
	err = s.query(ctx, r.query.Statement, nil)
	r.db.metrics.queryTime.Observe(s.took.Seconds())
	if s.charge != nil {
		r.Stats.BytesMetered, r.Stats.Scanned = s.charge.metered, s.charge.scanned
	}
	if err == nil {
		err = r.flush(ctx)
	} else if s.refused == nil {
		r.db.metrics.queryError.Inc()
		if outOfMemory(err) {
			err = &qtypes.InternalServerException{Message: text("The query needs more memory than it may use (" + r.db.cfg.flag("memory-limit") + ").")}
		}
		err = r.db.queryError(err)
	}
	r.Stats.Records, r.Stats.Written = r.store.Records, r.store.Bytes
	if err == nil && r.job.Insights {
		err = r.insights()
	}
	return err
}

// row takes one row of the result.
func (r *scheduledRun) row(ctx context.Context, row result.Row) error {
	r.Stats.Rows++
	r.output += int64(len(`{"Data":[]}`) + len(row) - 1)
	for i := range row {
		if row[i].Null {
			r.output += int64(len(`{"NullValue":true}`))
		} else {
			r.output += int64(len(`{"ScalarValue":""}`) + len(row[i].Text))
		}
	}
	if r.mapper == nil {
		return nil
	}
	var err error
	r.batch, err = r.mapper.Row(r.batch, func(i int) (string, bool) { return string(row[i].Text), row[i].Null })
	if err != nil {
		cells := make([]string, len(row))
		for i := range row {
			cells[i] = string(row[i].Text)
		}
		r.errors.Row(err.Error(), cells)
	}
	if len(r.batch) < timestream.MaxRecordsPerWrite {
		return nil
	}
	return r.flush(ctx)
}

// flush writes the records that have come together.
func (r *scheduledRun) flush(ctx context.Context) error {
	err := r.store.Write(ctx, r.batch)
	clear(r.batch)
	r.batch = r.batch[:0]
	return err
}

func (r *scheduledRun) insights() error {
	i, err := r.db.insights(r.plan, output{rows: r.Stats.Rows, bytes: r.output})
	if err != nil {
		return err
	}
	r.Insights = &qtypes.ScheduledQueryInsightsResponse{
		OutputRows: i.OutputRows, OutputBytes: i.OutputBytes, QueryTableCount: i.QueryTableCount, QuerySpatialCoverage: i.QuerySpatialCoverage, QueryTemporalRange: i.QueryTemporalRange,
	}
	return nil
}

// judge says why a run failed, if so, and tells whether the next would fail, too: then the query is to be disabled (Developer Guide,
// scheduledqueries-errorreport: for any error of the client while the query runs or its result is ingested; that being throttled is none of these is
// our reading). Rows and records that could not be written do not count as such.
func (r *scheduledRun) judge(ctx context.Context, err error) (disable bool) {
	var api smithy.APIError
	switch {
	case err == nil:
		if n := r.errors.Len(); n > 0 {
			r.Failure = fmt.Sprintf("%d of the rows or records could not be written, the first because: %s", n, r.errors.First())
		}
	case errors.Is(context.Cause(ctx), errRunTime):
		r.Failure = fmt.Sprintf("The run took longer than %v (%s).", r.db.cfg.QueryTime, r.db.cfg.flag("query.timeout"))
	case errors.As(err, &api):
		r.Failure = api.ErrorCode() + ": " + api.ErrorMessage()
		return lasting(err)
	default:
		r.Failure = *internalText(err)
	}
	return false
}

// maxFailure bounds a reason that is remembered, in bytes: some texts repeat what they are about.
const maxFailure = 1024

// shortened cuts a text that is too long.
func shortened(s string) string {
	if len(s) <= maxFailure {
		return s
	}
	return strings.ToValidUTF8(s[:maxFailure], "") + "…"
}

// lasting tells whether an error is the client's, which asking again does not mend.
func lasting(err error) bool {
	var (
		qThrottled *qtypes.ThrottlingException
		wThrottled *wtypes.ThrottlingException
		qInternal  *qtypes.InternalServerException
		wInternal  *wtypes.InternalServerException
	)
	return !errors.As(err, &qThrottled) && !errors.As(err, &wThrottled) && !errors.As(err, &qInternal) && !errors.As(err, &wInternal)
}

// report puts the error report where the definition wants it; without a directory in place of S3 there is none.
func (r *scheduledRun) report() {
	if r.errors.Len() == 0 || r.db.cfg.S3Dir == "" {
		return
	}
	key := r.query.ReportKey(&r.Run)
	err := func() error {
		w, err := r.db.buckets.Create(*r.query.Report.BucketName, key, scheduled.MaxReportBytes)
		if err != nil {
			return err
		}
		defer w.Abort()
		if _, err := w.Write(r.errors.JSON()); err != nil {
			return err
		}
		return w.Commit()
	}()
	if err != nil {
		r.db.log.Warn("an error report of a scheduled query was not written", "query", r.query.ID, "err", err)
		return
	}
	r.ReportKey = key
}
