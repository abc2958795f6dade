// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream"
)

const ms = 1_790_000_000_000

func intHistogram(change func(*prompb.Histogram)) prompb.Histogram {
	h := prompb.Histogram{
		Count: &prompb.Histogram_CountInt{CountInt: 2 + 11 + 5}, ZeroCount: &prompb.Histogram_ZeroCountInt{ZeroCountInt: 2}, Sum: -1.25, Schema: 2, ZeroThreshold: 1e-9,
		PositiveSpans: []prompb.BucketSpan{{Offset: -4, Length: 2}, {Offset: 3, Length: 3}}, PositiveDeltas: []int64{1, 1, -1, 4, -3}, // 1 2 1 5 2
		NegativeSpans: []prompb.BucketSpan{{Offset: 1, Length: 2}}, NegativeDeltas: []int64{3, -1},
		ResetHint: prompb.Histogram_NO, Timestamp: ms,
	}
	if change != nil {
		change(&h)
	}
	return h
}

func floatHistogram(change func(*prompb.Histogram)) prompb.Histogram {
	h := prompb.Histogram{
		Count: &prompb.Histogram_CountFloat{CountFloat: 7.5}, ZeroCount: &prompb.Histogram_ZeroCountFloat{ZeroCountFloat: 0.5}, Sum: math.NaN(), Schema: -4, ZeroThreshold: 0.001,
		PositiveSpans: []prompb.BucketSpan{{Offset: 0, Length: 2}}, PositiveCounts: []float64{1.25, 2.75},
		NegativeSpans: []prompb.BucketSpan{{Offset: -2, Length: 1}}, NegativeCounts: []float64{3}, ResetHint: prompb.Histogram_GAUGE, Timestamp: ms,
	}
	if change != nil {
		change(&h)
	}
	return h
}

func customHistogram(change func(*prompb.Histogram)) prompb.Histogram {
	h := prompb.Histogram{
		Count: &prompb.Histogram_CountInt{CountInt: 6}, ZeroCount: &prompb.Histogram_ZeroCountInt{}, Sum: 12, Schema: -53,
		PositiveSpans: []prompb.BucketSpan{{Offset: 0, Length: 1}, {Offset: 1, Length: 2}}, PositiveDeltas: []int64{1, 1, 1},
		CustomValues: []float64{0.1, 5, 10}, Timestamp: ms,
	}
	if change != nil {
		change(&h)
	}
	return h
}

