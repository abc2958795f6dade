// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// onWriter runs f between two transactions.
func onWriter(t *testing.T, db *DB, f func()) {
	t.Helper()
	if err := db.writer.between(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

// reopenDir opens a directory that openTwo made.
func reopenDir(t *testing.T, db *DB) *DB {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(context.Background(), db.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
	return again
}

func keep(t *testing.T, db *DB, days int64) {
	t.Helper()
	if _, err := db.UpdateTable(t.Context(), &timestreamwrite.UpdateTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("good"),
		RetentionProperties: &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: aws.Int64(1), MagneticStoreRetentionPeriodInDays: &days}}); err != nil {
		t.Fatal(err)
	}
}

// TestExpiredBeforeRewriteBegins: what expires between the choice of what to rewrite and its beginning does not come back.
func TestExpiredBeforeRewriteBegins(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	db := openTwo(t, func(c *Config) {
		c.MemoryRetentionHours, c.MagneticRetentionDays = 1, 1
		c.Now = func() time.Time { return now }
		c.SmallParts(1000, 1000, 100, nil)
	})
	for part := range 2 {
		for i := range 12 {
			if err := put(db, "good", "1", now.Add(-time.Duration(2*i+part)*time.Hour), "host"); err != nil {
				t.Fatal(err)
			}
		}
		db.SealAll(t)
		db.AwaitRewritten(t)
	}
	if got := count(t, db, "good"); got != "24" {
		t.Fatalf("%s records", got)
	}
	if _, err := db.DeleteTable(t.Context(), &timestreamwrite.DeleteTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("bad")}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(8 * time.Hour)
	release := hold(t, db)
	db.cfg.rewrite.fanIn = 2 // the two runs are to be merged
	db.rewriter.wakeUp()
	waitFor(t, "the rewrite in the queue", func() bool { return len(db.writer.queue) == 1 })
	expired := make(chan error, 1)
	go func() { expired <- db.DeleteExpired(context.Background()) }()
	waitFor(t, "the retention in the queue", func() bool { return len(db.writer.queue) == 2 })
	release()
	if err := <-expired; err != nil {
		t.Fatal(err)
	}
	db.AwaitRewritten(t)
	if _, runs, _ := db.Parts(t); runs != 1 {
		t.Fatalf("%d runs", runs)
	}
	keep(t, db, 10)
	if got := count(t, db, "good"); got != "18" {
		t.Errorf("%s records, want 18", got)
	}
}

// TestPartsWithoutNumbers: after a file of the format without parts was opened, what becomes of the part of one kind is not written
// down for the others.
func TestPartsWithoutNumbers(t *testing.T) {
	db := openTwo(t, func(c *Config) { c.SmallParts(1000, 1000, 100, nil) })
	now := time.Now()
	write := func(db *DB, at time.Time) {
		t.Helper()
		_, err := db.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: aws.String("good"), Records: []wtypes.Record{
			{MeasureName: aws.String("d"), MeasureValue: aws.String("1"), Time: millis(at), Dimensions: []wtypes.Dimension{dimension("h", "a")}},
			{MeasureName: aws.String("n"), MeasureValue: aws.String("1"), MeasureValueType: wtypes.MeasureValueTypeBigint, Time: millis(at), Dimensions: []wtypes.Dimension{dimension("h", "a")}},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	write(db, now)
	db.WithoutParts(t)
	db = reopenDir(t, db)
	good, _ := db.cat.table("db1", "good")
	onWriter(t, db, func() {
		if err := db.writer.seal(good, kindDouble); err != nil {
			t.Error(err)
		}
	})
	db = reopenDir(t, db)
	write(db, now)
	write(db, now.Add(time.Second))
	if got := count(t, db, "good"); got != "4" {
		t.Errorf("%s records, want 4", got)
	}
}

// TestGivenUpRunIsDropped: a run that could not even be given up goes with its table, or with the next rewrite.
func TestGivenUpRunIsDropped(t *testing.T) {
	var db *DB
	var given atomic.Int32
	fail := true
	db = openTwo(t, func(c *Config) {
		c.SmallParts(1000, 1000, 100, func() {
			if !fail {
				return
			}
			fail = false
			onWriter(t, db, func() {
				real := db.writer.commitTx
				db.writer.commitTx = func() error {
					if given.Load() == 2 {
						return real()
					}
					given.Add(1)
					return &duck.Error{Text: "IO Error: no space"}
				}
			})
		})
	})
	if err := put(db, "good", "1", time.Now(), "host"); err != nil {
		t.Fatal(err)
	}
	db.SealAll(t)
	parts := func() (building, tables int) {
		change := func(c *duck.Conn) error {
			for sql, n := range map[string]*int{"SELECT count(*) FROM cat_parts WHERE state = 'building'": &building, "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 't1_double%'": &tables} {
				err := db.each(context.Background(), sql, func(cols []duck.Column, i int) error {
					*n = int(cols[0].Int64(i))
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		}
		if err := db.writer.control(context.Background(), change, nil); err != nil {
			t.Fatal(err)
		}
		return building, tables
	}
	waitFor(t, "the failed rewrite", func() bool { return given.Load() == 2 })
	if _, err := db.rewriter.begin(t.Context(), db.nextRewrite); err != nil {
		t.Fatal(err)
	}
	if building, tables := parts(); building != 1 || tables != 4 { // live, sealed, run, its marks
		t.Errorf("%d runs are being built, %d tables", building, tables)
	}
	if _, err := db.DeleteTable(t.Context(), &timestreamwrite.DeleteTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("good")}); err != nil {
		t.Fatal(err)
	}
	if building, tables := parts(); building != 0 || tables != 0 {
		t.Errorf("%d runs are being built, %d tables are left of a dropped table", building, tables)
	}
	reopenDir(t, db)
}

// TestNothingAfterFailedSync: when a commit may not have reached the disk, memory does not follow it, so nothing more is written: it
// would be taken for new, or what the commit has put in the place of other things would be dropped.
func TestNothingAfterFailedSync(t *testing.T) {
	db := openTwo(t, nil)
	now := time.Now()
	var dir string
	onWriter(t, db, func() {
		dir = db.writer.checkpoints.dir
		db.writer.checkpoints.dir, db.writer.checkpoints.newLog = dir+"/none", true
	})
	if err := put(db, "good", "1", now, "host"); err == nil {
		t.Fatal("acknowledged without a sync")
	}
	if db.Ready() == nil {
		t.Error("ready")
	}
	onWriter(t, db, func() { db.writer.checkpoints.dir = dir })
	if err := put(db, "good", "1", now, "host"); err == nil {
		t.Error("written while the database has to be opened anew")
	}
	if err := db.writer.control(t.Context(), func(*duck.Conn) error { return nil }, nil); !errors.Is(err, context.Cause(db.usable)) {
		t.Errorf("got %v", err)
	}
	db = reopenDir(t, db)
	if err := put(db, "good", "1", now, "host"); err != nil {
		t.Fatal(err)
	}
	if got := count(t, db, "good"); got != "1" {
		t.Errorf("%s records, want 1", got)
	}
}

// TestFailedWriteLeavesNoDimension: a dimension that was in the table before, but not with the measure, is not with it after a
// transaction that failed.
func TestFailedWriteLeavesNoDimension(t *testing.T) {
	db := openTwo(t, nil)
	now := time.Now()
	dims := func() int {
		t.Helper()
		good, _ := db.cat.table("db1", "good")
		n := 0
		for _, m := range good.schema.Load().measures {
			for i := range 2 {
				if m.hasDimension(i) {
					n++
				}
			}
		}
		return n
	}
	record := func(measure string, names ...string) error {
		r := wtypes.Record{MeasureName: &measure, MeasureValue: aws.String("1"), Time: millis(now)}
		for _, n := range names {
			r.Dimensions = append(r.Dimensions, dimension(n, "x"))
		}
		_, err := db.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: aws.String("good"), Records: []wtypes.Record{r}})
		return err
	}
	if err := errors.Join(record("a", "d1"), record("b", "d2")); err != nil {
		t.Fatal(err)
	}
	onWriter(t, db, func() {
		real := db.writer.commitTx
		db.writer.commitTx = func() error {
			db.writer.commitTx = real
			return &duck.Error{Text: "IO Error: no space"}
		}
	})
	if err := record("a", "d1", "d2"); err == nil {
		t.Fatal("written")
	}
	if got := dims(); got != 2 {
		t.Errorf("%d dimensions of measures, want 2", got)
	}
}

// TestSeriesNumbersAreNotUsedAgain: a run may still have the marks of a series that has expired; another with its number would
// take them for its own.
func TestSeriesNumbersAreNotUsedAgain(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	db := openTwo(t, func(c *Config) {
		c.MemoryRetentionHours, c.MagneticRetentionDays = 1, 1
		c.Now = func() time.Time { return now }
		c.SmallParts(1000, 1000, 100, nil)
	})
	start := now
	for i := range 5 {
		if err := put(db, "good", strconv.Itoa(i), start.Add(time.Duration(i)*time.Minute), "stays"); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(db, "good", "1", start.Add(time.Minute), "goes"); err != nil {
		t.Fatal(err)
	}
	db.SealAll(t)
	db.AwaitRewritten(t)
	now = now.Add(25*time.Hour + 90*time.Second)
	if err := db.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	db = reopenDir(t, db)
	keep(t, db, 10)
	if err := put(db, "good", "2", start, "comes"); err != nil { // with a longer retention, older than the one that went
		t.Fatal(err)
	}
	db = reopenDir(t, db)
	good, _ := db.cat.table("db1", "good")
	onWriter(t, db, func() {
		for _, m := range good.own.marks {
			if m.sid > 1 && m.time != start.UnixNano() {
				t.Errorf("series %d has its newest record at %v", m.sid, time.Unix(0, m.time).UTC())
			}
		}
	})
}

// TestSignOfZero: 0.0 and -0.0 beside each other stay what they are in the file.
func TestSignOfZero(t *testing.T) {
	db := openTwo(t, func(c *Config) { c.SmallParts(1000, 1000, 100, nil) })
	now := time.Now()
	write := func() {
		t.Helper()
		var recs []wtypes.Record
		for i := range 40 {
			at := millis(now.Add(time.Duration(i) * time.Millisecond))
			value := []string{"0.0", "-0.0"}[i/3%2]
			recs = append(recs, wtypes.Record{MeasureName: aws.String("d"), MeasureValue: &value, Time: at, Dimensions: []wtypes.Dimension{dimension("h", "a")}},
				wtypes.Record{MeasureName: aws.String("m"), MeasureValueType: wtypes.MeasureValueTypeMulti, Time: at, Dimensions: []wtypes.Dimension{dimension("h", "a")},
					MeasureValues: []wtypes.MeasureValue{{Name: aws.String("v"), Value: &value, Type: wtypes.MeasureValueTypeDouble}}})
		}
		if _, err := db.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: aws.String("good"), Records: recs}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		write() // all are repeats
		out, err := db.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String("SELECT coalesce(measure_value::double, v) FROM db1.good ORDER BY measure_name, time")})
		if err != nil || len(out.Rows) != 80 {
			t.Fatalf("%s: %d rows, %v", when, len(out.Rows), err)
		}
		for i, r := range out.Rows {
			if got, want := *r.Data[0].ScalarValue, []string{"0.0", "-0.0"}[i%40/3%2]; got != want {
				t.Fatalf("%s: row %d is %s, want %s", when, i, got, want)
			}
		}
	}
	write()
	check("new")
	db = reopenDir(t, db)
	check("in the file")
	db.SealAll(t)
	db.AwaitRewritten(t)
	check("rewritten")
	db = reopenDir(t, db)
	check("rewritten, in the file")
}

// TestLookUpWhereRecordsAreDense: a part with one record from long ago has nearly all others in one window, which is not read into memory.
func TestLookUpWhereRecordsAreDense(t *testing.T) {
	db := openTwo(t, func(c *Config) {
		c.SmallParts(100_000, 100_000, 100, nil)
		c.rewrite.windowRows = 50
	})
	now := time.Now()
	var recs []wtypes.Record
	for i := range 1000 {
		recs = append(recs, wtypes.Record{MeasureName: aws.String("d"), MeasureValue: aws.String(strconv.Itoa(i)), Time: millis(now.Add(time.Duration(i) * time.Millisecond)), Dimensions: []wtypes.Dimension{dimension("h", strconv.Itoa(i%7))}})
	}
	write := func(recs ...wtypes.Record) error {
		_, err := db.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: aws.String("good"), Records: recs})
		return err
	}
	err := write(wtypes.Record{MeasureName: aws.String("d"), MeasureValue: aws.String("1"), Time: aws.String("1"), Dimensions: []wtypes.Dimension{dimension("h", "1")}})
	for i := 0; i < len(recs); i += 100 {
		err = errors.Join(err, write(recs[i:i+100]...))
	}
	if err != nil {
		t.Fatal(err)
	}
	db.SealAll(t)
	db.AwaitRewritten(t)
	for i := 0; i < len(recs); i += 100 {
		if err := write(recs[i : i+100]...); err != nil {
			t.Error(err)
		}
	}
	recs[500].MeasureValue = aws.String("7")
	var rejected *wtypes.RejectedRecordsException
	if err := write(recs[500], recs[501]); !errors.As(err, &rejected) || len(rejected.RejectedRecords) != 1 {
		t.Errorf("got %v, want one conflict", err)
	}
	if got := count(t, db, "good"); got != "1001" {
		t.Errorf("%s records", got)
	}
	onWriter(t, db, func() {
		n := 0
		for _, w := range db.writer.windows.list {
			n += cap(w.list)
		}
		if n > 2*windowsKept*50 || len(db.writer.windows.list) == 0 {
			t.Errorf("%d windows with room for %d records are remembered", len(db.writer.windows.list), n)
		}
	})
}
