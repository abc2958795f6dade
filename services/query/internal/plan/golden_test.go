// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tssql"

	"github.com/tributary-project/tributary/services/query/internal/catalogue"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func match(t labels.MatchType, name, value string) *labels.Matcher {
	return labels.MustNewMatcher(t, name, value)
}

// plainColumns are those of a table that the awslabs connector wrote.
func plainColumns() *catalogue.Columns {
	return catalogue.NewColumns([]string{"job", "instance"}, []string{valueColumn})
}

// allColumns are those of a table with everything that the layout has.
func allColumns() *catalogue.Columns {
	return catalogue.NewColumns(
		[]string{"job", "instance", promschema.NameDimension, promschema.PackedDimension(0), promschema.PackedDimension(1), promschema.NoLabelsDimension},
		[]string{valueColumn, promschema.ValueAttribute, promschema.BitsAttribute, promschema.KindAttribute})
}

// histogramColumns are those of a table that has histograms, of one record each, and all other kinds of extension.
func histogramColumns() *catalogue.Columns {
	return catalogue.NewColumns(
		[]string{"job", promschema.NameDimension},
		[]string{
			valueColumn, promschema.BitsAttribute, promschema.KindAttribute, promschema.HistogramAttribute, promschema.CountAttribute, promschema.SumAttribute,
			promschema.SchemaAttribute, promschema.StartAttribute, promschema.ExemplarAttribute, promschema.TypeAttribute, promschema.HelpAttribute, promschema.UnitAttribute,
		})
}

// continuedColumns are those of a table that has histograms of up to three records.
func continuedColumns() *catalogue.Columns {
	return catalogue.NewColumns(
		[]string{"job", promschema.NameDimension},
		[]string{promschema.ValueAttribute, promschema.HistogramAttribute, promschema.HistogramAttribute2, promschema.HistogramAttribute3})
}

// otherColumns are those of a table that has extensions, but none that are samples.
func otherColumns() *catalogue.Columns {
	return catalogue.NewColumns([]string{"job", promschema.NameDimension}, []string{valueColumn, promschema.TypeAttribute, promschema.HelpAttribute, promschema.StartAttribute})
}

func wideColumns() *catalogue.Columns {
	dims := []string{"job", "instance"}
	for i := range 20 {
		dims = append(dims, fmt.Sprintf("label_%02d", i))
	}
	return catalogue.NewColumns(dims, []string{valueColumn})
}

func knownMeasures() *catalogue.Measures {
	return catalogue.NewMeasures([]catalogue.Measure{
		{Name: "up", Double: true, Dimensions: []string{"job", "instance"}},
		{Name: "node_cpu", Double: true, Dimensions: []string{"job"}},
		{Name: "node_mem", Double: true, Dimensions: []string{"job"}},
		{Name: "job--rate", Double: true, Dimensions: []string{"job"}},
		{Name: "text", Dimensions: []string{"job"}},
		{Name: promschema.SampleFamily.Measure("node_cpu"), Dimensions: []string{"job", promschema.NameDimension}},
		{Name: promschema.SampleFamily3.Measure("node_cpu"), Dimensions: []string{"job", promschema.NameDimension}},
		{Name: promschema.ExemplarFamily.Measure("node_cpu"), Dimensions: []string{"job", promschema.NameDimension}},
		{Name: promschema.MetadataFamily.Measure("node_cpu"), Dimensions: []string{promschema.NameDimension}},
		{Name: promschema.StartFamily.Measure("node_cpu"), Dimensions: []string{"job", promschema.NameDimension}},
	}, false)
}

