// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/listing"
	"github.com/tributary-project/tributary/timestream/local/internal/shape"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
	"github.com/tributary-project/tributary/timestream/local/mapping"
	"github.com/tributary-project/tributary/timestream/local/scheduled"
)

const (
	// maxScheduledQueries is how many scheduled queries there may be (ts-limits, default quotas). It holds without quotas too, because all of them
	// are in memory.
	maxScheduledQueries = 10_000
	// maxScheduledBytes bounds what their definitions take together, as JSON, for the same reason. The service has no such bound.
	maxScheduledBytes = 64 << 20
	// maxScheduledResults is the largest page of ListScheduledQueries, and that of a request which names none; the latter is our guess.
	maxScheduledResults = 1000
	// scheduledTokenLife is how long a ClientToken makes CreateScheduledQuery idempotent (API reference).
	scheduledTokenLife = 8 * time.Hour
	// scheduledRuntime is the parameter that has the time of the invocation.
	scheduledRuntime = "scheduled_runtime"
	scheduledPath    = "scheduled-query/"
	memberQueryARN   = "scheduledQueryArn"
)

func noScheduledQuery(arn string) error {
	return &qtypes.ResourceNotFoundException{Message: text("The scheduled query %s does not exist.", arn), ScheduledQueryArn: &arn}
}

func (db *DB) scheduledARN(id string) string {
	return arnPrefix + db.cfg.Region + ":" + db.cfg.AccountID + ":" + scheduledPath + id
}

// namedScheduled returns the id of the scheduled query that an ARN names. One of another account or region is that of none here.
func (db *DB) namedScheduled(arn string) (id string, err error) {
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) != 6 || !strings.HasPrefix(arn, arnPrefix) || !strings.HasPrefix(fields[5], scheduledPath) {
		return "", queryInvalid("The ARN '%s' is not that of a scheduled query.", arn)
	}
	id = strings.TrimPrefix(fields[5], scheduledPath)
	if arn != db.scheduledARN(id) || db.cat.scheduledQuery(id) == nil {
		return "", noScheduledQuery(arn)
	}
	return id, nil
}

func writeTags(tags []qtypes.Tag) []wtypes.Tag {
	out := make([]wtypes.Tag, len(tags))
	for i, t := range tags {
		out[i] = wtypes.Tag{Key: t.Key, Value: t.Value}
	}
	return out
}

// CreateScheduledQuery creates a scheduled query, which is enabled (API reference, CreateScheduledQuery). Its statement is planned with the
// present time for @scheduled_runtime, so the columns that it reads must be there, as must the target table, and the mapping must fit the
// columns of the result. Topic, role and key are kept and shown, nothing more. The texts but those of the statement are our own.
func (db *DB) CreateScheduledQuery(ctx context.Context, in *timestreamquery.CreateScheduledQueryInput, _ ...QueryOption) (*timestreamquery.CreateScheduledQueryOutput, error) {
	if err := db.allowQuery("CreateScheduledQuery"); err != nil {
		return nil, err
	}
	if err := checkScheduled(in); err != nil {
		return nil, err
	}
	q, err := db.newScheduled(in)
	if err != nil {
		return nil, err
	}
	if id, err := db.createdBefore(q); id != "" || err != nil {
		return createdScheduled(db.scheduledARN(id)), err
	}
	if _, _, err := db.planScheduled(&q.Definition, q.Created); err != nil {
		return nil, db.queryError(err)
	}
	insert, err := insertScheduled(q)
	if err != nil {
		return nil, err
	}
	err = db.change(ctx, func(c *duck.Conn) error {
		size := q.size
		for _, o := range db.cat.scheduled {
			if size += o.size; o.Name == q.Name {
				return &qtypes.ConflictException{Message: text(textExists)}
			}
		}
		if len(db.cat.scheduled) >= maxScheduledQueries {
			return &qtypes.ServiceQuotaExceededException{Message: text("The account has the maximum of %d scheduled queries.", maxScheduledQueries)}
		}
		if size > maxScheduledBytes {
			return &qtypes.ServiceQuotaExceededException{Message: text("The definitions of all scheduled queries would take %d bytes, which exceeds the limit of %d.", size, maxScheduledBytes)}
		}
		return c.Exec(insert)
	}, func() { db.cat.scheduled[q.ID] = q })
	if err != nil {
		// Another request with the same token may have come first.
		if id, _ := db.createdBefore(q); id != "" {
			return createdScheduled(db.scheduledARN(id)), nil
		}
		return nil, err
	}
	db.notify(&q.Definition, notifyCreating, nil)
	return createdScheduled(db.scheduledARN(q.ID)), nil
}

