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
