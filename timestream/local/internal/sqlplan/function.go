// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/local/internal/sqlfunc"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// overload is one signature of a scalar function. sql has $1, $2 … for the arguments, converted to in.
type overload struct {
	in  []Scalar
	out Scalar
	sql string
	// noNaN promises that the result is no NaN where the arguments are none.
	noNaN bool
}

// call binds a function call.
func (b *binder) call(c *tssql.Call) bound {
	if c.Over != nil {
		return b.window(c)
	}
	if isAggregate(c.Name) {
		return b.aggregateCall(c)
	}
	name := strings.ToLower(c.Name)
	if c.Distinct {
		fail(c.Pos, "DISTINCT is not supported for non-aggregation functions")
	}
	special := b.special(name)
	list := b.overloads(name)
	switch {
	case special != nil || list != nil || name == "try" || b.higher(c) != nil:
	case isRanking(name):
		fail(c.Pos, "Window function %s requires an OVER clause", name)
	default:
		fail(c.Pos, "Function %s not registered", name)
	}
	if c.Star {
		fail(c.Pos, "Unexpected parameters (*) for function %s", name)
	}
	if len(c.Args) > maxArgs {
		fail(c.Pos, "Too many arguments for function call %s()", name)
	}
	if lambdas := b.higher(c); lambdas != nil {
		return lambdas(c)
	}
	if name == "try" {
		return b.try(c)
	}
	args := make([]bound, len(c.Args))
	for i, a := range c.Args {
		args[i] = b.expr(a)
	}
	if special != nil {
		return special(c, args)
	}
	for _, o := range list {
		if !accepts(o, args) {
			continue
		}
		parts := make([]string, 0, 2*len(args))
		noNaN := true
		for i := range args {
			args[i] = coerce(args[i], ScalarOf(o.in[i]), c.Args[i].Position())
			noNaN = noNaN && args[i].noNaN
			parts = append(parts, "$"+strconv.Itoa(i+1), args[i].sql)
		}
		return bound{sql: strings.NewReplacer(parts...).Replace(o.sql), typ: ScalarOf(o.out), noNaN: o.noNaN && noNaN}
	}
	mismatch(c, args, expectedOf(name, list))
	return bound{}
}

func accepts(o overload, args []bound) bool {
	if len(o.in) != len(args) {
		return false
	}
	for i, t := range o.in {
		if !coercible(args[i].typ, ScalarOf(t)) {
			return false
		}
	}
	return true
}

func expectedOf(name string, list []overload) string {
	out := make([]string, len(list))
	for i, o := range list {
		types := make([]string, len(o.in))
		for k, t := range o.in {
			types[k] = ScalarOf(t).String()
		}
		out[i] = name + "(" + strings.Join(types, ", ") + ")"
	}
	return strings.Join(out, ", ")
}

