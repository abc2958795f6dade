// SPDX-License-Identifier: Apache-2.0

package forward_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/gateway/internal/forward"
	"github.com/tributary-project/tributary/gateway/internal/payload"
	"github.com/tributary-project/tributary/internal/fairgate"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// writerFunc is an ingest service.
type writerFunc func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error)

func (f writerFunc) Write(ctx context.Context, req *ingestv1.WriteRequest, _ ...grpc.CallOption) (*ingestv1.WriteResponse, error) {
	return f(ctx, req)
}

func newForwarder(w writerFunc) *forward.Forwarder {
	return &forward.Forwarder{
		Ingest: w, Gate: fairgate.New(fairgate.Limits{}, time.Now), Timeout: time.Minute,
		Reader:   payload.NewReader(payload.Limits{MaxBytes: 1 << 20, MaxDecompressedBytes: 1 << 20, Timeout: time.Minute}),
		CallerID: func(*http.Request) string { return "caller" },
	}
}

// TestAbandonedCall: a call inside the process returns when its context ends, even while the service still reads the
// request. What it reads must stay this request's, whatever comes next.
func TestAbandonedCall(t *testing.T) {
	var abandoned [][]byte
	f := newForwarder(func(ctx context.Context, req *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		if ctx.Err() != nil {
			abandoned = append(abandoned, req.GetPayload())
			return nil, ctx.Err()
		}
		return &ingestv1.WriteResponse{}, nil
	})
	post := func(ctx context.Context, content byte) error {
		body := append([]byte{100}, bytes.Repeat([]byte{content}, 99)...)
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
		_, err := f.Write(httptest.NewRecorder(), r, forward.Message{Encoding: ingestv1.Encoding_ENCODING_SNAPPY}, time.Now())
		return err
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if err := post(gone, 'a'); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want a cancellation", err)
		}
		if err := post(t.Context(), 'b'); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range abandoned {
		if len(p) != 100 || bytes.Count(p, []byte("a")) != 99 {
			t.Fatalf("an abandoned request holds another one's bytes: %q", p)
		}
	}
}

// TestFailedCall: after an error a transport may still hold the payload; only after a success its buffer is used again.
func TestFailedCall(t *testing.T) {
	var held [][]byte
	f := newForwarder(func(_ context.Context, req *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		if req.GetPayload()[1] == 'a' {
			held = append(held, req.GetPayload())
			return nil, status.Error(codes.ResourceExhausted, "refused before the payload was read")
		}
		return &ingestv1.WriteResponse{}, nil
	})
	for range 20 {
		for _, content := range []byte("ab") {
			body := append([]byte{100}, bytes.Repeat([]byte{content}, 99)...)
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
			_, err := f.Write(httptest.NewRecorder(), r, forward.Message{Encoding: ingestv1.Encoding_ENCODING_SNAPPY}, time.Now())
			if (err != nil) != (content == 'a') {
				t.Fatalf("got %v", err)
			}
		}
	}
	for _, p := range held {
		if len(p) != 100 || bytes.Count(p, []byte("a")) != 99 {
			t.Fatalf("a request that failed holds another one's bytes: %q", p)
		}
	}
	if f.Gate.Requests() != 0 || f.Gate.Bytes() != 0 {
		t.Errorf("%d requests and %d bytes are still counted", f.Gate.Requests(), f.Gate.Bytes())
	}
}
