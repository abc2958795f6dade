// SPDX-License-Identifier: Apache-2.0

// Package series is what travels from the decoders of write messages to a store: series with float samples, in
// Prometheus' terms. Where the bytes come from and where the samples go is left to those two.
package series

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// Label is one label. The bytes belong to the request they were decoded from and must be copied to outlive it.
type Label struct{ Name, Value []byte }

// Sample is one float sample.
type Sample struct {
	// TimeMs is in milliseconds since the epoch.
	TimeMs int64
	// Value may be any float64; a staleness marker is a NaN with Prometheus' own bits.
	Value float64
}

// Series is a label set with samples. It lives as long as the request it was decoded from.
type Series struct {
	// Labels are sorted by name, have no repeated name and no empty value, and are valid UTF-8; __name__ is among them.
	Labels []Label
	// Hash depends on the labels alone and is the same throughout the process; different label sets may share it.
	Hash uint64
	// Samples are in the order in which they came; the same millisecond may occur more than once.
	Samples []Sample
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
