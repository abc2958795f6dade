// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	"github.com/tributary-project/tributary/timestream/promschema"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// fakeLister answers with what it has and keeps what it was asked.
type fakeLister struct {
	series    []labels.Labels
	texts     []string
	exemplars []series.Exemplars
	metadata  []series.MetricMetadata
	info      series.Info
	err       error

	scope series.Scope
	name  string
	calls int
}

func (f *fakeLister) asked(name string, s series.Scope) {
	f.calls, f.name, f.scope = f.calls+1, name, s
}

func (f *fakeLister) Series(_ context.Context, s series.Scope) ([]labels.Labels, series.Info, error) {
	f.asked("", s)
	return f.series, f.info, f.err
}

func (f *fakeLister) LabelNames(_ context.Context, s series.Scope) ([]string, series.Info, error) {
	f.asked("", s)
	return f.texts, f.info, f.err
}

func (f *fakeLister) LabelValues(_ context.Context, name string, s series.Scope) ([]string, series.Info, error) {
	f.asked(name, s)
	return f.texts, f.info, f.err
}

func (f *fakeLister) Exemplars(_ context.Context, s series.Scope) ([]series.Exemplars, series.Info, error) {
	f.asked("", s)
	return f.exemplars, f.info, f.err
}

func (f *fakeLister) Metadata(_ context.Context, s series.Scope, metric string) ([]series.MetricMetadata, series.Info, error) {
	f.asked(metric, s)
	return f.metadata, f.info, f.err
}

// listed collects a listing: what is in each part, and the trailer.
func listed[M any](t *testing.T, stream grpc.ServerStreamingClient[M], err error, part func(*M) (header bool, trailer *queryv1.ListTrailer)) (*queryv1.ListTrailer, error) {
	t.Helper()
	if err != nil {
		return nil, err
	}
	var trailer *queryv1.ListTrailer
	for n := 0; ; n++ {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if trailer == nil {
				t.Error("no trailer")
			}
			return trailer, nil
		}
		if err != nil {
			return nil, err
		}
		if trailer != nil {
			t.Error("a message after the trailer")
		}
		var header bool
		if header, trailer = part(m); header != (n == 0) {
			t.Errorf("message %d: header is %v", n, header)
		}
	}
}

func (r *running) listSeries(t *testing.T, req *queryv1.SeriesRequest) (out []string, messages int, trailer *queryv1.ListTrailer, err error) {
	t.Helper()
	stream, err := r.client.Series(t.Context(), req)
	trailer, err = listed(t, stream, err, func(m *queryv1.SeriesResponse) (bool, *queryv1.ListTrailer) {
		messages++
		for _, s := range m.GetSeries().GetLabelSets() {
			var b strings.Builder
			for _, l := range s.GetLabels() {
				b.WriteString(l.GetName() + "=" + l.GetValue() + " ")
			}
			out = append(out, strings.TrimSpace(b.String()))
		}
		return m.GetHeader() != nil, m.GetTrailer()
	})
	return out, messages, trailer, err
}

func (r *running) labelNames(t *testing.T, req *queryv1.LabelNamesRequest) (out []string, trailer *queryv1.ListTrailer, err error) {
	t.Helper()
	stream, err := r.client.LabelNames(t.Context(), req)
	trailer, err = listed(t, stream, err, func(m *queryv1.LabelNamesResponse) (bool, *queryv1.ListTrailer) {
		out = append(out, m.GetNames().GetNames()...)
		return m.GetHeader() != nil, m.GetTrailer()
	})
	return out, trailer, err
}

func (r *running) labelValues(t *testing.T, req *queryv1.LabelValuesRequest) (out []string, trailer *queryv1.ListTrailer, err error) {
	t.Helper()
	stream, err := r.client.LabelValues(t.Context(), req)
	trailer, err = listed(t, stream, err, func(m *queryv1.LabelValuesResponse) (bool, *queryv1.ListTrailer) {
		out = append(out, m.GetValues().GetNames()...)
		return m.GetHeader() != nil, m.GetTrailer()
	})
	return out, trailer, err
}

