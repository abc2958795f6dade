// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// copySnapshot writes a snapshot into an empty directory.
func copySnapshot(t *testing.T, s *Snapshot) string {
	t.Helper()
	dir := t.TempDir()
	for i := range s.Files {
		b, err := io.ReadAll(s.Files[i].Reader())
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(b)) != s.Files[i].Size {
			t.Fatalf("%s: got %d bytes, want %d", s.Files[i].Name, len(b), s.Files[i].Size)
		}
		if err := os.WriteFile(filepath.Join(dir, s.Files[i].Name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A snapshot that is copied while the log passes its limit again and again is the database as it was when it began; and
// once it is closed checkpoints run again.
func TestSnapshotHoldsCheckpoints(t *testing.T) {
	db := openTwo(t, func(c *Config) { c.CheckpointLogSize = 64 << 10 })
	start := time.Now()
	n := 0
	write := func() {
		t.Helper()
		putMany(t, db, start.Add(time.Duration(n)*time.Millisecond), 100)
		n += 100
	}
	log := db.writer.checkpoints.file + logSuffix
	size := func() int64 {
		info, err := os.Stat(log)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	write()
	waitFor(t, "a checkpoint", func() bool {
		before := size()
		write()
		return size() < before
	})
	before := n
	s, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for size() < 200<<10 {
		write()
	}
	dir := copySnapshot(t, s)
	s.Close()
	s.Close()
	waitFor(t, "the checkpoint that was due", func() bool { return size() == 0 })
	if _, err := io.ReadAll(s.Files[0].Reader()); !errors.Is(err, errSnapshotClosed) {
		t.Errorf("read after Close: %v", err)
	}
	again := openTwoAt(t, dir)
	if got := count(t, again, "good"); got != strconv.Itoa(before) {
		t.Errorf("the snapshot has %s records, want %d", got, before)
	}
}

// putMany writes records one millisecond apart to db1.good.
func putMany(t *testing.T, db *DB, at time.Time, n int) {
	t.Helper()
	in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: aws.String("good"), CommonAttributes: &wtypes.Record{
		MeasureName: aws.String("up"), MeasureValue: aws.String("1"), Dimensions: []wtypes.Dimension{{Name: aws.String("host"), Value: aws.String("x")}}}}
	for i := range n {
		in.Records = append(in.Records, wtypes.Record{Time: aws.String(strconv.FormatInt(at.UnixMilli()+int64(i), 10))})
	}
	if _, err := db.WriteRecords(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

// openTwoAt opens a directory that openTwo once made.
func openTwoAt(t *testing.T, dir string) *DB {
	t.Helper()
	db, err := Open(context.Background(), config2(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// A snapshot that nobody reads does not let the log grow without a bound.
func TestSnapshotLogLimit(t *testing.T) {
	db := openTwo(t, func(c *Config) { c.CheckpointLogSize, c.SnapshotMaxLog = 64<<10, 1<<20 })
	s, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	start := time.Now()
	for i := 0; s.broken() == nil; i++ {
		putMany(t, db, start.Add(time.Duration(i)*100*time.Millisecond), 100)
		if i == 10_000 {
			t.Fatal("the log grows for ever")
		}
	}
	if _, err := io.ReadAll(s.Files[0].Reader()); err == nil || !strings.Contains(err.Error(), "--snapshot.max-log") {
		t.Errorf("got %v", err)
	}
	waitFor(t, "the checkpoint that was due", func() bool { return db.writer.checkpoints.logSize() < 64<<10 })
}

// Snapshots under load hold what was acknowledged before they began; closing the database ends one.
func TestSnapshotUnderLoad(t *testing.T) {
	db := openTwo(t, func(c *Config) { c.CheckpointLogSize = 64 << 10 })
	start := time.Now()
	var acked [4]atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range acked {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := 0; ctx.Err() == nil; n++ {
				if err := put(db, "good", strconv.Itoa(n), start.Add(time.Duration(n)*time.Millisecond), "host"+strconv.Itoa(i)); err != nil {
					t.Error(err)
					return
				}
				acked[i].Add(1)
			}
		}()
	}
	for range 5 {
		var before int64
		for i := range acked {
			before += acked[i].Load()
		}
		waitFor(t, "more records", func() bool { return acked[0].Load() > before/4 })
		before = 0
		for i := range acked {
			before += acked[i].Load()
		}
		s, err := db.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dir := copySnapshot(t, s)
		s.Close()
		copied := openTwoAt(t, dir)
		if got, err := strconv.ParseInt(count(t, copied, "good"), 10, 64); err != nil || got < before {
			t.Errorf("the snapshot has %d records (%v), acknowledged were %d", got, err, before)
		}
	}
	stop()
	wg.Wait()
	s, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(s.Files[0].Reader()); !errors.Is(err, errClosed) {
		t.Errorf("read after the database was closed: %v", err)
	}
	s.Close()
	if _, err := db.Snapshot(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
}
