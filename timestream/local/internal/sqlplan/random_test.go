// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

// literals are the leaves of random expressions. Each is also a column of a subquery, which hides from the compiler that
// it is constant.
var literals = [...]string{
	"1", "0", "-7", "2147483647", "-2147483648", "3000000000", "-9223372036854775808", "9223372036854775807", "2.5", "-2.5", "0.0", "-0.0", "1e300",
	"nan()", "infinity()", "NULL", "TRUE", "FALSE", "'abc'", "''", "' 12 '", "'2022-06-17 10:15:20.123456789'", "'héllo, wörld'", "'true'",
	"TIMESTAMP '2022-06-17 10:15:20.123456789'", "TIMESTAMP '1970-01-01'", "TIMESTAMP '1969-12-31 23:59:59.999999999'", "DATE '2024-02-29'",
	"1d", "90s", "- 1ns", "1month", "- 25month", "now()",
}

// randomExpr writes an expression twice: with literals and with the columns c0, c1 … that hold them.
func randomExpr(r *rand.Rand, depth int) (literal, column string) {
	if depth == 0 || r.IntN(5) == 0 {
		i := r.IntN(len(literals))
		return "(" + literals[i] + ")", fmt.Sprintf("c%d", i)
	}
	a, ac := randomExpr(r, depth-1)
	b, bc := randomExpr(r, depth-1)
	c, cc := randomExpr(r, depth-1)
	both := func(format string) (string, string) {
		return strings.NewReplacer("$a", a, "$b", b, "$c", c).Replace(format), strings.NewReplacer("$a", ac, "$b", bc, "$c", cc).Replace(format)
	}
	forms := [...]string{
		"($a + $b)", "($a - $b)", "($a * $b)", "($a / $b)", "($a % $b)", "(- $a)", "($a = $b)", "($a <> $b)", "($a < $b)", "($a >= $b)", "($a AND $b)", "($a OR $b)", "(NOT $a)",
		"($a || $b)", "($a IS NULL)", "($a IN ($b, $c))", "($a NOT IN ($b))", "($a BETWEEN $b AND $c)", "($a LIKE $b)", "(CASE WHEN $a THEN $b ELSE $c END)",
		"(CASE $a WHEN $b THEN $c END)", "abs($a)", "sign($a)", "round($a)", "round($a, 1)", "floor($a)", "ceil($a)", "truncate($a)", "mod($a, $b)", "power($a, $b)", "sqrt($a)", "ln($a)", "log2($a)",
		"exp($a)", "is_nan($a)", "is_finite($a)", "is_infinite($a)", "bitwise_and($a, $b)", "bitwise_xor($a, $b)", "bitwise_not($a)", "lower($a)", "upper($a)", "length($a)", "reverse($a)",
		"trim($a)", "strpos($a, $b)", "replace($a, $b)", "split_part($a, $b, 1)", "substr($a, $b)", "substr($a, $b, $c)", "concat($a, $b)", "coalesce($a, $b)", "nullif($a, $b)",
		"greatest($a, $b)", "least($a, $b, $c)", "if($a, $b, $c)", "bin($a, 5m)", "bin($a, $b)", "ago($a)", "from_milliseconds($a)", "from_nanoseconds($a)", "to_milliseconds($a)",
		"to_nanoseconds($a)", "date_trunc('hour', $a)", "date_trunc('week', $a)", "date_trunc('month', $a)", "cast($a AS varchar)", "cast($a AS bigint)", "cast($a AS integer)", "cast($a AS double)",
		"cast($a AS boolean)", "cast($a AS timestamp)", "cast($a AS date)", "try_cast($a AS bigint)", "try_cast($a AS double)", "try_cast($a AS timestamp)", "try_cast($a AS integer)",
		"typeof($a)", "regexp_like($a, 'a.c')", "regexp_like($a, $b)", "regexp_extract($a, '(.)(b)?', 2)", "regexp_extract_all($a, 'a(.)?', 1)", "regexp_split($a, 'b')",
		"regexp_replace($a, '(b)', '<$1>')", "cbrt($a)", "degrees($a)", "log10($a)", "acos($a)", "atan2($a, $b)", "tanh($a)", "round($a, $b)", "to_base($a, $b)", "from_base($a, 16)", "bit_count($a, 64)",
		"bit_count($a, $b)", "chr($a)", "codepoint($a)", "hamming_distance($a, $b)", "levenshtein_distance($a, $b)", "lpad($a, $b, $c)", "rpad($a, 5, $b)", "ltrim($a)", "rtrim($a)",
		"replace($a, $b, $c)", "split($a, $b)", "split($a, $b, $c)", "split_part($a, $b, $c)", "strpos($a, $b, $c)", "strrpos($a, $b)", "strrpos($a, $b, 2)", "position($a IN $b)",
		"ARRAY[$a, $b]", "ARRAY[$a, NULL]", "ARRAY[$a, $b, $a]", "ROW($a, $b)", "array_distinct($a)", "array_intersect($a, $b)", "array_union($a, $b)", "array_except($a, $b)", "array_join($a, '-')",
		"array_join($a, '-', $b)", "array_join($a, $b)", "array_max($a)", "array_min($a)", "array_position($a, $b)", "array_remove($a, $b)", "array_sort($a)", "arrays_overlap($a, $b)", "cardinality($a)",
		"element_at($a, $b)", "element_at($a, -1)", "$a[$b]", "$a[1]", "repeat($a, 2)", "sequence($a, $b)", "sequence(now(), $a, 10000d)", "sequence($a, $b, 1month)", "slice($a, 1, $b)", "slice($a, $b, 2)",
		"zip($a, $b)", "try($a / $b)", "try(cast($a AS bigint))", "try($a[$b])", "cast($a AS time)", "try_cast($a AS boolean)", "try_cast($a AS time)", "try_cast($a AS date)",
	}
	return both(forms[r.IntN(len(forms))])
}

