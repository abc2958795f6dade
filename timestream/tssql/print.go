// SPDX-License-Identifier: Apache-2.0

package tssql

import (
	"strconv"
	"strings"
)

// Print returns the statement as Timestream SQL. Every identifier is quoted (reference: dialect names keep their
// case only for certain when quoted), every literal is escaped here, and parentheses are written where precedence
// asks for them, so that Parse(Print(s)) is s.
func Print(s Statement) string {
	p := &printer{}
	p.statement(s)
	return p.b.String()
}

// PrintExpr returns one expression as Timestream SQL.
func PrintExpr(e Expr) string {
	p := &printer{}
	p.expr(e, 0)
	return p.b.String()
}

// QuoteIdent quotes an identifier: double quotes, an embedded one doubled.
func QuoteIdent(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// QuoteString quotes a string literal: single quotes, an embedded one doubled; a backslash is not special.
func QuoteString(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }

type printer struct{ b strings.Builder }

func (p *printer) w(parts ...string) {
	for _, s := range parts {
		p.b.WriteString(s)
	}
}

func (p *printer) statement(s Statement) {
	switch s := s.(type) {
	case *Query:
		p.query(s)
	case *Describe:
		p.w("DESCRIBE ")
		p.table(s.Table)
	case *Show:
		p.show(s)
	case *Unload:
		p.unload(s)
	}
}

func (p *printer) unload(u *Unload) {
	p.w("UNLOAD (")
	p.query(u.Query)
	p.w(") TO ", QuoteString(u.Place))
	for i, o := range u.Options {
		if i == 0 {
			p.w(" WITH (")
		} else {
			p.w(", ")
		}
		p.w(QuoteIdent(o.Name), " = ")
		if o.List == nil {
			p.w(QuoteString(o.Value))
			continue
		}
		for k, s := range o.List {
			if k == 0 {
				p.w("ARRAY[")
			} else {
				p.w(", ")
			}
			p.w(QuoteString(s))
		}
		p.w("]")
	}
	if len(u.Options) > 0 {
		p.w(")")
	}
}

func (p *printer) show(s *Show) {
	p.w("SHOW ", string(s.What))
	switch {
	case s.From.Name != "":
		p.w(" FROM ")
		p.table(s.From)
	case s.From.Database != "":
		p.w(" FROM ", QuoteIdent(s.From.Database))
	}
	if s.Like != nil {
		p.w(" LIKE ", QuoteString(*s.Like))
	}
	if s.Escape != nil {
		p.w(" ESCAPE ", QuoteString(*s.Escape))
	}
}

func (p *printer) table(t Table) {
	if t.Database != "" {
		p.w(QuoteIdent(t.Database), ".")
	}
	p.w(QuoteIdent(t.Name))
}

func (p *printer) query(q *Query) {
	for i, c := range q.With {
		if i == 0 {
			p.w("WITH ")
		} else {
			p.w(", ")
		}
		p.w(QuoteIdent(c.Name))
		p.columns(c.Columns)
		p.w(" AS (")
		p.query(c.Query)
		p.w(")")
	}
	if len(q.With) > 0 {
		p.w("\n")
	}
	if inner, ok := q.Body.(*Query); ok {
		p.w("(")
		p.query(inner)
		p.w(")")
	} else {
		p.body(q.Body, 0)
	}
	if len(q.OrderBy) > 0 {
		p.w("\nORDER BY ")
		p.order(q.OrderBy)
	}
	if q.Limit != nil {
		p.w("\nLIMIT ", strconv.FormatInt(*q.Limit, 10))
	}
}

// order prints sort keys.
func (p *printer) order(list []OrderItem) {
	for i, o := range list {
		if i > 0 {
			p.w(", ")
		}
		p.expr(o.Expr, 0)
		if o.Desc {
			p.w(" DESC")
		}
		if o.Nulls != "" {
			p.w(" NULLS ", o.Nulls)
		}
	}
}

// columns prints a list of names in parentheses, nothing for none.
func (p *printer) columns(names []string) {
	for i, n := range names {
		if i == 0 {
			p.w(" (")
		} else {
			p.w(", ")
		}
		p.w(QuoteIdent(n))
	}
	if len(names) > 0 {
		p.w(")")
	}
}

// body prints an operand of a set operation; it is put in parentheses when it binds looser than min.
func (p *printer) body(b Body, min int) {
	switch b := b.(type) {
	case *Select:
		p.selectBody(b)
	case *Values:
		p.w("VALUES ")
		p.list(b.Rows)
	case *Query:
		p.w("(")
		p.query(b)
		p.w(")")
	case *SetOperation:
		prec := 1
		if b.Op == "INTERSECT" {
			prec = 2
		}
		if prec < min {
			p.w("(")
			defer p.w(")")
		}
		p.body(b.L, prec)
		p.w("\n", b.Op)
		if b.All {
			p.w(" ALL")
		}
		p.w("\n")
		p.body(b.R, prec+1)
	}
}

// from prints an item of FROM; a join as the right side of another one stands in parentheses.
func (p *printer) from(f FromItem, right bool) {
	alias := func(name string, columns []string) {
		if name != "" {
			p.w(" AS ", QuoteIdent(name))
			p.columns(columns)
		}
	}
	switch f := f.(type) {
	case *TableRef:
		p.table(f.Table)
		alias(f.Alias, f.Columns)
	case *Subquery:
		p.w("(")
		p.query(f.Query)
		p.w(")")
		alias(f.Alias, f.Columns)
	case *Unnest:
		p.w("UNNEST(")
		p.list(f.Lists)
		p.w(")")
		if f.Ordinality {
			p.w(" WITH ORDINALITY")
		}
		alias(f.Alias, f.Columns)
	case *Join:
		if right {
			p.w("(")
			defer p.w(")")
		}
		p.from(f.L, false)
		p.w("\n", f.Kind, " JOIN ")
		p.from(f.R, true)
		if f.On != nil {
			p.w(" ON ")
			p.expr(f.On, 0)
		}
		if f.Using != nil {
			p.w(" USING")
			p.columns(f.Using)
		}
	}
}

func (p *printer) selectBody(s *Select) {
	p.w("SELECT ")
	if s.Distinct {
		p.w("DISTINCT ")
	}
	for i, it := range s.Items {
		if i > 0 {
			p.w(", ")
		}
		if it.Star {
			if it.Qualifier != "" {
				p.w(QuoteIdent(it.Qualifier), ".")
			}
			p.w("*")
			continue
		}
		p.expr(it.Expr, 0)
		if it.Alias != "" {
			p.w(" AS ", QuoteIdent(it.Alias))
		}
	}
	if s.From != nil {
		p.w("\nFROM ")
		p.from(s.From, false)
	}
	if s.Where != nil {
		p.w("\nWHERE ")
		p.expr(s.Where, 0)
	}
	switch {
	case len(s.GroupBy) > 0:
		p.w("\nGROUP BY ")
		p.list(s.GroupBy)
	case s.GroupAll:
		p.w("\nGROUP BY ()")
	}
	if s.Having != nil {
		p.w("\nHAVING ")
		p.expr(s.Having, 0)
	}
}

func (p *printer) list(es []Expr) {
	for i, e := range es {
		if i > 0 {
			p.w(", ")
		}
		p.expr(e, 0)
	}
}

// Precedence, loosest first: OR, AND, NOT, predicates and comparisons, ||, + -, * / %, unary minus, primary.
const (
	precOr = iota + 1
	precAnd
	precNot
	precCompare
	precConcat
	precAdd
	precMul
	precUnary
)

func binaryPrec(op string) int {
	switch op {
	case "OR":
		return precOr
	case "AND":
		return precAnd
	case "||":
		return precConcat
	case "+", "-":
		return precAdd
	case "*", "/", "%":
		return precMul
	}
	return precCompare
}

// expr prints e; it is put in parentheses when it binds looser than min.
func (p *printer) expr(e Expr, min int) {
	prec := precUnary + 1
	switch e := e.(type) {
	case *Binary:
		prec = binaryPrec(e.Op)
	case *Unary:
		prec = precUnary
		if e.Op == "NOT" {
			prec = precNot
		}
	case *IsNull, *In, *Between, *Like, *Quantified:
		prec = precCompare
	case *Lambda:
		prec = precOr
	case *Int:
		if e.Value < 0 {
			prec = precUnary
		}
	case *Interval:
		if e.Count < 0 {
			prec = precUnary
		}
	case *Number:
		if strings.HasPrefix(e.Text, "-") {
			prec = precUnary
		}
	}
	if prec < min {
		p.w("(")
		defer p.w(")")
	}
	switch e := e.(type) {
	case *Column:
		if e.Qualifier != "" {
			p.w(QuoteIdent(e.Qualifier), ".")
		}
		p.w(QuoteIdent(e.Name))
	case *String:
		p.w(QuoteString(e.Value))
	case *Int:
		p.w(strconv.FormatInt(e.Value, 10))
	case *Number:
		p.w(e.Text)
	case *Bool:
		p.w(strings.ToUpper(strconv.FormatBool(e.Value)))
	case *Null:
		p.w("NULL")
	case *Interval:
		p.w(strconv.FormatInt(e.Count, 10), e.Unit)
	case *Typed:
		if unit, ok := strings.CutPrefix(e.Type, "INTERVAL "); ok {
			p.w("INTERVAL ", QuoteString(e.Text), " ", unit)
			return
		}
		p.w(e.Type, " ", QuoteString(e.Text))
	case *Unary:
		if e.Op == "NOT" {
			p.w("NOT ")
			p.expr(e.X, precNot)
			return
		}
		p.w(e.Op)
		var x printer
		x.expr(e.X, precUnary)
		switch first := x.b.String()[0]; {
		case first == '-':
			// Two signs side by side would begin a comment.
			p.w(" ", x.b.String())
		case isDigit(first) || first == '.':
			// The sign would become part of the number.
			p.w("(", x.b.String(), ")")
		default:
			p.w(x.b.String())
		}
	case *Binary:
		right := prec + 1
		left := prec
		if prec == precCompare {
			left = prec + 1
		}
		p.expr(e.L, left)
		p.w(" ", e.Op, " ")
		p.expr(e.R, right)
	case *IsNull:
		p.expr(e.X, precCompare+1)
		p.w(" IS ", not(e.Not), "NULL")
	case *In:
		p.expr(e.X, precCompare+1)
		p.w(" ", not(e.Not), "IN (")
		if e.Query != nil {
			p.query(e.Query)
		} else {
			p.list(e.List)
		}
		p.w(")")
	case *Parameter:
		p.w("@", e.Name)
	case *Quantified:
		p.expr(e.X, precCompare+1)
		p.w(" ", e.Op)
		if e.All {
			p.w(" ALL (")
		} else {
			p.w(" ANY (")
		}
		p.query(e.Query)
		p.w(")")
	case *Exists:
		p.w("EXISTS (")
		p.query(e.Query)
		p.w(")")
	case *Scalar:
		p.w("(")
		p.query(e.Query)
		p.w(")")
	case *Array:
		p.w("ARRAY[")
		p.list(e.Elems)
		p.w("]")
	case *Row:
		p.w("ROW(")
		p.list(e.Elems)
		p.w(")")
	case *Subscript:
		p.expr(e.X, precUnary+1)
		p.w("[")
		p.expr(e.Index, 0)
		p.w("]")
	case *Field:
		if fieldOperand(e.X) {
			p.expr(e.X, 0)
		} else {
			p.w("(")
			p.expr(e.X, 0)
			p.w(")")
		}
		p.w(".", QuoteIdent(e.Name))
	case *Lambda:
		for i, name := range e.Params {
			if i == 0 {
				p.w("(")
			} else {
				p.w(", ")
			}
			p.w(QuoteIdent(name))
		}
		p.w(") -> ")
		p.expr(e.Body, 0)
	case *Extract:
		p.w("EXTRACT(", QuoteIdent(e.Field), " FROM ")
		p.expr(e.X, 0)
		p.w(")")
	case *Between:
		p.expr(e.X, precCompare+1)
		p.w(" ", not(e.Not), "BETWEEN ")
		p.expr(e.Lo, precCompare+1)
		p.w(" AND ")
		p.expr(e.Hi, precCompare+1)
	case *Like:
		p.expr(e.X, precCompare+1)
		p.w(" ", not(e.Not), "LIKE ")
		p.expr(e.Pattern, precCompare+1)
		if e.Escape != nil {
			p.w(" ESCAPE ")
			p.expr(e.Escape, precCompare+1)
		}
	case *Case:
		p.w("CASE")
		if e.Operand != nil {
			p.w(" ")
			p.expr(e.Operand, 0)
		}
		for _, w := range e.Whens {
			p.w(" WHEN ")
			p.expr(w.Cond, 0)
			p.w(" THEN ")
			p.expr(w.Then, 0)
		}
		if e.Else != nil {
			p.w(" ELSE ")
			p.expr(e.Else, 0)
		}
		p.w(" END")
	case *Call:
		p.w(callName(e.Name))
		if len(e.Args) == 0 && !e.Star && bareCall(e.Name) {
			return
		}
		p.w("(")
		switch {
		case e.Star:
			p.w("*")
		case e.Distinct:
			p.w("DISTINCT ")
		}
		p.list(e.Args)
		p.w(")")
		p.window(e.Over)
	case *Cast:
		if e.Try {
			p.w("TRY_")
		}
		p.w("CAST(")
		p.expr(e.X, 0)
		p.w(" AS ", e.Type, ")")
	}
}

// fieldOperand tells whether a point and a name after e are read as its field: after a bare name they make a qualified one, after
// a number they are part of it.
func fieldOperand(e Expr) bool {
	switch e := e.(type) {
	case *Column:
		return e.Qualifier != ""
	case *Field, *Subscript, *Row:
		return true
	}
	return false
}

// window prints OVER (…), nothing without a window.
func (p *printer) window(w *Window) {
	if w == nil {
		return
	}
	p.w(" OVER (")
	sep := ""
	if len(w.PartitionBy) > 0 {
		p.w("PARTITION BY ")
		p.list(w.PartitionBy)
		sep = " "
	}
	if len(w.OrderBy) > 0 {
		p.w(sep, "ORDER BY ")
		p.order(w.OrderBy)
		sep = " "
	}
	if f := w.Frame; f != nil {
		p.w(sep, f.Unit, " BETWEEN ")
		p.frameBound(f.Start)
		p.w(" AND ")
		p.frameBound(f.End)
	}
	p.w(")")
}

func (p *printer) frameBound(b FrameBound) {
	switch {
	case b.N != nil:
		p.expr(b.N, precConcat)
		p.w(" ", b.Where)
	case b.Where == CurrentRow:
		p.w(b.Where)
	default:
		p.w("UNBOUNDED ", b.Where)
	}
}

// bareCall tells whether a function is called without parentheses.
func bareCall(name string) bool {
	switch strings.ToUpper(name) {
	case "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP":
		return true
	}
	return false
}

// callName quotes a function's name where the bare word would begin something else.
func callName(name string) string {
	switch strings.ToUpper(name) {
	case "TRY_CAST", "ARRAY", "ROW", "POSITION":
		return QuoteIdent(name)
	}
	if plainName(name) || bareCall(name) {
		return name
	}
	return QuoteIdent(name)
}

func not(is bool) string {
	if is {
		return "NOT "
	}
	return ""
}
