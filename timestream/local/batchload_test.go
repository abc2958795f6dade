// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

const loadRows = 4500

// openLoading opens a database with the bucket "csv", in it two files of loadRows rows each, one of which in each is broken.
func openLoading(t *testing.T, change ...func(*Config)) *DB {
	t.Helper()
	s3 := t.TempDir()
	if err := os.Mkdir(filepath.Join(s3, "csv"), 0o750); err != nil {
		t.Fatal(err)
	}
	start := time.Now().Add(-time.Hour).UnixMilli()
	for f := range 2 {
		var b strings.Builder
		b.WriteString("host,time,v\n")
		for i := range loadRows {
			v := strconv.Itoa(i)
			if i == 2000 {
				v = "broken"
			}
			fmt.Fprintf(&b, "h%d,%d,%s\n", f, start+int64(i), v)
		}
		if err := os.WriteFile(filepath.Join(s3, "csv", fmt.Sprintf("in%d.csv", f)), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return openTwo(t, func(c *Config) {
		c.S3Dir = s3
		for _, f := range change {
			f(c)
		}
	})
}

// saveOften lets the place of a task be written down after each batch of rows, or as seldom as always.
func saveOften(often bool) func(*Config) {
	return func(c *Config) {
		if often {
			c.saveLoadsEvery = 0
		}
	}
}

func loadInput(table string) *timestreamwrite.CreateBatchLoadTaskInput {
	return &timestreamwrite.CreateBatchLoadTaskInput{
		TargetDatabaseName: aws.String("db1"), TargetTableName: &table,
		DataModelConfiguration: &wtypes.DataModelConfiguration{DataModel: &wtypes.DataModel{
			TimeColumn: aws.String("time"), DimensionMappings: []wtypes.DimensionMapping{{SourceColumn: aws.String("host")}},
			MixedMeasureMappings: []wtypes.MixedMeasureMapping{{SourceColumn: aws.String("v"), MeasureValueType: wtypes.MeasureValueTypeBigint}},
		}},
		DataSourceConfiguration: &wtypes.DataSourceConfiguration{DataFormat: "CSV", DataSourceS3Configuration: &wtypes.DataSourceS3Configuration{BucketName: aws.String("csv"), ObjectKeyPrefix: aws.String("in")}},
		ReportConfiguration:     &wtypes.ReportConfiguration{ReportS3Configuration: &wtypes.ReportS3Configuration{BucketName: aws.String("csv"), ObjectKeyPrefix: aws.String("reports")}},
	}
}

func create(t *testing.T, db *DB, in *timestreamwrite.CreateBatchLoadTaskInput) string {
	t.Helper()
	out, err := db.CreateBatchLoadTask(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return *out.TaskId
}

func describe(t *testing.T, db *DB, id string) *wtypes.BatchLoadTaskDescription {
	t.Helper()
	out, err := db.DescribeBatchLoadTask(t.Context(), &timestreamwrite.DescribeBatchLoadTaskInput{TaskId: &id})
	if err != nil {
		t.Fatal(err)
	}
	return out.BatchLoadTaskDescription
}

// awaitLoad waits for a task's status.
func awaitLoad(t *testing.T, db *DB, id string, status wtypes.BatchLoadStatus) *wtypes.BatchLoadTaskDescription {
	t.Helper()
	var task *wtypes.BatchLoadTaskDescription
	waitFor(t, "the task to be "+string(status), func() bool {
		task = describe(t, db, id)
		return task.TaskStatus == status
	})
	return task
}

// wantLoaded checks that all rows of both files were counted once, and are there, and what the report says.
func wantLoaded(t *testing.T, db *DB, id string) {
	t.Helper()
	task := awaitLoad(t, db, id, wtypes.BatchLoadStatusFailed) // for the two broken rows
	got := *task.ProgressReport
	got.BytesMetered = 0
	if want := (wtypes.BatchLoadProgressReport{RecordsProcessed: 2 * loadRows, RecordsIngested: 2*loadRows - 2, ParseFailures: 2}); got != want {
		t.Errorf("got %+v, want %+v (%s)", got, want, aws.ToString(task.ErrorMessage))
	}
	if got, want := count(t, db, "good"), strconv.Itoa(2*loadRows-2); got != want {
		t.Errorf("%s rows, want %s", got, want)
	}
	b, err := db.buckets.Read("csv", "reports/"+id+"/error_report.json", 1<<20)
	if err != nil || strings.Count(string(b), "2002,") != 2 || strings.Count(string(b), "Column 'v': Invalid value broken for bigint measure value type.") != 2 {
		t.Errorf("got the report %s, %v", b, err)
	}
}

// onCommit calls f in the n-th transaction of the writer from now, in place of its commit, and again until it says that this was enough.
func onCommit(t *testing.T, db *DB, n int, f func() error) {
	t.Helper()
	onWriter(t, db, func() {
		commit := db.writer.conn.Commit
		db.writer.commitTx = func() error {
			if n--; n > 0 {
				return commit()
			}
			db.writer.commitTx = commit
			return f()
		}
	})
}

// TestBatchLoadGoesOn: a task that is interrupted, by the end of the process or by its death, goes on at the next start, and every row counts
// once.
func TestBatchLoadGoesOn(t *testing.T) {
	for _, saved := range []bool{false, true} {
		t.Run(fmt.Sprintf("closed,saved=%t", saved), func(t *testing.T) {
			db := openLoading(t, saveOften(saved))
			reached, closing := make(chan struct{}), make(chan struct{})
			onCommit(t, db, 30, func() error {
				close(reached)
				<-closing
				return db.writer.conn.Commit()
			})
			id := create(t, db, loadInput("good"))
			<-reached
			db.stop()
			close(closing)
			again := reopenDir(t, db)
			if task := describe(t, again, id); task.ProgressReport.RecordsProcessed == 0 {
				t.Error("nothing of what was done is known")
			}
			wantLoaded(t, again, id)
		})
		for _, at := range []int{3, 40, 70} {
			t.Run(fmt.Sprintf("killed,saved=%t,at=%d", saved, at), func(t *testing.T) {
				db := openLoading(t, saveOften(saved))
				image := t.TempDir()
				taken := make(chan error, 1)
				onCommit(t, db, at, func() error {
					files, err := filepath.Glob(filepath.Join(db.cfg.Dir, fileName+"*"))
					for _, f := range files {
						b, rerr := os.ReadFile(f)
						err = errors.Join(err, rerr, os.WriteFile(filepath.Join(image, filepath.Base(f)), b, 0o600))
					}
					taken <- err
					return db.writer.conn.Commit()
				})
				id := create(t, db, loadInput("good"))
				if err := <-taken; err != nil {
					t.Fatal(err)
				}
				wantLoaded(t, db, id)
				cfg := db.cfg
				cfg.Dir = image
				dead, err := Open(context.Background(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = dead.Close() }()
				wantLoaded(t, dead, id)
			})
		}
	}
}

// TestBatchLoadStops: a task that cannot go on because of the store stops, tells so, and goes on when it is resumed.
func TestBatchLoadStops(t *testing.T) {
	db := openLoading(t)
	onCommit(t, db, 50, func() error { return &duck.Error{Text: "IO Error: no space"} })
	id := create(t, db, loadInput("good"))
	task := awaitLoad(t, db, id, wtypes.BatchLoadStatusProgressStopped)
	if task.ResumableUntil == nil || !task.ResumableUntil.After(*task.LastUpdatedTime) || task.ErrorMessage == nil || task.ProgressReport.RecordsIngested == 0 {
		t.Errorf("got %+v", task)
	}
	if n, err := strconv.Atoi(count(t, db, "good")); err != nil || n >= 2*loadRows-2 {
		t.Fatalf("%d rows, %v", n, err)
	}
	db = reopenDir(t, db)
	if task := describe(t, db, id); task.TaskStatus != wtypes.BatchLoadStatusProgressStopped {
		t.Errorf("after a restart it is %s", task.TaskStatus)
	}
	if _, err := db.ResumeBatchLoadTask(t.Context(), &timestreamwrite.ResumeBatchLoadTaskInput{TaskId: &id}); err != nil {
		t.Fatal(err)
	}
	wantLoaded(t, db, id)

	// A table that is deleted meanwhile is nothing to resume for.
	reached, gate := make(chan struct{}), make(chan struct{})
	onCommit(t, db, 5, func() error {
		close(reached)
		<-gate
		return db.writer.conn.Commit()
	})
	id = create(t, db, loadInput("bad"))
	<-reached // or the table is deleted before
	deleted := make(chan error, 1)
	go func() {
		_, err := db.DeleteTable(context.Background(), &timestreamwrite.DeleteTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("bad")})
		deleted <- err
	}()
	waitFor(t, "the deletion to wait", func() bool { return len(db.writer.queue) > 0 })
	close(gate)
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	task = awaitLoad(t, db, id, wtypes.BatchLoadStatusFailed)
	if !strings.Contains(aws.ToString(task.ErrorMessage), "The table bad does not exist.") {
		t.Errorf("got %s", aws.ToString(task.ErrorMessage))
	}
}

// TestBatchLoadWithoutBuckets: without a directory the answer names the flag.
func TestBatchLoadWithoutBuckets(t *testing.T) {
	db := openTwo(t, nil)
	_, err := db.CreateBatchLoadTask(t.Context(), loadInput("good"))
	var invalid *wtypes.ValidationException
	if !errors.As(err, &invalid) || !strings.Contains(invalid.ErrorMessage(), "--s3-dir, which is not set") {
		t.Errorf("got %v", err)
	}
}
