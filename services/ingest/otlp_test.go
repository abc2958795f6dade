// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
)

const (
	otlpProto = ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS
	otlpJSON  = ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS_JSON
)

// otlpMetrics has two gauges, a counter with these temporality and number of data points, and a histogram.
func otlpMetrics(temporality pmetric.AggregationTemporality, points int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	rm.Resource().Attributes().PutStr("deployment", "blue")
	ms := rm.ScopeMetrics().AppendEmpty().Metrics()
	now := pcommon.NewTimestampFromTime(time.Now())
	for i := range 2 {
		m := ms.AppendEmpty()
		m.SetName(fmt.Sprint("gauge.", i))
		p := m.SetEmptyGauge().DataPoints().AppendEmpty()
		p.SetTimestamp(now)
		p.SetDoubleValue(1.5)
	}
	m := ms.AppendEmpty()
	m.SetName("counter")
	s := m.SetEmptySum()
	s.SetIsMonotonic(true)
	s.SetAggregationTemporality(temporality)
	for i := range points {
		p := s.DataPoints().AppendEmpty()
		p.SetTimestamp(now)
		p.SetIntValue(int64(i))
		p.Attributes().PutInt("i", int64(i))
	}
	m = ms.AppendEmpty()
	m.SetName("exponential")
	h := m.SetEmptyExponentialHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := h.DataPoints().AppendEmpty()
	p.SetTimestamp(now)
	p.SetCount(2)
	p.SetSum(3)
	p.Positive().BucketCounts().FromRaw([]uint64{2})
	return md
}

func otlpRequest(t testing.TB, m ingestv1.MessageType, e ingestv1.Encoding, md pmetric.Metrics) *ingestv1.WriteRequest {
	t.Helper()
	r := pmetricotlp.NewExportRequestFromMetrics(md)
	marshal := r.MarshalProto
	if m == otlpJSON {
		marshal = r.MarshalJSON
	}
	message, err := marshal()
	if err != nil {
		t.Fatal(err)
	}
	if e == ingestv1.Encoding_ENCODING_GZIP {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(message); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		message = b.Bytes()
	}
	return &ingestv1.WriteRequest{MessageType: m, Encoding: e, Payload: message}
}

func TestOTLP(t *testing.T) {
	for _, m := range []ingestv1.MessageType{otlpProto, otlpJSON} {
		for _, e := range []ingestv1.Encoding{ingestv1.Encoding_ENCODING_UNSPECIFIED, ingestv1.Encoding_ENCODING_GZIP} {
			r := newRig(t, quick())
			res := r.write(t, otlpRequest(t, m, e, otlpMetrics(pmetric.AggregationTemporalityCumulative, 3)))
			l := res.GetLedger()
			// Two gauges, three counters, and target_info.
			if l.GetSamples().GetReceived() != 6 || l.GetSamples().GetStored() != 6 || l.GetHistograms().GetStored() != 1 || len(res.GetRejections()) > 0 {
				t.Errorf("%s %s: %v", m, e, res)
			}
		}
	}
}

// Delta temporality is rejected, stored as it is, or converted, and the rest of the request is stored in each case.
func TestOTLPDelta(t *testing.T) {
	cfg := quick()
	r := newRig(t, cfg)
	give := otlpRequest(t, otlpProto, 0, otlpMetrics(pmetric.AggregationTemporalityDelta, 3))
	res := r.write(t, give)
	if s := res.GetLedger().GetSamples(); s.GetReceived() != 6 || s.GetStored() != 3 || len(res.GetRejections()) != 1 ||
		res.GetRejections()[0].GetReason() != "delta_temporality" || !strings.Contains(res.GetRejections()[0].GetExamples()[0], "--otlp.native-delta") {
		t.Errorf("got %v", res)
	}
	cfg.OTLP.NativeDelta = true
	if res := newRig(t, cfg).write(t, give); res.GetLedger().GetSamples().GetStored() != 6 {
		t.Errorf("native: %v", res)
	}
	_, err := NewService(cfg, Deps{
		Writer: ingesttest.NewEndpoint(t).BodyWriter(), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Now: time.Now, Delta: noDelta{},
	})
	if err == nil || !strings.Contains(err.Error(), "--otlp.native-delta") {
		t.Errorf("native and converted: got %v", err)
	}
}

