// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/timestream/local"
)

// reopen opens dir with the tests' clock.
func reopen(t *testing.T, dir string) *local.DB {
	t.Helper()
	return open(t, func(c *local.Config) { c.Dir = dir })
}

// crashImage copies what is on disk: what a process finds that was killed at this moment. Of an open database it is copied between two
// transactions of the writer: it makes the checkpoints, and one in the middle of copying would be no moment.
func crashImage(t *testing.T, db *local.DB, dir string) string {
	t.Helper()
	image := t.TempDir()
	if db == nil {
		copyFiles(t, dir, image)
	} else {
		db.BetweenTransactions(t, func() { copyFiles(t, dir, image) })
	}
	return image
}

func copyFiles(t *testing.T, dir, image string) {
	files, err := filepath.Glob(filepath.Join(dir, "timestream.duckdb*"))
	if err != nil || len(files) == 0 {
		t.Error(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(image, filepath.Base(f)), b, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// fill writes something of every kind.
func fill(t *testing.T, db *local.DB) {
	t.Helper()
	mustWrite(t, db,
		rec("up", "1", 0, "host", "a", "job", "j"), rec("up", "2", time.Second, "host", "a", "job", "j"), rec("up", "0.1", 0, "host", "b"),
		typed(rec("n", "7", 0, "host", "a"), "BIGINT"), typed(rec("s", "x", 0, "host", "a"), "VARCHAR"), typed(rec("b", "true", 0, "host", "a"), "BOOLEAN"),
		multi("m", 0, "c", "v", "1", "DOUBLE", "s1", "x", "VARCHAR"), versioned(rec("v", "1", 0, "host", "a"), 9))
}

// checkFilled checks that a database holds what fill wrote and goes on to tell duplicates from conflicts.
func checkFilled(t *testing.T, db *local.DB, before [][]string) {
	t.Helper()
	const all = "SELECT * " + from + " ORDER BY measure_name, host, time"
	if got := rows(t, db, all); !reflect.DeepEqual(got, before) {
		t.Errorf("got %v\nwant %v", got, before)
	}
	fill(t, db) // duplicates
	if got := rows(t, db, all); !reflect.DeepEqual(got, before) {
		t.Errorf("after the duplicates: got %v\nwant %v", got, before)
	}
	_, err := write(db, rec("up", "3", time.Second, "job", "j", "host", "a"), rec("up", "3", 0, "host", "a", "job", "j"), typed(rec("n", "8", 0, "host", "a"), "BIGINT"),
		typed(rec("s", "y", 0, "host", "a"), "VARCHAR"), typed(rec("b", "false", 0, "host", "a"), "BOOLEAN"), multi("m", 0, "c", "v", "1", "DOUBLE", "s1", "y", "VARCHAR"),
		typed(rec("up", "1", 2*time.Second, "host", "a"), "BIGINT"), versioned(rec("v", "2", 0, "host", "a"), 8))
	want := ""
	for i := range 6 {
		want += "[" + strconv.Itoa(i) + "] " + conflict
	}
	want += "[6] The measure name 'up' already has the type DOUBLE in the table."
	want += "[7] The record version 8 is lower than the existing version 9. A higher version is required to update the measure value. (existing 9)"
	if got := describe(err); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	mustWrite(t, db, rec("up", "3", 3*time.Second, "host", "a", "job", "j"), rec("up", "3", 3*time.Second, "new", "x"))
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	db := reopen(t, dir)
	fill(t, db)
	ctx := context.Background()
	if _, err := db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: aws.String("other"),
		RetentionProperties: &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: aws.Int64(3), MagneticStoreRetentionPeriodInDays: aws.Int64(4)},
		MagneticStoreWriteProperties: &wtypes.MagneticStoreWriteProperties{EnableMagneticStoreWrites: aws.Bool(true), MagneticStoreRejectedDataLocation: &wtypes.MagneticStoreRejectedDataLocation{
			S3Configuration: &wtypes.S3Configuration{BucketName: aws.String("it's a bucket"), EncryptionOption: "SSE_S3"}}},
		Schema: &wtypes.Schema{CompositePartitionKey: []wtypes.PartitionKey{{Type: "DIMENSION", Name: aws.String("host"), EnforcementInRecord: "REQUIRED"}}},
	}); err != nil {
		t.Fatal(err)
	}
	describeOther := &timestreamwrite.DescribeTableInput{DatabaseName: aws.String(database), TableName: aws.String("other")}
	other, err := db.DescribeTable(ctx, describeOther)
	if err != nil {
		t.Fatal(err)
	}
	before := rows(t, db, "SELECT * "+from+" ORDER BY measure_name, host, time")
	image := crashImage(t, db, dir)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, start := range []struct{ name, dir string }{{"after a crash", image}, {"after a clean end", dir}, {"after a crash after a clean end", ""}} {
		t.Run(start.name, func(t *testing.T) {
			if start.dir == "" {
				start.dir = crashImage(t, nil, dir)
				again := reopen(t, start.dir)
				if got := rows(t, again, "SELECT count(*) "+from); got[0][0] != strconv.Itoa(len(before)+2) {
					t.Errorf("got %v rows", got)
				}
				return
			}
			db := reopen(t, start.dir)
			got, err := db.DescribeTable(ctx, describeOther)
			if err != nil {
				t.Fatal(err)
			}
			for _, out := range []*timestreamwrite.DescribeTableOutput{got, other} { // the monotonic clock does not survive
				created, updated := out.Table.CreationTime.UTC(), out.Table.LastUpdatedTime.UTC()
				out.Table.CreationTime, out.Table.LastUpdatedTime = &created, &updated
			}
			if !reflect.DeepEqual(got, other) {
				t.Errorf("got %+v\nwant %+v", got.Table, other.Table)
			}
			checkFilled(t, db, before)
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOneOpenAtATime(t *testing.T) {
	dir := t.TempDir()
	reopen(t, dir)
	cfg := local.DefaultConfig()
	cfg.Dir = dir
	_, err := local.Open(context.Background(), cfg)
	if err == nil || !strings.Contains(err.Error(), "another process has this directory open (process "+strconv.Itoa(os.Getpid())) || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("got %v", err)
	}
}

func TestClosed(t *testing.T) {
	db := reopen(t, t.TempDir())
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Ready(); err == nil {
		t.Error("a closed database is ready")
	}
	if _, err := write(db, rec("up", "1", 0, "h", "a")); err == nil {
		t.Error("a closed database takes records")
	}
}

func TestRetention(t *testing.T) {
	now := clock
	db := open(t, func(c *local.Config) {
		c.MemoryRetentionHours, c.MagneticRetentionDays = 1, 1
		c.Now = func() time.Time { return now }
	})
	mustWrite(t, db, rec("up", "1", -24*time.Hour, "h", "a"), rec("up", "2", 0, "h", "a"))
	count := func(want string) {
		t.Helper()
		if got := rows(t, db, "SELECT count(*) "+from); got[0][0] != want {
			t.Errorf("got %v rows, want %s", got, want)
		}
	}
	count("2")
	now = now.Add(time.Hour + time.Second)
	count("1") // invisible at once
	if err := db.DeleteExpired(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.UpdateTable(context.Background(), &timestreamwrite.UpdateTableInput{DatabaseName: aws.String(database), TableName: aws.String(table),
		RetentionProperties: &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: aws.Int64(1), MagneticStoreRetentionPeriodInDays: aws.Int64(9)}}); err != nil {
		t.Fatal(err)
	}
	count("1") // and deleted: a longer retention does not bring it back
	mustWrite(t, db, rec("up", "7", -24*time.Hour, "h", "a"))
	count("2")
	now = now.Add(50 * 24 * time.Hour)
	if err := db.DeleteExpired(context.Background()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(-50 * 24 * time.Hour)
	count("0")
	// The newest record's memory must not outlive it.
	mustWrite(t, db, rec("up", "8", 0, "h", "a"))
	count("1")
}

// TestSeriesExpire: a series goes with its last record, from memory and from the file, and may come back. One that has a
// newer record stays whole.
func TestSeriesExpire(t *testing.T) {
	now := clock
	reg := prometheus.NewRegistry()
	dir := t.TempDir()
	change := func(c *local.Config) {
		c.Dir, c.Registerer = dir, reg
		c.MemoryRetentionHours, c.MagneticRetentionDays = 1, 1
		c.Now = func() time.Time { return now }
	}
	db := open(t, change)
	series := func(want float64) {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "timestream_local_series" {
				if got := f.GetMetric()[0].GetGauge().GetValue(); got != want {
					t.Errorf("got %v series, want %v", got, want)
				}
				return
			}
		}
		t.Error("no metric of series")
	}
	series(0)
	const day = -24 * time.Hour
	mustWrite(t, db, rec("up", "1", day, "h", "old"), rec("up", "1", day, "h", "both"), rec("up", "2", 0, "h", "both"), rec("up", "3", 0, "h", "new"),
		multi("m", day, "old", "a", "1", "DOUBLE"))
	series(4)
	now = now.Add(time.Hour + time.Second)
	if err := db.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	series(2)
	// The places in the index have moved: repeats are repeats, of the right series.
	later := time.Minute
	mustWrite(t, db, rec("up", "2", 0, "h", "both"), rec("up", "3", 0, "h", "new"), rec("up", "4", later, "h", "old"), rec("up", "5", later, "h", "both"))
	series(3)
	check := func(db *local.DB) {
		t.Helper()
		got := fmt.Sprint(rows(t, db, "SELECT h, measure_value::double "+from+" WHERE measure_name = 'up' ORDER BY 1, 2"))
		if want := "[[both 2.0] [both 5.0] [new 3.0] [old 4.0]]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	check(db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, change)
	series(3)
	check(db)
	if _, err := write(db, rec("up", "9", later, "h", "old")); err == nil {
		t.Error("a conflict with a stored record was not seen")
	}
}

// TestExpiredSeriesLeaveTheirDimensions: DESCRIBE and SHOW MEASURES tell of what was ever written, also when its records and series have
// expired, and also after a restart.
func TestExpiredSeriesLeaveTheirDimensions(t *testing.T) {
	now, dir := clock, t.TempDir()
	change := func(c *local.Config) {
		c.Dir = dir
		c.MemoryRetentionHours, c.MagneticRetentionDays = 1, 1
		c.Now = func() time.Time { return now }
	}
	db := open(t, change)
	const day = -24 * time.Hour
	mustWrite(t, db, rec("up", "1", day, "first", "a"), rec("up", "1", 0, "second", "a"), rec("gone", "1", day, "third", "a"), multi("m", day, "x", "a", "1", "DOUBLE"))
	many := make([]string, 0, 2*80) // more than one word of bits
	for i := range 80 {
		many = append(many, fmt.Sprintf("d%02d", i), "x")
	}
	mustWrite(t, db, rec("wide", "1", day, many...))
	tell := func(db *local.DB) string {
		return fmt.Sprint(rows(t, db, "DESCRIBE "+database+"."+table), rows(t, db, "SHOW MEASURES FROM "+database+"."+table))
	}
	want := tell(db)
	for _, name := range []string{"first", "second", "third", "host", "d00", "d79"} {
		if strings.Count(want, name) < 2 {
			t.Fatalf("%s is missing: %s", name, want)
		}
	}
	now = now.Add(time.Hour + time.Second)
	for range 2 {
		if err := db.DeleteExpired(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := tell(db); got != want {
			t.Errorf("expired: got %s\nwant %s", got, want)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, change)
		if got := tell(db); got != want {
			t.Errorf("restarted: got %s\nwant %s", got, want)
		}
		now = now.Add(100 * time.Hour) // and then the last series
	}
	// What comes later is added.
	mustWrite(t, db, rec("up", "1", now.Sub(clock), "fifth", "a"))
	want = tell(db)
	if strings.Count(want, "fifth") != 2 {
		t.Errorf("got %s", want)
	}
	now = now.Add(100 * time.Hour)
	if err := db.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := tell(open(t, change)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestModel writes random records, many of them late, repeated or conflicting, in random requests from several clients at
// once, and compares what is stored with a map: the first value of a key wins unless a higher version comes. Each
// client has series of its own, so the order of its requests decides.
func TestModel(t *testing.T) {
	t.Run("one part", func(t *testing.T) { testModel(t, t.TempDir(), func(*local.Config) {}) })
	// Parts are sealed, rewritten and merged all the time.
	t.Run("many parts", func(t *testing.T) { testModel(t, t.TempDir(), func(c *local.Config) { c.SmallParts(30, 20, 3, nil) }) })
}

func testModel(t *testing.T, dir string, change func(*local.Config)) {
	db := open(t, func(c *local.Config) { c.Dir = dir }, change)
	type stored struct {
		value string
		ver   int64
	}
	const clients, requests = 4, 60
	models := make([]map[string]stored, clients)
	done := make(chan error, clients)
	for c := range clients {
		models[c] = map[string]stored{}
		rng := rand.New(rand.NewPCG(uint64(c), 7))
		go func() {
			done <- func() error {
				for range requests {
					var recs []wtypes.Record
					want := ""
					for i := range 1 + rng.IntN(40) {
						series, at := strconv.Itoa(rng.IntN(3)), time.Duration(rng.IntN(30))*time.Second
						value, ver := strconv.Itoa(rng.IntN(3)), int64(1+rng.IntN(8)/6)
						var r wtypes.Record
						if series == "2" {
							r = multi("multi", at, strconv.Itoa(c), "v"+value, value, "DOUBLE")
						} else {
							r = rec("m"+series, value, at, "host", strconv.Itoa(c))
						}
						recs = append(recs, versioned(r, ver))
						key := series + " " + at.String()
						have, ok := models[c][key]
						switch {
						case !ok || ver > have.ver:
							models[c][key] = stored{value, ver}
						case ver < have.ver:
							want += fmt.Sprintf("[%d] The record version %d is lower than the existing version %d. A higher version is required to update the measure value. (existing %d)", i, ver, have.ver, have.ver)
						case value != have.value:
							want += fmt.Sprintf("[%d] %s", i, conflict)
						}
					}
					got := ""
					if _, err := write(db, recs...); err != nil {
						got = describe(err)
					}
					// Late records are decided after the others, so the rejections may come in another order.
					if !sameRejections(got, want) {
						return fmt.Errorf("client %d:\n got %s\nwant %s", c, got, want)
					}
				}
				return nil
			}()
		}()
	}
	for range clients {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	check := func(db *local.DB) {
		t.Helper()
		total := 0
		for c, model := range models {
			total += len(model)
			got := map[string]string{}
			for _, r := range rows(t, db, fmt.Sprintf(`SELECT measure_name, time, coalesce(measure_value::double, v0, v1, v2) %s WHERE host = '%d'`, from, c)) {
				at, err := time.Parse("2006-01-02 15:04:05.000000000", r[1])
				if err != nil {
					t.Fatal(err)
				}
				series := strings.TrimPrefix(r[0], "m")
				if series == "ulti" {
					series = "2"
				}
				got[series+" "+at.Sub(clock).String()] = strings.TrimSuffix(r[2], ".0")
			}
			want := map[string]string{}
			for k, v := range model {
				want[k] = v.value
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("client %d: got %v\nwant %v", c, got, want)
			}
		}
		if got := rows(t, db, "SELECT count(*) "+from); got[0][0] != strconv.Itoa(total) {
			t.Errorf("got %v rows, want %d: a key is stored twice", got, total)
		}
	}
	check(db)
	image := crashImage(t, db, dir)
	check(reopen(t, image))
	db.SealAll(t)
	db.AwaitRewritten(t)
	check(db)
}

func sameRejections(a, b string) bool {
	split := func(s string) map[string]bool {
		m := map[string]bool{}
		for _, part := range strings.Split(s, "[") {
			m[part] = true
		}
		return m
	}
	return len(a) == len(b) && reflect.DeepEqual(split(a), split(b))
}
