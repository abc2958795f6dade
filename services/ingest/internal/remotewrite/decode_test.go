// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

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
	return Options{MaxSamples: 10_000, MaxTimeMs: timestream.MaxTimeMs}
}

// text prints decoded series so that they can be compared.
func text(ss []series.Series) string {
	var b strings.Builder
	for _, s := range ss {
		printLabels(&b, s.Labels)
		for _, x := range s.Samples {
			fmt.Fprintf(&b, "%x@%d ", math.Float64bits(x.Value), x.TimeMs)
			printStart(&b, x.StartMs)
		}
		for _, x := range s.Histograms {
			fmt.Fprintf(&b, "{%s}@%d ", printHistogram(x.H), x.TimeMs)
			printStart(&b, x.StartMs)
		}
		for _, x := range s.Exemplars {
			b.WriteString("# ")
			printLabels(&b, x.Labels)
			fmt.Fprintf(&b, "%x@%d ", math.Float64bits(x.Value), x.TimeMs)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func printLabels(b *strings.Builder, ls []series.Label) {
	for _, l := range ls {
		fmt.Fprintf(b, "%q=%q ", l.Name, l.Value)
	}
}

func printStart(b *strings.Builder, ms int64) {
	if ms != 0 {
		fmt.Fprintf(b, "from %d ", ms)
	}
}

// rejected prints what an account rejects.
func rejected(a *ledger.Account) map[string]uint64 {
	out := map[string]uint64{}
	for _, r := range a.Rejections {
		out[r.Kind.String()+" "+string(r.Reason)] = r.Count
	}
	return out
}

// balanced checks the account of a decoded request: what was not rejected is in the request, and by the rules that a store
// relies on.
func balanced(t *testing.T, a *ledger.Account, r *Request) {
	t.Helper()
	var left [ledger.Kinds]uint64
	left[ledger.Metadata] = uint64(len(r.Metadata))
	inRange := func(ms int64) {
		if ms < 0 || ms > timestream.MaxTimeMs {
			t.Errorf("timestamp %d", ms)
		}
	}
	for _, s := range r.Series {
		left[ledger.Samples] += uint64(len(s.Samples))
		left[ledger.Histograms] += uint64(len(s.Histograms))
		left[ledger.Exemplars] += uint64(len(s.Exemplars))
		for _, x := range s.Samples {
			inRange(x.TimeMs)
			inRange(x.StartMs)
			if x.StartMs != 0 {
				left[ledger.StartTimestamps]++
			}
		}
		for _, x := range s.Histograms {
			inRange(x.TimeMs)
			inRange(x.StartMs)
			if x.StartMs != 0 {
				left[ledger.StartTimestamps]++
			}
			if err := validate(x.H); err != nil || x.H.Timestamp != 0 {
				t.Errorf("histogram %v: %v", x.H, err)
			}
		}
		for _, x := range s.Exemplars {
			inRange(x.TimeMs)
			orderly(t, x.Labels)
		}
		orderly(t, s.Labels)
		if len(s.Samples)+len(s.Histograms)+len(s.Exemplars) == 0 {
			t.Errorf("an empty series: %s", series.Text(s.Labels))
		}
	}
	for _, m := range r.Metadata {
		if len(m.Name) == 0 || m.Type < 0 || m.Type > prompb.MetricMetadata_STATESET || !utf8.Valid(m.Name) || !utf8.Valid(m.Help) || !utf8.Valid(m.Unit) {
			t.Errorf("metadata %s %v", m.Name, m)
		}
	}
	for k, c := range a.Counts {
		if c.Received-c.Rejected != left[k] {
			t.Errorf("%v: %+v, %d left", ledger.Kind(k), c, left[k])
		}
	}
}

func validate(h *prompb.Histogram) error {
	if h.IsFloatHistogram() {
		return h.ToFloatHistogram().Validate()
	}
	return h.ToIntHistogram().Validate()
}

// orderly checks what is promised of labels.
func orderly(t *testing.T, ls []series.Label) {
	t.Helper()
	for i, l := range ls {
		if len(l.Name) == 0 || len(l.Value) == 0 || !utf8.Valid(l.Name) || !utf8.Valid(l.Value) || i > 0 && string(ls[i-1].Name) >= string(l.Name) {
			t.Errorf("labels %s", series.Text(ls))
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
	hasher := series.NewHasher()
	d := NewDecoder(options(), hasher)
	for m, message := range forms(t, load) {
		for range 3 { // the memory of the first is used again
			var a ledger.Account
			r, err := d.Decode(m, message, &a, nil)
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
			for _, sr := range r.Series {
				if sr.Hash != hasher.Labels(sr.Labels) {
					t.Errorf("message %d: hash of %s", m, series.Text(sr.Labels))
				}
			}
			if len(a.Rejections) > 0 {
				t.Errorf("message %d: rejected %v", m, rejected(&a))
			}
			balanced(t, &a, r)
			r.Release()
		}
	}
}

// The published encoders leave -0 out, as they do 0; another sender may not.
func TestNegativeZero(t *testing.T) {
	sample := append([]byte{0x09, 0, 0, 0, 0, 0, 0, 0, 0x80}, 0x10, 7)
	ts := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte("\x0a\x08__name__\x12\x01m"))
	ts = protowire.AppendBytes(protowire.AppendTag(ts, 2, protowire.BytesType), sample)
	r, err := NewDecoder(options(), series.NewHasher()).Decode(V1, protowire.AppendBytes([]byte{0x0a}, ts), new(ledger.Account), nil)
	if err != nil || len(r.Series) != 1 || math.Float64bits(r.Series[0].Samples[0].Value) != 1<<63 {
		t.Errorf("got %v, %v", r, err)
	}
}

// The same labels have the same hash, in either message and any order.
func TestHashDependsOnTheLabelsAlone(t *testing.T) {
	d := NewDecoder(options(), series.NewHasher())
	seen := map[series.Hash]string{}
	for _, ls := range [][]labels.Label{
		ingesttest.L("__name__", "m", "a", "1", "b", "2"), ingesttest.L("b", "2", "a", "1", "__name__", "m"),
		ingesttest.L("__name__", "m", "a", "1", "b", "2", "c", ""),
	} {
		for m, payload := range forms(t, []ingesttest.Series{ingesttest.One(ls, 1, 1)}) {
			r, err := d.Decode(m, payload, new(ledger.Account), nil)
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
		r, err := d.Decode(V1, ingesttest.V1(t, []ingesttest.Series{ingesttest.One(ls, 1, 1)}, 0), new(ledger.Account), nil)
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
		{"all kinds of an invalid series", options(), ingesttest.Series{Labels: L("a", "b"), Samples: make([]prompb.Sample, 1), Histograms: 2, Exemplars: 3}, map[string]uint64{"samples missing_metric_name": 1, "histograms missing_metric_name": 2, "exemplars missing_metric_name": 3}},
		{"exemplars alone", options(), ingesttest.Series{Labels: L("__name__", "m"), Exemplars: 2}, map[string]uint64{}},
		{"nothing", options(), ingesttest.Series{Labels: L("__name__", "m")}, map[string]uint64{}},
		{"nothing of an invalid series", options(), ingesttest.Series{Labels: L("a", "b")}, map[string]uint64{}},
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
				r, err := NewDecoder(c.opts, series.NewHasher()).Decode(m, payload, &a, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Release()
				if got := rejected(&a); fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
				balanced(t, &a, r)
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
		r, err := NewDecoder(options(), series.NewHasher()).Decode(V2, payload, &a, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := fmt.Sprint(rejected(&a)); got != "map[samples invalid_symbols:2]" || len(r.Series) != 2 {
			t.Errorf("%s: got %s and %d series", name, got, len(r.Series))
		}
		balanced(t, &a, r)
	}
}

func TestCorruptMessages(t *testing.T) {
	d := NewDecoder(options(), series.NewHasher())
	whole := ingesttest.V2(t, ingesttest.Load(5, 5, 0))
	for name, message := range map[string][]byte{
		"not the message":    []byte("\x07\x07\x07 random bytes"),
		"message cut":        whole[:len(whole)-3],
		"truncated number":   {0x2a, 0x80},
		"field number 0":     {0x02, 0x00},
		"group":              {0x0b, 0x0c},
		"series is a number": {0x28, 0x01},
	} {
		if r, err := d.Decode(V2, message, new(ledger.Account), nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, %v", name, r, err)
		}
	}
	for i, message := range [][]byte{{0x08, 0x01}, {0x0a, 0x02, 0x10, 0x01}, {0x0a, 0x03, 0x0a, 0x01, 0x08}, {0x0a, 0x04, 0x12, 0x02, 0x0d, 0x01}} {
		if _, err := d.Decode(V1, message, new(ledger.Account), nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("1.0, %d: got %v", i, err)
		}
	}
	// An empty message is no series, and no error.
	var a ledger.Account
	if r, err := d.Decode(V1, nil, &a, nil); err != nil || len(r.Series) != 0 {
		t.Errorf("empty message: %v", err)
	}
}

func TestLimits(t *testing.T) {
	o := options()
	o.MaxSamples = 50
	d := NewDecoder(o, series.NewHasher())
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
		{"2.0: labels, one by one", V2, append([]byte{0x22, 0}, inSeries(5, append(repeat(2002, 8, 0), 0x12, 0))...), ErrTooMany},
		{"1.0: exemplars", V1, inSeries(1, repeat(51, 0x1a, 0)), ErrTooMany},
		{"1.0: exemplars' labels", V1, inSeries(1, inSeries(3, repeat(1001, 0x0a, 0))), ErrTooMany},
		{"1.0: histograms", V1, inSeries(1, repeat(51, 0x22, 0)), ErrTooMany},
		{"1.0: invalid histograms", V1, inSeries(1, repeat(51, 0x22, 2, 8, 1)), ErrTooMany},
		{"1.0: deltas", V1, inSeries(1, inSeries(4, inSeries(12, repeat(1001, 0)))), ErrTooMany},
		{"1.0: deltas of many", V1, inSeries(1, []byte(strings.Repeat(string(inSeries(4, inSeries(9, repeat(101, 0)))), 10))), ErrTooMany},
		{"1.0: deltas, one by one", V1, inSeries(1, inSeries(4, repeat(1001, 12<<3, 0))), ErrTooMany},
		{"1.0: spans", V1, inSeries(1, inSeries(4, repeat(1001, 8<<3|2, 0))), ErrTooMany},
		{"1.0: bounds", V1, inSeries(1, inSeries(4, inSeries(16, repeat(8008, 0)))), ErrTooMany},
		{"1.0: metadata", V1, repeat(51, 0x1a, 0), ErrTooMany},
		{"2.0: histograms", V2, inSeries(5, repeat(51, 0x1a, 0)), ErrTooMany},
		{"2.0: exemplars", V2, inSeries(5, repeat(51, 0x22, 0)), ErrTooMany},
		{"2.0: exemplars' labels", V2, append([]byte{0x22, 0}, inSeries(5, inSeries(4, inSeries(1, repeat(2002, 0))))...), ErrTooMany},
		{"2.0: samples and exemplars", V2, inSeries(5, append(repeat(25, 0x12, 0), repeat(26, 0x22, 0)...)), ErrTooMany},
		{"at the limit", V1, repeat(50, 0x0a, 0), nil},
	} {
		if _, err := d.Decode(c.m, c.payload, new(ledger.Account), nil); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}