// TestHistograms sends histograms in both messages; want is Prometheus' own word for a fault.
func TestHistograms(t *testing.T) {
	for _, c := range []struct {
		name string
		give prompb.Histogram
		want string
	}{
		{"integer", intHistogram(nil), ""},
		{"float", floatHistogram(nil), ""},
		{"custom buckets", customHistogram(nil), ""},
		{"custom buckets, float", customHistogram(func(h *prompb.Histogram) {
			h.Count, h.ZeroCount = &prompb.Histogram_CountFloat{CountFloat: 6}, &prompb.Histogram_ZeroCountFloat{}
			h.PositiveDeltas, h.PositiveCounts = nil, []float64{1, 2, 3}
		}), ""},
		{"empty", prompb.Histogram{Timestamp: ms}, ""},
		{"stale", prompb.Histogram{Sum: math.Float64frombits(0x7ff0000000000002), Timestamp: ms, Count: &prompb.Histogram_CountInt{}}, ""},
		{"sum is NaN, count is more", intHistogram(func(h *prompb.Histogram) { h.Sum, h.Count = math.NaN(), &prompb.Histogram_CountInt{CountInt: 100} }), ""},
		{"the other kind's buckets do not count", floatHistogram(func(h *prompb.Histogram) { h.PositiveDeltas = []int64{-5} }), ""},
		{"the other kind's buckets do not count, integer", intHistogram(func(h *prompb.Histogram) { h.NegativeCounts = []float64{-1} }), ""},
		{"zero count of the other kind", customHistogram(func(h *prompb.Histogram) { h.ZeroCount = &prompb.Histogram_ZeroCountFloat{ZeroCountFloat: 9} }), ""},
		{"reset hint 7", intHistogram(func(h *prompb.Histogram) { h.ResetHint = 7 }), ""},
		{"reset hint 257", intHistogram(func(h *prompb.Histogram) { h.ResetHint = 257 }), ""},
		{"schema 8", intHistogram(func(h *prompb.Histogram) { h.Schema = 8 }), ""},
		{"schema 9 is reduced", intHistogram(func(h *prompb.Histogram) { h.Schema = 9 }), ""},
		{"schema 52 is reduced", floatHistogram(func(h *prompb.Histogram) { h.Schema = 52 }), ""},
		{"NaN in a bucket", floatHistogram(func(h *prompb.Histogram) { h.PositiveCounts[0] = math.NaN() }), ""},
		{"schema -5", intHistogram(func(h *prompb.Histogram) { h.Schema = -5 }), "invalid schema"},
		{"schema 53", intHistogram(func(h *prompb.Histogram) { h.Schema = 53 }), "invalid schema"},
		{"schema -54", floatHistogram(func(h *prompb.Histogram) { h.Schema = -54 }), "invalid schema"},
		{"schema 9, buckets missing", intHistogram(func(h *prompb.Histogram) { h.Schema, h.PositiveDeltas = 9, h.PositiveDeltas[:3] }), "spans need more"},
		{"schema 9, offset", floatHistogram(func(h *prompb.Histogram) {
			h.Schema, h.PositiveSpans = 9, []prompb.BucketSpan{{Length: 1}, {Offset: -1, Length: 1}}
		}), "offset is negative"},
		{"count does not match", intHistogram(func(h *prompb.Histogram) { h.Count = &prompb.Histogram_CountInt{CountInt: 22} }), "should equal the number of observations"},
		{"negative bucket", intHistogram(func(h *prompb.Histogram) { h.PositiveDeltas[0] = -1 }), "observation count is negative"},
		{"negative count", floatHistogram(func(h *prompb.Histogram) { h.Count = &prompb.Histogram_CountFloat{CountFloat: -1} }), "observation count is negative"},
		{"spans claim much", intHistogram(func(h *prompb.Histogram) { h.PositiveSpans[0].Length = math.MaxUint32 }), "spans need 4294967298 buckets"},
		{"bounds of an exponential one", intHistogram(func(h *prompb.Histogram) { h.CustomValues = []float64{1} }), "must not have custom bounds"},
		{"bounds in the wrong order", customHistogram(func(h *prompb.Histogram) { h.CustomValues[0] = 7 }), "strictly increasing"},
		{"too few bounds", customHistogram(func(h *prompb.Histogram) { h.CustomValues = h.CustomValues[:1] }), "insufficient"},
		{"custom buckets with a zero bucket", customHistogram(func(h *prompb.Histogram) { h.ZeroCount = &prompb.Histogram_ZeroCountInt{ZeroCountInt: 1} }), "must have zero count"},
		{"before 1970", intHistogram(func(h *prompb.Histogram) { h.Timestamp = -1 }), "outside 0 to"},
		{"far future", intHistogram(func(h *prompb.Histogram) { h.Timestamp = timestream.MaxTimeMs + 1 }), "outside 0 to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(options(), series.NewHasher())
			w1 := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
				Labels: []prompb.Label{{Name: "__name__", Value: "h"}}, Histograms: []prompb.Histogram{intHistogram(nil), c.give, floatHistogram(nil)},
			}}}
			compare(t, d, V1, marshal(t, &w1), oracleV1(&w1))
			w2 := writev2.Request{Symbols: []string{"", "__name__", "h"}, Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{1, 2}}}}
			for _, h := range w1.Timeseries[0].Histograms {
				x := toV2(&h)
				x.StartTimestamp = 5
				w2.Timeseries[0].Histograms = append(w2.Timeseries[0].Histograms, x)
			}
			compare(t, d, V2, marshal(t, &w2), oracleV2(&w2))

			var a ledger.Account
			r, err := d.Decode(V1, marshal(t, &w1), &a, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Release()
			switch {
			case c.want == "":
				if len(a.Rejections) > 0 || len(r.Series[0].Histograms) != 3 {
					t.Errorf("rejected: %+v", a.Rejections)
				}
			case len(a.Rejections) != 1 || !strings.Contains(a.Rejections[0].Examples[0], c.want) || len(r.Series[0].Histograms) != 2:
				t.Errorf("got %+v, want %s", a.Rejections, c.want)
			}
		})
	}
}

