// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestServiceShapes holds the statements that a reader of series sends: grouped, in the order of labels, with time series of
// doubles and of text.
func TestServiceShapes(t *testing.T) {
	e := newEngine(t, tableM)
	key := func(columns ...string) string {
		var parts []string
		for _, c := range columns {
			parts = append(parts, `coalesce('`+c+`' || chr(0) || "`+c+`" || chr(0), '')`)
		}
		return strings.Join(parts, " || ")
	}
	const from = ` FROM "db"."m" WHERE "measure_name" = 'up' AND "time" >= from_milliseconds(1655461440000) AND "time" < from_milliseconds(1655461500001)`
	for _, tt := range []struct {
		name, give string
		want       []string
	}{
		{"samples in order", `SELECT "job", "In stance", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"` + from +
			` GROUP BY "job", "In stance", bin("time", 2h) ORDER BY ` + key("In stance", "job") + `, bin("time", 2h)`,
			[]string{"node | a:9100 | {2022-06-17 10:24:45.000000000=0.5, 2022-06-17 10:25:00.000000000=1.0}", "node | b:9100 | {2022-06-17 10:25:00.000000000=1.0E7}"}},
		{"a time series of text", `SELECT "job", CREATE_TIME_SERIES("time", coalesce("note", 'b' || CAST("measure_value::bigint" AS varchar), 'v' || CAST("measure_value::double" AS varchar))) FROM "db"."m" GROUP BY "job", bin("time", 3600000ms) ORDER BY "job"`,
			[]string{"api | {2022-06-17 10:25:00.123456789=b42}", "node | {2022-06-17 10:24:45.000000000=v0.5, 2022-06-17 10:25:00.000000000=v1.0, 2022-06-17 10:25:00.000000000=v1.0E7}",
				"NULL | {2022-06-17 10:24:00.000000000=it's 100%}"}},
		{"the last sample per step", `SELECT "In stance", CREATE_TIME_SERIES(t, v) FROM (SELECT "In stance", max("time") AS t, max_by("measure_value::double", "time") AS v` + from +
			` GROUP BY "In stance", bin("time" + 1234ms, 1h)) GROUP BY "In stance", bin(t, 2h) ORDER BY ` + key("In stance") + `, bin(t, 2h)`,
			[]string{"a:9100 | {2022-06-17 10:25:00.000000000=1.0}", "b:9100 | {2022-06-17 10:25:00.000000000=1.0E7}"}},
		{"a listing", `SELECT DISTINCT "job" FROM "db"."m" WHERE "time" > ago(1h) ORDER BY "job" LIMIT 1001`, []string{"api", "node", "NULL"}},
		{"series", `SELECT "job", "In stance" FROM "db"."m" GROUP BY "job", "In stance" ORDER BY coalesce("job" || chr(0), ''), "In stance" LIMIT 3`,
			[]string{"NULL | c", "api | NULL", "node | a:9100"}},
		{"the order of labels.Compare", `SELECT "job", "In stance" FROM "db"."m" GROUP BY "job", "In stance" ORDER BY CASE WHEN "In stance" IS NOT NULL THEN 1 WHEN coalesce("job", NULL) IS NULL THEN 0 ELSE 2 END, "In stance", "job"`,
			[]string{"node | a:9100", "node | b:9100", "NULL | c", "api | NULL"}},
		{"names of recording rules", `SELECT DISTINCT replace("measure_name", '--', ':') AS n FROM "db"."m" ORDER BY n`, []string{"events", "requests", "up"}},
		{"order by what is computed of a key", `SELECT "measure_name" FROM "db"."m" GROUP BY "measure_name" ORDER BY nullif(replace("measure_name", '--', ':'), 'up') DESC NULLS FIRST, CASE WHEN "measure_name" = 'up' THEN 1 END`,
			[]string{"up", "requests", "events"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, rows, err := e.query(tt.give)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Collect(texts(rows)); !slices.Equal(sortedPoints(got), sortedPoints(tt.want)) {
				t.Errorf("got  %q\nwant %q\n%s", got, tt.want, plan.SQL)
			}
		})
	}
}

// sortedPoints puts points of one instant, which have no order, into one.
func sortedPoints(rows []string) []string {
	out := slices.Clone(rows)
	for i, r := range out {
		if from, to := strings.IndexByte(r, '{'), strings.IndexByte(r, '}'); from >= 0 && to > from {
			points := strings.Split(r[from+1:to], ", ")
			slices.Sort(points)
			out[i] = r[:from+1] + strings.Join(points, ", ") + r[to:]
		}
	}
	return out
}

// TestOrderOfText holds that text sorts by its UTF-8 bytes, with NUL and the empty text in their places and NULL last, and
// that comparisons agree with the order.
func TestOrderOfText(t *testing.T) {
	want := []string{"", "\x00", "\x00\x00", "\x00a", "\x01", " ", "A", "B", "a", "a\x00", "a\x00b", "a\x01", "aa", "abcdefghijklmn", "abcdefghijklmn\x00", "abcdefghijklmo", "z", "\u00e9", "\u0301", "\u200b", "\uffff", "\U0001f986"}
	var inserts []string
	for i, w := range want {
		// Not the order of insertion either.
		inserts = append(inserts, fmt.Sprintf("(%s, %d)", quote(w), (i*7)%len(want)))
	}
	e := newEngine(t, strings.ReplaceAll(tableM, "('node', 'a:9100'", "('', 'a:9100'")+"; DELETE FROM m; INSERT INTO m (d1, t) SELECT * FROM (VALUES "+strings.Join(inserts, ", ")+") AS v(a, b) ORDER BY b; INSERT INTO m (d2) VALUES ('x')")
	for _, sql := range []string{
		"SELECT job FROM db.m ORDER BY job",
		"SELECT DISTINCT job FROM db.m ORDER BY job LIMIT 1000",
		"SELECT job FROM db.m GROUP BY job ORDER BY job || chr(0)",
	} {
		_, rows, err := e.query(sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		got := slices.Collect(texts(rows))
		if !slices.Equal(got, append(slices.Clone(want), "NULL")) {
			t.Errorf("%s: got %q, want %q", sql, got, want)
		}
	}
	_, rows, err := e.query("SELECT count(*) FROM db.m WHERE job > 'a' || chr(0) AND job < 'aa'")
	if err != nil || rowText(rows[0]) != "2" {
		t.Errorf("got %v, %v", slices.Collect(texts(rows)), err)
	}
}

// TestLongChains holds that an expression may be as long as a table has columns.
func TestLongChains(t *testing.T) {
	e := newEngine(t, tableM)
	part := `coalesce('job' || chr(0) || "job" || chr(0), '')`
	for _, sql := range []string{
		"SELECT job FROM db.m GROUP BY job ORDER BY " + part + strings.Repeat(" || "+part, 500) + " DESC",
		"SELECT job FROM db.m GROUP BY job ORDER BY 'a'" + strings.Repeat(" || job", 1000) + " DESC NULLS LAST",
	} {
		_, rows, err := e.query(sql)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Collect(texts(rows)); !slices.Equal(got, []string{"node", "api", "NULL"}) {
			t.Errorf("got %q", got)
		}
	}
}
