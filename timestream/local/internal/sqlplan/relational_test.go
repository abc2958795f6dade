// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// check is a statement with what it answers; wantTypes is not looked at where it is empty.
type check struct {
	name, give, wantNames, wantTypes string
	want                             []string
}

func (e *engine) check(t *testing.T, list []check) {
	t.Helper()
	for _, tt := range list {
		t.Run(tt.name, func(t *testing.T) {
			plan, rows, err := e.query(tt.give)
			if err != nil {
				t.Fatal(err)
			}
			if got := namesOf(plan); tt.wantNames != "" && got != tt.wantNames {
				t.Errorf("names %s, want %s", got, tt.wantNames)
			}
			if got := typesOf(plan); tt.wantTypes != "" && got != tt.wantTypes {
				t.Errorf("types %s, want %s", got, tt.wantTypes)
			}
			if got := slices.Collect(texts(rows)); !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q\n%s", got, tt.want, plan.SQL)
			}
		})
	}
}

func TestFromItems(t *testing.T) {
	const a, b = "(VALUES (1, 'one'), (2, 'two'), (3, 'three')) AS a(id, name)", "(VALUES (2, 20.5), (3, 30.5), (3, 31.5), (4, NULL)) AS b(id, v)"
	e := newEngine(t, tableM)
	e.check(t, []check{
		{"values", "SELECT * FROM (VALUES (1, 'a', NULL), (3000000000, 'b', 2.5))", "_col0 | _col1 | _col2", "bigint | varchar | double", []string{"1 | a | NULL", "3000000000 | b | 2.5"}},
		{"values of one column", "SELECT x + 1 FROM (VALUES 1, 2) t(x)", "_col0", "integer", []string{"2", "3"}},
		{"inner", "SELECT a.name, b.v FROM " + a + " JOIN " + b + " ON a.id = b.id ORDER BY v", "name | v", "varchar | double", []string{"two | 20.5", "three | 30.5", "three | 31.5"}},
		{"left", "SELECT a.name, b.v FROM " + a + " LEFT OUTER JOIN " + b + " ON a.id = b.id AND v > 21 ORDER BY a.id, v", "name | v", "varchar | double", []string{"one | NULL", "two | NULL", "three | 30.5", "three | 31.5"}},
		{"right", "SELECT a.name, b.id FROM " + a + " RIGHT JOIN " + b + " ON a.id = b.id ORDER BY b.id, b.v", "name | id", "varchar | integer", []string{"two | 2", "three | 3", "three | 3", "NULL | 4"}},
		{"full", "SELECT a.id, b.id FROM " + a + " FULL JOIN " + b + " ON a.id = b.id ORDER BY coalesce(a.id, b.id), v", "id | id", "integer | integer", []string{"1 | NULL", "2 | 2", "3 | 3", "3 | 3", "NULL | 4"}},
		{"cross", "SELECT count(*), sum(a.id) FROM " + a + " CROSS JOIN " + b, "", "bigint | bigint", []string{"12 | 24"}},
		{"comma", "SELECT x.id FROM " + strings.Replace(a, "AS a", "AS x", 1) + ", " + b + " WHERE x.id = b.id AND v > 31", "id", "integer", []string{"3"}},
		{"using", "SELECT * FROM " + a + " JOIN " + b + " USING (id) ORDER BY id, v", "id | name | v", "integer | varchar | double", []string{"2 | two | 20.5", "3 | three | 30.5", "3 | three | 31.5"}},
		{"full using", "SELECT id, name, v FROM " + a + " FULL JOIN " + b + " USING (id) ORDER BY id, v", "id | name | v", "", []string{"1 | one | NULL", "2 | two | 20.5", "3 | three | 30.5", "3 | three | 31.5", "4 | NULL | NULL"}},
		{"a star of one side", "SELECT b.* FROM " + a + " JOIN " + b + " ON a.id = b.id AND a.id = 2", "id | v", "", []string{"2 | 20.5"}},
		{"three items", "SELECT a.id, b.v, c.x FROM " + a + " JOIN " + b + " ON a.id = b.id LEFT JOIN (VALUES (30.5, 'x')) AS c(v, x) ON c.v = b.v ORDER BY b.v", "id | v | x", "", []string{"2 | 20.5 | NULL", "3 | 30.5 | x", "3 | 31.5 | NULL"}},
		{"a join in parentheses", "SELECT a.id, c.x FROM " + a + " LEFT JOIN (" + b + " JOIN (VALUES (30.5, 'x')) AS c(v, x) ON c.v = b.v) ON a.id = b.id ORDER BY a.id", "id | x", "", []string{"1 | NULL", "2 | NULL", "3 | x"}},
		{"a table with itself", `SELECT x."In stance", y.time FROM db.m x JOIN db.m y ON x."In stance" = y."In stance" AND x.time = y.time WHERE x.job = 'node' ORDER BY 1, 2`, "In stance | time", "varchar | timestamp",
			[]string{"a:9100 | 2022-06-17 10:24:45.000000000", "a:9100 | 2022-06-17 10:25:00.000000000", "b:9100 | 2022-06-17 10:25:00.000000000"}},
		{"computed columns of tables", `SELECT m."measure_value::bigint", n.ok FROM db.m, db.m AS n WHERE m.job = 'api' AND n.note IS NOT NULL`, "measure_value::bigint | ok", "bigint | boolean", []string{"42 | true"}},
		{"names in full", `SELECT "db"."m"."job", m.job FROM "db"."m" WHERE db.m.measure_name = 'requests'`, "_col0 | job", "varchar | varchar", []string{"api | api"}},
		{"a CTE twice", "WITH c AS (SELECT job, count(*) n FROM db.m GROUP BY job) SELECT x.job, x.n, y.n FROM c x JOIN c y ON x.job = y.job WHERE y.n > 1", "job | n | n", "varchar | bigint | bigint", []string{"node | 3 | 3"}},
		{"CTEs of CTEs", "WITH a (x) AS (VALUES 1, 2), b AS (SELECT a.x + c.x AS x FROM a CROSS JOIN a c), d AS (SELECT b.x FROM b, b e) SELECT count(*), sum(x) FROM d", "", "", []string{"16 | 48"}},
		{"a CTE that nobody reads", "WITH a AS (SELECT 1), b AS (SELECT 2 AS x) SELECT x FROM b", "x", "integer", []string{"2"}},
		{"a CTE that hides another", "WITH a AS (SELECT 1 AS x) SELECT x FROM (WITH a AS (SELECT 2 AS x) SELECT * FROM a)", "x", "integer", []string{"2"}},
		{"an aliased table's columns", "SELECT j, n FROM (SELECT job, count(*) FROM db.m GROUP BY 1) AS t(j, n) WHERE n = 1 ORDER BY j", "j | n", "", []string{"api | 1", "NULL | 1"}},
		{"grouping over a join", "SELECT a.name, count(b.id), max(v) FROM " + a + " LEFT JOIN " + b + " ON a.id = b.id GROUP BY a.name HAVING count(*) < 3 ORDER BY 2 DESC, 1", "name | _col1 | _col2", "varchar | bigint | double",
			[]string{"three | 2 | 31.5", "two | 1 | 20.5", "one | 0 | NULL"}},
		{"unnest an array", "SELECT x, y FROM (VALUES (1, ARRAY['a', 'b']), (2, ARRAY[]), (3, NULL), (4, ARRAY[NULL])) AS t(x, l) CROSS JOIN UNNEST(l) AS u(y) ORDER BY x, y", "x | y", "integer | varchar", []string{"1 | a", "1 | b", "4 | NULL"}},
		{"unnest alone", "SELECT * FROM UNNEST(ARRAY[1, 2], ARRAY['x']) WITH ORDINALITY AS t(a, b, c) ORDER BY c", "a | b | c", "integer | varchar | bigint", []string{"1 | x | 1", "2 | NULL | 2"}},
		{"unnest rows", "SELECT * FROM UNNEST(ARRAY[(1, 'a'), (2, 'b')]) AS t(n, s)", "n | s", "integer | varchar", []string{"1 | a", "2 | b"}},
		{"unnest a time series", `SELECT "In stance", t.time, t.value FROM (SELECT "In stance", create_time_series(time, measure_value::double) AS s FROM db.m WHERE measure_name = 'up' GROUP BY 1) CROSS JOIN UNNEST(s) AS t ORDER BY 1, 2`,
			"In stance | time | value", "varchar | timestamp | double", []string{"a:9100 | 2022-06-17 10:24:45.000000000 | 0.5", "a:9100 | 2022-06-17 10:25:00.000000000 | 1.0", "b:9100 | 2022-06-17 10:25:00.000000000 | 1.0E7"}},
		{"unnest a time series under other names", `SELECT at, v FROM (SELECT create_time_series(time, measure_value::bigint) AS s FROM db.m WHERE job = 'api'), UNNEST(s) AS t(at, v)`, "at | v", "timestamp | bigint", []string{"2022-06-17 10:25:00.123456789 | 42"}},
		{"unnest over a join", "SELECT a.id, u.x FROM " + a + " JOIN " + b + " ON a.id = b.id CROSS JOIN UNNEST(ARRAY[a.id, b.id * 10]) AS u(x) WHERE v > 31 ORDER BY x", "id | x", "", []string{"3 | 3", "3 | 30"}},
	})
}

