// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
)

// resetHints returns the counter reset hints of a series whose samples are all there. Where the stored hint is unknown, as
// it is in what Prometheus scrapes, and the sample before is a histogram of the same sort and layout without a reset between
// them, the hint is "no reset": so does Prometheus' own storage, whose chunks hold no reset. The first one keeps its hint.
func resetHints(s *memSeries) []histogram.CounterResetHint {
	hints := make([]histogram.CounterResetHint, len(s.histograms))
	var (
		now, before histogram.FloatHistogram
		known       bool // before is the histogram before this one
		f           int  // floats that are earlier
	)
	for i, h := range s.histograms {
		hints[i] = histogram.CounterResetHint(h.H.ResetHint)
		for f < len(s.floats) && s.floats[f].T < h.T {
			f++
		}
		if hints[i] != histogram.UnknownCounterReset {
			known = false
			if i+1 < len(s.histograms) && hints[i] != histogram.GaugeType && !value.IsStaleNaN(h.H.Sum) {
				readFloatHistogram(&before, h.H)
				known = true
			}
			continue
		}
		readFloatHistogram(&now, h.H)
		adjacent := known && s.histograms[i-1].H.IsFloatHistogram() == h.H.IsFloatHistogram() && (f == 0 || s.floats[f-1].T < s.histograms[i-1].T)
		if adjacent && now.Schema == before.Schema && now.ZeroThreshold == before.ZeroThreshold && !now.DetectReset(&before) {
			hints[i] = histogram.NotCounterReset
		}
		now, before = before, now
		known = !value.IsStaleNaN(h.H.Sum)
	}
	return hints
}

// readHistogram fills h, whose slices are used again, with a histogram of integers. Bounds of custom buckets are shared:
// Prometheus never changes them.
func readHistogram(h *histogram.Histogram, p *prompb.Histogram) {
	*h = histogram.Histogram{
		CounterResetHint: histogram.CounterResetHint(p.ResetHint),
		Schema:           p.Schema,
		ZeroThreshold:    p.ZeroThreshold,
		ZeroCount:        p.GetZeroCountInt(),
		Count:            p.GetCountInt(),
		Sum:              p.Sum,
		PositiveSpans:    readSpans(h.PositiveSpans, p.PositiveSpans),
		NegativeSpans:    readSpans(h.NegativeSpans, p.NegativeSpans),
		PositiveBuckets:  append(h.PositiveBuckets[:0], p.PositiveDeltas...),
		NegativeBuckets:  append(h.NegativeBuckets[:0], p.NegativeDeltas...),
		CustomValues:     p.CustomValues,
	}
}

// readFloatHistogram fills h likewise, with a histogram of either sort.
func readFloatHistogram(h *histogram.FloatHistogram, p *prompb.Histogram) {
	out := histogram.FloatHistogram{
		CounterResetHint: histogram.CounterResetHint(p.ResetHint),
		Schema:           p.Schema,
		ZeroThreshold:    p.ZeroThreshold,
		Sum:              p.Sum,
		PositiveSpans:    readSpans(h.PositiveSpans, p.PositiveSpans),
		NegativeSpans:    readSpans(h.NegativeSpans, p.NegativeSpans),
		CustomValues:     p.CustomValues,
	}
	if p.IsFloatHistogram() {
		out.ZeroCount, out.Count = p.GetZeroCountFloat(), p.GetCountFloat()
		out.PositiveBuckets = append(h.PositiveBuckets[:0], p.PositiveCounts...)
		out.NegativeBuckets = append(h.NegativeBuckets[:0], p.NegativeCounts...)
	} else {
		out.ZeroCount, out.Count = float64(p.GetZeroCountInt()), float64(p.GetCountInt())
		out.PositiveBuckets = sumDeltas(h.PositiveBuckets, p.PositiveDeltas)
		out.NegativeBuckets = sumDeltas(h.NegativeBuckets, p.NegativeDeltas)
	}
	*h = out
}

func readSpans(dst []histogram.Span, spans []prompb.BucketSpan) []histogram.Span {
	dst = slices.Grow(dst[:0], len(spans))
	for _, s := range spans {
		dst = append(dst, histogram.Span{Offset: s.Offset, Length: s.Length})
	}
	return dst
}

// sumDeltas adds in integers, as Prometheus' chunks do: floats would round counts beyond 2^53 otherwise.
func sumDeltas(dst []float64, deltas []int64) []float64 {
	dst = slices.Grow(dst[:0], len(deltas))
	var n int64
	for _, d := range deltas {
		n += d
		dst = append(dst, float64(n))
	}
	return dst
}

// StoredHistogram returns the form in which histograms are stored and sent. It shares nothing that the engine uses again.
func StoredHistogram(h *histogram.FloatHistogram) *prompb.Histogram {
	p := prompb.FromFloatHistogram(0, h)
	return &p
}
