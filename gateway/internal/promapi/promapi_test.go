// SPDX-License-Identifier: Apache-2.0

package promapi_test

import (
	"context"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tributary-project/tributary/gateway/internal/payload"
	"github.com/tributary-project/tributary/gateway/internal/promapi"
	"github.com/tributary-project/tributary/internal/fairgate"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/nesting"
	"github.com/tributary-project/tributary/internal/process"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeQuery answers every method with a list of messages and then an error, and remembers the request.
type fakeQuery struct {
	queryv1.UnsafeQueryServiceServer
	mu      sync.Mutex
	last    proto.Message
	answers []proto.Message
	err     error
	// hang makes a method wait for the end of its call after its answers.
	hang bool
}

func (f *fakeQuery) seen() proto.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

func (f *fakeQuery) set(err error, answers ...proto.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.answers, f.err = nil, answers, err
}

func play[M any](f *fakeQuery, req proto.Message, out grpc.ServerStreamingServer[M]) error {
	f.mu.Lock()
	f.last = req
	answers, err, hang := f.answers, f.err, f.hang
	f.mu.Unlock()
	for _, a := range answers {
		m, ok := any(a).(*M)
		if !ok {
			return status.Errorf(codes.Internal, "the test sends a %T", a)
		}
		if err := out.Send(m); err != nil {
			return err
		}
	}
	if hang {
		<-out.Context().Done()
	}
	return err
}

func (f *fakeQuery) Read(req *queryv1.ReadRequest, out grpc.ServerStreamingServer[queryv1.ReadResponse]) error {
	return play(f, req, out)
}

func (f *fakeQuery) Query(req *queryv1.QueryRequest, out grpc.ServerStreamingServer[queryv1.QueryResponse]) error {
	return play(f, req, out)
}

func (f *fakeQuery) QueryRange(req *queryv1.QueryRangeRequest, out grpc.ServerStreamingServer[queryv1.QueryRangeResponse]) error {
	return play(f, req, out)
}

func (f *fakeQuery) Series(req *queryv1.SeriesRequest, out grpc.ServerStreamingServer[queryv1.SeriesResponse]) error {
	return play(f, req, out)
}

func (f *fakeQuery) LabelNames(req *queryv1.LabelNamesRequest, out grpc.ServerStreamingServer[queryv1.LabelNamesResponse]) error {
	return play(f, req, out)
}

func (f *fakeQuery) LabelValues(req *queryv1.LabelValuesRequest, out grpc.ServerStreamingServer[queryv1.LabelValuesResponse]) error {
	return play(f, req, out)
}

func (f *fakeQuery) Metadata(req *queryv1.MetadataRequest, out grpc.ServerStreamingServer[queryv1.MetadataResponse]) error {
	return play(f, req, out)
}

func (f *fakeQuery) QueryExemplars(req *queryv1.QueryExemplarsRequest, out grpc.ServerStreamingServer[queryv1.QueryExemplarsResponse]) error {
	return play(f, req, out)
}

func (f *fakeQuery) SQL(req *queryv1.SQLRequest, out grpc.ServerStreamingServer[queryv1.SQLResponse]) error {
	return play(f, req, out)
}

// fixture is an API over HTTP with a fake behind it over gRPC.
type fixture struct {
	tb      testing.TB
	query   *fakeQuery
	url     string
	handler http.Handler
	gate    *fairgate.Gate
	buffers *fairgate.Gate

	mu      sync.Mutex
	refused []string
}

func start(tb testing.TB, edit func(*promapi.Config)) *fixture {
	tb.Helper()
	f := &fixture{
		tb: tb, query: &fakeQuery{},
		gate:    fairgate.New(fairgate.Limits{Requests: 10, RequestsFlag: "requests", Bytes: 1 << 20, BytesFlag: "bytes"}, time.Now),
		buffers: fairgate.New(fairgate.Limits{Bytes: 8 << 20, BytesFlag: "buffers"}, time.Now),
	}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	queryv1.RegisterQueryServiceServer(server, f.query)
	served := make(chan struct{})
	go func() { _ = server.Serve(listener); close(served) }()
	conn, err := grpc.NewClient("passthrough:///query", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close(); server.Stop(); <-served })
	origin, err := promapi.Origin(".*")
	if err != nil {
		tb.Fatal(err)
	}
	cfg := promapi.Config{
		Query: queryv1.NewQueryServiceClient(conn), Gate: f.gate, Buffers: f.buffers,
		Reader:  payload.NewReader(payload.Limits{MaxBytes: 64 << 10, MaxBytesFlag: "web.max-form-bytes", Timeout: time.Minute, TimeoutFlag: "read.timeout"}),
		Timeout: time.Minute, TimeoutFlag: "read.timeout",
		Expressions: nesting.Limits{MaxBytes: 64 << 10, MaxBytesFlag: "query.max-expression-bytes"},
		CORSOrigin:  origin,
		Refused: func(path, reason string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.refused = append(f.refused, path+" "+reason)
		},
		CallerID: func(*http.Request) string { return "caller" },
		Info: promapi.Info{
			Build:    process.Build{Version: "1.2.3", Revision: "abc", GoVersion: "go1.26"},
			Settings: []flags.Setting{{Name: "a.flag", Value: "1"}, {Name: "b.flag", Value: "<\"\n>"}},
			Start:    time.Unix(1e9, 0),
		},
		Logger: slog.New(slog.DiscardHandler),
	}
	if edit != nil {
		edit(&cfg)
	}
	mux := http.NewServeMux()
	for _, r := range promapi.New(cfg).Routes() {
		mux.Handle(r.Pattern, r.Handler)
	}
	web := httptest.NewServer(mux)
	tb.Cleanup(web.Close)
	f.url, f.handler = web.URL, mux
	return f
}

