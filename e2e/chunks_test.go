// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/promschema/promschematest"
)

// chunkSeries are floats of every sort, histograms of every sort, and both in turn, over half an hour: long enough for several
// chunks a series.
func chunkSeries(r *rand.Rand, startMs int64) []rw.Series {
	histogram := func(at int64, h *prompb.Histogram) []byte { return promschema.AppendHistogram(nil, h, at) }
	specials, plain, both := rw.New("__name__", "float_specials"), rw.New("__name__", "float_plain", "job", "it's"), rw.New("__name__", "both_in_turn")
	counter := rw.New("__name__", "native_counter", "kind", "exponential")
	custom := rw.New("__name__", "native_custom")
	gauge := rw.New("__name__", "native_gauge", "kind", "float")
	var counts [6]int64
	for i := range int64(300) {
		at := startMs + i*6000 + r.Int64N(1000)
		specials = specials.At(at, promschematest.Float(r))
		plain = plain.At(at, float64(i))
		h := &prompb.Histogram{Schema: 1, ZeroThreshold: 0.001, ZeroCount: &prompb.Histogram_ZeroCountInt{ZeroCountInt: uint64(i)}, PositiveSpans: []prompb.BucketSpan{{Offset: -1, Length: 4}, {Offset: 2, Length: 2}}}
		if i == 200 {
			counts = [6]int64{}
			h.ZeroCount = &prompb.Histogram_ZeroCountInt{}
		}
		total, last := h.GetZeroCountInt(), int64(0)
		for j := range counts {
			counts[j] += r.Int64N(3)
			h.PositiveDeltas = append(h.PositiveDeltas, counts[j]-last)
			last = counts[j]
			total += uint64(counts[j])
		}
		h.Count, h.Sum = &prompb.Histogram_CountInt{CountInt: total}, float64(total)*1.1
		counter.Histograms = append(counter.Histograms, histogram(at, h))

		c := *h
		c.Schema, c.ZeroThreshold, c.ZeroCount, c.CustomValues = -53, 0, &prompb.Histogram_ZeroCountInt{}, []float64{0.1, 0.25, 1, 2.5, 10, 100, 1000}
		c.Count, c.PositiveSpans = &prompb.Histogram_CountInt{CountInt: total - h.GetZeroCountInt()}, []prompb.BucketSpan{{Length: 4}, {Offset: 2, Length: 2}}
		custom.Histograms = append(custom.Histograms, histogram(at, &c))

		g := &prompb.Histogram{ResetHint: prompb.Histogram_GAUGE, Schema: 3, Sum: r.NormFloat64(), Count: &prompb.Histogram_CountFloat{CountFloat: r.Float64()},
			ZeroCount: &prompb.Histogram_ZeroCountFloat{}, NegativeSpans: []prompb.BucketSpan{{Offset: int32(r.IntN(3)), Length: 2}}, NegativeCounts: []float64{r.Float64(), r.Float64()}}
		gauge.Histograms = append(gauge.Histograms, histogram(at, g))
		if i%50 < 30 {
			both = both.At(at, promschematest.Float(r))
		} else {
			both.Histograms = append(both.Histograms, histogram(at, promschematest.Histogram(r, 10)))
		}
	}
	return []rw.Series{both, plain, specials, counter, custom, gauge}
}

