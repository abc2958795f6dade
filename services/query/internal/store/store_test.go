// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/timestream/promschema"

	"github.com/tributary-project/tributary/services/query/internal/querytest"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

const t0 = 1_700_000_000_000

func named(name string, more ...*labels.Matcher) series.Selection {
	return series.Selection{Matchers: append([]*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)}, more...), StartMs: 0, EndMs: math.MaxInt64}
}

func write(t *testing.T, b *querytest.Backend, cols promschema.Columns, samples []series.Sample, ls ...string) {
	t.Helper()
	records, err := querytest.Records(labels.FromStrings(ls...), samples, cols)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(testDB, testTable, records...)
}

func at(ms int64, v float64) []series.Sample { return []series.Sample{{T: ms, V: v}} }

func expect(t *testing.T, s *Store, sel series.Selection, want ...string) {
	t.Helper()
	got, _, err := selectAll(t, s, sel)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, x := range got {
		line := x.Labels.String()
		for _, p := range x.Samples {
			line += fmt.Sprintf(" %d=%v", p.T-t0, p.V)
		}
		lines = append(lines, line)
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestNewLabelIsSeenAtOnce(t *testing.T) {
	b := &querytest.Backend{}
	s := newStore(t, testConfig(), b)
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", "api")
	expect(t, s, named("up"), `{__name__="up", job="api"} 0=1`)
	// A label that no record had before, between two reads.
	write(t, b, querytest.Budget(nil), at(t0+1, 2), "__name__", "up", "job", "api", "zone", "a")
	write(t, b, querytest.Budget(nil), at(t0+2, 3), "__name__", "up", "job", "api", "zone", "b")
	expect(t, s, named("up"), `{__name__="up", job="api"} 0=1`, `{__name__="up", job="api", zone="a"} 1=2`, `{__name__="up", job="api", zone="b"} 2=3`)
	// A matcher on a label that was not a column when the table was last looked at.
	write(t, b, querytest.Budget(nil), at(t0+3, 4), "__name__", "up", "job", "api", "rack", "r")
	expect(t, s, named("up", labels.MustNewMatcher(labels.MatchEqual, "rack", "r")), `{__name__="up", job="api", rack="r"} 3=4`)
	// A new metric, by pattern.
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "brand_new", "job", "api")
	expect(t, s, series.Selection{Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, "brand.+")}, EndMs: math.MaxInt64}, `{__name__="brand_new", job="api"} 0=1`)
	// The first special value, and the first packed label, of the table.
	write(t, b, querytest.Budget{"job"}, at(t0+5, math.Inf(1)), "__name__", "brand_new", "job", "api", "sta-te", "x")
	expect(t, s, named("brand_new"), `{__name__="brand_new", job="api"} 0=1`, `{__name__="brand_new", job="api", "sta-te"="x"} 5=+Inf`)
}

// TestColumnThatAppearsWhileReading: the label is born after the plan was made and before the statement runs.
func TestColumnThatAppearsWhileReading(t *testing.T) {
	b := &querytest.Backend{}
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", "api")
	n := 0
	b.Before = func(statement string) error {
		if strings.HasPrefix(statement, "SELECT") && n < 2 {
			n++
			write(t, b, querytest.Budget(nil), at(t0+int64(n), 2), "__name__", "up", "job", "api", fmt.Sprintf("new%d", n), "x")
		}
		return nil
	}
	expect(t, newStore(t, testConfig(), b), named("up"),
		`{__name__="up", job="api"} 0=1`, `{__name__="up", job="api", new1="x"} 1=2`, `{__name__="up", job="api", new2="x"} 2=2`)

	// Columns that never stop appearing end in an error, not in a loop.
	b.Before = func(statement string) error {
		if strings.HasPrefix(statement, "SELECT") {
			n++
			write(t, b, querytest.Budget(nil), at(t0, 2), "__name__", "other", fmt.Sprintf("new%d", n), "x")
		}
		return nil
	}
	_, _, err := selectAll(t, newStore(t, testConfig(), b), named("up"))
	if e := (*series.Error)(nil); !errors.As(err, &e) || e.Kind != series.Unavailable || !strings.Contains(e.Text, "changed") {
		t.Errorf("got %v", err)
	}
}

