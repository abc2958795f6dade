// SPDX-License-Identifier: Apache-2.0

package local

import (
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// TestHalvesAreUsed: what the query service asks for is not run over samples joined with series, or this package's other
// tests of halves would compare the same with itself.
func TestHalvesAreUsed(t *testing.T) {
	db, end := benchTableOf(t, 2, 10, 5)
	day := end.Add(-24 * time.Hour)
	last := strings.Replace(benchGrouped("metric_1_total", "", day, end), `CREATE_TIME_SERIES("time", "measure_value::double")`, `max("time"), max_by("measure_value::double", "time")`, 1)
	for _, tt := range []struct {
		name, sql string
		// want and not are what DuckDB's SQL has and has not.
		want, not string
	}{
		{"grouped", benchGrouped("metric_1_total", "", day, end), "q1l AS MATERIALIZED", "s.sid = x.sid"},
		{"last of each step", last, "q1l AS MATERIALIZED", "s.sid = x.sid"},
		{"a key that tells nothing apart", strings.Replace(benchGrouped("metric_1_total", "", day, end), `GROUP BY "code", `, `GROUP BY `, 1), "", "MATERIALIZED"},
		{"listing", benchListing("", day, end, ""), "(sid & 4294967295) < 21", "t1_double"},
		{"listing, each series once", benchListing("", day, end, " LIMIT 7"), "", "GROUP BY"},
		{"listing of a metric", benchListing(`"measure_name" = 'metric_1_total' AND "code" = '203' AND `, day, end, ""), "", "t1_double"},
		{"listing before the last records", benchListing("", day, end.Add(-time.Second), ""), "SELECT sid FROM t1_double", "s.sid = x.sid"},
		{"values", benchValues("pod", "", day, end, " LIMIT 3"), "GROUP BY", "t1_double"},
	} {
		sql := tt.sql
		if tt.name == "a key that tells nothing apart" {
			sql = strings.Replace(strings.Replace(sql, `SELECT "code", `, `SELECT `, 1), `coalesce('code' || chr(0) || "code" || chr(0), '') || `, "", 1)
		}
		p, err := sqlplan.Compile(sql, view{db, end}, end)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if !strings.Contains(p.SQL, tt.want) || tt.not != "" && strings.Contains(p.SQL, tt.not) {
			t.Errorf("%s: want %q and not %q in\n%s", tt.name, tt.want, tt.not, p.SQL)
		}
	}
}

// TestWhatIsCut: which statements are run for some series after others, and which of them in an order.
func TestWhatIsCut(t *testing.T) {
	db, end := benchTableOf(t, 2, 10, 5)
	day := end.Add(-24 * time.Hour)
	grouped := benchGrouped("metric_1_total", "", day, end)
	body, order, _ := strings.Cut(grouped, "ORDER BY ")
	last := benchLastPerStep("metric_1_total", day, end, "60s")
	const from = ` FROM "prometheus"."metrics" WHERE "measure_name" = 'metric_1_total' AND "measure_value::double" IS NOT NULL`
	const labels = `"code", "instance", "job", "namespace", "pod"`
	const groups = `SELECT ` + labels + `, count(*) AS n` + from + ` GROUP BY ` + labels
	for _, tt := range []struct{ name, sql, want string }{
		{"the query service's", grouped, "ordered"},
		{"its last of each step", last, "ordered"},
		{"in no order", body, "cut"},
		{"in no order, of each step", last[:strings.Index(last, "ORDER BY")], "cut"},
		{"by an alias of a key", strings.Replace(grouped, `"code", "instance"`, `"code" AS c, "instance"`, 1) + ", 5 DESC", "ordered"},
		{"by place", body + "ORDER BY 2, 6 - 1", "ordered"},
		{"by a constant and a key", body + `ORDER BY 'x', "pod"`, "ordered"},
		{"by time first", body + `ORDER BY bin("time", 2h), ` + order, "whole"},
		{"by an aggregate", groups + ` ORDER BY count(*), "pod"`, "whole"},
		{"by an aggregate's alias", groups + ` ORDER BY n + 1, "pod"`, "whole"},
		{"by a key and an aggregate", groups + ` ORDER BY "pod", n`, "ordered"},
		{"by something random", groups + ` ORDER BY rand()`, "whole"},
		{"by a subquery", groups + ` ORDER BY (SELECT max("pod") FROM "prometheus"."metrics")`, "whole"},
		{"limited", grouped + " LIMIT 7", "whole"},
		{"distinct", strings.Replace(groups, "SELECT", "SELECT DISTINCT", 1) + ` ORDER BY "pod"`, "whole"},
		{"numbered", strings.Replace(groups, "count(*)", "row_number() OVER (ORDER BY count(*))", 1) + ` ORDER BY "pod"`, "whole"},
		{"by a number", groups + ` ORDER BY "pod", row_number() OVER (ORDER BY count(*))`, "whole"},
		{"around groups", `SELECT "pod", n * 2 FROM (` + groups + `) WHERE n > 1 ORDER BY "pod" DESC, n`, "ordered"},
		{"around groups, of less", `SELECT "pod", max(n) FROM (` + groups + `) GROUP BY "pod" ORDER BY "pod"`, "whole"},
		{"around groups, of the same", `SELECT p, max(n) FROM (SELECT * FROM (` + groups + `)) AS x(c, i, j, ns, p, n) GROUP BY c, i, j, ns, p ORDER BY p`, "ordered"},
		{"around groups, of what tells series apart", `SELECT p, max(n) FROM (SELECT "job" || 'x' AS j, "namespace" AS ns, "code" AS c, "instance" AS i, "pod" AS p, n FROM (` + groups + `)) GROUP BY c, ns, i, p ORDER BY p`, "whole"},
		{"around some", `SELECT "pod", n FROM (` + groups + ` LIMIT 3) ORDER BY "pod"`, "whole"},
		{"around distinct ones", `SELECT "pod", n FROM (` + strings.Replace(groups, "SELECT", "SELECT DISTINCT", 1) + `) ORDER BY "pod"`, "whole"},
		{"around numbered ones", `SELECT "pod", n FROM (` + strings.Replace(groups, "count(*)", "row_number() OVER (ORDER BY count(*))", 1) + `) ORDER BY "pod"`, "whole"},
		{"around all of them", `SELECT count(*), max(n) FROM (` + groups + `)`, "whole"},
		{"by name", `WITH w AS (` + groups + `) SELECT "pod", n FROM w ORDER BY "pod"`, "ordered"},
		{"by name, used twice", `WITH w AS (` + groups + `) SELECT "pod", n, (SELECT sum(n) FROM w) FROM w ORDER BY "pod"`, "whole"},
		{"joined", `SELECT a."pod", a.n FROM (` + groups + `) a JOIN (` + groups + `) b ON a.n = b.n ORDER BY a."pod"`, "whole"},
		{"together", groups + ` UNION ALL ` + groups + ` ORDER BY 1`, "whole"},
		{"not by series", `SELECT "pod", count(*) AS n` + from + ` GROUP BY "pod" ORDER BY "pod"`, "whole"},
		{"single records", `SELECT "pod", "time"` + from + ` ORDER BY "pod", "time"`, "whole"},
	} {
		p, err := sqlplan.Compile(tt.sql, view{db, end}, end)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := "whole"
		if p.Slices != nil {
			if got = "cut"; p.Slices.Ordered {
				got = "ordered"
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if strings.Contains(p.SQL, "\x00") || p.Slices != nil && strings.Contains(p.Slices.Counts+p.Slices.SQL("true", "true"), "\x00") {
			t.Errorf("%s: a place is left in %q", tt.name, p.SQL)
		}
	}
}
