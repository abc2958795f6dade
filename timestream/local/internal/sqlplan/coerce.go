// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// rank orders the numeric types by width; 0 is not numeric.
func rank(t Type) int {
	switch t.Scalar {
	case Integer:
		return 1
	case Bigint:
		return 2
	case Double:
		return 3
	}
	return 0
}

// coercible tells whether a value of one type may stand where another is expected: numbers widen, dates become timestamps,
// NULL becomes anything, and a varchar becomes a timestamp (Timestream's own rule: `time BETWEEN '2023-09-19' AND …`).
func coercible(from, to Type) bool {
	switch {
	case from.equal(to), from.isScalar(Unknown):
		return true
	case rank(from) > 0 && rank(to) > 0:
		return rank(from) <= rank(to)
	case from.Array != nil && to.Array != nil:
		return coercible(*from.Array, *to.Array)
	}
	return to.isScalar(Timestamp) && (from.isScalar(Date) || from.isScalar(Varchar))
}

// common returns the type that all operands can take.
func common(xs ...bound) (Type, bool) {
	t := ScalarOf(Unknown)
	for _, x := range xs {
		switch {
		case coercible(x.typ, t):
		case coercible(t, x.typ):
			t = x.typ
		default:
			return t, false
		}
	}
	return t, true
}

// comparison is common for operands that are compared: time series are not.
func comparison(xs ...bound) (Type, bool) {
	t, ok := common(xs...)
	return t, ok && t.comparable()
}

// coerce converts x to t, to which it is coercible.
func coerce(x bound, t Type, at tssql.Pos) bound {
	from := x.typ.Scalar
	switch {
	case x.typ.equal(t):
		return x
	case from == Unknown:
		x.learn(t)
		return bound{sql: "CAST(NULL AS " + duckType(t) + ")", typ: t, noNaN: true}
	case t.Scalar == Timestamp && from == Varchar:
		return castTimestamp(x, at, false)
	case t.Scalar == Timestamp && from == Date:
		if day, ok := x.k.(int64); ok {
			if ns, ok := instant(day, 0); ok {
				return constant(Timestamp, ns)
			}
		}
		return bound{sql: "(CAST(" + x.sql + " AS BIGINT) * " + strconv.FormatInt(nsDay, 10) + ")", typ: t}
	}
	if t.Array != nil {
		if x.typ.Array.isScalar(Unknown) {
			return bound{sql: "CAST(" + x.sql + " AS " + duckType(t) + ")", typ: t}
		}
		e := coerce(bound{sql: "e", typ: *x.typ.Array}, *t.Array, at)
		return bound{sql: "list_transform(" + x.sql + ", lambda e: " + e.sql + ")", typ: t}
	}
	if v, ok := x.k.(int64); ok {
		if t.Scalar == Double {
			return constant(Double, float64(v))
		}
		return constant(t.Scalar, v)
	}
	return bound{sql: "CAST(" + x.sql + " AS " + duckType(t) + ")", typ: t, noNaN: true}
}

// castTimestamp reads a varchar as a timestamp. A literal is read here, so that comparisons of the time column stay
// comparisons with a constant.
func castTimestamp(x bound, at tssql.Pos, try bool) bound {
	if s, ok := x.k.(string); ok {
		ns, ok := parseTimestamp(s)
		switch {
		case ok:
			return constant(Timestamp, ns)
		case try:
			return bound{sql: "CAST(NULL AS BIGINT)", typ: ScalarOf(Timestamp)}
		}
		fail(at, "Value cannot be cast to timestamp: %s", s)
	}
	return bound{sql: "epoch_ns(" + castWord(try) + "(" + x.sql + " AS TIMESTAMP_NS))", typ: ScalarOf(Timestamp)}
}

func castWord(try bool) string {
	if try {
		return "TRY_CAST"
	}
	return "CAST"
}

