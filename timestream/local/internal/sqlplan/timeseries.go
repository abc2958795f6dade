// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"strings"

	"github.com/tributary-project/tributary/timestream/local/internal/sqlfunc"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// points prints a time series' points in the order of time, and refuses NULLs in them as a result does.
func (b *binder) points(x bound) string {
	return b.let(bound{sql: x.sql, typ: x.typ}, func(x string) string {
		p := b.co.param()
		return "(CASE WHEN len(list_filter(" + x + ", lambda " + p + ": " + p + ".t IS NULL OR " + p + ".v IS NULL)) > 0 THEN " +
			b.raise(nullPoint) + " ELSE list_sort(" + x + ") END)"
	})
}

// seriesFunction returns the binder of a function of time series (Timestream Developer Guide,
// timeseries-specific-constructs.functions); nil for others.
func (b *binder) seriesFunction(name string) func(*tssql.Call, []bound) bound {
	switch name {
	case "derivative_linear", "non_negative_derivative_linear":
		return b.derivative
	case "integral_trapezoidal":
		return b.integral
	case "interpolate_linear", "interpolate_locf", "interpolate_fill", "interpolate_spline_cubic":
		return b.interpolate
	case "correlate_pearson", "correlate_spearman":
		return b.correlate
	}
	return nil
}

// numbers tells whether t is a time series of numbers.
func numbers(t Type) bool { return t.Series != nil && rank(*t.Series) > 0 }

func seriesOf(t Scalar) Type {
	elem := ScalarOf(t)
	return Type{Series: &elem}
}

// doubles prints f over a time series' points in order, with numbers as doubles.
func (b *binder) doubles(x bound, f func(string) string) string {
	sql := b.points(x)
	if !x.typ.Series.isScalar(Double) {
		p := b.co.param()
		sql = "list_transform(" + sql + ", lambda " + p + ": {'t': " + p + ".t, 'v': CAST(" + p + ".v AS DOUBLE)})"
	}
	return b.let(bound{sql: sql, typ: x.typ}, f)
}

// pairs prints f over each point but the first and the one before it.
func (b *binder) pairs(points string, f func(point, before string) string) string {
	p, i := b.co.param(), b.co.param()
	return "list_transform(list_slice(" + points + ", 2, len(" + points + ")), lambda " + p + ", " + i + ": " + f(p, points+"["+i+"]") + ")"
}

// derivative is the change from each point to the next per interval, at the time of the latter. The non-negative variant leaves
// out falls.
func (b *binder) derivative(c *tssql.Call, args []bound) bound {
	name := strings.ToLower(c.Name)
	if len(args) != 2 || !numbers(args[0].typ) || !args[1].typ.isScalar(DayTime) {
		mismatch(c, args, name+"(timeseries(row(timestamp, double)), interval day to second)")
	}
	sql := b.doubles(args[0], func(points string) string {
		return b.pairs(points, func(p, q string) string {
			return "{'t': " + p + ".t, 'v': (" + p + ".v - " + q + ".v) / (CAST(" + p + ".t - " + q + ".t AS DOUBLE) / CAST(" + args[1].sql + " AS DOUBLE))}"
		})
	})
	if name != "derivative_linear" {
		p := b.co.param()
		sql = "list_filter(" + sql + ", lambda " + p + ": " + p + ".v >= 0)"
	}
	return bound{sql: sql, typ: seriesOf(Double)}
}

