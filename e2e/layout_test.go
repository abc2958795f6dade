// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
	"github.com/tributary-project/tributary/timestream/local"
)

// generator makes random series that the layout can hold.
type generator struct{ *rand.Rand }

// specialNames are label and metric names that Timestream or the layout reserves, or that take some form of their own.
func specialNames() []string {
	return []string{
		"time", "times", "measure_name", "measure_name2", "measure_value", "measure_value::double", "ts_foo", "ts_", "ts_non_existent_col", "runtime", "a", "A",
		"__tributary_labels_1", "__tributary_no_labels", "__tributary_v", "__tributary_bits", "__tributary_1_s_00", "__tributary_9_s_00", "__tributary_", "__tenant__",
		"job", "instance", "le", "label_app", "annotation_note", "with space", "with:colon", "with--dashes", "with-dash", "a-b:c", "a:b", ":", "-", "--", ":-", "a:", "--a", "::",
		`quo"te`, `apo'strophe`, `back\slash`, "new\nline", "nul\x00", "\x1f", "\u2028", "\u2029", "\u0085", "地区", "😀", "e\u0301", "\u00e9", "0", "1a", "a.b", "a,b", "a=b", "{a}", `"`, `\`, " ",
		strings.Repeat("n", 60), strings.Repeat("n", 61), strings.Repeat("ü", 31), strings.Repeat("long", 60), "DROP TABLE", "select",
	}
}

func (g generator) name() string {
	if g.IntN(2) == 0 {
		return specialNames()[g.IntN(len(specialNames()))]
	}
	return g.text(1 + g.IntN(12))
}

// text returns n characters of any kind.
func (g generator) text(n int) string {
	var b strings.Builder
	for range n {
		switch g.IntN(8) {
		case 0:
			b.WriteRune(rune(g.IntN(0x80)))
		case 1:
			b.WriteRune([]rune{0, 0x7f, 0x80, 0xa0, 0x7ff, 0x800, 0x2028, 0x2029, 0xd7ff, 0xe000, 0xfdd0, 0xfffd, 0xfffe, 0xffff, 0x10000, 0x1f600, 0x10ffff}[g.IntN(17)])
		case 2:
			b.WriteByte(`"'\:-_{}%,;$#`[g.IntN(13)])
		default:
			b.WriteByte("abcdefghijklmnopqrstuvwxyz_0123456789"[g.IntN(37)])
		}
	}
	return b.String()
}

// float returns a float64 of any class.
func (g generator) float() float64 {
	specials := []float64{
		0, math.Copysign(0, -1), 1, -1, math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(value.StaleNaN), math.Float64frombits(value.NormalNaN),
		math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, 0x1p-1022, math.Nextafter(0x1p-1022, 0),
		math.Pi, 1.0 / 3, 1e15, 1e16, 1e21, 1e22, 1e39, 1e40, math.Nextafter(1e40, 0), 1e-20, 1e-38, 1 << 53, 1<<53 + 2, 0.1, 123456789.123456789, 5e-324,
		math.Float64frombits(0x7ff0000000000001), math.Float64frombits(0xfff8000000000000), math.Float64frombits(0xffffffffffffffff), math.MaxInt64, math.MinInt64,
	}
	switch g.IntN(5) {
	case 0:
		return specials[g.IntN(len(specials))]
	case 1:
		return math.Float64frombits(g.Uint64()) // all classes of exponents
	case 2:
		return math.Float64frombits(0x7ff<<52 | g.Uint64()&(1<<63|1<<52-1)) // NaN with any payload
	case 3:
		return float64(g.Int64N(1 << 40))
	default:
		return (g.Float64() - 0.5) * math.Pow(10, float64(g.IntN(30)-15))
	}
}

