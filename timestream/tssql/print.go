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
		p.w(QuoteIdent(c.Name), " AS (")
		p.query(c.Query)
		p.w(")")
	}
	if len(q.With) > 0 {
		p.w("\n")
	}
	p.selectBody(q.Body.(*Select))
	for i, o := range q.OrderBy {
		if i == 0 {
			p.w("\nORDER BY ")
		} else {
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
	if q.Limit != nil {
		p.w("\nLIMIT ", strconv.FormatInt(*q.Limit, 10))
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
	switch f := s.From.(type) {
	case *TableRef:
		p.w("\nFROM ")
		p.table(f.Table)
		if f.Alias != "" {
			p.w(" AS ", QuoteIdent(f.Alias))
		}
	case *Subquery:
		p.w("\nFROM (")
		p.query(f.Query)
		p.w(")")
		if f.Alias != "" {
			p.w(" AS ", QuoteIdent(f.Alias))
		}
	}
	if s.Where != nil {
		p.w("\nWHERE ")
		p.expr(s.Where, 0)
	}
	if len(s.GroupBy) > 0 {
		p.w("\nGROUP BY ")
		p.list(s.GroupBy)
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
	case *IsNull, *In, *Between, *Like:
		prec = precCompare
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
		p.list(e.List)
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
	case *Cast:
		if e.Try {
			p.w("TRY_")
		}
		p.w("CAST(")
		p.expr(e.X, 0)
		p.w(" AS ", e.Type, ")")
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
