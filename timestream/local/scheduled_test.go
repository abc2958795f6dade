// SPDX-License-Identifier: Apache-2.0

package local

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// scheduling is a database with a clock of its own whose scheduled queries run when the test says so.
type scheduling struct {
	*metered
	t     *testing.T
	clock *atomic.Int64
	// version is that of the last samples that were written.
	version int64
}

func openScheduling(t *testing.T, dir string, now time.Time, change ...func(*Config)) *scheduling {
	t.Helper()
	s := &scheduling{t: t, clock: &atomic.Int64{}}
	s.set(now)
	s.metered = openMetered(t, dir, now, append([]func(*Config){func(c *Config) { c.scheduleEvery, c.Now = time.Hour, s.time }}, change...)...)
	return s
}

// set sets the clock, which the goroutines of the database read.
func (s *scheduling) set(now time.Time) { s.clock.Store(now.UnixNano()) }

func (s *scheduling) time() time.Time { return time.Unix(0, s.clock.Load()).UTC() }

// reopen closes the database and opens it again at another time.
func (s *scheduling) reopen(now time.Time, change ...func(*Config)) *scheduling {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
	return openScheduling(s.t, s.dir, now, change...)
}

// write stores samples of db1.tab, five minutes apart, of two hosts.
func (s *scheduling) write(from, to time.Time, value func(time.Time) float64) {
	s.t.Helper()
	s.version++
	for at := from; at.Before(to); at = at.Add(5 * time.Minute) {
		in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: aws.String("tab"), CommonAttributes: &wtypes.Record{
			MeasureName: aws.String("load"), Time: aws.String(strconv.FormatInt(at.UnixMilli(), 10)), Version: &s.version}}
		for i, host := range []string{"a", "b"} {
			in.Records = append(in.Records, wtypes.Record{Dimensions: []wtypes.Dimension{{Name: aws.String("host"), Value: &host}},
				MeasureValue: aws.String(strconv.FormatFloat(value(at)+float64(i), 'g', -1, 64))})
		}
		if _, err := s.WriteRecords(s.t.Context(), in); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *scheduling) createTable(name string) {
	s.t.Helper()
	_, err := s.CreateTable(s.t.Context(), &timestreamwrite.CreateTableInput{DatabaseName: aws.String("db1"), TableName: &name,
		MagneticStoreWriteProperties: &wtypes.MagneticStoreWriteProperties{EnableMagneticStoreWrites: aws.Bool(true)}})
	if err != nil {
		s.t.Fatal(err)
	}
}

const rollup = `SELECT host, bin(time, 1h) AS hour, avg(measure_value::double) AS mean, count(*) AS n, max(time) AS newest
	FROM db1.tab WHERE measure_name = 'load' AND time >= bin(@scheduled_runtime, 1h) - 1h AND time < bin(@scheduled_runtime, 1h) GROUP BY 1, 2`

func rollupInput(name, statement, schedule string) *timestreamquery.CreateScheduledQueryInput {
	attribute := func(column string, typ qtypes.ScalarMeasureValueType) qtypes.MultiMeasureAttributeMapping {
		return qtypes.MultiMeasureAttributeMapping{SourceColumn: &column, MeasureValueType: typ}
	}
	return &timestreamquery.CreateScheduledQueryInput{
		Name: &name, QueryString: &statement, ScheduleConfiguration: &qtypes.ScheduleConfiguration{ScheduleExpression: &schedule},
		NotificationConfiguration:      &qtypes.NotificationConfiguration{SnsConfiguration: &qtypes.SnsConfiguration{TopicArn: aws.String("topic")}},
		ScheduledQueryExecutionRoleArn: aws.String("role"),
		ErrorReportConfiguration:       &qtypes.ErrorReportConfiguration{S3Configuration: &qtypes.S3Configuration{BucketName: aws.String("reports"), ObjectKeyPrefix: aws.String("errors")}},
		TargetConfiguration: &qtypes.TargetConfiguration{TimestreamConfiguration: &qtypes.TimestreamConfiguration{
			DatabaseName: aws.String("db1"), TableName: aws.String("hourly"), TimeColumn: aws.String("hour"),
			DimensionMappings: []qtypes.DimensionMapping{{Name: aws.String("host"), DimensionValueType: qtypes.DimensionValueTypeVarchar}},
			MultiMeasureMappings: &qtypes.MultiMeasureMappings{TargetMultiMeasureName: aws.String("stats"), MultiMeasureAttributeMappings: []qtypes.MultiMeasureAttributeMapping{
				attribute("mean", qtypes.ScalarMeasureValueTypeDouble), attribute("n", qtypes.ScalarMeasureValueTypeBigint), attribute("newest", qtypes.ScalarMeasureValueTypeTimestamp)}},
		}},
	}
}

