// SPDX-License-Identifier: Apache-2.0

// Package grpcserver builds a gRPC server as every service here has it: health service, reflection, metrics, panic
// recovery, keepalive rules, bounded messages, TLS, and a drain that lets calls end. Which services it serves is left to
// the caller.
package grpcserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"net"
	"runtime/debug"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/internal/tlsconfig"
)

// Config is what the flags say about a gRPC listener.
type Config struct {
	// ListenAddress is host:port.
	ListenAddress string
	// TLS of the listener.
	TLS tlsconfig.Server
	// MaxMessageBytes bounds one message in either direction.
	MaxMessageBytes int
	// MaxConnectionAge is when a connection is asked to go away, so that clients resolve names again and see new
	// replicas; MaxConnectionAgeGrace is how long its calls may still take.
	MaxConnectionAge, MaxConnectionAgeGrace time.Duration
	// MaxConcurrentStreams bounds the calls of one connection; a client that knows its trade waits. 0 means as many as the
	// server takes.
	MaxConcurrentStreams uint32
	// MaxCalls bounds the calls of the server; those beyond are refused at once. A call that has not been received yet
	// costs up to 128 KiB.
	MaxCalls int
	// MaxReceiving bounds the calls whose request is being received, others wait: times MaxMessageBytes it is the memory
	// that callers can take before a handler sees what they send.
	MaxReceiving int
	// ReceiveTimeout is how long receiving one request may take.
	ReceiveTimeout time.Duration
	// DrainTimeout is how long calls in flight may take after a stop was asked for.
	DrainTimeout time.Duration
}

// DefaultConfig returns the defaults for a service that listens on address.
func DefaultConfig(address string) Config {
	return Config{
		ListenAddress:         address,
		MaxMessageBytes:       32<<20 + 64<<10,
		MaxConnectionAge:      time.Minute,
		MaxConnectionAgeGrace: 2 * time.Minute,
		MaxCalls:              1024,
		MaxReceiving:          8,
		ReceiveTimeout:        10 * time.Second,
		DrainTimeout:          30 * time.Second,
	}
}

// Validate names everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	for _, n := range []struct {
		flag  string
		value int
	}{{"grpc.max-calls", c.MaxCalls}, {"grpc.max-receiving", c.MaxReceiving}} {
		if n.value < 1 || n.value > 1<<20 {
			errs = append(errs, fmt.Errorf("--%s=%d: want 1 to %d", n.flag, n.value, 1<<20))
		}
	}
	if c.ReceiveTimeout <= 0 {
		errs = append(errs, fmt.Errorf("--grpc.receive-timeout=%s: want more than 0", c.ReceiveTimeout))
	}
	return errors.Join(errs...)
}

// RegisterFlags registers the grpc.* flags with the present values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.ListenAddress, "grpc.listen-address", c.ListenAddress, "Address of the gRPC listener.")
	fs.DurationVar(&c.MaxConnectionAge, "grpc.max-connection-age", c.MaxConnectionAge, "Age at which clients are asked to connect anew, so that they find new replicas.")
	fs.IntVar(&c.MaxCalls, "grpc.max-calls", c.MaxCalls, "gRPC calls in flight at most, all connections together; those beyond are refused at once.")
	fs.IntVar(&c.MaxReceiving, "grpc.max-receiving", c.MaxReceiving, "gRPC calls whose request is being received at once; others wait for their turn. Times the largest message it is the memory that requests take before the other limits count them.")
	fs.DurationVar(&c.ReceiveTimeout, "grpc.receive-timeout", c.ReceiveTimeout, "How long receiving the request of one gRPC call may take; then the call is given up.")
	fs.DurationVar(&c.DrainTimeout, "grpc.drain-timeout", c.DrainTimeout, "How long calls in flight may take when the process stops.")
	c.TLS.RegisterFlags(fs, "grpc.", "gRPC")
}

// Server is a gRPC server that has not started yet. Register services on GRPC, then Serve.
type Server struct {
	// GRPC takes the services.
	GRPC *grpc.Server
	// Health tells clients which services take calls. Serve marks all as serving and, at the end, as not.
	Health *health.Server

	cfg      Config
	listener net.Listener
	metrics  *grpcprom.ServerMetrics
}

// New listens on the configured address and builds the server, with options besides its own. The caller must Serve or
// Close it.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer, extra ...grpc.ServerOption) (*Server, error) {
	return newServer(cfg, logger, reg, time.AfterFunc, extra...)
}

func newServer(cfg Config, logger *slog.Logger, reg prometheus.Registerer, afterFunc func(time.Duration, func()) *time.Timer, extra ...grpc.ServerOption) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	creds, err := serverCredentials(cfg.TLS)
	if err != nil {
		return nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", cfg.ListenAddress)
	if err != nil {
		return nil, fmt.Errorf("--grpc.listen-address=%s: %w", cfg.ListenAddress, err)
	}
	metrics := grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram())
	reg.MustRegister(metrics)
	recoverer := recovery.WithRecoveryHandlerContext(func(_ context.Context, p any) error {
		logger.Error("panic in a gRPC call; this is a bug, please report it", "panic", p, "stack", string(debug.Stack()))
		return status.Error(codes.Internal, "internal error; the log of the service has the details")
	})
	opts := append(newAdmission(cfg, logger, reg, afterFunc).options(),
		grpc.Creds(creds),
		grpc.MaxRecvMsgSize(cfg.MaxMessageBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge:      cfg.MaxConnectionAge,
			MaxConnectionAgeGrace: cfg.MaxConnectionAgeGrace,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(metrics.UnaryServerInterceptor(), recovery.UnaryServerInterceptor(recoverer)),
		grpc.ChainStreamInterceptor(metrics.StreamServerInterceptor(), recovery.StreamServerInterceptor(recoverer)),
	)
	if cfg.MaxConcurrentStreams == 0 {
		cfg.MaxConcurrentStreams = uint32(cfg.MaxCalls) + maxProbes
	}
	opts = append(opts, grpc.MaxConcurrentStreams(cfg.MaxConcurrentStreams))
	opts = append(opts, extra...)
	s := &Server{GRPC: grpc.NewServer(opts...), Health: health.NewServer(), cfg: cfg, listener: ln, metrics: metrics}
	healthv1.RegisterHealthServer(s.GRPC, s.Health)
	return s, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve serves until ctx ends, then marks every service as not serving, lets calls end within the drain timeout, and
// returns nil.
func (s *Server) Serve(ctx context.Context) error {
	reflection.Register(s.GRPC)
	s.metrics.InitializeMetrics(s.GRPC)
	for name := range s.GRPC.GetServiceInfo() {
		s.Health.SetServingStatus(name, healthv1.HealthCheckResponse_SERVING)
	}
	served := make(chan error, 1)
	go func() { served <- s.GRPC.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("gRPC server on %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	s.Health.Shutdown()
	stopped := make(chan struct{})
	go func() { s.GRPC.GracefulStop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(s.cfg.DrainTimeout):
		s.GRPC.Stop()
		<-stopped
	}
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("gRPC server on %s: %w", s.Addr(), err)
	}
	return nil
}

// Close releases the listener of a server that was never served.
func (s *Server) Close() error {
	s.GRPC.Stop()
	return s.listener.Close()
}

func serverCredentials(t tlsconfig.Server) (credentials.TransportCredentials, error) {
	cfg, err := t.Config()
	if err != nil {
		return nil, err
	}
	if cfg == nil {
		return insecure.NewCredentials(), nil // private port; TLS is a flag away
	}
	return credentials.NewTLS(cfg), nil
}