type noDelta struct{}

func (noDelta) Convert(_ context.Context, _ []byte, md pmetric.Metrics) (pmetric.Metrics, error) {
	return md, nil
}

func TestOTLPRefusedWhole(t *testing.T) {
	cfg := quick()
	cfg.MaxDecompressedBytes, cfg.MaxSamples = 100_000, 50
	cfg.OTLP.PromoteAllResourceAttributes = true
	r := newRig(t, cfg)
	wide := otlpMetrics(pmetric.AggregationTemporalityCumulative, 40)
	wide.ResourceMetrics().At(0).Resource().Attributes().PutStr("wide", strings.Repeat("x", 20_000))
	for _, m := range []ingestv1.MessageType{otlpProto, otlpJSON} {
		for _, c := range []struct {
			name         string
			give         *ingestv1.WriteRequest
			reason, text string
		}{
			{"corrupt", &ingestv1.WriteRequest{MessageType: m, Payload: []byte("<html>")}, ReasonCorrupt, "corrupt"},
			{"too many", otlpRequest(t, m, 0, otlpMetrics(pmetric.AggregationTemporalityCumulative, 50)), ReasonTooMany, "--ingest.max-samples-per-request"},
			{"too large", &ingestv1.WriteRequest{MessageType: m, Payload: make([]byte, 100_001)}, ReasonTooLarge, "--ingest.max-decompressed-bytes"},
			{"too many labels", otlpRequest(t, m, 0, wide), ReasonTooLarge, "--ingest.max-decompressed-bytes"},
		} {
			_, err := r.client.Write(t.Context(), c.give)
			if status.Code(err) != codes.InvalidArgument || reason(err) != c.reason || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s %s: got %v (%s), want %s", m, c.name, err, reason(err), c.reason)
			}
		}
	}
	if len(r.Calls()) > 0 {
		t.Error("something was written")
	}
}

// The defaults are those of Prometheus, and no setting of its otlp block is missing.
func TestOTLPDefaults(t *testing.T) {
	c := DefaultOTLPConfig()
	got := config.OTLPConfig{
		TranslationStrategy:                  DefaultServiceConfig().otlpOptions(nil).Strategy,
		PromoteAllResourceAttributes:         c.PromoteAllResourceAttributes,
		PromoteResourceAttributes:            split(c.PromoteResourceAttributes),
		IgnoreResourceAttributes:             split(c.IgnoreResourceAttributes),
		KeepIdentifyingResourceAttributes:    c.KeepIdentifyingResourceAttributes,
		ConvertHistogramsToNHCB:              c.ConvertHistogramsToNHCB,
		PromoteScopeMetadata:                 c.PromoteScopeMetadata,
		LabelNameUnderscoreSanitization:      c.LabelNameUnderscoreSanitization,
		LabelNamePreserveMultipleUnderscores: c.LabelNamePreserveMultipleUnderscores,
	}
	if !reflect.DeepEqual(got, config.DefaultOTLPConfig) {
		t.Errorf("got %+v, want %+v", got, config.DefaultOTLPConfig)
	}
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	c.RegisterFlags(fs)
	setting := reflect.TypeFor[config.OTLPConfig]()
	for i := range setting.NumField() {
		yaml, _, _ := strings.Cut(setting.Field(i).Tag.Get("yaml"), ",")
		if fs.Lookup("otlp."+strings.ReplaceAll(yaml, "_", "-")) == nil {
			t.Errorf("no flag for %s of the otlp block", yaml)
		}
	}
}
