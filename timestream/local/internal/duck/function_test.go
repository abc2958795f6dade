// SPDX-License-Identifier: Apache-2.0

package duck

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestFunctions calls functions in Go with every kind of argument and result, over more rows than a chunk has.
func TestFunctions(t *testing.T) {
	db, err := Open("", map[string]string{"threads": "2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	err = db.Register(
		Function{Name: "go_echo", In: []Kind{Varchar()}, Out: Varchar(), Call: func(in []Column, rows int, out *Vector) error {
			for i := range rows {
				if !in[0].IsNull(i) {
					out.SetBytes(i, in[0].Bytes(i))
				}
			}
			return nil
		}},
		Function{Name: "go_words", In: []Kind{Varchar()}, Out: List(List(Varchar())), Call: func(in []Column, rows int, out *Vector) error {
			for i := range rows {
				if in[0].IsNull(i) {
					continue
				}
				lines := strings.Split(in[0].String(i), "/")
				e, at := out.SetList(i, len(lines))
				for k, l := range lines {
					if l == "" {
						continue
					}
					words := strings.Split(l, " ")
					w, from := e.SetList(at+k, len(words))
					for n, word := range words {
						w.SetString(from+n, word)
					}
				}
			}
			return nil
		}},
		Function{Name: "go_points", In: []Kind{Bigint(), Double()}, Out: List(Point(Double())), Call: func(in []Column, rows int, out *Vector) error {
			for i := range rows {
				n := int(in[0].Int64(i))
				e, at := out.SetList(i, n)
				for k := range n {
					if v := e.SetPoint(at+k, int64(k)); k%2 == 0 {
						v.SetFloat64(at+k, in[1].Float64(i)*float64(k))
					}
				}
			}
			return nil
		}},
		Function{Name: "go_is", In: []Kind{Boolean(), Blob()}, Out: Boolean(), Call: func(in []Column, rows int, out *Vector) error {
			for i := range rows {
				switch string(in[1].Bytes(i)) {
				case "error":
					return errors.New("it failed")
				case "panic":
					panic("it panicked")
				}
				out.SetBool(i, !in[0].Bool(i))
			}
			return nil
		}},
	)
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	one := func(sql string) (any, error) {
		t.Helper()
		rows, err := c.Query(t.Context(), sql)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		if !rows.Next() {
			return nil, rows.Err()
		}
		return rows.Columns()[0].Value(0), nil
	}
	for _, tt := range []struct{ sql, want string }{
		{"SELECT go_echo('short') || go_echo('longer than twelve bytes') || go_echo('')", "shortlonger than twelve bytes"},
		{"SELECT go_echo(NULL)", "<nil>"},
		{"SELECT count(*)::BIGINT FROM (SELECT x, go_echo(x) AS y FROM (SELECT CASE WHEN i % 3 > 0 THEN repeat('é', (i % 40)::INTEGER) END AS x FROM range(10000) r(i))) WHERE x IS NOT DISTINCT FROM y", "10000"},
		{"SELECT go_words('a b//a long word beside c')", "[[a b] <nil> [a long word beside c]]"},
		{"SELECT sum(len(w))::BIGINT || '/' || sum(len(w[2]))::BIGINT FROM (SELECT go_words('x/' || repeat('y ', (i % 50)::INTEGER) || 'z/z') AS w FROM range(5000) r(i))", "15000/127500"},
		{"SELECT go_words(NULL)", "<nil>"},
		{"SELECT go_points(3, 2.0)", "[map[t:0 v:0] map[t:1 v:<nil>] map[t:2 v:4]]"},
		{"SELECT count(*)::BIGINT FROM range(3000) r(i) WHERE len(go_points(i % 7, 1.0)) = i % 7", "3000"},
		{"SELECT go_is(true, 'x'::BLOB)", "false"},
	} {
		got, err := one(tt.sql)
		if err != nil || fmt.Sprint(got) != tt.want {
			t.Errorf("%s: got %v (%v), want %s", tt.sql, got, err, tt.want)
		}
	}
	for _, word := range []string{"error", "panic"} {
		if _, err := one("SELECT go_is(true, x) FROM (VALUES ('" + word + "'::BLOB)) AS t(x)"); err == nil || !strings.Contains(err.Error(), "it ") {
			t.Errorf("%s: got %v", word, err)
		}
		if got, err := one("SELECT TRY(go_is(true, x)) FROM (VALUES ('" + word + "'::BLOB)) AS t(x)"); err != nil || got != nil {
			t.Errorf("TRY of %s: got %v, %v", word, got, err)
		}
	}
}

// TestFunctionEnds: a statement that is given up ends, even where TRY calls a function again with each row of a chunk.
func TestFunctionEnds(t *testing.T) {
	db, err := Open("", map[string]string{"threads": "1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err = db.Register(Function{Name: "go_fails", In: []Kind{Bigint()}, Out: Bigint(), Call: func([]Column, int, *Vector) error {
		if calls++; calls == 2 {
			cancel()
			for known := false; !known; runtime.Gosched() {
				db.stops.ids.Range(func(any, any) bool { known = true; return false })
			}
		}
		return errors.New("always")
	}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rows, err := c.Query(ctx, "SELECT count(TRY(go_fails(i) + 1)) FROM range(100000) AS t(i)")
	if err == nil {
		for rows.Next() {
		}
		err = rows.Err()
		rows.Close()
	}
	if !errors.Is(err, context.Canceled) || calls != 2 {
		t.Errorf("got %v after %d calls", err, calls)
	}
	// The connection is as good as before.
	calls = 10
	if rows, err = c.Query(t.Context(), "SELECT count(TRY(go_fails(i) + 1)) FROM range(100) AS t(i)"); err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
	}
	if err := rows.Err(); err != nil || calls != 111 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}
