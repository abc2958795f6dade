// SPDX-License-Identifier: Apache-2.0

package scheduled

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/bucket"
	"github.com/tributary-project/tributary/timestream/local/internal/listing"
	"github.com/tributary-project/tributary/timestream/local/internal/shape"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
	"github.com/tributary-project/tributary/timestream/local/mapping"
)

const (
	// maxQueries is how many scheduled queries there may be (ts-limits, default quotas). It holds without quotas too, because all of them
	// are in memory.
	maxQueries = 10_000
	// maxBytes bounds what their definitions take together, as JSON, for the same reason. The service has no such bound.
	maxBytes = 64 << 20
	// maxListed is the largest page of ListScheduledQueries, and that of a request which names none; the latter is our guess.
	maxListed = 1000
	// tokenLife is how long a ClientToken makes CreateScheduledQuery idempotent (API reference).
	tokenLife = 8 * time.Hour
	// runtimeParameter is the parameter that has the time of the invocation.
	runtimeParameter = "scheduled_runtime"
	// Path begins the part of an ARN that has the id.
	Path      = "scheduled-query/"
	memberARN = "scheduledQueryArn"
)

// Texts of the service.
const (
	textExists       = "Timestream was unable to process this request because it contains resource that already exists."
	textRateExceeded = "Request rate limit exceeded"
	textInternal     = "Timestream was unable to fully process this request because of an internal server error."
)

func noQuery(arn string) error {
	return &qtypes.ResourceNotFoundException{Message: text("The scheduled query %s does not exist.", arn), ScheduledQueryArn: &arn}
}

func invalid(format string, args ...any) error {
	return &qtypes.ValidationException{Message: text(format, args...)}
}

func internal() error { return &qtypes.InternalServerException{Message: aws.String(textInternal)} }

func text(format string, args ...any) *string {
	s := fmt.Sprintf(format, args...)
	return &s
}

// named returns the id of the scheduled query that an ARN names. One of another account or region is that of none here.
func (s *Queries) named(arn string) (id string, err error) {
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) != 6 || !strings.HasPrefix(arn, shape.ARNPrefix) || !strings.HasPrefix(fields[5], Path) {
		return "", invalid("The ARN '%s' is not that of a scheduled query.", arn)
	}
	id = strings.TrimPrefix(fields[5], Path)
	if arn != s.ARN(id) || s.query(id) == nil {
		return "", noQuery(arn)
	}
	return id, nil
}

// writeTags are tags in the Write API's type.
func writeTags(tags []qtypes.Tag) []wtypes.Tag {
	out := make([]wtypes.Tag, len(tags))
	for i, t := range tags {
		out[i] = wtypes.Tag{Key: t.Key, Value: t.Value}
	}
	return out
}

// Create creates a scheduled query, which is enabled (API reference, CreateScheduledQuery). Its statement is planned with the
// present time for @scheduled_runtime, so the columns that it reads must be there, as must the target table, and the mapping must fit the
// columns of the result. The bucket of error reports must be there where there is a directory in place of S3. Topic, role and key are kept and
// shown, nothing more. The texts but those of the statement are our own.
func (s *Queries) Create(ctx context.Context, in *timestreamquery.CreateScheduledQueryInput) (*timestreamquery.CreateScheduledQueryOutput, error) {
	if err := checkCreate(in); err != nil {
		return nil, err
	}
	q, err := s.newQuery(in)
	if err != nil {
		return nil, err
	}
	if id, err := s.createdBefore(q); id != "" || err != nil {
		return created(s.ARN(id)), err
	}
	if err := s.plan(&q.Definition, q.Created); err != nil {
		return nil, err
	}
	if s.cfg.Buckets != nil {
		if err := s.cfg.Buckets.Exists(*q.Report.BucketName); err != nil {
			return nil, invalid("%s", bucket.Refusal(err))
		}
	}
	if err := s.keep(ctx, q, writeTags(in.Tags)); err != nil {
		// Another request with the same token may have come first.
		if id, _ := s.createdBefore(q); id != "" {
			return created(s.ARN(id)), nil
		}
		return nil, err
	}
	s.notify(&q.Definition, notifyCreating, nil)
	return created(s.ARN(q.ID)), nil
}

