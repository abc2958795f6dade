// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// openTwo opens a database with the tables db1.good and db1.bad.
func openTwo(t *testing.T, change func(*Config)) *DB {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Dir, cfg.DefaultDatabase, cfg.DefaultTable = t.TempDir(), "db1", "good"
	cfg.still = true
	if change != nil {
		change(&cfg)
	}
	db, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.CreateTable(context.Background(), &timestreamwrite.CreateTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("bad")}); err != nil {
		t.Fatal(err)
	}
	return db
}

func put(db *DB, table, value string, at time.Time, dim string) error {
	_, err := db.WriteRecords(context.Background(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: &table, Records: []wtypes.Record{{
		MeasureName: aws.String("up"), MeasureValue: &value, Time: aws.String(strconv.FormatInt(at.UnixMilli(), 10)),
		Dimensions: []wtypes.Dimension{{Name: &dim, Value: aws.String("x")}}}}})
	return err
}

func count(t *testing.T, db *DB, table string) string {
	t.Helper()
	out, err := db.Query(context.Background(), &timestreamquery.QueryInput{QueryString: aws.String("SELECT count(*) FROM db1." + table)})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Rows[0].Data[0].ScalarValue
}

// hold stops the writer between two groups until the returned function is called. The rewrite is at rest, so that the queue holds
// what the test puts there and nothing else.
func hold(t *testing.T, db *DB) (release func()) {
	t.Helper()
	waitFor(t, "the rewrite to rest", func() bool { return !db.rewriter.busy.Load() })
	entered, gate := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- db.writer.control(context.Background(), func(*duck.Conn) error {
			close(entered)
			<-gate
			return nil
		}, nil)
	}()
	<-entered
	release = sync.OnceFunc(func() {
		close(gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(release) // a test that fails while the writer is stopped must not wait for it when the database is closed
	return release
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out waiting for " + what)
		}
	}
}

func change(t *testing.T, db *DB, sql string) {
	t.Helper()
	if err := db.writer.control(context.Background(), func(c *duck.Conn) error { return c.Exec(sql) }, nil); err != nil {
		t.Fatal(err)
	}
}

// TestOneRequestFails breaks one table behind the writer's back. In one group with it, the other table's request must
// succeed; and once the table is mended, the failed record is new, not a duplicate of something that was never stored.
func TestOneRequestFails(t *testing.T) {
	db := openTwo(t, nil)
	now := time.Now()
	if err := put(db, "bad", "1", now, "host"); err != nil {
		t.Fatal(err)
	}
	bad, _ := db.cat.table("db1", "bad")
	samples := bad.sampleTable(kindDouble)
	change(t, db, "ALTER TABLE "+samples+" RENAME TO aside")

	release := hold(t, db)
	results := map[string]chan error{"good": make(chan error, 1), "bad": make(chan error, 1)}
	for table, result := range results {
		go func() { result <- put(db, table, "2", now.Add(time.Second), "new_dimension") }()
	}
	waitFor(t, "both requests in the queue", func() bool { return len(db.writer.queue) == 2 })
	release()
	if err := <-results["good"]; err != nil {
		t.Errorf("good: %v", err)
	}
	var internal *wtypes.InternalServerException
	if err := <-results["bad"]; !errors.As(err, &internal) {
		t.Errorf("bad: got %v", err)
	}
	if s := bad.schema.Load(); len(s.dims) != 1 || len(bad.own.schema.dims) != 1 || len(bad.own.series) != 1 || len(bad.own.marks) != 1 {
		t.Errorf("the failed request left %v, %d series", bad.own.schema.dims, len(bad.own.series))
	}

	change(t, db, "ALTER TABLE aside RENAME TO "+samples)
	for range 2 {
		if err := put(db, "bad", "2", now.Add(time.Second), "new_dimension"); err != nil {
			t.Error(err)
		}
	}
	if got := count(t, db, "bad") + count(t, db, "good"); got != "21" {
		t.Errorf("got %s, want 2 and 1 rows", got)
	}
}

// TestFatalError lets COMMIT fail as it does once DuckDB refuses everything, and as it does when only the one commit failed.
func TestFatalError(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		fatal      bool
	}{
		{"fatal", "FATAL Error: Failed: database has been invalidated because of a previous fatal error.", true},
		{"disk full", "TransactionContext Error: Failed to commit: Could not write file", false},
		{"words of a user", "Conversion Error: Could not convert string 'FATAL Error' to INT32", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := openTwo(t, nil)
			failure := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { failure <- db.AwaitFailure(ctx) }()
			inject := func(*duck.Conn) error {
				db.writer.commitTx = func() error { return &duck.Error{Text: tt.text} }
				return errors.New("nothing to commit")
			}
			if err := db.writer.control(t.Context(), inject, nil); err == nil {
				t.Fatal("not injected")
			}
			var internal *wtypes.InternalServerException
			if err := put(db, "good", "1", time.Now(), "host"); !errors.As(err, &internal) {
				t.Errorf("got %v, want the write to fail", err)
			}
			if !tt.fatal {
				if err := db.Ready(); err != nil {
					t.Errorf("not ready: %v", err)
				}
				cancel()
				if err := <-failure; err != nil {
					t.Errorf("got %v at the end of the context", err)
				}
				return
			}
			select {
			case err := <-failure:
				if err == nil || !strings.Contains(err.Error(), "opened anew") || !errors.Is(db.Ready(), err) {
					t.Errorf("got %v, and %v from Ready", err, db.Ready())
				}
			case <-time.After(2 * time.Minute):
				t.Error("nobody is told")
			}
		})
	}
}

func TestFullQueueThrottles(t *testing.T) {
	db := openTwo(t, func(c *Config) { c.WriteQueue = 1 })
	release := hold(t, db)
	first := make(chan error, 1)
	go func() { first <- put(db, "good", "1", time.Now(), "host") }()
	waitFor(t, "a full queue", func() bool { return len(db.writer.queue) == 1 })
	var throttled *wtypes.ThrottlingException
	if err := put(db, "good", "2", time.Now(), "other"); !errors.As(err, &throttled) {
		t.Errorf("got %v", err)
	}
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// TestGroup puts many requests into one transaction.
func TestGroup(t *testing.T) {
	db := openTwo(t, nil)
	release := hold(t, db)
	const n = 50
	results := make(chan error, n)
	now := time.Now()
	for i := range n {
		go func() {
			results <- put(db, "good", strconv.Itoa(i), now.Add(time.Duration(i)*time.Millisecond), "d"+strconv.Itoa(i%7))
		}()
	}
	waitFor(t, "all requests in the queue", func() bool { return len(db.writer.queue) == n })
	release()
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if got := count(t, db, "good"); got != "50" {
		t.Errorf("got %s rows", got)
	}
}

// TestSeriesKey checks that a key does not depend on the order of dimensions or on what was hoisted, and that texts cannot
// be shifted between name and value.
func TestSeriesKey(t *testing.T) {
	h := newHasher()
	key := func(parts ...[2]string) seriesKey {
		var sum seriesKey
		for _, p := range parts {
			k, _ := h.sum(nil, tagDimension, p[0], p[1])
			sum.add(k)
		}
		return sum
	}
	a, b := [2]string{"a", "1"}, [2]string{"b", "2"}
	if key(a, b) != key(b, a) {
		t.Error("the order matters")
	}
	for _, other := range []seriesKey{key(a), key([2]string{"a", "2"}, [2]string{"b", "1"}), key([2]string{"ab", ""}, [2]string{"", "12"}), key(a, a), key()} {
		if other == key(a, b) {
			t.Error("two keys are one")
		}
	}
}
