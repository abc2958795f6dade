// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// compare prints a comparison of two operands of one type. In DuckDB NaN equals itself and is the greatest number, in
// Timestream, as in IEEE 754, it compares with nothing; the plain form, which DuckDB can push into a scan, is kept
// where NaN cannot occur.
func compare(op string, l, r bound) bound {
	sql := "(" + l.sql + " " + op + " " + r.sql + ")"
	if l.typ.isScalar(Double) && (!l.noNaN || !r.noNaN) {
		is := "FALSE"
		if op == "<>" {
			is = "TRUE"
		}
		sql = fmt.Sprintf("(CASE WHEN %[1]s IS NOT NULL AND %[2]s IS NOT NULL AND (isnan(%[1]s) OR isnan(%[2]s)) THEN %[3]s ELSE %[4]s END)",
			l.sql, r.sql, is, sql)
	}
	return bound{sql: sql, typ: ScalarOf(Boolean)}
}

func (b *binder) in(e *tssql.In) bound {
	x := b.expr(e.X)
	if e.Query != nil {
		return b.inQuery(e, x)
	}
	all := []bound{x}
	for _, o := range e.List {
		all = append(all, b.expr(o))
	}
	t, ok := comparison(all...)
	if !ok {
		fail(e.Pos, "IN value and list items must be the same type: %s", x.typ)
	}
	parts := make([]string, len(e.List))
	exact := true
	for i := range all {
		at := e.X.Position()
		if i > 0 {
			at = e.List[i-1].Position()
		}
		all[i] = coerce(all[i], t, at)
		exact = exact && (all[i].noNaN || !t.isScalar(Double))
		if i > 0 {
			parts[i-1] = all[i].sql
		}
	}
	var sql string
	if exact {
		sql = "(" + all[0].sql + " IN (" + strings.Join(parts, ", ") + "))"
	} else {
		for i := range parts {
			parts[i] = compare("=", all[0], all[i+1]).sql
		}
		sql = "(" + strings.Join(parts, " OR ") + ")"
	}
	return negated(sql, e.Not)
}

func negated(sql string, not bool) bound {
	if not {
		sql = "(NOT " + sql + ")"
	}
	return bound{sql: sql, typ: ScalarOf(Boolean)}
}

func (b *binder) between(e *tssql.Between) bound {
	x, lo, hi := b.expr(e.X), b.expr(e.Lo), b.expr(e.Hi)
	t, ok := comparison(x, lo, hi)
	if !ok {
		fail(e.Pos, "Cannot check if %s is BETWEEN %s and %s", x.typ, lo.typ, hi.typ)
	}
	x, lo, hi = coerce(x, t, e.X.Position()), coerce(lo, t, e.Lo.Position()), coerce(hi, t, e.Hi.Position())
	sql := "(" + x.sql + " BETWEEN " + lo.sql + " AND " + hi.sql + ")"
	if t.isScalar(Double) && (!x.noNaN || !lo.noNaN || !hi.noNaN) {
		sql = "(" + compare(">=", x, lo).sql + " AND " + compare("<=", x, hi).sql + ")"
	}
	return negated(sql, e.Not)
}

func (b *binder) like(e *tssql.Like) bound {
	part := func(x tssql.Expr, what string) bound {
		v := b.expr(x)
		if !textual(v) {
			fail(x.Position(), "%s must evaluate to a varchar (actual: %s)", what, v.typ)
		}
		return coerce(v, ScalarOf(Varchar), x.Position())
	}
	x, pattern := part(e.X, "Left side of LIKE expression"), part(e.Pattern, "Pattern for LIKE expression")
	if e.Escape == nil {
		return negated("("+x.sql+" LIKE "+pattern.sql+")", e.Not)
	}
	escape := part(e.Escape, "Escape for LIKE expression")
	const oneCharacter, special = "Escape string must be a single character", "Escape character must be followed by '%', '_' or the escape character itself"
	c, known := escape.k.(string)
	if known && utf8.RuneCountInString(c) != 1 {
		fail(e.Escape.Position(), "%s", oneCharacter)
	}
	p, literal := pattern.k.(string)
	sql := "(" + x.sql + " LIKE " + pattern.sql + " ESCAPE " + escape.sql + ")"
	switch {
	case known && literal && strings.Contains(strings.NewReplacer(c+c, "", c+"%", "", c+"_", "").Replace(p), c):
		fail(e.Pattern.Position(), "%s", special)
	case !known || !literal:
		// What remains of the pattern without the pairs that begin with it.
		rest := "replace(replace(replace(" + pattern.sql + ", " + escape.sql + " || " + escape.sql + ", ''), " + escape.sql + " || '%', ''), " + escape.sql + " || '_', '')"
		sql = "(CASE WHEN length(" + escape.sql + ") <> 1 THEN " + b.raise(oneCharacter) + " WHEN contains(" + rest + ", " + escape.sql + ") THEN " + b.raise(special) + " ELSE " + sql + " END)"
	}
	return negated(sql, e.Not)
}

func (b *binder) caseExpr(e *tssql.Case) bound {
	var sql strings.Builder
	sql.WriteString("(CASE")
	var conds, results []bound
	if e.Operand != nil {
		conds = append(conds, b.expr(e.Operand))
	}
	for _, w := range e.Whens {
		c := b.expr(w.Cond)
		if e.Operand == nil {
			c = b.boolean(c, w.Cond.Position(), "CASE WHEN clause must evaluate to a boolean (actual: %s)")
		}
		conds = append(conds, c)
		results = append(results, b.expr(w.Then))
	}
	if e.Else != nil {
		results = append(results, b.expr(e.Else))
	}
	if e.Operand != nil {
		t, ok := comparison(conds...)
		if !ok {
			fail(e.Pos, "CASE operand type does not match WHEN clause operand type: %s", conds[0].typ)
		}
		for i := range conds {
			conds[i] = coerce(conds[i], t, e.Pos)
		}
		for i := 1; i < len(conds); i++ {
			conds[i] = compare("=", conds[0], conds[i])
		}
		conds = conds[1:]
	}
	t, ok := common(results...)
	if !ok {
		fail(e.Pos, "All CASE results must be the same type: %s", results[0].typ)
	}
	noNaN := true
	for i := range results {
		results[i] = coerce(results[i], t, e.Pos)
		noNaN = noNaN && results[i].noNaN
	}
	for i := range conds {
		sql.WriteString(" WHEN " + conds[i].sql + " THEN " + results[i].sql)
	}
	if e.Else != nil {
		sql.WriteString(" ELSE " + results[len(results)-1].sql)
	}
	sql.WriteString(" END)")
	return bound{sql: sql.String(), typ: t, noNaN: noNaN}
}
