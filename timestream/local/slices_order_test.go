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

// ranked is the order that the query service asks for: that of labels, of which some may be missing.
const ranked = `CASE WHEN "host" IS NOT NULL THEN 1 WHEN coalesce("quote", "zone") IS NULL THEN 0 ELSE 2 END, "host", CASE WHEN "quote" IS NOT NULL THEN 1 WHEN "zone" IS NULL THEN 0 ELSE 2 END, "quote", CASE WHEN "zone" IS NOT NULL THEN 1 ELSE 0 END, "zone"`

// whole makes a statement one that is run over the joined rows, which are never sliced.
func whole(sql string) string {
	return strings.Replace(sql, " WHERE ", ` WHERE (time IS NOT NULL OR "host" = 'never') AND `, 1)
}

// TestOrderedSlices compares statements that are run for some series after others, in their order, with the same over the joined rows, in tables of
// many parts, after records of theirs were replaced.
func TestOrderedSlices(t *testing.T) {
	dir := t.TempDir()
	in := func(slice int64) *local.DB {
		return open(t, func(c *local.Config) {
			c.Dir = dir
			c.SliceFrom(slice)
			c.SmallParts(200, 50, 3, nil)
		})
	}
	db := in(1)
	r := rand.New(rand.NewPCG(11, 12))
	randomTable(t, db, r, 60)
	many(t, db, 1000)
	for i := range 50 {
		again := rec("up", strconv.Itoa(-i), time.Duration(20*i-1000)*time.Second, "host", "a")
		version := time.Now().UnixMilli()
		again.Version = &version
		_, _ = write(db, again) // some of them are not there
	}
	db.SealAll(t)
	mustWrite(t, db, rec("up", "1", time.Second, "host", "z"))
	const key = `"host", "zone", "quote", measure_name`
	fixed := []string{
		`SELECT ` + key + `, CREATE_TIME_SERIES(time, measure_value::double) %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key + `, bin(time, 1h) ORDER BY replace(measure_name, '--', ':'), ` + ranked + `, bin(time, 1h)`,
		`SELECT "host", "zone", "quote", "host" LIKE 'c%%' AS rest, CREATE_TIME_SERIES(time, measure_value::double) %s WHERE measure_name = 'm1' AND measure_value::double IS NOT NULL GROUP BY "host", "zone", "quote", "host" LIKE 'c%%', bin(time, 2h) ORDER BY rest DESC, CASE WHEN "zone" IS NULL THEN 1 ELSE 0 END, ` + ranked + `, bin(time, 2h)`,
		`SELECT ` + key + `, count(*) AS n, max(time) %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key + ` ORDER BY coalesce('host' || chr(0) || "host", '') || coalesce("zone", ''), 3 DESC NULLS FIRST, 4 DESC, n`,
		`SELECT ` + key + `, CREATE_TIME_SERIES(at, v) FROM (SELECT ` + key + `, max(time) AS at, max_by(measure_value::double, time) AS v %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key + `, bin(time + 1ms, 15m)) AS steps GROUP BY ` + key + `, bin(at, 2h) ORDER BY measure_name, ` + ranked + `, bin(at, 2h)`,
		`WITH w AS (SELECT ` + key + `, bin(time, 30m) AS at, count(*) AS n %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key + `, bin(time, 30m)) SELECT upper("host") AS h, measure_name, "zone", "quote", at, n FROM w WHERE n > 1 ORDER BY h DESC, 2, 3, 4, 5 DESC`,
		`SELECT "host", "zone", "quote", measure_name, v, n FROM (SELECT ` + key + `, measure_value::double AS v, count(*) AS n %s WHERE measure_value::double IS NOT NULL GROUP BY ` + key + `, measure_value::double) ORDER BY 4 DESC, "quote" DESC, "host", "zone", v, n`,
		`SELECT "host" %s WHERE "host" = 'nowhere' AND measure_value::double IS NOT NULL GROUP BY ` + key + ` ORDER BY measure_name`,
		`SELECT max(measure_value::bigint), "zone" %s WHERE measure_value::bigint IS NOT NULL GROUP BY ` + key + ` ORDER BY "zone" NULLS FIRST, 1`,
	}
	check := func(sql string) {
		t.Helper()
		got := sameBothWays(t, db, sql)
		want, _ := byPages(t, db, whole(sql))
		if !slices.Equal(got, want) || len(got) == 0 && !strings.Contains(sql, "nowhere") {
			t.Errorf("%s\ngot:\n%s\nwant:\n%s", sql, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for _, slice := range []int64{3, 40, 300} {
		if db != nil {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		db = in(slice)
		for _, sql := range fixed {
			check(fmt.Sprintf(sql, from))
		}
		for range 10 {
			check(randomOrdered(r))
		}
	}
}

// randomOrdered is a grouped statement with an order that leaves nothing open.
func randomOrdered(r *rand.Rand) string {
	keys := []string{`"host"`, `"zone"`, `"quote"`, `measure_name`, `bin(time, ` + []string{"20m", "1h", "3h"}[r.IntN(3)] + `)`}
	n := 4 + r.IntN(2)
	keys = keys[:n]
	order := []string{`upper("host")`, `coalesce("zone", 'b')`, `CASE WHEN "quote" IS NULL THEN 0 ELSE 1 END`, `length(measure_name)`, `"zone" || measure_name`, `count(*)`, `max(measure_value::double)`}
	r.Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
	order = order[:r.IntN(4)]
	rest := slices.Clone(keys)
	r.Shuffle(n, func(i, k int) { rest[i], rest[k] = rest[k], rest[i] })
	order = append(order, rest...)
	for i := range order {
		order[i] += []string{"", "", " DESC", " NULLS FIRST", " DESC NULLS FIRST"}[r.IntN(5)]
	}
	where := []string{"", ` AND "host" <> 'b'`, ` AND measure_name IN ('m0', 'm2')`, ` AND time > ago(3h)`, ` AND "zone" IS NULL`}[r.IntN(5)]
	r.Shuffle(n, func(i, k int) { keys[i], keys[k] = keys[k], keys[i] })
	return `SELECT ` + strings.Join(keys, ", ") + `, count(*), max(measure_value::double), CREATE_TIME_SERIES(time, measure_value::double) ` + from +
		` WHERE measure_value::double IS NOT NULL` + where + ` GROUP BY ` + strings.Join(keys, ", ") + ` ORDER BY ` + strings.Join(order, ", ")
}

// TestTiedSlices: rows of which the beginning of the order says the same come in the order of its end, whichever series they are of, and in any where
// it has none.
func TestTiedSlices(t *testing.T) {
	db := open(t, func(c *local.Config) { c.SliceFrom(10) })
	randomTable(t, db, rand.New(rand.NewPCG(13, 14)), 60)
	for _, order := range [][]string{
		{`"zone"`, `count(*)`},
		{`"zone" DESC`, `count(*) DESC`, `bin(time, 1h)`},
		{`"host" || measure_name`, `"quote" IS NULL`, `bin(time, 1h) DESC`, `count(*)`},
		{`measure_name`},
		{`bin(time, 1h)`, `"host"`},
		{`length(measure_name) NULLS FIRST`},
	} {
		places, items := make([]string, len(order)), make([]string, len(order))
		for i, o := range order {
			item, _, _ := strings.Cut(strings.ReplaceAll(o, " DESC", " NULLS"), " NULLS")
			items[i], places[i] = item, strconv.Itoa(i+1)+strings.TrimPrefix(o, item)
		}
		sql := `SELECT ` + strings.Join(items, ", ") + `, max(time) AS last, "host", "zone", measure_name, "quote" ` + from +
			` WHERE measure_value::double IS NOT NULL GROUP BY "host", "zone", "quote", measure_name, bin(time, 1h) ORDER BY ` + strings.Join(places, ", ")
		// sorted returns what the rows are ordered by, in their order, and the rows in another.
		sorted := func(sql string) (keys, rows []string) {
			rows, _ = byPages(t, db, sql)
			for _, r := range rows {
				keys = append(keys, strings.Join(strings.SplitAfterN(r, " | ", len(order)+1)[:len(order)], ""))
			}
			slices.Sort(rows)
			return keys, rows
		}
		gotKeys, got := sorted(sql)
		wantKeys, want := sorted(whole(sql))
		if !slices.Equal(gotKeys, wantKeys) || !slices.Equal(got, want) || len(got) < 100 {
			t.Errorf("%s\ngot %d rows:\n%s\nwant %d:\n%s", sql, len(got), strings.Join(gotKeys, "\n"), len(want), strings.Join(wantKeys, "\n"))
		}
	}
}

// TestOrderedSlicesAreOneSnapshot: what is written while rows are handed out, and replaced and rewritten, is in none of them; the result may be left
// between two slices, and a failure in a later one is told.
func TestOrderedSlicesAreOneSnapshot(t *testing.T) {
	db := open(t, func(c *local.Config) {
		c.SliceFrom(1)
		c.SmallParts(100, 30, 3, nil)
	})
	scrape := func(at time.Duration, value string) {
		var recs []wtypes.Record
		for i := range 60 {
			recs = append(recs, rec("up", value, at, "host", strconv.Itoa(i)))
		}
		version := time.Now().UnixMilli()
		for i := range recs {
			recs[i].Version = &version
		}
		mustWrite(t, db, recs...)
	}
	scrape(-time.Minute, "1")
	sql := `SELECT "host", count(*), max(measure_value::double) ` + from + ` WHERE measure_value::double IS NOT NULL GROUP BY measure_name, "host" ORDER BY "host" DESC`
	var token *string
	var hosts []string
	for page := 0; page == 0 || token != nil; page++ {
		out, err := query(db, sql, 7, token)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Rows {
			if hosts = append(hosts, *r.Data[0].ScalarValue); *r.Data[1].ScalarValue != "1" || *r.Data[2].ScalarValue != "1.0" {
				t.Errorf("host %s has %s records and %s, after %d rows", *r.Data[0].ScalarValue, *r.Data[1].ScalarValue, *r.Data[2].ScalarValue, len(hosts))
			}
		}
		if token = out.NextToken; page < 3 {
			scrape(time.Duration(page)*time.Second, "2")
			scrape(-time.Minute, "3")
			db.SealAll(t)
		}
	}
	if len(hosts) != 60 || !slices.IsSortedFunc(hosts, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("hosts %q", hosts)
	}
	db.AwaitRewritten(t)
	left := errors.New("left")
	if _, err := db.QueryRows(context.Background(), sql, make([]result.Kind, 3), func(result.Row) error { return left }); !errors.Is(err, left) {
		t.Errorf("got %v", err)
	}
	if _, err := query(db, sql, 7, nil); err != nil { // Close ends it
		t.Error(err)
	}
	if _, err := query(db, strings.Replace(sql, "count(*)", `1 / (CAST("host" AS BIGINT) - 30)`, 1), 0, nil); err == nil {
		t.Error("a division by zero was computed")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := db.QueryRows(ctx, sql, make([]result.Kind, 3), func(result.Row) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