// remoteSeries reads with Prometheus' own client: a line for each sample, by series. Series that come twice are a mistake.
func remoteSeries(t *testing.T, target string, typ prompb.ReadRequest_ResponseType, query *prompb.Query) (map[string][]string, []string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	client, err := remote.NewReadClient("test", &remote.ClientConfig{
		URL: &config_util.URL{URL: u}, Timeout: model.Duration(time.Minute), ChunkedReadLimit: 5e7,
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{typ},
	}, config_util.WithKeepAlivesDisabled())
	if err != nil {
		t.Fatal(err)
	}
	set, err := client.Read(t.Context(), query, false)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	var order []string
	for set.Next() {
		s := set.At()
		name := s.Labels().String()
		if _, ok := out[name]; ok {
			t.Errorf("%s comes twice", name)
		}
		order = append(order, name)
		var lines []string
		it := s.Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			switch typ {
			case chunkenc.ValFloat:
				at, v := it.At()
				lines = append(lines, fmt.Sprintf("%d %x", at, math.Float64bits(v)))
			default:
				// A chunk has one layout for all its histograms: where they differ, empty buckets fill it up. It does not know a
				// zero threshold of -0, and of a staleness marker nothing but its sum.
				at, h := it.AtFloatHistogram(nil)
				if value.IsStaleNaN(h.Sum) {
					lines = append(lines, fmt.Sprintf("%d stale %s", at, typ))
					continue
				}
				h = h.Copy() // it shares memory with the iterator
				if h.ZeroThreshold == 0 {
					h.ZeroThreshold = 0
				}
				sum, hint := math.Float64bits(h.Sum), h.CounterResetHint
				lines = append(lines, fmt.Sprintf("%d %s gauge=%v sum=%x %d %v %s", at, typ, hint == 3, sum, h.Schema, h.CustomValues, h.Compact(0).String()))
			}
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
		out[name] = lines
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return out, order
}

// TestChunks: what comes back in chunks is what comes back in samples, sorted, through Prometheus' own client; and a real
// Prometheus that reads chunks, which is its default, answers PromQL with it.
func TestChunks(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	r := rand.New(rand.NewPCG(3, 4))
	start := time.Now().Add(-40 * time.Minute).UnixMilli()
	written := chunkSeries(r, start)
	send(t, s, rw.V1, written...)

	all := &prompb.LabelMatcher{Type: prompb.LabelMatcher_RE, Name: "__name__", Value: ".+"}
	for _, part := range []struct{ from, to int64 }{{0, math.MaxInt64}, {start + 60_000, start + 900_000}, {start, start + 6000}} {
		query := &prompb.Query{StartTimestampMs: part.from, EndTimestampMs: part.to, Matchers: []*prompb.LabelMatcher{all}}
		want, _ := remoteSeries(t, s.ReadURL(), prompb.ReadRequest_SAMPLES, query)
		got, order := remoteSeries(t, s.ReadURL(), prompb.ReadRequest_STREAMED_XOR_CHUNKS, query)
		if len(want) != len(written) || !slices.IsSorted(order) {
			t.Errorf("got %d series in the order %v", len(want), order)
		}
		for name, lines := range want {
			if part.from == 0 && len(lines) != 300 {
				t.Errorf("%s has %d samples", name, len(lines))
			}
			if !slices.Equal(got[name], lines) {
				g, w := aroundDifference(strings.Join(got[name], "\n"), strings.Join(lines, "\n"))
				t.Errorf("%s:\n in chunks %s\nin samples %s", name, g, w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d series in chunks, %d in samples", len(got), len(want))
		}
	}

	prometheus := promtest.Start(t, "remote_read:\n  - url: "+s.ReadURL()+"\n    read_recent: true\n", nil)
	at := fmt.Sprintf("%.3f", float64(start+300*6000)/1000)
	for _, tt := range []struct{ query, want string }{
		{"float_plain", "299"},
		{"count_over_time(float_plain[30m])", "300"},
		{"resets(native_counter[30m])", "1"},
		{"count(histogram_quantile(0.9, native_custom) > 0)", "1"},
		{"count_over_time(native_gauge[30m])", "300"},
	} {
		got, err := prometheus.Query(t.Context(), "query", url.Values{"query": {tt.query}, "time": {at}})
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(got); !strings.Contains(text, " "+tt.want+"]") {
			t.Errorf("%s: got %s, want %s", tt.query, text, tt.want)
		}
	}
	if a, err := get(t.Context(), prometheus.URL+"/metrics"); err != nil || !strings.Contains(a.Text, `response_type="chunked"`) || strings.Contains(a.Text, `response_type="sampled"`) {
		t.Errorf("Prometheus has not read in chunks, or in samples too (%v)", err)
	}
}

// TestChunksOfSeveralQueries: each query is answered apart, in order, and says which it is.
func TestChunksOfSeveralQueries(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	now := time.Now().UnixMilli()
	send(t, s, rw.V1, rw.New("__name__", "a", "i", "1").At(now, 1), rw.New("__name__", "a", "i", "2").At(now, 2), rw.New("__name__", "b").At(now, 3))
	query := func(name string) *prompb.Query {
		return &prompb.Query{EndTimestampMs: now, Matchers: []*prompb.LabelMatcher{{Name: "__name__", Value: name}}}
	}
	body, err := (&prompb.ReadRequest{
		Queries:               []*prompb.Query{query("b"), query("none"), query("a"), query("b")},
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS},
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/read", bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Content-Type", "application/x-protobuf")
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	reader := remote.NewChunkedReader(res.Body, 1<<20, nil)
	var got []string
	for {
		var frame prompb.ChunkedReadResponse
		err := reader.NextProto(&frame)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b := labels.NewScratchBuilder(0)
		for _, s := range frame.ChunkedSeries {
			got = append(got, fmt.Sprint(frame.QueryIndex, " ", s.ToLabels(&b, nil)))
		}
	}
	if want := []string{`0 {__name__="b"}`, `2 {__name__="a", i="1"}`, `2 {__name__="a", i="2"}`, `3 {__name__="b"}`}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
