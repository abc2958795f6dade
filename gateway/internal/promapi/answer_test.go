// SPDX-License-Identifier: Apache-2.0

package promapi_test

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/tributary-project/tributary/gateway/internal/promapi"
	"github.com/tributary-project/tributary/internal/fairgate"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

func detailed(tb testing.TB, c codes.Code, text string, details ...protoadapt.MessageV1) error {
	tb.Helper()
	st, err := status.New(c, text).WithDetails(details...)
	if err != nil {
		tb.Fatal(err)
	}
	return st.Err()
}

// TestErrors holds the answer to every code of the contract.
func TestErrors(t *testing.T) {
	f := start(t, nil)
	for _, c := range []struct {
		give  error
		code  int
		typ   string
		text  string
		retry bool
	}{
		{status.Error(codes.InvalidArgument, "1:2: parse error: x"), 400, "bad_data", `invalid parameter \"query\": 1:2: parse error: x`, false},
		{status.Error(codes.InvalidArgument, `invalid parameter "query": x`), 400, "bad_data", `invalid parameter \"query\": x`, false},
		{detailed(t, codes.FailedPrecondition, "found duplicate series", &errdetails.ErrorInfo{Reason: "EXECUTION", Domain: "tributary"}), 422, "execution", "found duplicate series", false},
		{detailed(t, codes.ResourceExhausted, "query processing would load too many samples into memory in query execution", &errdetails.ErrorInfo{Reason: "RESULT_TOO_LARGE", Domain: "tributary"}), 422, "execution", "query processing would load too many samples into memory in query execution", false},
		{status.Error(codes.ResourceExhausted, "grpc: received message larger than max (2 vs. 1)"), 422, "execution", "grpc: received message larger than max (2 vs. 1)", false},
		{status.Error(codes.ResourceExhausted, "too many reads"), 503, "unavailable", "too many reads", true},
		{status.Error(codes.Unavailable, "away"), 503, "unavailable", "away", true},
		{status.Error(codes.DeadlineExceeded, "query timed out in expression evaluation"), 503, "timeout", "query timed out in expression evaluation", false},
		{status.Error(codes.Canceled, "query was canceled"), 499, "canceled", "query was canceled", false},
		{status.Error(codes.NotFound, "no table"), 404, "not_found", "no table", false},
		{status.Error(codes.PermissionDenied, "not allowed"), 403, "forbidden", "not allowed", false},
		{status.Error(codes.Unauthenticated, "who"), 401, "unauthorized", "who", false},
		{status.Error(codes.Unimplemented, "layout 2"), 501, "not_implemented", "layout 2", false},
		{status.Error(codes.Internal, "bug <&>"), 500, "internal", `bug \u003c\u0026\u003e`, false},
		{status.Error(codes.Unknown, "bug"), 500, "internal", "bug", false},
	} {
		for _, path := range []string{"query", "query_range"} {
			f.query.set(c.give)
			got := f.get(path + "?query=up&start=1&end=2&step=1")
			if want := `{"status":"error","errorType":"` + c.typ + `","error":"` + c.text + `"}`; got.code != c.code || got.body != want {
				t.Errorf("%s, %v:\n got %d %s\nwant %d %s", path, c.give, got.code, got.body, c.code, want)
			}
			if seconds, err := strconv.Atoi(got.header.Get("Retry-After")); c.retry != (err == nil && seconds >= 1 && seconds <= 5) {
				t.Errorf("%s, %v: got Retry-After %q", path, c.give, got.header.Get("Retry-After"))
			}
			if r := f.refusals(); len(r) != 1 || r[0] != "/api/v1/"+path+" "+c.typ {
				t.Errorf("%s, %v: counted as %v", path, c.give, r)
			}
		}
	}
	f.query.set(status.Error(codes.InvalidArgument, "no"))
	if got := f.get("labels"); got.body != `{"status":"error","errorType":"bad_data","error":"no"}` {
		t.Errorf("a listing is no query: got %s", got.body)
	}
}

