// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// item is one entry of a select list with `*` spread out.
type item struct {
	pos  tssql.Pos
	expr tssql.Expr
	// column is set for an entry that came from `*`.
	column *column
	name   string
	// aliased tells that the name follows AS.
	aliased bool
}

// selectQuery compiles one SELECT with the ORDER BY and LIMIT around it.
//
// A grouped query becomes two: the inner one computes the keys and the aggregates, the outer one the select list, HAVING and
// ORDER BY over their generated names. So nothing depends on DuckDB finding the same expression twice.
func (co *compiler) selectQuery(q *tssql.Query, s *tssql.Select, scope *ctes, outer *binder) finished {
	b := &binder{co: co, prefix: "q" + co.number(s.Pos), scope: scope, outer: outer}
	source := ""
	if s.From != nil {
		from := co.from(s.From, scope, outer, outer != nil)
		source, b.columns, b.depth, b.halves = from.sql, from.columns, from.depth, from.halves
		b.sliced = from.sliced
	}
	where := ""
	if s.Where != nil {
		b.noAggregates(s.Where, "WHERE clause")
		cond := b.condition(s.Where, "WHERE clause must evaluate to a boolean: actual type %s")
		where = cond.sql
		b.narrow(s.Where)
	}
	items := b.items(s)
	switch {
	case len(items) > maxColumns:
		fail(s.Pos, "the select list has more than %d columns", maxColumns)
	case len(s.GroupBy) > maxKeys:
		fail(s.Pos, "GROUP BY has more than %d keys", maxKeys)
	case len(q.OrderBy) > maxKeys:
		fail(s.Pos, "ORDER BY has more than %d keys", maxKeys)
	}
	keys := b.groupKeys(s, items)
	if keys != nil || s.GroupAll || s.Having != nil || anyAggregate(q, items) {
		b.group = &grouping{}
		for i, e := range keys {
			key := b.ungrouped(e)
			if !key.typ.comparable() {
				fail(e.Position(), "%s is not comparable, and therefore cannot be used in GROUP BY", key.typ)
			}
			alias := b.prefix + "k" + strconv.Itoa(i)
			b.group.keys = append(b.group.keys, groupKey{e, key, bound{sql: alias, typ: key.typ, noNaN: key.noNaN}})
		}
	}

	out := finished{columns: make([]outColumn, len(items))}
	selected := make([]bound, len(items))
	for i := range items {
		it := &items[i]
		selected[i] = b.item(it)
		if s.Distinct && !selected[i].typ.comparable() {
			fail(it.pos, "DISTINCT can only be applied to comparable types (actual: %s)", selected[i].typ)
		}
		name := it.name
		if name == "" {
			name = fmt.Sprintf("_col%d", i)
		}
		out.columns[i] = outColumn{name: name, typ: selected[i].typ, noNaN: selected[i].noNaN, sql: b.prefix + "c" + strconv.Itoa(i), origin: b.origin(it), aliased: it.aliased}
	}
	having := ""
	if s.Having != nil {
		if w := findWindow(s.Having); w != nil {
			fail(w.Pos, "HAVING clause cannot contain window functions: [%s]", tssql.PrintExpr(w))
		}
		cond := b.condition(s.Having, "HAVING clause must evaluate to a boolean: actual type %s")
		having = cond.sql
	}
	b.outputs, b.outputNames, b.entries = selected, out.columns, items
	order := b.sortedBy(q.OrderBy, s.Distinct)

	if b.group != nil {
		inner, ok := b.halvedGroups(q, s, items)
		if !ok {
			inner = b.group.sql(source, where)
			b.sliced = b.sliced.grouped(b)
		}
		source, where = "("+inner+") AS "+b.prefix+"g", having
	} else if s.Distinct {
		if from, left, ok := b.halvedDistinct(s, items); ok {
			source, where = from, left
		}
	}
	var sql strings.Builder
	sql.WriteString("SELECT ")
	if s.Distinct {
		sql.WriteString("DISTINCT ")
	}
	for i, e := range selected {
		if i > 0 {
			sql.WriteString(", ")
		}
		sql.WriteString(e.sql + " AS " + out.columns[i].sql)
	}
	if source != "" {
		sql.WriteString(" FROM " + source)
	}
	if where != "" {
		sql.WriteString(" WHERE " + where)
	}
	sql.WriteString(orderBy(order) + limit(q))
	out.sql = sql.String()
	out.depth = b.depth + 1
	if s.Distinct || q.Limit != nil || anyWindow(q, items) {
		return out
	}
	if q == co.top {
		co.cut = b.sliced
		co.plan.Slices = b.sliced.statement(b, order)
	} else {
		out.sliced = b.sliced.selected(b, items, selected, out.columns)
	}
	return out
}

