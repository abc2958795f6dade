// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"

	"github.com/golang/snappy"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tributary-project/tributary/gateway"
	"github.com/tributary-project/tributary/internal/grpcclient"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// samplesPerRequest is what Prometheus sends by default (max_samples_per_send).
const samplesPerRequest = 2000

// remoteWriteV2 returns a request of one sample for each of many series, as a scrape makes them, compressed.
func remoteWriteV2(tb testing.TB) []byte {
	symbols := []string{""}
	index := map[string]uint32{"": 0}
	ref := func(s string) uint32 {
		if i, ok := index[s]; ok {
			return i
		}
		index[s] = uint32(len(symbols))
		symbols = append(symbols, s)
		return index[s]
	}
	req := &writev2.Request{}
	for i := range samplesPerRequest {
		var refs []uint32
		for _, s := range []string{
			"__name__", fmt.Sprintf("http_requests_%d_total", i%50), "instance", fmt.Sprintf("10.0.%d.7:9100", i/50),
			"job", "node", "code", fmt.Sprint(200 + i%5), "handler", fmt.Sprintf("/api/v1/thing/%d", i%20),
		} {
			refs = append(refs, ref(s))
		}
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
			LabelsRefs: refs,
			Samples:    []writev2.Sample{{Value: float64(i) * 1.37, Timestamp: 1_790_000_000_000 + int64(i)}},
		})
	}
	req.Symbols = symbols
	b, err := req.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return snappy.Encode(nil, b)
}

// BenchmarkWrite passes remote write 2.0 requests through a gateway on a real HTTP listener to an ingest service that
// only says yes: in memory, and over loopback TCP by the connections that main makes.
func BenchmarkWrite(b *testing.B) {
	answer := &ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{Samples: &ingestv1.Counts{Received: samplesPerRequest, Stored: samplesPerRequest}}}
	b.Run("bufconn", func(b *testing.B) {
		s := newSystem(b)
		ingest := newRole(b, func(g *grpc.Server) { ingestv1.RegisterIngestServiceServer(g, discard{answer: answer}) })
		benchmarkWrite(b, s, ingest.conn)
	})
	b.Run("tcp", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
		ingestv1.RegisterIngestServiceServer(server, discard{answer: answer})
		h := health.NewServer()
		h.SetServingStatus(ingestv1.IngestService_ServiceDesc.ServiceName, healthv1.HealthCheckResponse_SERVING)
		healthv1.RegisterHealthServer(server, h)
		go func() { _ = server.Serve(l) }()
		defer server.Stop()
		conn, err := grpcclient.Dial(grpcclient.Config{Target: l.Addr().String(), MaxMessageBytes: 64 << 20}, ingestv1.IngestService_ServiceDesc.ServiceName)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		benchmarkWrite(b, newSystem(b), conn)
	})
}

// discard answers every write the same and keeps nothing.
type discard struct {
	ingestv1.UnimplementedIngestServiceServer
	answer *ingestv1.WriteResponse
}

func (d discard) Write(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
	return d.answer, nil
}

func benchmarkWrite(b *testing.B, s *system, ingest grpc.ClientConnInterface) {
	deps := s.deps()
	deps.Ingest.Conn = ingest
	s.run(func() (*gateway.Gateway, error) { return gateway.New(testConfig(), deps) })
	body := remoteWriteV2(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	mallocs := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.Mallocs
	}
	before := mallocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequest(http.MethodPost, s.url+"/api/v1/write", bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Content-Type", typeV2)
			req.Header.Set("Content-Encoding", "snappy")
			res, err := s.client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusNoContent {
				b.Errorf("got %d", res.StatusCode)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)*samplesPerRequest/b.Elapsed().Seconds(), "samples/s")
	b.ReportMetric(float64(mallocs()-before)/(float64(b.N)*samplesPerRequest), "allocs/sample") // the sender's and the fake's included
}
