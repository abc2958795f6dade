// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tributary-project/tributary/gateway"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

func query(start, end int64, matchers ...*prompb.LabelMatcher) *prompb.Query {
	return &prompb.Query{StartTimestampMs: start, EndTimestampMs: end, Matchers: matchers}
}

func readRequest(tb testing.TB, queries ...*prompb.Query) []byte {
	return encodeRead(tb, &prompb.ReadRequest{Queries: queries})
}

func encodeRead(tb testing.TB, req *prompb.ReadRequest) []byte {
	tb.Helper()
	b, err := req.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return snappy.Encode(nil, b)
}

func part(ts *prompb.TimeSeries) *queryv1.ReadResponse {
	b, err := ts.Marshal()
	if err != nil {
		panic(err)
	}
	return &queryv1.ReadResponse{Message: &queryv1.ReadResponse_TimeSeries{TimeSeries: b}}
}

func header() *queryv1.ReadResponse {
	return &queryv1.ReadResponse{Message: &queryv1.ReadResponse_Header{Header: &queryv1.ReadHeader{ResponseType: queryv1.ResponseType_RESPONSE_TYPE_SAMPLES}}}
}

func trailer(warnings ...string) *queryv1.ReadResponse {
	return &queryv1.ReadResponse{Message: &queryv1.ReadResponse_Trailer{Trailer: &queryv1.ReadTrailer{Warnings: warnings}}}
}

func send(out grpc.ServerStreamingServer[queryv1.ReadResponse], messages ...*queryv1.ReadResponse) error {
	for _, m := range messages {
		if err := out.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// series answers every read with the series of f.
func series(f func(*queryv1.ReadRequest) []*prompb.TimeSeries) func(*queryv1.ReadRequest, grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
	return func(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
		messages := []*queryv1.ReadResponse{header()}
		if f != nil {
			for _, ts := range f(req) {
				messages = append(messages, part(ts))
			}
		}
		return send(out, append(messages, trailer("a warning"))...)
	}
}

func decodeRead(t *testing.T, got answer) *prompb.ReadResponse {
	t.Helper()
	if got.code != 200 {
		t.Fatalf("got %d %q", got.code, got.body)
	}
	if ct, ce := got.header.Get("Content-Type"), got.header.Get("Content-Encoding"); ct != "application/x-protobuf" || ce != "snappy" {
		t.Errorf("got type %q, encoding %q", ct, ce)
	}
	plain, err := snappy.Decode(nil, []byte(got.body))
	if err != nil {
		t.Fatal(err)
	}
	res := &prompb.ReadResponse{}
	if err := res.Unmarshal(plain); err != nil {
		t.Fatal(err)
	}
	return res
}

// TestReadTranslation: everything a query says reaches the query service.
func TestReadTranslation(t *testing.T) {
	s := start(t, nil)
	var mu sync.Mutex
	var got *queryv1.ReadRequest
	s.query.read = func(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
		mu.Lock()
		got = req
		mu.Unlock()
		return send(out, header(), trailer())
	}
	decodeRead(t, s.post("/api/v1/read", typeV1, readRequest(t, &prompb.Query{
		StartTimestampMs: -5, EndTimestampMs: math.MaxInt64,
		Matchers: []*prompb.LabelMatcher{
			{Type: prompb.LabelMatcher_EQ, Name: "__name__", Value: "up"},
			{Type: prompb.LabelMatcher_NEQ, Name: "a", Value: "b'\"\n"},
			{Type: prompb.LabelMatcher_RE, Name: "c", Value: ".*"},
			{Type: prompb.LabelMatcher_NRE, Name: "d", Value: "x|y"},
		},
		Hints: &prompb.ReadHints{StepMs: 1, Func: "rate", StartMs: 2, EndMs: 3, Grouping: []string{"g"}, By: true, RangeMs: 4},
	})))
	want := &queryv1.ReadRequest{
		StartMs: -5, EndMs: math.MaxInt64,
		Matchers: []*queryv1.LabelMatcher{
			{Type: queryv1.LabelMatcher_TYPE_EQUAL, Name: "__name__", Value: "up"},
			{Type: queryv1.LabelMatcher_TYPE_NOT_EQUAL, Name: "a", Value: "b'\"\n"},
			{Type: queryv1.LabelMatcher_TYPE_REGEX_MATCH, Name: "c", Value: ".*"},
			{Type: queryv1.LabelMatcher_TYPE_REGEX_NO_MATCH, Name: "d", Value: "x|y"},
		},
		Hints:        &queryv1.ReadHints{StepMs: 1, Func: "rate", StartMs: 2, EndMs: 3, Grouping: []string{"g"}, By: true, RangeMs: 4},
		ResponseType: queryv1.ResponseType_RESPONSE_TYPE_SAMPLES,
		CallerId:     "127.0.0.1",
	}
	mu.Lock()
	defer mu.Unlock()
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestReadResults compares answers with the message that Prometheus would build from the same series: several queries
// are answered apart, in order, however large and however fast each is.
func TestReadResults(t *testing.T) {
	s := start(t, nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	made := func(name string, samples int) *prompb.TimeSeries {
		ts := &prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: name}}}
		for i := range samples {
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: int64(i), Value: math.Float64frombits(rnd.Uint64())})
		}
		return ts
	}
	stale := made("stale", 0)
	stale.Samples = []prompb.Sample{{Timestamp: 7, Value: math.Float64frombits(0x7ff0000000000002)}}
	// Results of no series, of an empty one, of less than a block of snappy, of exactly about one, and of many.
	byStart := map[int64][]*prompb.TimeSeries{
		0: nil,
		1: {{}},
		2: {made("a", 3), stale},
		3: {made("b", 65536/18)},
		4: {made("c", 20_000), made("d", 1), made("e", 50_000)},
	}
	s.query.read = func(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
		time.Sleep(time.Duration(5-req.GetStartMs()) * time.Millisecond) // the first ones end last
		return series(func(req *queryv1.ReadRequest) []*prompb.TimeSeries { return byStart[req.GetStartMs()] })(req, out)
	}
	for _, order := range [][]int64{nil, {0}, {1}, {2}, {3}, {4}, {4, 0, 2, 1, 3, 2, 4}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			var queries []*prompb.Query
			want := &prompb.ReadResponse{}
			for _, q := range order {
				queries = append(queries, query(q, 10))
				want.Results = append(want.Results, &prompb.QueryResult{Timeseries: byStart[q]})
			}
			got := s.post("/read", typeV1, readRequest(t, queries...))
			if got.code != 200 {
				t.Fatalf("got %d %q", got.code, got.body)
			}
			plain, err := snappy.Decode(nil, []byte(got.body))
			if err != nil {
				t.Fatal(err)
			}
			wantBytes, err := want.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if string(plain) != string(wantBytes) {
				t.Errorf("got %d bytes that are not the %d of Prometheus' own encoding", len(plain), len(wantBytes))
			}
		})
	}
	s.await("buffers given back", func() bool { return s.metric("tributary_gateway_read_buffer_bytes") == 0 })
}

