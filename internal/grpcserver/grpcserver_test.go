// SPDX-License-Identifier: Apache-2.0

package grpcserver_test

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tributary-project/tributary/internal/grpcserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	echoService = "test.Echo"
	echoMethod  = "/test.Echo/Echo"
)

// registerEcho adds a service of one method, so that these tests need no generated code.
func registerEcho(s *grpc.Server, echo func(context.Context, string) (string, error)) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: echoService,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Echo",
			Handler: func(_ any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
				in := &wrapperspb.StringValue{}
				if err := decode(in); err != nil {
					return nil, err
				}
				handle := func(ctx context.Context, req any) (any, error) {
					out, err := echo(ctx, req.(*wrapperspb.StringValue).GetValue())
					return wrapperspb.String(out), err
				}
				return interceptor(ctx, in, &grpc.UnaryServerInfo{FullMethod: echoMethod}, handle)
			},
		}},
	}, nil)
}

// running is a served server and a connection to it.
type running struct {
	conn     *grpc.ClientConn
	registry *prometheus.Registry
	stop     context.CancelFunc
	done     chan error
}

func serve(t *testing.T, edit func(*grpcserver.Config), echo func(context.Context, string) (string, error)) *running {
	t.Helper()
	return serveWithTimers(t, edit, echo, time.AfterFunc)
}

// serveWithTimers is serve with another way to end the time in which requests are received.
func serveWithTimers(t *testing.T, edit func(*grpcserver.Config), echo func(context.Context, string) (string, error), afterFunc func(time.Duration, func()) *time.Timer) *running {
	t.Helper()
	cfg := grpcserver.DefaultConfig("127.0.0.1:0")
	if edit != nil {
		edit(&cfg)
	}
	r := &running{registry: prometheus.NewRegistry(), done: make(chan error, 1)}
	s, err := grpcserver.NewWithTimers(cfg, slog.New(slog.DiscardHandler), r.registry, afterFunc)
	if err != nil {
		t.Fatal(err)
	}
	registerEcho(s.GRPC, echo)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.done <- s.Serve(ctx) }()
	r.conn, err = grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := r.wait(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = r.conn.Close()
	})
	return r
}

func (r *running) wait() error {
	err := <-r.done
	r.done <- err // for the next one who asks
	return err
}

func (r *running) echo(ctx context.Context, in string) (string, error) {
	out := &wrapperspb.StringValue{}
	err := r.conn.Invoke(ctx, echoMethod, wrapperspb.String(in), out)
	return out.GetValue(), err
}

