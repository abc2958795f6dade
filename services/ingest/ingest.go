// SPDX-License-Identifier: Apache-2.0

// Package ingest is the service that stores Prometheus' samples in Timestream: it decodes write messages, validates and
// encodes their series, writes them in batches, and accounts for every sample. HTTP, authentication and status codes are
// the gateway's; reading back is the query service's.
//
// Service is the service itself, for a process that has others too; New and Run make a process of it.
package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/grpcserver"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/internal/rawcodec"
	"github.com/tributary-project/tributary/timestream/client"
)

// ProcessDeps are what an ingest process is given.
type ProcessDeps struct {
	Logger   *slog.Logger
	Registry *prometheus.Registry
	Build    process.Build
	// Settings are shown by the status service.
	Settings []flags.Setting
}

// Ingest is an ingest process: the service with its listeners.
type Ingest struct {
	service *Service
	grpc    *grpcserver.Server
	http    *process.HTTPServer
	logger  *slog.Logger
}

// requestOverhead is what a gRPC message may have beside the payload.
const requestOverhead = 64 << 10

// New checks the configuration, makes the clients, and listens. It calls nothing: Timestream may be away. Run or Close
// what it returns.
func New(ctx context.Context, cfg Config, d ProcessDeps) (_ *Ingest, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Timestream.UserAgent, cfg.Timestream.Logger = "tributary-ingest/"+d.Build.Version, d.Logger
	writer, err := client.NewWrite(ctx, cfg.Timestream)
	if err != nil {
		return nil, err
	}
	querier, err := client.NewQuery(ctx, cfg.Timestream)
	if err != nil {
		return nil, err
	}
	service, err := NewService(cfg.Service, Deps{
		Writer: client.NewRecordsWriter(writer, time.Now), Querier: client.NewQuerier(querier), Logger: d.Logger, Registerer: d.Registry, Now: time.Now,
		Build: d.Build, Settings: d.Settings, Target: cfg.Timestream.Target(),
	})
	if err != nil {
		return nil, err
	}
	d.Build.Register(d.Registry, "tributary_ingest")
	// A payload that decompresses to no more than the limit is no longer than this.
	cfg.GRPC.MaxMessageBytes = max(snappy.MaxEncodedLen(int(cfg.Service.MaxDecompressedBytes)), int(cfg.Service.MaxDecompressedBytes)) + requestOverhead
	grpcServer, err := grpcserver.New(cfg.GRPC, d.Logger, d.Registry, grpc.ForceServerCodecV2(rawcodec.New()))
	if err != nil {
		return nil, err
	}
	service.Register(grpcServer.GRPC)
	mux := http.NewServeMux()
	admin.Register(mux, cfg.TelemetryPath, d.Registry, func(role string) error {
		if role != "" && role != Role {
			return fmt.Errorf("%w: %q; this is %s", admin.ErrUnknownRole, role, Role)
		}
		return service.Ready()
	})
	httpServer, err := adminServer(cfg, mux, d.Logger)
	if err != nil {
		_ = grpcServer.Close()
		return nil, err
	}
	return &Ingest{service: service, grpc: grpcServer, http: httpServer, logger: d.Logger}, nil
}

func adminServer(cfg Config, h http.Handler, logger *slog.Logger) (*process.HTTPServer, error) {
	t, err := cfg.AdminTLS.Config()
	if err != nil {
		return nil, err
	}
	return process.NewHTTPServer("web.listen-address", cfg.AdminAddress, t, h, cfg.GRPC.DrainTimeout, logger)
}

// Addr is the address of the gRPC listener, AdminAddr that of the HTTP listener.
func (i *Ingest) Addr() net.Addr { return i.grpc.Addr() }

// AdminAddr is the address of the HTTP listener.
func (i *Ingest) AdminAddr() net.Addr { return i.http.Addr() }

// Run serves until ctx ends and the requests in flight are answered, or a listener fails.
func (i *Ingest) Run(ctx context.Context) error {
	i.logger.Info("ingest is up", "grpc", i.Addr().String(), "http", i.http.URL())
	return process.Run(ctx, i.grpc.Serve, i.http.Serve, i.service.Run)
}

// Close releases the listeners of a process that is not run.
func (i *Ingest) Close() error {
	err := i.grpc.Close()
	if httpErr := i.http.Close(); err == nil {
		err = httpErr
	}
	return err
}