// series returns a series whose names and values take at most so many bytes in any form that the layout may choose.
func (g generator) series(id, maxBytes int) labels.Labels {
	b := labels.NewScratchBuilder(0)
	metric := ""
	for metric == "" {
		if metric = g.name(); g.IntN(20) == 0 {
			metric = g.text(100 + g.IntN(200))
		}
	}
	seen := map[string]bool{"__name__": true, "id": true}
	// The id tells series apart; packed labels write it with quotes, and characters below U+0020 take six bytes.
	used := len("__name__") + len(metric) + 16 + 4*len("__tributary_labels_1") + 64
	b.Add("__name__", metric)
	b.Add("id", strconv.Itoa(id))
	for range g.IntN(8) {
		name, v := g.name(), g.text(g.IntN(60))
		if g.IntN(15) == 0 {
			v = g.text(g.IntN(maxBytes))
		}
		size := func(s string) int { // as JSON
			n := len(s) + 2
			for i := range len(s) {
				if s[i] < 0x20 {
					n += 5
				} else if s[i] == '"' || s[i] == '\\' {
					n++
				}
			}
			return n
		}
		if n := size(name) + size(v) + 2; name != "" && v != "" && !seen[name] && used+n <= maxBytes {
			used += n
			seen[name] = true
			b.Add(name, v)
		}
	}
	b.Sort()
	return b.Labels()
}

// TestLayoutRoundTrip writes random series and samples by remote write and reads every bit of them back, under each reading
// of the service's limits.
func TestLayoutRoundTrip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		store    local.Limits
		ingest   string
		maxBytes int
	}{
		{local.LimitsStrict, "strict", 2048},
		{local.LimitsObserved, "strict", 2048},
		{local.LimitsObserved, "observed", 6000},
	} {
		t.Run(fmt.Sprintf("store %s, ingest %s", c.store, c.ingest), func(t *testing.T) {
			s := system.Start(t, system.Options{
				App:   func(a *allinone.Config) { a.Ingest.Limits = c.ingest },
				Store: func(l *local.Config) { l.Limits = c.store },
			})
			g := generator{rand.New(rand.NewPCG(newSeed(t), 0))}
			p := probe{t, s.URL}
			now := time.Now().UnixMilli()
			const count, perRequest = 400, 100
			var all []rw.Series
			for i := range count {
				one := rw.Of(g.series(i, c.maxBytes))
				at := now - 3_600_000
				for range 1 + g.IntN(5) {
					at += 1 + g.Int64N(600_000)
					one = one.At(at, g.float())
				}
				all = append(all, one)
			}
			for i := 0; i < count; i += perRequest {
				p.accept(protocols()[i/perRequest%2], all[i:i+perRequest]...)
			}
			p.same(p.read(re("__name__", "(?s).+")), all...)
			// And by its own labels, each of a few.
			for range 20 {
				one := all[g.IntN(count)]
				var ms []*prompb.LabelMatcher
				for _, l := range one.Labels {
					ms = append(ms, eq(l.Name, l.Value))
				}
				p.same(p.read(ms...), one)
			}
			for _, counter := range []string{"tributary_query_conflicts_total", "tributary_query_damaged_series_total", "tributary_ingest_batches_bisected_total"} {
				if n := metricValue(t, s.Registry, counter); n != 0 {
					t.Errorf("%s is %v, want 0", counter, n)
				}
			}
		})
	}
}

// TestEveryFloat writes values at the borders of every form a value may take.
func TestEveryFloat(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	p := probe{t, s.URL}
	now := time.Now().UnixMilli()
	plain, extension := rw.New("__name__", "plain"), rw.New("__name__", "a--b")
	r := rand.New(rand.NewPCG(newSeed(t), 1))
	n := int64(0)
	add := func(bits uint64) {
		for _, sign := range []uint64{0, 1 << 63} {
			plain, extension = plain.At(now-n, math.Float64frombits(bits|sign)), extension.At(now-n, math.Float64frombits(bits|sign))
			n++
		}
	}
	for exponent := uint64(0); exponent <= 0x7ff; exponent++ {
		for _, mantissa := range []uint64{0, 1, 1<<52 - 1, r.Uint64() & (1<<52 - 1)} {
			if exponent%16 < 2 || exponent > 0x3f0 && exponent < 0x480 || mantissa > 1 && mantissa < 1<<52-1 {
				add(exponent<<52 | mantissa)
			}
		}
	}
	for e := -340; e < 309; e++ {
		v, err := strconv.ParseFloat(fmt.Sprintf("1e%d", e), 64)
		if err != nil {
			t.Fatal(err)
		}
		add(math.Float64bits(v))
	}
	p.accept(rw.V1, plain)
	p.accept(rw.V2, extension)
	p.same(p.read(eq("__name__", "plain")), plain)
	p.same(p.read(eq("__name__", "a--b")), extension)
}

