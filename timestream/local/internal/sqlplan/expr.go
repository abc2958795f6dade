// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// bound is an expression with its type and its DuckDB text, which stands for itself anywhere (composites are in
// parentheses or calls).
type bound struct {
	sql string
	typ Type
	// k is the value of a constant: int64 for whole numbers, times and intervals, float64, string, bool. It is nil for what
	// is not constant or not known here. A NULL literal has none; its type is unknown.
	k any
	// noNaN promises that a double is never NaN.
	noNaN bool
}

func (x bound) isConst() bool { return x.k != nil || x.typ.Scalar == Unknown }

// constant returns a literal of a type.
func constant(t Scalar, k any) bound {
	x := bound{typ: ScalarOf(t), k: k, noNaN: true}
	switch v := k.(type) {
	case int64:
		if v == math.MinInt64 {
			x.sql = "CAST('-9223372036854775808' AS BIGINT)"
		} else {
			x.sql = "CAST(" + strconv.FormatInt(v, 10) + " AS " + duckType(x.typ) + ")"
		}
	case float64:
		x.noNaN = v == v
		x.sql = "CAST('" + strconv.FormatFloat(v, 'g', -1, 64) + "' AS DOUBLE)"
	case string:
		x.sql = quote(v)
	case bool:
		x.sql = strings.ToUpper(strconv.FormatBool(v))
	}
	return x
}

// quote prints a string literal for DuckDB; it is the only place where text of a user enters DuckDB's SQL. A backslash
// is an ordinary character there too. A NUL would end the statement, so it is spelled.
func quote(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.IndexByte(q, 0) >= 0 {
		q = "(" + strings.ReplaceAll(q, "\x00", "' || chr(0) || '") + ")"
	}
	return q
}

// duckType names the DuckDB type that holds a type.
func duckType(t Type) string {
	switch {
	case t.Series != nil:
		return duckType(point(*t.Series)) + "[]"
	case t.Array != nil:
		return duckType(*t.Array) + "[]"
	case t.Row != nil:
		fields := make([]string, len(t.Row))
		for i, f := range t.Row {
			fields[i] = fieldKey(t, i) + " " + duckType(f.Type)
		}
		return "STRUCT(" + strings.Join(fields, ", ") + ")"
	}
	switch t.Scalar {
	case Varchar:
		return "VARCHAR"
	case Boolean:
		return "BOOLEAN"
	case Double:
		return "DOUBLE"
	case Integer, Date, YearMonth:
		return "INTEGER"
	}
	return "BIGINT"
}

// binder binds expressions over one source.
type binder struct {
	co      *compiler
	prefix  string
	columns []column
	// halves are those of the table that is the source, nil where it is something else.
	halves Halves
	// scope holds the common table expressions that subqueries of expressions see; outer binds the query around this one when
	// it stands in an expression; depth is that of the deepest query below.
	scope *ctes
	outer *binder
	depth int
	// params are the parameters of the lambdas around the expression, the innermost last.
	params []param
	// over is what follows an aggregate in DuckDB while the arguments of a window function are bound; inWindow is its name.
	over     string
	inWindow string
	// trying is set inside of TRY, where errors are NULLs.
	trying bool
	// group is set in a grouped query; then expressions are over the inner query, but for the arguments of aggregates.
	group       *grouping
	inAggregate string
	// outputs are the select list, which ORDER BY may name while ordering is set.
	outputs     []bound
	outputNames []outColumn
	ordering    bool
	// clause is the whole expression being bound, which is what Trino names when a part of it is not grouped.
	clause tssql.Expr
}

// top binds a whole expression of a clause.
func (b *binder) top(e tssql.Expr) bound {
	b.clause = e
	return b.expr(e)
}

// condition binds a WHERE or HAVING clause.
func (b *binder) condition(e tssql.Expr, message string) bound {
	return b.boolean(b.top(e), e.Position(), message)
}

