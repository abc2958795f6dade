// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"strings"
	"unicode/utf8"

	"github.com/tributary-project/tributary/timestream/local/internal/sqlfunc"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// The string functions (Timestream Developer Guide, string-functions) that DuckDB does not have as the service has them. All count
// code points; DuckDB's own count bytes (hamming) or graphemes (reverse). strrpos and the texts of errors are those of Presto.

// whiteSpace is what trim takes away: what Java's Character.isWhitespace holds for white space.
const whiteSpace = " \t\n\v\f\r\x1c\x1d\x1e\x1f\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u2028\u2029\u205f\u3000"

// maxPadded bounds what lpad and rpad make. A text of the service's has 2 KB; the bound keeps one call from filling the memory.
const maxPadded = 1_000_000

// stringOverloads are the signatures of strings; nil for a function that has none here.
func (b *binder) stringOverloads(name string) []overload {
	two := func(sql string) overload { return overload{[]Scalar{Varchar, Varchar}, Bigint, sql, true} }
	numbered := func(sql string) overload {
		return overload{[]Scalar{Varchar, Varchar, Bigint}, Bigint, "(CASE WHEN $3 <= 0 THEN " + b.raise("'instance' must be a positive number.") + " WHEN $2 = '' AND $1 IS NOT NULL AND $3 IS NOT NULL THEN 1 WHEN $1 IS NOT NULL AND $2 IS NOT NULL AND $3 IS NOT NULL THEN " + sql + " END)", true}
	}
	ascii := "(strlen($1) = length($1) AND strlen($2) = length($2))"
	switch name {
	case "codepoint":
		return []overload{{[]Scalar{Varchar}, Integer, "(CASE WHEN length($1) = 1 THEN unicode($1) WHEN $1 IS NOT NULL THEN " + b.raise("Input string must be a single character string") + " END)", true}}
	case "hamming_distance":
		i, l, r := b.co.param(), b.co.param(), b.co.param()
		return []overload{two("(CASE WHEN length($1) <> length($2) THEN " + b.raise("The input strings to hamming_distance function must have the same length") +
			" WHEN $1 = '' AND $2 = '' THEN CAST(0 AS BIGINT) WHEN " + ascii + " THEN CAST(hamming($1, $2) AS BIGINT) WHEN $1 IS NOT NULL AND $2 IS NOT NULL THEN list_transform([str_split($1, '')], lambda " + l + ": list_transform([str_split($2, '')], lambda " + r +
			": CAST(len(list_filter(range(1, len(" + l + ") + 1), lambda " + i + ": " + l + "[" + i + "] <> " + r + "[" + i + "])) AS BIGINT))[1])[1] END)")}
	case "levenshtein_distance":
		return []overload{two(sqlfunc.Levenshtein + "($1, $2, " + b.quiet() + ")")}
	case "lpad", "rpad":
		return []overload{{[]Scalar{Varchar, Bigint, Varchar}, Varchar, "(CASE WHEN $2 NOT BETWEEN 0 AND " + itoa(maxPadded) + " THEN " + b.raise("Target length must be in the range [0.."+itoa(maxPadded)+"]") +
			" WHEN $3 = '' THEN " + b.raise("Padding string must not be empty") + " ELSE " + name + "($1, CAST($2 AS INTEGER), $3) END)", true}}
	case "split_part":
		// Past the end it is NULL, where DuckDB has ''.
		return []overload{{[]Scalar{Varchar, Varchar, Bigint}, Varchar,
			"(CASE WHEN $3 < 1 THEN " + b.raise("Index must be greater than zero") + " WHEN $2 IS NOT NULL THEN str_split($1, $2)[$3] END)", true}}
	case "strpos":
		return []overload{two("strpos($1, $2)"), numbered("coalesce(" + b.places() + "[$3], 0)")}
	case "strrpos":
		return []overload{two("(CASE WHEN $2 = '' AND $1 IS NOT NULL THEN 1 WHEN $1 IS NOT NULL AND $2 IS NOT NULL THEN coalesce(" + b.places() + "[-1], 0) END)"), numbered("coalesce(" + b.places() + "[- $3], 0)")}
	}
	return nil
}

