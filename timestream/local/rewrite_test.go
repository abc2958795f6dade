// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
)

// smallParts makes a configuration whose parts hold few records.
func smallParts(dir string, between func()) func(*local.Config) {
	return func(c *local.Config) {
		c.Dir = dir
		c.SmallParts(40, 25, 3, between)
	}
}

// awkward are doubles that an encoding as scaled integers could lose.
var awkward = []string{"0.0", "-0.0", "1", "-1", "0.1", "0.3", "2.675", "1.005", "123456.789", "-0.000001", "1e-7", "4.9e-324", "1.7976931348623157e308", "-1.7976931348623157e308",
	"9007199254740993", "9007199254740992", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1e19", "0.1234567", "0.333333", "3.3333333333333335", "1e15", "1000000000000000.5", "4503599627370497.5"}

// fillAwkward writes records of every kind, with values and times that are hard to keep.
func fillAwkward(t *testing.T, db *local.DB) {
	t.Helper()
	for i, v := range awkward {
		mustWrite(t, db, rec("d", v, time.Duration(i)*time.Second, "host", "a"), rec("d", v, time.Duration(i)*time.Millisecond, "host", "b"))
		at := strconv.FormatInt(clock.UnixNano()+int64(i)*1_000_000_007, 10)
		nanos := rec("fine", v, 0, "host", "a")
		nanos.Time, nanos.TimeUnit = &at, wtypes.TimeUnitNanoseconds
		micros := rec("medium", v, 0, "host", "a")
		microseconds := strconv.FormatInt(clock.UnixMicro()+int64(i), 10)
		micros.Time, micros.TimeUnit = &microseconds, wtypes.TimeUnitMicroseconds
		mustWrite(t, db, nanos, micros)
	}
	for i := range 60 {
		at := time.Duration(i) * time.Second
		n := strconv.Itoa(i)
		mustWrite(t, db, typed(rec("n", n+"000000000000", at, "host", "a"), "BIGINT"), typed(rec("s", "it's "+n, at, "host", "a"), "VARCHAR"),
			typed(rec("b", strconv.FormatBool(i%3 == 0), at, "host", "a"), "BOOLEAN"),
			multi("m", at, "c", "v", n+".5", "DOUBLE", "s"+strconv.Itoa(i/20), "x"+n, "VARCHAR"))
	}
}

// answers are those to statements of every shape that reads samples.
func answers(t *testing.T, db *local.DB) map[string][][]string {
	t.Helper()
	out := map[string][][]string{}
	for _, sql := range []string{
		"SELECT * " + from + " ORDER BY measure_name, host, time",
		"SELECT measure_name, count(*), min(time), max(time) " + from + " GROUP BY measure_name ORDER BY 1",
		"SELECT host, CREATE_TIME_SERIES(time, measure_value::double) " + from + " WHERE measure_name = 'd' AND measure_value::double IS NOT NULL GROUP BY host ORDER BY 1",
		"SELECT DISTINCT measure_name, host " + from + " WHERE time > from_milliseconds(" + strconv.FormatInt(clock.UnixMilli(), 10) + ") ORDER BY 1, 2",
		"SELECT time, measure_value::double " + from + " WHERE measure_name = 'fine' AND time BETWEEN from_nanoseconds(" + strconv.FormatInt(clock.UnixNano()+2_000_000_014, 10) + ") AND from_nanoseconds(" + strconv.FormatInt(clock.UnixNano()+9_000_000_063, 10) + ") ORDER BY 1",
		"SELECT max_by(measure_value::varchar, time), min_by(measure_value::bigint, time), count_if(measure_value::boolean), sum(v) " + from,
	} {
		out[sql] = rows(t, db, sql)
	}
	return out
}

func compare(t *testing.T, when string, got, want map[string][][]string) {
	t.Helper()
	for sql := range want {
		if !reflect.DeepEqual(got[sql], want[sql]) {
			t.Errorf("%s: %s\n got %v\nwant %v", when, sql, got[sql], want[sql])
		}
	}
}

// TestRewriteKeepsAnswers: every statement has the same answer before, during and after a rewrite, after a merge, and after a
// restart from any moment of it; and stored records are known as such.
func TestRewriteKeepsAnswers(t *testing.T) {
	dir := t.TempDir()
	whole := open(t)
	fillAwkward(t, whole)
	want := answers(t, whole)

	type image struct{ dir, when string }
	var images []image
	var db *local.DB
	during := make(chan func())
	between := func() { // between two pieces: the test goroutine looks
		done := make(chan struct{})
		during <- func() { close(done) }
		<-done
	}
	db = open(t, smallParts(dir, between))
	pieces := 0
	look := func(f func()) {
		pieces++
		if pieces%4 == 1 {
			compare(t, fmt.Sprintf("piece %d", pieces), answers(t, db), want)
			images = append(images, image{crashImage(t, db, dir), fmt.Sprintf("a crash after piece %d", pieces)})
		}
		f()
	}
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		fillAwkward(t, db)
	}()
	wait := func(done <-chan struct{}) {
		for {
			select {
			case f := <-during:
				f()
			case <-done:
				return
			}
		}
	}
	wait(filled)
	compare(t, "filled", answers(t, db), want)
	db.SealAll(t)
	rewritten := make(chan struct{})
	go func() {
		defer close(rewritten)
		db.AwaitRewritten(t)
	}()
	for done := false; !done; {
		select {
		case f := <-during:
			look(f)
		case <-rewritten:
			done = true
		}
	}
	sealed, runs, _ := db.Parts(t)
	if sealed != 0 || runs < 5 {
		t.Errorf("%d sealed parts and %d runs are left", sealed, runs)
	}
	compare(t, "rewritten", answers(t, db), want)
	images = append(images, image{crashImage(t, db, dir), "a crash after the rewrite"})
	repeated := make(chan struct{})
	go func() {
		defer close(repeated)
		fillAwkward(t, db) // duplicates: what is stored is found, value and all
	}()
	wait(repeated)
	compare(t, "repeated", answers(t, db), want)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	images = append(images, image{dir, "a clean end"})
	if len(images) < 4 {
		t.Errorf("only %d images", len(images))
	}
	for _, x := range images {
		again := open(t, smallParts(x.dir, nil))
		compare(t, x.when, answers(t, again), want)
		fillAwkward(t, again)
		again.SealAll(t)
		again.AwaitRewritten(t)
		compare(t, x.when+", repeated and rewritten", answers(t, again), want)
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRewriteAndUpdates: records that are being rewritten are updated, repeated and joined by late ones, and what was
// acknowledged is what is found.
func TestRewriteAndUpdates(t *testing.T) {
	dir := t.TempDir()
	var db *local.DB
	var mu sync.Mutex
	round := 0
	want := map[string]string{}
	key := func(host string, at time.Duration) string { return host + " " + at.String() }
	put := func(t *testing.T, host, value string, at time.Duration, ver int64) {
		mustWrite(t, db, versioned(rec("up", value, at, "host", host), ver))
		want[key(host, at)] = value
	}
	between := func() {
		mu.Lock()
		defer mu.Unlock()
		round++
		at := time.Duration(round%20) * time.Second
		put(t, "a", strconv.Itoa(1000+round), at, int64(round+1))
		put(t, "b", strconv.Itoa(2000+round), at, int64(round+1))
		put(t, "a", strconv.Itoa(round), -time.Duration(round)*time.Second, 1) // late and new
		if _, err := write(db, rec("up", "7777", at, "host", "a")); err == nil {
			t.Error("an older version was taken")
		}
	}
	db = open(t, func(c *local.Config) {
		c.Dir = dir
		c.SmallParts(30, 10, 3, between)
	})
	func() {
		for i := range 100 {
			for _, host := range []string{"a", "b", "c"} {
				mu.Lock()
				if _, there := want[key(host, time.Duration(i)*time.Second)]; !there {
					put(t, host, strconv.Itoa(i), time.Duration(i)*time.Second, 1)
				}
				mu.Unlock()
			}
		}
	}()
	check := func(db *local.DB, when string) {
		t.Helper()
		got := map[string]string{}
		for _, r := range rows(t, db, "SELECT host, time, measure_value::double "+from) {
			at, err := time.Parse("2006-01-02 15:04:05.000000000", r[1])
			if err != nil {
				t.Fatal(err)
			}
			k := key(r[0], at.Sub(clock))
			if _, twice := got[k]; twice {
				t.Errorf("%s: %s is there twice", when, k)
			}
			got[k] = r[2][:len(r[2])-2]
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v\nwant %v", when, got, want)
		}
	}
	// Updates make new parts, which are rewritten: it ends because a merge takes more than comes in.
	db.AwaitRewritten(t)
	mu.Lock()
	defer mu.Unlock()
	if round < 10 {
		t.Errorf("only %d pieces", round)
	}
	check(db, "rewritten")
	check(reopen(t, crashImage(t, db, dir)), "after a crash")
}

// TestRewriteExpires: expired records of a run are unseen, stay so when the retention grows, and go with the run; a record of
// their time that comes later is seen.
func TestRewriteExpires(t *testing.T) {
	now := clock
	db := open(t, func(c *local.Config) {
		c.MemoryRetentionHours, c.MagneticRetentionDays = 1, 1
		c.Now = func() time.Time { return now }
		c.SmallParts(1000, 10, 3, nil)
	})
	retention := func(days int64) {
		t.Helper()
		if _, err := db.UpdateTable(t.Context(), &timestreamwrite.UpdateTableInput{DatabaseName: aws.String(database), TableName: aws.String(table),
			RetentionProperties: &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: aws.Int64(1), MagneticStoreRetentionPeriodInDays: &days}}); err != nil {
			t.Fatal(err)
		}
	}
	expire := func() {
		t.Helper()
		if err := db.DeleteExpired(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	count := func(want string) {
		t.Helper()
		if got := rows(t, db, "SELECT count(*) "+from); got[0][0] != want {
			t.Errorf("got %v records, want %s", got, want)
		}
	}
	for i := range 24 {
		mustWrite(t, db, rec("up", strconv.Itoa(i), -time.Duration(i)*time.Hour, "h", "a"))
	}
	db.SealAll(t)
	db.AwaitRewritten(t)
	count("24")
	now = now.Add(10*time.Hour + time.Minute)
	count("15") // 25 hours are kept
	expire()
	retention(3)
	count("15") // a longer retention brings none back
	mustWrite(t, db, rec("up", "99", -20*time.Hour, "h", "a"))
	count("16") // but a new one is seen, though the run has a record of its time
	mustWrite(t, db, rec("up", "99", -20*time.Hour, "h", "a"))
	mustWrite(t, db, rec("up", "98", -20*time.Hour, "h", "a")) // a conflict, of which the magnetic store says nothing
	if got := fmt.Sprint(rows(t, db, "SELECT measure_value::double "+from+" WHERE time < from_milliseconds("+strconv.FormatInt(clock.Add(-19*time.Hour).UnixMilli(), 10)+")")); got != "[[99.0]]" {
		t.Errorf("got %s", got)
	}
	retention(1)
	now = now.Add(8 * time.Hour)
	expire()
	db.AwaitRewritten(t) // more than half of the run is below its floor: it is rewritten
	count("7")
	if _, runs, _ := db.Parts(t); runs != 1 {
		t.Errorf("%d runs", runs)
	}
	now = now.Add(100 * time.Hour)
	expire()
	count("0")
	if sealed, runs, _ := db.Parts(t); sealed+runs != 0 {
		t.Errorf("%d sealed parts and %d runs are left of nothing", sealed, runs)
	}
}

// TestRewriteFreesSpace: what rewrites leave behind is used again, so the file stays about as large as what is in it.
func TestRewriteFreesSpace(t *testing.T) {
	dir := t.TempDir()
	db := open(t, func(c *local.Config) {
		c.Dir = dir
		c.CheckpointLogSize = 256 << 10
		c.SmallParts(20_000, 10_000, 4, nil)
		c.CompactFrom(8)
	})
	size := func() int64 {
		info, err := os.Stat(filepath.Join(dir, "timestream.duckdb"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: aws.String(table)}
	n := 0
	fill := func(records int) {
		for range records / 100 {
			in.Records = in.Records[:0]
			for i := range 100 {
				in.Records = append(in.Records, rec("up", strconv.Itoa(n*i), time.Duration(n-4000)*time.Second, "host", strconv.Itoa(i)))
			}
			n++
			if _, err := db.WriteRecords(context.Background(), in); err != nil {
				t.Fatal(err)
			}
		}
		db.AwaitRewritten(t)
	}
	fill(160_000)
	for range 3 { // the dropped parts are free after the next checkpoints
		fill(20_000)
	}
	before := size()
	fill(160_000)
	if grown := size() - before; grown > 160_000*12+4<<20 {
		t.Errorf("160,000 more records, rewritten twice, have made the file %d bytes larger", grown)
	}
	t.Logf("%d bytes", size())
	// And when there is nothing else to do, the file is made smaller: by a fifth here.
	const most = 360_000*8 + 7<<18
	for deadline := time.Now().Add(5 * time.Minute); size() > most; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the file has %d bytes for 360,000 records", size())
		}
	}
}

// TestLivePartAtTheEnd: a part that grows slowly does not hold a file large of which most has become free.
func TestLivePartAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	db := open(t, func(c *local.Config) {
		c.Dir = dir
		c.CheckpointLogSize = 64 << 10
		c.SmallParts(10_000_000, 100_000, 4, nil)
		c.CompactFrom(8)
	})
	const large = "large"
	if _, err := db.CreateTable(t.Context(), &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: aws.String(large)}); err != nil {
		t.Fatal(err)
	}
	fill := func(name string, requests int) {
		in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: aws.String(name)}
		for n := range requests {
			in.Records = in.Records[:0]
			for i := range 100 {
				in.Records = append(in.Records, rec("up", strconv.Itoa(n*i), time.Duration(n-4000)*time.Second, "host", strconv.Itoa(i)))
			}
			if _, err := db.WriteRecords(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
	}
	size := func() int64 {
		info, err := os.Stat(filepath.Join(dir, "timestream.duckdb"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	fill(large, 2000)
	fill(table, 300) // behind the others in the file, and far from being sealed
	before := size()
	if _, err := db.DeleteTable(t.Context(), &timestreamwrite.DeleteTableInput{DatabaseName: aws.String(database), TableName: aws.String(large)}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); size() > before/2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the file has %d of %d bytes when six sevenths of its records are gone", size(), before)
		}
		fill(table, 1) // what frees blocks is a checkpoint
		db.Compact()
	}
	if sealed, runs, _ := db.Parts(t); sealed+runs == 0 {
		t.Error("the live part was not sealed")
	}
	t.Logf("%d of %d bytes", size(), before)
}

// TestFormatWithoutParts: a file of the format that had one table of each kind is read, and its records are rewritten.
func TestFormatWithoutParts(t *testing.T) {
	dir := t.TempDir()
	db := reopen(t, dir)
	fill(t, db)
	before := rows(t, db, "SELECT * "+from+" ORDER BY measure_name, host, time")
	db.WithoutParts(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = reopen(t, dir)
	db.SealAll(t)
	db.AwaitRewritten(t)
	checkFilled(t, db, before)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, reopen(t, dir), "SELECT count(*) "+from); got[0][0] != strconv.Itoa(len(before)+2) {
		t.Errorf("got %v records", got)
	}
}
