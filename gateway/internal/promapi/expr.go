// SPDX-License-Identifier: Apache-2.0

package promapi

import (
	"fmt"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// parse parses an expression that is within the limits: the parser's work is the square of what nests, and nothing
// cancels it.
func (a *API) parse(text string) (parser.Expr, error) {
	if err := a.Expressions.Check(text); err != nil {
		return nil, err
	}
	return a.parser.ParseExpr(text)
}

func (c *call) formatQuery() error {
	expr, err := c.api.parse(c.req.FormValue("query"))
	if err != nil {
		return invalidParam("query", err)
	}
	if work := formatWork(expr); work > maxFormatWork {
		return invalidParam("query", fmt.Errorf("the expression is too deep to be formatted: its operators and brackets nest so that about %d bytes would be written on the way, the limit is %d (fixed)", work, maxFormatWork))
	}
	return c.data(expr.Pretty(0))
}

// maxFormatWork bounds the bytes that formatting writes on the way: some hundred operators in a row.
const maxFormatWork = 64 << 20

// formatWork estimates the bytes that Pretty writes on the way to its result. It asks every node for its text, which a
// node puts together from those of its children, to see whether it fits in a line; and a chain of operators is as deep
// as it is long.
func formatWork(expr parser.Expr) int {
	_, _, work := formatting(expr, 0)
	return work
}

// formatting returns for a node at that depth about the length of its text, the bytes written for that text, and those for
// its formatted form.
func formatting(n parser.Node, depth int) (length, text, work int) {
	length = ownLength(n)
	for child := range parser.ChildrenIter(n) {
		l, t, w := formatting(child, depth+1)
		length, text, work = length+l, text+t, work+w
	}
	text += length
	// The formatted form repeats the text and has an indent of two bytes for each level.
	return length, text, work + text + length + 2*depth*depth
}

// ownLength is about how long the text of a node is without its children's.
func ownLength(n parser.Node) int {
	const operator = 16
	switch n := n.(type) {
	case *parser.VectorSelector:
		return int(n.PosRange.End-n.PosRange.Start) + operator
	case *parser.StringLiteral:
		return len(n.Val) + operator
	case *parser.AggregateExpr:
		return operator + namesLength(n.Grouping)
	case *parser.BinaryExpr:
		if m := n.VectorMatching; m != nil {
			return operator + namesLength(m.MatchingLabels) + namesLength(m.Include)
		}
	}
	return operator
}

func namesLength(names []string) (n int) {
	for _, name := range names {
		n += len(name) + len(", ")
	}
	return n
}

func (c *call) parseQuery() error {
	expr, err := c.api.parse(c.req.FormValue("query"))
	if err != nil {
		return invalidParam("query", err)
	}
	return c.data(tree(expr))
}

// object is a node of the tree that parse_query answers. Prometheus does not document its members; they are those of
// its own translateAST, because its expression browser, and what was made after it, draws them.
type object map[string]any

// tree translates an expression; nil stays nil.
func tree(expr parser.Expr) any {
	switch n := expr.(type) {
	case nil:
		return nil
	case *parser.AggregateExpr:
		return object{"type": "aggregation", "op": n.Op.String(), "expr": tree(n.Expr), "param": tree(n.Param), "grouping": list(n.Grouping), "without": n.Without}
	case *parser.BinaryExpr:
		return object{"type": "binaryExpr", "op": n.Op.String(), "lhs": tree(n.LHS), "rhs": tree(n.RHS), "matching": matching(n.VectorMatching), "bool": n.ReturnBool}
	case *parser.Call:
		args := make([]any, len(n.Args))
		for i, a := range n.Args {
			args[i] = tree(a)
		}
		return object{
			"type": "call",
			"func": object{"name": n.Func.Name, "argTypes": n.Func.ArgTypes, "variadic": n.Func.Variadic, "returnType": n.Func.ReturnType},
			"args": args,
		}
	case *parser.MatrixSelector:
		out := object{"type": "matrixSelector"}
		if vs, ok := n.VectorSelector.(*parser.VectorSelector); ok {
			out = selector("matrixSelector", vs)
		}
		out["range"], out["rangeExpr"] = n.Range.Milliseconds(), duration(n.RangeExpr)
		return out
	case *parser.VectorSelector:
		return selector("vectorSelector", n)
	case *parser.SubqueryExpr:
		return object{
			"type": "subquery", "expr": tree(n.Expr),
			"range": n.Range.Milliseconds(), "rangeExpr": duration(n.RangeExpr),
			"offset": n.OriginalOffset.Milliseconds(), "offsetExpr": duration(n.OriginalOffsetExpr),
			"step": n.Step.Milliseconds(), "stepExpr": duration(n.StepExpr),
			"timestamp": n.Timestamp, "startOrEnd": startOrEnd(n.StartOrEnd),
		}
	case *parser.DurationExpr:
		return duration(n)
	case *parser.NumberLiteral:
		return object{"type": "numberLiteral", "val": number(n.Val)}
	case *parser.StringLiteral:
		return object{"type": "stringLiteral", "val": n.Val}
	case *parser.ParenExpr:
		return object{"type": "parenExpr", "expr": tree(n.Expr)}
	case *parser.UnaryExpr:
		return object{"type": "unaryExpr", "op": n.Op.String(), "expr": tree(n.Expr)}
	}
	return object{"type": string(expr.Type()), "expr": expr.String()} // a node that this does not know yet
}

func matching(m *parser.VectorMatching) any {
	if m == nil {
		return nil
	}
	return object{
		"card": m.Card.String(), "labels": list(m.MatchingLabels), "on": m.On, "include": list(m.Include),
		"fillValues": map[string]*float64{"lhs": m.FillValues.LHS, "rhs": m.FillValues.RHS},
	}
}

func selector(kind string, n *parser.VectorSelector) object {
	return object{
		"type": kind, "name": n.Name, "matchers": matchers(n.LabelMatchers),
		"offset": n.OriginalOffset.Milliseconds(), "offsetExpr": duration(n.OriginalOffsetExpr),
		"timestamp": n.Timestamp, "startOrEnd": startOrEnd(n.StartOrEnd),
		"anchored": n.Anchored, "smoothed": n.Smoothed,
	}
}

func matchers(in []*labels.Matcher) []object {
	out := make([]object, len(in))
	for i, m := range in {
		out[i] = object{"name": m.Name, "value": m.Value, "type": m.Type.String()}
	}
	return out
}

// duration translates an expression that stands for a duration, where numbers say whether they were written as one.
func duration(expr parser.Expr) any {
	switch n := expr.(type) {
	case *parser.DurationExpr:
		if n == nil {
			return nil
		}
		return object{"type": "durationExpr", "op": n.Op.String(), "lhs": duration(n.LHS), "rhs": duration(n.RHS), "wrapped": n.Wrapped}
	case *parser.NumberLiteral:
		if n == nil {
			return nil
		}
		return object{"type": "numberLiteral", "val": number(n.Val), "duration": n.Duration}
	}
	return tree(expr)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func startOrEnd(i parser.ItemType) any {
	if i == 0 {
		return nil
	}
	return i.String()
}

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