// TestNarrowedProjectionIsWatched: the table has many columns, the metric few, and then one more.
func TestNarrowedProjectionIsWatched(t *testing.T) {
	b := &querytest.Backend{}
	many := []string{"__name__", "wide"}
	for i := range 20 {
		many = append(many, fmt.Sprintf("label_%02d", i), "x")
	}
	write(t, b, querytest.Budget(nil), at(t0, 1), many...)
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", "api")
	s := newStore(t, testConfig(), b)
	expect(t, s, named("up"), `{__name__="up", job="api"} 0=1`)
	if got := strings.Join(b.Statements(), "\n"); !strings.Contains(got, "SELECT \"job\", coalesce(") {
		t.Errorf("the statement is not narrowed:\n%s", got)
	}
	write(t, b, querytest.Budget(nil), at(t0+1, 2), "__name__", "up", "job", "api", "label_07", "y")
	expect(t, s, named("up"), `{__name__="up", job="api"} 0=1`, `{__name__="up", job="api", label_07="y"} 1=2`)
}

func TestRowsThatAreTooLargeAreShortened(t *testing.T) {
	b := &querytest.Backend{MaxRowBytes: 2000}
	var samples []series.Sample
	want := `{__name__="up", job="api"}`
	for i := range int64(300) {
		samples = append(samples, series.Sample{T: t0 + i*15_000, V: float64(i)})
		want += fmt.Sprintf(" %d=%d", i*15_000, i)
	}
	write(t, b, querytest.Budget(nil), samples, "__name__", "up", "job", "api")
	expect(t, newStore(t, testConfig(), b), named("up"), want)

	b.MaxRowBytes = 10
	_, _, err := selectAll(t, newStore(t, testConfig(), b), named("up"))
	if e := (*series.Error)(nil); !errors.As(err, &e) || e.Kind != series.TooLarge {
		t.Errorf("got %v", err)
	}
}

