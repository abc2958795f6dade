// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/peer"

	"github.com/tributary-project/tributary/internal/fairgate"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// newGate returns what bounds the requests that are handled at the same time, by number and by bytes, and shares them
// between callers. It never queues: the sender is told to come again, and keeps the samples meanwhile.
func newGate(cfg ServiceConfig, reg prometheus.Registerer, now func() time.Time) *fairgate.Gate {
	g := fairgate.New(fairgate.Limits{
		Requests: int64(cfg.MaxInFlightRequests), RequestsFlag: "ingest.max-inflight-requests",
		Bytes: int64(cfg.MaxInFlightBytes), BytesFlag: "ingest.max-inflight-bytes",
	}, now)
	gauge := func(name, help string, value func() int64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) }))
	}
	gauge("tributary_ingest_inflight_requests", "Write requests being handled; --ingest.max-inflight-requests bounds them.", g.Requests)
	gauge("tributary_ingest_inflight_bytes", "Bytes of the write requests being handled; --ingest.max-inflight-bytes bounds them.", g.Bytes)
	gauge("tributary_ingest_callers", "Callers with requests being handled or within the last "+fairgate.Remember.String()+", between whom both bounds are shared.", func() int64 { return int64(g.Callers()) })
	return g
}

// caller names who sent a request: by what a gateway saw, or where the connection comes from.
func caller(ctx context.Context, req *ingestv1.WriteRequest) string {
	if id := req.GetCallerId(); id != "" {
		return id
	}
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	address := p.Addr.String()
	if host, _, err := net.SplitHostPort(address); err == nil { // the port changes with every connection
		return host
	}
	return address
}
