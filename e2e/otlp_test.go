// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/system"
	"github.com/tributary-project/tributary/services/ingest"
	"github.com/tributary-project/tributary/timestream/promschema"
)

const otlpPath = "/api/v1/otlp/v1/metrics"

// sdk is an application that is instrumented with the OpenTelemetry SDK.
type sdk struct {
	reader   *sdkmetric.ManualReader
	exporter *otlpmetrichttp.Exporter
	meter    metric.Meter
}

func newSDK(t *testing.T, url string, o ...otlpmetrichttp.Option) *sdk {
	t.Helper()
	exporter, err := otlpmetrichttp.New(t.Context(), append(o, otlpmetrichttp.WithEndpointURL(url+otlpPath), otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}))...)
	if err != nil {
		t.Fatal(err)
	}
	s := &sdk{reader: sdkmetric.NewManualReader(sdkmetric.WithTemporalitySelector(exporter.Temporality)), exporter: exporter}
	provider := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(s.reader),
		sdkmetric.WithExemplarFilter(exemplar.AlwaysOnFilter),
		sdkmetric.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "shop"), attribute.String("service.namespace", "eu"), attribute.String("service.instance.id", "i-1"),
			attribute.String("host.name", "h1"), attribute.Int("process.pid", 42),
		)),
		sdkmetric.WithView(sdkmetric.NewView(sdkmetric.Instrument{Name: "*.exponential"}, sdkmetric.Stream{
			Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20},
		})),
	)
	s.meter = provider.Meter("lib", metric.WithInstrumentationVersion("1.2"))
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := exporter.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *sdk) export(t *testing.T) {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := s.reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	if err := s.exporter.Export(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// work has an application use every kind of instrument twice.
func work(t *testing.T, s *sdk) {
	t.Helper()
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{0xcd}, TraceFlags: trace.FlagsSampled,
	}))
	counter := must[metric.Int64Counter](t)(s.meter.Int64Counter("http.server.requests", metric.WithDescription("Requests.")))
	upDown := must[metric.Int64UpDownCounter](t)(s.meter.Int64UpDownCounter("queue.length"))
	gauge := must[metric.Float64Gauge](t)(s.meter.Float64Gauge("fill", metric.WithUnit("1")))
	explicit := must[metric.Float64Histogram](t)(s.meter.Float64Histogram("latency", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(0.1, 1, 10)))
	exponential := must[metric.Float64Histogram](t)(s.meter.Float64Histogram("size.exponential", metric.WithUnit("By")))
	for i := range 2 {
		for _, method := range []string{"GET", "Übung"} {
			attributes := metric.WithAttributes(attribute.String("http.method", method), attribute.StringSlice("tags", []string{"a", `b"`}))
			counter.Add(ctx, int64(i+5), attributes)
			upDown.Add(ctx, int64(-i), attributes)
			gauge.Record(ctx, 0.25*float64(i), attributes)
			for j := range 20 {
				explicit.Record(ctx, math.Exp2(float64(j-10)), attributes)
				exponential.Record(ctx, math.Exp2(float64(j-10))*float64(1-2*(j%2)), attributes)
			}
		}
		s.export(t)
		time.Sleep(2 * time.Millisecond) // the next samples are later ones
	}
}

