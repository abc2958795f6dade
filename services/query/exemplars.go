// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"

	"github.com/tributary-project/tributary/services/query/internal/series"
	"github.com/tributary-project/tributary/services/query/internal/wire"
)

// QueryExemplars implements queryv1.QueryServiceServer.
func (s *Service) QueryExemplars(req *queryv1.QueryExemplarsRequest, stream grpc.ServerStreamingServer[queryv1.QueryExemplarsResponse]) error {
	return s.call(stream.Context(), "QueryExemplars", req, func(ctx context.Context, p place) error {
		scope := series.Scope{Database: p.database, Table: p.table}
		var warnings []string
		scope.StartMs, scope.EndMs, warnings = s.rangeOf(req.StartMs, req.EndMs)
		if req.StartMs != nil && scope.EndMs < scope.StartMs {
			return status.Error(codes.InvalidArgument, "end timestamp must not be before start timestamp")
		}
		if err := s.expressions().Check(req.GetQuery()); err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		expr, err := s.engine.Parser().ParseExpr(req.GetQuery())
		if err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		scope.Selectors = parser.ExtractSelectors(expr)
		return s.listing(ctx, func(ctx context.Context) error {
			if err := stream.Send(&queryv1.QueryExemplarsResponse{Message: &queryv1.QueryExemplarsResponse_Header{Header: &queryv1.ListHeader{}}}); err != nil {
				return err
			}
			var (
				all  []series.Exemplars
				info series.Info
			)
			if len(scope.Selectors) > 0 { // none would be all series
				if all, info, err = s.lister.Exemplars(ctx, scope); err != nil {
					return err
				}
				defer info.Release()
			}
			for _, x := range all {
				if err := stream.Send(&queryv1.QueryExemplarsResponse{Message: &queryv1.QueryExemplarsResponse_TimeSeries{TimeSeries: appendExemplars(nil, x)}}); err != nil {
					return err
				}
			}
			return stream.Send(&queryv1.QueryExemplarsResponse{Message: &queryv1.QueryExemplarsResponse_Trailer{Trailer: listTrailer(info, len(all), warnings)}})
		})
	})
}

// Fields of prometheus.TimeSeries, prometheus.Exemplar and prometheus.Label.
const (
	seriesExemplars   = 3
	exemplarLabels    = 1
	exemplarValue     = 2
	exemplarTimestamp = 3
	labelName         = 1
	labelValue        = 2
)

// appendExemplars appends a series with exemplars as one serialised prometheus.TimeSeries: by hand, because the generated
// code leaves out a value that equals zero, which -0 does.
func appendExemplars(dst []byte, x series.Exemplars) []byte {
	dst = wire.AppendTimeSeries(dst, series.Series{Labels: x.Labels})
	var one, pair []byte
	for _, e := range x.Exemplars {
		one = one[:0]
		e.Labels.Range(func(l labels.Label) {
			pair = protowire.AppendString(protowire.AppendTag(pair[:0], labelName, protowire.BytesType), l.Name)
			pair = protowire.AppendString(protowire.AppendTag(pair, labelValue, protowire.BytesType), l.Value)
			one = protowire.AppendBytes(protowire.AppendTag(one, exemplarLabels, protowire.BytesType), pair)
		})
		if bits := math.Float64bits(e.V); bits != 0 {
			one = binary.LittleEndian.AppendUint64(protowire.AppendTag(one, exemplarValue, protowire.Fixed64Type), bits)
		}
		if e.T != 0 {
			one = protowire.AppendVarint(protowire.AppendTag(one, exemplarTimestamp, protowire.VarintType), uint64(e.T))
		}
		dst = protowire.AppendBytes(protowire.AppendTag(dst, seriesExemplars, protowire.BytesType), one)
	}
	return dst
}
