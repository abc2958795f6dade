// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"errors"
	"strings"
	"testing"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

func TestCompileErrors(t *testing.T) {
	c := testCatalog()
	for _, tt := range []struct{ give, want string }{
		{"SELECT", "The query syntax is invalid at line 1:7"},
		{"SELECT * FROM a JOIN b", "The query syntax is invalid at line 1:23"},
		{"SELECT nope FROM db.m", "line 1:8: Column 'nope' does not exist"},
		{"SELECT job,\n Job FROM db.m", "line 2:2: Column 'Job' does not exist"},
		{"SELECT job FROM db.m WHERE measure_value::boolean", "line 1:28: Column 'measure_value::boolean' does not exist"},
		{"SELECT x.job FROM db.m", "line 1:8: Column 'x.job' does not exist"},
		{"SELECT m.job FROM db.m AS x", "line 1:8: Column 'm.job' does not exist"},
		{"SELECT job FROM abc.sampleDB", "Requested database 'abc' not found for identifier 'abc.sampleDB' at line 1:17"},
		{"SELECT job FROM db.nope", "The table 'nope' does not exist in database 'db' at line 1:17"},
		{"DESCRIBE db.nope", "The table 'nope' does not exist in database 'db' at line 1:1"},
		{"SHOW MEASURES FROM abc.x", "Requested database 'abc' not found for identifier 'abc.x' at line 1:1"},
		{"SHOW TABLES FROM abc", "Requested database 'abc' not found for identifier 'abc' at line 1:1"},
		{"SHOW TABLES LIKE 'a' ESCAPE 'xx'", "line 1:1: Escape string must be a single character"},
		{"SELECT job FROM m", "line 1:17: Schema must be specified when session schema is not set"},
		{"SELECT foo(1)", "line 1:8: Function foo not registered"},
		{"SELECT starts_with('a', 'b')", "line 1:8: Function starts_with not registered"},
		{"SELECT abs('a')", "line 1:8: Unexpected parameters (varchar) for function abs. Expected: abs(integer), abs(bigint), abs(double)"},
		{"SELECT bin(now(), 1)", "line 1:8: Unexpected parameters (timestamp, integer) for function bin. Expected: bin(timestamp, interval day to second)"},
		{"SELECT bin(now(), 0s)", "line 1:8: bin: the interval must be greater than zero"},
		{"SELECT 1 + 'a'", "line 1:10: '+' cannot be applied to integer, varchar"},
		{"SELECT now() - now()", "line 1:14: '-' cannot be applied to timestamp, timestamp"},
		{"SELECT 1 = 'a'", "line 1:10: '=' cannot be applied to integer, varchar"},
		{"SELECT 1 || 'a'", "line 1:10: '||' cannot be applied to integer, varchar"},
		{"SELECT now() > 'soon'", "line 1:16: Value cannot be cast to timestamp: soon"},
		{"SELECT 1 FROM db.m WHERE job", "line 1:26: WHERE clause must evaluate to a boolean: actual type varchar"},
		{"SELECT 1 FROM db.m WHERE TRUE AND time - 1h", "line 1:40: Right side of logical expression must evaluate to a boolean (actual: timestamp)"},
		{"SELECT 1 FROM db.m WHERE 1d OR TRUE", "line 1:26: Left side of logical expression must evaluate to a boolean (actual: interval day to second)"},
		{"SELECT NOT 1", "line 1:12: Value of logical NOT expression must evaluate to a boolean (actual: integer)"},
		{"SELECT 1 IN ('a')", "line 1:10: IN value and list items must be the same type: integer"},
		{"SELECT 1 BETWEEN 'a' AND 2", "line 1:10: Cannot check if integer is BETWEEN varchar and integer"},
		{"SELECT 1 LIKE 'a'", "line 1:8: Left side of LIKE expression must evaluate to a varchar (actual: integer)"},
		{"SELECT CASE WHEN TRUE THEN 1 ELSE 'a' END", "line 1:8: All CASE results must be the same type: integer"},
		{"SELECT job, count(*) FROM db.m", "line 1:8: 'job' must be an aggregate expression or appear in GROUP BY clause"},
		{"SELECT * FROM db.m GROUP BY job", "line 1:8: 'In stance' must be an aggregate expression or appear in GROUP BY clause"},
		{"SELECT upper(job) FROM db.m GROUP BY time", `line 1:8: 'upper("job")' must be an aggregate expression or appear in GROUP BY clause`},
		{"SELECT count(*) FROM db.m ORDER BY time", "line 1:36: 'time' must be an aggregate expression or appear in GROUP BY clause"},
		{"SELECT count(*) FROM db.m GROUP BY 2", "line 1:36: GROUP BY position 2 is not in select list"},
		{"SELECT 1 ORDER BY 2", "line 1:19: ORDER BY position 2 is not in select list"},
		{"SELECT job FROM db.m WHERE count(*) > 1", "line 1:28: WHERE clause cannot contain aggregations, window functions or grouping operations: [count(*)]"},
		{"SELECT count(*) FROM db.m GROUP BY 1", "line 1:8: GROUP BY clause cannot contain aggregations, window functions or grouping operations: [count(*)]"},
		{"SELECT sum(count(*)) FROM db.m", "line 1:12: Cannot nest aggregations inside aggregation 'sum': [count(*)]"},
		{"SELECT sum(job) FROM db.m", "line 1:8: Unexpected parameters (varchar) for function sum. Expected: sum(bigint), sum(double), sum(interval day to second), sum(interval year to month)"},
		{"SELECT DISTINCT job FROM db.m ORDER BY time", "line 1:40: For SELECT DISTINCT, ORDER BY expressions must appear in select list"},
		{"SELECT a FROM (SELECT job a, time a FROM db.m)", "line 1:8: Column 'a' is ambiguous"},
		{"SELECT *", "line 1:8: SELECT * not allowed in queries without FROM clause"},
		{"SELECT cast(1 AS smallint)", "line 1:8: Unknown type: smallint"},
		{"SELECT cast(1d AS double)", "line 1:8: Cannot cast interval day to second to double"},
		{"SELECT cast('x' AS bigint)", "line 1:8: Cannot cast 'x' to BIGINT"},
		{"SELECT from_milliseconds(9223372036855)", "line 1:26: Timestamp is out of range: 9223372036855"},
		{"SELECT regexp_like('a', '(')", "line 1:25: Invalid regular expression: ("},
		{"SELECT regexp_like('a', '(?P<n>a)')", "line 1:25: Invalid regular expression: (?P<n>a)"},
		{"SELECT regexp_like('a', '(?=a')", "line 1:25: Invalid regular expression: (?=a"},
		{"SELECT regexp_like('a', '[[:alpha:]')", "line 1:25: Invalid regular expression: [[:alpha:]"},
		{"SELECT regexp_like('a', '(?iq)a')", "line 1:25: Invalid regular expression: (?iq)a"},
		{"WITH a AS (SELECT nope) SELECT 1", "line 1:19: Column 'nope' does not exist"},
		{"WITH a AS (SELECT 1), a AS (SELECT 2) SELECT 1", "line 1:23: WITH query name 'a' specified more than once"},
		{"SELECT create_time_series(time, 1) s FROM db.m GROUP BY 1", "line 1:8: GROUP BY clause cannot contain aggregations, window functions or grouping operations: [create_time_series(\"time\", 1)]"},
		{"SELECT s FROM (SELECT create_time_series(time, 1) s FROM db.m) ORDER BY s", "line 1:73: Type timeseries(row(timestamp, integer)) is not orderable, and therefore cannot be used in ORDER BY"},
		{"SELECT 1" + strings.Repeat(" / (length('a')", 300) + strings.Repeat(")", 300), "line 1:"},
		{"SELECT concat('a'" + strings.Repeat(", 'a'", 127) + ")", "line 1:8: Too many arguments for function call concat()"},
		{strings.Repeat("SELECT * FROM (", 16) + "SELECT 1" + strings.Repeat(")", 16), "line 1:15: queries in FROM are nested too deeply (more than 16)"},
		{"SELECT 1" + strings.Repeat(", 1", 4096), "line 1:1: the select list has more than 4096 columns"},
		{"SELECT 1 FROM db.m GROUP BY job" + strings.Repeat(", job", 1024), "line 1:1: GROUP BY has more than 1024 keys"},
		{"SELECT 1 FROM db.m ORDER BY job" + strings.Repeat(", job", 1024), "line 1:1: ORDER BY has more than 1024 keys"},
		// Items of FROM.
		{"SELECT job FROM db.m x, db.m y", "line 1:8: Column 'job' is ambiguous"},
		{"SELECT x.nope FROM db.m x, db.m y", "line 1:8: Column 'x.nope' does not exist"},
		{"SELECT 1 FROM db.m x JOIN db.m y ON x.job", "line 1:37: JOIN ON clause must evaluate to a boolean: actual type varchar"},
		{"SELECT 1 FROM db.m x JOIN db.m y ON count(*) = 1", "line 1:37: JOIN clause cannot contain aggregations, window functions or grouping operations: [count(*)]"},
		{"SELECT 1 FROM db.m x LEFT JOIN db.m y ON EXISTS (SELECT 1)", "line 1:42: A subquery in the condition of an outer join is not supported"},
		{"SELECT 1 FROM db.m JOIN (SELECT 1 x) s USING (x)", "line 1:20: Column 'x' is missing from left side of join"},
		{"SELECT 1 FROM (SELECT 'a' x) t JOIN (SELECT 1 x) s USING (x)", "line 1:32: '=' cannot be applied to varchar, integer"},
		{"SELECT * FROM (SELECT 1, 2) AS t(a)", "line 1:15: Column alias list has 1 entries but 't' has 2 columns available"},
		{"WITH a (x, y) AS (SELECT 1) SELECT * FROM a", "line 1:6: Column alias list has 2 entries but relation has 1 columns"},
		{"SELECT * FROM (VALUES (1, 2), (3, 'a'))", "line 1:31: Values rows have mismatched types: row(integer, integer) vs row(integer, varchar)"},
		{"SELECT * FROM (VALUES (1, 2), 3)", "line 1:31: Values rows have mismatched types: row(integer, integer) vs row(integer)"},
		{"SELECT * FROM UNNEST(1)", "line 1:22: Cannot unnest type: integer"},
		{"SELECT * FROM UNNEST(ARRAY[1]) AS t(a, b)", "line 1:15: Column alias list has 2 entries but 't' has 1 columns available"},
		{"SELECT * FROM db.m LEFT JOIN UNNEST(ARRAY[1]) ON TRUE", "line 1:20: UNNEST in other than CROSS JOIN is not supported"},
		{"SELECT * FROM db.m" + strings.Repeat(" CROSS JOIN db.m", 65), "line 1:20: the statement has more than 64 joins"},
		{"SELECT 1" + strings.Repeat(" UNION ALL SELECT 1", 1100), "line 1:19457: the statement has more than 1024 queries and tables"},
		// Set operations.
		{"SELECT 1 UNION SELECT 1, 2", "line 1:10: UNION query has different number of fields: 1, 2"},
		{"SELECT 1, 2 EXCEPT SELECT 1, 'a'", "line 1:13: column 2 in EXCEPT query has incompatible types: integer, varchar"},
		{"SELECT job FROM db.m UNION SELECT 'a' ORDER BY time", "line 1:48: Column 'time' does not exist"},
		{"SELECT 1 UNION SELECT 2 ORDER BY count(*)", "line 1:34: ORDER BY clause cannot contain aggregations, window functions or grouping operations: [count(*)]"},
		{"SELECT create_time_series(time, 1) FROM db.m UNION SELECT create_time_series(time, 1) FROM db.m", "line 1:46: Type timeseries(row(timestamp, integer)) is not comparable and therefore cannot be used in UNION"},
		// Subqueries.
		{"SELECT (SELECT 1, 2)", "line 1:8: Multiple columns returned by subquery are not yet supported. Found 2"},
		{"SELECT 1 IN (SELECT 'a')", "line 1:10: value and result of subquery must be of the same type for IN expression: integer vs varchar"},
		{"SELECT 1 FROM db.m WHERE EXISTS (SELECT nope)", "line 1:41: Column 'nope' does not exist"},
		{"SELECT job FROM db.m GROUP BY job HAVING EXISTS (SELECT 1 WHERE note = 'a')", "line 1:42: 'EXISTS (SELECT 1\nWHERE \"note\" = 'a')' must be an aggregate expression or appear in GROUP BY clause"},
		{"SELECT " + strings.Repeat("(SELECT ", 17) + "1" + strings.Repeat(")", 17), "line 1:16: queries in FROM are nested too deeply (more than 16)"},
		// Window functions.
		{"SELECT rank()", "line 1:8: Window function rank requires an OVER clause"},
		{"SELECT abs(1) OVER ()", "line 1:8: Not a window function: abs"},
		{"SELECT rank(1) OVER ()", "line 1:8: Unexpected parameters (integer) for function rank. Expected: rank()"},
		{"SELECT sum(DISTINCT 1) OVER ()", "line 1:8: DISTINCT in window function parameters not yet supported: sum(DISTINCT 1) OVER ()"},
		{"SELECT sum(rank() OVER ()) OVER ()", "line 1:12: Cannot nest window functions inside window function 'sum': [rank() OVER ()]"},
		{"SELECT sum(rank() OVER ()) FROM db.m", "line 1:12: Cannot nest window functions inside aggregation 'sum': [rank() OVER ()]"},
		{"SELECT 1 FROM db.m WHERE rank() OVER () = 1", "line 1:26: WHERE clause cannot contain aggregations, window functions or grouping operations: [rank() OVER ()]"},
		{"SELECT 1 FROM db.m HAVING rank() OVER () = 1", "line 1:27: HAVING clause cannot contain window functions: [rank() OVER ()]"},
		{"SELECT rank() OVER (ORDER BY nope) FROM db.m", "line 1:30: Column 'nope' does not exist"},
		{"SELECT job, rank() OVER (ORDER BY time) FROM db.m GROUP BY job", `line 1:13: 'rank() OVER (ORDER BY "time")' must be an aggregate expression or appear in GROUP BY clause`},
		{"SELECT lag(job) OVER (ORDER BY time ROWS 1 PRECEDING) FROM db.m", "line 1:37: Cannot specify window frame for lag function"},
		{"SELECT lag(job, 'a') OVER (ORDER BY time) FROM db.m", "line 1:8: Unexpected parameters (varchar, varchar) for function lag. Expected: lag(T), lag(T, bigint), lag(T, bigint, T)"},
		{"SELECT count(*) OVER (ORDER BY time ROWS BETWEEN CURRENT ROW AND 1 PRECEDING) FROM db.m", "line 1:37: Window frame starting from CURRENT ROW cannot end with PRECEDING"},
		{"SELECT count(*) OVER (ORDER BY time ROWS UNBOUNDED FOLLOWING) FROM db.m", "line 1:37: Window frame start cannot be UNBOUNDED FOLLOWING"},
		{"SELECT count(*) OVER (ORDER BY time ROWS 1.5 PRECEDING) FROM db.m", "line 1:42: Window frame ROWS start value type must be exact numeric type with scale 0 (actual double)"},
		{"SELECT count(*) OVER (ORDER BY time RANGE 1 PRECEDING) FROM db.m", "line 1:43: Window frame of type RANGE cannot have a start of type integer with a sort key of type timestamp"},
		{"SELECT count(*) OVER (RANGE 1 PRECEDING) FROM db.m", "line 1:29: Window frame of type RANGE PRECEDING or FOLLOWING requires single sort item in ORDER BY (actual: 0)"},
		{"SELECT ntile(0) OVER ()", "line 1:8: Buckets must be greater than 0"},
		// Arrays, rows, lambdas, time series.
		{"SELECT ARRAY[1, 'a']", "line 1:8: All ARRAY elements must be the same type: integer"},
		{"SELECT ARRAY[1][0]", "line 1:17: SQL array indices start at 1"},
		{"SELECT ARRAY[1][-1]", "line 1:17: Array subscript is negative: -1"},
		{"SELECT 1[1]", "line 1:8: Cannot use integer for subscript of integer"},
		{"SELECT (1, 2)[3]", "line 1:15: Invalid subscript index of a row: it must be a literal between 1 and 2"},
		{"SELECT (1).a", "line 1:11: Expression is not of type ROW: integer"},
		{"SELECT x -> x", "line 1:8: Lambda expression should always be used inside a function"},
		{"SELECT filter(ARRAY[1], 1)", "line 1:25: function filter expects a lambda of 1 parameters here"},
		{"SELECT filter(ARRAY[1], x -> x)", "line 1:25: filter: the lambda must evaluate to a boolean (actual: integer)"},
		{"SELECT filter(ARRAY[1], x -> y)", "line 1:30: Column 'y' does not exist"},
		{"SELECT filter(ARRAY[1], x -> count(*) > 1) FROM db.m", "line 1:30: Lambda expression cannot contain aggregations, window functions or grouping operations: [count(*)]"},
		{"SELECT filter(ARRAY[1], x -> x IN (SELECT 1))", "line 1:36: Lambda expression cannot contain subqueries"},
		{"SELECT filter(1, x -> TRUE)", "line 1:15: Unexpected parameters (integer, function) for function filter. Expected: filter(timeseries(T), function(T, boolean)), filter(array(T), function(T, boolean))"},
		{"SELECT reduce(ARRAY[1], 0, (s, x) -> 'a', s -> s)", "line 1:28: reduce: the lambda must return the type of the state, integer (actual: varchar)"},
		{"SELECT filter(create_time_series(time, 1), p -> p.nope > 1) FROM db.m", "line 1:49: Field 'nope' does not exist in row(time timestamp, value integer)"},
		{"SELECT derivative_linear(create_time_series(time, job), 1s) FROM db.m", "line 1:8: Unexpected parameters (timeseries(row(timestamp, varchar)), interval day to second) for function derivative_linear. Expected: derivative_linear(timeseries(row(timestamp, double)), interval day to second)"},
		{"SELECT interpolate_spline_cubic(1, 2)", "line 1:8: Unexpected parameters (integer, integer) for function interpolate_spline_cubic. Expected: interpolate_spline_cubic(timeseries(row(timestamp, double)), array(timestamp)), interpolate_spline_cubic(timeseries(row(timestamp, double)), timestamp)"},
		{"SELECT cardinality('a')", "line 1:8: Unexpected parameters (varchar) for function cardinality. Expected: cardinality(array(E))"},
		{"SELECT array_union(ARRAY[1], ARRAY['a'])", "line 1:8: Unexpected parameters (array(integer), array(varchar)) for function array_union. Expected: array_union(array(E), array(E))"},
		{"SELECT sequence(1, 2, 0)", "line 1:23: step must not be zero"},
		{"SELECT approx_percentile(1, 1.5)", "line 1:29: Percentile must be between 0 and 1"},
		{"SELECT approx_percentile(measure_value::double, job) FROM db.m", "line 1:8: Unexpected parameters (double, varchar) for function approx_percentile. Expected: approx_percentile(T, double), approx_percentile(T, bigint, double), approx_percentile(T, array(double)), approx_percentile(T, bigint, array(double)), approx_percentile(T, bigint, double, double), approx_percentile(T, bigint, array(double), double)"},
		{"SELECT to_utf8('a')", "line 1:8: A result cannot have the type varbinary"},
		{"SELECT - cast(-2147483648 AS integer)", "line 1:8: integer negation overflow: -2147483648"},
		{"SELECT max(1, 0)", "line 1:15: second argument of max_n/min_n must be positive"},
		{"SELECT corr('a', 1) FROM db.m", "line 1:8: Unexpected parameters (varchar, integer) for function corr. Expected: corr(double, double)"},
		{"SELECT extract(fortnight FROM now())", "line 1:8: Invalid EXTRACT field: fortnight"},
		{"SELECT hour(current_date)", "line 1:8: Unexpected parameters (date) for function hour. Expected: hour(timestamp), hour(time), hour(interval day to second)"},
		{"SELECT date_add('eon', 1, now())", "line 1:17: 'eon' is not a valid Timestamp field"},
		{"SELECT date_format(now(), '%D')", "line 1:27: %D not supported in date format string"},
		{"SELECT regexp_extract('a', '(a)', 2)", "line 1:35: Pattern has 1 groups. Cannot access group 2"},
		{"SELECT regexp_replace('a', 'a', '$1')", "line 1:33: Illegal replacement sequence: $1"},
		{"SELECT parse_duration('1 fortnight')", "line 1:23: duration is not a valid data duration string: 1 fortnight"},
		{"SELECT try(1, 2)", "line 1:8: The 'try' function must have exactly one argument"},
		{"SELECT filter(ARRAY[1], x -> try((SELECT 1)) = x)", "line 1:34: Lambda expression cannot contain subqueries"},
		{"SELECT chr(-1)", "line 1:12: Not a valid Unicode code point: -1"},
		{"SELECT '\xff'", "The query is not valid UTF-8"},
	} {
		t.Run(tt.give[:min(len(tt.give), 80)], func(t *testing.T) {
			_, err := Compile(tt.give, c, now)
			var invalid *qtypes.ValidationException
			if !errors.As(err, &invalid) {
				t.Fatalf("got %v, want a ValidationException %s", err, tt.want)
			}
			got := invalid.ErrorMessage()
			if tt.want == "line 1:" {
				if !strings.HasSuffix(got, "expression is too large") {
					t.Errorf("got %s", got)
				}
				return
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestErrorsWhileRunning(t *testing.T) {
	e := newEngine(t, tableM)
	for _, tt := range []struct{ give, want string }{
		{"SELECT 1 / 0", "Division by zero"},
		{"SELECT from_nanoseconds(length('a')) - 1year", "Timestamp is out of range"},
		{"SELECT from_nanoseconds(length('a')) - 2ns", "Timestamp is out of range"},
		{"SELECT date(from_nanoseconds(length('a'))) - 1d", "Timestamp is out of range"},
		{"SELECT 1 % (length('a') - 1)", "Division by zero"},
		{"SELECT 9223372036854775807 + length('a')", "Overflow in addition"},
		{"SELECT 2147483647 + 1", "Overflow in addition of INT32"},
		{"SELECT sum(x) FROM (SELECT 9223372036854775807 x FROM db.m)", "out of range"},
		{"SELECT cast(lower('x') AS bigint)", "Cannot cast 'x' to BIGINT"},
		{"SELECT split_part('a', ',', 0)", "Index must be greater than zero"},
		{"SELECT ARRAY[1][length('ab')]", "Array subscript must be less than or equal to array length"},
		{"SELECT sequence(1, 20000)", "result of sequence function must not have more than 10000 entries"},
		{"SELECT sequence(1, 5, -1)", "sequence stop value should be greater than or equal to start value"},
		{"SELECT (SELECT x FROM (VALUES 1, 2) AS t(x))", "More than one row returned by a subquery"},
		{"SELECT integral_trapezoidal(create_time_series(time, measure_value::double)) FROM db.m", "CREATE_TIME_SERIES: time and value must not be NULL"},
		{"SELECT t.value FROM (SELECT create_time_series(time, note) s FROM db.m) CROSS JOIN UNNEST(s) AS t", "CREATE_TIME_SERIES: time and value must not be NULL"},
		{"SELECT chr(length('a') - 2)", "Not a valid Unicode code point"},
		{"SELECT correlate_pearson(a, b) FROM (SELECT create_time_series(time, 1) a, create_time_series(time + 1s, 1) b FROM db.m)", "The time series must have the same timestamps"},
		{"SELECT repeat('x', 20000)", "count argument of repeat function must be less than or equal to 10000"},
		{"SELECT lpad('a', 2000000, 'x')", "Target length must be in the range [0..1000000]"},
		{"SELECT hamming_distance('a', 'ab')", "must have the same length"},
		{"SELECT create_time_series(time, measure_value::double) FROM db.m", "CREATE_TIME_SERIES: time and value must not be NULL"},
	} {
		if _, _, err := e.query(tt.give); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.give, err, tt.want)
		}
	}
}

// FuzzCompile holds that no statement breaks the compiler, and that it blames the statement for what it refuses.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`SELECT job, create_time_series(time, measure_value::double) FROM db.m WHERE time > ago(1h) AND job IN ('a', NULL) GROUP BY job, bin(time, 5m) ORDER BY 1 DESC LIMIT 3`,
		"WITH a AS (SELECT DISTINCT * FROM db.m) SELECT count(*), max_by(note, time) FROM a HAVING sum(measure_value::bigint) / 2 > 1e3",
		"SHOW MEASURES FROM db.m LIKE '%'", "DESCRIBE db.m", `SELECT cast('2022-01-01' AS timestamp) + 1month, regexp_like('x', '[^a]\Q(\E') FROM db."my-table"`,
		"WITH a (j) AS (SELECT job FROM db.m UNION VALUES 'x') SELECT a.j, row_number() OVER (PARTITION BY b.note ORDER BY time RANGE 1h PRECEDING) FROM a LEFT JOIN db.m b ON a.j = b.job, UNNEST(ARRAY[1, 2]) AS u(x)",
		"SELECT reduce(filter(interpolate_linear(create_time_series(time, measure_value::double), sequence(min(time), max(time), 15s)), p -> p.value > 1), 0, (s, p) -> s + p.value, s -> s) FROM db.m GROUP BY job HAVING max(measure_value::double) > ALL (SELECT 1)",
		"SELECT (SELECT max_by(x.job, y.time, 2)[1] FROM db.m y WHERE y.job = x.job), (1, 'a')[2], regexp_replace(note, '(a)', '$1'), try(1 / 0), date_diff('day', time, now()) FROM db.m x",
	} {
		f.Add(s)
	}
	c := testCatalog()
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Compile(text, c, now)
		var invalid *qtypes.ValidationException
		if err != nil && !errors.As(err, &invalid) {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
