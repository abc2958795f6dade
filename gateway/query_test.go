// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/tributary-project/tributary/gateway"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// jsonPaths are the paths of the methods of the query service.
func jsonPaths() map[string]string {
	return map[string]string{
		"Read": "read", "Query": "query", "QueryRange": "query_range", "Series": "series", "LabelNames": "labels", "LabelValues": "label_values",
		"Metadata": "metadata", "QueryExemplars": "query_exemplars", "SQL": "sql",
	}
}

// everyMethod is a query service whose every method answers a header and a trailer, and then an error if there is one.
type everyMethod struct {
	tb testing.TB

	mu      sync.Mutex
	callers map[string]string // by method
	err     error             // instead of the trailer
}

func (f *everyMethod) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *everyMethod) caller(method string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.callers[method]
}

// newMessage returns a message of a registered type.
func newMessage(tb testing.TB, d protoreflect.MessageDescriptor) protoreflect.Message {
	tb.Helper()
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		tb.Fatal(err)
	}
	return t.New()
}

// methods are those of the contract.
func methods() protoreflect.MethodDescriptors {
	return queryv1.File_tributary_query_v1_query_proto.Services().ByName("QueryService").Methods()
}

func (f *everyMethod) register(s *grpc.Server) {
	desc := queryv1.QueryService_ServiceDesc
	desc.HandlerType, desc.Streams = nil, append([]grpc.StreamDesc(nil), desc.Streams...)
	for i := range desc.Streams {
		m := methods().ByName(protoreflect.Name(desc.Streams[i].StreamName))
		desc.Streams[i].Handler = func(_ any, stream grpc.ServerStream) error { return f.answer(m, stream) }
	}
	s.RegisterService(&desc, nil)
}

func (f *everyMethod) answer(m protoreflect.MethodDescriptor, stream grpc.ServerStream) error {
	req := newMessage(f.tb, m.Input())
	if err := stream.RecvMsg(req.Interface()); err != nil {
		return err
	}
	f.mu.Lock()
	f.callers[string(m.Name())] = req.Get(m.Input().Fields().ByName("caller_id")).String()
	err := f.err
	f.mu.Unlock()
	for _, part := range []protoreflect.Name{"header", "trailer"} {
		if part == "trailer" && err != nil {
			return err
		}
		out := newMessage(f.tb, m.Output())
		out.Mutable(m.Output().Fields().ByName(part))
		if err := stream.SendMsg(out.Interface()); err != nil {
			return err
		}
	}
	return nil
}

// startEvery starts a gateway before such a service.
func startEvery(t *testing.T, edit func(*gateway.Config)) (*system, *everyMethod) {
	t.Helper()
	f := &everyMethod{tb: t, callers: map[string]string{}}
	s := newSystem(t)
	s.queryRole = newRole(t, f.register)
	cfg := testConfig()
	edit(&cfg)
	s.run(func() (*gateway.Gateway, error) { return gateway.New(cfg, s.deps()) })
	return s, f
}

// TestEveryMethodByGRPC holds that the gateway's own port offers all of the query service, within its gate.
func TestEveryMethodByGRPC(t *testing.T) {
	s, f := startEvery(t, func(c *gateway.Config) { c.MaxInFlightRequests = 1 })
	conn, err := grpc.NewClient(s.gateway.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	call := func(m protoreflect.MethodDescriptor) (messages int, err error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/"+queryv1.QueryService_ServiceDesc.ServiceName+"/"+string(m.Name()))
		if err != nil {
			return 0, err
		}
		req := newMessage(t, m.Input())
		req.Set(m.Input().Fields().ByName("caller_id"), protoreflect.ValueOfString("somebody else"))
		// A call that is over already ends both by io.EOF; RecvMsg tells why.
		if err := errors.Join(stream.SendMsg(req.Interface()), stream.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for {
			err := stream.RecvMsg(newMessage(t, m.Output()).Interface())
			if errors.Is(err, io.EOF) {
				return messages, nil
			}
			if err != nil {
				return messages, err
			}
			messages++
		}
	}
	for i := range methods().Len() {
		m := methods().Get(i)
		f.fail(nil)
		if n, err := call(m); n != 2 || err != nil {
			t.Errorf("%s: got %d messages and %v, want 2", m.Name(), n, err)
		}
		if c := f.caller(string(m.Name())); c != "127.0.0.1" {
			t.Errorf("%s: got caller %q", m.Name(), c)
		}
		f.fail(status.Error(codes.DataLoss, "text"))
		if n, err := call(m); n != 1 || status.Code(err) != codes.DataLoss || status.Convert(err).Message() != "text" {
			t.Errorf("%s: got %d messages and %v, want the error unchanged after one", m.Name(), n, err)
		}
		f.fail(nil)
		ctx, release := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/api/v1/write", io.MultiReader(strings.NewReader("x"), blockedReader{ctx}))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if res, err := s.client.Do(req); err == nil {
				_ = res.Body.Close()
			}
		}()
		s.await("the only place is taken", func() bool { return s.metric("tributary_gateway_inflight_requests") == 1 })
		if _, err := call(m); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "--web.max-inflight-requests") {
			t.Errorf("%s: got %v, want ResourceExhausted that names the flag", m.Name(), err)
		}
		release()
		<-ended
		s.await("the place is free", func() bool { return s.metric("tributary_gateway_inflight_requests") == 0 })
	}
}

