// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	"github.com/tributary-project/tributary/timestream"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// partBytes ends a message of a result, once it has that many bytes.
const partBytes = 64 << 10

// maxLoggedQuery is how much of an expression is logged, in characters.
const maxLoggedQuery = 500

// request is what all requests have.
type request interface {
	GetCallerId() string
	GetDestination() *queryv1.Destination
}

// place is the table that a request is about.
type place struct{ database, table string }

// call serves one call but Read: it checks what all requests have, counts, logs a failure, and gives it its status.
func (s *Service) call(ctx context.Context, method string, req request, serve func(context.Context, place) error) error {
	began := time.Now()
	p, err := s.place(req)
	if err == nil {
		err = serve(ctx, p)
	}
	st := s.statusOf(ctx, err)
	took := time.Since(began)
	s.metrics.called(method, st.Code().String(), took.Seconds())
	if err != nil {
		level := slog.LevelDebug
		switch st.Code() {
		case codes.Internal, codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Unimplemented, codes.Unknown:
			level = slog.LevelWarn
		}
		attrs := []any{"method", method, "code", st.Code(), "caller", req.GetCallerId(), "took", took, "err", err}
		if q, ok := req.(interface{ GetQuery() string }); ok {
			attrs = append(attrs, "query", fmt.Sprintf("%.*s", maxLoggedQuery, q.GetQuery()))
		}
		if r, ok := req.(*queryv1.QueryRangeRequest); ok {
			attrs = append(attrs, "start_ms", r.GetStartMs(), "end_ms", r.GetEndMs(), "step_ms", r.GetStepMs())
		}
		s.logger.Log(ctx, level, "call failed", attrs...)
	}
	return st.Err()
}

// place checks who asks and where. Every error is a gRPC status.
func (s *Service) place(req request) (place, error) {
	if n := len(req.GetCallerId()); n > maxCallerBytes {
		return place{}, status.Errorf(codes.InvalidArgument, "caller_id has %d bytes, the limit is %d", n, maxCallerBytes)
	}
	p := place{req.GetDestination().GetDatabase(), req.GetDestination().GetTable()}
	for _, n := range []struct{ field, value string }{{"database", p.database}, {"table", p.table}} {
		if n.value != "" && !timestream.ValidTableName(n.value) {
			return place{}, status.Errorf(codes.InvalidArgument, "destination.%s %.100q: %s", n.field, n.value, timestream.TableNameRule)
		}
	}
	return p, s.allowed(p)
}

// listing runs f as one of the reads that may run at once, within --query.timeout.
func (s *Service) listing(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if err := s.gate.Enter(ctx); err != nil {
		return fmt.Errorf("wait for one of %d reads to end (--%s): %w", s.cfg.MaxConcurrent, maxConcurrentFlag, err)
	}
	defer s.gate.Leave()
	return f(ctx)
}

// rangeOf returns the bounds that a request names, or what stands in for them, with a warning where the start does.
func (s *Service) rangeOf(start, end *int64) (startMs, endMs int64, warnings []string) {
	endMs = s.now().UnixMilli()
	if end != nil {
		endMs = *end
	}
	if start != nil {
		return *start, endMs, nil
	}
	// Times before 1970 have no samples: nothing is lost where the difference would not fit.
	startMs = max(endMs, 0) - s.cfg.MetadataLookback.Milliseconds()
	return startMs, endMs, []string{fmt.Sprintf("no start was given: what is older than %s before the end was not looked at (--%s)", s.cfg.MetadataLookback, metadataLookbackFlag)}
}

// scopeOf checks a scope and translates it. Every error is a gRPC status.
func (s *Service) scopeOf(p place, in *queryv1.Scope) (out series.Scope, warnings []string, err error) {
	out = series.Scope{Database: p.database, Table: p.table, Limit: limitOf(in.GetLimit())}
	if in == nil {
		in = &queryv1.Scope{}
	}
	out.StartMs, out.EndMs, warnings = s.rangeOf(in.StartMs, in.EndMs)
	for _, x := range in.GetSelectors() {
		ms, err := matchersOf(x.GetMatchers())
		if err != nil {
			return out, nil, err
		}
		if !hasNonEmpty(ms) {
			return out, nil, status.Error(codes.InvalidArgument, "match[] must contain at least one non-empty matcher")
		}
		out.Selectors = append(out.Selectors, ms)
	}
	return out, warnings, nil
}

// limitOf is a limit as a number of things in memory.
func limitOf(n uint64) int { return int(min(n, 1<<31-2)) }

func hasNonEmpty(ms []*labels.Matcher) bool {
	for _, m := range ms {
		if !m.Matches("") {
			return true
		}
	}
	return false
}

// matchersOf translates matchers. Every error is a gRPC status.
func matchersOf(in []*queryv1.LabelMatcher) ([]*labels.Matcher, error) {
	types := map[queryv1.LabelMatcher_Type]labels.MatchType{
		queryv1.LabelMatcher_TYPE_EQUAL:          labels.MatchEqual,
		queryv1.LabelMatcher_TYPE_NOT_EQUAL:      labels.MatchNotEqual,
		queryv1.LabelMatcher_TYPE_REGEX_MATCH:    labels.MatchRegexp,
		queryv1.LabelMatcher_TYPE_REGEX_NO_MATCH: labels.MatchNotRegexp,
	}
	out := make([]*labels.Matcher, 0, len(in))
	for i, m := range in {
		if m.GetName() == "" {
			return nil, status.Errorf(codes.InvalidArgument, "matcher %d has no label name", i)
		}
		t, ok := types[m.GetType()]
		if !ok {
			return nil, status.Errorf(codes.InvalidArgument, "matcher %d on label %.80q has the unknown type %d", i, m.GetName(), m.GetType())
		}
		lm, err := labels.NewMatcher(t, m.GetName(), m.GetValue())
		if err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "matcher %d on label %.80q: %v", i, m.GetName(), err)
		}
		out = append(out, lm)
	}
	return out, nil
}

// readStats is what reading took.
func readStats(st series.Stats, nSeries, nSamples int64) *queryv1.ReadStats {
	return &queryv1.ReadStats{
		Series: uint64(nSeries), Samples: uint64(nSamples),
		Queries: uint64(st.Queries), Pages: uint64(st.Pages), MeteredBytes: uint64(st.MeteredBytes), Conflicts: uint64(st.Conflicts),
	}
}

// listTrailer closes a listing of n series; it names each warning once.
func listTrailer(info series.Info, n int, warnings []string) *queryv1.ListTrailer {
	seen := make(map[string]bool)
	out := &queryv1.ListTrailer{Stats: readStats(info.Stats, int64(n), 0)}
	for _, list := range [][]string{warnings, info.Warnings} {
		for _, w := range list {
			if !seen[w] {
				seen[w] = true
				out.Warnings = append(out.Warnings, w)
			}
		}
	}
	return out
}