// TestBrokenStreams holds that nothing incomplete looks like a result.
func TestBrokenStreams(t *testing.T) {
	f := start(t, nil)
	whole := instant(queryv1.ValueType_VALUE_TYPE_VECTOR, &queryv1.QueryTrailer{})
	two := marshal(t, &prompb.TimeSeries{Samples: []prompb.Sample{{}, {}}})
	scalar := &queryv1.QueryResponse{Message: &queryv1.QueryResponse_Scalar{Scalar: &queryv1.ScalarValue{}}}
	for name, c := range map[string]struct {
		path    string
		answers []proto.Message
	}{
		"no messages":         {"query?query=up", nil},
		"no trailer":          {"query?query=up", whole[:2]},
		"no header":           {"query?query=up", whole[1:]},
		"no value":            {"query?query=1", []proto.Message{instant(queryv1.ValueType_VALUE_TYPE_SCALAR, nil)[0], whole[2]}},
		"unknown type":        {"query?query=1", instant(99, &queryv1.QueryTrailer{})},
		"scalar in a vector":  {"query?query=1", []proto.Message{whole[0], scalar, whole[2]}},
		"series in a scalar":  {"query?query=1", []proto.Message{instant(queryv1.ValueType_VALUE_TYPE_SCALAR, nil)[0], whole[1], whole[2]}},
		"two samples":         {"query?query=1", instant(queryv1.ValueType_VALUE_TYPE_VECTOR, &queryv1.QueryTrailer{}, two)},
		"no series":           {"query?query=1", instant(queryv1.ValueType_VALUE_TYPE_VECTOR, &queryv1.QueryTrailer{}, []byte{1})},
		"listing, no trailer": {"labels", []proto.Message{&queryv1.LabelNamesResponse{Message: &queryv1.LabelNamesResponse_Header{Header: &queryv1.ListHeader{}}}}},
		"no exemplars": {"query_exemplars?query=up", []proto.Message{
			&queryv1.QueryExemplarsResponse{Message: &queryv1.QueryExemplarsResponse_TimeSeries{TimeSeries: []byte{1}}},
		}},
	} {
		f.query.set(nil, c.answers...)
		if got := f.get(c.path); got.code != 500 || !strings.HasPrefix(got.body, `{"status":"error","errorType":"internal","error":"the query service `) {
			t.Errorf("%s: got %d %s", name, got.code, got.body)
		}
	}
}

// large is some series of 40 KB of JSON each.
func large(tb testing.TB, n int) [][]byte {
	tb.Helper()
	out := make([][]byte, n)
	for i := range out {
		ts := &prompb.TimeSeries{Labels: pairs("n", strconv.Itoa(i))}
		for k := range 2500 {
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: int64(k) * 1000, Value: float64(k) + 0.125})
		}
		out[i] = marshal(tb, ts)
	}
	return out
}

const largeBytes = 40 << 10

// TestHeldBack holds what becomes of an error after a part of the answer: its status code while that part is small, the
// end of the connection after that.
func TestHeldBack(t *testing.T) {
	f := start(t, nil)
	failed := status.Error(codes.Unavailable, "away")
	f.query.set(failed, ranged(nil, large(t, 10)...)[:11]...)
	if got := f.get("query_range?query=up&start=1&end=2&step=1"); got.code != 503 || got.body != `{"status":"error","errorType":"unavailable","error":"away"}` {
		t.Errorf("got %d %.100s, want 503", got.code, got.body)
	}
	if r := f.refusals(); len(r) != 1 || r[0] != "/api/v1/query_range unavailable" {
		t.Errorf("counted as %v", r)
	}
	for _, coding := range []string{"", "gzip", "deflate"} {
		f.query.set(failed, ranged(nil, large(t, 40)...)[:41]...)
		got := f.do(http.MethodGet, "query_range?query=up&start=1&end=2&step=1", "", "Accept-Encoding", coding)
		if !errors.Is(got.err, io.ErrUnexpectedEOF) || got.code != 200 {
			t.Errorf("%q: got %d %v, want an answer that breaks off", coding, got.code, got.err)
		}
		if r := f.refusals(); len(r) != 1 || r[0] != "/api/v1/query_range aborted" {
			t.Errorf("counted as %v", r)
		}
	}
	if n := f.buffers.Bytes(); n != 0 {
		t.Errorf("%d bytes still count as held", n)
	}
}

