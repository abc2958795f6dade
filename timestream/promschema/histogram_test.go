// SPDX-License-Identifier: Apache-2.0

package promschema

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema/promschematest"
)

// attribute returns an attribute of a value; empty when it has none.
func attribute(v Value, name string) string {
	for _, a := range v.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// checkValue holds a record's attributes against the rules of the service.
func checkValue(t *testing.T, v Value) {
	t.Helper()
	if size := valuesBytes(v.Attributes); size > timestream.MaxValueBytes || len(v.Attributes) == 0 || v.Plain != "" {
		t.Errorf("%d attributes of %d bytes: %+v", len(v.Attributes), size, v)
	}
	seen := map[string]bool{}
	for _, a := range v.Attributes {
		if seen[a.Name] || a.Value == "" || !strings.HasPrefix(a.Name, Prefix) || !timestream.ValidMeasureName(a.Name) {
			t.Errorf("attribute %+v", a)
		}
		seen[a.Name] = true
		var err error
		switch a.Type {
		case Double:
			_, err = strconv.ParseFloat(a.Value, 64)
		case BigInt:
			_, err = strconv.ParseInt(a.Value, 10, 64)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// pieces returns the text of a histogram, as a reader collects it.
func pieces(t *testing.T, values []Value) []string {
	t.Helper()
	var out []string
	for i, v := range values {
		checkValue(t, v)
		text := attribute(v, [...]string{HistogramAttribute, HistogramAttribute2, HistogramAttribute3}[i])
		if i > 0 && len(v.Attributes) != 1 {
			t.Errorf("piece %d: %+v", i+1, v)
		}
		out = append(out, text)
	}
	if n, err := HistogramPieces(out[0]); err != nil || n != len(out) {
		t.Errorf("%.10s: %d pieces by the text, %d by number, %v", out[0], n, len(out), err)
	}
	return out
}

func histogramBytes(h *prompb.Histogram) []byte { return AppendHistogram(nil, h, h.Timestamp) }

// checkHistogram stores h, reads it back and compares the bits. It returns how many records it took.
func checkHistogram(t *testing.T, e *HistogramEncoder, d *HistogramDecoder, h *prompb.Histogram, startMs int64) int {
	t.Helper()
	values, err := e.Values(h, startMs)
	if large := (*TooLargeError)(nil); errors.As(err, &large) && large.Size > large.Limit {
		return 0
	}
	if err != nil {
		t.Fatalf("%v: %v", h, err)
	}
	got, err := d.Decode(pieces(t, values)...)
	if err != nil {
		t.Fatalf("%v: %v", h, err)
	}
	want := *h
	want.Timestamp = 0
	if !bytes.Equal(histogramBytes(got), histogramBytes(&want)) {
		t.Fatalf("got  %v\nwant %v", got, h)
	}
	first := values[0]
	if got := attribute(first, SchemaAttribute); got != strconv.Itoa(int(h.Schema)) {
		t.Errorf("schema %s, want %d", got, h.Schema)
	}
	start := ""
	if startMs != 0 {
		start = strconv.FormatInt(startMs, 10)
	}
	if got := attribute(first, StartAttribute); got != start {
		t.Errorf("start %q, want %q", got, start)
	}
	for name, want := range map[string]float64{CountAttribute: histogramCount(h), SumAttribute: h.Sum} {
		text, _ := AppendPlain(nil, want)
		if got := attribute(first, name); got != string(text) {
			t.Errorf("%s is %q, want %q", name, got, text)
		}
	}
	return len(values)
}

func TestHistogramsComeBack(t *testing.T) {
	e, d := NewHistogramEncoder(), NewHistogramDecoder()
	r := rand.New(rand.NewPCG(1, 2))
	took := map[int]int{}
	for i := range 3000 {
		h := promschematest.Histogram(r, []int{0, 5, 160, 600, 1500}[i%5])
		h.Timestamp = r.Int64()
		took[checkHistogram(t, e, d, h, r.Int64N(3)*r.Int64())]++
		if t.Failed() {
			return
		}
	}
	for n := range MaxHistogramPieces + 1 {
		if took[n] == 0 {
			t.Errorf("no histogram of %d records (0: too large): %v", n, took)
		}
	}
}

// What the encoder is told before must not show in a text, whichever form it takes.
func TestEqualHistogramsHaveEqualValues(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	e := NewHistogramEncoder()
	for i := range 100 {
		h := promschematest.Histogram(r, []int{20, 300, 800}[i%3])
		again := *h
		again.Timestamp = 5
		for _, s := range []*[]float64{&again.PositiveCounts, &again.NegativeCounts, &again.CustomValues} {
			if *s == nil {
				*s = []float64{}
			}
		}
		if again.PositiveSpans == nil {
			again.PositiveSpans = []prompb.BucketSpan{}
		}
		a, errA := e.Values(h, 1)
		b, errB := NewHistogramEncoder().Values(&again, 1)
		if !reflect.DeepEqual(a, b) || (errA == nil) != (errB == nil) {
			t.Fatalf("%v: got %v, %v; then %v, %v", h, a, errA, b, errB)
		}
	}
}

// The generated code agrees with ours, except for -0, which it loses.
func TestAppendHistogramIsPrometheus(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		h := promschematest.Histogram(r, 40)
		h.Timestamp = r.Int64N(2) * r.Int64()
		if h.Sum != 0 && h.ZeroThreshold != 0 {
			want, err := h.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if got := AppendHistogram([]byte("x"), h, h.Timestamp); string(got) != "x"+string(want) {
				t.Fatalf("%v:\ngot  %x\nwant %x", h, got, want)
			}
		}
		var back prompb.Histogram
		if err := back.Unmarshal(histogramBytes(h)); err != nil {
			t.Fatal(err)
		}
		if math.Float64bits(back.Sum) != math.Float64bits(h.Sum) || math.Float64bits(back.ZeroThreshold) != math.Float64bits(h.ZeroThreshold) {
			t.Fatalf("got %v, want %v", &back, h)
		}
	}
}

// many returns a histogram of n buckets that hold no pattern.
func many(n int) *prompb.Histogram {
	r := rand.New(rand.NewPCG(7, 8))
	h := &prompb.Histogram{Count: &prompb.Histogram_CountFloat{CountFloat: 10}, Sum: 2.5, PositiveSpans: []prompb.BucketSpan{{Length: uint32(n)}}}
	for range n {
		h.PositiveCounts = append(h.PositiveCounts, r.Float64())
	}
	return h
}

// The stored format: these texts never change. A text that does makes a histogram that is written once more a conflict with itself.
func TestHistogramTexts(t *testing.T) {
	span := func(offset int32, length uint32) []prompb.BucketSpan {
		return []prompb.BucketSpan{{Offset: offset, Length: length}}
	}
	e := NewHistogramEncoder()
	for _, c := range []struct {
		name  string
		give  *prompb.Histogram
		start int64
		want  string
	}{
		{
			"integer", &prompb.Histogram{
				Count: &prompb.Histogram_CountInt{CountInt: 12}, ZeroCount: &prompb.Histogram_ZeroCountInt{ZeroCountInt: 2}, Sum: 18.4, Schema: 1, ZeroThreshold: 0.001,
				PositiveSpans: []prompb.BucketSpan{{Offset: 0, Length: 2}, {Offset: 1, Length: 2}}, PositiveDeltas: []int64{1, 1, -1, 0},
				NegativeSpans: span(-3, 2), NegativeDeltas: []int64{4, -3}, ResetHint: prompb.Histogram_NO, Timestamp: 123,
			}, 1700000000000,
			"__tributary_h=h1:CAwZZmZmZmZmMkAgAin8qfHSTWJQPzACQgQIBRACSgIIBVoCEAJaBAgCEAJiBAICAQBwAg __tributary_count=12 __tributary_sum=18.4 __tributary_schema=1 __tributary_kind=histogram __tributary_start_ms=1700000000000",
		},
		{
			"float gauge", &prompb.Histogram{
				Count: &prompb.Histogram_CountFloat{CountFloat: 2.5}, ZeroCount: &prompb.Histogram_ZeroCountFloat{}, Sum: math.Copysign(0, -1), Schema: -4,
				PositiveSpans: span(0, 1), PositiveCounts: []float64{2.5}, ResetHint: prompb.Histogram_GAUGE,
			}, 0,
			"__tributary_h=h1:EQAAAAAAAARAGQAAAAAAAACAIAc5AAAAAAAAAABaAhABaggAAAAAAAAEQHAD __tributary_count=2.5 __tributary_schema=-4 __tributary_kind=gauge histogram",
		},
		{
			"custom buckets", &prompb.Histogram{
				Count: &prompb.Histogram_CountInt{CountInt: 3}, Sum: 4, Schema: -53, PositiveSpans: span(1, 2), PositiveDeltas: []int64{1, 1}, CustomValues: []float64{0.1, 1},
			}, 0,
			"__tributary_h=h1:CAMZAAAAAAAAEEAgaVoECAIQAmICAgKCARCamZmZmZm5PwAAAAAAAPA/ __tributary_count=3 __tributary_sum=4 __tributary_schema=-53 __tributary_kind=histogram",
		},
		{
			"stale", &prompb.Histogram{Count: &prompb.Histogram_CountInt{}, ZeroCount: &prompb.Histogram_ZeroCountInt{}, Sum: math.Float64frombits(value.StaleNaN)}, 0,
			"__tributary_h=h1:CAAZAgAAAAAA8H8wAA __tributary_count=0 __tributary_schema=0 __tributary_kind=stale",
		},
		{
			"compressed", &prompb.Histogram{
				Count: &prompb.Histogram_CountFloat{CountFloat: 300}, Sum: 1, PositiveSpans: span(0, 300), PositiveCounts: slices.Repeat([]float64{1}, 300),
			}, 0,
			"__tributary_h=h2:KLUv/WR6CBUBAFQBEQAAAAAAwHJAGQDwP1oDEKwCauASAwBVWfFg5vMUChKRgbAV __tributary_count=300 __tributary_sum=1 __tributary_schema=0 __tributary_kind=histogram",
		},
		{
			"two records", many(300), 0,
			"__tributary_h=h2/2:KLUv/WR6CNFLABEAAAA…NwwNi31j(2015, a7ccd04e8ce5a8a7) __tributary_count=10 __tributary_sum=2.5 __tributary_schema=0 __tributary_kind=histogram __tributary_h_2=+MJUqx5fTiPxQhxMdNv+A/EY…0/dBqLQQ(1244, 057221edbbbc06fe)",
		},
		{
			"three records", many(480), 0,
			"__tributary_h=h2/3:KLUv/WQaDtF4ABEAAAA…NwwNi31j(2015, 45f0c05f2c51ef52) __tributary_count=10 __tributary_sum=2.5 __tributary_schema=0 __tributary_kind=histogram __tributary_h_2=+MJUqx5fTiPxQhxMdNv+A/EY…XJJV/Z5D(2048, 23e15fc975b38b4c) __tributary_h_3=+8SaCJqpznPxLDY0AHG90/ik…M/2ZF6lw(1116, 002a14018d7e52ea)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			values, err := e.Values(c.give, c.start)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range values {
				for _, a := range v.Attributes {
					text := a.Value
					if len(text) > 300 {
						text = fmt.Sprintf("%.24s…%s(%d, %016x)", text, text[len(text)-8:], len(text), uint64(hash(fnvOffset).text(text)))
					}
					got = append(got, a.Name+"="+text)
				}
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestHistogramsThatAreRefused(t *testing.T) {
	e := NewHistogramEncoder()
	for _, c := range []struct {
		name string
		give *prompb.Histogram
		want string
	}{
		{"more than three records", many(600), "the compressed histogram takes 6"},
		{"too large to compress", many(9000), "the histogram before compression takes 72"},
		{"spans without buckets", &prompb.Histogram{PositiveSpans: []prompb.BucketSpan{{Length: math.MaxUint32}}}, "spans"},
		{"buckets of the other kind", &prompb.Histogram{PositiveSpans: []prompb.BucketSpan{{Length: 1}}, PositiveCounts: []float64{1}}, "spans"},
	} {
		_, err := e.Values(c.give, 0)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestDecodeHistogramRefuses(t *testing.T) {
	e, d := NewHistogramEncoder(), NewHistogramDecoder()
	texts := func(h *prompb.Histogram) []string {
		values, err := e.Values(h, 0)
		if err != nil {
			t.Fatal(err)
		}
		return pieces(t, values)
	}
	a, other := texts(many(480)), many(480)
	other.PositiveCounts[0]++
	b := texts(other)
	bomb := zstdOne + base64.RawStdEncoding.EncodeToString(e.zstd.EncodeAll(make([]byte, maxHistogramBytes+1), nil))
	for _, c := range []struct {
		name string
		give []string
	}{
		{"nothing", nil},
		{"empty", []string{""}},
		{"unknown form", []string{"h3:AAAA"}},
		{"one of three", a[:1]},
		{"two of three", a[:2]},
		{"four of three", append(slices.Clone(a), "AAAA")},
		{"wrong order", []string{a[0], a[2], a[1]}},
		{"of two histograms", []string{a[0], a[1], b[2]}},
		{"no base64", []string{"h1:a b"}},
		{"base64 with stray bits", []string{"h1:CAAZAgAAAAAA8H8wAB"}},
		{"cut", []string{a[0], a[1], a[2][:len(a[2])-4]}},
		{"a huge piece", []string{a[0], strings.Repeat("A", 1<<20), a[2]}},
		{"a bomb", []string{bomb}},
		{"no message", []string{"h1://///w"}},
		{"spans without buckets", []string{rawText + base64.RawStdEncoding.EncodeToString(histogramBytes(&prompb.Histogram{PositiveSpans: []prompb.BucketSpan{{Length: math.MaxUint32}}}))}},
	} {
		if h, err := d.Decode(c.give...); err == nil {
			t.Errorf("%s: got one of %d bytes", c.name, len(histogramBytes(h)))
		}
	}
}

func FuzzDecodeHistogram(f *testing.F) {
	e, d := NewHistogramEncoder(), NewHistogramDecoder()
	for _, n := range []int{1, 300, 480} {
		values, err := e.Values(many(n), 0)
		if err != nil {
			f.Fatal(err)
		}
		texts := []string{"", "", ""}
		for i, v := range values {
			texts[i] = v.Attributes[0].Value
		}
		f.Add(texts[0], texts[1], texts[2])
	}
	f.Add(rawText+"CAAZAgAAAAAA8H8wAA", "", "")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		texts := slices.DeleteFunc([]string{a, b, c}, func(s string) bool { return s == "" })
		h, err := d.Decode(texts...)
		if err != nil {
			return
		}
		checkHistogram(t, e, d, h, 1)
	})
}

// FuzzHistogramComesBack takes any message for a histogram.
func FuzzHistogramComesBack(f *testing.F) {
	e, d := NewHistogramEncoder(), NewHistogramDecoder()
	r := rand.New(rand.NewPCG(9, 10))
	for range 10 {
		f.Add(histogramBytes(promschematest.Histogram(r, 20)), int64(0))
	}
	f.Fuzz(func(t *testing.T, message []byte, start int64) {
		var h prompb.Histogram
		if h.Unmarshal(message) != nil || !spansMatch(&h) {
			return
		}
		checkHistogram(t, e, d, &h, start)
	})
}

func benchmarkHistograms(b *testing.B, f func(b *testing.B, h *prompb.Histogram)) {
	b.Run("small", func(b *testing.B) { f(b, promschematest.Histogram(rand.New(rand.NewPCG(1, 1)), 20)) })
	integers := &prompb.Histogram{Count: &prompb.Histogram_CountInt{CountInt: 160}, ZeroCount: &prompb.Histogram_ZeroCountInt{}, Sum: 12.5, Schema: 3, PositiveSpans: []prompb.BucketSpan{{Length: 160}}}
	for i := range 160 {
		integers.PositiveDeltas = append(integers.PositiveDeltas, int64(i*37%101)-50)
	}
	b.Run("160 buckets", func(b *testing.B) { f(b, integers) })
	b.Run("three records", func(b *testing.B) { f(b, many(480)) })
}

func BenchmarkHistogramValues(b *testing.B) {
	benchmarkHistograms(b, func(b *testing.B, h *prompb.Histogram) {
		e := NewHistogramEncoder()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.Values(h, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecodeHistogram(b *testing.B) {
	benchmarkHistograms(b, func(b *testing.B, h *prompb.Histogram) {
		values, err := NewHistogramEncoder().Values(h, 1)
		if err != nil {
			b.Fatal(err)
		}
		var texts []string
		for _, v := range values {
			texts = append(texts, v.Attributes[0].Value)
		}
		d := NewHistogramDecoder()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Decode(texts...); err != nil {
				b.Fatal(err)
			}
		}
	})
}