// TestNamesOfAllKinds: metric names that a measure name can hold, and others, live side by side, also where one is written
// as the other is.
func TestNamesOfAllKinds(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	suite := suite{p: probe{t, s.URL}, at: time.Now().UnixMilli()}
	names := append(specialNames(),
		"job:rate:5m", "job--rate--5m", "job-rate-5m", "job:rate-5m", "job--rate:5m", "a:b:c", "a--b--c", "a---b", "a:-b", "a-:b",
		strings.Repeat("m", 256), strings.Repeat("m", 257), strings.Repeat("ü", 128), strings.Repeat("ü", 129), strings.Repeat("m", 255)+":", strings.Repeat("m", 254)+":", strings.Repeat("long name ", 100),
		"up", "Up", "__name__", "up ", " up")
	slices.Sort(names)
	names = slices.Compact(names)
	var all []labels.Labels
	for _, name := range names { // once alone, once with a label
		all = append(all, labels.FromStrings("__name__", name), labels.FromStrings("__name__", name, "kind", "labelled"))
	}
	suite.add(rw.V1, all[:len(all)/2]...)
	suite.add(rw.V2, all[len(all)/2:]...)
	var selections [][]*prompb.LabelMatcher
	for _, name := range names {
		selections = append(selections,
			[]*prompb.LabelMatcher{eq("__name__", name)},
			[]*prompb.LabelMatcher{eq("__name__", name), eq("kind", "")},
			[]*prompb.LabelMatcher{eq("__name__", name), matcher(prompb.LabelMatcher_NEQ, "kind", "")})
	}
	for _, e := range []string{".+", "a.*", ".*:.*", ".*--.*", "a[:-]+b", "job.rate.5m", "job:rate:5m|job--rate--5m|none", "m{256,}", "(m|ü|é)+:?", "(?i)UP ?", "__tributary_.*", "ts_.*|time|measure.*", ".*[\"'\\\\].*", "[^a-zA-Z_].*", "(?s)new.line"} {
		selections = append(selections, []*prompb.LabelMatcher{re("__name__", e)}, []*prompb.LabelMatcher{matcher(prompb.LabelMatcher_NRE, "__name__", e), eq("kind", "")})
	}
	selections = append(selections, []*prompb.LabelMatcher{matcher(prompb.LabelMatcher_NEQ, "__name__", "a:b")}, []*prompb.LabelMatcher{eq("kind", "labelled")}, []*prompb.LabelMatcher{eq("kind", "")}, []*prompb.LabelMatcher{eq("__name__", "")})
	suite.check(selections...)
}

