// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream"
)

// oracle says, slowly and on top of the published decoders, what a message is.
type oracle struct {
	series   strings.Builder
	metadata strings.Builder
	received [ledger.Kinds]uint64
	rejected map[string]uint64
}

// said is a series as the published decoder reads it.
type said struct {
	labels     []labels.Label
	badRefs    bool
	samples    []writev2.Sample
	histograms []writev2.Histogram
	exemplars  []saidExemplar
	metadata   *saidMetadata
}

type saidExemplar struct {
	labels  []labels.Label
	badRefs bool
	value   float64
	timeMs  int64
}

type saidMetadata struct {
	name, help, unit string
	kind             int32
	badRefs          bool
}

func inRange(ms int64) bool { return ms >= 0 && ms <= timestream.MaxTimeMs }

func (m *oracle) receive(k ledger.Kind, n int) { m.received[k] += uint64(n) }

func (m *oracle) reject(k ledger.Kind, r ledger.Reason, n int) {
	if n > 0 {
		m.rejected[k.String()+" "+string(r)] += uint64(n)
	}
}

// faultOf says what is wrong with labels, and returns them sorted and without empty values.
func faultOf(ls []labels.Label) (string, []labels.Label) {
	for _, l := range ls {
		if !utf8.ValidString(l.Name) || !utf8.ValidString(l.Value) {
			return "invalid_utf8", nil
		}
		if l.Name == "" {
			return "empty_label_name", nil
		}
	}
	ls = slices.Clone(ls)
	slices.SortFunc(ls, func(a, b labels.Label) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(ls); i++ {
		if ls[i].Name == ls[i-1].Name {
			return "duplicate_label_name", nil
		}
	}
	return "", slices.DeleteFunc(ls, func(l labels.Label) bool { return l.Value == "" })
}

func (m *oracle) addMetadata(x saidMetadata, seriesFault string) {
	if x.kind == 0 && x.help == "" && x.unit == "" && !x.badRefs && utf8.ValidString(x.name) {
		return
	}
	m.receive(ledger.Metadata, 1)
	switch {
	case seriesFault != "":
		m.reject(ledger.Metadata, ledger.Reason(seriesFault), 1)
	case x.badRefs:
		m.reject(ledger.Metadata, ledger.InvalidSymbols, 1)
	case x.name == "" || x.kind < 0 || x.kind > 7 || !utf8.ValidString(x.name+x.help+x.unit):
		m.reject(ledger.Metadata, ledger.InvalidMetadata, 1)
	default:
		fmt.Fprintf(&m.metadata, "%q %d %q %q\n", x.name, x.kind, x.help, x.unit)
	}
}

func (m *oracle) add(s said) {
	bad, ls := "invalid_symbols", s.labels
	if !s.badRefs {
		bad, ls = faultOf(s.labels)
	}
	name := ""
	if i := slices.IndexFunc(ls, func(l labels.Label) bool { return l.Name == "__name__" }); i >= 0 {
		name = ls[i].Value
	}
	switch {
	case bad != "":
	case len(ls) == 0:
		bad = "empty_label_set"
	case name == "":
		bad = "missing_metric_name"
	}
	var own, samples, histograms, exemplars strings.Builder
	for _, l := range ls {
		fmt.Fprintf(&own, "%q=%q ", l.Name, l.Value)
	}
	// outcome accounts for a sample with a start timestamp, and returns the latter as it is stored.
	outcome := func(k ledger.Kind, ms, startMs int64, invalid string) (int64, bool) {
		m.receive(k, 1)
		if startMs != 0 {
			m.receive(ledger.StartTimestamps, 1)
		}
		reason := cmp.Or(bad, invalid)
		if reason == "" && !inRange(ms) {
			reason = "out_of_range"
		}
		if reason != "" {
			m.reject(k, ledger.Reason(reason), 1)
			if startMs != 0 {
				m.reject(ledger.StartTimestamps, ledger.Reason(reason), 1)
			}
			return 0, false
		}
		if !inRange(startMs) {
			m.reject(ledger.StartTimestamps, ledger.OutOfRange, 1)
			startMs = 0
		}
		return startMs, true
	}
	for _, x := range s.samples {
		if start, ok := outcome(ledger.Samples, x.Timestamp, x.StartTimestamp, ""); ok {
			fmt.Fprintf(&samples, "%x@%d ", math.Float64bits(x.Value), x.Timestamp)
			printStart(&samples, start)
		}
	}
	for _, x := range s.histograms {
		h, err := understood(&x)
		invalid := ""
		if err != nil {
			invalid = "invalid_histogram"
		}
		if start, ok := outcome(ledger.Histograms, x.Timestamp, x.StartTimestamp, invalid); ok {
			fmt.Fprintf(&histograms, "{%s}@%d ", printHistogram(h), x.Timestamp)
			printStart(&histograms, start)
		}
	}
	for _, x := range s.exemplars {
		wrong, ls := faultOf(x.labels)
		if wrong != "" {
			wrong = "invalid_exemplar"
		}
		if x.badRefs {
			wrong = "invalid_symbols"
		}
		if _, ok := outcome(ledger.Exemplars, x.timeMs, 0, wrong); ok {
			exemplars.WriteString("# ")
			for _, l := range ls {
				fmt.Fprintf(&exemplars, "%q=%q ", l.Name, l.Value)
			}
			fmt.Fprintf(&exemplars, "%x@%d ", math.Float64bits(x.value), x.timeMs)
		}
	}
	if s.metadata != nil {
		s.metadata.name = name
		m.addMetadata(*s.metadata, bad)
	}
	if samples.Len()+histograms.Len()+exemplars.Len() > 0 {
		m.series.WriteString(own.String() + samples.String() + histograms.String() + exemplars.String() + "\n")
	}
}

// understood is what Prometheus 3.13 makes of a histogram (storage/remote/write_handler.go), or why it refuses it.
func understood(h *writev2.Histogram) (*prompb.Histogram, error) {
	var out prompb.Histogram
	if h.IsFloatHistogram() {
		fh := h.ToFloatHistogram()
		if fh.Schema > histogram.ExponentialSchemaMax && fh.Schema <= histogram.ExponentialSchemaMaxReserved {
			if err := fh.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
				return nil, err
			}
		}
		if err := fh.Validate(); err != nil {
			return nil, err
		}
		out = prompb.FromFloatHistogram(0, fh)
	} else {
		ih := h.ToIntHistogram()
		if ih.Schema > histogram.ExponentialSchemaMax && ih.Schema <= histogram.ExponentialSchemaMaxReserved {
			if err := ih.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
				return nil, err
			}
		}
		if err := ih.Validate(); err != nil {
			return nil, err
		}
		out = prompb.FromIntHistogram(0, ih)
	}
	if out.ResetHint > prompb.Histogram_GAUGE {
		out.ResetHint = prompb.Histogram_UNKNOWN
	}
	return &out, nil
}

