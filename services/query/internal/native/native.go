// SPDX-License-Identifier: Apache-2.0

// Package native turns stored native histograms into Prometheus' own, and tells of them whether their counter was reset where what is
// stored does not say. How they are stored is promschema's.
package native

import (
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
)

// Read fills h, whose slices are used again, with a histogram of integers. Bounds of custom buckets are shared:
// Prometheus never changes them.
func Read(h *histogram.Histogram, p *prompb.Histogram) {
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

// ReadFloat fills h likewise, with a histogram of either sort.
func ReadFloat(h *histogram.FloatHistogram, p *prompb.Histogram) {
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
