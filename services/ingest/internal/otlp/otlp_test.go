// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	translator "github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream"
)

// options are Prometheus' defaults.
func options() Options {
	return Options{
		MaxSamples: 1000, MaxLabelBytes: 1 << 20, MaxTimeMs: timestream.MaxTimeMs,
		Strategy:                        otlptranslator.UnderscoreEscapingWithSuffixes,
		LabelNameUnderscoreSanitization: true, LabelNamePreserveMultipleUnderscores: true,
	}
}

const (
	nowNs   = 1_790_000_000_123_456_789
	startNs = 1_789_999_990_000_000_000
)

// resourceAndScope returns a place for metrics, of a resource that has a name.
func resourceAndScope(md pmetric.Metrics) pmetric.MetricSlice {
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	rm.Resource().Attributes().PutStr("service.namespace", "eu")
	rm.Resource().Attributes().PutStr("service.instance.id", "i-1")
	rm.Resource().Attributes().PutStr("host.name", "h1")
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("lib")
	sm.Scope().SetVersion("1.2")
	sm.Scope().Attributes().PutStr("team", "blue")
	return sm.Metrics()
}

func number(p pmetric.NumberDataPoint, v float64) pmetric.NumberDataPoint {
	p.SetTimestamp(nowNs)
	p.SetStartTimestamp(startNs)
	p.SetDoubleValue(v)
	p.Attributes().PutStr("http.method", "GET")
	return p
}

func sum(ms pmetric.MetricSlice, t pmetric.AggregationTemporality) pmetric.Metric {
	m := ms.AppendEmpty()
	m.SetName("http.requests")
	m.SetDescription("Requests.")
	s := m.SetEmptySum()
	s.SetIsMonotonic(true)
	s.SetAggregationTemporality(t)
	addExemplar(number(s.DataPoints().AppendEmpty(), 7).Exemplars(), 1)
	return m
}

func gauge(ms pmetric.MetricSlice) pmetric.Metric {
	m := ms.AppendEmpty()
	m.SetName("queue.fill")
	m.SetUnit("1")
	number(m.SetEmptyGauge().DataPoints().AppendEmpty(), 0.5).SetStartTimestamp(0)
	return m
}

func explicit(ms pmetric.MetricSlice, t pmetric.AggregationTemporality) pmetric.Metric {
	m := ms.AppendEmpty()
	m.SetName("latency")
	m.SetUnit("s")
	h := m.SetEmptyHistogram()
	h.SetAggregationTemporality(t)
	p := h.DataPoints().AppendEmpty()
	p.SetTimestamp(nowNs)
	p.SetStartTimestamp(startNs)
	p.ExplicitBounds().FromRaw([]float64{0.5, 2})
	p.BucketCounts().FromRaw([]uint64{3, 0, 1})
	p.SetCount(4)
	p.SetSum(9.5)
	addExemplar(p.Exemplars(), 0.25)
	addExemplar(p.Exemplars(), 8)
	return m
}

func exponential(ms pmetric.MetricSlice, scale int32, t pmetric.AggregationTemporality) pmetric.Metric {
	m := ms.AppendEmpty()
	m.SetName("size")
	m.SetUnit("By")
	h := m.SetEmptyExponentialHistogram()
	h.SetAggregationTemporality(t)
	p := h.DataPoints().AppendEmpty()
	p.SetTimestamp(nowNs)
	p.SetStartTimestamp(startNs)
	p.SetScale(scale)
	p.SetZeroCount(2)
	p.Positive().SetOffset(-1)
	p.Positive().BucketCounts().FromRaw([]uint64{1, 0, 0, 0, 0, 4})
	p.Negative().BucketCounts().FromRaw([]uint64{3})
	p.SetCount(10)
	p.SetSum(-2.5)
	addExemplar(p.Exemplars(), 3)
	return m
}

func summary(ms pmetric.MetricSlice) pmetric.Metric {
	m := ms.AppendEmpty()
	m.SetName("rpc")
	p := m.SetEmptySummary().DataPoints().AppendEmpty()
	p.SetTimestamp(nowNs)
	p.SetStartTimestamp(startNs)
	p.SetCount(5)
	p.SetSum(11)
	q := p.QuantileValues().AppendEmpty()
	q.SetQuantile(0.99)
	q.SetValue(4)
	return m
}

