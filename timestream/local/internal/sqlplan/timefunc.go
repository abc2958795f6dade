// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// timeOverloads are the signatures of functions of time that have one (Timestream Developer Guide, date-time-functions).
func (b *binder) timeOverloads(name string) []overload {
	day := func(t string) string { return "CAST(" + floorQuotient(t, nsDay) + " AS INTEGER)" }
	lastDay := func(days string) string {
		return "CAST(last_day(DATE '1970-01-01' + " + days + ") - DATE '1970-01-01' AS INTEGER)"
	}
	switch name {
	case "date":
		return []overload{{[]Scalar{Date}, Date, "$1", true}, {[]Scalar{Timestamp}, Date, day("$1"), true}}
	case "last_day_of_month":
		return []overload{{[]Scalar{Date}, Date, lastDay("$1"), true}, {[]Scalar{Timestamp}, Date, lastDay(day("$1")), true}}
	case "to_iso8601":
		// Without a zone, as the type has none; the guide shows no answer.
		return []overload{
			{[]Scalar{Date}, Varchar, "strftime(DATE '1970-01-01' + $1, '%Y-%m-%d')", true},
			{[]Scalar{Timestamp}, Varchar, momentText("$1", "T"), true},
		}
	case "from_unixtime":
		return []overload{{[]Scalar{Double}, Timestamp, "(CASE WHEN $1 IS NOT NULL THEN coalesce(TRY_CAST(CAST(TRY_CAST(round($1 * 1000) AS BIGINT) AS HUGEINT) * 1000000 AS BIGINT), " + b.raise(textOutOfRange) + ") END)", true}}
	case "to_unixtime":
		// The last digit of the guide's example is that of the nanoseconds rounded to a double.
		return []overload{{[]Scalar{Timestamp}, Double, "(CAST($1 AS DOUBLE) / 1e9)", true}}
	case "current_timezone":
		return []overload{{nil, Varchar, "'UTC'", true}}
	}
	return nil
}

// timeFunction returns the binder of a function of time whose unit, field or format is a literal; nil for others.
func (b *binder) timeFunction(name string) func(*tssql.Call, []bound) bound {
	switch name {
	case "date_add":
		return b.dateAdd
	case "date_diff":
		return b.dateDiff
	case "date_format", "date_parse", "format_datetime", "parse_datetime":
		return b.timeFormat
	case "parse_duration":
		return b.parseDuration
	}
	if fieldName(name) == "" {
		return nil
	}
	return func(c *tssql.Call, args []bound) bound {
		if len(args) != 1 {
			mismatch(c, args, name+"(timestamp), "+name+"(date)")
		}
		return b.timeField(c.Pos, name, args[0], c.Args[0].Position())
	}
}

// fieldName returns the one name of a field of time, empty for what is none.
func fieldName(name string) string {
	switch strings.ToLower(name) {
	case "year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond", "nanosecond":
		return strings.ToLower(name)
	case "day_of_month":
		return "day"
	case "day_of_week", "dow":
		return "isodow"
	case "day_of_year", "doy":
		return "doy"
	case "week_of_year":
		return "week"
	case "year_of_week", "yow":
		return "isoyear"
	}
	return ""
}

// extract binds EXTRACT(field FROM x).
func (b *binder) extract(e *tssql.Extract) bound {
	if fieldName(e.Field) == "" {
		fail(e.Pos, "Invalid EXTRACT field: %s", e.Field)
	}
	return b.timeField(e.Pos, e.Field, b.expr(e.X), e.X.Position())
}

// timeField is a field of a timestamp, a date, a time of day or an interval. A week begins on Monday, which is day 1.
func (b *binder) timeField(at tssql.Pos, name string, x bound, xAt tssql.Pos) bound {
	field := fieldName(name)
	// part is a field of what has nanoseconds: how many units fit, within the next larger one.
	units := map[string][2]int64{"hour": {nsHour, 24}, "minute": {nsMinute, 60}, "second": {nsSecond, 60}, "millisecond": {1e6, 1000}, "nanosecond": {1, 1e9}}
	unit, clock := units[field]
	if textual(x) {
		x = coerce(x, ScalarOf(Timestamp), xAt)
	}
	bigint := func(sql string) bound { return bound{sql: sql, typ: ScalarOf(Bigint)} }
	date := func(days string) bound {
		return bigint("CAST(date_part('" + field + "', DATE '1970-01-01' + " + days + ") AS BIGINT)")
	}
	switch x.typ.Scalar {
	case Timestamp, TimeOfDay:
		if clock {
			return bigint("(" + floorRemainder(x.sql, strconv.FormatInt(unit[0]*unit[1], 10)) + " // " + strconv.FormatInt(unit[0], 10) + ")")
		}
		if x.typ.isScalar(Timestamp) {
			return date("CAST(" + floorQuotient(x.sql, nsDay) + " AS INTEGER)")
		}
	case DayTime:
		if clock {
			return bigint("((" + x.sql + " // " + strconv.FormatInt(unit[0], 10) + ") % " + strconv.FormatInt(unit[1], 10) + ")")
		}
		if field == "day" {
			return bigint("(" + x.sql + " // " + strconv.FormatInt(nsDay, 10) + ")")
		}
	case YearMonth:
		switch field {
		case "year":
			return bigint("CAST(" + x.sql + " // 12 AS BIGINT)")
		case "month":
			return bigint("CAST(" + x.sql + " % 12 AS BIGINT)")
		}
	case Date:
		if !clock {
			return date(x.sql)
		}
	}
	name = strings.ToLower(name)
	expected := []string{name + "(timestamp)", name + "(date)"}
	switch {
	case clock:
		expected = []string{name + "(timestamp)", name + "(time)", name + "(interval day to second)"}
	case field == "day":
		expected = append(expected, name+"(interval day to second)")
	case field == "year" || field == "month":
		expected = append(expected, name+"(interval year to month)")
	}
	fail(at, "Unexpected parameters (%s) for function %s. Expected: %s", x.typ, name, strings.Join(expected, ", "))
	return bound{}
}