func TestSetOperations(t *testing.T) {
	e := newEngine(t, tableM)
	e.check(t, []check{
		{"union all", "SELECT 1 AS a UNION ALL SELECT 1 UNION ALL SELECT 2.5 ORDER BY a DESC", "a", "double", []string{"2.5", "1.0", "1.0"}},
		{"union", "SELECT 1 UNION SELECT 1 UNION SELECT 2 ORDER BY 1", "_col0", "integer", []string{"1", "2"}},
		{"union of rows with NULL", "SELECT job, NULL x FROM db.m UNION DISTINCT SELECT 'x', 'y' ORDER BY job, x", "job | x", "varchar | varchar", []string{"api | NULL", "node | NULL", "x | y", "NULL | NULL"}},
		{"intersect", "VALUES 1, 1, 2, 3 INTERSECT VALUES 1, 1, 3 ORDER BY 1", "_col0", "integer", []string{"1", "3"}},
		{"intersect all", "VALUES 1, 1, 2, 3 INTERSECT ALL VALUES 1, 1, 3 ORDER BY 1", "_col0", "integer", []string{"1", "1", "3"}},
		{"except", "VALUES 1, 1, 2, 3 EXCEPT VALUES 3 ORDER BY 1", "_col0", "integer", []string{"1", "2"}},
		{"except all", "VALUES 1, 1, 2 EXCEPT ALL VALUES 1 ORDER BY 1", "_col0", "integer", []string{"1", "2"}},
		{"precedence", "SELECT 1 UNION ALL SELECT 2 INTERSECT SELECT 3", "_col0", "integer", []string{"1"}},
		{"parentheses", "(SELECT 1 UNION ALL SELECT 2) EXCEPT (SELECT 2 UNION SELECT 3)", "_col0", "integer", []string{"1"}},
		{"an operand with an order", "(SELECT job FROM db.m WHERE job IS NOT NULL ORDER BY job DESC LIMIT 1) UNION ALL (SELECT 'b' LIMIT 5) ORDER BY job LIMIT 10", "job", "varchar", []string{"b", "node"}},
		{"limit on the whole", "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 ORDER BY 1 DESC LIMIT 2", "_col0", "integer", []string{"3", "2"}},
		{"order by an expression", "SELECT 1 AS a UNION ALL SELECT -2 ORDER BY abs(a) DESC", "a", "integer", []string{"-2", "1"}},
		{"in FROM", "SELECT sum(x) FROM (SELECT 1 x UNION ALL SELECT 2)", "", "bigint", []string{"3"}},
		{"time series", "SELECT create_time_series(time, 1) s FROM db.m WHERE job = 'api' UNION ALL SELECT create_time_series(time, 2) FROM db.m WHERE FALSE ORDER BY s IS NULL",
			"s", "timeseries(row(timestamp, integer))", []string{"{2022-06-17 10:25:00.123456789=1}", "NULL"}},
		{"values alone", "VALUES (1, 'x'), (2, NULL) LIMIT 1", "_col0 | _col1", "integer | varchar", []string{"1 | x"}},
	})
}