func TestServes(t *testing.T) {
	r := serve(t, func(c *grpcserver.Config) { c.MaxMessageBytes = 1000 }, func(_ context.Context, in string) (string, error) {
		if in == "panic" {
			panic("a bug")
		}
		return in, nil
	})
	ctx := t.Context()
	if out, err := r.echo(ctx, "hello"); err != nil || out != "hello" {
		t.Errorf("got %q %v", out, err)
	}
	_, err := r.echo(ctx, "panic")
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "a bug") {
		t.Errorf("got %v, want Internal without the panic's text", err)
	}
	if _, err := r.echo(ctx, strings.Repeat("x", 1001)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("over the message limit: got %v", err)
	}
	res, err := healthv1.NewHealthClient(r.conn).Check(ctx, &healthv1.HealthCheckRequest{Service: echoService})
	if err != nil || res.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: got %v %v", res, err)
	}
	stream, err := reflectionv1.NewServerReflectionClient(r.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	list, err := stream.Recv()
	if err != nil || !strings.Contains(list.String(), echoService) {
		t.Errorf("reflection: got %v %v", list, err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	handled := 0.0
	for _, f := range families {
		if f.GetName() == "grpc_server_handled_total" {
			for _, m := range f.GetMetric() {
				if s := m.String(); strings.Contains(s, `"Echo"`) && strings.Contains(s, `"Internal"`) {
					handled += m.GetCounter().GetValue()
				}
			}
		}
	}
	if handled != 1 {
		t.Errorf("got %v calls of Echo counted as Internal, want the one that panicked", handled)
	}
}

// TestDrain: a stop lets a call in flight end, refuses new ones, and is not held up by a health watcher that has seen
// the service stop serving.
func TestDrain(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := serve(t, nil, func(_ context.Context, in string) (string, error) {
		close(entered)
		<-release
		return in, nil
	})
	watch, err := healthv1.NewHealthClient(r.conn).Watch(t.Context(), &healthv1.HealthCheckRequest{Service: echoService})
	if err != nil {
		t.Fatal(err)
	}
	inFlight := make(chan error, 1)
	go func() {
		_, err := r.echo(context.Background(), "x")
		inFlight <- err
	}()
	<-entered
	r.stop()
	for {
		res, err := watch.Recv()
		if err != nil {
			t.Fatalf("watch ended before it said NOT_SERVING: %v", err)
		}
		if res.GetStatus() == healthv1.HealthCheckResponse_NOT_SERVING {
			break
		}
	}
	if err := watch.CloseSend(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-r.done:
		t.Fatalf("Serve returned %v with a call in flight", err)
	default:
	}
	close(release)
	if err := <-inFlight; err != nil {
		t.Errorf("the call in flight was cut: %v", err)
	}
}

func TestDrainTimeout(t *testing.T) {
	entered := make(chan struct{})
	r := serve(t, func(c *grpcserver.Config) { c.DrainTimeout = 20 * time.Millisecond }, func(ctx context.Context, _ string) (string, error) {
		close(entered)
		<-ctx.Done()
		return "", ctx.Err()
	})
	cut := make(chan error, 1)
	go func() {
		_, err := r.echo(context.Background(), "x")
		cut <- err
	}()
	<-entered
	r.stop()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if err := <-cut; err == nil {
		t.Error("the call was answered, want it cut")
	}
}

// TestStopBeforeStart: a context that has ended already is no error.
func TestStopBeforeStart(t *testing.T) {
	s, err := grpcserver.New(grpcserver.DefaultConfig("127.0.0.1:0"), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serve(ctx); err != nil {
		t.Errorf("got %v", err)
	}
	free(t, s.Addr())
}

func TestNewAndClose(t *testing.T) {
	s, err := grpcserver.New(grpcserver.DefaultConfig("127.0.0.1:0"), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	_, err = grpcserver.New(grpcserver.DefaultConfig(s.Addr().String()), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "--grpc.listen-address="+s.Addr().String()) {
		t.Errorf("taken address: got %v, want an error that names the flag", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	free(t, s.Addr())

	cfg := grpcserver.DefaultConfig("127.0.0.1:0")
	cfg.RegisterFlags(flag.NewFlagSet("test", flag.ContinueOnError))
	cfg.TLS.CertFile = "missing.pem"
	if _, err := grpcserver.New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "--grpc.tls-certificate") {
		t.Errorf("half a key pair: got %v, want an error that names the flag", err)
	}
}

func free(t *testing.T, addr net.Addr) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr.String())
	if err != nil {
		t.Errorf("the listener is still there: %v", err)
		return
	}
	_ = l.Close()
}

func TestFlagDefaults(t *testing.T) {
	cfg := grpcserver.DefaultConfig("127.0.0.1:1")
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	cfg.RegisterFlags(fs)
	want := map[string]string{
		"grpc.listen-address": "127.0.0.1:1", "grpc.max-connection-age": "1m0s", "grpc.drain-timeout": "30s",
		"grpc.max-calls": "1024", "grpc.max-receiving": "8", "grpc.receive-timeout": "10s",
		"grpc.tls-certificate": "", "grpc.tls-key": "", "grpc.tls-client-ca": "",
	}
	fs.VisitAll(func(f *flag.Flag) {
		if v, ok := want[f.Name]; !ok || v != f.DefValue {
			t.Errorf("--%s: got default %q, want %q (known: %t)", f.Name, f.DefValue, v, ok)
		}
		delete(want, f.Name)
	})
	if len(want) > 0 {
		t.Errorf("not registered: %v", want)
	}
}
