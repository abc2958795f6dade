// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tributary-project/tributary/e2e/internal/rw"
)

// Why Tributary answers otherwise than Prometheus.
const (
	whyV1         = "invalid series of 1.0 are refused aloud; Prometheus drops them"
	whyKept       = "exemplars and metadata are kept without a sample; Prometheus has nowhere to put them"
	whyNothing    = "an entry of no samples, exemplars and metadata loses nothing"
	whySamples    = "the samples of a series are stored, whatever is wrong with what comes with them"
	whyWindow     = "it is the store that knows which times it takes"
	whyTolerant   = "RFC 9110: media types and codings know no case, parameters may be quoted and follow a space"
	whyZstd       = "vmagents compress by Zstandard, and send snappy under that name from older queues"
	whyTooLarge   = "413 says what is wrong"
	whyBrowsers   = "Prometheus answers browsers that ask for leave, on any path; they do not write"
	whyExemplar   = "an exemplar with a label twice, or that is not UTF-8, cannot be told from another"
	whyHistogram  = "of a sample and a histogram the histogram is read; Prometheus keeps the sample"
	whyAllLengths = "exemplars may be longer than Prometheus keeps"
)

// receiverCases makes cases in one protocol.
type receiverCases struct {
	*testing.T
	protocol rw.Protocol
	nowMs    int64
}

// one is the series with a sample.
func (m receiverCases) one(s rw.Series) []rw.Series { return []rw.Series{s.At(m.nowMs, 1)} }

// beside changes the series, and sends the good one, too.
func (m receiverCases) beside(change func(s *rw.Series)) func(rw.Series) []rw.Series {
	return func(s rw.Series) []rw.Series {
		good := s.At(m.nowMs, 1)
		change(&s)
		return []rw.Series{s, good}
	}
}

// labelled gives a sample more labels, or other ones when a name is among them.
func (m receiverCases) labelled(pairs ...string) func(rw.Series) []rw.Series {
	return m.beside(func(s *rw.Series) {
		*s = rw.Raw(append([]string{"__name__", s.Labels[0].Value}, pairs...)...).At(m.nowMs, 1)
	})
}

// named sends a sample of these labels.
func (m receiverCases) named(pairs ...string) func(rw.Series) []rw.Series {
	return m.beside(func(s *rw.Series) { *s = rw.Raw(pairs...).At(m.nowMs, 1) })
}

func (m receiverCases) samples() []receiverCase {
	return []receiverCase{
		{name: "nothing", want: "204 0 0 0"},
		{name: "a sample", series: m.one, want: "204 1 0 0"},
		{name: "samples", want: "204 3 0 0", series: func(s rw.Series) []rw.Series {
			return []rw.Series{s.At(m.nowMs-2, 1).At(m.nowMs-1, 2), s.At(m.nowMs, 3)}
		}},
		{name: "values of all kinds", want: "204 5 0 0", series: func(s rw.Series) []rw.Series {
			return []rw.Series{s.At(m.nowMs-5, math.NaN()).At(m.nowMs-4, math.Inf(1)).At(m.nowMs-3, math.Inf(-1)).
				At(m.nowMs-2, math.Float64frombits(value.StaleNaN)).At(m.nowMs, math.SmallestNonzeroFloat64)} // its remote read has no -0
		}},
		{name: "series of nothing", series: m.beside(func(*rw.Series) {}), want: "204 1 0 0", prometheus: "400 1 0 0", prometheusV1: "204", why: whyNothing},
		{
			name: "invalid series of nothing", series: m.beside(func(s *rw.Series) { s.Labels = s.Labels[1:] }),
			want: "204 1 0 0", prometheus: "400 1 0 0", prometheusV1: "204", why: whyNothing,
		},
		{name: "series twice", want: "204 2 0 0", series: func(s rw.Series) []rw.Series { return []rw.Series{s.At(m.nowMs-1, 1), s.At(m.nowMs, 2)} }},
		{name: "start timestamp", only: rw.V2, want: "204 1 0 0", series: m.starting(m.nowMs - 1000)},
		{name: "start timestamp after the sample", only: rw.V2, want: "204 1 0 0", series: m.starting(m.nowMs + 1000)},
		{name: "start timestamp before 1970", only: rw.V2, want: "204 1 0 0", series: m.starting(-1)},
		{name: "created timestamp of release candidate 3", only: rw.V2, want: "204 1 0 0", series: func(s rw.Series) []rw.Series {
			s.CreatedMs = m.nowMs - 1000
			return m.one(s)
		}},
	}
}