func (r *running) metadata(t *testing.T, req *queryv1.MetadataRequest) (out []string, err error) {
	t.Helper()
	stream, err := r.client.Metadata(t.Context(), req)
	_, err = listed(t, stream, err, func(m *queryv1.MetadataResponse) (bool, *queryv1.ListTrailer) {
		if x := m.GetMetric(); x != nil {
			text := x.GetMetric()
			for _, e := range x.GetEntries() {
				text += " " + e.GetType() + "/" + e.GetHelp() + "/" + e.GetUnit()
			}
			out = append(out, text)
		}
		return m.GetHeader() != nil, m.GetTrailer()
	})
	return out, err
}

func (r *running) queryExemplars(t *testing.T, req *queryv1.QueryExemplarsRequest) (out []prompb.TimeSeries, trailer *queryv1.ListTrailer, err error) {
	t.Helper()
	stream, err := r.client.QueryExemplars(t.Context(), req)
	trailer, err = listed(t, stream, err, func(m *queryv1.QueryExemplarsResponse) (bool, *queryv1.ListTrailer) {
		if raw := m.GetTimeSeries(); raw != nil {
			var ts prompb.TimeSeries
			if err := ts.Unmarshal(raw); err != nil {
				t.Fatal(err)
			}
			out = append(out, ts)
		}
		return m.GetHeader() != nil, m.GetTrailer()
	})
	return out, trailer, err
}

func selector(ms ...*queryv1.LabelMatcher) *queryv1.Selector { return &queryv1.Selector{Matchers: ms} }

// TestListingsOverTimestream goes through the store.
func TestListingsOverTimestream(t *testing.T) {
	r := start(t, nil)
	r.write(t, []series.Sample{{T: t0, V: 1}}, "__name__", "up", "job", "a")
	r.write(t, []series.Sample{{T: t0, V: 1}}, "__name__", "up", "job", "b", "zone", "z")
	scope := &queryv1.Scope{StartMs: proto.Int64(t0), EndMs: proto.Int64(t0), Selectors: []*queryv1.Selector{selector(nameIs("up"))}}
	all, _, trailer, err := r.listSeries(t, &queryv1.SeriesRequest{Scope: scope})
	if err != nil || fmt.Sprint(all) != "[__name__=up job=a __name__=up job=b zone=z]" || trailer.GetStats().GetSeries() != 2 || trailer.GetStats().GetQueries() == 0 || len(trailer.GetWarnings()) != 0 {
		t.Errorf("series: %v, %v, %v", all, trailer, err)
	}
	names, _, err := r.labelNames(t, &queryv1.LabelNamesRequest{Scope: scope})
	if err != nil || fmt.Sprint(names) != "[__name__ job zone]" {
		t.Errorf("names: %v, %v", names, err)
	}
	scope.Limit = 1
	values, trailer, err := r.labelValues(t, &queryv1.LabelValuesRequest{Name: "job", Scope: scope})
	if err != nil || fmt.Sprint(values) != "[a]" || fmt.Sprint(trailer.GetWarnings()) != "[results truncated due to limit]" {
		t.Errorf("values: %v, %v, %v", values, trailer, err)
	}
	if n := testutil.ToFloat64(r.metrics.calls.WithLabelValues("LabelValues", "OK")); n != 1 {
		t.Errorf("%v calls are counted", n)
	}
}

