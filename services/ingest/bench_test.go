// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/timestream/client"
)

// BenchmarkWrite is a whole request: payload in, the real AWS client's calls to an endpoint that only counts, answer out.
// The endpoint runs in the same process, so ns and CPU of its HTTP server are in the figures.
func BenchmarkWrite(b *testing.B) {
	const series, perRequest = 10_000, 2_000
	for _, m := range []struct {
		name  string
		kind  ingestv1.MessageType
		build func(testing.TB, []ingesttest.Series) []byte
	}{
		{"v1", ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1, func(tb testing.TB, ss []ingesttest.Series) []byte { return ingesttest.V1(tb, ss, 0) }},
		{"v2", ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2, ingesttest.V2},
	} {
		b.Run(m.name, func(b *testing.B) {
			s, err := NewService(DefaultServiceConfig(), Deps{
				Writer: client.NewRecordsWriter(ingesttest.Writer(b, ingesttest.NewCounter(b)), time.Now),
				Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Now: time.Now,
			})
			if err != nil {
				b.Fatal(err)
			}
			var requests []*ingestv1.WriteRequest
			for i := range series / perRequest {
				requests = append(requests, &ingestv1.WriteRequest{
					MessageType: m.kind, Encoding: ingestv1.Encoding_ENCODING_SNAPPY,
					Payload: ingesttest.Snappy(m.build(b, ingesttest.Load(series, perRequest, i))),
				})
			}
			write := func(i int) {
				res, err := s.Write(context.Background(), requests[i%len(requests)])
				if err != nil || res.GetLedger().GetSamples().GetStored() != perRequest {
					b.Fatal(res, err)
				}
			}
			for i := range requests {
				write(i)
			}
			b.ResetTimer()
			report, before := ingesttest.PerSample(b, perRequest), cpu(b)
			for i := range b.N {
				write(i)
			}
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N*perRequest), "cpu-ns/sample")
			report()
		})
	}
}

// cpu is the processor time of the process.
func cpu(tb testing.TB) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
