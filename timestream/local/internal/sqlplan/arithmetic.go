// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// arithmetic binds + - * / %. Whole numbers overflow with an error in DuckDB as in Trino, doubles follow IEEE 754 in both.
func (b *binder) arithmetic(at tssql.Pos, op string, l, r bound) bound {
	lt, rt := l.typ.Scalar, r.typ.Scalar
	switch {
	case lt == Unknown && rt == Unknown:
		return l
	case lt == Unknown && rt != Varchar && rt != Boolean:
		return coerce(l, arithmeticNull(r.typ), at)
	case rt == Unknown && lt != Varchar && lt != Boolean:
		return coerce(r, arithmeticNull(l.typ), at)
	case rank(l.typ) > 0 && rank(r.typ) > 0:
		t, _ := common(l, r)
		return b.numeric(op, coerce(l, t, at), coerce(r, t, at))
	case op == "+" && (rt == Timestamp || rt == Date) && (lt == DayTime || lt == YearMonth):
		return b.shift(at, op, r, l)
	case (op == "+" || op == "-") && (lt == Timestamp || lt == Date) && (rt == DayTime || rt == YearMonth):
		return b.shift(at, op, l, r)
	case (op == "+" || op == "-") && lt == rt && (lt == DayTime || lt == YearMonth):
		return b.whole(op, l, r)
	case op == "*" && rank(l.typ) > 0 && (rt == DayTime || rt == YearMonth):
		return b.scale(op, r, l)
	case (op == "*" || op == "/") && (lt == DayTime || lt == YearMonth) && rank(r.typ) > 0:
		return b.scale(op, l, r)
	}
	fail(at, "'%s' cannot be applied to %s, %s", op, l.typ, r.typ)
	return bound{}
}

// arithmeticNull is the type of an operation of a t with NULL.
func arithmeticNull(t Type) Type {
	if t.Scalar == "" {
		return ScalarOf(Unknown)
	}
	return t
}

func (b *binder) numeric(op string, l, r bound) bound {
	if !l.typ.isScalar(Double) {
		return b.whole(op, l, r)
	}
	return bound{sql: "(" + l.sql + " " + op + " " + r.sql + ")", typ: l.typ}
}

// whole is an operation on whole numbers of one type; division truncates.
func (b *binder) whole(op string, l, r bound) bound {
	a, aOK := l.k.(int64)
	c, cOK := r.k.(int64)
	if aOK && cOK {
		if v, ok := fold(op, a, c); ok && (duckType(l.typ) == "BIGINT" || (v >= math.MinInt32 && v <= math.MaxInt32)) {
			return constant(l.typ.Scalar, v)
		}
	}
	x := bound{typ: l.typ}
	if interval := rank(l.typ) == 0; interval && op != "/" && op != "%" {
		x.sql = b.checked(op, l, r, duckType(l.typ), textInterval)
		return x
	}
	switch op {
	case "/", "%":
		x.sql = b.quotient(l.sql, op, r)
	case "+", "-", "*":
		x.sql = "(" + l.sql + " " + op + " " + r.sql + ")"
		if b.trying {
			x.sql = "TRY_CAST(CAST(" + l.sql + " AS HUGEINT) " + op + " " + r.sql + " AS " + duckType(l.typ) + ")"
		}
	}
	return x
}

// checked is a sum, a difference or a product of whole numbers that is an error of the dialect's where it does not fit.
func (b *binder) checked(op string, l, r bound, duckType, text string) string {
	return b.let(l, func(l string) string {
		return b.let(r, func(r string) string {
			return "(CASE WHEN " + l + " IS NOT NULL AND " + r + " IS NOT NULL THEN coalesce(TRY_CAST(CAST(" + l + " AS HUGEINT) " + op + " " + r + " AS " + duckType + "), " + b.raise(text) + ") END)"
		})
	})
}

// textInterval is what an operation answers whose interval does not fit; its words are ours.
const textInterval = "Interval is out of range"

