// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"slices"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// narrow notes what a WHERE clause says of the records that its tables are read for: comparisons of the time with constants, and measure names and values of
// dimensions that are named.
func (b *binder) narrow(where tssql.Expr) {
	conjuncts := []tssql.Expr{where}
	if and, ok := where.(*tssql.Binary); ok && and.Op == "AND" {
		conjuncts = chain(and)
	}
	for _, e := range conjuncts {
		switch e := e.(type) {
		case *tssql.Between:
			b.narrowTime(e, e.X)
		case *tssql.Binary:
			if e.Op == "=" {
				b.narrowSeries(e.L, []tssql.Expr{e.R})
				b.narrowSeries(e.R, []tssql.Expr{e.L})
			}
			b.narrowTime(e, e.L)
			b.narrowTime(e, e.R)
		case *tssql.In:
			if !e.Not && e.Query == nil {
				b.narrowSeries(e.X, e.List)
			}
		}
	}
}

// readOf is what is read for a column of a table, and the column; nil for anything else.
func (b *binder) readOf(e tssql.Expr) (*Read, *column) {
	c, ok := e.(*tssql.Column)
	if !ok {
		return nil, nil
	}
	x := b.find(c)
	if x == nil || x.read == 0 {
		return nil, nil
	}
	return &b.co.plan.Reads[x.read-1], x
}

func (b *binder) narrowTime(comparison, e tssql.Expr) {
	r, c := b.readOf(e)
	if r == nil || c.side != aboutSamples || !c.bound.typ.isScalar(Timestamp) {
		return
	}
	for x := range children(comparison) {
		if x != e && b.about(x) != 0 {
			return // no constant
		}
	}
	h := halved{from: r.From, to: r.To}
	if h.readTime(b, comparison) {
		r.From, r.To = h.from, h.to
	}
}

// narrowSeries notes the values that a measure name or a dimension may have.
func (b *binder) narrowSeries(e tssql.Expr, list []tssql.Expr) {
	r, c := b.readOf(e)
	if r == nil || c.side != aboutSeries {
		return
	}
	have, narrowed := r.Dimensions[c.name]
	if c.measure {
		have, narrowed = r.Measures, r.Measures != nil
	}
	values := []string{}
	for _, x := range list {
		value, ok := x.(*tssql.String)
		if !ok {
			return
		}
		if (!narrowed || slices.Contains(have, value.Value)) && !slices.Contains(values, value.Value) {
			values = append(values, value.Value)
		}
	}
	switch {
	case c.measure:
		r.Measures = values
	case r.Dimensions == nil:
		r.Dimensions = map[string][]string{c.name: values}
	default:
		r.Dimensions[c.name] = values
	}
}
