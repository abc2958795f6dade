// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/result"
)

// byPages runs a statement by Query and returns a text for each row and the kinds of the columns.
func byPages(t testing.TB, db *local.DB, sql string) (rows []string, kinds []result.Kind) {
	t.Helper()
	var token *string
	var clock result.Clock
	for {
		out, err := query(db, sql, 0, token)
		if err != nil {
			t.Fatalf("%s\n%v", sql, err)
		}
		kinds = kinds[:0]
		for _, c := range out.ColumnInfo {
			k := result.Scalar
			if s := c.Type.TimeSeriesMeasureValueColumnInfo; s != nil {
				if k = result.Doubles; s.Type.ScalarType == qtypes.ScalarTypeVarchar {
					k = result.Texts
				}
			}
			kinds = append(kinds, k)
		}
		for _, r := range out.Rows {
			var b strings.Builder
			for i, d := range r.Data {
				switch {
				case d.NullValue != nil:
					b.WriteString("NULL")
				case d.ScalarValue != nil:
					fmt.Fprintf(&b, "%q", *d.ScalarValue)
				}
				for _, p := range d.TimeSeriesValue {
					ms, err := clock.Millis([]byte(*p.Time))
					if err != nil {
						t.Fatal(err)
					}
					v := strconv.Quote(*p.Value.ScalarValue)
					if kinds[i] == result.Doubles {
						x, err := result.Double([]byte(*p.Value.ScalarValue))
						if err != nil {
							t.Fatal(err)
						}
						v = fmt.Sprintf("%x", math.Float64bits(x))
					}
					fmt.Fprintf(&b, " %d=%s", ms, v)
				}
				b.WriteString(" | ")
			}
			rows = append(rows, b.String())
		}
		if token = out.NextToken; token == nil {
			return rows, kinds
		}
	}
}

// byRows does the same by QueryRows.
func byRows(t testing.TB, db *local.DB, sql string, kinds []result.Kind) (rows []string) {
	t.Helper()
	_, err := db.QueryRows(context.Background(), sql, kinds, func(r result.Row) error {
		rows = append(rows, rowText(r, kinds))
		return nil
	})
	if err != nil {
		t.Fatalf("%s\n%v", sql, err)
	}
	return rows
}

func rowText(r result.Row, kinds []result.Kind) string {
	var b strings.Builder
	for i, c := range r {
		switch {
		case c.Null:
			b.WriteString("NULL")
		case kinds[i] == result.Scalar:
			fmt.Fprintf(&b, "%q", c.Text)
		}
		for _, p := range c.Points {
			fmt.Fprintf(&b, " %d=%x", p.T, math.Float64bits(p.V))
		}
		for _, p := range c.Texts {
			fmt.Fprintf(&b, " %d=%q", p.T, p.Text)
		}
		b.WriteString(" | ")
	}
	return b.String()
}