// quotient divides whole numbers. DuckDB answers NULL for a division by zero, Trino an error.
func (b *binder) quotient(l, op string, r bound) string {
	if op == "/" {
		op = "//"
	}
	sql := "(" + l + " " + op + " " + r.sql + ")"
	v, ok := r.k.(int64)
	if op == "%" && (!ok || v == -1) {
		// DuckDB has none for the least number.
		sql = "(CASE WHEN " + r.sql + " = -1 THEN " + l + " * 0 ELSE " + sql + " END)"
	}
	if ok && v != 0 {
		return sql
	}
	return "(CASE WHEN " + r.sql + " = 0 THEN " + b.raise("Division by zero") + " ELSE " + sql + " END)"
}

// fold computes an operation on constants; false where it has no result.
func fold(op string, a, c int64) (int64, bool) {
	switch op {
	case "+":
		return addInt64(a, c)
	case "-":
		if c == math.MinInt64 {
			return 0, false
		}
		return addInt64(a, -c)
	case "*":
		return mulInt64(a, c)
	case "/":
		if c == 0 || (a == math.MinInt64 && c == -1) {
			return 0, false
		}
		return a / c, true
	case "%":
		if c == 0 || c == -1 {
			return 0, c == -1
		}
		return a % c, true
	}
	return 0, false
}

// textOutOfRange is what an operation answers that would yield a time before 1970 or after 2262 (Timestream Developer Guide,
// date-time-operators: negative times are errors); its words are ours.
const textOutOfRange = "Timestamp is out of range"

// notNegative makes a time before 1970 an error.
func (b *binder) notNegative(x bound) bound {
	x.sql = "(CASE WHEN " + x.sql + " < 0 THEN " + b.raise(textOutOfRange) + " ELSE " + x.sql + " END)"
	return x
}

// shift moves a timestamp or a date by an interval. A result before 1970 is an error.
func (b *binder) shift(at tssql.Pos, op string, t, by bound) bound {
	if op == "-" {
		if v, ok := by.k.(int64); ok && v != math.MinInt64 {
			by, op = constant(by.typ.Scalar, -v), "+"
		}
	}
	n, isConst := by.k.(int64)
	v, known := t.k.(int64)
	date := t.typ.isScalar(Date)
	switch {
	case by.typ.isScalar(DayTime) && date:
		if !isConst || n%nsDay != 0 {
			fail(at, "Cannot add hour, minutes or seconds to a date")
		}
		if known {
			if v+n/nsDay < 0 {
				fail(at, "Date is out of range")
			}
			return constant(Date, v+n/nsDay)
		}
		x := bound{sql: "(" + t.sql + " + " + constant(Integer, n/nsDay).sql + ")", typ: t.typ}
		if n >= 0 {
			return x
		}
		return b.notNegative(x)
	case by.typ.isScalar(DayTime):
		if known && isConst {
			if ns, ok := addInt64(v, n); ok && ns >= 0 {
				return constant(Timestamp, ns)
			}
			fail(at, textOutOfRange)
		}
		if isConst && n >= 0 && op == "+" {
			// Stored times are not negative, so neither is this.
			last := constant(Bigint, math.MaxInt64-n).sql
			return bound{sql: "(CASE WHEN " + t.sql + " > " + last + " THEN " + b.raise(textOutOfRange) + " ELSE " + t.sql + " + " + by.sql + " END)", typ: t.typ}
		}
		x := bound{sql: "(" + t.sql + " + " + by.sql + ")", typ: t.typ}
		if !isConst || op == "-" {
			x.sql = b.checked(op, t, by, "BIGINT", textOutOfRange)
		}
		return b.notNegative(x)
	}
	if date && known && isConst {
		if ns, ok := addMonths(v*nsDay, n); ok && ns >= 0 {
			return constant(Date, floorDiv(ns, nsDay))
		}
		fail(at, "Date is out of range")
	}
	if known && isConst {
		if ns, ok := addMonths(v, n); ok && ns >= 0 {
			return constant(Timestamp, ns)
		}
		fail(at, textOutOfRange)
	}
	sql := b.let(by, func(by string) string {
		months := "to_months(" + by + ")"
		if op == "-" {
			months = "to_months(- " + by + ")"
		}
		// DuckDB moves microseconds by months; the nanoseconds below them are carried past it.
		moved := "TRY_CAST(CAST(epoch_us(make_timestamp(" + floorQuotient(t.sql, 1000) + ") + " + months + ") AS HUGEINT) * 1000 + " + floorRemainder(t.sql, "1000") + " AS BIGINT)"
		if date {
			moved = "CAST(CAST(DATE '1970-01-01' + " + t.sql + " + " + months + " AS DATE) - DATE '1970-01-01' AS INTEGER)"
		}
		far := strconv.Itoa(maxMonths)
		return "(CASE WHEN " + t.sql + " IS NULL OR " + by + " IS NULL THEN NULL WHEN " + by + " NOT BETWEEN -" + far + " AND " + far + " THEN " + b.raise(textOutOfRange) + " ELSE coalesce(" + moved + ", " + b.raise(textOutOfRange) + ") END)"
	})
	return b.notNegative(bound{sql: sql, typ: t.typ})
}

