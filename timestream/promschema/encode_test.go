// SPDX-License-Identifier: Apache-2.0

package promschema

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream"
)

// columns gives every label a column but those listed, and every measure but those listed.
type columns struct{ packed, denied []string }

func (c columns) Dimension(l string) bool { return !slices.Contains(c.packed, l) }
func (c columns) Measure(m string) bool   { return !slices.Contains(c.denied, m) }

// noColumns packs everything and denies every measure name.
type noColumns struct{}

func (noColumns) Dimension(string) bool { return false }
func (noColumns) Measure(string) bool   { return false }

func sorted(pairs ...string) []labels.Label {
	var out []labels.Label
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, labels.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	slices.SortFunc(out, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func TestEncodeSeries(t *testing.T) {
	long := strings.Repeat("n", timestream.MaxDimensionNameBytes+1)
	for _, c := range []struct {
		name    string
		give    []labels.Label
		cols    Columns
		measure string
		want    []Dimension
	}{
		{
			name: "plain", give: sorted("__name__", "up", "job", "a", "instance", "b"), cols: columns{},
			measure: "up", want: []Dimension{{"instance", "b"}, {"job", "a"}},
		},
		{
			name: "recording rule", give: sorted("__name__", "a:b:c", "job", "x"), cols: columns{},
			measure: "a--b--c", want: []Dimension{{"job", "x"}},
		},
		{
			name: "only a name", give: sorted("__name__", "up"), cols: columns{},
			measure: "up", want: []Dimension{{NoLabelsDimension, NoLabelsValue}},
		},
		{
			name: "two dashes", give: sorted("__name__", "a--b", "job", "x"), cols: columns{},
			measure: "", want: []Dimension{{"job", "x"}},
		},
		{
			name: "colon and dash", give: sorted("__name__", "a:b-c", "job", "x"), cols: columns{},
			measure: "", want: []Dimension{{"job", "x"}},
		},
		{
			name: "name bound to another type", give: sorted("__name__", "a:b", "job", "x"), cols: columns{denied: []string{"a--b"}},
			measure: "", want: []Dimension{{"job", "x"}},
		},
		{
			name: "reserved metric name", give: sorted("__name__", "time", "job", "x"), cols: columns{},
			measure: "", want: []Dimension{{"job", "x"}},
		},
		{
			name: "metric name of the layout", give: sorted("__name__", "__tributary_1_s_00", "job", "x"), cols: columns{},
			measure: "", want: []Dimension{{"job", "x"}},
		},
		{
			name: "metric name too long", give: sorted("__name__", strings.Repeat("m", 257), "job", "x"), cols: columns{},
			measure: "", want: []Dimension{{"job", "x"}},
		},
		{
			name: "labels that cannot be columns", cols: columns{},
			give: sorted("__name__", "up", "time", "1", "measure_name", "2", "measure_value::double", "3", "ts_x", "4",
				"a:b", "5", `q"q`, "6", "l\n", "7", "u\u2028", "8", long, "9", "__tributary_x", "10", "job", "j"),
			measure: "up",
			want: []Dimension{{"job", "j"}, {"__tributary_labels_1",
				`{"__tributary_x":"10","a:b":"5","l\u000a":"7","measure_name":"2","measure_value::double":"3","` + long + `":"9","q\"q":"6","time":"1","ts_x":"4","u` + "\u2028" + `":"8"}`}},
		},
		{
			name: "beyond the budget", give: sorted("__name__", "up", "b", "2", "a", "1"), cols: columns{packed: []string{"b"}},
			measure: "up", want: []Dimension{{"a", "1"}, {"__tributary_labels_1", `{"b":"2"}`}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := EncodeSeries(c.give, c.cols, StrictLimits())
			if err != nil {
				t.Fatal(err)
			}
			if got.Measure != c.measure || !slices.Equal(got.Dimensions, c.want) {
				t.Errorf("got %q %q\nwant %q %q", got.Measure, got.Dimensions, c.measure, c.want)
			}
		})
	}
}

func TestEncodeSeriesRefuses(t *testing.T) {
	value := func(n int) string { return strings.Repeat("v", n) }
	for _, c := range []struct {
		name   string
		give   []labels.Label
		limits Limits
		reason string // empty: stored
		// extension is the reason for which samples that need an extension record are refused.
		extension string
	}{
		{"no name", sorted("job", "a"), StrictLimits(), ReasonNoName, ""},
		{"sum at the limit", sorted("__name__", "up", "a", value(1023), "b", value(1023)), StrictLimits(), "", ReasonTooLarge},
		{"sum over the limit", sorted("__name__", "up", "a", value(1023), "b", value(1024)), StrictLimits(), ReasonTooLarge, ""},
		{"sum over the strict limit, observed", sorted("__name__", "up", "a", value(1023), "b", value(1024)), ObservedLimits(), "", ""},
		{"room for the extension too", sorted("__name__", "up", "a", value(2048-len("__name__up")-1)), StrictLimits(), "", ""},
		{"no room for the extension", sorted("__name__", "up", "a", value(2048-len("__name__up"))), StrictLimits(), "", ReasonTooLarge},
		{"extension only, too large", sorted("__name__", "a--b", "a", value(2040)), StrictLimits(), ReasonTooLarge, ""},
		{"one pair over its limit is packed", sorted("__name__", "up", "a", value(2048)), ObservedLimits(), "", ""},
		{"packed into all four", sorted("__name__", "up", "a", value(4*2020)), ObservedLimits(), "", ""},
		{"packed over all four", sorted("__name__", "up", "a", value(4*2030)), ObservedLimits(), ReasonTooLarge, ""},
		{"metric name over a pair", sorted("__name__", value(2048), "a", "b"), ObservedLimits(), ReasonTooLarge, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			reason := func(err error) string {
				var e *SeriesError
				if err != nil && !errors.As(err, &e) {
					t.Fatalf("error of another type: %v", err)
				}
				if e == nil {
					return ""
				}
				return e.Reason
			}
			s, err := EncodeSeries(c.give, columns{}, c.limits)
			if got := reason(err); got != c.reason {
				t.Fatalf("got %q (%v), want %q", got, err, c.reason)
			}
			if err != nil {
				return
			}
			if _, _, err := s.Extension(); reason(err) != c.extension {
				t.Errorf("extension: got %v, want %q", err, c.extension)
			}
		})
	}
}

// checkRoundTrip encodes a label set and decodes it from every form its samples may take.
func checkRoundTrip(t *testing.T, ls []labels.Label, cols Columns, limits Limits) {
	t.Helper()
	want := labels.New(ls...)
	s, err := EncodeSeries(ls, cols, limits)
	if err != nil {
		var e *SeriesError
		if !errors.As(err, &e) {
			t.Fatalf("%v: %v", want, err)
		}
		return
	}
	check := func(form, measure string, dims []Dimension) {
		t.Helper()
		sum := 0
		for i, d := range dims {
			n := len(d.Name) + len(d.Value)
			sum += n
			if d.Value == "" || n > timestream.MaxPairBytes || !timestream.ValidDimensionName(d.Name) {
				t.Errorf("%s of %v: dimension %q has a bad name or %d bytes", form, want, d.Name, n)
			}
			if !utf8.ValidString(d.Name) || !utf8.ValidString(d.Value) {
				t.Errorf("%s of %v: dimension %q is not UTF-8", form, want, d)
			}
			if slices.ContainsFunc(dims[:i], func(o Dimension) bool { return o.Name == d.Name }) {
				t.Errorf("%s of %v: dimension %q twice", form, want, d.Name)
			}
		}
		if len(dims) == 0 || sum > limits.DimensionsBytes {
			t.Errorf("%s of %v: %d dimensions of %d bytes, the limit is %d", form, want, len(dims), sum, limits.DimensionsBytes)
		}
		if !timestream.ValidMeasureName(measure) {
			t.Errorf("%s of %v: measure name %q", form, want, measure)
		}
		// Columns of other series are NULL or empty in the row, and come in any order.
		row := append([]Dimension{{"other", ""}}, dims...)
		rand.Shuffle(len(row), func(i, j int) { row[i], row[j] = row[j], row[i] })
		got, err := DecodeLabels(measure, row)
		if err != nil || !labels.Equal(got, want) {
			t.Errorf("%s: got %v, %v\nwant %v", form, got, err, want)
		}
	}
	if s.Measure != "" {
		check("plain", s.Measure, s.Dimensions)
	}
	if measure, dims, err := s.Extension(); err == nil {
		check("extension", measure, dims)
	} else if s.Measure == "" {
		t.Errorf("%v has neither form: %v", want, err)
	}
}

// randomLabels makes a label set of difficult names and values.
func randomLabels(r *rand.Rand) []labels.Label {
	alphabet := []string{"a", "Z", "_", ":", "-", "--", `"`, `\`, "\n", "\x00", "\x1f", "\x7f", "é", "地", "🦀", "\u2028", "{", "}", "'", ";", "<", "&", "/", " "}
	word := func(n int) string {
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(alphabet[r.IntN(len(alphabet))])
		}
		return b.String()
	}
	names := []string{"time", "measure_name", "measure_value::double", "ts_x", "job", "instance", NoLabelsDimension,
		PackedDimension(0), Prefix + "v", "__name", "le", strings.Repeat("x", 60), strings.Repeat("x", 61)}
	set := map[string]string{NameDimension: []string{"up", "a:b", "a--b", "a:b-c", "a-b", "-", ":", "time", word(1 + r.IntN(20)), strings.Repeat("m", 256), strings.Repeat("m", 257)}[r.IntN(11)]}
	for range r.IntN(12) {
		name := names[r.IntN(len(names))]
		if r.IntN(2) == 0 {
			name = word(1 + r.IntN(80))
		}
		n := 1 + r.IntN(30)
		if r.IntN(10) == 0 {
			n = 1 + r.IntN(2500)
		}
		set[name] = word(n)
	}
	var out []labels.Label
	for n, v := range set {
		out = append(out, labels.Label{Name: n, Value: v})
	}
	slices.SortFunc(out, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func TestLabelsComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		ls := randomLabels(r)
		for _, limits := range []Limits{StrictLimits(), ObservedLimits()} {
			checkRoundTrip(t, ls, columns{packed: []string{"job"}}, limits)
			checkRoundTrip(t, ls, noColumns{}, limits)
		}
		if t.Failed() {
			return
		}
	}
}

// A packed text is cut by bytes; wherever the cut falls, no character is torn.
func TestPackedPiecesEndBetweenCharacters(t *testing.T) {
	for shift := range 8 {
		value := strings.Repeat("x", shift) + strings.Repeat("🦀", 1500)
		ls := sorted("__name__", "up", "a:b", value)
		s, err := EncodeSeries(ls, columns{}, ObservedLimits())
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Dimensions) < 3 {
			t.Fatalf("%d dimensions: nothing was cut", len(s.Dimensions))
		}
		checkRoundTrip(t, ls, columns{}, ObservedLimits())
	}
}

func TestPackedPairIsFoundInThePackedText(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		ls := randomLabels(r)
		s, err := EncodeSeries(ls, noColumns{}, ObservedLimits())
		if err != nil {
			continue
		}
		var text strings.Builder
		for _, d := range s.Dimensions {
			if IsLayoutDimension(d.Name) && d.Name != NoLabelsDimension {
				text.WriteString(d.Value)
			}
		}
		for _, l := range ls {
			if l.Name == NameDimension {
				continue
			}
			if !strings.Contains(text.String(), PackedPair(l.Name, l.Value)) || !strings.Contains(text.String(), PackedName(l.Name)) {
				t.Fatalf("%q is not in %q", l, text.String())
			}
		}
	}
}

func FuzzLabelsComeBack(f *testing.F) {
	f.Add("up", "job", "a", "inst\"ance", "b\n", true)
	f.Add("a:b", "time", "\x00", strings.Repeat("n", 61), "🦀", false)
	f.Add("a--b", "__tributary_labels_1", "{}", "x", `\"`, true)
	f.Fuzz(func(t *testing.T, metric, n1, v1, n2, v2 string, packed bool) {
		set := map[string]string{NameDimension: metric}
		for _, p := range [][2]string{{n1, v1}, {n2, v2}} {
			if p[0] != "" && p[1] != "" && p[0] != NameDimension {
				set[p[0]] = p[1]
			}
		}
		var ls []labels.Label
		for n, v := range set {
			if !utf8.ValidString(n) || !utf8.ValidString(v) {
				return
			}
			if v != "" {
				ls = append(ls, labels.Label{Name: n, Value: v})
			}
		}
		slices.SortFunc(ls, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
		var cols Columns = columns{}
		if packed {
			cols = noColumns{}
		}
		checkRoundTrip(t, ls, cols, StrictLimits())
		checkRoundTrip(t, ls, cols, ObservedLimits())
	})
}

func FuzzDecodeLabelsNeverPanics(f *testing.F) {
	f.Add("up", PackedDimension(0), `{"a":"b"`)
	f.Add("__tributary_9_s_00", PackedDimension(3), `{}`)
	f.Fuzz(func(_ *testing.T, measure, name, value string) {
		_, _ = DecodeLabels(measure, []Dimension{{name, value}})
	})
}

func TestDecodeLabelsRefuses(t *testing.T) {
	if _, err := DecodeLabels("up", []Dimension{{PackedDimension(0), `{"a":`}}); !errors.Is(err, errPacked) {
		t.Errorf("damaged packed labels: got %v", err)
	}
	if _, err := DecodeLabels("__tributary_2_s_00", nil); !errors.Is(err, ErrNewerLayout) {
		t.Errorf("newer layout: got %v", err)
	}
}

// The awslabs connector writes each label as a dimension and the name as measure name: its rows read as they are.
func TestConnectorRows(t *testing.T) {
	got, err := DecodeLabels("go_goroutines", []Dimension{{"job", "prometheus"}, {"instance", "localhost:9090"}, {"__name__", "stale copy"}})
	want := labels.FromStrings("__name__", "go_goroutines", "job", "prometheus", "instance", "localhost:9090")
	if err != nil || !labels.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestMeasureNames(t *testing.T) {
	for f, want := range []MeasureKind{SampleExtension, SampleExtension2, SampleExtension3, ExemplarExtension, MetadataExtension, StartExtension} {
		for i := range SampleBuckets {
			m := Family(f).Bucket(i)
			kind, err := ClassifyMeasure(m)
			if kind != want || err != nil || !timestream.ValidMeasureName(m) {
				t.Errorf("%s: %v, %v", m, kind, err)
			}
		}
	}
	// The stored format: these never change.
	for metric, want := range map[string]string{"up": "__tributary_1_s_20", "a:b": "__tributary_1_s_00", "": "__tributary_1_s_05"} {
		if got := SampleFamily.Measure(metric); got != want {
			t.Errorf("%q: got %s, want %s", metric, got, want)
		}
	}
	for f, want := range map[Family]string{
		SampleFamily2: "__tributary_1_s2_20", SampleFamily3: "__tributary_1_s3_20", ExemplarFamily: "__tributary_1_e_20",
		MetadataFamily: "__tributary_1_m_20", StartFamily: "__tributary_1_c_20",
	} {
		if got := f.Measure("up"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for measure, want := range map[string]MeasureKind{"up": PlainMeasure, "__tributary": PlainMeasure, "__tributary_1_x_00": OtherExtension, "__tributary_1_s4_00": OtherExtension, "__tributary_": OtherExtension} {
		if got, err := ClassifyMeasure(measure); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", measure, got, err, want)
		}
	}
}

func BenchmarkEncodeSeries(b *testing.B) {
	var pairs []string
	for i := range 12 {
		pairs = append(pairs, fmt.Sprintf("label%02d", i), fmt.Sprintf("some value %d", i))
	}
	ls := sorted(append(pairs, "__name__", "http_requests_total")...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodeSeries(ls, columns{}, StrictLimits()); err != nil {
			b.Fatal(err)
		}
	}
}