// twoReceivers forwards what an exporter sends to Prometheus and to Tributary, and answers as the latter does.
func twoReceivers(t *testing.T, prometheus, tributary string) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for _, url := range []string{prometheus, tributary} {
			out, err := http.NewRequestWithContext(r.Context(), r.Method, url+r.URL.Path, bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			out.Header = r.Header.Clone()
			res, err := http.DefaultClient.Do(out)
			if err != nil {
				t.Error(err)
				return
			}
			text, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("%s: %s: %s (%v)", url, res.Status, text, err)
			}
			if url == tributary {
				w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
				w.WriteHeader(res.StatusCode)
				_, _ = w.Write(text)
			}
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// asPrometheusHas compares all that is stored, by series and bit for bit, but for some metrics.
func asPrometheusHas(t *testing.T, prometheus *promtest.Instance, s *system.System, least int, without ...string) {
	t.Helper()
	end := time.Now().Add(time.Hour).UnixMilli()
	want, err := promtest.ReadAll(t.Context(), prometheus.URL+"/api/v1/read", 0, end)
	if err != nil {
		t.Fatal(err)
	}
	got, err := promtest.ReadAll(t.Context(), s.ReadURL(), 0, end)
	if err != nil {
		t.Fatal(err)
	}
	excepted := func(ts *prompb.TimeSeries) bool {
		return slices.ContainsFunc(ts.Labels, func(l prompb.Label) bool { return l.Name == "__name__" && slices.Contains(without, l.Value) })
	}
	want, got = slices.DeleteFunc(want, excepted), slices.DeleteFunc(got, excepted)
	lines := map[string][]string{}
	n := 0
	for _, ts := range want {
		b := labels.NewScratchBuilder(0)
		series := ts.ToLabels(&b, nil).String()
		for _, p := range ts.Samples {
			lines[series] = append(lines[series], fmt.Sprintf("%d %x", p.Timestamp, math.Float64bits(p.Value)))
		}
		for i := range ts.Histograms {
			h := &ts.Histograms[i]
			if h.ResetHint == prompb.Histogram_NO {
				// What it was given is that nothing is known; its storage compares with the sample before.
				h.ResetHint = prompb.Histogram_UNKNOWN
			}
			lines[series] = append(lines[series], fmt.Sprintf("%d %s", h.Timestamp, bitsOf(h)))
		}
		n += len(ts.Samples) + len(ts.Histograms)
	}
	if n < least {
		t.Errorf("Prometheus has %d samples, want at least %d", n, least)
	}
	checkSamples(t, got, lines)
}

// A real application's metrics become the same series as in a Prometheus, whatever the options.
func TestOTLPOfAnSDKAsInPrometheus(t *testing.T) {
	for _, c := range []struct {
		name        string
		config      string // of Prometheus' otlp block
		app         func(*ingest.OTLPConfig)
		compression otlpmetrichttp.Compression
	}{
		{"defaults", "{}", nil, otlpmetrichttp.GzipCompression},
		{
			"all options", "{translation_strategy: NoTranslation, promote_all_resource_attributes: true, ignore_resource_attributes: [process.pid], keep_identifying_resource_attributes: true, convert_histograms_to_nhcb: true, promote_scope_metadata: true}",
			func(c *ingest.OTLPConfig) {
				c.TranslationStrategy, c.PromoteAllResourceAttributes, c.IgnoreResourceAttributes = "NoTranslation", true, "process.pid"
				c.KeepIdentifyingResourceAttributes, c.ConvertHistogramsToNHCB, c.PromoteScopeMetadata = true, true, true
			},
			otlpmetrichttp.NoCompression,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			prometheus := promtest.Start(t, "otlp: "+c.config+"\n", nil, "--web.enable-otlp-receiver")
			s := system.Start(t, system.Options{App: func(cfg *allinone.Config) {
				if c.app != nil {
					c.app(&cfg.Ingest.OTLP)
				}
			}})
			receivers := twoReceivers(t, prometheus.URL, s.URL)
			work(t, newSDK(t, receivers.URL, otlpmetrichttp.WithCompression(c.compression)))
			asPrometheusHas(t, prometheus, s, 2*(2+2+2+2+2+1))

			// Remote read has no exemplars, metadata and start timestamps.
			for f, want := range map[promschema.Family]string{
				promschema.ExemplarFamily: `trace_id="ab000000000000000000000000000000"`, promschema.MetadataFamily: "Requests.", promschema.StartFamily: "http",
			} {
				if kinds := storedKinds(t, s, f); !strings.Contains(strings.Join(kinds, "\n"), want) {
					t.Errorf("family %d lacks %s:\n%s", f, want, strings.Join(kinds, "\n"))
				}
			}
		})
	}
}

