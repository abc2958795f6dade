// SPDX-License-Identifier: Apache-2.0

package scheduled

import "github.com/prometheus/client_golang/prometheus"

// Metrics count runs.
type Metrics struct {
	Runs          *prometheus.CounterVec
	Skipped       prometheus.Counter
	Notifications *prometheus.CounterVec
}

func newMetrics() *Metrics {
	const ns = "timestream_local"
	return &Metrics{
		Runs: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: "scheduled_query_runs_total",
			Help: "Runs of scheduled queries by their status (API reference, ScheduledQueryRunSummary)."}, []string{"status"}),
		Skipped: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "scheduled_query_runs_skipped_total",
			Help: "How often a scheduled query missed times of its schedule for good, because the process did not run or an earlier run did."}),
		Notifications: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: "scheduled_query_notifications_total",
			Help: "Notifications that the service would have sent by SNS, by type."}, []string{"type"}),
	}
}