func (m receiverCases) starting(ms int64) func(rw.Series) []rw.Series {
	return func(s rw.Series) []rw.Series {
		s.Samples = []rw.Sample{{TimeMs: m.nowMs, Value: 1, StartMs: ms}}
		return []rw.Series{s}
	}
}

func (m receiverCases) labels() []receiverCase {
	cases := []receiverCase{
		{name: "labels in no order", want: "204 2 0 0", series: m.beside(func(s *rw.Series) {
			*s = rw.Raw("z", "1", "a", "2", "__name__", s.Labels[0].Value, "m", "3").At(m.nowMs, 1)
		})},
		{name: "empty value", series: m.labelled("empty", "", "full", "1"), want: "204 2 0 0"},
		{name: "UTF-8 names", series: m.labelled("a b", "1", "ä.b", "2"), want: "204 2 0 0"},
		{name: "UTF-8 metric name", series: m.named("__name__", "a b/ä", "protocol", m.protocol.String()), want: "204 2 0 0"},
		{name: "reserved names", series: m.labelled("__address__", "1", "__tmp", "2"), want: "204 2 0 0"},
		{name: "zero bytes", series: m.labelled("a", "\x00", "b\x00", "1"), want: "204 2 0 0"},
	}
	for _, c := range []receiverCase{
		{name: "no labels", series: m.named()},
		{name: "only an empty value", series: m.named("a", "")},
		{name: "no metric name", series: m.named("a", "b")},
		{name: "empty metric name", series: m.named("__name__", "", "a", "b")},
		{name: "empty label name", series: m.labelled("", "x")},
		{name: "empty label name and value", series: m.labelled("", "")},
		{name: "label twice", series: m.labelled("a", "1", "a", "2")},
		{name: "label twice with one value", series: m.labelled("a", "1", "a", "1")},
		{name: "label twice, once empty", series: m.labelled("a", "1", "a", "")},
		{name: "metric name twice", series: m.labelled("__name__", "b")},
		{name: "metric name is not UTF-8", series: m.named("__name__", "a\xff")},
		{name: "label name is not UTF-8", series: m.labelled("a\xff", "1")},
		{name: "label value is not UTF-8", series: m.labelled("a", "\xff")},
	} {
		c.want = "400 1 0 0"
		if m.protocol == rw.V1 {
			c.prometheusV1, c.why = "204", whyV1
		}
		cases = append(cases, c)
	}
	return cases
}

// symbols are those of 2.0.
func (m receiverCases) symbols() []receiverCase {
	refs := func(n ...uint64) func(rw.Series) []rw.Series {
		return m.beside(func(s *rw.Series) { *s = rw.Series{Refs: n, Samples: []rw.Sample{{TimeMs: m.nowMs, Value: 1}}} })
	}
	sample := bytesField(2, joined(doubleField(1, 1), numberField(2, uint64(m.nowMs))))
	return []receiverCase{
		{name: "references odd", only: rw.V2, series: refs(1, 2, 3), want: "400 1 0 0"},
		{name: "reference out of range", only: rw.V2, series: refs(1, 2, 3, 1000), want: "400 1 0 0"},
		{name: "no references", only: rw.V2, series: refs([]uint64{}...), want: "400 1 0 0"},
		{name: "references one by one", only: rw.V2, want: "204 1 0 0", series: func(s rw.Series) []rw.Series {
			s.SpreadRefs = true
			return m.one(s)
		}},
		{
			name: "first symbol not empty", only: rw.V2, want: "204 1 0 0",
			message: joined(textField(4, "__name__"), textField(4, "first_symbol"), bytesField(5, joined(bytesField(1, []byte{0, 1}), sample))),
		},
		{
			name: "symbols after the series", only: rw.V2, want: "204 1 0 0",
			message: joined(bytesField(5, joined(bytesField(1, []byte{1, 2}), sample)), textField(4, ""), textField(4, "__name__"), textField(4, "last_symbol")),
		},
	}
}

