// SPDX-License-Identifier: Apache-2.0

// Package gateway is the edge of Tributary: Prometheus' protocols over HTTP, and the services' own over gRPC and JSON, in front of
// the ingest and query services. It negotiates, bounds, and turns outcomes into status codes. It is stateless and
// never decodes a sample; storing and finding them is left to the services.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/tributary-project/tributary/gateway/internal/backend"
	"github.com/tributary-project/tributary/gateway/internal/forward"
	"github.com/tributary-project/tributary/gateway/internal/payload"
	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/internal/fairgate"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/grpcserver"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/internal/rawcodec"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"
)

// Roles of the processes, as /-/ready and the status service name them.
const (
	roleGateway = "gateway"
	roleIngest  = "ingest"
	roleQuery   = "query"
)

// Backend is one role behind the gateway.
type Backend struct {
	// Conn reaches the role: a connection over the network or one inside the process. The role's service, the status
	// service and grpc.health.v1 are called on it. A call must not keep its request after it has returned, unless its
	// context has ended. Whoever made the connection closes it, after Run.
	Conn grpc.ClientConnInterface
	// Target says where that is, for people.
	Target string
}

// Deps is what a gateway is given.
type Deps struct {
	Ingest, Query Backend
	Logger        *slog.Logger
	// Registry is served at the telemetry path.
	Registry *prometheus.Registry
	// Registerer takes the gateway's metrics. Nil means Registry; a process that holds other roles too gives one that
	// adds a label, because every role has the metrics of its gRPC server.
	Registerer prometheus.Registerer
	// Build is what was built.
	Build process.Build
	// Settings are the flags in force, without secrets, for the status service.
	Settings []flags.Setting
}

// Gateway is a gateway that listens; Run makes it answer.
type Gateway struct {
	cfg     Config
	deps    Deps
	logger  *slog.Logger
	metrics *metrics
	handler http.Handler

	gate    *fairgate.Gate // requests in flight and the bytes of their bodies
	buffers *fairgate.Gate // answers to reads that are being put together
	reader  *payload.Reader
	forward *forward.Forwarder
	ingest  *ingestServer
	query   *queryServer
	status  *statusServer

	watchers map[string]*backend.Watcher // by role
	http     *process.HTTPServer         // nil without a listener
	grpc     *grpcserver.Server          // nil without a listener
	draining atomic.Bool
	after    func(time.Duration) <-chan time.Time // time.After
}

// New checks the configuration, registers metrics and listens. The caller must Run the gateway, or Close it.
func New(cfg Config, deps Deps) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Registerer == nil {
		deps.Registerer = deps.Registry
	}
	g := &Gateway{
		cfg:    cfg,
		deps:   deps,
		after:  time.After,
		logger: deps.Logger.With("component", roleGateway),
		gate: fairgate.New(fairgate.Limits{
			Requests: int64(cfg.MaxInFlightRequests), RequestsFlag: maxInFlightRequestsFlag,
			Bytes: int64(cfg.MaxInFlightBytes), BytesFlag: maxInFlightBytesFlag,
		}, time.Now),
		buffers: fairgate.New(fairgate.Limits{Bytes: int64(cfg.MaxReadBufferBytes), BytesFlag: maxReadBufferBytesFlag}, time.Now),
		reader: payload.NewReader(payload.Limits{
			MaxBytes: int64(cfg.MaxRequestBytes), MaxBytesFlag: maxRequestBytesFlag,
			MaxDecompressedBytes: int64(cfg.MaxDecompressedBytes), MaxDecompressedBytesFlag: maxDecompressedBytesFlag,
			Timeout: cfg.WriteTimeout, TimeoutFlag: writeTimeoutFlag,
		}),
	}
	g.metrics = newMetrics(deps.Registerer, g.gate, g.buffers)
	deps.Build.Register(deps.Registerer, "tributary_gateway")
	g.ingest = &ingestServer{client: ingestv1.NewIngestServiceClient(backend.Named(roleIngest, deps.Ingest.Conn)), gate: g.gate, reader: g.reader, timeout: cfg.WriteTimeout}
	g.forward = &forward.Forwarder{Ingest: g.ingest.client, Gate: g.gate, Reader: g.reader, Timeout: cfg.WriteTimeout, CallerID: httpCaller}
	g.query = &queryServer{client: queryv1.NewQueryServiceClient(backend.Named(roleQuery, deps.Query.Conn)), gate: g.gate, timeout: cfg.ReadTimeout}
	g.watchers = map[string]*backend.Watcher{
		roleIngest: g.watch(roleIngest, ingestv1.IngestService_ServiceDesc.ServiceName, deps.Ingest.Conn),
		roleQuery:  g.watch(roleQuery, queryv1.QueryService_ServiceDesc.ServiceName, deps.Query.Conn),
	}
	g.status = newStatusServer(g, time.Now())
	handler, err := g.routes()
	if err != nil {
		return nil, err
	}
	g.handler = handler
	if err := g.listen(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Gateway) watch(role, service string, conn grpc.ClientConnInterface) *backend.Watcher {
	up := g.metrics.backendUp.WithLabelValues(role)
	return backend.NewWatcher(role, service, conn, g.cfg.HealthInterval, g.logger, func(healthy bool) {
		if healthy {
			up.Set(1)
		} else {
			up.Set(0)
		}
	})
}

