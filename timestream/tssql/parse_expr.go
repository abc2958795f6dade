// SPDX-License-Identifier: Apache-2.0

package tssql

import "strings"

// expr reads a whole expression of a clause and checks how deep it got; or reads a part of one.
func (p *parser) expr() Expr {
	at := p.peek().pos
	e := p.or()
	if p.depth+exprDepth(e) > maxDepth {
		panic(&Error{Pos: at, Message: "statement is nested too deeply"})
	}
	return e
}

// or reads the loosest level; the levels are those of the printer, and the position of an operator's node is the
// operator's, as Trino reports it.
func (p *parser) or() Expr {
	p.enter()
	defer p.leave()
	e := p.and()
	for p.peek().is("OR") {
		t := p.next()
		e = &Binary{Pos: t.pos, Op: "OR", L: e, R: p.and()}
	}
	return e
}

func (p *parser) and() Expr {
	e := p.not()
	for p.peek().is("AND") {
		t := p.next()
		e = &Binary{Pos: t.pos, Op: "AND", L: e, R: p.not()}
	}
	return e
}

func (p *parser) not() Expr {
	if t := p.peek(); p.accept("NOT") {
		p.enter()
		defer p.leave()
		return &Unary{Pos: t.pos, Op: "NOT", X: p.not()}
	}
	return p.predicate()
}

// predicate reads a value and at most one comparison or predicate on it: `a = b = c` is no expression.
func (p *parser) predicate() Expr {
	x := p.concat()
	t := p.peek()
	if t.kind == kOp {
		op := t.text
		switch op {
		case "!=":
			op = "<>"
		case "=", "<>", "<", "<=", ">", ">=":
		default:
			return x
		}
		p.next()
		if q := p.peek(); (q.is("ALL") || q.is("ANY") || q.is("SOME")) && p.ahead(1).is("(") && p.queryAt(2) {
			p.next()
			return &Quantified{Pos: t.pos, Op: op, X: x, All: q.is("ALL"), Query: p.subquery()}
		}
		return &Binary{Pos: t.pos, Op: op, L: x, R: p.concat()}
	}
	if p.accept("IS") {
		n := &IsNull{Pos: t.pos, X: x, Not: p.accept("NOT")}
		if d := p.peek(); d.is("DISTINCT") {
			p.unsupported(d.pos, "IS DISTINCT FROM is")
		}
		p.expect("NULL")
		return n
	}
	not := p.peek().is("NOT")
	if not {
		t := p.ahead(1)
		if !t.is("IN") && !t.is("BETWEEN") && !t.is("LIKE") {
			return x
		}
		p.next()
	}
	switch {
	case p.accept("BETWEEN"):
		b := &Between{Pos: t.pos, X: x, Not: not, Lo: p.concat()}
		p.expect("AND")
		b.Hi = p.concat()
		return b
	case p.accept("IN"):
		in := &In{Pos: t.pos, X: x, Not: not}
		if p.queryAt(1) {
			in.Query = p.subquery()
			return in
		}
		p.expect("(")
		in.List = p.list()
		p.expect(")")
		return in
	case p.accept("LIKE"):
		l := &Like{Pos: t.pos, X: x, Not: not, Pattern: p.concat()}
		if p.accept("ESCAPE") {
			l.Escape = p.concat()
		}
		return l
	}
	return x
}

// queryAt tells whether the token n places ahead begins a query.
func (p *parser) queryAt(n int) bool {
	t := p.ahead(n)
	return t.is("SELECT") || t.is("WITH") || t.is("VALUES")
}

// subquery reads a query in parentheses.
func (p *parser) subquery() *Query {
	p.expect("(")
	q := p.query()
	p.expect(")")
	return q
}

// exprs is list for whole expressions of a clause.
func (p *parser) exprs() []Expr {
	var out []Expr
	for more := true; more; more = p.accept(",") {
		out = append(out, p.expr())
	}
	return out
}

func (p *parser) list() []Expr {
	var out []Expr
	for more := true; more; more = p.accept(",") {
		out = append(out, p.or())
	}
	return out
}

func (p *parser) concat() Expr {
	e := p.sum()
	for p.peek().is("||") {
		t := p.next()
		e = &Binary{Pos: t.pos, Op: "||", L: e, R: p.sum()}
	}
	return e
}

