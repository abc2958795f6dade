// SPDX-License-Identifier: Apache-2.0

package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Rows and records that cannot be written cost no others; the report names them, the run failed, and the query stays enabled.
func TestScheduledReport(t *testing.T) {
	buckets := t.TempDir()
	if err := os.Mkdir(filepath.Join(buckets, "reports"), 0o750); err != nil {
		t.Fatal(err)
	}
	s := openScheduling(t, t.TempDir(), meterNoon, func(c *Config) { c.S3Dir = buckets })
	s.createTable("hourly")
	s.write(meterNoon.Add(-time.Hour), meterNoon, one)
	arn := s.create(rollupInput("values", `SELECT host, hour, mean, CAST(1 AS bigint) AS n, @scheduled_runtime AS newest FROM (VALUES
		('good', @scheduled_runtime, 1e0), ('nan', @scheduled_runtime, nan()), ('', @scheduled_runtime, 1e0), (CAST(NULL AS varchar), @scheduled_runtime, 1e0),
		('far', @scheduled_runtime + 1d, 1e0), ('also', @scheduled_runtime, 2e0)) AS t (host, hour, mean)`, "rate(1 hour)"))
	s.due(meterNoon.Add(time.Hour))
	s.wantRows("SELECT host FROM db1.hourly ORDER BY 1", "also", "good")
	d := s.describe(arn)
	r := d.LastRunSummary
	if r.RunStatus != qtypes.ScheduledQueryRunStatusAutoTriggerFailure || d.State != qtypes.ScheduledQueryStateEnabled || r.ExecutionStats.QueryResultRows != 6 || r.ExecutionStats.RecordsIngested != 2 ||
		!strings.HasPrefix(aws.ToString(r.FailureReason), "4 of the rows or records could not be written, the first because: ") || len(d.RecentlyFailedRuns) != 1 || r.ErrorReportLocation == nil {
		t.Fatalf("got %+v %s %+v", r, aws.ToString(r.FailureReason), r.ExecutionStats)
	}
	l := r.ErrorReportLocation.S3ReportLocation
	id := strings.TrimPrefix(arn, "arn:aws:timestream:us-east-1:000000000000:scheduled-query/")
	if want := fmt.Sprintf("errors/%s/%d/Auto/%d", id, s.time().Unix(), s.time().UnixMilli()); *l.BucketName != "reports" || *l.ObjectKey != want {
		t.Errorf("the report is %s/%s", *l.BucketName, *l.ObjectKey)
	}
	b, err := os.ReadFile(filepath.Join(buckets, *l.BucketName, *l.ObjectKey))
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Errors []struct {
			Reason  string
			RawLine string
			Records []struct{ Dimensions []struct{ Value string } }
		}
	}
	if err := json.Unmarshal(b, &report); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range report.Errors {
		about := "row " + e.RawLine
		if len(e.Records) > 0 {
			about = "record " + e.Records[0].Dimensions[0].Value
		}
		reason, _, _ := strings.Cut(e.Reason, " [")
		got[about] = reason
	}
	want := map[string]string{
		"record nan": "Invalid value NaN for double measure value type.",
		"record ":    "The value of dimension 'host' is empty.",
		"record far": "The record timestamp is outside the time range",
		"row ,2026-05-04 13:00:00.000000000,1.0,1,2026-05-04 13:00:00.000000000": "The row has no dimension.",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}

	// Without a bucket the reasons are in the summary alone, and that there is no report is one of them.
	if err := os.RemoveAll(filepath.Join(buckets, "reports")); err != nil {
		t.Fatal(err)
	}
	s.due(meterNoon.Add(2 * time.Hour))
	if r := s.describe(arn).LastRunSummary; r.ErrorReportLocation != nil || !strings.HasPrefix(aws.ToString(r.FailureReason), "4 of the rows or records could not be written, the first because: ") ||
		!strings.HasSuffix(aws.ToString(r.FailureReason), ". The error report could not be written: no such bucket: reports: there is no directory of this name in "+buckets+" (--s3-dir).") {
		t.Errorf("got %+v %s", r, aws.ToString(r.FailureReason))
	}
	_, err = s.CreateScheduledQuery(t.Context(), rollupInput("late", rollup, "rate(1 hour)"))
	var refused *qtypes.ValidationException
	if !errors.As(err, &refused) || refused.ErrorMessage() != "Unable to access S3: no such bucket: reports: there is no directory of this name in "+buckets+" (--s3-dir)" {
		t.Errorf("a query without a bucket for its reports: %v", err)
	}
}

