// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"slices"
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
	// noNaN promises that a double is never NaN, and, of a stored value or a literal, that it is not infinite either.
	noNaN bool
	// parameter is set for one that has no value yet; it is a NULL whose type is learned from what it becomes.
	parameter *Parameter
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
		x.noNaN = !math.IsNaN(v) && !math.IsInf(v, 0)
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
	case Varbinary:
		return "BLOB"
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
	// outputs are the select list, which ORDER BY may name while ordering is set; entries is that of a SELECT.
	outputs     []bound
	outputNames []outColumn
	entries     []item
	ordering    bool
	// sliced is the source, or the groups made of it, if each row is about one series.
	sliced *sliced
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
	case *tssql.Parameter:
		return b.co.parameter(e)
	case *tssql.Interval:
		return interval(e.Pos, e.Count, e.Unit)
	case *tssql.Typed:
		return b.typed(e)
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
func (b *binder) namesOutput(c *tssql.Column) bool { return b.output(c) >= 0 }

// output is the place of the first entry of the select list that c, in ORDER BY, is the name of; -1 if it names none.
func (b *binder) output(c *tssql.Column) int {
	if !b.ordering || b.inAggregate != "" || c.Qualifier != "" || b.isParam(c.Name) {
		return -1
	}
	return slices.IndexFunc(b.outputNames, func(o outColumn) bool { return o.name == c.Name })
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
	out := bound{sql: "(- " + x.sql + ")", typ: x.typ, noNaN: x.noNaN}
	if x.typ.isScalar(Double) {
		if v, ok := x.k.(float64); ok {
			return constant(Double, -v)
		}
		return out
	}
	// The least number has no twin.
	least := int64(math.MinInt64)
	if duckType(x.typ) == "INTEGER" {
		least = math.MinInt32
	}
	overflow := "Interval is out of range"
	if rank(x.typ) > 0 {
		overflow = x.typ.String() + " negation overflow: " + strconv.FormatInt(least, 10)
	}
	v, ok := x.k.(int64)
	switch {
	case ok && v != least:
		return constant(x.typ.Scalar, -v)
	case ok && !b.trying:
		fail(e.Pos, "%s", overflow)
	}
	out.sql = "(CASE WHEN " + x.sql + " = " + strconv.FormatInt(least, 10) + " THEN " + b.raise(overflow) + " ELSE - " + x.sql + " END)"
	return out
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

func textual(x bound) bool {
	x.learn(ScalarOf(Varchar))
	return x.typ.isScalar(Varchar) || x.typ.isScalar(Unknown)
}

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
	var text strings.Builder
	for i, x := range xs {
		s, ok := x.k.(string)
		if !ok {
			break
		}
		text.WriteString(s)
		if i == len(xs)-1 {
			// A pattern or a format that is put together is a literal, too.
			return constant(Varchar, text.String())
		}
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
