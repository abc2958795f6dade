// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/tributary-project/tributary/gateway"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeIngest answers writes by a function and remembers what came.
type fakeIngest struct {
	ingestv1.UnimplementedIngestServiceServer
	statusv1.UnimplementedStatusServiceServer
	write func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error)

	mu   sync.Mutex
	seen []*ingestv1.WriteRequest
}

func (f *fakeIngest) Write(ctx context.Context, req *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
	f.mu.Lock()
	f.seen = append(f.seen, req)
	f.mu.Unlock()
	if f.write == nil {
		return &ingestv1.WriteResponse{}, nil
	}
	return f.write(ctx, req)
}

func (f *fakeIngest) calls() []*ingestv1.WriteRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*ingestv1.WriteRequest(nil), f.seen...)
}

func (f *fakeIngest) GetStatus(_ context.Context, req *statusv1.GetStatusRequest) (*statusv1.GetStatusResponse, error) {
	return &statusv1.GetStatusResponse{
		Role: req.GetRole(), Database: "db", Table: "<table>",
		Ledger: &ingestv1.Ledger{Samples: &ingestv1.Counts{Received: 4711, Stored: 4700, Rejected: 11}},
	}, nil
}

// fakeQuery answers reads by a function.
type fakeQuery struct {
	queryv1.UnimplementedQueryServiceServer
	statusv1.UnimplementedStatusServiceServer
	read func(*queryv1.ReadRequest, grpc.ServerStreamingServer[queryv1.ReadResponse]) error
}

func (f *fakeQuery) Read(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
	return f.read(req, out)
}

func (f *fakeQuery) GetStatus(_ context.Context, req *statusv1.GetStatusRequest) (*statusv1.GetStatusResponse, error) {
	return &statusv1.GetStatusResponse{Role: req.GetRole(), Database: "db", Table: "<table>"}, nil
}

// role is one role behind the gateway: a gRPC server in memory that can be stopped and started.
type role struct {
	tb       testing.TB
	register func(*grpc.Server)
	conn     *grpc.ClientConn

	mu       sync.Mutex
	listener *bufconn.Listener // nil while it is down
	server   *grpc.Server
	health   *health.Server
}

// newRole starts a role that has the services of register.
func newRole(tb testing.TB, register func(*grpc.Server)) *role {
	r := &role{tb: tb, register: register}
	conn, err := grpc.NewClient("passthrough:///role",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(r.dial),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		tb.Fatal(err)
	}
	r.conn = conn
	r.start()
	tb.Cleanup(func() { _ = conn.Close(); r.stop() })
	return r
}

func (r *role) dial(ctx context.Context, _ string) (net.Conn, error) {
	r.mu.Lock()
	l := r.listener
	r.mu.Unlock()
	if l == nil {
		return nil, io.ErrClosedPipe
	}
	return l.DialContext(ctx)
}

func (r *role) start() {
	l := bufconn.Listen(1 << 20)
	s := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	r.register(s)
	h := health.NewServer()
	for name := range s.GetServiceInfo() {
		h.SetServingStatus(name, healthv1.HealthCheckResponse_SERVING)
	}
	healthv1.RegisterHealthServer(s, h)
	go func() { _ = s.Serve(l) }()
	r.mu.Lock()
	r.listener, r.server, r.health = l, s, h
	r.mu.Unlock()
}

func (r *role) stop() {
	r.mu.Lock()
	s := r.server
	r.listener, r.server = nil, nil
	r.mu.Unlock()
	if s != nil {
		s.Stop()
	}
}

// system is a running gateway with fakes behind it.
type system struct {
	tb         testing.TB
	gateway    *gateway.Gateway
	registry   *prometheus.Registry
	url        string
	client     *http.Client
	ingest     *fakeIngest
	query      *fakeQuery
	ingestRole *role
	queryRole  *role
	shutdown   context.CancelFunc
	done       chan error
}

func testConfig() gateway.Config {
	cfg := gateway.DefaultConfig()
	cfg.ListenAddress, cfg.GRPC.ListenAddress = "127.0.0.1:0", "127.0.0.1:0"
	cfg.HealthInterval = 5 * time.Millisecond
	cfg.DrainTimeout, cfg.GRPC.DrainTimeout = time.Minute, time.Minute
	return cfg
}

