// SPDX-License-Identifier: Apache-2.0

package randql

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// TestExpressionsParse: expressions are well typed, and the same seed makes the same ones.
func TestExpressionsParse(t *testing.T) {
	p := parser.NewParser(promqltest.TestParserOpts)
	schema := DefaultSchema(time.UnixMilli(0), time.UnixMilli(1e6))
	g, same := New(rand.New(rand.NewPCG(1, 2)), schema), New(rand.New(rand.NewPCG(1, 2)), schema)
	for range 2000 {
		e := g.Next()
		if again := same.Next(); again != e {
			t.Fatalf("the same seed made %q and %q", e.Text, again.Text)
		}
		if _, err := p.ParseExpr(e.Text); err != nil {
			t.Errorf("%s: %v", e.Text, err)
		}
	}
}

// TestDiff: what differs is told, what may differ is not.
func TestDiff(t *testing.T) {
	point := func(v float64) *promql.Result {
		return &promql.Result{Value: promql.Vector{{Metric: labels.FromStrings("a", "1"), T: 1, F: v}, {Metric: labels.FromStrings("a", "2"), T: 1, H: &histogram.FloatHistogram{Count: v}}}}
	}
	swapped := point(1)
	v := swapped.Value.(promql.Vector)
	v[0], v[1] = v[1], v[0]
	for _, tt := range []struct {
		name      string
		got, want *promql.Result
		e         Expr
		differ    bool
	}{
		{"the same", point(1), point(1), Expr{}, false},
		{"one bit", point(1), point(math.Nextafter(1, 2)), Expr{}, true},
		{"one bit of a sum", point(1), point(math.Nextafter(1, 2)), Expr{Inexact: true}, false},
		{"a sum of something else", point(1), point(1.1), Expr{Inexact: true}, true},
		{"the sign of 0", point(0), point(math.Copysign(0, -1)), Expr{}, true},
		{"the sign of one of several", point(0), point(math.Copysign(0, -1)), Expr{EitherZero: true}, false},
		{"order", point(1), swapped, Expr{}, false},
		{"order that counts", point(1), swapped, Expr{Ordered: true}, true},
		{"a series less", point(1), &promql.Result{Value: point(1).Value.(promql.Vector)[:1]}, Expr{}, true},
		{"nothing", &promql.Result{Value: promql.Vector{}}, point(1), Expr{}, true},
		{"a scalar", &promql.Result{Value: promql.Scalar{T: 1, V: 1}}, &promql.Result{Value: promql.Scalar{T: 1, V: 2}}, Expr{}, true},
	} {
		if got := Diff(tt.got, tt.want, tt.e); (got != "") != tt.differ {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}
