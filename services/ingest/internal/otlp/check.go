// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"context"
	"fmt"
	"strings"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/histogram"
	translator "github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// maxAttributeBytes bounds the attributes that become labels of one series: 128 dimensions of 2,048 bytes, more than any
// record can have (Timestream Developer Guide, ts-limits). Prometheus' labels panic at 16 MiB.
const maxAttributeBytes = 256 << 10

// maxAttributes bounds their number: those that are not dimensions are packed into them, eight bytes a label at the least, and
// have 4 times 2,048 bytes (same page).
const maxAttributes = 2000

// checker removes from metrics what the translator would stop at, for it then leaves out the rest of the metric, and
// Prometheus the rest of the request.
type checker struct {
	opts     *Options
	settings *translator.Settings
	promoted func(string) bool
	account  *ledger.Account
	// delta tells that there are metrics to be converted.
	delta bool
}

// fault says why something cannot be translated. The zero value says that it can.
type fault struct {
	reason ledger.Reason
	text   string
}

func (f fault) is() bool { return f.reason != "" }

func (c *checker) check(md pmetric.Metrics) {
	md.ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool {
		f := c.resource(rm.Resource().Attributes())
		rm.ScopeMetrics().RemoveIf(func(sm pmetric.ScopeMetrics) bool {
			f := f
			if !f.is() {
				f = c.scope(sm)
			}
			sm.Metrics().RemoveIf(func(m pmetric.Metric) bool {
				f := f
				if !f.is() {
					f = c.metric(m)
				}
				return c.points(m, f) == 0
			})
			return f.is()
		})
		return f.is()
	})
}

func (c *checker) resource(attributes pcommon.Map) fault {
	n, f := 0, fault{}
	for name, v := range attributes.All() {
		n += len(name) + textBytes(v)
		if c.promoted(name) && !f.is() {
			f = c.labelName(name)
		}
	}
	if n > maxAttributeBytes {
		return fault{ledger.LabelsTooLarge, fmt.Sprintf("the attributes of its resource have %d bytes, at most %d can be stored", n, maxAttributeBytes)}
	}
	if n := attributes.Len(); n > maxAttributes {
		return fault{ledger.LabelsTooLarge, fmt.Sprintf("its resource has %d attributes, at most %d can be stored", n, maxAttributes)}
	}
	if f.is() {
		f.text = "a promoted attribute of its resource: " + f.text
	}
	return f
}

func (c *checker) scope(sm pmetric.ScopeMetrics) fault {
	if n := c.scopeBytes(sm); n > maxAttributeBytes {
		return fault{ledger.LabelsTooLarge, fmt.Sprintf("the attributes of its scope have %d bytes, at most %d can be stored", n, maxAttributeBytes)}
	}
	if n := sm.Scope().Attributes().Len(); n > maxAttributes && c.settings.PromoteScopeMetadata {
		return fault{ledger.LabelsTooLarge, fmt.Sprintf("its scope has %d attributes, at most %d can be stored", n, maxAttributes)}
	}
	return fault{}
}

// scopeBytes is the size of the labels that a scope gives.
func (c *checker) scopeBytes(sm pmetric.ScopeMetrics) int {
	if !c.settings.PromoteScopeMetadata || sm.Scope().Name() == "" {
		return 0
	}
	n := len("otel_scope_name") + len(sm.Scope().Name()) + len("otel_scope_version") + len(sm.Scope().Version()) + len("otel_scope_schema_url") + len(sm.SchemaUrl())
	for name, v := range sm.Scope().Attributes().All() {
		n += len("otel_scope_") + len(name) + textBytes(v)
	}
	return n
}