// TestRowTooLargeInTheMiddle: rows before it have been given out already, and the reading goes on from there.
func TestRowTooLargeInTheMiddle(t *testing.T) {
	b := &querytest.Backend{MaxRowBytes: 2000, PageRows: 1}
	var want []string
	for i, step := range []int64{600_000, 60_000, 600_000} {
		var samples []series.Sample
		line := fmt.Sprintf(`{__name__="up", i="%d"}`, i)
		for ts := int64(0); ts < 4*3_600_000; ts += step {
			samples = append(samples, series.Sample{T: t0 + ts, V: float64(ts)})
			line += fmt.Sprintf(" %d=%v", ts, float64(ts))
		}
		write(t, b, querytest.Budget(nil), samples, "__name__", "up", "i", fmt.Sprint(i))
		want = append(want, line)
	}
	write(t, b, querytest.Budget{}, at(t0, 1), "__name__", "up", "packed", "x")
	want = append(want, `{__name__="up", packed="x"} 0=1`)
	s := newStore(t, testConfig(), b)
	expect(t, s, named("up"), want...)
	if n := testutil.ToFloat64(s.replans.WithLabelValues("row_too_large")); n == 0 {
		t.Error("no row was too large")
	}

	// A label that appears meanwhile: too late to begin again.
	began := false
	b.Before = func(statement string) error {
		if strings.HasPrefix(statement, "SELECT") && strings.Contains(statement, "CREATE_TIME_SERIES") {
			if began {
				write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "new", "x")
			}
			began = true
		}
		return nil
	}
	set, err := newStore(t, testConfig(), b).Select(t.Context(), named("up"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	collect(t, set)
	if e := (*series.Error)(nil); !errors.As(set.Err(), &e) || e.Kind != series.Unavailable || !strings.Contains(e.Text, "changed") {
		t.Errorf("got %v", set.Err())
	}
}

// TestSlices: a long range is read in several statements.
func TestSlices(t *testing.T) {
	b := &querytest.Backend{}
	var samples []series.Sample
	want := `{__name__="up", job="api"}`
	for i := range int64(100) {
		samples = append(samples, series.Sample{T: t0 + i*60_000, V: float64(i)})
		want += fmt.Sprintf(" %d=%d", i*60_000, i)
	}
	samples[50].V = math.Inf(1)
	want = strings.Replace(want, "=50", "=+Inf", 1)
	write(t, b, querytest.Budget(nil), samples, "__name__", "up", "job", "api")
	cfg := testConfig()
	cfg.Slices, cfg.SliceMin = 3, 30*time.Minute
	s := newStore(t, cfg, b)
	sel := named("up")
	sel.StartMs, sel.EndMs = t0, t0+100*60_000
	b.Statements()
	expect(t, s, sel, want)
	n := 0
	for _, statement := range b.Statements() {
		if strings.Contains(statement, "CREATE_TIME_SERIES") {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d statements for plain samples, want 3", n)
	}
}

// TestLastPerStep: what is left out is not needed, and little is read.
func TestLastPerStep(t *testing.T) {
	b := &querytest.Backend{}
	r := rand.New(rand.NewPCG(1, 2))
	var samples []series.Sample
	for ts := int64(0); ts < 8*3_600_000; ts += 10_000 + r.Int64N(10_000) {
		v := float64(ts)
		if r.IntN(50) == 0 {
			v = math.Float64frombits(value.StaleNaN)
		}
		samples = append(samples, series.Sample{T: t0 + ts, V: v})
	}
	write(t, b, querytest.Budget(nil), samples, "__name__", "up", "job", "api")
	for _, slices := range []int{1, 3} {
		for _, align := range []int64{t0, t0 - 1, t0 + 123_456, -5} {
			cfg := testConfig()
			cfg.Slices, cfg.SliceMin = slices, time.Hour
			sel := named("up")
			sel.StartMs, sel.EndMs = t0, t0+8*3_600_000
			sel.LastPerStep = &series.LastPerStep{AlignMs: align, StepMs: 3_600_000}
			got, _, err := selectAll(t, newStore(t, cfg, b), sel)
			if err != nil || len(got) != 1 {
				t.Fatalf("got %v, %v", got, err)
			}
			window := func(t int64) int64 { // the k of the window that holds t
				k := (t - align) / 3_600_000
				if align+k*3_600_000 < t {
					k++
				}
				return k
			}
			last, kept := map[int64]series.Sample{}, map[int64]series.Sample{}
			for _, p := range samples {
				last[window(p.T)] = p
			}
			for _, p := range got[0].Samples {
				kept[window(p.T)] = p
			}
			if len(kept) != len(last) {
				t.Fatalf("%d windows, want %d", len(kept), len(last))
			}
			for k, p := range last {
				if q := kept[k]; q.T != p.T || math.Float64bits(q.V) != math.Float64bits(p.V) {
					t.Errorf("align %d, window %d: got %v, want %v", align, k, q, p)
				}
			}
			if n, all := len(got[0].Samples), len(samples); n > all/20+22 {
				t.Errorf("%d of %d samples were read", n, all)
			}
		}
	}
}

// TestStartsOfSeriesThatAreGone: nobody reads them to the end, and nobody waits for them.
func TestStartsOfSeriesThatAreGone(t *testing.T) {
	b := &querytest.Backend{}
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", "a")
	for i := range 10 * piecesAhead {
		ls := labels.FromStrings("__name__", "up", "job", fmt.Sprintf("z%03d", i))
		r, err := querytest.ExtensionRecord(ls, promschema.StartFamily, (t0-1000)*1e6, promschema.StartValue(t0-5000), querytest.Budget(nil))
		if err != nil {
			t.Fatal(err)
		}
		b.Write(testDB, testTable, r)
	}
	sel := named("up")
	sel.StartMs, sel.EndMs, sel.Starts = t0, t0+1000, true
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	set, err := newStore(t, testConfig(), b).Select(ctx, sel)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if got := collect(t, set); len(got) != 1 || set.Err() != nil || ctx.Err() != nil {
		t.Errorf("got %v, %v, %v", got, set.Err(), ctx.Err())
	}
}

// TestSlicesEndWhereTheRangeEnds, also where steps are longer than slices.
func TestSlicesEndWhereTheRangeEnds(t *testing.T) {
	cfg := testConfig()
	cfg.Slices, cfg.SliceMin = 4, time.Hour
	s := newStore(t, cfg, &querytest.Backend{})
	const hour = 3_600_000
	for _, tt := range []struct{ length, step int64 }{{48 * hour, 24 * hour}, {48 * hour, 7 * hour}, {4 * hour, 0}, {4*hour + 1, 0}, {2*hour - 1, 0}, {24 * hour, 24 * hour}, {24 * hour, 60_000}} {
		sel := series.Selection{StartMs: t0, EndMs: t0 + tt.length, HistogramLeadMs: 7}
		if tt.step > 0 {
			sel.LastPerStep = &series.LastPerStep{StepMs: tt.step}
		}
		next := sel.StartMs
		parts := s.slices(sel)
		for i, p := range parts {
			if p.StartMs != next || p.EndMs < p.StartMs || (p.HistogramLeadMs != 0) != (i == 0) {
				t.Errorf("%+v: part %d is [%d, %d], lead %d; want it to begin at %d", tt, i, p.StartMs-t0, p.EndMs-t0, p.HistogramLeadMs, next-t0)
			}
			next = p.EndMs + 1
		}
		if next != sel.EndMs+1 || len(parts) > cfg.Slices {
			t.Errorf("%+v: %d parts, the last ends at %d", tt, len(parts), next-1-t0)
		}
	}
}

// TestValuesOfMatchersThatDoNotFit: the statement lets more series pass than are selected.
func TestValuesOfMatchersThatDoNotFit(t *testing.T) {
	b := &querytest.Backend{}
	var alternatives []string
	for i := range 200 {
		alternatives = append(alternatives, fmt.Sprintf("%s-%d", strings.Repeat("x", 1500), i))
	}
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "instance", alternatives[7], "job", "a")
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "instance", "other", "job", "b", "zone", "c")
	s := newStore(t, testConfig(), b)
	scope := series.Scope{Selectors: [][]*labels.Matcher{{labels.MustNewMatcher(labels.MatchRegexp, "instance", strings.Join(alternatives, "|"))}}, StartMs: 0, EndMs: math.MaxInt64}
	values, _, err := s.LabelValues(t.Context(), "job", scope)
	if err != nil || !slices.Equal(values, []string{"a"}) {
		t.Errorf("values %q, %v", values, err)
	}
	names, _, err := s.LabelNames(t.Context(), scope)
	if err != nil || !slices.Equal(names, []string{"__name__", "instance", "job"}) {
		t.Errorf("names %q, %v", names, err)
	}
}

