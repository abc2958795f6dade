// SPDX-License-Identifier: Apache-2.0

// Package query is the service that finds series in Timestream: it plans SQL from matchers, reads the result, and hands
// out series exactly as they were written, evaluates PromQL over them, and lists what there is. It is stateless; replicas are
// added at will. Prometheus' HTTP protocols are left to the gateway, storing to the ingest service.
package query

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

	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/grpcserver"
	"github.com/tributary-project/tributary/internal/process"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"

	"github.com/tributary-project/tributary/services/query/internal/engine"
	"github.com/tributary-project/tributary/services/query/internal/gate"
	"github.com/tributary-project/tributary/services/query/internal/pages"
	"github.com/tributary-project/tributary/services/query/internal/series"
	"github.com/tributary-project/tributary/services/query/internal/statement"
	"github.com/tributary-project/tributary/services/query/internal/store"
)

// role is the service's name in the status service and in /-/ready.
const role = "query"

// TimestreamClient is the part of Timestream's query API that the service uses. *timestreamquery.Client and
// *client.Querier satisfy it, configured not to retry by themselves. Every call may be made again after any error.
type TimestreamClient = pages.Client

// Deps is what a service is given.
type Deps struct {
	// Timestream answers queries.
	Timestream TimestreamClient
	// Target says where that is, for people.
	Target string
	Logger *slog.Logger
	// Registry is served at the telemetry path; it is not used without a ListenAddress.
	Registry *prometheus.Registry
	// Registerer takes the service's metrics. Nil means Registry; a process that holds other roles too gives one that
	// adds a label, because every role has the metrics of its gRPC server.
	Registerer prometheus.Registerer
	// Build is what was built.
	Build process.Build
	// Settings are the flags in force, without secrets, for the status service.
	Settings []flags.Setting
}

// Service is a query service. It implements queryv1.QueryServiceServer and statusv1.StatusServiceServer, whether it
// listens or not.
type Service struct {
	queryv1.UnsafeQueryServiceServer
	statusv1.UnsafeStatusServiceServer

	cfg      Config
	deps     Deps
	logger   *slog.Logger
	selector series.Selector
	lister   lister
	engine   *engine.Engine
	now      func() time.Time
	runner   *pages.Runner
	guard    *statement.Guard
	last     func() error // what keeps Timestream from being used
	gate     *gate.Gate
	metrics  *metrics
	start    time.Time

	http     *process.HTTPServer // nil without a listener
	grpc     *grpcserver.Server  // nil without a listener
	draining atomic.Bool
}

var (
	_ queryv1.QueryServiceServer   = (*Service)(nil)
	_ statusv1.StatusServiceServer = (*Service)(nil)
)

const (
	// waitingPerRunning is how many reads may wait for each one that runs: a page of panels comes at once.
	waitingPerRunning = 16
	// maxStreamsPerConnection bounds the calls of one connection; a gateway has few connections.
	maxStreamsPerConnection = 4096
	// httpDrain is how long the administrative listener waits for requests in flight.
	httpDrain = 5 * time.Second
)