// TestSizeLimits: what does not fit a record is rejected with the limit, and what just fits is stored, in both forms of
// a sample.
func TestSizeLimits(t *testing.T) {
	t.Parallel()
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name   string
		limits string
		series []rw.Series
		status int
		text   string
	}{
		{"all that fits", "strict", []rw.Series{rw.New("__name__", "m", "a", x(1023), "b", x(1023))}, 204, ""},
		{"one byte more", "strict", []rw.Series{rw.New("__name__", "m", "a", x(1023), "b", x(1024))}, 400, "take 2049 bytes in a Timestream record, the limit is 2048"},
		{"all that fits one label", "strict", []rw.Series{rw.New("__name__", "m", "a", x(2047))}, 204, ""},
		{"a label over its own limit", "strict", []rw.Series{rw.New("__name__", "m", "a", x(2048))}, 400, "the limit is 2048"},
		{"packed", "strict", []rw.Series{rw.New("__name__", "m", "label_a", x(2000))}, 204, ""},
		{"packed, too large", "strict", []rw.Series{rw.New("__name__", "m", "label_a", x(2030))}, 400, "the limit is 2048"},
		{"many small ones", "strict", []rw.Series{manyLabels("m", 100, 20)}, 204, ""},
		{"too many small ones", "strict", []rw.Series{manyLabels("m", 100, 21)}, 400, "the limit is 2048"},
		{"beside a metric name", "strict", []rw.Series{rw.New("__name__", "a--"+x(995), "a", x(1041))}, 204, ""},
		{"beside a metric name, one byte more", "strict", []rw.Series{rw.New("__name__", "a--"+x(995), "a", x(1042))}, 400, "take 2049 bytes"},
		{"observed: as many as there is room for", "observed", []rw.Series{rw.New("__name__", "m", "a", x(2047), "b", x(2047), "c", x(2047))}, 204, ""},
		{"observed: packed in four pieces", "observed", []rw.Series{rw.New("__name__", "m", "label_a", x(4000), "label_b", x(4000))}, 204, ""},
		{"observed: packed in five", "observed", []rw.Series{rw.New("__name__", "m", "label_a", x(4500), "label_b", x(4500))}, 400, "8112 bytes as JSON"},
		{"observed: one long label is packed", "observed", []rw.Series{rw.New("__name__", "m", "a", x(5000))}, 204, ""},
		{"observed: a metric name over a dimension's size", "observed", []rw.Series{rw.New("__name__", x(2041))}, 400, "the limit is 2048"},
		{"observed: a metric name of a dimension's size", "observed", []rw.Series{rw.New("__name__", x(2040))}, 204, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := system.Start(t, system.Options{
				App:   func(a *allinone.Config) { a.Ingest.Limits = c.limits },
				Store: func(l *local.Config) { l.Limits = local.Limits(c.limits) },
			})
			p := probe{t, s.URL}
			now := time.Now().UnixMilli()
			var give []rw.Series
			for _, one := range c.series {
				give = append(give, one.At(now, 1))
			}
			fine := rw.New("__name__", "fine").At(now, 1)
			a := p.write(rw.V2, append([]rw.Series{fine}, give...)...)
			if a.Status != c.status || !strings.Contains(a.Text, c.text) || c.status == 400 && !strings.Contains(a.Text, "labels_too_large") {
				t.Errorf("got %d %q, want %d %q", a.Status, a.Text, c.status, c.text)
			}
			want := []rw.Series{fine}
			if c.status == 204 {
				want = append(want, give...)
			}
			p.same(p.read(re("__name__", ".+")), want...)
		})
	}
	// A series may fit plain records and not the ones that hold its name in a dimension.
	t.Run("only the special values do not fit", func(t *testing.T) {
		s := system.Start(t, system.Options{})
		p := probe{t, s.URL}
		now := time.Now().UnixMilli()
		tight := rw.New("__name__", "m", "a", x(1023), "b", x(1023))
		a := p.write(rw.V1, tight.At(now, 1).At(now+1, math.NaN()).At(now+2, 3))
		if want := "samples: 1 of 3 rejected, 2 written; reasons: samples labels_too_large 1;"; a.Status != 400 || !strings.HasPrefix(a.Text, want) || !strings.Contains(a.Text, "2057 bytes") {
			t.Errorf("got %d %q, want 400 %q", a.Status, a.Text, want)
		}
		p.same(p.read(eq("__name__", "m")), tight.At(now, 1).At(now+2, 3))
	})
}

// TestStoreStricterThanIngest: a store that reads the limits more strictly than ingest was told to refuses what is over its
// own, with its own words, and nothing else suffers.
func TestStoreStricterThanIngest(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{App: func(a *allinone.Config) { a.Ingest.Limits = "observed" }})
	p := probe{t, s.URL}
	now := time.Now().UnixMilli()
	var good []rw.Series
	for i := range 120 { // more than a batch
		good = append(good, rw.New("__name__", "good", "n", strconv.Itoa(i)).At(now, float64(i)))
	}
	long := rw.New("__name__", "long", "a", strings.Repeat("x", 1500), "b", strings.Repeat("y", 1500)).At(now, 1)
	a := p.write(rw.V2, slices.Concat(good[:50], []rw.Series{long}, good[50:])...)
	if want := "samples: 1 of 121 rejected, 120 written; reasons: samples limit_exceeded 1;"; a.Status != 400 || a.Written() != "120 0 0" || !strings.HasPrefix(a.Text, want) {
		t.Errorf("got %d, written %s, %q; want 400 %q", a.Status, a.Written(), a.Text, want)
	}
	wellFormed(t, a)
	p.accept(rw.V1, good...) // no limit of the table was met: nothing has changed for the others
	if got := metricValue(t, s.Registry, "tributary_ingest_samples_reencoded_total"); got > 1 {
		t.Errorf("%v samples were encoded again, want the long one at most", got)
	}
	p.same(p.read(re("__name__", ".+")), good...)
}

