// SPDX-License-Identifier: Apache-2.0

package status

import (
	"math"
	"sort"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Process is what the metrics say of the time since the process began.
type Process struct {
	ResidentBytes int64       `json:"residentBytes"`
	Goroutines    int64       `json:"goroutines"`
	Records       []Outcome   `json:"records"`
	Operations    []Operation `json:"operations"`
	// Queries counts the pages of queries, those of services in the same process too; FailedQueries those that failed.
	Queries       int64 `json:"queryPages"`
	FailedQueries int64 `json:"queryErrors"`
}

// Outcome is what became of records, and how many of them.
type Outcome struct {
	Name  string `json:"outcome"`
	Count int64  `json:"count"`
}

// Operation is one operation of the API, as it was called over HTTP.
type Operation struct {
	Name     string `json:"operation"`
	Requests int64  `json:"requests"`
	// PerSecond is the mean since the start.
	PerSecond float64 `json:"perSecond"`
	// Median and P99 are in seconds: the upper bounds of the histogram's buckets, at most that of the last; 0 without requests.
	Median float64 `json:"medianSeconds"`
	P99    float64 `json:"p99Seconds"`
	// Errors by class, the most frequent first.
	Errors []Outcome `json:"errors"`
}

// gather reads the metrics.
func gather(g prometheus.Gatherer, since time.Duration) (Process, error) {
	p := Process{Records: []Outcome{}, Operations: []Operation{}}
	families, err := g.Gather()
	if err != nil {
		return p, err
	}
	operations := map[string]*Operation{}
	operation := func(m *dto.Metric) *Operation {
		name := label(m, "operation")
		if operations[name] == nil {
			operations[name] = &Operation{Name: name, Errors: []Outcome{}}
		}
		return operations[name]
	}
	for _, f := range families {
		for _, m := range f.Metric {
			switch f.GetName() {
			case "process_resident_memory_bytes":
				p.ResidentBytes = int64(m.GetGauge().GetValue())
			case "go_goroutines":
				p.Goroutines = int64(m.GetGauge().GetValue())
			case "timestream_local_records_total":
				p.Records = append(p.Records, Outcome{label(m, "outcome"), int64(m.GetCounter().GetValue())})
			case "timestream_local_query_duration_seconds":
				p.Queries = int64(m.GetHistogram().GetSampleCount())
			case "timestream_local_query_errors_total":
				p.FailedQueries = int64(m.GetCounter().GetValue())
			case "timestream_local_requests_total":
				o, n := operation(m), int64(m.GetCounter().GetValue())
				o.Requests += n
				if class := label(m, "error"); class != "" {
					o.Errors = append(o.Errors, Outcome{class, n})
				}
			case "timestream_local_request_duration_seconds":
				o := operation(m)
				o.Median, o.P99 = quantile(m.GetHistogram(), 0.5), quantile(m.GetHistogram(), 0.99)
			}
		}
	}
	for _, o := range operations {
		o.PerSecond = float64(o.Requests) / math.Max(since.Seconds(), 1)
		sort.Slice(o.Errors, func(i, j int) bool { return o.Errors[i].Count > o.Errors[j].Count })
		p.Operations = append(p.Operations, *o)
	}
	sort.Slice(p.Operations, func(i, j int) bool { return p.Operations[i].Name < p.Operations[j].Name })
	sort.SliceStable(p.Records, func(i, j int) bool { return p.Records[i].Count > p.Records[j].Count })
	return p, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// quantile is the upper bound of the bucket in which a quantile lies. Beyond the last it is that of the last: JSON has no infinity.
func quantile(h *dto.Histogram, q float64) float64 {
	want, last := q*float64(h.GetSampleCount()), 0.0
	if want == 0 {
		return 0
	}
	for _, b := range h.Bucket {
		if math.IsInf(b.GetUpperBound(), 1) {
			break
		}
		last = b.GetUpperBound()
		if float64(b.GetCumulativeCount()) >= want {
			break
		}
	}
	return last
}