func TestGolden(t *testing.T) {
	const (
		eq, ne, re, nre = labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp
		name            = model.MetricNameLabel
	)
	up := match(eq, name, "up")
	in := func(values int) string {
		var b strings.Builder
		for i := range values {
			fmt.Fprintf(&b, "|value-%0100d", i)
		}
		return b.String()[1:]
	}
	for _, tt := range []struct {
		name     string
		columns  *catalogue.Columns
		measures *catalogue.Measures
		matchers []*labels.Matcher
		start    int64
		end      int64
		options  Options
	}{
		{name: "equal", columns: plainColumns(), matchers: []*labels.Matcher{up, match(eq, "job", "api")}},
		{name: "layout", columns: allColumns(), matchers: []*labels.Matcher{up, match(eq, "job", "api")}},
		{name: "empty", columns: plainColumns(), matchers: []*labels.Matcher{up, match(eq, "job", "")}},
		{name: "present", columns: plainColumns(), matchers: []*labels.Matcher{up, match(ne, "job", "")}},
		{name: "not_equal", columns: plainColumns(), matchers: []*labels.Matcher{up, match(ne, "job", "api")}},
		{name: "regex", columns: plainColumns(), matchers: []*labels.Matcher{up, match(re, "job", `a[pq]i-\d+`)}},
		{name: "regex_matching_empty", columns: plainColumns(), matchers: []*labels.Matcher{up, match(re, "job", `(a[pq])?`)}},
		{name: "not_regex", columns: plainColumns(), matchers: []*labels.Matcher{up, match(nre, "job", `a[pq]i-\d+`)}},
		{name: "not_regex_matching_empty", columns: plainColumns(), matchers: []*labels.Matcher{up, match(nre, "job", `(a[pq])?`)}},
		{name: "alternation", columns: plainColumns(), matchers: []*labels.Matcher{up, match(re, "job", "api|web|db")}},
		{name: "alternation_with_empty", columns: plainColumns(), matchers: []*labels.Matcher{up, match(re, "job", "api|")}},
		{name: "not_alternation", columns: plainColumns(), matchers: []*labels.Matcher{up, match(nre, "job", "api|web")}},
		{name: "prefix", columns: plainColumns(), matchers: []*labels.Matcher{up, match(re, "instance", "100%_.*")}},
		{name: "prefix_and_more", columns: plainColumns(), matchers: []*labels.Matcher{up, match(re, "instance", "host-.*:9100")}},
		{name: "anything", columns: plainColumns(), matchers: []*labels.Matcher{up, match(re, "job", ".*"), match(re, "instance", ".+")}},
		{name: "no_common_form", columns: plainColumns(), matchers: []*labels.Matcher{up, match(re, "job", `api\b.*`), match(nre, "instance", `\bx`)}},
		{name: "quoting", columns: catalogue.NewColumns([]string{`semi;colon`}, []string{valueColumn}), matchers: []*labels.Matcher{match(eq, name, "it's"), match(eq, `semi;colon`, "'; DROP TABLE t; --\n\\")}},
		{name: "no_column", columns: plainColumns(), matchers: []*labels.Matcher{up, match(eq, "zone", ""), match(ne, "zone", "x"), match(re, "zone", "x?")}},
		{name: "no_column_nothing", columns: plainColumns(), matchers: []*labels.Matcher{up, match(eq, "zone", "x")}},
		{name: "packed", columns: allColumns(), matchers: []*labels.Matcher{up, match(eq, "job", "api"), match(re, `quo"te`, "a|b"), match(re, "zone", "x.+y"), match(ne, "other", "z")}},
		{name: "colon", columns: allColumns(), matchers: []*labels.Matcher{match(eq, name, "job:rate:sum")}},
		{name: "extension_only_name", columns: allColumns(), matchers: []*labels.Matcher{match(eq, name, "a--b")}},
		{name: "name_alternation", columns: allColumns(), matchers: []*labels.Matcher{match(re, name, "up|node_cpu|a--b")}},
		{name: "name_regex", columns: allColumns(), measures: knownMeasures(), matchers: []*labels.Matcher{match(re, name, "node_.+|job:.*")}},
		{name: "name_regex_unknown_measures", columns: allColumns(), matchers: []*labels.Matcher{match(re, name, "node_.+|job:.*"), match(ne, name, "node_mem")}},
		{name: "name_regex_nothing", columns: allColumns(), measures: knownMeasures(), matchers: []*labels.Matcher{match(re, name, "absent.+")}},
		{name: "name_two_that_disagree", columns: allColumns(), matchers: []*labels.Matcher{up, match(eq, name, "down")}},
		{name: "no_name", columns: allColumns(), matchers: []*labels.Matcher{match(eq, "job", "api")}},
		{name: "histograms", columns: histogramColumns(), matchers: []*labels.Matcher{up}},
		{name: "histograms_continued", columns: continuedColumns(), matchers: []*labels.Matcher{up}},
		{name: "histograms_continued_name_regex", columns: continuedColumns(), measures: knownMeasures(), matchers: []*labels.Matcher{match(re, name, "node_.+")}},
		{name: "extensions_without_samples", columns: otherColumns(), matchers: []*labels.Matcher{up}},
		{name: "wide_table_narrowed", columns: wideColumns(), measures: knownMeasures(), matchers: []*labels.Matcher{up}},
		{name: "wide_table_all_columns", columns: wideColumns(), measures: knownMeasures(), matchers: []*labels.Matcher{up}, options: Options{AllColumns: true}},
		{name: "long_range", columns: plainColumns(), matchers: []*labels.Matcher{up}, start: 1_700_000_000_000, end: 1_700_086_400_000},
		{name: "long_range_short_rows", columns: plainColumns(), matchers: []*labels.Matcher{up}, start: 1_700_000_000_000, end: 1_700_086_400_000, options: Options{Bin: 450 * time.Second}},
		{name: "all_time", columns: plainColumns(), matchers: []*labels.Matcher{up}, start: math.MinInt64, end: math.MaxInt64},
		{name: "no_regexp", columns: plainColumns(), matchers: []*labels.Matcher{up, match(re, "job", "ap[ij]"), match(re, "instance", "a[bc]d")}, options: Options{NoRegexp: true}},
		{name: "empty_table", columns: catalogue.NewColumns(nil, nil), matchers: []*labels.Matcher{up}},
		{name: "too_many_values", columns: allColumns(), matchers: []*labels.Matcher{up, match(re, "job", in(250)), match(re, "instance", in(250)), match(re, "a", in(250)), match(re, "b", in(250)), match(re, "c", in(250))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.end == 0 {
				tt.start, tt.end = 1_700_000_000_000, 1_700_000_300_000
			}
			got, err := Build(Facts{Table: tssql.Table{Database: "db", Name: "metrics"}, Columns: tt.columns, Measures: tt.measures},
				series.Selection{Matchers: tt.matchers, StartMs: tt.start, EndMs: tt.end}, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, m := range tt.matchers {
				fmt.Fprintf(&b, "-- %.120q\n", m)
			}
			if len(got) == 0 {
				b.WriteString("-- nothing can match\n")
			}
			for _, s := range got {
				if len(s.Text) > timestream.MaxQueryBytes {
					t.Errorf("a statement of %d bytes", len(s.Text))
				}
				if _, err := tssql.Parse(s.Text); err != nil {
					t.Errorf("the statement cannot be read: %v", err)
				}
				sql := s.Text
				if len(sql) > 20_000 {
					sql = sql[:600] + fmt.Sprintf("\n… %d bytes in all", len(sql))
				}
				fmt.Fprintf(&b, "\n-- %s\n%s\n", s.Kind, sql)
			}
			file := filepath.Join("testdata", tt.name+".sql")
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got\n%s\nwant (-update rewrites it)\n%s", b.String(), want)
			}
		})
	}
}