// eachUnit prints f for the unit of a function of t; one that is not a literal is told apart while the query runs.
func (b *binder) eachUnit(unit bound, t Scalar, f func(unit string) bound) bound {
	if s, ok := unit.k.(string); ok {
		return f(s)
	}
	units := []string{"day", "week", "month", "quarter", "year"}
	clock := []string{"nanosecond", "microsecond", "millisecond", "second", "minute", "hour"}
	switch t {
	case TimeOfDay:
		units = clock
	case Timestamp:
		units = append(clock, units...)
	}
	unit = coerce(unit, ScalarOf(Varchar), tssql.Pos{})
	var out bound
	var cases strings.Builder
	for _, u := range units {
		out = f(u)
		cases.WriteString(" WHEN '" + u + "' THEN " + out.sql)
	}
	refused := b.raiseSQL("concat('''', " + unit.sql + ", ''' is not a valid " + unitsOf(t) + " field')")
	return bound{sql: "(CASE lower(" + unit.sql + ")" + cases.String() + " ELSE CASE WHEN " + unit.sql + " IS NOT NULL THEN " + refused + " END END)", typ: out.typ}
}

// unitsOf names a type as errors about its units do.
func unitsOf(t Scalar) string {
	switch t {
	case Date:
		return "DATE"
	case TimeOfDay:
		return "Time"
	}
	return "Timestamp"
}

// unitOf reads a unit of a type: its length, or its months.
func unitOf(at tssql.Pos, s string, t Scalar) (ns, months int64) {
	ns, months = unitLength(s)
	switch {
	case ns == 0 && months == 0:
		fail(at, "'%s' is not a valid Timestamp field", s)
	case t == Date && ns%nsDay != 0, t == TimeOfDay && (months > 0 || ns >= nsDay):
		fail(at, "'%s' is not a valid %s field", s, unitsOf(t))
	}
	return ns, months
}

func unitLength(s string) (ns, months int64) {
	switch strings.ToLower(s) {
	case "nanosecond":
		return 1, 0
	case "microsecond":
		return 1e3, 0
	case "millisecond":
		return 1e6, 0
	case "second":
		return nsSecond, 0
	case "minute":
		return nsMinute, 0
	case "hour":
		return nsHour, 0
	case "day":
		return nsDay, 0
	case "week":
		return nsWeek, 0
	case "month":
		return 0, 1
	case "quarter":
		return 0, 3
	case "year":
		return 0, 12
	}
	return 0, 0
}

// timeOperand converts a text to a timestamp; dates and times of day stay what they are.
func timeOperand(x bound, at tssql.Pos) (bound, bool) {
	if x.typ.isScalar(Date) || x.typ.isScalar(TimeOfDay) {
		return x, true
	}
	if !coercible(x.typ, ScalarOf(Timestamp)) {
		return x, false
	}
	return coerce(x, ScalarOf(Timestamp), at), true
}

// dateAdd adds units to a timestamp, a date, or a time of day, which goes round the clock.
func (b *binder) dateAdd(c *tssql.Call, args []bound) bound {
	const expected = "date_add(varchar, bigint, timestamp), date_add(varchar, bigint, date), date_add(varchar, bigint, time)"
	if len(args) != 3 || !textual(args[0]) || !coercible(args[1].typ, ScalarOf(Bigint)) {
		mismatch(c, args, expected)
	}
	x, ok := timeOperand(args[2], c.Args[2].Position())
	if !ok {
		mismatch(c, args, expected)
	}
	n := coerce(args[1], ScalarOf(Bigint), c.Pos)
	if args[0].k == nil {
		return bound{sql: b.let(x, func(sql string) string { return b.addUnits(c, args[0], n, bound{sql: sql, typ: x.typ}).sql }), typ: x.typ}
	}
	return b.addUnits(c, args[0], n, x)
}

