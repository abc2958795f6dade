// SPDX-License-Identifier: Apache-2.0

package faults

import "github.com/prometheus/client_golang/prometheus"

// The metrics of the rules that are there; those of a rule end with it, so that there are never more than rules.
var (
	descRules = prometheus.NewDesc("timestream_local_fault_rules", "Rules of faults on demand that are in force.", nil, nil)
	descCalls = prometheus.NewDesc("timestream_local_fault_rule_calls_total", "Calls that a rule of faults on demand was about.", []string{"rule"}, nil)
	descHits  = prometheus.NewDesc("timestream_local_fault_rule_hits_total", "Faults of a rule of faults on demand, by operation and kind.", []string{"rule", "operation", "kind"}, nil)
)

// Describe implements prometheus.Collector.
func (i *Injector) Describe(c chan<- *prometheus.Desc) {
	c <- descRules
	c <- descCalls
	c <- descHits
}

// Collect implements prometheus.Collector.
func (i *Injector) Collect(c chan<- prometheus.Metric) {
	inForce := 0
	for _, s := range i.Rules() {
		if s.Active {
			inForce++
		}
		c <- prometheus.MustNewConstMetric(descCalls, prometheus.CounterValue, float64(s.Calls), s.ID)
		for operation, of := range s.Hits {
			for kind, n := range of {
				c <- prometheus.MustNewConstMetric(descHits, prometheus.CounterValue, float64(n), s.ID, operation, kind)
			}
		}
	}
	c <- prometheus.MustNewConstMetric(descRules, prometheus.GaugeValue, float64(inForce))
}
