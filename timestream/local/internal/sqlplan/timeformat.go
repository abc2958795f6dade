// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"strconv"
	"strings"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/joda"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlfunc"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// timeFormat binds date_format, date_parse, format_datetime and parse_datetime, whose formats package joda reads: here where they are literals,
// and in DuckDB's functions of Go. What is all literal is a literal, with which the time column can be compared in a scan.
func (b *binder) timeFormat(c *tssql.Call, args []bound) bound {
	name := strings.ToLower(c.Name)
	function := map[string]string{
		"date_format": sqlfunc.DateFormat, "date_parse": sqlfunc.DateParse, "format_datetime": sqlfunc.FormatDatetime, "parse_datetime": sqlfunc.ParseDatetime,
	}[name]
	from, to := ScalarOf(Timestamp), ScalarOf(Varchar)
	if strings.HasSuffix(name, "_parse") || strings.HasPrefix(name, "parse_") {
		from, to = to, from
	}
	if len(args) != 2 || !coercible(args[0].typ, from) || !textual(args[1]) {
		mismatch(c, args, name+"("+from.String()+", varchar)")
	}
	at := c.Args[0].Position()
	x, format := coerce(args[0], from, at), coerce(args[1], ScalarOf(Varchar), c.Args[1].Position())
	out := bound{sql: function + "(" + x.sql + ", " + format.sql + ", " + constant(Bigint, b.co.now).sql + ", " + b.quiet() + ")", typ: to}
	s, ok := format.k.(string)
	if !ok {
		return out
	}
	f, err := joda.MySQL(s)
	if strings.HasSuffix(name, "datetime") {
		f, err = joda.Pattern(s, time.Unix(0, b.co.now))
	}
	switch {
	case err != nil && b.trying:
		return out
	case err != nil:
		fail(c.Args[1].Position(), "%s", err)
	}
	switch v := x.k.(type) {
	case int64:
		return constant(Varchar, string(f.Append(nil, v)))
	case string:
		ns, err := f.Parse(v, &joda.Zones{})
		switch {
		case err == nil:
			return constant(Timestamp, ns)
		case !b.trying:
			fail(at, "%s", err)
		}
	}
	return out
}

// quiet is the argument of a function of package sqlfunc that makes NULLs of errors.
func (b *binder) quiet() string { return strings.ToUpper(strconv.FormatBool(b.trying)) }

// isDay prints whether a month has a day; make_date would end the query with a text of DuckDB's.
func isDay(y, m, d string) string {
	return "(CASE WHEN " + m + " BETWEEN 1 AND 12 THEN " + d + " BETWEEN 1 AND date_part('day', last_day(make_date(" + y + ", " + m + ", 1))) ELSE FALSE END)"
}

// isoPattern reads what Joda's parsers of ISO 8601 read: a date by month, week or day of the year, the time of day to the second and its
// fraction, an offset.
const isoPattern = `(?:([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2}))?)?|([0-9]{4})-W([0-9]{1,2})(?:-([1-7]))?|([0-9]{4})-([0-9]{3}))`

const isoClock = `(?:T([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2})(?:[.,]([0-9]{1,9}))?)?)?)?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?`

// fromISO8601 binds from_iso8601_timestamp and from_iso8601_date.
func (b *binder) fromISO8601(c *tssql.Call, args []bound) bound {
	name := strings.ToLower(c.Name)
	if len(args) != 1 || !textual(args[0]) {
		mismatch(c, args, name+"(varchar)")
	}
	date := name == "from_iso8601_date"
	if s, ok := args[0].k.(string); ok {
		// The usual forms are constants, with which the time column can be compared in a scan.
		if day, ok := parseDate(s); date && ok {
			return constant(Date, day)
		}
		if ns, ok := parseISO8601(s); !date && ok {
			return constant(Timestamp, ns)
		}
	}
	typ := Timestamp
	if date {
		typ = Date
	}
	x := coerce(args[0], ScalarOf(Varchar), c.Pos)
	return bound{sql: b.let(x, func(x string) string { return b.isoTime(x, date) }), typ: ScalarOf(typ)}
}

