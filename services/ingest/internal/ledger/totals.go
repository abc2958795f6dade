// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Totals is the account of a process since it started, and the metrics that show it. Safe for concurrent use.
type Totals struct {
	mu     sync.Mutex
	counts [Kinds]Counts

	received *prometheus.Desc
	outcomes *prometheus.Desc
	late     *prometheus.Desc
	rejected *prometheus.CounterVec
	deferred *prometheus.CounterVec
	// The names under which the awslabs connector counts, for its users' dashboards.
	connectorReceived *prometheus.Desc
	connectorIgnored  *prometheus.Desc
}

var _ prometheus.Collector = (*Totals)(nil)

// NewTotals returns empty totals, registered with reg.
func NewTotals(reg prometheus.Registerer) *Totals {
	t := &Totals{
		received: prometheus.NewDesc("tributary_ingest_received_total", "Entries that came, by kind. For each kind it is the sum over the outcomes.", []string{"kind"}, nil),
		outcomes: prometheus.NewDesc("tributary_ingest_entries_total", "What became of the entries that came: stored, duplicate (a repeat inside one request), rejected (refused for good) or deferred (the sender was told to try again).", []string{"kind", "outcome"}, nil),
		late:     prometheus.NewDesc("tributary_ingest_stored_late_total", "Of the stored entries, how many Timestream put into the magnetic store, where they become visible within six hours.", []string{"kind"}, nil),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_ingest_rejected_total", Help: "Entries refused for good, by kind and reason.",
		}, []string{"kind", "reason"}),
		deferred: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_ingest_deferred_requests_total", Help: "Requests whose sender was told to try again, by cause.",
		}, []string{"cause"}),
		connectorReceived: prometheus.NewDesc("timestream_connector_received_samples_total", "Samples that came. The awslabs connector's name for it.", nil, nil),
		connectorIgnored:  prometheus.NewDesc("timestream_connector_ignored_samples_total", "Samples that were refused for good. The awslabs connector's name for it.", nil, nil),
	}
	reg.MustRegister(t, t.rejected, t.deferred)
	return t
}

// Add adds the account of one request, which is not used afterwards.
func (t *Totals) Add(a *Account) {
	t.mu.Lock()
	for k, c := range a.Counts {
		sum := &t.counts[k]
		sum.Received += c.Received
		sum.Stored += c.Stored
		sum.StoredLate += c.StoredLate
		sum.Duplicate += c.Duplicate
		sum.Rejected += c.Rejected
		sum.Deferred += c.Deferred
	}
	t.mu.Unlock()
	for _, r := range a.Rejections {
		t.rejected.WithLabelValues(r.Kind.String(), string(r.Reason)).Add(float64(r.Count))
	}
	if a.Deferral != nil {
		t.deferred.WithLabelValues(a.Deferral.Cause).Inc()
	}
}

// Counts returns the totals so far.
func (t *Totals) Counts() [Kinds]Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// Describe implements prometheus.Collector.
func (t *Totals) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{t.received, t.outcomes, t.late, t.connectorReceived, t.connectorIgnored} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. All values are of one moment, so the equation holds in every scrape.
func (t *Totals) Collect(ch chan<- prometheus.Metric) {
	counts := t.Counts()
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for k := range Kinds {
		c, kind := counts[k], k.String()
		counter(t.received, c.Received, kind)
		counter(t.outcomes, c.Stored, kind, "stored")
		counter(t.outcomes, c.Duplicate, kind, "duplicate")
		counter(t.outcomes, c.Rejected, kind, "rejected")
		counter(t.outcomes, c.Deferred, kind, "deferred")
		counter(t.late, c.StoredLate, kind)
	}
	counter(t.connectorReceived, counts[Samples].Received)
	counter(t.connectorIgnored, counts[Samples].Rejected)
}
