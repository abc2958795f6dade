// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tributary-project/tributary/timestream/promschema"

	"github.com/tributary-project/tributary/services/query/internal/plan"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// free is a meter without a bound.
type free struct{ samples, bytes int64 }

func (f *free) Take(samples, bytes int64) error {
	f.samples, f.bytes = f.samples+samples, f.bytes+bytes
	return nil
}

func scalar(s string) types.Datum { return types.Datum{ScalarValue: aws.String(s)} }

func null() types.Datum { return types.Datum{NullValue: aws.Bool(true)} }

func points(tv ...string) types.Datum {
	d := types.Datum{}
	for i := 0; i < len(tv); i += 2 {
		v := scalar(tv[i+1])
		d.TimeSeriesValue = append(d.TimeSeriesValue, types.TimeSeriesDataPoint{Time: aws.String(tv[i]), Value: &v})
	}
	return d
}

func rowOf(d ...types.Datum) types.Row { return types.Row{Data: d} }

func plainStatement() plan.Statement {
	return plan.Statement{Kind: plan.Plain, Measure: "up", Outputs: []plan.Output{{Role: plan.Dimension, Name: "job"}, {Role: plan.Dimension, Name: promschema.PackedDimension(0)}, {Role: plan.Samples}}}
}

func extensionStatement() plan.Statement {
	return plan.Statement{Kind: plan.Extension, Measure: promschema.SampleFamily.Measure("up"), Outputs: []plan.Output{
		{Role: plan.Dimension, Name: promschema.NameDimension}, {Role: plan.Dimension, Name: "job"}, {Role: plan.Time}, {Role: plan.Value}, {Role: plan.Bits}}}
}

func selection() series.Selection {
	return series.Selection{Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "up")}, StartMs: 0, EndMs: 1 << 42}
}

func bits(v float64) string { return strconv.FormatInt(int64(math.Float64bits(v)), 10) }

