// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/promschema/promschematest"

	"github.com/tributary-project/tributary/services/query/internal/plan"
)

func histogramStatement() plan.Statement {
	return plan.Statement{Kind: plan.Extension, Measure: promschema.SampleFamily.Measure("up"), Outputs: []plan.Output{
		{Role: plan.Dimension, Name: promschema.NameDimension}, {Role: plan.Dimension, Name: "job"}, {Role: plan.Dimension, Name: promschema.PackedDimension(0)},
		{Role: plan.Time}, {Role: plan.Bits}, {Role: plan.Histogram}, {Role: plan.Histogram2}, {Role: plan.Histogram3},
	}}
}

// wide returns a histogram of n buckets that hold no pattern; other makes it another.
func wide(n int, other uint64) *prompb.Histogram {
	r := rand.New(rand.NewPCG(1, other))
	h := &prompb.Histogram{Count: &prompb.Histogram_CountFloat{CountFloat: float64(n)}, Sum: float64(other), PositiveSpans: []prompb.BucketSpan{{Length: uint32(n)}}}
	for range n {
		h.PositiveCounts = append(h.PositiveCounts, r.Float64())
	}
	return h
}

// texts returns what a histogram is stored as.
func texts(t *testing.T, h *prompb.Histogram) []string {
	t.Helper()
	values, err := promschema.NewHistogramEncoder().Values(h, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range values {
		out = append(out, v.Attributes[0].Value)
	}
	return out
}

// piece returns a row of series up{job="api"} at a second with a text in its column.
func piece(second, column int, text string) types.Row {
	r := rowOf(scalar("up"), scalar("api"), null(), scalar(fmt.Sprintf("1970-01-01 00:00:%02d.000000000", second)), null(), null(), null(), null())
	r.Data[5+column] = scalar(text)
	return r
}

// float returns a row of the same series with a float.
func float(second int, v float64) types.Row {
	r := piece(second, 0, "")
	r.Data[4], r.Data[5] = scalar(bits(v)), null()
	return r
}

// packed makes a row one of the same series under another encoding.
func packed(r types.Row) types.Row {
	r.Data[1], r.Data[2] = null(), scalar(`{"job":"api"}`)
	return r
}

func collect(t *testing.T, rows ...types.Row) (*collector, outcome) {
	t.Helper()
	c := newCollector(histogramStatement(), selection(), &free{})
	if err := c.Add(rows); err != nil {
		t.Fatal(err)
	}
	return c, merge(t, c)
}

func equalBits(a, b *prompb.Histogram) bool {
	return string(promschema.AppendHistogram(nil, a, 0)) == string(promschema.AppendHistogram(nil, b, 0))
}

func TestHistogramsOfSeveralRecords(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	small := promschematest.Histogram(r, 5)
	two, three, other := wide(300, 1), wide(480, 2), wide(480, 3)
	one, of2, of3, of3b := texts(t, small), texts(t, two), texts(t, three), texts(t, other)
	if len(one) != 1 || len(of2) != 2 || len(of3) != 3 || len(of3b) != 3 {
		t.Fatalf("%d, %d, %d and %d records", len(one), len(of2), len(of3), len(of3b))
	}
	rows := func(pieces ...[]string) (out []types.Row) {
		for _, p := range pieces {
			for i, text := range p {
				out = append(out, piece(1, i, text))
			}
		}
		return out
	}
	of3rows := rows(of3)
	for _, tt := range []struct {
		name      string
		give      []types.Row
		want      []*prompb.Histogram // by time
		damage    Damage
		conflicts int64
	}{
		{name: "one record", give: rows(one, one), want: []*prompb.Histogram{small}},
		{name: "two", give: rows(of2), want: []*prompb.Histogram{two}},
		{name: "three", give: of3rows, want: []*prompb.Histogram{three}},
		{name: "at different times", give: append(rows(of3), piece(2, 1, of2[1]), piece(2, 0, of2[0]), piece(3, 0, one[0])), want: []*prompb.Histogram{three, two, small}},
		{name: "twice", give: append(rows(of3, of3), packed(piece(1, 1, of3[1]))), want: []*prompb.Histogram{three}},
		{name: "under two encodings, half of one", give: append(rows(of3), packed(piece(1, 0, of3[0]))), want: []*prompb.Histogram{three}},
		{name: "no second", give: []types.Row{of3rows[0], of3rows[2]}, damage: Damage{Incomplete: 1}},
		{name: "no third", give: of3rows[:2], damage: Damage{Incomplete: 1}},
		{name: "no first", give: of3rows[1:], damage: Damage{Incomplete: 1}},
		{name: "third of another time", give: append(slices.Clone(of3rows[:2]), piece(2, 2, of3[2])), damage: Damage{Incomplete: 2}},
		{name: "third of another histogram", give: append(slices.Clone(of3rows[:2]), piece(1, 2, of3b[2])), damage: Damage{Incomplete: 1}},
		{name: "damaged", give: append(rows(of2), piece(2, 0, "h1:%"), piece(3, 0, "h9:"), piece(4, 0, of2[0][:100]), piece(4, 1, of2[1])), want: []*prompb.Histogram{two}, damage: Damage{Histograms: 2, Incomplete: 1}},
		{name: "two that disagree", give: rows(of3, of3b), want: []*prompb.Histogram{three}, conflicts: 1},
		{name: "two that disagree, one incomplete", give: rows(of3[:2], of3b), want: []*prompb.Histogram{other}, damage: Damage{Incomplete: 1}},
		{name: "more than are tried", give: rows(texts(t, wide(300, 4)), texts(t, wide(300, 5)), texts(t, wide(300, 6)), texts(t, wide(300, 7)), texts(t, wide(300, 8)))[:9], damage: Damage{Incomplete: 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 5 {
				r.Shuffle(len(tt.give), func(i, j int) { tt.give[i], tt.give[j] = tt.give[j], tt.give[i] })
				c, got := collect(t, tt.give...)
				d := c.Damage()
				if tt.name == "more than are tried" { // which of them are is chance
					if d.Incomplete < 1 || d.Incomplete > 5 {
						t.Errorf("got %+v", d)
					}
					continue
				}
				if d.Incomplete != tt.damage.Incomplete || d.Histograms != tt.damage.Histograms || (d.Example != nil) != (d.Incomplete+d.Histograms > 0) || got.Conflicts != tt.conflicts {
					t.Errorf("got %+v and %d conflicts, want %+v and %d", d, got.Conflicts, tt.damage, tt.conflicts)
				}
				if len(tt.want) == 0 {
					if len(got.Series) != 0 {
						t.Errorf("got %v", got.Series)
					}
					continue
				}
				if len(got.Series) != 1 || len(got.Series[0].Histograms) != len(tt.want) || got.Samples != int64(len(tt.want)) {
					t.Fatalf("got %d series and %d samples", len(got.Series), got.Samples)
				}
				for i, h := range got.Series[0].Histograms {
					if h.T != int64(i+1)*1000 || !equalBits(h.H, tt.want[i]) && tt.conflicts == 0 {
						t.Errorf("histogram %d at %d: got %v", i, h.T, h.H)
					}
				}
			}
		})
	}
}

func TestHistogramsAndFloatsOfOneMillisecond(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	staleHistogram := &prompb.Histogram{Count: &prompb.Histogram_CountInt{}, Sum: stale}
	usual := wide(3, 1)
	for _, tt := range []struct {
		name      string
		h         *prompb.Histogram
		v         float64
		histogram bool
	}{
		{"finite", usual, 1, true},
		{"NaN", usual, math.NaN(), true},
		{"stale", usual, stale, true},
		{"stale histogram, finite", staleHistogram, 1, false},
		{"stale histogram, NaN", staleHistogram, math.NaN(), false},
		{"both stale", staleHistogram, stale, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := texts(t, tt.h)[0]
			// Neighbours of both sorts stay.
			_, got := collect(t, float(1, 1), piece(2, 0, text), float(3, tt.v), piece(3, 0, text), piece(4, 0, text), float(5, 1))
			if len(got.Series) != 1 || got.Conflicts != 1 || got.Samples != 5 {
				t.Fatalf("got %+v", got)
			}
			var line []string
			for _, p := range got.Series[0].Samples {
				line = append(line, fmt.Sprintf("f%d", p.T/1000))
			}
			for _, h := range got.Series[0].Histograms {
				line = append(line, fmt.Sprintf("h%d", h.T/1000))
			}
			want := "f1 f5 h2 h3 h4"
			if !tt.histogram {
				want = "f1 f3 f5 h2 h4"
			}
			if got := strings.Join(line, " "); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestConflictingHistogramsDoNotDependOnTheOrderOfRows(t *testing.T) {
	stale := &prompb.Histogram{Count: &prompb.Histogram_CountInt{}, Sum: math.Float64frombits(value.StaleNaN)}
	a, b := texts(t, wide(3, 1))[0], texts(t, wide(3, 2))[0]
	rows := []types.Row{piece(1, 0, a), piece(1, 0, texts(t, stale)[0]), packed(piece(1, 0, b))}
	var first string
	for range 10 {
		rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		_, got := collect(t, rows...)
		if got.Samples != 1 || got.Conflicts != 2 {
			t.Fatalf("got %+v", got)
		}
		text := texts(t, got.Series[0].Histograms[0].H)[0]
		if first == "" {
			first = text
		}
		if text != first || text != a && text != b {
			t.Errorf("got %s, then %s", first, text)
		}
	}
}

func TestMeterIsToldOfHistograms(t *testing.T) {
	one, three := texts(t, wide(3, 1)), texts(t, wide(480, 1))
	m := &free{}
	c := newCollector(histogramStatement(), selection(), m)
	if err := c.Add([]types.Row{piece(1, 0, one[0]), piece(2, 0, three[0]), piece(2, 1, three[1]), piece(2, 2, three[2])}); err != nil {
		t.Fatal(err)
	}
	before := m.bytes
	if err := c.End(); err != nil || m.bytes-before < 480*8 || before < int64(len(three[0])) {
		t.Errorf("got %v, %d and %d bytes", err, m.bytes, before)
	}
	c = newCollector(histogramStatement(), selection(), &refusing{left: seriesBytes + 300})
	if err := c.Add([]types.Row{piece(1, 0, one[0]), piece(2, 0, one[0])}); !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
	c = newCollector(histogramStatement(), selection(), &refusing{left: seriesBytes + 8<<10})
	if err := errors.Join(c.Add([]types.Row{piece(2, 0, three[0]), piece(2, 1, three[1]), piece(2, 2, three[2])}), c.End()); !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkDecodeHistograms(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	e := promschema.NewHistogramEncoder()
	var rows []types.Row
	for i := range 1000 {
		values, err := e.Values(promschematest.Histogram(r, 40), 0)
		if err != nil {
			b.Fatal(err)
		}
		r := piece(0, 0, values[0].Attributes[0].Value)
		r.Data[3] = scalar(fmt.Sprintf("1970-01-01 00:00:%02d.%03d000000", i/100, i%100))
		rows = append(rows, r)
	}
	d := promschema.NewHistogramDecoder()
	b.ReportAllocs()
	for b.Loop() {
		c := newCollector(histogramStatement(), selection(), &free{})
		c.cfg.Decoder = d
		if err := c.Add(rows); err != nil {
			b.Fatal(err)
		}
		if n := merge(b, c).Samples; n != 1000 {
			b.Fatalf("%d samples", n)
		}
	}
}
