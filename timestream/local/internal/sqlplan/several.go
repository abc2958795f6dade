// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// The aggregates whose last arguments say how they aggregate (Timestream Developer Guide, aggregate-functions): max(x, n) and its like,
// approx_distinct(x, e), approx_percentile(x, p). Trino takes any expression for these, of which it looks at one row, so which of several
// values counts is open. A row where one of them is NULL does not count at all.

// mayBeNaN tells whether a value may be NaN, which Trino puts behind all numbers whatever the order, DuckDB above them.
func mayBeNaN(x bound) bool { return x.typ.isScalar(Double) && !x.noNaN }

// The bounds of the second argument of approx_distinct (Timestream Developer Guide, aggregate-functions).
const (
	minStandardError = 0.0040625
	maxStandardError = 0.26
)

// approxDistinct is exact, so within any error: DuckDB's sketch is off by more than the service's 2.3 % of the values.
func (b *binder) approxDistinct(c *tssql.Call, args []bound) bound {
	const expected = "approx_distinct(T), approx_distinct(T, double)"
	if len(args) != 1 && len(args) != 2 {
		mismatch(c, args, expected)
	}
	b.ordered(c, args[0])
	counted := func(x string) string { return "count(DISTINCT " + x + ")" + b.over }
	out := bound{sql: counted(args[0].sql), typ: ScalarOf(Bigint)}
	if len(args) == 1 {
		return out
	}
	if !coercible(args[1].typ, ScalarOf(Double)) {
		mismatch(c, args, expected)
	}
	const outside = "Max standard error must be in [0.0040625, 0.26000]: "
	at := c.Args[1].Position()
	e := coerce(args[1], ScalarOf(Double), at)
	if v, ok := e.k.(float64); ok {
		if !(v >= minStandardError && v <= maxStandardError) {
			fail(at, "%s%s", outside, appendDouble(nil, v))
		}
		return out
	}
	refused := "max(CASE WHEN NOT (" + e.sql + " >= 0.0040625 AND " + e.sql + " <= 0.26) THEN " + e.sql + " END)" + b.over
	out.sql = "(CASE WHEN " + refused + " IS NOT NULL THEN " + b.raiseSQL(quote(outside)+" || "+doubleText(refused)) + " ELSE " +
		counted("(CASE WHEN "+e.sql+" IS NOT NULL THEN "+args[0].sql+" END)") + " END)"
	return out
}

// maxSeveral is Trino's bound on n in max(x, n).
const maxSeveral = 10000

// several is max(x, n), min(x, n), max_by(value, key, n) or min_by(value, key, n): the values in the order of their keys. For the first
// two the value is the key.
func (b *binder) several(c *tssql.Call, name string, value, key bound, args []bound) bound {
	b.ordered(c, key)
	last := len(args) - 1
	at := c.Args[last].Position()
	if !coercible(args[last].typ, ScalarOf(Bigint)) {
		mismatch(c, args, name+"(T, "+strings.Repeat("K, ", last-1)+"bigint)")
	}
	which, rule := "second argument of max_n/min_n", "must be positive"
	if last == 2 {
		which, rule = "third argument of max_by/min_by", "must be a positive integer"
	}
	tooMany := which + " must be less than or equal to " + itoa(maxSeveral) + "; found "
	elem := value.typ
	out := bound{typ: Type{Array: &elem}}
	n := coerce(args[last], ScalarOf(Bigint), at)
	v, known := n.k.(int64)
	switch {
	case known && v <= 0:
		fail(at, "%s %s", which, rule)
	case known && v > maxSeveral:
		fail(at, "%s%d", tooMany, v)
	}
	p := b.co.param()
	if known && !mayBeNaN(key) {
		if last == 1 {
			out.sql = name + "(" + value.sql + ", " + n.sql + ")" + b.over
			return out
		}
		// DuckDB leaves out the rows whose value is NULL; none is in a struct.
		out.sql = "list_transform(arg_" + name[:3] + "({'x': " + value.sql + "}, " + key.sql + ", " + n.sql + ")" + b.over + ", lambda " + p + ": " + p + ".x)"
		return out
	}
	// All of them in order: NaN last, then the keys.
	order, number := "'ASC'", "FALSE"
	if mayBeNaN(key) {
		number = "isnan(" + key.sql + ")"
	}
	if strings.HasPrefix(name, "max") {
		order, number = "'DESC'", "NOT "+number
	}
	most := "max(" + n.sql + ")" + b.over
	list := "list({'o': " + number + ", 'k': " + key.sql + ", 'x': " + value.sql + "}) FILTER (WHERE " + key.sql + " IS NOT NULL AND " + n.sql + " IS NOT NULL)" + b.over
	out.sql = "(CASE WHEN " + most + " <= 0 THEN " + b.raise(which+" "+rule) + " WHEN " + most + " > " + itoa(maxSeveral) + " THEN " + b.raiseSQL(quote(tooMany)+" || CAST("+most+" AS VARCHAR)") +
		" ELSE list_transform(list_slice(list_sort(" + list + ", " + order + ", 'NULLS LAST'), 1, " + most + "), lambda " + p + ": " + p + ".x) END)"
	return out
}

