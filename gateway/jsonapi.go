// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tributary-project/tributary/gateway/internal/account"
	"github.com/tributary-project/tributary/gateway/internal/httperr"
	"github.com/tributary-project/tributary/gateway/internal/payload"
	"github.com/tributary-project/tributary/internal/fairgate"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"
)

// jsonHandler offers the services as JSON. Status codes are those of the Prometheus paths: a sender that looks at them
// alone is told the truth, also about a write that was only accounted for.
func (g *Gateway) jsonHandler() (http.Handler, error) {
	refused := g.metrics.refusedFor(jsonPrefix)
	mux := runtime.NewServeMux(
		// No header of a caller reaches a service.
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithErrorHandler(func(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
			from := httperr.From
			if r.URL.Path == jsonPrefix+"write" {
				from = httperr.FromWrite
			}
			refusal := from(err)
			refused(refusal.Reason)
			refusal.SetHeaders(w.Header())
			runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, &runtime.HTTPStatusError{HTTPStatus: refusal.Status, Err: err})
		}),
		// A wrong method or path is told as the Prometheus paths tell it, not as an error of a service.
		runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, status int) {
			http.Error(w, http.StatusText(status), status)
		}),
		runtime.WithForwardResponseOption(func(ctx context.Context, w http.ResponseWriter, m proto.Message) error {
			res, ok := m.(*ingestv1.WriteResponse)
			if !ok {
				return nil
			}
			if refusal := account.Refusal(jsonCallOf(ctx).message, res); refusal != nil {
				refused(refusal.Reason)
				refusal.SetHeaders(w.Header())
				w.WriteHeader(refusal.Status)
			}
			return nil
		}),
	)
	ctx := context.Background()
	if err := ingestv1.RegisterIngestServiceHandlerServer(ctx, mux, jsonIngest{server: g.ingest}); err != nil {
		return nil, fmt.Errorf("JSON mapping: %w", err)
	}
	if err := queryv1.RegisterQueryServiceHandlerClient(ctx, mux, jsonQuery{g.query.client}); err != nil {
		return nil, fmt.Errorf("JSON mapping: %w", err)
	}
	if err := statusv1.RegisterStatusServiceHandlerServer(ctx, mux, g.status); err != nil {
		return nil, fmt.Errorf("JSON mapping: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.serveJSON(mux, refused, w, r)
	}), nil
}

// serveJSON lets a call in and reads its body, within the limits of all bodies, before anything is decoded.
func (g *Gateway) serveJSON(mux *runtime.ServeMux, refused func(string), w http.ResponseWriter, r *http.Request) {
	timeout := max(g.cfg.ReadTimeout, g.cfg.WriteTimeout)
	call := &jsonCall{caller: httpCaller(r), buffers: g.buffers}
	defer call.release()
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), jsonCallKey{}, call), timeout)
	defer cancel()
	// The end of ctx does not end a Write to a client that takes nothing; twice, so that an error still gets out.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * timeout)) //nolint:errcheck // a test's recorder has none
	r = r.Clone(ctx)
	r.Header.Del("Authorization") // the one header that grpc-gateway passes on unasked
	if r.Method == http.MethodPost {
		free, err := g.readJSONBody(w, r)
		if err != nil {
			refusal := httperr.From(err)
			refused(refusal.Reason)
			refusal.Write(w)
			return
		}
		defer free()
	}
	mux.ServeHTTP(w, r)
}

// readJSONBody replaces the body of r by one in memory; free ends the request.
func (g *Gateway) readJSONBody(w http.ResponseWriter, r *http.Request) (free func(), err error) {
	ticket, err := g.gate.Enter(httpCaller(r), 0)
	if err != nil {
		return nil, payload.Overloaded(err)
	}
	body, err := g.reader.Read(w, r, ticket)
	if err != nil {
		ticket.Leave()
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body.Bytes))
	return func() { body.Free(); ticket.Leave() }, nil
}

// jsonCall is what the JSON mapping has to know of a call in more than one place.
type jsonCall struct {
	caller  string
	message ingestv1.MessageType // of a write, once it is decoded
	// held is what the messages of a stream take of buffers until the next one is asked for. One goroutine uses it.
	buffers *fairgate.Gate
	held    *fairgate.Ticket
}

// jsonExpansion is how many bytes a byte of a message takes until it is sent: itself, as base64, and that twice while it is
// put into JSON and indented.
const jsonExpansion = 5

// hold accounts for a message. Only here a series is more than a part of what is in memory: it is turned into text whole.
func (c *jsonCall) hold(m any) error {
	pm, ok := m.(proto.Message)
	if !ok || c.buffers == nil {
		return nil
	}
	if c.held == nil {
		t, err := c.buffers.Enter(c.caller, 0)
		if err != nil {
			return status.Error(codes.ResourceExhausted, err.Error())
		}
		c.held = t
	}
	n := proto.Size(pm)
	if err := c.held.Take(jsonExpansion * int64(n)); err != nil {
		return status.Errorf(codes.ResourceExhausted, "a part of the answer has %d bytes, which take %d times as many in JSON: %v; gRPC and Prometheus' own paths take less", n, jsonExpansion, err)
	}
	return nil
}

// release gives back what is held.
func (c *jsonCall) release() {
	if c.held != nil {
		c.held.Leave()
		c.held = nil
	}
}

// jsonCallKey is the context key of a *jsonCall.
type jsonCallKey struct{}

// jsonCallOf returns the call that serveJSON has let in.
func jsonCallOf(ctx context.Context) *jsonCall {
	if call, ok := ctx.Value(jsonCallKey{}).(*jsonCall); ok {
		return call
	}
	return &jsonCall{}
}