// items spreads `*` and names the entries: by alias, by column, else not at all.
func (b *binder) items(s *tssql.Select) []item {
	var out []item
	for _, it := range s.Items {
		if !it.Star {
			name := it.Alias
			if c, ok := it.Expr.(*tssql.Column); ok && name == "" {
				name = c.Name
			}
			out = append(out, item{pos: it.Pos, expr: it.Expr, name: name, aliased: it.Alias != ""})
			continue
		}
		if s.From == nil {
			fail(it.Pos, "SELECT * not allowed in queries without FROM clause")
		}
		found := false
		for i := range b.columns {
			c := &b.columns[i]
			if it.Qualifier != "" && it.Qualifier != c.qualifier {
				continue
			}
			found = true
			out = append(out, item{pos: it.Pos, column: c, name: c.name})
		}
		if !found {
			fail(it.Pos, "Table '%s' not found", it.Qualifier)
		}
	}
	return out
}

// item binds one entry of the select list.
func (b *binder) item(it *item) bound {
	if it.column == nil {
		return b.top(it.expr)
	}
	if b.group == nil {
		return it.column.bound
	}
	for _, k := range b.group.keys {
		if c, ok := k.expr.(*tssql.Column); ok && c.Name == it.column.name && k.bound.sql == it.column.bound.sql {
			return k.out
		}
	}
	fail(it.pos, "'%s' must be an aggregate expression or appear in GROUP BY clause", it.column.name)
	return bound{}
}

// groupKeys resolves the GROUP BY list; nil means there is none. An integer is the place of an entry of the select list.
func (b *binder) groupKeys(s *tssql.Select, items []item) []tssql.Expr {
	var out []tssql.Expr
	for _, e := range s.GroupBy {
		if n, ok := e.(*tssql.Int); ok {
			if n.Value < 1 || n.Value > int64(len(items)) {
				fail(n.Pos, "GROUP BY position %d is not in select list", n.Value)
			}
			it := items[n.Value-1]
			if e = it.expr; it.column != nil {
				e = &tssql.Column{Pos: n.Pos, Qualifier: it.column.qualifier, Name: it.column.name}
			}
		}
		b.noAggregates(e, "GROUP BY clause")
		out = append(out, e)
	}
	return out
}

// sortedBy binds the ORDER BY clause. A key is an entry's place, an entry's name, or an expression, in which entries' names
// hide the source's columns, as in Trino.
func (b *binder) sortedBy(list []tssql.OrderItem, distinct bool) []sortedBy {
	var keys []sortedBy
	for _, o := range list {
		place := -1
		at := o.Expr.Position()
		var key bound
		var about side
		if n, ok := o.Expr.(*tssql.Int); ok {
			if n.Value < 1 || n.Value > int64(len(b.outputs)) {
				fail(at, "ORDER BY position %d is not in select list", n.Value)
			}
			place = int(n.Value - 1)
			key = b.outputs[place]
			about = b.aboutEntry(place)
		} else {
			b.ordering = true
			key = b.top(o.Expr)
			about = b.about(o.Expr)
			b.ordering = false
			for k := range b.outputs {
				if b.outputs[k].sql == key.sql {
					place = k
					break
				}
			}
		}
		if !key.typ.comparable() {
			fail(at, "Type %s is not orderable, and therefore cannot be used in ORDER BY", key.typ)
		}
		if place < 0 && distinct {
			fail(at, "For SELECT DISTINCT, ORDER BY expressions must appear in select list")
		}
		if key.isConst() {
			// It sorts nothing, and DuckDB would take an integer for a place.
			continue
		}
		by := sortedBy{sql: key.sql, item: o, ofSeries: about&^aboutSeries == 0}
		if o.Desc && mayBeNaN(key) && !distinct {
			by.printed = "isnan(" + key.sql + "), " // NaN comes behind all numbers in either direction
		}
		if place >= 0 {
			key.sql = strconv.Itoa(place + 1)
		}
		by.printed += sortKey(key.sql, o)
		keys = append(keys, by)
	}
	return keys
}

// orderBy prints the ORDER BY clause.
func orderBy(keys []sortedBy) string {
	if keys == nil {
		return ""
	}
	printed := make([]string, len(keys))
	for i := range keys {
		printed[i] = keys[i].printed
	}
	return " ORDER BY " + strings.Join(printed, ", ")
}

// sortKey prints one key of an order. NULLs come last in either direction unless the statement says otherwise.
func sortKey(sql string, o tssql.OrderItem) string {
	if o.Desc {
		sql += " DESC"
	}
	return sql + " NULLS " + first(o.Nulls, "LAST")
}

// grouping is the inner query of a grouped one.
type grouping struct {
	keys       []groupKey
	aggregates []aggregate
}

type groupKey struct {
	expr  tssql.Expr
	bound bound // over the source
	out   bound // over the inner query
}

type aggregate struct{ sql, alias string }

// add returns the name of an aggregate of the inner query; the same one is computed once.
func (g *grouping) add(prefix, sql string) string {
	for _, a := range g.aggregates {
		if a.sql == sql {
			return a.alias
		}
	}
	alias := prefix + "a" + strconv.Itoa(len(g.aggregates))
	g.aggregates = append(g.aggregates, aggregate{sql, alias})
	return alias
}