// percentile is approx_percentile(x[, weight], p or array of p[, accuracy]). It is exact here: the smallest value such that at
// least the share p of the values, or of their weights, is not greater. The service's is approximate, and may lie between.
func (b *binder) percentile(c *tssql.Call, args []bound) bound {
	const expected = "approx_percentile(T, double), approx_percentile(T, bigint, double), approx_percentile(T, array(double)), approx_percentile(T, bigint, array(double)), approx_percentile(T, bigint, double, double), approx_percentile(T, bigint, array(double), double)"
	if len(args) < 2 || len(args) > 4 || c.Distinct {
		mismatch(c, args, expected)
	}
	x := args[0]
	if x.typ.isScalar(Unknown) || x.typ.isScalar(Integer) {
		x = coerce(x, ScalarOf(Bigint), c.Pos)
	}
	place := min(len(args)-1, 2)
	double := ScalarOf(Double)
	list := Type{Array: &double}
	shares := args[place]
	isList := shares.typ.Array != nil
	switch {
	case rank(x.typ) == 0, place == 2 && !coercible(args[1].typ, ScalarOf(Bigint)):
		mismatch(c, args, expected)
	case isList && coercible(shares.typ, list):
		shares = coerce(shares, list, c.Args[place].Position())
	case !isList && coercible(shares.typ, double):
		shares = coerce(shares, double, c.Args[place].Position())
	default:
		mismatch(c, args, expected)
	}
	var checks strings.Builder
	if len(args) == 4 {
		at := c.Args[3].Position()
		if !coercible(args[3].typ, double) {
			mismatch(c, args, expected)
		}
		const outside = "Percentile accuracy must be strictly between 0 and 1"
		accuracy := coerce(args[3], double, at)
		v, known := accuracy.k.(float64)
		switch {
		case known && !(v > 0 && v < 1):
			fail(at, "%s", outside)
		case !known:
			checks.WriteString(" WHEN bool_or(NOT (" + accuracy.sql + " > 0 AND " + accuracy.sql + " < 1))" + b.over + " THEN " + b.raise(outside))
		}
	}
	out := bound{typ: x.typ, noNaN: x.noNaN}
	if isList {
		elem := x.typ
		out = bound{typ: Type{Array: &elem}}
	}
	literals, literal := b.shares(c.Args[place], shares)
	if literal && place == 1 {
		parts := make([]string, len(literals))
		for i, v := range literals {
			parts[i] = "quantile_disc(" + x.sql + ", " + constant(Double, v).sql + ")" + b.over
		}
		out.sql = parts[0]
		if isList {
			out.sql = "(CASE WHEN " + parts[0] + " IS NOT NULL THEN [" + strings.Join(parts, ", ") + "] END)"
		}
	} else {
		out.sql = b.anyPercentile(x, args[1:place], shares, isList)
	}
	if checks.Len() > 0 {
		out.sql = "(CASE" + checks.String() + " ELSE " + out.sql + " END)"
	}
	return out
}

const textPercentile = "Percentile must be between 0 and 1"

// shares are the percentages where all are literals.
func (b *binder) shares(e tssql.Expr, x bound) (out []float64, literal bool) {
	exprs := []tssql.Expr{e}
	if a, ok := e.(*tssql.Array); ok {
		exprs = a.Elems
		if len(exprs) == 0 {
			fail(e.Position(), "approx_percentile: the array of percentiles is empty")
		}
	} else if x.typ.Array != nil {
		return nil, false
	}
	literal = true
	for _, e := range exprs {
		p := x
		if x.typ.Array != nil {
			b.inAggregate = "approx_percentile"
			p = b.expr(e)
			b.inAggregate = ""
		}
		v, ok := coerce(p, ScalarOf(Double), e.Position()).k.(float64)
		if ok && !(v >= 0 && v <= 1) {
			fail(e.Position(), "%s", textPercentile)
		}
		out, literal = append(out, v), literal && ok
	}
	return out, literal
}

// anyPercentile finds percentiles with weights, or of shares that are no literals: in the values in order, with the weight up to each, the first
// that reaches the share.
func (b *binder) anyPercentile(x bound, weights []bound, shares bound, isList bool) string {
	weight, counts := "CAST(1 AS BIGINT)", x.sql+" IS NOT NULL AND "+shares.sql+" IS NOT NULL"
	if len(weights) > 0 {
		weight = coerce(weights[0], ScalarOf(Bigint), tssql.Pos{}).sql
		counts += " AND " + weight + " > 0"
	}
	m, p, q, s, n, share := b.co.param(), b.co.param(), b.co.param(), b.co.param(), b.co.param(), b.co.param()
	wanted := "max(" + shares.sql + ")" + b.over
	if !isList {
		wanted = "[" + wanted + "]"
	}
	given := "{'v': list_sort(list({'x': " + x.sql + ", 'w': " + weight + "}) FILTER (WHERE " + counts + ")" + b.over + "), 'p': " + wanted + "}"
	state := "CAST(NULL AS " + duckType(x.typ) + ")"
	total := "list_sum(list_transform(" + m + ".v, lambda " + q + ": " + q + ".w))"
	found := "list_reduce(list_transform(" + m + ".v, lambda " + q + ": {'x': " + q + ".x, 'w': " + q + ".w, 'r': " + state + "}), lambda " + s + ", " + n +
		": {'x': " + n + ".x, 'w': " + s + ".w + " + n + ".w, 'r': coalesce(" + s + ".r, CASE WHEN " + s + ".w + " + n + ".w >= " + share + ".p * " + share + ".t THEN " + n + ".x END)}, {'x': " +
		state + ", 'w': CAST(0 AS BIGINT), 'r': " + state + "}).r"
	one := "(CASE WHEN " + p + " IS NULL THEN " + b.raise("Percentile cannot be null") + " WHEN NOT (" + p + " >= 0 AND " + p + " <= 1) THEN " + b.raise(textPercentile) + " ELSE list_transform([{'p': " + p + ", 't': " + total + "}], lambda " + share + ": " + found + ")[1] END)"
	sql := "list_transform([" + given + "], lambda " + m + ": CASE WHEN len(" + m + ".v) > 0 THEN list_transform(" + m + ".p, lambda " + p + ": " + one + ") END)[1]"
	if !isList {
		sql += "[1]"
	}
	return sql
}
