// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/internal/meter"
	"github.com/tributary-project/tributary/timestream/result"
)

// scarce is a database that a few sorted results fill, and a statement of one.
func scarce(t *testing.T) (*DB, string) {
	t.Helper()
	db, end := benchTableOf(t, 1, 5000, 30, func(c *Config) { c.MemoryLimit = 2 * 64 << 20 })
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

// TestRowsHoldNoMemory: far more results than there is memory for begin at once, are all there while none is read on, and are whole.
func TestRowsHoldNoMemory(t *testing.T) {
	db, sql := scarce(t)
	hold := make(chan struct{})
	wait := heldOpen(t, db, sql, 100, hold)
	if n := db.queries.open(); n != 100 {
		t.Errorf("%d results are open", n)
	}
	if db.queries.holding != 0 {
		t.Errorf("%d of them hold memory", db.queries.holding)
	}
	close(hold)
	if errs := wait(); len(errs) > 0 {
		t.Errorf("%d failed: %v", len(errs), errs[0])
	}
	if n := db.queries.open() + int(db.queries.waiting.Load()); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// TestSpool: rows come back as they were, in memory and in a file.
func TestSpool(t *testing.T) {
	kinds := []result.Kind{result.Scalar, result.Doubles, result.Texts}
	for _, n := range []int{0, 3, 20_000} {
		s := newSpool(t.TempDir(), kinds)
		want := func(i int) result.Row {
			row := result.Row{{Text: []byte(strconv.Itoa(i))}, {}, {Texts: []result.TextPoint{{T: -1, Text: []byte("é")}, {T: math.MaxInt64}}}}
			for k := range i % 5 {
				row[1].Points = append(row[1].Points, result.Point{T: int64(-k), V: math.Copysign(0, -1)})
			}
			row[i%3].Null = i%7 == 0
			return row
		}
		for range 2 {
			for i := range n {
				if err := s.add(want(i)); err != nil {
					t.Fatal(err)
				}
			}
			if inFile := s.file != nil; inFile != (n > 1000) || len(s.text) >= spoolMemory {
				t.Errorf("%d rows: in a file: %v, %d bytes in memory", n, inFile, len(s.text))
			}
			i := 0
			if err := s.each(func(r result.Row) error {
				if got, want := rowLine(r, kinds), rowLine(want(i), kinds); got != want {
					t.Fatalf("row %d of %d: got %s, want %s", i, n, got, want)
				}
				i++
				return nil
			}); err != nil || i != n {
				t.Errorf("%d of %d rows, %v", i, n, err)
			}
			if err := s.reset(); err != nil {
				t.Error(err)
			}
		}
		if files, err := os.ReadDir(s.dir); err != nil || len(files) != 0 {
			t.Errorf("files are left: %v, %v", files, err)
		}
	}
}

func rowLine(r result.Row, kinds []result.Kind) string {
	var b strings.Builder
	for i, c := range r {
		if c.Null {
			b.WriteString("null ")
			continue
		}
		switch kinds[i] {
		case result.Doubles:
			for _, p := range c.Points {
				fmt.Fprintf(&b, "%d=%x ", p.T, math.Float64bits(p.V))
			}
		case result.Texts:
			for _, p := range c.Texts {
				fmt.Fprintf(&b, "%d=%q ", p.T, p.Text)
			}
		default:
			fmt.Fprintf(&b, "%q ", c.Text)
		}
	}
	return b.String()
}

// TestLargeResultsFit: a result far larger than DuckDB's memory is read by pages and by rows, when it is by series, in the order of something about
// series or in none.
func TestLargeResultsFit(t *testing.T) {
	const samples = 900 // so that the result is larger than what is taken out of the database at a time
	db, end := benchTableOf(t, 1, 5000, samples, func(c *Config) { c.MemoryLimit = 128 << 20 })
	table, _ := db.cat.table(benchDatabase, benchTable)
	sorted := benchGrouped("metric_0_total", "", end.Add(-(samples-1)*benchStep), end)
	unsorted, _, _ := strings.Cut(sorted, "ORDER BY")
	for _, tt := range []struct {
		name, sql string
		sorted    bool
		pages     bool
	}{
		{"which looks small", sorted, true, true}, // what was not written by requests is not known of
		{"in no order", unsorted, false, true},
		{"in the order of labels", sorted, true, false},
		{"the last of each 15 s", benchLastPerStep("metric_0_total", end.Add(-(samples-1)*benchStep), end, "15s"), true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer table.meter.RestoreStored(int64(end.Add(-time.Hour).Sub(time.Unix(0, 0))/time.Hour), 1, meter.Stored{Records: 5000 * (samples - 2)})
			kinds := make([]result.Kind, 6)
			kinds[5] = result.Doubles
			points, before := 0, ""
			if _, err := db.QueryRows(context.Background(), tt.sql, kinds, func(r result.Row) error {
				if points += len(r[5].Points); db.queries.holding != 0 {
					t.Error("memory is held while rows are handed out")
				}
				key := ""
				for _, c := range r[:5] {
					key += string(c.Text) + "\x00"
				}
				if key += strconv.FormatInt(r[5].Points[0].T, 10); tt.sorted && key <= before {
					t.Fatalf("%q comes after %q", key, before)
				}
				before = key
				return nil
			}); err != nil || points != 5000*samples {
				t.Errorf("%d points, %v", points, err)
			}
			if !tt.pages {
				return
			}
			in := &timestreamquery.QueryInput{QueryString: &tt.sql}
			points = 0
			for {
				p, err := db.QueryPage(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				points += strings.Count(string(p.Rows), `{"Time":`)
				if p.NextToken == "" {
					break
				}
				in.NextToken = &p.NextToken
			}
			if points != 5000*samples {
				t.Errorf("%d points by pages", points)
			}
		})
	}
}
