// SPDX-License-Identifier: Apache-2.0

package query

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tributary-project/tributary/services/query/internal/engine"
	"github.com/tributary-project/tributary/services/query/internal/gate"
)

type metrics struct {
	calls        *prometheus.CounterVec
	callDuration *prometheus.HistogramVec
	reads        *prometheus.CounterVec
	duration     prometheus.Histogram
	series       prometheus.Counter
	samples      prometheus.Counter
	conflicts    prometheus.Counter
	// The names under which the awslabs connector counts, for its users' dashboards.
	connectorReads    prometheus.Counter
	connectorDuration prometheus.Histogram
}

// ended notes a read that took so many seconds.
func (m *metrics) ended(code string, seconds float64) {
	m.called("Read", code, seconds)
	m.reads.WithLabelValues(code).Inc()
	m.duration.Observe(seconds)
	m.connectorReads.Inc()
	m.connectorDuration.Observe(seconds)
}

// called notes a call of any method.
func (m *metrics) called(method, code string, seconds float64) {
	m.calls.WithLabelValues(method, code).Inc()
	m.callDuration.WithLabelValues(method).Observe(seconds)
}

func newMetrics(reg prometheus.Registerer, g *gate.Gate, e *engine.Engine) *metrics {
	f := promauto.With(reg)
	buckets := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "tributary_query_reads_in_flight", Help: "Reads and listings that run now; --" + maxConcurrentFlag + " bounds it."}, func() float64 { return float64(g.Running()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "tributary_query_reads_waiting", Help: "Reads and listings that wait for their turn."}, func() float64 { return float64(g.Waiting()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "tributary_query_queries_in_flight", Help: "PromQL queries that run now; --" + engine.MaxConcurrencyFlag + " bounds it."}, func() float64 { return float64(e.Running()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "tributary_query_queries_waiting", Help: "PromQL queries that wait for their turn."}, func() float64 { return float64(e.Waiting()) })
	return &metrics{
		calls: f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_requests_total", Help: "Calls ended, by method and gRPC code."}, []string{"method", "code"}),
		callDuration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tributary_query_request_duration_seconds", Help: "Time of a call from its arrival to its last byte, by method.", Buckets: buckets,
		}, []string{"method"}),
		reads: f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_reads_total", Help: "Reads ended, by gRPC code."}, []string{"code"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_query_read_duration_seconds", Help: "Time of a read from its arrival to its last byte.",
			Buckets: buckets,
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