func TestReadNegotiation(t *testing.T) {
	s := start(t, nil)
	s.query.read = func(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
		return send(out, &queryv1.ReadResponse{Message: &queryv1.ReadResponse_Header{Header: &queryv1.ReadHeader{ResponseType: req.GetResponseType()}}}, trailer())
	}
	const samplesType, chunksType = "application/x-protobuf", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
	xor, samples := prompb.ReadRequest_STREAMED_XOR_CHUNKS, prompb.ReadRequest_SAMPLES
	tests := []struct {
		name     string
		giveType string
		give     []prompb.ReadRequest_ResponseType
		want     int
		wantType string
	}{
		{"no list", typeV1, nil, 200, samplesType},
		{"samples", typeV1, []prompb.ReadRequest_ResponseType{samples}, 200, samplesType},
		{"what Prometheus sends", typeV1, []prompb.ReadRequest_ResponseType{xor, samples}, 200, chunksType},
		{"samples before chunks", typeV1, []prompb.ReadRequest_ResponseType{samples, xor}, 200, samplesType},
		{"only chunks", typeV1, []prompb.ReadRequest_ResponseType{xor}, 200, chunksType},
		{"only unknown", typeV1, []prompb.ReadRequest_ResponseType{42}, 400, ""},
		{"unknown and samples", typeV1, []prompb.ReadRequest_ResponseType{42, samples}, 200, samplesType},
		{"unknown and chunks", typeV1, []prompb.ReadRequest_ResponseType{42, xor, samples}, 200, chunksType},
		{"no type", "-", nil, 200, samplesType},
		{"what Thanos sends", "application/x-stream-protobuf", nil, 200, samplesType},
		{"json", "application/json", nil, 415, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.post("/api/v1/read", tt.giveType, encodeRead(t, &prompb.ReadRequest{Queries: []*prompb.Query{query(0, 1)}, AcceptedResponseTypes: tt.give}))
			if got.code != tt.want {
				t.Errorf("got %d %q, want %d", got.code, got.body, tt.want)
			}
			if ct := got.header.Get("Content-Type"); tt.want == 200 && ct != tt.wantType {
				t.Errorf("got type %q, want %q", ct, tt.wantType)
			}
		})
	}
	s.wantCode("/api/v1/read", 405)
}

