// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream"
)

func options() Options {
	return Options{MaxDecompressedBytes: 1 << 20, MaxSamples: 10_000, MaxTimeMs: timestream.MaxTimeMs}
}

// text prints decoded series so that they can be compared.
func text(ss []series.Series) string {
	var b strings.Builder
	for _, s := range ss {
		for _, l := range s.Labels {
			fmt.Fprintf(&b, "%q=%q ", l.Name, l.Value)
		}
		for _, x := range s.Samples {
			fmt.Fprintf(&b, "%x@%d ", math.Float64bits(x.Value), x.TimeMs)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// rejected prints what an account rejects.
func rejected(a *ledger.Account) map[string]uint64 {
	out := map[string]uint64{}
	for _, r := range a.Rejections {
		out[r.Kind.String()+" "+string(r.Reason)] = r.Count
	}
	return out
}

// balanced checks the account of a decoded request: what was not rejected is in the series.
func balanced(t *testing.T, a *ledger.Account, ss []series.Series) {
	t.Helper()
	n := uint64(0)
	for _, s := range ss {
		n += uint64(len(s.Samples))
	}
	for k, c := range a.Counts {
		left := c.Received - c.Rejected
		if ledger.Kind(k) != ledger.Samples {
			n = 0
		}
		if left != n {
			t.Errorf("%v: %+v, %d left", ledger.Kind(k), c, n)
		}
	}
}

func forms(t testing.TB, ss []ingesttest.Series) map[Message][]byte {
	return map[Message][]byte{V1: ingesttest.V1(t, ss, 0), V2: ingesttest.V2(t, ss)}
}

func TestDecode(t *testing.T) {
	load := ingesttest.Load(500, 700, 0)
	load[3].Samples = []prompb.Sample{{Timestamp: 1, Value: math.Inf(-1)}, {Timestamp: timestream.MaxTimeMs, Value: math.Float64frombits(0x7ff0000000000002)}}
	load[5].Labels = ingesttest.L("z", "1", "a", "2", "empty", "", "__name__", "m") // unsorted, with an absent label
	d := NewDecoder(options(), series.NewHasher())
	for m, plain := range forms(t, load) {
		for _, compressed := range []bool{false, true} {
			payload := plain
			if compressed {
				payload = ingesttest.Snappy(plain)
			}
			for range 3 { // the memory of the first is used again
				var a ledger.Account
				r, err := d.Decode(m, compressed, payload, &a)
				if err != nil {
					t.Fatal(err)
				}
				var want strings.Builder
				for _, s := range load {
					labels.New(s.Labels...).WithoutEmpty().Range(func(l labels.Label) { fmt.Fprintf(&want, "%q=%q ", l.Name, l.Value) })
					for _, x := range s.Samples {
						fmt.Fprintf(&want, "%x@%d ", math.Float64bits(x.Value), x.Timestamp)
					}
					want.WriteString("\n")
				}
				if got := text(r.Series); got != want.String() {
					t.Errorf("message %d: got\n%.2000s\nwant\n%.2000s", m, got, want.String())
				}
				if len(a.Rejections) > 0 {
					t.Errorf("message %d: rejected %v", m, rejected(&a))
				}
				balanced(t, &a, r.Series)
				r.Release()
			}
		}
	}
}

// The published encoders leave -0 out, as they do 0; another sender may not.
func TestNegativeZero(t *testing.T) {
	sample := append([]byte{0x09, 0, 0, 0, 0, 0, 0, 0, 0x80}, 0x10, 7)
	ts := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte("\x0a\x08__name__\x12\x01m"))
	ts = protowire.AppendBytes(protowire.AppendTag(ts, 2, protowire.BytesType), sample)
	r, err := NewDecoder(options(), series.NewHasher()).Decode(V1, false, protowire.AppendBytes([]byte{0x0a}, ts), new(ledger.Account))
	if err != nil || len(r.Series) != 1 || math.Float64bits(r.Series[0].Samples[0].Value) != 1<<63 {
		t.Errorf("got %v, %v", r, err)
	}
}

// The same labels have the same hash, in either message and any order.
func TestHashDependsOnTheLabelsAlone(t *testing.T) {
	d := NewDecoder(options(), series.NewHasher())
	seen := map[uint64]string{}
	for _, ls := range [][]labels.Label{
		ingesttest.L("__name__", "m", "a", "1", "b", "2"), ingesttest.L("b", "2", "a", "1", "__name__", "m"),
		ingesttest.L("__name__", "m", "a", "1", "b", "2", "c", ""),
	} {
		for m, payload := range forms(t, []ingesttest.Series{ingesttest.One(ls, 1, 1)}) {
			r, err := d.Decode(m, false, payload, new(ledger.Account))
			if err != nil {
				t.Fatal(err)
			}
			seen[r.Series[0].Hash] = "m"
		}
	}
	if len(seen) != 1 {
		t.Errorf("%d hashes of one series", len(seen))
	}
	for _, ls := range [][]labels.Label{
		ingesttest.L("__name__", "m", "a", "2", "b", "1"), ingesttest.L("__name__", "m", "a", "1"), ingesttest.L("__name__", "a", "m", "1", "b", "2"),
	} {
		r, err := d.Decode(V1, false, ingesttest.V1(t, []ingesttest.Series{ingesttest.One(ls, 1, 1)}, 0), new(ledger.Account))
		if err != nil {
			t.Fatal(err)
		}
		if _, have := seen[r.Series[0].Hash]; have {
			t.Errorf("%v has the hash of another series", ls)
		}
	}
}

func TestRejects(t *testing.T) {
	L, One := ingesttest.L, ingesttest.One
	strict := options()
	strict.MaxMetricNameBytes, strict.RejectNonFinite = 256, true
	good := One(L("__name__", "good", "a", "b"), 5, 5)
	for _, c := range []struct {
		name string
		opts Options
		give ingesttest.Series
		want map[string]uint64
	}{
		{"missing name", options(), One(L("job", "a"), 1, 1), map[string]uint64{"samples missing_metric_name": 1}},
		{"empty name", options(), One(L("__name__", "", "job", "a"), 1, 1), map[string]uint64{"samples missing_metric_name": 1}},
		{"no labels", options(), One(nil, 1, 1), map[string]uint64{"samples empty_label_set": 1}},
		{"only empty labels", options(), One(L("a", "", "__name__", ""), 1, 1), map[string]uint64{"samples empty_label_set": 1}},
		{"label without a name", options(), One(L("", "x", "__name__", "m"), 1, 1), map[string]uint64{"samples empty_label_name": 1}},
		{"label twice", options(), One(L("__name__", "m", "a", "1", "a", "1"), 1, 1), map[string]uint64{"samples duplicate_label_name": 1}},
		{"label twice, apart", options(), One(L("a", "1", "__name__", "m", "b", "", "a", "2"), 1, 1), map[string]uint64{"samples duplicate_label_name": 1}},
		{"label twice, once empty", options(), One(L("__name__", "m", "a", "", "a", "2"), 1, 1), map[string]uint64{"samples duplicate_label_name": 1}},
		{"name not UTF-8", options(), One(L("__name__", "m", "a\xff", "1"), 1, 1), map[string]uint64{"samples invalid_utf8": 1}},
		{"value not UTF-8", options(), One(L("__name__", "m\xc3"), 1, 1), map[string]uint64{"samples invalid_utf8": 1}},
		{"before 1970", options(), ingesttest.Series{Labels: L("__name__", "m"), Samples: []prompb.Sample{{Timestamp: -1}, {Timestamp: 1}}}, map[string]uint64{"samples out_of_range": 1}},
		{"after what nanoseconds hold", options(), One(L("__name__", "m"), timestream.MaxTimeMs+1, 1), map[string]uint64{"samples out_of_range": 1}},
		{"several samples of an invalid series", options(), ingesttest.Series{Labels: L("a", "b"), Samples: make([]prompb.Sample, 7), Histograms: 2}, map[string]uint64{"samples missing_metric_name": 7, "histograms missing_metric_name": 2}},
		{"histograms", options(), ingesttest.Series{Labels: L("__name__", "m"), Histograms: 3}, map[string]uint64{"histograms unsupported": 3}},
		{"exemplars", options(), ingesttest.Series{Labels: L("__name__", "m"), Samples: make([]prompb.Sample, 1), Exemplars: 2}, map[string]uint64{"exemplars unsupported": 2}},
		{"long name, stored", options(), One(L("__name__", strings.Repeat("m", 257)), 1, 1), map[string]uint64{}},
		{"long name, refused", strict, One(L("__name__", strings.Repeat("m", 257)), 1, 1), map[string]uint64{"samples metric_name_too_long": 1}},
		{"name at the limit", strict, One(L("__name__", strings.Repeat("m", 256)), 1, 1), map[string]uint64{}},
		{"not finite, stored", options(), One(L("__name__", "m"), 1, math.NaN()), map[string]uint64{}},
		{"not finite, refused", strict, ingesttest.Series{Labels: L("__name__", "m"), Samples: []prompb.Sample{{Value: math.NaN()}, {Value: math.Inf(1)}, {Value: math.Inf(-1)}, {Value: math.MaxFloat64}}}, map[string]uint64{"samples non_finite_value": 3}},
		{"odd but legal", options(), One(L("__name__", `"`, "a\"b;\n", "x;'\"\n\x00"), 1, 1), map[string]uint64{}},
	} {
		for m, payload := range forms(t, []ingesttest.Series{good, c.give, good}) {
			t.Run(fmt.Sprintf("%s, %d.0", c.name, m), func(t *testing.T) {
				var a ledger.Account
				r, err := NewDecoder(c.opts, series.NewHasher()).Decode(m, false, payload, &a)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Release()
				if got := rejected(&a); fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
				balanced(t, &a, r.Series)
				if n := len(r.Series); n < 2 || string(r.Series[0].Labels[0].Name) != "__name__" || string(r.Series[n-1].Labels[1].Value) != "b" {
					t.Errorf("the good series are not left: %s", text(r.Series))
				}
				for _, x := range a.Rejections {
					for _, e := range x.Examples {
						if strings.ToValidUTF8(e, "") != e || len(e) > 600 || strings.ContainsAny(e, "\x00\n") {
							t.Errorf("example %q", e)
						}
					}
				}
			})
		}
	}
}

// Everything that 2.0 brings and is not stored yet is counted, and does not hurt the samples it comes with.
func TestUnsupportedKindsAreCounted(t *testing.T) {
	s := ingesttest.One(ingesttest.L("__name__", "m"), 1, 1)
	s.Exemplars, s.Metadata, s.Starts = 2, true, true
	var a ledger.Account
	r, err := NewDecoder(options(), series.NewHasher()).Decode(V2, false, ingesttest.V2(t, []ingesttest.Series{s, {Labels: ingesttest.L("__name__", "only"), Metadata: true}}), &a)
	if err != nil {
		t.Fatal(err)
	}
	want := "map[exemplars unsupported:2 metadata unsupported:2 start_timestamps unsupported:1]"
	if got := fmt.Sprint(rejected(&a)); got != want || len(r.Series) != 1 {
		t.Errorf("got %s and %d series, want %s", got, len(r.Series), want)
	}
	balanced(t, &a, r.Series)

	a = ledger.Account{}
	if r, err = NewDecoder(options(), series.NewHasher()).Decode(V1, false, ingesttest.V1(t, []ingesttest.Series{s}, 4), &a); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(rejected(&a)); got != "map[exemplars unsupported:2 metadata unsupported:4]" {
		t.Errorf("1.0: got %s", got)
	}
	balanced(t, &a, r.Series)
}

func TestInvalidSymbols(t *testing.T) {
	sample := []writev2.Sample{{Value: 1, Timestamp: 1}}
	for name, refs := range map[string][]uint32{
		"beyond the end":       {1, 2, 3, 99},
		"name beyond the end":  {1, 2, 99, 3},
		"far beyond the end":   {1, 2, math.MaxUint32, 3},
		"half a label":         {1, 2, 3},
		"one bad, two lacking": {99},
	} {
		w := writev2.Request{Symbols: []string{"", "__name__", "m", "a", "b"}, Timeseries: []writev2.TimeSeries{
			{LabelsRefs: []uint32{1, 2, 3, 4}, Samples: sample},
			{LabelsRefs: refs, Samples: append(sample, sample...)},
			{LabelsRefs: []uint32{1, 2}, Samples: sample},
		}}
		payload, err := w.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var a ledger.Account
		r, err := NewDecoder(options(), series.NewHasher()).Decode(V2, false, payload, &a)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := fmt.Sprint(rejected(&a)); got != "map[samples invalid_symbols:2]" || len(r.Series) != 2 {
			t.Errorf("%s: got %s and %d series", name, got, len(r.Series))
		}
		balanced(t, &a, r.Series)
	}
}

// Release candidate 3 had the created timestamp in field 6 of the series; references need not be packed; symbols may come
// last; fields that nobody knows yet are passed over.
func TestOtherFormsOf2(t *testing.T) {
	var ts []byte
	for _, ref := range []uint64{1, 2} {
		ts = protowire.AppendVarint(protowire.AppendTag(ts, 1, protowire.VarintType), ref)
	}
	ts = protowire.AppendVarint(protowire.AppendTag(ts, 6, protowire.VarintType), 1_700_000_000_000)
	ts = protowire.AppendBytes(protowire.AppendTag(ts, 2, protowire.BytesType), append(protowire.AppendVarint([]byte{16}, 77), 9, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f))
	ts = protowire.AppendFixed32(protowire.AppendTag(ts, 19, protowire.Fixed32Type), 7)
	ts = protowire.AppendFixed64(protowire.AppendTag(ts, 20, protowire.Fixed64Type), 7)
	var msg []byte
	msg = protowire.AppendBytes(protowire.AppendTag(msg, 5, protowire.BytesType), ts)
	msg = protowire.AppendBytes(protowire.AppendTag(msg, 99, protowire.BytesType), []byte("future"))
	for _, s := range []string{"", "__name__", "m"} {
		msg = protowire.AppendBytes(protowire.AppendTag(msg, 4, protowire.BytesType), []byte(s))
	}
	var a ledger.Account
	r, err := NewDecoder(options(), series.NewHasher()).Decode(V2, false, msg, &a)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := text(r.Series), "\"__name__\"=\"m\" 3ff0000000000000@77 \n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := fmt.Sprint(rejected(&a)); got != "map[start_timestamps unsupported:1]" {
		t.Errorf("got %s", got)
	}
}

func TestCorruptPayloads(t *testing.T) {
	d := NewDecoder(options(), series.NewHasher())
	plain := ingesttest.V2(t, ingesttest.Load(5, 5, 0))
	whole := ingesttest.Snappy(plain)
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 0x55
	for name, payload := range map[string][]byte{
		"empty":              {},
		"no snappy":          []byte("hello, this is no snappy at all"),
		"cut":                whole[:len(whole)/2],
		"too long":           append(append([]byte(nil), whole...), "garbage"...),
		"claims much":        {0x80, 0x80, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"not the message":    ingesttest.Snappy([]byte("\x07\x07\x07 random bytes")),
		"message cut":        ingesttest.Snappy(plain[:len(plain)-3]),
		"truncated number":   ingesttest.Snappy([]byte{0x2a, 0x80}),
		"field number 0":     ingesttest.Snappy([]byte{0x02, 0x00}),
		"group":              ingesttest.Snappy([]byte{0x0b, 0x0c}),
		"series is a number": ingesttest.Snappy([]byte{0x28, 0x01}),
	} {
		if r, err := d.Decode(V2, true, payload, new(ledger.Account)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, %v", name, r, err)
		}
	}
	for i, payload := range [][]byte{{0x08, 0x01}, {0x0a, 0x02, 0x10, 0x01}, {0x0a, 0x03, 0x0a, 0x01, 0x08}, {0x0a, 0x04, 0x12, 0x02, 0x0d, 0x01}} {
		if _, err := d.Decode(V1, false, payload, new(ledger.Account)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("1.0, %d: got %v", i, err)
		}
	}
	// An empty message is no series, and no error.
	var a ledger.Account
	if r, err := d.Decode(V1, false, nil, &a); err != nil || len(r.Series) != 0 {
		t.Errorf("empty message: %v", err)
	}
}

func TestLimits(t *testing.T) {
	o := options()
	o.MaxDecompressedBytes, o.MaxSamples = 1000, 50
	d := NewDecoder(o, series.NewHasher())
	big := ingesttest.V1(t, ingesttest.Load(10, 10, 0), 0)
	if len(big) <= 1000 {
		t.Fatal("the message is small")
	}
	for _, compressed := range []bool{false, true} {
		payload := big
		if compressed {
			payload = ingesttest.Snappy(big)
		}
		if _, err := d.Decode(V1, compressed, payload, new(ledger.Account)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("compressed %v: got %v", compressed, err)
		}
	}
	o.MaxDecompressedBytes = 1 << 20
	d = NewDecoder(o, series.NewHasher())
	repeat := func(n int, field ...byte) []byte { return []byte(strings.Repeat(string(field), n)) }
	inSeries := func(field byte, content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, protowire.Number(field), protowire.BytesType), content)
	}
	for _, c := range []struct {
		name    string
		m       Message
		payload []byte
		want    error
	}{
		{"1.0: series", V1, repeat(1000, 0x0a, 0), ErrTooMany},
		{"1.0: samples", V1, inSeries(1, repeat(51, 0x12, 0)), ErrTooMany},
		{"1.0: labels", V1, inSeries(1, append(repeat(1001, 0x0a, 0), 0x12, 0)), ErrTooMany},
		{"2.0: series", V2, repeat(1000, 0x2a, 0), ErrTooMany},
		{"2.0: symbols", V2, repeat(2000, 0x22, 0), ErrTooMany},
		{"2.0: samples", V2, inSeries(5, repeat(51, 0x12, 0)), ErrTooMany},
		{"2.0: labels", V2, append([]byte{0x22, 0}, inSeries(5, append(inSeries(1, repeat(2002, 0)), 0x12, 0))...), ErrTooMany},
		{"at the limit", V1, repeat(50, 0x0a, 0), nil},
	} {
		if _, err := d.Decode(c.m, false, c.payload, new(ledger.Account)); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// FuzzV1 and FuzzV2 compare with the published decoders: what these take, ours takes alike.
func FuzzV1(f *testing.F) {
	f.Add(ingesttest.V1(f, ingesttest.Load(3, 3, 0), 1))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var a ledger.Account
		r, err := NewDecoder(options(), series.NewHasher()).Decode(V1, false, payload, &a)
		var want prompb.WriteRequest
		wantErr := want.Unmarshal(payload)
		if err != nil {
			if wantErr == nil && errors.Is(err, ErrCorrupt) && !strings.Contains(err.Error(), "wire type") {
				t.Errorf("refused what the published decoder takes: %v", err)
			}
			return
		}
		balanced(t, &a, r.Series)
		if wantErr != nil {
			return // it checks the inside of messages that are only counted here
		}
		samples, histograms := 0, 0
		for _, s := range want.Timeseries {
			samples += len(s.Samples)
			histograms += len(s.Histograms)
		}
		if int(a.Counts[ledger.Samples].Received) != samples || int(a.Counts[ledger.Histograms].Received) != histograms || int(a.Counts[ledger.Metadata].Received) != len(want.Metadata) {
			t.Errorf("received %+v, want %d samples, %d histograms, %d metadata", a.Counts, samples, histograms, len(want.Metadata))
		}
	})
}