func (c *checker) metric(m pmetric.Metric) fault {
	temporality := pmetric.AggregationTemporalityCumulative
	switch m.Type() {
	case pmetric.MetricTypeEmpty:
		return fault{ledger.Untranslatable, "a metric of a type that is not known here"}
	case pmetric.MetricTypeSum:
		temporality = m.Sum().AggregationTemporality()
	case pmetric.MetricTypeHistogram:
		temporality = m.Histogram().AggregationTemporality()
	case pmetric.MetricTypeExponentialHistogram:
		temporality = m.ExponentialHistogram().AggregationTemporality()
	case pmetric.MetricTypeGauge, pmetric.MetricTypeSummary:
	}
	switch {
	case temporality == pmetric.AggregationTemporalityCumulative:
	case temporality == pmetric.AggregationTemporalityDelta && c.opts.Delta != nil:
		c.delta = true
	case temporality == pmetric.AggregationTemporalityDelta && c.opts.NativeDelta:
	case temporality == pmetric.AggregationTemporalityDelta:
		return fault{ledger.DeltaTemporality, "delta temporality; send cumulative temporality, or set --otlp.native-delta of the ingest service, or --otlp.convert-delta of `tributary all`"}
	default:
		return fault{ledger.Untranslatable, "its temporality is neither cumulative nor delta"}
	}
	if m.Name() == "" {
		return fault{ledger.MissingMetricName, "a metric without a name"}
	}
	if len(m.Name())+len(m.Unit()) > maxAttributeBytes {
		return fault{ledger.LabelsTooLarge, fmt.Sprintf("its name has %d bytes, at most %d can be stored", len(m.Name()), maxAttributeBytes)}
	}
	if _, err := c.name(m); err != nil {
		return fault{ledger.Untranslatable, err.Error()}
	}
	return fault{}
}

// name is the metric's name in Prometheus.
func (c *checker) name(m pmetric.Metric) (string, error) {
	namer := otlptranslator.MetricNamer{WithMetricSuffixes: c.settings.AddMetricSuffixes, UTF8Allowed: c.settings.AllowUTF8}
	return namer.Build(translator.TranslatorMetricFromOtelMetric(m))
}

// labelName tells whether an attribute's name has a form as the name of a label.
func (c *checker) labelName(name string) fault {
	if strings.ContainsFunc(name, func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}) {
		return fault{} // every rule leaves these
	}
	if name == "" {
		return fault{ledger.EmptyLabelName, "an attribute without a name"}
	}
	namer := otlptranslator.LabelNamer{
		UTF8Allowed:                 c.settings.AllowUTF8,
		UnderscoreLabelSanitization: c.settings.LabelNameUnderscoreSanitization, //nolint:staticcheck // deprecated, but Prometheus' default
		PreserveMultipleUnderscores: c.settings.LabelNamePreserveMultipleUnderscores,
	}
	if _, err := namer.Build(name); err != nil {
		return fault{ledger.Untranslatable, err.Error()}
	}
	return fault{}
}

// points removes and accounts for the data points of a metric that cannot be translated, all of them if f is one, and returns
// how many are left.
func (c *checker) points(m pmetric.Metric, f fault) int {
	if m.Type() == pmetric.MetricTypeEmpty {
		c.account.Receive(ledger.Samples, 1)
		c.account.Reject(ledger.Samples, f.reason, 1, example(m, f))
		return 0
	}
	return c.each(m, func(p point) bool {
		f := f
		if !f.is() {
			f = c.point(p)
		}
		if f.is() {
			c.drop(m, p, f)
			return true
		}
		c.exemplars(m, p)
		return false
	})
}

func (c *checker) point(p point) fault {
	switch {
	case p.time == 0:
		return fault{ledger.OutOfRange, "a data point without a timestamp"}
	case p.time > pcommon.Timestamp(c.opts.MaxTimeMs)*1e6: //nolint:gosec // a limit, not negative
		return fault{ledger.OutOfRange, fmt.Sprintf("timestamp %d ns is after %d ms, the last that can be stored", uint64(p.time), c.opts.MaxTimeMs)}
	case p.scale < histogram.ExponentialSchemaMin:
		return fault{ledger.Untranslatable, fmt.Sprintf("scale %d; native histograms have at least %d", p.scale, histogram.ExponentialSchemaMin)}
	}
	n := 0
	for name, v := range p.attributes.All() {
		n += len(name) + textBytes(v)
		if c.settings.AllowUTF8 {
			continue // then names are taken as they are
		}
		if f := c.labelName(name); f.is() {
			return f
		}
	}
	if n > maxAttributeBytes {
		return fault{ledger.LabelsTooLarge, fmt.Sprintf("its attributes have %d bytes, at most %d can be stored", n, maxAttributeBytes)}
	}
	if n := p.attributes.Len(); n > maxAttributes {
		return fault{ledger.LabelsTooLarge, fmt.Sprintf("it has %d attributes, at most %d can be stored", n, maxAttributes)}
	}
	return fault{}
}