func (g *Gateway) listen() error {
	if g.cfg.ListenAddress != "" {
		t, err := g.cfg.TLS.Config()
		if err != nil {
			return err
		}
		g.http, err = process.NewHTTPServer("web.listen-address", g.cfg.ListenAddress, t, g.handler, g.cfg.DrainTimeout, g.logger)
		if err != nil {
			return err
		}
	}
	if g.cfg.GRPC.ListenAddress != "" {
		c := g.cfg.GRPC
		c.MaxMessageBytes = g.cfg.IngestMessageBytes()
		c.MaxConcurrentStreams = maxStreamsPerConnection
		c.MaxConnectionAgeGrace = max(g.cfg.ReadTimeout, g.cfg.WriteTimeout) // what a call may take, so that none is cut short
		s, err := grpcserver.New(c, g.logger, g.deps.Registerer, grpc.ForceServerCodecV2(rawcodec.New()))
		if err != nil {
			return err
		}
		g.grpc = s
		ingestv1.RegisterIngestServiceServer(s.GRPC, g.ingest)
		queryv1.RegisterQueryServiceServer(s.GRPC, g.query)
		statusv1.RegisterStatusServiceServer(s.GRPC, g.status)
	}
	return nil
}

// Handler answers everything that the HTTP listener answers.
func (g *Gateway) Handler() http.Handler { return g.handler }

// URL is the base URL of the HTTP listener; empty when there is none.
func (g *Gateway) URL() string {
	if g.http == nil {
		return ""
	}
	return g.http.URL()
}

// GRPCAddr is the address of the gRPC listener; nil when there is none.
func (g *Gateway) GRPCAddr() net.Addr {
	if g.grpc == nil {
		return nil
	}
	return g.grpc.Addr()
}

// Ready reports why the gateway, or the given role behind it, is not ready; nil means ready. Without a role one of them
// is enough: reads that are down do not take writes with them.
func (g *Gateway) Ready(role string) error {
	if g.draining.Load() {
		return errors.New("the gateway is shutting down")
	}
	if role != "" {
		w, ok := g.watchers[role]
		if !ok {
			return fmt.Errorf("%w: %q; want %s or %s", admin.ErrUnknownRole, role, roleIngest, roleQuery)
		}
		return w.Err()
	}
	ingest, query := g.watchers[roleIngest].Err(), g.watchers[roleQuery].Err()
	if ingest != nil && query != nil {
		return fmt.Errorf("%w; %w", ingest, query)
	}
	return nil
}

// Run serves until ctx ends. Then it answers not ready, goes on for the drain delay, stops accepting, lets what is in
// flight end within the drain timeouts, and returns nil.
func (g *Gateway) Run(ctx context.Context) error {
	// Servers and watchers outlive ctx by the time that draining takes.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatching()

	servers := []process.Actor{func(serving context.Context) error { return g.drain(ctx, serving, stopServing) }}
	if g.http != nil {
		g.logger.Info("listening", "protocol", "http", "url", g.URL())
		servers = append(servers, g.http.Serve)
	}
	if g.grpc != nil {
		g.logger.Info("listening", "protocol", "grpc", "address", g.GRPCAddr().String())
		servers = append(servers, g.grpc.Serve)
	}
	actors := []process.Actor{func(context.Context) error {
		defer stopWatching()
		return process.Run(serving, servers...)
	}}
	for _, w := range g.watchers {
		actors = append(actors, w.Run)
	}
	return process.Run(watching, actors...)
}

// drain waits for ctx, then for the drain delay, and ends serving. It returns early when the servers end by themselves.
func (g *Gateway) drain(ctx, serving context.Context, stop func()) error {
	defer stop()
	select {
	case <-serving.Done():
		return nil
	case <-ctx.Done():
	}
	g.draining.Store(true)
	if g.grpc != nil {
		g.grpc.Health.Shutdown()
	}
	g.logger.Info("shutting down", "delay", g.cfg.DrainDelay, "timeout", g.cfg.DrainTimeout)
	select {
	case <-serving.Done():
	case <-g.after(g.cfg.DrainDelay):
	}
	return nil
}

// Close releases the listeners of a gateway that was never run.
func (g *Gateway) Close() error {
	var errs []error
	if g.http != nil {
		errs = append(errs, g.http.Close())
	}
	if g.grpc != nil {
		errs = append(errs, g.grpc.Close())
	}
	return errors.Join(errs...)
}