func (m receiverCases) times() []receiverCase {
	const minute = 60_000
	at := func(ms ...int64) func(rw.Series) []rw.Series {
		return func(s rw.Series) []rw.Series {
			for i, t := range ms {
				s = s.At(t, float64(i))
			}
			return []rw.Series{s}
		}
	}
	return []receiverCase{
		{name: "same time and value twice", want: "204 2 0 0", series: func(s rw.Series) []rw.Series { return []rw.Series{s.At(m.nowMs, 1).At(m.nowMs, 1)} }},
		{name: "same time, other value", series: at(m.nowMs, m.nowMs), want: "204 2 0 0"},
		{name: "the same again", series: at(m.nowMs), again: at(m.nowMs), want: "204 1 0 0"},
		{name: "another value at a time that is taken", series: at(m.nowMs), want: "400 0 0 0", again: func(s rw.Series) []rw.Series { return []rw.Series{s.At(m.nowMs, 7)} }},
		{name: "not in order", series: at(m.nowMs, m.nowMs-1000, m.nowMs-500), want: "204 3 0 0"},
		{name: "two hours ago", series: at(m.nowMs-120*minute, m.nowMs), want: "204 2 0 0"},
		{name: "an hour in the future", series: at(m.nowMs, m.nowMs+60*minute), want: "400 1 0 0"},
		{name: "before 1970", series: at(-1, m.nowMs), want: "400 1 0 0"},
		{name: "end of time", series: at(math.MaxInt64, m.nowMs), want: "400 1 0 0"},
		{name: "12 minutes in the future", series: at(m.nowMs, m.nowMs+12*minute), want: "204 2 0 0", prometheus: "400 1 0 0", why: whyWindow},
		{name: "two days ago", series: at(m.nowMs-2880*minute, m.nowMs), want: "204 2 0 0", prometheus: "400 1 0 0", why: whyWindow},
		{name: "1970", series: at(0, m.nowMs), want: "204 2 0 0", prometheus: "400 1 0 0", why: whyWindow},
	}
}

// withHistogram sends a valid histogram of 12 observations that change has spoiled, or not, and a sample.
func (m receiverCases) withHistogram(change func(h *prompb.Histogram)) func(rw.Series) []rw.Series {
	return m.beside(func(s *rw.Series) {
		spans := func() []prompb.BucketSpan { return []prompb.BucketSpan{{Offset: 0, Length: 2}, {Offset: 1, Length: 2}} }
		h := prompb.Histogram{
			Count: &prompb.Histogram_CountInt{CountInt: 12}, ZeroCount: &prompb.Histogram_ZeroCountInt{ZeroCountInt: 2}, ZeroThreshold: 0.001, Sum: 18.4, Schema: 1,
			PositiveSpans: spans(), PositiveDeltas: []int64{1, 1, -1, 0}, NegativeSpans: spans(), NegativeDeltas: []int64{1, 1, -1, 0}, Timestamp: m.nowMs + 1,
		}
		change(&h)
		s.Histograms = [][]byte{marshal(m.T, &h)}
	})
}