// sameBothWays tells that a statement gives the same rows by pages and by QueryRows, and returns them.
func sameBothWays(t testing.TB, db *local.DB, sql string) []string {
	t.Helper()
	want, kinds := byPages(t, db, sql)
	got := byRows(t, db, sql, kinds)
	if !strings.Contains(sql, "ORDER BY") {
		slices.Sort(got)
		slices.Sort(want)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nby rows:\n%s\nby pages:\n%s", sql, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return got
}

// randomTable writes records of all kinds at random times of the last hours, and returns how many.
func randomTable(t testing.TB, db *local.DB, r *rand.Rand, n int) {
	t.Helper()
	values := []string{"a", "b", "c d", "é\"\\\n", "", "x' OR 1=1"}
	for range n {
		var recs []wtypes.Record
		seen := map[string]bool{}
		for range 1 + r.IntN(60) {
			at := -time.Duration(r.IntN(5*3600)) * time.Second
			if r.IntN(4) == 0 {
				at += time.Duration(r.IntN(1000)) * time.Millisecond
			}
			dims := []string{"host", values[r.IntN(3)]}
			if r.IntN(2) == 0 {
				dims = append(dims, "zone", values[r.IntN(4)])
			}
			if r.IntN(5) == 0 {
				dims = append(dims, "quote", values[3])
			}
			var rec1 wtypes.Record
			switch r.IntN(6) {
			case 0:
				rec1 = typed(rec("text", "v"+strconv.Itoa(r.IntN(9)), at, dims...), wtypes.MeasureValueTypeVarchar)
			case 1:
				rec1 = typed(rec("whole", strconv.Itoa(r.IntN(1e9)-5e8), at, dims...), wtypes.MeasureValueTypeBigint)
			case 2:
				rec1 = multi("many", at, values[r.IntN(3)], "x", strconv.FormatFloat(r.NormFloat64(), 'g', -1, 64), "DOUBLE", "y", "text "+strconv.Itoa(r.IntN(5)), "VARCHAR")
			default:
				rec1 = rec("m"+strconv.Itoa(r.IntN(3)), strconv.FormatFloat(math.Trunc(r.NormFloat64()*1e6)/1e3, 'f', -1, 64), at, dims...)
			}
			key := fmt.Sprint(*rec1.MeasureName, *rec1.Time, dims, values)
			if rec1.MeasureValues != nil {
				key = *rec1.Time + *rec1.Dimensions[0].Value
			}
			if !seen[key] {
				seen[key] = true
				recs = append(recs, rec1)
			}
		}
		if _, err := write(db, recs...); err != nil {
			var rejected *wtypes.RejectedRecordsException
			if !errors.As(err, &rejected) { // a time that was written before
				t.Fatal(err)
			}
		}
	}
}

func TestQueryRowsIsQuery(t *testing.T) {
	db := open(t)
	r := rand.New(rand.NewPCG(5, 6))
	randomTable(t, db, r, 60)
	many(t, db, 5000) // several chunks
	key := `coalesce('host' || chr(0) || "host" || chr(0), '') || coalesce('zone' || chr(0) || "zone" || chr(0), '')`
	for _, sql := range []string{
		`SELECT * ` + from,
		`SELECT "host", "zone", CREATE_TIME_SERIES("time", "measure_value::double") AS s ` + from + ` WHERE "measure_name" = 'm1' AND "measure_value::double" IS NOT NULL GROUP BY "host", "zone", bin("time", 2h) ORDER BY ` + key + `, bin("time", 2h)`,
		`SELECT "measure_name", "host", "zone", CREATE_TIME_SERIES("time", "measure_value::double") AS s ` + from + ` WHERE "measure_value::double" IS NOT NULL GROUP BY "measure_name", "host", "zone"`,
		`SELECT "host", CREATE_TIME_SERIES(time, measure_value::varchar) ` + from + ` WHERE measure_name = 'text' GROUP BY "host", "zone"`,
		`SELECT "host", "time", "x", "y" ` + from + ` WHERE measure_name = 'many' AND ("x" IS NOT NULL OR "y" IS NOT NULL) ORDER BY "host", "time"`,
		`SELECT "host", CREATE_TIME_SERIES("at", "last") FROM (SELECT "host", max("time") AS "at", max_by("measure_value::double", "time") AS "last" ` + from + ` WHERE measure_name = 'm2' AND "measure_value::double" IS NOT NULL GROUP BY "host", bin("time" + 7ms, 10m)) GROUP BY "host"`,
		`SELECT "host", "zone" ` + from + ` WHERE "measure_value::double" IS NOT NULL GROUP BY "host", "zone" ORDER BY ` + key + ` LIMIT 3`,
		`SELECT count(*), count("zone"), count("quote"), max(time), min(measure_value::bigint), avg(measure_value::double) ` + from,
		`SELECT time, measure_value::double ` + from + ` WHERE measure_name = 'up' ORDER BY time`,
		`SELECT true, 1, 1.5, 'x', NULL, 1d, 3month, date '2020-02-03', time '01:02:03', 1e300, -0.0, 9223372036854775807`,
		`SELECT measure_value::double ` + from + ` WHERE false`,
		`SHOW TABLES FROM "` + database + `"`, `DESCRIBE "` + database + `"."` + table + `"`, `SHOW DATABASES`,
	} {
		if got := sameBothWays(t, db, sql); len(got) == 0 && !strings.Contains(sql, "WHERE false") {
			t.Errorf("%s: no rows", sql)
		}
	}
}

// scalars are the kinds of n columns without series.
func scalars(n int) []result.Kind { return make([]result.Kind, n) }

func ignore(result.Row) error { return nil }

func TestQueryRowsErrors(t *testing.T) {
	db := open(t, func(c *local.Config) { c.AllowActions = []string{"WriteRecords", "Select"} })
	many(t, db, 10)
	long := strings.Repeat("x", 300<<10)
	for _, sql := range []string{"", long, "SELECT", "SELECT nothing " + from, `SELECT 1 FROM "no"."table"`, "SELECT 1/0", "SELECT CAST('x' AS double)", "SHOW DATABASES", "SELECT CREATE_TIME_SERIES(time, CAST(NULL AS double)) " + from} {
		_, err := db.Query(context.Background(), &timestreamquery.QueryInput{QueryString: &sql})
		kinds := scalars(1)
		if strings.HasPrefix(sql, "SELECT CREATE") {
			kinds[0] = result.Doubles
		}
		stats, got := db.QueryRows(context.Background(), sql, kinds, ignore)
		var want, is smithy.APIError
		if !errors.As(err, &want) || !errors.As(got, &is) || is.ErrorCode() != want.ErrorCode() || is.ErrorMessage() != want.ErrorMessage() {
			t.Errorf("%.40s: got %v, Query says %v", sql, got, err)
		}
		if stats.Pages != 0 {
			t.Errorf("%.40s: %d pages", sql, stats.Pages)
		}
	}
	for _, kinds := range [][]result.Kind{nil, scalars(2), {result.Doubles}, {result.Texts}} {
		if _, err := db.QueryRows(context.Background(), "SELECT time "+from, kinds, ignore); err == nil {
			t.Errorf("kinds %v: no error", kinds)
		}
	}
	refused := errors.New("enough")
	rows := 0
	stats, err := db.QueryRows(context.Background(), "SELECT time "+from, scalars(1), func(result.Row) error {
		if rows++; rows == 3 {
			return refused
		}
		return nil
	})
	if !errors.Is(err, refused) || rows != 3 || stats.MeteredBytes != 10_000_000 {
		t.Errorf("a row was refused: got %v after %d rows, %+v", err, rows, stats)
	}
	ctx, cancel := context.WithCancel(context.Background())
	rows = 0
	_, err = db.QueryRows(ctx, "SELECT time "+from, scalars(1), func(result.Row) error {
		rows++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || rows != 1 {
		t.Errorf("cancelled: got %v after %d rows", err, rows)
	}
	if _, err := db.QueryRows(ctx, "SELECT time "+from, scalars(1), ignore); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: got %v", err)
	}
	// A statement that runs for long ends with its context.
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	many := "SELECT count(*) FROM (SELECT 1 AS x " + from + ") a CROSS JOIN (SELECT 1 AS y " + from + ") b"
	for range 7 {
		many += " CROSS JOIN (SELECT 1 " + from + ")"
	}
	if _, err := db.QueryRows(ctx, many, scalars(1), ignore); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a long statement: got %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var internal *qtypes.InternalServerException
	if _, err := db.QueryRows(context.Background(), "SELECT 1", scalars(1), ignore); !errors.As(err, &internal) {
		t.Errorf("closed: got %v", err)
	}
}

// TestQueryRowsHoldsNothing: while rows are handed out another statement runs, even where one at a time may, and what is
// written meanwhile is stored.
func TestQueryRowsHoldsNothing(t *testing.T) {
	db := open(t, func(c *local.Config) { c.QueryConcurrency = 1 })
	many(t, db, 5000)
	inner, outer := 0, 0
	_, err := db.QueryRows(context.Background(), "SELECT time "+from, scalars(1), func(result.Row) error {
		if outer++; outer%1000 != 1 {
			return nil
		}
		mustWrite(t, db, rec("up", "1", time.Duration(outer)*time.Millisecond, "host", "b"))
		_, err := db.QueryRows(context.Background(), "SELECT time "+from, scalars(1), func(result.Row) error {
			inner++
			return nil
		})
		return err
	})
	if err != nil || outer != 5000 || inner != 5*5000+1+2+3+4+5 {
		t.Errorf("got %v, %d and %d rows", err, outer, inner)
	}
}

// TestQueryRowsAreNotThrottled: results of several chunks that are handed out at one time do not count as open.
func TestQueryRowsAreNotThrottled(t *testing.T) {
	db := open(t, func(c *local.Config) { c.OpenResults = 1 })
	many(t, db, 5000)
	first, err := query(db, "SELECT time "+from, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	deepest := 0
	var nested func(depth int) error
	nested = func(depth int) error {
		if deepest = max(deepest, depth); depth == 10 {
			return nil
		}
		stop := errors.New("stop")
		_, err := db.QueryRows(context.Background(), "SELECT time "+from, scalars(1), func(result.Row) error {
			if err := nested(depth + 1); err != nil {
				return err
			}
			return stop
		})
		if errors.Is(err, stop) {
			return nil
		}
		return err
	}
	if err := nested(0); err != nil || deepest != 10 {
		t.Errorf("got %v after %d", err, deepest)
	}
	if _, err := query(db, "SELECT time "+from, 10, first.NextToken); err != nil {
		t.Errorf("the result of several pages: %v", err)
	}
}
