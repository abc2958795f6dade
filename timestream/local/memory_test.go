// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/result"
)

// scarce is a database that a few sorted results fill, and a statement of one.
func scarce(t *testing.T) (*DB, string) {
	t.Helper()
	db, end := benchTableOf(t, 1, 5000, 30, func(c *Config) { c.MemoryLimit = 64 << 20 })
	return db, benchGrouped("metric_0_total", "", end.Add(-29*benchStep), end)
}

// fill opens results of several pages until there is no memory for one, and returns how many there are.
func fill(t *testing.T, db *DB, sql string) int {
	t.Helper()
	for n := 0; n < 60; n++ {
		_, err := db.QueryPage(context.Background(), &timestreamquery.QueryInput{QueryString: &sql})
		var memory *qtypes.QueryExecutionException
		if errors.As(err, &memory) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("there is always memory")
	return 0
}

// leave makes results ones that clients have left.
func leave(db *DB) {
	db.queries.mu.Lock()
	defer db.queries.mu.Unlock()
	for _, r := range db.queries.results {
		r.used = r.used.Add(-time.Minute)
	}
}

// TestLeftResultsMakeRoom: results that nobody reads on give their memory to statements that need it.
func TestLeftResultsMakeRoom(t *testing.T) {
	db, sql := scarce(t)
	kinds := make([]result.Kind, 6)
	kinds[5] = result.Doubles
	for name, read := range map[string]func() error{
		"pages": func() error {
			_, err := db.QueryPage(context.Background(), &timestreamquery.QueryInput{QueryString: &sql})
			return err
		},
		"rows": func() error {
			_, err := db.QueryRows(context.Background(), sql, kinds, func(result.Row) error { return nil })
			return err
		},
	} {
		n := fill(t, db, sql)
		var memory *qtypes.QueryExecutionException
		if err := read(); n == 0 || !errors.As(err, &memory) {
			t.Errorf("%s: beside %d results that are read: got %v", name, n, err)
		}
		leave(db)
		if err := read(); err != nil || db.queries.open() >= n {
			t.Errorf("%s: beside %d results that were left: got %v, %d are open", name, n, err, db.queries.open())
		}
		db.queries.closeIdle(-time.Hour)
	}
}

// TestRowsWaitForMemory: a statement for which there is no memory waits for those that are read, and its context ends that.
func TestRowsWaitForMemory(t *testing.T) {
	db, sql := scarce(t)
	fits := fill(t, db, sql)
	db.queries.closeIdle(-time.Hour)
	if fits < 2 {
		t.Fatalf("there is memory for %d results, this test needs several", fits)
	}
	waiting := func() {
		for start := time.Now(); db.queries.waiting.Load() == 0; time.Sleep(time.Millisecond) {
			if time.Since(start) > 5*time.Second {
				t.Fatal("nobody waits")
			}
		}
	}
	kinds := make([]result.Kind, 6)
	kinds[5] = result.Doubles
	var holds []chan struct{}
	var waits []func() []error
	for range fits {
		holds = append(holds, make(chan struct{}))
		// One after the other: while it begins a statement takes more than later.
		waits = append(waits, heldOpen(t, db, sql, 1, holds[len(holds)-1]))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	read := func() {
		_, err := db.QueryRows(ctx, sql, kinds, func(result.Row) error { return nil })
		ended <- err
	}
	go read()
	waiting()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	ctx = context.Background()
	go read()
	waiting()
	for i := range holds {
		close(holds[i])
		if errs := waits[i](); len(errs) > 0 {
			t.Errorf("one that was read: %v", errs)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("when the others have ended: got %v", err)
	}
}
