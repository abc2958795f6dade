// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// maxGroup is the last group that DuckDB's functions can name.
const maxGroup = 9

// regexpPattern is the second argument of a function of regular expressions.
type regexpPattern struct {
	sql string
	// parsed is nil for a pattern that is not known here.
	parsed *syntax.Regexp
}

// pattern binds a pattern. One that differs from row to row goes to RE2 with only its named groups respelled; what RE2 would read otherwise
// than Java ends the query.
func (b *binder) pattern(x bound, at tssql.Pos) regexpPattern {
	if s, ok := x.k.(string); ok {
		re2, err := translateRegexp(s)
		if err != nil {
			fail(at, "%s", err)
		}
		parsed, err := syntax.Parse(re2, syntax.Perl)
		if err != nil {
			fail(at, "%s", err)
		}
		return regexpPattern{quote(re2), parsed}
	}
	const otherwise = `\\[CZG]|\[[^\]]*(?:\[|&&)|\(\?[a-zA-Z]*U|\(\?P`
	x = coerce(x, ScalarOf(Varchar), at)
	return regexpPattern{sql: "(CASE WHEN regexp_matches(" + x.sql + ", " + quote(otherwise) + ") THEN " + b.raise("this regular expression is not supported") +
		" ELSE regexp_replace(" + x.sql + `, '\(\?<([a-zA-Z])', '(?P<\1', 'g') END)`}
}

// regexpFunction returns the binder of a function of regular expressions (Timestream Developer Guide, regex-functions); nil for others.
func (b *binder) regexpFunction(name string) func(*tssql.Call, []bound) bound {
	text := ScalarOf(Varchar)
	list := Type{Array: &text}
	// operands are the text and the pattern; up to n arguments are taken.
	operands := func(c *tssql.Call, args []bound, n int, expected string) (bound, regexpPattern) {
		if len(args) < 2 || len(args) > n || !textual(args[0]) || !textual(args[1]) {
			mismatch(c, args, expected)
		}
		return coerce(args[0], text, c.Pos), b.pattern(args[1], c.Args[1].Position())
	}
	group := func(c *tssql.Call, args []bound, p regexpPattern) string {
		if len(args) < 3 {
			return "0"
		}
		if !coercible(args[2].typ, ScalarOf(Bigint)) {
			mismatch(c, args, name+"(varchar, varchar), "+name+"(varchar, varchar, bigint)")
		}
		n, ok := args[2].k.(int64)
		if !ok {
			fail(c.Args[2].Position(), "%s: a group that is not a literal is not supported", name)
		}
		if p.parsed != nil && (n < 0 || n > int64(p.parsed.MaxCap())) {
			fail(c.Args[2].Position(), "Pattern has %d groups. Cannot access group %d", p.parsed.MaxCap(), n)
		}
		if n > maxGroup {
			fail(c.Args[2].Position(), "%s: a group behind the first %d is not supported", name, maxGroup)
		}
		return strconv.FormatInt(n, 10)
	}
	switch name {
	case "regexp_like":
		return func(c *tssql.Call, args []bound) bound {
			x, p := operands(c, args, 2, "regexp_like(varchar, varchar)")
			return bound{sql: "regexp_matches(" + x.sql + ", " + p.sql + ")", typ: ScalarOf(Boolean)}
		}
	case "regexp_extract":
		return func(c *tssql.Call, args []bound) bound {
			x, p := operands(c, args, 3, "regexp_extract(varchar, varchar), regexp_extract(varchar, varchar, bigint)")
			if g := group(c, args, p); g != "0" {
				// DuckDB's regexp_extract has the empty text for a group that took no part in the match, the other one NULL.
				return bound{sql: "regexp_extract_all(" + x.sql + ", " + p.sql + ", " + g + ")[1]", typ: text}
			}
			return bound{sql: "(CASE WHEN regexp_matches(" + x.sql + ", " + p.sql + ") THEN regexp_extract(" + x.sql + ", " + p.sql + ", 0) END)", typ: text}
		}
	case "regexp_extract_all":
		return func(c *tssql.Call, args []bound) bound {
			x, p := operands(c, args, 3, "regexp_extract_all(varchar, varchar), regexp_extract_all(varchar, varchar, bigint)")
			return bound{sql: "regexp_extract_all(" + x.sql + ", " + p.sql + ", " + group(c, args, p) + ")", typ: list}
		}
	case "regexp_split":
		return func(c *tssql.Call, args []bound) bound {
			x, p := operands(c, args, 2, "regexp_split(varchar, varchar)")
			sql := "regexp_split_to_array(" + x.sql + ", " + p.sql + ")"
			if p.parsed == nil {
				sql = "(CASE WHEN " + p.sql + " IS NOT NULL THEN " + sql + " END)"
			}
			return bound{sql: sql, typ: list}
		}
	case "regexp_replace":
		return func(c *tssql.Call, args []bound) bound {
			x, p := operands(c, args, 3, "regexp_replace(varchar, varchar), regexp_replace(varchar, varchar, varchar)")
			with := ""
			if len(args) == 3 {
				s, ok := args[2].k.(string)
				if !ok {
					fail(c.Args[2].Position(), "regexp_replace: a replacement that is not a literal is not supported")
				}
				if with, ok = replacement(s, p.parsed); !ok {
					fail(c.Args[2].Position(), "Illegal replacement sequence: %s", s)
				}
			}
			return bound{sql: "regexp_replace(" + x.sql + ", " + p.sql + ", " + quote(with) + ", 'g')", typ: text}
		}
	}
	return nil
}