func createdScheduled(arn string) *timestreamquery.CreateScheduledQueryOutput {
	return &timestreamquery.CreateScheduledQueryOutput{Arn: &arn}
}

// newScheduled makes a scheduled query of a request whose shape is right.
func (db *DB) newScheduled(in *timestreamquery.CreateScheduledQueryInput) (*scheduledQuery, error) {
	now := db.now().Truncate(time.Second).UTC()
	q := &scheduledQuery{Definition: scheduled.Definition{
		Name: *in.Name, Statement: *in.QueryString, Expression: *in.ScheduleConfiguration.ScheduleExpression,
		Topic: *in.NotificationConfiguration.SnsConfiguration.TopicArn, Role: *in.ScheduledQueryExecutionRoleArn, Key: str(in.KmsKeyId),
		Report: *in.ErrorReportConfiguration.S3Configuration, Created: now, Token: str(in.ClientToken),
	}, tags: tagMap(writeTags(in.Tags))}
	if q.Report.EncryptionOption == "" {
		q.Report.EncryptionOption = qtypes.S3EncryptionOptionSseS3 // the default, by the API reference
	}
	if in.TargetConfiguration != nil {
		q.Target = in.TargetConfiguration.TimestreamConfiguration
	}
	var err error
	if q.schedule, err = scheduled.Parse(q.Expression); err != nil {
		return nil, queryInvalid("The schedule expression '%s' is invalid: %v.", q.Expression, err)
	}
	if q.put(scheduled.State{Enabled: true, From: now}); q.next.IsZero() {
		return nil, queryInvalid("The schedule expression '%s' is invalid: it has no time after the present.", q.Expression)
	}
	told := *in
	told.ClientToken = nil
	b, err := json.Marshal(&told)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	q.Fingerprint = hex.EncodeToString(sum[:])
	var suffix [6]byte
	rand.Read(suffix[:])
	q.ID = q.Name + "-" + hex.EncodeToString(suffix[:])
	return q, nil
}

// createdBefore returns the id of the scheduled query that the same request has made, by its ClientToken. Another request with the token of one is
// refused, by a class and a text that are our guess.
func (db *DB) createdBefore(q *scheduledQuery) (id string, err error) {
	if q.Token == "" {
		return "", nil
	}
	db.cat.mu.RLock()
	defer db.cat.mu.RUnlock()
	for _, o := range db.cat.scheduled {
		switch {
		case o.Token != q.Token || q.Created.Sub(o.Created) >= scheduledTokenLife:
		case o.Fingerprint != q.Fingerprint:
			return "", &qtypes.ConflictException{Message: text("The ClientToken was used before with other parameters.")}
		default:
			return o.ID, nil
		}
	}
	return "", nil
}

// planScheduled plans the statement of a scheduled query for an invocation, and fits its mapping to the columns; the mapper is nil without a
// target.
func (db *DB) planScheduled(d *scheduled.Definition, invocation time.Time) (*sqlplan.Plan, *mapping.Mapper, error) {
	plan, err := db.queries.compileWith(d.Statement, map[string]time.Time{scheduledRuntime: invocation})
	if err != nil {
		return nil, nil, err
	}
	m, err := db.fitScheduled(d, plan)
	return plan, m, err
}

