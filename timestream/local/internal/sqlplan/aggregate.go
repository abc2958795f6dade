// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// isAggregate tells whether a function aggregates (Timestream Developer Guide, aggregate-functions and
// timeseries-specific-constructs.views; those that are served here).
func isAggregate(name string) bool {
	switch strings.ToLower(name) {
	case "count", "count_if", "sum", "avg", "min", "max", "min_by", "max_by", "approx_distinct", "arbitrary", "array_agg",
		"bool_and", "bool_or", "every", "create_time_series":
		return true
	}
	return false
}

// aggregateCall binds an aggregate: over the inner query it is a column of its own.
func (b *binder) aggregateCall(c *tssql.Call) bound {
	if b.inAggregate != "" {
		fail(c.Pos, "Cannot nest aggregations inside aggregation '%s': [%s]", b.inAggregate, tssql.PrintExpr(c))
	}
	name := strings.ToLower(c.Name)
	b.inAggregate = name
	args := make([]bound, len(c.Args))
	for i, a := range c.Args {
		args[i] = b.expr(a)
	}
	b.inAggregate = ""
	x := b.aggregate(c, name, args)
	if b.group == nil {
		// Clauses that see single rows have refused aggregates before they are bound.
		fail(c.Pos, "'%s' is not allowed here", tssql.PrintExpr(c))
	}
	x.sql = b.group.add(b.prefix, x.sql)
	return x
}

// aggregate prints the DuckDB aggregate.
func (b *binder) aggregate(c *tssql.Call, name string, args []bound) bound {
	distinct := ""
	if c.Distinct {
		distinct = "DISTINCT "
	}
	if c.Star && name != "count" {
		fail(c.Pos, "Unexpected parameters (*) for function %s", name)
	}
	one := func(expected string) bound {
		if len(args) != 1 {
			mismatch(c, args, expected)
		}
		return args[0]
	}
	of := func(function string, x bound, t Type) bound {
		return bound{sql: function + "(" + distinct + x.sql + ")", typ: t, noNaN: x.noNaN}
	}
	switch name {
	case "count":
		if len(args) == 0 {
			if c.Distinct {
				mismatch(c, args, "count(), count(T)")
			}
			// count() runs on the service as count(*) does.
			return bound{sql: "count(*)", typ: ScalarOf(Bigint)}
		}
		return of("count", one("count(), count(T)"), ScalarOf(Bigint))
	case "count_if":
		x := one("count_if(boolean)")
		if !coercible(x.typ, ScalarOf(Boolean)) {
			mismatch(c, args, "count_if(boolean)")
		}
		return bound{sql: "count(CASE WHEN " + x.sql + " THEN 1 END)", typ: ScalarOf(Bigint)}
	case "bool_and", "every", "bool_or":
		x := one(name + "(boolean)")
		if !coercible(x.typ, ScalarOf(Boolean)) {
			mismatch(c, args, name+"(boolean)")
		}
		if name == "every" {
			name = "bool_and"
		}
		return of(name, coerce(x, ScalarOf(Boolean), c.Pos), ScalarOf(Boolean))
	case "sum":
		const expected = "sum(bigint), sum(double), sum(interval day to second), sum(interval year to month)"
		x := one(expected)
		switch x.typ.Scalar {
		case Integer, Bigint, Unknown:
			x = coerce(x, ScalarOf(Bigint), c.Pos)
		case Double:
			s := of("sum", x, x.typ)
			// Finite values can add up to both infinities.
			s.noNaN = false
			return s
		case DayTime, YearMonth:
		default:
			mismatch(c, args, expected)
		}
		// DuckDB adds whole numbers in 128 bits; the way back raises the overflow.
		return bound{sql: "CAST(sum(" + distinct + x.sql + ") AS " + duckType(x.typ) + ")", typ: x.typ}
	case "avg":
		const expected = "avg(bigint), avg(double), avg(interval day to second)"
		x := one(expected)
		switch x.typ.Scalar {
		case Integer, Bigint, Double, Unknown:
			a := of("avg", coerce(x, ScalarOf(Double), c.Pos), ScalarOf(Double))
			a.noNaN = false
			return a
		case DayTime:
			return bound{sql: "CAST(round(avg(" + distinct + x.sql + ")) AS BIGINT)", typ: x.typ}
		}
		mismatch(c, args, expected)
	case "min", "max":
		if len(args) == 2 {
			fail(c.Pos, "%s of several values is not supported", name)
		}
		x := one(name + "(T)")
		b.ordered(c, x)
		return of(name, x, x.typ)
	case "min_by", "max_by":
		if len(args) == 3 {
			fail(c.Pos, "%s of several values is not supported", name)
		}
		if len(args) != 2 || c.Distinct {
			mismatch(c, args, name+"(V, K)")
		}
		b.ordered(c, args[1])
		function := "arg_min_null"
		if name == "max_by" {
			function = "arg_max_null"
		}
		return bound{sql: function + "(" + args[0].sql + ", " + args[1].sql + ")", typ: args[0].typ, noNaN: args[0].noNaN}
	case "approx_distinct":
		// The second argument only bounds the error, which DuckDB does not let us choose.
		if len(args) != 1 && (len(args) != 2 || !coercible(args[1].typ, ScalarOf(Double))) {
			mismatch(c, args, "approx_distinct(T), approx_distinct(T, double)")
		}
		return bound{sql: "approx_count_distinct(" + args[0].sql + ")", typ: ScalarOf(Bigint)}
	case "arbitrary":
		x := one("arbitrary(T)")
		return of("any_value", x, x.typ)
	case "array_agg":
		x := one("array_agg(T)")
		elem := x.typ
		return bound{sql: "list(" + distinct + x.sql + ")", typ: Type{Array: &elem}}
	case "create_time_series":
		return b.createTimeSeries(c, args)
	}
	return bound{}
}

// ordered refuses a value without an order.
func (b *binder) ordered(c *tssql.Call, x bound) {
	if x.typ.Scalar == "" {
		fail(c.Pos, "Unexpected parameters (%s) for function %s", x.typ, strings.ToLower(c.Name))
	}
}

// createTimeSeries collects points as a LIST of STRUCTs without ordering them: ordering inside DuckDB takes four times as
// long as the aggregation itself (1,000 series of 240 points: 39 ms against 10 ms), and most points come in order. Whoever
// reads the series sorts it. One list of pairs costs the same as two lists and cannot fall out of step.
func (b *binder) createTimeSeries(c *tssql.Call, args []bound) bound {
	const expected = "create_time_series(timestamp, T)"
	if len(args) != 2 || c.Distinct || !args[0].typ.isScalar(Timestamp) {
		mismatch(c, args, expected)
	}
	switch args[1].typ.Scalar {
	case Bigint, Integer, Boolean, Double, Varchar:
	default:
		mismatch(c, args, expected)
	}
	elem := args[1].typ
	return bound{sql: "list({'" + pointTime + "': " + args[0].sql + ", '" + pointValue + "': " + args[1].sql + "})", typ: Type{Series: &elem}}
}

// mismatch refuses a call's arguments.
func mismatch(c *tssql.Call, args []bound, expected string) {
	types := make([]string, len(args))
	for i, a := range args {
		types[i] = a.typ.String()
	}
	fail(c.Pos, "Unexpected parameters (%s) for function %s. Expected: %s", strings.Join(types, ", "), strings.ToLower(c.Name), expected)
}