func (g *grouping) sql(source, where string) string {
	var items, places []string
	for i, k := range g.keys {
		items = append(items, k.bound.sql+" AS "+k.out.sql)
		places = append(places, strconv.Itoa(i+1))
	}
	for _, a := range g.aggregates {
		items = append(items, a.sql+" AS "+a.alias)
	}
	if len(items) == 0 {
		// HAVING without a group and an aggregate: all rows are one group.
		items = []string{"count(*)"}
	}
	sql := "SELECT " + strings.Join(items, ", ")
	if source != "" {
		sql += " FROM " + source
	}
	if where != "" {
		sql += " WHERE " + where
	}
	if len(places) > 0 {
		sql += " GROUP BY " + strings.Join(places, ", ")
	}
	return sql
}

// anyAggregate tells whether the select list or ORDER BY aggregates, which makes the query a grouped one.
func anyAggregate(q *tssql.Query, items []item) bool {
	for _, it := range items {
		if it.expr != nil && findAggregate(it.expr) != nil {
			return true
		}
	}
	for _, o := range q.OrderBy {
		if findAggregate(o.Expr) != nil {
			return true
		}
	}
	return false
}

// noAggregates refuses aggregates and window functions where rows are not grouped yet.
func (b *binder) noAggregates(e tssql.Expr, where string) {
	if a := findCall(e, func(c *tssql.Call) bool { return c.Over != nil || isAggregate(c.Name) }); a != nil {
		fail(a.Pos, "%s cannot contain aggregations, window functions or grouping operations: [%s]", where, tssql.PrintExpr(a))
	}
}

// findAggregate returns the first aggregate call in e that is no window function, nil without one. What stands in a subquery
// belongs to it.
func findAggregate(e tssql.Expr) *tssql.Call {
	return findCall(e, func(c *tssql.Call) bool { return c.Over == nil && isAggregate(c.Name) })
}

// findWindow returns the first window function in e, nil without one.
func findWindow(e tssql.Expr) *tssql.Call {
	return findCall(e, func(c *tssql.Call) bool { return c.Over != nil })
}

func findCall(e tssql.Expr, is func(*tssql.Call) bool) *tssql.Call {
	if c, ok := e.(*tssql.Call); ok && is(c) {
		return c
	}
	for x := range children(e) {
		if a := findCall(x, is); a != nil {
			return a
		}
	}
	return nil
}

// children yields the operands of an expression; those of a chain of one of AND, OR and || all at once.
func children(e tssql.Expr) func(yield func(tssql.Expr) bool) {
	var list []tssql.Expr
	add := func(es ...tssql.Expr) {
		for _, x := range es {
			if x != nil {
				list = append(list, x)
			}
		}
	}
	switch e := e.(type) {
	case *tssql.Binary:
		if e.Op == "AND" || e.Op == "OR" || e.Op == "||" {
			list = chain(e)
		} else {
			add(e.L, e.R)
		}
	case *tssql.Unary:
		add(e.X)
	case *tssql.IsNull:
		add(e.X)
	case *tssql.In:
		add(e.X)
		add(e.List...)
	case *tssql.Between:
		add(e.X, e.Lo, e.Hi)
	case *tssql.Like:
		add(e.X, e.Pattern, e.Escape)
	case *tssql.Case:
		add(e.Operand)
		for _, w := range e.Whens {
			add(w.Cond, w.Then)
		}
		add(e.Else)
	case *tssql.Quantified:
		add(e.X)
	case *tssql.Array:
		add(e.Elems...)
	case *tssql.Row:
		add(e.Elems...)
	case *tssql.Subscript:
		add(e.X, e.Index)
	case *tssql.Field:
		add(e.X)
	case *tssql.Lambda:
		add(e.Body)
	case *tssql.Extract:
		add(e.X)
	case *tssql.Call:
		add(e.Args...)
		if w := e.Over; w != nil {
			add(w.PartitionBy...)
			for _, o := range w.OrderBy {
				add(o.Expr)
			}
			if w.Frame != nil {
				add(w.Frame.Start.N, w.Frame.End.N)
			}
		}
	case *tssql.Cast:
		add(e.X)
	}
	return func(yield func(tssql.Expr) bool) {
		for _, x := range list {
			if !yield(x) {
				return
			}
		}
	}
}

// chain returns the operands of a AND b AND c (or OR, or ||) in order.
func chain(e *tssql.Binary) []tssql.Expr {
	var reversed []tssql.Expr
	var left tssql.Expr = e
	for {
		b, ok := left.(*tssql.Binary)
		if !ok || b.Op != e.Op {
			break
		}
		reversed = append(reversed, b.R)
		left = b.L
	}
	out := make([]tssql.Expr, 0, len(reversed)+1)
	out = append(out, left)
	for i := len(reversed) - 1; i >= 0; i-- {
		out = append(out, reversed[i])
	}
	return out
}
