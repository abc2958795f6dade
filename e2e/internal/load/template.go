// SPDX-License-Identifier: Apache-2.0

package load

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Protocol is a version of remote write.
type Protocol int

// The versions of remote write.
const (
	V1 Protocol = 1
	V2 Protocol = 2
)

// header returns what a request says about itself: Content-Type and X-Prometheus-Remote-Write-Version.
func (p Protocol) header() (contentType, version string, err error) {
	switch p {
	case V1:
		return "application/x-protobuf", "0.1.0", nil
	case V2:
		return "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0", nil
	}
	return "", "", fmt.Errorf("remote write %d: there are 1 and 2", p)
}

// Field numbers of prometheus.WriteRequest and io.prometheus.write.v2.Request, and of the messages in them.
const (
	v1Timeseries = 1
	v1Labels     = 1
	v1Name       = 1
	v1Value      = 2

	v2Symbols    = 4
	v2Timeseries = 5
	v2LabelRefs  = 1

	seriesSamples   = 2 // in both
	sampleValue     = 1 // in both
	sampleTimestamp = 2 // in both
)

// Span is a choice of series: First, First+Step and so on, Count of them.
type Span struct {
	First int `json:"first"`
	Step  int `json:"step"`
	Count int `json:"count"`
}

// at returns the nth series.
func (s Span) at(n int) int { return s.First + n*s.Step }

// Spread says which of the series a sender takes, which is also what its requests hold.
type Spread string

const (
	// BySeries gives every sender each so many-th series, as the shards of Prometheus have it: the series of a target are spread
	// over all of them.
	BySeries Spread = "series"
	// ByTarget gives every sender whole targets, as one Prometheus of several, each with targets of its own, has it.
	ByTarget Spread = "targets"
)

// share is what sender n has: count series from first on, step apart.
func (s Spread) share(series, senders, n int) (first, step, count int) {
	if s == ByTarget {
		first = series * n / senders
		return first, 1, series*(n+1)/senders - first
	}
	return n, senders, (series - n + senders - 1) / senders
}

// template is a request for some series with one sample each, or several. Labels are encoded once; only samples are written
// per request, so that the generator takes little of the machine it measures.
type template struct {
	set    Set
	span   Span
	passes int      // samples of each series, a millisecond apart
	head   []byte   // symbols of 2.0
	tag    byte     // of one series
	labels [][]byte // by series, encoded
}

func newTemplate(p Protocol, set Set, span Span, passes int) *template {
	t := &template{set: set, span: span, passes: passes}
	if p == V1 {
		t.tag = byte(protowire.EncodeTag(v1Timeseries, protowire.BytesType))
		for n := range span.Count {
			t.labels = append(t.labels, labelsV1(set.Labels(span.at(n))))
		}
		return t
	}
	t.tag = byte(protowire.EncodeTag(v2Timeseries, protowire.BytesType))
	symbols := map[string]uint64{}
	ref := func(s string) uint64 {
		r, ok := symbols[s]
		if !ok {
			r = uint64(len(symbols))
			symbols[s] = r
			t.head = protowire.AppendTag(t.head, v2Symbols, protowire.BytesType)
			t.head = protowire.AppendString(t.head, s)
		}
		return r
	}
	ref("") // the first symbol is the empty string, always
	for n := range span.Count {
		var refs []byte
		for _, l := range set.Labels(span.at(n)) {
			refs = protowire.AppendVarint(refs, ref(l.Name))
			refs = protowire.AppendVarint(refs, ref(l.Value))
		}
		t.labels = append(t.labels, protowire.AppendBytes(protowire.AppendTag(nil, v2LabelRefs, protowire.BytesType), refs))
	}
	return t
}

func labelsV1(labels []Label) []byte {
	var out, one []byte
	for _, l := range labels {
		one = protowire.AppendString(protowire.AppendTag(one[:0], v1Name, protowire.BytesType), l.Name)
		one = protowire.AppendString(protowire.AppendTag(one, v1Value, protowire.BytesType), l.Value)
		out = protowire.AppendBytes(protowire.AppendTag(out, v1Labels, protowire.BytesType), one)
	}
	return out
}

// samples is how many samples a request holds.
func (t *template) samples() int { return t.span.Count * t.passes }

// appendRequest appends the uncompressed request, its samples at the given time and the milliseconds that follow. A series
// with several samples is there several times, as Prometheus sends it.
func (t *template) appendRequest(dst []byte, timestampMs int64) []byte {
	dst = append(dst, t.head...)
	for p := range t.passes {
		dst = t.appendPass(dst, timestampMs+int64(p))
	}
	return dst
}

func (t *template) appendPass(dst []byte, timestampMs int64) []byte {
	sampleSize := 1 + 8 + 1 + protowire.SizeVarint(uint64(timestampMs))
	for n, labels := range t.labels {
		dst = append(dst, t.tag)
		dst = protowire.AppendVarint(dst, uint64(len(labels)+1+protowire.SizeBytes(sampleSize)))
		dst = append(dst, labels...)
		dst = protowire.AppendTag(dst, seriesSamples, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(sampleSize))
		dst = protowire.AppendTag(dst, sampleValue, protowire.Fixed64Type)
		dst = protowire.AppendFixed64(dst, math.Float64bits(t.set.Value(t.span.at(n), timestampMs)))
		dst = protowire.AppendTag(dst, sampleTimestamp, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(timestampMs))
	}
	return dst
}