func TestListingsInParts(t *testing.T) {
	f := &fakeLister{info: series.Info{Warnings: []string{"w", "w"}, Stats: series.Stats{Queries: 3, Pages: 4, MeteredBytes: 5}}}
	for i := range 3000 {
		f.series = append(f.series, labels.FromStrings("__name__", "up", "i", fmt.Sprintf("%0100d", i)))
		f.texts = append(f.texts, fmt.Sprintf("%0100d", i))
	}
	r := start(t, nil)
	r.lister = f
	scope := &queryv1.Scope{Selectors: []*queryv1.Selector{selector(nameIs("up"))}, StartMs: proto.Int64(1)}
	all, messages, trailer, err := r.listSeries(t, &queryv1.SeriesRequest{Scope: scope})
	if err != nil || len(all) != 3000 || messages < 7 || messages > 12 || all[2999] != "__name__=up i="+f.texts[2999] {
		t.Errorf("%d series in %d messages, %v", len(all), messages, err)
	}
	if st := trailer.GetStats(); fmt.Sprint(trailer.GetWarnings()) != "[w]" || st.GetQueries() != 3 || st.GetPages() != 4 || st.GetMeteredBytes() != 5 {
		t.Errorf("trailer %v", trailer)
	}
	names, _, err := r.labelNames(t, &queryv1.LabelNamesRequest{Scope: scope})
	if err != nil || fmt.Sprint(names) != fmt.Sprint(f.texts) {
		t.Errorf("%d names, %v", len(names), err)
	}
	values, _, err := r.labelValues(t, &queryv1.LabelValuesRequest{Name: "地区", Scope: scope})
	if err != nil || fmt.Sprint(values) != fmt.Sprint(f.texts) || f.name != "地区" {
		t.Errorf("%d values, %v", len(values), err)
	}
}