func addExemplar(es pmetric.ExemplarSlice, v float64) pmetric.Exemplar {
	e := es.AppendEmpty()
	e.SetTimestamp(nowNs - 1e9)
	e.SetDoubleValue(v)
	e.SetTraceID(pcommon.TraceID{0xab})
	e.FilteredAttributes().PutStr("user", "u")
	return e
}

// render is a request as lines, sorted.
func render(r *Request) []string {
	var out []string
	for _, s := range r.Series {
		var ls []string
		for _, l := range s.Labels {
			if string(l.Name) != "__name__" {
				ls = append(ls, fmt.Sprintf("%s=%s", l.Name, l.Value))
			} else {
				ls = slices.Insert(ls, 0, string(l.Value))
			}
		}
		line := strings.Join(ls, " ") + " |"
		for _, x := range s.Samples {
			line += fmt.Sprintf(" %v@%d/%d", x.Value, x.TimeMs, x.StartMs)
			if value.IsStaleNaN(x.Value) {
				line += " stale"
			}
		}
		for _, x := range s.Histograms {
			line += fmt.Sprintf(" %s@%d/%d", histogramText(x.H), x.TimeMs, x.StartMs)
		}
		for _, x := range s.Exemplars {
			line += fmt.Sprintf(" # %v@%d", x.Value, x.TimeMs)
			for _, l := range x.Labels {
				line += fmt.Sprintf(" %s=%s", l.Name, l.Value)
			}
		}
		out = append(out, line)
	}
	for _, m := range r.Metadata {
		out = append(out, fmt.Sprintf("meta %s %s %q %q", m.Name, m.Type, m.Help, m.Unit))
	}
	slices.Sort(out)
	return out
}

func histogramText(h *prompb.Histogram) string {
	return fmt.Sprintf("%s schema=%d hint=%s bounds=%v", h.ToIntHistogram(), h.Schema, h.ResetHint, h.CustomValues)
}

// reference is what Prometheus' own receiver hands to its storage for the same message.
type reference struct{ out []string }

func (*reference) Commit() error   { return nil }
func (*reference) Rollback() error { return nil }
func (r *reference) Append(_ storage.SeriesRef, ls labels.Labels, st, ts int64, v float64, h *histogram.Histogram, _ *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	line := ls.Get("__name__")
	ls.Range(func(l labels.Label) {
		if l.Name != "__name__" {
			line += fmt.Sprintf(" %s=%s", l.Name, l.Value)
		}
	})
	if h != nil {
		p := prompb.FromIntHistogram(0, h)
		line += fmt.Sprintf(" | %s@%d/%d", histogramText(&p), ts, st)
	} else {
		line += fmt.Sprintf(" | %v@%d/%d", v, ts, st)
		if value.IsStaleNaN(v) {
			line += " stale"
		}
	}
	for _, e := range o.Exemplars {
		line += fmt.Sprintf(" # %v@%d", e.Value, e.Ts)
		e.Labels.Range(func(l labels.Label) { line += fmt.Sprintf(" %s=%s", l.Name, l.Value) })
	}
	meta := fmt.Sprintf("meta %s %s %q %q", o.MetricFamilyName, prompb.FromMetadataType(o.Metadata.Type), o.Metadata.Help, o.Metadata.Unit)
	if !slices.Contains(r.out, meta) && !strings.Contains(meta, ` UNKNOWN "" ""`) {
		r.out = append(r.out, meta)
	}
	r.out = append(r.out, line)
	return 0, nil
}

