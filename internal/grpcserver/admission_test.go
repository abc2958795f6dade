// SPDX-License-Identifier: Apache-2.0

package grpcserver_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tributary-project/tributary/internal/grpcserver"
)

// connect makes another connection to the same server.
func (r *running) connect(t *testing.T) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(r.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// open starts a call on a connection and sends nothing of its request.
func open(ctx context.Context, t *testing.T, c *grpc.ClientConn) grpc.ClientStream {
	t.Helper()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, echoMethod)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// await polls a metric.
func (r *running) await(t *testing.T, name string, want float64) {
	t.Helper()
	var got float64
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) { // polling a condition
		if got = r.metric(t, name); got == want {
			return
		}
	}
	t.Fatalf("%s: got %v, want %v", name, got, want)
}

func (r *running) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func (r *running) healthy(ctx context.Context) error {
	_, err := healthv1.NewHealthClient(r.conn).Check(ctx, &healthv1.HealthCheckRequest{Service: echoService})
	return err
}

func echo(_ context.Context, in string) (string, error) { return in, nil }

// TestMaxCalls: the bound holds for all connections together, says so at once, spares health checks, and is given back
// however a call ends.
func TestMaxCalls(t *testing.T) {
	r := serve(t, func(c *grpcserver.Config) { c.MaxCalls, c.ReceiveTimeout = 2, time.Hour }, echo)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open(ctx, t, r.connect(t))
	other := r.connect(t)
	open(t.Context(), t, other)
	r.await(t, "grpc_server_inflight_calls", 2)
	_, err := r.echo(t.Context(), "x")
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "--grpc.max-calls") {
		t.Errorf("over the bound: got %v", err)
	}
	if err := r.healthy(t.Context()); err != nil {
		t.Errorf("health: %v", err)
	}
	if got := r.metric(t, "grpc_server_refused_calls_total"); got != 1 {
		t.Errorf("got %v refusals counted, want 1", got)
	}
	cancel()
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	r.await(t, "grpc_server_inflight_calls", 0)
	if err := r.conn.Invoke(t.Context(), "/test.Echo/Nonsense", wrapperspb.String(""), &wrapperspb.StringValue{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("unknown method: got %v", err)
	}
	for range 5 {
		if out, err := r.echo(t.Context(), "x"); err != nil || out != "x" {
			t.Fatalf("after it: got %q %v", out, err)
		}
		r.await(t, "grpc_server_inflight_calls", 0) // its place is given back a moment after its answer
	}
	r.await(t, "grpc_server_receiving_calls", 0)
}

// TestMaxReceiving: requests are received one after another; handlers, which have limits of their own, are not held up.
func TestMaxReceiving(t *testing.T) {
	entered, release := make(chan struct{}, 3), make(chan struct{})
	r := serve(t, func(c *grpcserver.Config) { c.MaxReceiving, c.ReceiveTimeout = 1, time.Hour }, func(_ context.Context, in string) (string, error) {
		entered <- struct{}{}
		<-release
		return in, nil
	})
	// Its message has come, its end has not: it holds both a message and the turn.
	first := open(t.Context(), t, r.connect(t))
	if err := first.SendMsg(wrapperspb.String("x")); err != nil {
		t.Fatal(err)
	}
	r.await(t, "grpc_server_receiving_calls", 1)
	done := make(chan error, 2)
	for range cap(done) {
		go func() { _, err := r.echo(context.Background(), strings.Repeat("x", 1<<20)); done <- err }()
	}
	r.await(t, "grpc_server_inflight_calls", 3)
	select {
	case <-entered:
		t.Error("a request was received out of turn")
	default:
	}
	if err := r.healthy(t.Context()); err != nil {
		t.Errorf("health: %v", err)
	}
	if err := first.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-entered // all three at once
	}
	close(release)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := first.RecvMsg(&wrapperspb.StringValue{}); err != nil {
		t.Error(err)
	}
}

// TestReceiveTimeout: who does not send his request does not keep the turn of others. His time ends when the test says so:
// that of the others, who do send theirs, must not.
func TestReceiveTimeout(t *testing.T) {
	began := make(chan func(), 2)
	r := serveWithTimers(t, func(c *grpcserver.Config) { c.MaxReceiving, c.ReceiveTimeout = 1, time.Hour }, echo,
		func(d time.Duration, f func()) *time.Timer {
			began <- f
			return time.AfterFunc(d, f)
		})
	silent := open(t.Context(), t, r.connect(t))
	timeUp := <-began
	answer := make(chan error, 1)
	go func() {
		out, err := r.echo(context.Background(), "x")
		if err == nil && out != "x" {
			err = fmt.Errorf("got %q", out)
		}
		answer <- err
	}()
	r.await(t, "grpc_server_inflight_calls", 2)
	timeUp()
	if err := <-answer; err != nil {
		t.Errorf("the call that waited for its turn: %v", err)
	}
	if err := silent.RecvMsg(&wrapperspb.StringValue{}); status.Code(err) != codes.Canceled {
		t.Errorf("the silent call: got %v, want its end", err)
	}
	if got := r.metric(t, "grpc_server_refused_calls_total"); got != 1 {
		t.Errorf("got %v refusals counted, want 1", got)
	}
}

func TestBoundsAreChecked(t *testing.T) {
	err := grpcserver.Config{}.Validate()
	for _, want := range []string{"--grpc.max-calls", "--grpc.max-receiving", "--grpc.receive-timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
}