// TestListingsAreHeldUntilSent: what a listing returns is released once the client has it, and not before.
func TestListingsAreHeldUntilSent(t *testing.T) {
	var released atomic.Int64
	f := &fakeLister{info: series.Info{Free: func() { released.Add(1) }}}
	for i := range 3000 { // more than is sent to a client that does not read
		ls, text := labels.FromStrings("__name__", "up", "i", fmt.Sprintf("%01000d", i)), fmt.Sprintf("%01000d", i)
		f.series, f.texts = append(f.series, ls), append(f.texts, text)
		f.exemplars = append(f.exemplars, series.Exemplars{Labels: ls})
		f.metadata = append(f.metadata, series.MetricMetadata{Metric: "m", Entries: []promschema.Metadata{{Help: text}}})
	}
	r := start(t, nil)
	r.lister = f
	scope := &queryv1.Scope{Selectors: []*queryv1.Selector{selector(nameIs("up"))}}
	for _, tt := range []struct {
		name string
		open func() (grpc.ClientStream, error)
	}{
		{"series", func() (grpc.ClientStream, error) {
			return r.client.Series(t.Context(), &queryv1.SeriesRequest{Scope: scope})
		}},
		{"names", func() (grpc.ClientStream, error) {
			return r.client.LabelNames(t.Context(), &queryv1.LabelNamesRequest{})
		}},
		{"values", func() (grpc.ClientStream, error) {
			return r.client.LabelValues(t.Context(), &queryv1.LabelValuesRequest{Name: "a"})
		}},
		{"metadata", func() (grpc.ClientStream, error) { return r.client.Metadata(t.Context(), &queryv1.MetadataRequest{}) }},
		{"exemplars", func() (grpc.ClientStream, error) {
			return r.client.QueryExemplars(t.Context(), &queryv1.QueryExemplarsRequest{Query: "up"})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			released.Store(0)
			stream, err := tt.open()
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := stream.RecvMsg(new(emptypb.Empty)); err != nil { // a header, then parts; what they are does not matter
					t.Fatal(err)
				}
			}
			if n := released.Load(); n != 0 {
				t.Errorf("released %d times before it was sent", n)
			}
			for err == nil {
				err = stream.RecvMsg(new(emptypb.Empty))
			}
			if n := released.Load(); !errors.Is(err, io.EOF) || n != 1 {
				t.Errorf("released %d times, %v", n, err)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	f := &fakeLister{}
	r := start(t, func(c *Config) {
		c.MetadataLookback = time.Minute
		if err := c.AllowedTables.Set("database.table"); err != nil {
			t.Fatal(err)
		}
	})
	r.lister = f
	now := int64(t0)
	r.now = func() time.Time { return time.UnixMilli(now) }
	const warning = "no start was given: what is older than 1m0s before the end was not looked at (--query.metadata-lookback)"
	for _, tt := range []struct {
		name       string
		give       *queryv1.Scope
		start, end int64
		warnings   string
	}{
		{"nothing", nil, t0 - 60_000, t0, warning},
		{"start", &queryv1.Scope{StartMs: proto.Int64(5)}, 5, t0, ""},
		{"end", &queryv1.Scope{EndMs: proto.Int64(100_000)}, 40_000, 100_000, warning},
		{"both", &queryv1.Scope{StartMs: proto.Int64(5), EndMs: proto.Int64(4)}, 5, 4, ""},
		{"the earliest end", &queryv1.Scope{EndMs: proto.Int64(math.MinInt64)}, -60_000, math.MinInt64, warning},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, trailer, err := r.labelNames(t, &queryv1.LabelNamesRequest{Scope: tt.give, Destination: &queryv1.Destination{Database: "database", Table: "table"}})
			if err != nil || f.scope.StartMs != tt.start || f.scope.EndMs != tt.end || strings.Join(trailer.GetWarnings(), ";") != tt.warnings || f.scope.Database != "database" || f.scope.Table != "table" {
				t.Errorf("got %+v, %v, %v", f.scope, trailer.GetWarnings(), err)
			}
		})
	}
	t.Run("selectors", func(t *testing.T) {
		_, _, err := r.labelNames(t, &queryv1.LabelNamesRequest{Scope: &queryv1.Scope{Limit: math.MaxUint64, Selectors: []*queryv1.Selector{
			selector(nameIs("up"), matcher(queryv1.LabelMatcher_TYPE_NOT_EQUAL, "a", "1")),
			selector(matcher(queryv1.LabelMatcher_TYPE_REGEX_MATCH, "b", ".+"), matcher(queryv1.LabelMatcher_TYPE_REGEX_NO_MATCH, "c", "x")),
		}}})
		if want := `[[__name__="up" a!="1"] [b=~".+" c!~"x"]]`; err != nil || fmt.Sprint(f.scope.Selectors) != want || f.scope.Limit <= 0 {
			t.Errorf("got %v, %v", f.scope, err)
		}
	})
}

func TestListingsRefuseWhatIsMalformed(t *testing.T) {
	f := &fakeLister{}
	r := start(t, nil)
	r.lister = f
	scope := func(s ...*queryv1.Selector) *queryv1.Scope { return &queryv1.Scope{Selectors: s} }
	for _, tt := range []struct {
		name string
		call func() error
		want string
	}{
		{"series of nothing", func() error { _, _, _, err := r.listSeries(t, &queryv1.SeriesRequest{}); return err }, "no match[] parameter provided"},
		{"empty selector", func() error {
			_, _, _, err := r.listSeries(t, &queryv1.SeriesRequest{Scope: scope(selector(nameIs("up")), selector())})
			return err
		}, "match[] must contain at least one non-empty matcher"},
		{"selector of everything", func() error {
			_, _, err := r.labelNames(t, &queryv1.LabelNamesRequest{Scope: scope(selector(matcher(queryv1.LabelMatcher_TYPE_REGEX_MATCH, "a", ".*")))})
			return err
		}, "match[] must contain at least one non-empty matcher"},
		{"matcher", func() error {
			_, _, err := r.labelNames(t, &queryv1.LabelNamesRequest{Scope: scope(selector(matcher(queryv1.LabelMatcher_TYPE_REGEX_MATCH, "a", "(")))})
			return err
		}, `matcher 0 on label "a"`},
		{"type of matcher", func() error {
			_, _, err := r.labelNames(t, &queryv1.LabelNamesRequest{Scope: scope(selector(matcher(0, "a", "b")))})
			return err
		}, "unknown type 0"},
		{"matcher without a name", func() error {
			_, _, err := r.labelNames(t, &queryv1.LabelNamesRequest{Scope: scope(selector(matcher(queryv1.LabelMatcher_TYPE_EQUAL, "", "b")))})
			return err
		}, "no label name"},
		{"label name", func() error {
			_, _, err := r.labelValues(t, &queryv1.LabelValuesRequest{})
			return err
		}, `invalid label name: ""`},
		{"exemplars of nothing parsable", func() error {
			_, _, err := r.queryExemplars(t, &queryv1.QueryExemplarsRequest{Query: "up{"})
			return err
		}, "1:4: parse error: unexpected end of input inside braces"},
		{"exemplars of what nests", func() error {
			_, _, err := r.queryExemplars(t, &queryv1.QueryExemplarsRequest{Query: strings.Repeat("(", 300) + "up"})
			return err
		}, "nested 300 brackets deep at byte 250"},
		{"exemplars backwards", func() error {
			_, _, err := r.queryExemplars(t, &queryv1.QueryExemplarsRequest{Query: "up", StartMs: proto.Int64(2), EndMs: proto.Int64(1)})
			return err
		}, "end timestamp must not be before start timestamp"},
		{"metadata with a long caller", func() error {
			_, err := r.metadata(t, &queryv1.MetadataRequest{CallerId: strings.Repeat("x", 129)})
			return err
		}, "caller_id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.call(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if f.calls != 0 {
		t.Errorf("the store was asked %d times", f.calls)
	}
}

func TestErrorsOfListings(t *testing.T) {
	f := &fakeLister{err: &series.Error{Kind: series.TooLarge, Text: "the text"}}
	r := start(t, nil)
	r.lister = f
	scope := &queryv1.Scope{Selectors: []*queryv1.Selector{selector(nameIs("up"))}}
	_, _, _, seriesErr := r.listSeries(t, &queryv1.SeriesRequest{Scope: scope})
	_, _, namesErr := r.labelNames(t, &queryv1.LabelNamesRequest{})
	_, _, valuesErr := r.labelValues(t, &queryv1.LabelValuesRequest{Name: "a"})
	_, metadataErr := r.metadata(t, &queryv1.MetadataRequest{})
	_, _, exemplarsErr := r.queryExemplars(t, &queryv1.QueryExemplarsRequest{Query: "up"})
	for i, err := range []error{seriesErr, namesErr, valuesErr, metadataErr, exemplarsErr} {
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "the text") {
			t.Errorf("%d: got %v", i, err)
		}
	}
	secret := &queryv1.Destination{Table: "secret"}
	calls := f.calls
	_, _, _, seriesErr = r.listSeries(t, &queryv1.SeriesRequest{Scope: scope, Destination: secret})
	_, _, namesErr = r.labelNames(t, &queryv1.LabelNamesRequest{Destination: secret})
	_, _, valuesErr = r.labelValues(t, &queryv1.LabelValuesRequest{Name: "a", Destination: secret})
	_, metadataErr = r.metadata(t, &queryv1.MetadataRequest{Destination: secret})
	_, _, exemplarsErr = r.queryExemplars(t, &queryv1.QueryExemplarsRequest{Query: "up", Destination: secret})
	for i, err := range []error{seriesErr, namesErr, valuesErr, metadataErr, exemplarsErr} {
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "--allowed-tables") {
			t.Errorf("%d: got %v", i, err)
		}
	}
	if f.calls != calls {
		t.Error("the store was asked about a table that may not be named")
	}
}

