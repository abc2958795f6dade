// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/services/query/internal/querytest"
)

func TestJavaRegex(t *testing.T) {
	for _, tt := range []struct {
		give string
		want string // empty: no common form
	}{
		{`a`, `\A(?s:a)\z`},
		{`a|b.c`, `\A(?s:a|b.c)\z`},
		{`(?P<name>a)(b)`, `\A(?s:(?:a)(?:b))\z`},
		{`a+?b*c?`, `\A(?s:a+b*c?)\z`},
		{`a{2}b{2,}c{2,5}`, `\A(?s:a{2,2}b{2,}c{2,5})\z`},
		{`[[:digit:]-]\d`, `\A(?s:[\-0-9][0-9])\z`},
		{`[^a]`, `\A(?s:[^a])\z`},
		{`[^\x00-\x{10FFFF}]`, ``},
		{`[\x00-a]`, `\A(?s:[\x00-a])\z`},
		{`(?i)k`, "\\A(?s:[Kk\u212a])\\z"},
		{`(?i)1`, `\A(?s:1)\z`},
		{`^a$`, `\A(?s:\Aa\z)\z`},
		{`(?-s:.)`, `\A(?s:[^\x0a])\z`},
		{"\n\t\x7f", `\A(?s:\x0a\x09\x7f)\z`},
		{`\.\-\/\"\'`, `\A(?s:\.\-\/\"\')\z`},
		{`\Qa.b\E`, `\A(?s:a\.b)\z`},
		{`(?:ab)+[xy]*`, `\A(?s:(?:ab)+[xy]*)\z`},
		{`(?U)a+`, `\A(?s:a+)\z`},
		{`a(b|c)d`, `\A(?s:a(?:[bc])d)\z`},
		{`地|区+`, `\A(?s:地|区+)\z`},
		{``, `\A(?s:(?:))\z`},
		{`\ba`, ``},
		{`(?m)^a$`, ``},
		{`\pL{20}\pL{20}\pL{20}`, ``}, // too long
	} {
		re, err := parseRegex(tt.give)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := javaRegex(re)
		if ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%q: got %q %v, want %q", tt.give, got, ok, tt.want)
		}
	}
}

// matcherSeeds are expressions and values, among them those where Prometheus' matcher and its own expression disagree:
// beyond sixteen alternatives it folds case by normalising Unicode.
func matcherSeeds() [][2]string {
	many := "(?i)fi|a1|b1|c1|d1|e1|f1|g1|h1|i1|j1|k1|l1|m1|n1|o1|p1|q1"
	return [][2]string{
		{many, "ﬁ"}, {many, "ａ１"}, {many, "A1"}, {"(?i)kfoo.*", "\u212afoox"}, {"(?i)sab", "ſab"}, {"(?i)ab", "AB"},
		{"a.*", "a\nb"}, {"a.+b", "a\nb"}, {"(?-s:a.*)", "a\nb"}, {"a|b|", ""}, {"a|b|", "b"}, {"[^a]+", "bc\n"}, {"(a|b)?c", "bc"},
		{`\d{2,3}`, "123"}, {`[\w-]+`, "a-b"}, {"a%_.*", "a%_b"}, {`a\\.*`, `a\b`}, {".", "😀"}, {"[^😀]", "x"}, {"foo.*bar.*", "foo1bar"},
		{"(?m)^a$", "a"}, {`\bx\b`, "x"}, {"x*", ""}, {".+", "x"}, {".*", ""}, {"()", ""}, {"a.?", "ab"}, {".?", "\n"}, {"(?i)ﬁ", "ﬁ"},
	}
}

// checkMatcher fails when the condition for a matcher decides otherwise than the matcher.
func checkMatcher(t *testing.T, typ labels.MatchType, expr, value string) {
	m, err := labels.NewMatcher(typ, "l", expr)
	if err != nil || !utf8.ValidString(value) || !utf8.ValidString(expr) {
		return
	}
	e, v := valuePredicate(column("l"), m, false)
	switch want := m.Matches(value); v {
	case exact:
		got, err := querytest.Eval(e, map[string]any{"l": value})
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		if got != want {
			t.Errorf("%s on %q: SQL says %v, Prometheus %v", m, value, got, want)
		}
	case always, never:
		if value != "" && want != (v == always) {
			t.Errorf("%s on %q: the plan says %v, Prometheus %v", m, value, v == always, want)
		}
	}
	if p := literalPrefix(m); m.Matches(value) && !strings.HasPrefix(value, p) {
		t.Errorf("%s matches %q, which does not begin with %q", m, value, p)
	}
}

func TestPredicateDecidesAsPrometheus(t *testing.T) {
	for _, s := range matcherSeeds() {
		for _, typ := range []labels.MatchType{labels.MatchRegexp, labels.MatchNotRegexp, labels.MatchEqual, labels.MatchNotEqual} {
			checkMatcher(t, typ, s[0], s[1])
		}
	}
}

func FuzzPredicate(f *testing.F) {
	for _, s := range matcherSeeds() {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, expr, value string) {
		checkMatcher(t, labels.MatchRegexp, expr, value)
		checkMatcher(t, labels.MatchNotRegexp, expr, value)
	})
}

// FuzzJavaRegex holds the re-emitted expression to the meaning of the original: Go reads both.
func FuzzJavaRegex(f *testing.F) {
	for _, s := range matcherSeeds() {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, expr, value string) {
		re, err := parseRegex(expr)
		if err != nil || !utf8.ValidString(value) || !utf8.ValidString(expr) {
			return
		}
		original, err := regexp.Compile("^(?s:" + expr + ")$")
		if err != nil {
			return
		}
		text, ok := javaRegex(re)
		if !ok {
			return
		}
		emitted, err := regexp.Compile(text)
		if err != nil {
			t.Fatalf("%q became %q: %v", expr, text, err)
		}
		if got, want := emitted.MatchString(value), original.MatchString(value); got != want {
			t.Errorf("%q became %q, which says %v of %q", expr, text, got, value)
		}
	})
}