// integral is the area under the lines from point to point, in units of the interval.
func (b *binder) integral(c *tssql.Call, args []bound) bound {
	if len(args) < 1 || len(args) > 2 || !numbers(args[0].typ) || (len(args) == 2 && !args[1].typ.isScalar(DayTime)) {
		mismatch(c, args, "integral_trapezoidal(timeseries(row(timestamp, double))), integral_trapezoidal(timeseries(row(timestamp, double)), interval day to second)")
	}
	unit := constant(DayTime, nsSecond)
	if len(args) == 2 {
		unit = args[1]
	}
	sql := b.doubles(args[0], func(points string) string {
		sum := "list_sum(" + b.pairs(points, func(p, q string) string {
			return "(" + p + ".v + " + q + ".v) / 2 * CAST(" + p + ".t - " + q + ".t AS DOUBLE)"
		}) + ")"
		// Divided once, by nanoseconds: whole lengths stay exact until then.
		return "(CASE WHEN " + points + " IS NOT NULL THEN coalesce(" + sum + ", CAST(0 AS DOUBLE)) / CAST(" + unit.sql + " AS DOUBLE) END)"
	})
	return bound{sql: sql, typ: ScalarOf(Double)}
}

// interpolate finds a value for each of the given times: a point's own, or what its neighbours tell. Times before the first
// point, and for the linear variant after the last, have none and are left out; what the service does there is not documented.
//
// How many points lie at or before each time is told by the places of the times among the points when both are sorted
// together, so that the work grows with the length of the lists and not with its square.
func (b *binder) interpolate(c *tssql.Call, args []bound) bound {
	name := strings.ToLower(c.Name)
	expected := name + "(timeseries(row(timestamp, double)), array(timestamp)), " + name + "(timeseries(row(timestamp, double)), timestamp)"
	n := 2
	if name == "interpolate_fill" {
		n = 3
		expected = name + "(timeseries(row(timestamp, double)), array(timestamp), double), " + name + "(timeseries(row(timestamp, double)), timestamp, double)"
	}
	if len(args) != n || !numbers(args[0].typ) || (n == 3 && !coercible(args[2].typ, ScalarOf(Double))) {
		mismatch(c, args, expected)
	}
	elem := ScalarOf(Timestamp)
	times := Type{Array: &elem}
	single := args[1].typ.Array == nil
	wanted := args[1]
	switch {
	case single && coercible(wanted.typ, elem):
		wanted = bound{sql: "[" + coerce(wanted, elem, c.Args[1].Position()).sql + "]", typ: times}
	case !single && coercible(wanted.typ, times):
		wanted = coerce(wanted, times, c.Args[1].Position())
	default:
		mismatch(c, args, expected)
	}
	fill := ""
	if n == 3 {
		fill = coerce(args[2], ScalarOf(Double), c.Args[2].Position()).sql
	}
	if name == "interpolate_spline_cubic" {
		// One pass from the first point to the last and back is a loop, which SQL does not have.
		sql := b.doubles(args[0], func(points string) string { return sqlfunc.Spline + "(" + points + ", " + wanted.sql + ")" })
		if single {
			return bound{sql: sql + "[1].v", typ: ScalarOf(Double)}
		}
		return bound{sql: sql, typ: seriesOf(Double)}
	}
	sql := b.doubles(args[0], func(points string) string {
		e, i := b.co.param(), b.co.param()
		tagged := "list_transform(" + points + ", lambda " + e + ": {'t': " + e + ".t, 'k': 0}) || list_transform(list_distinct(" + wanted.sql + "), lambda " + e + ": {'t': " + e + ", 'k': 1})"
		placed := "list_transform(list_sort(" + tagged + "), lambda " + e + ", " + i + ": {'t': " + e + ".t, 'k': " + e + ".k, 'i': " + i + "})"
		before := "list_transform(list_filter(" + placed + ", lambda " + e + ": " + e + ".k = 1), lambda " + e + ", " + i + ": {'t': " + e + ".t, 'n': " + e + ".i - " + i + "})"
		at, next := points+"["+e+".n]", points+"["+e+".n + 1]"
		value := at + ".v"
		switch name {
		case "interpolate_fill":
			value = "(CASE WHEN " + e + ".n > 0 AND " + at + ".t = " + e + ".t THEN " + value + " ELSE " + fill + " END)"
		case "interpolate_linear":
			value = "(CASE WHEN " + at + ".t = " + e + ".t THEN " + value + " ELSE " + value + " + (" + next + ".v - " + value + ") * (CAST(" + e + ".t - " + at +
				".t AS DOUBLE) / CAST(" + next + ".t - " + at + ".t AS DOUBLE)) END)"
		}
		found := "list_transform(" + before + ", lambda " + e + ": {'t': " + e + ".t, 'v': " + value + "})"
		return "(CASE WHEN " + points + " IS NOT NULL AND " + wanted.sql + " IS NOT NULL THEN list_filter(" + found + ", lambda " + e + ": " + e + ".v IS NOT NULL) END)"
	})
	if single {
		return bound{sql: "(" + sql + ")[1].v", typ: ScalarOf(Double)}
	}
	return bound{sql: sql, typ: seriesOf(Double)}
}

