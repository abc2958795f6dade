// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// TestScheduledQueriesSDK goes through the life of a scheduled query with the SDK's client: samples as Prometheus makes them are rolled up into a
// table that keeps them longer, by the schedule and by hand.
func TestScheduledQueriesSDK(t *testing.T) {
	var clock atomic.Int64 // seconds after standstill
	now := func() time.Time { return standstill.Add(time.Duration(clock.Load()) * time.Second) }
	srv := serve(t, func(c *local.Config) { c.Now = now }, wire.Options{})
	cfg := awsConfig(t, srv.URL)
	write, query := timestreamwrite.NewFromConfig(cfg), timestreamquery.NewFromConfig(cfg)
	ctx := t.Context()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := write.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: aws.String("hourly"),
		RetentionProperties: &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: aws.Int64(24), MagneticStoreRetentionPeriodInDays: aws.Int64(3650)}})
	fatal(err)
	samples := func(value float64) {
		t.Helper()
		in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: aws.String(table), CommonAttributes: &wtypes.Record{MeasureName: aws.String("node_load1"),
			Dimensions: []wtypes.Dimension{{Name: aws.String("job"), Value: aws.String("node")}}}}
		for i := range 20 {
			in.Records = append(in.Records, wtypes.Record{Dimensions: []wtypes.Dimension{{Name: aws.String("instance"), Value: aws.String(fmt.Sprint("i", i%2))}},
				MeasureValue: aws.String(strconv.FormatFloat(value+float64(i%2), 'g', -1, 64)), Time: aws.String(strconv.FormatInt(now().Add(-time.Duration(i)*15*time.Second).UnixMilli(), 10))})
		}
		_, err := write.WriteRecords(ctx, in)
		fatal(err)
	}
	clock.Store(-600)
	samples(1)
	attribute := func(column string) qtypes.MultiMeasureAttributeMapping {
		return qtypes.MultiMeasureAttributeMapping{SourceColumn: &column, MeasureValueType: qtypes.ScalarMeasureValueTypeDouble}
	}
	dimension := func(column string) qtypes.DimensionMapping {
		return qtypes.DimensionMapping{Name: &column, DimensionValueType: qtypes.DimensionValueTypeVarchar}
	}
	created, err := query.CreateScheduledQuery(ctx, &timestreamquery.CreateScheduledQueryInput{
		Name: aws.String("hourly-load"),
		QueryString: aws.String(`SELECT measure_name, job, instance, bin(time, 1h) AS hour, avg(measure_value::double) AS mean, min(measure_value::double) AS low, max(measure_value::double) AS high
			FROM "` + database + `"."` + table + `" WHERE time >= bin(@scheduled_runtime, 1h) - 1h AND time < bin(@scheduled_runtime, 1h) GROUP BY measure_name, job, instance, bin(time, 1h)`),
		ScheduleConfiguration:          &qtypes.ScheduleConfiguration{ScheduleExpression: aws.String("cron(5 * * * ? *)")},
		NotificationConfiguration:      &qtypes.NotificationConfiguration{SnsConfiguration: &qtypes.SnsConfiguration{TopicArn: aws.String("arn:aws:sns:us-east-1:000000000000:any")}},
		ErrorReportConfiguration:       &qtypes.ErrorReportConfiguration{S3Configuration: &qtypes.S3Configuration{BucketName: aws.String("reports")}},
		ScheduledQueryExecutionRoleArn: aws.String("arn:aws:iam::000000000000:role/any"),
		TargetConfiguration: &qtypes.TargetConfiguration{TimestreamConfiguration: &qtypes.TimestreamConfiguration{
			DatabaseName: aws.String(database), TableName: aws.String("hourly"), TimeColumn: aws.String("hour"), MeasureNameColumn: aws.String("measure_name"),
			DimensionMappings:    []qtypes.DimensionMapping{dimension("job"), dimension("instance")},
			MultiMeasureMappings: &qtypes.MultiMeasureMappings{MultiMeasureAttributeMappings: []qtypes.MultiMeasureAttributeMapping{attribute("mean"), attribute("low"), attribute("high")}},
		}},
	})
	fatal(err)
	// await waits for the run of an invocation.
	await := func(invocation time.Time) *qtypes.ScheduledQueryDescription {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			out, err := query.DescribeScheduledQuery(ctx, &timestreamquery.DescribeScheduledQueryInput{ScheduledQueryArn: created.Arn})
			fatal(err)
			if r := out.ScheduledQuery.LastRunSummary; r != nil && r.InvocationTime.Equal(invocation) {
				return out.ScheduledQuery
			}
			if time.Now().After(deadline) {
				t.Fatalf("no run for %v: %+v", invocation, out.ScheduledQuery.LastRunSummary)
			}
		}
	}
	rows := func() (got []string) {
		t.Helper()
		out, err := query.Query(ctx, &timestreamquery.QueryInput{QueryString: aws.String("SELECT instance, measure_name, hour(time), mean, high FROM " + database + ".hourly ORDER BY time, instance")})
		fatal(err)
		for _, r := range out.Rows {
			line := ""
			for _, d := range r.Data {
				line += *d.ScalarValue + " "
			}
			got = append(got, line)
		}
		return got
	}

	clock.Store(5*60 + 3)
	samples(7) // of the hour that has begun
	d := await(standstill.Add(5 * time.Minute))
	if r := d.LastRunSummary; r.RunStatus != qtypes.ScheduledQueryRunStatusAutoTriggerSuccess || !r.TriggerTime.Equal(now()) || r.ExecutionStats.RecordsIngested != 2 || r.ExecutionStats.QueryResultRows != 2 ||
		r.ExecutionStats.BytesMetered != 10_000_000 || r.ExecutionStats.DataWrites != 1024 || r.ExecutionStats.CumulativeBytesScanned == 0 {
		t.Errorf("got %+v %+v", r, r.ExecutionStats)
	}
	if !d.NextInvocationTime.Equal(standstill.Add(65 * time.Minute)) {
		t.Errorf("next %v", d.NextInvocationTime)
	}
	want := []string{"i0 node_load1 11 1.0 1.0 ", "i1 node_load1 11 2.0 2.0 "}
	if got := rows(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}

	// By hand, for a time that the schedule does not have, while it is disabled.
	_, err = query.UpdateScheduledQuery(ctx, &timestreamquery.UpdateScheduledQueryInput{ScheduledQueryArn: created.Arn, State: qtypes.ScheduledQueryStateDisabled})
	fatal(err)
	by := standstill.Add(61*time.Minute + 1500*time.Millisecond)
	_, err = query.ExecuteScheduledQuery(ctx, &timestreamquery.ExecuteScheduledQueryInput{ScheduledQueryArn: created.Arn, InvocationTime: &by})
	fatal(err)
	d = await(by)
	if d.LastRunSummary.RunStatus != qtypes.ScheduledQueryRunStatusManualTriggerSuccess || d.State != qtypes.ScheduledQueryStateDisabled || d.NextInvocationTime != nil || !d.PreviousInvocationTime.Equal(by) {
		t.Errorf("got %+v", d)
	}
	want = append(want, "i0 node_load1 12 7.0 7.0 ", "i1 node_load1 12 8.0 8.0 ")
	if got := rows(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}

	// A run that fails.
	_, err = write.DeleteTable(ctx, &timestreamwrite.DeleteTableInput{DatabaseName: aws.String(database), TableName: aws.String("hourly")})
	fatal(err)
	_, err = query.ExecuteScheduledQuery(ctx, &timestreamquery.ExecuteScheduledQueryInput{ScheduledQueryArn: created.Arn, InvocationTime: &standstill})
	fatal(err)
	d = await(standstill)
	if r := d.LastRunSummary; r.RunStatus != qtypes.ScheduledQueryRunStatusManualTriggerFailure || *r.FailureReason != "ValidationException: The target table "+database+".hourly does not exist." ||
		len(d.RecentlyFailedRuns) != 1 || *d.RecentlyFailedRuns[0].FailureReason != *r.FailureReason {
		t.Errorf("got %+v", d)
	}
	pages := timestreamquery.NewListScheduledQueriesPaginator(query, &timestreamquery.ListScheduledQueriesInput{MaxResults: aws.Int32(1)})
	listed := 0
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		fatal(err)
		for _, q := range out.ScheduledQueries {
			if listed++; *q.Arn != *created.Arn || q.LastRunStatus != qtypes.ScheduledQueryRunStatusManualTriggerFailure || *q.TargetDestination.TimestreamDestination.TableName != "hourly" {
				t.Errorf("got %+v", q)
			}
		}
	}
	if listed != 1 {
		t.Errorf("%d are listed", listed)
	}
	_, err = query.DeleteScheduledQuery(ctx, &timestreamquery.DeleteScheduledQueryInput{ScheduledQueryArn: created.Arn})
	fatal(err)
	var gone *qtypes.ResourceNotFoundException
	_, err = query.DescribeScheduledQuery(ctx, &timestreamquery.DescribeScheduledQueryInput{ScheduledQueryArn: created.Arn})
	if !errors.As(err, &gone) || aws.ToString(gone.ScheduledQueryArn) != *created.Arn {
		t.Errorf("got %v", err)
	}
}
