// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tributary-project/tributary/gateway"
	"github.com/tributary-project/tributary/proto/openapi"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// metric returns the value of a counter or gauge with the given label pairs, 0 when there is none.
func (s *system) metric(name string, labels ...string) float64 {
	s.tb.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			for i := 0; i < len(labels); i += 2 {
				if have[labels[i]] != labels[i+1] {
					continue metrics
				}
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return 0
}

func (s *system) wantCode(path string, want int) {
	s.tb.Helper()
	if got := s.get(path); got.code != want {
		s.tb.Errorf("%s: got %d %q, want %d", path, got.code, got.body, want)
	}
}

// TestRolesAreIndependent takes one role down at a time.
func TestRolesAreIndependent(t *testing.T) {
	// What waited for a role that is away would do so for ever.
	s := start(t, func(c *gateway.Config) { c.WriteTimeout, c.ReadTimeout = time.Hour, time.Hour })
	s.query.read = series(nil)
	write := func() answer { return s.post("/api/v1/write", typeV2, snappy.Encode(nil, []byte("x"))) }
	read := func() answer { return s.post("/api/v1/read", typeV1, readRequest(t, query(0, 1))) }
	fails := func(what string, call func() answer) {
		t.Helper()
		got := call()
		if got.code != 503 {
			t.Errorf("%s: got %d %q, want 503", what, got.code, got.body)
		}
		checkRetryAfter(t, got, true)
	}
	works := func(what string, call func() answer) {
		t.Helper()
		if got := call(); got.code/100 != 2 {
			t.Errorf("%s: got %d %q", what, got.code, got.body)
		}
	}
	up := func(role string) float64 { return s.metric("tributary_gateway_backend_up", "role", role) }

	works("write", write)
	works("read", read)
	s.wantCode("/-/ready", 200)

	s.queryRole.stop()
	s.await("query is known to be down", func() bool { return s.gateway.Ready("query") != nil && up("query") == 0 })
	s.wantCode("/-/ready", 200)
	s.wantCode("/-/ready?role=ingest", 200)
	s.wantCode("/-/ready?role=query", 503)
	s.wantCode("/-/healthy", 200)
	works("write without query", write)
	fails("read without query", read)

	s.ingestRole.stop()
	s.await("ingest is known to be down", func() bool { return s.gateway.Ready("ingest") != nil })
	s.wantCode("/-/ready", 503)
	s.wantCode("/-/ready?role=ingest", 503)
	s.wantCode("/-/healthy", 200)
	fails("write without ingest", write)

	s.queryRole.start()
	s.await("query is back", func() bool { return s.gateway.Ready("query") == nil && up("query") == 1 })
	s.wantCode("/-/ready", 200)
	works("read without ingest", read)
	fails("write without ingest", write)

	s.ingestRole.start()
	s.await("ingest is back", func() bool { return s.gateway.Ready("ingest") == nil })
	works("write again", write)

	s.ingestRole.health.SetServingStatus("tributary.ingest.v1.IngestService", healthv1.HealthCheckResponse_NOT_SERVING)
	s.await("ingest says that it does not serve", func() bool { return s.gateway.Ready("ingest") != nil })
	s.wantCode("/-/ready?role=ingest", 503)
	s.wantCode("/-/ready?role=nonsense", 400)
}

// TestDrain stops a gateway while a write is in flight: it says so first, goes on, lets the write end, and then closes.
func TestDrain(t *testing.T) {
	s, cfg, delay := newSystem(t), testConfig(), make(chan time.Time)
	cfg.DrainDelay = time.Hour
	s.run(func() (*gateway.Gateway, error) {
		g, err := gateway.New(cfg, s.deps())
		if err == nil {
			g.SetAfter(func(d time.Duration) <-chan time.Time {
				if d != cfg.DrainDelay {
					t.Errorf("the drain delay is %s, want %s", d, cfg.DrainDelay)
				}
				return delay
			})
		}
		return g, err
	})
	entered, release := make(chan struct{}, 1), make(chan struct{})
	s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		entered <- struct{}{}
		<-release
		return &ingestv1.WriteResponse{}, nil
	}
	inFlight := make(chan answer, 1)
	go func() { inFlight <- s.post("/api/v1/write", typeV2, snappy.Encode(nil, []byte("x"))) }()
	<-entered
	s.shutdown()
	s.await("not ready", func() bool { return s.gateway.Ready("") != nil })
	got := s.get("/-/ready")
	if got.code != 503 || !strings.Contains(got.body, "shutting down") {
		t.Errorf("got %d %q, want 503", got.code, got.body)
	}
	close(delay)
	s.await("listener closed", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			return true
		}
		_ = c.Close()
		return false
	})
	select {
	case err := <-s.done:
		t.Fatalf("Run returned %v with a request in flight", err)
	default:
	}
	close(release)
	if got := <-inFlight; got.code != 204 {
		t.Errorf("request in flight: got %d %q, want 204", got.code, got.body)
	}
	if err := s.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestDrainTimeout: a request that does not end does not keep the process.
func TestDrainTimeout(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.DrainTimeout = 20 * time.Millisecond })
	entered, ended := make(chan struct{}, 1), make(chan struct{})
	s.ingest.write = func(ctx context.Context, _ *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		entered <- struct{}{}
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}
	cut := make(chan error, 1)
	go func() {
		req, _ := http.NewRequest(http.MethodPost, s.url+"/api/v1/write", strings.NewReader("\x00"))
		res, err := s.client.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		cut <- err
	}()
	<-entered
	s.shutdown()
	if err := s.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-cut; err == nil {
		t.Error("the request was answered, want it cut")
	}
	<-ended
}

func TestNewFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	free := freeAddress(t)
	tests := []struct {
		name string
		give func(*gateway.Config)
		want string
	}{
		{"configuration", func(c *gateway.Config) { c.MaxReadQueries = 0 }, "--read.max-queries"},
		{"HTTP address", func(c *gateway.Config) { c.ListenAddress = taken.Addr().String() }, "--web.listen-address"},
		{"gRPC address", func(c *gateway.Config) {
			c.ListenAddress, c.GRPC.ListenAddress = free, taken.Addr().String()
		}, "--grpc.listen-address"},
		{"certificate", func(c *gateway.Config) { c.TLS.CertFile = "missing.pem" }, "tls-certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newGateway(t, tt.give)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error that names %s", err, tt.want)
			}
			l, err := net.Listen("tcp", free)
			if err != nil {
				t.Fatalf("a failed New keeps its listener: %v", err)
			}
			_ = l.Close()
		})
	}
}

// TestHandlerAlone: without listeners the handler still answers, as a Lambda function needs it.
func TestHandlerAlone(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.ListenAddress, c.GRPC.ListenAddress = "", "" })
	if s.gateway.URL() != "" || s.gateway.GRPCAddr() != nil {
		t.Errorf("got addresses %q, %v", s.gateway.URL(), s.gateway.GRPCAddr())
	}
	req, err := http.NewRequest(http.MethodPost, "/api/v1/write", strings.NewReader("\x00"))
	if err != nil {
		t.Fatal(err)
	}
	if rec := s.direct(req); rec.Code != http.StatusNoContent {
		t.Errorf("got %d %q", rec.Code, rec.Body)
	}
}

func TestStatusPage(t *testing.T) {
	s := start(t, nil)
	got := s.get("/")
	if got.code != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
		t.Fatalf("got %d %q", got.code, got.header)
	}
	for _, want := range []string{
		"1.2.3", "ingest.example:9211", "serving", "4711", "db.&lt;table&gt;",
		"url: " + s.url + "/api/v1/write", "url: " + s.url + "/api/v1/read", "read_recent: true",
		"URL <code>" + s.url + "</code>", "<code>" + s.url + "/api/v1/read</code>", "curl " + s.url + "/api/tributary/v1/sql -d", "protobuf_message: io.prometheus.write.v2.Request",
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the page does not hold %q", want)
		}
	}
	s.ingestRole.stop()
	s.await("ingest is known to be down", func() bool { return s.gateway.Ready("ingest") != nil })
	if got := s.get("/"); got.code != 200 || !strings.Contains(got.body, "ingest is unreachable") {
		t.Errorf("with ingest down: got %d, want a page that says so", got.code)
	}
	s.wantCode("/nonsense", 404)
}

func TestOpenAPI(t *testing.T) {
	s := start(t, nil)
	got := s.get("/api/tributary/v1/openapi.json")
	if got.code != 200 || got.body != string(openapi.Document) || !json.Valid([]byte(got.body)) {
		t.Errorf("got %d and %d bytes, want the document", got.code, len(got.body))
	}
}

// TestSlips: a wrong method, path or role looks like one, not like an outage.
func TestSlips(t *testing.T) {
	s := start(t, nil)
	s.wantCode("/api/tributary/v1/write", http.StatusMethodNotAllowed) // by GET
	s.wantCode("/api/tributary/v1/nothing", http.StatusNotFound)
	s.wantCode("/-/ready?role=foo", http.StatusBadRequest)
}

func TestMetrics(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.TelemetryPath = "/timestream-metrics" })
	s.post("/api/v1/write", typeV1, []byte("\x00"))
	s.post("/api/v1/write", "text/plain", nil)
	s.wantCode("/metrics", 404)
	got := s.get("/timestream-metrics")
	for _, want := range []string{
		`tributary_gateway_http_requests_total{code="204",path="/api/v1/write"} 1`,
		`tributary_gateway_http_requests_total{code="415",path="/api/v1/write"} 1`,
		`tributary_gateway_http_refused_total{path="/api/v1/write",reason="unsupported_content_type"} 1`,
		`tributary_gateway_http_request_duration_seconds_count{path="/api/v1/write"} 2`,
		`tributary_gateway_http_request_bytes_total{path="/api/v1/write"} 1`,
		`tributary_gateway_backend_up{role="ingest"} 1`,
		`tributary_gateway_build_info{`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("metrics do not hold %s", want)
		}
	}
	s.wantCode("/debug/pprof/cmdline", 200)
}

// TestPanic: a bug in one request is a 500 for that request.
func TestPanic(t *testing.T) {
	s := start(t, nil)
	req, err := http.NewRequest(http.MethodPost, "/api/v1/write", panicBody{})
	if err != nil {
		t.Fatal(err)
	}
	if rec := s.direct(req); rec.Code != http.StatusInternalServerError {
		t.Errorf("got %d, want 500", rec.Code)
	}
	if n := s.metric("tributary_gateway_inflight_requests"); n != 0 {
		t.Errorf("%v requests still count as in flight", n)
	}
}

type panicBody struct{}

func (panicBody) Read([]byte) (int, error) { panic(errors.New("broken body")) }