// correlate is the correlation of two time series of the same timestamps: of their values, or (Spearman's) of the values' ranks.
func (b *binder) correlate(c *tssql.Call, args []bound) bound {
	name := strings.ToLower(c.Name)
	if len(args) != 2 || !numbers(args[0].typ) || !numbers(args[1].typ) {
		mismatch(c, args, name+"(timeseries(row(timestamp, double)), timeseries(row(timestamp, double)))")
	}
	values := func(x string) string {
		p := b.co.param()
		return "list_transform(" + x + ", lambda " + p + ": " + p + ".v)"
	}
	if name == "correlate_spearman" {
		values = b.ranks
	}
	sql := b.doubles(args[0], func(l string) string {
		return b.doubles(args[1], func(r string) string {
			p, i := b.co.param(), b.co.param()
			times := func(x string) string { return "list_transform(" + x + ", lambda " + p + ": " + p + ".t)" }
			// Deviations from the means, so that large values with small differences keep their digits.
			deviation := func(x string) string {
				v := b.co.param()
				return "list_transform([" + values(x) + "], lambda " + v + ": list_transform(" + v + ", lambda " + p + ": " + p + " - list_avg(" + v + ")))[1]"
			}
			sum := func(x, y string) string {
				return "list_sum(list_transform(" + x + ", lambda " + p + ", " + i + ": " + p + " * " + y + "[" + i + "]))"
			}
			dl := b.co.param()
			ratio := "list_transform([{'l': " + deviation(l) + ", 'r': " + deviation(r) + "}], lambda " + dl + ": " + sum(dl+".l", dl+".r") + " / sqrt(" + sum(dl+".l", dl+".l") + " * " + sum(dl+".r", dl+".r") + "))[1]"
			return "(CASE WHEN " + times(l) + " <> " + times(r) + " THEN " + b.raise("The time series must have the same timestamps") + " ELSE " + ratio + " END)"
		})
	})
	return bound{sql: sql, typ: ScalarOf(Double)}
}

// ranks prints the ranks of the values of points; equal values have the mean of theirs. How many values are less than each, and how many are
// not greater, is told by sorting the values together with themselves, as interpolate does it with times.
func (b *binder) ranks(points string) string {
	p, i := b.co.param(), b.co.param()
	tagged := func(k string) string {
		return "list_transform(" + points + ", lambda " + p + ", " + i + ": {'v': " + p + ".v, 'k': " + k + ", 'i': " + i + "})"
	}
	count := func(k string) string {
		placed := "list_transform(list_sort(" + tagged("1") + " || " + tagged(k) + "), lambda " + p + ", " + i + ": {'k': " + p + ".k, 'i': " + p + ".i, 'n': " + i + "})"
		return "list_transform(list_filter(" + placed + ", lambda " + p + ": " + p + ".k = " + k + "), lambda " + p + ", " + i + ": {'i': " + p + ".i, 'n': " + p + ".n - " + i + "})"
	}
	ranked := "list_transform(list_zip(" + count("0") + ", " + count("2") + "), lambda " + p + ": {'i': " + p + "[1].i, 'r': CAST(" + p + "[1].n + " + p + "[2].n + 1 AS DOUBLE) / 2})"
	return "list_transform(list_sort(" + ranked + "), lambda " + p + ": " + p + ".r)"
}
