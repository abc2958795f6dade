// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/tributary-project/tributary/services/query/internal/engine/enginetest"
	"github.com/tributary-project/tributary/services/query/internal/native"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// loadAll reads everything that a Memory has, for a range that begins at startMs.
func loadAll(t testing.TB, m *enginetest.Memory, startMs int64) []*memSeries {
	t.Helper()
	in, err := m.Select(t.Context(), series.Selection{StartMs: math.MinInt64, EndMs: math.MaxInt64, Starts: true})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	all, _, err := collect(native.KnownResets(in, startMs))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]*memSeries, len(all))
	for i, s := range all {
		out[i] = s.(*memSeries)
	}
	return out
}

func intHistogram(n int) *prompb.Histogram {
	return enginetest.Histogram(tsdbutil.GenerateTestHistogram(int64(n)), nil)
}

func floatHistogram(n int) *prompb.Histogram {
	return enginetest.Histogram(nil, tsdbutil.GenerateTestFloatHistogram(int64(n)))
}

// at says where an iterator is.
func at(it chunkenc.Iterator, kind chunkenc.ValueType) string {
	switch kind {
	case chunkenc.ValFloat:
		t, v := it.At()
		return fmt.Sprintf("%d=%g/%d", t, v, it.AtST())
	case chunkenc.ValHistogram:
		t, h := it.AtHistogram(nil)
		_, f := it.AtFloatHistogram(nil)
		return fmt.Sprintf("%d=h%d,%g/%d", t, h.Count, f.Count, it.AtST())
	case chunkenc.ValFloatHistogram:
		t, h := it.AtFloatHistogram(nil)
		return fmt.Sprintf("%d=f%g/%d", t, h.Count, it.AtST())
	}
	return "end"
}

func TestIteratorGoesThroughFloatsAndHistogramsInOrder(t *testing.T) {
	m := &enginetest.Memory{Piece: 2}
	ls := labels.FromStrings("__name__", "m")
	m.Append(ls, 0, 10, 1, nil)
	m.Append(ls, 0, 20, 0, intHistogram(0))
	m.Append(ls, 5, 30, 0, floatHistogram(1))
	m.Append(ls, 7, 40, 4, nil)
	m.Append(ls, 0, 50, 5, nil)
	m.Append(labels.FromStrings("__name__", "n"), 0, 15, 1, nil)
	all := loadAll(t, m, 0)
	if len(all) != 2 {
		t.Fatalf("%d series", len(all))
	}
	it := all[1].Iterator(nil)
	for _, tt := range []struct{ give, want string }{
		{"next", "10=1/0 20=h12,12/0 30=f21/0 40=4/7 50=5/0 end end"},
		{"seek -1", "10=1/0"},
		{"seek 10", "10=1/0"},
		{"seek 11", "20=h12,12/0"},
		{"seek 20 seek 20 seek 5 next", "20=h12,12/0 20=h12,12/0 20=h12,12/0 30=f21/0 40=4/7 50=5/0 end end"},
		{"seek 31 next", "40=4/7 50=5/0 end end"},
		{"seek 50 seek 51 seek 1", "50=5/0 end end"},
	} {
		t.Run(tt.give, func(t *testing.T) {
			it = all[0].Iterator(it)
			if it.AtT() != math.MinInt64 {
				t.Errorf("before the first sample: at %d", it.AtT())
			}
			var got []string
			words := strings.Fields(tt.give)
			for i := 0; i < len(words); i++ {
				if words[i] == "seek" {
					var to int64
					if _, err := fmt.Sscan(words[i+1], &to); err != nil {
						t.Fatal(err)
					}
					i++
					got = append(got, at(it, it.Seek(to)))
					continue
				}
				for kind := it.Next(); ; kind = it.Next() {
					if got = append(got, at(it, kind)); kind == chunkenc.ValNone {
						got = append(got, at(it, it.Next()))
						break
					}
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, " "), tt.want)
			}
		})
	}
}

// TestHistogramsAreThoseOfPrometheus compares with prompb's own conversions, with objects that are used again and without.
func TestHistogramsAreThoseOfPrometheus(t *testing.T) {
	var give []*prompb.Histogram
	for i := range 4 {
		give = append(give, intHistogram(i), floatHistogram(i),
			enginetest.Histogram(tsdbutil.GenerateTestGaugeHistogram(int64(i)), nil),
			enginetest.Histogram(tsdbutil.GenerateTestCustomBucketsHistogram(int64(i)), nil),
			enginetest.Histogram(nil, tsdbutil.GenerateTestCustomBucketsFloatHistogram(int64(i))))
	}
	give = append(give, enginetest.Histogram(&histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}, nil), enginetest.Histogram(nil, &histogram.FloatHistogram{Sum: math.Copysign(0, -1)}))
	var h histogram.Histogram
	var fh histogram.FloatHistogram
	for i, p := range give {
		native.ReadFloat(&fh, p)
		if want := p.ToFloatHistogram(); !fh.Equals(want) || fh.CounterResetHint != want.CounterResetHint {
			t.Errorf("%d: got %v, want %v", i, &fh, want)
		}
		if p.IsFloatHistogram() {
			if back := StoredHistogram(&fh); !back.ToFloatHistogram().Equals(p.ToFloatHistogram()) {
				t.Errorf("%d: got %v, want %v", i, back, p)
			}
			continue
		}
		native.Read(&h, p)
		if want := p.ToIntHistogram(); !h.Equals(want) || h.CounterResetHint != want.CounterResetHint {
			t.Errorf("%d: got %v, want %v", i, &h, want)
		}
	}
}