// TestValuesThatCannotBeSorted: a NUL stands between the texts by which many labels are sorted.
func TestValuesThatCannotBeSorted(t *testing.T) {
	b := &querytest.Backend{}
	wide := []string{"__name__", "up"}
	for i := range 17 {
		wide = append(wide, fmt.Sprintf("l%02d", i), "v")
	}
	write(t, b, querytest.Budget(nil), at(t0, 1), wide...)
	write(t, b, querytest.Budget(nil), at(t0, 2), "__name__", "up", "l00", "x", "l01", "1")
	write(t, b, querytest.Budget(nil), at(t0, 3), "__name__", "up", "l00", "x\x00a")
	now := time.Now()
	s := newStore(t, testConfig(), b)
	s.now = func() time.Time { return now }
	_, _, err := selectAll(t, s, named("up"))
	if e := (*series.Error)(nil); !errors.As(err, &e) || e.Kind != series.Unavailable || !strings.Contains(e.Text, "ry again") {
		t.Errorf("got %v", err)
	}
	for _, later := range []time.Duration{0, unsortedFor - 1} {
		s.now = func() time.Time { return now.Add(later) }
		if got, _, err := selectAll(t, s, named("up")); err != nil || len(got) != 3 {
			t.Errorf("after %s: got %v, %v", later, got, err)
		}
	}
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "other", "l00", "x")
	if !s.unsorted.has(s.table("", ""), now) || s.unsorted.has(s.table("", "other"), now) || s.unsorted.has(s.table("", ""), now.Add(unsortedFor)) {
		t.Error("the wrong table, or for too long")
	}
}

