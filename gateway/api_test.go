// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tributary-project/tributary/gateway"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"
)

// postJSON sends a message to the JSON mapping.
func (s *system) postJSON(path string, m proto.Message) answer {
	s.tb.Helper()
	body, err := protojson.Marshal(m)
	if err != nil {
		s.tb.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer secret")
	req.Header.Set("Grpc-Metadata-Secret", "secret")
	return s.do(req)
}

func TestJSONWrite(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.MaxRequestBytes, c.MaxDecompressedBytes = 10_000, 1000 })
	req := &ingestv1.WriteRequest{
		MessageType: ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1, Encoding: ingestv1.Encoding_ENCODING_SNAPPY,
		Payload: snappy.Encode(nil, []byte("message")), Destination: &ingestv1.Destination{Database: "d", Table: "t"},
		CallerId: "somebody else",
	}
	counts := func(rejected uint64) *ingestv1.Ledger {
		return &ingestv1.Ledger{Samples: &ingestv1.Counts{Received: 2, Stored: 2 - rejected, Rejected: rejected}}
	}
	tests := []struct {
		name string
		give *ingestv1.WriteResponse
		err  error
		want int
	}{
		{"stored", &ingestv1.WriteResponse{Ledger: counts(0)}, nil, 200},
		{"rejected", &ingestv1.WriteResponse{Ledger: counts(1)}, nil, 400},
		{"deferred", &ingestv1.WriteResponse{Ledger: counts(0), DeferredReason: "throttled", RetryAfter: durationpb.New(time.Second)}, nil, 503},
		{"gate full", nil, status.Error(codes.ResourceExhausted, "full"), 503},
		{"undecodable", nil, status.Error(codes.InvalidArgument, "bad"), 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.ingest.write = func(ctx context.Context, got *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
				want := proto.CloneOf(req)
				want.CallerId = "127.0.0.1"
				if !proto.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				if md, _ := metadata.FromIncomingContext(ctx); strings.Contains(strings.ToLower(mdString(md)), "secret") {
					t.Errorf("a header of the caller went through: %v", md)
				}
				return tt.give, tt.err
			}
			got := s.postJSON("/api/tributary/v1/write", req)
			if got.code != tt.want {
				t.Fatalf("got %d %q, want %d", got.code, got.body, tt.want)
			}
			checkRetryAfter(t, got, tt.want == 503)
			if tt.err != nil {
				if !strings.Contains(got.body, grpcStatus(tt.err).Message()) {
					t.Errorf("got %q, want the error", got.body)
				}
				return
			}
			var res ingestv1.WriteResponse
			if err := protojson.Unmarshal([]byte(got.body), &res); err != nil || !proto.Equal(&res, tt.give) {
				t.Errorf("got %v %v, want %v", &res, err, tt.give)
			}
		})
	}

	// What fails depends on the message.
	s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		return &ingestv1.WriteResponse{Ledger: counts(0), Rejections: []*ingestv1.Rejection{{Kind: "exemplars", Reason: "invalid_symbols", Count: 1}}}, nil
	}
	for m, want := range map[ingestv1.MessageType]int{ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1: 200, ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2: 400} {
		of := proto.CloneOf(req)
		of.MessageType = m
		if got := s.postJSON("/api/tributary/v1/write", of); got.code != want {
			t.Errorf("exemplars of unknown symbols in %s: got %d, want %d", m, got.code, want)
		}
	}

	s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		return nil, status.Error(codes.PermissionDenied, "403 of a proxy")
	}
	if got := s.postJSON("/api/tributary/v1/write", req); got.code != 503 {
		t.Errorf("denied on the way to ingest: got %d %q, want 503", got.code, got.body)
	}
	s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		t.Error("a refused request reached ingest")
		return nil, errors.New("unexpected")
	}
	bomb := proto.CloneOf(req)
	bomb.Payload = binary.AppendUvarint(nil, 1<<30)
	if got := s.postJSON("/api/tributary/v1/write", bomb); got.code != 413 || !strings.Contains(got.body, "--web.max-decompressed-bytes") {
		t.Errorf("bomb: got %d %q, want 413", got.code, got.body)
	}
	large := proto.CloneOf(req)
	large.Payload = make([]byte, 10_000)
	if got := s.postJSON("/api/tributary/v1/write", large); got.code != 413 || !strings.Contains(got.body, "--web.max-request-bytes") {
		t.Errorf("large: got %d %q, want 413", got.code, got.body)
	}
	if got := s.post("/api/tributary/v1/write", "application/json", []byte("{nonsense")); got.code != 400 {
		t.Errorf("nonsense: got %d, want 400", got.code)
	}
	s.wantCode("/api/tributary/v1/nonsense", 404)
	if n := s.metric("tributary_gateway_inflight_bytes"); n != 0 {
		t.Errorf("%v bytes still count as in flight", n)
	}
}

