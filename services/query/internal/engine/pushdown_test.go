// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"

	"github.com/tributary-project/tributary/services/query/internal/engine/enginetest"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

func TestWhatIsPushedDown(t *testing.T) {
	const start, end, step, lookback = 10_000_000, 13_600_000, 600_000, 300_000
	m := &enginetest.Memory{}
	e := newEngine(t, testConfig(), m)
	every := func(align int64) *series.LastPerStep { return &series.LastPerStep{AlignMs: align, StepMs: step} }
	once := func(align, window int64) *series.LastPerStep {
		return &series.LastPerStep{AlignMs: align, StepMs: window}
	}
	for _, tt := range []struct {
		expr    string
		ranged  *series.LastPerStep // of the first selector, in a range query
		instant *series.LastPerStep // at one moment, start
	}{
		{"m", every(start), once(start, lookback)},
		{"sum by (job) (m)", every(start), once(start, lookback)},
		{"m offset 1h", every(start - 3_600_000), once(start-3_600_000, lookback)},
		{"m offset -1h", every(start + 3_600_000), once(start+3_600_000, lookback)},
		{"timestamp(m)", every(start), once(start, lookback)},
		{"absent(m)", every(start), once(start, lookback)},
		{"m and rate(n[5m])", every(start), once(start, lookback)},
		{"rate(m[5m])", nil, nil},
		{"m @ 9000", nil, nil},
		{"m @ start()", nil, nil},
		{"timestamp(m @ 9000 offset -10m)", nil, nil},
		{"m smoothed", nil, nil},
		{"rate(m[5m] anchored)", nil, nil},
		{"max_over_time(m[1h:1m])", nil, nil},
		{"m + max_over_time(n[1h:1m])", nil, nil},
		{"max_over_time(m[1h:1m] @ 9000)", nil, nil},
		{"info(m)", nil, nil},
		{"histogram_count(m)", nil, nil},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			for _, x := range []struct {
				name string
				open func() (*Query, error)
				want *series.LastPerStep
			}{
				{"range", func() (*Query, error) {
					return e.Range(t.Context(), Place{}, tt.expr, Options{}, time.UnixMilli(start), time.UnixMilli(end), step*time.Millisecond)
				}, tt.ranged},
				{"instant", func() (*Query, error) {
					return e.Instant(t.Context(), Place{}, tt.expr, Options{}, time.UnixMilli(start))
				}, tt.instant},
			} {
				before := len(m.Asked())
				q, err := x.open()
				if err != nil {
					t.Fatal(err)
				}
				if res := q.Exec(t.Context()); res.Err != nil {
					t.Fatal(res.Err)
				}
				q.Close()
				got := (*series.LastPerStep)(nil)
				for _, sel := range m.Asked()[before:] {
					if sel.Matchers[len(sel.Matchers)-1].Value == "m" {
						got = sel.LastPerStep
					}
				}
				if fmt.Sprint(got == nil, got) != fmt.Sprint(x.want == nil, x.want) {
					t.Errorf("%s: got %v, want %v", x.name, got, x.want)
				}
			}
		})
	}
	t.Run("lookback of the query", func(t *testing.T) {
		before := len(m.Asked())
		q, err := e.Range(t.Context(), Place{}, "m", Options{LookbackDelta: time.Minute}, time.UnixMilli(start), time.UnixMilli(end), step*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		q.Exec(t.Context())
		if sel := m.Asked()[before]; sel.StartMs != start-60_000+1 || sel.LastPerStep == nil || sel.LastPerStep.AlignMs != start {
			t.Errorf("got %+v", sel)
		}
	})
	t.Run("switched off", func(t *testing.T) {
		c := testConfig()
		c.PushDown = false
		q, err := newEngine(t, c, m).Instant(t.Context(), Place{}, "m", Options{}, time.UnixMilli(start))
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		before := len(m.Asked())
		q.Exec(t.Context())
		if sel := m.Asked()[before]; sel.LastPerStep != nil {
			t.Errorf("got %+v", sel)
		}
	})
}

