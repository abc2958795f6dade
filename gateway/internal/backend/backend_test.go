// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/gateway/internal/backend"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted answers health checks in turn, the last answer for ever.
type scripted struct {
	grpc.ClientConnInterface
	answers chan any // error or status
}

func (s scripted) Invoke(ctx context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	if method != "/grpc.health.v1.Health/Check" || in.(*healthv1.HealthCheckRequest).GetService() != "test.Service" {
		return errors.New("unexpected call of " + method)
	}
	select {
	case a := <-s.answers:
		if err, ok := a.(error); ok {
			return err
		}
		out.(*healthv1.HealthCheckResponse).Status = a.(healthv1.HealthCheckResponse_ServingStatus)
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// TestWatcher: one replica that fails beside one that answers is no failure of the role, two failures in a row are.
func TestWatcher(t *testing.T) {
	away := status.Error(codes.Unavailable, "connection refused")
	const serving, notServing = healthv1.HealthCheckResponse_SERVING, healthv1.HealthCheckResponse_NOT_SERVING
	conn := scripted{answers: make(chan any)}
	outcomes := make(chan bool)
	w := backend.NewWatcher("ingest", "test.Service", conn, time.Millisecond, slog.New(slog.DiscardHandler), func(healthy bool) { outcomes <- healthy })
	if w.Err() == nil {
		t.Error("a role that nobody has asked counts as reachable")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for _, tt := range []struct {
		give []any
		want string // empty: reachable
	}{
		{[]any{away, away}, "ingest is unreachable: connection refused"},
		{[]any{serving}, ""},
		{[]any{away, serving}, ""},
		{[]any{notServing, serving}, ""},
		{[]any{away, notServing}, "ingest is NOT_SERVING"},
		{[]any{serving}, ""},
	} {
		for _, a := range tt.give {
			conn.answers <- a
		}
		healthy := <-outcomes
		err := w.Err()
		if healthy != (tt.want == "") || (err == nil) != healthy || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %t, %v; want %q", tt.give, healthy, err, tt.want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v", err)
	}
	if w.Err() != nil {
		t.Errorf("the end of the watch counts as a failure: %v", w.Err())
	}
}