// TestRandomExpressions holds two things: what compiles is a statement that DuckDB accepts (it may fail on a value, never on
// the text or the types, and then in words of the dialect), and what the compiler computes from literals is what DuckDB computes from columns.
func TestRandomExpressions(t *testing.T) {
	e := newEngine(t, tableM)
	var from strings.Builder
	from.WriteString(" FROM (SELECT ")
	for i, l := range literals {
		if i > 0 {
			from.WriteString(", ")
		}
		fmt.Fprintf(&from, "%s AS c%d", l, i)
	}
	from.WriteString(")")
	run := func(expr, from string) (string, error) {
		plan, rows, err := e.query("SELECT " + expr + from)
		var invalid *qtypes.ValidationException
		switch {
		case errors.As(err, &invalid):
			return "", err
		case err != nil:
			if s := err.Error(); !strings.Contains(s, "Invalid Input Error") && !strings.Contains(s, "Out of Range Error") && !strings.Contains(s, "Conversion Error") {
				t.Errorf("%s: %v", expr, err)
			} else if _, text, _ := strings.Cut(s, " Error: "); Failure(strings.SplitN(text, "\n", 2)[0]) == otherFailure {
				t.Errorf("%s fails in DuckDB's words: %s", expr, text)
			}
			return "", err
		case len(rows) != 1:
			t.Errorf("%s: %d rows", expr, len(rows))
		}
		return typesOf(plan) + " " + rowText(rows[0]), nil
	}
	r := rand.New(rand.NewPCG(7, 8))
	ran := 0
	for range 10000 {
		literal, column := randomExpr(r, 1+r.IntN(3))
		want, err := run(literal, "")
		if err != nil {
			continue
		}
		got, err := run(column, from.String())
		if err != nil {
			continue
		}
		ran++
		if got != want {
			t.Errorf("%s is %s, but %s is %s", literal, want, column, got)
		}
	}
	if ran < 2000 {
		t.Errorf("only %d expressions ran", ran)
	}
	t.Log(ran, "expressions ran")
}
