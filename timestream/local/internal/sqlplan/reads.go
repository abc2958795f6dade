// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"slices"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// narrow notes what a WHERE clause says of the records that its tables are read for: comparisons of the time with constants, and measure names that
// are named.
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
				b.narrowMeasures(e.L, []tssql.Expr{e.R})
				b.narrowMeasures(e.R, []tssql.Expr{e.L})
			}
			b.narrowTime(e, e.L)
			b.narrowTime(e, e.R)
		case *tssql.In:
			if !e.Not && e.Query == nil {
				b.narrowMeasures(e.X, e.List)
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

func (b *binder) narrowMeasures(e tssql.Expr, list []tssql.Expr) {
	r, c := b.readOf(e)
	if r == nil || !c.measure {
		return
	}
	names := []string{}
	for _, x := range list {
		name, ok := x.(*tssql.String)
		if !ok {
			return
		}
		if (r.Measures == nil || slices.Contains(r.Measures, name.Value)) && !slices.Contains(names, name.Value) {
			names = append(names, name.Value)
		}
	}
	r.Measures = names
}
