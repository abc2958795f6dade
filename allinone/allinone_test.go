// SPDX-License-Identifier: Apache-2.0

package allinone

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// panicking is a service with a bug.
type panicking struct {
	ingestv1.UnsafeIngestServiceServer
	seen []byte
}

func (p *panicking) Write(_ context.Context, r *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
	if len(r.Payload) == 0 {
		panic("boom")
	}
	p.seen = r.Payload
	return &ingestv1.WriteResponse{}, nil
}

func TestInProcessConnection(t *testing.T) {
	var log strings.Builder
	service := &panicking{}
	conn := inProcess(func(r grpc.ServiceRegistrar) { ingestv1.RegisterIngestServiceServer(r, service) },
		ingestv1.IngestService_ServiceDesc.ServiceName, slog.New(slog.NewTextHandler(&log, nil)))
	client := ingestv1.NewIngestServiceClient(conn)

	if _, err := client.Write(t.Context(), &ingestv1.WriteRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("a panic in a call: got %v, want Internal", err)
	}
	if !strings.Contains(log.String(), "boom") {
		t.Errorf("the panic is not in the log: %s", log.String())
	}

	payload := []byte("abc")
	if _, err := client.Write(t.Context(), &ingestv1.WriteRequest{Payload: payload}); err != nil {
		t.Fatal(err)
	}
	payload[0] = 'x' // the gateway uses its buffers again
	if string(service.seen) != "abc" {
		t.Errorf("the service saw %q: the caller's buffer was not copied", service.seen)
	}

	h, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: ingestv1.IngestService_ServiceDesc.ServiceName})
	if err != nil || h.Status != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: got %v, %v", h, err)
	}
}