func marshal(t testing.TB, m interface{ Marshal() ([]byte, error) }) []byte {
	t.Helper()
	out, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// RejectNonFinite is about float samples alone.
func TestHistogramsMayBeNaN(t *testing.T) {
	o := options()
	o.RejectNonFinite = true
	w := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels: []prompb.Label{{Name: "__name__", Value: "h"}}, Histograms: []prompb.Histogram{floatHistogram(nil)}, Exemplars: []prompb.Exemplar{{Value: math.Inf(1)}},
	}}}
	compare(t, NewDecoder(o, series.NewHasher()), V1, marshal(t, &w), oracleV1(&w))
}

func TestExemplars(t *testing.T) {
	for _, c := range []struct {
		name   string
		labels []string // names and values
		ms     int64
		want   ledger.Reason
	}{
		{"usual", []string{"trace_id", "abc"}, ms, ""},
		{"no labels, no time", nil, 0, ""},
		{"unsorted", []string{"z", "1", "a", "2", "m", "3"}, ms, ""},
		{"empty value", []string{"z", "", "a", "2"}, ms, ""},
		{"longer than Prometheus keeps", []string{"a", strings.Repeat("é", 500)}, ms, ""},
		{"no name", []string{"", "x"}, ms, ledger.InvalidExemplar},
		{"twice", []string{"a", "x", "b", "y", "a", "z"}, ms, ledger.InvalidExemplar},
		{"name not UTF-8", []string{"\xff", "x"}, ms, ledger.InvalidExemplar},
		{"value not UTF-8", []string{"a", "\xff"}, ms, ledger.InvalidExemplar},
		{"before 1970", []string{"a", "b"}, -1, ledger.OutOfRange},
		{"far future", []string{"a", "b"}, math.MaxInt64, ledger.OutOfRange},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(options(), series.NewHasher())
			symbols := writev2.NewSymbolTable()
			x1, x2 := prompb.Exemplar{Value: math.Inf(-1), Timestamp: c.ms}, writev2.Exemplar{Value: math.Inf(-1), Timestamp: c.ms}
			for i := 0; i < len(c.labels); i += 2 {
				x1.Labels = append(x1.Labels, prompb.Label{Name: c.labels[i], Value: c.labels[i+1]})
				x2.LabelsRefs = append(x2.LabelsRefs, symbols.Symbolize(c.labels[i]), symbols.Symbolize(c.labels[i+1]))
			}
			w1 := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: "m"}}, Exemplars: []prompb.Exemplar{{Value: 1}, x1, {Value: 2}}}}}
			w2 := writev2.Request{Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{symbols.Symbolize("__name__"), symbols.Symbolize("m")}, Exemplars: []writev2.Exemplar{{Value: 1}, x2, {Value: 2}}}}}
			w2.Symbols = symbols.Symbols()
			compare(t, d, V1, marshal(t, &w1), oracleV1(&w1))
			compare(t, d, V2, marshal(t, &w2), oracleV2(&w2))
			want := map[string]uint64{}
			if c.want != "" {
				want["exemplars "+string(c.want)] = 1
			}
			if got := oracleV1(&w1).rejected; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("rejected %v, want %v", got, want)
			}
		})
	}
	// References that the request cannot resolve cost the exemplar alone.
	for _, refs := range [][]uint32{{1}, {1, 9}, {9, 1}, {1, 2, 1}} {
		w := writev2.Request{Symbols: []string{"", "__name__", "m"}, Timeseries: []writev2.TimeSeries{{
			LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Timestamp: 1}}, Exemplars: []writev2.Exemplar{{LabelsRefs: refs}},
		}}}
		m := oracleV2(&w)
		compare(t, NewDecoder(options(), series.NewHasher()), V2, marshal(t, &w), m)
		if fmt.Sprint(m.rejected) != "map[exemplars invalid_symbols:1]" {
			t.Errorf("%v: %v", refs, m.rejected)
		}
	}
}

