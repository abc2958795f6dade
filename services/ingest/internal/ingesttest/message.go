// SPDX-License-Identifier: Apache-2.0

package ingesttest

import (
	"fmt"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// Series is a series of a message. Labels are written as they are: in this order, repeated, empty.
type Series struct {
	Labels     []labels.Label
	Samples    []prompb.Sample
	Histograms int
	Exemplars  int
	// Metadata and Starts exist in 2.0 only: metadata of the series, and start timestamps of its samples.
	Metadata, Starts bool
}

// L makes labels of names and values.
func L(pairs ...string) []labels.Label {
	var out []labels.Label
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, labels.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

// One is a series with one sample.
func One(ls []labels.Label, ms int64, v float64) Series {
	return Series{Labels: ls, Samples: []prompb.Sample{{Timestamp: ms, Value: v}}}
}

// V1 is the plain prometheus.WriteRequest of the series.
func V1(tb testing.TB, ss []Series, metadata int) []byte {
	var w prompb.WriteRequest
	for _, s := range ss {
		ts := prompb.TimeSeries{Samples: s.Samples}
		for _, l := range s.Labels {
			ts.Labels = append(ts.Labels, prompb.Label{Name: l.Name, Value: l.Value})
		}
		for range s.Histograms {
			ts.Histograms = append(ts.Histograms, prompb.Histogram{Sum: 1, Timestamp: 1})
		}
		for range s.Exemplars {
			ts.Exemplars = append(ts.Exemplars, prompb.Exemplar{Value: 1, Timestamp: 1})
		}
		w.Timeseries = append(w.Timeseries, ts)
	}
	for i := range metadata {
		w.Metadata = append(w.Metadata, prompb.MetricMetadata{MetricFamilyName: fmt.Sprint("m", i), Help: "h"})
	}
	out, err := w.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// V2 is the plain io.prometheus.write.v2.Request of the series.
func V2(tb testing.TB, ss []Series) []byte {
	symbols := writev2.NewSymbolTable()
	var w writev2.Request
	for _, s := range ss {
		ts := writev2.TimeSeries{}
		for _, l := range s.Labels {
			ts.LabelsRefs = append(ts.LabelsRefs, symbols.Symbolize(l.Name), symbols.Symbolize(l.Value))
		}
		for _, x := range s.Samples {
			y := writev2.Sample{Timestamp: x.Timestamp, Value: x.Value}
			if s.Starts {
				y.StartTimestamp = 1
			}
			ts.Samples = append(ts.Samples, y)
		}
		for range s.Histograms {
			ts.Histograms = append(ts.Histograms, writev2.Histogram{Sum: 1, Timestamp: 1})
		}
		for range s.Exemplars {
			ts.Exemplars = append(ts.Exemplars, writev2.Exemplar{Value: 1, Timestamp: 1})
		}
		if s.Metadata {
			ts.Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: symbols.Symbolize("help")}
		}
		w.Timeseries = append(w.Timeseries, ts)
	}
	w.Symbols = symbols.Symbols()
	out, err := w.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// Snappy compresses a message as senders do.
func Snappy(message []byte) []byte { return snappy.Encode(nil, message) }

// Load is like what one shard of a Prometheus sends of series with 10 to 14 labels, 200 of each target: every so many-th
// series, so that the requests from 0 up to series/samplesPerRequest hold each series once.
func Load(series, samplesPerRequest, request int) []Series {
	out := make([]Series, 0, samplesPerRequest)
	stride := max(1, series/samplesPerRequest)
	for n := range samplesPerRequest {
		i := (n*stride + request) % series
		target, metric := i/200, i%200
		ls := L(
			"__name__", fmt.Sprintf("http_server_requests_family_%02d_bucket", metric/10),
			"cluster", "production-eu-west-1",
			"container", "app",
			"endpoint", "http-metrics",
			"instance", fmt.Sprintf("10.12.%d.%d:9100", target/8, target),
			"job", fmt.Sprintf("team-%d/service-%d", target%4, target%10),
			"le", fmt.Sprint(float64(metric%10)*0.25),
			"namespace", fmt.Sprintf("team-%d", target%4),
			"pod", fmt.Sprintf("service-%d-7d4b9c5f6-x%04d", target%10, target),
			"service", fmt.Sprintf("service-%d", target%10),
		)
		if metric%3 == 0 {
			ls = append(ls, L("status", "200", "verb", "GET")...)
		}
		if metric%5 == 0 {
			ls = append(ls, L("version", "v1.27.3", "zone", "eu-west-1a")...)
		}
		ms := int64(1_790_000_000_000) + int64(target)*137 + int64(n*stride/series)*15_000
		out = append(out, One(ls, ms, float64(i*7919%1_000_003)/64))
	}
	return out
}
