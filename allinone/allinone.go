// SPDX-License-Identifier: Apache-2.0

// Package allinone is gateway, ingest and query in one process, over any store that has Timestream's API. It needs no
// cgo. Where the store comes from is left to the caller: the tributary binary hands it timestream-local or the AWS
// clients.
package allinone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/allinone/internal/delta"
	"github.com/tributary-project/tributary/gateway"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	"github.com/tributary-project/tributary/services/ingest"
	"github.com/tributary-project/tributary/services/query"
)

// Config is that of the three parts. The listeners of ingest and query are not used: they are reached in the process.
type Config struct {
	Gateway gateway.Config
	Ingest  ingest.ServiceConfig
	Query   query.Config
	// Delta is of use only where all data points of a stream come to one process.
	Delta delta.Config
}

// DefaultConfig returns the defaults of the parts.
func DefaultConfig() Config {
	return Config{Gateway: gateway.DefaultConfig(), Ingest: ingest.DefaultServiceConfig(), Query: query.DefaultConfig(), Delta: delta.DefaultConfig()}
}

// Deps are what the process is given.
type Deps struct {
	// Writer and Querier are Timestream: the AWS SDK's clients, or *local.DB. They are used at the same time by many.
	Writer  ingest.RecordWriter
	Querier query.TimestreamClient
	// Target says where that is, for people.
	Target   string
	Logger   *slog.Logger
	Registry *prometheus.Registry
	Build    process.Build
	Settings []flags.Setting
}

// App is the three parts together.
type App struct {
	gateway *gateway.Gateway
	ingest  *ingest.Service
	query   *query.Service
	delta   *delta.Converter // or nil
}

// New builds the parts and listens for the gateway. The caller must Run the app, or Close it.
func New(cfg Config, d Deps) (*App, error) {
	// What is one flag here has one value.
	cfg.Query.Database, cfg.Query.Table, cfg.Query.AllowedTables = cfg.Ingest.Database, cfg.Ingest.Table, cfg.Ingest.AllowedTables
	cfg.Query.MaxExpressionBytes = cfg.Gateway.MaxExpressionBytes
	cfg.Query.ListenAddress, cfg.Query.GRPC.ListenAddress = "", ""

	app := new(App)
	ingestDeps := ingest.Deps{
		Writer: d.Writer, Querier: d.Querier, Logger: d.Logger.With("component", "ingest"), Registerer: d.Registry, Now: time.Now,
		Build: d.Build, Settings: d.Settings, Target: d.Target,
	}
	var err error
	if cfg.Delta.Enabled {
		if app.delta, err = delta.New(cfg.Delta); err != nil {
			return nil, err
		}
		ingestDeps.Delta = app.delta
	}
	if app.ingest, err = ingest.NewService(cfg.Ingest, ingestDeps); err != nil {
		return nil, err
	}
	d.Build.Register(d.Registry, "tributary_ingest")
	if app.query, err = query.New(cfg.Query, query.Deps{
		Timestream: d.Querier, Target: d.Target, Logger: d.Logger, Registry: d.Registry, Build: d.Build, Settings: d.Settings,
	}); err != nil {
		return nil, err
	}
	if app.gateway, err = gateway.New(cfg.Gateway, gateway.Deps{
		Ingest:   gateway.Backend{Conn: inProcess(app.ingest.Register, ingestv1.IngestService_ServiceDesc.ServiceName, d.Logger), Target: "in this process"},
		Query:    gateway.Backend{Conn: inProcess(app.query.Register, queryv1.QueryService_ServiceDesc.ServiceName, d.Logger), Target: "in this process"},
		Logger:   d.Logger,
		Registry: d.Registry,
		Build:    d.Build,
		Settings: d.Settings,
	}); err != nil {
		return nil, err
	}
	return app, nil
}

// inProcess returns a connection to a service that runs in this process: calls are function calls, messages are copied,
// nothing is serialised. The service is always healthy: it ends with the process.
func inProcess(register func(grpc.ServiceRegistrar), service string, logger *slog.Logger) grpc.ClientConnInterface {
	// A panic in a call of one client must not end the process for all.
	recoverer := recovery.WithRecoveryHandlerContext(func(_ context.Context, p any) error {
		logger.Error("panic in a call; this is a bug, please report it", "service", service, "panic", p, "stack", string(debug.Stack()))
		return status.Error(codes.Internal, "internal error; the log of the service has the details")
	})
	ch := (&inprocgrpc.Channel{}).
		WithServerUnaryInterceptor(recovery.UnaryServerInterceptor(recoverer)).
		WithServerStreamInterceptor(recovery.StreamServerInterceptor(recoverer))
	register(ch)
	h := health.NewServer()
	h.SetServingStatus(service, healthv1.HealthCheckResponse_SERVING)
	healthv1.RegisterHealthServer(ch, h)
	return ch
}

// Handler answers everything that the gateway's HTTP listener answers.
func (a *App) Handler() http.Handler { return a.gateway.Handler() }

// URL is the base URL of the gateway.
func (a *App) URL() string { return a.gateway.URL() }

// WaitReady waits until writes and reads are taken, or ctx ends.
func (a *App) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := errors.Join(a.gateway.Ready("ingest"), a.gateway.Ready("query"))
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-tick.C:
		}
	}
}

// Run serves until ctx ends and what is in flight is answered.
func (a *App) Run(ctx context.Context) error {
	// The services outlive ctx by the time that the gateway takes to drain.
	services, stop := context.WithCancel(context.WithoutCancel(ctx))
	actors := []process.Actor{
		func(context.Context) error { defer stop(); return a.gateway.Run(ctx) },
		func(context.Context) error { return a.ingest.Run(services) },
		func(context.Context) error { return a.query.Run(services) },
	}
	if a.delta != nil {
		actors = append(actors, func(context.Context) error { return a.delta.Run(services) })
	}
	return process.Run(context.WithoutCancel(ctx), actors...)
}

// Close releases the listeners of an app that was never run.
func (a *App) Close() error { return errors.Join(a.gateway.Close(), a.query.Close()) }
