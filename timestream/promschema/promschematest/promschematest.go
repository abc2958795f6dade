// SPDX-License-Identifier: Apache-2.0

// Package promschematest makes up what Prometheus could send, for tests of what stores and reads it. Checking what comes
// back is left to them.
package promschematest

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
)

// Float returns a random float64 of any sort: ordinary ones, and every special one.
func Float(r *rand.Rand) float64 {
	switch r.IntN(4) {
	case 0:
		return []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(value.StaleNaN),
			math.Float64frombits(0x7ff0000000000123), 5e-324, math.MaxFloat64}[r.IntN(9)]
	case 1:
		return math.Float64frombits(r.Uint64())
	case 2:
		return float64(r.IntN(1000))
	}
	return r.NormFloat64() * 1e3
}

// Histogram returns a random native histogram of any kind that is valid by Prometheus' rules: integer or float, of every
// schema or with custom buckets, with any counter-reset hint, a staleness marker now and then. It has up to maxBuckets
// buckets on each side. Its timestamp is 0.
func Histogram(r *rand.Rand, maxBuckets int) *prompb.Histogram {
	h := &prompb.Histogram{Sum: Float(r), ResetHint: prompb.Histogram_ResetHint(r.IntN(4))}
	float, custom := r.IntN(2) == 0, r.IntN(3) == 0
	if r.IntN(20) == 0 { // a staleness marker, as Prometheus makes it
		h.Sum = math.Float64frombits(value.StaleNaN)
		if float {
			h.Count, h.ZeroCount = &prompb.Histogram_CountFloat{}, &prompb.Histogram_ZeroCountFloat{}
		} else {
			h.Count, h.ZeroCount = &prompb.Histogram_CountInt{}, &prompb.Histogram_ZeroCountInt{}
		}
		return h
	}
	var counts [2][]uint64 // positive, negative
	var zero uint64
	if custom {
		h.Schema = -53
		spans, n, length := customSpans(r, maxBuckets)
		h.PositiveSpans, counts[0] = spans, someCounts(r, n)
		h.CustomValues = bounds(r, length)
	} else {
		h.Schema = int32(r.IntN(13)) - 4
		h.ZeroThreshold = []float64{0, math.Copysign(0, -1), 1e-128, 0.001}[r.IntN(4)]
		zero = r.Uint64N(100)
		for side, spans := range []*[]prompb.BucketSpan{&h.PositiveSpans, &h.NegativeSpans} {
			s, n := exponentialSpans(r, maxBuckets)
			*spans, counts[side] = s, someCounts(r, n)
		}
	}
	if float {
		h.PositiveCounts, h.NegativeCounts = floats(r, counts[0]), floats(r, counts[1])
		h.Count = &prompb.Histogram_CountFloat{CountFloat: math.Abs(Float(r))}
		h.ZeroCount = &prompb.Histogram_ZeroCountFloat{}
		if !custom {
			h.ZeroCount = &prompb.Histogram_ZeroCountFloat{ZeroCountFloat: math.Abs(Float(r))}
		}
		return h
	}
	total := zero
	for _, side := range counts {
		for _, c := range side {
			total += c
		}
	}
	h.PositiveDeltas, h.NegativeDeltas = deltas(counts[0]), deltas(counts[1])
	h.Count, h.ZeroCount = &prompb.Histogram_CountInt{CountInt: total}, &prompb.Histogram_ZeroCountInt{ZeroCountInt: zero}
	return h
}

func exponentialSpans(r *rand.Rand, maxBuckets int) (spans []prompb.BucketSpan, n int) {
	for left := r.IntN(maxBuckets + 1); left > 0; {
		s := prompb.BucketSpan{Offset: int32(r.IntN(50)), Length: uint32(1 + r.IntN(left))}
		if len(spans) == 0 {
			s.Offset -= 25
		}
		spans = append(spans, s)
		left -= int(s.Length)
		n += int(s.Length)
	}
	return spans, n
}

// customSpans returns spans, how many buckets they have, and up to which they reach.
func customSpans(r *rand.Rand, maxBuckets int) (spans []prompb.BucketSpan, n, length int) {
	for left := r.IntN(maxBuckets + 1); left > 0; {
		s := prompb.BucketSpan{Offset: int32(r.IntN(3)), Length: uint32(1 + r.IntN(left))}
		spans = append(spans, s)
		left -= int(s.Length)
		n += int(s.Length)
		length += int(s.Offset) + int(s.Length)
	}
	return spans, n, length
}

func bounds(r *rand.Rand, n int) []float64 {
	out := make([]float64, max(n, 1))
	for i := range out {
		out[i] = r.NormFloat64()
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func someCounts(r *rand.Rand, n int) []uint64 {
	out := make([]uint64, n)
	most := uint64(1) << (1 + r.IntN(40))
	for i := range out {
		out[i] = r.Uint64N(most)
	}
	return out
}

func floats(r *rand.Rand, counts []uint64) []float64 {
	var out []float64
	for _, c := range counts {
		v := float64(c) * r.Float64()
		if r.IntN(10) == 0 {
			v = math.Abs(Float(r))
		}
		out = append(out, v)
	}
	return out
}

func deltas(counts []uint64) []int64 {
	var out []int64
	last := int64(0)
	for _, c := range counts {
		out = append(out, int64(c)-last)
		last = int64(c)
	}
	return out
}
