// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// A table's rows are its samples joined with their series. Most statements over one table say things about series (by
// dimensions and the measure name) and things about samples (by time and value), but nothing about both at once. They are
// not run over the joined rows:
//
//   - One that only tells which series have a record in a range of time reads the series that have one, which a store
//     mostly knows without looking at samples.
//   - One that aggregates samples by the series they belong to does that by the number of the series, and puts the dimensions
//     there when it is done: DuckDB then hashes a number for each sample, and not all labels of its series. 1,000 series of
//     260 points with five labels take half the time.

// Halves are a relation's series and its samples. What they return are DuckDB's FROM items, without an alias, with the names that
// the relation's columns have. Names of columns are those of Column.SQL.
type Halves interface {
	// Series has a row for each series that there was when the catalog was asked for the relation: its number sid, the measure
	// name and the dimensions.
	Series() string
	// Seen is Series with those only that have a record at a time in [from, to] nanoseconds which is not expired, in the column
	// of single-measure values, or of any kind when it is empty. Each comes once.
	Seen(value string, from, to int64) string
	// Samples has a row for each record that is not expired with a value in the column of single-measure values: sid, time and value.
	Samples(value string) string
	// Tells returns the columns of the dimensions by which those series differ that have values in a column, or any, with one
	// measure name, or any where that is empty.
	Tells(value, measure string) []string
}

// side is what an expression is about.
type side uint8

const (
	aboutSeries side = 1 << iota
	aboutSamples
	// aboutMore is what cannot be told or belongs to no half.
	aboutMore
)

// about tells what an expression is about; nothing for a constant.
func (b *binder) about(e tssql.Expr) side {
	switch e := e.(type) {
	case *tssql.Column:
		if i := b.output(e); i >= 0 {
			return b.aboutEntry(i)
		}
		if c := b.find(e); c != nil {
			return c.side
		}
		return aboutMore
	case *tssql.Scalar, *tssql.Exists, *tssql.Quantified, *tssql.Lambda:
		return aboutMore
	case *tssql.In:
		if e.Query != nil {
			return aboutMore
		}
	case *tssql.Call:
		if name := strings.ToLower(e.Name); e.Over != nil || name == "rand" || name == "random" {
			return aboutMore
		}
	}
	var s side
	if c, ok := e.(*tssql.Call); ok && isAggregate(c.Name) {
		s = aboutSamples // even count(*)
	}
	for x := range children(e) {
		s |= b.about(x)
	}
	return s
}

// sideOf is what a column of a relation is about. Attributes of multi-measure records belong to no half: a record may lack them.
func sideOf(attribute string) side {
	switch attribute {
	case "DIMENSION", "MEASURE_NAME":
		return aboutSeries
	case "TIMESTAMP", "MEASURE_VALUE":
		return aboutSamples
	}
	return aboutMore
}

// halved is what a WHERE clause says, apart.
type halved struct {
	// series and samples are the conditions as SQL.
	series, samples []string
	// from and to bound the time; others tells that samples has more than that and value.
	from, to int64
	others   bool
	// value is the column of single-measure values that is not NULL; empty if none is named.
	value string
	// measure is the measure name that all have; empty if none is named.
	measure string
	// values are the columns of values that are mentioned anywhere in the statement.
	values []string
}

// halve takes a WHERE clause apart; false when it cannot be.
func (b *binder) halve(where tssql.Expr) (halved, bool) {
	h := halved{from: math.MinInt64, to: math.MaxInt64}
	if where == nil {
		return h, true
	}
	conjuncts := []tssql.Expr{where}
	if and, ok := where.(*tssql.Binary); ok && and.Op == "AND" {
		conjuncts = chain(and)
	}
	group := b.group
	b.group = nil
	defer func() { b.group = group }()
	for _, e := range conjuncts {
		s := b.about(e)
		if s&aboutMore != 0 {
			return h, false // what is in it must not be bound twice: subqueries would multiply
		}
		cond := b.condition(e, "WHERE clause must evaluate to a boolean: actual type %s")
		switch s {
		case 0, aboutSeries:
			h.series = append(h.series, cond.sql)
			h.readMeasure(b, e)
		case aboutSamples:
			h.samples = append(h.samples, cond.sql)
			h.mention(b, e)
			if !h.readTime(b, e) && !h.readValue(b, e) {
				h.others = true
			}
		default:
			return h, false
		}
	}
	return h, true
}

