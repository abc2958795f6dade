// SPDX-License-Identifier: Apache-2.0

package batchload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/bucket"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// memory is a Store that has all tables, counts records, and keeps tasks in memory.
type memory struct {
	mu      sync.Mutex
	records int
	kept    map[string]string
}

func (m *memory) Table(string, string) error { return nil }

func (m *memory) Write(_ context.Context, r *record.Request) (records, bytes int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records += len(r.Records)
	return int64(len(r.Records)), 1024, nil
}

func (m *memory) KeepTasks(_ context.Context, change func() (map[string]string, error), applied func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept, err := change()
	if err != nil {
		return err
	}
	for id, v := range kept {
		if m.kept[id] = v; v == "" {
			delete(m.kept, id)
		}
	}
	applied()
	return nil
}

// TestLimits: few tasks are active, and not all that ever were are remembered.
func TestLimits(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "csv"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "csv", "in.csv"), []byte("host,time,v\na,1,2\nb,3,4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	buckets, err := bucket.Open(dir, "--s3-dir")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = buckets.Close() }()
	store := &memory{kept: map[string]string{}}
	l, err := New(Config{Store: store, Buckets: buckets, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	defer running.Wait()
	defer stop()

	in := &timestreamwrite.CreateBatchLoadTaskInput{
		TargetDatabaseName: aws.String("db1"), TargetTableName: aws.String("good"),
		DataModelConfiguration: &wtypes.DataModelConfiguration{DataModel: &wtypes.DataModel{
			TimeColumn: aws.String("time"), DimensionMappings: []wtypes.DimensionMapping{{SourceColumn: aws.String("host")}},
			MixedMeasureMappings: []wtypes.MixedMeasureMapping{{SourceColumn: aws.String("v"), MeasureValueType: wtypes.MeasureValueTypeBigint}},
		}},
		DataSourceConfiguration: &wtypes.DataSourceConfiguration{DataFormat: "CSV", DataSourceS3Configuration: &wtypes.DataSourceS3Configuration{BucketName: aws.String("csv"), ObjectKeyPrefix: aws.String("in")}},
		ReportConfiguration:     &wtypes.ReportConfiguration{ReportS3Configuration: &wtypes.ReportS3Configuration{BucketName: aws.String("csv")}},
	}
	now := time.Now()
	have := func(n int, table string, status wtypes.BatchLoadStatus) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for range n {
			id := fmt.Sprintf("%s%d", strings.ToUpper(table), len(l.tasks))
			l.tasks[id] = &task{Spec: spec{ID: id, Database: "db1", Table: table, Created: now}, State: state{Status: status, Updated: now.Add(time.Duration(len(l.tasks)) * time.Second)}, running: true}
		}
	}
	wantThrottled := func(want string) {
		t.Helper()
		_, err := l.Create(t.Context(), in)
		var throttled *wtypes.ThrottlingException
		if !errors.As(err, &throttled) || aws.ToString(throttled.Message) != want {
			t.Errorf("got %v, want %s", err, want)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		clear(l.tasks)
	}
	have(5, "good", wtypes.BatchLoadStatusPendingResume)
	wantThrottled("The table good has the maximum of 5 active batch load tasks.")
	have(4, "good", wtypes.BatchLoadStatusInProgress)
	have(6, "bad", wtypes.BatchLoadStatusCreated)
	wantThrottled("The account has the maximum of 10 active batch load tasks.")
	have(1, "first", wtypes.BatchLoadStatusSucceeded)
	have(maxKept-1, "done", wtypes.BatchLoadStatusFailed)
	out, err := l.Create(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		d, err := l.Describe(&timestreamwrite.DescribeBatchLoadTaskInput{TaskId: out.TaskId})
		if err != nil {
			t.Fatal(err)
		}
		if d.BatchLoadTaskDescription.TaskStatus == wtypes.BatchLoadStatusSucceeded {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the task is %s", d.BatchLoadTaskDescription.TaskStatus)
		}
	}
	store.mu.Lock()
	defer store.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.tasks); n != maxKept || l.tasks["FIRST0"] != nil || l.tasks["DONE1"] == nil {
		t.Errorf("%d tasks are remembered", n)
	}
	if len(store.kept) != 1 || store.kept[*out.TaskId] == "" || store.records != 2 {
		t.Errorf("%d tasks are kept, %d records are stored", len(store.kept), store.records)
	}
}

// TestDefinitionsAreBounded: what tasks were created as does not fill the memory, however large each is.
func TestDefinitionsAreBounded(t *testing.T) {
	l := &Tasks{tasks: map[string]*task{}}
	now := time.Now()
	const each = 1 << 20
	for i := range 70 {
		fresh := &task{Spec: spec{ID: strconv.Itoa(i)}, State: state{Status: wtypes.BatchLoadStatusSucceeded, Updated: now.Add(time.Duration(i))}, size: each}
		forget, err := l.room(fresh)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range forget {
			if want := strconv.Itoa(i - maxKeptBytes/each); id != want {
				t.Errorf("task %s is forgotten before %s", id, want)
			}
			delete(l.tasks, id)
		}
		l.tasks[fresh.Spec.ID] = fresh
	}
	if n := len(l.tasks); n != maxKeptBytes/each {
		t.Errorf("%d tasks of %d bytes are remembered", n, each)
	}
	_, err := l.Create(t.Context(), &timestreamwrite.CreateBatchLoadTaskInput{
		TargetDatabaseName: aws.String("db1"), TargetTableName: aws.String("table"),
		DataModelConfiguration: &wtypes.DataModelConfiguration{DataModel: &wtypes.DataModel{
			TimeColumn: aws.String("time"), DimensionMappings: slices.Repeat([]wtypes.DimensionMapping{{SourceColumn: aws.String(strings.Repeat("x", 200))}}, 6000),
		}},
		DataSourceConfiguration: &wtypes.DataSourceConfiguration{DataFormat: "CSV", DataSourceS3Configuration: &wtypes.DataSourceS3Configuration{BucketName: aws.String("csv")}},
		ReportConfiguration:     &wtypes.ReportConfiguration{ReportS3Configuration: &wtypes.ReportS3Configuration{BucketName: aws.String("csv")}},
	})
	if invalid := (*wtypes.ValidationException)(nil); !errors.As(err, &invalid) || !strings.Contains(*invalid.Message, "A batch load task has at most 1048576.") {
		t.Errorf("got %v", err)
	}
}

// TestReportIsBounded: whatever is wrong, a report has its size, and what has no place in it is counted.
func TestReportIsBounded(t *testing.T) {
	var e failures
	for i := range int64(30_000) {
		e.lines("a.csv", "every other line", 2*i+1, 2*i+1)
		e.lines("a.csv", fmt.Sprintf("%d %s", i, strings.Repeat("ü", 1000)), 2*i+1, 2*i+1)
	}
	b, err := e.report("ID")
	if err != nil || len(b) > 2<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if e.Ranges != maxReportRanges || e.Reasons != maxReportReasons || e.Unlisted != 60_000-maxReportRanges {
		t.Errorf("got %d ranges, %d reasons, %d unlisted", e.Ranges, e.Reasons, e.Unlisted)
	}
	if !strings.Contains(string(b), fmt.Sprintf("%d more errors are not listed", e.Unlisted)) {
		t.Error("the report does not say how many are not listed")
	}
}

// TestReportIsOrdered: the reasons of a file come by their first lines, whenever they were found, and what is about no line comes last.
func TestReportIsOrdered(t *testing.T) {
	var e failures
	e.file("a.csv", errors.New("the disk is broken"))
	for _, line := range []int64{7, 3, 5} {
		e.lines("a.csv", fmt.Sprintf("line %d", line), line, line)
	}
	b, err := e.report("ID")
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ FileErrors []fileFailures }
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, f := range got.FileErrors[0].Errors {
		reasons = append(reasons, f.Reason)
	}
	if want := []string{"Line 3.", "Line 5.", "Line 7.", "The disk is broken."}; !slices.Equal(reasons, want) {
		t.Errorf("got %q, want %q", reasons, want)
	}
}
