// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"github.com/tributary-project/tributary/timestream/tssql"
)

// subquery compiles a query inside of an expression. It sees the columns of the queries around it.
func (b *binder) subquery(at tssql.Pos, q *tssql.Query) finished {
	if len(b.params) > 0 {
		fail(at, "Lambda expression cannot contain subqueries")
	}
	clause := b.clause
	f := b.co.query(q, b.scope, b)
	b.clause = clause
	b.co.nested(at, f.depth)
	b.depth = max(b.depth, f.depth)
	return f
}

// single compiles a subquery of one column.
func (b *binder) single(at tssql.Pos, q *tssql.Query) (finished, bound) {
	f := b.subquery(at, q)
	if len(f.columns) != 1 {
		fail(at, "Multiple columns returned by subquery are not yet supported. Found %d", len(f.columns))
	}
	return f, f.bounds()[0]
}

// scalar is a query in the place of a value; more than one row fails while it runs.
func (b *binder) scalar(e *tssql.Scalar) bound {
	f, x := b.single(e.Pos, e.Query)
	return bound{sql: "(" + f.sql + ")", typ: x.typ, noNaN: x.noNaN}
}

// inQuery is x IN (query). NaN, which only computations make, is found here, where IEEE 754 does not find it.
func (b *binder) inQuery(e *tssql.In, x bound) bound {
	sql, t := b.comparable(e.Pos, x, e.Query, "value and result of subquery must be of the same type for IN expression: %s vs %s")
	return negated("("+coerce(x, t, e.Pos).sql+" IN ("+sql+"))", e.Not)
}

// quantified is x op ALL (query) or x op ANY (query).
func (b *binder) quantified(e *tssql.Quantified) bound {
	x := b.expr(e.X)
	sql, t := b.comparable(e.Pos, x, e.Query, "Value expression and result of subquery must be of the same type for quantified comparison: %s vs %s")
	word := " ANY ("
	if e.All {
		word = " ALL ("
	}
	return bound{sql: "(" + coerce(x, t, e.Pos).sql + " " + e.Op + word + sql + "))", typ: ScalarOf(Boolean)}
}

// comparable compiles a subquery of one column whose values are compared with x, and converts them to the common type.
func (b *binder) comparable(at tssql.Pos, x bound, q *tssql.Query, message string) (string, Type) {
	f, y := b.single(q.Pos, q)
	t, ok := comparison(x, y)
	if !ok {
		fail(at, message, x.typ, y.typ)
	}
	if y.typ.equal(t) {
		return f.sql, t
	}
	return "SELECT " + coerce(y, t, at).sql + " FROM (" + f.sql + ") AS s" + b.co.number(at), t
}
