// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// column is one column that an item of FROM offers to what surrounds it. database is set for a table's column that has no
// alias in front, which may be named in full.
type column struct {
	database  string
	qualifier string
	name      string
	bound     bound
	// side is what a table's own column is about, measure tells that it is the measure name.
	side    side
	measure bool
	// read is the place in Plan.Reads of the table that it is a column of, plus one.
	read int
}

// outColumn is one column of a finished query. sql is its generated name.
type outColumn struct {
	name  string
	typ   Type
	noNaN bool
	sql   string
	// origin is the table whose own column it is, and aliased tells that the statement names it.
	origin  Table
	aliased bool
}

// finished is a compiled query.
type finished struct {
	sql     string
	columns []outColumn
	depth   int
	// sliced is set if each row is about one series.
	sliced *sliced
}

// bounds returns the columns as expressions over the query.
func (f finished) bounds() []bound {
	out := make([]bound, len(f.columns))
	for i, c := range f.columns {
		out[i] = bound{sql: c.sql, typ: c.typ, noNaN: c.noNaN}
	}
	return out
}

// ctes are the common table expressions in sight, the innermost last.
type ctes struct {
	outer *ctes
	name  string
	query finished
	// alias is the name in DuckDB, uses how often it is read.
	alias string
	uses  int
}

func (c *ctes) find(name string) *ctes {
	for ; c != nil; c = c.outer {
		if c.name == name {
			return c
		}
	}
	return nil
}

// query compiles a query with its WITH entries; outer is set for a query inside of an expression, which may name the
// columns around it. An entry that is read once is put in place by DuckDB, one that is read several times is computed once: so
// entries that read each other twice do not multiply.
func (co *compiler) query(q *tssql.Query, scope *ctes, outer *binder) finished {
	first := scope
	for i := range q.With {
		w := &q.With[i]
		for c := scope; c != first; c = c.outer {
			if c.name == w.Name {
				fail(w.Pos, "WITH query name '%s' specified more than once", w.Name)
			}
		}
		entry := &ctes{outer: scope, name: w.Name, query: co.query(w.Query, scope, outer), alias: "w" + co.number(w.Pos)}
		if w.Columns != nil {
			if len(w.Columns) != len(entry.query.columns) {
				fail(w.Pos, "Column alias list has %d entries but relation has %d columns", len(w.Columns), len(entry.query.columns))
			}
			for k, name := range w.Columns {
				entry.query.columns[k].name = name
			}
		}
		scope = entry
	}
	out := co.body(q, q.Body, scope, outer)
	var with []string
	for c := scope; c != first; c = c.outer {
		switch {
		case c.uses == 1:
			with = append(with, c.alias+" AS NOT MATERIALIZED ("+c.query.sql+")")
		case c.uses > 1:
			with = append(with, c.alias+" AS MATERIALIZED ("+c.query.sql+")")
		}
	}
	if len(with) > 0 {
		for i, k := 0, len(with)-1; i < k; i, k = i+1, k-1 {
			with[i], with[k] = with[k], with[i]
		}
		out.sql = "WITH " + strings.Join(with, ", ") + " " + out.sql
	}
	return out
}

// body compiles a query's body with the ORDER BY and LIMIT of q.
func (co *compiler) body(q *tssql.Query, body tssql.Body, scope *ctes, outer *binder) finished {
	switch s := body.(type) {
	case *tssql.Select:
		return co.selectQuery(q, s, scope, outer)
	case *tssql.SetOperation:
		return co.ordered(q, co.setOperation(s, scope, outer), scope, outer)
	case *tssql.Values:
		return co.ordered(q, co.values(s, scope, outer), scope, outer)
	case *tssql.Query:
		return co.ordered(q, co.query(s, scope, outer), scope, outer)
	}
	fail(body.Position(), "This kind of query is not supported")
	return finished{}
}

// ordered puts ORDER BY and LIMIT around a query that is no SELECT; they see its columns only.
func (co *compiler) ordered(q *tssql.Query, in finished, scope *ctes, outer *binder) finished {
	if len(q.OrderBy) == 0 && q.Limit == nil {
		return in
	}
	if len(q.OrderBy) > maxKeys {
		fail(q.Pos, "ORDER BY has more than %d keys", maxKeys)
	}
	co.nested(q.Pos, in.depth)
	n := co.number(q.Pos)
	b := &binder{co: co, prefix: "q" + n, scope: scope, outer: outer, outputs: in.bounds(), outputNames: in.columns}
	for _, o := range q.OrderBy {
		b.noAggregates(o.Expr, "ORDER BY clause")
	}
	in.sql = "SELECT * FROM (" + in.sql + ") AS s" + n + orderBy(b.sortedBy(q.OrderBy, false)) + limit(q)
	in.depth = max(in.depth, b.depth) + 1
	in.sliced = nil
	return in
}

// nested refuses what stands too deep.
func (co *compiler) nested(at tssql.Pos, depth int) {
	if depth >= maxQueryDepth {
		fail(at, "queries in FROM are nested too deeply (more than %d)", maxQueryDepth)
	}
}