func TestManyOperandsRun(t *testing.T) {
	e := newEngine(t, tableM)
	for _, tt := range []struct{ give, want string }{
		{"SELECT count(*) FROM (SELECT 1" + strings.Repeat(" UNION ALL SELECT 1", 400) + ")", "401"},
		{"SELECT count(*) FROM (SELECT job FROM db.m WHERE job = 'api'" + strings.Repeat(" UNION ALL SELECT job FROM db.m WHERE job = 'api'", 200) + ")", "201"},
		{"SELECT count(*) FROM (VALUES 1" + strings.Repeat(", 1", 5000) + ")", "5001"},
		{"WITH c0 AS (SELECT 1 x), " + chainOfCTEs(14) + " SELECT count(*) FROM c14", "1"},
		{"SELECT count(*) FROM db.m a0" + joins(20), "3"},
	} {
		start := time.Now()
		_, rows, err := e.query(tt.give)
		if err != nil || rowText(rows[0]) != tt.want {
			t.Errorf("%.60s: got %v, %v", tt.give, slices.Collect(texts(rows)), err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%.60s took %v", tt.give, took)
		}
	}
}

// chainOfCTEs is n entries, each of which reads the one before three times.
func chainOfCTEs(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("c%d AS (SELECT a.x FROM c%d a, c%d b, c%d c)", i+1, i, i, i))
	}
	return strings.Join(out, ", ")
}