// refusals returns what was refused since the last call.
func (f *fixture) refusals() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.refused
	f.refused = nil
	return r
}

type reply struct {
	code   int
	header http.Header
	body   string
	err    error // of reading the body
}

func (f *fixture) do(method, path, body string, header ...string) reply {
	f.tb.Helper()
	req, err := http.NewRequest(method, f.url+"/api/v1/"+path, strings.NewReader(body))
	if err != nil {
		f.tb.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	// A request that expects to be told to go on sends its body only then.
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true, ExpectContinueTimeout: 2 * time.Minute}}
	res, err := client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(text), err}
}

func (f *fixture) get(path string) reply { f.tb.Helper(); return f.do(http.MethodGet, path, "") }

// form are the headers of a form.
const form, formType = "Content-Type", "application/x-www-form-urlencoded"

// marshal serialises a series; more is what prompb does not write.
func marshal(tb testing.TB, ts *prompb.TimeSeries, more ...byte) []byte {
	tb.Helper()
	raw, err := ts.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return append(raw, more...)
}

// minusZero is the field of a sample of -0, which prompb takes for the default and leaves out.
func minusZero(ms uint64) []byte {
	sample := protowire.AppendTag(nil, 1, protowire.Fixed64Type)
	sample = protowire.AppendFixed64(sample, 1<<63)
	sample = protowire.AppendTag(sample, 2, protowire.VarintType)
	sample = protowire.AppendVarint(sample, ms)
	return protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), sample)
}

func header(t queryv1.ValueType) *queryv1.QueryHeader { return &queryv1.QueryHeader{ValueType: t} }

// instant and ranged are the messages of one result.
func instant(t queryv1.ValueType, trailer *queryv1.QueryTrailer, series ...[]byte) []proto.Message {
	return []proto.Message{
		&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Header{Header: header(t)}},
		&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Series{Series: &queryv1.QuerySeries{TimeSeries: series}}},
		&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Trailer{Trailer: trailer}},
	}
}

func ranged(trailer *queryv1.QueryTrailer, series ...[]byte) []proto.Message {
	out := []proto.Message{&queryv1.QueryRangeResponse{Message: &queryv1.QueryRangeResponse_Header{Header: header(queryv1.ValueType_VALUE_TYPE_MATRIX)}}}
	for _, s := range series {
		out = append(out, &queryv1.QueryRangeResponse{Message: &queryv1.QueryRangeResponse_Series{Series: &queryv1.QuerySeries{TimeSeries: [][]byte{s}}}})
	}
	return append(out, &queryv1.QueryRangeResponse{Message: &queryv1.QueryRangeResponse_Trailer{Trailer: trailer}})
}