func TestMetadata(t *testing.T) {
	f := &fakeLister{metadata: []series.MetricMetadata{
		{Metric: "a", Entries: []promschema.Metadata{{Type: prompb.MetricMetadata_COUNTER, Help: "h1"}, {Type: prompb.MetricMetadata_GAUGEHISTOGRAM, Help: "h2", Unit: "s"}}},
		{Metric: "b", Entries: []promschema.Metadata{{Type: prompb.MetricMetadata_UNKNOWN}}},
	}}
	r := start(t, nil)
	r.lister = f
	r.now = func() time.Time { return time.UnixMilli(t0) }
	for _, tt := range []struct {
		name  string
		give  *queryv1.MetadataRequest
		want  string
		limit int
		calls int
	}{
		{"all", &queryv1.MetadataRequest{}, "[a counter/h1/ gaugehistogram/h2/s b unknown//]", 0, 1},
		{"one metric", &queryv1.MetadataRequest{Metric: "a", Limit: proto.Uint64(7)}, "[a counter/h1/ gaugehistogram/h2/s b unknown//]", 7, 1},
		{"entries of a metric", &queryv1.MetadataRequest{LimitPerMetric: proto.Uint64(1)}, "[a counter/h1/ b unknown//]", 0, 1},
		{"no bound on entries", &queryv1.MetadataRequest{LimitPerMetric: proto.Uint64(0)}, "[a counter/h1/ gaugehistogram/h2/s b unknown//]", 0, 1},
		{"none", &queryv1.MetadataRequest{Limit: proto.Uint64(0)}, "[]", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.calls = 0
			got, err := r.metadata(t, tt.give)
			if err != nil || fmt.Sprint(got) != tt.want || f.calls != tt.calls {
				t.Errorf("got %v after %d calls, %v", got, f.calls, err)
			}
			if f.scope.Limit != tt.limit && tt.calls > 0 || f.name != tt.give.GetMetric() && tt.calls > 0 || f.scope.EndMs != t0 || f.scope.StartMs != t0-24*3_600_000 {
				t.Errorf("asked for %q in %+v", f.name, f.scope)
			}
		})
	}
}