// mention notes the columns of values in an expression.
func (h *halved) mention(b *binder, e tssql.Expr) {
	if c, ok := e.(*tssql.Column); ok {
		if x := b.find(c); x != nil && x.side == aboutSamples && !h.isTime(b, c) && !slices.Contains(h.values, x.bound.sql) {
			h.values = append(h.values, x.bound.sql)
		}
	}
	for x := range children(e) {
		h.mention(b, x)
	}
}

// readMeasure reads `measure_name = 'x'`.
func (h *halved) readMeasure(b *binder, e tssql.Expr) {
	if x, ok := e.(*tssql.Binary); ok && x.Op == "=" {
		for _, s := range [2][2]tssql.Expr{{x.L, x.R}, {x.R, x.L}} {
			c, isColumn := s[0].(*tssql.Column)
			text, isText := s[1].(*tssql.String)
			if isColumn && isText && b.find(c).measure {
				h.measure = text.Value
			}
		}
	}
}

// readValue reads `measure_value::x IS NOT NULL`.
func (h *halved) readValue(b *binder, e tssql.Expr) bool {
	x, ok := e.(*tssql.IsNull)
	if !ok || !x.Not {
		return false
	}
	c, ok := x.X.(*tssql.Column)
	if !ok || h.isTime(b, c) {
		return false
	}
	sql := b.find(c).bound.sql
	if h.value != "" && h.value != sql {
		return false // both at once: nothing is
	}
	h.value = sql
	return true
}

func (h *halved) isTime(b *binder, e tssql.Expr) bool {
	c, ok := e.(*tssql.Column)
	return ok && b.find(c).bound.typ.isScalar(Timestamp)
}

// readTime reads a comparison of the time with a constant.
func (h *halved) readTime(b *binder, e tssql.Expr) bool {
	instant := func(e tssql.Expr) (int64, bool) {
		if b.about(e) != 0 {
			return 0, false
		}
		x := b.top(e)
		if _, text := x.k.(string); text {
			x = coerce(x, ScalarOf(Timestamp), e.Position()) // as the comparison does
		}
		ns, ok := x.k.(int64)
		return ns, ok && x.typ.isScalar(Timestamp)
	}
	switch x := e.(type) {
	case *tssql.Between:
		lo, ok1 := instant(x.Lo)
		hi, ok2 := instant(x.Hi)
		if x.Not || !h.isTime(b, x.X) || !ok1 || !ok2 {
			return false
		}
		h.from, h.to = max(h.from, lo), min(h.to, hi)
		return true
	case *tssql.Binary:
		op, column, constant := x.Op, x.L, x.R
		if !h.isTime(b, column) {
			mirrored, ok := map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}[op]
			if !ok || !h.isTime(b, constant) {
				return false
			}
			op, constant = mirrored, column
		}
		ns, ok := instant(constant)
		if !ok || ns == math.MinInt64 || ns == math.MaxInt64 {
			return false
		}
		switch op {
		case "<":
			h.to = min(h.to, ns-1)
		case "<=":
			h.to = min(h.to, ns)
		case ">":
			h.from = max(h.from, ns+1)
		case ">=":
			h.from = max(h.from, ns)
		case "=":
			h.from, h.to = max(h.from, ns), min(h.to, ns)
		default:
			return false
		}
		return true
	}
	return false
}

// onlyTimes tells that the conditions on samples are a range of time and that there is a value.
func (h *halved) onlyTimes() bool { return !h.others }

// seen returns what takes the places of a table and its WHERE clause where only series count.
func (h *halved) seen(halves Halves) (from, where string) {
	return halves.Seen(h.value, h.from, h.to), strings.Join(h.series, " AND ")
}

