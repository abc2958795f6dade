// SPDX-License-Identifier: Apache-2.0

package promschema

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema/promschematest"
)

// checkExemplar stores an exemplar and reads it back; it returns false when it is too large.
func checkExemplar(t *testing.T, ls []labels.Label, v float64) bool {
	t.Helper()
	got, err := ExemplarValue(ls, v)
	if large := (*TooLargeError)(nil); errors.As(err, &large) {
		if large.Size <= timestream.MaxValueBytes {
			t.Error(err)
		}
		return false
	} else if err != nil {
		t.Fatal(err)
	}
	checkValue(t, got)
	back, err := DecodeExemplar(attribute(got, ExemplarAttribute))
	if want := labels.New(ls...); err != nil || !labels.Equal(back, want) {
		t.Errorf("got %v, %v; want %v", back, err, want)
	}
	if back := fromRecord(t, got); math.Float64bits(back) != math.Float64bits(v) {
		t.Errorf("%x came back %x", math.Float64bits(v), math.Float64bits(back))
	}
	return true
}

func TestExemplarsComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	stored := 0
	for range 3000 {
		ls := slices.DeleteFunc(randomLabels(r), func(l labels.Label) bool { return l.Name == NameDimension })
		if checkExemplar(t, ls, promschematest.Float(r)) {
			stored++
		}
	}
	if stored == 0 || stored == 3000 {
		t.Errorf("%d of 3000 fit", stored)
	}
}

// The stored format: texts and times never change.
func TestExemplarForm(t *testing.T) {
	trace := sorted("trace_id", "ab12", "q\"", "\n")
	for _, c := range []struct {
		ls   []labels.Label
		v    float64
		want []Attribute
		ns   int64
	}{
		{nil, 1.5, []Attribute{{ValueAttribute, "1.5", Double}, {ExemplarAttribute, "{}", Varchar}}, 1700000000123788032},
		{trace, math.Inf(1), []Attribute{{BitsAttribute, "9218868437227405312", BigInt}, {KindAttribute, "+Inf", Varchar}, {ExemplarAttribute, `{"q\"":"\u000a","trace_id":"ab12"}`, Varchar}}, 1700000000123373713},
	} {
		got, err := ExemplarValue(c.ls, c.v)
		if err != nil || !slices.Equal(got.Attributes, c.want) {
			t.Errorf("got %v, %v; want %v", got, err, c.want)
		}
		if got := ExemplarTimeNs(1700000000123, c.ls, c.v); got != c.ns {
			t.Errorf("%v: got time %d, want %d", c.ls, got, c.ns)
		}
	}
	_, err := ExemplarValue(sorted("a", strings.Repeat("x", 2048-len(`{"a":""}`)-8)), 1)
	if err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err = ExemplarValue(sorted("a", strings.Repeat("x", 2049-len(`{"a":""}`)-8)), 1); err == nil || !strings.Contains(err.Error(), "the exemplar takes 2049 bytes as stored in Timestream, the limit is 2048") {
		t.Errorf("over the limit: got %v", err)
	}
}

func TestTimesInsideOfAMillisecond(t *testing.T) {
	for _, ms := range []int64{0, 1, 1700000000123, timestream.MaxTimeMs - 1, timestream.MaxTimeMs} {
		seen := map[int64]bool{}
		for i := range 1000 {
			ls := sorted("trace_id", strings.Repeat("x", i))
			got := ExemplarTimeNs(ms, ls, 1)
			if got < ms*1e6 || got/1e6 != ms || got != ExemplarTimeNs(ms, ls, 1) {
				t.Fatalf("%d: got %d", ms, got)
			}
			seen[got] = true
		}
		if len(seen) < 990 {
			t.Errorf("%d: 1000 exemplars at %d times", ms, len(seen))
		}
	}
	at := ExemplarTimeNs(5, sorted("a", "bc"), 1)
	for name, other := range map[string]int64{
		"value": ExemplarTimeNs(5, sorted("a", "bc"), 2), "border": ExemplarTimeNs(5, sorted("ab", "c"), 1), "labels": ExemplarTimeNs(5, nil, 1),
	} {
		if other == at {
			t.Errorf("exemplars that differ in their %s collide", name)
		}
	}
	m := MetadataTimeNs(5, Metadata{Help: "ab"})
	if m == MetadataTimeNs(5, Metadata{Help: "a", Unit: "b"}) || m == MetadataTimeNs(5, Metadata{Type: 1, Help: "ab"}) || m/1e6 != 5 {
		t.Errorf("different metadata collides at %d", m)
	}
}

// checkMetadata stores metadata and reads it back; it returns false when it is too large.
func checkMetadata(t *testing.T, m Metadata) bool {
	t.Helper()
	v, err := MetadataValue(m)
	if large := (*TooLargeError)(nil); errors.As(err, &large) {
		if len(m.Help)+len(m.Unit)+len("gaugehistogram") <= timestream.MaxValueBytes {
			t.Error(err)
		}
		return false
	} else if err != nil {
		t.Fatal(err)
	}
	checkValue(t, v)
	if got, err := DecodeMetadata(attribute(v, TypeAttribute), attribute(v, HelpAttribute), attribute(v, UnitAttribute)); got != m || err != nil {
		t.Errorf("got %+v, %v; want %+v", got, err, m)
	}
	return true
}

