// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tributary-project/tributary/gateway"
	"github.com/tributary-project/tributary/gateway/internal/httperr"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

const (
	otlpPath = "/api/v1/otlp/v1/metrics"
	typeJSON = "application/json"
)

// export sends body to the OTLP path; an empty encoding is left out.
func (s *system) export(method, contentType, encoding string, body []byte) answer {
	s.tb.Helper()
	req, err := http.NewRequest(method, s.url+otlpPath, bytes.NewReader(body))
	if err != nil {
		s.tb.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	return s.do(req)
}

// decodeOTLP reads an answer in the encoding that it claims, which must be that of the request.
func decodeOTLP(t *testing.T, got answer, requestType string, into proto.Message) {
	t.Helper()
	if h := got.header.Get("Content-Type"); h != requestType {
		t.Errorf("got Content-Type %q, want %q", h, requestType)
	}
	unmarshal := proto.Unmarshal
	if requestType == typeJSON {
		unmarshal = protojson.Unmarshal
	}
	if err := unmarshal([]byte(got.body), into); err != nil {
		t.Fatalf("%q: %v", got.body, err)
	}
}

func TestOTLPNegotiation(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.MaxRequestBytes, c.MaxDecompressedBytes = 2000, 1000 })
	const (
		protobuf, json = ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS, ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS_JSON
		plain, gzip    = ingestv1.Encoding_ENCODING_UNSPECIFIED, ingestv1.Encoding_ENCODING_GZIP
		zstd           = ingestv1.Encoding_ENCODING_ZSTD
	)
	gzipBody, zstdBody := []byte("\x1f\x8bgzip"), []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 1, 0, 0}
	zstdBomb := []byte{0x28, 0xb5, 0x2f, 0xfd, 1<<6 | 1<<5, 0xff, 0xff, 1, 0, 0}
	tests := []struct {
		name, method, contentType, encoding string
		body                                []byte
		want                                int
		wantMessage                         ingestv1.MessageType
		wantEncoding                        ingestv1.Encoding
		wantType                            string // of the answer
	}{
		{"protobuf", "POST", typeV1, "", []byte("x"), 200, protobuf, plain, typeV1},
		{"empty message", "POST", typeV1, "", nil, 200, protobuf, plain, typeV1},
		{"protobuf, gzip", "POST", typeV1, "gzip", gzipBody, 200, protobuf, gzip, typeV1},
		{"protobuf, zstd", "POST", typeV1, "zstd", zstdBody, 200, protobuf, zstd, typeV1},
		{"json", "POST", typeJSON, "", []byte("{}"), 200, json, plain, typeJSON},
		{"json, identity", "POST", typeJSON, "identity", []byte("{}"), 200, json, plain, typeJSON},
		{"json, gzip", "POST", typeJSON, "gzip", gzipBody, 200, json, gzip, typeJSON},
		{"json with a parameter", "POST", "application/json; charset=utf-8", "", []byte("{}"), 200, json, plain, typeJSON},
		{"no type", "POST", "", "", []byte("x"), 200, protobuf, plain, typeV1},
		{"text", "POST", "text/plain", "", []byte("x"), 415, 0, 0, typeJSON},
		{"snappy", "POST", typeV1, "snappy", []byte("x"), 415, 0, 0, typeV1},
		{"json, br", "POST", typeJSON, "br", []byte("x"), 415, 0, 0, typeJSON},
		{"not gzip", "POST", typeV1, "gzip", []byte("x"), 400, 0, 0, typeV1},
		{"GET", "GET", typeJSON, "", nil, 405, 0, 0, typeJSON},
		{"GET without a type", "GET", "", "", nil, 405, 0, 0, typeV1},
		{"too large", "POST", typeV1, "gzip", make([]byte, 2001), 413, 0, 0, typeV1},
		{"too large plain", "POST", typeJSON, "", make([]byte, 1001), 413, 0, 0, typeJSON},
		{"too large by its header", "POST", typeV1, "zstd", zstdBomb, 413, 0, 0, typeV1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(s.ingest.calls())
			got := s.export(tt.method, tt.contentType, tt.encoding, tt.body)
			if got.code != tt.want {
				t.Fatalf("got %d %q, want %d", got.code, got.body, tt.want)
			}
			calls := s.ingest.calls()[before:]
			if tt.want != 200 {
				var st statuspb.Status
				decodeOTLP(t, got, tt.wantType, &st)
				if st.GetCode() == 0 || st.GetMessage() == "" || len(calls) != 0 {
					t.Errorf("got %v and %d calls, want a status that says why and none", &st, len(calls))
				}
				if tt.want == 405 && got.header.Get("Allow") != "POST" {
					t.Errorf("got Allow %q", got.header.Get("Allow"))
				}
				return
			}
			var res collectorv1.ExportMetricsServiceResponse
			decodeOTLP(t, got, tt.wantType, &res)
			if res.GetPartialSuccess() != nil || writtenOf(got.header) != "" {
				t.Errorf("got %v, %v; want a bare success", &res, got.header)
			}
			if len(calls) != 1 || calls[0].GetMessageType() != tt.wantMessage || calls[0].GetEncoding() != tt.wantEncoding ||
				!bytes.Equal(calls[0].GetPayload(), tt.body) || calls[0].GetCallerId() != "127.0.0.1" {
				t.Errorf("got %v", calls)
			}
		})
	}
	for _, path := range []string{"/v1/metrics", "/otlp/v1/metrics"} {
		s.wantCode(path, 405) // there, and only POST
	}
	s.wantCode("/v1/traces", 404)
}

