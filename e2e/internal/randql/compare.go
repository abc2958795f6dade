// SPDX-License-Identifier: Apache-2.0

package randql

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
)

// Diff returns how two results differ, empty when they do not.
func Diff(got, want *promql.Result, e Expr) string {
	if want.Err != nil || got.Err != nil {
		// Which of several series an error names depends on their order.
		head := func(err error) string { return strings.SplitN(fmt.Sprint(err), "{", 2)[0] }
		if want.Err == nil || got.Err == nil || !strings.HasSuffix(head(got.Err), head(want.Err)) {
			return fmt.Sprintf(" got the error %v\nwant %v", got.Err, want.Err)
		}
		return ""
	}
	if g, w := annotationTexts(got.Warnings), annotationTexts(want.Warnings); !slices.Equal(g, w) {
		return fmt.Sprintf(" got the annotations %q\nwant %q", g, w)
	}
	g, w := seriesOf(got.Value, e.Ordered), seriesOf(want.Value, e.Ordered)
	for i := range max(len(g), len(w)) {
		switch {
		case i >= len(g):
			return fmt.Sprintf("not there: %s", w[i])
		case i >= len(w) || !labels.Equal(g[i].Metric, w[i].Metric):
			return fmt.Sprintf(" got series %d of %d: %s\nwant series of %d: %s", i, len(g), g[i], len(w), at(w, i))
		case !equalFloats(g[i].Floats, w[i].Floats, e) || !equalHistograms(g[i].Histograms, w[i].Histograms, e):
			return fmt.Sprintf(" got %s\nwant %s", g[i], w[i])
		}
	}
	return ""
}

func at(m promql.Matrix, i int) string {
	if i < len(m) {
		return m[i].String()
	}
	return "nothing"
}

// annotationTexts returns texts, sorted. The API cuts each kind at ten; here are never so many.
func annotationTexts(a annotations.Annotations) []string {
	var out []string
	for _, err := range a {
		out = append(out, err.Error())
	}
	slices.Sort(out)
	return out
}

// seriesOf returns any value as series, sorted by labels unless their order means something.
func seriesOf(v parser.Value, ordered bool) promql.Matrix {
	var out promql.Matrix
	switch v := v.(type) {
	case promql.Matrix:
		out = slices.Clone(v)
	case promql.Vector:
		for _, x := range v {
			one := promql.Series{Metric: x.Metric}
			if x.H != nil {
				one.Histograms = []promql.HPoint{{T: x.T, H: x.H}}
			} else {
				one.Floats = []promql.FPoint{{T: x.T, F: x.F}}
			}
			out = append(out, one)
		}
	case promql.String:
		return promql.Matrix{{Metric: labels.FromStrings("text", v.V), Floats: []promql.FPoint{{T: v.T}}}}
	case promql.Scalar:
		return promql.Matrix{{Floats: []promql.FPoint{{T: v.T, F: v.V}}}}
	}
	if !ordered {
		slices.SortStableFunc(out, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	}
	return out
}

func equalFloats(got, want []promql.FPoint, e Expr) bool {
	return slices.EqualFunc(got, want, func(a, b promql.FPoint) bool { return a.T == b.T && sameFloat(a.F, b.F, e) })
}

// sameFloat compares as JSON can tell: one NaN is as good as another.
func sameFloat(a, b float64, e Expr) bool {
	if math.Float64bits(a) == math.Float64bits(b) || math.IsNaN(a) && math.IsNaN(b) {
		return true
	}
	if a == 0 && b == 0 {
		return e.EitherZero || e.Inexact
	}
	return e.Inexact && math.Abs(a-b) <= 1e-6*max(math.Abs(a), math.Abs(b), 1e-6)
}

func equalHistograms(got, want []promql.HPoint, e Expr) bool {
	return slices.EqualFunc(got, want, func(a, b promql.HPoint) bool {
		if a.T != b.T || a.H.Schema != b.H.Schema || !sameFloat(a.H.ZeroThreshold, b.H.ZeroThreshold, Expr{}) || !sameFloat(a.H.Count, b.H.Count, e) || !sameFloat(a.H.Sum, b.H.Sum, e) {
			return false
		}
		bucket := func(h *histogram.FloatHistogram) []histogram.Bucket[float64] {
			var out []histogram.Bucket[float64]
			for it := h.AllBucketIterator(); it.Next(); {
				if x := it.At(); x.Count != 0 {
					out = append(out, x)
				}
			}
			return out
		}
		return slices.EqualFunc(bucket(a.H), bucket(b.H), func(a, b histogram.Bucket[float64]) bool {
			return a.Lower == b.Lower && a.Upper == b.Upper && sameFloat(a.Count, b.Count, e)
		})
	})
}