// halvedDistinct finds the source of a SELECT DISTINCT without groups over series only.
func (b *binder) halvedDistinct(s *tssql.Select, items []item) (from, where string, ok bool) {
	if b.halves == nil {
		return "", "", false
	}
	for i := range items {
		if items[i].column != nil && items[i].column.side != aboutSeries || items[i].expr != nil && b.about(items[i].expr)&^aboutSeries != 0 {
			return "", "", false
		}
	}
	// What DISTINCT is ordered by is in the select list, as orderBy has made sure.
	h, ok := b.halve(s.Where)
	if !ok || !h.onlyTimes() {
		return "", "", false
	}
	from, where = h.seen(b.halves)
	return from + " AS " + b.prefix + "h", where, true
}

// repeatable are the aggregates for which it does not matter how often a value comes.
var repeatable = map[string]bool{"min": true, "max": true, "bool_and": true, "bool_or": true, "every": true, "arbitrary": true, "approx_distinct": true}

// halvedGroups prints the inner query of a grouped one over one table by its halves; false where that cannot be.
func (b *binder) halvedGroups(q *tssql.Query, s *tssql.Select, items []item) (string, bool) {
	if b.halves == nil {
		return "", false
	}
	var calls []*tssql.Call
	collect := func(e tssql.Expr) {
		if e != nil {
			calls = aggregatesIn(e, calls)
		}
	}
	for i := range items {
		collect(items[i].expr)
	}
	collect(s.Having)
	for _, o := range q.OrderBy {
		collect(o.Expr)
	}
	var args side
	once := true
	for _, c := range calls {
		for _, a := range c.Args {
			args |= b.about(a)
		}
		if !repeatable[strings.ToLower(c.Name)] && (!c.Distinct || !strings.EqualFold(c.Name, "count")) {
			once = false
		}
	}
	h, ok := b.halve(s.Where)
	if !ok {
		return "", false
	}
	// keyed are the columns that are keys as they stand.
	var keys side
	var keyed []string
	for _, k := range b.group.keys {
		a := b.about(k.expr)
		if a == aboutSeries|aboutSamples {
			return "", false
		}
		keys |= a
		if c, ok := k.expr.(*tssql.Column); ok && a == aboutSeries {
			keyed = append(keyed, b.find(c).bound.sql)
		}
	}
	switch {
	case (args|keys)&^aboutSeries == 0 && once && h.onlyTimes() && (len(b.group.keys) > 0 || len(calls) > 0):
		from, where := h.seen(b.halves)
		if from += " AS " + b.prefix + "h"; len(calls) > 0 || !b.tellsApart(&h, keyed) {
			return b.group.sql(from, where), true
		}
		// Each series is a group of its own.
		var keys []string
		for _, k := range b.group.keys {
			keys = append(keys, k.bound.sql+" AS "+k.out.sql)
		}
		sql := "SELECT " + strings.Join(keys, ", ") + " FROM " + from
		if where != "" {
			sql += " WHERE " + where
		}
		return sql, true
	case (args|keys)&aboutMore == 0 && args&aboutSeries == 0 && keys&aboutSeries != 0 && h.value != "":
		for _, c := range calls {
			h.mention(b, c)
		}
		for _, k := range b.group.keys {
			h.mention(b, k.expr)
		}
		if len(h.values) > 1 {
			return "", false // those of one kind have no values of another
		}
		return b.bySeries(&h, keyed)
	}
	return "", false
}

// anyWindow tells whether the select list or the order has a window function.
func anyWindow(q *tssql.Query, items []item) bool {
	return slices.ContainsFunc(items, func(it item) bool { return it.expr != nil && findWindow(it.expr) != nil }) ||
		slices.ContainsFunc(q.OrderBy, func(o tssql.OrderItem) bool { return findWindow(o.Expr) != nil })
}

