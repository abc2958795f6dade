// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"cmp"
	"fmt"
	"math"
	"mime"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/system"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// accepted is what of some write requests a receiver has to keep: the requests are decoded by Prometheus' published types
// and judged by the rules of its own receiver, so nothing of what is tested takes part.
type accepted struct {
	floats     map[point]uint64 // the bits
	histograms map[point]*prompb.Histogram
	exemplars  map[string]bool
	metadata   map[string]bool
	// floatStarts and histogramStarts are start timestamps, 0 where a sample came without.
	floatStarts, histogramStarts map[point]int64
}

func newAccepted() *accepted {
	return &accepted{
		floats: map[point]uint64{}, histograms: map[point]*prompb.Histogram{}, exemplars: map[string]bool{}, metadata: map[string]bool{},
		floatStarts: map[point]int64{}, histogramStarts: map[point]int64{},
	}
}

// add decodes a request, and returns how many samples, histograms and exemplars of it are valid.
func (a *accepted) add(contentType, encoding string, body []byte) (written string, err error) {
	var message []byte
	if encoding == "zstd" {
		decoder, err := zstd.NewReader(nil)
		if err != nil {
			return "", err
		}
		defer decoder.Close()
		message, err = decoder.DecodeAll(body, nil)
		if err != nil {
			return "", err
		}
	} else if message, err = snappy.Decode(nil, body); err != nil {
		return "", err
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", err
	}
	if params["proto"] == "io.prometheus.write.v2.Request" {
		return a.addV2(message)
	}
	return a.addV1(message)
}

func (a *accepted) addV1(message []byte) (string, error) {
	var r prompb.WriteRequest
	if err := r.Unmarshal(message); err != nil {
		return "", err
	}
	b := labels.NewScratchBuilder(0)
	for i := range r.Timeseries {
		ts := &r.Timeseries[i]
		ls := ts.ToLabels(&b, nil)
		if !validSeries(ls) {
			continue
		}
		series := ls.WithoutEmpty().String()
		for _, x := range ts.Samples {
			a.float(point{series, x.Timestamp}, x.Value, 0)
		}
		for i := range ts.Histograms {
			a.histogram(point{series, ts.Histograms[i].Timestamp}, &ts.Histograms[i], 0)
		}
		for _, x := range ts.Exemplars {
			e := x.ToExemplar(&b, nil)
			a.exemplar(series, e.Ts, e.Labels, e.Value)
		}
	}
	for _, m := range r.Metadata {
		a.describe(m.MetricFamilyName, promschema.Metadata{Type: m.Type, Help: m.Help, Unit: m.Unit})
	}
	return "- - -", nil // 1.0 answers have no such counts
}

func (a *accepted) addV2(message []byte) (string, error) {
	var r writev2.Request
	if err := r.Unmarshal(message); err != nil {
		return "", err
	}
	created, err := createdTimestamps(message)
	if err != nil {
		return "", err
	}
	var samples, histograms, exemplars int
	b := labels.NewScratchBuilder(0)
	for i := range r.Timeseries {
		ts := &r.Timeseries[i]
		ls, err := ts.ToLabels(&b, r.Symbols)
		if err != nil || !validSeries(ls) {
			continue
		}
		series := ls.WithoutEmpty().String()
		for _, x := range ts.Samples {
			a.float(point{series, x.Timestamp}, x.Value, cmp.Or(x.StartTimestamp, created[i]))
			samples++
		}
		for _, h := range ts.Histograms {
			start := cmp.Or(h.StartTimestamp, created[i])
			h.StartTimestamp = 0
			// Without it the message is that of 1.0.
			wire, err := h.Marshal()
			if err != nil {
				return "", err
			}
			var same prompb.Histogram
			if err := same.Unmarshal(wire); err != nil {
				return "", err
			}
			if a.histogram(point{series, h.Timestamp}, &same, start) {
				histograms++
			}
		}
		for _, x := range ts.Exemplars {
			e, err := x.ToExemplar(&b, r.Symbols)
			if err != nil {
				return "", err
			}
			a.exemplar(series, e.Ts, e.Labels, e.Value)
			exemplars++
		}
		if m := ts.Metadata; m.Type != 0 || m.HelpRef != 0 || m.UnitRef != 0 {
			a.describe(ls.Get(model.MetricNameLabel), promschema.Metadata{
				Type: prompb.MetricMetadata_MetricType(m.Type), Help: r.Symbols[m.HelpRef], Unit: r.Symbols[m.UnitRef],
			})
		}
	}
	return fmt.Sprintf("%d %d %d", samples, histograms, exemplars), nil
}

// createdTimestamps returns the field 6 of each series of a 2.0 message, which release candidate 3 had and the published
// type has no more.
func createdTimestamps(message []byte) ([]int64, error) {
	var out []int64
	err := eachField(message, func(field protowire.Number, value []byte) error {
		if field != 5 {
			return nil
		}
		series, n := protowire.ConsumeBytes(value)
		if n < 0 {
			return protowire.ParseError(n)
		}
		out = append(out, 0)
		return eachField(series, func(field protowire.Number, value []byte) error {
			if field != 6 {
				return nil
			}
			v, n := protowire.ConsumeVarint(value)
			if n < 0 {
				return protowire.ParseError(n)
			}
			out[len(out)-1] = int64(v)
			return nil
		})
	})
	return out, err
}