// kindsOfOTLP has what an SDK does not make: summaries, data points without a value, attributes that become one label, fine
// exponential histograms, deltas.
func kindsOfOTLP(temporality pmetric.AggregationTemporality) pmetric.Metrics {
	md := pmetric.NewMetrics()
	now := pcommon.NewTimestampFromTime(time.Now())
	start := pcommon.NewTimestampFromTime(time.Now().Add(-time.Hour))
	for i := range 2 {
		rm := md.ResourceMetrics().AppendEmpty()
		attributes := rm.Resource().Attributes()
		attributes.PutStr("service.name", "shop")
		attributes.PutInt("service.instance.id", int64(i))
		attributes.PutStr("cloud.zone", "eu-1")
		ms := rm.ScopeMetrics().AppendEmpty().Metrics()

		g := ms.AppendEmpty()
		g.SetName("1st.gauge")
		g.SetUnit("m/s")
		points := g.SetEmptyGauge().DataPoints()
		for j := range 3 {
			p := points.AppendEmpty()
			p.Attributes().PutInt("j", int64(j))
			p.SetTimestamp(now)
			p.SetDoubleValue(math.Inf(1))
			p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(j == 1))
			p.Attributes().PutStr("a.b", "dot")
			p.Attributes().PutStr("a_b", "line")
			p.Attributes().PutStr("_private", "x")
			p.Attributes().PutStr("2nd", "x")
			p.Attributes().PutEmptyMap("map").PutDouble("d", 0.5)
			p.Attributes().PutStr("__double", "x")
			p.Attributes().PutStr("a__b", "x")
		}

		c := ms.AppendEmpty()
		c.SetName("bytes.total")
		c.SetUnit("By")
		c.SetEmptySum().SetIsMonotonic(true)
		c.Sum().SetAggregationTemporality(temporality)
		p := c.Sum().DataPoints().AppendEmpty()
		p.SetStartTimestamp(start)
		p.SetTimestamp(now)
		p.SetIntValue(math.MaxInt64)

		q := ms.AppendEmpty()
		q.SetName("rpc:time")
		summary := q.SetEmptySummary().DataPoints().AppendEmpty()
		summary.SetTimestamp(now)
		summary.SetCount(3)
		summary.SetSum(1.5)
		for j, x := range []float64{0, 0.5, 0.999, 1} {
			v := summary.QuantileValues().AppendEmpty()
			v.SetQuantile(x)
			v.SetValue(float64(j))
		}

		e := ms.AppendEmpty()
		e.SetName("fine")
		e.SetEmptyExponentialHistogram().SetAggregationTemporality(temporality)
		x := e.ExponentialHistogram().DataPoints().AppendEmpty()
		x.SetTimestamp(now)
		x.SetScale(11)
		x.Positive().SetOffset(-50)
		x.Positive().BucketCounts().FromRaw([]uint64{1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 5})
		x.SetZeroCount(1)
		x.SetCount(16)
		x.SetSum(math.Pi)

		h := ms.AppendEmpty()
		h.SetName("coarse")
		h.SetUnit("%")
		h.SetEmptyHistogram().SetAggregationTemporality(temporality)
		y := h.Histogram().DataPoints().AppendEmpty()
		y.SetTimestamp(now)
		y.SetStartTimestamp(start)
		y.ExplicitBounds().FromRaw([]float64{-1, 0.1, 1e21})
		y.BucketCounts().FromRaw([]uint64{1, 0, 2, 3})
		y.SetCount(6)
		y.Attributes().PutStr("le", "overwritten")
	}
	return md
}

