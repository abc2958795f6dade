// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// same tells whether two expressions are the same one: positions, the case of function names and needless qualifiers do
// not count.
func (b *binder) same(x, y tssql.Expr) bool {
	switch x := x.(type) {
	case *tssql.Column:
		y, ok := y.(*tssql.Column)
		if !ok || x.Name != y.Name {
			return false
		}
		if l, r := b.find(x), b.find(y); l != nil || r != nil {
			return l == r
		}
		return x.Qualifier == y.Qualifier
	case *tssql.String:
		y, ok := y.(*tssql.String)
		return ok && x.Value == y.Value
	case *tssql.Int:
		y, ok := y.(*tssql.Int)
		return ok && x.Value == y.Value
	case *tssql.Number:
		y, ok := y.(*tssql.Number)
		return ok && x.Text == y.Text
	case *tssql.Bool:
		y, ok := y.(*tssql.Bool)
		return ok && x.Value == y.Value
	case *tssql.Null:
		_, ok := y.(*tssql.Null)
		return ok
	case *tssql.Parameter:
		y, ok := y.(*tssql.Parameter)
		return ok && x.Name == y.Name
	case *tssql.Interval:
		y, ok := y.(*tssql.Interval)
		return ok && x.Count == y.Count && strings.EqualFold(x.Unit, y.Unit)
	case *tssql.Typed:
		y, ok := y.(*tssql.Typed)
		return ok && strings.EqualFold(x.Type, y.Type) && x.Text == y.Text
	case *tssql.Unary:
		y, ok := y.(*tssql.Unary)
		return ok && x.Op == y.Op && b.same(x.X, y.X)
	case *tssql.Binary:
		y, ok := y.(*tssql.Binary)
		return ok && x.Op == y.Op && b.sameChildren(x, y)
	case *tssql.IsNull:
		y, ok := y.(*tssql.IsNull)
		return ok && x.Not == y.Not && b.sameChildren(x, y)
	case *tssql.In:
		y, ok := y.(*tssql.In)
		return ok && x.Query == nil && y.Query == nil && x.Not == y.Not && b.sameChildren(x, y)
	case *tssql.Between:
		y, ok := y.(*tssql.Between)
		return ok && x.Not == y.Not && b.sameChildren(x, y)
	case *tssql.Like:
		y, ok := y.(*tssql.Like)
		return ok && x.Not == y.Not && b.sameChildren(x, y)
	case *tssql.Case:
		y, ok := y.(*tssql.Case)
		return ok && (x.Operand == nil) == (y.Operand == nil) && len(x.Whens) == len(y.Whens) && b.sameChildren(x, y)
	case *tssql.Call:
		y, ok := y.(*tssql.Call)
		if ok && (x.Over != nil || y.Over != nil) {
			return tssql.PrintExpr(x) == tssql.PrintExpr(y)
		}
		return ok && strings.EqualFold(x.Name, y.Name) && x.Star == y.Star && x.Distinct == y.Distinct && b.sameChildren(x, y)
	case *tssql.Array:
		y, ok := y.(*tssql.Array)
		return ok && b.sameChildren(x, y)
	case *tssql.Row:
		y, ok := y.(*tssql.Row)
		return ok && b.sameChildren(x, y)
	case *tssql.Subscript:
		y, ok := y.(*tssql.Subscript)
		return ok && b.sameChildren(x, y)
	case *tssql.Field:
		y, ok := y.(*tssql.Field)
		return ok && x.Name == y.Name && b.sameChildren(x, y)
	case *tssql.Extract:
		y, ok := y.(*tssql.Extract)
		return ok && strings.EqualFold(x.Field, y.Field) && b.sameChildren(x, y)
	case *tssql.Lambda:
		y, ok := y.(*tssql.Lambda)
		return ok && tssql.PrintExpr(x) == tssql.PrintExpr(y)
	case *tssql.Cast:
		y, ok := y.(*tssql.Cast)
		return ok && x.Try == y.Try && strings.EqualFold(x.Type, y.Type) && b.same(x.X, y.X)
	}
	return false
}

func (b *binder) sameChildren(x, y tssql.Expr) bool {
	var xs, ys []tssql.Expr
	for c := range children(x) {
		xs = append(xs, c)
	}
	for c := range children(y) {
		ys = append(ys, c)
	}
	if len(xs) != len(ys) {
		return false
	}
	for i := range xs {
		if !b.same(xs[i], ys[i]) {
			return false
		}
	}
	return true
}