func TestMetadataComesBack(t *testing.T) {
	for i := range 8 {
		for _, help := range []string{"", "Some \"help\"\n地区.", strings.Repeat("h", 2000), strings.Repeat("h", 2048)} {
			for _, unit := range []string{"", "seconds", strings.Repeat("u", 100)} {
				want := len(help)+len(unit) < 2030
				if got := checkMetadata(t, Metadata{prompb.MetricMetadata_MetricType(i), help, unit}); got != want {
					t.Errorf("%d bytes of help and %d of unit: stored is %v", len(help), len(unit), got)
				}
			}
		}
	}
	for _, bad := range []prompb.MetricMetadata_MetricType{-1, 8} {
		if v, err := MetadataValue(Metadata{Type: bad}); err == nil {
			t.Errorf("type %d: got %v", bad, v)
		}
	}
	if got, err := DecodeMetadata("speed", "", ""); err == nil {
		t.Errorf("an unknown type: got %v", got)
	}
}

// The stored format: texts and times never change.
func TestMetadataForm(t *testing.T) {
	m := Metadata{prompb.MetricMetadata_GAUGEHISTOGRAM, "Help.", "bytes"}
	v, err := MetadataValue(m)
	if want := []Attribute{{TypeAttribute, "gaugehistogram", Varchar}, {HelpAttribute, "Help.", Varchar}, {UnitAttribute, "bytes", Varchar}}; err != nil || !slices.Equal(v.Attributes, want) {
		t.Errorf("got %v, %v; want %v", v, err, want)
	}
	if v, err = MetadataValue(Metadata{}); err != nil || !slices.Equal(v.Attributes, []Attribute{{TypeAttribute, "unknown", Varchar}}) {
		t.Errorf("empty: got %v, %v", v, err)
	}
	if got := MetadataTimeNs(1700000000123, m); got != 1700000000123744409 {
		t.Errorf("got time %d", got)
	}
	dims, err := MetadataDimensions(strings.Repeat("m", 2040))
	if err != nil || len(dims) != 1 || dims[0].Name != NameDimension {
		t.Errorf("got %v, %v", dims, err)
	}
	if _, err := MetadataDimensions(strings.Repeat("m", 2041)); !errors.As(err, new(*TooLargeError)) {
		t.Errorf("a name over a pair: got %v", err)
	}
}

func TestStartsComeBack(t *testing.T) {
	for _, ms := range []int64{0, 1, 1700000000123, -5, math.MaxInt64, math.MinInt64} {
		v := StartValue(ms)
		checkValue(t, v)
		if got, err := DecodeStart(attribute(v, StartAttribute)); got != ms || err != nil || len(v.Attributes) != 1 {
			t.Errorf("%d: got %d, %v from %v", ms, got, err, v)
		}
	}
	for _, bad := range []string{"", "x", "1.5", "9223372036854775808"} {
		if got, err := DecodeStart(bad); err == nil {
			t.Errorf("%q: got %d", bad, got)
		}
	}
}

// No label may become a column that is an attribute's.
func TestAttributesAreNoLabels(t *testing.T) {
	for _, name := range []string{
		ValueAttribute, BitsAttribute, KindAttribute, HistogramAttribute, HistogramAttribute2, HistogramAttribute3, CountAttribute, SumAttribute,
		SchemaAttribute, StartAttribute, ExemplarAttribute, TypeAttribute, HelpAttribute, UnitAttribute,
	} {
		if CanBeColumn(name) || !IsLayoutDimension(name) || !IsLayoutAttribute(name) || !timestream.ValidMeasureName(name) {
			t.Errorf("%s can be the column of a label", name)
		}
	}
	for _, name := range []string{"job", NameDimension, NoLabelsDimension, PackedDimension(0), PackedDimension(PackedDimensions - 1)} {
		if IsLayoutAttribute(name) {
			t.Errorf("%s is a dimension", name)
		}
	}
}

func FuzzExemplar(f *testing.F) {
	f.Add("{}", "trace_id", "ab12", uint64(0))
	f.Add(`{"a":"b"}`, "\"", "\\\x00", math.Float64bits(-1))
	f.Fuzz(func(t *testing.T, text, name, val string, bits uint64) {
		if ls, err := DecodeExemplar(text); err == nil {
			var list []labels.Label
			ls.Range(func(l labels.Label) { list = append(list, l) })
			checkExemplar(t, list, 1)
		}
		if utf8.ValidString(name) && utf8.ValidString(val) {
			checkExemplar(t, sorted(name, val), math.Float64frombits(bits))
		}
		if got := ExemplarTimeNs(timestream.MaxTimeMs, sorted(name, val), math.Float64frombits(bits)); got/1e6 != timestream.MaxTimeMs {
			t.Errorf("got time %d", got)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add("counter", "Help.", "seconds")
	f.Fuzz(func(t *testing.T, typ, help, unit string) {
		if m, err := DecodeMetadata(typ, help, unit); err == nil {
			checkMetadata(t, m)
		}
	})
}

func FuzzStart(f *testing.F) {
	f.Add("1700000000123")
	f.Fuzz(func(t *testing.T, text string) {
		if ms, err := DecodeStart(text); err == nil {
			if again, err := DecodeStart(StartValue(ms).Attributes[0].Value); again != ms || err != nil {
				t.Errorf("%q: got %d, then %d, %v", text, ms, again, err)
			}
		}
	})
}
