// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// order sorts the rows as labels.Compare does. Rows with dimensions that were not asked for come first of all, so that nothing
// is given out before they are seen; then those with packed labels, which the service cannot sort.
func (b *builder) order(d *draft, p projection, then tssql.Expr) {
	if b.options.Unsorted {
		return
	}
	d.Sorted = true
	by := func(e tssql.Expr) { d.Query.OrderBy = append(d.Query.OrderBy, tssql.OrderItem{Expr: e}) }
	if p.rest {
		d.Query.OrderBy = append(d.Query.OrderBy, tssql.OrderItem{Expr: column(restAlias), Desc: true})
	}
	if slices.Contains(p.dims, promschema.PackedDimension(0)) {
		by(&tssql.Case{Whens: []tssql.When{{Cond: &tssql.IsNull{X: column(promschema.PackedDimension(0))}, Then: &tssql.Int{Value: 1}}}, Else: &tssql.Int{}})
	}
	var ls []sortLabel
	for _, name := range p.dims {
		if promschema.CanBeColumn(name) {
			ls = append(ls, sortLabel{name, column(name)})
		}
	}
	ls = append(ls, sortLabel{model.MetricNameLabel, p.metric})
	slices.SortFunc(ls, func(a, b sortLabel) int { return strings.Compare(a.name, b.name) })
	if len(ls) <= maxRanked {
		for _, e := range ranks(ls) {
			by(e)
		}
	} else {
		by(sortText(ls))
	}
	if then != nil {
		by(then)
	}
}

// sortLabel is a label by which rows are sorted. The metric's name, which every row has, is nil when all have the same.
type sortLabel struct {
	name  string
	value tssql.Expr
}

// maxRanked is how many labels are sorted by their ranks. That is three times as fast as by one text, but grows with the square of
// their number.
const maxRanked = 16

// ranks returns the sort keys of labels in the order of their names: of two rows, the one that has the label comes before the one
// whose next label is a later one, and after the one that has none left.
func ranks(ls []sortLabel) []tssql.Expr {
	var keys []tssql.Expr
	for i, l := range ls {
		if l.name == model.MetricNameLabel {
			if l.value != nil {
				keys = append(keys, l.value)
			}
			continue
		}
		var later []tssql.Expr
		named := false
		for _, o := range ls[i+1:] {
			named = named || o.name == model.MetricNameLabel
			later = append(later, o.value)
		}
		rank := &tssql.Case{Whens: []tssql.When{{Cond: &tssql.IsNull{X: l.value, Not: true}, Then: &tssql.Int{Value: 1}}}, Else: &tssql.Int{Value: 2}}
		switch {
		case named:
		case len(later) == 0:
			rank.Else = &tssql.Int{}
		case len(later) == 1:
			rank.Whens = append(rank.Whens, tssql.When{Cond: &tssql.IsNull{X: later[0]}, Then: &tssql.Int{}})
		default:
			rank.Whens = append(rank.Whens, tssql.When{Cond: &tssql.IsNull{X: &tssql.Call{Name: "coalesce", Args: later}}, Then: &tssql.Int{}})
		}
		keys = append(keys, rank, l.value)
	}
	return keys
}

// sortText returns one sort key: the text `name NUL value NUL name NUL value NUL …`. It has the order of labels, since no name has
// a NUL; where values have some, the reader of the rows finds them out of order.
func sortText(ls []sortLabel) tssql.Expr {
	var key tssql.Expr
	for _, l := range ls {
		nul := &tssql.Call{Name: "chr", Args: []tssql.Expr{&tssql.Int{}}}
		value := l.value
		if value == nil {
			value = text("") // all have the same, but it still stands between other labels
		}
		var piece tssql.Expr = binary("||", binary("||", binary("||", text(l.name), nul), value), nul) //nolint:staticcheck // an Expr, for the call below
		if l.name != model.MetricNameLabel {
			piece = &tssql.Call{Name: "coalesce", Args: []tssql.Expr{piece, text("")}}
		}
		if key == nil {
			key = piece
		} else {
			key = binary("||", key, piece)
		}
	}
	return key
}