// newSystem starts the fakes.
func newSystem(tb testing.TB) *system {
	s := &system{tb: tb, ingest: &fakeIngest{}, query: &fakeQuery{}, registry: prometheus.NewRegistry(), done: make(chan error, 1)}
	s.ingestRole = newRole(tb, func(g *grpc.Server) {
		ingestv1.RegisterIngestServiceServer(g, s.ingest)
		statusv1.RegisterStatusServiceServer(g, s.ingest)
	})
	s.queryRole = newRole(tb, func(g *grpc.Server) {
		queryv1.RegisterQueryServiceServer(g, s.query)
		statusv1.RegisterStatusServiceServer(g, s.query)
	})
	return s
}

func (s *system) deps() gateway.Deps {
	return gateway.Deps{
		Ingest:   gateway.Backend{Conn: s.ingestRole.conn, Target: "ingest.example:9211"},
		Query:    gateway.Backend{Conn: s.queryRole.conn, Target: "query.example:9221"},
		Logger:   slog.New(slog.DiscardHandler),
		Registry: s.registry,
		Build:    process.Build{Version: "1.2.3", GoVersion: "go1.26"},
		Settings: []flags.Setting{{Name: "web.listen-address", Value: "127.0.0.1:0"}},
	}
}

// newGateway returns what New returns, for who does not run it.
func newGateway(tb testing.TB, edit func(*gateway.Config)) (*gateway.Gateway, error) {
	cfg := testConfig()
	edit(&cfg)
	return gateway.New(cfg, newSystem(tb).deps())
}

// start runs a gateway and waits until both roles are reachable. edit may change the configuration.
func start(tb testing.TB, edit func(*gateway.Config)) *system {
	tb.Helper()
	cfg := testConfig()
	if edit != nil {
		edit(&cfg)
	}
	s := newSystem(tb)
	s.run(func() (*gateway.Gateway, error) { return gateway.New(cfg, s.deps()) })
	return s
}

// run runs the gateway that new returns until the test ends, and waits until both roles are reachable.
func (s *system) run(newGateway func() (*gateway.Gateway, error)) {
	s.tb.Helper()
	g, err := newGateway()
	if err != nil {
		s.tb.Fatal(err)
	}
	s.gateway, s.url = g, g.URL()
	s.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}}
	ctx, cancel := context.WithCancel(context.Background())
	s.shutdown = cancel
	go func() { s.done <- g.Run(ctx) }()
	s.tb.Cleanup(func() {
		cancel()
		s.client.CloseIdleConnections()
		if err := s.wait(); err != nil {
			s.tb.Errorf("Run: %v", err)
		}
	})
	s.await("both roles ready", func() bool { return g.Ready("ingest") == nil && g.Ready("query") == nil })
}

// wait returns what Run returned.
func (s *system) wait() error {
	err := <-s.done
	s.done <- err // for the next one who asks
	return err
}

func (s *system) await(what string, ok func() bool) {
	s.tb.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			s.tb.Fatalf("waited too long for: %s", what)
		}
		time.Sleep(time.Millisecond) // polling a condition
	}
}

// patiently is for what has to be done within a time limit of the gateway's, for which a busy machine may be too slow: it calls
// try with longer and longer limits, until try says that it was done in time.
func patiently(t *testing.T, first time.Duration, try func(limit time.Duration) (inTime bool)) {
	t.Helper()
	for limit := first; !try(limit) && !t.Failed(); limit *= 4 {
		if limit > 20*time.Second {
			t.Fatalf("not even done within %s", limit)
		}
	}
}

// freeAddress is one that nobody listens on. It is an address of this machine that no other test asks ports of, so that nobody
// takes the port meanwhile.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil { // this system has one loopback address only
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// answer is an HTTP answer whose body was read.
type answer struct {
	code   int
	header http.Header
	body   string
}

func (s *system) do(req *http.Request) answer {
	s.tb.Helper()
	res, err := s.client.Do(req)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.tb.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

func (s *system) get(path string) answer {
	s.tb.Helper()
	req, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	return s.do(req)
}

const (
	typeV1 = "application/x-protobuf"
	typeV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

// post sends body with the headers of Prometheus; a Content-Type of "-" is left out.
func (s *system) post(path, contentType string, body []byte) answer {
	s.tb.Helper()
	req, err := http.NewRequest(http.MethodPost, s.url+path, strings.NewReader(string(body)))
	if err != nil {
		s.tb.Fatal(err)
	}
	if contentType != "-" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Content-Encoding", "snappy")
	return s.do(req)
}

// direct serves one request without a network, for what a network would blur.
func (s *system) direct(req *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	s.gateway.Handler().ServeHTTP(rec, req)
	return rec
}

func grpcStatus(err error) *status.Status { return status.Convert(err) }