// withFloats is withHistogram with counts that are floats.
func (m receiverCases) withFloats(change func(h *prompb.Histogram)) func(rw.Series) []rw.Series {
	return m.withHistogram(func(h *prompb.Histogram) {
		h.Count, h.ZeroCount = &prompb.Histogram_CountFloat{CountFloat: 12}, &prompb.Histogram_ZeroCountFloat{ZeroCountFloat: 2}
		h.PositiveCounts, h.NegativeCounts, h.PositiveDeltas, h.NegativeDeltas = []float64{1, 2, 1, 1}, []float64{1, 2, 1, 1}, nil, nil
		change(h)
	})
}

// withBounds is withHistogram with custom buckets.
func (m receiverCases) withBounds(change func(h *prompb.Histogram)) func(rw.Series) []rw.Series {
	return m.withHistogram(func(h *prompb.Histogram) {
		h.Schema, h.CustomValues, h.ZeroThreshold, h.ZeroCount = -53, []float64{0.1, 1, 10}, 0, nil
		h.PositiveSpans, h.PositiveDeltas, h.NegativeSpans, h.NegativeDeltas = []prompb.BucketSpan{{Length: 4}}, []int64{3, 0, 0, 0}, nil, nil
		change(h)
	})
}

func (m receiverCases) histograms() []receiverCase {
	schema := func(n int32) func(rw.Series) []rw.Series {
		return m.withHistogram(func(h *prompb.Histogram) { h.Schema = n })
	}
	unchanged := func(*prompb.Histogram) {}
	cases := []receiverCase{
		{name: "histogram", series: m.withHistogram(unchanged)},
		{name: "histogram of floats", series: m.withFloats(unchanged)},
		{name: "histogram of custom buckets", series: m.withBounds(unchanged)},
		{name: "empty histogram", series: m.beside(func(s *rw.Series) { s.Histograms = [][]byte{numberField(15, uint64(m.nowMs+1))} })},
		{name: "stale histogram", series: m.withHistogram(func(h *prompb.Histogram) {
			*h = prompb.Histogram{Sum: math.Float64frombits(value.StaleNaN), Timestamp: h.Timestamp}
		})},
		{name: "gauge histogram", series: m.withHistogram(func(h *prompb.Histogram) { h.ResetHint = prompb.Histogram_GAUGE })},
		{name: "unknown hint", series: m.withHistogram(func(h *prompb.Histogram) { h.ResetHint = 17 })},
		{name: "sum is NaN", series: m.withHistogram(func(h *prompb.Histogram) { h.Sum = math.NaN() })},
		{name: "schema 8", series: schema(8)},
		{name: "schema -4", series: schema(-4)},
		{name: "schema 9, which is reduced", series: schema(9)},
		{name: "schema 52, which is reduced", series: schema(52)},
	}
	for i := range cases {
		cases[i].want = "204 1 1 0"
	}
	for _, c := range []receiverCase{
		{name: "schema 53", series: schema(53)},
		{name: "schema -5", series: schema(-5)},
		{name: "schema -9", series: schema(-9)},
		{name: "schema -54", series: schema(-54)},
		{name: "count too small", series: m.withHistogram(func(h *prompb.Histogram) { h.Count = &prompb.Histogram_CountInt{CountInt: 3} })},
		{name: "count too large", series: m.withHistogram(func(h *prompb.Histogram) { h.Count = &prompb.Histogram_CountInt{CountInt: 99} })},
		{name: "negative bucket", series: m.withHistogram(func(h *prompb.Histogram) { h.PositiveDeltas = []int64{1, -2, 1, 1} })},
		{name: "more buckets than spans", series: m.withHistogram(func(h *prompb.Histogram) { h.PositiveDeltas = append(h.PositiveDeltas, 1) })},
		{name: "fewer buckets than spans", series: m.withHistogram(func(h *prompb.Histogram) { h.PositiveDeltas = h.PositiveDeltas[:2] })},
		{name: "huge span", series: m.withHistogram(func(h *prompb.Histogram) { h.PositiveSpans[1].Length = math.MaxUint32 })},
		{name: "negative offset", series: m.withHistogram(func(h *prompb.Histogram) { h.PositiveSpans[1].Offset = -1 })},
		{name: "count of floats, buckets of integers", series: m.withHistogram(func(h *prompb.Histogram) { h.Count = &prompb.Histogram_CountFloat{CountFloat: 12} })},
		{name: "count of integers, buckets of floats", series: m.withFloats(func(h *prompb.Histogram) { h.Count = &prompb.Histogram_CountInt{CountInt: 12} })},
		{name: "negative bucket of floats", series: m.withFloats(func(h *prompb.Histogram) { h.PositiveCounts[1] = -1 })},
		{name: "negative count of floats", series: m.withFloats(func(h *prompb.Histogram) { h.Count = &prompb.Histogram_CountFloat{CountFloat: -1} })},
		{name: "bounds without the custom schema", series: m.withHistogram(func(h *prompb.Histogram) { h.CustomValues = []float64{1} })},
		{name: "bounds not in order", series: m.withBounds(func(h *prompb.Histogram) { h.CustomValues = []float64{1, 0.1, 10} })},
		{name: "infinite bound", series: m.withBounds(func(h *prompb.Histogram) { h.CustomValues[2] = math.Inf(1) })},
		{name: "bounds and a zero bucket", series: m.withBounds(func(h *prompb.Histogram) { h.ZeroCount = &prompb.Histogram_ZeroCountInt{ZeroCountInt: 1} })},
		{name: "bounds and negative buckets", series: m.withBounds(func(h *prompb.Histogram) {
			h.NegativeSpans, h.NegativeDeltas = []prompb.BucketSpan{{Length: 1}}, []int64{1}
		})},
		{name: "more buckets than bounds", series: m.withBounds(func(h *prompb.Histogram) {
			h.PositiveSpans, h.PositiveDeltas, h.Count = []prompb.BucketSpan{{Length: 5}}, []int64{3, 0, 0, 0, 0}, &prompb.Histogram_CountInt{CountInt: 15}
		})},
		{name: "histogram an hour in the future", series: m.withHistogram(func(h *prompb.Histogram) { h.Timestamp = m.nowMs + 3_600_000 })},
	} {
		c.want = "400 1 0 0"
		cases = append(cases, c)
	}
	both := func(ms int64) func(rw.Series) []rw.Series {
		return func(s rw.Series) []rw.Series {
			all := m.withHistogram(func(h *prompb.Histogram) { h.Timestamp = ms })(s)
			all[1].Histograms = all[0].Histograms
			return all[1:]
		}
	}
	invalid := receiverCase{name: "invalid histogram of an invalid series", want: "400 1 0 0", series: func(s rw.Series) []rw.Series {
		all := schema(100)(s)
		all[0].Labels = all[0].Labels[1:]
		return all
	}}
	if m.protocol == rw.V1 {
		invalid.prometheusV1, invalid.why = "204", whyV1
	}
	return append(cases, invalid,
		receiverCase{name: "histogram alone", want: "204 0 1 0", series: func(s rw.Series) []rw.Series { return m.withHistogram(unchanged)(s)[:1] }},
		receiverCase{name: "sample and histogram of one series", want: "204 1 1 0", series: both(m.nowMs + 1)},
		receiverCase{name: "sample and histogram at one time", want: "204 1 1 0", series: both(m.nowMs), why: whyHistogram})
}