// typed reads a typed constant.
func (b *binder) typed(e *tssql.Typed) bound {
	if unit, ok := strings.CutPrefix(e.Type, "INTERVAL "); ok {
		return intervalOf(e, unit)
	}
	t, _ := parseType(e.Pos, e.Type)
	x := b.castTo(constant(Varchar, e.Text), t, e.Pos, false)
	if x.k == nil {
		fail(e.Pos, "'%s' is not a valid %s literal", e.Text, t)
	}
	if days, ok := x.k.(int64); ok && t.isScalar(Date) && days < 0 {
		fail(e.Pos, "Value cannot be cast to date: %s", e.Text) // dates begin in 1970 (Timestream Developer Guide, supported-data-types)
	}
	return x
}

// parseType reads the name of a scalar type; the length of varchar(n) comes second, -1 without one.
func parseType(at tssql.Pos, name string) (Type, int) {
	base, rest, hasArgs := strings.Cut(strings.ToLower(name), "(")
	length := -1
	if hasArgs && base == "array" {
		elem, _ := parseType(at, strings.TrimSuffix(rest, ")"))
		return Type{Array: &elem}, -1
	}
	if hasArgs && base == "row" {
		_, fields, _ := strings.Cut(name, "(")
		return parseRow(at, strings.TrimSuffix(fields, ")")), -1
	}
	if hasArgs {
		n, ok := digits(strings.TrimSuffix(rest, ")"))
		if base != "varchar" || !ok {
			fail(at, "Unknown type: %s", name)
		}
		length = n
	}
	switch base {
	case "varchar":
		return ScalarOf(Varchar), length
	case "bigint":
		return ScalarOf(Bigint), -1
	case "integer", "int":
		return ScalarOf(Integer), -1
	case "double":
		return ScalarOf(Double), -1
	case "boolean":
		return ScalarOf(Boolean), -1
	case "timestamp":
		return ScalarOf(Timestamp), -1
	case "date":
		return ScalarOf(Date), -1
	case "time":
		return ScalarOf(TimeOfDay), -1
	case "varbinary":
		return ScalarOf(Varbinary), -1
	case "interval day to second":
		return ScalarOf(DayTime), -1
	case "interval year to month":
		return ScalarOf(YearMonth), -1
	}
	fail(at, "Unknown type: %s", name)
	return Type{}, 0
}

// parseRow reads the fields of a row type: types, with or without names before them.
func parseRow(at tssql.Pos, fields string) Type {
	t := Type{Row: []Field{}}
	depth, start := 0, 0
	for i := 0; i <= len(fields); i++ {
		switch {
		case i == len(fields) || fields[i] == ',' && depth == 0:
			field := strings.TrimSpace(fields[start:i])
			start = i + 1
			name, rest, named := strings.Cut(field, " ")
			if lower := strings.ToLower(field); !named || strings.Contains(name, "(") || strings.HasPrefix(lower, "interval ") {
				name, rest = "", field
			}
			f, _ := parseType(at, rest)
			t.Row = append(t.Row, Field{Name: name, Type: f})
		case fields[i] == '(':
			depth++
		case fields[i] == ')':
			depth--
		}
	}
	return t
}

// castRow converts a row field by field.
func (b *binder) castRow(x bound, t Type, at tssql.Pos, try bool) bound {
	if len(x.typ.Row) != len(t.Row) {
		fail(at, "Cannot cast %s to %s", x.typ, t)
	}
	parts := make([]string, len(t.Row))
	for i, f := range t.Row {
		from := bound{sql: "struct_extract(r, '" + fieldKey(x.typ, i) + "')", typ: x.typ.Row[i].Type}
		parts[i] = "'" + fieldKey(t, i) + "': CAST(" + b.castTo(from, f.Type, at, try).sql + " AS " + duckType(f.Type) + ")"
	}
	return bound{sql: "list_transform([" + x.sql + "], lambda r: CASE WHEN r IS NOT NULL THEN {" + strings.Join(parts, ", ") + "} END)[1]", typ: t}
}

