// SPDX-License-Identifier: Apache-2.0

package promschema

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/timestream"
)

// fromRecord reads a value back the way a reader does: from the text of a single-measure record, or from attributes.
func fromRecord(t *testing.T, v Value) float64 {
	t.Helper()
	text := v.Plain
	for _, a := range v.Attributes {
		if !timestream.ValidMeasureName(a.Name) || a.Value == "" || len(a.Value) > timestream.MaxValueBytes {
			t.Errorf("attribute %+v", a)
		}
		switch a.Name {
		case BitsAttribute:
			if a.Type != BigInt {
				t.Errorf("bits of type %v", a.Type)
			}
			bits, err := strconv.ParseInt(a.Value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return FloatFromBits(bits)
		case ValueAttribute:
			if a.Type != Double {
				t.Errorf("value of type %v", a.Type)
			}
			text = a.Value
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// checkFloat stores v in every form it may have and compares the bits.
func checkFloat(t *testing.T, v float64) {
	t.Helper()
	text, plain := AppendPlain([]byte("x"), v)
	if plain != IsPlain(v) {
		t.Errorf("%x (%v): AppendPlain says %v, IsPlain %v", math.Float64bits(v), v, plain, IsPlain(v))
	}
	if plain {
		s, ok := strings.CutPrefix(string(text), "x")
		if !ok || len(s) > maxPlainBytes || strings.ContainsAny(s, "eEnNiI+") {
			t.Errorf("%v is written %q", v, s)
		}
		if got := fromRecord(t, Value{Plain: s}); math.Float64bits(got) != math.Float64bits(v) {
			t.Errorf("plain %x came back %x", math.Float64bits(v), math.Float64bits(got))
		}
	} else if string(text) != "x" {
		t.Errorf("%v: AppendPlain left %q", v, text)
	}
	if got := fromRecord(t, ExtensionValue(v)); math.Float64bits(got) != math.Float64bits(v) {
		t.Errorf("extension: %x came back %x", math.Float64bits(v), math.Float64bits(got))
	}
}

func TestFloatsComeBackBitForBit(t *testing.T) {
	for _, c := range []struct {
		give  float64
		plain bool
		kind  string
	}{
		{0, true, ""}, {1, true, ""}, {-1.5, true, ""}, {0.1, true, ""}, {1e-7, true, ""},
		{math.Copysign(0, -1), false, "-0"},
		{math.Inf(1), false, "+Inf"}, {math.Inf(-1), false, "-Inf"},
		{math.NaN(), false, "NaN"},
		{math.Float64frombits(value.NormalNaN), false, "NaN"},
		{math.Float64frombits(value.StaleNaN), false, "stale"},
		{math.Float64frombits(0xfff8000000000123), false, "NaN"},
		{math.SmallestNonzeroFloat64, false, "5e-324"},
		{0x1p-1022, false, ""}, {math.MaxFloat64, false, ""},
		{math.MaxInt64, true, ""}, {1e38, true, ""}, {-1e38, true, ""}, {1e39, true, ""}, {-1e39, false, ""}, {1e40, false, ""},
		{1e-20, true, ""}, {-1.2345678901234567e-20, true, ""}, {1.2345678901234567e-30, false, ""}, {1e-30, true, ""},
		{math.Nextafter(1e-20, 0), true, ""}, {math.Nextafter(1e38, 2e38), true, ""}, {math.Pi, true, ""},
	} {
		checkFloat(t, c.give)
		if got := IsPlain(c.give); got != c.plain {
			t.Errorf("%v: plain is %v, want %v", c.give, got, c.plain)
		}
		if c.kind == "" {
			continue
		}
		found := false
		for _, a := range ExtensionValue(c.give).Attributes {
			found = found || a.Name == KindAttribute && a.Value == c.kind
		}
		if !found {
			t.Errorf("%v: %+v, want kind %q", c.give, ExtensionValue(c.give), c.kind)
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 200_000 {
		checkFloat(t, math.Float64frombits(r.Uint64()))
		checkFloat(t, math.Ldexp(r.Float64()*2-1, r.IntN(300)-150))
		checkFloat(t, float64(r.Int64N(1<<53)))
	}
}

func FuzzFloatsComeBack(f *testing.F) {
	f.Add(value.StaleNaN)
	f.Add(math.Float64bits(0.1))
	f.Fuzz(func(t *testing.T, bits uint64) { checkFloat(t, math.Float64frombits(bits)) })
}

func TestRank(t *testing.T) {
	order := []float64{math.Float64frombits(value.StaleNaN), math.NaN(), 1}
	for i := 1; i < len(order); i++ {
		if Rank(order[i-1]) >= Rank(order[i]) {
			t.Errorf("%v is not below %v", order[i-1], order[i])
		}
	}
	stale := &prompb.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
	if HistogramRank(&prompb.Histogram{Sum: math.NaN()}) <= Rank(1) || HistogramRank(stale) >= Rank(math.NaN()) || HistogramRank(stale) <= Rank(order[0]) {
		t.Error("a histogram ranks first, a stale one just above the stale marker of floats")
	}
	if Rank(math.Inf(1)) != Rank(math.NaN()) || Rank(math.Copysign(0, -1)) != Rank(1) {
		t.Error("infinities rank with NaN, -0 with finite values")
	}
}

func BenchmarkAppendPlain(b *testing.B) {
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = AppendPlain(buf[:0], 123456.789)
	}
}