func TestTranslation(t *testing.T) {
	const cumulative, delta = pmetric.AggregationTemporalityCumulative, pmetric.AggregationTemporalityDelta
	const (
		at   = "@1790000000123/1789999990000"
		info = "target_info host_name=h1 instance=i-1 job=eu/shop | 1@1790000000123/0"
		meta = `meta target_info GAUGE "Target metadata" ""`
		trac = "@1789999999123 trace_id=ab000000000000000000000000000000 user=u"
		ours = " instance=i-1 job=eu/shop"
	)
	tests := []struct {
		name string
		give func(pmetric.MetricSlice)
		opts func(*Options)
		want []string
	}{
		{"sum", func(ms pmetric.MetricSlice) { sum(ms, cumulative) }, nil, []string{
			"http_requests_total http_method=GET" + ours + " | 7" + at + " # 1" + trac, `meta http_requests_total COUNTER "Requests." ""`, meta, info,
		}},
		{"sum without suffixes", func(ms pmetric.MetricSlice) { sum(ms, cumulative) }, func(o *Options) { o.Strategy = otlptranslator.UnderscoreEscapingWithoutSuffixes }, []string{
			"http_requests http_method=GET" + ours + " | 7" + at + " # 1" + trac, `meta http_requests COUNTER "Requests." ""`, meta, info,
		}},
		{"sum without escaping", func(ms pmetric.MetricSlice) { sum(ms, cumulative) }, func(o *Options) { o.Strategy = otlptranslator.NoUTF8EscapingWithSuffixes }, []string{
			"http.requests_total http.method=GET" + ours + " | 7" + at + " # 1" + trac, `meta http.requests_total COUNTER "Requests." ""`, meta,
			strings.Replace(info, "host_name", "host.name", 1),
		}},
		{"sum untranslated", func(ms pmetric.MetricSlice) { sum(ms, cumulative) }, func(o *Options) { o.Strategy = otlptranslator.NoTranslation }, []string{
			"http.requests http.method=GET" + ours + " | 7" + at + " # 1" + trac, `meta http.requests COUNTER "Requests." ""`, meta,
			strings.Replace(info, "host_name", "host.name", 1),
		}},
		{"sum that may fall", func(ms pmetric.MetricSlice) { sum(ms, cumulative).Sum().SetIsMonotonic(false) }, nil, []string{
			"http_requests http_method=GET" + ours + " | 7" + at + " # 1" + trac, `meta http_requests GAUGE "Requests." ""`, meta, info,
		}},
		{"native delta sum", func(ms pmetric.MetricSlice) { sum(ms, delta) }, func(o *Options) { o.NativeDelta = true }, []string{
			"http_requests_total http_method=GET" + ours + " | 7" + at + " # 1" + trac, `meta http_requests_total UNKNOWN "Requests." ""`, meta, info,
		}},
		{"gauge", func(ms pmetric.MetricSlice) { gauge(ms) }, nil, []string{
			"queue_fill_ratio http_method=GET" + ours + " | 0.5@1790000000123/0", `meta queue_fill_ratio GAUGE "" ""`, meta, info,
		}},
		{"integer gauge", func(ms pmetric.MetricSlice) { gauge(ms).Gauge().DataPoints().At(0).SetIntValue(math.MaxInt64) }, nil, []string{
			"queue_fill_ratio http_method=GET" + ours + " | 9.223372036854776e+18@1790000000123/0", `meta queue_fill_ratio GAUGE "" ""`, meta, info,
		}},
		{"nothing recorded", func(ms pmetric.MetricSlice) {
			gauge(ms).Gauge().DataPoints().At(0).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
		}, nil, []string{
			"queue_fill_ratio http_method=GET" + ours + " | NaN@1790000000123/0 stale", `meta queue_fill_ratio GAUGE "" ""`, meta, info,
		}},
		{"a series twice", func(ms pmetric.MetricSlice) {
			g := gauge(ms).Gauge().DataPoints()
			number(g.AppendEmpty(), 2).SetTimestamp(nowNs + 1e9)
		}, nil, []string{
			"queue_fill_ratio http_method=GET" + ours + " | 0.5@1790000000123/0 2@1790000001123/1789999990000", `meta queue_fill_ratio GAUGE "" ""`, meta,
			"target_info host_name=h1 instance=i-1 job=eu/shop | 1@1790000000123/0 1@1790000001123/0",
		}},
		{"attributes that become one label", func(ms pmetric.MetricSlice) {
			a := gauge(ms).Gauge().DataPoints().At(0).Attributes()
			a.PutStr("http_method", "POST")
			a.PutInt("_n", 1)
			a.PutEmptySlice("list").AppendEmpty().SetStr(`a"b`)
			a.PutStr("empty", "")
			a.PutStr("1st", "x")
		}, nil, []string{
			`queue_fill_ratio http_method=GET;POST instance=i-1 job=eu/shop key_1st=x key_n=1 list=["a\"b"] | 0.5@1790000000123/0`, `meta queue_fill_ratio GAUGE "" ""`, meta, info,
		}},
		{"label names as the specification has them", func(ms pmetric.MetricSlice) {
			gauge(ms).Gauge().DataPoints().At(0).Attributes().PutStr("_a..b", "x")
		}, func(o *Options) {
			o.LabelNameUnderscoreSanitization, o.LabelNamePreserveMultipleUnderscores = false, false
		}, []string{
			"queue_fill_ratio _a_b=x http_method=GET" + ours + " | 0.5@1790000000123/0", `meta queue_fill_ratio GAUGE "" ""`, meta, info,
		}},
		{"explicit histogram", func(ms pmetric.MetricSlice) { explicit(ms, cumulative) }, nil, []string{
			"latency_seconds_bucket" + ours + " le=+Inf | 4" + at + " # 8" + trac,
			"latency_seconds_bucket" + ours + " le=0.5 | 3" + at + " # 0.25" + trac,
			"latency_seconds_bucket" + ours + " le=2 | 3" + at,
			"latency_seconds_count" + ours + " | 4" + at,
			"latency_seconds_sum" + ours + " | 9.5" + at,
			`meta latency_seconds HISTOGRAM "" "seconds"`, meta, info,
		}},
		{"explicit histogram without a sum", func(ms pmetric.MetricSlice) {
			explicit(ms, cumulative).Histogram().DataPoints().At(0).RemoveSum()
		}, nil, []string{
			"latency_seconds_bucket" + ours + " le=+Inf | 4" + at + " # 8" + trac,
			"latency_seconds_bucket" + ours + " le=0.5 | 3" + at + " # 0.25" + trac,
			"latency_seconds_bucket" + ours + " le=2 | 3" + at,
			"latency_seconds_count" + ours + " | 4" + at,
			`meta latency_seconds HISTOGRAM "" "seconds"`, meta, info,
		}},
		{"explicit histogram with custom buckets", func(ms pmetric.MetricSlice) { explicit(ms, cumulative) }, func(o *Options) { o.ConvertHistogramsToNHCB = true }, []string{
			"latency_seconds" + ours + " | {count:4, sum:9.5, [-Inf,0.5]:3, (2,+Inf]:1} schema=-53 hint=UNKNOWN bounds=[0.5 2]" + at + " # 0.25" + trac + " # 8" + trac,
			`meta latency_seconds HISTOGRAM "" "seconds"`, meta, info,
		}},
		{"exponential histogram", func(ms pmetric.MetricSlice) { exponential(ms, 0, cumulative) }, nil, []string{
			"size_bytes" + ours + " | {count:10, sum:-2.5, [-2,-1):3, [-1e-128,1e-128]:2, (0.5,1]:1, (16,32]:4} schema=0 hint=UNKNOWN bounds=[]" + at + " # 3" + trac,
			`meta size_bytes HISTOGRAM "" "bytes"`, meta, info,
		}},
		{"native delta exponential histogram", func(ms pmetric.MetricSlice) { exponential(ms, 0, delta) }, func(o *Options) { o.NativeDelta = true }, []string{
			"size_bytes" + ours + " | {count:10, sum:-2.5, [-2,-1):3, [-1e-128,1e-128]:2, (0.5,1]:1, (16,32]:4} schema=0 hint=GAUGE bounds=[]" + at + " # 3" + trac,
			`meta size_bytes UNKNOWN "" "bytes"`, meta, info,
		}},
		{"summary", func(ms pmetric.MetricSlice) { summary(ms) }, nil, []string{
			"rpc" + ours + " quantile=0.99 | 4" + at, "rpc_count" + ours + " | 5" + at, "rpc_sum" + ours + " | 11" + at,
			`meta rpc SUMMARY "" ""`, meta, info,
		}},
		{"promoted attributes", func(ms pmetric.MetricSlice) { gauge(ms) }, func(o *Options) { o.PromoteResourceAttributes = []string{"host.name"} }, []string{
			"queue_fill_ratio host_name=h1 http_method=GET" + ours + " | 0.5@1790000000123/0", `meta queue_fill_ratio GAUGE "" ""`, meta, info,
		}},
		{"all attributes promoted but some", func(ms pmetric.MetricSlice) { gauge(ms) }, func(o *Options) {
			o.PromoteAllResourceAttributes, o.IgnoreResourceAttributes = true, []string{"host.name", "service.instance.id"}
		}, []string{
			"queue_fill_ratio http_method=GET" + ours + " service_name=shop service_namespace=eu | 0.5@1790000000123/0", `meta queue_fill_ratio GAUGE "" ""`, meta, info,
		}},
		{"identifying attributes", func(ms pmetric.MetricSlice) { gauge(ms) }, func(o *Options) { o.KeepIdentifyingResourceAttributes = true }, []string{
			"queue_fill_ratio http_method=GET" + ours + " | 0.5@1790000000123/0", `meta queue_fill_ratio GAUGE "" ""`, meta,
			"target_info host_name=h1 instance=i-1 job=eu/shop service_instance_id=i-1 service_name=shop service_namespace=eu | 1@1790000000123/0",
		}},
		{"scope", func(ms pmetric.MetricSlice) { gauge(ms) }, func(o *Options) { o.PromoteScopeMetadata = true }, []string{
			"queue_fill_ratio http_method=GET" + ours + " otel_scope_name=lib otel_scope_team=blue otel_scope_version=1.2 | 0.5@1790000000123/0", `meta queue_fill_ratio GAUGE "" ""`, meta, info,
		}},
		{"metrics without data points", func(ms pmetric.MetricSlice) {
			ms.AppendEmpty().SetEmptySum().SetAggregationTemporality(cumulative)
			gauge(ms)
		}, nil, []string{
			"queue_fill_ratio http_method=GET" + ours + " | 0.5@1790000000123/0", `meta queue_fill_ratio GAUGE "" ""`, meta, info,
		}},
		{"a metric that looks like target_info", func(ms pmetric.MetricSlice) {
			m := gauge(ms)
			m.SetName(targetInfo)
			m.SetUnit("")
			m.SetDescription(targetInfoHelp)
		}, nil, []string{
			"target_info http_method=GET" + ours + " | 0.5@1790000000123/0", meta, info,
		}},
		{"exemplar without a time", func(ms pmetric.MetricSlice) {
			sum(ms, cumulative).Sum().DataPoints().At(0).Exemplars().At(0).SetTimestamp(0)
		}, nil, []string{
			"http_requests_total http_method=GET" + ours + " | 7" + at + " # 1@1790000000123 trace_id=ab000000000000000000000000000000 user=u", `meta http_requests_total COUNTER "Requests." ""`, meta, info,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options()
			if tt.opts != nil {
				tt.opts(&o)
			}
			md := pmetric.NewMetrics()
			tt.give(resourceAndScope(md))
			for _, f := range []Format{Protobuf, JSON} {
				var a ledger.Account
				r, err := NewDecoder(o, series.NewHasher()).Decode(t.Context(), f, encode(t, f, md), &a, nil)
				if err != nil {
					t.Fatal(err)
				}
				checkContract(t, r, &a)
				slices.Sort(tt.want)
				if got := render(r); !slices.Equal(got, tt.want) {
					t.Errorf("format %d:\ngot\n%s\nwant\n%s", f, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
				}
				if len(a.Rejections) != 0 {
					t.Errorf("rejected: %v", a.Rejections)
				}
			}
			if tt.name == "a series twice" || tt.name == "exemplar without a time" || tt.name == "metrics without data points" {
				return // what Prometheus does in a different way
			}
			ref := new(reference)
			settings := NewDecoder(o, series.NewHasher()).settings
			if _, err := translator.NewPrometheusConverter(ref).FromMetrics(t.Context(), md, settings); err != nil {
				t.Fatal(err)
			}
			slices.Sort(ref.out)
			if !slices.Equal(ref.out, tt.want) {
				t.Errorf("Prometheus makes of it\n%s\nwant\n%s", strings.Join(ref.out, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func encode(tb testing.TB, f Format, md pmetric.Metrics) []byte {
	tb.Helper()
	request := pmetricotlp.NewExportRequestFromMetrics(md)
	marshal := request.MarshalProto
	if f == JSON {
		marshal = request.MarshalJSON
	}
	out, err := marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// checkContract checks what series.Series promises, and that all that came is in the request or rejected.
func checkContract(tb testing.TB, r *Request, a *ledger.Account) {
	tb.Helper()
	var have [ledger.Kinds]int
	valid := func(ls []series.Label) {
		for i, l := range ls {
			if len(l.Name) == 0 || len(l.Value) == 0 || !utf8.Valid(l.Name) || !utf8.Valid(l.Value) || i > 0 && string(ls[i-1].Name) >= string(l.Name) {
				tb.Errorf("invalid labels: %q", ls)
			}
		}
	}
	hasher := series.NewHasher()
	named := make(map[series.Hash]series.Hash)
	for _, s := range r.Series {
		valid(s.Labels)
		if !slices.ContainsFunc(s.Labels, func(l series.Label) bool { return string(l.Name) == "__name__" }) {
			tb.Errorf("no name: %s", series.Text(s.Labels))
		}
		if own := hasher.Labels(s.Labels); named[own] != (series.Hash{}) && named[own] != s.Hash {
			tb.Errorf("two hashes of %s", series.Text(s.Labels))
		} else {
			named[own] = s.Hash
		}
		if len(s.Samples)+len(s.Histograms)+len(s.Exemplars) == 0 {
			tb.Errorf("nothing in %s", series.Text(s.Labels))
		}
		have[ledger.Samples] += len(s.Samples)
		have[ledger.Histograms] += len(s.Histograms)
		have[ledger.Exemplars] += len(s.Exemplars)
		for _, x := range s.Samples {
			if x.TimeMs < 0 || x.TimeMs > timestream.MaxTimeMs {
				tb.Errorf("time %d", x.TimeMs)
			}
			if x.StartMs != 0 {
				have[ledger.StartTimestamps]++
			}
		}
		for _, x := range s.Histograms {
			if x.H.IsFloatHistogram() || x.H.Timestamp != 0 || x.H.ToIntHistogram().Validate() != nil {
				tb.Errorf("histogram %v", x.H)
			}
			if x.StartMs != 0 {
				have[ledger.StartTimestamps]++
			}
		}
		for _, x := range s.Exemplars {
			valid(x.Labels)
		}
	}
	have[ledger.Metadata] = len(r.Metadata)
	for k := range ledger.Kinds {
		if c := a.Counts[k]; int(c.Received) != have[k]+int(c.Rejected) || c.Stored+c.Deferred+c.Duplicate != 0 {
			tb.Errorf("%v: %d in the request, account %+v", k, have[k], c)
		}
	}
}

func TestCancelled(t *testing.T) {
	md := pmetric.NewMetrics()
	g := gauge(resourceAndScope(md)).Gauge().DataPoints()
	for range 200 {
		number(g.AppendEmpty(), 1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewDecoder(options(), series.NewHasher()).Decode(ctx, Protobuf, encode(t, Protobuf, md), new(ledger.Account), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Convert(context.Context, []byte, pmetric.Metrics) (pmetric.Metrics, error) {
	return pmetric.Metrics{}, errors.New("boom")
}

func TestConverterThatFails(t *testing.T) {
	o := options()
	o.Delta = failing{}
	md := pmetric.NewMetrics()
	sum(resourceAndScope(md), pmetric.AggregationTemporalityDelta)
	if _, err := NewDecoder(o, series.NewHasher()).Decode(t.Context(), Protobuf, encode(t, Protobuf, md), new(ledger.Account), nil); !errors.Is(err, ErrDelta) {
		t.Errorf("got %v", err)
	}
}

// halving makes deltas cumulative by keeping every other data point as it is.
type halving struct{ seen []byte }

func (h *halving) Convert(_ context.Context, message []byte, md pmetric.Metrics) (pmetric.Metrics, error) {
	h.seen = message
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				if m.Type() != pmetric.MetricTypeSum {
					continue
				}
				i := 0
				m.Sum().DataPoints().RemoveIf(func(pmetric.NumberDataPoint) bool { i++; return i%2 == 0 })
				m.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			}
		}
	}
	return md, nil
}

func TestConvertedDelta(t *testing.T) {
	o := options()
	h := new(halving)
	o.Delta = h
	decode := func(give func(pmetric.MetricSlice)) (*Request, *ledger.Account) {
		md := pmetric.NewMetrics()
		give(resourceAndScope(md))
		var a ledger.Account
		r, err := NewDecoder(o, series.NewHasher()).Decode(t.Context(), Protobuf, encode(t, Protobuf, md), &a, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkContract(t, r, &a)
		return r, &a
	}
	if decode(func(ms pmetric.MetricSlice) { sum(ms, pmetric.AggregationTemporalityCumulative) }); h.seen != nil {
		t.Error("a message without deltas was converted")
	}
	_, a := decode(func(ms pmetric.MetricSlice) {
		points := sum(ms, pmetric.AggregationTemporalityDelta).Sum().DataPoints()
		addExemplar(number(points.AppendEmpty(), 3).Exemplars(), 1)
	})
	if h.seen == nil {
		t.Error("a message with deltas was not converted")
	}
	const text = ": delta temporality: data points that are older than those already added up, or belong to more streams than --otlp.convert-delta.max-streams keeps"
	want := []string{"1 exemplars delta_temporality" + text, "1 samples delta_temporality" + text, "1 start_timestamps delta_temporality" + text}
	if got := rejections(a); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