func FuzzV2(f *testing.F) {
	f.Add(ingesttest.V2(f, ingesttest.Load(3, 3, 0)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var a ledger.Account
		r, err := NewDecoder(options(), series.NewHasher()).Decode(V2, false, payload, &a)
		if err != nil {
			return
		}
		balanced(t, &a, r.Series)
		var want writev2.Request
		if want.Unmarshal(payload) != nil {
			return
		}
		samples := 0
		for _, s := range want.Timeseries {
			samples += len(s.Samples)
		}
		if int(a.Counts[ledger.Samples].Received) != samples {
			t.Errorf("received %d samples, want %d", a.Counts[ledger.Samples].Received, samples)
		}
	})
}

func FuzzSnappy(f *testing.F) {
	f.Add(ingesttest.Snappy(ingesttest.V2(f, ingesttest.Load(3, 3, 0))))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var a ledger.Account
		if r, err := NewDecoder(options(), series.NewHasher()).Decode(V2, true, payload, &a); err == nil {
			balanced(t, &a, r.Series)
		}
	})
}

// BenchmarkDecode decodes compressed requests of 2,000 samples, beside the published decoders.
func BenchmarkDecode(b *testing.B) {
	const n = 2000
	load := ingesttest.Load(10_000, n, 0)
	for _, m := range []Message{V1, V2} {
		payload := ingesttest.Snappy(forms(b, load)[m])
		d := NewDecoder(Options{MaxDecompressedBytes: 32 << 20, MaxSamples: 100_000, MaxTimeMs: timestream.MaxTimeMs}, series.NewHasher())
		b.Run(fmt.Sprintf("ours/v%d", m), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := d.Decode(m, true, payload, new(ledger.Account))
				if err != nil || len(r.Series) != n {
					b.Fatal(err)
				}
				r.Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sample")
			b.ReportMetric(float64(len(payload))/n, "payload-B/sample")
		})
		plain := forms(b, load)[m]
		b.Run(fmt.Sprintf("published-uncompressed/v%d", m), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if m == V1 {
					err = new(prompb.WriteRequest).Unmarshal(plain)
				} else {
					err = new(writev2.Request).Unmarshal(plain)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sample")
		})
	}
}