// regexpReplaceBy binds regexp_replace(text, pattern, groups -> text): the parts between the matches with what the lambda makes of each
// match's groups. A pattern that can match nothing is refused: DuckDB splits at such places otherwise than it finds them.
func (b *binder) regexpReplaceBy(c *tssql.Call) bound {
	text := ScalarOf(Varchar)
	x, pattern := b.expr(c.Args[0]), b.expr(c.Args[1])
	if !textual(x) || !textual(pattern) {
		fail(c.Pos, "Unexpected parameters (%s, %s, function) for function regexp_replace. Expected: regexp_replace(varchar, varchar, function(array(varchar), varchar))", x.typ, pattern.typ)
	}
	x = coerce(x, text, c.Args[0].Position())
	p := b.pattern(pattern, c.Args[1].Position())
	switch {
	case p.parsed == nil:
		fail(c.Args[1].Position(), "regexp_replace: a pattern that is not a literal is not supported with a lambda")
	case p.parsed.MaxCap() > maxGroup:
		fail(c.Args[1].Position(), "regexp_replace: a pattern with more than %d groups is not supported with a lambda", maxGroup)
	case canBeEmpty(p.parsed):
		fail(c.Args[1].Position(), "regexp_replace: a pattern that matches the empty text is not supported with a lambda")
	}
	m, e, i := b.co.param(), b.co.param(), b.co.param()
	fields := "'p': regexp_split_to_array(" + x.sql + ", " + p.sql + "), 'm': regexp_extract_all(" + x.sql + ", " + p.sql + ", 0)"
	groups := make([]string, p.parsed.MaxCap())
	for k := range groups {
		g := "g" + strconv.Itoa(k+1)
		fields += ", '" + g + "': regexp_extract_all(" + x.sql + ", " + p.sql + ", " + strconv.Itoa(k+1) + ")"
		groups[k] = m + "." + g + "[" + i + "]"
	}
	given := bound{sql: "CAST([" + strings.Join(groups, ", ") + "] AS VARCHAR[])", typ: Type{Array: &text}}
	out := b.lambda(c.Args[2], c, given)
	if !textual(out) {
		fail(c.Args[2].Position(), "regexp_replace: the lambda must return a varchar (actual: %s)", out.typ)
	}
	made := "list_transform(" + m + ".m, lambda " + e + ", " + i + ": coalesce(" + coerce(out, text, c.Args[2].Position()).sql + ", '') || " + m + ".p[" + i + " + 1])"
	sql := "list_transform([{" + fields + "}], lambda " + m + ": " + m + ".p[1] || coalesce(array_to_string(" + made + ", ''), ''))[1]"
	return bound{sql: sql, typ: text}
}

// canBeEmpty tells whether a pattern may match the empty text.
func canBeEmpty(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune) == 0
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL, syntax.OpNoMatch:
		return false
	case syntax.OpCapture, syntax.OpPlus:
		return canBeEmpty(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min == 0 || canBeEmpty(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !canBeEmpty(sub) {
				return false
			}
		}
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if canBeEmpty(sub) {
				return true
			}
		}
		return false
	}
	return true
}

// replacement turns Java's replacement text, with $1, ${name} and \ before a character that stands for itself, into RE2's.
// Of a pattern that is not known only the numbers of groups are.
func replacement(s string, parsed *syntax.Regexp) (string, bool) {
	var names []string
	last := maxGroup
	if parsed != nil {
		names, last = parsed.CapNames(), parsed.MaxCap()
	}
	var out strings.Builder
	literal := func(c byte) {
		if c == '\\' {
			out.WriteByte('\\')
		}
		out.WriteByte(c)
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			if i++; i == len(s) {
				return "", false
			}
			literal(s[i])
		case s[i] != '$':
			literal(s[i])
		case i+1 < len(s) && s[i+1] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return "", false
			}
			n := -1
			for k, name := range names {
				if name != "" && name == s[i+2:i+end] {
					n = k
				}
			}
			// RE2's replacement has one digit for a group.
			if n < 0 || n > maxGroup {
				return "", false
			}
			out.WriteString(`\` + strconv.Itoa(n))
			i += end
		case i+1 < len(s) && isDigit(s[i+1]) && int(s[i+1]-'0') <= last:
			out.WriteString(`\` + s[i+1:i+2])
			i++
		default:
			return "", false
		}
	}
	return out.String(), true
}
