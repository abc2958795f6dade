// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// verdict says what a matcher makes of the values that are not empty.
type verdict uint8

const (
	exact   verdict = iota // an expression decides
	always                 // every value matches
	never                  // no value matches
	unknown                // no expression decides; Prometheus' matcher will
)

// valuePredicate turns a matcher into a condition on x that decides for every value, the empty one included; x NULL
// gives NULL. Always and never are about values that are not empty.
func valuePredicate(x tssql.Expr, m *labels.Matcher, noRegexp bool) (tssql.Expr, verdict) {
	switch m.Type {
	case labels.MatchEqual:
		if m.Value == "" {
			return nil, never
		}
		return binary("=", x, text(m.Value)), exact
	case labels.MatchNotEqual:
		if m.Value == "" {
			return nil, always
		}
		return binary("<>", x, text(m.Value)), exact
	}
	not := m.Type == labels.MatchNotRegexp
	if values := setMatches(m); len(values) > 0 {
		return oneOf(x, values, not), exact
	}
	re, err := parseRegex(m.GetRegexString())
	if err != nil {
		return nil, unknown
	}
	if _, ok := anything(re); ok {
		if not {
			return nil, never
		}
		return nil, always
	}
	if p, ok := likePattern(re); ok {
		return &tssql.Like{X: x, Not: not, Pattern: text(p), Escape: text(`\`)}, exact
	}
	if noRegexp {
		return nil, unknown
	}
	// Prometheus' matcher takes short cuts of its own through case folding (it normalises Unicode, and compares prefixes
	// by bytes), so that a strict reading of the expression may find fewer than it does.
	if fold, alternation := folds(re); fold && (not || alternation) {
		return nil, unknown
	}
	p, ok := javaRegex(re)
	if !ok {
		return nil, unknown
	}
	var e tssql.Expr = &tssql.Call{Name: "regexp_like", Args: []tssql.Expr{x, text(p)}}
	if not {
		e = &tssql.Unary{Op: "NOT", X: e}
	}
	return e, exact
}

// setMatches returns the values that are all a regular expression matches, sorted (Prometheus keeps many in a map, and
// equal selections should be equal statements); nil when it matches others too.
func setMatches(m *labels.Matcher) []string { return slices.Sorted(slices.Values(m.SetMatches())) }

// condition is one condition of a WHERE clause, from the strongest form to the weakest; a nil form is no condition. All
// of them let pass every row that Prometheus' matchers would.
type condition struct {
	forms []tssql.Expr
	at    int
}

func fixed(e tssql.Expr) *condition { return &condition{forms: []tssql.Expr{e}} }

func (c *condition) now() tssql.Expr { return c.forms[c.at] }

// maxPackedPairs is how many pairs are searched for one by one in the packed labels; beyond, the name alone is.
const maxPackedPairs = 16

// labelCondition returns the condition for a matcher on a label other than the name; nil when there is none to make.
// False means that no row can match.
func (b *builder) labelCondition(m *labels.Matcher) (*condition, bool) {
	isColumn := promschema.CanBeColumn(m.Name) && b.facts.Columns.Dimension(m.Name)
	x := column(m.Name)
	value, v := valuePredicate(x, m, b.options.NoRegexp)
	b.labelMatchers++
	if isColumn && v == unknown {
		b.exact = false
	}

	if m.Matches("") {
		// A row whose packed labels hold the label has NULL in the column and passes here.
		switch {
		case !isColumn || v == always || v == unknown:
			return nil, true
		case v == never:
			value = binary("=", x, text(""))
		}
		return &condition{forms: []tssql.Expr{or(&tssql.IsNull{X: x}, value), nil}}, true
	}

	if v == never {
		return nil, false
	}
	var strong, weak tssql.Expr
	if isColumn {
		present := binary("<>", x, text(""))
		switch v {
		case exact:
			strong, weak = value, present
		case always:
			strong, weak = present, present
		case unknown:
			strong, weak = present, present
			if prefix := literalPrefix(m); prefix != "" {
				strong = &tssql.Like{X: x, Pattern: text(likeEscape(prefix) + "%"), Escape: text(`\`)}
			}
		}
	}
	if b.packed != nil {
		strong = or(strong, b.packedCondition(m))
		weak = or(weak, b.packedHas(promschema.PackedName(m.Name)))
	}
	if strong == nil {
		return nil, false
	}
	return &condition{forms: []tssql.Expr{strong, weak, nil}}, true
}

// packedCondition narrows by the text of the packed labels. Such a text can also be the end of another label's name,
// so it may only ever let rows in, not keep them out.
func (b *builder) packedCondition(m *labels.Matcher) tssql.Expr {
	var values []string
	switch m.Type {
	case labels.MatchEqual:
		values = []string{m.Value}
	case labels.MatchRegexp:
		values = setMatches(m)
	}
	if len(values) == 0 || len(values) > maxPackedPairs {
		return b.packedHas(promschema.PackedName(m.Name))
	}
	var e tssql.Expr
	for _, v := range values {
		e = or(e, b.packedHas(promschema.PackedPair(m.Name, v)))
	}
	return e
}

func (b *builder) packedHas(s string) tssql.Expr {
	return binary(">", &tssql.Call{Name: "strpos", Args: []tssql.Expr{b.packed, text(s)}}, &tssql.Int{})
}

// packedText is the packed labels of a row as one text, over those of its pieces that the table has; nil when it has none.
func packedText(has func(string) bool) tssql.Expr {
	var e tssql.Expr
	for i := range promschema.PackedDimensions {
		name := promschema.PackedDimension(i)
		if !has(name) {
			continue
		}
		piece := &tssql.Call{Name: "coalesce", Args: []tssql.Expr{column(name), text("")}}
		if e == nil {
			e = piece
		} else {
			e = binary("||", e, piece)
		}
	}
	return e
}

func column(name string) tssql.Expr { return &tssql.Column{Name: name} }

func text(s string) tssql.Expr { return &tssql.String{Value: s} }

func binary(op string, l, r tssql.Expr) tssql.Expr { return &tssql.Binary{Op: op, L: l, R: r} }

// or joins two conditions; nil is none.
func or(l, r tssql.Expr) tssql.Expr { return join("OR", l, r) }

// and joins two conditions; nil is none.
func and(l, r tssql.Expr) tssql.Expr { return join("AND", l, r) }

func join(op string, l, r tssql.Expr) tssql.Expr {
	switch {
	case l == nil:
		return r
	case r == nil:
		return l
	}
	return binary(op, l, r)
}

// oneOf is x IN (values), or x = value.
func oneOf(x tssql.Expr, values []string, not bool) tssql.Expr {
	if len(values) == 1 {
		if not {
			return binary("<>", x, text(values[0]))
		}
		return binary("=", x, text(values[0]))
	}
	in := &tssql.In{X: x, Not: not, List: make([]tssql.Expr, len(values))}
	for i, v := range values {
		in.List[i] = text(v)
	}
	return in
}
