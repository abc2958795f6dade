// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"slices"
	"testing"
)

func TestExpressions(t *testing.T) {
	e := newEngine(t, tableM)
	for _, tt := range []struct{ give, wantType, want string }{
		// Literals.
		{"1", "integer", "1"},
		{"3000000000", "bigint", "3000000000"},
		{"-2147483648", "integer", "-2147483648"},
		{"-9223372036854775808", "bigint", "-9223372036854775808"},
		{"1.5", "double", "1.5"},
		{"1e7", "double", "1.0E7"},
		{"-0.0", "double", "-0.0"},
		{"'O''Brien\\n'", "varchar", `O'Brien\n`},
		{"NULL", "unknown", "NULL"},
		{"TRUE", "boolean", "true"},
		{"1d", "interval day to second", "1 00:00:00.000000000"},
		{"45h", "interval day to second", "1 21:00:00.000000000"},
		{"1500ms", "interval day to second", "0 00:00:01.500000000"},
		{"- 1s", "interval day to second", "-0 00:00:01.000000000"},
		{"47month", "interval year to month", "3-11"},
		{"INTERVAL '2' DAY", "interval day to second", "2 00:00:00.000000000"},
		{"INTERVAL '2' WEEK", "interval day to second", "14 00:00:00.000000000"},
		{"INTERVAL '-2' YEAR", "interval year to month", "-2-0"},
		{"TIMESTAMP '2022-06-17 10:15:20.123456789'", "timestamp", "2022-06-17 10:15:20.123456789"},
		{"DATE '2022-05-21'", "date", "2022-05-21"},
		{"DOUBLE '0.0'", "double", "0.0"},
		{"BIGINT '7'", "bigint", "7"},
		{"TIME '01:02:03'", "time", "01:02:03.000000000"},
		// Arithmetic.
		{"7 / 2", "integer", "3"},
		{"-7 / 2", "integer", "-3"},
		{"length('sevens!') / 2", "bigint", "3"},
		{"(0 - length('sevens!')) / 2", "bigint", "-3"},
		{"-7 % 2", "integer", "-1"},
		{"7 / 2.0", "double", "3.5"},
		{"1 + 3000000000", "bigint", "3000000001"},
		{"2147483647 + length('a')", "bigint", "2147483648"},
		{"1.0 / 0", "double", "Infinity"},
		{"-1.0 / 0", "double", "-Infinity"},
		{"0.0 / 0", "double", "NaN"},
		{"1 + NULL", "integer", "NULL"},
		{"2 * (3 + 4) - 1", "integer", "13"},
		{"- length('abc')", "bigint", "-3"},
		{"2 * 1d", "interval day to second", "2 00:00:00.000000000"},
		{"length('ab') * 1d", "interval day to second", "2 00:00:00.000000000"},
		{"1d / 2", "interval day to second", "0 12:00:00.000000000"},
		{"1d * 1.5", "interval day to second", "1 12:00:00.000000000"},
		{"1d + 1h", "interval day to second", "1 01:00:00.000000000"},
		// Comparison and logic.
		{"1 = 1.0", "boolean", "true"},
		{"1 <> 2", "boolean", "true"},
		{"'b' > 'B'", "boolean", "true"},
		{"NULL = 1", "boolean", "NULL"},
		{"NULL = NULL", "boolean", "NULL"},
		{"nan() = nan()", "boolean", "false"},
		{"nan() <> nan()", "boolean", "true"},
		{"nan() > 1", "boolean", "false"},
		{"nan() = NULL", "boolean", "NULL"},
		{"nan() IN (nan(), 1)", "boolean", "false"},
		{"nan() BETWEEN 0 AND infinity()", "boolean", "false"},
		{"TRUE AND NULL", "boolean", "NULL"},
		{"FALSE AND NULL", "boolean", "false"},
		{"TRUE OR NULL", "boolean", "true"},
		{"NOT NULL", "boolean", "NULL"},
		{"2 BETWEEN 1 AND 3", "boolean", "true"},
		{"2 NOT BETWEEN 1 AND NULL", "boolean", "NULL"},
		{"1 IN (2, NULL)", "boolean", "NULL"},
		{"1 NOT IN (2, 3)", "boolean", "true"},
		{"NULL IS NULL", "boolean", "true"},
		{"1 IS NOT NULL", "boolean", "true"},
		{"TIMESTAMP '2023-01-01' > '2022-12-31 23:59'", "boolean", "true"},
		{"DATE '2023-01-01' = TIMESTAMP '2023-01-01 00:00:00'", "boolean", "true"},
		{`'a\b' LIKE 'a\b'`, "boolean", "true"},
		{`'a%' LIKE 'a!%' ESCAPE '!'`, "boolean", "true"},
		{`'ab' LIKE 'a!%' ESCAPE '!'`, "boolean", "false"},
		{`'abc' NOT LIKE '_b%'`, "boolean", "false"},
		// Conditionals.
		{"CASE WHEN 1 = 2 THEN 'x' WHEN TRUE THEN 'y' END", "varchar", "y"},
		{"CASE 2 WHEN 1 THEN 10 WHEN 2.0 THEN 20 ELSE 30.5 END", "double", "20.0"},
		{"CASE WHEN FALSE THEN 1 END", "integer", "NULL"},
		{"if(1 > 2, 'a', 'b')", "varchar", "b"},
		{"if(1 > 2, 'a')", "varchar", "NULL"},
		{"coalesce(NULL, 3000000000, 1)", "bigint", "3000000000"},
		{"nullif(1, 1.0)", "integer", "NULL"},
		{"nullif('a', 'b')", "varchar", "a"},
		{"greatest(1, 2.5, 2)", "double", "2.5"},
		{"least(length('abc'), 5)", "bigint", "3"},
		{"greatest(1, length(NULL))", "bigint", "NULL"},
		// Casts.
		{"cast(2.5 AS bigint)", "bigint", "3"},
		{"cast(-2.5 AS integer)", "integer", "-3"},
		{"cast('12' AS bigint)", "bigint", "12"},
		{"cast(lower('12') AS int)", "integer", "12"},
		{"try_cast('x' AS bigint)", "bigint", "NULL"},
		{"try_cast(lower('1.5') AS bigint)", "bigint", "NULL"},
		{"try_cast(lower('x') AS double)", "double", "NULL"},
		{"try_cast(lower('x') AS timestamp)", "timestamp", "NULL"},
		{"try_cast(1e300 AS bigint)", "bigint", "NULL"},
		{"cast(lower('TRUE') AS boolean)", "boolean", "true"},
		{"cast(TRUE AS integer)", "integer", "1"},
		{"cast(0 AS boolean)", "boolean", "false"},
		{"cast(length('ab') AS double)", "double", "2.0"},
		{"cast(12 AS varchar)", "varchar", "12"},
		{"cast('abcdef' AS varchar(3))", "varchar", "abc"},
		{"cast(1e7 AS varchar)", "varchar", "1.0E7"},
		{"cast(TIMESTAMP '2022-06-17' AS varchar)", "varchar", "2022-06-17 00:00:00.000000000"},
		{"cast(from_nanoseconds(length('a')) AS varchar)", "varchar", "1970-01-01 00:00:00.000000001"},
		{"cast('2022-06-17' AS timestamp)", "timestamp", "2022-06-17 00:00:00.000000000"},
		{"cast(lower('2022-06-17 01:02:03.5') AS timestamp)", "timestamp", "2022-06-17 01:02:03.500000000"},
		{"cast(now() AS date)", "date", "2022-06-17"},
		{"cast(from_nanoseconds(- length('a')) AS date)", "date", "1969-12-31"},
		{"cast(cast(from_nanoseconds(length('a')) AS date) AS varchar)", "varchar", "1970-01-01"},
		{"cast(lower('2022-06-17') AS date)", "date", "2022-06-17"},
		{"cast(now() AS time)", "time", "10:25:20.123456789"},
		{"cast(NULL AS double)", "double", "NULL"},
		// Time.
		{"now()", "timestamp", "2022-06-17 10:25:20.123456789"},
		{"current_timestamp", "timestamp", "2022-06-17 10:25:20.123456789"},
		{"current_date", "date", "2022-06-17"},
		{"ago(1h)", "timestamp", "2022-06-17 09:25:20.123456789"},
		{"ago(4month)", "timestamp", "2022-02-17 10:25:20.123456789"},
		{"now() - 15m", "timestamp", "2022-06-17 10:10:20.123456789"},
		{"1d + now()", "timestamp", "2022-06-18 10:25:20.123456789"},
		{"TIMESTAMP '2024-01-31' + 1month", "timestamp", "2024-02-29 00:00:00.000000000"},
		{"from_nanoseconds(length('a')) + 1month", "timestamp", "1970-02-01 00:00:00.000000001"},
		{"from_nanoseconds(length('a')) - 1year", "timestamp", "1969-01-01 00:00:00.000000001"},
		{"DATE '2022-05-21' + INTERVAL '2' DAY", "date", "2022-05-23"},
		{"DATE '2022-05-31' - 3month", "date", "2022-02-28"},
		{"cast(lower('2022-05-31') AS date) - 3month", "date", "2022-02-28"},
		{"bin(now(), 5m)", "timestamp", "2022-06-17 10:25:00.000000000"},
		{"bin('2021-11-15 11:18:42', 3d)", "timestamp", "2021-11-14 00:00:00.000000000"},
		{"bin(from_nanoseconds(- length('a')), 1s)", "timestamp", "1969-12-31 23:59:59.000000000"},
		{"from_milliseconds(1655461520123)", "timestamp", "2022-06-17 10:25:20.123000000"},
		{"from_milliseconds(length('a'))", "timestamp", "1970-01-01 00:00:00.001000000"},
		{"from_nanoseconds(1655461520123456789)", "timestamp", "2022-06-17 10:25:20.123456789"},
		{"to_milliseconds(now())", "bigint", "1655461520123"},
		{"to_nanoseconds(now())", "bigint", "1655461520123456789"},
		{"to_milliseconds(1h)", "bigint", "3600000"},
		{"from_iso8601_timestamp('2020-01-01T00:00:00.123456789+02:00')", "timestamp", "2019-12-31 22:00:00.123456789"},
		{"from_iso8601_timestamp('2020-01-01T00:00:00Z')", "timestamp", "2020-01-01 00:00:00.000000000"},
		{"from_iso8601_timestamp(upper('2020-01-01T00:00:00-01:30'))", "timestamp", "2020-01-01 01:30:00.000000000"},
		{"date_trunc('hour', now())", "timestamp", "2022-06-17 10:00:00.000000000"},
		{"date_trunc('week', now())", "timestamp", "2022-06-13 00:00:00.000000000"},
		{"date_trunc('week', from_nanoseconds(length('a')))", "timestamp", "1969-12-29 00:00:00.000000000"},
		{"date_trunc('month', now())", "timestamp", "2022-06-01 00:00:00.000000000"},
		{"date_trunc('quarter', now())", "timestamp", "2022-04-01 00:00:00.000000000"},
		{"date_trunc('year', '2022-06-17')", "timestamp", "2022-01-01 00:00:00.000000000"},
		// Mathematics.
		{"abs(-5)", "integer", "5"},
		{"abs(-5.5)", "double", "5.5"},
		{"sign(-2.5)", "double", "-1.0"},
		{"round(2.5)", "double", "3.0"},
		{"round(-2.5)", "double", "-3.0"},
		{"round(1234.567, 2)", "double", "1234.57"},
		{"round(15)", "integer", "15"},
		{"floor(-1.5)", "double", "-2.0"},
		{"ceil(length('a'))", "bigint", "1"},
		{"ceiling(1.2)", "double", "2.0"},
		{"truncate(-1.9)", "double", "-1.0"},
		{"mod(7, 3)", "integer", "1"},
		{"mod(-7.5, 2)", "double", "-1.5"},
		{"power(2, 10)", "double", "1024.0"},
		{"sqrt(2)", "double", "1.4142135623730951"},
		{"sqrt(-1)", "double", "NaN"},
		{"ln(0)", "double", "-Infinity"},
		{"ln(-1)", "double", "NaN"},
		{"exp(1)", "double", "2.718281828459045"},
		{"is_nan(nan())", "boolean", "true"},
		{"is_finite(infinity())", "boolean", "false"},
		{"is_infinite(-infinity())", "boolean", "true"},
		{"bitwise_and(12, 10)", "bigint", "8"},
		{"bitwise_or(12, 10)", "bigint", "14"},
		{"bitwise_xor(12, 10)", "bigint", "6"},
		{"bitwise_not(0)", "bigint", "-1"},
		// Text.
		{"lower('ÀB')", "varchar", "àb"},
		{"upper('àb')", "varchar", "ÀB"},
		{"length('aé🦆')", "bigint", "3"},
		{"substr('abcdef', 2, 3)", "varchar", "bcd"},
		{"substr('abc', -2)", "varchar", "bc"},
		{"substr('abc', -5)", "varchar", ""},
		{"substr('abc', 0, 2)", "varchar", ""},
		{"substr(lower('abc'), 0 - length('a'))", "varchar", "c"},
		{"substr('abc', NULL)", "varchar", "NULL"},
		{"substr('abc', 2, -1)", "varchar", ""},
		{"strpos('é🦆b', 'b')", "bigint", "3"},
		{"strpos('abc', 'x')", "bigint", "0"},
		{"concat('a', 'b', 'c')", "varchar", "abc"},
		{"concat('a', NULL)", "varchar", "NULL"},
		{"'a' || 'b' || 'c'", "varchar", "abc"},
		{"replace('banana', 'an')", "varchar", "ba"},
		{"replace('banana', 'an', 'x')", "varchar", "bxxa"},
		{"split_part('a,b', ',', 2)", "varchar", "b"},
		{"split_part('a,b', ',', 3)", "varchar", "NULL"},
		{"trim(' \t x \n')", "varchar", "x"},
		{"reverse('abc')", "varchar", "cba"},
		{"'a\x00b' || ''", "varchar", "a\x00b"},
		{"typeof(1d)", "varchar", "interval day to second"},
		// Regular expressions.
		{`regexp_like('xabcx', 'abc')`, "boolean", "true"},
		{`regexp_like('xabc', '\A(?s:abc)\z')`, "boolean", "false"},
		{"regexp_like('a\nc', '\\A(?s:a.c)\\z')", "boolean", "true"},
		{"regexp_like('a\nc', 'a.c')", "boolean", "false"},
		{`regexp_like('abc', '(?<x>b)')`, "boolean", "true"},
		{`regexp_like('a]b', '[^]]b')`, "boolean", "false"},
		{`regexp_like('a.b', '\Qa.b\E')`, "boolean", "true"},
		{`regexp_like(NULL, 'a')`, "boolean", "NULL"},
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
				t.Errorf("got %v, want %s\n%s", slices.Collect(texts(rows)), tt.want, plan.SQL)
			}
		})
	}
}

func TestCastsOfDoubleToText(t *testing.T) {
	e := newEngine(t, "CREATE TABLE m (d1 VARCHAR, d2 VARCHAR, m VARCHAR, t BIGINT, v DOUBLE, b BIGINT, a1 BOOLEAN, a2 VARCHAR)")
	values := []string{"0", "-0.0", "1", "0.001", "0.0001", "-0.00012345", "9999999", "9999999.5", "1e7", "123456789.125", "-12345678",
		"1e15", "1e16", "1.5e-5", "1e300", "3e-320", "1.7976931348623157e308", "'inf'", "'-inf'", "'nan'", "NULL"}
	for _, v := range values {
		if err := e.conn.Exec("INSERT INTO m (v) VALUES (CAST(" + v + " AS DOUBLE))"); err != nil {
			t.Fatal(err)
		}
	}
	_, rows, err := e.query("SELECT cast(measure_value::double AS varchar), measure_value::double FROM db.m")
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(values) {
		t.Fatalf("%d rows", len(rows))
	}
	for _, r := range rows {
		if got, want := datumText(r.Data[0]), datumText(r.Data[1]); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