// exemplar is one with these labels: texts in 1.0, numbers of symbols in 2.0. A series made of receiverCase's has the
// symbols "", __name__, its name, job, receiver.
func (m receiverCases) exemplar(value float64, ms int64, pairs []string, refs ...byte) []byte {
	out := joined(doubleField(2, value), numberField(3, uint64(ms)))
	if m.protocol == rw.V2 {
		return joined(out, bytesField(1, refs))
	}
	for i := 0; i < len(pairs); i += 2 {
		out = joined(out, bytesField(1, joined(textField(1, pairs[i]), textField(2, pairs[i+1]))))
	}
	return out
}

func (m receiverCases) exemplars() []receiverCase {
	job := []string{"job", "receiver"}
	at := func(value float64, ms int64) []byte { return m.exemplar(value, ms, job, 3, 4) }
	with := func(all ...[]byte) func(rw.Series) []rw.Series {
		return func(s rw.Series) []rw.Series {
			s.Exemplars = all
			return m.one(s)
		}
	}
	long := strings.Repeat("x", 128)
	ofInvalid := receiverCase{name: "exemplar of an invalid series", want: "400 1 0 0", series: m.beside(func(s *rw.Series) {
		s.Labels, s.Exemplars = s.Labels[1:], [][]byte{m.exemplar(1, m.nowMs, nil)}
		*s = s.At(m.nowMs, 1)
	})}
	if m.protocol == rw.V1 {
		ofInvalid.prometheusV1, ofInvalid.why = "204", whyV1
	}
	return []receiverCase{
		{name: "exemplar", series: with(at(1, m.nowMs)), want: "204 1 0 1"},
		{name: "exemplar without labels", series: with(m.exemplar(1, m.nowMs, nil)), want: "204 1 0 1"},
		{name: "exemplar without a time", series: with(at(1, 0)), want: "204 1 0 1"},
		{name: "exemplars not in order", series: with(at(1, m.nowMs), at(2, m.nowMs-1000)), want: "204 1 0 2"},
		{name: "exemplar twice", series: with(at(1, m.nowMs), at(1, m.nowMs)), want: "204 1 0 2"},
		{name: "exemplars at one time", series: with(at(1, m.nowMs), at(2, m.nowMs)), want: "204 1 0 2"},
		{name: "exemplar an hour ago", series: with(at(1, m.nowMs-3_600_000)), want: "204 1 0 1"},
		{name: "exemplar an hour in the future", series: with(at(1, m.nowMs+3_600_000)), want: "204 1 0 0"},
		{
			name: "exemplar alone", want: "204 0 0 1", prometheus: "400 0 0 0", prometheusV1: "204", why: whyKept,
			series: func(s rw.Series) []rw.Series {
				s.Exemplars = [][]byte{at(1, m.nowMs)}
				return []rw.Series{s}
			},
		},
		ofInvalid,
		{
			name: "exemplar's label twice", series: with(m.exemplar(1, m.nowMs, []string{"job", "receiver", "job", "__name__"}, 3, 4, 3, 1)),
			want: "204 1 0 0", prometheus: "204 1 0 1", why: whyExemplar,
		},
		{
			name: "exemplar's label is not UTF-8", want: "204 1 0 0", prometheus: "204 1 0 1", why: whyExemplar, only: rw.V2,
			message: joined(textField(4, ""), textField(4, "__name__"), textField(4, "exemplar_utf8"), textField(4, "\xff"),
				bytesField(5, joined(bytesField(1, []byte{1, 2}), bytesField(2, joined(doubleField(1, 1), numberField(2, uint64(m.nowMs)))), bytesField(4, m.exemplar(1, m.nowMs, nil, 2, 3))))),
		},
		{
			name: "exemplar of 131 characters", want: "204 1 0 1", prometheus: "204 1 0 0", why: whyAllLengths,
			series: func(s rw.Series) []rw.Series {
				s.Labels = append(s.Labels, rw.Label{Name: "long", Value: long})
				s.Exemplars = [][]byte{m.exemplar(1, m.nowMs, []string{"job", long}, 3, 6)}
				return m.one(s)
			},
		},
		{name: "exemplar's references odd", only: rw.V2, series: with(m.exemplar(1, m.nowMs, nil, 3)), want: "400 1 0 0"},
		{name: "exemplar's reference out of range", only: rw.V2, series: with(m.exemplar(1, m.nowMs, nil, 3, 100)), want: "400 1 0 0"},
	}
}

