// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/promschema/promschematest"

	"github.com/tributary-project/tributary/services/query/internal/pages"
	"github.com/tributary-project/tributary/services/query/internal/querytest"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

const (
	testDB    = "db"
	testTable = "metrics"
)

func testConfig() Config {
	return Config{Database: testDB, Table: testTable, MaxBytes: 1 << 30, CatalogueRefresh: time.Minute}
}

func newStore(t testing.TB, cfg Config, c pages.Client) *Store {
	t.Helper()
	reg := prometheus.NewRegistry()
	logger := slog.New(slog.DiscardHandler)
	return New(cfg, pages.New(c, 0, logger, reg), time.Now, logger, reg)
}

func selectAll(t testing.TB, s *Store, sel series.Selection) ([]series.Series, series.Stats, error) {
	t.Helper()
	set, err := s.Select(t.Context(), sel)
	if err != nil {
		return nil, series.Stats{}, err
	}
	defer func() {
		set.Close()
		if n := s.budget.Held(); n != 0 {
			t.Errorf("%d bytes of the budget are held after the result was closed", n)
		}
	}()
	return collect(t, set), set.Stats(), set.Err()
}

// collect reads a set to its end and puts the pieces of series together.
func collect(t testing.TB, set series.Set) []series.Series {
	t.Helper()
	var out []series.Series
	for set.Next() {
		x := set.At()
		if !x.Continued {
			out = append(out, series.Series{Labels: x.Labels})
		}
		of := &out[len(out)-1]
		if !labels.Equal(of.Labels, x.Labels) || len(x.Samples)+len(x.Histograms) == 0 {
			t.Errorf("a piece of %s after one of %s, %d samples", x.Labels, of.Labels, len(x.Samples)+len(x.Histograms))
		}
		of.Samples, of.Histograms = append(of.Samples, x.Samples...), append(of.Histograms, x.Histograms...)
		if x.Starts != nil {
			of.Starts = append(append(of.Starts, make([]int64, len(of.Samples)-len(x.Samples)-len(of.Starts))...), x.Starts...)
		}
	}
	return out
}