// isoTime prints the nanoseconds, or the days, of a text.
func (b *binder) isoTime(x string, date bool) string {
	pattern, names := isoPattern, "['y', 'm', 'd', 'wy', 'w', 'e', 'oy', 'o'"
	if !date {
		pattern += isoClock
		names += ", 'hh', 'mm', 'ss', 'f', 'z'"
	}
	p := b.co.param()
	number := func(field, otherwise string) string {
		return "CAST(coalesce(nullif(" + p + "." + field + ", ''), '" + otherwise + "') AS BIGINT)"
	}
	days := func(y, m, d string) string {
		return "CAST(make_date(" + y + ", " + m + ", " + d + ") - DATE '1970-01-01' AS BIGINT)"
	}
	fourth := days(number("wy", "1970"), "1", "4")
	// The Monday of the week, and the day of the year; where they are in another year there is none such.
	week := "(" + fourth + " - (" + fourth + " + 3) % 7 + (" + number("w", "1") + " - 1) * 7)"
	ordinal := "(" + days(number("oy", "1970"), "1", "1") + " + " + number("o", "1") + " - 1)"
	y, m, d := number("y", "1970"), number("m", "1"), number("d", "1")
	day := "CASE WHEN " + p + ".y <> '' THEN CASE WHEN " + isDay(y, m, d) + " THEN " + days(y, m, d) + " END" +
		" WHEN " + p + ".wy <> '' THEN CASE WHEN date_part('isoyear', DATE '1970-01-01' + CAST(" + week + " AS INTEGER)) = " + number("wy", "1970") + " THEN " + week + " + " + number("e", "1") + " - 1 END" +
		" WHEN date_part('year', DATE '1970-01-01' + CAST(" + ordinal + " AS INTEGER)) = " + number("oy", "1970") + " THEN " + ordinal + " END"
	out := "CAST(" + day + " AS INTEGER)"
	if !date {
		zone := "replace(replace(" + p + ".z, ':', ''), 'Z', '')"
		offset := "(CASE WHEN " + zone + " = '' THEN 0 ELSE (CAST(substring(" + zone + ", 2, 2) AS BIGINT) * 60 + CAST(substring(" + zone + " || '00', 4, 2) AS BIGINT)) * " +
			"CASE WHEN left(" + zone + ", 1) = '-' THEN -60 ELSE 60 END END)"
		out = "(CASE WHEN " + number("hh", "0") + " < 24 AND " + number("mm", "0") + " < 60 AND " + number("ss", "0") + " < 60 THEN CAST((" + day + ") AS HUGEINT) * 86400 + " + number("hh", "0") + " * 3600 + " +
			number("mm", "0") + " * 60 + " + number("ss", "0") + " - " + offset + " END) * 1000000000 + CAST(rpad(" + p + ".f, 9, '0') AS BIGINT)"
		out = b.let(bound{sql: out, typ: ScalarOf(Timestamp)}, func(ns string) string {
			return "(CASE WHEN " + ns + " IS NOT NULL THEN coalesce(TRY_CAST(" + ns + " AS BIGINT), " + b.raise(textOutOfRange) + ") END)"
		})
	}
	invalid := b.raiseSQL("'Invalid format: \"' || " + x + " || '\"'")
	sql := "list_transform([regexp_extract(" + x + ", " + quote("^(?:"+pattern+")$") + ", " + names + "])], lambda " + p + ": " + out + ")[1]"
	return "(CASE WHEN regexp_full_match(" + x + ", " + quote(pattern) + ") THEN coalesce(" + sql + ", " + invalid + ") WHEN " + x + " IS NOT NULL THEN " + invalid + " END)"
}