// overloads returns the signatures of a function, narrow ones first; nil for a function that is not served. What each does is in
// the Timestream Developer Guide: mathematical-functions, string-functions, bitwise-functions, date-time-functions.
func (b *binder) overloads(name string) []overload {
	same := func(sql string) []overload {
		return []overload{
			{[]Scalar{Integer}, Integer, sql, true}, {[]Scalar{Bigint}, Bigint, sql, true}, {[]Scalar{Double}, Double, sql, true},
		}
	}
	double := func(sql string) []overload { return []overload{{[]Scalar{Double}, Double, sql, false}} }
	bigints := func(sql string) []overload { return []overload{{[]Scalar{Bigint, Bigint}, Bigint, sql, true}} }
	text := func(out Scalar, sql string) []overload { return []overload{{[]Scalar{Varchar}, out, sql, true}} }
	is := func(sql string) []overload { return []overload{{[]Scalar{Double}, Boolean, sql, true}} }
	switch name {
	case "abs":
		return same("abs($1)")
	case "sign":
		// DuckDB's sign is a TINYINT.
		return []overload{
			{[]Scalar{Integer}, Integer, "CAST(sign($1) AS INTEGER)", true}, {[]Scalar{Bigint}, Bigint, "CAST(sign($1) AS BIGINT)", true},
			// NaN and both zeros are their own sign.
			{[]Scalar{Double}, Double, "(CASE WHEN isnan($1) OR $1 = 0 THEN $1 ELSE CAST(sign($1) AS DOUBLE) END)", true},
		}
	case "round":
		// Both round half away from zero.
		return append(same("round($1)"),
			overload{[]Scalar{Integer, Integer}, Integer, b.roundWhole(Integer), true},
			overload{[]Scalar{Bigint, Integer}, Bigint, b.roundWhole(Bigint), true},
			overload{[]Scalar{Double, Integer}, Double, "round($1, $2)", true})
	case "floor":
		return wholeAs("floor($1)")
	case "ceil", "ceiling":
		return wholeAs("ceil($1)")
	case "truncate":
		return []overload{{[]Scalar{Double}, Double, "trunc($1)", true}}
	case "power", "pow":
		return []overload{{[]Scalar{Double, Double}, Double, "power($1, $2)", false}}
	case "sqrt":
		// Outside of the domain Java has NaN, DuckDB an error.
		return double("(CASE WHEN $1 < 0 THEN CAST('nan' AS DOUBLE) ELSE sqrt($1) END)")
	case "cbrt":
		// The C library's root may be off by the last digit, cbrt(27) among others; one step of Newton's method mends it.
		return double("(CASE WHEN $1 = 0 OR NOT isfinite($1) THEN $1 ELSE cbrt($1) - (cbrt($1) * cbrt($1) - $1 / cbrt($1)) / (3 * cbrt($1)) END)")
	case "ln":
		return double(logarithm("ln"))
	case "log2":
		return double(logarithm("log2"))
	case "log10":
		return double(logarithm("log10"))
	case "exp":
		return double("exp($1)")
	case "is_nan":
		return is("isnan($1)")
	case "is_finite":
		return is("isfinite($1)")
	case "is_infinite":
		return is("isinf($1)")
	case "nan":
		return []overload{{nil, Double, "CAST('nan' AS DOUBLE)", false}}
	case "infinity":
		return []overload{{nil, Double, "CAST('inf' AS DOUBLE)", false}}
	case "pi":
		return []overload{{nil, Double, "pi()", true}}
	case "e":
		return []overload{{nil, Double, "CAST('" + strconv.FormatFloat(math.E, 'g', -1, 64) + "' AS DOUBLE)", true}}
	case "bitwise_and":
		return bigints("($1 & $2)")
	case "bitwise_or":
		return bigints("($1 | $2)")
	case "bitwise_xor":
		return bigints("xor($1, $2)")
	case "bitwise_not":
		return []overload{{[]Scalar{Bigint}, Bigint, "(~ $1)", true}}
	case "lower":
		return text(Varchar, "lower($1)")
	case "upper":
		// DuckDB has a capital ß, which no simple mapping of Unicode makes of a small one.
		return text(Varchar, "(CASE WHEN contains($1, 'ß') THEN "+sqlfunc.Upper+"($1) ELSE upper($1) END)")
	case "length":
		return text(Bigint, "length($1)")
	case "trim", "ltrim", "rtrim":
		return text(Varchar, name+"($1, "+quote(whiteSpace)+")")
	case "to_milliseconds":
		const sql = "($1 // 1000000)"
		return []overload{{[]Scalar{DayTime}, Bigint, sql, true}, {[]Scalar{Timestamp}, Bigint, sql, true}}
	case "to_nanoseconds":
		return []overload{{[]Scalar{DayTime}, Bigint, "$1", true}, {[]Scalar{Timestamp}, Bigint, "$1", true}}
	}
	if list := b.moreOverloads(name); list != nil {
		return list
	}
	if list := b.stringOverloads(name); list != nil {
		return list
	}
	if list := b.binaryOverloads(name); list != nil {
		return list
	}
	return b.timeOverloads(name)
}

// wholeAs leaves whole numbers alone.
func wholeAs(sql string) []overload {
	return []overload{{[]Scalar{Integer}, Integer, "$1", true}, {[]Scalar{Bigint}, Bigint, "$1", true}, {[]Scalar{Double}, Double, sql, true}}
}