// manyLabels returns a series of n labels whose names and values take so many bytes each, together.
func manyLabels(metric string, n, size int) rw.Series {
	pairs := []string{"__name__", metric}
	for i := range n {
		name := fmt.Sprintf("l%03d", i)
		pairs = append(pairs, name, strings.Repeat("v", size-len(name)))
	}
	return rw.New(pairs...)
}

// TestMoreLabelsThanColumns writes more label names than a table gets columns. Those beyond are packed, and every form of
// matcher finds the same on both.
func TestMoreLabelsThanColumns(t *testing.T) {
	t.Parallel()
	const names, columns = 130, 100
	s := system.Start(t, system.Options{})
	suite := suite{p: probe{t, s.URL}, at: time.Now().UnixMilli()}
	g := rand.New(rand.NewPCG(1, 2))
	values := []string{"", "a", "b", "ab", "B", `"`, `a","b":"c`, "é", "10", "9", "\n", "a:b"}
	label := func(i int) string { return fmt.Sprintf("l%03d", i) }
	var all []labels.Labels
	for i := range names {
		all = append(all, labels.FromStrings("__name__", "wide", label(i), "a"))
	}
	for range 100 {
		b := labels.NewBuilder(labels.FromStrings("__name__", "wide", "id", strconv.Itoa(len(all))))
		for range 1 + g.IntN(20) {
			b.Set(label(g.IntN(names)), values[g.IntN(len(values))])
		}
		all = append(all, b.Labels())
	}
	for i, j := 0, 0; i < len(all); i, j = i+50, j+1 {
		suite.add(protocols()[j%2], all[i:min(i+50, len(all))]...)
	}
	columnNames := labelColumns(t, s)
	// First come, first served; "id" came after them.
	if len(columnNames) != columns {
		t.Errorf("%d label columns, want %d: %v", len(columnNames), columns, columnNames)
	}
	var packed, column []string
	for i := range names {
		if slices.Contains(columnNames, label(i)) {
			column = append(column, label(i))
		} else {
			packed = append(packed, label(i))
		}
	}
	if len(packed) != names-columns {
		t.Fatalf("%d labels are packed, want %d", len(packed), names-columns)
	}
	kinds := []prompb.LabelMatcher_Type{prompb.LabelMatcher_EQ, prompb.LabelMatcher_NEQ, prompb.LabelMatcher_RE, prompb.LabelMatcher_NRE}
	patterns := []string{"", "a", ".*", ".+", "a|b", "a|", "a.*", `.*".*`, "(?i)b", "[0-9]+", "é", "none", "a.b", ".", "(a|b)+"}
	pick := func(from []string) *prompb.LabelMatcher {
		kind := kinds[g.IntN(4)]
		v := values[g.IntN(len(values))]
		if kind == prompb.LabelMatcher_RE || kind == prompb.LabelMatcher_NRE {
			v = patterns[g.IntN(len(patterns))]
		}
		return matcher(kind, from[g.IntN(len(from))], v)
	}
	var selections [][]*prompb.LabelMatcher
	for _, from := range [][]string{packed[:2], column[:2]} { // every form
		for _, kind := range kinds {
			texts := values
			if kind == prompb.LabelMatcher_RE || kind == prompb.LabelMatcher_NRE {
				texts = patterns
			}
			for _, v := range texts {
				selections = append(selections, []*prompb.LabelMatcher{eq("__name__", "wide"), matcher(kind, from[0], v)})
			}
		}
	}
	for range 40 { // and together
		ms := []*prompb.LabelMatcher{eq("__name__", "wide")}
		for range 1 + g.IntN(3) {
			ms = append(ms, pick([][]string{packed, column, {"absent", "id"}}[g.IntN(3)]))
		}
		selections = append(selections, ms)
	}
	suite.check(selections...)
}

// labelColumns returns the label columns of the table, as DESCRIBE has them.
func labelColumns(t *testing.T, s *system.System) []string {
	t.Helper()
	var out []string
	for _, name := range dimensions(t, s) {
		if !strings.HasPrefix(name, "__") {
			out = append(out, name)
		}
	}
	return out
}