// TestRowsOfStepsAreShortened, and not for ever.
func TestRowsOfStepsAreShortened(t *testing.T) {
	b := &querytest.Backend{MaxRowBytes: 10}
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", "api")
	sel := named("up")
	sel.LastPerStep = &series.LastPerStep{StepMs: 3_600_000}
	_, _, err := selectAll(t, newStore(t, testConfig(), b), sel)
	if e := (*series.Error)(nil); !errors.As(err, &e) || e.Kind != series.TooLarge {
		t.Errorf("got %v", err)
	}
	if n := len(b.Statements()); n > 50 {
		t.Errorf("%d statements", n)
	}
}

func TestTableMadeAnewHasOtherColumns(t *testing.T) {
	b := &querytest.Backend{}
	s := newStore(t, testConfig(), b)
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", "api", "zone", "a")
	expect(t, s, named("up"), `{__name__="up", job="api", zone="a"} 0=1`)
	b.DropTable(testDB, testTable)
	write(t, b, querytest.Budget(nil), at(t0, 2), "__name__", "up", "job", "api")
	expect(t, s, named("up"), `{__name__="up", job="api"} 0=2`)
}

func TestRegularExpressionThatTheServiceRefuses(t *testing.T) {
	b := &querytest.Backend{}
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", "api")
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", "web")
	b.Before = func(statement string) error {
		if strings.Contains(statement, "regexp_like") {
			return querytest.Validation("Invalid regular expression")
		}
		return nil
	}
	expect(t, newStore(t, testConfig(), b), named("up", labels.MustNewMatcher(labels.MatchRegexp, "job", "a[pq]i")), `{__name__="up", job="api"} 0=1`)
}

// TestConnectorsTable: what awslabs' connector writes has no column of our layout.
func TestConnectorsTable(t *testing.T) {
	b := &querytest.Backend{}
	for i, host := range []string{"a", "b"} {
		b.Write(testDB, testTable, querytest.Record{
			Measure: "prometheus_http_requests_total", TimeNs: (t0 + int64(i)) * 1e6,
			Dimensions: []promschema.Dimension{{Name: "instance", Value: host}, {Name: "job", Value: "prometheus"}},
			Values:     map[string]any{"measure_value::double": 0.000001},
		})
	}
	expect(t, newStore(t, testConfig(), b), named("prometheus_http_requests_total", labels.MustNewMatcher(labels.MatchRegexp, "instance", ".*")),
		`{__name__="prometheus_http_requests_total", instance="a", job="prometheus"} 0=1e-06`,
		`{__name__="prometheus_http_requests_total", instance="b", job="prometheus"} 1=1e-06`)
}

func TestBoundsAreWholeMilliseconds(t *testing.T) {
	b := &querytest.Backend{}
	for i, ns := range []int64{t0*1e6 - 1, t0 * 1e6, t0*1e6 + 999_999, (t0+10)*1e6 + 999_999, (t0 + 11) * 1e6} {
		b.Write(testDB, testTable, querytest.Record{Measure: "up", TimeNs: ns, Values: map[string]any{"measure_value::double": float64(i)},
			Dimensions: []promschema.Dimension{{Name: "i", Value: fmt.Sprint(i)}}})
	}
	sel := named("up")
	sel.StartMs, sel.EndMs = t0, t0+10
	expect(t, newStore(t, testConfig(), b), sel, `{__name__="up", i="1"} 0=1`, `{__name__="up", i="2"} 0=2`, `{__name__="up", i="3"} 10=3`)
}

