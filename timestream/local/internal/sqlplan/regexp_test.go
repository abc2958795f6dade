// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRegexpsMeanWhatTheySay compares regexp_like over a column with Go's engine, which has RE2's syntax. DuckDB rewrites
// patterns that it takes for LIKE or for a search before it runs them; what it must not rewrite is here.
func TestRegexpsMeanWhatTheySay(t *testing.T) {
	values := []string{"", "a", "ab", "b", "a\nb", "\n", "a%b", "axb", "a_b", "A", "AB", `a\b`, "éa", "日本", "a b", "aab", "ba", "%", "_", "%a", "a%"}
	patterns := []string{
		`a`, `^a`, `a$`, `^a$`, `\Aa\z`, `.*`, `a.*`, `.*a`, `.*a.*`, `a.b`, `(?s)a.b`, `(?s).*b`, `(?s)a.*`, `(?s:a.)`, `.`, `(?s).`, `..`, `(?s)..`, `^..$`, `(?s)^..$`,
		`\A(?s:\za)\z`, `\A(?s:a\z)\z`, `\A(?s:a\Ab)\z`, `a^b`, `a$b`, `^^a$$`, `$a`, `a^`, `$`, `^`, `^$`, `$^`, `a\z.*`, `.*\Ab`, `(?s).*\Ab`, `(?s)a\z.*`, `(?s).*\zb`,
		`(?m)^b`, `(?m)a$`, `(?m)^b$`, `(?m)a$\nb`, `(?m)a$.b`, `(?ms)a$.b`, `(?m)^$`,
		`(?i)a`, `(?i)^ab$`, `(?i)a.*`, `(?i)\Aa\z`, `(?i)ab`, `(?is)a.b`, `a%b`, `^a%b$`, `^a_b$`, `a_`, `%`, `^%$`, `_`, `^a\\b$`, `\\`, `^%a`, `a%$`, `.*%`, `%.*`, `(?s)^.*%$`,
		`\.`, `a+`, `^a+b$`, `a?`, `[ab]`, `^[ab]$`, `[^a]`, `(a)`, `^(a|b)$`, `a|b`, `^a|b$`, `(?:a)(?:b)`, `^(?:a)(?:b)$`, `^a(?:)b$`, `()`, `a{2}`, `^a{2}b$`, `\bb`, `a\b`, `\Bb`, `日.`, `^.本$`, `(?s)^日.$`, `é`, `^é.*`,
	}
	var setup strings.Builder
	setup.WriteString("CREATE TABLE m (d1 VARCHAR, d2 VARCHAR, m VARCHAR, t BIGINT, v DOUBLE, b BIGINT, a1 BOOLEAN, a2 VARCHAR)")
	for _, v := range values {
		setup.WriteString(";INSERT INTO m (d1, m, t) VALUES (" + quote(v) + ", 'up', 0)")
	}
	e := newEngine(t, setup.String())
	for _, p := range patterns {
		reference := regexp.MustCompile(p)
		for _, not := range []string{"", "NOT "} {
			_, rows, err := e.query("SELECT job FROM db.m WHERE " + not + "regexp_like(job, '" + p + "')")
			if err != nil {
				t.Errorf("%q: %v", p, err)
				continue
			}
			var got, want []string
			for _, r := range rows {
				got = append(got, datumText(r.Data[0]))
			}
			for _, v := range values {
				if reference.MatchString(v) == (not == "") {
					want = append(want, v)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s%q: got %q, want %q", not, p, got, want)
			}
		}
	}
}
