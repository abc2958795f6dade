// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"slices"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// A query that aggregates samples by series may be run for some series after others, when each of its rows is about one series: what it
// gives for all is what it gives for each. Where it is ordered, by something about series first, series are taken in that order: the rows of
// those that come first are the first rows. So the aggregates of some series only have to be in memory at a time.

// Slices say how a statement is run for some series after others.
type Slices struct {
	// Counts is the DuckDB query for how many samples the statement aggregates of each series: rows of the number of the series, sid, and
	// the count, n. If the statement is Ordered, place is the place of the series among them, from 1 on, and tie is the same number for all
	// that no key of the order's beginning tells apart, which then must be read together; few others have it too.
	Counts  string
	Ordered bool
	// sql is the statement; in it series is the place of a condition on the series that it reads, samples that of one on their samples.
	sql, series, samples string
}

// SQL is the statement for the series alone for which a condition on sid holds. The condition samples must hold for them too, and may hold for
// others. What comes of slices in which each series is once is the rows of the statement, in their order if slices are in that of place.
func (s *Slices) SQL(series, samples string) string {
	return strings.Replace(strings.Replace(s.sql, s.series, series, 1), s.samples, samples, 1)
}

// sliced is a query whose rows are about one series each.
type sliced struct {
	// series and samples are the places in its SQL where a condition on the series that it reads and one on their samples may come.
	series, samples string
	// counts is the DuckDB query for sid and n of each series.
	counts string
	// of is a DuckDB FROM item, without an alias: sid and those columns of the query that are about series, in names.
	of    string
	names []string
	// apart are those of names by which series differ; known tells that it is known.
	apart []string
	known bool
	// entries are the common table expressions through which the query is read; it cannot be cut if something else reads them too.
	entries []*ctes
}

// sortedBy is one key of an order.
type sortedBy struct {
	// sql is the expression, printed the key as it stands in ORDER BY.
	sql, printed string
	item         tssql.OrderItem
	// ofSeries tells that it says something about series alone.
	ofSeries bool
}

// anywhere returns the places in a query's SQL where conditions on series and on samples may come; prefix is the query's. No text of a statement
// looks like them, since a NUL is spelled there.
func (co *compiler) anywhere(prefix string) (series, samples string) {
	series, samples = "\x00"+prefix+"h\x00", "\x00"+prefix+"v\x00"
	co.places = append(co.places, series, samples)
	return series, samples
}

// plain is SQL without places for conditions, but for some.
func (co *compiler) plain(sql string, but ...string) string {
	for _, p := range co.places {
		if !slices.Contains(but, p) {
			sql = strings.ReplaceAll(sql, p, "true")
		}
	}
	return sql
}

// cuts finishes what the plan says of a statement that may be cut.
func (co *compiler) cuts(sql string) {
	p := co.plan.Slices
	if p == nil {
		return
	}
	p.sql = co.plain(sql, p.series, p.samples)
	// What something else reads too must be whole.
	if strings.Count(sql, p.series) != 1 || strings.Count(sql, p.samples) != 1 || slices.ContainsFunc(co.cut.entries, func(e *ctes) bool { return e.uses > 1 }) {
		co.plan.Slices = nil
	}
}

// grouped is what is known of a grouped query over one whose rows are about one series each: nil if a group may have rows of several.
func (s *sliced) grouped(b *binder) *sliced {
	if s == nil || !s.known {
		return nil
	}
	out := *s
	out.names, out.apart = nil, nil
	var items []string
	for _, k := range b.group.keys {
		if b.about(k.expr)&^aboutSeries != 0 {
			continue
		}
		items = append(items, k.bound.sql+" AS "+k.out.sql)
		out.names = append(out.names, k.out.sql)
		if _, ok := k.expr.(*tssql.Column); ok && slices.Contains(s.apart, k.bound.sql) && !slices.Contains(out.apart, k.bound.sql) {
			out.apart = append(out.apart, k.bound.sql)
		}
	}
	if len(out.apart) != len(s.apart) {
		return nil
	}
	for i, name := range out.apart {
		at := slices.IndexFunc(b.group.keys, func(k groupKey) bool { return k.bound.sql == name })
		out.apart[i] = b.group.keys[at].out.sql
	}
	out.of = "(SELECT " + strings.Join(append([]string{"sid"}, items...), ", ") + " FROM " + s.of + " AS " + b.prefix + "o)"
	return &out
}

// selected is what is known of the query's result, for the query around it.
func (s *sliced) selected(b *binder, items []item, selected []bound, out []outColumn) *sliced {
	if s == nil {
		return nil
	}
	r := *s
	r.names, r.apart = nil, nil
	var list []string
	for i := range items {
		if b.aboutItem(&items[i])&^aboutSeries == 0 {
			list = append(list, selected[i].sql+" AS "+out[i].sql)
			r.names = append(r.names, out[i].sql)
		}
	}
	for _, name := range s.apart {
		i := slices.IndexFunc(selected, func(x bound) bool { return x.sql == name })
		if i < 0 {
			r.known = false
			break
		}
		r.apart = append(r.apart, out[i].sql)
	}
	r.of = "(SELECT " + strings.Join(append([]string{"sid"}, list...), ", ") + " FROM " + s.of + " AS " + b.prefix + "f)"
	return &r
}

// statement makes the statement's slices of a query's; nil if its order does not allow it.
func (s *sliced) statement(b *binder, order []sortedBy) *Slices {
	if s == nil {
		return nil
	}
	out := &Slices{Counts: s.counts, Ordered: len(order) > 0, series: s.series, samples: s.samples}
	if !out.Ordered {
		return out
	}
	var values, keys []string
	for _, k := range order {
		if !k.ofSeries {
			break
		}
		values = append(values, k.sql)
		keys = append(keys, sortKey(k.sql, k.item))
	}
	if keys == nil {
		return nil
	}
	out.Counts = "SELECT sid, n, CAST(hash(" + strings.Join(values, ", ") + ") >> 1 AS BIGINT) AS tie, row_number() OVER (ORDER BY " + strings.Join(keys, ", ") + ") AS place" +
		" FROM (" + s.counts + ") AS " + b.prefix + "n JOIN " + s.of + " AS " + b.prefix + "o USING (sid)"
	return out
}

// aboutItem tells what an entry of the select list is about.
func (b *binder) aboutItem(it *item) side {
	if it.column != nil {
		return it.column.side
	}
	ordering := b.ordering
	b.ordering = false
	defer func() { b.ordering = ordering }()
	return b.about(it.expr)
}

// aboutEntry is aboutItem for an entry by its place.
func (b *binder) aboutEntry(i int) side {
	if b.entries == nil {
		return aboutMore
	}
	return b.aboutItem(&b.entries[i])
}