// TestLarge holds that an answer of many MB is whole in every coding, and takes little memory of the gate's.
func TestLarge(t *testing.T) {
	f := start(t, nil)
	const n = 40
	for _, c := range []struct {
		accept, coding string
		open           func(io.Reader) (io.Reader, error)
	}{
		{"", "", func(r io.Reader) (io.Reader, error) { return r, nil }},
		{"br, gzip;q=0, gzip, deflate", "gzip", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
		{"deflate", "deflate", func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }},
	} {
		for _, series := range []int{0, n} {
			f.query.set(nil, ranged(&queryv1.QueryTrailer{Warnings: []string{"w"}}, large(t, series)...)...)
			got := f.do(http.MethodGet, "query_range?query=up&start=1&end=2&step=1", "", "Accept-Encoding", c.accept)
			if got.code != 200 || got.err != nil || got.header.Get("Content-Encoding") != c.coding || got.header.Get("Vary") != "Accept-Encoding" {
				t.Fatalf("%q: got %d %v %v", c.accept, got.code, got.err, got.header)
			}
			r, err := c.open(strings.NewReader(got.body))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(text), `{"metric":`) != series || !strings.HasSuffix(string(text), `]},"warnings":["w"]}`) || len(text) < series*largeBytes {
				t.Errorf("%q: got %d bytes that end in %q", c.accept, len(text), text[len(text)-30:])
			}
		}
	}
	// Without memory to hold it back an answer is sent at once; without any there is none.
	f = start(t, func(c *promapi.Config) {
		c.Buffers = fairgate.New(fairgate.Limits{Bytes: 1, BytesFlag: "buffers"}, time.Now)
	})
	f.query.set(status.Error(codes.Unavailable, "away"), ranged(nil, large(t, 10)...)[:11]...)
	if got := f.get("query_range?query=up&start=1&end=2&step=1"); got.code != 200 || !errors.Is(got.err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d %v, want an answer that breaks off", got.code, got.err)
	}
}

// TestTimeout holds the bound on an answer that does not begin, and on one that does not go on.
func TestTimeout(t *testing.T) {
	f := start(t, func(c *promapi.Config) { c.Timeout = 50 * time.Millisecond })
	f.query.hang = true
	f.query.set(nil)
	got := f.get("query?query=up")
	if want := `{"status":"error","errorType":"timeout","error":"query timed out: no answer within 50ms (--read.timeout)"}`; got.code != 503 || got.body != want {
		t.Errorf("got %d %s, want 503 %s", got.code, got.body, want)
	}
	// A busy machine needs longer for an answer to begin.
	for limit := time.Second; ; limit *= 4 {
		f = start(t, func(c *promapi.Config) { c.Timeout = limit })
		f.query.hang = true
		f.query.set(nil, ranged(nil, large(t, 40)...)[:41]...)
		got := f.get("query_range?query=up&start=1&end=2&step=1")
		if got.code == 503 && limit < time.Minute {
			continue
		}
		if got.code != 200 || !errors.Is(got.err, io.ErrUnexpectedEOF) {
			t.Errorf("got %d %v, want an answer that breaks off", got.code, got.err)
		}
		return
	}
}

// TestGate holds the bounds on requests and on forms.
func TestGate(t *testing.T) {
	f := start(t, nil)
	tickets := make([]*fairgate.Ticket, 10)
	for i := range tickets {
		var err error
		if tickets[i], err = f.gate.Enter("caller", 0); err != nil {
			t.Fatal(err)
		}
	}
	got := f.get("query?query=up")
	if want := `{"status":"error","errorType":"unavailable","error":"overloaded: 10 requests in flight are the limit (--requests); send it again later"}`; got.code != 503 || got.body != want || got.header.Get("Retry-After") == "" {
		t.Errorf("got %d %s %v", got.code, got.body, got.header)
	}
	for _, ticket := range tickets {
		ticket.Leave()
	}
	f.query.set(nil, instant(queryv1.ValueType_VALUE_TYPE_VECTOR, &queryv1.QueryTrailer{})...)
	// The answer comes before the body is read: a client that was still sending it might see the connection end instead.
	got = f.do(http.MethodPost, "query", "query="+strings.Repeat("x", 64<<10), form, formType, "Expect", "100-continue")
	if want := `{"status":"error","errorType":"bad_data","error":"the body is larger than 65536 bytes (--web.max-form-bytes)"}`; got.code != 413 || got.body != want {
		t.Errorf("got %d %s", got.code, got.body)
	}
	long := "query=" + strings.Repeat("x", 60_000)
	if got = f.do(http.MethodPost, "query?query=other", long, form, formType); got.code != 200 {
		t.Errorf("got %d %s", got.code, got.body)
	}
	if req, ok := f.query.seen().(*queryv1.QueryRequest); !ok || len(req.GetQuery()) != 60_000 {
		t.Error("the form does not win over the address, or was cut")
	}
	multipart := "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nup\r\n--b--\r\n"
	if got = f.do(http.MethodPost, "query", multipart, form, "multipart/form-data; boundary=b"); got.code != 200 {
		t.Errorf("got %d %s", got.code, got.body)
	}
	if req, ok := f.query.seen().(*queryv1.QueryRequest); !ok || req.GetQuery() != "up" {
		t.Errorf("got %v of a form in parts", f.query.seen())
	}
	if f.gate.Bytes() != 0 || f.gate.Requests() != 0 {
		t.Errorf("%d bytes and %d requests still count as in flight", f.gate.Bytes(), f.gate.Requests())
	}
}
