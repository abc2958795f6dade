// SPDX-License-Identifier: Apache-2.0

package ingesttest

import (
	"runtime"
	"testing"
)

// PerSample begins to count for a benchmark whose iterations handle n samples each. The function it returns is called at the
// end: it reports time and allocations per sample.
func PerSample(b *testing.B, n int) (report func()) {
	b.Helper()
	b.ReportAllocs()
	mallocs := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.Mallocs
	}
	before := mallocs()
	return func() {
		samples := float64(b.N) * float64(n)
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/samples, "ns/sample")
		b.ReportMetric(float64(mallocs()-before)/samples, "allocs/sample")
	}
}
