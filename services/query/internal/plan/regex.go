// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
)

// maxRegexBytes bounds one re-emitted expression: a class such as \p{L} becomes hundreds of ranges, and beyond this a
// weaker predicate is cheaper than what the engine would compile.
const maxRegexBytes = 8 << 10

// parseRegex reads an expression as Prometheus does (model/labels: Perl syntax, a dot matches newlines too).
func parseRegex(expr string) (*syntax.Regexp, error) {
	return syntax.Parse(expr, syntax.Perl|syntax.DotNL)
}

// javaRegex writes an RE2 expression as `\A(?s:…)\z` in the part of regular expression syntax that RE2 and
// java.util.regex read alike, for regexp_like, which finds its pattern anywhere in the text and takes Java syntax
// (Timestream Developer Guide, regex-functions). Named groups, POSIX and Perl classes, case folding and non-greedy
// operators are resolved here; nothing but literals, classes, groups, alternation and plain repetition is left. False
// when the expression has something with another meaning in Java, or grows too long.
func javaRegex(re *syntax.Regexp) (string, bool) {
	e := &emitter{}
	e.b.WriteString(`\A(?s:`)
	if !e.expr(re) {
		return "", false
	}
	e.b.WriteString(`)\z`)
	return e.b.String(), true
}

type emitter struct{ b strings.Builder }

func (e *emitter) expr(re *syntax.Regexp) bool {
	if e.b.Len() > maxRegexBytes {
		return false
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		e.b.WriteString(`(?:)`)
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if !e.literal(r, re.Flags&syntax.FoldCase != 0) {
				return false
			}
		}
	case syntax.OpCharClass:
		return e.class(re.Rune)
	case syntax.OpAnyChar:
		e.b.WriteByte('.')
	case syntax.OpAnyCharNotNL:
		e.b.WriteString(`[^\x0a]`)
	case syntax.OpBeginText:
		e.b.WriteString(`\A`)
	case syntax.OpEndText:
		e.b.WriteString(`\z`)
	case syntax.OpCapture:
		return e.group(re.Sub[0])
	case syntax.OpStar:
		return e.repeat(re.Sub[0], "*")
	case syntax.OpPlus:
		return e.repeat(re.Sub[0], "+")
	case syntax.OpQuest:
		return e.repeat(re.Sub[0], "?")
	case syntax.OpRepeat:
		if re.Max < 0 {
			return e.repeat(re.Sub[0], fmt.Sprintf("{%d,}", re.Min))
		}
		return e.repeat(re.Sub[0], fmt.Sprintf("{%d,%d}", re.Min, re.Max))
	case syntax.OpConcat:
		for _, s := range re.Sub {
			if s.Op == syntax.OpAlternate {
				if !e.group(s) {
					return false
				}
			} else if !e.expr(s) {
				return false
			}
		}
	case syntax.OpAlternate:
		for i, s := range re.Sub {
			if i > 0 {
				e.b.WriteByte('|')
			}
			if !e.expr(s) {
				return false
			}
		}
	default:
		// Lines (?m) end differently in Java, word boundaries are Unicode's there and ASCII's in RE2, and a
		// class without characters has no common form.
		return false
	}
	return e.b.Len() <= maxRegexBytes
}

func (e *emitter) group(re *syntax.Regexp) bool {
	e.b.WriteString(`(?:`)
	if !e.expr(re) {
		return false
	}
	e.b.WriteByte(')')
	return true
}

// repeat writes an expression and a repetition of it.
func (e *emitter) repeat(re *syntax.Regexp, op string) bool {
	one := e.group
	switch {
	case re.Op == syntax.OpAnyChar, re.Op == syntax.OpAnyCharNotNL, re.Op == syntax.OpCharClass, re.Op == syntax.OpLiteral && len(re.Rune) == 1:
		one = e.expr // one character needs no group
	}
	if !one(re) {
		return false
	}
	e.b.WriteString(op)
	return true
}

func (e *emitter) literal(r rune, fold bool) bool {
	if !fold || unicode.SimpleFold(r) == r {
		return e.rune(r)
	}
	// The engines do not agree on what folds; the characters themselves leave no doubt.
	e.b.WriteByte('[')
	for f := r; ; {
		if !e.rune(f) {
			return false
		}
		if f = unicode.SimpleFold(f); f == r {
			break
		}
	}
	e.b.WriteByte(']')
	return true
}