// printHistogram prints every bit of a histogram.
func printHistogram(h *prompb.Histogram) string {
	out, err := h.Marshal()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", out)
}

func oracleV1(w *prompb.WriteRequest) *oracle {
	m := &oracle{rejected: map[string]uint64{}}
	list := func(in []prompb.Label) (out []labels.Label) {
		for _, l := range in {
			out = append(out, labels.Label{Name: l.Name, Value: l.Value})
		}
		return out
	}
	for _, ts := range w.Timeseries {
		s := said{labels: list(ts.Labels)}
		for _, x := range ts.Samples {
			s.samples = append(s.samples, writev2.Sample{Value: x.Value, Timestamp: x.Timestamp})
		}
		for _, x := range ts.Histograms {
			s.histograms = append(s.histograms, toV2(&x))
		}
		for _, x := range ts.Exemplars {
			s.exemplars = append(s.exemplars, saidExemplar{labels: list(x.Labels), value: x.Value, timeMs: x.Timestamp})
		}
		m.add(s)
	}
	for _, x := range w.Metadata {
		m.addMetadata(saidMetadata{name: x.MetricFamilyName, help: x.Help, unit: x.Unit, kind: int32(x.Type)}, "")
	}
	return m
}

func oracleV2(w *writev2.Request) *oracle {
	m := &oracle{rejected: map[string]uint64{}}
	list := func(refs []uint32) (out []labels.Label, bad bool) {
		if len(refs)%2 != 0 || slices.ContainsFunc(refs, func(r uint32) bool { return int(r) >= len(w.Symbols) }) {
			return nil, true
		}
		for i := 0; i < len(refs); i += 2 {
			out = append(out, labels.Label{Name: w.Symbols[refs[i]], Value: w.Symbols[refs[i+1]]})
		}
		return out, false
	}
	for _, ts := range w.Timeseries {
		s := said{samples: ts.Samples, histograms: ts.Histograms}
		s.labels, s.badRefs = list(ts.LabelsRefs)
		for _, x := range ts.Exemplars {
			e := saidExemplar{value: x.Value, timeMs: x.Timestamp}
			e.labels, e.badRefs = list(x.LabelsRefs)
			s.exemplars = append(s.exemplars, e)
		}
		if ts.Metadata.Type != 0 || ts.Metadata.HelpRef != 0 || ts.Metadata.UnitRef != 0 {
			md := saidMetadata{kind: int32(ts.Metadata.Type)}
			if int(ts.Metadata.HelpRef) >= len(w.Symbols) || int(ts.Metadata.UnitRef) >= len(w.Symbols) {
				md.badRefs = true
			} else {
				md.help, md.unit = w.Symbols[ts.Metadata.HelpRef], w.Symbols[ts.Metadata.UnitRef]
			}
			s.metadata = &md
		}
		m.add(s)
	}
	return m
}