// boolean checks that x is boolean; message has a place for the type it is.
func (b *binder) boolean(x bound, at tssql.Pos, message string) bound {
	if !x.typ.isScalar(Boolean) && !x.typ.isScalar(Unknown) {
		fail(at, message, x.typ)
	}
	return coerce(x, ScalarOf(Boolean), at)
}

// ungrouped binds an expression over the source of a grouped query.
func (b *binder) ungrouped(e tssql.Expr) bound {
	group := b.group
	b.group = nil
	x := b.top(e)
	b.group = group
	return x
}

func (b *binder) expr(e tssql.Expr) bound {
	x := b.node(e)
	if len(x.sql) > b.co.maxSQL {
		fail(e.Position(), "expression is too large")
	}
	return x
}

func (b *binder) node(e tssql.Expr) bound {
	if k := b.key(e); k != nil {
		return k.out
	}
	switch e := e.(type) {
	case *tssql.Column:
		return b.columnRef(e)
	case *tssql.String:
		return constant(Varchar, e.Value)
	case *tssql.Int:
		if e.Value >= math.MinInt32 && e.Value <= math.MaxInt32 {
			return constant(Integer, e.Value)
		}
		return constant(Bigint, e.Value)
	case *tssql.Number:
		v, err := strconv.ParseFloat(e.Text, 64)
		if err != nil {
			fail(e.Pos, "Invalid numeric literal: %s", e.Text)
		}
		return constant(Double, v)
	case *tssql.Bool:
		return constant(Boolean, e.Value)
	case *tssql.Null:
		return bound{sql: "NULL", typ: ScalarOf(Unknown)}
	case *tssql.Interval:
		return interval(e.Pos, e.Count, e.Unit)
	case *tssql.Typed:
		return typed(e)
	case *tssql.Unary:
		return b.unary(e)
	case *tssql.Binary:
		return b.binary(e)
	case *tssql.IsNull:
		x := b.expr(e.X)
		if e.Not {
			return bound{sql: "(" + x.sql + " IS NOT NULL)", typ: ScalarOf(Boolean)}
		}
		return bound{sql: "(" + x.sql + " IS NULL)", typ: ScalarOf(Boolean)}
	case *tssql.In:
		return b.in(e)
	case *tssql.Between:
		return b.between(e)
	case *tssql.Like:
		return b.like(e)
	case *tssql.Case:
		return b.caseExpr(e)
	case *tssql.Call:
		return b.call(e)
	case *tssql.Cast:
		return b.cast(e)
	case *tssql.Scalar:
		return b.scalar(e)
	case *tssql.Exists:
		q := b.subquery(e.Pos, e.Query)
		return bound{sql: "(EXISTS (" + q.sql + "))", typ: ScalarOf(Boolean)}
	case *tssql.Quantified:
		return b.quantified(e)
	case *tssql.Array:
		return b.array(e)
	case *tssql.Row:
		return b.row(e)
	case *tssql.Subscript:
		return b.subscript(e)
	case *tssql.Field:
		return b.field(e)
	case *tssql.Extract:
		return b.extract(e)
	case *tssql.Lambda:
		fail(e.Pos, "Lambda expression should always be used inside a function")
	}
	fail(e.Position(), "This kind of expression is not supported")
	return bound{}
}

// key returns the key of the group that e is, nil for other expressions.
func (b *binder) key(e tssql.Expr) *groupKey {
	if b.group == nil || b.inAggregate != "" {
		return nil
	}
	if c, ok := e.(*tssql.Column); ok && b.namesOutput(c) {
		return nil
	}
	if len(b.params) > 0 && b.mentionsParam(e) {
		return nil
	}
	for i := range b.group.keys {
		if b.same(b.group.keys[i].expr, e) {
			return &b.group.keys[i]
		}
	}
	return nil
}

