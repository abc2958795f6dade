// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// isRanking tells whether a function exists as a window function only (Timestream Developer Guide, window-functions).
func isRanking(name string) bool {
	switch strings.ToLower(name) {
	case "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value", "last_value", "nth_value":
		return true
	}
	return false
}

// window binds fn(…) OVER (…). In a grouped query it stands over the groups.
func (b *binder) window(c *tssql.Call) bound {
	name := strings.ToLower(c.Name)
	switch {
	case b.inWindow != "":
		fail(c.Pos, "Cannot nest window functions inside window function '%s': [%s]", b.inWindow, tssql.PrintExpr(c))
	case b.inAggregate != "":
		fail(c.Pos, "Cannot nest window functions inside aggregation '%s': [%s]", b.inAggregate, tssql.PrintExpr(c))
	case len(b.params) > 0:
		fail(c.Pos, "Lambda expression cannot contain aggregations, window functions or grouping operations: [%s]", tssql.PrintExpr(c))
	case !isAggregate(name) && !isRanking(name):
		fail(c.Pos, "Not a window function: %s", name)
	case c.Distinct:
		fail(c.Pos, "DISTINCT in window function parameters not yet supported: %s", tssql.PrintExpr(c))
	case c.Star && name != "count":
		fail(c.Pos, "Unexpected parameters (*) for function %s", name)
	case len(c.Args) > maxArgs:
		fail(c.Pos, "Too many arguments for function call %s()", name)
	}
	b.inWindow = name
	trying := b.trying
	b.trying = false // as in an aggregate
	defer func() { b.trying = trying }()
	args := make([]bound, len(c.Args))
	for i, a := range c.Args {
		args[i] = b.expr(a)
	}
	over := b.overClause(c, name)
	b.inWindow = ""
	if isRanking(name) {
		return b.ranking(c, name, args, over)
	}
	b.over = over
	x := b.aggregate(c, name, args)
	b.over = ""
	return x
}

func (b *binder) overClause(c *tssql.Call, name string) string {
	w := c.Over
	if len(w.PartitionBy)+len(w.OrderBy) > maxKeys {
		fail(c.Pos, "the window has more than %d keys", maxKeys)
	}
	var parts, keys []string
	for _, e := range w.PartitionBy {
		x := b.expr(e)
		if !x.typ.comparable() {
			fail(e.Position(), "%s is not comparable, and therefore cannot be used in window function PARTITION BY", x.typ)
		}
		keys = append(keys, x.sql)
	}
	if keys != nil {
		parts = append(parts, "PARTITION BY "+strings.Join(keys, ", "))
	}
	var order []bound
	keys = nil
	for _, o := range w.OrderBy {
		x := b.expr(o.Expr)
		if !x.typ.comparable() {
			fail(o.Expr.Position(), "%s is not orderable, and therefore cannot be used in window function ORDER BY", x.typ)
		}
		order = append(order, x)
		if !x.isConst() {
			if o.Desc && mayBeNaN(x) && (w.Frame == nil || w.Frame.Unit == "ROWS") {
				keys = append(keys, "isnan("+x.sql+")")
			}
			keys = append(keys, sortKey(x.sql, o))
		}
	}
	if keys != nil {
		parts = append(parts, "ORDER BY "+strings.Join(keys, ", "))
	}
	if f := w.Frame; f != nil {
		if isRanking(name) && name != "first_value" && name != "last_value" && name != "nth_value" {
			fail(f.Pos, "Cannot specify window frame for %s function", name)
		}
		parts = append(parts, b.frame(f, order))
	}
	return " OVER (" + strings.Join(parts, " ") + ")"
}