func TestMetadata(t *testing.T) {
	type md = prompb.MetricMetadata
	w1 := prompb.WriteRequest{Metadata: []md{
		{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "a", Help: "help\nwith \x00 all", Unit: "seconds"},
		{Type: prompb.MetricMetadata_STATESET, MetricFamilyName: "b"},
		{MetricFamilyName: "c", Help: "help alone"},
		{MetricFamilyName: "d"}, // says nothing
		{Type: 8, MetricFamilyName: "e"},
		{Type: -1, MetricFamilyName: "f"},
		{MetricFamilyName: "g", Help: "\xff"},
		{MetricFamilyName: "h", Unit: "\xff"},
		{MetricFamilyName: "\xff", Unit: "u"},
		{Help: "whose?"},
	}}
	d := NewDecoder(options(), series.NewHasher())
	m := oracleV1(&w1)
	compare(t, d, V1, marshal(t, &w1), m)
	if fmt.Sprint(m.rejected) != "map[metadata invalid_metadata:6]" || strings.Count(m.metadata.String(), "\n") != 3 {
		t.Errorf("1.0: %v, %s", m.rejected, m.metadata.String())
	}

	w2 := writev2.Request{Symbols: []string{"", "__name__", "m", "help", "s", "\xff"}}
	for _, x := range []writev2.Metadata{
		{Type: 1, HelpRef: 3, UnitRef: 4}, {Type: 7}, {HelpRef: 3}, {UnitRef: 4}, {},
		{Type: 8}, {Type: -1, HelpRef: 3}, {HelpRef: 5}, {UnitRef: 5}, {HelpRef: 6}, {UnitRef: math.MaxUint32},
	} {
		w2.Timeseries = append(w2.Timeseries,
			writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Metadata: x, Samples: []writev2.Sample{{Timestamp: 1}}},
			writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Metadata: x},
			writev2.TimeSeries{LabelsRefs: []uint32{3, 3}, Metadata: x},
		)
	}
	m = oracleV2(&w2)
	compare(t, d, V2, marshal(t, &w2), m)
	if fmt.Sprint(m.rejected) != "map[metadata invalid_metadata:8 metadata invalid_symbols:4 metadata missing_metric_name:10]" || strings.Count(m.metadata.String(), "\n") != 8 {
		t.Errorf("2.0: %v, %s", m.rejected, m.metadata.String())
	}

	// The same metadata has the same hash in either message, and other metadata another one.
	hashes := map[uint64]string{}
	for v, message := range map[Message][]byte{
		V1: marshal(t, &prompb.WriteRequest{Metadata: []md{{Type: 1, MetricFamilyName: "m", Help: "help", Unit: "s"}, {Type: 1, MetricFamilyName: "m", Help: "s", Unit: "help"}, {Type: 2, MetricFamilyName: "m", Help: "help", Unit: "s"}, {Type: 1, MetricFamilyName: "help", Help: "m", Unit: "s"}}}),
		V2: marshal(t, &w2),
	} {
		r, err := d.Decode(v, message, new(ledger.Account), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range r.Metadata {
			if v == V1 || x.Type == 1 {
				hashes[x.Hash] = fmt.Sprintf("%s %d %s %s", x.Name, x.Type, x.Help, x.Unit)
			}
		}
		r.Release()
	}
	texts := map[string]bool{}
	for _, s := range hashes {
		texts[s] = true
	}
	if len(hashes) != 4 || len(texts) != 4 {
		t.Errorf("%d hashes of %d", len(hashes), len(texts))
	}
}