func eachField(message []byte, f func(field protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		field, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if n = protowire.ConsumeFieldValue(field, wire, message); n < 0 {
			return protowire.ParseError(n)
		}
		if err := f(field, message[:n]); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

// validSeries is what storage/remote/write_handler.go of Prometheus asks of a series.
func validSeries(ls labels.Labels) bool {
	_, twice := ls.HasDuplicateLabelNames()
	return ls.Has(model.MetricNameLabel) && ls.IsValid(model.UTF8Validation) && !twice
}

func (a *accepted) float(at point, v float64, start int64) {
	a.floats[at], a.floatStarts[at] = math.Float64bits(v), start
}

// histogram adds a histogram as Prometheus' converters read it, unless it is invalid.
func (a *accepted) histogram(at point, h *prompb.Histogram, start int64) bool {
	var read prompb.Histogram
	if h.IsFloatHistogram() {
		f := h.ToFloatHistogram()
		if f.Validate() != nil {
			return false
		}
		read = prompb.FromFloatHistogram(0, f)
	} else {
		i := h.ToIntHistogram()
		if i.Validate() != nil {
			return false
		}
		read = prompb.FromIntHistogram(0, i)
	}
	a.histograms[at], a.histogramStarts[at] = &read, start
	return true
}

// The texts of exemplars and metadata are those of storedKinds, but for the time of metadata, which is when it came.

func (a *accepted) exemplar(series string, ms int64, ls labels.Labels, v float64) {
	a.exemplars[fmt.Sprintf("%s %d %s %x", series, ms, ls, math.Float64bits(v))] = true
}

func (a *accepted) describe(metric string, m promschema.Metadata) {
	a.metadata[fmt.Sprintf("%s %+v", labels.FromStrings(model.MetricNameLabel, metric), m)] = true
}

// metadataTime finds the time in a line of storedKinds.
func metadataTime() *regexp.Regexp { return regexp.MustCompile(`(?s)^(.*\}) \d+ (\{Type:.*)$`) }

// check reads all that s has and compares: the samples by remote read, the rest in the table itself.
func (a *accepted) check(t *testing.T, s *system.System) {
	t.Helper()
	got, err := promtest.ReadAll(t.Context(), s.ReadURL(), 0, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for _, at := range sortedPoints(a.floats) {
		want[at.series] = append(want[at.series], fmt.Sprintf("%d %x", at.ms, a.floats[at]))
	}
	for _, at := range sortedPoints(a.histograms) {
		want[at.series] = append(want[at.series], fmt.Sprintf("%d %s", at.ms, bitsOf(a.histograms[at])))
	}
	checkSamples(t, got, want)

	sameLines(t, storedKinds(t, s, promschema.ExemplarFamily), sortedKeys(a.exemplars))
	stored := map[string]bool{}
	for _, line := range storedKinds(t, s, promschema.MetadataFamily) {
		stored[metadataTime().ReplaceAllString(line, "$1 $2")] = true
	}
	sameLines(t, sortedKeys(stored), sortedKeys(a.metadata))
	a.checkStarts(t, s)
}

// checkStarts compares the start timestamps. Of float samples the last record of the series up to the sample counts; a
// histogram has its own.
func (a *accepted) checkStarts(t *testing.T, s *system.System) {
	t.Helper()
	records := startsOf(t, storedKinds(t, s, promschema.StartFamily))
	inForce := map[string]int64{}
	changes := sortedPoints(records)
	for _, at := range sortedPoints(a.floatStarts) {
		for len(changes) > 0 && !after(changes[0], at) {
			inForce[changes[0].series] = records[changes[0]]
			changes = changes[1:]
		}
		if want := a.floatStarts[at]; inForce[at.series] != want {
			t.Errorf("the start timestamp of %s at %d is %d, want %d", at.series, at.ms, inForce[at.series], want)
		}
	}
	for at, got := range records {
		if want, ok := a.floatStarts[at]; !ok || got != want {
			t.Errorf("the start timestamp %d is stored with %s at %d, which has %d", got, at.series, at.ms, want)
		}
	}
	own := startsOf(t, storedKinds(t, s, promschema.SampleFamily))
	for at, want := range a.histogramStarts {
		if own[at] != want {
			t.Errorf("the start timestamp of the histogram %s at %d is %d, want %d", at.series, at.ms, own[at], want)
		}
	}
}

// startsOf reads lines of series, milliseconds and start timestamp; an empty one is 0.
func startsOf(t *testing.T, lines []string) map[point]int64 {
	t.Helper()
	out := map[point]int64{}
	for _, line := range lines {
		end := strings.LastIndexByte(line, ' ')
		before := strings.LastIndexByte(line[:end], ' ')
		ms, err := strconv.ParseInt(line[before+1:end], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		var start int64
		if text := line[end+1:]; text != "" {
			if start, err = strconv.ParseInt(text, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		out[point{line[:before], ms}] = start
	}
	return out
}

func after(a, b point) bool {
	return cmp.Or(cmp.Compare(a.series, b.series), cmp.Compare(a.ms, b.ms)) > 0
}

func sortedPoints[V any](m map[point]V) []point {
	out := make([]point, 0, len(m))
	for at := range m {
		out = append(out, at)
	}
	slices.SortFunc(out, func(a, b point) int { return cmp.Or(cmp.Compare(a.series, b.series), cmp.Compare(a.ms, b.ms)) })
	return out
}

func sortedKeys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