// roundWhole rounds a whole number to a power of ten. DuckDB's round of one wraps where the result has no place.
func (b *binder) roundWhole(t Scalar) string {
	const unit = "CAST(power(10, - $2) AS HUGEINT)"
	return "(CASE WHEN $2 >= 0 THEN $1 WHEN $2 < -37 AND $1 IS NOT NULL THEN 0 WHEN $1 IS NOT NULL AND $2 IS NOT NULL THEN coalesce(TRY_CAST((CAST($1 AS HUGEINT) + (CASE WHEN $1 < 0 THEN -1 ELSE 1 END) * (" + unit + " // 2)) // " + unit +
		" * " + unit + " AS " + duckType(ScalarOf(t)) + "), " + b.raiseSQL("'Out of range for "+ScalarOf(t).String()+": ' || CAST($1 AS VARCHAR)") + ") END)"
}

func logarithm(name string) string {
	return "(CASE WHEN $1 < 0 THEN CAST('nan' AS DOUBLE) WHEN $1 = 0 THEN CAST('-inf' AS DOUBLE) ELSE " + name + "($1) END)"
}

// special returns the binder of a function that no list of signatures describes; nil for others.
func (b *binder) special(name string) func(*tssql.Call, []bound) bound {
	switch name {
	case "now", "current_timestamp", "localtimestamp":
		return b.constantTime(Timestamp, b.co.now)
	case "current_date":
		return b.constantTime(Date, floorDiv(b.co.now, nsDay))
	case "current_time", "localtime":
		return b.constantTime(TimeOfDay, b.co.now-floorDiv(b.co.now, nsDay)*nsDay)
	case "ago":
		return func(c *tssql.Call, args []bound) bound {
			if len(args) != 1 || (!args[0].typ.isScalar(DayTime) && !args[0].typ.isScalar(YearMonth)) {
				mismatch(c, args, "ago(interval day to second), ago(interval year to month)")
			}
			return b.shift(c.Pos, "-", constant(Timestamp, b.co.now), args[0])
		}
	case "bin":
		return func(c *tssql.Call, args []bound) bound {
			if len(args) != 2 || !coercible(args[0].typ, ScalarOf(Timestamp)) || !coercible(args[1].typ, ScalarOf(DayTime)) {
				mismatch(c, args, "bin(timestamp, interval day to second)")
			}
			return b.bin(c, coerce(args[0], ScalarOf(Timestamp), c.Args[0].Position()), coerce(args[1], ScalarOf(DayTime), c.Pos))
		}
	case "date_trunc":
		return func(c *tssql.Call, args []bound) bound {
			if len(args) != 2 || !textual(args[0]) || !coercible(args[1].typ, ScalarOf(Timestamp)) {
				mismatch(c, args, "date_trunc(varchar, timestamp)")
			}
			return b.dateTrunc(c, args[0], coerce(args[1], ScalarOf(Timestamp), c.Args[1].Position()))
		}
	case "from_milliseconds":
		return b.fromEpoch(1e6)
	case "from_nanoseconds":
		return b.fromEpoch(1)
	case "from_iso8601_timestamp", "from_iso8601_date":
		return b.fromISO8601
	case "coalesce":
		return coalesce
	case "greatest", "least":
		return func(c *tssql.Call, args []bound) bound { return extreme(c, args, name) }
	case "nullif":
		return nullIf
	case "if":
		return ifCall
	case "mod":
		return func(c *tssql.Call, args []bound) bound {
			if len(args) != 2 || rank(args[0].typ) == 0 || rank(args[1].typ) == 0 {
				mismatch(c, args, "mod(bigint, bigint), mod(double, double)")
			}
			return b.arithmetic(c.Pos, "%", args[0], args[1])
		}
	case "concat":
		return func(c *tssql.Call, args []bound) bound {
			if len(args) < 2 {
				mismatch(c, args, "concat(varchar, ...)")
			}
			if slices.ContainsFunc(args, func(a bound) bool { return a.typ.Array != nil }) {
				x := args[0]
				for i := range args[1:] {
					if x.typ.Array == nil && !x.typ.isScalar(Unknown) || args[i+1].typ.Array == nil && !args[i+1].typ.isScalar(Unknown) {
						mismatch(c, args, "concat(array(E), ...)")
					}
					x = b.joinArrays(c.Pos, x, args[i+1])
				}
				return x
			}
			for i := range args {
				if !textual(args[i]) {
					mismatch(c, args, "concat(varchar, ...)")
				}
				args[i] = coerce(args[i], ScalarOf(Varchar), c.Pos)
			}
			return concat(args...)
		}
	case "typeof":
		return func(c *tssql.Call, args []bound) bound {
			if len(args) != 1 {
				mismatch(c, args, "typeof(T)")
			}
			return constant(Varchar, args[0].typ.String())
		}
	}
	for _, more := range []func(string) func(*tssql.Call, []bound) bound{b.stringFunction, b.arrayFunction, b.seriesFunction, b.regexpFunction, b.timeFunction} {
		if f := more(name); f != nil {
			return f
		}
	}
	return nil
}