// invalidExtras are exemplars and metadata of series that are invalid and have nothing else. In 1.0 both drop them.
func (m receiverCases) invalidExtras() []receiverCase {
	var cases []receiverCase
	for _, c := range []struct {
		name string
		give rw.Series
		only rw.Protocol
	}{
		{name: "no labels", give: rw.Raw()},
		{name: "no metric name", give: rw.Raw("a", "b")},
		{name: "empty metric name", give: rw.Raw("__name__", "", "a", "b")},
		{name: "empty label name", give: rw.Raw("__name__", "refused", "", "x")},
		{name: "label twice", give: rw.Raw("__name__", "refused", "a", "1", "a", "2")},
		{name: "label value is not UTF-8", give: rw.Raw("__name__", "refused", "a", "\xff")},
		{name: "references odd", give: rw.Series{Refs: []uint64{1, 2, 3}}, only: rw.V2},
		{name: "reference out of range", give: rw.Series{Refs: []uint64{1, 2, 3, 1000}}, only: rw.V2},
	} {
		exemplar, metadata := c.give, c.give
		exemplar.Exemplars = [][]byte{m.exemplar(1, m.nowMs, nil)}
		metadata.Metadata = joined(numberField(1, 1), numberField(3, 1))
		want := "400 1 0 0"
		if m.protocol == rw.V1 {
			want = "204"
		}
		cases = append(cases,
			receiverCase{name: "exemplar alone, " + c.name, only: c.only, want: want, series: m.beside(func(s *rw.Series) { *s = exemplar })},
			receiverCase{name: "metadata alone, " + c.name, only: rw.V2, want: want, series: m.beside(func(s *rw.Series) { *s = metadata })})
	}
	return cases
}

