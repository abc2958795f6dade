// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// param is a parameter of a lambda: its name in the statement and what it stands for.
type param struct {
	name  string
	bound bound
}

func (b *binder) isParam(name string) bool {
	for _, p := range b.params {
		if p.name == name {
			return true
		}
	}
	return false
}

// paramRef resolves a parameter, or a field of one; the innermost lambda comes first.
func (b *binder) paramRef(c *tssql.Column) (bound, bool) {
	for i := len(b.params) - 1; i >= 0; i-- {
		p := b.params[i]
		if c.Qualifier == "" && p.name == c.Name {
			return p.bound, true
		}
		if c.Qualifier != "" && p.name == c.Qualifier {
			return fieldOf(c.Pos, p.bound, c.Name), true
		}
	}
	return bound{}, false
}

// mentionsParam tells whether e names a parameter, which makes it another expression than one outside of the lambda.
func (b *binder) mentionsParam(e tssql.Expr) bool {
	if c, ok := e.(*tssql.Column); ok {
		_, is := b.paramRef(c)
		return is
	}
	for x := range children(e) {
		if b.mentionsParam(x) {
			return true
		}
	}
	return false
}

// lambda binds the body of a lambda whose parameters stand for what is given.
func (b *binder) lambda(e tssql.Expr, c *tssql.Call, given ...bound) bound {
	l, ok := e.(*tssql.Lambda)
	if !ok || len(l.Params) != len(given) {
		fail(e.Position(), "function %s expects a lambda of %d parameters here", strings.ToLower(c.Name), len(given))
	}
	if a := findCall(l.Body, func(c *tssql.Call) bool { return c.Over != nil || isAggregate(c.Name) }); a != nil {
		fail(a.Pos, "Lambda expression cannot contain aggregations, window functions or grouping operations: [%s]", tssql.PrintExpr(a))
	}
	outside := len(b.params)
	for i, name := range l.Params {
		b.params = append(b.params, param{name, given[i]})
	}
	x := b.expr(l.Body)
	b.params = b.params[:outside]
	return x
}

// higher returns the binder of a function that takes lambdas (Timestream Developer Guide,
// timeseries-specific-constructs.functions.filter-reduce); nil for others.
func (b *binder) higher(c *tssql.Call) func(*tssql.Call) bound {
	switch strings.ToLower(c.Name) {
	case "filter":
		return b.filter
	case "reduce":
		return b.reduce
	case "regexp_replace":
		if len(c.Args) == 3 {
			if _, ok := c.Args[2].(*tssql.Lambda); ok {
				return b.regexpReplaceBy
			}
		}
	}
	return nil
}

// element returns the type of the elements of an array or a time series.
func element(t Type) (Type, bool) {
	switch {
	case t.Series != nil:
		return point(*t.Series), true
	case t.Array != nil:
		return *t.Array, true
	}
	return Type{}, false
}

func (b *binder) filter(c *tssql.Call) bound {
	if len(c.Args) != 2 {
		fail(c.Pos, "Unexpected number of arguments for function filter. Expected: filter(timeseries(T), function(T, boolean)), filter(array(T), function(T, boolean))")
	}
	x := b.expr(c.Args[0])
	elem, ok := element(x.typ)
	if !ok {
		fail(c.Args[0].Position(), "Unexpected parameters (%s, function) for function filter. Expected: filter(timeseries(T), function(T, boolean)), filter(array(T), function(T, boolean))", x.typ)
	}
	p := b.co.param()
	cond := b.lambda(c.Args[1], c, bound{sql: p, typ: elem})
	cond = b.boolean(cond, c.Args[1].Position(), "filter: the lambda must evaluate to a boolean (actual: %s)")
	return bound{sql: "list_filter(" + x.sql + ", lambda " + p + ": " + cond.sql + ")", typ: x.typ}
}

// reduce folds a list: reduce(list, start, (state, element) -> state, state -> result). DuckDB's list_reduce wants the state to be
// of the elements' type, so both travel as a pair.
func (b *binder) reduce(c *tssql.Call) bound {
	const expected = "reduce(timeseries(T), S, function(S, T, S), function(S, R)), reduce(array(T), S, function(S, T, S), function(S, R))"
	if len(c.Args) != 4 {
		fail(c.Pos, "Unexpected number of arguments for function reduce. Expected: %s", expected)
	}
	x, start := b.expr(c.Args[0]), b.expr(c.Args[1])
	elem, ok := element(x.typ)
	if !ok {
		fail(c.Args[0].Position(), "Unexpected parameters (%s, %s, function, function) for function reduce. Expected: %s", x.typ, start.typ, expected)
	}
	if x.typ.Series != nil {
		x.sql = b.points(x)
	}
	e, s, n := b.co.param(), b.co.param(), b.co.param()
	t := start.typ
	step := func() bound {
		return b.lambda(c.Args[2], c, bound{sql: s + ".s", typ: t}, bound{sql: n + ".x", typ: elem})
	}
	next := step()
	if !next.typ.equal(t) && coercible(t, next.typ) {
		// The state is as wide as what becomes of it.
		t = next.typ
		next = step()
	}
	if !coercible(next.typ, t) {
		fail(c.Args[2].Position(), "reduce: the lambda must return the type of the state, %s (actual: %s)", t, next.typ)
	}
	next, start = coerce(next, t, c.Args[2].Position()), coerce(start, t, c.Args[1].Position())
	state, item := duckType(t), duckType(elem)
	folded := "list_reduce(list_transform(" + x.sql + ", lambda " + e + ": {'s': CAST(NULL AS " + state + "), 'x': " + e + "}), lambda " + s + ", " + n +
		": {'s': CAST(" + next.sql + " AS " + state + "), 'x': " + n + ".x}, {'s': CAST(" + start.sql + " AS " + state + "), 'x': CAST(NULL AS " + item + ")}).s"
	last := b.co.param()
	out := b.lambda(c.Args[3], c, bound{sql: last, typ: t})
	return bound{sql: "list_transform([" + folded + "], lambda " + last + ": " + out.sql + ")[1]", typ: out.typ}
}

// let prints f with x in the place of its argument, which may be repeated: what is more than a name or a constant is computed
// once.
func (b *binder) let(x bound, f func(string) string) string {
	if x.isConst() || plainSQL(x.sql) {
		return f(x.sql)
	}
	p := b.co.param()
	return "list_transform([" + x.sql + "], lambda " + p + ": " + f(p) + ")[1]"
}
