// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
)

// probe writes to and reads from one gateway for a test.
type probe struct {
	t   testing.TB
	url string
}

func (p probe) writeURL() string { return p.url + "/api/v1/write" }
func (p probe) readURL() string  { return p.url + "/api/v1/read" }

// write sends series and returns the answer, whatever it is.
func (p probe) write(protocol rw.Protocol, series ...rw.Series) rw.Answer {
	p.t.Helper()
	a, err := rw.Write(p.t.Context(), p.writeURL(), protocol, series...)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// accept sends series that have to be stored, all of them.
func (p probe) accept(protocol rw.Protocol, series ...rw.Series) {
	p.t.Helper()
	if a := p.write(protocol, series...); a.Status != http.StatusNoContent {
		p.t.Fatalf("%s answered %d: %s", protocol, a.Status, a.Text)
	}
}

// read returns all samples of the series that match, as lines; see lines.
func (p probe) read(matchers ...*prompb.LabelMatcher) []string {
	p.t.Helper()
	return p.readRange(0, math.MaxInt64, matchers...)
}

func (p probe) readRange(startMs, endMs int64, matchers ...*prompb.LabelMatcher) []string {
	p.t.Helper()
	res, err := promtest.Read(p.t.Context(), p.readURL(), &prompb.Query{StartTimestampMs: startMs, EndTimestampMs: endMs, Matchers: matchers})
	if err != nil {
		p.t.Fatal(err)
	}
	return readLines(p.t, res[0])
}

// same compares what was read with the samples of these series.
func (p probe) same(got []string, want ...rw.Series) {
	p.t.Helper()
	sameLines(p.t, got, lines(want...))
}

// metricValue returns the value of a counter or gauge with these labels, 0 when there is none.
func metricValue(t testing.TB, reg prometheus.Gatherer, name string, pairs ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			for i := 0; i < len(pairs); i += 2 {
				if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
					return l.GetName() == pairs[i] && l.GetValue() == pairs[i+1]
				}) {
					continue metrics
				}
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return 0
}

// lines returns one line for every sample: labels in order of their names, milliseconds, bits of the value.
func lines(series ...rw.Series) []string {
	var out []string
	for _, s := range series {
		ls := slices.DeleteFunc(slices.Clone(s.Labels), func(l rw.Label) bool { return l.Value == "" })
		slices.SortFunc(ls, func(a, b rw.Label) int { return strings.Compare(a.Name, b.Name) })
		for _, x := range s.Samples {
			out = append(out, line(ls, x.TimeMs, x.Value))
		}
	}
	slices.Sort(out)
	return out
}

// readLines returns the same of a result, whose series and samples must come in order, each once.
func readLines(t testing.TB, result *prompb.QueryResult) []string {
	t.Helper()
	var out []string
	seen := map[string]bool{}
	for _, s := range result.Timeseries {
		var ls []rw.Label
		for i, l := range s.Labels {
			if i > 0 && s.Labels[i-1].Name >= l.Name {
				t.Errorf("labels are not sorted: %v", s.Labels)
			}
			ls = append(ls, rw.Label{Name: l.Name, Value: l.Value})
		}
		id := fmt.Sprintf("%q", ls)
		if seen[id] {
			t.Errorf("the series %s comes twice", id)
		}
		seen[id] = true
		for i, x := range s.Samples {
			if i > 0 && s.Samples[i-1].Timestamp >= x.Timestamp {
				t.Errorf("samples of %s are not in order, or one comes twice: %d ms, %d ms", id, s.Samples[i-1].Timestamp, x.Timestamp)
			}
			out = append(out, line(ls, x.Timestamp, x.Value))
		}
	}
	slices.Sort(out)
	return out
}

func line(ls []rw.Label, timeMs int64, v float64) string {
	var b strings.Builder
	for _, l := range ls {
		fmt.Fprintf(&b, "%q=%q ", l.Name, l.Value)
	}
	fmt.Fprintf(&b, "%d ms %016x", timeMs, math.Float64bits(v))
	return b.String()
}

// sameLines compares sorted lines and shows the first few differences.
func sameLines(t testing.TB, got, want []string) {
	t.Helper()
	differences := 0
	for len(got) > 0 || len(want) > 0 {
		var text string
		switch {
		case len(want) == 0 || len(got) > 0 && got[0] < want[0]:
			text, got = "not wanted: "+got[0], got[1:]
		case len(got) == 0 || want[0] < got[0]:
			text, want = "missing: "+want[0], want[1:]
		default:
			got, want = got[1:], want[1:]
			continue
		}
		if differences++; differences <= 5 {
			t.Errorf("%.600s", text)
		}
	}
	if differences > 5 {
		t.Errorf("%d lines differ", differences)
	}
}

// Short forms of the four matchers.
func eq(name, value string) *prompb.LabelMatcher {
	return &prompb.LabelMatcher{Type: prompb.LabelMatcher_EQ, Name: name, Value: value}
}

func re(name, value string) *prompb.LabelMatcher {
	return &prompb.LabelMatcher{Type: prompb.LabelMatcher_RE, Name: name, Value: value}
}
