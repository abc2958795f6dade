// SPDX-License-Identifier: Apache-2.0

package scheduled

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
	"github.com/tributary-project/tributary/timestream/result"
)

// Types of notifications that are not the status of a run (Developer Guide, scheduledqueries-notification).
const (
	notifyCreating = "SCHEDULED_QUERY_CREATING"
	notifyUpdate   = "SCHEDULED_QUERY_UPDATE"
	notifyDeleted  = "SCHEDULED_QUERY_DELETED"
)

// Every is how often it is looked which scheduled queries are due: their times are whole minutes, or whole seconds for rates.
const Every = time.Second

// Run starts the runs that are due until ctx ends.
func (s *Queries) Run(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.StartDue()
		}
	}
}

// StartDue starts the runs that are due, as Run does at its times. Of the invocations that passed while the process did not run, or while an
// earlier run did, only the last is made up for. What the service does then is not documented; it is not away for hours as a process on somebody's
// machine is.
func (s *Queries) StartDue() {
	now := s.cfg.Now()
	for _, q := range s.due(now) {
		if s.runs.Busy(q.ID) {
			continue
		}
		at, others := q.schedule.Latest(q.Created, q.State.From, now)
		if at.IsZero() {
			continue
		}
		if err := s.runs.Submit(Job{ID: q.ID, Invocation: at}); err != nil {
			s.cfg.Logger.Debug("a scheduled query waits for its turn", "query", q.ID, "err", err)
			return
		}
		if others {
			s.Metrics.Skipped.Inc()
			s.cfg.Logger.Warn("a scheduled query was not run at some of its times, only at the last of them", "query", q.ID, "first", q.Next, "run", at)
		}
	}
}

// due returns the scheduled queries that have a time which has come.
func (s *Queries) due(now time.Time) (due []Query) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, q := range s.byID {
		if !q.Next.IsZero() && !q.Next.After(now) {
			due = append(due, *q)
		}
	}
	return due
}

// notify is what the service does by SNS: here a line in the log, for those who look for it, and a number.
func (s *Queries) notify(d *Definition, kind string, r *Run) {
	s.Metrics.Notifications.WithLabelValues(kind).Inc()
	args := []any{"type", kind, "arn", s.ARN(d.ID), "topic", d.Topic}
	if r != nil {
		args = append(args, "invocation", r.Invocation, "rows", r.Stats.Rows, "records", r.Stats.Records, "bytes_metered", r.Stats.BytesMetered, "data_writes", r.Stats.Written)
	}
	s.cfg.Logger.Debug("notification of a scheduled query", args...)
}

// errRunTime is the cause of the end of a run that took too long.
var errRunTime = errors.New("the run took too long")

// run makes one run and remembers it, unless the query is deleted or the process ends meanwhile: an automatic one is made again then.
func (s *Queries) run(ctx context.Context, j Job) {
	q := s.query(j.ID)
	if q == nil || !j.Manual && !q.State.Enabled {
		return
	}
	run := &making{s: s, query: q, job: j, Run: Run{Invocation: j.Invocation, Trigger: s.cfg.Now(), Manual: j.Manual}}
	version := q.State.Triggered(run.Trigger).Version
	limited, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, errRunTime)
	disable := run.judge(limited, run.do(limited, version))
	cancel()
	if ctx.Err() != nil {
		return
	}
	run.Failure = shortened(run.Failure, maxFailure)
	run.Stats.Took = s.cfg.Now().Sub(run.Trigger)
	run.report()
	finish := func(state State) State {
		state.Version = version
		return state.Finished(run.Run, disable)
	}
	before := q.State.Enabled
	state, err := s.change(ctx, q.ID, finish)
	var gone *qtypes.ResourceNotFoundException
	switch {
	case errors.As(err, &gone) || ctx.Err() != nil:
		return
	case err != nil:
		// Else it would be run again at once, and then again.
		s.cfg.Logger.Warn("a run of a scheduled query is not remembered beyond the end of the process", "query", q.ID, "err", err)
		s.mu.Lock()
		if live := s.byID[q.ID]; live != nil {
			state = finish(live.State)
			live.put(state)
		}
		s.mu.Unlock()
	}
	status := run.Status()
	s.Metrics.Runs.WithLabelValues(string(status)).Inc()
	s.notify(&q.Definition, string(status), &run.Run)
	if run.Failure != "" {
		s.cfg.Logger.Warn("a run of a scheduled query failed", "query", q.ID, "invocation", run.Invocation, "reason", run.Failure)
	}
	if disable && before && !state.Enabled {
		s.cfg.Logger.Warn("a scheduled query is disabled, because its run would fail again", "query", q.ID)
		s.notify(&q.Definition, notifyUpdate, nil)
	}
}

