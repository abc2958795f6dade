// SPDX-License-Identifier: Apache-2.0

package promapi

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tributary-project/tributary/internal/nesting"
)

// TestFormatWork: the estimate refuses what would take long to format, by counting and not by taking the time, and lets
// pass what people and tools write.
func TestFormatWork(t *testing.T) {
	api := New(Config{Expressions: nesting.Limits{MaxBytes: 64 << 10, MaxBytesFlag: "max"}})
	nested := func(n int, open, end string) string { return strings.Repeat(open, n) + "a" + strings.Repeat(end, n) }
	tests := []struct {
		name, give string
		refused    bool
	}{
		{"a dozen functions", nested(12, "abs(sum by (job) (", "))"), false},
		{"200 names", "a" + strings.Repeat(" or a", 200), false},
		{"a long text", `sum(rate({a=~"` + strings.Repeat("x|", 20_000) + `x",b="c"}[5m]))`, false},
		{"deep parentheses", nested(nesting.MaxDepth, "(", ")"), false},
		{"thousand names", "a" + strings.Repeat(" or a", 1000), true},
		{"powers", strings.Repeat("1^", 1000) + "1", true},
		{"a long text in deep parentheses", strings.Repeat("(", 200) + `{a="` + strings.Repeat("x", 60_000) + `"}` + strings.Repeat(")", 200), true},
		{"deep parentheses side by side", strings.Repeat(nested(200, "(", ")")+"+", 150) + "a", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expr, err := api.parse(tt.give)
			if err != nil {
				t.Fatal(err)
			}
			if work := formatWork(expr); (work > maxFormatWork) != tt.refused {
				t.Errorf("work %d, limit %d; want refused: %t", work, maxFormatWork, tt.refused)
			}
		})
	}
}

func BenchmarkWorstExpressions(b *testing.B) {
	api := New(Config{Expressions: nesting.Limits{MaxBytes: 64 << 10, MaxBytesFlag: "max"}})
	deep := nesting.MaxDepth
	for _, bb := range []struct{ name, give string }{
		{"parentheses", strings.Repeat("(", deep) + "a" + strings.Repeat(")", deep)},
		{"parentheses side by side", strings.TrimSuffix(strings.Repeat(strings.Repeat("(", deep)+"a"+strings.Repeat(")", deep)+"+", 130), "+")},
		{"minus", strings.Repeat("-", nesting.MaxTerms-1) + "a"},
		{"powers", strings.Repeat("1^", nesting.MaxTerms/2-1) + "1"},
		{"or", strings.Repeat("a or ", nesting.MaxTerms/2-1) + "a"},
		{"subqueries", strings.Repeat("rate(", deep-1) + "a[5m]" + strings.Repeat(")[1h:1m]", deep-2) + ")"},
		{"calls", strings.Repeat("abs(", deep) + "a" + strings.Repeat(")", deep)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			var expr parser.Expr
			var err error
			for b.Loop() {
				if expr, err = api.parse(bb.give); err != nil {
					b.Fatal(err)
				}
				if formatWork(expr) <= maxFormatWork {
					expr.Pretty(0)
				}
				if _, err := compact(tree(expr)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