func TestStartTimestamps(t *testing.T) {
	const early = ms - 1000
	w := writev2.Request{Symbols: []string{"", "__name__", "m", "a"}, Timeseries: []writev2.TimeSeries{
		{LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{
			{Timestamp: ms, StartTimestamp: early}, {Timestamp: ms + 1}, {Timestamp: ms + 2, StartTimestamp: -1}, {Timestamp: ms + 3, StartTimestamp: math.MaxInt64},
			{Timestamp: -1, StartTimestamp: early}, {Timestamp: ms, StartTimestamp: ms + 7},
		}},
		{LabelsRefs: []uint32{3, 2}, Samples: []writev2.Sample{{Timestamp: ms, StartTimestamp: early}, {Timestamp: ms}}},
		{LabelsRefs: []uint32{1, 2}, Histograms: []writev2.Histogram{
			{Timestamp: ms, StartTimestamp: early}, {Timestamp: ms, StartTimestamp: -5}, {Timestamp: -1, StartTimestamp: early},
			{Timestamp: ms, StartTimestamp: early, Schema: 100}, {Timestamp: ms},
		}},
	}}
	m := oracleV2(&w)
	compare(t, NewDecoder(options(), series.NewHasher()), V2, marshal(t, &w), m)
	want := "map[histograms invalid_histogram:1 histograms out_of_range:1 samples missing_metric_name:2 samples out_of_range:1 start_timestamps invalid_histogram:1 start_timestamps missing_metric_name:1 start_timestamps out_of_range:5]"
	if fmt.Sprint(m.rejected) != want || m.received[ledger.StartTimestamps] != 10 {
		t.Errorf("got %v, %d received", m.rejected, m.received[ledger.StartTimestamps])
	}
	o := options()
	o.RejectNonFinite = true
	var a ledger.Account
	w = writev2.Request{Symbols: []string{"", "__name__", "m"}, Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Timestamp: 1, StartTimestamp: 1, Value: math.NaN()}}}}}
	r, err := NewDecoder(o, series.NewHasher()).Decode(V2, marshal(t, &w), &a, nil)
	if err != nil {
		t.Fatal(err)
	}
	balanced(t, &a, r)
	if got := fmt.Sprint(rejected(&a)); got != "map[samples non_finite_value:1 start_timestamps non_finite_value:1]" {
		t.Error(got)
	}
}