// What asking again does not mend disables a query, what may pass does not.
func TestScheduledFailures(t *testing.T) {
	s := openScheduling(t, t.TempDir(), meterNoon)
	s.createTable("hourly")
	s.createTable("gone")
	s.write(meterNoon.Add(-time.Hour), meterNoon, one)
	fails := rollupInput("fails", "SELECT host, time AS hour, 1 / (length(host) - 1) * 1e0 AS mean, CAST(1 AS bigint) AS n, time AS newest FROM db1.tab", "rate(1 hour)")
	lost := rollupInput("lost", rollup, "rate(1 hour)")
	lost.TargetConfiguration.TimestreamConfiguration.TableName = aws.String("gone")
	arns := []string{s.create(fails), s.create(lost)}
	if _, err := s.DeleteTable(t.Context(), &timestreamwrite.DeleteTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("gone")}); err != nil {
		t.Fatal(err)
	}
	s.due(meterNoon.Add(time.Hour))
	for i, want := range []string{"QueryExecutionException: ", "ValidationException: The target table db1.gone does not exist."} {
		d := s.describe(arns[i])
		if r := d.LastRunSummary; r.RunStatus != qtypes.ScheduledQueryRunStatusAutoTriggerFailure || !strings.HasPrefix(aws.ToString(r.FailureReason), want) || d.State != qtypes.ScheduledQueryStateDisabled || d.NextInvocationTime != nil {
			t.Errorf("%s: got %s %s, want %s", *d.Name, d.State, aws.ToString(r.FailureReason), want)
		}
	}
	for _, kind := range []string{"AUTO_TRIGGER_FAILURE", "SCHEDULED_QUERY_UPDATE"} {
		if got := testutil.ToFloat64(s.scheduled.Metrics.Notifications.WithLabelValues(kind)); got != 2 {
			t.Errorf("%s: %v notifications", kind, got)
		}
	}
	// The same without the right to write.
	arn := s.create(rollupInput("denied", rollup, "rate(1 hour)"))
	s.cfg.AllowActions = []string{"Select", "DescribeScheduledQuery"}
	s.due(meterNoon.Add(2 * time.Hour))
	if d := s.describe(arn); d.State != qtypes.ScheduledQueryStateEnabled || d.LastRunSummary.FailureReason != nil {
		t.Errorf("of an hour without samples: got %s %s", d.State, aws.ToString(d.LastRunSummary.FailureReason))
	}
	s.cfg.AllowActions = nil
	s.set(meterNoon.Add(3 * time.Hour))
	s.write(meterNoon.Add(2*time.Hour), meterNoon.Add(3*time.Hour), one)
	s.cfg.AllowActions = []string{"Select", "DescribeScheduledQuery"}
	s.due(meterNoon.Add(3 * time.Hour))
	if d := s.describe(arn); d.State != qtypes.ScheduledQueryStateDisabled || !strings.HasPrefix(aws.ToString(d.LastRunSummary.FailureReason), "AccessDeniedException: ") {
		t.Errorf("got %s %s", d.State, aws.ToString(d.LastRunSummary.FailureReason))
	}
}

// endless takes longer than any test.
const endless = `SELECT host, @scheduled_runtime AS hour, 1e0 AS mean, CAST(1 AS bigint) AS n, @scheduled_runtime AS newest FROM (SELECT CAST(count(*) AS varchar) AS host
	FROM UNNEST(sequence(1, 10000)) AS a(x) CROSS JOIN UNNEST(sequence(1, 10000)) AS b(y) CROSS JOIN UNNEST(sequence(1, 10000)) AS c(z) WHERE sin(x) * y + z <> 5)`