// class writes ranges of characters; a class that reaches from the first character to the last is written negated,
// because the first one, U+0000, is better not sent.
func (e *emitter) class(ranges []rune) bool {
	if len(ranges) == 0 {
		return false
	}
	if ranges[0] == 0 && ranges[len(ranges)-1] == unicode.MaxRune {
		var rest []rune
		for i := 1; i+1 < len(ranges); i += 2 {
			rest = append(rest, ranges[i]+1, ranges[i+1]-1)
		}
		if len(rest) == 0 {
			e.b.WriteByte('.')
			return true
		}
		e.b.WriteString(`[^`)
		return e.ranges(rest)
	}
	e.b.WriteByte('[')
	return e.ranges(ranges)
}

func (e *emitter) ranges(ranges []rune) bool {
	for i := 0; i < len(ranges); i += 2 {
		lo, hi := ranges[i], ranges[i+1]
		if !e.rune(lo) {
			return false
		}
		if hi == lo {
			continue
		}
		if hi > lo+1 {
			e.b.WriteByte('-')
		}
		if !e.rune(hi) {
			return false
		}
		if e.b.Len() > maxRegexBytes {
			return false
		}
	}
	e.b.WriteByte(']')
	return true
}

// rune writes one character, the same way inside and outside a class.
func (e *emitter) rune(r rune) bool {
	switch {
	case !utf8.ValidRune(r): // half of a surrogate pair is no character of a label, and cannot be sent
		return false
	case r < 0x20 || r == 0x7f:
		fmt.Fprintf(&e.b, `\x%02x`, r)
	case r >= 0x80 || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == ' ':
		e.b.WriteRune(r)
	default: // in Java, as in RE2, a backslash before ASCII punctuation only takes its meaning away
		e.b.WriteByte('\\')
		e.b.WriteRune(r)
	}
	return true
}

// anything tells whether the expression is .* (or .+, when empty is false).
func anything(re *syntax.Regexp) (empty, ok bool) {
	re = bare(re)
	if re.Op != syntax.OpStar && re.Op != syntax.OpPlus || bare(re.Sub[0]).Op != syntax.OpAnyChar {
		return false, false
	}
	return re.Op == syntax.OpStar, true
}

// bare removes capturing groups around an expression.
func bare(re *syntax.Regexp) *syntax.Regexp {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	return re
}

// likePattern returns the LIKE pattern, escaped by a backslash, of an expression that is a literal beginning, then
// literals and .* only.
func likePattern(re *syntax.Regexp) (string, bool) {
	re = bare(re)
	if re.Op != syntax.OpConcat || !plainLiteral(bare(re.Sub[0])) {
		return "", false
	}
	var b strings.Builder
	for _, s := range re.Sub {
		s = bare(s)
		if plainLiteral(s) {
			b.WriteString(likeEscape(string(s.Rune)))
			continue
		}
		if empty, ok := anything(s); !ok || !empty {
			return "", false
		}
		b.WriteByte('%')
	}
	return b.String(), true
}

// literalPrefix returns the text that every value begins with that matches m, or nothing when that is not plain.
func literalPrefix(m *labels.Matcher) string {
	if m.Type != labels.MatchRegexp {
		return ""
	}
	re, err := parseRegex(m.GetRegexString())
	if err != nil {
		return ""
	}
	re = bare(re)
	if re.Op == syntax.OpConcat {
		re = bare(re.Sub[0])
	}
	if !plainLiteral(re) {
		return ""
	}
	return string(re.Rune)
}

func plainLiteral(re *syntax.Regexp) bool {
	return re.Op == syntax.OpLiteral && re.Flags&syntax.FoldCase == 0
}

// likeEscape makes s stand for itself in a LIKE pattern with the escape character `\`.
func likeEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

// folds tells whether case folding is left in the expression, and whether there is an alternation.
func folds(re *syntax.Regexp) (fold, alternation bool) {
	fold = re.Op == syntax.OpLiteral && re.Flags&syntax.FoldCase != 0
	alternation = re.Op == syntax.OpAlternate
	for _, s := range re.Sub {
		f, a := folds(s)
		fold, alternation = fold || f, alternation || a
	}
	return fold, alternation
}
