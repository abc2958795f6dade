// SPDX-License-Identifier: Apache-2.0

package grpcclient_test

import (
	"context"
	"flag"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tributary-project/tributary/internal/grpcclient"
	"github.com/tributary-project/tributary/internal/grpcserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	pingService = "test.Ping"
	pingMethod  = "/test.Ping/Ping"
)

// replica is one of several equal servers. It counts its calls.
type replica struct {
	address string
	calls   atomic.Int64
	server  *grpcserver.Server
	stop    context.CancelFunc
	done    chan error
}

func newReplica(t *testing.T, edit func(*grpcserver.Config)) *replica {
	t.Helper()
	cfg := grpcserver.DefaultConfig("127.0.0.1:0")
	if edit != nil {
		edit(&cfg)
	}
	s, err := grpcserver.New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{address: s.Addr().String(), server: s, done: make(chan error, 1)}
	s.GRPC.RegisterService(&grpc.ServiceDesc{
		ServiceName: pingService,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Ping",
			Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				r.calls.Add(1)
				in := &wrapperspb.BytesValue{}
				return in, decode(in)
			},
		}},
	}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := r.wait(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

func (r *replica) wait() error {
	err := <-r.done
	r.done <- err // for the next one who asks
	return err
}

func (r *replica) setHealth(s healthv1.HealthCheckResponse_ServingStatus) {
	r.server.Health.SetServingStatus(pingService, s)
}

// names resolves one name to the addresses of replicas, as DNS does: only when asked.
type names struct {
	*manual.Resolver
	asked atomic.Int64
}

func resolve(replicas ...*replica) resolver.State {
	var s resolver.State
	for _, r := range replicas {
		s.Addresses = append(s.Addresses, resolver.Address{Addr: r.address})
	}
	return s
}

func dial(t *testing.T, initial ...*replica) (*grpc.ClientConn, *names) {
	t.Helper()
	n := &names{Resolver: manual.NewBuilderWithScheme("replicas")}
	n.InitialState(resolve(initial...))
	n.ResolveNowCallback = func(resolver.ResolveNowOptions) { n.asked.Add(1) }
	conn, err := grpcclient.Dial(grpcclient.Config{Target: "replicas:///all", MaxMessageBytes: 1000}, pingService, grpc.WithResolvers(n))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, n
}

func ping(ctx context.Context, conn *grpc.ClientConn) error {
	return conn.Invoke(ctx, pingMethod, wrapperspb.Bytes([]byte("x")), &wrapperspb.BytesValue{})
}

// awaitCalls calls until ok, which looks at what changed since the last call.
func awaitCalls(t *testing.T, conn *grpc.ClientConn, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for: %s", what)
		}
		_ = ping(t.Context(), conn) // while replicas come and go, calls may fail
	}
}

// spread makes n calls, which must succeed, and returns how many each replica got.
func spread(t *testing.T, conn *grpc.ClientConn, n int, replicas ...*replica) []int64 {
	t.Helper()
	before := make([]int64, len(replicas))
	for i, r := range replicas {
		before[i] = r.calls.Load()
	}
	for range n {
		if err := ping(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
	}
	out := make([]int64, len(replicas))
	for i, r := range replicas {
		out[i] = r.calls.Load() - before[i]
	}
	return out
}

func allCalled(replicas ...*replica) func() bool {
	before := make([]int64, len(replicas))
	for i, r := range replicas {
		before[i] = r.calls.Load()
	}
	return func() bool {
		for i, r := range replicas {
			if r.calls.Load() == before[i] {
				return false
			}
		}
		return true
	}
}

// quiet is true once 20 calls went elsewhere.
func quiet(t *testing.T, conn *grpc.ClientConn, r *replica) func() bool {
	return func() bool {
		before := r.calls.Load()
		for range 20 {
			_ = ping(t.Context(), conn) // while replicas come and go, calls may fail
		}
		return r.calls.Load() == before
	}
}

func TestRoundRobin(t *testing.T) {
	a, b, c := newReplica(t, nil), newReplica(t, nil), newReplica(t, nil)
	conn, _ := dial(t, a, b, c)
	awaitCalls(t, conn, "all replicas connected", allCalled(a, b, c))
	if got := spread(t, conn, 300, a, b, c); got[0] != 100 || got[1] != 100 || got[2] != 100 {
		t.Errorf("got %v calls, want 100 each", got)
	}
}

// TestHealth: a replica that says it does not serve gets no calls until it serves again, and one whose health concerns
// another service stays in use.
func TestHealth(t *testing.T) {
	a, b := newReplica(t, nil), newReplica(t, nil)
	conn, _ := dial(t, a, b)
	awaitCalls(t, conn, "both connected", allCalled(a, b))

	b.server.Health.SetServingStatus("test.Other", healthv1.HealthCheckResponse_NOT_SERVING)
	if got := spread(t, conn, 100, a, b); got[0] != 50 || got[1] != 50 {
		t.Errorf("another service is down: got %v calls, want 50 each", got)
	}
	b.setHealth(healthv1.HealthCheckResponse_NOT_SERVING)
	awaitCalls(t, conn, "the sick one is left alone", quiet(t, conn, b))
	if got := spread(t, conn, 100, a, b); got[0] != 100 || got[1] != 0 {
		t.Errorf("one is sick: got %v calls, want 100, 0", got)
	}
	b.setHealth(healthv1.HealthCheckResponse_SERVING)
	awaitCalls(t, conn, "it is used again", allCalled(b))

	a.setHealth(healthv1.HealthCheckResponse_NOT_SERVING)
	b.setHealth(healthv1.HealthCheckResponse_NOT_SERVING)
	awaitCalls(t, conn, "nobody serves", func() bool { return ping(t.Context(), conn) != nil })
	if err := ping(t.Context(), conn); status.Code(err) != codes.Unavailable {
		t.Errorf("nobody serves: got %v, want Unavailable at once", err)
	}
}

// TestReplicasComeAndGo: names are asked again when a connection reaches its age, and a replica that stops does so
// without losing a call and without waiting for health watchers.
func TestReplicasComeAndGo(t *testing.T) {
	a := newReplica(t, func(c *grpcserver.Config) { c.MaxConnectionAge = 200 * time.Millisecond })
	const drain = time.Hour // what a stop that waits for health watchers would take
	b, c := newReplica(t, func(c *grpcserver.Config) { c.DrainTimeout = drain }), newReplica(t, nil)
	conn, names := dial(t, a)
	awaitCalls(t, conn, "names asked again", func() bool { return names.asked.Load() > 0 })
	names.UpdateState(resolve(a, b, c))
	awaitCalls(t, conn, "new replicas take calls", allCalled(b, c))

	b.stop()
	ended := make(chan error, 1)
	go func() { ended <- b.wait() }()
	for stopped := false; !stopped; {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			stopped = true
		default:
			if err := ping(t.Context(), conn); err != nil {
				t.Fatalf("a call was lost to a replica that stops in peace: %v", err)
			}
		}
	}
	if got := spread(t, conn, 100, b); got[0] != 0 {
		t.Errorf("a stopped replica got %d calls", got[0])
	}
}

