// SPDX-License-Identifier: Apache-2.0

// Package wire writes series as Prometheus' protocol buffers of remote read: whole series of samples (TimeSeries), and
// frames of chunks (ChunkEncoder). It writes messages by hand because the generated code of prompb leaves out a value that
// equals zero, which -0 does, and needs a copy of every sample in a larger struct. Histograms of a TimeSeries are written by
// promschema, for the first of these reasons; what is inside a chunk by Prometheus' own chunkenc. Framing and compression
// are left to the gateway, sending to the service.
package wire

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream/promschema"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Tags of prometheus.TimeSeries, prometheus.Label and prometheus.Sample: field number << 3 | wire type.
// prometheus.ChunkedSeries has the tag of labels too.
const (
	seriesLabels  = 1<<3 | 2
	seriesSamples = 2<<3 | 2
	seriesHists   = 4<<3 | 2
	labelName     = 1<<3 | 2
	labelValue    = 2<<3 | 2
	sampleValue   = 1<<3 | 1
	sampleTime    = 2 << 3
)

// typicalSampleBytes is a sample of this century.
const typicalSampleBytes = 2 + 9 + 1 + 6

// AppendTimeSeries appends the series as one serialised prometheus.TimeSeries.
func AppendTimeSeries(dst []byte, s series.Series) []byte {
	return AppendSamples(AppendLabels(dst, s.Labels), s)
}

// AppendLabels appends the beginning of a serialised prometheus.TimeSeries. What AppendSamples appends after it, any number
// of times, belongs to it.
func AppendLabels(dst []byte, ls labels.Labels) []byte {
	ls.Range(func(l labels.Label) {
		dst = append(dst, seriesLabels)
		dst = binary.AppendUvarint(dst, uint64(textSize(l.Name)+textSize(l.Value)))
		dst = appendText(dst, labelName, l.Name)
		dst = appendText(dst, labelValue, l.Value)
	})
	return dst
}

// AppendSamples appends the samples of a series, or of one piece of it.
func AppendSamples(dst []byte, s series.Series) []byte {
	dst = slices.Grow(dst, len(s.Samples)*typicalSampleBytes)
	for _, p := range s.Samples {
		value := math.Float64bits(p.V)
		size := 0
		if value != 0 {
			size += 9
		}
		if p.T != 0 {
			size += 1 + uvarintSize(uint64(p.T))
		}
		dst = append(dst, seriesSamples, byte(size))
		if value != 0 { // the bits, not the number: -0 is not the default
			dst = append(dst, sampleValue)
			dst = binary.LittleEndian.AppendUint64(dst, value)
		}
		if p.T != 0 {
			dst = append(dst, sampleTime)
			dst = binary.AppendUvarint(dst, uint64(p.T))
		}
	}
	var one []byte
	for _, h := range s.Histograms {
		one = promschema.AppendHistogram(one[:0], h.H, h.T)
		dst = append(dst, seriesHists)
		dst = binary.AppendUvarint(dst, uint64(len(one)))
		dst = append(dst, one...)
	}
	return dst
}

func textSize(s string) int { return 1 + uvarintSize(uint64(len(s))) + len(s) }

func appendText(dst []byte, tag byte, s string) []byte {
	dst = append(dst, tag)
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func uvarintSize(x uint64) int { return (bits.Len64(x|1) + 6) / 7 }
