// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// moreOverloads are further signatures of mathematics (Timestream Developer Guide, mathematical-functions and bitwise-functions).
func (b *binder) moreOverloads(name string) []overload {
	// Java answers NaN where a function has no value, DuckDB an error.
	where := func(cond, sql string) []overload {
		return []overload{{[]Scalar{Double}, Double, "(CASE WHEN " + cond + " THEN " + sql + " WHEN $1 IS NOT NULL THEN CAST('nan' AS DOUBLE) END)", false}}
	}
	below := func(t Scalar) overload {
		return overload{[]Scalar{t}, t, "CAST(floor(random() * (CASE WHEN $1 <= 0 THEN " + b.raise("bound must be positive") + " ELSE $1 END)) AS " + duckType(ScalarOf(t)) + ")", true}
	}
	switch name {
	case "sin", "cos", "tan":
		return where("isfinite($1)", name+"($1)")
	case "asin", "acos":
		return where("abs($1) <= 1", name+"($1)")
	case "atan", "cosh", "tanh", "degrees", "radians":
		return []overload{{[]Scalar{Double}, Double, name + "($1)", false}}
	case "atan2":
		return []overload{{[]Scalar{Double, Double}, Double, "atan2($1, $2)", false}}
	case "rand", "random":
		return []overload{
			{nil, Double, "random()", true},
			below(Integer), below(Bigint),
		}
	case "to_base":
		// DuckDB has no digits for a number below zero, and none for the one that has no positive twin.
		return []overload{{[]Scalar{Bigint, Bigint}, Varchar, "(CASE WHEN $2 NOT BETWEEN 2 AND 36 THEN " + b.raise("Radix must be between 2 and 36") +
			" WHEN $1 >= 0 THEN lower(to_base($1, CAST($2 AS INTEGER))) ELSE '-' || coalesce(nullif(lower(to_base((- (CAST($1 AS HUGEINT) // $2))::BIGINT, CAST($2 AS INTEGER))), '0'), '') ||" +
			" lower(to_base((- (CAST($1 AS HUGEINT) % $2))::BIGINT, CAST($2 AS INTEGER))) END)", true}}
	case "bit_count":
		return []overload{{[]Scalar{Bigint, Bigint}, Bigint, "(CASE WHEN $2 NOT BETWEEN 2 AND 64 THEN " +
			b.raiseSQL("'Bits specified in bit_count must be between 2 and 64, got ' || CAST($2 AS VARCHAR)") +
			" WHEN $2 = 64 THEN CAST(bit_count($1) AS BIGINT) WHEN $1 >= (CAST(1 AS BIGINT) << ($2 - 1)) OR $1 < - (CAST(1 AS BIGINT) << ($2 - 1)) THEN " +
			b.raiseSQL("'Number must be representable with the bits specified. ' || CAST($1 AS VARCHAR) || ' can not be represented with ' || CAST($2 AS VARCHAR) || ' bits'") +
			" ELSE CAST(bit_count($1 & ((CAST(1 AS BIGINT) << $2) - 1)) AS BIGINT) END)", true}}
	}
	return nil
}

// textFunction returns the binder of a function of texts that gives or takes more than scalars (Timestream Developer Guide,
// string-functions and regex-functions); nil for others.
func (b *binder) textFunction(name string) func(*tssql.Call, []bound) bound {
	elem := ScalarOf(Varchar)
	list := Type{Array: &elem}
	// matcher checks the arguments text, pattern and perhaps a group; the pattern comes back for DuckDB.
	matcher := func(c *tssql.Call, args []bound, n int, expected string) (bound, string) {
		if len(args) < 2 || len(args) > n || !textual(args[0]) || !textual(args[1]) {
			mismatch(c, args, expected)
		}
		pattern, ok := args[1].k.(string)
		if !ok {
			fail(c.Args[1].Position(), "%s: a pattern that is not a literal is not supported", name)
		}
		re2, err := translateRegexp(pattern)
		if err != nil {
			fail(c.Args[1].Position(), "%s", err)
		}
		return coerce(args[0], elem, c.Pos), re2
	}
	group := func(c *tssql.Call, args []bound, re2 string) string {
		if len(args) < 3 {
			return "0"
		}
		n, ok := args[2].k.(int64)
		if !ok {
			fail(c.Args[2].Position(), "%s: a group that is not a literal is not supported", name)
		}
		if parsed, err := syntax.Parse(re2, syntax.Perl); err == nil && (n < 0 || n > int64(parsed.MaxCap())) {
			fail(c.Args[2].Position(), "Pattern has %d groups. Cannot access group %d", parsed.MaxCap(), n)
		}
		return strconv.FormatInt(n, 10)
	}
	switch name {
	case "regexp_extract":
		return func(c *tssql.Call, args []bound) bound {
			x, re2 := matcher(c, args, 3, "regexp_extract(varchar, varchar), regexp_extract(varchar, varchar, bigint)")
			return bound{sql: "(CASE WHEN regexp_matches(" + x.sql + ", " + quote(re2) + ") THEN regexp_extract(" + x.sql + ", " + quote(re2) + ", " + group(c, args, re2) + ") END)", typ: elem}
		}
	case "regexp_extract_all":
		return func(c *tssql.Call, args []bound) bound {
			x, re2 := matcher(c, args, 3, "regexp_extract_all(varchar, varchar), regexp_extract_all(varchar, varchar, bigint)")
			return bound{sql: "regexp_extract_all(" + x.sql + ", " + quote(re2) + ", " + group(c, args, re2) + ")", typ: list}
		}
	case "regexp_split":
		return func(c *tssql.Call, args []bound) bound {
			x, re2 := matcher(c, args, 2, "regexp_split(varchar, varchar)")
			return bound{sql: "regexp_split_to_array(" + x.sql + ", " + quote(re2) + ")", typ: list}
		}
	case "regexp_replace":
		return func(c *tssql.Call, args []bound) bound {
			x, re2 := matcher(c, args, 3, "regexp_replace(varchar, varchar), regexp_replace(varchar, varchar, varchar)")
			with := ""
			if len(args) == 3 {
				s, ok := args[2].k.(string)
				if !ok {
					fail(c.Args[2].Position(), "regexp_replace: a replacement that is not a literal is not supported")
				}
				if with, ok = replacement(s, re2); !ok {
					fail(c.Args[2].Position(), "Illegal replacement sequence: %s", s)
				}
			}
			return bound{sql: "regexp_replace(" + x.sql + ", " + quote(re2) + ", " + quote(with) + ", 'g')", typ: elem}
		}
	}
	return nil
}

// replacement turns Java's replacement text, with $1, ${name} and \ before a character that stands for itself, into RE2's.
func replacement(s, re2 string) (string, bool) {
	parsed, err := syntax.Parse(re2, syntax.Perl)
	if err != nil {
		return "", false
	}
	names := parsed.CapNames()
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
			if n < 0 || n > 9 {
				return "", false
			}
			out.WriteString(`\` + strconv.Itoa(n))
			i += end
		case i+1 < len(s) && isDigit(s[i+1]) && int(s[i+1]-'0') <= parsed.MaxCap():
			out.WriteString(`\` + s[i+1:i+2])
			i++
		default:
			return "", false
		}
	}
	return out.String(), true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
