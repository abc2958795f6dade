// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"

	"github.com/tributary-project/tributary/services/query/internal/engine"
	"github.com/tributary-project/tributary/services/query/internal/engine/enginetest"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// overMemory makes the engine of a service read from a Memory.
func overMemory(t *testing.T, r *running, change func(*engine.Config)) *enginetest.Memory {
	t.Helper()
	m := &enginetest.Memory{Piece: 3}
	c := engine.Config{
		MaxSamples: r.cfg.MaxQuerySamples, Timeout: r.cfg.Timeout, LookbackDelta: r.cfg.LookbackDelta,
		MaxConcurrency: r.cfg.MaxConcurrency, MaxWaiting: 1, PushDown: true,
	}
	if change != nil {
		change(&c)
	}
	e, err := engine.New(c, m, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.engine = e
	return m
}

// evaluated is a result as it came.
type evaluated struct {
	kind     queryv1.ValueType
	series   []prompb.TimeSeries
	scalar   *queryv1.ScalarValue
	text     *queryv1.StringValue
	trailer  *queryv1.QueryTrailer
	messages int
}

// lines are the series, one a line.
func (e evaluated) lines() string {
	var b strings.Builder
	for _, s := range e.series {
		b.WriteString("{")
		for i, l := range s.Labels {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(l.Name + "=" + l.Value)
		}
		b.WriteString("}")
		for _, p := range s.Samples {
			fmt.Fprintf(&b, " %d:%g", p.Timestamp-t0, p.Value)
		}
		for _, p := range s.Histograms {
			fmt.Fprintf(&b, " %d:h%g", p.Timestamp-t0, p.GetCountFloat())
		}
		b.WriteString("\n")
	}
	return b.String()
}

func receive[M any](t *testing.T, stream grpc.ServerStreamingClient[M], err error, take func(*M, *evaluated)) (evaluated, error) {
	t.Helper()
	var out evaluated
	if err != nil {
		return out, err
	}
	for ; ; out.messages++ {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if out.trailer == nil {
				t.Error("no trailer")
			}
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if out.trailer != nil {
			t.Error("a message after the trailer")
		}
		take(m, &out)
	}
}

func (e *evaluated) some(t *testing.T, parts *queryv1.QuerySeries) {
	t.Helper()
	size := 0
	for i, raw := range parts.GetTimeSeries() {
		if size > partBytes {
			t.Errorf("a message goes on at series %d after %d bytes", i, size)
		}
		size += len(raw)
		var ts prompb.TimeSeries
		if err := ts.Unmarshal(raw); err != nil {
			t.Fatal(err)
		}
		e.series = append(e.series, ts)
	}
}

func (r *running) query(ctx context.Context, t *testing.T, req *queryv1.QueryRequest) (evaluated, error) {
	t.Helper()
	stream, err := r.client.Query(ctx, req)
	return receive(t, stream, err, func(m *queryv1.QueryResponse, out *evaluated) {
		switch m := m.GetMessage().(type) {
		case *queryv1.QueryResponse_Header:
			out.kind = m.Header.GetValueType()
		case *queryv1.QueryResponse_Series:
			out.some(t, m.Series)
		case *queryv1.QueryResponse_Scalar:
			out.scalar = m.Scalar
		case *queryv1.QueryResponse_String_:
			out.text = m.String_
		case *queryv1.QueryResponse_Trailer:
			out.trailer = m.Trailer
		}
	})
}

func (r *running) queryRange(t *testing.T, req *queryv1.QueryRangeRequest) (evaluated, error) {
	t.Helper()
	stream, err := r.client.QueryRange(t.Context(), req)
	return receive(t, stream, err, func(m *queryv1.QueryRangeResponse, out *evaluated) {
		switch m := m.GetMessage().(type) {
		case *queryv1.QueryRangeResponse_Header:
			out.kind = m.Header.GetValueType()
		case *queryv1.QueryRangeResponse_Series:
			out.some(t, m.Series)
		case *queryv1.QueryRangeResponse_Trailer:
			out.trailer = m.Trailer
		}
	})
}

// TestQueryOverTimestream goes through the store: what was written comes back evaluated.
func TestQueryOverTimestream(t *testing.T) {
	r := start(t, nil)
	r.write(t, []series.Sample{{T: t0, V: 1}, {T: t0 + 15_000, V: 4}}, "__name__", "up", "job", "a")
	r.write(t, []series.Sample{{T: t0, V: 2}, {T: t0 + 15_000, V: 6}}, "__name__", "up", "job", "b")
	got, err := r.query(t.Context(), t, &queryv1.QueryRequest{Query: "sort_desc(up)", TimeMs: proto.Int64(t0 + 20_000)})
	if err != nil {
		t.Fatal(err)
	}
	if want := "{__name__=up,job=b} 20000:6\n{__name__=up,job=a} 20000:4\n"; got.lines() != want || got.kind != queryv1.ValueType_VALUE_TYPE_VECTOR {
		t.Errorf("got %v\n%s\nwant\n%s", got.kind, got.lines(), want)
	}
	if read := got.trailer.GetRead(); read.GetSeries() != 2 || read.GetSamples() < 2 || read.GetQueries() == 0 || read.GetMeteredBytes() == 0 || got.trailer.GetStats() != nil {
		t.Errorf("trailer: %v", got.trailer)
	}
	got, err = r.queryRange(t, &queryv1.QueryRangeRequest{Query: "sum(increase(up[30s]))", StartMs: t0 + 15_000, EndMs: t0 + 30_000, StepMs: 15_000})
	if err != nil || got.lines() != "{} 15000:10\n" || got.kind != queryv1.ValueType_VALUE_TYPE_MATRIX {
		t.Errorf("got %v\n%s\n%v", got.kind, got.lines(), err)
	}
	if n := testutil.ToFloat64(r.metrics.calls.WithLabelValues("Query", "OK")); n != 1 {
		t.Errorf("%v queries are counted", n)
	}
}

func TestValuesOfEveryType(t *testing.T) {
	r := start(t, nil)
	m := overMemory(t, r, nil)
	for i := range 3 {
		m.Append(labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)), 0, t0, []float64{math.Copysign(0, -1), math.NaN(), 2}[i], nil)
	}
	for i := range 5 {
		m.Append(labels.FromStrings("__name__", "h"), 0, t0+int64(i)*1000, 0, enginetest.Histogram(tsdbutil.GenerateTestHistogram(int64(i)), nil))
		m.Append(labels.FromStrings("__name__", "h"), 0, t0+int64(i)*1000+1, float64(i), nil)
	}
	m.Append(labels.FromStrings("__name__", "g"), 0, t0, 1, nil)
	m.Append(labels.FromStrings("__name__", "g"), 0, t0+1000, 2, nil)
	m.Warnings = []string{"careful"}
	const vector, matrix, scalar, text = queryv1.ValueType_VALUE_TYPE_VECTOR, queryv1.ValueType_VALUE_TYPE_MATRIX, queryv1.ValueType_VALUE_TYPE_SCALAR, queryv1.ValueType_VALUE_TYPE_STRING
	for _, tt := range []struct {
		give     string
		limit    uint64
		kind     queryv1.ValueType
		want     string
		warnings string
	}{
		{"m", 0, vector, "{__name__=m,i=0} 4000:-0\n{__name__=m,i=1} 4000:NaN\n{__name__=m,i=2} 4000:2\n", "[careful]"},
		{"m", 2, vector, "{__name__=m,i=0} 4000:-0\n{__name__=m,i=1} 4000:NaN\n", "[careful results truncated due to limit]"},
		{"m", 3, vector, "{__name__=m,i=0} 4000:-0\n{__name__=m,i=1} 4000:NaN\n{__name__=m,i=2} 4000:2\n", "[careful]"},
		{"m[5m]", 1, matrix, "{__name__=m,i=0} 0:-0\n", "[careful results truncated due to limit]"},
		{"h", 0, vector, "{__name__=h} 4000:h48\n", "[careful]"},
		{"h[2s]", 0, matrix, "{__name__=h} 2001:2 3001:3 3000:h39 4000:h48\n", "[careful]"},
		{"nothing", 0, vector, "", "[careful]"},
		{"1 + 1", 0, scalar, "", "[]"},
		{`"text"`, 0, text, "", "[]"},
	} {
		t.Run(fmt.Sprint(tt.give, tt.limit), func(t *testing.T) {
			got, err := r.query(t.Context(), t, &queryv1.QueryRequest{Query: tt.give, TimeMs: proto.Int64(t0 + 4000), Options: &queryv1.QueryOptions{Limit: tt.limit}})
			if err != nil {
				t.Fatal(err)
			}
			if got.kind != tt.kind || got.lines() != tt.want {
				t.Errorf("got %v\n%s\nwant %v\n%s", got.kind, got.lines(), tt.kind, tt.want)
			}
			warnings := strings.Split(strings.Trim(fmt.Sprint(got.trailer.GetWarnings()), "[]"), " ")
			for _, w := range strings.Fields(strings.Trim(tt.warnings, "[]")) {
				if !strings.Contains(strings.Join(warnings, " "), w) {
					t.Errorf("warnings %v, want %s", got.trailer.GetWarnings(), tt.warnings)
				}
			}
			if n := len(got.trailer.GetWarnings()); tt.warnings == "[]" && n != 0 || tt.warnings == "[careful]" && n != 1 {
				t.Errorf("warnings %v, want %s", got.trailer.GetWarnings(), tt.warnings)
			}
			if (tt.kind == scalar) != (got.scalar.GetValue() == 2 && got.scalar.GetTimeMs() == t0+4000) || (tt.kind == text) != (got.text.GetValue() == "text" && got.text.GetTimeMs() == t0+4000) {
				t.Errorf("scalar %v, text %v", got.scalar, got.text)
			}
		})
	}
	t.Run("infos", func(t *testing.T) {
		got, err := r.query(t.Context(), t, &queryv1.QueryRequest{Query: "rate(g[5m])", TimeMs: proto.Int64(t0 + 1000)})
		if err != nil || len(got.trailer.GetInfos()) != 1 || !strings.Contains(got.trailer.GetInfos()[0], `metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "g" (1:6)`) {
			t.Errorf("got %v, %v", got.trailer, err)
		}
	})
	t.Run("now", func(t *testing.T) {
		before := time.Now().UnixMilli()
		got, err := r.query(t.Context(), t, &queryv1.QueryRequest{Query: "time()"})
		if err != nil || got.scalar.GetTimeMs() < before || got.scalar.GetTimeMs() > time.Now().UnixMilli() {
			t.Errorf("got %v, %v", got.scalar, err)
		}
	})
}

