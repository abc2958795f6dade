// SPDX-License-Identifier: Apache-2.0

// Package series is what travels from the decoders of write messages to a store: series with samples, native histograms,
// exemplars and metadata, in Prometheus' terms. Where the bytes come from and where the samples go is left to those two.
package series

import (
	"hash/maphash"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"
)

// Label is one label. The bytes belong to the request they were decoded from and must be copied to outlive it.
type Label struct{ Name, Value []byte }

// Sample is one float sample.
type Sample struct {
	// TimeMs is in milliseconds since the epoch.
	TimeMs int64
	// StartMs is the start (created) timestamp in milliseconds since the epoch, 0 when there is none.
	StartMs int64
	// Value may be any float64; a staleness marker is a NaN with Prometheus' own bits.
	Value float64
}

// Histogram is one native histogram sample.
type Histogram struct {
	// TimeMs and StartMs are as in Sample.
	TimeMs, StartMs int64
	// H is valid by Prometheus' rules; its own timestamp is 0. It belongs to the request, too.
	H *prompb.Histogram
}

// Exemplar is one exemplar of a series.
type Exemplar struct {
	// Labels are those of the exemplar, not of the series: sorted by name, no repeated name, no empty value, valid UTF-8; may be none.
	Labels []Label
	Value  float64
	// TimeMs is in milliseconds since the epoch.
	TimeMs int64
}

// Metadata says what a metric is.
type Metadata struct {
	// Name is the metric's name as the message has it: remote write 1.0 names the family, 2.0 the series' own metric.
	Name []byte
	// Type is one of the published message's, 0 (unknown) to 7 (state set).
	Type prompb.MetricMetadata_MetricType
	// Help and Unit may be empty.
	Help, Unit []byte
	// Hash is a Hasher's over all of these.
	Hash uint64
}

// Series is a label set with what came for it. It lives as long as the request it was decoded from. At least one of the
// slices is not empty.
type Series struct {
	// Labels are sorted by name, have no repeated name and no empty value, and are valid UTF-8; __name__ is among them.
	Labels []Label
	// Hash is a Hasher's over the labels.
	Hash Hash
	// Samples, Histograms and Exemplars are in the order in which they came; the same millisecond may occur more than once.
	Samples    []Sample
	Histograms []Histogram
	Exemplars  []Exemplar
}

// Hasher hashes labels so that the order in which they come does not matter. Hashes of one Hasher are comparable with
// each other only. It is safe for concurrent use.
type Hasher struct{ a, b maphash.Seed }

// Hash is that of a string or of a label set, in two halves that know nothing of each other. Two label sets with the same
// Hash are the same: with 128 bits from secret seeds nobody will see, or make, two that are not.
type Hash struct{ A, B uint64 }

// Add adds what a label adds to the hash of a label set.
func (h *Hash) Add(pair Hash) {
	h.A += pair.A
	h.B += pair.B
}

// NewHasher returns a hasher; one serves all decoders of a process.
func NewHasher() *Hasher { return &Hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

// Text returns the hash of one string.
func (h *Hasher) Text(s []byte) Hash { return Hash{maphash.Bytes(h.a, s), maphash.Bytes(h.b, s)} }

// Pair returns what a label adds to the hash of a label set, which is the sum over its labels; name and value are hashes of
// Text.
func Pair(name, value Hash) Hash { return Hash{mix(name.A, value.A), mix(name.B, value.B)} }

func mix(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x^0x9e3779b97f4a7c15, y^0xe7037ed1a0b428db)
	return hi ^ lo
}

// MetadataHash returns the Hash of metadata; name, help and unit are hashes of Text.
func MetadataHash(name, help, unit Hash, t prompb.MetricMetadata_MetricType) uint64 {
	return mix(mix(name.A, help.A), unit.A+uint64(t))
}

// Labels returns the hash of a label set.
func (h *Hasher) Labels(ls []Label) Hash {
	var sum Hash
	for _, l := range ls {
		sum.Add(Pair(h.Text(l.Name), h.Text(l.Value)))
	}
	return sum
}

// maxText bounds the text of a series: examples go into answers of which senders log 1,024 bytes, and a gateway cuts each
// at 240, where what is wrong with the series has to be said too.
const maxText = 120

// Text returns the labels in PromQL's notation, for people: always valid UTF-8, without control characters, cut when
// long.
func Text(ls []Label) string {
	var b strings.Builder
	for _, l := range ls {
		if string(l.Name) == model.MetricNameLabel {
			b.WriteString(name(l.Value))
			break
		}
	}
	b.WriteByte('{')
	first := true
	for _, l := range ls {
		if string(l.Name) == model.MetricNameLabel {
			continue
		}
		if !first {
			b.WriteString(", ")
		}
		first = false
		b.WriteString(name(l.Name))
		b.WriteByte('=')
		b.WriteString(Quote(l.Value))
		if b.Len() > maxText {
			break
		}
	}
	b.WriteByte('}')
	return cut(b.String(), maxText)
}

// name quotes a metric or label name that PromQL would want quoted.
func name(n []byte) string {
	if len(n) <= maxText && model.LegacyValidation.IsValidMetricName(string(n)) {
		return string(n)
	}
	return Quote(n)
}

// Quote returns s between quotes with everything unprintable escaped, cut when long.
func Quote(s []byte) string {
	if len(s) > maxText {
		return strconv.Quote(cut(string(s), maxText))
	}
	return strconv.Quote(string(s))
}

// cut shortens s to n bytes at most, plus an ellipsis, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
