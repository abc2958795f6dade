// SPDX-License-Identifier: Apache-2.0

package tssql

import (
	"fmt"
	"strings"
)

// maxDepth bounds how deep expressions and queries nest. A chain of one of AND, OR and || counts as one level, because planners
// write long ones. The service's own bound is not documented.
const maxDepth = 400

// Error is a statement that cannot be read: broken syntax when Message is empty, else something that the dialect has
// or might have and this package does not follow, or a literal out of range.
type Error struct {
	Pos
	Message string
}

// Error returns the service's text: `The query syntax is invalid at line 1:8`, or `line 1:8: ` and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("The query syntax is invalid at line %d:%d", e.Line, e.Col)
	}
	return fmt.Sprintf("line %d:%d: %s", e.Line, e.Col, e.Message)
}

// Parse reads one statement, with at most one semicolon after it. Every error is an *Error.
func Parse(text string) (s Statement, err error) {
	p := &parser{tokens: lex(text)}
	defer func() {
		// The parser gives up by panicking with its own error type; anything else is a bug and goes on.
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			s, err = nil, e
		}
	}()
	s = p.statement()
	p.accept(";")
	if p.peek().kind != kEOF {
		p.fail()
	}
	return s, nil
}

type parser struct {
	tokens []token
	i      int
	depth  int
}

func (p *parser) peek() token { return p.ahead(0) }

func (p *parser) ahead(n int) token {
	if p.i+n < len(p.tokens) {
		return p.tokens[p.i+n]
	}
	return p.tokens[len(p.tokens)-1]
}

func (p *parser) next() token {
	t := p.peek()
	if p.i < len(p.tokens)-1 {
		p.i++
	}
	return t
}

// fail reports the syntax as wrong at the next token.
func (p *parser) fail() { panic(&Error{Pos: p.peek().pos}) }

// unsupported reports something that this package does not follow.
func (p *parser) unsupported(at Pos, what string) {
	panic(&Error{Pos: at, Message: what + " not supported"})
}

