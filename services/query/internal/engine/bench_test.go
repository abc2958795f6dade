// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/tributary-project/tributary/services/query/internal/engine/enginetest"
)

// BenchmarkRate evaluates range queries over 1,000 series of 240 samples, 15 s apart, by the same engine over Prometheus' own
// storage and over a selector in memory.
func BenchmarkRate(b *testing.B) {
	const series, samples, stepMs = 1000, 240, 15_000
	memory := &enginetest.Memory{Trusting: true}
	tsdb := teststorage.New(b)
	app := tsdb.Appender(b.Context())
	for i := range series {
		ls := labels.FromStrings("__name__", "requests_total", "instance", fmt.Sprintf("host-%04d:9100", i), "job", "node")
		var ref storage.SeriesRef
		for k := range samples {
			t, v := int64(k)*stepMs, float64(k*(i+1))
			memory.Append(ls, 0, t, v, nil)
			var err error
			if ref, err = app.Append(ref, ls, t, v); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		b.Fatal(err)
	}
	e := newEngine(b, testConfig(), memory)
	start, end, step := time.UnixMilli(0), time.UnixMilli((samples-1)*stepMs), stepMs*time.Millisecond
	for _, expr := range []string{"rate(requests_total[5m])", "sum(rate(requests_total[5m]))", "requests_total"} {
		for _, x := range []struct {
			name string
			open func() (promql.Query, error)
		}{
			{"tsdb", func() (promql.Query, error) {
				return e.engine.NewRangeQuery(b.Context(), tsdb, nil, expr, start, end, step)
			}},
			{"selector", func() (promql.Query, error) {
				return e.Range(b.Context(), Place{}, expr, Options{}, start, end, step)
			}},
		} {
			b.Run(fmt.Sprintf("expr=%s/%s", expr, x.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					q, err := x.open()
					if err != nil {
						b.Fatal(err)
					}
					if res := q.Exec(b.Context()); res.Err != nil {
						b.Fatal(res.Err)
					}
					q.Close()
				}
			})
		}
	}
}