func (db *DB) fitScheduled(d *scheduled.Definition, plan *sqlplan.Plan) (*mapping.Mapper, error) {
	if plan.Action != sqlplan.ActionSelect && plan.Action != sqlplan.ActionSelectValues {
		return nil, queryInvalid("The query of a scheduled query has to be a SELECT.")
	}
	columns := make([]mapping.Column, len(plan.Columns))
	for i, c := range plan.Columns {
		if c.Type.Scalar == "" {
			return nil, queryInvalid("The column '%s' of the query is of type %s: the columns of a scheduled query have to be scalar.", c.Name, c.Type)
		}
		columns[i] = mapping.Column{Name: c.Name, Type: mapping.Type(c.Type.Scalar)}
	}
	if d.Target == nil {
		return nil, nil
	}
	if t, _ := db.cat.table(*d.Target.DatabaseName, *d.Target.TableName); t == nil {
		return nil, queryInvalid("The target table %s.%s does not exist.", *d.Target.DatabaseName, *d.Target.TableName)
	}
	model, err := mapping.FromQuery(d.Target)
	if err != nil {
		return nil, queryInvalid("The TargetConfiguration is invalid: %v.", err)
	}
	m, err := model.Bind(columns)
	if err != nil {
		return nil, queryInvalid("The TargetConfiguration does not fit the query: %v.", err)
	}
	return m, nil
}

// DescribeScheduledQuery describes a scheduled query (API reference, DescribeScheduledQuery).
func (db *DB) DescribeScheduledQuery(_ context.Context, in *timestreamquery.DescribeScheduledQueryInput, _ ...QueryOption) (*timestreamquery.DescribeScheduledQueryOutput, error) {
	if err := db.allowQuery("DescribeScheduledQuery"); err != nil {
		return nil, err
	}
	var v shape.Violations
	arn := v.ARN(in.ScheduledQueryArn, memberQueryARN)
	if err := v.AsQuery(); err != nil {
		return nil, err
	}
	id, err := db.namedScheduled(arn)
	if err != nil {
		return nil, err
	}
	q := db.cat.scheduledQuery(id)
	if q == nil {
		return nil, noScheduledQuery(arn)
	}
	report := q.Report
	out := &qtypes.ScheduledQueryDescription{
		Arn: &arn, Name: &q.Name, QueryString: &q.Statement, State: q.stateName(), CreationTime: &q.Created,
		ScheduleConfiguration:     &qtypes.ScheduleConfiguration{ScheduleExpression: &q.Expression},
		NotificationConfiguration: &qtypes.NotificationConfiguration{SnsConfiguration: &qtypes.SnsConfiguration{TopicArn: &q.Topic}},
		ErrorReportConfiguration:  &qtypes.ErrorReportConfiguration{S3Configuration: &report}, ScheduledQueryExecutionRoleArn: &q.Role,
		NextInvocationTime: moment(q.next), PreviousInvocationTime: moment(q.state.Previous),
	}
	if q.Key != "" {
		out.KmsKeyId = &q.Key
	}
	if q.Target != nil {
		out.TargetConfiguration = &qtypes.TargetConfiguration{TimestreamConfiguration: q.Target}
	}
	if q.state.Last != nil {
		last := q.runSummary(q.state.Last)
		out.LastRunSummary = &last
	}
	for i := range q.state.Failed {
		out.RecentlyFailedRuns = append(out.RecentlyFailedRuns, q.runSummary(&q.state.Failed[i]))
	}
	return &timestreamquery.DescribeScheduledQueryOutput{ScheduledQuery: out}, nil
}

func (q *scheduledQuery) stateName() qtypes.ScheduledQueryState {
	if q.state.Enabled {
		return qtypes.ScheduledQueryStateEnabled
	}
	return qtypes.ScheduledQueryStateDisabled
}