func TestCollectorsMergeIntoOneSeries(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	plain := NewCollector(plainStatement(), selection(), promschema.NewHistogramDecoder(), &free{})
	err := plain.Add([]types.Row{
		// Two rows of one series, the second one first; the same label once as a column and once packed.
		rowOf(scalar("api"), null(), points("1970-01-01 00:00:02.000000000", "2.0", "1970-01-01 00:00:03.000999999", "3.0")),
		rowOf(scalar("api"), null(), points("1970-01-01 00:00:01.000000000", "1.0")),
		rowOf(null(), scalar(`{"job":"api"}`), points("1970-01-01 00:00:02.000000000", "2.0", "1970-01-01 00:00:03.000000000", "3.5", "1970-01-01 00:00:05.000000000", "5.0")),
		rowOf(null(), null(), points("1970-01-01 00:00:01.000000000", "7.0")),
		rowOf(scalar("empty"), null(), null()),
	})
	if err != nil {
		t.Fatal(err)
	}
	ext := NewCollector(extensionStatement(), selection(), promschema.NewHistogramDecoder(), &free{})
	err = ext.Add([]types.Row{
		rowOf(scalar("up"), scalar("api"), scalar("1970-01-01 00:00:04.000000000"), null(), scalar(bits(stale))),
		rowOf(scalar("up"), scalar("api"), scalar("1970-01-01 00:00:05.000000000"), null(), scalar(bits(stale))),
		rowOf(scalar("up"), scalar("api"), scalar("1970-01-01 00:00:01.000000000"), scalar("1.0"), null()),
		rowOf(scalar("up"), scalar("api"), scalar("1970-01-01 00:00:00.500000000"), null(), scalar(bits(math.Copysign(0, -1)))),
		rowOf(scalar("down"), scalar("api"), scalar("1970-01-01 00:00:01.000000000"), scalar("1.0"), null()),
		rowOf(scalar("up"), scalar("api"), scalar("1970-01-01 00:00:06.000000000"), null(), null()),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := Merge(plain, ext)
	lines := []string{}
	for _, s := range got.Series {
		line := s.Labels.String()
		for _, p := range s.Samples {
			line += fmt.Sprintf(" %d=%x", p.T, math.Float64bits(p.V))
		}
		lines = append(lines, line)
	}
	want := []string{
		fmt.Sprintf(`{__name__="up"} 1000=%x`, math.Float64bits(7)),
		fmt.Sprintf(`{__name__="up", job="api"} 500=8000000000000000 1000=%x 2000=%x 3000=%x 4000=%x 5000=%x`,
			math.Float64bits(1), math.Float64bits(2), math.Float64bits(3), value.StaleNaN, math.Float64bits(5)),
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if got.Samples != 7 || got.Conflicts != 2 { // 3.0 against 3.5, and 5.0 against a stale marker
		t.Errorf("got %d samples and %d conflicts, want 7 and 2", got.Samples, got.Conflicts)
	}
}

func TestConflictsDoNotDependOnTheOrderOfRows(t *testing.T) {
	nan := func(payload uint64) float64 { return math.Float64frombits(0x7ff8000000000000 | payload) }
	values := []float64{math.Inf(1), nan(2), nan(1), 4, 3, math.Float64frombits(value.StaleNaN)}
	for shift := range values {
		c := NewCollector(extensionStatement(), selection(), promschema.NewHistogramDecoder(), &free{})
		for i := range values {
			v := values[(i+shift)%len(values)]
			if err := c.Add([]types.Row{rowOf(scalar("up"), null(), scalar("1970-01-01 00:00:01.000000000"), null(), scalar(bits(v)))}); err != nil {
				t.Fatal(err)
			}
		}
		r := Merge(c)
		if len(r.Series) != 1 || len(r.Series[0].Samples) != 1 || r.Series[0].Samples[0].V != 3 || r.Conflicts != 5 {
			t.Errorf("shift %d: got %+v", shift, r)
		}
	}
}

func TestMergeKeepsTheEarlierCollectorsValue(t *testing.T) {
	one := func(v string) *Collector {
		c := NewCollector(plainStatement(), selection(), promschema.NewHistogramDecoder(), &free{})
		if err := c.Add([]types.Row{rowOf(scalar("x"), null(), points("1970-01-01 00:00:01.000000000", v))}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, tt := range []struct {
		first, second string
		want          float64
	}{{"2.0", "1.0", 2}, {"1.0", "2.0", 1}, {"Infinity", "1.0", 1}, {"1.0", "NaN", 1}} {
		r := Merge(one(tt.first), one(tt.second))
		if got := r.Series[0].Samples[0].V; got != tt.want || r.Conflicts != 1 {
			t.Errorf("%s then %s: got %v and %d conflicts", tt.first, tt.second, got, r.Conflicts)
		}
	}
}

func TestCollectorRefuses(t *testing.T) {
	rest := plainStatement()
	rest.Outputs[1] = plan.Output{Role: plan.Rest}
	for _, tt := range []struct {
		name      string
		statement plan.Statement
		row       types.Row
		want      string
	}{
		{"too few columns", plainStatement(), rowOf(null()), "a row of 1 columns"},
		{"no time", plainStatement(), rowOf(null(), null(), types.Datum{TimeSeriesValue: []types.TimeSeriesDataPoint{{}}}), "no time"},
		{"bad time", plainStatement(), rowOf(null(), null(), points("yesterday", "1.0")), "yesterday"},
		{"bad double", plainStatement(), rowOf(null(), null(), points("1970-01-01 00:00:01.000000000", "one")), "one"},
		{"bad bits", extensionStatement(), rowOf(scalar("up"), null(), scalar("1970-01-01 00:00:01.000000000"), null(), scalar("x")), "__tributary_bits"},
		{"a label beyond", rest, rowOf(null(), scalar("true"), null()), ErrRest.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := NewCollector(tt.statement, selection(), promschema.NewHistogramDecoder(), &free{}).Add([]types.Row{tt.row})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if err := NewCollector(rest, selection(), promschema.NewHistogramDecoder(), &free{}).Add([]types.Row{rowOf(null(), scalar("false"), points("1970-01-01 00:00:01.000000000", "1.0"))}); err != nil {
		t.Error(err)
	}
}

func TestDamagedLabelsAreCounted(t *testing.T) {
	c := NewCollector(plainStatement(), selection(), promschema.NewHistogramDecoder(), &free{})
	damaged := rowOf(null(), scalar(`{"job":`), points("1970-01-01 00:00:01.000000000", "1.0"))
	if err := c.Add([]types.Row{damaged, damaged, rowOf(scalar("ok"), null(), points("1970-01-01 00:00:01.000000000", "1.0"))}); err != nil {
		t.Fatal(err)
	}
	d := c.Damage()
	if r := Merge(c); d.Labels != 1 || d.Example == nil || d.Histograms+d.Incomplete != 0 || len(r.Series) != 1 {
		t.Errorf("got %+v and %d series, want one label set damaged and one series", d, len(r.Series))
	}
}

// refusing refuses after a number of samples.
type refusing struct{ left int64 }

var errRefused = errors.New("refused")

func (r *refusing) Take(samples, _ int64) error {
	if r.left -= samples; r.left < 0 {
		return errRefused
	}
	return nil
}

func TestMeterIsAskedBeforeSamplesAreHeld(t *testing.T) {
	c := NewCollector(plainStatement(), selection(), promschema.NewHistogramDecoder(), &refusing{left: 1})
	err := c.Add([]types.Row{rowOf(scalar("x"), null(), points("1970-01-01 00:00:01.000000000", "1.0", "1970-01-01 00:00:02.000000000", "1.0"))})
	if !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
}

func TestMillis(t *testing.T) {
	var c clock
	for _, tt := range []struct {
		give string
		want int64
		bad  bool
	}{
		{give: "1970-01-01 00:00:00.000000000", want: 0},
		{give: "2020-08-08 01:00:00.123999999", want: 1596848400123},
		{give: "2020-08-08 01:00:00.123", want: 1596848400123},
		{give: "2020-08-08 01:00:00.1", want: 1596848400100},
		{give: "2020-08-08 01:00:00", want: 1596848400000},
		{give: "2262-04-11 23:47:16.854775807", want: 9223372036854},
		{give: "2024-02-29 23:59:59.999999999", want: 1709251199999},
		{give: "2023-02-29 00:00:00.000000000", bad: true},
		{give: "2020-08-08T01:00:00.000000000", bad: true},
		{give: "2020-08-08 01:00:00.", bad: true},
		{give: "2020-08-08 01:00:00.0000000000", bad: true},
		{give: "2020-08-08 24:00:00.0", bad: true},
		{give: "2020-08-08 1:00:00.0", bad: true},
		{give: "2020-08-08 01:00:00.00x", bad: true},
		{give: "", bad: true},
	} {
		got, err := c.millis(tt.give)
		if (err != nil) != tt.bad || got != tt.want {
			t.Errorf("%q: got %d, %v; want %d", tt.give, got, err, tt.want)
		}
	}
}

func FuzzMillis(f *testing.F) {
	for _, s := range []string{"1970-01-01 00:00:00.000000000", "2262-04-11 23:47:16.854775807", "2020-02-29 01:02:03.4", "x", "2020-08-08 01:00:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var c clock
		got, err := c.millis(s)
		want, timeErr := time.Parse("2006-01-02 15:04:05.999999999", s)
		if err == nil && (timeErr != nil || got != want.UnixMilli()) {
			t.Errorf("%q: got %d, want %v %v", s, got, want, timeErr)
		}
		if again, _ := c.millis(s); err == nil && again != got { //nolint:errcheck // compared by value
			t.Errorf("%q: %d, then %d", s, got, again)
		}
	})
}

func TestDouble(t *testing.T) {
	for give, want := range map[string]float64{
		"1.0": 1, "1.6554878837710001E9": 1655487883.7710001, "-0.0": math.Copysign(0, -1), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1),
		"4.9E-324": 5e-324, "1.7976931348623157E308": math.MaxFloat64, "NaN": math.NaN(),
	} {
		got, err := double(give)
		if err != nil || math.Float64bits(got) != math.Float64bits(want) {
			t.Errorf("%s: got %v, %v", give, got, err)
		}
	}
	for _, give := range []string{"", "x", "1.0.0", "1e400"} {
		if v, err := double(give); err == nil {
			t.Errorf("%q: got %v", give, v)
		}
	}
}

func FuzzDouble(f *testing.F) {
	for _, v := range []float64{0, 1, -1.5, math.MaxFloat64, 5e-324, math.Inf(1), math.NaN(), 0.1} {
		f.Add(math.Float64bits(v))
	}
	f.Fuzz(func(t *testing.T, b uint64) {
		v := math.Float64frombits(b)
		if math.IsNaN(v) {
			return // one text for all of them
		}
		for _, text := range []string{strconv.FormatFloat(v, 'E', -1, 64), strconv.FormatFloat(v, 'f', -1, 64)} {
			got, err := double(strings.Replace(text, "Inf", "Infinity", 1))
			if err != nil || math.Float64bits(got) != b {
				t.Errorf("%s: got %v, %v", text, got, err)
			}
		}
	})
}

// page is a result page as the SDK gives it: grouped series.
func page(nSeries, nSamples int) []types.Row {
	rows := make([]types.Row, nSeries)
	start := time.Unix(1_700_000_000, 0).UTC()
	for i := range rows {
		d := types.Datum{TimeSeriesValue: make([]types.TimeSeriesDataPoint, nSamples)}
		for j := range d.TimeSeriesValue {
			v := scalar(strconv.FormatFloat(float64(i*j)*1.25, 'f', 2, 64))
			d.TimeSeriesValue[j] = types.TimeSeriesDataPoint{Time: aws.String(start.Add(time.Duration(j) * 15 * time.Second).Format("2006-01-02 15:04:05.000000000")), Value: &v}
		}
		rows[i] = rowOf(scalar("api"), scalar(fmt.Sprintf("host-%d:9100", i)), scalar("production"), scalar("eu-west-1"), null(), null(), null(), null(), d)
	}
	return rows
}

func BenchmarkDecode(b *testing.B) {
	const nSeries, nSamples = 1000, 240
	rows := page(nSeries, nSamples)
	st := plan.Statement{Measure: "up", Outputs: []plan.Output{
		{Name: "job"}, {Name: "instance"}, {Name: "env"}, {Name: "region"}, {Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Role: plan.Samples}}}
	b.ReportAllocs()
	for b.Loop() {
		c := NewCollector(st, selection(), promschema.NewHistogramDecoder(), &free{})
		if err := c.Add(rows); err != nil {
			b.Fatal(err)
		}
		if r := Merge(c); r.Samples != nSeries*nSamples {
			b.Fatalf("%d samples", r.Samples)
		}
	}
	b.ReportMetric(float64(b.N)*nSeries*nSamples/b.Elapsed().Seconds(), "samples/s")
}
