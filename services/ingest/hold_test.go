// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
)

// stuck is a Timestream that does not answer before it is told to.
type stuck struct {
	calls chan struct{}
	free  chan struct{}
}

func (s *stuck) WriteRecords(context.Context, *timestreamwrite.WriteRecordsInput, ...func(*timestreamwrite.Options)) (*timestreamwrite.WriteRecordsOutput, error) {
	panic("bodies are taken")
}

func (s *stuck) WriteRecordsBody(ctx context.Context, _ []byte, release func()) (*timestreamwrite.WriteRecordsOutput, error) {
	defer release()
	s.calls <- struct{}{}
	select {
	case <-s.free:
		return &timestreamwrite.WriteRecordsOutput{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// samples are so many samples of a series.
func samples(n int) []prompb.Sample {
	out := make([]prompb.Sample, n)
	for i := range out {
		out[i] = prompb.Sample{Timestamp: int64(i + 1), Value: 1}
	}
	return out
}

// histograms is a message of histograms whose buckets are all different.
func histograms(t *testing.T, request, n, buckets int) []byte {
	var w prompb.WriteRequest
	for i := range n {
		h := prompb.Histogram{
			Schema: 3, Timestamp: int64(i + 1), ZeroCount: &prompb.Histogram_ZeroCountInt{},
			PositiveSpans: []prompb.BucketSpan{{Length: uint32(buckets)}},
		}
		last, sum := int64(0), uint64(0)
		for k := range buckets {
			v := int64((k*7919 + i*104729) % 1_000_003)
			h.PositiveDeltas = append(h.PositiveDeltas, v-last)
			last, sum = v, sum+uint64(v)
		}
		h.Count = &prompb.Histogram_CountInt{CountInt: sum}
		w.Timeseries = append(w.Timeseries, prompb.TimeSeries{
			Labels: []prompb.Label{{Name: "__name__", Value: "a"}, {Name: "i", Value: fmt.Sprint(request, ".", i)}}, Histograms: []prompb.Histogram{h},
		})
	}
	b, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// alone runs the test again in a process of its own, where nothing is in the heap that an earlier one left and that goes at its
// own time. It returns true in that process, and false where the test is over with it.
func alone(t *testing.T) bool {
	t.Helper()
	const env = "INGEST_TEST_ALONE"
	if os.Getenv(env) != "" {
		return true
	}
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.count=1", "-test.run="+strings.Join(pattern, "/"))
	cmd.Env = append(os.Environ(), env+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// TestGateKnowsTheMemory holds what the gate counts against the heap while requests wait for Timestream.
func TestGateKnowsTheMemory(t *testing.T) {
	many := func(n int, f func(i int) ingesttest.Series) []ingesttest.Series {
		out := make([]ingesttest.Series, n)
		for i := range out {
			out[i] = f(i)
		}
		return out
	}
	tiny := func(request, i int) []labels.Label {
		return ingesttest.L("__name__", "a", "i", fmt.Sprint(request, ".", i))
	}
	long := strings.Repeat("x", 150)
	otlp := func(points int, fill func(pmetric.Metric, pmetric.NumberDataPoint, int)) []byte {
		md := pmetric.NewMetrics()
		rm := md.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("service.name", "app")
		g := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		g.SetName("queue.fill")
		g.SetEmptyGauge()
		for i := range points {
			p := g.Gauge().DataPoints().AppendEmpty()
			p.SetTimestamp(pcommon.Timestamp(int64(i+1) * 1e6))
			p.SetDoubleValue(1)
			fill(g, p, i)
		}
		b, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := []struct {
		name string
		kind ingestv1.MessageType
		give func(request int) []byte
	}{
		{"usual 1.0", rw1, func(r int) []byte { return ingesttest.V1(t, ingesttest.Load(16_000, 2000, r), 0) }},
		{"usual 2.0", rw2, func(r int) []byte { return ingesttest.V2(t, ingesttest.Load(16_000, 2000, r)) }},
		{"usual OTLP", otlpProto, func(r int) []byte {
			return otlp(2000, func(_ pmetric.Metric, p pmetric.NumberDataPoint, i int) {
				for k := range 8 {
					p.Attributes().PutStr(fmt.Sprint("attribute.", k), fmt.Sprint("value-", k, "-", (i*7+r)%2000))
				}
			})
		}},
		{"samples of one series", rw2, func(r int) []byte {
			return ingesttest.V2(t, []ingesttest.Series{{Labels: tiny(r, 0), Samples: samples(50_000)}})
		}},
		{"tiny series", rw2, func(r int) []byte {
			return ingesttest.V2(t, many(8000, func(i int) ingesttest.Series { return ingesttest.One(tiny(r, i), 1, 1) }))
		}},
		{"shared text", rw2, func(r int) []byte {
			return ingesttest.V2(t, many(5000, func(i int) ingesttest.Series {
				ls := tiny(r, i)
				for k := range 10 {
					ls = append(ls, labels.Label{Name: fmt.Sprint("l", k), Value: long})
				}
				return ingesttest.One(ls, 1, 1)
			}))
		}},
		{"empty histograms", rw2, func(r int) []byte {
			return ingesttest.V2(t, many(5000, func(i int) ingesttest.Series {
				return ingesttest.Series{Labels: tiny(r, i), Histograms: 1}
			}))
		}},
		{"wide histograms", rw1, func(r int) []byte { return histograms(t, r, 1000, 160) }},
		{"exemplars", rw2, func(r int) []byte {
			return ingesttest.V2(t, many(5000, func(i int) ingesttest.Series {
				return ingesttest.Series{Labels: tiny(r, i%100), Exemplars: 1}
			}))
		}},
		{"metadata", rw1, func(r int) []byte {
			return ingesttest.V1(t, []ingesttest.Series{ingesttest.One(tiny(r, 0), 1, 1)}, 8000)
		}},
		{"start timestamps", rw2, func(r int) []byte {
			return ingesttest.V2(t, many(5000, func(i int) ingesttest.Series {
				s := ingesttest.One(tiny(r, i), 2, 1)
				s.Starts = true
				return s
			}))
		}},
		{"OTLP points", otlpProto, func(r int) []byte {
			return otlp(8000, func(_ pmetric.Metric, p pmetric.NumberDataPoint, i int) {
				p.Attributes().PutInt("i", int64(i*100+r))
			})
		}},
	}
	const requests = 4
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !alone(t) {
				return
			}
			cfg := quick()
			cfg.MaxInFlightWritesPerRequest, cfg.BatchWait, cfg.MaxInFlightBytes = 1, 0, 1<<30
			backend := &stuck{calls: make(chan struct{}), free: make(chan struct{})}
			s, err := NewService(cfg, Deps{
				Writer: backend, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Now: time.Now,
			})
			if err != nil {
				t.Fatal(err)
			}
			var payloads [requests][]byte
			for i := range payloads {
				payloads[i] = tt.give(i)
			}
			before := heap()
			var wg sync.WaitGroup
			for i := range requests {
				wg.Go(func() {
					req := &ingestv1.WriteRequest{MessageType: tt.kind, Encoding: ingestv1.Encoding_ENCODING_SNAPPY, Payload: ingesttest.Snappy(payloads[i])}
					if _, err := s.Write(context.Background(), req); err != nil {
						t.Error(err)
					}
				})
			}
			for range requests {
				<-backend.calls
			}
			used, counted := int64(heap()-before), s.gate.Bytes()
			drained := make(chan struct{})
			go func() {
				defer close(drained)
				for range backend.calls {
				}
			}()
			close(backend.free)
			wg.Wait()
			close(backend.calls)
			<-drained
			if n := s.gate.Bytes(); n != 0 {
				t.Errorf("%d bytes are still in flight", n)
			}
			runtime.KeepAlive(payloads)
			t.Logf("heap %d, gate %d of a request", used/requests, counted/requests)
			// OTLP messages are counted at their most, when there are they themselves, parsed, and translated.
			if used > 2*counted || counted > 3*used {
				t.Errorf("the gate counts %d bytes, the heap has %d", counted, used)
			}
		})
	}
}

// heap is what is alive, when what earlier tests left has gone: three readings in a row agree, with time for goroutines between
// them to end.
func heap() uint64 {
	const still = 64 << 10
	var m runtime.MemStats
	last := uint64(0)
	for same := 0; same < 3; last = m.HeapAlloc {
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		if m.HeapAlloc < last+still && last < m.HeapAlloc+still {
			same++
		} else {
			same = 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	return last
}

// TestEmptyGateLetsIn: a request that is within the limits on its size gets in when nothing else is in flight, however much
// becomes of it.
func TestEmptyGateLetsIn(t *testing.T) {
	cfg := quick()
	cfg.MaxDecompressedBytes, cfg.MaxInFlightBytes = 1<<20, 2<<20
	r := newRig(t, cfg)
	message, err := pmetricotlp.NewExportRequestFromMetrics(otlpMetrics(pmetric.AggregationTemporalityCumulative, 15_000)).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(message); 5*n < 2<<20 || n > 1<<20 {
		t.Fatalf("%d bytes prove nothing", n)
	}
	large := &ingestv1.WriteRequest{MessageType: otlpProto, Payload: message}
	if res := r.write(t, large); res.GetLedger().GetSamples().GetStored() == 0 {
		t.Errorf("OTLP: %v", res)
	}
	tiny := request(t, rw2, ingesttest.Load(5000, 5000, 0)...) // some 12 MB become of it
	if res := r.write(t, tiny); res.GetLedger().GetSamples().GetStored() != 5000 {
		t.Errorf("remote write: %v", res)
	}
	if n := r.service.gate.Bytes(); n != 0 {
		t.Errorf("%d bytes are still in flight", n)
	}
	// With anything else in flight they have to come again, wherever it is found out.
	other, err := r.service.gate.Enter("other", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Leave()
	for _, req := range []*ingestv1.WriteRequest{large, tiny} {
		calls := len(r.Calls())
		_, err := r.client.Write(context.Background(), req)
		if reason(err) != ReasonOverloaded || status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "--ingest.max-inflight-bytes") {
			t.Errorf("%s: %v", req.GetMessageType(), err)
		}
		if n := len(r.Calls()); n != calls {
			t.Errorf("%d calls were made for a request that was refused", n-calls)
		}
		if n := r.service.gate.Bytes(); n != 1 {
			t.Errorf("%d bytes are in flight", n)
		}
	}
}

// TestUsualSenders: the default limits let the shards of a few Prometheus servers in, all of whose series are new.
func TestUsualSenders(t *testing.T) {
	cfg := quick()
	cfg.MaxInFlightWritesPerRequest, cfg.BatchWait = 1, 0
	const senders = 32
	backend := &stuck{calls: make(chan struct{}, 100*senders), free: make(chan struct{})}
	s, err := NewService(cfg, Deps{
		Writer: backend, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, senders)
	for i := range senders {
		req := request(t, rw2, ingesttest.Load(2000*senders, 2000, i)...)
		req.CallerId = fmt.Sprint("sender ", i)
		go func() {
			_, err := s.Write(context.Background(), req)
			errs <- err
		}()
	}
	left := senders
	for range senders {
		select {
		case <-backend.calls:
		case err := <-errs:
			left--
			t.Error(err)
		}
	}
	t.Logf("%d bytes for %d requests", s.gate.Bytes(), s.gate.Requests())
	close(backend.free)
	for range left {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
