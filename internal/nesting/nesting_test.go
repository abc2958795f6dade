// SPDX-License-Identifier: Apache-2.0

package nesting

import (
	"regexp"
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	tests := []struct {
		give         string
		depth, terms int
	}{
		{"", 0, 0},
		{"a or b", 0, 3},
		{"sum by (x) (rate(a[5m]))", 3, 6},
		{`{a="((((", b=~'[[[\'[', c=` + "`{{\\`" + `}`, 1, 1},
		{"a # ((((\n+ (b)", 1, 3},
		{`"#(" + ("\"(")`, 1, 3},
		{"- - -a", 0, 4},
		{")))((", 2, 0},
		{"{}or{}", 1, 3},
		{`"((`, 0, 1},
		{`"\`, 0, 1},
		{"{a='}'}", 1, 1},
	}
	for _, tt := range tests {
		if got := scan(tt.give); got.depth != tt.depth || got.terms != tt.terms {
			t.Errorf("%q: depth %d, %d terms; want %d, %d", tt.give, got.depth, got.terms, tt.depth, tt.terms)
		}
	}
}

func TestCheck(t *testing.T) {
	limits := Limits{MaxBytes: 64 << 10, MaxBytesFlag: "max"}
	nested := func(n int, open, end string) string { return strings.Repeat(open, n) + "a" + strings.Repeat(end, n) }
	tests := []struct {
		name, give, want string
	}{
		{"many names", "a" + strings.Repeat(" or a", MaxTerms/2-1), ""},
		{"a long text", `{a=~"` + strings.Repeat("(a|b)+", 10_000) + `"}`, ""},
		{"at the depth", nested(MaxDepth, "(", ")"), ""},
		{"at the length", strings.Repeat("a", 64<<10), ""},
		{"many brackets side by side", strings.Repeat("(a)", 2900), ""},
		{"too long", strings.Repeat("a", 64<<10+1), "the expression has 65537 bytes, the limit is 65536 (--max)"},
		{"parentheses", nested(2000, "(", ")"), "the expression is nested 2000 brackets deep at byte 250, the limit is 250 (fixed, whatever --max allows)"},
		{"never closed", strings.Repeat("(", 64<<10), "nested 65536 brackets deep at byte 250"},
		{"calls", nested(MaxDepth+1, "abs(", ")"), "nested 251 brackets deep at byte 1003"},
		{"ranges", nested(MaxDepth+1, "rate(", "[1h:1m])"), "nested 252 brackets deep"},
		{"minus", strings.Repeat("-", MaxTerms) + "a", "the expression has 3001 names, numbers, texts and operators, the limit is 3000 (fixed, whatever --max allows)"},
		{"powers", strings.Repeat("1^", MaxTerms/2+1) + "1", "has 3003 names"},
		{"words", strings.Repeat("a or ", MaxTerms/2+1) + "a", "has 3003 names"},
		{"braces", strings.Repeat("{}-", MaxTerms) + "a", "has 6001 names"},
		{"texts", strings.Repeat("''-", MaxTerms) + "a", "has 6001 names"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := limits.Check(tt.give)
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzScan compares the depth with what is left to count when texts and comments are cut out.
func FuzzScan(f *testing.F) {
	for _, s := range []string{"a or b", `{a="(\"", b='#'} # (`, "`\\`(", `"\`, "((]", "rate(a[5m:1m])\n#\n("} {
		f.Add(s)
	}
	quoted := regexp.MustCompile("(?s)\"(?:\\\\.|[^\"\\\\])*(?:\"|\\\\?$)|'(?:\\\\.|[^'\\\\])*(?:'|\\\\?$)|`[^`]*(?:`|$)|#[^\n]*")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?") // what is no UTF-8 the expression takes apart otherwise
		var open, depth int
		for _, c := range quoted.ReplaceAllString(text, " ") {
			switch {
			case strings.ContainsRune("([{", c):
				open++
			case strings.ContainsRune(")]}", c) && open > 0:
				open--
			}
			depth = max(depth, open)
		}
		if got := scan(text); got.depth != depth || (got.tooDeepAt >= 0) != (depth > MaxDepth) || got.terms > len(text) {
			t.Fatalf("%q: %+v, want depth %d", text, got, depth)
		}
	})
}