// In 1.0 the numbers that 2.0 gives to start timestamps are unknown fields.
func TestStartTimestampsAreOf2Alone(t *testing.T) {
	sample := protowire.AppendVarint(protowire.AppendTag([]byte{0x10, 7}, 3, protowire.VarintType), 5)
	hist := protowire.AppendVarint(protowire.AppendTag([]byte{15 << 3, 7}, 17, protowire.VarintType), 5)
	ts := []byte("\x0a\x0d\x0a\x08__name__\x12\x01m")
	ts = protowire.AppendBytes(protowire.AppendTag(ts, 2, protowire.BytesType), sample)
	ts = protowire.AppendBytes(protowire.AppendTag(ts, 4, protowire.BytesType), hist)
	var a ledger.Account
	r, err := NewDecoder(options(), series.NewHasher()).Decode(V1, protowire.AppendBytes([]byte{0x0a}, ts), &a, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Series[0]; a.Counts[ledger.StartTimestamps].Received != 0 || s.Samples[0].StartMs != 0 || s.Histograms[0].StartMs != 0 || s.Samples[0].TimeMs != 7 {
		t.Errorf("got %+v", s)
	}
}

// Release candidate 3 had the created timestamp in field 6 of the series; references need not be packed; lists come in
// parts; symbols may come last, and labels after the samples; fields that nobody knows yet are passed over.
func TestOtherFormsOf2(t *testing.T) {
	field := func(to []byte, n protowire.Number, content ...byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(to, n, protowire.BytesType), content)
	}
	number := func(to []byte, n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(to, n, protowire.VarintType), v)
	}
	double := func(to []byte, n protowire.Number, v float64) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(to, n, protowire.Fixed64Type), math.Float64bits(v))
	}
	future := func(to []byte) []byte {
		to = number(to, 18, 1)
		to = protowire.AppendFixed32(protowire.AppendTag(to, 19, protowire.Fixed32Type), 7)
		return field(double(to, 20, 1), 99, []byte("future")...)
	}
	created := number(nil, 6, ms)
	exemplar := future(double(number(number(number(nil, 3, 9), 1, 3), 1, 1), 2, 4)) // labels one by one
	hist := number(future(nil), 15, 78)
	hist = double(double(hist, 2, 3), 13, 1)                              // a float count; counts one by one
	hist = field(hist, 13, double(nil, 1, 2)[1:]...)                      // and packed
	hist = field(field(hist, 11, future(number(nil, 2, 1))...), 11, 8, 2) // two spans: length 1; offset 1
	hist = field(hist, 11, 16, 1)                                         // length 1
	own := number(number(nil, 15, 79), 17, 5)

	var ts []byte
	for _, part := range [][]byte{created, field(nil, 7, 1, 2, 3), field(nil, 4, exemplar...), field(nil, 2, append(protowire.AppendVarint([]byte{16}, 77), double(nil, 1, 1)...)...),
		number(nil, 1, 1), field(nil, 3, hist...), field(nil, 1, 2, 3), future(nil), number(nil, 1, 1), field(nil, 3, own...), field(nil, 5, number(number(nil, 3, 3), 2, 9)...), field(nil, 5, 8, 2)} {
		ts = append(ts, part...)
	}
	var msg []byte
	msg = field(future(field(nil, 5, ts...)), 99, []byte("future")...)
	for _, s := range []string{"", "__name__", "m", "b"} {
		msg = field(msg, 4, []byte(s)...)
	}
	var a ledger.Account
	r, err := NewDecoder(options(), series.NewHasher()).Decode(V2, msg, &a, nil)
	if err != nil {
		t.Fatal(err)
	}
	balanced(t, &a, r)
	float := prompb.Histogram{
		Count: &prompb.Histogram_CountFloat{CountFloat: 3}, ZeroCount: &prompb.Histogram_ZeroCountFloat{},
		PositiveSpans: []prompb.BucketSpan{{Length: 1}, {Offset: 1}, {Length: 1}}, PositiveCounts: []float64{1, 2},
	}
	empty := prompb.Histogram{Count: &prompb.Histogram_CountInt{}, ZeroCount: &prompb.Histogram_ZeroCountInt{}}
	want := fmt.Sprintf("%q=%q %q=%q 3ff0000000000000@77 from %d {%s}@78 from %d {%s}@79 from 5 # %q=%q 4010000000000000@9 \n",
		"__name__", "m", "b", "__name__", ms, printHistogram(&float), ms, printHistogram(&empty), "b", "__name__")
	if got := text(r.Series); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if len(r.Metadata) != 1 || string(r.Metadata[0].Help) != "b" || r.Metadata[0].Type != 2 {
		t.Errorf("metadata %v", r.Metadata)
	}
	if got := a.Counts[ledger.StartTimestamps].Received; got != 3 {
		t.Errorf("%d start timestamps: %v", got, rejected(&a))
	}
}

// everything is a message of each protocol with all that it can carry.
func everything(t testing.TB) map[Message][]byte {
	w1 := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  []prompb.Label{{Name: "__name__", Value: "m"}, {Name: "a", Value: "b"}},
		Samples: []prompb.Sample{{Value: 1, Timestamp: ms}, {Value: 2, Timestamp: ms + 1}}, Histograms: []prompb.Histogram{intHistogram(nil), floatHistogram(nil), customHistogram(nil)},
		Exemplars: []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace", Value: "x"}}, Value: 3, Timestamp: ms}},
	}}, Metadata: []prompb.MetricMetadata{{Type: 1, MetricFamilyName: "m", Help: "help", Unit: "s"}}}
	w2 := writev2.Request{Symbols: []string{"", "__name__", "m", "a", "b", "trace", "x", "help", "s"}, Timeseries: []writev2.TimeSeries{{
		LabelsRefs: []uint32{1, 2, 3, 4}, Samples: []writev2.Sample{{Value: 1, Timestamp: ms, StartTimestamp: 1}, {Value: 2, Timestamp: ms + 1}},
		Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{5, 6}, Value: 3, Timestamp: ms}}, Metadata: writev2.Metadata{Type: 1, HelpRef: 7, UnitRef: 8},
	}}}
	for _, h := range w1.Timeseries[0].Histograms {
		x := toV2(&h)
		x.StartTimestamp = 9
		w2.Timeseries[0].Histograms = append(w2.Timeseries[0].Histograms, x)
	}
	return map[Message][]byte{V1: marshal(t, &w1), V2: marshal(t, &w2)}
}