func TestReadBadRequests(t *testing.T) {
	s := start(t, func(c *gateway.Config) {
		c.MaxReadQueries = 3
		c.MaxRequestBytes, c.MaxDecompressedBytes = 10_000, 100_000
	})
	called := make(chan struct{}, 100)
	s.query.read = func(*queryv1.ReadRequest, grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
		called <- struct{}{}
		return nil
	}
	valid := readRequest(t, query(0, 1))
	tests := []struct {
		name     string
		give     []byte
		want     int
		wantText string
	}{
		{"empty", nil, 400, "snappy"},
		{"corrupt snappy", append([]byte{200, 1}, 0xff, 0xff, 0xff), 400, "snappy"},
		{"truncated snappy", valid[:len(valid)-1], 400, "snappy"},
		{"claims more than it can hold", []byte{0x80, 0x80, 0x04, 0, 0}, 400, "shorter than what it claims"},
		{"not a request", snappy.Encode(nil, []byte("nonsense")), 400, "prometheus.ReadRequest"},
		{"too large", make([]byte, 10_001), 413, "--web.max-request-bytes"},
		{"too large decompressed", []byte{0xa1, 0x8d, 0x06, 0, 0}, 413, "--web.max-decompressed-bytes"},
		{"too many queries", readRequest(t, query(0, 1), query(0, 1), query(0, 1), query(0, 1)), 400, "--read.max-queries"},
		{"name is no UTF-8", readRequest(t, query(0, 1, &prompb.LabelMatcher{Name: "\xff", Value: "b"})), 400, `query 0: matcher 0, "\xff" with "b", is not UTF-8, which labels are`},
		{"value is no UTF-8", readRequest(t, query(0, 1, &prompb.LabelMatcher{Name: "a", Value: "\xff"})), 400, `query 0: matcher 0, "a" with "\xff", is not UTF-8, which labels are`},
		{"unknown matcher", readRequest(t, query(0, 1), query(0, 1, &prompb.LabelMatcher{Type: 9, Name: "a"})), 400, "query 1: unknown matcher type 9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.post("/api/v1/read", typeV1, tt.give)
			if got.code != tt.want || !strings.Contains(got.body, tt.wantText) {
				t.Errorf("got %d %q, want %d %q", got.code, got.body, tt.want, tt.wantText)
			}
		})
	}
	if len(called) != 0 {
		t.Errorf("%d bad requests reached the query service", len(called))
	}
}

func TestReadErrors(t *testing.T) {
	s := start(t, nil)
	limit, err := status.New(codes.ResourceExhausted, "over --storage.remote.read-sample-limit").WithDetails(&errdetails.ErrorInfo{Reason: "RESULT_TOO_LARGE", Domain: "tributary"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		give  error // after one part; nil ends the stream without a trailer
		want  int
		retry bool
	}{
		{"invalid", status.Error(codes.InvalidArgument, "x"), 400, false},
		{"not found", status.Error(codes.NotFound, "x"), 404, false},
		{"gate full", status.Error(codes.ResourceExhausted, "x"), 503, true},
		{"a message too large for gRPC", status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 8)"), 400, false},
		{"denied", status.Error(codes.PermissionDenied, "x"), 403, false},
		{"over a limit of the service", limit.Err(), 400, false},
		{"away", status.Error(codes.Unavailable, "x"), 503, true},
		{"bug", status.Error(codes.Internal, "x"), 500, false},
		{"no trailer", nil, 503, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			running, others := make(chan struct{}), make(chan struct{})
			s.query.read = func(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
				if req.GetStartMs() == 0 { // the query beside the failing one ends with it
					close(running)
					<-out.Context().Done()
					close(others)
					return out.Context().Err()
				}
				if err := send(out, header(), part(&prompb.TimeSeries{})); err != nil {
					return err
				}
				<-running
				return tt.give
			}
			got := s.post("/api/v1/read", typeV1, readRequest(t, query(0, 1), query(1, 1)))
			if got.code != tt.want {
				t.Errorf("got %d %q, want %d", got.code, got.body, tt.want)
			}
			checkRetryAfter(t, got, tt.retry)
			select {
			case <-others:
			case <-time.After(time.Minute):
				t.Error("the other query still runs")
			}
		})
	}
}