// frame prints ROWS or RANGE. A distance of RANGE is taken from the one sort key: a number from a number, an interval from a
// timestamp, which both are nanoseconds.
func (b *binder) frame(f *tssql.Frame, order []bound) string {
	start, end := f.Start, f.End
	switch {
	case start.Where == tssql.Following && start.N == nil:
		fail(f.Pos, "Window frame start cannot be UNBOUNDED FOLLOWING")
	case end.Where == tssql.Preceding && end.N == nil:
		fail(f.Pos, "Window frame end cannot be UNBOUNDED PRECEDING")
	case start.Where == tssql.CurrentRow && end.Where == tssql.Preceding:
		fail(f.Pos, "Window frame starting from CURRENT ROW cannot end with PRECEDING")
	case start.Where == tssql.Following && end.Where != tssql.Following:
		fail(f.Pos, "Window frame starting from FOLLOWING cannot end with %s", end.Where)
	}
	side := func(x tssql.FrameBound, what string) string {
		if x.Where == tssql.CurrentRow {
			return x.Where
		}
		if x.N == nil {
			return "UNBOUNDED " + x.Where
		}
		n := b.expr(x.N)
		at := x.N.Position()
		switch {
		case f.Unit == "ROWS":
			if r := rank(n.typ); r != 1 && r != 2 {
				fail(at, "Window frame ROWS %s value type must be exact numeric type with scale 0 (actual %s)", what, n.typ)
			}
			n = coerce(n, ScalarOf(Bigint), at)
		case len(order) != 1:
			fail(at, "Window frame of type RANGE PRECEDING or FOLLOWING requires single sort item in ORDER BY (actual: %d)", len(order))
		case order[0].typ.isScalar(Timestamp) && n.typ.isScalar(DayTime):
		case rank(order[0].typ) > 0 && rank(n.typ) > 0 && rank(n.typ) <= rank(order[0].typ):
			n = coerce(n, order[0].typ, at)
		default:
			fail(at, "Window frame of type RANGE cannot have a %s of type %s with a sort key of type %s", what, n.typ, order[0].typ)
		}
		switch v, ok := n.k.(int64); {
		case ok && v < 0:
			fail(at, "Window frame offset value must not be negative")
		case n.k == nil:
			n.sql = "(CASE WHEN " + n.sql + " IS NULL OR " + n.sql + " < 0 THEN " + b.raise("Window frame offset value must not be negative or null") + " ELSE " + n.sql + " END)"
		}
		return n.sql + " " + x.Where
	}
	return f.Unit + " BETWEEN " + side(start, "start") + " AND " + side(end, "end")
}

// ranking prints a function that exists as a window function only.
func (b *binder) ranking(c *tssql.Call, name string, args []bound, over string) bound {
	bigint := func(i int) bound {
		if !coercible(args[i].typ, ScalarOf(Bigint)) {
			return bound{}
		}
		return coerce(args[i], ScalarOf(Bigint), c.Args[i].Position())
	}
	switch name {
	case "row_number", "rank", "dense_rank":
		if len(args) == 0 {
			return bound{sql: name + "()" + over, typ: ScalarOf(Bigint)}
		}
		mismatch(c, args, name+"()")
	case "percent_rank", "cume_dist":
		if len(args) == 0 {
			return bound{sql: name + "()" + over, typ: ScalarOf(Double), noNaN: true}
		}
		mismatch(c, args, name+"()")
	case "ntile":
		if len(args) == 1 {
			if n := bigint(0); n.sql != "" {
				if v, ok := n.k.(int64); ok && v <= 0 {
					fail(c.Pos, "Buckets must be greater than 0")
				}
				return bound{sql: "ntile(" + b.atLeast(n, 1, "Buckets must be greater than 0") + ")" + over, typ: ScalarOf(Bigint)}
			}
		}
		mismatch(c, args, "ntile(bigint)")
	case "first_value", "last_value":
		if len(args) == 1 {
			return bound{sql: name + "(" + args[0].sql + ")" + over, typ: args[0].typ, noNaN: args[0].noNaN}
		}
		mismatch(c, args, name+"(T)")
	case "nth_value":
		if len(args) == 2 {
			if n := bigint(1); n.sql != "" {
				if v, ok := n.k.(int64); ok && v <= 0 {
					fail(c.Pos, "Offset must be at least 1")
				}
				return bound{sql: "nth_value(" + args[0].sql + ", " + b.atLeast(n, 1, "Offset must be at least 1") + ")" + over, typ: args[0].typ, noNaN: args[0].noNaN}
			}
		}
		mismatch(c, args, "nth_value(T, bigint)")
	}
	// lag and lead.
	expected := name + "(T), " + name + "(T, bigint), " + name + "(T, bigint, T)"
	if len(args) < 1 || len(args) > 3 {
		mismatch(c, args, expected)
	}
	x := args[0]
	list := x.sql
	if len(args) > 1 {
		n := bigint(1)
		if n.sql == "" {
			mismatch(c, args, expected)
		}
		if v, ok := n.k.(int64); ok && v < 0 {
			fail(c.Pos, "Offset must be at least 0")
		}
		// Without a row to look at, as past the last one, the default is the answer.
		list += ", coalesce(" + b.atLeast(n, 0, "Offset must be at least 0") + ", " + itoa(math.MaxInt32) + ")"
	}
	if len(args) > 2 {
		t, ok := common(x, args[2])
		if !ok {
			mismatch(c, args, expected)
		}
		x = coerce(x, t, c.Args[0].Position())
		other := coerce(args[2], t, c.Args[2].Position())
		x.noNaN = x.noNaN && other.noNaN
		list = x.sql + list[len(args[0].sql):] + ", " + other.sql
	}
	return bound{sql: name + "(" + list + ")" + over, typ: x.typ, noNaN: x.noNaN}
}

// atLeast prints a whole number that must not be less than a bound, or the error that it is.
func (b *binder) atLeast(n bound, least int, text string) string {
	if n.k != nil {
		return n.sql
	}
	return "(CASE WHEN " + n.sql + " < " + itoa(least) + " THEN " + b.raise(text) + " ELSE " + n.sql + " END)"
}
