// SPDX-License-Identifier: Apache-2.0

package promschema

import (
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
)

// maxPlainBytes is the longest decimal text that a plain record gets. Timestream's documentation does not say how long a
// DOUBLE text may be; longer ones travel as bits.
const maxPlainBytes = 40

// AppendPlain appends the text of v to dst when v fits a plain record: finite, normal, not -0, at most 40 characters
// without an exponent. Otherwise it returns dst as it was and false.
func AppendPlain(dst []byte, v float64) ([]byte, bool) {
	abs := math.Abs(v)
	switch {
	case v == 0:
		if math.Signbit(v) {
			return dst, false
		}
		return append(dst, '0'), true
	case !(abs >= 0x1p-1022 && abs < 1e40): // denormal, NaN, infinite, or more than 40 digits
		return dst, false
	}
	n := len(dst)
	out := strconv.AppendFloat(dst, v, 'f', -1, 64)
	if len(out)-n > maxPlainBytes {
		return out[:n], false
	}
	return out, true
}

// IsPlain tells whether AppendPlain takes v, without writing it in nearly all cases.
func IsPlain(v float64) bool {
	// Between these bounds a text has at most a sign, 38 digits and a point, or 21 characters before 17 digits.
	if abs := math.Abs(v); abs >= 1e-20 && abs < 1e38 {
		return true
	}
	var buf [2 * maxPlainBytes]byte
	_, ok := AppendPlain(buf[:0], v)
	return ok
}

// ExtensionValue returns the attributes of v in a sample extension record. Any float64 comes back from them bit for bit.
func ExtensionValue(v float64) Value {
	var buf [maxPlainBytes]byte
	if text, ok := AppendPlain(buf[:0], v); ok {
		return Value{Attributes: []Attribute{{ValueAttribute, string(text), Double}}}
	}
	return Value{Attributes: []Attribute{
		{BitsAttribute, strconv.FormatInt(int64(math.Float64bits(v)), 10), BigInt},
		{KindAttribute, kind(v), Varchar},
	}}
}

// kind names a special value for people who read the table.
func kind(v float64) string {
	switch {
	case value.IsStaleNaN(v):
		return "stale"
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	case v == 0:
		return "-0"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// FloatFromBits returns the float of a BitsAttribute.
func FloatFromBits(bits int64) float64 { return math.Float64frombits(uint64(bits)) }

// Rank orders the values that one series may hold for one millisecond when its rows disagree (the same series may be
// stored under two encodings): the higher rank is kept. A histogram (HistogramRank) beats a finite float, which beats
// another special value, which beats a stale marker.
func Rank(v float64) int {
	switch {
	case value.IsStaleNaN(v):
		return 0
	case math.IsNaN(v) || math.IsInf(v, 0):
		return 2
	}
	return 3
}

// HistogramRank is Rank for a histogram. One that is a stale marker beats only the other sort of stale marker.
func HistogramRank(h *prompb.Histogram) int {
	if value.IsStaleNaN(h.Sum) {
		return 1
	}
	return 4
}
