// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/stats"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/internal/nesting"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	"github.com/tributary-project/tributary/timestream"

	"github.com/tributary-project/tributary/services/query/internal/engine"
	"github.com/tributary-project/tributary/services/query/internal/gate"
	"github.com/tributary-project/tributary/services/query/internal/series"
	"github.com/tributary-project/tributary/services/query/internal/wire"
)

// maxSteps is how many steps further than its first one a range query may go, as in Prometheus.
const maxSteps = 11000

// truncated is Prometheus' warning about a result that the caller's limit has made shorter.
const truncated = "results truncated due to limit"

// Query implements queryv1.QueryServiceServer.
func (s *Service) Query(req *queryv1.QueryRequest, stream grpc.ServerStreamingServer[queryv1.QueryResponse]) error {
	return s.call(stream.Context(), "Query", req, func(ctx context.Context, p place) error {
		at := s.now()
		if req.TimeMs != nil {
			at = time.UnixMilli(req.GetTimeMs())
		}
		if err := evaluable(at.UnixMilli()); err != nil {
			return err
		}
		open := func(ctx context.Context, o engine.Options) (*engine.Query, error) {
			return s.engine.Instant(ctx, engine.Place{Database: p.database, Table: p.table}, req.GetQuery(), o, at)
		}
		return s.evaluate(ctx, req.GetQuery(), req.GetOptions(), open, stream.Send)
	})
}

// QueryRange implements queryv1.QueryServiceServer.
func (s *Service) QueryRange(req *queryv1.QueryRangeRequest, stream grpc.ServerStreamingServer[queryv1.QueryRangeResponse]) error {
	return s.call(stream.Context(), "QueryRange", req, func(ctx context.Context, p place) error {
		start, end, step := req.GetStartMs(), req.GetEndMs(), req.GetStepMs()
		for _, t := range []int64{start, end} {
			if err := evaluable(t); err != nil {
				return err
			}
		}
		switch {
		case end < start:
			return status.Error(codes.InvalidArgument, `invalid parameter "end": end timestamp must not be before start time`)
		case step <= 0:
			return status.Error(codes.InvalidArgument, `invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer`)
		case step > timestream.MaxTimeMs: // more is no time.Duration
			step = timestream.MaxTimeMs
		}
		if (end-start)/step > maxSteps {
			return status.Error(codes.InvalidArgument, "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")
		}
		open := func(ctx context.Context, o engine.Options) (*engine.Query, error) {
			return s.engine.Range(ctx, engine.Place{Database: p.database, Table: p.table}, req.GetQuery(), o, time.UnixMilli(start), time.UnixMilli(end), time.Duration(step)*time.Millisecond)
		}
		return s.evaluate(ctx, req.GetQuery(), req.GetOptions(), open, func(m *queryv1.QueryResponse) error {
			out := new(queryv1.QueryRangeResponse)
			switch m := m.GetMessage().(type) {
			case *queryv1.QueryResponse_Header:
				out.Message = &queryv1.QueryRangeResponse_Header{Header: m.Header}
			case *queryv1.QueryResponse_Series:
				out.Message = &queryv1.QueryRangeResponse_Series{Series: m.Series}
			case *queryv1.QueryResponse_Trailer:
				out.Message = &queryv1.QueryRangeResponse_Trailer{Trailer: m.Trailer}
			}
			return stream.Send(out)
		})
	})
}

// evaluable refuses moments at which the engine's nanoseconds since 1970 do not fit.
func evaluable(ms int64) error {
	if ms < -timestream.MaxTimeMs || ms > timestream.MaxTimeMs {
		return status.Errorf(codes.InvalidArgument, "time %d is out of range: want milliseconds since 1970 from -%d to %[2]d", ms, int64(timestream.MaxTimeMs))
	}
	return nil
}

// executionError is that an expression cannot be evaluated over this data.
type executionError struct{ err error }

func (e executionError) Error() string { return e.err.Error() }
func (e executionError) Unwrap() error { return e.err }

// expressions bounds what is parsed: the parser's work is the square of what nests, and nothing cancels it.
func (s *Service) expressions() nesting.Limits {
	return nesting.Limits{MaxBytes: int(s.cfg.MaxExpressionBytes), MaxBytesFlag: maxExpressionBytesFlag}
}

// evaluate runs a query and sends its result.
func (s *Service) evaluate(ctx context.Context, expr string, o *queryv1.QueryOptions, open func(context.Context, engine.Options) (*engine.Query, error), send func(*queryv1.QueryResponse) error) error {
	if err := s.expressions().Check(expr); err != nil { // the engine parses before its gate
		return status.Error(codes.InvalidArgument, err.Error())
	}
	timeout := s.cfg.Timeout
	if o.GetTimeout() != nil {
		if err := o.GetTimeout().CheckValid(); err != nil {
			return status.Errorf(codes.InvalidArgument, "invalid parameter \"timeout\": %v", err)
		}
		timeout = min(timeout, o.GetTimeout().AsDuration())
	}
	if err := o.GetLookbackDelta().CheckValid(); o.GetLookbackDelta() != nil && err != nil {
		return status.Errorf(codes.InvalidArgument, "error parsing lookback delta duration: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	perStep := o.GetStats() == queryv1.QueryStatsLevel_QUERY_STATS_LEVEL_PER_STEP
	q, err := open(ctx, engine.Options{LookbackDelta: o.GetLookbackDelta().AsDuration(), PerStepStats: perStep})
	if err != nil {
		if errors.Is(err, gate.ErrFull) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return executionError{err} // not about the expression
		}
		return status.Error(codes.InvalidArgument, err.Error())
	}
	defer q.Close()
	res := q.Exec(ctx)
	loaded := q.Loaded()
	s.metrics.conflicts.Add(float64(loaded.Conflicts))
	if res.Err != nil {
		return executionError{res.Err}
	}
	if err := sendValue(res.Value, limitOf(o.GetLimit()), &res.Warnings, send); err != nil {
		return err
	}
	trailer := &queryv1.QueryTrailer{Read: readStats(loaded.Stats, loaded.Series, loaded.Samples)}
	trailer.Warnings, trailer.Infos = res.Warnings.AsStrings(expr, 10, 10)
	if o.GetStats() != queryv1.QueryStatsLevel_QUERY_STATS_LEVEL_UNSPECIFIED {
		trailer.Stats = queryStats(q.Stats())
	}
	return send(&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Trailer{Trailer: trailer}})
}

