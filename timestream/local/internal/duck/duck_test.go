// SPDX-License-Identifier: Apache-2.0

package duck

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func open(t testing.TB) (*Database, *Conn) {
	t.Helper()
	db, err := Open(filepath.Join(t.TempDir(), "x.duckdb"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return db, c
}

func all(t testing.TB, c *Conn, sql string) [][]any {
	t.Helper()
	rows, err := c.Query(context.Background(), sql)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out [][]any
	for rows.Next() {
		for i := range rows.Size() {
			var row []any
			for k := range rows.Columns() {
				row = append(row, rows.Columns()[k].Value(i))
			}
			out = append(out, row)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestValues(t *testing.T) {
	_, c := open(t)
	long := strings.Repeat("long", 10)
	tests := []struct {
		give string
		want any
	}{
		{"true", true},
		{"42::INTEGER", int32(42)},
		{"-7::BIGINT", int64(-7)},
		{"0.1::DOUBLE", 0.1},
		{"'short'", "short"},
		{"'exactly12chr'", "exactly12chr"},
		{"'" + long + "'", long},
		{"NULL::BIGINT", nil},
		{"[1::BIGINT, NULL, 3]", []any{int64(1), nil, int64(3)}},
		{"[]::BIGINT[]", []any{}},
		{"{'time': 1::BIGINT, 'value': 2.5::DOUBLE}", map[string]any{"time": int64(1), "value": 2.5}},
		{"[{'a': 'x'}, {'a': NULL}]", []any{map[string]any{"a": "x"}, map[string]any{"a": nil}}},
	}
	for _, tt := range tests {
		if got := all(t, c, "SELECT "+tt.give); !reflect.DeepEqual(got, [][]any{{tt.want}}) {
			t.Errorf("%s: got %#v, want %#v", tt.give, got, tt.want)
		}
	}
}

func TestManyChunksAndNulls(t *testing.T) {
	_, c := open(t)
	rows := all(t, c, "SELECT i::BIGINT, CASE WHEN i%3=0 THEN NULL ELSE 'value number '||i END FROM range(10000) r(i)")
	if len(rows) != 10000 {
		t.Fatalf("got %d rows", len(rows))
	}
	for i, r := range rows {
		want := []any{int64(i), fmt.Sprintf("value number %d", i)}
		if i%3 == 0 {
			want[1] = nil
		}
		if !reflect.DeepEqual(r, want) {
			t.Fatalf("row %d: got %#v, want %#v", i, r, want)
		}
	}
}

func TestAppender(t *testing.T) {
	_, c := open(t)
	if err := c.Exec("CREATE TABLE t (a BIGINT, b DOUBLE, c VARCHAR, d BOOLEAN, e INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("BEGIN"); err != nil {
		t.Fatal(err)
	}
	a, err := NewAppender(c, "t")
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	for i := range n {
		a.SetInt64(0, int64(i))
		a.SetFloat64(1, float64(i)/2)
		if i%5 == 0 {
			a.SetNull(2)
		} else {
			a.SetString(2, fmt.Sprint("a text of some length ", i))
		}
		a.SetBool(3, i%2 == 0)
		a.SetInt32(4, int32(-i))
		if err := a.EndRow(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := all(t, c, "SELECT count(*) FROM t"); got[0][0] != int64(n) {
		t.Errorf("inside the transaction: got %v rows", got[0][0])
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("COMMIT"); err != nil {
		t.Fatal(err)
	}
	for i, r := range all(t, c, "SELECT * FROM t ORDER BY a") {
		want := []any{int64(i), float64(i) / 2, fmt.Sprint("a text of some length ", i), i%2 == 0, int32(-i)}
		if i%5 == 0 {
			want[2] = nil
		}
		if !reflect.DeepEqual(r, want) {
			t.Fatalf("row %d: got %#v, want %#v", i, r, want)
		}
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	_, c := open(t)
	if err := c.Exec("CREATE TABLE t (a BIGINT); BEGIN"); err != nil {
		t.Fatal(err)
	}
	a, err := NewAppender(c, "t")
	if err != nil {
		t.Fatal(err)
	}
	a.SetInt64(0, 1)
	if err := a.EndRow(); err != nil {
		t.Fatal(err)
	}
	a.Abort()
	if err := c.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if got := all(t, c, "SELECT count(*) FROM t"); got[0][0] != int64(0) {
		t.Errorf("got %v rows", got[0][0])
	}
}

func TestErrors(t *testing.T) {
	_, c := open(t)
	if err := c.Exec("SELEC 1"); err == nil || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("exec: got %v", err)
	}
	if _, err := c.Query(context.Background(), "SELECT nothing"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("query: got %v", err)
	}
	// The error comes while the rows are read, or before: never as a silent end. One thread, because the thread that fails
	// makes DuckDB interrupt the others, and one of these may report that first.
	if err := c.Exec("SET threads = 1"); err != nil {
		t.Fatal(err)
	}
	rows, err := c.Query(context.Background(), "SELECT CASE WHEN i=900000 THEN error('bad row') ELSE 'x' END FROM range(1000000) r(i)")
	if err == nil {
		for rows.Next() {
		}
		err = rows.Err()
		rows.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "bad row") {
		t.Errorf("late error: got %v", err)
	}
	if _, err := NewAppender(c, "absent"); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("appender: got %v", err)
	}
}

func TestCancelledQueryEnds(t *testing.T) {
	_, c := open(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	rows, err := c.Query(ctx, "SELECT count(*) FROM range(10000000) a(i), range(10000000) b(j) WHERE i*j%7=3")
	if err == nil {
		for rows.Next() {
		}
		err = rows.Err()
		rows.Close()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
	if took := time.Since(start); took > 2*time.Minute {
		t.Errorf("took %v", took)
	}
	if got := all(t, c, "SELECT 1::BIGINT"); got[0][0] != int64(1) {
		t.Errorf("the connection is not usable afterwards: %v", got)
	}
}

// TestReadEach: the rows of several statements come as those of one, of one snapshot; a failure of any ends them all.
func TestReadEach(t *testing.T) {
	db, c := open(t)
	writer, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := c.Exec("CREATE TABLE x AS SELECT range AS i FROM range(5000)"); err != nil {
		t.Fatal(err)
	}
	read := func(statements ...string) (sum, n int64, err error) {
		rows, err := c.ReadEach(context.Background(), []string{"SELECT count(*) FROM x"}, func(first *Rows) func() string {
			for first.Next() {
				n -= first.Columns()[0].Int64(0)
			}
			return func() string {
				if len(statements) == 0 {
					return ""
				}
				s := statements[0]
				statements = statements[1:]
				return s
			}
		})
		if err != nil {
			return 0, 0, err
		}
		defer rows.Close()
		for rows.Next() {
			for i := range rows.Size() {
				sum, n = sum+rows.Columns()[0].Int64(i), n+1
			}
			if err := writer.Exec("INSERT INTO x VALUES (-1)"); err != nil {
				t.Fatal(err)
			}
		}
		return sum, n, rows.Err()
	}
	const low, high, none = "SELECT i FROM x WHERE i < 3000", "SELECT i FROM x WHERE i >= 3000", "SELECT i FROM x WHERE i > 9000"
	if sum, n, err := read(none, low, none, high, none); sum != 5000*4999/2 || n != 0 || err != nil {
		t.Errorf("sum %d, %d rows too many, %v", sum, n, err)
	}
	rows, err := c.ReadEach(context.Background(), []string{"CREATE TEMP TABLE temp.z AS SELECT i FROM x WHERE i BETWEEN 0 AND 9", "SELECT count(*) FROM temp.z"}, func(first *Rows) func() string {
		statements := []string{"SELECT i FROM temp.z", none, high, ""}
		return func() string {
			s := statements[0]
			statements = statements[1:]
			return s
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	rows.Pauses()
	for i, want := range []int{10, 0, 2000} {
		n := 0
		for rows.Next() {
			n += rows.Size()
		}
		if again := rows.Next(); n != want || again || rows.Err() != nil || rows.Resume() != (i < 2) {
			t.Errorf("statement %d: %d rows, then some more: %v, %v", i, n, again, rows.Err())
		}
	}
	if rows.Resume() || rows.Next() || rows.Err() != nil {
		t.Errorf("something follows the last statement, %v", rows.Err())
	}
	rows.Close()
	if err := c.Exec("CREATE TEMP TABLE temp.z (i INT); DROP TABLE temp.z"); err != nil {
		t.Errorf("what was made for the statements stays: %v", err)
	}
	for _, broken := range []string{"SELECT i FROM y", "SELECT error('no') FROM x"} {
		for _, statements := range [][]string{{broken}, {high, broken}, {high, broken, high}} {
			if _, _, err := read(statements...); err == nil {
				t.Errorf("%q: no error", statements)
			}
		}
	}
	if _, err := c.ReadEach(context.Background(), []string{"SELECT * FROM y"}, nil); err == nil {
		t.Error("the first statement: no error")
	}
	if err := c.Exec("BEGIN; ROLLBACK"); err != nil { // nothing is open
		t.Error(err)
	}
}