func (p *parser) sum() Expr {
	e := p.product()
	for p.peek().is("+") || p.peek().is("-") {
		t := p.next()
		e = &Binary{Pos: t.pos, Op: t.text, L: e, R: p.product()}
	}
	return e
}

func (p *parser) product() Expr {
	e := p.unary()
	for p.peek().is("*") || p.peek().is("/") || p.peek().is("%") {
		t := p.next()
		e = &Binary{Pos: t.pos, Op: t.text, L: e, R: p.unary()}
	}
	return e
}

// unary reads signs. A minus right before a number belongs to the number, so that the smallest bigint can be written; a
// plus has no meaning and no node.
func (p *parser) unary() Expr {
	t := p.peek()
	if !t.is("-") && !t.is("+") {
		return p.primary()
	}
	p.next()
	p.enter()
	defer p.leave()
	if t.text == "-" {
		switch n := p.peek(); n.kind {
		case kInt, kNumber, kInterval:
			p.next()
			n.pos, n.text = t.pos, "-"+n.text
			return p.postfix(p.numeric(n))
		}
		return &Unary{Pos: t.pos, Op: "-", X: p.unary()}
	}
	return p.unary()
}

func (p *parser) numeric(t token) Expr {
	switch t.kind {
	case kInt:
		return &Int{Pos: t.pos, Value: p.count(t)}
	case kInterval:
		return &Interval{Pos: t.pos, Count: p.count(t), Unit: t.unit}
	}
	return &Number{Pos: t.pos, Text: t.text}
}

func (p *parser) primary() Expr {
	t := p.peek()
	switch t.kind {
	case kInt, kNumber, kInterval:
		return p.postfix(p.numeric(p.next()))
	case kString:
		p.next()
		return p.postfix(&String{Pos: t.pos, Value: t.text})
	case kQuoted:
		return p.postfix(p.reference())
	case kWord:
		return p.postfix(p.word())
	case kParameter:
		p.next()
		return p.postfix(&Parameter{Pos: t.pos, Name: t.text})
	}
	if !t.is("(") {
		p.fail()
	}
	if p.queryAt(1) {
		return p.postfix(&Scalar{Pos: t.pos, Query: p.subquery()})
	}
	if p.lambdaAt() {
		return p.lambda()
	}
	p.next()
	e := p.or()
	if p.accept(",") {
		e = &Row{Pos: t.pos, Elems: append([]Expr{e}, p.list()...)}
	}
	p.expect(")")
	return p.postfix(e)
}

// lambdaAt tells whether `(a, b) ->` comes next.
func (p *parser) lambdaAt() bool {
	n := 1
	for {
		if !isName(p.ahead(n)) {
			return false
		}
		n++
		switch {
		case p.ahead(n).is(","):
			n++
		case p.ahead(n).is(")"):
			return p.ahead(n + 1).is("->")
		default:
			return false
		}
	}
}

// lambda reads `x -> body` or `(x, y) -> body`.
func (p *parser) lambda() Expr {
	l := &Lambda{Pos: p.peek().pos}
	if p.accept("(") {
		for more := true; more; more = p.accept(",") {
			l.Params = append(l.Params, p.name().text)
		}
		p.expect(")")
	} else {
		l.Params = []string{p.name().text}
	}
	p.expect("->")
	l.Body = p.or()
	return l
}

// postfix reads subscripts and fields that follow an operand.
func (p *parser) postfix(e Expr) Expr {
	for {
		t := p.peek()
		switch {
		case t.is("["):
			p.next()
			p.enter()
			e = &Subscript{Pos: t.pos, X: e, Index: p.or()}
			p.leave()
			p.expect("]")
		case t.is("."):
			p.next()
			e = &Field{Pos: t.pos, X: e, Name: p.name().text}
		case t.is("AT") && p.ahead(1).is("TIME"):
			p.unsupported(t.pos, "AT TIME ZONE is")
		default:
			return e
		}
	}
}