func render(ss []series.Series) string {
	var b strings.Builder
	for _, s := range ss {
		fmt.Fprintf(&b, "%s", s.Labels)
		for _, p := range s.Samples {
			fmt.Fprintf(&b, " %d:%016x", p.T, math.Float64bits(p.V))
		}
		for _, h := range s.Histograms {
			fmt.Fprintf(&b, " %d:%x", h.T, promschema.AppendHistogram(nil, h.H, 0))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// names and values are what quoting, patterns and the layout could stumble over.
func labelNames() []string {
	return []string{
		"a", "job", "le", `quo"te`, "semi;colon", "per%cent", "under_score", `back\slash`, "new\nline", "地区", "time",
		"measure_name", "ts_x", "with space", "co:lon", "__tributary_x", "--", "xl", strings.Repeat("long", 20), `x"l`, "l",
	}
}

func metricNames() []string {
	return []string{"up", "a:b", "x--y", "a:b-c", "up2", "UP", "地区", "measure_name", "__tributary_m", "it's", strings.Repeat("n", 300), "node_cpu", "node_mem"}
}

func labelValues() []string {
	return []string{
		"a", "b", "ab", "abc", "aXc", "A", "it's", `say "hi"`, `","l":"v`, "v", "%", "_", `\`, `\%`, "x;y", "two\nlines", "ü", "K", "\u212a",
		"地区", "a.c", "-", "[x]", "{}", "::", "'; DROP TABLE t; --", "\t", "\u2028", "😀", " ", "foo.bar:9090", "\u212ax", "ﬁ", "ａ１", strings.Repeat("z", 700),
	}
}

func regexes() []string {
	return []string{
		"a", "a|b", "a.*", "a.+", ".*", ".+", "", "a|", "|", "a?", "[a-c]+", "[^a]", "(?i)ab", "(?i)a|k", "(?P<n>a)b", `\d+`, `\pL+`, `[[:alpha:]]+`,
		`a\.c`, ".*c", ".*b.*", "x;y", "two\nlines", "two.lines", `(?-s:two.lines)`, `\bfoo\b.*`, "^a$", "(?m)^two$", `'; DROP.*`, `%`, `_`, `a_.*`, `a%.*`,
		`\\`, `\\.*`, "地.", ".", "..", "a{2,3}|b{1}", "(a|b)(b|c)?", "[%_]", `\x41`, "😀", "[^😀]", "(?U)a+", `foo\.bar:\d+`, "(?i)K", "ü|u", "a|b|ab|abc|v|K|A|-",
		`\Qa.c\E`, "it's|say.*", `\pN*`, "(?i)[a-c]+", "node_.*", "up|node_cpu", "a:.*", "a:[a-z]", ".*--.*", "x--y|a:b", "[\\s\\S]*", "(?:)",
		"(?i)k.*", "(?i)fi|a1|b1|c1|d1|e1|f1|g1|h1|i1|j1|k1|l1|m1|n1|o1|p1|q1",
	}
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func randomLabels(r *rand.Rand) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	for range r.IntN(5) {
		b.Set(pick(r, labelNames()), pick(r, labelValues()))
	}
	b.Set(model.MetricNameLabel, pick(r, metricNames()))
	return b.Labels()
}

func randomMatchers(r *rand.Rand) []*labels.Matcher {
	var out []*labels.Matcher
	one := func(name string, values []string) {
		t := pick(r, []labels.MatchType{labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp})
		v := pick(r, append([]string{""}, values...))
		if t == labels.MatchRegexp || t == labels.MatchNotRegexp {
			v = pick(r, regexes())
		}
		out = append(out, labels.MustNewMatcher(t, name, v))
	}
	switch r.IntN(5) {
	case 0:
	case 1, 2:
		out = append(out, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, pick(r, metricNames())))
	default:
		one(model.MetricNameLabel, metricNames())
	}
	for n := r.IntN(3); n >= 0; n-- {
		one(pick(r, labelNames()), labelValues())
	}
	return out
}

func randomValue(r *rand.Rand) float64 {
	return pick(r, []float64{
		0, 1, -1.5, r.NormFloat64() * 1e6, 1e-7, 1e39, 1e300, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(),
		math.Float64frombits(value.StaleNaN), math.Float64frombits(0x7ff8000000000123), 5e-324, math.MaxFloat64, 0.1,
	})
}

// writeOthers writes what is about a series and is no sample of it.
func writeOthers(t *testing.T, r *rand.Rand, b *querytest.Backend, ls labels.Labels) {
	t.Helper()
	exemplar, err := promschema.ExemplarValue(nil, randomValue(r))
	if err != nil {
		t.Fatal(err)
	}
	metadata, err := promschema.MetadataValue(promschema.Metadata{Type: 1, Help: "Help."})
	if err != nil {
		t.Fatal(err)
	}
	for f, v := range map[promschema.Family]promschema.Value{
		promschema.ExemplarFamily: exemplar, promschema.MetadataFamily: metadata, promschema.StartFamily: promschema.StartValue(1),
	} {
		record, err := querytest.ExtensionRecord(ls, f, 1_000_000_000_001, v, querytest.Budget(nil))
		if err != nil {
			t.Fatal(err)
		}
		b.Write(testDB, testTable, record)
	}
}

// TestSelectIsPrometheus writes random series in random encodings and compares what random matchers find with what
// Prometheus' matchers say, bit for bit. The back end evaluates the SQL, so a condition that keeps out too much shows.
func TestSelectIsPrometheus(t *testing.T) {
	rounds := 15
	if testing.Short() {
		rounds = 10
	}
	encoder := promschema.NewHistogramEncoder()
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		b := &querytest.Backend{PageRows: 1 + r.IntN(20), EmptyPages: r.IntN(2)}
		b.CreateTable(testDB, testTable)
		// Credentials may allow less than everything: see the catalogue.
		b.Before = func(statement string) error {
			if seed%3 > 0 && strings.HasPrefix(statement, "SHOW") || seed%3 > 1 && strings.HasPrefix(statement, "DESCRIBE") {
				return &types.AccessDeniedException{Message: aws.String("not authorized")}
			}
			return nil
		}
		want := map[string]*series.Series{}
		for i := range 1 + r.IntN(60) {
			ls := randomLabels(r)
			if wide := labels.NewBuilder(ls); i == 0 && seed%4 == 1 {
				// Another way to sort.
				for n := range 20 {
					wide.Set(fmt.Sprintf("wide_%02d", n), "x")
				}
				ls = wide.Labels()
			}
			if want[ls.String()] != nil {
				continue
			}
			s := &series.Series{Labels: ls}
			for ts := range int64(4) {
				s.Samples = append(s.Samples, series.Sample{T: 1_000_000 + ts*5_000_000, V: randomValue(r)})
			}
			// Each sample may come from a replica with another idea of the columns.
			ok := true
			for _, p := range s.Samples {
				cols := pick(r, []promschema.Columns{
					querytest.Budget(nil), querytest.Budget{}, querytest.Budget{"job", "l", "a"}, querytest.ExtensionOnly(querytest.Budget{"a", "le"}),
				})
				records, err := querytest.Records(ls, []series.Sample{p}, cols)
				if err != nil {
					ok = false
					break
				}
				b.Write(testDB, testTable, records...)
			}
			// Some milliseconds have a histogram instead, or, which histograms win, besides.
			for i := 0; ok && i < len(s.Samples); i++ {
				p := s.Samples[i]
				if r.IntN(6) > 0 {
					continue
				}
				h := series.Histogram{T: p.T, H: promschematest.Histogram(r, pick(r, []int{5, 400}))}
				if value.IsStaleNaN(h.H.Sum) && !value.IsStaleNaN(p.V) {
					continue
				}
				records, err := querytest.HistogramRecords(encoder, ls, []series.Histogram{h}, pick(r, []promschema.Columns{querytest.Budget(nil), querytest.Budget{"job"}}))
				if err != nil {
					continue // too large
				}
				r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
				b.Write(testDB, testTable, records...)
				s.Histograms = append(s.Histograms, h)
			}
			s.Samples = slices.DeleteFunc(s.Samples, func(p series.Sample) bool {
				return slices.ContainsFunc(s.Histograms, func(h series.Histogram) bool { return h.T == p.T })
			})
			if ok {
				want[ls.String()] = s
				writeOthers(t, r, b, ls)
			}
		}
		st := newStore(t, testConfig(), b)
		for range 100 {
			sel := series.Selection{Matchers: randomMatchers(r), StartMs: pick(r, []int64{math.MinInt64, 0, 1_000_000, 1_000_001}), EndMs: pick(r, []int64{math.MaxInt64, 16_000_000, 15_999_999, 6_000_000, 1_000_000})}
			var expect []series.Series
			for _, s := range want {
				if !slices.ContainsFunc(sel.Matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Labels.Get(m.Name)) }) {
					c := series.Series{Labels: s.Labels}
					for _, p := range s.Samples {
						if p.T >= sel.StartMs && p.T <= sel.EndMs {
							c.Samples = append(c.Samples, p)
						}
					}
					for _, h := range s.Histograms {
						if h.T >= sel.StartMs && h.T <= sel.EndMs {
							c.Histograms = append(c.Histograms, h)
						}
					}
					if len(c.Samples)+len(c.Histograms) > 0 {
						expect = append(expect, c)
					}
				}
			}
			slices.SortFunc(expect, func(a, b series.Series) int { return labels.Compare(a.Labels, b.Labels) })
			b.Statements()
			got, _, err := selectAll(t, st, sel)
			if err != nil {
				t.Fatalf("seed %d, %s: %v", seed, sel.Matchers, err)
			}
			if render(got) != render(expect) {
				t.Fatalf("seed %d, %s, [%d, %d]:\ngot\n%swant\n%sstatements:\n%s", seed, sel.Matchers, sel.StartMs, sel.EndMs, render(got), render(expect), strings.Join(b.Statements(), "\n"))
			}
			if r.IntN(5) == 0 {
				checkListings(t, r, st, sel, expect)
			}
			for _, sql := range b.Statements() {
				if kind, _, _ := strings.Cut(sql, "\n"); kind == "SELECT *" || strings.HasPrefix(sql, "SELECT DISTINCT") {
					continue // the catalogue's
				}
				if strings.HasPrefix(sql, "SELECT") && (!strings.Contains(sql, `"time" >= from_milliseconds(`) || !strings.Contains(sql, `"measure_name"`) || strings.Contains(sql, "SELECT *")) {
					t.Fatalf("a statement without its time or measure name, or with a star:\n%s", sql)
				}
			}
		}
	}
}

