// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/result"
)

// TestSlices compares statements that are run for some series after others with the same over the joined rows.
func TestSlices(t *testing.T) {
	dir := t.TempDir()
	in := func(slice int64) *local.DB {
		return open(t, func(c *local.Config) {
			c.Dir = dir
			c.SliceFrom(slice)
		})
	}
	db := in(40)
	randomTable(t, db, rand.New(rand.NewPCG(9, 10)), 60)
	many(t, db, 3000)
	const key = `"host", "zone", "quote", measure_name`
	check := func() {
		t.Helper()
		for _, sql := range []string{
			`SELECT ` + key + `, CREATE_TIME_SERIES(time, measure_value::double) %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key + `, bin(time, 1h)`,
			`SELECT measure_name, "zone" || 'x', CREATE_TIME_SERIES(time, measure_value::double) AS s, count(*) + 1 %s WHERE "host" <> 'b' AND time > from_milliseconds(1) AND measure_value::double IS NOT NULL AND measure_value::double > -100 GROUP BY ` + key + ` HAVING count(*) > 1`,
			`SELECT max(measure_value::bigint), "zone" || 'sid BETWEEN' || chr(0) || 'q1h' || chr(0) %s WHERE measure_value::bigint IS NOT NULL GROUP BY ` + key,
			`SELECT sum(measure_value::double), (SELECT count(*) FROM "` + database + `"."` + table + `") %s WHERE measure_name IN ('m0', 'm2') AND measure_value::double IS NOT NULL GROUP BY ` + key,
			`SELECT count(*) %s WHERE "host" = 'nowhere' AND measure_value::double IS NOT NULL GROUP BY ` + key,
			// These cannot be cut.
			`SELECT row_number() OVER (ORDER BY count(*), ` + key + `), ` + key + ` %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key,
			`SELECT DISTINCT count(*) %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key,
			`SELECT ` + key + `, count(*) %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key + ` ORDER BY 5 DESC, 1, 2, 3, 4 LIMIT 7`,
			`WITH w AS (SELECT ` + key + `, count(*) AS n %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key + `) SELECT w.*, (SELECT sum(n) FROM w) FROM w`,
			`SELECT count(*), max(n) FROM (SELECT count(*) AS n %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key + `)`,
			`SELECT count(*) AS n %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key + ` UNION ALL SELECT 1`,
		} {
			got := sameBothWays(t, db, fmt.Sprintf(sql, from))
			want, _ := byPages(t, db, strings.Replace(fmt.Sprintf(sql, from), " WHERE ", ` WHERE (time IS NOT NULL OR "host" = 'never') AND `, 1))
			if !strings.Contains(sql, "ORDER BY 5") {
				slices.Sort(want)
				slices.Sort(got)
			}
			if !slices.Equal(got, want) || len(got) == 0 && !strings.Contains(sql, "nowhere") {
				t.Errorf("%s\ngot:\n%s\nwant:\n%s", sql, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
	check()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = in(1) // each series by itself
	check()
}

// TestSlicesAreOneSnapshot: what is written while pages are fetched is in none of them, and a result may be left between two slices.
func TestSlicesAreOneSnapshot(t *testing.T) {
	db := open(t, func(c *local.Config) { c.SliceFrom(1) })
	scrape := func(at time.Duration) {
		var recs []wtypes.Record
		for i := range 60 {
			recs = append(recs, rec("up", "1", at, "host", strconv.Itoa(i)))
		}
		mustWrite(t, db, recs...)
	}
	scrape(-time.Minute)
	sql := `SELECT "host", count(*) ` + from + ` WHERE measure_value::double IS NOT NULL GROUP BY measure_name, "host"`
	var token *string
	rows := 0
	for page := 0; page == 0 || token != nil; page++ {
		out, err := query(db, sql, 7, token)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Rows {
			if rows++; *r.Data[1].ScalarValue != "1" {
				t.Errorf("host %s has %s records, after %d rows", *r.Data[0].ScalarValue, *r.Data[1].ScalarValue, rows)
			}
		}
		if token = out.NextToken; page < 3 {
			scrape(time.Duration(page) * time.Second)
		}
	}
	if rows != 60 {
		t.Errorf("%d rows", rows)
	}
	left := errors.New("left")
	if _, err := db.QueryRows(context.Background(), sql, make([]result.Kind, 2), func(result.Row) error { return left }); !errors.Is(err, left) {
		t.Errorf("got %v", err)
	}
	if _, err := query(db, sql, 7, nil); err != nil { // Close ends it
		t.Error(err)
	}
	if _, err := query(db, strings.Replace(sql, "count(*)", "count(*) / (count(*) - 4)", 1), 0, nil); err == nil {
		t.Error("a division by zero was computed")
	}
}