func TestOTLPAnswers(t *testing.T) {
	s := start(t, nil)
	counts := func(received, stored, rejected uint64) *ingestv1.Counts {
		return &ingestv1.Counts{Received: received, Stored: stored, Rejected: rejected}
	}
	rejections := []*ingestv1.Rejection{
		{Kind: "samples", Reason: "delta_temporality", Count: 3, Examples: []string{"requests_total{}: delta temporality; " + strings.Repeat("ü", 3000)}},
		{Kind: "histograms", Reason: "conflict", Count: 1, Examples: []string{"latency{}: another value is stored"}},
	}
	tests := []struct {
		name         string
		give         *ingestv1.WriteResponse
		err          error
		want         int
		wantCode     codes.Code
		wantRejected int64
		wantText     string // what it begins with
	}{
		{"stored", &ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{Samples: counts(3, 3, 0)}}, nil, 200, 0, 0, ""},
		{
			"rejected in part", &ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{Samples: counts(5, 2, 3), Histograms: counts(2, 1, 1)}, Rejections: rejections}, nil,
			200, 0, 4, "samples: 3 of 5 rejected, 2 written; histograms: 1 of 2 rejected, 1 written; reasons: samples delta_temporality 3, histograms conflict 1; examples: delta_temporality: requests_total{}",
		},
		{
			"all rejected", &ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{Samples: counts(5, 0, 5)}}, nil,
			200, 0, 5, "samples: 5 of 5 rejected, 0 written",
		},
		{"exemplars that would make a remote write fail", &ingestv1.WriteResponse{
			Ledger: &ingestv1.Ledger{Samples: counts(1, 1, 0), Exemplars: counts(2, 0, 2)}, Rejections: []*ingestv1.Rejection{{Kind: "exemplars", Reason: "invalid_utf8", Count: 2}},
		}, nil, 200, 0, 0, ""},
		{"only exemplars rejected", &ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{Samples: counts(1, 1, 0), Exemplars: counts(2, 0, 2)}}, nil, 200, 0, 0, ""},
		{
			"deferred", &ingestv1.WriteResponse{
				Ledger: &ingestv1.Ledger{Samples: counts(5, 2, 0)}, DeferredReason: "throttled", RetryAfter: durationpb.New(time.Second),
			}, nil, 503, codes.Unavailable, 0, "try again: throttled",
		},
		{"gate of ingest full", nil, status.Error(codes.ResourceExhausted, "full"), 503, codes.Unavailable, 0, "full"},
		{"ingest away", nil, status.Error(codes.Unavailable, "away"), 503, codes.Unavailable, 0, httperr.Unreachable("ingest") + "away"},
		{"undecodable", nil, status.Error(codes.InvalidArgument, "not a message"), 400, codes.InvalidArgument, 0, "not a message"},
		{"no such table", nil, status.Error(codes.NotFound, "no table"), 404, codes.NotFound, 0, "no table"},
		{"bug", nil, status.Error(codes.Internal, "bug"), 500, codes.Internal, 0, "bug"},
	}
	for _, tt := range tests {
		for _, contentType := range []string{typeV1, typeJSON} {
			t.Run(tt.name+"/"+contentType, func(t *testing.T) {
				s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) { return tt.give, tt.err }
				got := s.export("POST", contentType, "", []byte("x"))
				if got.code != tt.want {
					t.Fatalf("got %d %q, want %d", got.code, got.body, tt.want)
				}
				checkRetryAfter(t, got, tt.want == 503)
				if tt.want != 200 {
					var st statuspb.Status
					decodeOTLP(t, got, contentType, &st)
					if codes.Code(st.GetCode()) != tt.wantCode || !strings.HasPrefix(st.GetMessage(), tt.wantText) {
						t.Errorf("got %v, want %s %q", &st, tt.wantCode, tt.wantText)
					}
					return
				}
				var res collectorv1.ExportMetricsServiceResponse
				decodeOTLP(t, got, contentType, &res)
				p := res.GetPartialSuccess()
				if (p != nil) != (tt.wantRejected > 0) || p.GetRejectedDataPoints() != tt.wantRejected || !strings.HasPrefix(p.GetErrorMessage(), tt.wantText) {
					t.Errorf("got %v, want %d and %q", &res, tt.wantRejected, tt.wantText)
				}
				if n := len(p.GetErrorMessage()); n > 1024 || !utf8.ValidString(p.GetErrorMessage()) {
					t.Errorf("the text has %d bytes", n)
				}
				if contentType == typeJSON && tt.wantRejected > 0 && !strings.Contains(strings.ReplaceAll(got.body, " ", ""), fmt.Sprintf(`"rejectedDataPoints":"%d"`, tt.wantRejected)) {
					t.Errorf("got %q, want OTLP's JSON names and 64-bit numbers as text", got.body)
				}
			})
		}
	}
	if n := s.metric("tributary_gateway_http_refused_total", "path", otlpPath, "reason", "rejected_samples"); n != 4 {
		t.Errorf("%v partial successes counted, want 4", n)
	}
}