// TestPushDownChangesNoResult evaluates random expressions over random series with and without push-down. The selector leaves
// out all that it may.
func TestPushDownChangesNoResult(t *testing.T) {
	const t0, spanMs = 1_700_000_000_000, 3_600_000
	rng := rand.New(rand.NewPCG(4, 2))
	m := &enginetest.Memory{}
	for i := range 12 {
		ls := labels.FromStrings("__name__", []string{"m", "n"}[i%2], "i", fmt.Sprint(i), "job", []string{"a", "b"}[i/6])
		every := []int64{1000, 15_000, 60_000, 290_000, 400_000}[rng.IntN(5)]
		for at := int64(t0 - spanMs); at < t0+2*spanMs; {
			at += 1 + rng.Int64N(2*every)
			switch rng.IntN(12) {
			case 0:
				m.Append(ls, 0, at, math.Float64frombits(value.StaleNaN), nil)
			case 1:
				m.Append(ls, 0, at, 0, intHistogram(rng.IntN(5)))
			case 2:
				at = t0 + (at-t0)/60_000*60_000 // on a step
				m.Append(ls, 0, at, math.NaN(), nil)
				at += 60_000
			default:
				m.Append(ls, 0, at, float64(rng.IntN(100)), nil)
			}
		}
	}
	selector := func() string {
		s := []string{"m", "n", `m{job="a"}`, `{__name__=~"m|n"}`}[rng.IntN(4)]
		return s + []string{"", "", " offset 7m", " offset -90s", " offset 1ms", fmt.Sprintf(" @ %d.123", t0/1000+rng.IntN(3600)), " @ end()"}[rng.IntN(7)]
	}
	var expr func(depth int) string
	expr = func(depth int) string {
		if depth == 0 {
			return selector()
		}
		switch rng.IntN(9) {
		case 0:
			return "sum by (job) (" + expr(depth-1) + ")"
		case 1:
			return "timestamp(" + selector() + ")"
		case 2:
			return "absent(" + expr(depth-1) + ")"
		case 3:
			return "(" + expr(depth-1) + ") and on (i) (" + expr(depth-1) + ")"
		case 4:
			return "count_over_time(m[7m])"
		case 5:
			return "count_over_time((" + expr(depth-1) + ")[10m:1m])"
		case 6:
			return "topk(2, " + expr(depth-1) + ")"
		case 7:
			return "histogram_count(" + expr(depth-1) + ")"
		}
		return selector()
	}
	off := testConfig()
	off.PushDown = false
	engines := []*Engine{newEngine(t, testConfig(), m), newEngine(t, off, m)}
	var given [2]int64
	evaluated := 0
	for range 400 {
		x := expr(rng.IntN(3))
		start := t0 + rng.Int64N(spanMs)
		if rng.IntN(2) == 0 {
			start = start / 60_000 * 60_000
		}
		end, step := start+rng.Int64N(spanMs), []int64{1, 777, 15_000, 60_000, 301_000, 3_600_000}[rng.IntN(6)]
		end = min(end, start+200*step)
		o := Options{LookbackDelta: []time.Duration{0, 30 * time.Second, time.Hour}[rng.IntN(3)]}
		instant := rng.IntN(4) == 0
		var got [2]string
		for i, e := range engines {
			before := m.Given()
			var q *Query
			var err error
			if instant {
				q, err = e.Instant(t.Context(), Place{}, x, o, time.UnixMilli(start))
			} else {
				q, err = e.Range(t.Context(), Place{}, x, o, time.UnixMilli(start), time.UnixMilli(end), time.Duration(step)*time.Millisecond)
			}
			if err != nil {
				got[i] = "no query"
				continue
			}
			got[i] = text(q.Exec(t.Context()))
			q.Close()
			given[i] += m.Given() - before
		}
		if got[0] != got[1] {
			t.Fatalf("%s from %d to %d by %d (%v, instant %v)\npushed down: %.2000s\nall samples: %.2000s", x, start, end, step, o, instant, got[0], got[1])
		}
		if got[0] != "no query" {
			evaluated++
		}
	}
	if evaluated < 250 {
		t.Errorf("only %d expressions could be evaluated", evaluated)
	}
	if given[0] > given[1]*3/4 {
		t.Errorf("%d samples were read with push-down, %d without", given[0], given[1])
	}
	t.Logf("%d expressions; %d samples were read with push-down, %d without", evaluated, given[0], given[1])
}

// text is a result with every bit of its values. Of histograms it has no counter reset hints: where samples are left out
// these stay unknown.
func text(r *promql.Result) string {
	if r.Err != nil {
		return "error: " + r.Err.Error()
	}
	var b strings.Builder
	histogram := func(p promql.HPoint) {
		fmt.Fprintf(&b, " %d=%s", p.T, p.H.TestExpression())
	}
	switch v := r.Value.(type) {
	case promql.Matrix:
		for _, s := range v {
			fmt.Fprintf(&b, "\n%s", s.Metric)
			for _, p := range s.Floats {
				fmt.Fprintf(&b, " %d=%x", p.T, math.Float64bits(p.F))
			}
			for _, p := range s.Histograms {
				p.H.CounterResetHint = 0
				histogram(p)
			}
		}
	case promql.Vector:
		for _, s := range v {
			fmt.Fprintf(&b, "\n%s %d=%x", s.Metric, s.T, math.Float64bits(s.F))
			if s.H != nil {
				s.H.CounterResetHint = 0
				histogram(promql.HPoint{T: s.T, H: s.H})
			}
		}
	}
	warnings, infos := r.Warnings.AsStrings("", 0, 0)
	return fmt.Sprint(b.String(), warnings, infos)
}