func TestRangesWithoutTime(t *testing.T) {
	b := &querytest.Backend{}
	s := newStore(t, testConfig(), b) // the table does not even exist
	for _, r := range [][2]int64{{10, 9}, {math.MinInt64, -1}, {math.MaxInt64, math.MaxInt64}} {
		sel := named("up")
		sel.StartMs, sel.EndMs = r[0], r[1]
		expect(t, s, sel)
	}
	if n := len(b.Statements()); n != 0 {
		t.Errorf("%d statements", n)
	}
}

func TestErrorsTellTheCaller(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault error
		sel   func(*series.Selection)
		kind  series.Kind
		text  []string
		lacks string
	}{
		{name: "configured table does not exist", sel: func(*series.Selection) {}, kind: series.Unavailable, text: []string{"db.metrics", "--default-database", "--default-table", "--region"}},
		{name: "named table does not exist", sel: func(s *series.Selection) { s.Table = "other" }, kind: series.NotFound, text: []string{"db.other"}},
		{name: "named database does not exist", sel: func(s *series.Selection) { s.Database = "nope" }, kind: series.NotFound, text: []string{"nope.metrics"}},
		{name: "throttled", fault: &types.ThrottlingException{}, kind: series.Unavailable, text: []string{"throttles", "--max-retries"}},
		{name: "away", fault: &types.InternalServerException{}, kind: series.Unavailable, text: []string{"did not answer"}},
		{name: "denied", fault: &types.AccessDeniedException{Message: aws.String("User: arn:aws:iam::123456789012:user/bob is not authorized")}, kind: series.Unavailable, text: []string{"timestream:Select"}, lacks: "bob"},
		{name: "too much work", fault: querytest.Validation("MaxQueryTCU exceeded"), kind: series.TooLarge, text: []string{"MaxQueryTCU"}},
		{name: "our statement is wrong", fault: querytest.Validation("line 1:1: mismatched input 'x'"), kind: series.Internal, text: []string{"bug", "mismatched input"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &querytest.Backend{}
			if tt.fault != nil {
				b.CreateTable(testDB, testTable)
				b.Before = func(string) error { return tt.fault }
			} else {
				b.CreateTable(testDB, "another")
			}
			sel := named("up")
			if tt.sel != nil {
				tt.sel(&sel)
			}
			s := newStore(t, testConfig(), b)
			_, _, err := selectAll(t, s, sel)
			var e *series.Error
			if !errors.As(err, &e) || e.Kind != tt.kind {
				t.Fatalf("got %v, want kind %d", err, tt.kind)
			}
			for _, text := range tt.text {
				if !strings.Contains(e.Error(), text) {
					t.Errorf("%q lacks %q", e.Error(), text)
				}
			}
			if tt.lacks != "" && strings.Contains(e.Error(), tt.lacks) {
				t.Errorf("%q shows %q", e.Error(), tt.lacks)
			}
		})
	}
}

func TestNewerLayoutIsRefused(t *testing.T) {
	b := &querytest.Backend{}
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", "api")
	b.Write(testDB, testTable, querytest.Record{Measure: "__tributary_2_s_00", TimeNs: time.Now().UnixNano(), Values: map[string]any{"v": 1.0}})
	for _, deny := range []bool{false, true} {
		b.Before = func(statement string) error {
			if deny && strings.HasPrefix(statement, "SHOW") {
				return &types.AccessDeniedException{}
			}
			return nil
		}
		_, _, err := selectAll(t, newStore(t, testConfig(), b), named("up"))
		if e := (*series.Error)(nil); !errors.As(err, &e) || e.Kind != series.Unsupported || !errors.Is(err, promschema.ErrNewerLayout) {
			t.Errorf("listing denied %v: got %v", deny, err)
		}
	}
}