// New checks the configuration, registers metrics and listens where addresses are given. A service that listens must be
// Run or Closed.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Registerer == nil {
		deps.Registerer = deps.Registry
	}
	logger := deps.Logger.With("component", role)
	features, unknown := engine.ParseFeatures(cfg.EnableFeature)
	for _, f := range unknown {
		logger.Warn("Unknown option for --enable-feature", "option", f)
	}
	runner := pages.New(deps.Timestream, cfg.MaxRetries, logger, deps.Registerer)
	st := store.New(store.Config{
		Database: cfg.Database, Table: cfg.Table,
		MaxBytes:        int64(cfg.MaxResultBytes),
		CatalogueMaxAge: cfg.CatalogueMaxAge, CatalogueRefresh: cfg.CatalogueRefresh,
		Slices: cfg.Slices, SliceMin: cfg.SliceMin,
	}, runner, time.Now, logger, deps.Registerer)
	e, err := engine.New(engine.Config{
		MaxSamples: cfg.MaxQuerySamples, Timeout: cfg.Timeout, LookbackDelta: cfg.LookbackDelta,
		MaxConcurrency: cfg.MaxConcurrency, MaxWaiting: cfg.MaxConcurrency * waitingPerRunning,
		PushDown: cfg.PushDown, Features: features,
		ActiveQueryLog: cfg.ActiveQueryLog, QueryLogFile: cfg.QueryLogFile,
	}, st, logger, deps.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, deps: deps, logger: logger, start: time.Now(), now: time.Now,
		selector: st, lister: st, engine: e,
		runner: runner, guard: statement.NewGuard(cfg.Database, cfg.Table, cfg.AllowedTables),
		last: runner.Last,
		gate: gate.New(cfg.MaxConcurrent, cfg.MaxConcurrent*waitingPerRunning),
	}
	s.metrics = newMetrics(deps.Registerer, s.gate, e)
	deps.Build.Register(deps.Registerer, "tributary_query")
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Service) listen() error {
	if s.cfg.ListenAddress != "" {
		mux := http.NewServeMux()
		admin.Register(mux, s.cfg.TelemetryPath, s.deps.Registry, s.Ready)
		t, err := s.cfg.TLS.Config()
		if err != nil {
			return err
		}
		h, err := process.NewHTTPServer("web.listen-address", s.cfg.ListenAddress, t, mux, httpDrain, s.logger)
		if err != nil {
			return err
		}
		s.http = h
	}
	if s.cfg.GRPC.ListenAddress != "" {
		c := s.cfg.GRPC
		c.MaxConcurrentStreams = maxStreamsPerConnection
		c.MaxConnectionAgeGrace = s.cfg.Timeout
		g, err := grpcserver.New(c, s.logger, s.deps.Registerer)
		if err != nil {
			return err
		}
		s.grpc = g
		s.Register(g.GRPC)
	}
	return nil
}

// Register adds the services to a gRPC server; New has done so on the service's own.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	queryv1.RegisterQueryServiceServer(r, s)
	statusv1.RegisterStatusServiceServer(r, s)
}

// GRPCAddr is the address of the gRPC listener; nil when there is none.
func (s *Service) GRPCAddr() net.Addr {
	if s.grpc == nil {
		return nil
	}
	return s.grpc.Addr()
}

// URL is the base URL of the administrative listener; empty when there is none.
func (s *Service) URL() string {
	if s.http == nil {
		return ""
	}
	return s.http.URL()
}

// Ready reports why the service is not ready; nil means ready. That Timestream is away does not make it unready: every
// replica would be, and callers get a better answer from the service itself.
func (s *Service) Ready(name string) error {
	switch {
	case name != "" && name != role:
		return fmt.Errorf("%w: %q; this is %s", admin.ErrUnknownRole, name, role)
	case s.draining.Load():
		return errors.New("the service is shutting down")
	}
	return nil
}

// Run serves until ctx ends, lets reads in flight end within the drain timeout, and returns nil.
func (s *Service) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.draining.Store(true) })
	defer stop()
	// The administrative listener stays until the reads have ended.
	admin, stopAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAdmin()
	var actors []process.Actor
	if s.http != nil {
		s.logger.Info("listening", "protocol", "http", "url", s.URL())
		actors = append(actors, s.http.Serve)
	}
	actors = append(actors, func(admin context.Context) error {
		defer stopAdmin()
		if s.grpc == nil {
			select {
			case <-ctx.Done():
			case <-admin.Done():
			}
			return nil
		}
		s.logger.Info("listening", "protocol", "grpc", "address", s.GRPCAddr().String())
		serving, end := context.WithCancel(ctx)
		defer end()
		defer context.AfterFunc(admin, end)()
		return s.grpc.Serve(serving)
	})
	err := process.Run(admin, actors...)
	return errors.Join(err, s.engine.Close())
}

// Close releases the listeners and the logs of a service that was never run.
func (s *Service) Close() error {
	errs := []error{s.engine.Close()}
	if s.http != nil {
		errs = append(errs, s.http.Close())
	}
	if s.grpc != nil {
		errs = append(errs, s.grpc.Close())
	}
	return errors.Join(errs...)
}
