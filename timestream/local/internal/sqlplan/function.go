// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

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
	case special != nil || list != nil || name == "try" || b.higher(name) != nil:
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
	if lambdas := b.higher(name); lambdas != nil {
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
	texts := func(out Scalar, sql string, n int) []overload {
		in := make([]Scalar, n)
		for i := range in {
			in[i] = Varchar
		}
		return []overload{{in, out, sql, true}}
	}
	is := func(sql string) []overload { return []overload{{[]Scalar{Double}, Boolean, sql, true}} }
	switch name {
	case "abs":
		return same("abs($1)")
	case "sign":
		// DuckDB's sign is a TINYINT.
		return []overload{
			{[]Scalar{Integer}, Integer, "CAST(sign($1) AS INTEGER)", true}, {[]Scalar{Bigint}, Bigint, "CAST(sign($1) AS BIGINT)", true},
			{[]Scalar{Double}, Double, "(CASE WHEN isnan($1) THEN $1 ELSE CAST(sign($1) AS DOUBLE) END)", true},
		}
	case "round":
		// Both round half away from zero.
		return append(same("round($1)"),
			overload{[]Scalar{Integer, Integer}, Integer, "CAST(round($1, $2) AS INTEGER)", true},
			overload{[]Scalar{Bigint, Integer}, Bigint, "CAST(round($1, $2) AS BIGINT)", true},
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
		return double("cbrt($1)")
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
		return []overload{{nil, Double, "CAST('inf' AS DOUBLE)", true}}
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
		return texts(Varchar, "lower($1)", 1)
	case "upper":
		return texts(Varchar, "upper($1)", 1)
	case "length":
		return texts(Bigint, "length($1)", 1)
	case "trim", "ltrim", "rtrim":
		return texts(Varchar, name+"($1, "+quote(" \t\n\v\f\r")+")", 1)
	case "replace":
		return append(texts(Varchar, "replace($1, $2, '')", 2), texts(Varchar, "replace($1, $2, $3)", 3)...)
	case "split_part":
		// Past the end it is NULL, where DuckDB has ''.
		return []overload{{[]Scalar{Varchar, Varchar, Bigint}, Varchar,
			"(CASE WHEN $3 < 1 THEN " + b.raise("Index must be greater than zero") + " ELSE str_split($1, $2)[$3] END)", true}}
	case "to_milliseconds":
		const sql = "($1 // 1000000)"
		return []overload{{[]Scalar{DayTime}, Bigint, sql, true}, {[]Scalar{Timestamp}, Bigint, sql, true}}
	case "to_nanoseconds":
		return []overload{{[]Scalar{DayTime}, Bigint, "$1", true}, {[]Scalar{Timestamp}, Bigint, "$1", true}}
	}
	if list := b.moreOverloads(name); list != nil {
		return list
	}
	return b.timeOverloads(name)
}

// wholeAs leaves whole numbers alone.
func wholeAs(sql string) []overload {
	return []overload{{[]Scalar{Integer}, Integer, "$1", true}, {[]Scalar{Bigint}, Bigint, "$1", true}, {[]Scalar{Double}, Double, sql, true}}
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
			return shift(c.Pos, "-", constant(Timestamp, b.co.now), args[0])
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
		return fromEpoch(1e6)
	case "from_nanoseconds":
		return fromEpoch(1)
	case "from_iso8601_timestamp":
		return fromISO8601
	case "chr":
		return b.chr
	case "regexp_like":
		return regexpLike
	case "substr", "substring":
		return substr
	case "coalesce":
		return func(c *tssql.Call, args []bound) bound { return chooseOf(c, args, "coalesce", 2) }
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
			if args[0].typ.Array != nil {
				x := args[0]
				for i := range args[1:] {
					if args[i+1].typ.Array == nil {
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
	for _, more := range []func(string) func(*tssql.Call, []bound) bound{b.arrayFunction, b.seriesFunction, b.textFunction, b.timeFunction} {
		if f := more(name); f != nil {
			return f
		}
	}
	return nil
}

// raise prints an error that a query ends with, or NULL where TRY catches it.
func (b *binder) raise(text string) string {
	if b.trying {
		return "NULL"
	}
	return "error(" + quote(text) + ")"
}

// try is TRY(x): NULL where x has no result. DuckDB's TRY does not take what this package raises, which is NULL right away.
func (b *binder) try(c *tssql.Call) bound {
	if len(c.Args) != 1 {
		fail(c.Pos, "The 'try' function must have exactly one argument")
	}
	outside := b.trying
	b.trying = true
	x := b.expr(c.Args[0])
	b.trying = outside
	if x.isConst() {
		return x
	}
	if findAggregate(c.Args[0]) == nil && findWindow(c.Args[0]) == nil {
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
func fromEpoch(unit int64) func(*tssql.Call, []bound) bound {
	return func(c *tssql.Call, args []bound) bound {
		if len(args) != 1 || !coercible(args[0].typ, ScalarOf(Bigint)) {
			mismatch(c, args, strings.ToLower(c.Name)+"(bigint)")
		}
		x := coerce(args[0], ScalarOf(Bigint), c.Pos)
		if v, ok := x.k.(int64); ok {
			ns, ok := mulInt64(v, unit)
			if !ok {
				fail(c.Args[0].Position(), "Timestamp is out of range: %d", v)
			}
			return constant(Timestamp, ns)
		}
		if unit == 1 {
			return bound{sql: x.sql, typ: ScalarOf(Timestamp)}
		}
		return bound{sql: "(" + x.sql + " * " + constant(Bigint, unit).sql + ")", typ: ScalarOf(Timestamp)}
	}
}

// chr is the character of a code point.
func (b *binder) chr(c *tssql.Call, args []bound) bound {
	if len(args) != 1 || !coercible(args[0].typ, ScalarOf(Bigint)) {
		mismatch(c, args, "chr(bigint)")
	}
	x := coerce(args[0], ScalarOf(Bigint), c.Pos)
	if v, ok := x.k.(int64); ok {
		if v < 0 || v > utf8.MaxRune || !utf8.ValidRune(rune(v)) {
			fail(c.Args[0].Position(), "Not a valid Unicode code point: %d", v)
		}
		return constant(Varchar, string(rune(v)))
	}
	return bound{sql: "(CASE WHEN " + x.sql + " BETWEEN 0 AND 55295 OR " + x.sql + " BETWEEN 57344 AND 1114111 THEN chr(CAST(" + x.sql +
		" AS INTEGER)) WHEN " + x.sql + " IS NOT NULL THEN " + b.raise("Not a valid Unicode code point") + " END)", typ: ScalarOf(Varchar)}
}

func fromISO8601(c *tssql.Call, args []bound) bound {
	if len(args) != 1 || !textual(args[0]) {
		mismatch(c, args, "from_iso8601_timestamp(varchar)")
	}
	if s, ok := args[0].k.(string); ok {
		ns, ok := parseISO8601(s)
		if !ok {
			fail(c.Args[0].Position(), "Invalid format: \"%s\"", s)
		}
		return constant(Timestamp, ns)
	}
	x := coerce(args[0], ScalarOf(Varchar), c.Pos)
	return bound{sql: "epoch_ns(CAST(" + x.sql + " AS TIMESTAMP_NS))", typ: ScalarOf(Timestamp)}
}

// unified converts all arguments to their common type.
func unified(c *tssql.Call, args []bound, expected string) (Type, bool) {
	t, ok := common(args...)
	if !ok {
		mismatch(c, args, expected)
	}
	noNaN := true
	for i := range args {
		args[i] = coerce(args[i], t, c.Args[i].Position())
		noNaN = noNaN && args[i].noNaN
	}
	return t, noNaN
}

func chooseOf(c *tssql.Call, args []bound, name string, atLeast int) bound {
	if len(args) < atLeast {
		mismatch(c, args, name+"(T, T, ...)")
	}
	t, noNaN := unified(c, args, name+"(T, T, ...)")
	parts := make([]string, len(args))
	for i, a := range args {
		parts[i] = a.sql
	}
	return bound{sql: name + "(" + strings.Join(parts, ", ") + ")", typ: t, noNaN: noNaN}
}

// extreme is greatest or least: NULL if any argument is, where DuckDB skips NULLs. For NaN, which Trino refuses in these
// two, DuckDB's order holds: it is the greatest.
func extreme(c *tssql.Call, args []bound, name string) bound {
	if len(args) == 0 {
		mismatch(c, args, name+"(T, ...)")
	}
	x := chooseOf(c, args, name, 1)
	if !x.typ.comparable() {
		mismatch(c, args, name+"(T, ...)")
	}
	tests := make([]string, 0, len(args))
	for _, a := range args {
		if a.k == nil {
			tests = append(tests, a.sql+" IS NULL")
		}
	}
	if len(tests) > 0 && len(args) > 1 {
		x.sql = "(CASE WHEN " + strings.Join(tests, " OR ") + " THEN NULL ELSE " + x.sql + " END)"
	}
	return x
}

// nullIf keeps the first argument's type; only the comparison is made in the common one.
func nullIf(c *tssql.Call, args []bound) bound {
	if len(args) != 2 {
		mismatch(c, args, "nullif(T, T)")
	}
	t, ok := comparison(args...)
	if !ok {
		fail(c.Pos, "Types are not comparable with NULLIF: %s vs %s", args[0].typ, args[1].typ)
	}
	equal := compare("=", coerce(args[0], t, c.Args[0].Position()), coerce(args[1], t, c.Args[1].Position()))
	return bound{sql: "(CASE WHEN " + equal.sql + " THEN NULL ELSE " + args[0].sql + " END)", typ: args[0].typ, noNaN: args[0].noNaN}
}

func ifCall(c *tssql.Call, args []bound) bound {
	const expected = "if(boolean, T), if(boolean, T, T)"
	if len(args) < 2 || len(args) > 3 || !coercible(args[0].typ, ScalarOf(Boolean)) {
		mismatch(c, args, expected)
	}
	cond := coerce(args[0], ScalarOf(Boolean), c.Pos)
	t, ok := common(args[1:]...)
	if !ok {
		fail(c.Pos, "Result types for IF must be the same: %s vs %s", args[1].typ, args[2].typ)
	}
	noNaN := true
	for i := 1; i < len(args); i++ {
		args[i] = coerce(args[i], t, c.Args[i].Position())
		noNaN = noNaN && args[i].noNaN
	}
	sql := "(CASE WHEN " + cond.sql + " THEN " + args[1].sql
	if len(args) == 3 {
		sql += " ELSE " + args[2].sql
	}
	return bound{sql: sql + " END)", typ: t, noNaN: noNaN}
}

// substr is substr(text, start[, length]). Start 0, and one before the beginning, give ”, where DuckDB moves to the
// beginning. What a literal rules out is not tested for.
func substr(c *tssql.Call, args []bound) bound {
	const expected = "substr(varchar, bigint), substr(varchar, bigint, bigint)"
	if len(args) < 2 || len(args) > 3 || !textual(args[0]) {
		mismatch(c, args, expected)
	}
	x := coerce(args[0], ScalarOf(Varchar), c.Pos)
	list := x.sql
	var empty []string
	for i, n := range args[1:] {
		if !coercible(n.typ, ScalarOf(Bigint)) {
			mismatch(c, args, expected)
		}
		n = coerce(n, ScalarOf(Bigint), c.Pos)
		list += ", " + n.sql
		v, known := n.k.(int64)
		switch {
		case known && v > 0:
		case i == 1:
			empty = append(empty, n.sql+" <= 0")
		default:
			empty = append(empty, n.sql+" = 0", "- "+n.sql+" > length("+x.sql+")")
		}
	}
	sql := "substring(" + list + ")"
	if empty != nil {
		sql = "(CASE WHEN " + strings.Join(empty, " OR ") + " THEN '' ELSE " + sql + " END)"
	}
	return bound{sql: sql, typ: x.typ}
}

// regexpLike is regexp_like(text, pattern): true where the pattern occurs anywhere.
func regexpLike(c *tssql.Call, args []bound) bound {
	if len(args) != 2 || !textual(args[0]) || !textual(args[1]) {
		mismatch(c, args, "regexp_like(varchar, varchar)")
	}
	x := coerce(args[0], ScalarOf(Varchar), c.Pos)
	if args[1].typ.isScalar(Unknown) {
		return coerce(args[1], ScalarOf(Boolean), c.Pos)
	}
	pattern, ok := args[1].k.(string)
	if !ok {
		fail(c.Args[1].Position(), "regexp_like: a pattern that is not a literal is not supported")
	}
	re2, err := translateRegexp(pattern)
	if err != nil {
		fail(c.Args[1].Position(), "%s", err)
	}
	return bound{sql: fmt.Sprintf("regexp_matches(%s, %s)", x.sql, quote(re2)), typ: ScalarOf(Boolean)}
}