// setOperation compiles UNION, INTERSECT or EXCEPT. A chain of one of them is printed flat.
func (co *compiler) setOperation(s *tssql.SetOperation, scope *ctes, outer *binder) finished {
	var reversed []tssql.Body
	ops := []*tssql.SetOperation{}
	var left tssql.Body = s
	for {
		l, ok := left.(*tssql.SetOperation)
		if !ok || l.Op != s.Op || l.All != s.All {
			break
		}
		reversed = append(reversed, l.R)
		ops = append(ops, l)
		left = l.L
	}
	operands := []finished{co.body(&tssql.Query{Pos: left.Position(), Body: left}, left, scope, outer)}
	out := finished{columns: append([]outColumn(nil), operands[0].columns...), depth: operands[0].depth}
	for i := len(reversed) - 1; i >= 0; i-- {
		op := ops[i]
		r := co.body(&tssql.Query{Pos: reversed[i].Position(), Body: reversed[i]}, reversed[i], scope, outer)
		if len(r.columns) != len(out.columns) {
			fail(op.Pos, "%s query has different number of fields: %d, %d", op.Op, len(out.columns), len(r.columns))
		}
		for k := range out.columns {
			t, ok := common(bound{typ: out.columns[k].typ}, bound{typ: r.columns[k].typ})
			if !ok {
				fail(op.Pos, "column %d in %s query has incompatible types: %s, %s", k+1, op.Op, out.columns[k].typ, r.columns[k].typ)
			}
			if !op.All || op.Op != "UNION" {
				if !t.comparable() {
					fail(op.Pos, "Type %s is not comparable and therefore cannot be used in %s", t, op.Op)
				}
			}
			out.columns[k].typ = t
			out.columns[k].noNaN = out.columns[k].noNaN && r.columns[k].noNaN
		}
		out.depth = max(out.depth, r.depth)
		operands = append(operands, r)
	}
	co.nested(s.Pos, out.depth)
	out.depth++
	word := " " + s.Op + " "
	if s.All {
		word += "ALL "
	}
	parts := make([]string, len(operands))
	for i, o := range operands {
		parts[i] = "(" + o.sql + ")"
		var items []string
		same := true
		for k, c := range o.bounds() {
			same = same && c.typ.equal(out.columns[k].typ)
			items = append(items, coerce(c, out.columns[k].typ, s.Pos).sql+" AS "+out.columns[k].sql)
		}
		if !same {
			parts[i] = "(SELECT " + strings.Join(items, ", ") + " FROM " + parts[i] + " AS s" + co.number(s.Pos) + ")"
		}
	}
	out.sql = strings.Join(parts, word)
	return out
}

// values compiles VALUES.
func (co *compiler) values(v *tssql.Values, scope *ctes, outer *binder) finished {
	b := &binder{co: co, scope: scope, outer: outer}
	rows := make([][]bound, len(v.Rows))
	var types []Type
	for i, r := range v.Rows {
		exprs := []tssql.Expr{r}
		if row, ok := r.(*tssql.Row); ok {
			exprs = row.Elems
		}
		if len(exprs) > maxColumns {
			fail(r.Position(), "the row has more than %d columns", maxColumns)
		}
		for _, e := range exprs {
			b.noAggregates(e, "VALUES clause")
			rows[i] = append(rows[i], b.top(e))
		}
		if i == 0 {
			for _, x := range rows[0] {
				types = append(types, x.typ)
			}
			continue
		}
		if len(rows[i]) != len(types) {
			fail(r.Position(), "Values rows have mismatched types: %s vs %s", rowOf(rows[0]), rowOf(rows[i]))
		}
		for k, x := range rows[i] {
			t, ok := common(bound{typ: types[k]}, x)
			if !ok {
				fail(r.Position(), "Values rows have mismatched types: %s vs %s", rowOf(rows[0]), rowOf(rows[i]))
			}
			types[k] = t
		}
	}
	n := co.number(v.Pos)
	out := finished{columns: make([]outColumn, len(types)), depth: b.depth + 1}
	co.nested(v.Pos, b.depth)
	names := make([]string, len(types))
	for k, t := range types {
		names[k] = "v" + n + "c" + itoa(k)
		out.columns[k] = outColumn{name: "_col" + itoa(k), typ: t, noNaN: true, sql: names[k]}
	}
	texts := make([]string, len(rows))
	for i, row := range rows {
		parts := make([]string, len(row))
		for k, x := range row {
			x = coerce(x, types[k], v.Rows[i].Position())
			out.columns[k].noNaN = out.columns[k].noNaN && x.noNaN
			parts[k] = x.sql
		}
		texts[i] = "(" + strings.Join(parts, ", ") + ")"
	}
	out.sql = "SELECT * FROM (VALUES " + strings.Join(texts, ", ") + ") AS v" + n + "(" + strings.Join(names, ", ") + ")"
	return out
}

// rowOf is the type of a row of values.
func rowOf(xs []bound) Type {
	t := Type{Row: make([]Field, len(xs))}
	for i, x := range xs {
		t.Row[i].Type = x.typ
	}
	return t
}

// limit prints LIMIT.
func limit(q *tssql.Query) string {
	if q.Limit == nil {
		return ""
	}
	return " LIMIT " + itoa(int(*q.Limit))
}
