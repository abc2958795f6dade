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
	"github.com/tributary-project/tributary/timestream/result"

	"github.com/tributary-project/tributary/services/query/internal/plan"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// free is a meter without a bound.
type free struct{ bytes int64 }

func (f *free) Take(bytes int64) error {
	f.bytes += bytes
	return nil
}

// collector reads the rows of one statement and keeps what the reader gives out.
type collector struct {
	*Reader
	held   Held
	pieces []*Piece
	ended  bool
}

func (c *collector) Begin(held []*Piece) error { c.held = held; return nil }
func (c *collector) Piece(p *Piece) error      { c.pieces = append(c.pieces, p); return nil }

func newCollector(st plan.Statement, sel series.Selection, m Meter) *collector {
	c := &collector{}
	c.Reader = NewReader(Config{Statement: st, Selection: sel, Decoder: promschema.NewHistogramDecoder(), Meter: m, Sink: c})
	return c
}

// Add takes rows as the SDK has them.
func (c *collector) Add(all []types.Row) error {
	for _, r := range all {
		row := make(result.Row, len(r.Data))
		for i, d := range r.Data {
			row[i] = cell(d)
		}
		if err := c.Row(row); err != nil {
			return err
		}
	}
	return nil
}

func cell(d types.Datum) result.Cell {
	var c result.Cell
	switch {
	case d.ScalarValue != nil:
		c.Text = []byte(*d.ScalarValue)
	case d.TimeSeriesValue != nil:
		for _, p := range d.TimeSeriesValue {
			t, err := new(result.Clock).Millis([]byte(*p.Time))
			if err != nil {
				panic(err)
			}
			v, err := result.Double([]byte(*p.Value.ScalarValue))
			if err != nil {
				panic(err)
			}
			c.Points = append(c.Points, result.Point{T: t, V: v})
		}
	default:
		c.Null = true
	}
	return c
}

// outcome is what collectors found, together.
type outcome struct {
	Series             []series.Series
	Samples, Conflicts int64
}

// merge puts together what collectors found.
func merge(t testing.TB, cs ...*collector) outcome {
	t.Helper()
	var out outcome
	var sources []Source
	for _, c := range cs {
		if !c.ended {
			c.ended = true
			if err := c.End(); err != nil {
				t.Fatal(err)
			}
		}
		out.Conflicts += c.Conflicts()
		direct := Held(c.pieces)
		sources = append(sources, &c.held, &direct)
	}
	m := NewMerger(sources, nil)
	for m.Next() {
		x := m.At()
		if !x.Continued {
			out.Series = append(out.Series, series.Series{Labels: x.Labels})
		}
		of := &out.Series[len(out.Series)-1]
		of.Samples = append(of.Samples, x.Samples...)
		of.Histograms = append(of.Histograms, x.Histograms...)
		of.Starts = append(of.Starts, x.Starts...)
		out.Samples += int64(len(x.Samples) + len(x.Histograms))
	}
	if m.Err() != nil {
		t.Fatal(m.Err())
	}
	out.Conflicts += m.Conflicts()
	return out
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

func TestStatementsMergeIntoOneSeries(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	plain := newCollector(plainStatement(), selection(), &free{})
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
	ext := newCollector(extensionStatement(), selection(), &free{})
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
	got := merge(t, plain, ext)
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
		c := newCollector(extensionStatement(), selection(), &free{})
		for i := range values {
			v := values[(i+shift)%len(values)]
			if err := c.Add([]types.Row{rowOf(scalar("up"), null(), scalar("1970-01-01 00:00:01.000000000"), null(), scalar(bits(v)))}); err != nil {
				t.Fatal(err)
			}
		}
		r := merge(t, c)
		if len(r.Series) != 1 || len(r.Series[0].Samples) != 1 || r.Series[0].Samples[0].V != 3 || r.Conflicts != 5 {
			t.Errorf("shift %d: got %+v", shift, r)
		}
	}
}