func (s *scheduling) create(in *timestreamquery.CreateScheduledQueryInput) (arn string) {
	s.t.Helper()
	out, err := s.CreateScheduledQuery(s.t.Context(), in)
	if err != nil {
		s.t.Fatal(err)
	}
	return *out.Arn
}

// due starts what is due and waits until nothing runs.
func (s *scheduling) due(now time.Time) {
	s.t.Helper()
	s.set(now)
	s.scheduled.StartDue()
	s.settle()
}

func (s *scheduling) settle() {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if running, waiting := s.scheduled.Running(); running+waiting == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("runs of scheduled queries do not end")
		}
	}
}

func (s *scheduling) execute(arn string, invocation time.Time) {
	s.t.Helper()
	_, err := s.ExecuteScheduledQuery(s.t.Context(), &timestreamquery.ExecuteScheduledQueryInput{ScheduledQueryArn: &arn, InvocationTime: &invocation})
	if err != nil {
		s.t.Fatal(err)
	}
	s.settle()
}

func (s *scheduling) describe(arn string) *qtypes.ScheduledQueryDescription {
	s.t.Helper()
	out, err := s.DescribeScheduledQuery(s.t.Context(), &timestreamquery.DescribeScheduledQueryInput{ScheduledQueryArn: &arn})
	if err != nil {
		s.t.Fatal(err)
	}
	return out.ScheduledQuery
}

// rows is a result with its values between commas.
func (s *scheduling) rows(statement string) (rows []string) {
	s.t.Helper()
	out, err := s.Query(s.t.Context(), &timestreamquery.QueryInput{QueryString: &statement})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range out.Rows {
		var cells []string
		for _, d := range r.Data {
			cells = append(cells, aws.ToString(d.ScalarValue))
		}
		rows = append(rows, strings.Join(cells, ","))
	}
	return rows
}

func (s *scheduling) wantRows(statement string, want ...string) {
	s.t.Helper()
	if got := s.rows(statement); !reflect.DeepEqual(got, want) {
		s.t.Errorf("got  %q\nwant %q", got, want)
	}
}

func one(time.Time) float64 { return 1 }

const allHourly = "SELECT host, hour(time), measure_name, mean, n, newest FROM db1.hourly ORDER BY time, host"