func joins(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, ` JOIN db.m a%d ON a%d."In stance" = a0."In stance" AND a%d.time = a0.time AND a%d.measure_name = 'up'`, i+1, i+1, i+1, i+1)
	}
	return out.String()
}

func TestSubqueriesInExpressions(t *testing.T) {
	e := newEngine(t, tableM)
	e.check(t, []check{
		{"in", "SELECT DISTINCT job FROM db.m WHERE job IN (SELECT job FROM db.m WHERE measure_name = 'requests')", "job", "", []string{"api"}},
		{"not in", "SELECT count(*) FROM db.m WHERE job NOT IN (SELECT 'api')", "", "", []string{"3"}},
		{"not in with NULL", "SELECT count(*) FROM db.m WHERE job NOT IN (SELECT job FROM db.m WHERE job IS NULL)", "", "", []string{"0"}},
		{"in of a wider type", "SELECT 1 IN (SELECT 1.0), 3000000000 IN (VALUES 1, 2)", "_col0 | _col1", "boolean | boolean", []string{"true | false"}},
		{"exists", "SELECT EXISTS (SELECT 1 FROM db.m WHERE FALSE), NOT EXISTS (SELECT * FROM db.m)", "_col0 | _col1", "boolean | boolean", []string{"false | false"}},
		{"exists, correlated", `SELECT DISTINCT x.job FROM db.m x WHERE EXISTS (SELECT 1 FROM db.m WHERE job = x.job AND time < x.time)`, "job", "", []string{"node"}},
		{"correlated without a qualifier", `SELECT job FROM db.m WHERE note IS NOT NULL AND EXISTS (SELECT 1 FROM (VALUES 'it''s 100%') AS v(w) WHERE w = note)`, "job", "", []string{"NULL"}},
		{"scalar", "SELECT (SELECT max(time) FROM db.m), (SELECT 1 WHERE FALSE)", "_col0 | _col1", "timestamp | integer", []string{"2022-06-17 10:25:00.123456789 | NULL"}},
		{"scalar, correlated", `SELECT x."In stance", (SELECT count(*) FROM db.m y WHERE y."In stance" = x."In stance") FROM db.m x WHERE measure_name = 'up' AND time < '2022-06-17 10:25:00'`, "In stance | _col1", "varchar | bigint", []string{"a:9100 | 2"}},
		{"in arithmetic", "SELECT measure_value::double / (SELECT max(measure_value::double) FROM db.m) FROM db.m WHERE measure_value::double = 1", "_col0", "double", []string{"1.0E-7"}},
		{"in HAVING", "SELECT job FROM db.m GROUP BY job HAVING count(*) > (SELECT 2)", "job", "", []string{"node"}},
		{"in a grouped select list", "SELECT job, count(*) * (SELECT 2) FROM db.m GROUP BY job ORDER BY 2 DESC LIMIT 1", "job | _col1", "varchar | bigint", []string{"node | 6"}},
		{"correlated with a group", "SELECT job, (SELECT count(*) FROM db.m y WHERE y.job = m.job) FROM db.m GROUP BY job ORDER BY 2 DESC LIMIT 1", "job | _col1", "", []string{"node | 3"}},
		{"a CTE in a subquery", "WITH c AS (SELECT 'api' AS j) SELECT count(*) FROM db.m WHERE job IN (SELECT j FROM c) OR job = (SELECT j || 'x' FROM c)", "", "", []string{"1"}},
		{"all", "SELECT 3 > ALL (VALUES 1, 2), 3 > ALL (VALUES 1, 3), 1 = ANY (VALUES 1.0, 2.0), 5 <> SOME (VALUES 5)", "", "", []string{"true | false | true | false"}},
		{"in a join's condition", "SELECT a.x FROM (VALUES 1, 2) AS a(x) JOIN (VALUES 1, 2) AS b(x) ON a.x = b.x AND a.x IN (SELECT 2)", "x", "", []string{"2"}},
		{"values as an operand", "SELECT job FROM db.m WHERE (job, measure_name) = ('api', 'requests')", "job", "", []string{"api"}},
	})
}