func TestFitWeakensTheLongestCondition(t *testing.T) {
	sel := &tssql.Select{Items: []tssql.Item{{Expr: column("a")}}, From: &tssql.TableRef{Table: tssql.Table{Name: "t"}}}
	d := &draft{Statement: Statement{Query: &tssql.Query{Body: sel}}, sel: sel, conditions: []*condition{
		fixed(binary("=", column("keep"), text("x"))),
		{forms: []tssql.Expr{binary("=", column("long"), text(strings.Repeat("y", 200))), binary("<>", column("long"), text("")), nil}},
		{forms: []tssql.Expr{binary("=", column("short"), text("z")), nil}},
	}}
	for _, tt := range []struct {
		limit int
		want  string
	}{
		{1000, `"keep" = 'x' AND "long" = '` + strings.Repeat("y", 200) + `' AND "short" = 'z'`},
		{100, `"keep" = 'x' AND "long" <> '' AND "short" = 'z'`},
		{68, `"keep" = 'x' AND "long" <> ''`},
		{50, `"keep" = 'x'`},
	} {
		if err := d.fit(tt.limit); err != nil {
			t.Fatal(err)
		}
		if _, where, _ := strings.Cut(d.Text, "WHERE "); where != tt.want {
			t.Errorf("at most %d bytes: got %s, want %s", tt.limit, where, tt.want)
		}
	}
	if err := d.fit(10); !errors.Is(err, ErrTooLong) {
		t.Errorf("got %v, want ErrTooLong", err)
	}
}

func TestHalve(t *testing.T) {
	steps := 0
	for d, ok := DefaultBin, true; ; steps++ {
		if d%time.Second != 0 {
			t.Fatalf("%s is no whole number of seconds", d)
		}
		shorter, more := Halve(d)
		if !more {
			if d != MinBin {
				t.Errorf("ends at %s", d)
			}
			break
		}
		if shorter >= d || !ok {
			t.Fatalf("%s after %s", shorter, d)
		}
		d = shorter
	}
	if steps > 13 {
		t.Errorf("%d steps", steps)
	}
}

func BenchmarkBuild(b *testing.B) {
	f := Facts{Table: tssql.Table{Database: "db", Name: "metrics"}, Columns: wideColumns(), Measures: knownMeasures()}
	sel := series.Selection{Matchers: []*labels.Matcher{
		match(labels.MatchEqual, model.MetricNameLabel, "up"), match(labels.MatchRegexp, "job", "a|b|c"), match(labels.MatchRegexp, "instance", "host-[0-9]+:9100"),
	}, StartMs: 1_700_000_000_000, EndMs: 1_700_003_600_000}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(f, sel, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