// word reads what begins with an unquoted word: a keyword's construct, a typed constant, a call or a column.
func (p *parser) word() Expr {
	t, after := p.peek(), p.ahead(1)
	switch strings.ToUpper(t.text) {
	case "TRUE", "FALSE":
		p.next()
		return &Bool{Pos: t.pos, Value: t.is("TRUE")}
	case "NULL":
		p.next()
		return &Null{Pos: t.pos}
	case "CASE":
		return p.caseExpr()
	case "CAST":
		return p.cast()
	case "TRY_CAST":
		if after.is("(") {
			return p.cast()
		}
	case "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP":
		p.next()
		return &Call{Pos: t.pos, Name: t.text}
	case "EXISTS":
		p.next()
		return &Exists{Pos: t.pos, Query: p.subquery()}
	case "EXTRACT":
		p.next()
		p.expect("(")
		x := &Extract{Pos: t.pos, Field: p.name().text}
		p.expect("FROM")
		x.X = p.or()
		p.expect(")")
		return x
	case "INTERVAL":
		sign := ""
		if (after.is("-") || after.is("+")) && p.ahead(2).kind == kString {
			p.next()
			sign, after = strings.Trim(after.text, "+"), p.ahead(1)
		}
		if after.kind == kString {
			p.i += 2
			unit := p.unit()
			if p.accept("TO") {
				unit += " TO " + p.unit()
			}
			return &Typed{Pos: t.pos, Type: "INTERVAL " + unit, Text: sign + after.text}
		}
	case "ARRAY":
		if after.is("[") {
			p.i += 2
			a := &Array{Pos: t.pos}
			if !p.peek().is("]") {
				a.Elems = p.list()
			}
			p.expect("]")
			return a
		}
	case "ROW":
		if after.is("(") {
			p.i += 2
			r := &Row{Pos: t.pos, Elems: p.list()}
			p.expect(")")
			return r
		}
	case "POSITION":
		if after.is("(") {
			p.i += 2
			x := p.concat()
			p.expect("IN")
			y := p.concat()
			p.expect(")")
			return &Call{Pos: t.pos, Name: "strpos", Args: []Expr{y, x}}
		}
	}
	if after.is("->") && isName(t) {
		return p.lambda()
	}
	if after.kind == kString && isName(t) {
		p.i += 2
		return &Typed{Pos: t.pos, Type: t.text, Text: after.text}
	}
	return p.reference()
}

// reference reads a column, a qualified column or a call.
func (p *parser) reference() Expr {
	t := p.name()
	if p.peek().is("(") {
		return p.call(t)
	}
	if !p.accept(".") {
		return &Column{Pos: t.pos, Name: t.text}
	}
	return &Column{Pos: t.pos, Qualifier: t.text, Name: p.name().text}
}

func (p *parser) call(name token) Expr {
	p.expect("(")
	c := &Call{Pos: name.pos, Name: name.text}
	switch {
	case p.accept("*"):
		c.Star = true
	case p.peek().is(")"):
	default:
		c.Distinct = p.accept("DISTINCT")
		c.Args = p.list()
		if t := p.peek(); t.is("ORDER") {
			p.unsupported(t.pos, "ORDER BY in an aggregation is")
		}
	}
	p.expect(")")
	switch t := p.peek(); {
	case t.is("FILTER") && p.ahead(1).is("("):
		p.unsupported(t.pos, "FILTER is")
	case (t.is("IGNORE") || t.is("RESPECT")) && p.ahead(1).is("NULLS"):
		p.unsupported(t.pos, strings.ToUpper(t.text)+" NULLS is")
	case t.is("OVER") && p.ahead(1).is("("):
		p.i += 2
		c.Over = p.window()
	}
	return c
}

// window reads what stands in the parentheses after OVER.
func (p *parser) window() *Window {
	w := &Window{}
	if p.peek().is("PARTITION") && p.ahead(1).is("BY") {
		p.i += 2
		w.PartitionBy = p.list()
	}
	if p.accept("ORDER") {
		p.expect("BY")
		w.OrderBy = p.orderItems()
	}
	switch t := p.peek(); {
	case t.is("GROUPS"):
		p.unsupported(t.pos, "GROUPS is")
	case t.is("ROWS"), t.is("RANGE"):
		p.next()
		f := &Frame{Pos: t.pos, Unit: strings.ToUpper(t.text), End: FrameBound{Where: CurrentRow}}
		if p.accept("BETWEEN") {
			f.Start = p.frameBound()
			p.expect("AND")
			f.End = p.frameBound()
		} else {
			f.Start = p.frameBound()
		}
		w.Frame = f
	}
	p.expect(")")
	return w
}

