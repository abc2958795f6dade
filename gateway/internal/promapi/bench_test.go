// SPDX-License-Identifier: Apache-2.0

package promapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/grpc"

	"github.com/tributary-project/tributary/gateway/internal/promapi"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// ready is a query service whose answers cost nothing.
type ready struct {
	queryv1.QueryServiceClient
	parts []*queryv1.QueryRangeResponse
}

func (r ready) QueryRange(context.Context, *queryv1.QueryRangeRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[queryv1.QueryRangeResponse], error) {
	return &readyStream{parts: r.parts}, nil
}

type readyStream struct {
	grpc.ClientStream
	parts []*queryv1.QueryRangeResponse
}

func (s *readyStream) Recv() (*queryv1.QueryRangeResponse, error) {
	if len(s.parts) == 0 {
		return nil, io.EOF
	}
	m := s.parts[0]
	s.parts = s.parts[1:]
	return m, nil
}

// sink is an answer that nobody keeps.
type sink struct {
	header http.Header
	n      int64
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { s.n += int64(len(p)); return len(p), nil }

// BenchmarkMatrix writes 1,000 series of 240 points: what a graph of an hour at 15 s shows.
func BenchmarkMatrix(b *testing.B) {
	const series, points = 1000, 240
	var raw [][]byte
	for i := range series {
		ts := &prompb.TimeSeries{Labels: pairs("__name__", "http_requests_total", "instance", fmt.Sprintf("host-%d:9100", i), "job", "node")}
		for k := range points {
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: 1_700_000_000_000 + int64(k)*15_000, Value: float64(i*k) / 7})
		}
		raw = append(raw, marshal(b, ts))
	}
	parts := []*queryv1.QueryRangeResponse{
		{Message: &queryv1.QueryRangeResponse_Header{Header: header(queryv1.ValueType_VALUE_TYPE_MATRIX)}},
		{Message: &queryv1.QueryRangeResponse_Series{Series: &queryv1.QuerySeries{TimeSeries: raw}}},
		{Message: &queryv1.QueryRangeResponse_Trailer{Trailer: &queryv1.QueryTrailer{}}},
	}
	f := start(b, func(c *promapi.Config) { c.Query = ready{parts: parts} })
	for _, coding := range []string{"", "gzip"} {
		b.Run("coding="+coding, func(b *testing.B) {
			req := httptest.NewRequest(http.MethodGet, "/api/v1/query_range?query=x&start=0&end=1&step=1", nil)
			req.Header.Set("Accept-Encoding", coding)
			b.ReportAllocs()
			for b.Loop() {
				w := &sink{header: http.Header{}}
				f.handler.ServeHTTP(w, req)
				if w.n == 0 {
					b.Fatal("nothing was written")
				}
			}
			b.ReportMetric(float64(series*points*b.N)/b.Elapsed().Seconds(), "points/s")
		})
	}
}

// FuzzParameters holds that whatever comes as parameters is answered with a result or with an error in JSON.
func FuzzParameters(f *testing.F) {
	for _, r := range []string{
		"query=up&time=1", "query=up&start=1&end=2&step=1", "match[]={a=~\"b\"}&start=-1e300&end=NaN", "limit=99999999999999999999",
		"timeout=1y&lookback_delta=-1&stats=all", "query=%zz;a=b", "metric=x&limit=1&limit_per_metric=-1", "step=1e-320&start=0&end=0",
		"start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z&query=x[5m%2B1m]",
	} {
		f.Add(r)
	}
	api := start(f, nil)
	f.Fuzz(func(t *testing.T, params string) {
		for _, path := range []string{"query", "query_range", "query_exemplars", "series", "labels", "label/a/values", "metadata", "format_query", "parse_query"} {
			req := httptest.NewRequest(http.MethodGet, "/api/v1/"+path, nil)
			req.URL = &url.URL{Path: "/api/v1/" + path, RawQuery: params}
			w := httptest.NewRecorder()
			api.handler.ServeHTTP(w, req)
			// The query service answers nothing, which is an error of its own.
			ok := w.Code == 200 || w.Code == 204 || w.Code == 400 || w.Code == 500 && strings.Contains(w.Body.String(), "before its trailer")
			if !ok || w.Code != 204 && !strings.HasPrefix(w.Body.String(), `{"status":"`) {
				t.Errorf("%s?%s: got %d %s", path, params, w.Code, w.Body)
			}
		}
	})
}
