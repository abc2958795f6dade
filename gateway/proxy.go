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
	queryv1.UnimplementedQueryServiceServer
	client  queryv1.QueryServiceClient
	gate    *fairgate.Gate
	timeout time.Duration
}

// Read implements queryv1.QueryServiceServer. Messages are passed on one by one; the client's pace is the pace of the
// stream behind.
func (s *queryServer) Read(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
	ticket, err := s.gate.Enter(grpcCaller(out.Context()), 0)
	if err != nil {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	defer ticket.Leave()
	ctx, cancel := context.WithTimeout(out.Context(), s.timeout)
	defer cancel()
	req.CallerId = grpcCaller(ctx)
	in, err := s.client.Read(ctx, req)
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