// A query runs at its times, its rows become records, and what it took is told and metered.
func TestScheduledRollup(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := openScheduling(t, t.TempDir(), meterNoon, func(c *Config) { c.Registerer = reg })
	s.createTable("hourly")
	s.write(meterNoon.Add(-time.Hour), meterNoon, one)
	arn := s.create(rollupInput("rollup", rollup, "cron(0 * * * ? *)"))
	s.due(meterNoon.Add(59 * time.Minute))
	if d := s.describe(arn); d.LastRunSummary != nil || !d.NextInvocationTime.Equal(meterNoon.Add(time.Hour)) {
		t.Fatalf("ran too early: %+v", d)
	}
	s.write(meterNoon, meterNoon.Add(30*time.Minute), func(time.Time) float64 { return 5 })
	source, target := s.table(t), s.namedTable(t, "hourly")
	before := source.meter.Usage(s.time()).Read
	s.due(meterNoon.Add(time.Hour + 7*time.Second))
	s.wantRows(allHourly,
		"a,12,stats,5.0,6,2026-05-04 12:25:00.000000000",
		"b,12,stats,6.0,6,2026-05-04 12:25:00.000000000")
	d := s.describe(arn)
	r := d.LastRunSummary
	if r == nil || !r.InvocationTime.Equal(meterNoon.Add(time.Hour)) || !r.TriggerTime.Equal(s.time()) || r.RunStatus != qtypes.ScheduledQueryRunStatusAutoTriggerSuccess || r.FailureReason != nil {
		t.Fatalf("got %+v", r)
	}
	if !d.PreviousInvocationTime.Equal(meterNoon.Add(time.Hour)) || !d.NextInvocationTime.Equal(meterNoon.Add(2*time.Hour)) || len(d.RecentlyFailedRuns) != 0 {
		t.Errorf("got %+v", d)
	}
	read, written := source.meter.Usage(s.time()).Read, target.meter.Usage(s.time()).Written
	e := r.ExecutionStats
	if e.QueryResultRows != 2 || e.RecordsIngested != 2 || e.CumulativeBytesScanned != read.Scanned-before.Scanned || e.BytesMetered != read.Metered-before.Metered || e.BytesMetered != 10_000_000 ||
		written.Records != 2 || e.DataWrites != 1024*written.Units[s.cfg.Cost.Rule] || e.DataWrites != 1024 {
		t.Errorf("got %+v; metered %+v and %+v", e, read, written)
	}
	want := `
		# HELP timestream_local_scheduled_queries Scheduled queries, also those that are disabled.
		# TYPE timestream_local_scheduled_queries gauge
		timestream_local_scheduled_queries 1
		# HELP timestream_local_scheduled_query_notifications_total Notifications that the service would have sent by SNS, by type.
		# TYPE timestream_local_scheduled_query_notifications_total counter
		timestream_local_scheduled_query_notifications_total{type="AUTO_TRIGGER_SUCCESS"} 1
		timestream_local_scheduled_query_notifications_total{type="SCHEDULED_QUERY_CREATING"} 1
		# HELP timestream_local_scheduled_query_runs_total Runs of scheduled queries by their status (API reference, ScheduledQueryRunSummary).
		# TYPE timestream_local_scheduled_query_runs_total counter
		timestream_local_scheduled_query_runs_total{status="AUTO_TRIGGER_SUCCESS"} 1
	`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "timestream_local_scheduled_queries", "timestream_local_scheduled_query_runs_total", "timestream_local_scheduled_query_notifications_total"); err != nil {
		t.Error(err)
	}
	status, err := s.Status(t.Context())
	if err != nil || len(status.ScheduledQueries) != 1 {
		t.Fatalf("got %+v, %v", status, err)
	}
	if q := status.ScheduledQueries[0]; q.Name != "rollup" || q.ARN != arn || !q.Enabled || q.Running || q.Schedule != "cron(0 * * * ? *)" || q.Target != "db1.hourly" || !q.Next.Equal(meterNoon.Add(2*time.Hour)) ||
		q.Last == nil || !q.Last.Invocation.Equal(meterNoon.Add(time.Hour)) || q.Last.Status != "AUTO_TRIGGER_SUCCESS" || q.Last.Rows != 2 || q.Last.Records != 2 {
		t.Errorf("got %+v %+v", q, q.Last)
	}
	// Not before its next time.
	s.due(meterNoon.Add(time.Hour + 50*time.Minute))
	if d := s.describe(arn); !d.LastRunSummary.InvocationTime.Equal(meterNoon.Add(time.Hour)) {
		t.Errorf("ran again: %+v", d.LastRunSummary)
	}
}

func (s *scheduling) namedTable(t *testing.T, name string) *table {
	t.Helper()
	got, _ := s.cat.table("db1", name)
	if got == nil {
		t.Fatal("no table " + name)
	}
	return got
}