func mdString(md metadata.MD) string {
	var b strings.Builder
	for k, v := range md {
		b.WriteString(k + "=" + strings.Join(v, ",") + "\n")
	}
	return b.String()
}

func TestJSONRead(t *testing.T) {
	s := start(t, nil)
	req := &queryv1.ReadRequest{StartMs: 1, EndMs: 2, Matchers: []*queryv1.LabelMatcher{{Type: queryv1.LabelMatcher_TYPE_EQUAL, Name: "a", Value: "b"}}}
	s.query.read = series(func(got *queryv1.ReadRequest) []*prompb.TimeSeries {
		want := proto.CloneOf(req)
		want.CallerId = "127.0.0.1"
		if !proto.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		return []*prompb.TimeSeries{{}, {}}
	})
	got := s.postJSON("/api/tributary/v1/read", req)
	if got.code != 200 {
		t.Fatalf("got %d %q", got.code, got.body)
	}
	dec := json.NewDecoder(strings.NewReader(got.body))
	var kinds []string
	for {
		var m struct {
			Result map[string]json.RawMessage `json:"result"`
		}
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for k := range m.Result {
			kinds = append(kinds, k)
		}
	}
	if want := "header timeSeries timeSeries trailer"; strings.Join(kinds, " ") != want {
		t.Errorf("got messages %v, want %s", kinds, want)
	}
	s.query.read = func(*queryv1.ReadRequest, grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
		return status.Error(codes.Unavailable, "away")
	}
	got = s.postJSON("/api/tributary/v1/read", req)
	if got.code != 503 || !strings.Contains(got.body, "away") {
		t.Errorf("got %d %q, want 503", got.code, got.body)
	}
	checkRetryAfter(t, got, true)
}