func (b *binder) cast(e *tssql.Cast) bound {
	t, length := parseType(e.Pos, e.Type)
	from := b.expr(e.X)
	x := b.castTo(from, t, e.Pos, e.Try || b.trying)
	if elem := t.Array; elem != nil && elem.Scalar != "" && from.typ.Array != nil && (e.Try || b.trying) {
		// Where an element cannot be cast the array cannot.
		x.sql = b.let(from, func(before string) string {
			return b.let(bound{sql: b.castTo(bound{sql: before, typ: from.typ}, t, e.Pos, true).sql, typ: t}, func(after string) string {
				return "(CASE WHEN list_count(" + before + ") = list_count(" + after + ") THEN " + after + " END)"
			})
		})
	}
	if length >= 0 {
		// Trino cuts to the length.
		x = bound{sql: "left(" + x.sql + ", " + strconv.Itoa(length) + ")", typ: x.typ}
	}
	return x
}

// castTo converts by CAST or TRY_CAST. Constants are converted here where that is simple.
func (b *binder) castTo(x bound, t Type, at tssql.Pos, try bool) bound {
	from, to := x.typ.Scalar, t.Scalar
	out := bound{typ: t, noNaN: x.noNaN && from != Varchar}
	cast := castWord(try) + "(" + x.sql + " AS " + duckType(t) + ")"
	switch {
	case x.typ.Row != nil && t.Row != nil:
		return b.castRow(x, t, at, try)
	case x.typ.equal(t):
		return x
	case from == Unknown, x.typ.Array != nil && t.Array != nil && x.typ.Array.isScalar(Unknown):
		return coerce(x, t, at)
	case x.typ.Array != nil && t.Array != nil:
		e := b.castTo(bound{sql: "e", typ: *x.typ.Array}, *t.Array, at, try)
		return bound{sql: "list_transform(" + x.sql + ", lambda e: " + e.sql + ")", typ: t}
	case x.typ.Scalar == "" || t.Scalar == "":
	case to == Varchar:
		if v, ok := x.k.(int64); ok {
			if s, err := appendInteger(nil, &clock{}, &x.typ, v); err == nil {
				return constant(Varchar, string(s))
			}
		}
		if v, ok := x.k.(float64); ok {
			return constant(Varchar, string(appendDouble(nil, v)))
		}
		switch from {
		case Integer, Bigint, Boolean:
			out.sql = cast
		case Double:
			out.sql = doubleText(x.sql)
		case Timestamp:
			out.sql = momentText(x.sql, " ")
		case Date:
			out.sql = "strftime(DATE '1970-01-01' + " + x.sql + ", '%Y-%m-%d')"
		case TimeOfDay:
			out.sql = clockText(x.sql)
		case DayTime:
			day := strconv.FormatInt(nsDay, 10)
			out.sql = "((CASE WHEN " + x.sql + " < 0 THEN '-' ELSE '' END) || CAST(abs(" + x.sql + " // " + day + ") AS VARCHAR) || ' ' || " + clockText("abs("+x.sql+" % "+day+")") + ")"
		case YearMonth:
			out.sql = "((CASE WHEN " + x.sql + " < 0 THEN '-' ELSE '' END) || CAST(abs(" + x.sql + ") // 12 AS VARCHAR) || '-' || CAST(abs(" + x.sql + ") % 12 AS VARCHAR))"
		}
	case from == Varchar && to != Varbinary:
		return castText(x, t, at, try)
	case rank(x.typ) > 0 && rank(t) > 0:
		if rank(x.typ) < rank(t) {
			return coerce(x, t, at)
		}
		if v, ok := x.k.(int64); ok && v >= math.MinInt32 && v <= math.MaxInt32 {
			return constant(Integer, v)
		}
		if from == Double {
			// Trino rounds half away from zero, DuckDB's cast half to even.
			cast = castWord(try) + "(round(" + x.sql + ") AS " + duckType(t) + ")"
		} else if !try {
			cast = "(CASE WHEN " + x.sql + " NOT BETWEEN " + strconv.Itoa(math.MinInt32) + " AND " + strconv.Itoa(math.MaxInt32) + " THEN " + b.raiseSQL("'Out of range for integer: ' || CAST("+x.sql+" AS VARCHAR)") + " ELSE " + cast + " END)"
		}
		out.sql = cast
	case rank(x.typ) > 0 && to == Boolean, from == Boolean && rank(t) > 0:
		out.noNaN = true
		out.sql = cast
	case to == Timestamp && from == Date:
		return coerce(x, t, at)
	case to == Timestamp && from == TimeOfDay:
		// The time of the current day, as in Trino.
		today := floorDiv(b.co.now, nsDay) * nsDay
		if v, ok := x.k.(int64); ok {
			return constant(Timestamp, today+v)
		}
		out.sql = "(" + x.sql + " + " + strconv.FormatInt(today, 10) + ")"
	case to == Varbinary && from == Varchar:
		out.sql = "encode(" + x.sql + ")"
	case to == Date && from == Timestamp:
		if v, ok := x.k.(int64); ok {
			return constant(Date, floorDiv(v, nsDay))
		}
		out.sql = "CAST(" + floorQuotient(x.sql, nsDay) + " AS INTEGER)"
	case to == TimeOfDay && from == Timestamp:
		if v, ok := x.k.(int64); ok {
			return constant(TimeOfDay, v-floorDiv(v, nsDay)*nsDay)
		}
		out.sql = floorRemainder(x.sql, strconv.FormatInt(nsDay, 10))
	}
	if out.sql == "" {
		fail(at, "Cannot cast %s to %s", x.typ, t)
	}
	return out
}