func (b *binder) addUnits(c *tssql.Call, unit, n, x bound) bound {
	t := x.typ.Scalar
	return b.eachUnit(unit, t, func(unit string) bound {
		ns, months := unitOf(c.Args[0].Position(), unit, t)
		switch {
		case t == TimeOfDay:
			return bound{sql: floorRemainder("("+x.sql+" + "+b.scale("*", constant(DayTime, ns), n).sql+")", strconv.FormatInt(nsDay, 10)), typ: x.typ}
		case months > 0:
			return b.shift(c.Pos, "+", x, b.scale("*", constant(YearMonth, months), n))
		case t == Date:
			days := bound{sql: "(CAST(" + n.sql + " AS HUGEINT) * " + strconv.FormatInt(ns/nsDay, 10) + ")", typ: ScalarOf(Bigint)}
			return b.notNegative(bound{sql: b.checked("+", days, x, "INTEGER", textOutOfRange), typ: x.typ})
		}
		return b.shift(c.Pos, "+", x, b.scale("*", constant(DayTime, ns), n))
	})
}

// dateDiff counts the whole units from one time to another.
func (b *binder) dateDiff(c *tssql.Call, args []bound) bound {
	const expected = "date_diff(varchar, timestamp, timestamp), date_diff(varchar, date, date), date_diff(varchar, time, time)"
	if len(args) != 3 || !textual(args[0]) {
		mismatch(c, args, expected)
	}
	t := Timestamp
	if args[1].typ.isScalar(TimeOfDay) && args[2].typ.isScalar(TimeOfDay) {
		t = TimeOfDay
	} else if !coercible(args[1].typ, ScalarOf(t)) || !coercible(args[2].typ, ScalarOf(t)) {
		mismatch(c, args, expected)
	}
	from, to := coerce(args[1], ScalarOf(t), c.Args[1].Position()), coerce(args[2], ScalarOf(t), c.Args[2].Position())
	return b.eachUnit(args[0], t, func(unit string) bound {
		ns, months := unitOf(c.Args[0].Position(), unit, t)
		if ns == 1 {
			return b.whole("-", bound{sql: to.sql, typ: ScalarOf(Bigint)}, bound{sql: from.sql, typ: ScalarOf(Bigint)})
		}
		if months == 0 {
			return bound{sql: "CAST((CAST(" + to.sql + " AS HUGEINT) - " + from.sql + ") // " + strconv.FormatInt(ns, 10) + " AS BIGINT)", typ: ScalarOf(Bigint)}
		}
		at := func(x bound) string { return "make_timestamp(" + floorQuotient(x.sql, 1000) + ")" }
		return bound{sql: "(date_sub('month', " + at(from) + ", " + at(to) + ") // " + strconv.FormatInt(months, 10) + ")", typ: ScalarOf(Bigint)}
	})
}

// durationUnits are the units of parse_duration and of interval literals that are lengths.
func durationUnits() []struct {
	name string
	ns   int64
} {
	return []struct {
		name string
		ns   int64
	}{
		{"ns", 1}, {"nanosecond", 1}, {"us", 1e3}, {"microsecond", 1e3}, {"ms", 1e6}, {"millisecond", 1e6}, {"s", nsSecond}, {"second", nsSecond},
		{"m", nsMinute}, {"minute", nsMinute}, {"h", nsHour}, {"hour", nsHour}, {"d", nsDay}, {"day", nsDay},
	}
}

// parseDuration reads a text such as 2.5h.
func (b *binder) parseDuration(c *tssql.Call, args []bound) bound {
	if len(args) != 1 || !textual(args[0]) {
		mismatch(c, args, "parse_duration(varchar)")
	}
	x := coerce(args[0], ScalarOf(Varchar), c.Args[0].Position())
	var units, lengths strings.Builder
	for i, u := range durationUnits() {
		if i > 0 {
			units.WriteByte('|')
		}
		units.WriteString(u.name)
		lengths.WriteString(" WHEN '" + u.name + "' THEN " + strconv.FormatInt(u.ns, 10))
	}
	pattern := `^\s*([0-9]+(?:\.[0-9]+)?)\s*(` + units.String() + `)\s*$`
	if s, ok := x.k.(string); ok {
		m := regexp.MustCompile(pattern).FindStringSubmatch(s)
		if m == nil {
			fail(c.Args[0].Position(), "duration is not a valid data duration string: %s", s)
		}
		for _, u := range durationUnits() {
			v, err := strconv.ParseFloat(m[1], 64)
			if ns := math.Round(v * float64(u.ns)); u.name == m[2] && err == nil && ns < 1<<63 {
				return constant(DayTime, int64(ns))
			}
		}
		fail(c.Args[0].Position(), "Interval is out of range")
	}
	invalid := b.raiseSQL("'duration is not a valid data duration string: ' || " + x.sql)
	m := b.co.param()
	return bound{sql: "(CASE WHEN regexp_matches(" + x.sql + ", " + quote(pattern) + ") THEN list_transform([regexp_extract(" + x.sql + ", " + quote(pattern) + ", ['n', 'u'])], lambda " + m +
		": CAST(round(CAST(" + m + ".n AS DOUBLE) * CASE " + m + ".u" + lengths.String() + " END) AS BIGINT))[1] WHEN " + x.sql + " IS NOT NULL THEN " + invalid + " END)", typ: ScalarOf(DayTime)}
}