func (m receiverCases) metadata() []receiverCase {
	about := func(fields ...[]byte) [][]byte { return [][]byte{joined(fields...)} }
	with := func(fields ...[]byte) func(rw.Series) []rw.Series {
		return func(s rw.Series) []rw.Series {
			s.Metadata = joined(fields...)
			return m.one(s)
		}
	}
	return []receiverCase{
		{name: "metadata", only: rw.V1, series: m.one, metadata: about(numberField(1, 1), textField(2, "m"), textField(4, "help"), textField(5, "s")), want: "204"},
		{name: "metadata alone", only: rw.V1, metadata: about(numberField(1, 1), textField(2, "n"), textField(4, "help")), want: "204"},
		{name: "metadata of no metric", only: rw.V1, metadata: about(numberField(1, 1), textField(4, "help")), want: "204"},
		{name: "metadata of an unknown type", only: rw.V1, series: m.one, metadata: about(numberField(1, 100), textField(2, "m")), want: "204"},
		{name: "metadata", only: rw.V2, series: with(numberField(1, 1), numberField(3, 3), numberField(4, 4)), want: "204 1 0 0"},
		{name: "metadata of an unknown type", only: rw.V2, series: with(numberField(1, 100)), want: "204 1 0 0"},
		{
			name: "metadata alone", only: rw.V2, want: "204 0 0 0", prometheus: "400 0 0 0", why: whyKept,
			series: func(s rw.Series) []rw.Series {
				s.Metadata = joined(numberField(1, 1), numberField(3, 3))
				return []rw.Series{s}
			},
		},
		{
			name: "metadata's reference out of range", only: rw.V2, series: with(numberField(1, 1), numberField(3, 100)),
			want: "400 1 0 0", prometheus: "400 0 0 0", why: whySamples,
		},
	}
}

