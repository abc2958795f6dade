// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// gate bounds the requests that are handled at the same time, by number and by bytes. It never queues: the sender is
// told to come again, and keeps the samples meanwhile.
type gate struct {
	maxRequests int
	maxBytes    int64

	mu       sync.Mutex
	requests int
	bytes    int64
}

func newGate(maxRequests int, maxBytes int64, reg prometheus.Registerer) *gate {
	g := &gate{maxRequests: maxRequests, maxBytes: maxBytes}
	gauge := func(name, help string, value func() int64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			g.mu.Lock()
			defer g.mu.Unlock()
			return float64(value())
		}))
	}
	gauge("tributary_ingest_inflight_requests", "Write requests being handled; --ingest.max-inflight-requests bounds them.", func() int64 { return int64(g.requests) })
	gauge("tributary_ingest_inflight_bytes", "Bytes of the write requests being handled; --ingest.max-inflight-bytes bounds them.", func() int64 { return g.bytes })
	return g
}

// enter lets a request of so many bytes in, or says why not. leave must be called exactly once after success.
func (g *gate) enter(bytes int64) (leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.requests >= g.maxRequests:
		return nil, fmt.Errorf("%d write requests are being handled; --ingest.max-inflight-requests is the limit", g.requests)
	case g.bytes+bytes > g.maxBytes:
		return nil, fmt.Errorf("%d bytes of write requests are being handled and this one has %d; --ingest.max-inflight-bytes=%d is the limit", g.bytes, bytes, g.maxBytes)
	}
	g.requests++
	g.bytes += bytes
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.requests--
		g.bytes -= bytes
	}, nil
}