func (s *scheduling) startEndless(name string) (arn string) {
	s.t.Helper()
	arn = s.create(rollupInput(name, endless, "rate(1 hour)"))
	if _, err := s.ExecuteScheduledQuery(s.t.Context(), &timestreamquery.ExecuteScheduledQueryInput{ScheduledQueryArn: &arn, InvocationTime: aws.Time(meterNoon)}); err != nil {
		s.t.Fatal(err)
	}
	return arn
}

func TestScheduledTimeout(t *testing.T) {
	s := openScheduling(t, t.TempDir(), meterNoon, func(c *Config) { c.QueryTime = 50 * time.Millisecond })
	s.createTable("hourly")
	arn := s.startEndless("endless")
	s.settle()
	d := s.describe(arn)
	if r := d.LastRunSummary; r.RunStatus != qtypes.ScheduledQueryRunStatusManualTriggerFailure || aws.ToString(r.FailureReason) != "The run took longer than 50ms (--query.timeout)." || d.State != qtypes.ScheduledQueryStateEnabled {
		t.Errorf("got %+v %s", r, aws.ToString(r.FailureReason))
	}
}

// A run ends with its query, and with the process; neither is a failure.
func TestScheduledEnd(t *testing.T) {
	log := &logText{}
	s := openScheduling(t, t.TempDir(), meterNoon, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	s.createTable("hourly")
	arn := s.startEndless("first")
	if _, err := s.DeleteScheduledQuery(t.Context(), &timestreamquery.DeleteScheduledQueryInput{ScheduledQueryArn: &arn}); err != nil {
		t.Fatal(err)
	}
	s.settle()
	arn = s.startEndless("second")
	for range 3 {
		if _, err := s.ExecuteScheduledQuery(t.Context(), &timestreamquery.ExecuteScheduledQueryInput{ScheduledQueryArn: &arn, InvocationTime: aws.Time(meterNoon)}); err != nil {
			t.Fatal(err)
		}
	}
	s = s.reopen(meterNoon)
	if d := s.describe(arn); d.LastRunSummary != nil {
		t.Errorf("got %+v", d.LastRunSummary)
	}
	if said := log.String(); !strings.Contains(said, "runs of scheduled queries that wait are not made\" runs=3") || strings.Contains(said, "failed") {
		t.Errorf("the log has %s", said)
	}
}

// A run that cannot be remembered on disk is not made again at once.
func TestScheduledUnsaved(t *testing.T) {
	s := openScheduling(t, t.TempDir(), meterNoon)
	s.createTable("hourly")
	s.write(meterNoon.Add(-time.Hour), meterNoon, one)
	arn := s.create(rollupInput("rollup", rollup, "rate(1 hour)"))
	commit := func(f func() error) {
		if err := s.writer.between(t.Context(), func() { s.writer.commitTx = f }); err != nil {
			t.Fatal(err)
		}
	}
	s.set(meterNoon.Add(time.Hour))
	s.write(meterNoon, s.time(), one)
	works := s.writer.commitTx
	commit(func() error { return errors.New("no space") })
	s.due(meterNoon.Add(time.Hour))
	first := s.describe(arn)
	if r := first.LastRunSummary; r == nil || !strings.HasPrefix(aws.ToString(r.FailureReason), "InternalServerException: ") || first.State != qtypes.ScheduledQueryStateEnabled || !first.NextInvocationTime.Equal(meterNoon.Add(2*time.Hour)) {
		t.Fatalf("got %+v", first)
	}
	s.due(meterNoon.Add(time.Hour + time.Minute))
	if again := s.describe(arn); !sameJSON(t, first, again) {
		t.Errorf("ran again: %+v", again.LastRunSummary)
	}
	commit(works)
	s.due(meterNoon.Add(2 * time.Hour))
	if d := s.describe(arn); d.LastRunSummary.FailureReason != nil || len(d.RecentlyFailedRuns) != 1 {
		t.Errorf("got %+v %s", d.LastRunSummary, aws.ToString(d.LastRunSummary.FailureReason))
	}
}

// logText is a log that is read while it is written.
type logText struct {
	mu   sync.Mutex
	text []byte
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
