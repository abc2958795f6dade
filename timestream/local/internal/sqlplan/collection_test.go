// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"slices"
	"strings"
	"testing"
)

// TestArrays holds the functions of arrays, by the guide's examples where it has some (Timestream Developer Guide,
// array-functions).
func TestArrays(t *testing.T) {
	e := newEngine(t, tableM)
	for _, tt := range []struct{ give, wantType, want string }{
		{"ARRAY[1, 2, 3]", "array(integer)", "[1, 2, 3]"},
		{"ARRAY[1, NULL, 2.5]", "array(double)", "[1.0, NULL, 2.5]"},
		{"ARRAY[]", "array(unknown)", "[]"},
		{"ARRAY[ARRAY[1], ARRAY[]]", "array(array(integer))", "[[1], []]"},
		{"ARRAY['a', 'b'][2]", "varchar", "b"},
		{"ARRAY[5, 6][length('ab')]", "integer", "6"},
		{"(1, 'x', NULL)", "row(integer, varchar, unknown)", "(1 | x | NULL)"},
		{"ROW(1, 2)[2]", "integer", "2"},
		{"ARRAY[ROW(1, 'a'), ROW(2, 'b')]", "array(row(integer, varchar))", "[(1 | a), (2 | b)]"},
		{"ARRAY[1, 2] || ARRAY[3]", "array(integer)", "[1, 2, 3]"},
		{"ARRAY[1, 2] || 3.5 || 4", "array(double)", "[1.0, 2.0, 3.5, 4.0]"},
		{"0 || ARRAY[1]", "array(integer)", "[0, 1]"},
		{"ARRAY[1, 2] = ARRAY[1, 2]", "boolean", "true"},
		{"cast(ARRAY[1, 2] AS array(varchar))", "array(varchar)", "[1, 2]"},
		{"array_distinct(ARRAY[3, 1, 3, NULL, 1, NULL])", "array(integer)", "[3, 1, NULL]"},
		{"array_intersect(ARRAY[1, 2, 2, 3], ARRAY[2, 3, 4])", "array(integer)", "[2, 3]"},
		{"array_union(ARRAY[1, 2], ARRAY[2, 2.5])", "array(double)", "[1.0, 2.0, 2.5]"},
		{"array_except(ARRAY[1, 2, 2, 3], ARRAY[3])", "array(integer)", "[1, 2]"},
		{"array_join(ARRAY[1, 2, NULL, 3], ';')", "varchar", "1;2;3"},
		{"array_join(ARRAY[1.5, NULL], ', ', '-')", "varchar", "1.5, -"},
		{"array_max(ARRAY[1, 3, 2])", "integer", "3"},
		{"array_max(ARRAY[1, NULL])", "integer", "NULL"},
		{"array_min(ARRAY['b', 'a'])", "varchar", "a"},
		{"array_position(ARRAY[3, 4, 5, 9], 4)", "bigint", "2"},
		{"array_position(ARRAY[3], 4)", "bigint", "0"},
		{"array_remove(ARRAY[3, 4, 5, 4], 4)", "array(integer)", "[3, 5]"},
		{"array_sort(ARRAY[3, NULL, 1])", "array(integer)", "[1, 3, NULL]"},
		{"arrays_overlap(ARRAY[6, 5], ARRAY[5])", "boolean", "true"},
		{"cardinality(ARRAY[1, 2, NULL])", "bigint", "3"},
		{"concat(ARRAY[1], ARRAY[2], ARRAY[3])", "array(integer)", "[1, 2, 3]"},
		{"element_at(ARRAY[1, 2], 1)", "integer", "1"},
		{"element_at(ARRAY[1, 2], 3)", "integer", "NULL"},
		{"element_at(ARRAY[1, 2], -1)", "integer", "2"},
		{"repeat('x', 3)", "array(varchar)", "[x, x, x]"},
		{"reverse(ARRAY[1, 2])", "array(integer)", "[2, 1]"},
		{"sequence(1, 5)", "array(bigint)", "[1, 2, 3, 4, 5]"},
		{"sequence(5, 1, -2)", "array(bigint)", "[5, 3, 1]"},
		{"sequence(3, 1)", "array(bigint)", "[3, 2, 1]"},
		{"sequence(TIMESTAMP '2022-06-17 10:00', '2022-06-17 10:31', 15m)", "array(timestamp)", "[2022-06-17 10:00:00.000000000, 2022-06-17 10:15:00.000000000, 2022-06-17 10:30:00.000000000]"},
		{"slice(ARRAY[1, 2, 3, 4], 2, 2)", "array(integer)", "[2, 3]"},
		{"slice(ARRAY[1, 2, 3, 4], -2, 5)", "array(integer)", "[3, 4]"},
		{"slice(ARRAY[1, 2], 1, 0)", "array(integer)", "[]"},
		{"slice(ARRAY[1, 2], 5, 1)", "array(integer)", "[]"},
		{"zip(ARRAY[1, 2], ARRAY['a'])", "array(row(integer, varchar))", "[(1 | a), (2 | NULL)]"},
		{"filter(ARRAY[5, -6, NULL, 7], x -> x > 0)", "array(integer)", "[5, 7]"},
		{"filter(ARRAY[(1, 'a')], x -> x[2] = 'a')", "array(row(integer, varchar))", "[(1 | a)]"},
		{"reduce(ARRAY[5, 20, 50], 0, (s, x) -> s + x, s -> s)", "integer", "75"},
		{"reduce(ARRAY[5, 20, 50], 0, (s, x) -> s + x * 1.5, s -> s / 2)", "double", "56.25"},
		{"reduce(ARRAY[], 7, (s, x) -> s, s -> s)", "integer", "7"},
		{"reduce(ARRAY[1, 2, 3], ARRAY[0], (s, x) -> s || x, s -> cardinality(s))", "bigint", "4"},
		{"reduce(ARRAY[ARRAY[1, 2], ARRAY[3]], 0, (s, x) -> s + reduce(x, 0, (t, y) -> t + y, t -> t), s -> s)", "integer", "6"},
	} {
		t.Run(tt.give, func(t *testing.T) {
			plan, rows, err := e.query("SELECT " + tt.give)
			if err != nil {
				t.Fatal(err)
			}
			if got := typesOf(plan); got != tt.wantType {
				t.Errorf("type %s, want %s", got, tt.wantType)
			}
			if len(rows) != 1 || rowText(rows[0]) != tt.want {
				t.Errorf("got %q, want %s\n%s", slices.Collect(texts(rows)), tt.want, plan.SQL)
			}
		})
	}
}

