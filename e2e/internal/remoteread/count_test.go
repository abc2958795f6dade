// SPDX-License-Identifier: Apache-2.0

package remoteread

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

type flusher struct{ http.ResponseWriter }

func (flusher) Flush() {}

func chunk(t *testing.T, n int) prompb.Chunk {
	t.Helper()
	x := chunkenc.NewXORChunk()
	a, err := x.Appender()
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		a.Append(0, int64(i), float64(i))
	}
	return prompb.Chunk{MinTimeMs: 0, MaxTimeMs: int64(n - 1), Type: prompb.Chunk_XOR, Data: x.Bytes()}
}

// TestCounter counts what Prometheus' own code wrote.
func TestCounter(t *testing.T) {
	one, two := []prompb.Label{{Name: "a", Value: "1"}}, []prompb.Label{{Name: "a", Value: "2"}}
	frames := []prompb.ChunkedReadResponse{
		{ChunkedSeries: []*prompb.ChunkedSeries{{Labels: one, Chunks: []prompb.Chunk{chunk(t, 120), chunk(t, 5)}}}},
		{ChunkedSeries: []*prompb.ChunkedSeries{{Labels: one, Chunks: []prompb.Chunk{chunk(t, 1)}}, {Labels: two, Chunks: []prompb.Chunk{chunk(t, 300)}}}},
	}
	damage := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := remote.DecodeReadRequest(r)
		if err != nil {
			t.Error(err)
			return
		}
		if req.AcceptedResponseTypes[0] == prompb.ReadRequest_STREAMED_XOR_CHUNKS {
			out := remote.NewChunkedWriter(w, flusher{w})
			for i := range frames {
				b, err := frames[i].Marshal()
				if err != nil {
					t.Error(err)
				}
				if _, err := out.Write(b); err != nil {
					t.Error(err)
				}
			}
			if damage {
				_, _ = w.Write([]byte{2, 0, 0, 0, 0, 1, 2})
			}
			return
		}
		b, err := (&prompb.ReadResponse{Results: []*prompb.QueryResult{{Timeseries: []*prompb.TimeSeries{
			{Labels: one, Samples: make([]prompb.Sample, 126)}, {Labels: two, Samples: make([]prompb.Sample, 300)},
		}}}}).Marshal()
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(snappy.Encode(nil, b))
	}))
	defer server.Close()
	c := NewCounter(server.Client(), server.URL)
	for kind, entries := range map[prompb.ReadRequest_ResponseType]int{prompb.ReadRequest_STREAMED_XOR_CHUNKS: 3, prompb.ReadRequest_SAMPLES: 2} {
		for range 2 {
			n, err := c.Read(t.Context(), &prompb.Query{}, kind)
			if err != nil || n.Series != 2 || n.Entries != entries || n.Samples != 426 || n.Bytes == 0 || n.First > n.Last {
				t.Errorf("%s: %+v, %v", kind, n, err)
			}
		}
	}
	damage = true
	if n, err := c.Read(t.Context(), &prompb.Query{}, prompb.ReadRequest_STREAMED_XOR_CHUNKS); err == nil {
		t.Errorf("%+v of a damaged answer", n)
	}
	missing := NewCounter(server.Client(), server.URL)
	server.Config.Handler = http.NotFoundHandler()
	if n, err := missing.Read(t.Context(), &prompb.Query{}, prompb.ReadRequest_SAMPLES); err == nil {
		t.Errorf("%+v of nothing", n)
	}
}