// TestReadLimits: an answer over a limit ends its reads and names the flag.
func TestReadLimits(t *testing.T) {
	tests := []struct {
		name     string
		give     func(*gateway.Config)
		want     int
		wantText string
	}{
		{"response", func(c *gateway.Config) { c.MaxReadResponseBytes = 1 << 20 }, 400, "--read.max-response-bytes"},
		{"buffers", func(c *gateway.Config) { c.MaxReadBufferBytes = 1 << 20 }, 503, "--read.max-buffer-bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, tt.give)
			ended := make(chan struct{})
			s.query.read = func(_ *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
				defer close(ended)
				rnd := rand.New(rand.NewPCG(1, 2))
				ts := &prompb.TimeSeries{}
				for range 1000 {
					ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: rnd.Int64(), Value: rnd.Float64()})
				}
				for { // until the gateway has had enough
					if err := send(out, part(ts)); err != nil {
						return err
					}
				}
			}
			got := s.post("/api/v1/read", typeV1, readRequest(t, query(0, 1)))
			if got.code != tt.want || !strings.Contains(got.body, tt.wantText) {
				t.Errorf("got %d %q, want %d and %s", got.code, got.body, tt.want, tt.wantText)
			}
			checkRetryAfter(t, got, tt.want == 503)
			<-ended
			s.await("buffers given back", func() bool { return s.metric("tributary_gateway_read_buffer_bytes") == 0 })
		})
	}
}

// TestReadConcurrency: the queries of one request run at once, but not more than the bound.
func TestReadConcurrency(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.ReadConcurrency = 2 })
	var mu sync.Mutex
	running, most := 0, 0
	both := make(chan struct{})
	s.query.read = func(_ *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
		mu.Lock()
		running++
		if most = max(most, running); running == 2 && most == 2 {
			select {
			case <-both:
			default:
				close(both)
			}
		}
		mu.Unlock()
		<-both
		mu.Lock()
		running--
		mu.Unlock()
		return send(out, header(), trailer())
	}
	res := decodeRead(t, s.post("/api/v1/read", typeV1, readRequest(t, query(0, 1), query(0, 1), query(0, 1), query(0, 1), query(0, 1))))
	if len(res.Results) != 5 || most != 2 {
		t.Errorf("got %d results, %d at once; want 5, 2", len(res.Results), most)
	}
}

func TestReadTimeout(t *testing.T) {
	s := start(t, func(c *gateway.Config) { c.ReadTimeout = 50 * time.Millisecond })
	s.query.read = func(_ *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
		<-out.Context().Done()
		return context.Cause(out.Context())
	}
	got := s.post("/api/v1/read", typeV1, readRequest(t, query(0, 1)))
	if got.code != 503 {
		t.Errorf("got %d %q, want 503", got.code, got.body)
	}
	checkRetryAfter(t, got, true)
}

// TestReadKeepsConnection: the time limit of one answer does not reach into the next on the same connection.
func TestReadKeepsConnection(t *testing.T) {
	s := start(t, nil)
	s.query.read = series(func(*queryv1.ReadRequest) []*prompb.TimeSeries { return []*prompb.TimeSeries{{}} })
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limitListener{Listener: inner}
	server := &http.Server{Handler: s.gateway.Handler(), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { _ = server.Serve(l); close(served) }()
	defer func() {
		_ = server.Close()
		<-served
	}()
	s.url = "http://" + l.Addr().String()
	want := decodeRead(t, s.post("/api/v1/read", typeV1, readRequest(t, query(0, 1))))
	if got := s.get("/-/healthy"); got.code != 200 {
		t.Errorf("got %d", got.code)
	}
	if got := decodeRead(t, s.post("/api/v1/read", typeV1, readRequest(t, query(0, 1)))); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if l.connections.Load() != 1 || l.limits.Load() != 2 || l.old.Load() != 0 {
		t.Errorf("%d connections, %d time limits, %d answers within that of an earlier one; want 1, 2, 0", l.connections.Load(), l.limits.Load(), l.old.Load())
	}
}

// limitListener counts its connections, the time limits that are set for writing to them, and what is written within one that
// was set before the last request came.
type limitListener struct {
	net.Listener
	connections, limits, old atomic.Int64
}

func (l *limitListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.connections.Add(1)
	return &limitConn{Conn: c, listener: l}, nil
}

type limitConn struct {
	net.Conn
	listener *limitListener

	mu            sync.Mutex
	limit, before time.Time // in force, and when something was read last
}

func (c *limitConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.mu.Lock()
		c.before = c.limit
		c.mu.Unlock()
	}
	return n, err
}

func (c *limitConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if !c.limit.IsZero() && c.limit.Equal(c.before) {
		c.listener.old.Add(1)
	}
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *limitConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	c.limit = t
	c.mu.Unlock()
	if !t.IsZero() {
		c.listener.limits.Add(1)
	}
	return c.Conn.SetWriteDeadline(t)
}