// What Prometheus makes of a message is what is stored of it, for each translation.
func TestOTLPKindsAsInPrometheus(t *testing.T) {
	for _, c := range []struct {
		strategy, more string // of the otlp block
		delta          bool
		app            func(*ingest.OTLPConfig)
	}{
		{strategy: "UnderscoreEscapingWithSuffixes", delta: true, app: func(c *ingest.OTLPConfig) { c.NativeDelta = true }},
		{strategy: "NoUTF8EscapingWithSuffixes", more: ", promote_resource_attributes: [cloud.zone, other]", app: func(c *ingest.OTLPConfig) { c.PromoteResourceAttributes = "cloud.zone, other" }},
		{
			strategy: "UnderscoreEscapingWithoutSuffixes", more: ", label_name_underscore_sanitization: false, label_name_preserve_multiple_underscores: false",
			app: func(c *ingest.OTLPConfig) {
				c.LabelNameUnderscoreSanitization, c.LabelNamePreserveMultipleUnderscores = false, false
			},
		},
		{strategy: "NoTranslation", more: ", convert_histograms_to_nhcb: true", app: func(c *ingest.OTLPConfig) { c.ConvertHistogramsToNHCB = true }},
	} {
		t.Run(c.strategy, func(t *testing.T) {
			args := []string{"--web.enable-otlp-receiver"}
			temporality := pmetric.AggregationTemporalityCumulative
			if c.delta {
				args = append(args, "--enable-feature=otlp-native-delta-ingestion")
				temporality = pmetric.AggregationTemporalityDelta
			}
			prometheus := promtest.Start(t, "otlp: {translation_strategy: "+c.strategy+c.more+"}\n", nil, args...)
			s := system.Start(t, system.Options{App: func(cfg *allinone.Config) {
				cfg.Ingest.OTLP.TranslationStrategy = c.strategy
				c.app(&cfg.Ingest.OTLP)
			}})
			body, err := pmetricotlp.NewExportRequestFromMetrics(kindsOfOTLP(temporality)).MarshalProto()
			if err != nil {
				t.Fatal(err)
			}
			if code, answer := postOTLP(t, twoReceivers(t, prometheus.URL, s.URL).URL, "application/x-protobuf", body); code != http.StatusOK || answer != "" {
				t.Errorf("got %d: %q", code, answer)
			}
			asPrometheusHas(t, prometheus, s, 2*(1+1+6+1+1+1))
		})
	}
}