func (p *parser) frameBound() FrameBound {
	switch t := p.peek(); {
	case t.is("CURRENT") && p.ahead(1).is("ROW"):
		p.i += 2
		return FrameBound{Where: CurrentRow}
	case t.is("UNBOUNDED") && (p.ahead(1).is(Preceding) || p.ahead(1).is(Following)):
		p.i += 2
		return FrameBound{Where: strings.ToUpper(p.ahead(-1).text)}
	}
	b := FrameBound{N: p.concat()}
	switch {
	case p.accept(Preceding):
		b.Where = Preceding
	case p.accept(Following):
		b.Where = Following
	default:
		p.fail()
	}
	return b
}

func (p *parser) caseExpr() Expr {
	c := &Case{Pos: p.next().pos}
	if !p.peek().is("WHEN") {
		c.Operand = p.or()
	}
	for more := true; more; more = p.peek().is("WHEN") {
		p.expect("WHEN")
		w := When{Cond: p.or()}
		p.expect("THEN")
		w.Then = p.or()
		c.Whens = append(c.Whens, w)
	}
	if p.accept("ELSE") {
		c.Else = p.or()
	}
	p.expect("END")
	return c
}

func (p *parser) cast() Expr {
	t := p.next()
	p.expect("(")
	c := &Cast{Pos: t.pos, Try: t.is("TRY_CAST"), X: p.or()}
	p.expect("AS")
	c.Type = p.typeName()
	p.expect(")")
	return c
}

// unit reads the unit of an interval, in upper case.
func (p *parser) unit() string {
	t := p.name()
	if t.kind != kWord {
		p.fail()
	}
	return strings.ToUpper(t.text)
}

// typeName reads a type: words (`interval day to second`) and arguments in parentheses. The text is as it was written,
// with one space between words and none elsewhere.
func (p *parser) typeName() string {
	p.enter()
	defer p.leave()
	var b strings.Builder
	if p.peek().kind != kWord {
		p.fail()
	}
	for p.peek().kind == kWord && !p.peek().is("AS") {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p.next().text)
	}
	if p.accept("(") {
		for sep := "("; ; sep = "," {
			b.WriteString(sep)
			if p.peek().kind == kInt {
				b.WriteString(p.next().text)
			} else {
				b.WriteString(p.typeName())
			}
			if !p.accept(",") {
				break
			}
		}
		p.expect(")")
		b.WriteByte(')')
	}
	return b.String()
}

// exprDepth returns how many levels e has; a chain of one of AND, OR and || is one level.
func exprDepth(e Expr) int {
	d := 0
	deeper := func(es ...Expr) {
		for _, x := range es {
			if x != nil {
				d = max(d, exprDepth(x))
			}
		}
	}
	switch e := e.(type) {
	case *Binary:
		if e.Op == "AND" || e.Op == "OR" || e.Op == "||" {
			var l Expr = e
			for {
				b, ok := l.(*Binary)
				if !ok || b.Op != e.Op {
					break
				}
				deeper(b.R)
				l = b.L
			}
			deeper(l)
			return d + 1
		}
		deeper(e.L, e.R)
	case *Unary:
		deeper(e.X)
	case *IsNull:
		deeper(e.X)
	case *In:
		deeper(e.X)
		deeper(e.List...)
	case *Between:
		deeper(e.X, e.Lo, e.Hi)
	case *Like:
		deeper(e.X, e.Pattern, e.Escape)
	case *Quantified:
		deeper(e.X)
	case *Array:
		deeper(e.Elems...)
	case *Row:
		deeper(e.Elems...)
	case *Subscript:
		deeper(e.X, e.Index)
	case *Field:
		deeper(e.X)
	case *Lambda:
		deeper(e.Body)
	case *Extract:
		deeper(e.X)
	case *Case:
		deeper(e.Operand, e.Else)
		for _, w := range e.Whens {
			deeper(w.Cond, w.Then)
		}
	case *Call:
		deeper(e.Args...)
		if w := e.Over; w != nil {
			deeper(w.PartitionBy...)
			for _, o := range w.OrderBy {
				deeper(o.Expr)
			}
			if w.Frame != nil {
				deeper(w.Frame.Start.N, w.Frame.End.N)
			}
		}
	case *Cast:
		deeper(e.X)
	}
	return d + 1
}