// TestTimeSeriesFunctions works on points at 10:00:00, :10, :20 and :40 with the values 0, 10, 5 and 25, which come unsorted.
func TestTimeSeriesFunctions(t *testing.T) {
	e := newEngine(t, tableM)
	const from = " FROM (SELECT create_time_series(time, v) AS ts, create_time_series(time, n) AS ns FROM (VALUES (TIMESTAMP '2022-06-17 10:00:20', 5.0, 3), (TIMESTAMP '2022-06-17 10:00:00', 0.0, 1), (TIMESTAMP '2022-06-17 10:00:40', 25.0, 4), (TIMESTAMP '2022-06-17 10:00:10', 10.0, 2)) AS t(time, v, n))"
	clock := func(s string) string {
		s = strings.ReplaceAll(s, "2022-06-17 10:", "")
		return strings.ReplaceAll(s, ".000000000", "")
	}
	for _, tt := range []struct{ give, wantType, want string }{
		{"derivative_linear(ts, 10s)", "timeseries(row(timestamp, double))", "{00:10=10.0, 00:20=-5.0, 00:40=10.0}"},
		{"derivative_linear(ns, 1s)", "timeseries(row(timestamp, double))", "{00:10=0.1, 00:20=0.1, 00:40=0.05}"},
		{"non_negative_derivative_linear(ts, 1s)", "timeseries(row(timestamp, double))", "{00:10=1.0, 00:40=1.0}"},
		{"integral_trapezoidal(ts)", "double", "425.0"},
		{"integral_trapezoidal(ts, 1m)", "double", "7.083333333333333"},
		{"integral_trapezoidal(filter(ts, p -> p.value > 20))", "double", "0.0"},
		{"interpolate_linear(ts, sequence(TIMESTAMP '2022-06-17 09:59:55', TIMESTAMP '2022-06-17 10:00:50', 15s))", "timeseries(row(timestamp, double))", "{00:10=10.0, 00:25=10.0, 00:40=25.0}"},
		{"interpolate_linear(ts, TIMESTAMP '2022-06-17 10:00:05')", "double", "5.0"},
		{"interpolate_linear(ts, TIMESTAMP '2022-06-17 11:00:05')", "double", "NULL"},
		{"interpolate_locf(ts, sequence(TIMESTAMP '2022-06-17 09:59:55', TIMESTAMP '2022-06-17 10:01:00', 15s))", "timeseries(row(timestamp, double))", "{00:10=10.0, 00:25=5.0, 00:40=25.0, 00:55=25.0}"},
		{"interpolate_fill(ts, sequence(TIMESTAMP '2022-06-17 10:00:00', TIMESTAMP '2022-06-17 10:00:20', 5s), -1)", "timeseries(row(timestamp, double))", "{00:00=0.0, 00:05=-1.0, 00:10=10.0, 00:15=-1.0, 00:20=5.0}"},
		{"interpolate_locf(ns, ARRAY['2022-06-17 10:00:15', NULL])", "timeseries(row(timestamp, double))", "{00:15=2.0}"},
		{"filter(ts, p -> p.value > 5 AND p.time < TIMESTAMP '2022-06-17 10:00:30')", "timeseries(row(timestamp, double))", "{00:10=10.0}"},
		{"reduce(ts, 0.0, (s, p) -> s + p.value, s -> s)", "double", "40.0"},
		{"reduce(ts, DOUBLE '0.0', (s, p) -> if(p.value > s, p.value, s), s -> s)", "double", "25.0"},
		// The last value in the order of time.
		{"reduce(ts, 0, (s, p) -> p.value, s -> s)", "double", "25.0"},
		{"correlate_pearson(ts, ts)", "double", "1.0"},
		{"round(correlate_pearson(ts, ns), 6)", "double", "0.83666"},
		{"ts", "timeseries(row(timestamp, double))", "{00:00=0.0, 00:10=10.0, 00:20=5.0, 00:40=25.0}"},
	} {
		t.Run(tt.give, func(t *testing.T) {
			plan, rows, err := e.query("SELECT " + tt.give + from)
			if err != nil {
				t.Fatal(err)
			}
			if got := typesOf(plan); got != tt.wantType {
				t.Errorf("type %s, want %s", got, tt.wantType)
			}
			if len(rows) != 1 || clock(rowText(rows[0])) != tt.want {
				t.Errorf("got %q, want %s\n%s", slices.Collect(texts(rows)), tt.want, plan.SQL)
			}
		})
	}
}