// runSummary describes a run.
func (q *scheduledQuery) runSummary(r *scheduled.Run) qtypes.ScheduledQueryRunSummary {
	out := qtypes.ScheduledQueryRunSummary{
		InvocationTime: moment(r.Invocation), TriggerTime: moment(r.Trigger), RunStatus: r.Status(), QueryInsightsResponse: r.Insights,
		ExecutionStats: &qtypes.ExecutionStats{
			ExecutionTimeInMillis: r.Stats.Took.Milliseconds(), DataWrites: r.Stats.Written, BytesMetered: r.Stats.BytesMetered,
			CumulativeBytesScanned: r.Stats.Scanned, RecordsIngested: r.Stats.Records, QueryResultRows: r.Stats.Rows,
		},
	}
	if r.Failure != "" {
		out.FailureReason = &r.Failure
	}
	if r.ReportKey != "" {
		out.ErrorReportLocation = &qtypes.ErrorReportLocation{S3ReportLocation: &qtypes.S3ReportLocation{BucketName: q.Report.BucketName, ObjectKey: &r.ReportKey}}
	}
	return out
}

// moment is a time that may be absent.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// ListScheduledQueries lists the scheduled queries by name (API reference, ListScheduledQueries).
func (db *DB) ListScheduledQueries(_ context.Context, in *timestreamquery.ListScheduledQueriesInput, _ ...QueryOption) (*timestreamquery.ListScheduledQueriesOutput, error) {
	if err := db.allowQuery("ListScheduledQueries"); err != nil {
		return nil, err
	}
	var v shape.Violations
	shape.Number(&v, in.MaxResults, 1, maxScheduledResults, "maxResults")
	if err := v.AsQuery(); err != nil {
		return nil, err
	}
	n := maxScheduledResults
	if in.MaxResults != nil {
		n = int(*in.MaxResults)
	}
	ids, next, err := listing.Page(db.cat.scheduledIDs(), in.NextToken, n)
	if err != nil {
		return nil, queryInvalid("%v", err)
	}
	out := &timestreamquery.ListScheduledQueriesOutput{NextToken: next, ScheduledQueries: []qtypes.ScheduledQuery{}}
	for _, id := range ids {
		q := db.cat.scheduledQuery(id)
		if q == nil {
			continue // deleted meanwhile
		}
		arn, report := db.scheduledARN(id), q.Report
		s := qtypes.ScheduledQuery{
			Arn: &arn, Name: &q.Name, State: q.stateName(), CreationTime: &q.Created, NextInvocationTime: moment(q.next), PreviousInvocationTime: moment(q.state.Previous),
			ErrorReportConfiguration: &qtypes.ErrorReportConfiguration{S3Configuration: &report},
		}
		if q.state.Last != nil {
			s.LastRunStatus = q.state.Last.Status()
		}
		if t := q.Target; t != nil {
			s.TargetDestination = &qtypes.TargetDestination{TimestreamDestination: &qtypes.TimestreamDestination{DatabaseName: t.DatabaseName, TableName: t.TableName}}
		}
		out.ScheduledQueries = append(out.ScheduledQueries, s)
	}
	return out, nil
}

// UpdateScheduledQuery enables or disables a scheduled query (API reference, UpdateScheduledQuery). A run that has begun goes on; invocations that
// passed while it was disabled are not made up for.
func (db *DB) UpdateScheduledQuery(ctx context.Context, in *timestreamquery.UpdateScheduledQueryInput, _ ...QueryOption) (*timestreamquery.UpdateScheduledQueryOutput, error) {
	if err := db.allowQuery("UpdateScheduledQuery"); err != nil {
		return nil, err
	}
	var v shape.Violations
	arn := v.ARN(in.ScheduledQueryArn, memberQueryARN)
	if in.State == "" {
		v.Null("state")
	}
	shape.Enum(&v, in.State, "state", qtypes.ScheduledQueryStateEnabled, qtypes.ScheduledQueryStateDisabled)
	if err := v.AsQuery(); err != nil {
		return nil, err
	}
	id, err := db.namedScheduled(arn)
	if err != nil {
		return nil, err
	}
	now := db.now()
	enable := in.State == qtypes.ScheduledQueryStateEnabled
	if _, err := db.changeScheduled(ctx, id, func(s scheduled.State) scheduled.State { return s.Switched(enable, now) }); err != nil {
		return nil, err
	}
	if q := db.cat.scheduledQuery(id); q != nil {
		db.notify(&q.Definition, notifyUpdate, nil)
	}
	return &timestreamquery.UpdateScheduledQueryOutput{}, nil
}

