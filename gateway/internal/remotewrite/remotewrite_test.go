// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/tributary-project/tributary/gateway/internal/gate"
	"github.com/tributary-project/tributary/gateway/internal/payload"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// writerFunc is an ingest service.
type writerFunc func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error)

func (f writerFunc) Write(ctx context.Context, req *ingestv1.WriteRequest, _ ...grpc.CallOption) (*ingestv1.WriteResponse, error) {
	return f(ctx, req)
}

func newHandler(w writerFunc) *Handler {
	return &Handler{
		Ingest: w, Gate: gate.New(gate.Limits{}), Timeout: time.Minute,
		Reader:   payload.NewReader(payload.Limits{MaxBytes: 1 << 20, MaxDecompressedBytes: 1 << 20, Timeout: time.Minute}),
		Refused:  func(string) {},
		Logger:   slog.New(slog.DiscardHandler),
		CallerID: func(*http.Request) string { return "" },
	}
}

// TestAbandonedCall: a call inside the process returns when its context ends, even while the service still reads the
// request. What it reads must stay this request's, whatever comes next.
func TestAbandonedCall(t *testing.T) {
	var abandoned [][]byte
	h := newHandler(func(ctx context.Context, req *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		if ctx.Err() != nil {
			abandoned = append(abandoned, req.GetPayload())
			return nil, ctx.Err()
		}
		return &ingestv1.WriteResponse{}, nil
	})
	post := func(ctx context.Context, content byte) int {
		body := append([]byte{100}, bytes.Repeat([]byte{content}, 99)...)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body)))
		return rec.Code
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if code := post(gone, 'a'); code != 499 {
			t.Fatalf("got %d, want 499", code)
		}
		if code := post(t.Context(), 'b'); code != http.StatusNoContent {
			t.Fatalf("got %d, want 204", code)
		}
	}
	for _, p := range abandoned {
		if len(p) != 100 || bytes.Count(p, []byte("a")) != 99 {
			t.Fatalf("an abandoned request holds another one's bytes: %q", p)
		}
	}
}
