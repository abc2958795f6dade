// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
	"github.com/tributary-project/tributary/gateway/internal/payload"
	"github.com/tributary-project/tributary/internal/fairgate"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

const (
	// maxStreamsPerConnection bounds the calls, and with them the messages, that one connection may have in flight.
	maxStreamsPerConnection = 128
	// maxCallerBytes is what the services take of a caller's name.
	maxCallerBytes = 128
)

// ingestServer is the ingest service as the gateway offers it: the one behind it, within the gateway's limits.
type ingestServer struct {
	ingestv1.UnsafeIngestServiceServer
	client  ingestv1.IngestServiceClient
	gate    *fairgate.Gate
	reader  *payload.Reader
	timeout time.Duration
}

// Write implements ingestv1.IngestServiceServer.
func (s *ingestServer) Write(ctx context.Context, req *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
	caller := grpcCaller(ctx)
	ticket, err := s.gate.Enter(caller, int64(len(req.GetPayload())))
	if err != nil {
		return nil, status.Error(codes.ResourceExhausted, err.Error())
	}
	defer ticket.Leave()
	return s.write(ctx, req, caller)
}

// write passes on a request that a gate has let in. Who calls is what the gateway saw, whatever the request says.
func (s *ingestServer) write(ctx context.Context, req *ingestv1.WriteRequest, caller string) (*ingestv1.WriteResponse, error) {
	if err := s.reader.CheckDeclared(req.GetEncoding(), req.GetPayload()); err != nil {
		return nil, grpcError(err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req.CallerId = caller
	return s.client.Write(ctx, req)
}

// grpcError says a refusal in gRPC's terms.
func grpcError(err error) error {
	r := httperr.From(err)
	st := status.New(codes.InvalidArgument, r.Text)
	if r.Status == http.StatusRequestEntityTooLarge {
		if detailed, err := st.WithDetails(&errdetails.ErrorInfo{Reason: httperr.ReasonDecompressedTooLarge, Domain: httperr.Domain}); err == nil {
			st = detailed
		}
	}
	return st.Err()
}

// queryServer is the query service as the gateway offers it: the one behind it, within the gateway's limits.
type queryServer struct {
	queryv1.UnsafeQueryServiceServer
	client  queryv1.QueryServiceClient
	gate    *fairgate.Gate
	timeout time.Duration
}

// relay lets a call in and passes on its messages one by one; the client's pace is the pace of the stream behind. Who calls
// is what the gateway saw, whatever the request says: callerID is the request's field for that.
func relay[Q, M any](
	s *queryServer, req *Q, callerID *string, out grpc.ServerStreamingServer[M],
	call func(context.Context, *Q, ...grpc.CallOption) (grpc.ServerStreamingClient[M], error),
) error {
	caller := grpcCaller(out.Context())
	ticket, err := s.gate.Enter(caller, 0)
	if err != nil {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	defer ticket.Leave()
	ctx, cancel := context.WithTimeout(out.Context(), s.timeout)
	defer cancel()
	*callerID = caller
	in, err := call(ctx, req)
	if err != nil {
		return err
	}
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.Send(m); err != nil {
			return err
		}
	}
}

// Read implements queryv1.QueryServiceServer.
func (s *queryServer) Read(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
	return relay(s, req, &req.CallerId, out, s.client.Read)
}

// Query implements queryv1.QueryServiceServer.
func (s *queryServer) Query(req *queryv1.QueryRequest, out grpc.ServerStreamingServer[queryv1.QueryResponse]) error {
	return relay(s, req, &req.CallerId, out, s.client.Query)
}

// QueryRange implements queryv1.QueryServiceServer.
func (s *queryServer) QueryRange(req *queryv1.QueryRangeRequest, out grpc.ServerStreamingServer[queryv1.QueryRangeResponse]) error {
	return relay(s, req, &req.CallerId, out, s.client.QueryRange)
}

// Series implements queryv1.QueryServiceServer.
func (s *queryServer) Series(req *queryv1.SeriesRequest, out grpc.ServerStreamingServer[queryv1.SeriesResponse]) error {
	return relay(s, req, &req.CallerId, out, s.client.Series)
}

// LabelNames implements queryv1.QueryServiceServer.
func (s *queryServer) LabelNames(req *queryv1.LabelNamesRequest, out grpc.ServerStreamingServer[queryv1.LabelNamesResponse]) error {
	return relay(s, req, &req.CallerId, out, s.client.LabelNames)
}

// LabelValues implements queryv1.QueryServiceServer.
func (s *queryServer) LabelValues(req *queryv1.LabelValuesRequest, out grpc.ServerStreamingServer[queryv1.LabelValuesResponse]) error {
	return relay(s, req, &req.CallerId, out, s.client.LabelValues)
}

// Metadata implements queryv1.QueryServiceServer.
func (s *queryServer) Metadata(req *queryv1.MetadataRequest, out grpc.ServerStreamingServer[queryv1.MetadataResponse]) error {
	return relay(s, req, &req.CallerId, out, s.client.Metadata)
}

// QueryExemplars implements queryv1.QueryServiceServer.
func (s *queryServer) QueryExemplars(req *queryv1.QueryExemplarsRequest, out grpc.ServerStreamingServer[queryv1.QueryExemplarsResponse]) error {
	return relay(s, req, &req.CallerId, out, s.client.QueryExemplars)
}

// SQL implements queryv1.QueryServiceServer.
func (s *queryServer) SQL(req *queryv1.SQLRequest, out grpc.ServerStreamingServer[queryv1.SQLResponse]) error {
	return relay(s, req, &req.CallerId, out, s.client.SQL)
}

// grpcCaller names who calls by gRPC.
func grpcCaller(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return host(p.Addr.String())
	}
	return ""
}

// httpCaller names who calls by HTTP.
func httpCaller(r *http.Request) string { return host(r.RemoteAddr) }

// host is an address without its port, which changes with every connection.
func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		h = address
	}
	return h[:min(len(h), maxCallerBytes)]
}