// places lists where $2 begins in $1; two occurrences may overlap.
func (b *binder) places() string {
	i := b.co.param()
	return "list_filter(range(1, length($1) - length($2) + 2), lambda " + i + ": substring($1, " + i + ", length($2)) = $2)"
}

// stringFunction returns the binder of a function of strings that gives or takes more than scalars; nil for others.
func (b *binder) stringFunction(name string) func(*tssql.Call, []bound) bound {
	switch name {
	case "chr":
		return b.chr
	case "replace":
		return b.replaceText
	case "reverse":
		return reverse
	case "split":
		return b.split
	case "substr", "substring":
		return substr
	}
	return nil
}

func reverse(c *tssql.Call, args []bound) bound {
	switch {
	case len(args) == 1 && args[0].typ.Array != nil:
		return bound{sql: "list_reverse(" + args[0].sql + ")", typ: args[0].typ}
	case len(args) == 1 && textual(args[0]):
		return bound{sql: "array_to_string(list_reverse(str_split(" + coerce(args[0], ScalarOf(Varchar), c.Pos).sql + ", '')), '')", typ: ScalarOf(Varchar)}
	}
	mismatch(c, args, "reverse(varchar), reverse(array(E))")
	return bound{}
}

// replaceText is replace(text, search[, by]). An empty text to look for is found before and behind every character, where DuckDB changes nothing.
func (b *binder) replaceText(c *tssql.Call, args []bound) bound {
	const expected = "replace(varchar, varchar), replace(varchar, varchar, varchar)"
	if len(args) < 2 || len(args) > 3 {
		mismatch(c, args, expected)
	}
	if len(args) == 2 {
		args = append(args, constant(Varchar, ""))
	}
	for i := range args {
		if !textual(args[i]) {
			mismatch(c, args[:len(c.Args)], expected)
		}
		args[i] = coerce(args[i], ScalarOf(Varchar), c.Pos)
	}
	x, search, by := args[0].sql, args[1].sql, args[2].sql
	sql := "replace(" + x + ", " + search + ", " + by + ")"
	if s, ok := args[1].k.(string); !ok || s == "" {
		sql = "(CASE WHEN " + search + " <> '' OR " + by + " = '' THEN " + sql + " WHEN " + x + " = '' THEN " + by +
			" WHEN " + search + " = '' THEN " + by + " || " + b.joinTexts("str_split("+x+", '')", args[2]) + " || " + by + " END)"
	}
	return bound{sql: sql, typ: ScalarOf(Varchar)}
}

// joinTexts joins a list of texts, without its NULLs. DuckDB wants a literal between them.
func (b *binder) joinTexts(list string, between bound) string {
	if between.k != nil {
		return "array_to_string(" + list + ", " + between.sql + ")"
	}
	p := b.co.param()
	return "substring(array_to_string(list_transform(" + list + ", lambda " + p + ": " + between.sql + " || " + p + "), ''), length(" + between.sql + ") + 1)"
}

