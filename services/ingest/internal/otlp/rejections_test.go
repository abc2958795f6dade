// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// rejections are those of an account as lines, with the first example.
func rejections(a *ledger.Account) []string {
	var out []string
	for _, r := range a.Rejections {
		line := fmt.Sprintf("%d %v %s", r.Count, r.Kind, r.Reason)
		if len(r.Examples) > 0 {
			line += ": " + r.Examples[0]
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// twice makes attributes have a name again that others have, which pdata does not let one do.
func twice(message []byte) []byte { return bytes.ReplaceAll(message, []byte("twice as "), nil) }

func TestRejections(t *testing.T) {
	const cumulative, delta, unknown = pmetric.AggregationTemporalityCumulative, pmetric.AggregationTemporalityDelta, pmetric.AggregationTemporalityUnspecified
	const advice = ": delta temporality; send cumulative temporality, or set --otlp.native-delta of the ingest service, or --otlp.convert-delta of `tributary all`"
	tests := []struct {
		name string
		give func(pmetric.MetricSlice)
		opts func(*Options)
		want []string
		// left is how many series there are besides the one of the good neighbour and target_info.
		left int
	}{
		{"delta", func(ms pmetric.MetricSlice) {
			sum(ms, delta)
			explicit(ms, delta)
			exponential(ms, 0, delta)
		}, nil, []string{
			`2 samples delta_temporality: metric "http.requests"` + advice,
			`1 histograms delta_temporality: metric "size"` + advice,
			"4 exemplars delta_temporality", "3 start_timestamps delta_temporality",
		}, 0},
		{"delta with custom buckets", func(ms pmetric.MetricSlice) { explicit(ms, delta) }, func(o *Options) { o.ConvertHistogramsToNHCB = true }, []string{
			`1 histograms delta_temporality: metric "latency"` + advice, "2 exemplars delta_temporality", "1 start_timestamps delta_temporality",
		}, 0},
		{"unknown temporality", func(ms pmetric.MetricSlice) { sum(ms, unknown) }, nil, []string{
			`1 samples untranslatable: metric "http.requests": its temporality is neither cumulative nor delta`, "1 exemplars untranslatable", "1 start_timestamps untranslatable",
		}, 0},
		{"unknown type", func(ms pmetric.MetricSlice) { ms.AppendEmpty().SetName("new") }, nil, []string{
			`1 samples untranslatable: metric "new": a metric of a type that is not known here`,
		}, 0},
		{"no name", func(ms pmetric.MetricSlice) { gauge(ms).SetName("") }, nil, []string{
			`1 samples missing_metric_name: metric "": a metric without a name`,
		}, 0},
		{"a name of nothing", func(ms pmetric.MetricSlice) { m := gauge(ms); m.SetName("..."); m.SetUnit("") }, nil, []string{
			`1 samples untranslatable: metric "...": normalization for metric "..." resulted in empty name`,
		}, 0},
		{"an attribute without a name", func(ms pmetric.MetricSlice) { gauge(ms).Gauge().DataPoints().At(0).Attributes().PutStr("", "x") }, nil, []string{
			`1 samples empty_label_name: metric "queue.fill": an attribute without a name`,
		}, 0},
		{"an attribute without a name, names as they are", func(ms pmetric.MetricSlice) { gauge(ms).Gauge().DataPoints().At(0).Attributes().PutStr("", "x") }, func(o *Options) { o.Strategy = otlptranslator.NoTranslation }, []string{
			`1 samples empty_label_name: "queue.fill"{""="x", "http.method"="GET", instance="i-1", job="eu/shop"}: a label without a name`,
		}, 0},
		{"an attribute of signs", func(ms pmetric.MetricSlice) {
			g := gauge(ms).Gauge().DataPoints()
			g.At(0).Attributes().PutStr("-.-", "x")
			number(g.AppendEmpty(), 1) // its neighbour is stored
		}, nil, []string{
			`1 samples untranslatable: metric "queue.fill": normalization for label name "-.-" resulted in invalid name "___"`,
		}, 1},
		{"an attribute twice, names as they are", func(ms pmetric.MetricSlice) {
			gauge(ms).Gauge().DataPoints().At(0).Attributes().PutStr("twice as http.method", "POST")
		}, func(o *Options) { o.Strategy = otlptranslator.NoTranslation }, []string{
			`1 samples duplicate_label_name: "queue.fill"{"http.method"="GET", "http.method"="POST", instance="i-1", job="eu/shop"}: a label name occurs twice`,
		}, 0},
		{"not UTF-8", func(ms pmetric.MetricSlice) {
			gauge(ms).Gauge().DataPoints().At(0).Attributes().PutStr("k", "\xff")
		}, nil, []string{
			`1 samples invalid_utf8: queue_fill_ratio{http_method="GET", instance="i-1", job="eu/shop", k="\xff"}: a label name or value is not UTF-8`,
		}, 0},
		{"a description that is not UTF-8", func(ms pmetric.MetricSlice) { gauge(ms).SetDescription("\xff") }, nil, []string{
			`1 metadata invalid_metadata: metric "queue_fill_ratio": its description or unit is not UTF-8`,
		}, 1},
		{"no time", func(ms pmetric.MetricSlice) { gauge(ms).Gauge().DataPoints().At(0).SetTimestamp(0) }, nil, []string{
			`1 samples out_of_range: metric "queue.fill": a data point without a timestamp`,
		}, 0},
		{"too late", func(ms pmetric.MetricSlice) { gauge(ms).Gauge().DataPoints().At(0).SetTimestamp(math.MaxUint64) }, nil, []string{
			`1 samples out_of_range: metric "queue.fill": timestamp 18446744073709551615 ns is after 9223372036854 ms, the last that can be stored`,
		}, 0},
		{"start too late", func(ms pmetric.MetricSlice) {
			gauge(ms).Gauge().DataPoints().At(0).SetStartTimestamp(math.MaxUint64 - 5e6)
		}, nil, []string{
			`1 start_timestamps out_of_range: queue_fill_ratio{http_method="GET", instance="i-1", job="eu/shop"}: its start timestamp is -5 ms, outside 0 to 9223372036854`,
		}, 1},
		{"scale too low", func(ms pmetric.MetricSlice) { exponential(ms, -5, cumulative) }, nil, []string{
			`1 histograms untranslatable: metric "size": scale -5; native histograms have at least -4`, "1 exemplars untranslatable", "1 start_timestamps untranslatable",
		}, 0},
		{"an invalid histogram", func(ms pmetric.MetricSlice) {
			exponential(ms, 0, cumulative).ExponentialHistogram().DataPoints().At(0).SetCount(1)
		}, nil, []string{
			`1 histograms invalid_histogram: size_bytes{instance="i-1", job="eu/shop"}: 10 observations found in buckets, but the Count field is 1: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)`,
			"1 start_timestamps invalid_histogram",
		}, 1}, // it has its exemplar still
		{"invalid custom buckets", func(ms pmetric.MetricSlice) {
			explicit(ms, cumulative).Histogram().DataPoints().At(0).ExplicitBounds().FromRaw([]float64{2, 1})
		}, func(o *Options) { o.ConvertHistogramsToNHCB = true }, []string{
			`1 histograms invalid_histogram: latency_seconds{instance="i-1", job="eu/shop"}: custom buckets: previous bound is 2.000000 and current is 1.000000: histogram custom bounds must be in strictly increasing order`,
			"1 start_timestamps invalid_histogram",
		}, 1},
		{"exemplars", func(ms pmetric.MetricSlice) {
			addExemplar(gauge(ms).Gauge().DataPoints().At(0).Exemplars(), 1)
			es := sum(ms, cumulative).Sum().DataPoints().At(0).Exemplars()
			es.AppendEmpty().SetTimestamp(nowNs)
			addExemplar(es, 1).FilteredAttributes().PutStr("trace_id", "again")
			addExemplar(es, 1).FilteredAttributes().PutStr("x", "\xff")
			addExemplar(es, 1).FilteredAttributes().PutStr("", "x")
			addExemplar(es, 1).SetTimestamp(math.MaxUint64 - 5e6)
		}, nil, []string{
			`1 exemplars untranslatable: metric "queue.fill": an exemplar of a gauge; Prometheus' translation has none`,
			`4 exemplars invalid_exemplar: metric "http.requests": an exemplar without a value`,
			`1 exemplars out_of_range: http_requests_total{http_method="GET", instance="i-1", job="eu/shop"}: an exemplar's timestamp is -6 ms, outside 0 to 9223372036854`,
		}, 2},
		{"large attributes", func(ms pmetric.MetricSlice) {
			gauge(ms).Gauge().DataPoints().At(0).Attributes().PutStr("k", strings.Repeat("x", maxAttributeBytes))
		}, nil, []string{
			`1 samples labels_too_large: metric "queue.fill": its attributes have 262159 bytes, at most 262144 can be stored`,
		}, 0},
		{"a large name", func(ms pmetric.MetricSlice) { gauge(ms).SetName(strings.Repeat("x", maxAttributeBytes)) }, nil, []string{
			`1 samples labels_too_large: metric "` + strings.Repeat("x", 120) + `…": its name has 262144 bytes, at most 262144 can be stored`,
		}, 0},
		{"a name that a flag refuses", func(ms pmetric.MetricSlice) { gauge(ms).SetName(strings.Repeat("x", 30)) }, func(o *Options) { o.MaxMetricNameBytes = 30 }, []string{
			`1 samples metric_name_too_long: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_ratio{http_method="GET", instance="i-1", job="eu/shop"}: its metric name is longer than 30 bytes; --fail-on-long-label refuses it`,
		}, 0},
		{"a value that a flag refuses", func(ms pmetric.MetricSlice) { gauge(ms).Gauge().DataPoints().At(0).SetDoubleValue(math.Inf(1)) }, func(o *Options) { o.RejectNonFinite = true }, []string{
			`1 samples non_finite_value: queue_fill_ratio{http_method="GET", instance="i-1", job="eu/shop"}: +Inf at 1790000000123 ms; --fail-on-invalid-sample-value refuses it`,
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options()
			if tt.opts != nil {
				tt.opts(&o)
			}
			md := pmetric.NewMetrics()
			ms := resourceAndScope(md)
			tt.give(ms)
			good := gauge(ms)
			good.SetName("good")
			good.SetUnit("")
			var a ledger.Account
			r, err := NewDecoder(o, series.NewHasher()).Decode(t.Context(), JSON, twice(encode(t, JSON, md)), &a, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkContract(t, r, &a)
			slices.Sort(tt.want)
			if got := rejections(&a); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if len(r.Series) != tt.left+2 || !strings.HasPrefix(strings.Join(render(r), "\n"), "good ") && tt.left == 0 {
				t.Errorf("left: %v", render(r))
			}
		})
	}
}

// What is wrong with a resource concerns all of its data points, and no others.
func TestRejectedResources(t *testing.T) {
	tests := []struct {
		name string
		give func(pmetric.ResourceMetrics)
		opts func(*Options)
		want []string
		left int
	}{
		{"large attributes", func(rm pmetric.ResourceMetrics) {
			rm.Resource().Attributes().PutStr("k", strings.Repeat("x", 17<<20)) // of which Prometheus' labels would panic
		}, nil, []string{`1 samples labels_too_large: metric "queue.fill": the attributes of its resource have 17825861 bytes, at most 262144 can be stored`}, 0},
		{"many attributes", func(rm pmetric.ResourceMetrics) {
			for i := range maxAttributes {
				rm.Resource().Attributes().PutInt(fmt.Sprint("k", i), 1)
			}
		}, func(o *Options) { o.MaxSamples = 1000 }, []string{`1 samples labels_too_large: metric "queue.fill": its resource has 2004 attributes, at most 2000 can be stored`}, 0},
		{"many attributes of a data point", func(rm pmetric.ResourceMetrics) {
			p := rm.ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().At(0)
			for i := range maxAttributes + 1 - p.Attributes().Len() {
				p.Attributes().PutInt(fmt.Sprint("k", i), 1)
			}
		}, func(o *Options) { o.MaxSamples = 1000 }, []string{`1 samples labels_too_large: metric "queue.fill": it has 2001 attributes, at most 2000 can be stored`}, 0},
		{"large scope", func(rm pmetric.ResourceMetrics) {
			rm.ScopeMetrics().At(0).SetSchemaUrl(strings.Repeat("x", maxAttributeBytes))
		}, func(o *Options) { o.PromoteScopeMetadata = true }, []string{`1 samples labels_too_large: metric "queue.fill": the attributes of its scope have 262223 bytes, at most 262144 can be stored`}, 0},
		{"large scope that is not promoted", func(rm pmetric.ResourceMetrics) {
			rm.ScopeMetrics().At(0).SetSchemaUrl(strings.Repeat("x", maxAttributeBytes))
		}, nil, nil, 2},
		{"a promoted attribute without a name", func(rm pmetric.ResourceMetrics) { rm.Resource().Attributes().PutStr("", "x") },
			func(o *Options) { o.PromoteAllResourceAttributes = true },
			[]string{`1 samples empty_label_name: metric "queue.fill": a promoted attribute of its resource: an attribute without a name`}, 0},
		{"an attribute that target_info cannot have", func(rm pmetric.ResourceMetrics) { rm.Resource().Attributes().PutStr("..", "x") },
			nil, []string{`1 samples untranslatable: normalization for label name ".." resulted in invalid name "__"`}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options()
			if tt.opts != nil {
				tt.opts(&o)
			}
			md := pmetric.NewMetrics()
			gauge(resourceAndScope(md))
			tt.give(md.ResourceMetrics().At(0))
			gauge(resourceAndScope(md)).SetName("other")
			md.ResourceMetrics().At(1).Resource().Attributes().PutStr("host.name", "h2")
			var a ledger.Account
			r, err := NewDecoder(o, series.NewHasher()).Decode(t.Context(), Protobuf, encode(t, Protobuf, md), &a, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkContract(t, r, &a)
			if got := rejections(&a); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if len(r.Series) != 2+tt.left {
				t.Errorf("left: %v", render(r))
			}
		})
	}
}
