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
		{"SELECT * FROM a JOIN b", "line 1:17: JOIN is not supported"},
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
		{"SELECT cast('x' AS bigint)", "line 1:8: Cannot cast 'x' to bigint"},
		{"SELECT from_milliseconds(9223372036855)", "line 1:26: Timestamp is out of range: 9223372036855"},
		{"SELECT regexp_like('a', '(')", "line 1:25: Invalid regular expression: ("},
		{"SELECT regexp_like('a', '(?P<n>a)')", "line 1:25: regular expressions with (?P are not supported"},
		{"SELECT regexp_like('a', '(?=a)')", "line 1:25: Invalid regular expression: (?=a)"},
		{"SELECT regexp_like('a', '[[:alpha:]]')", "line 1:25: regular expressions with a class inside a class are not supported"},
		{"SELECT regexp_like('a', '(?iU)a')", "line 1:25: regular expressions with (?U) are not supported"},
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
		{"SELECT 1 % (length('a') - 1)", "Division by zero"},
		{"SELECT 9223372036854775807 + length('a')", "Overflow in addition"},
		{"SELECT 2147483647 + 1", "Overflow in addition of INT32"},
		{"SELECT sum(x) FROM (SELECT 9223372036854775807 x FROM db.m)", "out of range"},
		{"SELECT cast(lower('x') AS bigint)", "Cannot cast value to BIGINT"},
		{"SELECT split_part('a', ',', 0)", "Index must be greater than zero"},
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
