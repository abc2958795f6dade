// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

func itoa(n int) string { return strconv.Itoa(n) }

// source is a compiled item of FROM: DuckDB's, the columns it offers and how deep it is.
type source struct {
	sql     string
	columns []column
	depth   int
	// halves are those of a table that is the whole source, sliced is what is known of a query that is.
	halves Halves
	sliced *sliced
}

// from compiles an item of FROM. With apart its columns have names that exist once in the statement, which they need as soon as there is
// another source in sight; without, a table's columns are the catalog's own expressions, through which DuckDB sees best.
func (co *compiler) from(item tssql.FromItem, scope *ctes, outer *binder, apart bool) source {
	switch f := item.(type) {
	case *tssql.TableRef:
		if f.Database == "" {
			entry := scope.find(f.Name)
			if entry == nil {
				fail(f.Pos, "Schema must be specified when session schema is not set")
			}
			entry.uses++
			s := co.derived(f.Pos, entry.query, first(f.Alias, f.Name), entry.alias)
			if s.sliced != nil {
				through := *s.sliced
				through.entries = append(slices.Clip(through.entries), entry)
				s.sliced = &through
			}
			if apart {
				s = co.apart(f.Pos, s)
			}
			return renamed(f.Pos, s, f.Alias, f.Columns)
		}
		s := co.relation(f)
		if apart {
			s = co.apart(f.Pos, s)
		}
		return renamed(f.Pos, s, f.Alias, f.Columns)
	case *tssql.Subquery:
		q := co.query(f.Query, scope, outer)
		return renamed(f.Pos, co.derived(f.Pos, q, f.Alias, "("+q.sql+")"), f.Alias, f.Columns)
	case *tssql.Unnest:
		return co.unnest(f, source{}, scope, outer)
	case *tssql.Join:
		return co.join(f, scope, outer)
	}
	fail(item.Position(), "This kind of FROM item is not supported")
	return source{}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// derived makes a source of a finished query.
func (co *compiler) derived(at tssql.Pos, q finished, alias, sql string) source {
	co.nested(at, q.depth)
	s := source{sql: sql + " AS s" + co.number(at), columns: make([]column, len(q.columns)), depth: q.depth, sliced: q.sliced}
	for i, c := range q.columns {
		s.columns[i] = column{qualifier: alias, name: c.name, bound: bound{sql: c.sql, typ: c.typ, noNaN: c.noNaN}, side: aboutMore}
		if q.sliced != nil && slices.Contains(q.sliced.names, c.sql) {
			s.columns[i].side = aboutSeries
		}
	}
	return s
}

func (co *compiler) relation(f *tssql.TableRef) source {
	r, err := co.catalog.Relation(f.Database, f.Name)
	checkName(err, f.Table, f.Pos)
	co.uses(Table{f.Database, f.Name})
	co.plan.Reads = append(co.plan.Reads, Read{Table: Table{f.Database, f.Name}, From: math.MinInt64, To: math.MaxInt64})
	s := source{columns: make([]column, len(r.Columns)), halves: r.Halves}
	database := ""
	if f.Alias == "" {
		database = f.Database
	}
	for i, c := range r.Columns {
		sql := c.SQL
		if !plainSQL(sql) {
			sql = "(" + sql + ")"
		}
		// The service stores neither NaN nor infinities, so comparisons with a stored value need no care.
		s.columns[i] = column{
			database: database, qualifier: first(f.Alias, f.Name), name: c.Name, bound: bound{sql: sql, typ: c.Type, noNaN: true},
			side: sideOf(c.Attribute), measure: c.Attribute == "MEASURE_NAME", read: len(co.plan.Reads),
		}
	}
	s.sql = r.SQL + " AS r" + co.number(f.Pos)
	return s
}

// apart gives a source's columns names of their own.
func (co *compiler) apart(at tssql.Pos, s source) source {
	n := co.number(at)
	items := make([]string, len(s.columns))
	for i := range s.columns {
		name := "t" + n + "c" + itoa(i)
		items[i] = s.columns[i].bound.sql + " AS " + name
		s.columns[i].bound.sql = name
	}
	s.sql = "(SELECT " + strings.Join(items, ", ") + " FROM " + s.sql + ") AS t" + n
	s.halves, s.sliced = nil, nil
	return s
}

// renamed gives columns the names that stand after an alias.
func renamed(at tssql.Pos, s source, alias string, names []string) source {
	if names == nil {
		return s
	}
	if len(names) != len(s.columns) {
		fail(at, "Column alias list has %d entries but '%s' has %d columns available", len(names), alias, len(s.columns))
	}
	for i, n := range names {
		s.columns[i].name = n
	}
	return s
}

// join compiles a join. UNNEST as the right side of a cross join sees the columns to its left.
func (co *compiler) join(j *tssql.Join, scope *ctes, outer *binder) source {
	if co.joins++; co.joins > maxJoins {
		fail(j.Pos, "the statement has more than %d joins", maxJoins)
	}
	l := co.from(j.L, scope, outer, true)
	if u, ok := j.R.(*tssql.Unnest); ok {
		if j.Kind != "CROSS" {
			fail(j.Pos, "UNNEST in other than CROSS JOIN is not supported")
		}
		return co.unnest(u, l, scope, outer)
	}
	r := co.from(j.R, scope, outer, true)
	out := source{columns: append(append([]column(nil), l.columns...), r.columns...), depth: max(l.depth, r.depth)}
	if len(out.columns) > maxColumns {
		fail(j.Pos, "the join has more than %d columns", maxColumns)
	}
	word := " " + j.Kind + " JOIN "
	switch {
	case j.Kind == "CROSS":
		out.sql = l.sql + word + r.sql
	case j.Using != nil:
		on, columns := using(j, l.columns, r.columns)
		out.sql, out.columns = l.sql+word+r.sql+" ON "+on, columns
	default:
		b := &binder{co: co, scope: scope, outer: outer, columns: out.columns}
		b.noAggregates(j.On, "JOIN clause")
		on := b.condition(j.On, "JOIN ON clause must evaluate to a boolean: actual type %s")
		if b.depth > 0 && j.Kind != "INNER" {
			fail(j.On.Position(), "A subquery in the condition of an outer join is not supported")
		}
		out.sql = l.sql + word + r.sql + " ON " + on.sql
		out.depth = max(out.depth, b.depth)
	}
	out.sql = "(" + out.sql + ")"
	return out
}

// using prints the condition of USING. The columns that it names come first and once, without a qualifier.
func using(j *tssql.Join, l, r []column) (string, []column) {
	var conds []string
	var shared []column
	used := map[*column]bool{}
	for _, name := range j.Using {
		find := func(columns []column, side string) *column {
			var found *column
			for i := range columns {
				if columns[i].name != name {
					continue
				}
				if found != nil {
					fail(j.Pos, "Column '%s' is ambiguous", name)
				}
				found = &columns[i]
			}
			if found == nil {
				fail(j.Pos, "Column '%s' is missing from %s side of join", name, side)
			}
			used[found] = true
			return found
		}
		a, b := find(l, "left"), find(r, "right")
		t, ok := comparison(a.bound, b.bound)
		if !ok {
			fail(j.Pos, "'=' cannot be applied to %s, %s", a.bound.typ, b.bound.typ)
		}
		x, y := coerce(a.bound, t, j.Pos), coerce(b.bound, t, j.Pos)
		conds = append(conds, compare("=", x, y).sql)
		switch j.Kind {
		case "RIGHT":
			x = y
		case "FULL":
			x = bound{sql: "coalesce(" + x.sql + ", " + y.sql + ")", typ: t, noNaN: x.noNaN && y.noNaN}
		}
		shared = append(shared, column{name: name, bound: x})
	}
	for _, side := range [][]column{l, r} {
		for i := range side {
			if !used[&side[i]] {
				shared = append(shared, side[i])
			}
		}
	}
	return strings.Join(conds, " AND "), shared
}

// unnest compiles UNNEST over the columns of l, which may be empty: a row of l for each element. DuckDB unnests lists of one
// SELECT side by side and fills the shorter ones with NULLs, as Trino does.
func (co *compiler) unnest(u *tssql.Unnest, l source, scope *ctes, outer *binder) source {
	n := co.number(u.Pos)
	b := &binder{co: co, scope: scope, outer: outer, columns: l.columns}
	var items, lengths []string
	if l.sql != "" {
		items = []string{"*"}
	}
	out := source{columns: slices.Clone(l.columns), depth: l.depth}
	own := len(out.columns)
	add := func(name, sql string, t Type) {
		out.columns = append(out.columns, column{qualifier: u.Alias, name: name, bound: bound{sql: sql, typ: t}})
	}
	for i, e := range u.Lists {
		b.noAggregates(e, "UNNEST")
		x := b.top(e)
		name := "u" + n + "c" + itoa(i)
		switch {
		case x.typ.Series != nil:
			x.sql = b.points(x)
			add("time", "struct_extract("+name+", '"+pointTime+"')", ScalarOf(Timestamp))
			add("value", "struct_extract("+name+", '"+pointValue+"')", *x.typ.Series)
		case x.typ.Array != nil && x.typ.Array.Row != nil:
			for k, f := range x.typ.Array.Row {
				add(f.Name, "struct_extract("+name+", '"+fieldKey(*x.typ.Array, k)+"')", f.Type)
			}
		case x.typ.Array != nil:
			add("", name, *x.typ.Array)
		default:
			fail(e.Position(), "Cannot unnest type: %s", x.typ)
		}
		items = append(items, "unnest("+x.sql+") AS "+name)
		lengths = append(lengths, "len("+x.sql+")")
	}
	if u.Ordinality {
		name := "u" + n + "o"
		add("ordinality", name, ScalarOf(Bigint))
		items = append(items, "unnest(range(1, coalesce(greatest("+strings.Join(lengths, ", ")+"), 0) + 1)) AS "+name)
	}
	if u.Columns != nil {
		fresh := source{columns: out.columns[own:]}
		renamed(u.Pos, fresh, u.Alias, u.Columns)
	}
	out.sql = "(SELECT " + strings.Join(items, ", ")
	if l.sql != "" {
		out.sql += " FROM " + l.sql
	}
	out.sql += ") AS u" + n
	out.depth = max(out.depth, b.depth)
	return out
}