func TestQueryExemplars(t *testing.T) {
	f := &fakeLister{exemplars: []series.Exemplars{
		{Labels: labels.FromStrings("__name__", "a", "job", "x"), Exemplars: []series.Exemplar{
			{T: t0, V: math.Copysign(0, -1), Labels: labels.FromStrings("trace_id", "1", "ü", "ö")}, {T: 0, V: math.NaN()},
		}},
		{Labels: labels.FromStrings("__name__", "b"), Exemplars: []series.Exemplar{{T: -5, V: 0}}},
	}}
	r := start(t, nil)
	r.lister = f
	got, trailer, err := r.queryExemplars(t, &queryv1.QueryExemplarsRequest{Query: `a{job="x"} / rate(b[5m])`, StartMs: proto.Int64(1), EndMs: proto.Int64(2)})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(f.scope.Selectors) != `[[job="x" __name__="a"] [__name__="b"]]` || f.scope.StartMs != 1 || f.scope.EndMs != 2 || len(trailer.GetWarnings()) != 0 || trailer.GetStats().GetSeries() != 2 {
		t.Errorf("asked for %+v; trailer %v", f.scope, trailer)
	}
	var b strings.Builder
	for _, s := range got {
		fmt.Fprintf(&b, "%v", s.Labels)
		for _, e := range s.Exemplars {
			fmt.Fprintf(&b, " %d %x %v", e.Timestamp, math.Float64bits(e.Value), e.Labels)
		}
		b.WriteString("\n")
	}
	want := fmt.Sprintf("%v %d %x %v 0 %x []\n%v -5 0 []\n",
		[]prompb.Label{{Name: "__name__", Value: "a"}, {Name: "job", Value: "x"}}, int64(t0), uint64(1)<<63,
		[]prompb.Label{{Name: "trace_id", Value: "1"}, {Name: "ü", Value: "ö"}}, math.Float64bits(math.NaN()),
		[]prompb.Label{{Name: "__name__", Value: "b"}})
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	calls := f.calls
	if got, _, err := r.queryExemplars(t, &queryv1.QueryExemplarsRequest{Query: "1"}); err != nil || len(got) != 0 || f.calls != calls {
		t.Errorf("an expression without selectors: %v, %v", got, err)
	}
}
