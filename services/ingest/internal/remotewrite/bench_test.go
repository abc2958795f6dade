// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/payload"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream"
)

// BenchmarkDecode decodes compressed requests of 2,000 samples: bare ones, and ones with the metadata of each series and
// the start timestamp of each sample. The published decoders, which only build the message, stand beside them.
func BenchmarkDecode(b *testing.B) {
	const n = 2000
	bare := ingesttest.Load(10_000, n, 0)
	full := ingesttest.Load(10_000, n, 0)
	for i := range full {
		full[i].Metadata, full[i].Starts = true, true
	}
	decompressor := payload.NewDecompressor()
	for _, c := range []struct {
		name string
		m    Message
		load []byte
	}{
		{"v1", V1, ingesttest.V1(b, bare, 0)},
		{"v2", V2, ingesttest.V2(b, bare)},
		{"v2-metadata-starts", V2, ingesttest.V2(b, full)},
	} {
		compressed := ingesttest.Snappy(c.load)
		d := NewDecoder(Options{MaxSamples: 100_000, MaxTimeMs: timestream.MaxTimeMs}, series.NewHasher())
		b.Run("ours/"+c.name, func(b *testing.B) {
			report := ingesttest.PerSample(b, n)
			for b.Loop() {
				msg, err := decompressor.Decompress(payload.Snappy, compressed, 32<<20)
				if err != nil {
					b.Fatal(err)
				}
				r, err := d.Decode(c.m, msg.Bytes, new(ledger.Account), nil)
				if err != nil || len(r.Series) != n {
					b.Fatal(err)
				}
				r.Release()
				msg.Release()
			}
			report()
			b.ReportMetric(float64(len(compressed))/n, "payload-B/sample")
		})
		b.Run("published-uncompressed/"+c.name, func(b *testing.B) {
			report := ingesttest.PerSample(b, n)
			for b.Loop() {
				var err error
				if c.m == V1 {
					err = new(prompb.WriteRequest).Unmarshal(c.load)
				} else {
					err = new(writev2.Request).Unmarshal(c.load)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			report()
		})
	}
}

// BenchmarkHistograms decodes a request of 500 native histograms of 40 buckets.
func BenchmarkHistograms(b *testing.B) {
	const n = 500
	var ss []prompb.TimeSeries
	for i := range n {
		ss = append(ss, prompb.TimeSeries{
			Labels:     []prompb.Label{{Name: "__name__", Value: "latency"}, {Name: "pod", Value: fmt.Sprint(i)}},
			Histograms: []prompb.Histogram{wide(40)},
		})
	}
	message, err := (&prompb.WriteRequest{Timeseries: ss}).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	d := NewDecoder(options(), series.NewHasher())
	b.Run("ours", func(b *testing.B) {
		report := ingesttest.PerSample(b, n) // a histogram is a sample
		for b.Loop() {
			r, err := d.Decode(V1, message, new(ledger.Account), nil)
			if err != nil || len(r.Series) != n {
				b.Fatal(err)
			}
			r.Release()
		}
		report()
	})
	b.Run("published", func(b *testing.B) {
		report := ingesttest.PerSample(b, n) // a histogram is a sample
		for b.Loop() {
			if err := new(prompb.WriteRequest).Unmarshal(message); err != nil {
				b.Fatal(err)
			}
		}
		report()
	})
}

// wide is a histogram with so many buckets on one side.
func wide(buckets int) prompb.Histogram {
	h := prompb.Histogram{
		Count: &prompb.Histogram_CountInt{CountInt: uint64(buckets)}, ZeroCount: &prompb.Histogram_ZeroCountInt{}, Sum: 1.5, Schema: 3, ZeroThreshold: 1e-128,
		PositiveSpans: []prompb.BucketSpan{{Offset: -3, Length: uint32(buckets)}}, Timestamp: 1_790_000_000_000,
		PositiveDeltas: make([]int64, buckets),
	}
	h.PositiveDeltas[0] = 1
	return h
}