func TestLargeResultsComeInParts(t *testing.T) {
	r := start(t, nil)
	m := overMemory(t, r, nil)
	for i := range 3000 {
		m.Append(labels.FromStrings("__name__", "m", "i", fmt.Sprintf("%0100d", i)), 0, t0, float64(i), nil)
	}
	got, err := r.query(t.Context(), t, &queryv1.QueryRequest{Query: "m", TimeMs: proto.Int64(t0)})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.series) != 3000 || got.messages < 7 || got.messages > 12 {
		t.Errorf("%d series in %d messages", len(got.series), got.messages)
	}
	for i, s := range got.series {
		if s.Samples[0].Value != float64(i) {
			t.Fatalf("series %d: %v", i, s)
		}
	}
}

func TestStats(t *testing.T) {
	r := start(t, nil)
	m := overMemory(t, r, func(c *engine.Config) { c.Features.PerStepStats = true })
	for i := range 4 {
		m.Append(labels.FromStrings("__name__", "m"), 0, t0+int64(i)*10_000, 1, nil)
	}
	req := &queryv1.QueryRangeRequest{Query: "sum_over_time(m[20s])", StartMs: t0 + 10_000, EndMs: t0 + 30_000, StepMs: 10_000, Options: &queryv1.QueryOptions{Stats: queryv1.QueryStatsLevel_QUERY_STATS_LEVEL_BASIC}}
	got, err := r.queryRange(t, req)
	if err != nil {
		t.Fatal(err)
	}
	st := got.trailer.GetStats()
	if len(st.GetTimingsSeconds()) != 6 || st.GetTimingsSeconds()["execTotalTime"] <= 0 || st.GetTotalQueryableSamples() != 6 || st.GetSamplesRead() != 4 || st.GetPeakSamples() == 0 || len(st.GetTotalQueryableSamplesPerStep()) != 0 {
		t.Errorf("basic: %v", st)
	}
	req.Options.Stats = queryv1.QueryStatsLevel_QUERY_STATS_LEVEL_PER_STEP
	if got, err = r.queryRange(t, req); err != nil {
		t.Fatal(err)
	}
	if st = got.trailer.GetStats(); len(st.GetTotalQueryableSamplesPerStep()) != 3 || st.GetTotalQueryableSamplesPerStep()[1].GetTimeMs() != t0+20_000 || st.GetTotalQueryableSamplesPerStep()[1].GetSamples() != 2 || st.GetSamplesReadPerStep()[1].GetSamples() != 1 {
		t.Errorf("per step: %v", st)
	}
}