// find finds a column of the source by name, which is matched as it is written; nil for none.
func (b *binder) find(c *tssql.Column) *column {
	var found *column
	for i := range b.columns {
		x := &b.columns[i]
		if x.name != c.Name || (c.Qualifier != "" && x.qualifier != c.Qualifier) {
			continue
		}
		if found != nil {
			fail(c.Pos, "Column '%s' is ambiguous", c.Name)
		}
		found = x
	}
	return found
}

// namesOutput tells whether c, in ORDER BY, is an entry of the select list.
func (b *binder) namesOutput(c *tssql.Column) bool {
	if !b.ordering || b.inAggregate != "" || c.Qualifier != "" || b.isParam(c.Name) {
		return false
	}
	for _, o := range b.outputNames {
		if o.name == c.Name {
			return true
		}
	}
	return false
}

func (b *binder) columnRef(c *tssql.Column) bound {
	if b.namesOutput(c) {
		found := -1
		for i, o := range b.outputNames {
			if o.name != c.Name {
				continue
			}
			if found >= 0 && b.outputs[found].sql != b.outputs[i].sql {
				fail(c.Pos, "Column '%s' is ambiguous", c.Name)
			}
			found = i
		}
		return b.outputs[found]
	}
	if x, ok := b.paramRef(c); ok {
		return x
	}
	x := b.find(c)
	if x == nil {
		return b.beyond(c)
	}
	if b.group != nil && b.inAggregate == "" {
		text := tssql.PrintExpr(b.clause)
		if whole, ok := b.clause.(*tssql.Column); ok {
			text = whole.Name
		}
		fail(b.clause.Position(), "'%s' must be an aggregate expression or appear in GROUP BY clause", text)
	}
	return x.bound
}

// beyond resolves a name that is no column of the source: a field of a column, or what the query around this one knows.
func (b *binder) beyond(c *tssql.Column) bound {
	if c.Qualifier != "" {
		row := &tssql.Column{Pos: c.Pos, Name: c.Qualifier}
		if x := b.find(row); x != nil && x.bound.typ.Row != nil {
			return fieldOf(c.Pos, b.node(row), c.Name)
		}
	}
	if b.outer != nil && b.outer.knows(c) {
		return b.outer.node(c)
	}
	name := c.Name
	if c.Qualifier != "" {
		name = c.Qualifier + "." + name
	}
	fail(c.Pos, "Column '%s' does not exist", name)
	return bound{}
}

// knows tells whether a name means something here or in a query around.
func (b *binder) knows(c *tssql.Column) bool {
	if b.find(c) != nil {
		return true
	}
	if c.Qualifier != "" {
		if x := b.find(&tssql.Column{Pos: c.Pos, Name: c.Qualifier}); x != nil && x.bound.typ.Row != nil {
			return true
		}
	}
	return b.outer != nil && b.outer.knows(c)
}

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

func (b *binder) unary(e *tssql.Unary) bound {
	x := b.expr(e.X)
	if e.Op == "NOT" {
		x = b.boolean(x, e.X.Position(), "Value of logical NOT expression must evaluate to a boolean (actual: %s)")
		return bound{sql: "(NOT " + x.sql + ")", typ: ScalarOf(Boolean)}
	}
	switch x.typ.Scalar {
	case Integer, Bigint, Double, DayTime, YearMonth:
	case Unknown:
		return x
	default:
		fail(e.Pos, "'-' cannot be applied to %s", x.typ)
	}
	switch v := x.k.(type) {
	case float64:
		return constant(Double, -v)
	case int64:
		if v != math.MinInt64 && (duckType(x.typ) == "BIGINT" || v != math.MinInt32) {
			return constant(x.typ.Scalar, -v)
		}
	}
	return bound{sql: "(- " + x.sql + ")", typ: x.typ, noNaN: x.noNaN}
}