// What cannot be read is left out, counted and said; the rest is given.
func TestDamageIsSaid(t *testing.T) {
	b := &querytest.Backend{}
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", "a")
	h := &prompb.Histogram{Count: &prompb.Histogram_CountFloat{CountFloat: 1}}
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		h.PositiveCounts = append(h.PositiveCounts, r.Float64())
	}
	h.PositiveSpans = []prompb.BucketSpan{{Length: 300}}
	up := labels.FromStrings("__name__", "up", "job", "a")
	records, err := querytest.HistogramRecords(promschema.NewHistogramEncoder(), up, []series.Histogram{{T: t0 + 1, H: h}, {T: t0 + 2, H: h}, {T: t0 + 3, H: &prompb.Histogram{}}}, querytest.Budget(nil))
	if err != nil || len(records) != 5 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	records[4].Values[promschema.HistogramAttribute] = "h1:A"
	damaged := querytest.Record{Measure: "up", TimeNs: t0 * 1e6, Values: map[string]any{"measure_value::double": 1.0}, Dimensions: []promschema.Dimension{{Name: promschema.PackedDimension(0), Value: "{"}}}
	b.Write(testDB, testTable, append(records[1:], damaged)...)

	s := newStore(t, testConfig(), b)
	set, err := s.Select(t.Context(), named("up"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if !set.Next() {
		t.Fatal("no series")
	}
	x := set.At()
	samples, histograms := len(x.Samples), slices.Clone(x.Histograms)
	for set.Next() {
		x = set.At()
		samples, histograms = samples+len(x.Samples), append(histograms, x.Histograms...)
	}
	if samples != 1 || len(histograms) != 1 || histograms[0].T != t0+2 {
		t.Errorf("got %d samples, %v", samples, histograms)
	}
	text := strings.Join(set.Warnings(), "\n")
	for _, want := range []string{"1 stored label sets", "1 stored histograms were left out because they cannot be decoded", "1 stored histograms were left out because a record of theirs is missing", "first damage found: "} {
		if !strings.Contains(text, want) {
			t.Errorf("warnings do not say %q:\n%s", want, text)
		}
	}
	for name, c := range map[string]prometheus.Counter{"series": s.undecodable, "incomplete": s.incomplete, "unreadable": s.unreadable} {
		if n := testutil.ToFloat64(c); n != 1 {
			t.Errorf("%s: counted %v", name, n)
		}
	}
}

func TestLimits(t *testing.T) {
	b := &querytest.Backend{PageRows: 1}
	for i := range 10 {
		write(t, b, querytest.Budget(nil), []series.Sample{{T: t0, V: 1}, {T: t0 + 1, V: 2}}, "__name__", "up", "i", fmt.Sprint(i))
	}
	records, err := querytest.HistogramRecords(promschema.NewHistogramEncoder(), labels.FromStrings("__name__", "up", "z", "z"), []series.Histogram{{T: t0, H: &prompb.Histogram{}}}, querytest.Budget(nil))
	if err != nil {
		t.Fatal(err)
	}
	b.Write(testDB, testTable, records...)
	limited := func(max int64, kept bool) series.Selection {
		sel := named("up")
		sel.MaxSamples, sel.Kept = max, kept
		return sel
	}
	if got, _, err := selectAll(t, newStore(t, testConfig(), b), limited(21, true)); err != nil || len(got) != 11 {
		t.Errorf("at the limit: %d series, %v", len(got), err)
	}
	small := testConfig()
	small.MaxBytes = 2000
	for _, tt := range []struct {
		name string
		cfg  Config
		sel  series.Selection
		kind series.Kind
		text string
	}{
		{"samples", testConfig(), limited(20, false), series.TooLarge, "--storage.remote.read-sample-limit"},
		{"bytes that the caller keeps", small, limited(0, true), series.TooLarge, "--query.max-result-bytes"},
	} {
		s := newStore(t, tt.cfg, b)
		_, _, err := selectAll(t, s, tt.sel)
		if e := (*series.Error)(nil); !errors.As(err, &e) || e.Kind != tt.kind || !strings.Contains(e.Text, tt.text) {
			t.Errorf("%s: got %v", tt.name, err)
		}
		if n := s.budget.Held(); n != 0 {
			t.Errorf("%s: %d bytes are still held", tt.name, n)
		}
	}
	// What is not kept does not count.
	expectCount(t, newStore(t, small, b), 11)

	// Packed labels have to be held to be sorted.
	for i := range 10 {
		write(t, b, querytest.Budget{}, at(t0, 1), "__name__", "packed", "i", fmt.Sprint(i))
	}
	_, _, err = selectAll(t, newStore(t, small, b), named("packed"))
	if e := (*series.Error)(nil); !errors.As(err, &e) || e.Kind != series.TooLarge || !strings.Contains(e.Text, "--query.max-result-bytes") {
		t.Errorf("packed labels: got %v", err)
	}
	if len(b.Cancelled()) == 0 {
		t.Error("a query over the limit was not cancelled")
	}

	// Two results at a time: the second is told to come again.
	s := newStore(t, small, b)
	two := limited(0, true)
	two.Matchers = append(two.Matchers, labels.MustNewMatcher(labels.MatchRegexp, "i", "[0-3]"))
	first, err := s.Select(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	if got := collect(t, first); len(got) != 4 || first.Err() != nil {
		t.Fatalf("got %v, %v", got, first.Err())
	}
	_, _, err = selectAll0(t, s, two)
	if e := (*series.Error)(nil); !errors.As(err, &e) || e.Kind != series.Busy || !strings.Contains(e.Text, "--query.max-result-bytes") {
		t.Errorf("got %v", err)
	}
	first.Close()
	got, _, err := selectAll(t, s, two)
	if err != nil || len(got) != 4 {
		t.Errorf("got %v, %v", got, err)
	}
}

// selectAll0 is selectAll while other results are held.
func selectAll0(t *testing.T, s *Store, sel series.Selection) ([]series.Series, series.Stats, error) {
	t.Helper()
	set, err := s.Select(t.Context(), sel)
	if err != nil {
		return nil, series.Stats{}, err
	}
	defer set.Close()
	return collect(t, set), set.Stats(), set.Err()
}

func expectCount(t *testing.T, s *Store, want int) {
	t.Helper()
	got, _, err := selectAll(t, s, named("up"))
	if err != nil || len(got) != want {
		t.Errorf("got %d series, %v; want %d", len(got), err, want)
	}
}

func TestStats(t *testing.T) {
	b := &querytest.Backend{PageRows: 1}
	write(t, b, querytest.Budget(nil), []series.Sample{{T: t0, V: 1}, {T: t0 + 1, V: math.Inf(1)}}, "__name__", "up", "i", "1")
	write(t, b, querytest.Budget{}, []series.Sample{{T: t0, V: 7}}, "__name__", "up", "i", "1")
	s := newStore(t, testConfig(), b)
	got, st, err := selectAll(t, s, named("up"))
	if err != nil || len(got) != 1 || len(got[0].Samples) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}
	if st.Queries != 2 || st.Pages != 3 || st.MeteredBytes != 300 || st.Conflicts != 1 {
		t.Errorf("got %+v", st)
	}
}

func TestContextEnds(t *testing.T) {
	b := &querytest.Backend{}
	write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "i", "1")
	ctx, cancel := context.WithCancel(t.Context())
	b.Before = func(statement string) error {
		if strings.HasPrefix(statement, "SELECT") {
			cancel()
			return ctx.Err()
		}
		return nil
	}
	if _, err := newStore(t, testConfig(), b).Select(ctx, named("up")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestCatalogueMaxAge: the flag's trade-off is what its help says.
func TestCatalogueMaxAge(t *testing.T) {
	for _, age := range []time.Duration{0, time.Hour} {
		b := &querytest.Backend{}
		write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", "api")
		cfg := testConfig()
		cfg.CatalogueMaxAge = age
		s := newStore(t, cfg, b)
		expectCount(t, s, 1)
		b.Statements()
		expectCount(t, s, 1)
		described := slices.ContainsFunc(b.Statements(), func(s string) bool { return strings.HasPrefix(s, "DESCRIBE") })
		if described != (age == 0) {
			t.Errorf("max age %s: DESCRIBE %v", age, described)
		}
	}
}