func TestWindowFunctions(t *testing.T) {
	const from = " FROM (VALUES (1, 'a', 10), (2, 'a', 20), (3, 'a', 20), (4, 'b', 5), (5, 'b', NULL)) AS t(i, g, v)"
	e := newEngine(t, tableM)
	one := func(name, expr, typ string, want ...string) check {
		return check{name, "SELECT " + expr + from + " ORDER BY i", "_col0", typ, want}
	}
	e.check(t, []check{
		one("row_number", "row_number() OVER (PARTITION BY g ORDER BY i DESC)", "bigint", "3", "2", "1", "2", "1"),
		one("rank", "rank() OVER (ORDER BY v DESC)", "bigint", "3", "1", "1", "4", "5"),
		one("dense_rank", "dense_rank() OVER (ORDER BY v DESC NULLS FIRST)", "bigint", "3", "2", "2", "4", "1"),
		one("percent_rank", "percent_rank() OVER (PARTITION BY g ORDER BY v)", "double", "0.0", "0.5", "0.5", "0.0", "1.0"),
		one("cume_dist", "cume_dist() OVER (PARTITION BY g ORDER BY v)", "double", "0.3333333333333333", "1.0", "1.0", "0.5", "1.0"),
		one("ntile", "ntile(2) OVER (ORDER BY i)", "bigint", "1", "1", "1", "2", "2"),
		one("lag", "lag(v) OVER (PARTITION BY g ORDER BY i)", "integer", "NULL", "10", "20", "NULL", "5"),
		one("lag with an offset and a default", "lag(v, 2, -1.5) OVER (PARTITION BY g ORDER BY i)", "double", "-1.5", "-1.5", "10.0", "-1.5", "-1.5"),
		one("lead", "lead(v, 1, 0) OVER (PARTITION BY g ORDER BY i)", "integer", "20", "20", "0", "NULL", "0"),
		one("first_value", "first_value(v) OVER (PARTITION BY g ORDER BY i)", "integer", "10", "10", "10", "5", "5"),
		one("last_value in the default frame", "last_value(i) OVER (PARTITION BY g ORDER BY v)", "integer", "1", "3", "3", "4", "5"),
		one("last_value of all", "last_value(v) OVER (PARTITION BY g ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)", "integer", "20", "20", "20", "NULL", "NULL"),
		one("nth_value", "nth_value(v, 2) OVER (PARTITION BY g ORDER BY i)", "integer", "NULL", "20", "20", "NULL", "NULL"),
		one("sum", "sum(v) OVER (PARTITION BY g ORDER BY i)", "bigint", "10", "30", "50", "5", "5"),
		one("sum over all", "sum(v) OVER ()", "bigint", "55", "55", "55", "55", "55"),
		one("avg over rows", "avg(v) OVER (ORDER BY i ROWS 1 PRECEDING)", "double", "10.0", "15.0", "20.0", "12.5", "5.0"),
		one("count over rows", "count(*) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)", "bigint", "2", "3", "3", "3", "2"),
		one("count of values", "count(v) OVER (PARTITION BY g)", "bigint", "3", "3", "3", "1", "1"),
		one("range of numbers", "sum(i) OVER (ORDER BY i RANGE BETWEEN 1 PRECEDING AND CURRENT ROW)", "bigint", "1", "3", "5", "7", "9"),
		one("max_by", "max_by(i, v) OVER (PARTITION BY g)", "integer", "2", "2", "2", "4", "4"),
		one("array_agg", "array_agg(v) OVER (PARTITION BY g ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)", "array(integer)", "[10]", "[10, 20]", "[20, 20]", "[5]", "[5, NULL]"),
		one("bool_and", "bool_and(v > 5) OVER (PARTITION BY g)", "boolean", "true", "true", "true", "false", "false"),
		one("stddev", "stddev_pop(i) OVER (PARTITION BY g)", "double", "0.816496580927726", "0.816496580927726", "0.816496580927726", "0.5", "0.5"),
		one("percentile", "approx_percentile(v, 0.5) OVER (PARTITION BY g)", "bigint", "20", "20", "20", "5", "5"),
		one("in arithmetic", "v - lag(v) OVER (PARTITION BY g ORDER BY i)", "integer", "NULL", "10", "0", "NULL", "NULL"),
		{"range of time", `SELECT time, sum(measure_value::double) OVER (PARTITION BY "In stance" ORDER BY time RANGE BETWEEN 15s PRECEDING AND CURRENT ROW) FROM db.m WHERE "In stance" = 'a:9100' ORDER BY time`, "time | _col1", "timestamp | double",
			[]string{"2022-06-17 10:24:45.000000000 | 0.5", "2022-06-17 10:25:00.000000000 | 1.5"}},
		{"over groups", "SELECT g, count(*), rank() OVER (ORDER BY count(*) DESC), sum(count(*)) OVER () s" + from + " GROUP BY g ORDER BY g", "g | _col1 | _col2 | s", "varchar | bigint | bigint | bigint", []string{"a | 3 | 1 | 5", "b | 2 | 2 | 5"}},
		{"as a sort key", "SELECT i" + from + " ORDER BY row_number() OVER (ORDER BY i DESC) LIMIT 2", "i", "", []string{"5", "4"}},
		{"distinct", "SELECT DISTINCT count(*) OVER (PARTITION BY g) n" + from + " ORDER BY n", "n", "", []string{"2", "3"}},
		{"the top of each group", "SELECT g, i FROM (SELECT g, i, row_number() OVER (PARTITION BY g ORDER BY v DESC, i) AS place" + from + ") WHERE place = 1 ORDER BY g", "g | i", "", []string{"a | 2", "b | 4"}},
	})
}