// exemplars removes and accounts for the exemplars of a data point that cannot be translated.
func (c *checker) exemplars(m pmetric.Metric, p point) {
	if !p.hasExemplars || p.exemplars.Len() == 0 {
		return
	}
	p.exemplars.RemoveIf(func(e pmetric.Exemplar) bool {
		var f fault
		switch {
		case m.Type() == pmetric.MetricTypeGauge:
			f = fault{ledger.Untranslatable, "an exemplar of a gauge; Prometheus' translation has none"}
		case e.ValueType() == pmetric.ExemplarValueTypeEmpty:
			f = fault{ledger.InvalidExemplar, "an exemplar without a value"}
		default:
			return false
		}
		c.account.Receive(ledger.Exemplars, 1)
		c.account.Reject(ledger.Exemplars, f.reason, 1, example(m, f))
		return true
	})
}

// drop accounts for a data point of which nothing becomes.
func (c *checker) drop(m pmetric.Metric, p point, f fault) {
	c.account.Receive(p.kind(), 1)
	c.account.Reject(p.kind(), f.reason, 1, example(m, f))
	if p.start != 0 {
		c.account.Receive(ledger.StartTimestamps, 1)
		c.account.Reject(ledger.StartTimestamps, f.reason, 1, nil)
	}
	if p.hasExemplars {
		c.account.Receive(ledger.Exemplars, p.exemplars.Len())
		c.account.Reject(ledger.Exemplars, f.reason, p.exemplars.Len(), nil)
	}
}

func example(m pmetric.Metric, f fault) func() string {
	return func() string { return "metric " + series.Quote([]byte(m.Name())) + ": " + f.text }
}

// convert makes delta metrics cumulative and accounts for the data points that this leaves out.
func (c *checker) convert(ctx context.Context, d DeltaConverter, message []byte, md pmetric.Metrics) (pmetric.Metrics, error) {
	before := c.count(md)
	md, err := d.Convert(ctx, message, md)
	if err != nil {
		return md, fmt.Errorf("%w: %w", ErrDelta, err)
	}
	after := c.count(md)
	for kind, n := range map[ledger.Kind]int{
		ledger.Samples:         before.samplePoints - after.samplePoints,
		ledger.Histograms:      before.histograms - after.histograms,
		ledger.Exemplars:       before.exemplars - after.exemplars,
		ledger.StartTimestamps: before.startPoints - after.startPoints,
	} {
		if n <= 0 {
			continue
		}
		c.account.Receive(kind, n)
		c.account.Reject(kind, ledger.DeltaTemporality, n, func() string {
			return "delta temporality: data points that are older than those already added up, or belong to more streams than --otlp.convert-delta.max-streams keeps"
		})
	}
	return md, nil
}

// point is what all kinds of data points have.
type point struct {
	attributes   pcommon.Map
	time, start  pcommon.Timestamp
	exemplars    pmetric.ExemplarSlice
	hasExemplars bool
	scale        int32
	// samples is how many samples the translator makes of it; 0 means that it makes one native histogram.
	samples int
}

func (p point) kind() ledger.Kind {
	if p.samples == 0 {
		return ledger.Histograms
	}
	return ledger.Samples
}

// each removes the data points of a metric for which f returns true, and returns how many are left.
func (c *checker) each(m pmetric.Metric, f func(point) bool) int {
	number := func(p pmetric.NumberDataPoint) bool {
		return f(point{
			attributes: p.Attributes(), time: p.Timestamp(), start: p.StartTimestamp(),
			exemplars: p.Exemplars(), hasExemplars: true, samples: 1,
		})
	}
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		m.Gauge().DataPoints().RemoveIf(number)
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeSum:
		m.Sum().DataPoints().RemoveIf(number)
		return m.Sum().DataPoints().Len()
	case pmetric.MetricTypeHistogram:
		points := m.Histogram().DataPoints()
		points.RemoveIf(func(p pmetric.HistogramDataPoint) bool {
			samples := 0
			if !c.settings.ConvertHistogramsToNHCB {
				samples = 2 + min(p.ExplicitBounds().Len(), p.BucketCounts().Len()) // the count, the last bucket, and the others
				if p.HasSum() {
					samples++
				}
			}
			return f(point{
				attributes: p.Attributes(), time: p.Timestamp(), start: p.StartTimestamp(),
				exemplars: p.Exemplars(), hasExemplars: true, samples: samples,
			})
		})
		return points.Len()
	case pmetric.MetricTypeExponentialHistogram:
		points := m.ExponentialHistogram().DataPoints()
		points.RemoveIf(func(p pmetric.ExponentialHistogramDataPoint) bool {
			return f(point{
				attributes: p.Attributes(), time: p.Timestamp(), start: p.StartTimestamp(),
				exemplars: p.Exemplars(), hasExemplars: true, scale: p.Scale(),
			})
		})
		return points.Len()
	case pmetric.MetricTypeSummary:
		points := m.Summary().DataPoints()
		points.RemoveIf(func(p pmetric.SummaryDataPoint) bool {
			return f(point{
				attributes: p.Attributes(), time: p.Timestamp(), start: p.StartTimestamp(),
				samples: 2 + p.QuantileValues().Len(),
			})
		})
		return points.Len()
	default:
		return 0
	}
}

