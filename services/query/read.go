// SPDX-License-Identifier: Apache-2.0

package query

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	"github.com/tributary-project/tributary/timestream"

	"github.com/tributary-project/tributary/services/query/internal/native"
	"github.com/tributary-project/tributary/services/query/internal/series"
	"github.com/tributary-project/tributary/services/query/internal/wire"
)

// maxCallerBytes is the length of a caller id, as the contract has it.
const maxCallerBytes = 128

// Read implements queryv1.QueryServiceServer.
func (s *Service) Read(req *queryv1.ReadRequest, stream grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
	began := time.Now()
	err := s.read(req, stream)
	st := s.statusOf(stream.Context(), err)
	took := time.Since(began)
	s.metrics.ended(st.Code().String(), took.Seconds())
	if err != nil {
		level := slog.LevelDebug
		switch st.Code() {
		case codes.Internal, codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Unimplemented:
			level = slog.LevelWarn
		}
		s.logger.Log(stream.Context(), level, "read failed", "code", st.Code(), "caller", req.GetCallerId(), "took", took, "err", err)
	}
	return st.Err()
}

func (s *Service) read(req *queryv1.ReadRequest, stream grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
	sel, err := s.selection(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(stream.Context(), s.cfg.Timeout)
	defer cancel()
	if err := s.gate.Enter(ctx); err != nil {
		return fmt.Errorf("wait for one of %d reads to end (--%s): %w", s.cfg.MaxConcurrent, maxConcurrentFlag, err)
	}
	defer s.gate.Leave()
	header := &queryv1.ReadHeader{ResponseType: queryv1.ResponseType_RESPONSE_TYPE_SAMPLES}
	var out seriesWriter = &sampleWriter{stream: stream, maxBytes: int(s.cfg.MaxResultBytes) / max(s.cfg.MaxConcurrent, 1), cfg: &s.cfg}
	if req.GetResponseType() == queryv1.ResponseType_RESPONSE_TYPE_STREAMED_XOR_CHUNKS {
		header.ResponseType = req.GetResponseType()
		out = &chunkWriter{stream: stream, encoder: wire.NewChunkEncoder(req.GetQueryIndex(), int(s.cfg.MaxFrameBytes))}
	}
	if err := stream.Send(&queryv1.ReadResponse{Message: &queryv1.ReadResponse_Header{Header: header}}); err != nil {
		return err
	}
	sel.MaxSamples = s.cfg.MaxSamples
	samples := header.GetResponseType() == queryv1.ResponseType_RESPONSE_TYPE_SAMPLES
	// Who sends hints evaluates an expression: he is told of resets what Prometheus' storage would say, where what was stored does not.
	// Others get what was stored, to the bit. Chunks say what they know of resets in their headers.
	evaluates := samples && req.GetHints() != nil
	if evaluates {
		sel.HistogramLeadMs = native.Lead
	}
	set, err := s.selector.Select(ctx, sel)
	if err != nil {
		return err
	}
	defer set.Close()
	if evaluates {
		set = native.KnownResets(set, sel.StartMs)
	}
	var nSeries, nSamples uint64
	defer func() { // what was sent before an error was sent too
		s.metrics.series.Add(float64(nSeries))
		s.metrics.samples.Add(float64(nSamples))
		s.metrics.conflicts.Add(float64(set.Stats().Conflicts))
	}()
	for set.Next() {
		x := set.At()
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.write(x); err != nil {
			return err
		}
		if !x.Continued {
			nSeries++
		}
		nSamples += uint64(len(x.Samples) + len(x.Histograms))
	}
	if err := set.Err(); err != nil {
		return err
	}
	if err := out.finish(); err != nil {
		return err
	}
	return stream.Send(&queryv1.ReadResponse{Message: &queryv1.ReadResponse_Trailer{Trailer: &queryv1.ReadTrailer{
		Warnings: set.Warnings(), Stats: readStats(set.Stats(), int64(nSeries), int64(nSamples)),
	}}})
}

// allowed refuses a table that requests may not name. Whoever reaches the service could otherwise read whatever its
// credentials can.
func (s *Service) allowed(p place) error {
	database, table := cmp.Or(p.database, s.cfg.Database), cmp.Or(p.table, s.cfg.Table)
	if database == s.cfg.Database && table == s.cfg.Table || s.cfg.AllowedTables.Allows(database, table) {
		return nil
	}
	return withReason(codes.PermissionDenied, reasonTableNotAllowed, fmt.Sprintf("destination %s.%s: requests may not name this table; --%s of the query service moves that", database, table, timestream.AllowedTablesFlag)).Err()
}

// selection checks a request and translates it. Every error is a gRPC status.
func (s *Service) selection(req *queryv1.ReadRequest) (series.Selection, error) {
	switch req.GetResponseType() {
	case queryv1.ResponseType_RESPONSE_TYPE_UNSPECIFIED, queryv1.ResponseType_RESPONSE_TYPE_SAMPLES, queryv1.ResponseType_RESPONSE_TYPE_STREAMED_XOR_CHUNKS:
	default:
		return series.Selection{}, status.Errorf(codes.InvalidArgument, "response_type %d is not known", req.GetResponseType())
	}
	p, err := s.place(req)
	if err != nil {
		return series.Selection{}, err
	}
	if len(req.GetMatchers()) == 0 {
		return series.Selection{}, status.Error(codes.InvalidArgument, "no matchers: at least one is needed")
	}
	ms, err := matchersOf(req.GetMatchers())
	return series.Selection{Database: p.database, Table: p.table, Matchers: ms, StartMs: req.GetStartMs(), EndMs: req.GetEndMs()}, err
}