// TestPackedByDefault: labels of discovery are packed, also when there is room.
func TestPackedByDefault(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	suite := suite{p: probe{t, s.URL}, at: time.Now().UnixMilli()}
	suite.add(rw.V1,
		labels.FromStrings("__name__", "kube_pod_labels", "pod", "p1", "label_app", "web", "label_", "not matched by label_.+", "annotation_a", "1", "annotations", "column"),
		labels.FromStrings("__name__", "kube_pod_labels", "pod", "p2", "label_app", "db", "xlabel_app", "column"))
	if got, want := labelColumns(t, s), []string{"annotations", "label_", "pod", "xlabel_app"}; !slices.Equal(got, want) {
		t.Errorf("label columns: got %q, want %q", got, want)
	}
	suite.check(
		[]*prompb.LabelMatcher{eq("label_app", "web")}, []*prompb.LabelMatcher{matcher(prompb.LabelMatcher_NEQ, "label_app", "web")},
		[]*prompb.LabelMatcher{eq("annotation_a", "")}, []*prompb.LabelMatcher{re("annotation_a", ".+")}, []*prompb.LabelMatcher{re("label_app", "w.b|db"), eq("pod", "p2")})
}

// dimensions returns the dimensions of the table, sorted.
func dimensions(t *testing.T, s *system.System) []string {
	t.Helper()
	var out []string
	for _, row := range sqlRows(t, s, `DESCRIBE "PrometheusDatabase"."PrometheusMetricsTable"`) {
		if row[2] == "DIMENSION" {
			out = append(out, row[0])
		}
	}
	slices.Sort(out)
	return out
}

// replica starts a second Tributary over the store of the first and returns its URL.
func replica(t *testing.T, s *system.System, change func(*allinone.Config)) string {
	t.Helper()
	app, err := s.Another(t.Context(), change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Stop(); err != nil {
			t.Errorf("the second tributary ended with: %v", err)
		}
	})
	return app.URL
}

// TestTwoEncodings: two replicas of ingest that disagree on which labels are columns write the same series, in turn and the
// same samples; it reads as one series with one sample per millisecond, through either.
func TestTwoEncodings(t *testing.T) {
	t.Parallel()
	first := system.Start(t, system.Options{})
	urls := []string{first.URL, replica(t, first, func(c *allinone.Config) { c.Ingest.MaxLabelColumns = 0 }), replica(t, first, func(c *allinone.Config) { c.Ingest.PackedLabels = "zone|shard" })}
	now := time.Now().UnixMilli()
	base := []rw.Series{
		rw.New("__name__", "http_requests_total", "zone", "a", "shard", "1", "code", "200"),
		rw.New("__name__", "http_requests_total", "zone", "b", "shard", "1", "code", "200"),
		rw.New("__name__", "job:rate:5m", "zone", "a", "shard", "x"),
		rw.New("__name__", "a--b", "zone", "a", "shard", "x"),
		rw.New("__name__", "up"),
	}
	want := slices.Clone(base)
	for step := range int64(30) {
		var request []rw.Series
		for i := range base {
			v := float64(step)
			switch step % 7 {
			case 3:
				v = math.NaN()
			case 5:
				v = math.Float64frombits(value.StaleNaN)
			}
			request = append(request, base[i].At(now+step, v))
			want[i] = want[i].At(now+step, v)
		}
		// Each sample comes to two of them, as it does when a sender tries again.
		for n := range 2 {
			probe{t, urls[(int(step)+n)%3]}.accept(protocols()[n], request...)
		}
	}
	// Not one layout: the labels are columns in some rows and packed in others.
	if got := dimensions(t, first); !slices.Contains(got, "zone") || !slices.Contains(got, "__tributary_labels_1") {
		t.Errorf("columns %q: the replicas did not disagree", got)
	}
	for _, url := range urls {
		p := probe{t, url}
		p.same(p.read(re("__name__", ".+")), want...)
		p.same(p.read(eq("zone", "a")), want[0], want[2], want[3])
		p.same(p.read(matcher(prompb.LabelMatcher_NEQ, "zone", "a")), want[1], want[4])
		p.same(p.read(re("shard", "1|2"), matcher(prompb.LabelMatcher_NRE, "zone", "b.*")), want[0])
	}
	// When they disagree on a value too, a reader has one of them, the better one: finite, special, stale.
	conflict := rw.New("__name__", "conflict", "zone", "z")
	stale, nan := math.Float64frombits(value.StaleNaN), math.NaN()
	probe{t, urls[0]}.accept(rw.V1, conflict.At(now, 1).At(now+1, stale).At(now+2, nan).At(now+3, 7))
	probe{t, urls[1]}.accept(rw.V1, conflict.At(now, nan).At(now+1, 2).At(now+2, stale).At(now+3, stale))
	for _, url := range urls {
		p := probe{t, url}
		p.same(p.read(eq("zone", "z")), conflict.At(now, 1).At(now+1, 2).At(now+2, nan).At(now+3, 7))
	}
}

