// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

func seeds(f *testing.F, format Format) {
	for _, temporality := range []pmetric.AggregationTemporality{pmetric.AggregationTemporalityCumulative, pmetric.AggregationTemporalityDelta} {
		md := pmetric.NewMetrics()
		ms := resourceAndScope(md)
		sum(ms, temporality)
		gauge(ms)
		explicit(ms, temporality)
		exponential(ms, 10, temporality)
		summary(ms)
		nested(4, gauge(ms).Gauge().DataPoints().At(0).Attributes().PutEmpty("nested"))
		for flags := range byte(8) {
			f.Add(encode(f, format, md), flags)
		}
	}
}

func fuzz(t *testing.T, format Format, message []byte, flags byte) {
	o := options()
	o.NativeDelta = flags&1 != 0
	o.ConvertHistogramsToNHCB = flags&2 != 0
	o.PromoteAllResourceAttributes, o.PromoteScopeMetadata = flags&4 != 0, flags&4 != 0
	if flags&8 != 0 {
		o.Strategy = otlptranslator.NoTranslation
	}
	var a ledger.Account
	r, err := NewDecoder(o, series.NewHasher()).Decode(t.Context(), format, message, &a, nil)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooMany) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("unexpected error %v", err)
		}
		return
	}
	checkContract(t, r, &a)
}

func FuzzProtobuf(f *testing.F) {
	seeds(f, Protobuf)
	f.Fuzz(func(t *testing.T, message []byte, flags byte) { fuzz(t, Protobuf, message, flags) })
}

func FuzzJSON(f *testing.F) {
	seeds(f, JSON)
	f.Fuzz(func(t *testing.T, message []byte, flags byte) { fuzz(t, JSON, message, flags) })
}

// BenchmarkDecode decodes messages as a collector sends them: 2,000 sums with eight attributes, of 20 metrics.
func BenchmarkDecode(b *testing.B) {
	md := pmetric.NewMetrics()
	ms := resourceAndScope(md)
	for i := range 20 {
		m := ms.AppendEmpty()
		m.SetName(fmt.Sprintf("http.server.metric.%d", i))
		m.SetDescription("What it is.")
		s := m.SetEmptySum()
		s.SetIsMonotonic(true)
		s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		for j := range 100 {
			p := number(s.DataPoints().AppendEmpty(), float64(i*j))
			for k := range 7 {
				p.Attributes().PutStr(fmt.Sprintf("some.attribute.%d", k), fmt.Sprintf("value %d", j*k))
			}
		}
	}
	o := options()
	o.MaxSamples, o.MaxLabelBytes = 200_000, 128<<20
	for _, f := range []struct {
		name   string
		format Format
	}{{"protobuf", Protobuf}, {"json", JSON}} {
		b.Run(f.name, func(b *testing.B) {
			message := encode(b, f.format, md)
			d := NewDecoder(o, series.NewHasher())
			b.SetBytes(int64(len(message)))
			report := ingesttest.PerSample(b, 2000)
			for b.Loop() {
				r, err := d.Decode(b.Context(), f.format, message, new(ledger.Account), nil)
				if err != nil || len(r.Series) != 2001 {
					b.Fatal(err, len(r.Series))
				}
			}
			report()
		})
	}
}