// making is a run that is being made.
type making struct {
	Run
	s      *Queries
	query  *Query
	job    Job
	errors Report

	plan   *sqlplan.Plan
	mapper *mapping.Mapper
	store  storing.Writer
	batch  []record.Record
	// output is what the rows would be as the service sends them.
	output int64
}

// do runs the statement and writes its rows. A panic is a mistake of ours, which must not end the process.
func (r *making) do(ctx context.Context, version int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.s.cfg.Logger.Error("panic in a run of a scheduled query", "query", r.query.ID, "panic", p, "stack", string(debug.Stack()))
			err = internal()
		}
	}()
	if t := r.query.Target; t != nil {
		r.store = storing.Writer{Target: r.s.cfg.Store, Database: *t.DatabaseName, Table: *t.TableName, Version: version,
			Refused: func(rec *record.Record, reason string) { r.errors.Record(reason, rec) }}
	}
	cost, err := r.s.cfg.Store.Rows(ctx, Statement{
		SQL: r.query.Statement, Values: map[string]time.Time{runtimeParameter: r.Invocation},
		Planned: func(p *sqlplan.Plan) (err error) {
			r.plan = p
			r.mapper, err = r.s.fit(&r.query.Definition, p)
			return err
		},
		Row: func(row result.Row) error { return r.row(ctx, row) },
	})
	r.Stats.BytesMetered, r.Stats.Scanned = cost.Metered, cost.Scanned
	if err == nil {
		err = r.flush(ctx)
	}
	r.Stats.Records, r.Stats.Written = r.store.Records, r.store.Bytes
	if err == nil && r.job.Insights {
		err = r.insights()
	}
	return err
}

// row takes one row of the result.
func (r *making) row(ctx context.Context, row result.Row) error {
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
		r.errors.Row(storing.Sentence(err.Error()), cells)
	}
	if len(r.batch) < timestream.MaxRecordsPerWrite {
		return nil
	}
	return r.flush(ctx)
}

// flush writes the records that have come together.
func (r *making) flush(ctx context.Context) error {
	err := r.store.Write(ctx, r.batch)
	clear(r.batch)
	r.batch = r.batch[:0]
	return err
}

func (r *making) insights() error {
	i, err := r.s.cfg.Store.Insights(r.plan, r.Stats.Rows, r.output)
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
func (r *making) judge(ctx context.Context, err error) (disable bool) {
	var api smithy.APIError
	switch {
	case err == nil:
		if n := r.errors.Len(); n > 0 {
			r.Failure = storing.Sentence(fmt.Sprintf("%d of the rows or records could not be written, the first because: %s", n, r.errors.First()))
		}
	case errors.Is(context.Cause(ctx), errRunTime):
		r.Failure = fmt.Sprintf("The run took longer than %v (%s).", r.s.cfg.Timeout, r.s.cfg.TimeoutFlag)
	case errors.As(err, &api):
		r.Failure = api.ErrorCode() + ": " + api.ErrorMessage()
		return lasting(err)
	default:
		r.Failure = textInternal
	}
	return false
}

// maxFailure bounds a reason that is remembered, in bytes: some texts repeat what they are about. maxNoReport bounds why there is no report.
const (
	maxFailure  = 1024
	maxNoReport = 512
)

// shortened cuts a text that is longer than most bytes.
func shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
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

// report puts the error report where the definition wants it, or says with the failure why it could not; without a directory in place of S3 there
// is none.
func (r *making) report() {
	if r.errors.Len() == 0 || r.s.cfg.Buckets == nil {
		return
	}
	key := r.query.ReportKey(&r.Run)
	err := func() error {
		w, err := r.s.cfg.Buckets.Create(*r.query.Report.BucketName, key, MaxReportBytes)
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
		r.s.cfg.Logger.Warn("an error report of a scheduled query was not written", "query", r.query.ID, "err", err)
		r.Failure = storing.Sentence(r.Failure) + " " + storing.Sentence(shortened("The error report could not be written: "+err.Error(), maxNoReport))
		return
	}
	r.ReportKey = key
}