// toV2 is a histogram of 1.0 as one of 2.0: their messages agree.
func toV2(h *prompb.Histogram) writev2.Histogram {
	var out writev2.Histogram
	b, err := h.Marshal()
	if err == nil {
		err = out.Unmarshal(b)
	}
	if err != nil {
		panic(err)
	}
	return out
}

// compare decodes a message and compares it with what the oracle says.
func compare(t *testing.T, d *Decoder, v Message, message []byte, want *oracle) {
	t.Helper()
	var a ledger.Account
	r, err := d.Decode(v, message, &a, nil)
	if err != nil {
		t.Errorf("%d.0: %v", v, err)
		return
	}
	defer r.Release()
	balanced(t, &a, r)
	if got := text(r.Series); got != want.series.String() {
		t.Errorf("%d.0: got\n%s\nwant\n%s", v, got, want.series.String())
	}
	var metadata strings.Builder
	for _, m := range r.Metadata {
		fmt.Fprintf(&metadata, "%q %d %q %q\n", m.Name, m.Type, m.Help, m.Unit)
	}
	if metadata.String() != want.metadata.String() {
		t.Errorf("%d.0: got metadata\n%s\nwant\n%s", v, metadata.String(), want.metadata.String())
	}
	if got := rejected(&a); !maps.Equal(got, want.rejected) {
		t.Errorf("%d.0: rejected %v, want %v", v, got, want.rejected)
	}
	for k, c := range a.Counts {
		if c.Received != want.received[k] {
			t.Errorf("%d.0: %v received %d, want %d", v, ledger.Kind(k), c.Received, want.received[k])
		}
	}
	for _, s := range r.Series {
		if s.Hash != d.hash.Labels(s.Labels) {
			t.Errorf("%d.0: hash of %s", v, series.Text(s.Labels))
		}
	}
	for _, x := range a.Rejections {
		for _, e := range x.Examples {
			if !utf8.ValidString(e) || len(e) > 600 || bytes.ContainsAny([]byte(e), "\x00\n") {
				t.Errorf("example %q", e)
			}
		}
	}
}
