// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// A timestamp long ago would make Prometheus' translator generate millions of samples of target_info.
func TestEndlessTargetInfo(t *testing.T) {
	md := pmetric.NewMetrics()
	g := gauge(resourceAndScope(md)).Gauge().DataPoints()
	number(g.AppendEmpty(), 1).SetTimestamp(1)
	o := options()
	o.MaxSamples = 2000
	var a ledger.Account
	r, err := NewDecoder(o, series.NewHasher()).Decode(t.Context(), Protobuf, encode(t, Protobuf, md), &a, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkContract(t, r, &a)
	if got := rejections(&a); len(got) != 1 || got[0] != "1 samples untranslatable: "+errTargetInfo.Error() {
		t.Errorf("got %v", got)
	}
	if n := a.Counts[ledger.Samples].Received; n != 2+maxTargetInfo+1 {
		t.Errorf("%d samples", n)
	}
}

// nested is a value within n others.
func nested(n int, v pcommon.Value) {
	for i := range n {
		if i%2 == 0 {
			v = v.SetEmptySlice().AppendEmpty()
		} else {
			v = v.SetEmptyMap().PutEmpty("k")
		}
	}
}

func TestLimits(t *testing.T) {
	with := func(give func(pmetric.MetricSlice)) func(*testing.T, Format) []byte {
		return func(t *testing.T, f Format) []byte {
			md := pmetric.NewMetrics()
			give(resourceAndScope(md))
			return encode(t, f, md)
		}
	}
	resources := func(proto, json int) func(*testing.T, Format) []byte {
		return func(_ *testing.T, f Format) []byte {
			if f == JSON {
				return []byte(`{"resourceMetrics":[` + strings.TrimSuffix(strings.Repeat("{},", json), ",") + `]}`)
			}
			return []byte(strings.Repeat("\x0a\x00", proto))
		}
	}
	attribute := func(n int) func(pmetric.MetricSlice) {
		return func(ms pmetric.MetricSlice) {
			nested(n, gauge(ms).Gauge().DataPoints().At(0).Attributes().PutEmpty("deep"))
		}
	}
	tests := []struct {
		name string
		give func(*testing.T, Format) []byte
		opts func(*Options)
		want error
	}{
		{"as many data points as may be", with(func(ms pmetric.MetricSlice) {
			g := gauge(ms).Gauge().DataPoints()
			for range 9 {
				number(g.AppendEmpty(), 1)
			}
		}), nil, nil},
		{"one more", with(func(ms pmetric.MetricSlice) {
			g := gauge(ms).Gauge().DataPoints()
			for range 10 {
				number(g.AppendEmpty(), 1)
			}
		}), nil, ErrTooMany},
		{"as many samples as may be", with(func(ms pmetric.MetricSlice) {
			summary(ms).Summary().DataPoints().At(0).QuantileValues().EnsureCapacity(8)
			for range 7 {
				ms.At(0).Summary().DataPoints().At(0).QuantileValues().AppendEmpty()
			}
		}), nil, nil},
		{"one sample more", with(func(ms pmetric.MetricSlice) {
			summary(ms)
			for range 8 {
				ms.At(0).Summary().DataPoints().At(0).QuantileValues().AppendEmpty()
			}
		}), nil, ErrTooMany},
		{"empty resources", resources(holdersPerSample*10+1, objectsPerSample*10), nil, ErrTooMany},
		{"empty resources, fewer", resources(holdersPerSample*10, objectsPerSample*10-1), nil, nil},
		{"attributes", with(func(ms pmetric.MetricSlice) {
			a := gauge(ms).Gauge().DataPoints().At(0).Attributes()
			for i := range 201 {
				a.PutEmpty(fmt.Sprint(i))
			}
		}), nil, ErrTooMany},
		{"buckets", with(func(ms pmetric.MetricSlice) {
			exponential(ms, 0, pmetric.AggregationTemporalityCumulative).ExponentialHistogram().DataPoints().At(0).Positive().BucketCounts().FromRaw(make([]uint64, 201))
		}), nil, ErrTooMany},
		{"deep values", with(attribute(maxDepth - 1)), nil, nil},
		{"deeper values", with(attribute(maxDepth + 13)), func(o *Options) { o.MaxSamples = 100 }, ErrCorrupt},
		{"labels", with(func(ms pmetric.MetricSlice) {
			gauge(ms).Gauge().DataPoints().At(0).Attributes().PutStr("k", strings.Repeat("x", 200))
		}), func(o *Options) { o.MaxLabelBytes = 200 }, ErrTooLarge},
		{"cut short", func(t *testing.T, f Format) []byte {
			b := with(func(ms pmetric.MetricSlice) { gauge(ms) })(t, f)
			return b[:len(b)-1]
		}, nil, ErrCorrupt},
		{"something else", func(*testing.T, Format) []byte { return []byte("<html>") }, nil, ErrCorrupt},
	}
	for _, tt := range tests {
		for _, f := range []Format{Protobuf, JSON} {
			t.Run(fmt.Sprint(tt.name, " ", f), func(t *testing.T) {
				o := options()
				o.MaxSamples = 10
				if tt.opts != nil {
					tt.opts(&o)
				}
				_, err := NewDecoder(o, series.NewHasher()).Decode(t.Context(), f, tt.give(t, f), new(ledger.Account), nil)
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			})
		}
	}
	// Millions of levels, of which a parser's stack would end the process.
	deep := []byte{}
	for range 1 << 12 {
		deep = append([]byte{0x2a}, appendBytes(append([]byte{0x0a}, appendBytes(deep)...))...)
	}
	message := deep
	for _, tag := range []byte{0x12, 0x3a, 0x0a, 0x2a, 0x12, 0x12, 0x0a} { // value, attribute, data point, gauge, metric, scope, resource
		message = append([]byte{tag}, appendBytes(message)...)
	}
	if _, err := NewDecoder(options(), series.NewHasher()).Decode(t.Context(), Protobuf, message, new(ledger.Account), nil); !errors.Is(err, errDepth) {
		t.Errorf("got %v, want %v", err, errDepth)
	}
}

func appendBytes(b []byte) []byte {
	var out []byte
	n := len(b)
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(append(out, byte(n)), b...)
}
