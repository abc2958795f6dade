// SPDX-License-Identifier: Apache-2.0

package local

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the store's own; the wire counts requests.
type metrics struct {
	reg        prometheus.Registerer
	collectors []prometheus.Collector

	recordsBy  *prometheus.CounterVec
	stored     prometheus.Counter
	duplicate  prometheus.Counter
	updated    prometheus.Counter
	rejected   prometheus.Counter
	hidden     prometheus.Counter
	throttled  prometheus.Counter
	groupSize  prometheus.Histogram
	groupTime  prometheus.Histogram
	queryTime  prometheus.Histogram
	queryError prometheus.Counter
}

func newMetrics(db *DB) *metrics {
	m := &metrics{reg: db.cfg.Registerer}
	const ns = "timestream_local"
	m.recordsBy = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: "records_total",
		Help: "Records of WriteRecords requests by what became of them: stored, duplicate (same value again), updated (higher version), rejected, hidden_conflict (a conflict in the magnetic store, which is not reported)."}, []string{"outcome"})
	m.stored = m.recordsBy.WithLabelValues("stored")
	m.duplicate = m.recordsBy.WithLabelValues("duplicate")
	m.updated = m.recordsBy.WithLabelValues("updated")
	m.rejected = m.recordsBy.WithLabelValues("rejected")
	m.hidden = m.recordsBy.WithLabelValues("hidden_conflict")
	m.throttled = prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "writes_throttled_total",
		Help: "WriteRecords requests refused because the writer's queue was full (" + db.cfg.flag("write-queue") + ")."})
	m.groupSize = prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Name: "commit_requests",
		Help: "WriteRecords requests in one transaction.", Buckets: prometheus.ExponentialBuckets(1, 2, 11)})
	m.groupTime = prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Name: "commit_duration_seconds",
		Help: "Time from taking requests from the queue to their answer.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)})
	m.queryTime = prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Name: "query_duration_seconds",
		Help: "Time of one page of a query.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)})
	m.queryError = prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "query_errors_total",
		Help: "Query requests that failed."})
	scheduledQueries := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Name: "scheduled_queries",
		Help: "Scheduled queries, also those that are disabled."}, func() float64 { return float64(db.scheduled.Len()) })
	scheduledRunning := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Name: "scheduled_queries_running",
		Help: "Scheduled queries that run (" + db.cfg.flag("scheduled-queries.concurrency") + ")."}, func() float64 {
		running, _ := db.scheduled.Running()
		return float64(running)
	})
	scheduledWaiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Name: "scheduled_queries_waiting",
		Help: "Runs of scheduled queries that wait for others."}, func() float64 {
		_, waiting := db.scheduled.Running()
		return float64(waiting)
	})
	queue := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Name: "write_queue_requests",
		Help: "WriteRecords requests that wait for the writer."}, func() float64 { return float64(len(db.writer.queue)) })
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Name: "query_open_results",
		Help: "Results of several pages that are open, and those that are being handed out to services in the same process."}, func() float64 { return float64(db.queries.open()) })
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Name: "query_waiting_for_memory",
		Help: "Statements of services in the same process that wait for the memory of others (" + db.cfg.flag("memory-limit") + ")."}, func() float64 { return float64(db.queries.waiting.Load()) })
	series := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Name: "series",
		Help: "Series that have records within their table's retention, or had until a short while ago. Each takes some 100 bytes of memory."}, func() float64 { return float64(db.cat.series()) })
	rewriting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Name: "rewriting",
		Help: "1 while stored records are being sorted and encoded in the background, 0 when there is nothing left to do, or nothing that does not rest after a failure."}, func() float64 {
		if db.rewriter.busy.Load() {
			return 1
		}
		return 0
	})
	failing := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Name: "rewrite_failing_parts",
		Help: "Parts of tables that could not be sorted and encoded; they stay as they are, and are tried again after pauses of up to an hour. The log and the status page tell why."}, func() float64 { return float64(db.rewriter.setbacks.count()) })
	hidden := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Name: "hidden_records",
		Help: "Records that are stored and not seen yet, or were so until a short while ago (" + db.cfg.flag("visibility-delay") + ", " + db.cfg.flag("magnetic-visibility-delay") + ")."}, func() float64 { return float64(db.hiddenRecords.Load()) })
	m.collectors = []prometheus.Collector{db.scheduled.Metrics.Runs, db.scheduled.Metrics.Skipped, db.scheduled.Metrics.Notifications, scheduledQueries, scheduledRunning, scheduledWaiting,
		series, rewriting, failing, hidden, m.recordsBy, m.throttled, m.groupSize, m.groupTime, m.queryTime, m.queryError, queue, open, waiting, newCostMetrics(db)}
	if m.reg != nil {
		m.reg.MustRegister(m.collectors...)
	}
	return m
}

func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.collectors {
		m.reg.Unregister(c)
	}
}

func (m *metrics) group(requests int, took time.Duration) {
	m.groupSize.Observe(float64(requests))
	m.groupTime.Observe(took.Seconds())
}

func (m *metrics) records(c *outcomeCounts) {
	add := func(counter prometheus.Counter, n int) {
		if n > 0 {
			counter.Add(float64(n))
		}
	}
	add(m.stored, c.stored)
	add(m.duplicate, c.duplicate)
	add(m.updated, c.updated)
	add(m.rejected, c.rejected)
	add(m.hidden, c.hiddenConflict)
}