func TestCountsBeyondTheFloatsAddUpAsIntegers(t *testing.T) {
	p := prompb.Histogram{
		Count: &prompb.Histogram_CountInt{}, ZeroCount: &prompb.Histogram_ZeroCountInt{},
		PositiveSpans: []prompb.BucketSpan{{Length: 3}}, PositiveDeltas: []int64{1<<53 + 1, 1, -(1<<53 + 1)},
	}
	var h histogram.FloatHistogram
	native.ReadFloat(&h, &p)
	if got := h.PositiveBuckets; got[1] != 1<<53+2 || got[2] != 1 {
		t.Errorf("got %v", got)
	}
}

func TestResetHints(t *testing.T) {
	with := func(h *prompb.Histogram, hint histogram.CounterResetHint) *prompb.Histogram {
		h.ResetHint = prompb.Histogram_ResetHint(hint)
		return h
	}
	const (
		unknown, reset, not, gauge = histogram.UnknownCounterReset, histogram.CounterReset, histogram.NotCounterReset, histogram.GaugeType
	)
	stale := enginetest.Histogram(&histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}, nil)
	for _, tt := range []struct {
		name string
		give []*prompb.Histogram // nil for a float
		want []histogram.CounterResetHint
	}{
		{"growing", []*prompb.Histogram{intHistogram(1), intHistogram(2), intHistogram(2)}, []histogram.CounterResetHint{unknown, not, not}},
		{"shrinking", []*prompb.Histogram{intHistogram(5), intHistogram(2), intHistogram(3)}, []histogram.CounterResetHint{unknown, unknown, not}},
		{"two sorts", []*prompb.Histogram{intHistogram(1), floatHistogram(2), floatHistogram(3)}, []histogram.CounterResetHint{unknown, unknown, not}},
		{"a float between", []*prompb.Histogram{intHistogram(1), nil, intHistogram(2), intHistogram(3)}, []histogram.CounterResetHint{unknown, unknown, not}},
		{"a stale marker between", []*prompb.Histogram{intHistogram(1), stale, intHistogram(2)}, []histogram.CounterResetHint{unknown, unknown, unknown}},
		{"as stored", []*prompb.Histogram{with(intHistogram(1), not), with(intHistogram(2), reset), intHistogram(3)}, []histogram.CounterResetHint{not, reset, not}},
		{"gauges", []*prompb.Histogram{with(intHistogram(1), gauge), with(intHistogram(2), gauge), intHistogram(3)}, []histogram.CounterResetHint{gauge, gauge, unknown}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &enginetest.Memory{Piece: 2}
			for i, h := range tt.give {
				m.Append(labels.FromStrings("__name__", "m"), 0, int64(i), 1, h)
			}
			// What comes before the range takes part, and is not given out.
			for startMs := range int64(len(tt.give)) {
				var got []histogram.CounterResetHint
				all := loadAll(t, m, startMs)
				for _, s := range all {
					it := s.Iterator(nil)
					for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
						if kind != chunkenc.ValFloat {
							_, h := it.AtFloatHistogram(nil)
							got = append(got, h.CounterResetHint)
						}
					}
				}
				want := tt.want
				for _, h := range tt.give[:startMs] {
					if h != nil {
						want = want[1:]
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("from %d on: got %v, want %v", startMs, got, want)
				}
			}
		})
	}
}

// TestCollectKeepsEverything compares random series, in pieces of random length that are spoilt afterwards, with what was
// put in. Blocks of the arena are filled more than once.
func TestCollectKeepsEverything(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		m := &enginetest.Memory{Piece: 1 + rng.IntN(500)}
		want := make(map[string]string)
		for i := range 1 + rng.IntN(30) {
			ls := labels.FromStrings("__name__", "m", "i", fmt.Sprintf("%03d", i))
			var text strings.Builder
			for k := range 1 + rng.IntN(1500) {
				st := int64(0)
				if rng.IntN(4) == 0 && k > 300 {
					st = int64(k)
				}
				m.Append(ls, st, int64(k), float64(i*k), nil)
				fmt.Fprintf(&text, "%d=%g/%d ", k, float64(i*k), st)
			}
			want[ls.String()] = text.String()
		}
		all := loadAll(t, m, 0)
		if len(all) != len(want) {
			t.Fatalf("round %d: %d series, want %d", round, len(all), len(want))
		}
		var it chunkenc.Iterator
		for _, s := range all {
			var text strings.Builder
			it = s.Iterator(it)
			for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
				text.WriteString(at(it, kind) + " ")
			}
			if text.String() != want[s.Labels().String()] {
				t.Fatalf("round %d, series %s: got %.200s, want %.200s", round, s.Labels(), text.String(), want[s.Labels().String()])
			}
		}
	}
}