// jsonIngest is the ingest service for calls that serveJSON has let in.
type jsonIngest struct {
	ingestv1.UnsafeIngestServiceServer
	server *ingestServer
}

// Write implements ingestv1.IngestServiceServer.
func (s jsonIngest) Write(ctx context.Context, req *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
	call := jsonCallOf(ctx)
	call.message = req.GetMessageType()
	return s.server.write(ctx, req, call.caller)
}

// jsonQuery is a client of the query service for calls that serveJSON has let in. Each method waits for the first message
// that is more than a header, so that a call which fails at once is answered with a status code instead of an error inside
// a 200.
type jsonQuery struct{ queryv1.QueryServiceClient }

var _ queryv1.QueryServiceClient = jsonQuery{}

// Read implements queryv1.QueryServiceClient.
func (q jsonQuery) Read(ctx context.Context, req *queryv1.ReadRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[queryv1.ReadResponse], error) {
	req.CallerId = jsonCallOf(ctx).caller
	stream, err := q.QueryServiceClient.Read(ctx, req, opts...)
	return peek(jsonCallOf(ctx), stream, err)
}

// Query implements queryv1.QueryServiceClient.
func (q jsonQuery) Query(ctx context.Context, req *queryv1.QueryRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[queryv1.QueryResponse], error) {
	req.CallerId = jsonCallOf(ctx).caller
	stream, err := q.QueryServiceClient.Query(ctx, req, opts...)
	return peek(jsonCallOf(ctx), stream, err)
}

// QueryRange implements queryv1.QueryServiceClient.
func (q jsonQuery) QueryRange(ctx context.Context, req *queryv1.QueryRangeRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[queryv1.QueryRangeResponse], error) {
	req.CallerId = jsonCallOf(ctx).caller
	stream, err := q.QueryServiceClient.QueryRange(ctx, req, opts...)
	return peek(jsonCallOf(ctx), stream, err)
}

// Series implements queryv1.QueryServiceClient.
func (q jsonQuery) Series(ctx context.Context, req *queryv1.SeriesRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[queryv1.SeriesResponse], error) {
	req.CallerId = jsonCallOf(ctx).caller
	stream, err := q.QueryServiceClient.Series(ctx, req, opts...)
	return peek(jsonCallOf(ctx), stream, err)
}

// LabelNames implements queryv1.QueryServiceClient.
func (q jsonQuery) LabelNames(ctx context.Context, req *queryv1.LabelNamesRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[queryv1.LabelNamesResponse], error) {
	req.CallerId = jsonCallOf(ctx).caller
	stream, err := q.QueryServiceClient.LabelNames(ctx, req, opts...)
	return peek(jsonCallOf(ctx), stream, err)
}

// LabelValues implements queryv1.QueryServiceClient.
func (q jsonQuery) LabelValues(ctx context.Context, req *queryv1.LabelValuesRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[queryv1.LabelValuesResponse], error) {
	req.CallerId = jsonCallOf(ctx).caller
	stream, err := q.QueryServiceClient.LabelValues(ctx, req, opts...)
	return peek(jsonCallOf(ctx), stream, err)
}

// Metadata implements queryv1.QueryServiceClient.
func (q jsonQuery) Metadata(ctx context.Context, req *queryv1.MetadataRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[queryv1.MetadataResponse], error) {
	req.CallerId = jsonCallOf(ctx).caller
	stream, err := q.QueryServiceClient.Metadata(ctx, req, opts...)
	return peek(jsonCallOf(ctx), stream, err)
}

// QueryExemplars implements queryv1.QueryServiceClient.
func (q jsonQuery) QueryExemplars(ctx context.Context, req *queryv1.QueryExemplarsRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[queryv1.QueryExemplarsResponse], error) {
	req.CallerId = jsonCallOf(ctx).caller
	stream, err := q.QueryServiceClient.QueryExemplars(ctx, req, opts...)
	return peek(jsonCallOf(ctx), stream, err)
}

// SQL implements queryv1.QueryServiceClient.
func (q jsonQuery) SQL(ctx context.Context, req *queryv1.SQLRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[queryv1.SQLResponse], error) {
	req.CallerId = jsonCallOf(ctx).caller
	stream, err := q.QueryServiceClient.SQL(ctx, req, opts...)
	return peek(jsonCallOf(ctx), stream, err)
}

// peek takes the header of a stream and the message after it.
func peek[M any](call *jsonCall, stream grpc.ServerStreamingClient[M], err error) (grpc.ServerStreamingClient[M], error) {
	if err != nil {
		return nil, err
	}
	out := &peekedStream[M]{ServerStreamingClient: stream, call: call}
	for range 2 {
		m, err := stream.Recv()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err != nil {
			out.err = err
			break
		}
		if err := call.hold(m); err != nil {
			return nil, err
		}
		out.taken = append(out.taken, m)
	}
	return out, nil
}

// peekedStream is a stream whose first messages were taken already.
type peekedStream[M any] struct {
	grpc.ServerStreamingClient[M]
	call  *jsonCall
	taken []*M
	err   error // io.EOF when there were no more
}

// Recv implements grpc.ServerStreamingClient.
func (s *peekedStream[M]) Recv() (*M, error) {
	if len(s.taken) > 0 {
		m := s.taken[0]
		s.taken = s.taken[1:]
		return m, nil
	}
	if s.err != nil {
		return nil, s.err
	}
	s.call.release()
	m, err := s.ServerStreamingClient.Recv()
	if err != nil {
		return nil, err
	}
	if err := s.call.hold(m); err != nil {
		return nil, err
	}
	return m, nil
}
