// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// The conditional functions (Timestream Developer Guide, conditional-expressions) and greatest and least (comparison-functions). CASE
// is expr.go's.

// unified converts all arguments to their common type; message, with a place for the first argument's type, is what is wrong with them
// if they have none.
func unified(c *tssql.Call, args []bound, message string) bound {
	t, ok := common(args...)
	if !ok {
		fail(c.Pos, message, args[0].typ)
	}
	out := bound{typ: t, noNaN: true}
	parts := make([]string, len(args))
	for i := range args {
		args[i] = coerce(args[i], t, c.Args[i].Position())
		out.noNaN = out.noNaN && args[i].noNaN
		parts[i] = args[i].sql
	}
	out.sql = strings.ToLower(c.Name) + "(" + strings.Join(parts, ", ") + ")"
	return out
}

func coalesce(c *tssql.Call, args []bound) bound {
	if len(args) < 2 {
		fail(c.Pos, "The 'coalesce' function must have at least two arguments")
	}
	return unified(c, args, "All COALESCE operands must be the same type: %s")
}

// extreme is greatest or least: NULL if any argument is, where DuckDB skips NULLs. NaN is the answer only where all are NaN, as in Trino since 346;
// those before refuse it.
func extreme(c *tssql.Call, args []bound, name string) bound {
	if _, ok := comparison(args...); !ok || len(args) == 0 {
		mismatch(c, args, name+"(T, ...)")
	}
	x := unified(c, args, "%s")
	tests := make([]string, 0, len(args))
	for _, a := range args {
		if a.k == nil {
			tests = append(tests, a.sql+" IS NULL")
		}
	}
	if name == "greatest" && mayBeNaN(x) && len(args) > 1 {
		numbers := make([]string, len(args))
		for i, a := range args {
			numbers[i] = "(CASE WHEN NOT isnan(" + a.sql + ") THEN " + a.sql + " END)"
		}
		x.sql = "coalesce(greatest(" + strings.Join(numbers, ", ") + "), CAST('nan' AS DOUBLE))"
	}
	if len(tests) > 0 && len(args) > 1 {
		x.sql = "(CASE WHEN " + strings.Join(tests, " OR ") + " THEN NULL ELSE " + x.sql + " END)"
	}
	return x
}

// nullIf keeps the first argument's type; only the comparison is made in the common one.
func nullIf(c *tssql.Call, args []bound) bound {
	if len(args) != 2 {
		fail(c.Pos, "Invalid number of arguments for 'nullif' function")
	}
	t, ok := comparison(args...)
	if !ok {
		fail(c.Pos, "Types are not comparable with NULLIF: %s vs %s", args[0].typ, args[1].typ)
	}
	equal := compare("=", coerce(args[0], t, c.Args[0].Position()), coerce(args[1], t, c.Args[1].Position()))
	return bound{sql: "(CASE WHEN " + equal.sql + " THEN NULL ELSE " + args[0].sql + " END)", typ: args[0].typ, noNaN: args[0].noNaN}
}

func ifCall(c *tssql.Call, args []bound) bound {
	if len(args) < 2 || len(args) > 3 {
		fail(c.Pos, "Invalid number of arguments for 'if' function")
	}
	if !coercible(args[0].typ, ScalarOf(Boolean)) {
		fail(c.Args[0].Position(), "IF condition must evaluate to a boolean (actual: %s)", args[0].typ)
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