// aggregatesIn adds the aggregate calls of an expression, which do not nest.
func aggregatesIn(e tssql.Expr, calls []*tssql.Call) []*tssql.Call {
	if c, ok := e.(*tssql.Call); ok && c.Over == nil && isAggregate(c.Name) {
		return append(calls, c)
	}
	for x := range children(e) {
		calls = aggregatesIn(x, calls)
	}
	return calls
}

// needed returns the columns in which any two series differ.
func (b *binder) needed(h *halved) []string {
	var out []string
	for i := range b.columns {
		if c := &b.columns[i]; c.measure && h.measure == "" {
			out = append(out, c.bound.sql)
		}
	}
	return append(out, b.halves.Tells(h.value, h.measure)...)
}

// tellsApart tells whether two series never agree in all of these columns.
func (b *binder) tellsApart(h *halved, keyed []string) bool {
	return !slices.ContainsFunc(b.needed(h), func(c string) bool { return !slices.Contains(keyed, c) })
}

// bySeries prints a grouped query whose keys tell series apart: samples are aggregated by the number of their series. The
// series are those that there were when the statement was planned, because one that came later may differ from another in a
// dimension that is no key.
func (b *binder) bySeries(h *halved, keyed []string) (string, bool) {
	if !b.tellsApart(h, keyed) {
		return "", false
	}
	halves, p := b.halves, b.prefix
	var ofSeries, ofSamples, places, out []string
	for _, k := range b.group.keys {
		item := k.bound.sql + " AS " + k.out.sql
		if b.about(k.expr) == aboutSamples {
			ofSamples = append(ofSamples, item)
			places = append(places, strconv.Itoa(len(ofSamples)+1))
			out = append(out, p+"g."+k.out.sql)
		} else {
			ofSeries = append(ofSeries, item)
			out = append(out, p+"s."+k.out.sql)
		}
	}
	for _, a := range b.group.aggregates {
		ofSamples = append(ofSamples, a.sql+" AS "+a.alias)
		out = append(out, p+"g."+a.alias)
	}
	where := func(conditions []string) string {
		if len(conditions) == 0 {
			return ""
		}
		return " WHERE " + strings.Join(conditions, " AND ")
	}
	list := func(items []string) string {
		if len(items) == 0 {
			return ""
		}
		return ", " + strings.Join(items, ", ")
	}
	b.sliced = &sliced{known: true, of: "(SELECT sid" + list(ofSeries) + " FROM " + halves.Series() + " AS " + p + "h" + where(h.series) + ")",
		counts: "SELECT sid, count(*) AS n FROM " + halves.Samples(h.value) + " AS " + p + "h" + where(append([]string{
			"sid IN (SELECT sid FROM " + halves.Series() + " AS " + p + "s" + where(h.series) + ")"}, h.samples...)) + " GROUP BY 1"}
	needed := b.needed(h)
	for _, k := range b.group.keys {
		if i := slices.Index(needed, k.bound.sql); i >= 0 {
			b.sliced.apart = append(b.sliced.apart, k.out.sql)
			needed = slices.Delete(needed, i, i+1)
		}
	}
	b.sliced.series, b.sliced.samples = b.co.anywhere(p)
	h.series, h.samples = append(h.series, b.sliced.series), append(h.samples, b.sliced.samples)
	return "WITH " + p + "l AS MATERIALIZED (SELECT sid AS " + p + "i" + list(ofSeries) + " FROM " + halves.Series() + " AS " + p + "h" + where(h.series) + ")" +
		" SELECT " + strings.Join(out, ", ") +
		" FROM (SELECT " + p + "l." + p + "i" + list(ofSamples) +
		" FROM " + halves.Samples(h.value) + " AS " + p + "h JOIN " + p + "l ON " + p + "l." + p + "i = " + p + "h.sid" + where(h.samples) +
		" GROUP BY " + strings.Join(append([]string{"1"}, places...), ", ") + ") AS " + p + "g" +
		" JOIN " + p + "l AS " + p + "s ON " + p + "s." + p + "i = " + p + "g." + p + "i", true
}