// DeleteScheduledQuery deletes a scheduled query and ends its run (API reference, DeleteScheduledQuery). What it has written stays.
func (db *DB) DeleteScheduledQuery(ctx context.Context, in *timestreamquery.DeleteScheduledQueryInput, _ ...QueryOption) (*timestreamquery.DeleteScheduledQueryOutput, error) {
	if err := db.allowQuery("DeleteScheduledQuery"); err != nil {
		return nil, err
	}
	var v shape.Violations
	arn := v.ARN(in.ScheduledQueryArn, memberQueryARN)
	if err := v.AsQuery(); err != nil {
		return nil, err
	}
	id, err := db.namedScheduled(arn)
	if err != nil {
		return nil, err
	}
	var q *scheduledQuery
	err = db.change(ctx, func(c *duck.Conn) error {
		if q = db.cat.scheduled[id]; q == nil {
			return noScheduledQuery(arn)
		}
		return c.Exec("DELETE FROM cat_scheduled WHERE id = " + literal(id) + ";" + deleteTags("", id))
	}, func() { delete(db.cat.scheduled, id) })
	if err != nil {
		return nil, err
	}
	db.runs.Forget(id)
	db.notify(&q.Definition, notifyDeleted, nil)
	return &timestreamquery.DeleteScheduledQueryOutput{}, nil
}

// ExecuteScheduledQuery asks for a run of a scheduled query as if it was invoked at some time, which need not be one of its schedule; it may be
// disabled, too (API reference, ExecuteScheduledQuery; Developer Guide, scheduledqueries-patterns-latearrive). The answer does not wait for the
// run. Runs of one query come one after another, in the order of the requests; those that wait are lost when the process ends.
func (db *DB) ExecuteScheduledQuery(_ context.Context, in *timestreamquery.ExecuteScheduledQueryInput, _ ...QueryOption) (*timestreamquery.ExecuteScheduledQueryOutput, error) {
	if err := db.allowQuery("ExecuteScheduledQuery"); err != nil {
		return nil, err
	}
	var v shape.Violations
	arn := v.ARN(in.ScheduledQueryArn, memberQueryARN)
	if in.InvocationTime == nil {
		v.Null("invocationTime")
	}
	v.Text(in.ClientToken, false, 32, 128, "clientToken")
	job := scheduled.Job{Manual: true}
	if i := in.QueryInsights; i != nil {
		if i.Mode == "" {
			v.Null("queryInsights.mode")
		}
		shape.Enum(&v, i.Mode, "queryInsights.mode", qtypes.ScheduledQueryInsightsModeEnabledWithRateControl, qtypes.ScheduledQueryInsightsModeDisabled)
		job.Insights = i.Mode == qtypes.ScheduledQueryInsightsModeEnabledWithRateControl
	}
	err := v.AsQuery()
	if err == nil {
		job.ID, err = db.namedScheduled(arn)
	}
	if err != nil {
		return nil, err
	}
	if job.Invocation = in.InvocationTime.UTC(); job.Invocation.Before(time.Unix(0, 0)) || job.Invocation.After(time.Unix(0, math.MaxInt64)) {
		return nil, queryInvalid("The InvocationTime is outside of what a timestamp can be.")
	}
	if job.Insights {
		if err := db.quotas.insights(db.now()); err != nil {
			return nil, err
		}
	}
	switch err := db.runs.Submit(job); {
	case errors.Is(err, scheduled.ErrManyWaiting):
		return nil, &qtypes.ThrottlingException{Message: text("%s: %d runs of scheduled queries wait.", textRateExceeded, scheduled.MaxWaiting)}
	case err != nil:
		return nil, queryInternal()
	}
	return &timestreamquery.ExecuteScheduledQueryOutput{}, nil
}