func (p *parser) accept(s string) bool {
	if p.peek().is(s) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(s string) {
	if !p.accept(s) {
		p.fail()
	}
}

// enter guards recursion; leave undoes it.
func (p *parser) enter() {
	if p.depth++; p.depth > maxDepth {
		panic(&Error{Pos: p.peek().pos, Message: "statement is nested too deeply"})
	}
}

func (p *parser) leave() { p.depth-- }

// isName tells whether t can be an identifier.
func isName(t token) bool { return t.kind == kQuoted || (t.kind == kWord && !reserved(t.text)) }

func (p *parser) name() token {
	if !isName(p.peek()) {
		p.fail()
	}
	return p.next()
}

func (p *parser) statement() Statement {
	t := p.peek()
	switch {
	case t.is("DESCRIBE"), t.is("DESC"):
		p.next()
		return &Describe{Pos: t.pos, Table: p.table()}
	case t.is("SHOW"):
		return p.show()
	case t.is("UNLOAD"):
		return p.unload()
	}
	return p.query()
}

func (p *parser) unload() *Unload {
	u := &Unload{Pos: p.next().pos}
	p.expect("(")
	u.Query = p.query()
	p.expect(")")
	p.expect("TO")
	u.To = p.peek().pos
	u.Place = *p.stringLiteral()
	if !p.accept("WITH") {
		return u
	}
	p.expect("(")
	for more := true; more; more = p.accept(",") {
		name := p.name()
		o := UnloadOption{Pos: name.pos, Name: name.text}
		p.expect("=")
		if p.accept("ARRAY") {
			p.expect("[")
			for more := true; more; more = p.accept(",") {
				o.List = append(o.List, *p.stringLiteral())
			}
			p.expect("]")
		} else {
			o.Value = *p.stringLiteral()
		}
		u.Options = append(u.Options, o)
	}
	p.expect(")")
	return u
}

func (p *parser) show() *Show {
	s := &Show{Pos: p.next().pos}
	switch {
	case p.accept("DATABASES"):
		s.What = ShowDatabases
	case p.accept("TABLES"):
		s.What = ShowTables
		if p.accept("FROM") || p.accept("IN") {
			t := p.name()
			s.From = Table{Pos: t.pos, Database: t.text}
		}
	case p.accept("MEASURES"):
		s.What = ShowMeasures
		if !p.accept("IN") {
			p.expect("FROM")
		}
		s.From = p.table()
	default:
		p.fail()
	}
	if p.accept("LIKE") {
		s.Like = p.stringLiteral()
		if p.accept("ESCAPE") {
			s.Escape = p.stringLiteral()
		}
	}
	return s
}

func (p *parser) stringLiteral() *string {
	if p.peek().kind != kString {
		p.fail()
	}
	s := p.next().text
	return &s
}

func (p *parser) table() Table {
	first := p.name()
	if !p.accept(".") {
		return Table{Pos: first.pos, Name: first.text}
	}
	return Table{Pos: first.pos, Database: first.text, Name: p.name().text}
}

func (p *parser) query() *Query {
	p.enter()
	defer p.leave()
	q := &Query{Pos: p.peek().pos}
	if p.accept("WITH") {
		if t := p.peek(); t.is("RECURSIVE") {
			p.unsupported(t.pos, "WITH RECURSIVE is")
		}
		for more := true; more; more = p.accept(",") {
			name := p.name()
			c := CTE{Pos: name.pos, Name: name.text, Columns: p.columnNames()}
			p.expect("AS")
			p.expect("(")
			c.Query = p.query()
			p.expect(")")
			q.With = append(q.With, c)
		}
	}
	return p.rest(q, p.term())
}

// rest reads what may follow the first operand of a query: set operations, ORDER BY and LIMIT.
func (p *parser) rest(q *Query, body Body) *Query {
	q.Body = p.union(body)
	if p.accept("ORDER") {
		p.expect("BY")
		q.OrderBy = p.orderItems()
	}
	if t := p.peek(); t.is("OFFSET") || t.is("FETCH") || t.is("WINDOW") {
		p.unsupported(t.pos, strings.ToUpper(t.text)+" is")
	}
	if p.accept("LIMIT") && !p.accept("ALL") {
		t := p.peek()
		if t.kind != kInt {
			p.fail()
		}
		n := p.count(p.next())
		q.Limit = &n
	}
	// A query in parentheses is the same as the query itself.
	if inner, ok := q.Body.(*Query); ok && len(q.OrderBy) == 0 && q.Limit == nil && (len(q.With) == 0 || len(inner.With) == 0) {
		with := q.With
		if len(with) == 0 {
			with = inner.With
		}
		return &Query{Pos: q.Pos, With: with, Body: inner.Body, OrderBy: inner.OrderBy, Limit: inner.Limit}
	}
	return q
}

// union reads operands joined by UNION and EXCEPT; INTERSECT binds tighter.
func (p *parser) union(l Body) Body {
	l = p.intersect(l)
	for {
		t := p.peek()
		if !t.is("UNION") && !t.is("EXCEPT") {
			return l
		}
		p.next()
		s := &SetOperation{Pos: t.pos, Op: strings.ToUpper(t.text), All: p.setQuantifier(), L: l}
		s.R = p.intersect(p.term())
		l = s
	}
}

func (p *parser) intersect(l Body) Body {
	for p.peek().is("INTERSECT") {
		t := p.next()
		s := &SetOperation{Pos: t.pos, Op: "INTERSECT", All: p.setQuantifier(), L: l}
		s.R = p.term()
		l = s
	}
	return l
}

// setQuantifier reads ALL or DISTINCT and tells whether it is ALL.
func (p *parser) setQuantifier() bool {
	if p.accept("ALL") {
		return true
	}
	p.accept("DISTINCT")
	return false
}

// term reads one operand of a set operation.
func (p *parser) term() Body {
	t := p.peek()
	switch {
	case t.is("SELECT"):
		return p.selectBody()
	case t.is("VALUES"):
		p.next()
		return &Values{Pos: t.pos, Rows: p.exprs()}
	case t.is("TABLE"):
		p.unsupported(t.pos, "TABLE is")
	case t.is("("):
		p.next()
		inner := p.query()
		p.expect(")")
		return bare(inner)
	}
	p.fail()
	return nil
}

// bare returns the body of a query that has nothing else.
func bare(q *Query) Body {
	if len(q.With) == 0 && len(q.OrderBy) == 0 && q.Limit == nil {
		return q.Body
	}
	return q
}

// columnNames reads `(name, …)`, nil without one.
func (p *parser) columnNames() []string {
	if !p.accept("(") {
		return nil
	}
	var names []string
	for more := true; more; more = p.accept(",") {
		names = append(names, p.name().text)
	}
	p.expect(")")
	return names
}

func (p *parser) orderItems() []OrderItem {
	var out []OrderItem
	for more := true; more; more = p.accept(",") {
		out = append(out, p.orderItem())
	}
	return out
}

func (p *parser) orderItem() OrderItem {
	o := OrderItem{Expr: p.expr()}
	if !p.accept("ASC") {
		o.Desc = p.accept("DESC")
	}
	if p.accept("NULLS") {
		switch {
		case p.accept("FIRST"):
			o.Nulls = "FIRST"
		case p.accept("LAST"):
			o.Nulls = "LAST"
		default:
			p.fail()
		}
	}
	return o
}

func (p *parser) selectBody() *Select {
	s := &Select{Pos: p.next().pos}
	if p.accept("DISTINCT") {
		s.Distinct = true
	} else if t := p.ahead(1); p.peek().is("ALL") && !t.is(",") && !t.is("FROM") && t.kind != kEOF {
		p.next()
	}
	for more := true; more; more = p.accept(",") {
		s.Items = append(s.Items, p.item())
	}
	if p.accept("FROM") {
		s.From = p.relation()
		for t := p.peek(); t.is(","); t = p.peek() {
			p.next()
			s.From = &Join{Pos: t.pos, Kind: "CROSS", L: s.From, R: p.relation()}
		}
	}
	if p.accept("WHERE") {
		s.Where = p.expr()
	}
	if p.accept("GROUP") {
		p.expect("BY")
		if p.peek().is("DISTINCT") || (p.peek().is("ALL") && startsOperand(p.ahead(1))) {
			p.next()
		}
		for more := true; more; more = p.accept(",") {
			p.noGroupingSets()
			if p.peek().is("(") && p.ahead(1).is(")") {
				p.i += 2
				s.GroupAll = true
				continue
			}
			s.GroupBy = append(s.GroupBy, p.expr())
		}
	}
	if p.accept("HAVING") {
		s.Having = p.expr()
	}
	return s
}

// startsOperand tells whether t can begin an expression that follows a quantifier.
func startsOperand(t token) bool {
	return isName(t) || t.kind == kInt || t.is("(") || t.is("CASE") || t.is("CAST")
}

func (p *parser) noGroupingSets() {
	t, after := p.peek(), p.ahead(1)
	switch {
	case t.is("ROLLUP"), t.is("CUBE"), t.is("GROUPING") && after.is("SETS"):
		p.unsupported(t.pos, strings.ToUpper(t.text)+" is")
	}
}

func (p *parser) item() Item {
	t := p.peek()
	if p.accept("*") {
		return Item{Pos: t.pos, Star: true}
	}
	if isName(t) && p.ahead(1).is(".") && p.ahead(2).is("*") {
		p.i += 3
		return Item{Pos: t.pos, Star: true, Qualifier: t.text}
	}
	it := Item{Pos: t.pos, Expr: p.expr()}
	if p.accept("AS") || (isName(p.peek()) && !p.atTail()) {
		it.Alias = p.name().text
	}
	return it
}

// atTail tells whether the next words end the query, as in `SELECT 1 LIMIT 5`: LIMIT and its like are no reserved words
// and could be names.
func (p *parser) atTail() bool {
	t, after := p.peek(), p.ahead(1)
	switch {
	case t.is("LIMIT"):
		return after.kind == kInt || after.is("ALL")
	case t.is("OFFSET"):
		return after.kind == kInt
	case t.is("FETCH"):
		return after.is("FIRST") || after.is("NEXT")
	case t.is("WINDOW"), t.is("TABLESAMPLE"):
		return isName(after)
	}
	return false
}

// relation reads one item of FROM with the joins that follow it.
func (p *parser) relation() FromItem {
	p.enter()
	defer p.leave()
	from := p.fromItem()
	for {
		t := p.peek()
		j := &Join{Pos: t.pos, L: from}
		switch {
		case t.is("CROSS"):
			p.next()
			j.Kind = "CROSS"
		case t.is("JOIN"):
			j.Kind = "INNER"
		case t.is("INNER"):
			p.next()
			j.Kind = "INNER"
		case t.is("LEFT"), t.is("RIGHT"), t.is("FULL"):
			p.next()
			p.accept("OUTER")
			j.Kind = strings.ToUpper(t.text)
		case t.is("NATURAL"):
			p.unsupported(t.pos, "NATURAL JOIN is")
		case t.is("TABLESAMPLE"):
			p.unsupported(t.pos, "TABLESAMPLE is")
		default:
			return from
		}
		p.expect("JOIN")
		j.R = p.fromItem()
		switch {
		case j.Kind == "CROSS":
		case p.accept("ON"):
			j.On = p.expr()
		default:
			p.expect("USING")
			if j.Using = p.columnNames(); j.Using == nil {
				p.fail()
			}
		}
		from = j
	}
}

func (p *parser) fromItem() FromItem {
	t := p.peek()
	switch {
	case t.is("("):
		return p.inParentheses()
	case t.is("UNNEST"):
		p.next()
		p.expect("(")
		u := &Unnest{Pos: t.pos, Lists: p.exprs()}
		p.expect(")")
		if p.peek().is("WITH") && p.ahead(1).is("ORDINALITY") {
			p.i += 2
			u.Ordinality = true
		}
		u.Alias, u.Columns = p.tableAlias()
		return u
	case t.is("LATERAL") && p.ahead(1).is("("):
		p.unsupported(t.pos, "LATERAL is")
	}
	ref := &TableRef{Table: p.table()}
	if after := p.peek(); after.is("(") {
		p.unsupported(ref.Pos, "A table function is")
	}
	ref.Alias, ref.Columns = p.tableAlias()
	return ref
}

// inParentheses reads a subquery or a join in parentheses. What begins with a parenthesis of its own is read as an item of
// FROM; if it proves to be a query without an alias, the query may go on.
func (p *parser) inParentheses() FromItem {
	t := p.next()
	p.enter()
	defer p.leave()
	sub := &Subquery{Pos: t.pos}
	switch inner := p.peek(); {
	case inner.is("SELECT"), inner.is("WITH"), inner.is("VALUES"):
		sub.Query = p.query()
	case inner.is("("), isName(inner):
		from := p.relation()
		q, ok := from.(*Subquery)
		if !ok || q.Alias != "" {
			p.expect(")")
			if after := p.peek(); isName(after) && !p.atTail() || after.is("AS") {
				p.unsupported(after.pos, "An alias of a join in parentheses is")
			}
			return from
		}
		sub.Query = p.rest(&Query{Pos: q.Pos}, bare(q.Query))
	default:
		p.fail()
	}
	p.expect(")")
	sub.Alias, sub.Columns = p.tableAlias()
	return sub
}

// tableAlias reads `[AS] name [(column, …)]`.
func (p *parser) tableAlias() (string, []string) {
	switch {
	case p.accept("AS"):
	case !isName(p.peek()), p.atTail():
		return "", nil
	}
	return p.name().text, p.columnNames()
}

// count reads an integer token.
func (p *parser) count(t token) int64 {
	n, ok := parseCount(t.text)
	if !ok {
		panic(&Error{Pos: t.pos, Message: "Invalid numeric literal: " + t.text})
	}
	return n
}