// split is split(text, delimiter[, limit]).
func (b *binder) split(c *tssql.Call, args []bound) bound {
	const expected = "split(varchar, varchar), split(varchar, varchar, bigint)"
	if len(args) < 2 || len(args) > 3 || !textual(args[0]) || !textual(args[1]) {
		mismatch(c, args, expected)
	}
	elem := ScalarOf(Varchar)
	list := Type{Array: &elem}
	x, d := coerce(args[0], elem, c.Pos), coerce(args[1], elem, c.Pos)
	sql := "str_split(" + x.sql + ", " + d.sql + ")"
	switch s, ok := d.k.(string); {
	case !ok:
		sql = "(CASE WHEN " + d.sql + " = '' THEN " + b.raise("The delimiter may not be the empty string") + " WHEN " + d.sql + " IS NOT NULL THEN " + sql + " END)"
	case s == "":
		fail(c.Args[1].Position(), "The delimiter may not be the empty string")
	}
	if len(args) == 3 {
		if !coercible(args[2].typ, ScalarOf(Bigint)) {
			mismatch(c, args, expected)
		}
		n := coerce(args[2], ScalarOf(Bigint), c.Pos)
		bad := ""
		switch v, ok := n.k.(int64); {
		case !ok:
			bad = "WHEN " + n.sql + " <= 0 THEN " + b.raise("Limit must be positive") + " "
		case v <= 0:
			fail(c.Args[2].Position(), "Limit must be positive")
		}
		// The last part is the rest as it is.
		sql = b.let(bound{sql: sql, typ: list}, func(p string) string {
			return "(CASE " + bad + "WHEN " + n.sql + " IS NULL OR " + p + " IS NULL THEN NULL WHEN len(" + p + ") <= " + n.sql + " THEN " + p + " ELSE list_append(" + p + "[1:" + n.sql + " - 1], " + b.joinTexts(p+"["+n.sql+":len("+p+")]", d) + ") END)"
		})
	}
	return bound{sql: sql, typ: list}
}

// chr is the character of a code point.
func (b *binder) chr(c *tssql.Call, args []bound) bound {
	if len(args) != 1 || !coercible(args[0].typ, ScalarOf(Bigint)) {
		mismatch(c, args, "chr(bigint)")
	}
	x := coerce(args[0], ScalarOf(Bigint), c.Pos)
	if v, ok := x.k.(int64); ok {
		if v < 0 || v > utf8.MaxRune || !utf8.ValidRune(rune(v)) {
			fail(c.Args[0].Position(), "Not a valid Unicode code point: %d", v)
		}
		return constant(Varchar, string(rune(v)))
	}
	return bound{sql: "(CASE WHEN " + x.sql + " BETWEEN 0 AND 55295 OR " + x.sql + " BETWEEN 57344 AND 1114111 THEN chr(CAST(" + x.sql +
		" AS INTEGER)) WHEN " + x.sql + " IS NOT NULL THEN " + b.raiseSQL("'Not a valid Unicode code point: ' || CAST("+x.sql+" AS VARCHAR)") + " END)", typ: ScalarOf(Varchar)}
}

// maxPlace is beyond all places in a text; DuckDB refuses those of more than 32 bits.
const maxPlace = 1<<32 - 1

// substr is substr(text, start[, length]). Start 0, and one before the beginning, give ”, where DuckDB moves to the
// beginning. What a literal rules out is not tested for.
func substr(c *tssql.Call, args []bound) bound {
	const expected = "substr(varchar, bigint), substr(varchar, bigint, bigint)"
	if len(args) < 2 || len(args) > 3 || !textual(args[0]) {
		mismatch(c, args, expected)
	}
	x := coerce(args[0], ScalarOf(Varchar), c.Pos)
	list := x.sql
	var empty []string
	for i, n := range args[1:] {
		if !coercible(n.typ, ScalarOf(Bigint)) {
			mismatch(c, args, expected)
		}
		n = coerce(n, ScalarOf(Bigint), c.Pos)
		v, known := n.k.(int64)
		if known {
			v = min(max(v, -maxPlace), maxPlace)
			n = constant(Bigint, v)
			list += ", " + n.sql
		} else {
			last := itoa(maxPlace)
			list += ", CASE WHEN " + n.sql + " > " + last + " THEN " + last + " WHEN " + n.sql + " < -" + last + " THEN -" + last + " ELSE " + n.sql + " END"
		}
		switch {
		case known && v > 0:
		case i == 1:
			empty = append(empty, n.sql+" <= 0")
		default:
			empty = append(empty, n.sql+" = 0", "- "+n.sql+" > length("+x.sql+")")
		}
	}
	sql := "substring(" + list + ")"
	if empty != nil {
		sql = "(CASE WHEN " + strings.Join(empty, " OR ") + " THEN '' ELSE " + sql + " END)"
	}
	return bound{sql: sql, typ: x.typ}
}
