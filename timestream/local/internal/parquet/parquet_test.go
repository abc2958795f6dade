// SPDX-License-Identifier: Apache-2.0

package parquet_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/parquet"
)

var columns = []parquet.Node{
	{Name: "b", Kind: parquet.Boolean}, {Name: "i", Kind: parquet.Int32}, {Name: "l", Kind: parquet.Int64}, {Name: "d", Kind: parquet.Double},
	{Name: "s", Kind: parquet.Text}, {Name: "t", Kind: parquet.Timestamp}, {Name: "day", Kind: parquet.Date},
	{Name: "list", Kind: parquet.List, Of: []parquet.Node{{Kind: parquet.Int64}}},
	{Name: "row", Kind: parquet.Group, Of: []parquet.Node{{Name: "x", Kind: parquet.Double}, {Name: "y", Kind: parquet.Text}}},
	{Name: "series", Kind: parquet.List, Of: []parquet.Node{{Kind: parquet.Group, Of: []parquet.Node{{Name: "time", Kind: parquet.Timestamp}, {Name: "values", Kind: parquet.List, Of: []parquet.Node{{Kind: parquet.Text}}}}}}},
}

func at(text string) int64 {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t.UnixNano()
}

var rows = [][]any{
	{true, int64(-5), int64(math.MinInt64), 0.1, []byte("text ü"), at("2024-02-03T04:05:06.123456789Z"), int64(19756), []any{int64(1), nil, int64(3)}, []any{2.5, []byte("y")},
		[]any{[]any{at("1969-12-31T23:59:59.999999999Z"), []any{[]byte("a"), nil}}, nil, []any{nil, []any{}}, []any{at("1970-01-01T00:00:00Z"), nil}}},
	{nil, nil, nil, nil, nil, nil, nil, nil, nil, nil},
	{false, int64(math.MaxInt32), int64(7), math.Inf(1), []byte(""), at("2262-04-11T23:47:16Z"), int64(0), []any{}, []any{nil, nil}, []any{}},
}

// want is how DuckDB writes these rows; it has microseconds where a file has nanoseconds.
var want = []string{
	`true|-5|-9223372036854775808|0.1|text ü|2024-02-03 04:05:06.123456|2024-02-03|[1, NULL, 3]|{'x': 2.5, 'y': y}|` +
		`[{'time': '1969-12-31 23:59:59.999999', 'values': [a, NULL]}, NULL, {'time': NULL, 'values': []}, {'time': '1970-01-01 00:00:00', 'values': NULL}]`,
	"∅|∅|∅|∅|∅|∅|∅|∅|∅|∅",
	"false|2147483647|7|inf||2262-04-11 23:47:16|1970-01-01|[]|{'x': NULL, 'y': NULL}|[]",
}

// read is what DuckDB reads of a file, as texts.
func read(t *testing.T, name string) []string {
	t.Helper()
	db, err := duck.Open(filepath.Join(t.TempDir(), "db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	res, err := c.Query(t.Context(), "SELECT COLUMNS(*)::VARCHAR FROM read_parquet('"+name+"')")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	var out []string
	for res.Next() {
		for i := range res.Size() {
			cells := make([]string, len(res.Columns()))
			for k := range cells {
				if c := &res.Columns()[k]; c.IsNull(i) {
					cells[k] = "∅"
				} else {
					cells[k] = c.String(i)
				}
			}
			out = append(out, strings.Join(cells, "|"))
		}
	}
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReadByAnother: every kind of value, in one and in many row groups, compressed and not, is what another program reads.
func TestReadByAnother(t *testing.T) {
	for _, compress := range []bool{false, true} {
		for _, groups := range []int{0, 1, 100} {
			t.Run(fmt.Sprintf("compress=%t,groups=%d", compress, groups), func(t *testing.T) {
				name := filepath.Join(t.TempDir(), "x.parquet")
				f, err := os.Create(name)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = f.Close() }()
				w, err := parquet.NewWriter(f, columns, compress)
				if err != nil {
					t.Fatal(err)
				}
				for range groups {
					for range 9 {
						for _, r := range rows {
							if err := w.Row(r); err != nil {
								t.Fatal(err)
							}
						}
					}
					if w.Buffered() == 0 {
						t.Error("nothing is buffered")
					}
					if err := w.Flush(); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				got := read(t, name)
				if len(got) != 27*groups {
					t.Fatalf("got %d rows, want %d", len(got), 27*groups)
				}
				for i := range got {
					if got[i] != want[i%3] {
						t.Fatalf("row %d:\ngot  %s\nwant %s", i, got[i], want[i%3])
					}
				}
			})
		}
	}
}

func TestWrongValues(t *testing.T) {
	for k, v := range map[parquet.Kind]any{parquet.Boolean: int64(1), parquet.Int64: 1.5, parquet.Text: int64(1), parquet.Double: []byte("1"), parquet.Timestamp: true} {
		w, err := parquet.NewWriter(&strings.Builder{}, []parquet.Node{{Name: "x", Kind: k}}, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Row([]any{v}); err == nil {
			t.Errorf("a %T as kind %d was taken", v, k)
		}
	}
}
