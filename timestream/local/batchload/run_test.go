// SPDX-License-Identifier: Apache-2.0

package batchload

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/bucket"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// hooked is a Store that calls keep when a task is kept and write in place of writing.
type hooked struct {
	memory
	keep  func()
	write func()
}

func (h *hooked) KeepTasks(ctx context.Context, change func() (map[string]string, error), applied func()) error {
	defer h.keep()
	return h.memory.KeepTasks(ctx, change, applied)
}

func (h *hooked) Write(ctx context.Context, r *record.Request) (records, bytes int64, err error) {
	h.write()
	return h.memory.Write(ctx, r)
}

// one makes tasks with a single one, which loads a file.
func one(t *testing.T, store *hooked, file string) (l *Tasks, id string) {
	t.Helper()
	store.kept = map[string]string{}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "csv"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "csv", "in.csv"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	buckets, err := bucket.Open(dir, "--s3-dir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = buckets.Close() })
	l, err = New(Config{Store: store, Buckets: buckets, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := l.Create(t.Context(), &timestreamwrite.CreateBatchLoadTaskInput{
		TargetDatabaseName: aws.String("db1"), TargetTableName: aws.String("good"),
		DataModelConfiguration: &wtypes.DataModelConfiguration{DataModel: &wtypes.DataModel{
			TimeColumn: aws.String("time"), DimensionMappings: []wtypes.DimensionMapping{{SourceColumn: aws.String("host")}},
			MixedMeasureMappings: []wtypes.MixedMeasureMapping{{SourceColumn: aws.String("v"), MeasureValueType: wtypes.MeasureValueTypeBigint}},
		}},
		DataSourceConfiguration: &wtypes.DataSourceConfiguration{DataFormat: "CSV", DataSourceS3Configuration: &wtypes.DataSourceS3Configuration{BucketName: aws.String("csv"), ObjectKeyPrefix: aws.String("in")}},
		ReportConfiguration:     &wtypes.ReportConfiguration{ReportS3Configuration: &wtypes.ReportS3Configuration{BucketName: aws.String("csv")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l, *out.TaskId
}

func described(t *testing.T, l *Tasks, id string) *wtypes.BatchLoadTaskDescription {
	t.Helper()
	d, err := l.Describe(&timestreamwrite.DescribeBatchLoadTaskInput{TaskId: &id})
	if err != nil {
		t.Fatal(err)
	}
	return d.BatchLoadTaskDescription
}

// TestEndsAmongBadRows: the process can end while a file is read of which no row can be loaded, so that nothing is written, and the task is
// not done with.
func TestEndsAmongBadRows(t *testing.T) {
	for name, row := range map[string]string{"not UTF-8": "\xff,1,1\n", "empty": "\n", "in quotes": `"x"y,1,1` + "\n"} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			store := &hooked{keep: func() {}, write: func() {}}
			l, id := one(t, store, "host,time,v\n"+strings.Repeat(row, 100_000))
			store.keep = stop // when it is known that the task runs
			l.Run(ctx)
			d := described(t, l, id)
			if d.TaskStatus != wtypes.BatchLoadStatusInProgress || d.ProgressReport.RecordsProcessed > 0 || d.ProgressReport.FileFailures > 0 {
				t.Errorf("got %s, %+v", d.TaskStatus, d.ProgressReport)
			}
			var kept task
			for _, o := range l.tasks {
				kept = *o
			}
			if kept.State.Offset > int64(len("host,time,v\n")) || strings.Contains(kept.State.File, "\x00") {
				t.Errorf("read up to %d of %q", kept.State.Offset, kept.State.File)
			}
		})
	}
}

// TestPanic: a mistake of ours stops the task and not the process, which would do the same at its next start.
func TestPanic(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	store := &hooked{keep: func() {}, write: func() { panic(errors.New("a mistake")) }}
	l, id := one(t, store, "host,time,v\na,1,1\n")
	n := 0
	store.keep = func() {
		if n++; n == 2 { // it is over
			stop()
		}
	}
	l.Run(ctx)
	d := described(t, l, id)
	if d.TaskStatus != wtypes.BatchLoadStatusProgressStopped || !strings.Contains(aws.ToString(d.ErrorMessage), "internal error") {
		t.Errorf("got %s, %s", d.TaskStatus, aws.ToString(d.ErrorMessage))
	}
}

// TestManyColumns: a file of too many columns is refused as a whole.
func TestManyColumns(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	store := &hooked{keep: func() {}, write: func() {}}
	l, id := one(t, store, "host,time,v"+strings.Repeat(",", maxColumns)+"\n")
	n := 0
	store.keep = func() {
		if n++; n == 2 {
			stop()
		}
	}
	l.Run(ctx)
	if d := described(t, l, id); d.TaskStatus != wtypes.BatchLoadStatusFailed || d.ProgressReport.FileFailures != 1 {
		t.Errorf("got %s, %+v", d.TaskStatus, d.ProgressReport)
	}
}