// TestJSONReadBuffer: what a message becomes in JSON counts as memory, at the first message and at later ones.
func TestJSONReadBuffer(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.MaxReadBufferBytes = 100 << 10 })
	req := &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{{Type: queryv1.LabelMatcher_TYPE_EQUAL, Name: "a", Value: "b"}}}
	series := func(n int) *queryv1.ReadResponse {
		return &queryv1.ReadResponse{Message: &queryv1.ReadResponse_TimeSeries{TimeSeries: make([]byte, n)}}
	}
	for _, tt := range []struct {
		name     string
		give     []*queryv1.ReadResponse
		wantCode int
		wantText bool
	}{
		{"many that fit", []*queryv1.ReadResponse{header(), series(15_000), series(15_000), series(15_000), trailer()}, 200, false},
		{"the first does not", []*queryv1.ReadResponse{header(), series(30_000), trailer()}, 503, true},
		{"a later one does not", []*queryv1.ReadResponse{header(), series(1), series(30_000), trailer()}, 200, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.query.read = func(_ *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
				return send(out, tt.give...)
			}
			got := s.postJSON("/api/tributary/v1/read", req)
			if got.code != tt.wantCode || strings.Contains(got.body, "--read.max-buffer-bytes") != tt.wantText {
				t.Errorf("got %d %.300q, want %d, flag named: %t", got.code, got.body, tt.wantCode, tt.wantText)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	s := start(t, nil)
	status := func(path string, want int) *statusv1.GetStatusResponse {
		t.Helper()
		got := s.get("/api/tributary/v1/status" + path)
		if got.code != want {
			t.Fatalf("%s: got %d %q, want %d", path, got.code, got.body, want)
		}
		var res statusv1.GetStatusResponse
		if want == 200 {
			if err := protojson.Unmarshal([]byte(got.body), &res); err != nil {
				t.Fatal(err)
			}
		}
		return &res
	}
	own := status("", 200)
	if own.GetRole() != "gateway" || own.GetBuild().GetVersion() != "1.2.3" || len(own.GetSettings()) != 1 || own.GetStartTime() == nil {
		t.Errorf("got %v", own)
	}
	if d := own.GetDependencies(); len(d) != 2 || d[0].GetName() != "ingest" || !d[0].GetHealthy() || d[1].GetTarget() != "query.example:9221" {
		t.Errorf("got dependencies %v", d)
	}
	if got := status("/ingest", 200); got.GetRole() != "ingest" || got.GetLedger().GetSamples().GetReceived() != 4711 {
		t.Errorf("got %v", got)
	}
	if got := status("/query", 200); got.GetRole() != "query" {
		t.Errorf("got %v", got)
	}
	status("/nonsense", 404)
	s.queryRole.stop()
	s.await("query is known to be down", func() bool { return s.gateway.Ready("query") != nil })
	status("/query", 503)
	if d := status("/gateway", 200).GetDependencies()[1]; d.GetHealthy() || d.GetMessage() == "" {
		t.Errorf("got %v, want query to be down", d)
	}
}

// TestGRPC calls the gateway's own gRPC port.
func TestGRPC(t *testing.T) {
	s := start(t, func(c *gateway.Config) {
		c.MaxRequestBytes, c.MaxDecompressedBytes = 100_000, 200_000
		c.MaxInFlightRequests = 1
		c.WriteTimeout = time.Minute
	})
	conn, err := grpc.NewClient(s.gateway.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := t.Context()
	ingest, query := ingestv1.NewIngestServiceClient(conn), queryv1.NewQueryServiceClient(conn)
	req := &ingestv1.WriteRequest{Encoding: ingestv1.Encoding_ENCODING_SNAPPY, Payload: snappy.Encode(nil, []byte("x")), CallerId: "somebody else"}
	want := &ingestv1.WriteResponse{DeferredReason: "throttled", Ledger: &ingestv1.Ledger{Samples: &ingestv1.Counts{Received: 1, Deferred: 1}}}
	s.ingest.write = func(ctx context.Context, got *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		if got.GetCallerId() != "127.0.0.1" {
			t.Errorf("got caller %q", got.GetCallerId())
		}
		if d, ok := ctx.Deadline(); !ok || time.Until(d) > time.Minute {
			t.Errorf("got deadline %v %t, want one within the write timeout", d, ok)
		}
		return want, nil
	}
	got, err := ingest.Write(ctx, req)
	if err != nil || !proto.Equal(got, want) {
		t.Errorf("got %v %v, want the account unchanged", got, err)
	}

	s.ingest.write = func(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
		return nil, status.Error(codes.FailedPrecondition, "text")
	}
	if _, err := ingest.Write(ctx, req); status.Code(err) != codes.FailedPrecondition || grpcStatus(err).Message() != "text" {
		t.Errorf("got %v, want the error unchanged", err)
	}
	plain := proto.CloneOf(req)
	plain.Encoding, plain.Payload = ingestv1.Encoding_ENCODING_UNSPECIFIED, nil
	if _, err := ingest.Write(ctx, plain); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a plain payload is not looked at: got %v", err)
	}

	bomb := proto.CloneOf(req)
	bomb.Payload = binary.AppendUvarint(nil, 1<<30)
	_, err = ingest.Write(ctx, bomb)
	st := grpcStatus(err)
	if st.Code() != codes.InvalidArgument || len(st.Details()) != 1 || st.Details()[0].(*errdetails.ErrorInfo).GetReason() != "DECOMPRESSED_TOO_LARGE" {
		t.Errorf("bomb: got %v %v", err, st.Details())
	}
	bomb.Payload = nil
	if _, err = ingest.Write(ctx, bomb); status.Code(err) != codes.InvalidArgument {
		t.Errorf("corrupt: got %v", err)
	}
	large := proto.CloneOf(req)
	large.Payload = make([]byte, 200_000)
	if _, err := ingest.Write(ctx, large); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("larger than a message: got %v, want ResourceExhausted", err)
	}

	// One stream takes the only place; the next call is refused at once.
	entered, release := make(chan struct{}), make(chan struct{})
	s.query.read = func(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
		if err := send(out, header()); err != nil {
			return err
		}
		close(entered)
		<-release
		return send(out, trailer("w"))
	}
	stream, err := query.Read(ctx, &queryv1.ReadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	if _, err := ingest.Write(ctx, req); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "--web.max-inflight-requests") {
		t.Errorf("got %v, want ResourceExhausted that names the flag", err)
	}
	close(release)
	var last *queryv1.ReadResponse
	for n := 0; ; n++ {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if n != 2 || last.GetTrailer().GetWarnings()[0] != "w" {
				t.Errorf("got %d messages, the last %v", n, last)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = m
	}

	res, err := statusv1.NewStatusServiceClient(conn).GetStatus(ctx, &statusv1.GetStatusRequest{Role: "ingest"})
	if err != nil || res.GetRole() != "ingest" {
		t.Errorf("got %v %v", res, err)
	}
	h, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: "tributary.ingest.v1.IngestService"})
	if err != nil || h.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("got %v %v", h, err)
	}
}