// TestNameBoundToAnotherType: others have written records of another type under a metric's name. Its samples go to the
// extension and read back, also through a replica that knew the table before.
func TestNameBoundToAnotherType(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	p := probe{t, s.URL}
	now := time.Now().UnixMilli()
	p.accept(rw.V2, rw.New("__name__", "before").At(now, 1)) // the catalogue is loaded
	w, err := writeClient(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	record := func(name string, kind types.MeasureValueType, v string) types.Record {
		r := types.Record{
			MeasureName: aws.String(name), MeasureValueType: kind, Time: aws.String(strconv.FormatInt(now, 10)), TimeUnit: types.TimeUnitMilliseconds,
			Dimensions: []types.Dimension{{Name: aws.String("host"), Value: aws.String("h")}},
		}
		if kind == types.MeasureValueTypeMulti {
			r.MeasureValues = []types.MeasureValue{{Name: aws.String("events"), Value: aws.String(v), Type: types.MeasureValueTypeBigint}}
			return r
		}
		r.MeasureValue = aws.String(v)
		return r
	}
	_, err = w.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{
		DatabaseName: aws.String("PrometheusDatabase"), TableName: aws.String("PrometheusMetricsTable"),
		Records: []types.Record{
			record("bound_bigint", types.MeasureValueTypeBigint, "5"), record("bound_multi", types.MeasureValueTypeMulti, "6"),
			record("bound_varchar", types.MeasureValueTypeVarchar, "text"), record("bound_boolean", types.MeasureValueTypeBoolean, "true"),
			record("bound--colon", types.MeasureValueTypeBigint, "7"), record("foreign_double", types.MeasureValueTypeDouble, "8.5"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []rw.Series
	for _, name := range []string{"bound_bigint", "bound_multi", "bound_varchar", "bound_boolean", "bound:colon", "events", "free"} {
		// "events" is an attribute: a metric may have its name, a label column may not.
		all = append(all, rw.New("__name__", name, "host", "h").At(now, 1.5).At(now+1, math.Inf(1)), rw.New("__name__", name, "host", "i", "events", "label").At(now, 2.5))
	}
	for _, protocol := range protocols() { // the second time everything is known, and stored already
		if a := p.write(protocol, all...); a.Status != http.StatusNoContent || protocol == rw.V2 && a.Written() != "21 0 0" {
			t.Fatalf("%s: got %d, written %s: %s", protocol, a.Status, a.Written(), a.Text)
		}
	}
	want := append(all, rw.New("__name__", "before").At(now, 1), rw.New("__name__", "foreign_double", "host", "h").At(now, 8.5))
	p.same(p.read(re("__name__", ".+")), want...)
	p.same(p.read(eq("__name__", "bound_bigint")), all[0], all[1])
	p.same(p.read(eq("events", "label"), re("__name__", "bound_m.*")), all[3])
	// A process that starts now learns it from the catalogue.
	later := probe{t, replica(t, s, func(*allinone.Config) {})}
	more := rw.New("__name__", "bound_bigint", "host", "j").At(now, 3)
	later.accept(rw.V2, more)
	later.same(later.read(eq("__name__", "bound_bigint")), all[0], all[1], more)
}

// sqlRows runs a statement by the AWS SDK and returns the rows of its first page, as texts.
func sqlRows(t *testing.T, s *system.System, sql string) [][]string {
	t.Helper()
	res, err := queryClient(t, s).Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(sql)})
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for _, r := range res.Rows {
		var row []string
		for _, d := range r.Data {
			row = append(row, aws.ToString(d.ScalarValue))
		}
		out = append(out, row)
	}
	return out
}