// momentText writes a timestamp. DuckDB's own type of nanoseconds ends before the times do, so it writes the microseconds.
func momentText(sql, separator string) string {
	return "(strftime(make_timestamp(" + floorQuotient(sql, 1000) + "), '%Y-%m-%d" + separator + "%H:%M:%S.') || printf('%09d', " + floorRemainder(sql, "1000000000") + "))"
}

// clockText prints a time of day, or a part of a day, as `01:02:03.000000000`.
func clockText(sql string) string {
	return "strftime(make_timestamp_ns(" + sql + "), '%H:%M:%S.%n')"
}

// javaDouble is what Java's Double.parseDouble takes, without white space and hexadecimal numbers.
const javaDouble = `[+-]?(NaN|Infinity|([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?[fFdD]?)`

// castText converts a varchar. Java's parsers, which the service uses, are stricter than DuckDB's; the texts of errors are Trino's.
func castText(x bound, t Type, at tssql.Pos, try bool) bound {
	s, isConst := x.k.(string)
	before, after := "Cannot cast '", "' to "+strings.ToUpper(t.String())
	switch t.Scalar {
	case Integer:
		after = "' to INT"
	case Date, TimeOfDay, Timestamp:
		before, after = "Value cannot be cast to "+t.String()+": ", ""
	}
	bad := raised(quote(before) + " || " + x.sql + " || " + quote(after))
	if try {
		bad = "NULL"
	}
	// tried is a conversion that gives NULL where there is none.
	tried := func(sql string) string {
		return "(CASE WHEN " + x.sql + " IS NOT NULL THEN coalesce(" + sql + ", " + bad + ") END)"
	}
	refuse := func() bound {
		if !try {
			fail(at, "%s%s%s", before, s, after)
		}
		return coerce(bound{sql: "NULL", typ: ScalarOf(Unknown)}, t, at)
	}
	out := bound{typ: t}
	switch t.Scalar {
	case Timestamp:
		if isConst || try {
			return castTimestamp(x, at, try)
		}
		out.sql = tried("epoch_ns(TRY_CAST(" + x.sql + " AS TIMESTAMP_NS))")
	case Integer, Bigint:
		bits := 64
		if t.Scalar == Integer {
			bits = 32
		}
		if isConst {
			v, err := strconv.ParseInt(s, 10, bits)
			if err != nil {
				return refuse()
			}
			return constant(t.Scalar, v)
		}
		out.sql = tried("CASE WHEN regexp_full_match(" + x.sql + ", '[+-]?[0-9]+') THEN TRY_CAST(" + x.sql + " AS " + duckType(t) + ") END")
	case Double:
		if isConst {
			digits := strings.TrimSpace(s)
			if ok, err := regexp.MatchString("^"+javaDouble+"$", digits); !ok || err != nil {
				return refuse()
			}
			v, err := strconv.ParseFloat(strings.TrimRight(digits, "fFdD"), 64)
			if err != nil && !math.IsInf(v, 0) {
				return refuse()
			}
			return constant(Double, v)
		}
		out.sql = tried("CASE WHEN regexp_full_match(" + x.sql + `, '\s*` + javaDouble + `\s*') THEN TRY_CAST(rtrim(trim(` + x.sql + ", " + quote(" \t\n\f\r") + "), 'fFdD') AS DOUBLE) END")
	case Boolean:
		if isConst {
			switch strings.ToLower(s) {
			case "t", "true", "1":
				return constant(Boolean, true)
			case "f", "false", "0":
				return constant(Boolean, false)
			}
			return refuse()
		}
		out.sql = "(CASE WHEN " + x.sql + " IS NULL THEN NULL WHEN lower(" + x.sql + ") IN ('t', 'true', '1') THEN TRUE WHEN lower(" +
			x.sql + ") IN ('f', 'false', '0') THEN FALSE ELSE " + bad + " END)"
	case Date:
		if isConst {
			day, ok := parseDate(strings.TrimSpace(s))
			if !ok {
				return refuse()
			}
			return constant(Date, day)
		}
		out.sql = tried("CASE WHEN regexp_full_match(" + x.sql + `, '\s*[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}\s*') THEN CAST(TRY_CAST(` + x.sql + " AS DATE) - DATE '1970-01-01' AS INTEGER) END")
	case TimeOfDay:
		if isConst {
			ns, ok := parseTimeOfDay(strings.TrimSpace(s))
			if !ok {
				return refuse()
			}
			return constant(TimeOfDay, ns)
		}
		out.sql = tried("CASE WHEN regexp_full_match(" + x.sql + `, '\s*[0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2}([.][0-9]{1,9})?)?\s*') THEN epoch_ns(TRY_CAST('1970-01-01 ' || trim(` + x.sql + ") AS TIMESTAMP_NS)) END")
	}
	if out.sql == "" {
		fail(at, "Cannot cast %s to %s", x.typ, t)
	}
	return out
}

