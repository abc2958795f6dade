// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// lister finds out what there is; *store.Store does.
type lister interface {
	series.Lister
	series.ExemplarReader
	series.MetadataReader
}

// Series implements queryv1.QueryServiceServer.
func (s *Service) Series(req *queryv1.SeriesRequest, stream grpc.ServerStreamingServer[queryv1.SeriesResponse]) error {
	return s.call(stream.Context(), "Series", req, func(ctx context.Context, p place) error {
		if len(req.GetScope().GetSelectors()) == 0 {
			return status.Error(codes.InvalidArgument, "no match[] parameter provided")
		}
		scope, warnings, err := s.scopeOf(p, req.GetScope())
		if err != nil {
			return err
		}
		return s.listing(ctx, func(ctx context.Context) error {
			if err := stream.Send(&queryv1.SeriesResponse{Message: &queryv1.SeriesResponse_Header{Header: &queryv1.ListHeader{}}}); err != nil {
				return err
			}
			all, info, err := s.lister.Series(ctx, scope)
			if err != nil {
				return err
			}
			defer info.Release()
			var part []*queryv1.LabelSet
			size := 0
			send := func() error {
				m := &queryv1.SeriesResponse{Message: &queryv1.SeriesResponse_Series{Series: &queryv1.LabelSets{LabelSets: part}}}
				part, size = nil, 0
				return stream.Send(m)
			}
			for _, ls := range all {
				one := &queryv1.LabelSet{Labels: make([]*queryv1.Label, 0, ls.Len())}
				ls.Range(func(l labels.Label) {
					one.Labels = append(one.Labels, &queryv1.Label{Name: l.Name, Value: l.Value})
					size += len(l.Name) + len(l.Value) + 8
				})
				if part = append(part, one); size >= partBytes {
					if err := send(); err != nil {
						return err
					}
				}
			}
			if len(part) > 0 {
				if err := send(); err != nil {
					return err
				}
			}
			return stream.Send(&queryv1.SeriesResponse{Message: &queryv1.SeriesResponse_Trailer{Trailer: listTrailer(info, len(all), warnings)}})
		})
	})
}

// LabelNames implements queryv1.QueryServiceServer.
func (s *Service) LabelNames(req *queryv1.LabelNamesRequest, stream grpc.ServerStreamingServer[queryv1.LabelNamesResponse]) error {
	return s.call(stream.Context(), "LabelNames", req, func(ctx context.Context, p place) error {
		scope, warnings, err := s.scopeOf(p, req.GetScope())
		if err != nil {
			return err
		}
		return s.listing(ctx, func(ctx context.Context) error {
			if err := stream.Send(&queryv1.LabelNamesResponse{Message: &queryv1.LabelNamesResponse_Header{Header: &queryv1.ListHeader{}}}); err != nil {
				return err
			}
			all, info, err := s.lister.LabelNames(ctx, scope)
			if err != nil {
				return err
			}
			defer info.Release()
			if err := sendNames(all, func(n *queryv1.Names) error {
				return stream.Send(&queryv1.LabelNamesResponse{Message: &queryv1.LabelNamesResponse_Names{Names: n}})
			}); err != nil {
				return err
			}
			return stream.Send(&queryv1.LabelNamesResponse{Message: &queryv1.LabelNamesResponse_Trailer{Trailer: listTrailer(info, 0, warnings)}})
		})
	})
}

// LabelValues implements queryv1.QueryServiceServer.
func (s *Service) LabelValues(req *queryv1.LabelValuesRequest, stream grpc.ServerStreamingServer[queryv1.LabelValuesResponse]) error {
	return s.call(stream.Context(), "LabelValues", req, func(ctx context.Context, p place) error {
		if !model.UTF8Validation.IsValidLabelName(req.GetName()) {
			return status.Errorf(codes.InvalidArgument, "invalid label name: %.200q", req.GetName())
		}
		scope, warnings, err := s.scopeOf(p, req.GetScope())
		if err != nil {
			return err
		}
		return s.listing(ctx, func(ctx context.Context) error {
			if err := stream.Send(&queryv1.LabelValuesResponse{Message: &queryv1.LabelValuesResponse_Header{Header: &queryv1.ListHeader{}}}); err != nil {
				return err
			}
			all, info, err := s.lister.LabelValues(ctx, req.GetName(), scope)
			if err != nil {
				return err
			}
			defer info.Release()
			if err := sendNames(all, func(n *queryv1.Names) error {
				return stream.Send(&queryv1.LabelValuesResponse{Message: &queryv1.LabelValuesResponse_Values{Values: n}})
			}); err != nil {
				return err
			}
			return stream.Send(&queryv1.LabelValuesResponse{Message: &queryv1.LabelValuesResponse_Trailer{Trailer: listTrailer(info, 0, warnings)}})
		})
	})
}

// sendNames sends texts in parts.
func sendNames(all []string, send func(*queryv1.Names) error) error {
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && size < partBytes {
			size += len(all[n]) + 4
			n++
		}
		if err := send(&queryv1.Names{Names: all[:n]}); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// Metadata implements queryv1.QueryServiceServer. What is in force is what was seen within --query.metadata-lookback: Prometheus
// answers for the targets that it has now.
func (s *Service) Metadata(req *queryv1.MetadataRequest, stream grpc.ServerStreamingServer[queryv1.MetadataResponse]) error {
	return s.call(stream.Context(), "Metadata", req, func(ctx context.Context, p place) error {
		scope := series.Scope{Database: p.database, Table: p.table, Limit: limitOf(req.GetLimit())}
		scope.StartMs, scope.EndMs, _ = s.rangeOf(nil, nil)
		return s.listing(ctx, func(ctx context.Context) error {
			if err := stream.Send(&queryv1.MetadataResponse{Message: &queryv1.MetadataResponse_Header{Header: &queryv1.ListHeader{}}}); err != nil {
				return err
			}
			var (
				all  []series.MetricMetadata
				info series.Info
				err  error
			)
			if req.Limit == nil || scope.Limit > 0 { // a limit of none is no metric
				if all, info, err = s.lister.Metadata(ctx, scope, req.GetMetric()); err != nil {
					return err
				}
				defer info.Release()
			}
			for _, x := range all {
				m := &queryv1.MetricMetadata{Metric: x.Metric}
				for i, e := range x.Entries {
					if n := req.GetLimitPerMetric(); n > 0 && uint64(i) >= n {
						break
					}
					m.Entries = append(m.Entries, &queryv1.MetadataEntry{Type: strings.ToLower(e.Type.String()), Help: e.Help, Unit: e.Unit})
				}
				if err := stream.Send(&queryv1.MetadataResponse{Message: &queryv1.MetadataResponse_Metric{Metric: m}}); err != nil {
					return err
				}
			}
			return stream.Send(&queryv1.MetadataResponse{Message: &queryv1.MetadataResponse_Trailer{Trailer: listTrailer(info, 0, nil)}})
		})
	})
}