// postOTLP posts a message and returns the answer.
func postOTLP(t *testing.T, url, contentType string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+otlpPath, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// A message as people write it, with a data point that is refused: the rest is stored, and the answer is a success that tells.
func TestOTLPByHand(t *testing.T) {
	s := system.Start(t, system.Options{})
	now := time.Now().UnixMilli()
	code, answer := postOTLP(t, s.URL, "application/json", fmt.Appendf(nil, `{"resourceMetrics": [{
		"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "by hand"}}]},
		"scopeMetrics": [{"metrics": [
			{"name": "room.temperature", "unit": "Cel", "gauge": {"dataPoints": [
				{"timeUnixNano": "%[1]d000000", "asDouble": 21.5, "attributes": [{"key": "room", "value": {"stringValue": "K 1"}}]},
				{"timeUnixNano": %[1]d000000, "asInt": "-3", "attributes": [{"key": "room", "value": {"stringValue": "cellar"}}]},
				{"asInt": "4"}
			]}},
			{"name": "door", "sum": {"isMonotonic": true, "aggregationTemporality": "AGGREGATION_TEMPORALITY_DELTA", "dataPoints": [{"timeUnixNano": "%[1]d000000", "asInt": 1}]}}
		]}]
	}]}`, now))
	if code != http.StatusOK || !strings.Contains(answer, `"rejectedDataPoints":"2"`) || !strings.Contains(answer, "delta_temporality") || !strings.Contains(answer, "without a timestamp") {
		t.Errorf("got %d: %s", code, answer)
	}
	got, err := promtest.ReadAll(t.Context(), s.ReadURL(), 0, now)
	if err != nil {
		t.Fatal(err)
	}
	sample := func(v float64) []string { return []string{fmt.Sprintf("%d %x", now, math.Float64bits(v))} }
	checkSamples(t, got, map[string][]string{
		`{__name__="room_temperature_celsius", job="by hand", room="K 1"}`:    sample(21.5),
		`{__name__="room_temperature_celsius", job="by hand", room="cellar"}`: sample(-3),
	})
	for name, c := range map[string]struct {
		contentType, body string
		want              int
	}{
		"not JSON":     {"application/json", "<html>", http.StatusBadRequest},
		"not protobuf": {"application/x-protobuf", "<html>", http.StatusBadRequest},
		"nothing":      {"application/x-protobuf", "", http.StatusOK},
		"no metrics":   {"application/json", "{}", http.StatusOK},
		"another type": {"text/plain", "{}", http.StatusUnsupportedMediaType},
	} {
		if code, answer := postOTLP(t, s.URL, c.contentType, []byte(c.body)); code != c.want {
			t.Errorf("%s: got %d: %s, want %d", name, code, answer, c.want)
		}
	}
}

// Deltas of an SDK are added up, and added up once: a message that comes again because it could not be stored is that message.
func TestOTLPDeltaIsAddedUp(t *testing.T) {
	s := system.Start(t, system.Options{App: func(cfg *allinone.Config) { cfg.Delta.Enabled = true }})
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("orders")
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	p := sum.DataPoints().AppendEmpty()
	start := time.Now().Add(-time.Minute).Truncate(time.Second)
	send := func(second int, delta int64) (int, string) {
		p.SetStartTimestamp(pcommon.NewTimestampFromTime(start.Add(time.Duration(second-1) * time.Second)))
		p.SetTimestamp(pcommon.NewTimestampFromTime(start.Add(time.Duration(second) * time.Second)))
		p.SetIntValue(delta)
		body, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		return postOTLP(t, s.URL, "application/x-protobuf", body)
	}
	var want []string
	total := int64(0)
	for i := range 5 {
		total += int64(i + 1)
		if i == 2 {
			s.Timestream.Set(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Content-Type", "application/x-amz-json-1.0")
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = io.WriteString(w, `{"__type":"InternalServerException","message":"away"}`)
			})
			if code, answer := send(i, int64(i+1)); code != http.StatusServiceUnavailable {
				t.Fatalf("while the store is away: %d: %s", code, answer)
			}
			s.Timestream.Set(nil)
		}
		if code, answer := send(i, int64(i+1)); code != http.StatusOK || strings.Contains(answer, "rejected") {
			t.Fatalf("got %d: %s", code, answer)
		}
		want = append(want, fmt.Sprintf("%d %x", start.Add(time.Duration(i)*time.Second).UnixMilli(), math.Float64bits(float64(total))))
	}
	got, err := promtest.ReadAll(t.Context(), s.ReadURL(), 0, time.Now().UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	checkSamples(t, got, map[string][]string{`{__name__="orders_total", job="shop"}`: want})
}

// An SDK that is set to deltas gets along, too.
func TestOTLPDeltaOfAnSDK(t *testing.T) {
	s := system.Start(t, system.Options{App: func(cfg *allinone.Config) { cfg.Delta.Enabled = true }})
	work(t, newSDK(t, s.URL, otlpmetrichttp.WithTemporalitySelector(sdkmetric.DeltaTemporalitySelector)))
	got, err := promtest.ReadAll(t.Context(), s.ReadURL(), 0, time.Now().UnixMilli(), &prompb.LabelMatcher{Name: "__name__", Value: "http_server_requests_total"})
	if err != nil {
		t.Fatal(err)
	}
	var last float64
	for _, ts := range got {
		last = ts.Samples[len(ts.Samples)-1].Value
	}
	if len(got) != 2 || last != 11 {
		t.Errorf("got %v, want two series that end at 11", got)
	}
}