func (b *binder) binary(e *tssql.Binary) bound {
	switch e.Op {
	case "AND", "OR":
		return b.logical(e)
	case "=", "<>", "<", "<=", ">", ">=":
		l, r := b.expr(e.L), b.expr(e.R)
		t, ok := comparison(l, r)
		if !ok {
			fail(e.Pos, "'%s' cannot be applied to %s, %s", e.Op, l.typ, r.typ)
		}
		return compare(e.Op, coerce(l, t, e.L.Position()), coerce(r, t, e.R.Position()))
	case "||":
		return b.joined(e)
	}
	return b.arithmetic(e.Pos, e.Op, b.expr(e.L), b.expr(e.R))
}

func textual(x bound) bool { return x.typ.isScalar(Varchar) || x.typ.isScalar(Unknown) }

// joined binds a || b || c. Keys that order series are as long as a table has columns, so the chain is bound in one step; a part
// from its start may be a key of the group.
func (b *binder) joined(e *tssql.Binary) bound {
	chain := []*tssql.Binary{e}
	left := e.L
	for {
		l, ok := left.(*tssql.Binary)
		if !ok || l.Op != "||" || b.key(l) != nil {
			break
		}
		chain = append(chain, l)
		left = l.L
	}
	operands := []bound{b.expr(left)}
	if operands[0].typ.Array != nil {
		x := operands[0]
		for i := len(chain) - 1; i >= 0; i-- {
			x = b.joinArrays(chain[i].Pos, x, b.expr(chain[i].R))
		}
		return x
	}
	total := len(operands[0].sql)
	for i := len(chain) - 1; i >= 0; i-- {
		l, r := operands[len(operands)-1], b.expr(chain[i].R)
		if r.typ.Array != nil && i == len(chain)-1 {
			x := b.joinArrays(chain[i].Pos, l, r)
			for i--; i >= 0; i-- {
				x = b.joinArrays(chain[i].Pos, x, b.expr(chain[i].R))
			}
			return x
		}
		if !textual(l) || !textual(r) {
			fail(chain[i].Pos, "'||' cannot be applied to %s, %s", l.typ, r.typ)
		}
		if total += len(r.sql); total > b.co.maxSQL {
			fail(e.Pos, "expression is too large")
		}
		operands = append(operands, r)
	}
	for i := range operands {
		operands[i] = coerce(operands[i], ScalarOf(Varchar), e.Pos)
	}
	return concat(operands...)
}

// concat joins texts. It is printed as a tree of little depth, which DuckDB bounds.
func concat(xs ...bound) bound {
	if len(xs) == 1 {
		return xs[0]
	}
	half := len(xs) / 2
	if len(xs) <= 8 {
		half = len(xs) - 1
	}
	return bound{sql: "(" + concat(xs[:half]...).sql + " || " + concat(xs[half:]...).sql + ")", typ: ScalarOf(Varchar)}
}

// logical prints a chain of AND or OR flat: planners write thousands of operands, and DuckDB bounds the depth.
func (b *binder) logical(e *tssql.Binary) bound {
	operands := chain(e)
	parts := make([]string, len(operands))
	total := 0
	for i, o := range operands {
		side := "Right"
		if i == 0 {
			side = "Left"
		}
		x := b.boolean(b.expr(o), o.Position(), side+" side of logical expression must evaluate to a boolean (actual: %s)")
		parts[i] = x.sql
		if total += len(x.sql); total > b.co.maxSQL {
			fail(e.Pos, "expression is too large")
		}
	}
	return bound{sql: "(" + strings.Join(parts, " "+e.Op+" ") + ")", typ: ScalarOf(Boolean)}
}

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
	x := part(e.X, "Left side of LIKE expression")
	sql := "(" + x.sql + " LIKE " + part(e.Pattern, "Pattern for LIKE expression").sql
	if e.Escape != nil {
		escape := part(e.Escape, "Escape for LIKE expression")
		if s, ok := escape.k.(string); ok && len([]rune(s)) != 1 {
			fail(e.Escape.Position(), "Escape string must be a single character")
		}
		sql += " ESCAPE " + escape.sql
	}
	return negated(sql+")", e.Not)
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
