// SPDX-License-Identifier: Apache-2.0

package randql

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
)

// DefaultSchema returns a schema with labels that need quoting, some of which have no column.
func DefaultSchema(start, end time.Time) Schema {
	return Schema{
		Gauges:     []string{"gauge_a", "gauge_b", "job:gauge:mean5m"},
		Counters:   []string{"requests_total", "errors_total"},
		Histograms: []string{"native_seconds", "native_custom", "native_gauge", "native_mixed"},
		Buckets:    []string{"latency_seconds_bucket"},
		Labels: map[string][]string{
			"job": {"api", "db", `it's "quoted"`}, "instance": {"a:1", "b:2", "c:3"}, "code": {"200", "500", "100%", `back\slash`},
			"label_packed": {"x", "y", "new\nline"}, "with.dot": {"é", "e\u0301"}, "le": {"0.1", "1", "+Inf"}, "generation": {"1", "2", "3"},
		},
		Patterns: []string{".*", ".+", "", "a.*", "api|db", "[abc]:\\d", "(?i)API", "5..|1.*", "x|", ".*\\n.*", ".*\\\\.*", `.*"quoted"`, "\\pL+.*", "[[:alpha:]]+", "\\+Inf|0\\.1"},
		Start:    start, End: end,
	}
}

// Load writes the same random series to all: about 80 with a sample every 30 s.
func Load(ctx context.Context, r *rand.Rand, schema Schema, to ...storage.AppendableV2) error {
	var apps []storage.AppenderV2
	for _, s := range to {
		apps = append(apps, s.AppenderV2(ctx))
	}
	pick := func(label string) string { return schema.Labels[label][r.IntN(len(schema.Labels[label]))] }
	write := func(ls labels.Labels, sample func(n int) (float64, *histogram.Histogram, *histogram.FloatHistogram)) error {
		from, to := schema.Start, schema.End
		if r.IntN(3) == 0 { // it comes and goes
			from = from.Add(time.Duration(r.Int64N(int64(2 * time.Hour))))
			to = from.Add(time.Duration(r.Int64N(int64(to.Sub(from)))))
		}
		n, gap := 0, false
		for t := from; t.Before(to); t = t.Add(29*time.Second + time.Duration(r.IntN(2000))*time.Millisecond) {
			if r.IntN(40) == 0 {
				gap = !gap
			}
			v, h, fh := sample(n)
			n++
			if gap {
				if r.IntN(4) > 0 {
					continue
				}
				switch {
				case h != nil:
					h = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
				case fh != nil:
					fh = &histogram.FloatHistogram{Sum: math.Float64frombits(value.StaleNaN)}
				default:
					v = math.Float64frombits(value.StaleNaN)
				}
			}
			for _, app := range apps {
				// A storage may change what it is given.
				mine, mineFloat := h, fh
				if h != nil {
					mine = h.Copy()
				}
				if fh != nil {
					mineFloat = fh.Copy()
				}
				if _, err := app.Append(0, ls, 0, t.UnixMilli(), v, mine, mineFloat, storage.AppendV2Options{}); err != nil {
					return fmt.Errorf("%s: %w", ls, err)
				}
			}
		}
		return nil
	}
	seen := map[uint64]bool{}
	series := func(name string, of []string) labels.Labels {
		for {
			b := labels.NewBuilder(labels.FromStrings("__name__", name))
			for _, label := range of {
				if r.IntN(5) > 0 {
					b.Set(label, pick(label))
				}
			}
			if ls := b.Labels(); !seen[ls.Hash()] {
				seen[ls.Hash()] = true
				return ls
			}
		}
	}
	every := []string{"job", "instance", "code", "label_packed", "with.dot", "generation"}
	for _, name := range schema.Gauges {
		for range 10 {
			special := r.IntN(3) == 0
			if err := write(series(name, every), func(int) (float64, *histogram.Histogram, *histogram.FloatHistogram) {
				if special && r.IntN(20) == 0 {
					// No -0: Prometheus' own encoding of remote write leaves it out, and it arrives as 0.
					return []float64{math.NaN(), math.Inf(1), math.Inf(-1), 5e-324, math.MaxFloat64}[r.IntN(5)], nil, nil
				}
				return r.NormFloat64() * 100, nil, nil
			}); err != nil {
				return err
			}
		}
	}
	for _, name := range schema.Counters {
		for range 10 {
			total := float64(r.IntN(1000))
			if err := write(series(name, every), func(int) (float64, *histogram.Histogram, *histogram.FloatHistogram) {
				if total += float64(r.IntN(50)); r.IntN(50) == 0 {
					total = 0
				}
				return total, nil, nil
			}); err != nil {
				return err
			}
		}
	}
	for range 4 {
		ls := series("latency_seconds_bucket", []string{"job", "instance", "code", "label_packed"})
		for i, le := range []string{"0.1", "1", "+Inf"} {
			total := 0.0
			if err := write(labels.NewBuilder(ls).Set("le", le).Labels(), func(int) (float64, *histogram.Histogram, *histogram.FloatHistogram) {
				total += float64(r.IntN(5) + 5*i)
				return total, nil, nil
			}); err != nil {
				return err
			}
		}
	}
	for i, name := range schema.Histograms {
		for range 4 {
			if err := write(series(name, every), histograms(r, i)); err != nil {
				return err
			}
		}
	}
	for _, app := range apps {
		if err := app.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// histograms returns a source of random histograms: counters with exponential buckets, float ones with custom bounds, gauges,
// and ones that alternate with floats.
func histograms(r *rand.Rand, kind int) func(int) (float64, *histogram.Histogram, *histogram.FloatHistogram) {
	var counts [5]int64
	sum := 0.0
	return func(n int) (float64, *histogram.Histogram, *histogram.FloatHistogram) {
		if r.IntN(40) == 0 || kind == 2 {
			counts, sum = [5]int64{}, 0
		}
		h := &histogram.Histogram{Schema: 1, ZeroThreshold: 0.001, PositiveSpans: []histogram.Span{{Offset: -2, Length: 2}, {Offset: 1, Length: 1}}, NegativeSpans: []histogram.Span{{Offset: 0, Length: 2}}}
		for i := range counts {
			counts[i] += r.Int64N(4)
			h.Count += uint64(counts[i])
			sum += float64(r.IntN(64)) / 8
		}
		h.Sum = sum
		h.PositiveBuckets = []int64{counts[0], counts[1] - counts[0], counts[2] - counts[1]}
		h.NegativeBuckets = []int64{counts[3], counts[4] - counts[3]}
		switch kind {
		case 1:
			count := float64(counts[0] + counts[1] + counts[2])
			return 0, nil, &histogram.FloatHistogram{
				Schema: histogram.CustomBucketsSchema, CustomValues: []float64{0.5, 1, 2.5}, Count: count, Sum: sum,
				PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}, {Offset: 1, Length: 1}}, PositiveBuckets: []float64{float64(counts[0]), float64(counts[1]), float64(counts[2])},
			}
		case 2:
			h.CounterResetHint = histogram.GaugeType
		case 3:
			if n/10%3 == 2 {
				return cmp.Or(sum, 1), nil, nil
			}
		}
		return 0, h, nil
	}
}