// checkListings compares the listings of a selection with what its series say.
func checkListings(t *testing.T, r *rand.Rand, st *Store, sel series.Selection, expect []series.Series) {
	t.Helper()
	scope := series.Scope{Selectors: [][]*labels.Matcher{sel.Matchers}, StartMs: sel.StartMs, EndMs: sel.EndMs, Limit: pick(r, []int{0, 1, 3})}
	cut := func(all []string, info series.Info) []string {
		if scope.Limit > 0 && len(all) > scope.Limit {
			all = all[:scope.Limit]
			if !slices.Contains(info.Warnings, truncated) {
				t.Errorf("%s: cut off without a warning: %v", sel.Matchers, info.Warnings)
			}
		} else if slices.Contains(info.Warnings, truncated) {
			t.Errorf("%s: not cut off, with a warning", sel.Matchers)
		}
		return all
	}
	sets, info, err := st.Series(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	info.Release()
	var got, want []string
	for _, ls := range sets {
		got = append(got, ls.String())
	}
	for _, x := range expect {
		want = append(want, x.Labels.String())
	}
	if want = cut(want, info); !slices.Equal(got, want) {
		t.Fatalf("series of %s, limit %d: got %q, want %q", sel.Matchers, scope.Limit, got, want)
	}
	name := pick(r, append(labelNames(), model.MetricNameLabel))
	values, names := map[string]bool{}, map[string]bool{}
	for _, x := range expect {
		if v := x.Labels.Get(name); v != "" {
			values[v] = true
		}
		x.Labels.Range(func(l labels.Label) { names[l.Name] = true })
	}
	got, info, err = st.LabelValues(t.Context(), name, scope)
	if err != nil {
		t.Fatal(err)
	}
	info.Release()
	if want := cut(slices.Sorted(maps.Keys(values)), info); !slices.Equal(got, want) {
		t.Fatalf("values of %s of %s, limit %d: got %q, want %q", name, sel.Matchers, scope.Limit, got, want)
	}
	got, info, err = st.LabelNames(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	info.Release()
	if want := cut(slices.Sorted(maps.Keys(names)), info); !slices.Equal(got, want) {
		t.Fatalf("names of %s, limit %d: got %q, want %q", sel.Matchers, scope.Limit, got, want)
	}
}