func TestMoreAggregates(t *testing.T) {
	e := newEngine(t, tableM)
	const from = " FROM (VALUES (1, 1.0, 2.0, TRUE), (2, 2.0, 4.0, TRUE), (3, 4.0, 8.5, FALSE), (4, NULL, NULL, NULL)) AS t(i, x, y, b)"
	for _, tt := range []struct{ give, wantType, want string }{
		{"approx_percentile(x, 0.5)", "double", "2.0"},
		{"approx_percentile(i, 0.5)", "bigint", "2"},
		{"approx_percentile(x, ARRAY[0, 0.5, 1])", "array(double)", "[1.0, 2.0, 4.0]"},
		{"approx_percentile(x, i, 0.5)", "double", "2.0"},
		{"approx_percentile(x, i, 0.51)", "double", "4.0"},
		{"approx_percentile(x, i, ARRAY[0.1, 0.9])", "array(double)", "[1.0, 4.0]"},
		{"approx_percentile(x, 1, 0.5, 0.01)", "double", "2.0"},
		{"stddev(x)", "double", "1.5275252316519465"},
		{"stddev_samp(i)", "double", "1.2909944487358056"},
		{"stddev_pop(x)", "double", "1.247219128924647"},
		{"variance(x)", "double", "2.333333333333333"},
		{"var_samp(x)", "double", "2.333333333333333"},
		{"var_pop(i)", "double", "1.25"},
		{"round(corr(y, x), 9)", "double", "0.999597126"},
		{"round(covar_pop(y, x), 9)", "double", "3.388888889"},
		{"round(covar_samp(y, x), 9)", "double", "5.083333333"},
		{"round(regr_slope(y, x), 9)", "double", "2.178571429"},
		{"round(regr_intercept(y, x), 9)", "double", "-0.25"},
		{"geometric_mean(x)", "double", "2.0"},
		{"round(skewness(x), 6)", "double", "0.381802"},
		{"max(i, 2)", "array(integer)", "[4, 3]"},
		{"min(x, 5)", "array(double)", "[1.0, 2.0, 4.0]"},
		{"max_by(i, y, 2)", "array(integer)", "[3, 2]"},
		{"min_by(x, i, 2)", "array(double)", "[1.0, 2.0]"},
		{"bool_and(b)", "boolean", "false"},
		{"bool_or(b)", "boolean", "true"},
		{"every(b)", "boolean", "false"},
		{"count_if(b)", "bigint", "2"},
		{"bitwise_and_agg(i)", "bigint", "0"},
		{"bitwise_or_agg(i)", "bigint", "7"},
		{"array_agg(DISTINCT b IS NULL)", "array(boolean)", "[false, true]"},
		{"approx_percentile(x, 0.5) IS NULL OR FALSE", "boolean", "false"},
	} {
		t.Run(tt.give, func(t *testing.T) {
			plan, rows, err := e.query("SELECT " + tt.give + from)
			if err != nil {
				t.Fatal(err)
			}
			if got := typesOf(plan); got != tt.wantType {
				t.Errorf("type %s, want %s", got, tt.wantType)
			}
			if len(rows) != 1 || rowText(rows[0]) != tt.want && rowText(rows[0]) != strings.Replace(tt.want, "[false, true]", "[true, false]", 1) {
				t.Errorf("got %q, want %s\n%s", slices.Collect(texts(rows)), tt.want, plan.SQL)
			}
		})
	}
}