// blockedReader has nothing until its context ends.
type blockedReader struct{ ctx context.Context }

func (r blockedReader) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, r.ctx.Err()
}

// TestEveryMethodByJSON holds that every method has its path, and that an error right after the header still is a status
// code.
func TestEveryMethodByJSON(t *testing.T) {
	s, f := startEvery(t, func(*gateway.Config) {})
	if n := methods().Len(); n != len(jsonPaths()) {
		t.Errorf("the test knows %d methods of %d", len(jsonPaths()), n)
	}
	for method, path := range jsonPaths() {
		m := methods().ByName(protoreflect.Name(method))
		req := newMessage(t, m.Input()).Interface()
		f.fail(nil)
		got := s.postJSON("/api/tributary/v1/"+path, req)
		var parts []string
		for dec := json.NewDecoder(strings.NewReader(got.body)); dec.More(); {
			var line struct{ Result map[string]any }
			if err := dec.Decode(&line); err != nil {
				t.Fatal(err)
			}
			for k := range line.Result {
				parts = append(parts, k)
			}
		}
		if got.code != 200 || strings.Join(parts, " ") != "header trailer" {
			t.Errorf("%s: got %d %v", method, got.code, parts)
		}
		if c := f.caller(method); c != "127.0.0.1" {
			t.Errorf("%s: got caller %q", method, c)
		}
		f.fail(status.Error(codes.Unavailable, "away"))
		if got := s.postJSON("/api/tributary/v1/"+path, req); got.code != 503 || !strings.Contains(got.body, "away") {
			t.Errorf("%s: got %d %s, want 503", method, got.code, got.body)
		}
		if got := s.get("/api/tributary/v1/" + path); got.code != 501 && got.code != 405 {
			t.Errorf("GET %s: got %d", path, got.code)
		}
	}
}

// TestPrometheusAPI holds that the API is there, counted, and has the gateway's own settings. Its content is tested where it
// is made.
func TestPrometheusAPI(t *testing.T) {
	s, f := startEvery(t, func(c *gateway.Config) { c.CORSOrigin = "https://a" })
	got := s.get("/api/v1/labels")
	if got.code != 200 || got.body != `{"status":"success","data":[]}` || f.caller("LabelNames") != "127.0.0.1" {
		t.Errorf("got %d %s for %q", got.code, got.body, f.caller("LabelNames"))
	}
	if got := s.get("/api/v1/status/flags"); got.body != `{"status":"success","data":{"web.listen-address":"127.0.0.1:0"}}` {
		t.Errorf("got %s", got.body)
	}
	req, err := http.NewRequest(http.MethodGet, s.url+"/api/v1/label/a/values?limit=x", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://a")
	if got := s.do(req); got.code != 400 || got.header.Get("Access-Control-Allow-Origin") != "https://a" {
		t.Errorf("got %d %v", got.code, got.header)
	}
	s.wantCode("/api/v1/nonsense", 404)
	for _, name := range []string{
		`tributary_gateway_http_requests_total{code="200",path="/api/v1/labels"}`,
		`tributary_gateway_http_requests_total{code="404",path="/api/v1/"}`,
		`tributary_gateway_http_refused_total{path="/api/v1/label/{name}/values",reason="bad_data"}`,
	} {
		if !strings.Contains(s.get("/metrics").body, name+" 1\n") {
			t.Errorf("no metric %s", name)
		}
	}
}
