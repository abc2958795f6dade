// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream/metering"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// BenchmarkBuild makes WriteRecords bodies of the samples of one request, the cache of series being warm: whole, and by its
// stages. The stage "series" is what a series costs that is not in the cache, other series having its labels.
func BenchmarkBuild(b *testing.B) {
	const n = 2000
	const db, table = "PrometheusDatabase", "PrometheusMetricsTable"
	var requests, sorted [][]Item
	var calls [][][]Item
	var sorter Sorter
	for i := range 5 {
		var items []Item
		for j, s := range ingesttest.Load(10_000, n, i) {
			items = append(items, NewItem(newSeries(b, s.Labels), order, s.Samples[0].Timestamp, s.Samples[0].Value, j))
		}
		requests = append(requests, items)
		sorted = append(sorted, sorter.Sort(append([]Item(nil), items...)))
		batches, _ := Split(sorted[i], nil)
		calls = append(calls, batches)
	}
	var builder Builder
	var work, left []Item
	b.Run("series", func(b *testing.B) {
		load := ingesttest.Load(10_000, n, 0)
		for _, s := range load {
			slices.SortFunc(s.Labels, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
		}
		report := ingesttest.PerSample(b, n)
		for b.Loop() {
			for i, s := range load {
				encoded, err := promschema.EncodeSeries(s.Labels, everything{}, promschema.ObservedLimits())
				if err != nil {
					b.Fatal(err)
				}
				NewSeries(s.Labels, series.Hash{A: uint64(i)}, 0, 0, encoded)
			}
		}
		report()
	})
	b.Run("sort", func(b *testing.B) {
		report := ingesttest.PerSample(b, n)
		for i := 0; b.Loop(); i++ {
			work = append(work[:0], requests[i%len(requests)]...)
			sorter.Sort(work)
		}
		report()
	})
	b.Run("split", func(b *testing.B) {
		report := ingesttest.PerSample(b, n)
		for i := 0; b.Loop(); i++ {
			_, left = Split(sorted[i%len(requests)], left)
		}
		report()
	})
	b.Run("plan", func(b *testing.B) {
		report := ingesttest.PerSample(b, n)
		for i := 0; b.Loop(); i++ {
			for _, batch := range calls[i%len(requests)] {
				builder.Plan(batch)
			}
		}
		report()
	})
	b.Run("plan and body", func(b *testing.B) {
		report := ingesttest.PerSample(b, n)
		for i := 0; b.Loop(); i++ {
			for _, batch := range calls[i%len(requests)] {
				builder.Plan(batch)
				builder.Body(db, table, batch)
			}
		}
		report()
	})
	b.Run("whole", func(b *testing.B) {
		total, units := 0, 0
		report := ingesttest.PerSample(b, n)
		for i := 0; b.Loop(); i++ {
			work = append(work[:0], requests[i%len(requests)]...)
			var batches [][]Item
			batches, left = Split(sorter.Sort(work), left)
			for _, batch := range batches {
				bytes := builder.Plan(batch)
				builder.Body(db, table, batch)
				total += bytes
				units += int(metering.Units(int64(bytes)))
			}
		}
		report()
		b.ReportMetric(float64(units)/float64(b.N*n)*1000, "KiB/1000samples")
		b.ReportMetric(float64(total)/float64(b.N*n), "metered-B/sample")
	})
}