// counts is what the translator makes of metrics.
type counts struct {
	samples, histograms, exemplars int
	// samplePoints are the data points that become samples, startPoints those with a start timestamp.
	samplePoints, startPoints int
	// labelBytes is the size of the labels, names not translated; labels is their number, about.
	labelBytes, labels int
	// targets are the samples of metrics that look as the translator's own target_info does.
	targets int
}

// bytes is about what becomes of the metrics: a series each, and what it points to. Histograms have their buckets elsewhere.
func (n counts) bytes() int {
	const sampleBytes, histogramBytes, exemplarBytes, labelBytes = 128, 600, 200, 48
	return n.samples*sampleBytes + n.histograms*histogramBytes + n.exemplars*exemplarBytes + n.labels*labelBytes + n.labelBytes
}

func (c *checker) count(md pmetric.Metrics) (n counts) {
	for _, rm := range md.ResourceMetrics().All() {
		common, shared := 0, 0
		for name, v := range rm.Resource().Attributes().All() {
			if c.promoted(name) || strings.HasPrefix(name, "service.") { // of which job and instance are made
				common += len(name) + textBytes(v)
				shared++
			}
		}
		for _, sm := range rm.ScopeMetrics().All() {
			scope, labels := c.scopeBytes(sm), shared+2 // the name, and one that tells buckets or quantiles apart
			if scope > 0 {
				labels += 3 + sm.Scope().Attributes().Len()
			}
			for _, m := range sm.Metrics().All() {
				each := common + scope + len(m.Name())
				before := n.samples
				c.each(m, func(p point) bool {
					if p.start != 0 {
						n.startPoints++
					}
					if p.hasExemplars {
						n.exemplars += p.exemplars.Len()
					}
					bytes := each
					for name, v := range p.attributes.All() {
						bytes += len(name) + textBytes(v)
					}
					if p.samples == 0 {
						n.histograms++
						n.labelBytes += bytes
						n.labels += labels + p.attributes.Len()
						return false
					}
					n.samplePoints++
					n.samples += p.samples
					n.labelBytes += bytes * p.samples
					n.labels += (labels + p.attributes.Len()) * p.samples
					return false
				})
				if name, _ := c.name(m); m.Type() == pmetric.MetricTypeGauge && name == targetInfo && m.Description() == targetInfoHelp {
					n.targets += n.samples - before
				}
			}
		}
	}
	return n
}

// textBytes is the size of a value as a label, at least: nested values, which become JSON, are taken at their longest.
func textBytes(v pcommon.Value) int {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return len(v.Str())
	case pcommon.ValueTypeBytes:
		return v.Bytes().Len()/3*4 + 4 // base64
	case pcommon.ValueTypeMap, pcommon.ValueTypeSlice:
		return jsonBytes(v)
	default:
		return 24 // numbers at their longest
	}
}

// jsonBytes is the size of a value as JSON at most.
func jsonBytes(v pcommon.Value) int {
	const escaped = 6 // bytes that one may become
	n := 2
	switch v.Type() {
	case pcommon.ValueTypeMap:
		for name, x := range v.Map().All() {
			n += escaped*len(name) + 4 + jsonBytes(x)
		}
	case pcommon.ValueTypeSlice:
		for _, x := range v.Slice().All() {
			n += 1 + jsonBytes(x)
		}
	case pcommon.ValueTypeStr:
		n += escaped * len(v.Str())
	default:
		n += textBytes(v)
	}
	return n
}