func pairs(names ...string) []prompb.Label {
	var out []prompb.Label
	for i := 0; i < len(names); i += 2 {
		out = append(out, prompb.Label{Name: names[i], Value: names[i+1]})
	}
	return out
}

func testHistogram(ms int64) prompb.Histogram {
	return prompb.FromFloatHistogram(ms, &histogram.FloatHistogram{
		Schema: 0, Count: 10.5, Sum: -2, ZeroThreshold: 0.001, ZeroCount: 0.5,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}, {Offset: 1, Length: 1}}, PositiveBuckets: []float64{1, 0, 3},
		NegativeSpans: []histogram.Span{{Offset: 0, Length: 1}}, NegativeBuckets: []float64{6},
	})
}

const histogramJSON = `{"count":"10.5","sum":"-2","buckets":[[1,"-1","-0.5","6"],[3,"-0.001","0.001","0.5"],[0,"0.5","1","1"],[0,"4","8","3"]]}`

// TestResults holds the JSON of every kind of value.
func TestResults(t *testing.T) {
	f := start(t, nil)
	vector := [][]byte{
		marshal(t, &prompb.TimeSeries{Labels: pairs("__name__", "up", "job", "<&>\"\\\n\u2028☃\x01"), Samples: []prompb.Sample{{Value: 1.5, Timestamp: 1435781451781}}}),
		marshal(t, &prompb.TimeSeries{Samples: []prompb.Sample{{Value: math.NaN(), Timestamp: 1000}}}),
		marshal(t, &prompb.TimeSeries{Labels: pairs("a", "b"), Samples: []prompb.Sample{{Value: math.Inf(-1), Timestamp: -1}}}),
		marshal(t, &prompb.TimeSeries{Labels: pairs("a", "c"), Histograms: []prompb.Histogram{testHistogram(20)}}),
	}
	stats := &queryv1.QueryStats{
		TimingsSeconds: map[string]float64{"evalTotalTime": 0.5, "execTotalTime": 0.0000001}, TotalQueryableSamples: 7, PeakSamples: 3, SamplesRead: 6,
		TotalQueryableSamplesPerStep: []*queryv1.StepSamples{{TimeMs: 1500, Samples: 7}}, SamplesReadPerStep: []*queryv1.StepSamples{{TimeMs: 1500, Samples: 6}},
	}
	for _, c := range []struct {
		name, give string
		answers    []proto.Message
		want       string
	}{
		{
			"vector", "query?query=up", instant(queryv1.ValueType_VALUE_TYPE_VECTOR, &queryv1.QueryTrailer{}, vector...),
			`{"status":"success","data":{"resultType":"vector","result":[` +
				`{"metric":{"__name__":"up","job":"<&>\"\\\n` + "\u2028☃" + `\u0001"},"value":[1435781451.781,"1.5"]},` +
				`{"metric":{},"value":[1,"NaN"]},{"metric":{"a":"b"},"value":[-0.001,"-Inf"]},` +
				`{"metric":{"a":"c"},"histogram":[0.020,` + histogramJSON + `]}]}}`,
		},
		{
			"empty vector", "query?query=up", instant(queryv1.ValueType_VALUE_TYPE_VECTOR, &queryv1.QueryTrailer{Stats: stats}),
			`{"status":"success","data":{"resultType":"vector","result":[]}}`,
		},
		{
			"matrix of an instant query, with stats, warnings and infos", "query?query=up[5m]&stats=all",
			instant(queryv1.ValueType_VALUE_TYPE_MATRIX, &queryv1.QueryTrailer{Warnings: []string{"<w>", "v"}, Infos: []string{"i"}, Stats: stats},
				marshal(t, &prompb.TimeSeries{Samples: []prompb.Sample{{Value: 1e21, Timestamp: 1}}})),
			`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[0.001,"1e+21"]]}],` +
				`"stats":{"timings":{"evalTotalTime":0.5,"resultSortTime":0,"queryPreparationTime":0,"innerEvalTime":0,"execQueueTime":0,"execTotalTime":1e-07},` +
				`"samples":{"totalQueryableSamplesPerStep":[[1.5,7]],"totalQueryableSamples":7,"samplesReadPerStep":[[1.5,6]],"samplesRead":6,"peakSamples":3}}},` +
				`"warnings":["\u003cw\u003e","v"],"infos":["i"]}`,
		},
		{
			"matrix", "query_range?query=up&start=1&end=2&step=1",
			ranged(&queryv1.QueryTrailer{},
				marshal(t, &prompb.TimeSeries{Labels: pairs("a", "b"), Samples: []prompb.Sample{{Value: 0, Timestamp: 1000}}}, minusZero(2000)...),
				marshal(t, &prompb.TimeSeries{Labels: pairs("a", "c"), Histograms: []prompb.Histogram{testHistogram(1000), testHistogram(2000)}}),
				marshal(t, &prompb.TimeSeries{Labels: pairs("a", "d"), Samples: []prompb.Sample{{Value: math.Inf(1), Timestamp: 1000}}, Histograms: []prompb.Histogram{testHistogram(2000)}})),
			`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1,"0"],[2,"-0"]]},` +
				`{"metric":{"a":"c"},"histograms":[[1,` + histogramJSON + `],[2,` + histogramJSON + `]]},` +
				`{"metric":{"a":"d"},"values":[[1,"+Inf"]],"histograms":[[2,` + histogramJSON + `]]}]}}`,
		},
		{
			"scalar", "query?query=1", []proto.Message{
				&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Header{Header: header(queryv1.ValueType_VALUE_TYPE_SCALAR)}},
				&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Scalar{Scalar: &queryv1.ScalarValue{TimeMs: 1435781451781, Value: proto.Float64(1e21)}}},
				&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Trailer{Trailer: &queryv1.QueryTrailer{}}},
			},
			`{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"1000000000000000000000"]}}`,
		},
		{
			"string", "query?query=1", []proto.Message{
				&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Header{Header: header(queryv1.ValueType_VALUE_TYPE_STRING)}},
				&queryv1.QueryResponse{Message: &queryv1.QueryResponse_String_{String_: &queryv1.StringValue{TimeMs: 1500, Value: "<☃>"}}},
				&queryv1.QueryResponse{Message: &queryv1.QueryResponse_Trailer{Trailer: &queryv1.QueryTrailer{}}},
			},
			`{"status":"success","data":{"resultType":"string","result":[1.5,"\u003c☃\u003e"]}}`,
		},
		{
			"series", "series?match[]=up", []proto.Message{
				&queryv1.SeriesResponse{Message: &queryv1.SeriesResponse_Header{Header: &queryv1.ListHeader{}}},
				&queryv1.SeriesResponse{Message: &queryv1.SeriesResponse_Series{Series: &queryv1.LabelSets{LabelSets: []*queryv1.LabelSet{
					{Labels: []*queryv1.Label{{Name: "__name__", Value: "up"}, {Name: "x", Value: "<"}}}, {},
				}}}},
				&queryv1.SeriesResponse{Message: &queryv1.SeriesResponse_Series{Series: &queryv1.LabelSets{LabelSets: []*queryv1.LabelSet{{Labels: []*queryv1.Label{{Name: "y", Value: "z"}}}}}}},
				&queryv1.SeriesResponse{Message: &queryv1.SeriesResponse_Trailer{Trailer: &queryv1.ListTrailer{Warnings: []string{"w"}}}},
			},
			`{"status":"success","data":[{"__name__":"up","x":"<"},{},{"y":"z"}],"warnings":["w"]}`,
		},
		{
			"label names", "labels", []proto.Message{
				&queryv1.LabelNamesResponse{Message: &queryv1.LabelNamesResponse_Header{Header: &queryv1.ListHeader{}}},
				&queryv1.LabelNamesResponse{Message: &queryv1.LabelNamesResponse_Names{Names: &queryv1.Names{Names: []string{"a", "<"}}}},
				&queryv1.LabelNamesResponse{Message: &queryv1.LabelNamesResponse_Trailer{Trailer: &queryv1.ListTrailer{}}},
			},
			`{"status":"success","data":["a","\u003c"]}`,
		},
		{
			"no label values", "label/a/values", []proto.Message{
				&queryv1.LabelValuesResponse{Message: &queryv1.LabelValuesResponse_Header{Header: &queryv1.ListHeader{}}},
				&queryv1.LabelValuesResponse{Message: &queryv1.LabelValuesResponse_Trailer{Trailer: &queryv1.ListTrailer{}}},
			},
			`{"status":"success","data":[]}`,
		},
		{
			"metadata", "metadata", []proto.Message{
				&queryv1.MetadataResponse{Message: &queryv1.MetadataResponse_Header{Header: &queryv1.ListHeader{}}},
				&queryv1.MetadataResponse{Message: &queryv1.MetadataResponse_Metric{Metric: &queryv1.MetricMetadata{Metric: "a", Entries: []*queryv1.MetadataEntry{
					{Type: "counter", Help: "<h>", Unit: "s"}, {Type: "gauge"},
				}}}},
				&queryv1.MetadataResponse{Message: &queryv1.MetadataResponse_Metric{Metric: &queryv1.MetricMetadata{Metric: "b", Entries: []*queryv1.MetadataEntry{{Type: "unknown"}}}}},
				&queryv1.MetadataResponse{Message: &queryv1.MetadataResponse_Trailer{Trailer: &queryv1.ListTrailer{}}},
			},
			`{"status":"success","data":{"a":[{"type":"counter","help":"\u003ch\u003e","unit":"s"},{"type":"gauge","help":"","unit":""}],"b":[{"type":"unknown","help":"","unit":""}]}}`,
		},
		{
			"exemplars", "query_exemplars?query=up", []proto.Message{
				&queryv1.QueryExemplarsResponse{Message: &queryv1.QueryExemplarsResponse_Header{Header: &queryv1.ListHeader{}}},
				&queryv1.QueryExemplarsResponse{Message: &queryv1.QueryExemplarsResponse_TimeSeries{TimeSeries: marshal(t, &prompb.TimeSeries{
					Labels: pairs("__name__", "up"), Exemplars: []prompb.Exemplar{{Labels: pairs("trace", "x"), Value: 0.5, Timestamp: 1001}, {Value: math.NaN()}},
				})}},
				&queryv1.QueryExemplarsResponse{Message: &queryv1.QueryExemplarsResponse_Trailer{Trailer: &queryv1.ListTrailer{}}},
			},
			`{"status":"success","data":[{"seriesLabels":{"__name__":"up"},"exemplars":[{"labels":{"trace":"x"},"value":"0.5","timestamp":1.001},{"labels":{},"value":"NaN","timestamp":0}]}]}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.query.set(nil, c.answers...)
			got := f.get(c.give)
			if got.code != 200 || got.body != c.want || got.err != nil {
				t.Errorf("got  %d %s (%v)\nwant 200 %s", got.code, got.body, got.err, c.want)
			}
			if ct := got.header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("got Content-Type %q", ct)
			}
		})
	}
}

// TestRequests holds what parameters become.
func TestRequests(t *testing.T) {
	f := start(t, nil)
	stop := status.Error(codes.NotFound, "stop")
	up := []*queryv1.Selector{{Matchers: []*queryv1.LabelMatcher{{Type: queryv1.LabelMatcher_TYPE_EQUAL, Name: "__name__", Value: "up"}}}}
	for _, c := range []struct {
		give string
		want proto.Message
	}{
		{"query?query=up", &queryv1.QueryRequest{Query: "up", CallerId: "caller", Options: &queryv1.QueryOptions{}}},
		{"query", &queryv1.QueryRequest{CallerId: "caller", Options: &queryv1.QueryOptions{}}},
		{"query?query=up&time=1.5&limit=3&stats=1", &queryv1.QueryRequest{Query: "up", CallerId: "caller", TimeMs: proto.Int64(1500), Options: &queryv1.QueryOptions{Limit: 3, Stats: queryv1.QueryStatsLevel_QUERY_STATS_LEVEL_BASIC}}},
		{"query?query=up&time=1970-01-01T00:00:00Z&stats=all", &queryv1.QueryRequest{Query: "up", CallerId: "caller", TimeMs: proto.Int64(0), Options: &queryv1.QueryOptions{Stats: queryv1.QueryStatsLevel_QUERY_STATS_LEVEL_PER_STEP}}},
		{"query_range?query=up&start=-1.001&end=2023-01-02T03:04:05.678%2B01:00&step=48h", &queryv1.QueryRangeRequest{Query: "up", CallerId: "caller", StartMs: -1001, EndMs: 1672625045678, StepMs: 2 * 86400000, Options: &queryv1.QueryOptions{}}},
		{"query_range?query=up&start=1&end=12&step=0.001", &queryv1.QueryRangeRequest{Query: "up", CallerId: "caller", StartMs: 1000, EndMs: 12000, StepMs: 1, Options: &queryv1.QueryOptions{}}},
		{"series?match[]=up", &queryv1.SeriesRequest{CallerId: "caller", Scope: &queryv1.Scope{Selectors: up}}},
		{"series?match[]=up&start=-9223372036854775.808&end=9223372036854775.807&limit=9", &queryv1.SeriesRequest{CallerId: "caller", Scope: &queryv1.Scope{Selectors: up, Limit: 9}}},
		{"series?match[]=up&start=-9223309901257974&end=9223309901257974.999", &queryv1.SeriesRequest{CallerId: "caller", Scope: &queryv1.Scope{Selectors: up}}},
		{"series?match[]=up&start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z", &queryv1.SeriesRequest{CallerId: "caller", Scope: &queryv1.Scope{Selectors: up}}},
		{"series?match[]=up&start=0&end=-1", &queryv1.SeriesRequest{CallerId: "caller", Scope: &queryv1.Scope{Selectors: up, StartMs: proto.Int64(0), EndMs: proto.Int64(-1000)}}},
		{"series?match[]=up&start=1e30", &queryv1.SeriesRequest{CallerId: "caller", Scope: &queryv1.Scope{Selectors: up}}},
		{"labels", &queryv1.LabelNamesRequest{CallerId: "caller", Scope: &queryv1.Scope{}}},
		{
			`labels?match[]={a!="b",c=~"d"}&match[]={e!~"f",g="h"}&start=1&end=2`,
			&queryv1.LabelNamesRequest{CallerId: "caller", Scope: &queryv1.Scope{StartMs: proto.Int64(1000), EndMs: proto.Int64(2000), Selectors: []*queryv1.Selector{
				{Matchers: []*queryv1.LabelMatcher{{Type: queryv1.LabelMatcher_TYPE_NOT_EQUAL, Name: "a", Value: "b"}, {Type: queryv1.LabelMatcher_TYPE_REGEX_MATCH, Name: "c", Value: "d"}}},
				{Matchers: []*queryv1.LabelMatcher{{Type: queryv1.LabelMatcher_TYPE_REGEX_NO_MATCH, Name: "e", Value: "f"}, {Type: queryv1.LabelMatcher_TYPE_EQUAL, Name: "g", Value: "h"}}},
			}}},
		},
		{"label/job/values?match[]=up", &queryv1.LabelValuesRequest{Name: "job", CallerId: "caller", Scope: &queryv1.Scope{Selectors: up}}},
		{"label/U__with_2e_dot/values", &queryv1.LabelValuesRequest{Name: "with.dot", CallerId: "caller", Scope: &queryv1.Scope{}}},
		{"label/a%2Fb/values", &queryv1.LabelValuesRequest{Name: "a/b", CallerId: "caller", Scope: &queryv1.Scope{}}},
		{"label/%E2%98%83/values", &queryv1.LabelValuesRequest{Name: "☃", CallerId: "caller", Scope: &queryv1.Scope{}}},
		{"metadata", &queryv1.MetadataRequest{CallerId: "caller"}},
		{"metadata?metric=up&limit=0&limit_per_metric=2", &queryv1.MetadataRequest{Metric: "up", CallerId: "caller", Limit: proto.Uint64(0), LimitPerMetric: proto.Uint64(2)}},
		{"metadata?limit=-1&limit_per_metric=-1", &queryv1.MetadataRequest{CallerId: "caller"}},
		{"query_exemplars?query=up&start=5", &queryv1.QueryExemplarsRequest{Query: "up", CallerId: "caller", StartMs: proto.Int64(5000)}},
		{"query_exemplars?query=up&end=6", &queryv1.QueryExemplarsRequest{Query: "up", CallerId: "caller", EndMs: proto.Int64(6000)}},
	} {
		path, params, _ := strings.Cut(c.give, "?")
		params = strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22", "~", "%7E").Replace(params)
		methods := []string{http.MethodGet, http.MethodPost}
		if path == "metadata" || strings.HasPrefix(path, "label/") {
			methods = methods[:1]
		}
		for _, method := range methods {
			f.query.set(stop)
			var got reply
			if method == http.MethodGet {
				got = f.do(method, path+"?"+params, "")
			} else {
				got = f.do(method, path, params, form, formType)
			}
			if got.code != 404 || got.body != `{"status":"error","errorType":"not_found","error":"stop"}` {
				t.Errorf("%s %s: got %d %s", method, c.give, got.code, got.body)
			}
			if !proto.Equal(f.query.seen(), c.want) {
				t.Errorf("%s %s:\n got %v\nwant %v", method, c.give, f.query.seen(), c.want)
			}
		}
	}
	for give, want := range map[string]time.Duration{"1.5": 1500 * time.Millisecond, "2m": 2 * time.Minute, "0": 1, "-3": 1} {
		f.query.set(stop)
		f.get("query?query=up&lookback_delta=1m&timeout=" + give)
		req, ok := f.query.seen().(*queryv1.QueryRequest)
		if !ok || req.GetOptions().GetTimeout().AsDuration() != want || req.GetOptions().GetLookbackDelta().AsDuration() != time.Minute {
			t.Errorf("timeout=%s: got %v, want %s", give, f.query.seen(), want)
		}
	}
}

// TestBadParameters holds Prometheus' words for what it cannot use; the query service is not asked.
func TestBadParameters(t *testing.T) {
	f := start(t, nil)
	deep := strings.Repeat("(", 300) + "up" + strings.Repeat(")", 300)
	const tooDeep = `the expression is nested 300 brackets deep at byte 250, the limit is 250 (fixed, whatever --query.max-expression-bytes allows)`
	for give, want := range map[string]string{
		"query?query=up&time=x":                            `invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp`,
		"query?query=up&time=1e10":                         `invalid parameter \"time\": the time is out of range, which is about 292 years around 1970`,
		"query_range?query=up&start=1e10&end=1e10&step=1":  `invalid parameter \"start\": the time is out of range, which is about 292 years around 1970`,
		"query_range?query=up&start=1&end=1e10&step=1000d": `invalid parameter \"end\": the time is out of range, which is about 292 years around 1970`,
		"query?query=up&limit=x":                           `invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax`,
		"query?query=up&limit=-1":                          `invalid parameter \"limit\": limit must be non-negative`,
		"query?query=up&timeout=x":                         `invalid parameter \"timeout\": cannot parse \"x\" to a valid duration`,
		"query?query=up&timeout=1e300":                     `invalid parameter \"timeout\": cannot parse \"1e300\" to a valid duration. It overflows int64`,
		"query?query=up&lookback_delta=x":                  `error parsing lookback delta duration: cannot parse \"x\" to a valid duration`,
		"query_range?query=up&end=2&step=1":                `invalid parameter \"start\": cannot parse \"\" to a valid timestamp`,
		"query_range?query=up&start=2&step=1":              `invalid parameter \"end\": cannot parse \"\" to a valid timestamp`,
		"query_range?query=up&start=2&end=1&step=1":        `invalid parameter \"end\": end timestamp must not be before start time`,
		"query_range?query=up&start=1&end=2":               `invalid parameter \"step\": cannot parse \"\" to a valid duration`,
		"query_range?query=up&start=1&end=2&step=0":        `invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer`,
		"query_range?query=up&start=1&end=2&step=0.0001":   `invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer`,
		"query_range?query=up&start=0&end=11001&step=1":    `exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)`,
		"series":                                             `no match[] parameter provided`,
		"series?match[]=%zz":                                 `error parsing form values: invalid URL escape \"%zz\"`,
		"series?match[]=up&start=x":                          `invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp`,
		"series?match[]=up&match[]=%7B%7D":                   `invalid parameter \"match[]\": match[] must contain at least one non-empty matcher`,
		"series?match[]=up%5B":                               `invalid parameter \"match[]\": 1:3: parse error: unexpected \"[\"`,
		"labels?match[]=%7B%7D":                              `match[] must contain at least one non-empty matcher`,
		"labels?limit=x":                                     `invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax`,
		"label/%FF/values":                                   `invalid label name: \"\\xff\"`,
		"metadata?limit=x":                                   `limit must be a number`,
		"metadata?limit_per_metric=x":                        `limit_per_metric must be a number`,
		"query_exemplars?query=up&start=2&end=1":             `end timestamp must not be before start timestamp`,
		"query_exemplars?query=(":                            `1:2: parse error: unclosed left parenthesis`,
		"format_query?query=(":                               `invalid parameter \"query\": 1:2: parse error: unclosed left parenthesis`,
		"query?query=%FF":                                    `invalid parameter \"query\": 1:1: parse error: unexpected character: '�'`,
		"query_range?query=%27%FF%27&start=0&end=1&step=1":   `invalid parameter \"query\": 1:1: parse error: invalid UTF-8 rune`,
		"query_exemplars?query=up%7Ba=%27%FF%27%7D":          `1:6: parse error: invalid UTF-8 rune`,
		"labels?match[]=%7Ba=%27%FF%27%7D":                   `1:4: parse error: invalid UTF-8 rune`,
		"labels?match[]=%7Ba=%27%5Cxff%27%7D":                `the value of matcher a=\"\\xff\" is not UTF-8, which no label's value is`,
		"format_query?query=" + deep:                         `invalid parameter \"query\": ` + tooDeep,
		"parse_query?query=" + deep:                          `invalid parameter \"query\": ` + tooDeep,
		"query?query=" + deep:                                `invalid parameter \"query\": ` + tooDeep,
		"query_exemplars?query=" + deep:                      tooDeep,
		"labels?match[]=" + deep:                             tooDeep,
		"format_query?query=a" + strings.Repeat("-a", 800):   `invalid parameter \"query\": the expression is too deep to be formatted: its operators and brackets nest so that about 3532037234 bytes would be written on the way, the limit is 67108864 (fixed)`,
		"parse_query?query=" + strings.Repeat("a", 64<<10+1): `invalid parameter \"query\": the expression has 65537 bytes, the limit is 65536 (--query.max-expression-bytes)`,
		"metadata?metric=%FF":                                `invalid parameter \"metric\": \"\\xff\" is not UTF-8`,
		"parse_query":                                        `invalid parameter \"query\": unknown position: parse error: no expression found in input`,
	} {
		f.query.set(nil)
		got := f.get(give)
		if w := `{"status":"error","errorType":"bad_data","error":"` + want + `"}`; got.code != 400 || got.body != w {
			t.Errorf("%s:\n got %d %s\nwant 400 %s", give, got.code, got.body, w)
		}
		if f.query.seen() != nil {
			t.Errorf("%s: the query service was asked %v", give, f.query.seen())
		}
		path, _, _ := strings.Cut(give, "?")
		if strings.HasPrefix(path, "label/") {
			path = "label/{name}/values"
		}
		if r := f.refusals(); len(r) != 1 || r[0] != "/api/v1/"+path+" bad_data" {
			t.Errorf("%s: counted as %v", give, r)
		}
	}
}
