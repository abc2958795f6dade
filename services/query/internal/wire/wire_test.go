// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/promschema/promschematest"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

func TestAppendTimeSeries(t *testing.T) {
	s := series.Series{Labels: labels.FromStrings("__name__", "up", "job", strings.Repeat("long", 100), "ü", "地区")}
	for i, v := range []float64{0, 1, math.Copysign(0, -1), math.NaN(), math.Float64frombits(0x7ff0000000000002), math.Inf(-1), 5e-324} {
		s.Samples = append(s.Samples, series.Sample{T: int64(i) * 1_700_000_000_000, V: v}, series.Sample{T: math.MaxInt64 - int64(i), V: v})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range int64(50) {
		s.Histograms = append(s.Histograms, series.Histogram{T: i * 1_700_000_000, H: promschematest.Histogram(r, 30)})
	}
	var got prompb.TimeSeries
	if err := got.Unmarshal(AppendTimeSeries(nil, s)); err != nil {
		t.Fatal(err)
	}
	i := 0
	s.Labels.Range(func(l labels.Label) {
		if got.Labels[i].Name != l.Name || got.Labels[i].Value != l.Value {
			t.Errorf("label %d: got %v, want %v", i, got.Labels[i], l)
		}
		i++
	})
	if len(got.Labels) != i || len(got.Samples) != len(s.Samples) {
		t.Fatalf("got %d labels and %d samples", len(got.Labels), len(got.Samples))
	}
	if len(got.Histograms) != len(s.Histograms) || len(got.Exemplars) != 0 {
		t.Fatalf("got %d histograms and %d exemplars", len(got.Histograms), len(got.Exemplars))
	}
	for i, h := range s.Histograms {
		g := got.Histograms[i]
		if g.Timestamp != h.T || !bytes.Equal(promschema.AppendHistogram(nil, &g, 0), promschema.AppendHistogram(nil, h.H, 0)) {
			t.Errorf("histogram %d: got %v, want %v at %d", i, g, h.H, h.T)
		}
	}
	for i, p := range s.Samples {
		if g := got.Samples[i]; g.Timestamp != p.T || math.Float64bits(g.Value) != math.Float64bits(p.V) {
			t.Errorf("sample %d: got %d %x, want %d %x", i, g.Timestamp, math.Float64bits(g.Value), p.T, math.Float64bits(p.V))
		}
	}
}

func BenchmarkAppendTimeSeries(b *testing.B) {
	s := series.Series{Labels: labels.FromStrings("__name__", "up", "job", "api", "instance", "host-1:9100")}
	for i := range 240 {
		s.Samples = append(s.Samples, series.Sample{T: 1_700_000_000_000 + int64(i)*15_000, V: float64(i) * 1.25})
	}
	b.ReportAllocs()
	for b.Loop() {
		AppendTimeSeries(nil, s)
	}
}