// room tells whether there may be one more query.
func (s *Queries) room(q *Query) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	size := q.size
	for _, o := range s.byID {
		if size += o.size; o.Name == q.Name {
			return &qtypes.ConflictException{Message: aws.String(textExists)}
		}
	}
	if len(s.byID) >= maxQueries {
		return &qtypes.ServiceQuotaExceededException{Message: text("The account has the maximum of %d scheduled queries.", maxQueries)}
	}
	if size > maxBytes {
		return &qtypes.ServiceQuotaExceededException{Message: text("The definitions of all scheduled queries would take %d bytes, which exceeds the limit of %d.", size, maxBytes)}
	}
	return nil
}

func created(arn string) *timestreamquery.CreateScheduledQueryOutput {
	return &timestreamquery.CreateScheduledQueryOutput{Arn: &arn}
}

// newQuery makes a scheduled query of a request whose shape is right.
func (s *Queries) newQuery(in *timestreamquery.CreateScheduledQueryInput) (*Query, error) {
	now := s.cfg.Now().Truncate(time.Second).UTC()
	q := &Query{Definition: Definition{
		Name: *in.Name, Statement: *in.QueryString, Expression: *in.ScheduleConfiguration.ScheduleExpression,
		Topic: *in.NotificationConfiguration.SnsConfiguration.TopicArn, Role: *in.ScheduledQueryExecutionRoleArn, Key: aws.ToString(in.KmsKeyId),
		Report: *in.ErrorReportConfiguration.S3Configuration, Created: now, Token: aws.ToString(in.ClientToken),
	}}
	if q.Report.EncryptionOption == "" {
		q.Report.EncryptionOption = qtypes.S3EncryptionOptionSseS3 // the default, by the API reference
	}
	if in.TargetConfiguration != nil {
		q.Target = in.TargetConfiguration.TimestreamConfiguration
	}
	var err error
	if q.schedule, err = Parse(q.Expression); err != nil {
		return nil, invalid("The schedule expression '%s' is invalid: %v.", q.Expression, err)
	}
	if q.put(State{Enabled: true, From: now}); q.Next.IsZero() {
		return nil, invalid("The schedule expression '%s' is invalid: it has no time after the present.", q.Expression)
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
func (s *Queries) createdBefore(q *Query) (id string, err error) {
	if q.Token == "" {
		return "", nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, o := range s.byID {
		switch {
		case o.Token != q.Token || q.Created.Sub(o.Created) >= tokenLife:
		case o.Fingerprint != q.Fingerprint:
			return "", &qtypes.ConflictException{Message: text("The ClientToken was used before with other parameters.")}
		default:
			return o.ID, nil
		}
	}
	return "", nil
}

// plan tells what is wrong with the statement of a query for an invocation, and with its mapping.
func (s *Queries) plan(d *Definition, invocation time.Time) error {
	plan, err := s.cfg.Store.Plan(d.Statement, map[string]time.Time{runtimeParameter: invocation})
	if err != nil {
		return err
	}
	_, err = s.fit(d, plan)
	return err
}

// fit fits the mapping of a query to the columns of its statement; the mapper is nil without a target.
func (s *Queries) fit(d *Definition, plan *sqlplan.Plan) (*mapping.Mapper, error) {
	if plan.Action != sqlplan.ActionSelect && plan.Action != sqlplan.ActionSelectValues {
		return nil, invalid("The query of a scheduled query has to be a SELECT.")
	}
	columns := make([]mapping.Column, len(plan.Columns))
	for i, c := range plan.Columns {
		if c.Type.Scalar == "" {
			return nil, invalid("The column '%s' of the query is of type %s: the columns of a scheduled query have to be scalar.", c.Name, c.Type)
		}
		columns[i] = mapping.Column{Name: c.Name, Type: mapping.Type(c.Type.Scalar)}
	}
	if d.Target == nil {
		return nil, nil
	}
	if s.cfg.Store.Table(*d.Target.DatabaseName, *d.Target.TableName) != nil {
		return nil, invalid("The target table %s.%s does not exist.", *d.Target.DatabaseName, *d.Target.TableName)
	}
	model, err := mapping.FromQuery(d.Target)
	if err != nil {
		return nil, invalid("The TargetConfiguration is invalid: %v.", err)
	}
	m, err := model.Bind(columns)
	if err != nil {
		return nil, invalid("The TargetConfiguration does not fit the query: %v.", err)
	}
	return m, nil
}

// Describe describes a scheduled query (API reference, DescribeScheduledQuery).
func (s *Queries) Describe(in *timestreamquery.DescribeScheduledQueryInput) (*timestreamquery.DescribeScheduledQueryOutput, error) {
	var v shape.Violations
	arn := v.ARN(in.ScheduledQueryArn, memberARN)
	if err := v.AsQuery(); err != nil {
		return nil, err
	}
	id, err := s.named(arn)
	if err != nil {
		return nil, err
	}
	q := s.query(id)
	if q == nil {
		return nil, noQuery(arn)
	}
	report := q.Report
	out := &qtypes.ScheduledQueryDescription{
		Arn: &arn, Name: &q.Name, QueryString: &q.Statement, State: q.stateName(), CreationTime: &q.Created,
		ScheduleConfiguration:     &qtypes.ScheduleConfiguration{ScheduleExpression: &q.Expression},
		NotificationConfiguration: &qtypes.NotificationConfiguration{SnsConfiguration: &qtypes.SnsConfiguration{TopicArn: &q.Topic}},
		ErrorReportConfiguration:  &qtypes.ErrorReportConfiguration{S3Configuration: &report}, ScheduledQueryExecutionRoleArn: &q.Role,
		NextInvocationTime: moment(q.Next), PreviousInvocationTime: moment(q.State.Previous),
	}
	if q.Key != "" {
		out.KmsKeyId = &q.Key
	}
	if q.Target != nil {
		out.TargetConfiguration = &qtypes.TargetConfiguration{TimestreamConfiguration: q.Target}
	}
	if q.State.Last != nil {
		last := q.runSummary(q.State.Last)
		out.LastRunSummary = &last
	}
	for i := range q.State.Failed {
		out.RecentlyFailedRuns = append(out.RecentlyFailedRuns, q.runSummary(&q.State.Failed[i]))
	}
	return &timestreamquery.DescribeScheduledQueryOutput{ScheduledQuery: out}, nil
}

func (q *Query) stateName() qtypes.ScheduledQueryState {
	if q.State.Enabled {
		return qtypes.ScheduledQueryStateEnabled
	}
	return qtypes.ScheduledQueryStateDisabled
}

// runSummary describes a run.
func (q *Query) runSummary(r *Run) qtypes.ScheduledQueryRunSummary {
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

// List lists the scheduled queries by name (API reference, ListScheduledQueries).
func (s *Queries) List(in *timestreamquery.ListScheduledQueriesInput) (*timestreamquery.ListScheduledQueriesOutput, error) {
	var v shape.Violations
	shape.Number(&v, in.MaxResults, 1, maxListed, "maxResults")
	if err := v.AsQuery(); err != nil {
		return nil, err
	}
	n := maxListed
	if in.MaxResults != nil {
		n = int(*in.MaxResults)
	}
	ids, next, err := listing.Page(s.ids(), in.NextToken, n)
	if err != nil {
		return nil, invalid("%v", err)
	}
	out := &timestreamquery.ListScheduledQueriesOutput{NextToken: next, ScheduledQueries: []qtypes.ScheduledQuery{}}
	for _, id := range ids {
		q := s.query(id)
		if q == nil {
			continue // deleted meanwhile
		}
		arn, report := s.ARN(id), q.Report
		s := qtypes.ScheduledQuery{
			Arn: &arn, Name: &q.Name, State: q.stateName(), CreationTime: &q.Created, NextInvocationTime: moment(q.Next), PreviousInvocationTime: moment(q.State.Previous),
			ErrorReportConfiguration: &qtypes.ErrorReportConfiguration{S3Configuration: &report},
		}
		if q.State.Last != nil {
			s.LastRunStatus = q.State.Last.Status()
		}
		if t := q.Target; t != nil {
			s.TargetDestination = &qtypes.TargetDestination{TimestreamDestination: &qtypes.TimestreamDestination{DatabaseName: t.DatabaseName, TableName: t.TableName}}
		}
		out.ScheduledQueries = append(out.ScheduledQueries, s)
	}
	return out, nil
}

// Update enables or disables a scheduled query (API reference, UpdateScheduledQuery). A run that has begun goes on; invocations that
// passed while it was disabled are not made up for.
func (s *Queries) Update(ctx context.Context, in *timestreamquery.UpdateScheduledQueryInput) (*timestreamquery.UpdateScheduledQueryOutput, error) {
	var v shape.Violations
	arn := v.ARN(in.ScheduledQueryArn, memberARN)
	if in.State == "" {
		v.Null("state")
	}
	shape.Enum(&v, in.State, "state", qtypes.ScheduledQueryStateEnabled, qtypes.ScheduledQueryStateDisabled)
	if err := v.AsQuery(); err != nil {
		return nil, err
	}
	id, err := s.named(arn)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	enable := in.State == qtypes.ScheduledQueryStateEnabled
	if _, err := s.change(ctx, id, func(s State) State { return s.Switched(enable, now) }); err != nil {
		return nil, err
	}
	if q := s.query(id); q != nil {
		s.notify(&q.Definition, notifyUpdate, nil)
	}
	return &timestreamquery.UpdateScheduledQueryOutput{}, nil
}

// Delete deletes a scheduled query and ends its run (API reference, DeleteScheduledQuery). What it has written stays.
func (s *Queries) Delete(ctx context.Context, in *timestreamquery.DeleteScheduledQueryInput) (*timestreamquery.DeleteScheduledQueryOutput, error) {
	var v shape.Violations
	arn := v.ARN(in.ScheduledQueryArn, memberARN)
	if err := v.AsQuery(); err != nil {
		return nil, err
	}
	id, err := s.named(arn)
	if err != nil {
		return nil, err
	}
	var q *Query
	err = s.cfg.Store.KeepQuery(ctx, func() (Kept, error) {
		if q = s.query(id); q == nil {
			return Kept{}, noQuery(arn)
		}
		return Kept{ID: id}, nil
	}, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.byID, id)
	})
	if err != nil {
		return nil, err
	}
	s.runs.Forget(id)
	s.notify(&q.Definition, notifyDeleted, nil)
	return &timestreamquery.DeleteScheduledQueryOutput{}, nil
}

// Execute asks for a run of a scheduled query as if it was invoked at some time, which need not be one of its schedule; it may be
// disabled, too (API reference, ExecuteScheduledQuery; Developer Guide, scheduledqueries-patterns-latearrive). The answer does not wait for the
// run. Runs of one query come one after another, in the order of the requests; those that wait are lost when the process ends.
func (s *Queries) Execute(in *timestreamquery.ExecuteScheduledQueryInput) (*timestreamquery.ExecuteScheduledQueryOutput, error) {
	var v shape.Violations
	arn := v.ARN(in.ScheduledQueryArn, memberARN)
	if in.InvocationTime == nil {
		v.Null("invocationTime")
	}
	v.Text(in.ClientToken, false, 32, 128, "clientToken")
	job := Job{Manual: true}
	if i := in.QueryInsights; i != nil {
		if i.Mode == "" {
			v.Null("queryInsights.mode")
		}
		shape.Enum(&v, i.Mode, "queryInsights.mode", qtypes.ScheduledQueryInsightsModeEnabledWithRateControl, qtypes.ScheduledQueryInsightsModeDisabled)
		job.Insights = i.Mode == qtypes.ScheduledQueryInsightsModeEnabledWithRateControl
	}
	err := v.AsQuery()
	if err == nil {
		job.ID, err = s.named(arn)
	}
	if err != nil {
		return nil, err
	}
	if job.Invocation = in.InvocationTime.UTC(); job.Invocation.Before(time.Unix(0, 0)) || job.Invocation.After(time.Unix(0, math.MaxInt64)) {
		return nil, invalid("The InvocationTime is outside of what a timestamp can be.")
	}
	if job.Insights {
		if err := s.cfg.AllowInsights(); err != nil {
			return nil, err
		}
	}
	switch err := s.runs.Submit(job); {
	case errors.Is(err, ErrManyWaiting):
		return nil, &qtypes.ThrottlingException{Message: text("%s: %d runs of scheduled queries wait.", textRateExceeded, MaxWaiting)}
	case err != nil:
		return nil, internal()
	}
	return &timestreamquery.ExecuteScheduledQueryOutput{}, nil
}
