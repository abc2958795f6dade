// SPDX-License-Identifier: Apache-2.0

package query

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tributary-project/tributary/services/query/internal/gate"
)

type metrics struct {
	reads     *prometheus.CounterVec
	duration  prometheus.Histogram
	series    prometheus.Counter
	samples   prometheus.Counter
	conflicts prometheus.Counter
	// The names under which the awslabs connector counts, for its users' dashboards.
	connectorReads    prometheus.Counter
	connectorDuration prometheus.Histogram
}

// ended notes a read that took so many seconds.
func (m *metrics) ended(code string, seconds float64) {
	m.reads.WithLabelValues(code).Inc()
	m.duration.Observe(seconds)
	m.connectorReads.Inc()
	m.connectorDuration.Observe(seconds)
}

func newMetrics(reg prometheus.Registerer, g *gate.Gate) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "tributary_query_reads_in_flight", Help: "Reads that run now; --" + maxConcurrentFlag + " bounds it."}, func() float64 { return float64(g.Running()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "tributary_query_reads_waiting", Help: "Reads that wait for their turn."}, func() float64 { return float64(g.Waiting()) })
	return &metrics{
		reads: f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_reads_total", Help: "Reads ended, by gRPC code."}, []string{"code"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_query_read_duration_seconds", Help: "Time of a read from its arrival to its last byte.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}),
		series:    f.NewCounter(prometheus.CounterOpts{Name: "tributary_query_series_total", Help: "Series sent."}),
		samples:   f.NewCounter(prometheus.CounterOpts{Name: "tributary_query_samples_total", Help: "Samples sent, histograms included."}),
		conflicts: f.NewCounter(prometheus.CounterOpts{Name: "tributary_query_conflicts_total", Help: "Samples left out because their series has another value at the same millisecond."}),
		connectorReads: f.NewCounter(prometheus.CounterOpts{
			Name: "timestream_connector_read_requests_total", Help: "Reads ended. The awslabs connector's name for it.",
		}),
		connectorDuration: f.NewHistogram(prometheus.HistogramOpts{
			Name: "timestream_connector_read_duration_seconds", Help: "Time of a read. The awslabs connector's name for it.",
			Buckets: prometheus.DefBuckets,
		}),
	}
}