// TestOTLPOverload: what is over a bound is refused at once, in OTLP's terms.
func TestOTLPOverload(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.MaxInFlightRequests = 1 })
	entered, release := make(chan struct{}), make(chan struct{})
	s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		close(entered)
		<-release
		return &ingestv1.WriteResponse{}, nil
	}
	first := make(chan answer, 1)
	go func() { first <- s.post("/api/v1/write", typeV1, []byte{0}) }()
	<-entered
	got := s.export("POST", typeV1, "", []byte("x"))
	var st statuspb.Status
	decodeOTLP(t, got, typeV1, &st)
	if got.code != 503 || !strings.Contains(st.GetMessage(), "--web.max-inflight-requests") {
		t.Errorf("got %d %v, want 503 that names the flag", got.code, &st)
	}
	checkRetryAfter(t, got, true)
	close(release)
	if got := <-first; got.code != 204 {
		t.Errorf("got %d", got.code)
	}
}

// TestOTLPClientGone: a client that goes away takes its call with it, and a deadline becomes a 503.
func TestOTLPClientGone(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.WriteTimeout = 10 * time.Second })
	called, ended := make(chan struct{}), make(chan error, 1)
	s.ingest.write = func(ctx context.Context, _ *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		close(called)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+otlpPath, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", typeV1)
	go func() { <-called; cancel() }()
	if res, err := s.client.Do(req); err == nil {
		_ = res.Body.Close()
		t.Fatal("the call was not canceled")
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ingest saw %v, want a cancellation", err)
	}
	s.await("499 counted", func() bool {
		return s.metric("tributary_gateway_http_requests_total", "path", otlpPath, "code", "499") == 1
	})
	s.await("everything given back", func() bool {
		return s.metric("tributary_gateway_inflight_bytes") == 0 && s.metric("tributary_gateway_inflight_requests") == 0
	})

	s = start(t, func(c *gateway.Config) { c.WriteTimeout = 50 * time.Millisecond })
	s.ingest.write = func(ctx context.Context, _ *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	got := s.export("POST", typeJSON, "", []byte("{}"))
	if got.code != 503 {
		t.Errorf("got %d %q, want 503", got.code, got.body)
	}
	checkRetryAfter(t, got, true)
}