// A message that is cut anywhere is refused, or, when the cut leaves whole fields, understood as these.
func TestTruncated(t *testing.T) {
	d := NewDecoder(options(), series.NewHasher())
	for v, message := range everything(t) {
		for n := range len(message) + 1 {
			w1, w2 := prompb.WriteRequest{}, writev2.Request{}
			var err error
			if v == V1 {
				err = w1.Unmarshal(message[:n])
			} else {
				err = w2.Unmarshal(message[:n])
			}
			switch {
			case err != nil:
				if _, err := d.Decode(v, message[:n], new(ledger.Account), nil); !errors.Is(err, ErrCorrupt) {
					t.Errorf("%d.0, %d bytes of %d: %v", v, n, len(message), err)
				}
			case v == V1:
				compare(t, d, v, message[:n], oracleV1(&w1))
			default:
				compare(t, d, v, message[:n], oracleV2(&w2))
			}
		}
	}
}

// TestRandomMessages compares what our decoder makes of random messages, many of them odd, with the oracle.
func TestRandomMessages(t *testing.T) {
	d := NewDecoder(options(), series.NewHasher())
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w1 := randomV1(r)
		compare(t, d, V1, marshal(t, &w1), oracleV1(&w1))
		w2 := randomV2(r)
		compare(t, d, V2, marshal(t, &w2), oracleV2(&w2))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

var someTexts = []string{"__name__", "m", "a", "b", "c", "trace_id", "", "é", "\xff", "a longer text than the others", "0123456", "01234567"}

func someText(r *rand.Rand) string {
	if r.IntN(3) > 0 {
		return someTexts[r.IntN(6)]
	}
	return someTexts[r.IntN(len(someTexts))]
}

func someTime(r *rand.Rand) int64 {
	return []int64{0, 1, ms, ms, ms + r.Int64N(1000), timestream.MaxTimeMs, timestream.MaxTimeMs + 1, -1, math.MinInt64, math.MaxInt64}[r.IntN(10)]
}

func someValue(r *rand.Rand) float64 {
	return []float64{0, 1, -1, r.NormFloat64(), math.NaN(), math.Inf(1), math.Float64frombits(0x7ff0000000000002), math.SmallestNonzeroFloat64}[r.IntN(8)]
}

func someHistogram(r *rand.Rand) prompb.Histogram {
	h := []func(func(*prompb.Histogram)) prompb.Histogram{intHistogram, floatHistogram, customHistogram}[r.IntN(3)](nil)
	h.Timestamp = someTime(r)
	if r.IntN(3) == 0 {
		h.Schema = int32(r.IntN(120) - 60)
	}
	if r.IntN(5) == 0 {
		h.PositiveSpans = append(slices.Clone(h.PositiveSpans), prompb.BucketSpan{Offset: int32(r.IntN(5) - 1), Length: uint32(r.IntN(2))})
	}
	if r.IntN(5) == 0 {
		h.ResetHint = prompb.Histogram_ResetHint(r.IntN(6) - 1)
	}
	return h
}

func randomV1(r *rand.Rand) prompb.WriteRequest {
	var w prompb.WriteRequest
	list := func(n int) (out []prompb.Label) {
		for range n {
			out = append(out, prompb.Label{Name: someText(r), Value: someText(r)})
		}
		return out
	}
	for range r.IntN(6) {
		ts := prompb.TimeSeries{Labels: list(r.IntN(4))}
		if r.IntN(4) > 0 {
			ts.Labels = append([]prompb.Label{{Name: "__name__", Value: "m"}}, ts.Labels...)
		}
		for range r.IntN(3) {
			ts.Samples = append(ts.Samples, prompb.Sample{Value: someValue(r), Timestamp: someTime(r)})
		}
		for range r.IntN(3) {
			ts.Histograms = append(ts.Histograms, someHistogram(r))
		}
		for range r.IntN(3) {
			ts.Exemplars = append(ts.Exemplars, prompb.Exemplar{Labels: list(r.IntN(3)), Value: someValue(r), Timestamp: someTime(r)})
		}
		w.Timeseries = append(w.Timeseries, ts)
	}
	for range r.IntN(3) {
		w.Metadata = append(w.Metadata, prompb.MetricMetadata{Type: prompb.MetricMetadata_MetricType(r.IntN(10) - 1), MetricFamilyName: someText(r), Help: someText(r), Unit: someText(r)})
	}
	return w
}

func randomV2(r *rand.Rand) writev2.Request {
	w := writev2.Request{Symbols: slices.Clone(someTexts)}
	r.Shuffle(len(w.Symbols)-3, func(i, j int) { w.Symbols[i+2], w.Symbols[j+2] = w.Symbols[j+2], w.Symbols[i+2] })
	for len(w.Symbols) < 200 { // some references take two bytes
		w.Symbols = append(w.Symbols, fmt.Sprint("symbol ", len(w.Symbols)))
	}
	ref := func() uint32 {
		switch r.IntN(40) {
		case 0:
			return uint32(len(w.Symbols) + r.IntN(3))
		case 1, 2, 3, 4, 5:
			return uint32(r.IntN(len(w.Symbols)))
		}
		return uint32(r.IntN(len(someTexts)))
	}
	list := func(n int) (out []uint32) {
		for range n {
			out = append(out, ref(), ref())
		}
		if r.IntN(40) == 0 {
			out = append(out, ref())
		}
		return out
	}
	for range r.IntN(6) {
		ts := writev2.TimeSeries{LabelsRefs: list(r.IntN(4))}
		if r.IntN(4) > 0 {
			ts.LabelsRefs = append([]uint32{0, 1}, ts.LabelsRefs...)
		}
		for range r.IntN(3) {
			ts.Samples = append(ts.Samples, writev2.Sample{Value: someValue(r), Timestamp: someTime(r), StartTimestamp: someTime(r)})
		}
		for range r.IntN(3) {
			h := someHistogram(r)
			x := toV2(&h)
			x.StartTimestamp = someTime(r)
			ts.Histograms = append(ts.Histograms, x)
		}
		for range r.IntN(3) {
			ts.Exemplars = append(ts.Exemplars, writev2.Exemplar{LabelsRefs: list(r.IntN(3)), Value: someValue(r), Timestamp: someTime(r)})
		}
		if r.IntN(2) == 0 {
			ts.Metadata = writev2.Metadata{Type: writev2.Metadata_MetricType(r.IntN(10) - 1), HelpRef: ref(), UnitRef: ref()}
		}
		w.Timeseries = append(w.Timeseries, ts)
	}
	return w
}

// The memory of a request is used again.
func TestSteadyWorkDoesNotAllocate(t *testing.T) {
	d := NewDecoder(options(), series.NewHasher())
	for v, message := range everything(t) {
		var a ledger.Account
		n := math.Inf(1)
		for range 30 { // the pool loses a request now and then
			n = min(n, testing.AllocsPerRun(1, func() {
				a = ledger.Account{}
				r, err := d.Decode(v, message, &a, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Release()
			}))
		}
		if n > 0 {
			t.Errorf("%d.0: %v allocations", v, n)
		}
	}
}

// What an earlier request pointed to is not kept alive once a smaller one has been here.
func TestReleaseForgets(t *testing.T) {
	d := NewDecoder(options(), series.NewHasher())
	for v, message := range forms(t, ingesttest.Load(100, 100, 0)) {
		r, err := d.Decode(v, message, new(ledger.Account), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Release()
		r.Series, r.labels, r.symbols = r.Series[:1], r.labels[:1], r.symbols[:0]
		r.Release()
		if r.Series[:cap(r.Series)][1].Labels != nil || r.labels[:cap(r.labels)][1].Name != nil {
			t.Errorf("%d.0: labels are kept", v)
		}
	}
}