// A later run replaces what an earlier one wrote, also within a millisecond; a disabled query runs by hand alone.
func TestScheduledAgain(t *testing.T) {
	s := openScheduling(t, t.TempDir(), meterNoon)
	s.createTable("hourly")
	s.write(meterNoon.Add(-time.Hour), meterNoon, one)
	arn := s.create(rollupInput("rollup", rollup, "cron(0 * * * ? *)"))
	if _, err := s.UpdateScheduledQuery(t.Context(), &timestreamquery.UpdateScheduledQueryInput{ScheduledQueryArn: &arn, State: qtypes.ScheduledQueryStateDisabled}); err != nil {
		t.Fatal(err)
	}
	s.due(meterNoon.Add(3 * time.Hour))
	s.set(meterNoon)
	if d := s.describe(arn); d.LastRunSummary != nil || d.NextInvocationTime != nil || d.State != qtypes.ScheduledQueryStateDisabled {
		t.Fatalf("ran: %+v", d)
	}
	for i := range 3 {
		// The clock stands still.
		s.write(meterNoon.Add(-time.Hour), meterNoon, func(time.Time) float64 { return float64(i + 10) })
		s.execute(arn, meterNoon.Add(17*time.Second))
		mean := strconv.Itoa(10 + i)
		d := s.describe(arn)
		if r := d.LastRunSummary; r.RunStatus != qtypes.ScheduledQueryRunStatusManualTriggerSuccess || !r.InvocationTime.Equal(meterNoon.Add(17*time.Second)) || d.State != qtypes.ScheduledQueryStateDisabled {
			t.Errorf("got %+v %s", r, aws.ToString(r.FailureReason))
		}
		s.wantRows("SELECT host, mean FROM db1.hourly WHERE host = 'a'", "a,"+mean+".0")
	}
	// Enabled again, what has passed is not made up for.
	s.set(meterNoon.Add(90 * time.Minute))
	if _, err := s.UpdateScheduledQuery(t.Context(), &timestreamquery.UpdateScheduledQueryInput{ScheduledQueryArn: &arn, State: qtypes.ScheduledQueryStateEnabled}); err != nil {
		t.Fatal(err)
	}
	if d := s.describe(arn); !d.NextInvocationTime.Equal(meterNoon.Add(2 * time.Hour)) {
		t.Errorf("next %v", d.NextInvocationTime)
	}
}

// After a restart everything is as it was. Of the times that passed meanwhile the last is made up for.
func TestScheduledRestart(t *testing.T) {
	s := openScheduling(t, t.TempDir(), meterNoon)
	s.createTable("hourly")
	s.write(meterNoon.Add(-time.Hour), meterNoon, one)
	in := rollupInput("rollup", rollup, "rate(10 minutes)")
	in.Tags = []qtypes.Tag{{Key: aws.String("team"), Value: aws.String("it's a")}}
	in.ClientToken = aws.String(strings.Repeat("t", 32))
	arn := s.create(in)
	s.due(meterNoon.Add(10 * time.Minute))
	before := s.describe(arn)
	if before.LastRunSummary == nil || before.LastRunSummary.RunStatus != qtypes.ScheduledQueryRunStatusAutoTriggerSuccess {
		t.Fatalf("got %+v", before.LastRunSummary)
	}
	s = s.reopen(meterNoon.Add(15 * time.Minute))
	if after := s.describe(arn); !sameJSON(t, before, after) {
		t.Errorf("got  %+v\nwant %+v", after, before)
	}
	tags, err := s.ListTagsForResource(t.Context(), &timestreamwrite.ListTagsForResourceInput{ResourceARN: &arn})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Value != "it's a" {
		t.Errorf("got %+v, %v", tags, err)
	}
	if again := s.create(in); again != arn {
		t.Errorf("the same request made %s", again)
	}
	s.due(meterNoon.Add(15 * time.Minute))
	if d := s.describe(arn); !d.LastRunSummary.InvocationTime.Equal(meterNoon.Add(10 * time.Minute)) {
		t.Errorf("ran for %v", d.LastRunSummary.InvocationTime)
	}
	reg := prometheus.NewRegistry()
	s = s.reopen(meterNoon.Add(45*time.Minute), func(c *Config) { c.Registerer = reg })
	s.due(meterNoon.Add(45 * time.Minute))
	if d := s.describe(arn); !d.LastRunSummary.InvocationTime.Equal(meterNoon.Add(40*time.Minute)) || !d.NextInvocationTime.Equal(meterNoon.Add(50*time.Minute)) {
		t.Errorf("got %+v", d)
	}
	if got := testutil.ToFloat64(s.scheduled.Metrics.Skipped); got != 1 {
		t.Errorf("skipped %v times", got)
	}
	// A token is good for eight hours.
	s.set(meterNoon.Add(8 * time.Hour))
	var conflict *qtypes.ConflictException
	if _, err := s.CreateScheduledQuery(t.Context(), in); err == nil || !errors.As(err, &conflict) {
		t.Errorf("got %v", err)
	}
	if _, err := s.DeleteScheduledQuery(t.Context(), &timestreamquery.DeleteScheduledQueryInput{ScheduledQueryArn: &arn}); err != nil {
		t.Fatal(err)
	}
	s = s.reopen(s.time())
	if out, err := s.ListScheduledQueries(t.Context(), &timestreamquery.ListScheduledQueriesInput{}); err != nil || len(out.ScheduledQueries) != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
}