func TestQueryErrors(t *testing.T) {
	at := func(q string) *queryv1.QueryRequest { return &queryv1.QueryRequest{Query: q, TimeMs: proto.Int64(t0)} }
	withMemory := func(set func(*Config), before func(context.Context, series.Selection) error) func(*testing.T) *running {
		return func(t *testing.T) *running {
			r := start(t, set)
			m := overMemory(t, r, nil)
			for i := range 10 {
				m.Append(labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)), 0, t0, 1, nil)
			}
			m.Before = before
			return r
		}
	}
	fails := func(kind series.Kind) func(context.Context, series.Selection) error {
		return func(context.Context, series.Selection) error { return &series.Error{Kind: kind, Text: "the text"} }
	}
	waits := func(ctx context.Context, _ series.Selection) error { <-ctx.Done(); return ctx.Err() }
	timeout := func(d time.Duration) *queryv1.QueryOptions {
		return &queryv1.QueryOptions{Timeout: durationpb.New(d)}
	}
	for _, tt := range []struct {
		name   string
		start  func(*testing.T) *running
		give   *queryv1.QueryRequest
		code   codes.Code
		reason string
		want   string
	}{
		{"parse", withMemory(nil, nil), at("m{"), codes.InvalidArgument, "", "1:3: parse error: unexpected end of input inside braces"},
		{"nested", withMemory(nil, nil), at(strings.Repeat("(", 300) + "m"), codes.InvalidArgument, "", "nested 300 brackets deep at byte 250"},
		{"long", withMemory(nil, nil), at(strings.Repeat("m", 600_000)), codes.InvalidArgument, "", "600000 bytes, the limit is 524288 (--query.max-expression-bytes)"},
		{"feature", withMemory(nil, nil), at("info(m)"), codes.InvalidArgument, "", "info"},
		{"execution", withMemory(nil, nil), at(`label_replace(m, "i", "x", "i", ".*")`), codes.FailedPrecondition, "EXECUTION", "vector cannot contain metrics with the same labelset"},
		{"samples", withMemory(func(c *Config) { c.MaxQuerySamples = 5 }, nil), at("m"), codes.ResourceExhausted, "RESULT_TOO_LARGE", "query processing would load too many samples into memory in query execution (--query.max-samples=5)"},
		{"too large", withMemory(nil, fails(series.TooLarge)), at("m"), codes.ResourceExhausted, "RESULT_TOO_LARGE", "the text"},
		{"busy", withMemory(nil, fails(series.Busy)), at("m"), codes.ResourceExhausted, "", "the text"},
		{"away", withMemory(nil, fails(series.Unavailable)), at("rate(m[5m])"), codes.Unavailable, "", "the text"},
		{"not found", withMemory(nil, fails(series.NotFound)), at("m"), codes.NotFound, "", "the text"},
		{"newer", withMemory(nil, fails(series.Unsupported)), at("m"), codes.Unimplemented, "", "the text"},
		{"bug", withMemory(nil, fails(series.Internal)), at("m"), codes.Internal, "", "the text"},
		{"service's timeout", withMemory(func(c *Config) { c.Timeout = 20 * time.Millisecond }, waits), at("m"), codes.DeadlineExceeded, "", "--query.timeout=20ms"},
		{"request's timeout", withMemory(nil, waits), &queryv1.QueryRequest{Query: "m", Options: timeout(20 * time.Millisecond)}, codes.DeadlineExceeded, "", "query timed out"},
		{"parse without time", withMemory(nil, nil), &queryv1.QueryRequest{Query: "m{", Options: timeout(0)}, codes.InvalidArgument, "", "parse error"},
		{"no time at all", withMemory(nil, nil), &queryv1.QueryRequest{Query: "m", Options: timeout(0)}, codes.DeadlineExceeded, "", "query timed out"},
		{"time", withMemory(nil, nil), &queryv1.QueryRequest{Query: "m", TimeMs: proto.Int64(math.MaxInt64)}, codes.InvalidArgument, "", "out of range"},
		{"broken timeout", withMemory(nil, nil), &queryv1.QueryRequest{Query: "m", Options: &queryv1.QueryOptions{Timeout: &durationpb.Duration{Nanos: -1, Seconds: 1}}}, codes.InvalidArgument, "", "timeout"},
		{"broken lookback", withMemory(nil, nil), &queryv1.QueryRequest{Query: "m", Options: &queryv1.QueryOptions{LookbackDelta: &durationpb.Duration{Nanos: -1, Seconds: 1}}}, codes.InvalidArgument, "", "lookback delta"},
		{"caller", withMemory(nil, nil), &queryv1.QueryRequest{Query: "m", CallerId: strings.Repeat("x", 129)}, codes.InvalidArgument, "", "caller_id"},
		{"table name", withMemory(nil, nil), &queryv1.QueryRequest{Query: "m", Destination: &queryv1.Destination{Table: `a"`}}, codes.InvalidArgument, "", "destination.table"},
		{"table", withMemory(nil, nil), &queryv1.QueryRequest{Query: "m", Destination: &queryv1.Destination{Table: "secret"}}, codes.PermissionDenied, "TABLE_NOT_ALLOWED", "--allowed-tables"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.start(t)
			_, err := r.query(t.Context(), t, tt.give)
			st := status.Convert(err)
			reason := ""
			for _, d := range st.Details() {
				reason = d.(*errdetails.ErrorInfo).GetReason()
			}
			if st.Code() != tt.code || reason != tt.reason || !strings.Contains(st.Message(), tt.want) {
				t.Errorf("got %v %q: %q", st.Code(), reason, st.Message())
			}
			if tt.code != codes.OK && testutil.ToFloat64(r.metrics.calls.WithLabelValues("Query", tt.code.String())) != 1 {
				t.Error("it was not counted")
			}
		})
	}
	t.Run("caller leaves", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := withMemory(nil, func(c context.Context, _ series.Selection) error {
			cancel()
			<-c.Done()
			return c.Err()
		})(t)
		if _, err := r.query(ctx, t, at("m")); status.Code(err) != codes.Canceled {
			t.Errorf("got %v", err)
		}
		for testutil.ToFloat64(r.metrics.calls.WithLabelValues("Query", codes.Canceled.String())) != 1 {
			time.Sleep(time.Millisecond)
		}
	})
	t.Run("too many", func(t *testing.T) {
		r := start(t, nil)
		release, begun := make(chan struct{}), make(chan struct{}, 10)
		m := overMemory(t, r, func(c *engine.Config) { c.MaxConcurrency, c.MaxWaiting = 1, 0 })
		m.Before = func(context.Context, series.Selection) error {
			begun <- struct{}{}
			<-release
			return nil
		}
		first := make(chan error)
		go func() { _, err := r.query(t.Context(), t, at("m")); first <- err }()
		<-begun
		if _, err := r.query(t.Context(), t, at("m")); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "--query.max-concurrency") || len(status.Convert(err).Details()) != 0 {
			t.Errorf("got %v", err)
		}
		close(release)
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

func TestQueryRangeRefusesWhatIsMalformed(t *testing.T) {
	r := start(t, nil)
	overMemory(t, r, nil)
	for _, tt := range []struct {
		name string
		give *queryv1.QueryRangeRequest
		want string
	}{
		{"order", &queryv1.QueryRangeRequest{Query: "m", StartMs: 2, EndMs: 1, StepMs: 1}, `invalid parameter "end": end timestamp must not be before start time`},
		{"no step", &queryv1.QueryRangeRequest{Query: "m"}, `invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer`},
		{"steps", &queryv1.QueryRangeRequest{Query: "m", EndMs: 11_001, StepMs: 1}, "exceeded maximum resolution of 11,000 points per timeseries"},
		{"start", &queryv1.QueryRangeRequest{Query: "m", StartMs: math.MinInt64, EndMs: 1, StepMs: 1}, "out of range"},
		{"type", &queryv1.QueryRangeRequest{Query: `m[1m]`, EndMs: 1, StepMs: 1}, `invalid expression type "range vector" for range query, must be Scalar or instant Vector`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := r.queryRange(t, tt.give); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, give := range []*queryv1.QueryRangeRequest{
		{Query: "1", EndMs: 11_000, StepMs: 1},
		{Query: "1", StartMs: -9e12, EndMs: 9e12, StepMs: math.MaxInt64},
	} {
		if got, err := r.queryRange(t, give); err != nil || len(got.series) != 1 {
			t.Errorf("%v: got %v, %v", give, got.lines(), err)
		}
	}
}

// TestHistogramsOfResultsAreWhole: floats that engine histograms share are not changed by sending them.
func TestHistogramsOfResultsAreWhole(t *testing.T) {
	r := start(t, nil)
	m := overMemory(t, r, nil)
	want := tsdbutil.GenerateTestCustomBucketsFloatHistogram(3)
	m.Append(labels.FromStrings("__name__", "h"), 0, t0, 0, enginetest.Histogram(nil, want))
	got, err := r.query(t.Context(), t, &queryv1.QueryRequest{Query: "h", TimeMs: proto.Int64(t0)})
	if err != nil {
		t.Fatal(err)
	}
	fh := got.series[0].Histograms[0].ToFloatHistogram()
	if !fh.Equals(want) || fh.CounterResetHint != histogram.UnknownCounterReset {
		t.Errorf("got %v, want %v", fh, want)
	}
}
