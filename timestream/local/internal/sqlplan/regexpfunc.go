// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/local/internal/javaregexp"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlfunc"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// maxGroup is the last group that DuckDB's functions can name.
const maxGroup = 9

// regexpPattern is the second argument of a function of regular expressions.
type regexpPattern struct {
	sql string
	// compiled is nil for a pattern that is not known here.
	compiled *javaregexp.Regexp
	// re2 is the pattern for DuckDB's own functions, empty if there is none; empty tells that it matches the empty text, at which DuckDB
	// goes on otherwise than Java.
	re2   string
	empty bool
}

// pattern binds a pattern.
func (b *binder) pattern(x bound, at tssql.Pos) regexpPattern {
	s, ok := x.k.(string)
	if !ok {
		return regexpPattern{sql: coerce(x, ScalarOf(Varchar), at).sql}
	}
	compiled, err := javaregexp.Compile(s)
	if err != nil {
		fail(at, "%s", err)
	}
	p := regexpPattern{sql: x.sql, compiled: compiled}
	if re2, err := javaregexp.RE2(s); err == nil {
		if parsed, err := syntax.Parse(re2, syntax.Perl); err == nil {
			p.re2, p.empty = quote(re2), javaregexp.CanBeEmpty(parsed)
		}
	}
	return p
}

// regexpFunction returns the binder of a function of regular expressions (Timestream Developer Guide, regex-functions); nil for others. Literal
// patterns that RE2 has are DuckDB's, all others those of package sqlfunc.
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
	group := func(c *tssql.Call, args []bound, p regexpPattern) bound {
		if len(args) < 3 {
			return constant(Bigint, int64(0))
		}
		if !coercible(args[2].typ, ScalarOf(Bigint)) {
			mismatch(c, args, name+"(varchar, varchar), "+name+"(varchar, varchar, bigint)")
		}
		g := coerce(args[2], ScalarOf(Bigint), c.Args[2].Position())
		if n, ok := g.k.(int64); ok && p.compiled != nil && (n < 0 || n > int64(p.compiled.Groups)) {
			fail(c.Args[2].Position(), "Pattern has %d groups. Cannot access group %d", p.compiled.Groups, n)
		}
		return g
	}
	// call prints a function of package sqlfunc.
	call := func(function string, x bound, p regexpPattern, more ...bound) string {
		sql := function + "(" + x.sql + ", " + p.sql
		for _, m := range more {
			sql += ", " + m.sql
		}
		return sql + ", " + b.quiet() + ")"
	}
	// own is the number of a group for DuckDB's functions, which want a literal.
	own := func(g bound) (string, bool) {
		n, ok := g.k.(int64)
		return strconv.FormatInt(n, 10), ok && n <= maxGroup
	}
	switch name {
	case "regexp_like":
		return func(c *tssql.Call, args []bound) bound {
			x, p := operands(c, args, 2, "regexp_like(varchar, varchar)")
			if p.re2 != "" {
				return bound{sql: "regexp_matches(" + x.sql + ", " + p.re2 + ")", typ: ScalarOf(Boolean)}
			}
			return bound{sql: call(sqlfunc.RegexpLike, x, p), typ: ScalarOf(Boolean)}
		}
	case "regexp_extract":
		return func(c *tssql.Call, args []bound) bound {
			x, p := operands(c, args, 3, "regexp_extract(varchar, varchar), regexp_extract(varchar, varchar, bigint)")
			g := group(c, args, p)
			switch n, ok := own(g); {
			case !ok || p.re2 == "":
				return bound{sql: call(sqlfunc.RegexpExtract, x, p, g), typ: text}
			case n == "0":
				return bound{sql: "(CASE WHEN regexp_matches(" + x.sql + ", " + p.re2 + ") THEN regexp_extract(" + x.sql + ", " + p.re2 + ", 0) END)", typ: text}
			default:
				// DuckDB's regexp_extract has the empty text for a group that took no part in the match, the other one NULL.
				return bound{sql: "regexp_extract_all(" + x.sql + ", " + p.re2 + ", " + n + ")[1]", typ: text}
			}
		}
	case "regexp_extract_all":
		return func(c *tssql.Call, args []bound) bound {
			x, p := operands(c, args, 3, "regexp_extract_all(varchar, varchar), regexp_extract_all(varchar, varchar, bigint)")
			g := group(c, args, p)
			if n, ok := own(g); ok && p.re2 != "" && !p.empty {
				return bound{sql: "regexp_extract_all(" + x.sql + ", " + p.re2 + ", " + n + ")", typ: list}
			}
			return bound{sql: call(sqlfunc.RegexpExtractAll, x, p, g), typ: list}
		}
	case "regexp_split":
		return func(c *tssql.Call, args []bound) bound {
			x, p := operands(c, args, 2, "regexp_split(varchar, varchar)")
			if p.re2 != "" && !p.empty {
				return bound{sql: "regexp_split_to_array(" + x.sql + ", " + p.re2 + ")", typ: list}
			}
			return bound{sql: call(sqlfunc.RegexpSplit, x, p), typ: list}
		}
	case "regexp_replace":
		return func(c *tssql.Call, args []bound) bound {
			const expected = "regexp_replace(varchar, varchar), regexp_replace(varchar, varchar, varchar)"
			x, p := operands(c, args, 3, expected)
			with := constant(Varchar, "")
			if len(args) == 3 {
				if !textual(args[2]) {
					mismatch(c, args, expected)
				}
				with = coerce(args[2], text, c.Args[2].Position())
			}
			if s, ok := with.k.(string); ok && p.compiled != nil {
				pieces, ok := p.compiled.Template(s)
				if !ok {
					fail(c.Args[2].Position(), "Illegal replacement sequence: %s", s)
				}
				if re2, ok := rewritten(pieces); ok && p.re2 != "" && !p.empty {
					return bound{sql: "regexp_replace(" + x.sql + ", " + p.re2 + ", " + quote(re2) + ", 'g')", typ: text}
				}
			}
			return bound{sql: call(sqlfunc.RegexpReplace, x, p, with), typ: text}
		}
	}
	return nil
}