func TestMessageLimit(t *testing.T) {
	a := newReplica(t, nil)
	conn, _ := dial(t, a)
	err := conn.Invoke(t.Context(), pingMethod, wrapperspb.Bytes(make([]byte, 1001)), &wrapperspb.BytesValue{})
	if status.Code(err) != codes.ResourceExhausted || a.calls.Load() != 0 {
		t.Errorf("got %v and %d calls, want ResourceExhausted and none", err, a.calls.Load())
	}
}

// TestAway: a peer that is away is no error of Dial, and an error of each call at once.
func TestAway(t *testing.T) {
	conn, err := grpcclient.Dial(grpcclient.Config{Target: "127.0.0.1:1", MaxMessageBytes: 1000}, pingService)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	// A call that waited for the peer would end with its context, and say so by another code.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := ping(ctx, conn); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
	if conn.CanonicalTarget() != "dns:///127.0.0.1:1" {
		t.Errorf("got target %s, want DNS to be asked", conn.CanonicalTarget())
	}
}

func TestFlags(t *testing.T) {
	cfg := grpcclient.Config{Target: "127.0.0.1:1"}
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	cfg.RegisterFlags(fs, "peer")
	if err := fs.Parse([]string{"--peer.address=peer.example:9211", "--peer.tls-ca=ca.pem"}); err != nil {
		t.Fatal(err)
	}
	if cfg.Target != "peer.example:9211" {
		t.Errorf("got %q", cfg.Target)
	}
	if _, err := grpcclient.Dial(cfg, pingService); err == nil || !strings.Contains(err.Error(), "--peer.tls") {
		t.Errorf("TLS options without TLS: got %v, want an error that names the flag", err)
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct{ give, want string }{ // want empty: nothing is wrong
		{"127.0.0.1:9221", ""},
		{"[::1]:9221", ""},
		{"query.example:9221", ""},
		{":9221", ""}, // this machine
		{"dns:///query.example:9221", ""},
		{"dns://192.0.2.1/query.example:9221", ""},
		{"passthrough:///query.example:9221", ""},
		{"unix:///run/query.sock", ""},
		{"", "want host:port"},
		{"foo", "missing port"},
		{"::1", "want host:port"},
		{"foo:", `port "" is not a number`},
		{"foo:0", `port "0" is not a number`},
		{"foo:65536", `port "65536" is not a number`},
		{"foo:grpc", `port "grpc" is not a number`},
		{"dns:///foo", "missing port"},
		{"dns://foo:9221", "want dns:///host:port"},
		{"unix://", "want unix:///"},
		{"http://foo:9221", `"http" is none of its schemes`},
	} {
		err := grpcclient.Config{Target: tt.give}.Validate("query")
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "--query.address="+tt.give+": ")) {
			t.Errorf("%q: got %v, want %q", tt.give, err, tt.want)
		}
	}
}
