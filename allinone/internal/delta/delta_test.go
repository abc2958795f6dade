// SPDX-License-Identifier: Apache-2.0

package delta

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/goleak"

	"github.com/tributary-project/tributary/services/ingest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ ingest.DeltaConverter = (*Converter)(nil)

func converter(t *testing.T, c Config) *Converter {
	t.Helper()
	out, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- out.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return out
}

// metrics is one data point of each kind that has a temporality, with this delta, at second n, of one stream.
func metrics(n int, delta uint64, stream string, temporality pmetric.AggregationTemporality) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("stream", stream)
	ms := rm.ScopeMetrics().AppendEmpty().Metrics()
	start, at := pcommon.Timestamp(n)*1e9, pcommon.Timestamp(n+1)*1e9

	s := ms.AppendEmpty()
	s.SetName("sum")
	s.SetEmptySum().SetIsMonotonic(true)
	s.Sum().SetAggregationTemporality(temporality)
	p := s.Sum().DataPoints().AppendEmpty()
	p.SetStartTimestamp(start)
	p.SetTimestamp(at)
	p.SetIntValue(int64(delta)) //nolint:gosec // small

	h := ms.AppendEmpty()
	h.SetName("explicit")
	h.SetEmptyHistogram().SetAggregationTemporality(temporality)
	q := h.Histogram().DataPoints().AppendEmpty()
	q.SetStartTimestamp(start)
	q.SetTimestamp(at)
	q.ExplicitBounds().FromRaw([]float64{1})
	q.BucketCounts().FromRaw([]uint64{delta, 1})
	q.SetCount(delta + 1)
	q.SetSum(float64(delta))

	e := ms.AppendEmpty()
	e.SetName("exponential")
	e.SetEmptyExponentialHistogram().SetAggregationTemporality(temporality)
	r := e.ExponentialHistogram().DataPoints().AppendEmpty()
	r.SetStartTimestamp(start)
	r.SetTimestamp(at)
	r.Positive().BucketCounts().FromRaw([]uint64{delta})
	r.SetCount(delta)
	r.SetSum(float64(delta))
	return md
}

// render is what is left of metrics, with their temporality where it is not cumulative.
func render(md pmetric.Metrics) string {
	var out []string
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				temporality := pmetric.AggregationTemporalityUnspecified
				switch m.Type() {
				case pmetric.MetricTypeSum:
					temporality = m.Sum().AggregationTemporality()
					for _, p := range m.Sum().DataPoints().All() {
						out = append(out, fmt.Sprintf("%d from %d to %d", p.IntValue(), p.StartTimestamp()/1e9, p.Timestamp()/1e9))
					}
				case pmetric.MetricTypeHistogram:
					temporality = m.Histogram().AggregationTemporality()
					for _, p := range m.Histogram().DataPoints().All() {
						out = append(out, fmt.Sprint(p.BucketCounts().AsRaw(), p.Count(), p.Sum()))
					}
				case pmetric.MetricTypeExponentialHistogram:
					temporality = m.ExponentialHistogram().AggregationTemporality()
					for _, p := range m.ExponentialHistogram().DataPoints().All() {
						out = append(out, fmt.Sprint(p.Positive().BucketCounts().AsRaw(), p.Count(), p.Sum()))
					}
				}
				if temporality != pmetric.AggregationTemporalityCumulative {
					out = append(out, temporality.String())
				}
			}
		}
	}
	return strings.Join(out, ", ")
}

func TestConvert(t *testing.T) {
	const delta, cumulative = pmetric.AggregationTemporalityDelta, pmetric.AggregationTemporalityCumulative
	c := converter(t, Config{MaxStreams: 6, MaxStale: time.Minute})
	for _, step := range []struct {
		name    string
		message string
		give    pmetric.Metrics
		want    string
	}{
		{"the first", "1", metrics(1, 5, "a", delta), "5 from 1 to 2, [5 1] 6 5, [5] 5 5"},
		{"the next", "2", metrics(2, 3, "a", delta), "8 from 1 to 3, [8 2] 10 8, [8] 8 8"},
		{"the next again", "2", metrics(2, 3, "a", delta), "8 from 1 to 3, [8 2] 10 8, [8] 8 8"},
		{"the first again", "1", metrics(1, 5, "a", delta), "5 from 1 to 2, [5 1] 6 5, [5] 5 5"},
		{"the one after", "3", metrics(3, 1, "a", delta), "9 from 1 to 4, [9 3] 12 9, [9] 9 9"},
		{"another one that is older", "4", metrics(2, 7, "a", delta), ""},
		{"cumulative", "5", metrics(4, 7, "a", cumulative), "7 from 4 to 5, [7 1] 8 7, [7] 7 7"},
		{"another stream", "6", metrics(1, 2, "b", delta), "2 from 1 to 2, [2 1] 3 2, [2] 2 2"},
		{"one too many", "7", metrics(1, 2, "c", delta), ""},
	} {
		got, err := c.Convert(t.Context(), []byte(step.message), step.give)
		if err != nil {
			t.Fatal(err)
		}
		if got := render(got); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
}

// What is remembered of earlier messages is bounded: the oldest ones are forgotten.
func TestAnswersAreBounded(t *testing.T) {
	c := converter(t, DefaultConfig())
	c.maxBytes = 1000
	for i := range 100 {
		md := metrics(i, 1, "a", pmetric.AggregationTemporalityDelta)
		if _, err := c.Convert(t.Context(), []byte(fmt.Sprint(i)), md); err != nil {
			t.Fatal(err)
		}
		if c.bytes > c.maxBytes || len(c.order) != len(c.answers) || len(c.order) == 0 {
			t.Fatalf("%d bytes of %d, %d answers in a list of %d", c.bytes, c.maxBytes, len(c.answers), len(c.order))
		}
	}
	if len(c.order) > 10 || slices.Contains(c.order, [32]byte{}) {
		t.Errorf("%d answers are remembered", len(c.order))
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.MaxStreams = 0 }, "--otlp.convert-delta.max-streams"},
		{func(c *Config) { c.MaxStale = 0 }, "--otlp.convert-delta.max-stale"},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		_, err := New(cfg)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