// rewritten spells a replacement as RE2 does, which has one digit for a group.
func rewritten(pieces javaregexp.Template) (string, bool) {
	var out strings.Builder
	for _, p := range pieces {
		switch {
		case p.Group > maxGroup:
			return "", false
		case p.Group >= 0:
			out.WriteString(`\` + strconv.Itoa(p.Group))
		default:
			out.WriteString(strings.ReplaceAll(p.Text, `\`, `\\`))
		}
	}
	return out.String(), true
}

// regexpReplaceBy binds regexp_replace(text, pattern, groups -> text): the parts between the matches with what the lambda makes of each
// match's groups. Where it makes NULL of one all is NULL, as in Trino.
func (b *binder) regexpReplaceBy(c *tssql.Call) bound {
	text := ScalarOf(Varchar)
	x, pattern := b.expr(c.Args[0]), b.expr(c.Args[1])
	if !textual(x) || !textual(pattern) {
		fail(c.Pos, "Unexpected parameters (%s, %s, function) for function regexp_replace. Expected: regexp_replace(varchar, varchar, function(array(varchar), varchar))", x.typ, pattern.typ)
	}
	x = coerce(x, text, c.Args[0].Position())
	p := b.pattern(pattern, c.Args[1].Position())
	m, e, made := b.co.param(), b.co.param(), b.co.param()
	out := b.lambda(c.Args[2], c, bound{sql: "list_slice(" + e + ", 2, len(" + e + "))", typ: Type{Array: &text}})
	if !textual(out) {
		fail(c.Args[2].Position(), "regexp_replace: the lambda must return a varchar (actual: %s)", out.typ)
	}
	// Behind the last match is a text without groups.
	replaced := "list_transform(list_slice(" + m + ", 1, len(" + m + ") - 1), lambda " + e + ": " + e + "[1] || " + coerce(out, text, c.Args[2].Position()).sql + ")"
	sql := "list_transform([" + sqlfunc.RegexpParts + "(" + x.sql + ", " + p.sql + ", " + b.quiet() + ")], lambda " + m + ": list_transform([" + replaced + "], lambda " + made +
		": CASE WHEN list_count(" + made + ") = len(" + made + ") THEN coalesce(array_to_string(" + made + ", ''), '') || " + m + "[len(" + m + ")][1] END)[1])[1]"
	return bound{sql: sql, typ: text}
}