// raise prints an error that a query ends with, or NULL where TRY catches it.
func (b *binder) raise(text string) string { return b.raiseSQL(quote(text)) }

// raiseSQL is raise with a text that DuckDB computes.
func (b *binder) raiseSQL(text string) string {
	if b.trying {
		return "NULL"
	}
	return raised(text)
}

// raised prints the error itself.
func raised(text string) string { return "error(" + quote(sqlfunc.Mark) + " || " + text + ")" }

// try is TRY(x): NULL where x has no result. What this package checks is NULL right away; for the rest there is DuckDB's TRY, which neither
// takes its own error() nor subqueries, window functions, what answers otherwise each time, or parameters of lambdas. As in Trino, what aggregates,
// window functions and subqueries answer is there before: errors in them are not caught.
func (b *binder) try(c *tssql.Call) bound {
	if len(c.Args) != 1 {
		fail(c.Pos, "The 'try' function must have exactly one argument")
	}
	outside, queries := b.trying, b.co.queries
	b.trying = true
	x := b.expr(c.Args[0])
	b.trying = outside
	if x.isConst() {
		return x
	}
	drawn := findCall(c.Args[0], func(c *tssql.Call) bool {
		return slices.Contains([]string{"rand", "random", "shuffle"}, strings.ToLower(c.Name))
	})
	if drawn == nil && findWindow(c.Args[0]) == nil && b.co.queries == queries && len(b.params) == 0 {
		x.sql = "TRY(" + x.sql + ")"
	}
	return x
}

func (b *binder) constantTime(t Scalar, v int64) func(*tssql.Call, []bound) bound {
	return func(c *tssql.Call, args []bound) bound {
		if len(args) != 0 {
			mismatch(c, args, strings.ToLower(c.Name)+"()")
		}
		return constant(t, v)
	}
}

// fromEpoch makes a timestamp of a count of units since 1970-01-01.
func (b *binder) fromEpoch(unit int64) func(*tssql.Call, []bound) bound {
	return func(c *tssql.Call, args []bound) bound {
		if len(args) != 1 || !coercible(args[0].typ, ScalarOf(Bigint)) {
			mismatch(c, args, strings.ToLower(c.Name)+"(bigint)")
		}
		x := coerce(args[0], ScalarOf(Bigint), c.Pos)
		if v, ok := x.k.(int64); ok {
			ns, ok := mulInt64(v, unit)
			switch {
			case ok:
				return constant(Timestamp, ns)
			case !b.trying:
				fail(c.Args[0].Position(), "Timestamp is out of range: %d", v)
			}
		}
		if unit == 1 {
			return bound{sql: x.sql, typ: ScalarOf(Timestamp)}
		}
		return bound{sql: b.checked("*", x, constant(Bigint, unit), "BIGINT", textOutOfRange), typ: ScalarOf(Timestamp)}
	}
}
