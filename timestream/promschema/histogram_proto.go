// SPDX-License-Identifier: Apache-2.0

package promschema

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/prometheus/prometheus/prompb"
)

// Tags of prometheus.Histogram and prometheus.BucketSpan: field number << 3 | wire type. Those of the fields from 16 take
// two bytes.
const (
	histogramCountInt       = 1 << 3
	histogramCountFloat     = 2<<3 | 1
	histogramSum            = 3<<3 | 1
	histogramSchema         = 4 << 3
	histogramZeroThreshold  = 5<<3 | 1
	histogramZeroCountInt   = 6 << 3
	histogramZeroCountFloat = 7<<3 | 1
	histogramNegativeSpans  = 8<<3 | 2
	histogramNegativeDeltas = 9<<3 | 2
	histogramNegativeCounts = 10<<3 | 2
	histogramPositiveSpans  = 11<<3 | 2
	histogramPositiveDeltas = 12<<3 | 2
	histogramPositiveCounts = 13<<3 | 2
	histogramResetHint      = 14 << 3
	histogramTimestamp      = 15 << 3
	histogramCustomValues   = 16<<3 | 2
	spanOffset              = 1 << 3
	spanLength              = 2 << 3
)

// AppendHistogram appends h as a serialised prometheus.Histogram with this timestamp in place of its own, in milliseconds
// since the epoch. It differs from the generated code in that -0 is not taken for an absent number, and that it is known to
// give equal histograms equal bytes whatever the version of that code: what is stored must not change. Fields that
// the message does not define are left out.
func AppendHistogram(dst []byte, h *prompb.Histogram, timestampMs int64) []byte {
	// Deltas take one or two bytes mostly.
	dst = slices.Grow(dst, 64+6*(len(h.NegativeSpans)+len(h.PositiveSpans))+2*(len(h.NegativeDeltas)+len(h.PositiveDeltas))+
		8*(len(h.NegativeCounts)+len(h.PositiveCounts)+len(h.CustomValues)))
	switch c := h.Count.(type) {
	case *prompb.Histogram_CountInt:
		dst = binary.AppendUvarint(append(dst, histogramCountInt), c.CountInt)
	case *prompb.Histogram_CountFloat:
		dst = binary.LittleEndian.AppendUint64(append(dst, histogramCountFloat), math.Float64bits(c.CountFloat))
	}
	dst = appendDouble(dst, histogramSum, h.Sum)
	if h.Schema != 0 {
		dst = binary.AppendUvarint(append(dst, histogramSchema), zigzag(int64(h.Schema)))
	}
	dst = appendDouble(dst, histogramZeroThreshold, h.ZeroThreshold)
	switch c := h.ZeroCount.(type) {
	case *prompb.Histogram_ZeroCountInt:
		dst = binary.AppendUvarint(append(dst, histogramZeroCountInt), c.ZeroCountInt)
	case *prompb.Histogram_ZeroCountFloat:
		dst = binary.LittleEndian.AppendUint64(append(dst, histogramZeroCountFloat), math.Float64bits(c.ZeroCountFloat))
	}
	dst = appendSpans(dst, histogramNegativeSpans, h.NegativeSpans)
	dst = appendDeltas(dst, histogramNegativeDeltas, h.NegativeDeltas)
	if len(h.NegativeCounts) > 0 {
		dst = appendDoubles(append(dst, histogramNegativeCounts), h.NegativeCounts)
	}
	dst = appendSpans(dst, histogramPositiveSpans, h.PositiveSpans)
	dst = appendDeltas(dst, histogramPositiveDeltas, h.PositiveDeltas)
	if len(h.PositiveCounts) > 0 {
		dst = appendDoubles(append(dst, histogramPositiveCounts), h.PositiveCounts)
	}
	if h.ResetHint != 0 {
		dst = binary.AppendUvarint(append(dst, histogramResetHint), uint64(h.ResetHint))
	}
	if timestampMs != 0 {
		dst = binary.AppendUvarint(append(dst, histogramTimestamp), uint64(timestampMs))
	}
	if len(h.CustomValues) > 0 {
		dst = appendDoubles(append(dst, histogramCustomValues&0x7f|0x80, histogramCustomValues>>7), h.CustomValues)
	}
	return dst
}

func appendDouble(dst []byte, tag byte, v float64) []byte {
	if b := math.Float64bits(v); b != 0 {
		return binary.LittleEndian.AppendUint64(append(dst, tag), b)
	}
	return dst
}

func appendDoubles(dst []byte, vs []float64) []byte {
	dst = binary.AppendUvarint(dst, uint64(8*len(vs)))
	for _, v := range vs {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst
}

func appendSpans(dst []byte, tag byte, spans []prompb.BucketSpan) []byte {
	for i := range spans {
		s := &spans[i]
		size := 0
		if s.Offset != 0 {
			size += 1 + uvarintSize(zigzag(int64(s.Offset)))
		}
		if s.Length != 0 {
			size += 1 + uvarintSize(uint64(s.Length))
		}
		dst = append(dst, tag, byte(size))
		if s.Offset != 0 {
			dst = binary.AppendUvarint(append(dst, spanOffset), zigzag(int64(s.Offset)))
		}
		if s.Length != 0 {
			dst = binary.AppendUvarint(append(dst, spanLength), uint64(s.Length))
		}
	}
	return dst
}

func appendDeltas(dst []byte, tag byte, deltas []int64) []byte {
	if len(deltas) == 0 {
		return dst
	}
	size := 0
	for _, d := range deltas {
		size += uvarintSize(zigzag(d))
	}
	dst = binary.AppendUvarint(append(dst, tag), uint64(size))
	for _, d := range deltas {
		dst = binary.AppendUvarint(dst, zigzag(d))
	}
	return dst
}

func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

func uvarintSize(x uint64) int { return (bits.Len64(x|1) + 6) / 7 }