func (m receiverCases) headers() []receiverCase {
	// A message read as one of the other version holds nothing.
	v2, unread := "204 0 0 0", "204 0 0 0"
	if m.protocol == rw.V2 {
		v2 = "204 1 0 0"
	}
	const contentType, encoding, v2Type = "Content-Type", "Content-Encoding", "io.prometheus.write.v2.Request"
	var cases []receiverCase
	add := func(header, value, want, prometheus, why string) {
		cases = append(cases, receiverCase{name: header + " " + value, header: map[string]string{header: value}, series: m.one, want: want, prometheus: prometheus, why: why})
	}
	add(contentType, (3 - m.protocol).ContentType(), unread, "", "")
	add(contentType, "", unread, "", "")
	add(contentType, "application/x-protobuf;proto=prometheus.WriteRequest", unread, "", "")
	add(contentType, "application/x-protobuf;charset=utf-8", unread, "", "")
	add(contentType, "application/x-protobuf;proto="+v2Type, v2, "", "")
	if m.protocol == rw.V2 {
		add(contentType, "application/x-protobuf; proto="+v2Type, v2, unread, whyTolerant)
	}
	add(contentType, `application/x-protobuf;proto="`+v2Type+`"`, v2, "415 0 0 0", whyTolerant)
	add(contentType, "Application/X-Protobuf", unread, "415 0 0 0", whyTolerant)
	add(contentType, "application/x-protobuf;proto=io.prometheus.write.v3.Request", "415 0 0 0", "", "")
	add(contentType, "application/json", "415 0 0 0", "", "")
	add(contentType, "application/x-protobuf;;", "415 0 0 0", "", "")
	add(contentType, ";", "415 0 0 0", "", "")
	add(encoding, "", "204 1 0 0", "", "")
	add(encoding, "SNAPPY", "204 1 0 0", "415 0 0 0", whyTolerant)
	add(encoding, "zstd", "204 1 0 0", "415 0 0 0", whyZstd)
	add(encoding, "gzip", "415 0 0 0", "", "")
	add(encoding, "identity", "415 0 0 0", "", "")
	add(encoding, "snappy, snappy", "415 0 0 0", "", "")
	add("X-Prometheus-Remote-Write-Version", "0.1.0", "204 1 0 0", "", "")
	add("X-Prometheus-Remote-Write-Version", "99", "204 1 0 0", "", "")
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodHead} {
		cases = append(cases, receiverCase{name: method, method: method, series: m.one, want: "405 0 0 0"})
	}
	return append(cases, receiverCase{name: http.MethodOptions, method: http.MethodOptions, series: m.one, want: "405 0 0 0", prometheus: "204 0 0 0", why: whyBrowsers})
}

func (m receiverCases) bodies() []receiverCase {
	const large = 33 << 20 // the limit of both is 32 MiB
	message := rw.Request{Series: []rw.Series{rw.New("__name__", "m").At(m.nowMs, 1)}}.Encode(m.protocol)
	valid := snappy.Encode(nil, message)
	return []receiverCase{
		{name: "empty body", body: []byte{}, want: "400 0 0 0"},
		{name: "not snappy", body: []byte("this is not snappy"), want: "400 0 0 0"},
		{name: "snappy cut short", body: valid[:len(valid)-3], want: "400 0 0 0"},
		{name: "snappy and more", body: append(bytes.Clone(valid), "more"...), want: "400 0 0 0"},
		{name: "snappy in frames", body: append([]byte("\xff\x06\x00\x00sNaPpY"), valid...), want: "400 0 0 0"},
		{name: "no protocol buffer", message: []byte("this is no protocol buffer"), want: "400 0 0 0"},
		{name: "message cut short", message: message[:len(message)-1], want: "400 0 0 0"},
		{name: "33 MiB", body: make([]byte, large), want: "413 0 0 0"},
		{name: "declares 33 MiB", body: append(binary.AppendUvarint(nil, large), 0, 'x'), want: "413 0 0 0", prometheus: "400 0 0 0", why: whyTooLarge},
		{name: "holds 33 MiB", body: snappy.Encode(nil, make([]byte, large)), want: "413 0 0 0", prometheus: "400 0 0 0", why: whyTooLarge},
	}
}

// doubleField is a double on the wire, whatever its value.
func doubleField(n protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, n, protowire.Fixed64Type), math.Float64bits(v))
}