// maxMonths is more than there are between the first and the last of all times.
const maxMonths = 12 * 600

// scale multiplies or divides an interval by a number.
func (b *binder) scale(op string, i, n bound) bound {
	if n.typ.isScalar(Double) {
		sql := b.let(bound{sql: "round(" + i.sql + " " + op + " " + n.sql + ")", typ: n.typ}, func(x string) string {
			return "(CASE WHEN " + x + " IS NOT NULL THEN coalesce(TRY_CAST(" + x + " AS " + duckType(i.typ) + "), " + b.raise(textInterval) + ") END)"
		})
		return bound{sql: sql, typ: i.typ}
	}
	if v, ok := n.k.(int64); ok {
		n = constant(i.typ.Scalar, v)
	} else if n = coerce(n, ScalarOf(Bigint), tssql.Pos{}); i.typ.isScalar(YearMonth) && op == "/" {
		// Months are narrower than what they are divided by.
		x := b.whole(op, coerce(bound{sql: i.sql, typ: ScalarOf(Integer)}, ScalarOf(Bigint), tssql.Pos{}), n)
		return bound{sql: "CAST(" + x.sql + " AS INTEGER)", typ: i.typ}
	}
	return b.whole(op, i, n)
}

// bin rounds a timestamp down to a multiple of an interval since 1970-01-01 (Timestream Developer Guide,
// date-time-functions, bin).
func (b *binder) bin(c *tssql.Call, t, length bound) bound {
	n, ok := length.k.(int64)
	if ok && n <= 0 {
		fail(c.Pos, "bin: the interval must be greater than zero")
	}
	if v, known := t.k.(int64); known && ok {
		return floored(c.Pos, v, v-floorDiv(v, n)*n)
	}
	width := length.sql
	if ok {
		width = strconv.FormatInt(n, 10)
	} else {
		width = "(CASE WHEN " + width + " <= 0 THEN " + b.raise("bin: the interval must be greater than zero") + " ELSE " + width + " END)"
	}
	return bound{sql: "(" + t.sql + " - " + floorRemainder(t.sql, width) + ")", typ: ScalarOf(Timestamp)}
}

// floored is the constant timestamp v less what it is above the multiple that it is rounded down to.
func floored(at tssql.Pos, v, above int64) bound {
	if v < math.MinInt64+above {
		fail(at, textOutOfRange)
	}
	return constant(Timestamp, v-above)
}

// dateTrunc is date_trunc(unit, timestamp). Weeks begin on Monday.
func (b *binder) dateTrunc(c *tssql.Call, unit, t bound) bound {
	return b.eachUnit(unit, Timestamp, func(unit string) bound { return truncated(c.Pos, unit, t) })
}

func truncated(at tssql.Pos, unit string, t bound) bound {
	width, months := unitOf(at, unit, Timestamp)
	if months > 0 {
		return bound{sql: "epoch_ns(date_trunc('" + strings.ToLower(unit) + "', make_timestamp(" + floorQuotient(t.sql, 1000) + ")))", typ: t.typ}
	}
	offset := int64(0)
	if width == nsWeek {
		// 1970-01-01 was a Thursday.
		offset = 3 * nsDay
	}
	if v, ok := t.k.(int64); ok {
		shifted := v%width + offset
		return floored(at, v, shifted-floorDiv(shifted, width)*width)
	}
	n, shifted := strconv.FormatInt(width, 10), t.sql
	if offset != 0 {
		// What is left of the last times of all has room for the offset.
		shifted = "(" + t.sql + " % " + n + " + " + strconv.FormatInt(offset, 10) + ")"
	}
	return bound{sql: "(" + t.sql + " - " + floorRemainder(shifted, n) + ")", typ: t.typ}
}