// doubleText prints a double as Java does (see appendDouble) from DuckDB's text, which has the same digits: plain
// between 1e-4 and 1e16, `d[.ddd]e±dd` elsewhere. (The smallest denormals come out as 5.0E-324, not 4.9E-324.)
func doubleText(sql string) string {
	return "list_transform([CAST(" + sql + " AS VARCHAR)], lambda s: CASE" +
		" WHEN s IS NULL THEN NULL" +
		" WHEN s = 'nan' OR s = '-nan' THEN 'NaN' WHEN s = 'inf' THEN 'Infinity' WHEN s = '-inf' THEN '-Infinity'" +
		" WHEN contains(s, 'e') THEN split_part(s, 'e', 1) || CASE WHEN contains(split_part(s, 'e', 1), '.') THEN '' ELSE '.0' END ||" +
		" 'E' || CAST(CAST(split_part(s, 'e', 2) AS INTEGER) AS VARCHAR)" +
		" WHEN abs(CAST(s AS DOUBLE)) >= 1e7 THEN regexp_extract(s, '^-?[0-9]') || '.' ||" +
		" coalesce(nullif(rtrim(replace(regexp_replace(s, '^-?[0-9]', ''), '.', ''), '0'), ''), '0') ||" +
		" 'E' || CAST(length(ltrim(split_part(s, '.', 1), '-')) - 1 AS VARCHAR)" +
		" WHEN CAST(s AS DOUBLE) <> 0 AND abs(CAST(s AS DOUBLE)) < 1e-3 THEN" +
		" regexp_replace(regexp_replace(s, '0\\.000([1-9])', '\\1.'), '\\.$', '.0') || 'E-4'" +
		" ELSE s END)[1]"
}

// floorQuotient divides a BIGINT by a positive length, rounding towards minus infinity; DuckDB's // rounds towards zero.
func floorQuotient(sql string, length int64) string {
	n := strconv.FormatInt(length, 10)
	return "(" + sql + " // " + n + " - CASE WHEN " + sql + " % " + n + " < 0 THEN 1 ELSE 0 END)"
}

// floorRemainder is what floorQuotient leaves, never below zero.
func floorRemainder(sql, length string) string {
	return "(((" + sql + " % " + length + ") + " + length + ") % " + length + ")"
}