// A file of a time when there were no scheduled queries gets what they need.
func TestScheduledOldFile(t *testing.T) {
	s := openScheduling(t, t.TempDir(), meterNoon)
	if err := s.writer.control(t.Context(), func(c *duck.Conn) error { return c.Exec("DROP TABLE cat_scheduled") }, nil); err != nil {
		t.Fatal(err)
	}
	s = s.reopen(meterNoon)
	s.createTable("hourly")
	s.write(meterNoon.Add(-time.Hour), meterNoon, one)
	arn := s.create(rollupInput("rollup", rollup, "rate(1 hour)"))
	s = s.reopen(meterNoon)
	if d := s.describe(arn); *d.Name != "rollup" {
		t.Errorf("got %+v", d)
	}
}

func TestScheduledInsights(t *testing.T) {
	s := openScheduling(t, t.TempDir(), meterNoon)
	s.createTable("hourly")
	s.write(meterNoon.Add(-time.Hour), meterNoon, one)
	arn := s.create(rollupInput("rollup", rollup, "rate(1 hour)"))
	in := &timestreamquery.ExecuteScheduledQueryInput{ScheduledQueryArn: &arn, InvocationTime: aws.Time(meterNoon),
		QueryInsights: &qtypes.ScheduledQueryInsights{Mode: qtypes.ScheduledQueryInsightsModeEnabledWithRateControl}}
	if _, err := s.ExecuteScheduledQuery(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	var throttled *qtypes.ThrottlingException
	if _, err := s.ExecuteScheduledQuery(t.Context(), in); err == nil || !errors.As(err, &throttled) {
		t.Errorf("twice a second: %v", err)
	}
	s.settle()
	i := s.describe(arn).LastRunSummary.QueryInsightsResponse
	if i == nil || *i.OutputRows != 2 || *i.QueryTableCount != 1 || i.QuerySpatialCoverage.Max.Value != 1 || i.QueryTemporalRange.Max.Value != time.Hour.Nanoseconds()-1 {
		t.Fatalf("got %+v", i)
	}
	out, err := s.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(strings.ReplaceAll(rollup, "@scheduled_runtime", "TIMESTAMP '2026-05-04 12:00:00'"))})
	if err != nil {
		t.Fatal(err)
	}
	page, err := s.QueryPage(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(strings.ReplaceAll(rollup, "@scheduled_runtime", "TIMESTAMP '2026-05-04 12:00:00'"))})
	if err != nil || len(out.Rows) != 2 || int64(len(page.Rows)) != *i.OutputBytes+1 { // a comma between two rows
		t.Errorf("%d bytes in the page, %d in the insights, %v", len(page.Rows), *i.OutputBytes, err)
	}
}

// The writing of a run goes on beside queries and writes of clients, whatever the number of its rows.
func TestScheduledManyRows(t *testing.T) {
	s := openScheduling(t, t.TempDir(), meterNoon)
	s.createTable("hourly")
	arn := s.create(rollupInput("many", "SELECT CAST(x AS varchar) AS host, @scheduled_runtime AS hour, 1e0 AS mean, x AS n, @scheduled_runtime AS newest FROM UNNEST(sequence(1, 2345)) AS t(x)", "rate(1 hour)"))
	s.due(meterNoon.Add(time.Hour))
	s.wantRows("SELECT count(*), count(DISTINCT host), sum(n) FROM db1.hourly", "2345,2345,2750685")
	if e := s.describe(arn).LastRunSummary.ExecutionStats; e.RecordsIngested != 2345 || e.QueryResultRows != 2345 || e.DataWrites != 1024*s.namedTable(t, "hourly").meter.Usage(s.time()).Written.Units[s.cfg.Cost.Rule] {
		t.Errorf("got %+v", e)
	}
}

// A query without a target runs all the same.
func TestScheduledNoTarget(t *testing.T) {
	s := openScheduling(t, t.TempDir(), meterNoon)
	in := rollupInput("none", "SELECT 1", "rate(1 hour)")
	in.TargetConfiguration = nil
	arn := s.create(in)
	s.due(meterNoon.Add(time.Hour))
	if d := s.describe(arn); d.TargetConfiguration != nil || d.LastRunSummary.ExecutionStats.QueryResultRows != 1 || d.LastRunSummary.ExecutionStats.RecordsIngested != 0 || d.LastRunSummary.FailureReason != nil {
		t.Errorf("got %+v", d)
	}
}

func sameJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}