func TestConflictsOfEqualRank(t *testing.T) {
	one := func(v string) *collector {
		c := newCollector(plainStatement(), selection(), &free{})
		if err := c.Add([]types.Row{rowOf(scalar("x"), null(), points("1970-01-01 00:00:01.000000000", v))}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, tt := range []struct {
		first, second string
		want          float64
	}{{"2.0", "1.0", 1}, {"1.0", "2.0", 1}, {"Infinity", "1.0", 1}, {"1.0", "NaN", 1}} {
		r := merge(t, one(tt.first), one(tt.second))
		if got := r.Series[0].Samples[0].V; got != tt.want || r.Conflicts != 1 {
			t.Errorf("%s then %s: got %v and %d conflicts", tt.first, tt.second, got, r.Conflicts)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	rest := plainStatement()
	rest.Outputs[1] = plan.Output{Role: plan.Rest}
	for _, tt := range []struct {
		name      string
		statement plan.Statement
		row       types.Row
		want      string
	}{
		{"too few columns", plainStatement(), rowOf(null()), "a row of 1 columns"},
		{"bad time", extensionStatement(), rowOf(scalar("up"), null(), scalar("yesterday"), scalar("1.0"), null()), "yesterday"},
		{"bad double", extensionStatement(), rowOf(scalar("up"), null(), scalar("1970-01-01 00:00:01.000000000"), scalar("one"), null()), "one"},
		{"bad bits", extensionStatement(), rowOf(scalar("up"), null(), scalar("1970-01-01 00:00:01.000000000"), null(), scalar("x")), "__tributary_bits"},
		{"a label beyond", rest, rowOf(null(), scalar("true"), null()), ErrRest.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := newCollector(tt.statement, selection(), &free{}).Add([]types.Row{tt.row})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if err := newCollector(rest, selection(), &free{}).Add([]types.Row{rowOf(null(), scalar("false"), points("1970-01-01 00:00:01.000000000", "1.0"))}); err != nil {
		t.Error(err)
	}
}

func TestDamagedLabelsAreCounted(t *testing.T) {
	c := newCollector(plainStatement(), selection(), &free{})
	damaged := rowOf(null(), scalar(`{"job":`), points("1970-01-01 00:00:01.000000000", "1.0"))
	if err := c.Add([]types.Row{damaged, damaged, rowOf(scalar("ok"), null(), points("1970-01-01 00:00:01.000000000", "1.0"))}); err != nil {
		t.Fatal(err)
	}
	r := merge(t, c)
	if d := c.Damage(); d.Labels != 1 || d.Example == nil || d.Histograms+d.Incomplete != 0 || len(r.Series) != 1 {
		t.Errorf("got %+v and %d series, want one label set damaged and one series", d, len(r.Series))
	}
}

// refusing refuses after a number of bytes.
type refusing struct{ left int64 }

var errRefused = errors.New("refused")

func (r *refusing) Take(bytes int64) error {
	if r.left -= bytes; r.left < 0 {
		return errRefused
	}
	return nil
}

func TestMeterIsAskedBeforeSamplesAreHeld(t *testing.T) {
	c := newCollector(plainStatement(), selection(), &refusing{left: seriesBytes + 2*16})
	err := c.Add([]types.Row{rowOf(scalar("x"), null(), points("1970-01-01 00:00:01.000000000", "1.0", "1970-01-01 00:00:02.000000000", "1.0"))})
	if !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
}

// grouped returns rows of grouped series.
func grouped(nSeries, nSamples int) []result.Row {
	rows := make([]result.Row, nSeries)
	text := func(s string) result.Cell { return result.Cell{Text: []byte(s)} }
	for i := range rows {
		c := result.Cell{}
		for j := range nSamples {
			c.Points = append(c.Points, result.Point{T: 1_700_000_000_000 + int64(j)*15_000, V: float64(i*j) * 1.25})
		}
		none := result.Cell{Null: true}
		rows[i] = result.Row{text("api"), text(fmt.Sprintf("host-%06d:9100", i)), text("production"), text("eu-west-1"), none, none, none, none, c}
	}
	return rows
}

// TestSortedRowsAreGivenOutAtOnce: what is sorted is not held.
func TestSortedRowsAreGivenOutAtOnce(t *testing.T) {
	st := plainStatement()
	st.Sorted, st.Bin = true, time.Hour
	meter := &free{}
	c := newCollector(st, selection(), meter)
	add := func(rows ...types.Row) error { return c.Add(rows) }
	if err := add(rowOf(null(), scalar(`{"job":"b"}`), points("1970-01-01 00:00:02.000000000", "2.5"))); err != nil || meter.bytes == 0 || len(c.pieces) != 0 {
		t.Fatalf("packed labels: %v, %d bytes, %d pieces", err, meter.bytes, len(c.pieces))
	}
	held := meter.bytes
	if err := add(
		rowOf(scalar("a"), null(), points("1970-01-01 00:00:01.000000000", "1.0")),
		rowOf(scalar("a"), null(), points("1970-01-01 00:00:02.000000000", "2.0")),
		rowOf(scalar("b"), null(), points("1970-01-01 00:00:01.000000000", "3.0", "1970-01-01 00:00:02.000000000", "4.0")),
	); err != nil || len(c.pieces) != 3 || len(c.held) != 1 || meter.bytes != held {
		t.Fatalf("%v, %d pieces, %d held, %d bytes", err, len(c.pieces), len(c.held), meter.bytes)
	}
	if place := c.Place(); place.Labels.Get("job") != "b" || place.T != 2000 || !place.Held {
		t.Errorf("place %+v", place)
	}
	for name, row := range map[string]types.Row{
		"an earlier series":   rowOf(scalar("a"), null(), points("1970-01-01 00:00:03.000000000", "1.0")),
		"an earlier sample":   rowOf(scalar("b"), null(), points("1970-01-01 00:00:02.000000000", "1.0")),
		"packed labels later": rowOf(null(), scalar(`{"job":"c"}`), points("1970-01-01 00:00:02.000000000", "2.5")),
	} {
		if err := add(row); !errors.Is(err, ErrUnsorted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got := merge(t, c)
	if len(got.Series) != 2 || len(got.Series[0].Samples) != 2 || fmt.Sprint(got.Series[1].Samples) != "[{1000 3} {2000 2.5}]" || got.Conflicts != 1 {
		t.Errorf("got %v", got)
	}
}

// TestReadingGoesOn: a second reading of the same rows, cut otherwise, begins where the first ended.
func TestReadingGoesOn(t *testing.T) {
	st := plainStatement()
	st.Sorted, st.Bin = true, time.Hour
	all := []types.Row{
		rowOf(null(), scalar(`{"job":"b"}`), points("1970-01-01 00:00:09.000000000", "9.0")),
		rowOf(scalar("a"), null(), points("1970-01-01 00:00:01.000000000", "1.0", "1970-01-01 00:00:02.000000000", "2.0")),
		rowOf(scalar("a"), null(), points("1970-01-01 00:00:03.000000000", "3.0", "1970-01-01 00:00:04.000000000", "4.0")),
		rowOf(scalar("c"), null(), points("1970-01-01 00:00:01.000000000", "5.0")),
	}
	for n := range all {
		first := newCollector(st, selection(), &free{})
		if err := first.Add(all[:n+1]); err != nil {
			t.Fatal(err)
		}
		place := first.Place()
		second := newCollector(st, selection(), &free{})
		second.Reader = NewReader(Config{Statement: st, Selection: selection(), Decoder: promschema.NewHistogramDecoder(), Meter: &free{}, Sink: second, After: &place})
		if err := second.Add(append(all[:1:1],
			rowOf(scalar("a"), null(), points("1970-01-01 00:00:01.000000000", "1.0")),
			rowOf(scalar("a"), null(), points("1970-01-01 00:00:02.000000000", "2.0", "1970-01-01 00:00:03.000000000", "3.0")),
			rowOf(scalar("a"), null(), points("1970-01-01 00:00:04.000000000", "4.0")), all[3])); err != nil {
			t.Fatal(err)
		}
		if place.Held {
			first.ended = true
		} else {
			first.held, first.ended = nil, true
		}
		got := merge(t, first, second)
		if s := fmt.Sprint(got.Series); s != `[{{__name__="up", job="a"} false [{1000 1} {2000 2} {3000 3} {4000 4}] [] []} {{__name__="up", job="b"} false [{9000 9}] [] []} {{__name__="up", job="c"} false [{1000 5}] [] []}]` {
			t.Errorf("after %d rows: got %s", n+1, s)
		}
	}
}

// TestStartTimestamps: each sample has the start that is in force.
func TestStartTimestamps(t *testing.T) {
	st := plan.Statement{Kind: plan.Starts, Sorted: true, Measure: promschema.StartFamily.Measure("up"), Outputs: []plan.Output{
		{Role: plan.Dimension, Name: promschema.NameDimension}, {Role: plan.Dimension, Name: "job"}, {Role: plan.Time}, {Role: plan.Start}}}
	starts := newCollector(st, selection(), &free{})
	at := func(job string, second int, ms string) types.Row {
		return rowOf(scalar("up"), scalar(job), scalar(fmt.Sprintf("1970-01-01 00:00:%02d.000000000", second)), scalar(ms))
	}
	if err := starts.Add([]types.Row{at("a", 2, "1500"), at("a", 4, "0"), at("a", 5, "4500"), at("b", 1, "7"), at("d", 1, "9")}); err != nil {
		t.Fatal(err)
	}
	if err := starts.End(); err != nil {
		t.Fatal(err)
	}
	plain := newCollector(plainStatement(), selection(), &free{})
	five := points("1970-01-01 00:00:01.000000000", "1.0", "1970-01-01 00:00:02.000000000", "2.0", "1970-01-01 00:00:03.000000000", "3.0", "1970-01-01 00:00:04.000000000", "4.0", "1970-01-01 00:00:05.000000000", "5.0")
	if err := plain.Add([]types.Row{rowOf(scalar("a"), null(), five), rowOf(scalar("c"), null(), five), rowOf(scalar("d"), null(), points("1970-01-01 00:00:03.000000000", "3.0"))}); err != nil {
		t.Fatal(err)
	}
	if err := plain.End(); err != nil {
		t.Fatal(err)
	}
	direct := Held(starts.pieces)
	m := NewMerger([]Source{&plain.held}, []Source{&direct})
	var got []string
	for m.Next() {
		got = append(got, fmt.Sprint(m.At().Labels.Get("job"), m.At().Starts))
	}
	if s := strings.Join(got, " "); s != "a[0 1500 1500 0 4500] c[] d[9]" || m.Err() != nil {
		t.Errorf("got %s, %v", s, m.Err())
	}
}

func BenchmarkRead(b *testing.B) {
	const nSeries, nSamples = 1000, 240
	rows := grouped(nSeries, nSamples)
	st := plan.Statement{Measure: "up", Sorted: true, Bin: time.Hour, Outputs: []plan.Output{
		{Name: "job"}, {Name: "instance"}, {Name: "env"}, {Name: "region"}, {Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Role: plan.Samples}}}
	b.ReportAllocs()
	for b.Loop() {
		s := &counting{}
		r := NewReader(Config{Statement: st, Selection: selection(), Meter: &free{}, Sink: s})
		for _, row := range rows {
			if err := r.Row(row); err != nil {
				b.Fatal(err)
			}
		}
		if err := r.End(); err != nil || s.samples != nSeries*nSamples {
			b.Fatal(err, s.samples)
		}
	}
	b.ReportMetric(float64(b.N)*nSeries*nSamples/b.Elapsed().Seconds(), "samples/s")
}

// counting is a sink that keeps nothing.
type counting struct{ samples int }

func (*counting) Begin([]*Piece) error { return nil }
func (c *counting) Piece(p *Piece) error {
	c.samples += p.len()
	p.Release()
	return nil
}