// queryStats is what a query took.
func queryStats(in *stats.Statistics) *queryv1.QueryStats {
	b := stats.NewQueryStats(in).Builtin()
	out := &queryv1.QueryStats{TimingsSeconds: map[string]float64{
		"evalTotalTime":        b.Timings.EvalTotalTime,
		"resultSortTime":       b.Timings.ResultSortTime,
		"queryPreparationTime": b.Timings.QueryPreparationTime,
		"innerEvalTime":        b.Timings.InnerEvalTime,
		"execQueueTime":        b.Timings.ExecQueueTime,
		"execTotalTime":        b.Timings.ExecTotalTime,
	}}
	if b.Samples == nil {
		return out
	}
	out.TotalQueryableSamples, out.PeakSamples, out.SamplesRead = b.Samples.TotalQueryableSamples, int64(b.Samples.PeakSamples), b.Samples.SamplesRead
	for _, x := range b.Samples.TotalQueryableSamplesPerStep {
		out.TotalQueryableSamplesPerStep = append(out.TotalQueryableSamplesPerStep, &queryv1.StepSamples{TimeMs: x.T, Samples: x.V})
	}
	for _, x := range b.Samples.SamplesReadPerStep {
		out.SamplesReadPerStep = append(out.SamplesReadPerStep, &queryv1.StepSamples{TimeMs: x.T, Samples: x.V})
	}
	return out
}

// sendValue sends the header of a value and the value, of a vector or a matrix at most limit series; 0 for all. Series that
// are cut off add a warning.
func sendValue(v parser.Value, limit int, warnings *annotations.Annotations, send func(*queryv1.QueryResponse) error) error {
	cut := func(n int) int {
		if limit > 0 && n > limit {
			warnings.Add(errors.New(truncated))
			return limit
		}
		return n
	}
	header := func(t queryv1.ValueType) error {
		return send(&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Header{Header: &queryv1.QueryHeader{ValueType: t}}})
	}
	out := parts{send: func(items [][]byte) error {
		return send(&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Series{Series: &queryv1.QuerySeries{TimeSeries: items}}})
	}}
	var one series.Series // for the memory
	switch v := v.(type) {
	case promql.Matrix:
		if err := header(queryv1.ValueType_VALUE_TYPE_MATRIX); err != nil {
			return err
		}
		for _, x := range v[:cut(len(v))] {
			one.Labels, one.Samples, one.Histograms = x.Metric, one.Samples[:0], one.Histograms[:0]
			for _, p := range x.Floats {
				one.Samples = append(one.Samples, series.Sample{T: p.T, V: p.F})
			}
			for _, p := range x.Histograms {
				one.Histograms = append(one.Histograms, series.Histogram{T: p.T, H: engine.StoredHistogram(p.H)})
			}
			if err := out.add(one); err != nil {
				return err
			}
		}
		return out.flush()
	case promql.Vector:
		if err := header(queryv1.ValueType_VALUE_TYPE_VECTOR); err != nil {
			return err
		}
		for _, x := range v[:cut(len(v))] {
			one.Labels, one.Samples, one.Histograms = x.Metric, one.Samples[:0], one.Histograms[:0]
			if x.H != nil {
				one.Histograms = append(one.Histograms, series.Histogram{T: x.T, H: engine.StoredHistogram(x.H)})
			} else {
				one.Samples = append(one.Samples, series.Sample{T: x.T, V: x.F})
			}
			if err := out.add(one); err != nil {
				return err
			}
		}
		return out.flush()
	case promql.Scalar:
		if err := header(queryv1.ValueType_VALUE_TYPE_SCALAR); err != nil {
			return err
		}
		return send(&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Scalar{Scalar: &queryv1.ScalarValue{TimeMs: v.T, Value: &v.V}}})
	case promql.String:
		if err := header(queryv1.ValueType_VALUE_TYPE_STRING); err != nil {
			return err
		}
		return send(&queryv1.QueryResponse{Message: &queryv1.QueryResponse_String_{String_: &queryv1.StringValue{TimeMs: v.T, Value: v.V}}})
	}
	return status.Errorf(codes.Internal, "the engine returned a value of the unknown type %T", v)
}

// parts packs series into messages. The memory of a message is its own: a connection inside the process may hand it on as
// it is.
type parts struct {
	send func([][]byte) error
	buf  []byte
	ends []int // of the series in buf
}

func (p *parts) add(s series.Series) error {
	p.buf = wire.AppendTimeSeries(p.buf, s)
	p.ends = append(p.ends, len(p.buf))
	if len(p.buf) < partBytes {
		return nil
	}
	return p.flush()
}

func (p *parts) flush() error {
	if len(p.ends) == 0 {
		return nil
	}
	items, from := make([][]byte, len(p.ends)), 0
	for i, end := range p.ends {
		items[i], from = p.buf[from:end:end], end
	}
	p.buf, p.ends = nil, p.ends[:0]
	return p.send(items)
}
