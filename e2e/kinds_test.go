// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/system"
	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/promschema/promschematest"
)

// fewColumns gives a column to the labels it lists, and plain records to all metrics or to none.
type fewColumns struct {
	labels []string
	plain  bool
}

func (c fewColumns) Dimension(label string) bool { return slices.Contains(c.labels, label) }
func (c fewColumns) Measure(string) bool         { return c.plain }

// kindRecord returns a record as the store takes it.
func kindRecord(measure string, dims []promschema.Dimension, timeNs int64, v promschema.Value) types.Record {
	r := types.Record{MeasureName: aws.String(measure), Time: aws.String(strconv.FormatInt(timeNs, 10)), TimeUnit: types.TimeUnitNanoseconds}
	for _, d := range dims {
		r.Dimensions = append(r.Dimensions, types.Dimension{Name: aws.String(d.Name), Value: aws.String(d.Value)})
	}
	if v.Plain != "" {
		r.MeasureValue, r.MeasureValueType = aws.String(v.Plain), types.MeasureValueTypeDouble
		return r
	}
	r.MeasureValueType = types.MeasureValueTypeMulti
	for _, a := range v.Attributes {
		r.MeasureValues = append(r.MeasureValues, types.MeasureValue{Name: aws.String(a.Name), Value: aws.String(a.Value), Type: types.MeasureValueType(a.Type.String())})
	}
	return r
}

// storeRecords writes records straight to the store, which must take all of them.
func storeRecords(t *testing.T, s *system.System, records []types.Record) {
	t.Helper()
	for batch := range slices.Chunk(records, 100) {
		_, err := s.Store.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{
			DatabaseName: aws.String("PrometheusDatabase"), TableName: aws.String("PrometheusMetricsTable"), Records: batch,
		})
		if rejected := (*types.RejectedRecordsException)(nil); errors.As(err, &rejected) {
			for _, r := range rejected.RejectedRecords {
				t.Errorf("%s: %+v", aws.ToString(r.Reason), batch[r.RecordIndex])
			}
			t.FailNow()
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// kindsOf is what was written, as lines of text: equal lines are equal bits.
type kindsOf struct {
	records []types.Record
	samples map[string][]string // by series; floats first
	others  map[promschema.Family][]string
}

func bitsOf(h *prompb.Histogram) string {
	return fmt.Sprintf("%x", promschema.AppendHistogram(nil, h, 0))
}

// add makes up a series and all that belongs to it. One sample comes in several encodings, as replicas would write it.
func (k *kindsOf) add(t *testing.T, g generator, id int, limits promschema.Limits, encoder *promschema.HistogramEncoder, startMs int64) {
	t.Helper()
	ls := g.series(id, 1900)
	var list []labels.Label
	ls.Range(func(l labels.Label) { list = append(list, l) })
	var encodings []promschema.Series
	for _, cols := range []promschema.Columns{fewColumns{[]string{"id", "job", "a"}, true}, fewColumns{[]string{"id", "time", "le"}, true}, fewColumns{nil, false}} {
		e, err := promschema.EncodeSeries(list, cols, limits)
		if err != nil {
			t.Fatal(err)
		}
		encodings = append(encodings, e)
	}
	extension := func(e promschema.Series, f promschema.Family, timeNs int64, v promschema.Value) {
		_, dims, err := e.Extension()
		if err != nil {
			t.Fatal(err)
		}
		k.records = append(k.records, kindRecord(f.Measure(e.Metric), dims, timeNs, v))
	}
	series := ls.String()
	var floats, histograms []string
	for i := range int64(6) {
		ms := startMs + i*1000 + g.Int64N(1000)
		used := encodings[:1+g.IntN(len(encodings))]
		if g.IntN(2) == 0 {
			v := g.float()
			floats = append(floats, fmt.Sprintf("%d %x", ms, math.Float64bits(v)))
			for _, e := range used {
				if text, plain := promschema.AppendPlain(nil, v); plain && e.Measure != "" {
					k.records = append(k.records, kindRecord(e.Measure, e.Dimensions, ms*1e6, promschema.Value{Plain: string(text)}))
					continue
				}
				extension(e, promschema.SampleFamily, ms*1e6, promschema.ExtensionValue(v))
			}
			continue
		}
		h := promschematest.Histogram(g.Rand, []int{0, 8, 160, 350}[g.IntN(4)])
		values, err := encoder.Values(h, g.Int64N(2)*(ms-5000))
		if large := (*promschema.TooLargeError)(nil); errors.As(err, &large) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		histograms = append(histograms, fmt.Sprintf("%d %s", ms, bitsOf(h)))
		for _, e := range used {
			for piece, v := range values {
				extension(e, promschema.Family(piece), ms*1e6, v)
			}
		}
	}
	k.samples[series] = append(floats, histograms...)

	times := map[int64]bool{}
	for i := range 3 { // in one millisecond
		ms, v := startMs, promschematest.Float(g.Rand)
		var exemplar []labels.Label
		if i > 0 {
			exemplar = []labels.Label{{Name: g.name(), Value: g.text(1 + g.IntN(100))}}
		}
		stored, err := promschema.ExemplarValue(exemplar, v)
		if err != nil {
			t.Fatal(err)
		}
		ns := promschema.ExemplarTimeNs(ms, exemplar, v)
		if times[ns] {
			continue // one in a million
		}
		times[ns] = true
		extension(encodings[i], promschema.ExemplarFamily, ns, stored)
		k.others[promschema.ExemplarFamily] = append(k.others[promschema.ExemplarFamily], fmt.Sprintf("%s %d %s %x", series, ms, labels.New(exemplar...), math.Float64bits(v)))
	}
	start := g.Int64N(2) * startMs
	extension(encodings[0], promschema.StartFamily, startMs*1e6, promschema.StartValue(start))
	k.others[promschema.StartFamily] = append(k.others[promschema.StartFamily], fmt.Sprintf("%s %d %d", series, startMs, start))

	m := promschema.Metadata{Type: prompb.MetricMetadata_MetricType(g.IntN(8)), Help: g.text(g.IntN(200)), Unit: strings.Repeat("u", g.IntN(3))}
	v, err := promschema.MetadataValue(m)
	if err != nil {
		t.Fatal(err)
	}
	metric := encodings[0].Metric
	dims, err := promschema.MetadataDimensions(metric)
	if err != nil {
		t.Fatal(err)
	}
	k.records = append(k.records, kindRecord(promschema.MetadataFamily.Measure(metric), dims, promschema.MetadataTimeNs(startMs, m), v))
	k.others[promschema.MetadataFamily] = append(k.others[promschema.MetadataFamily], fmt.Sprintf("%s %d %+v", labels.FromStrings("__name__", metric), startMs, m))
}

// TestEveryKindComesBack writes random samples, histograms, exemplars, metadata and start timestamps in the layout and reads
// every bit of them back, under each reading of the store's limits: the samples by remote read, the rest by the layout's decoders.
func TestEveryKindComesBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		store  local.Limits
		layout promschema.Limits
	}{{local.LimitsStrict, promschema.StrictLimits()}, {local.LimitsObserved, promschema.ObservedLimits()}} {
		t.Run(string(c.store), func(t *testing.T) {
			s := system.Start(t, system.Options{Store: func(l *local.Config) { l.Limits = c.store }})
			g := generator{rand.New(rand.NewPCG(newSeed(t), 0))}
			k := kindsOf{samples: map[string][]string{}, others: map[promschema.Family][]string{}}
			encoder := promschema.NewHistogramEncoder()
			start := time.Now().Add(-time.Hour).UnixMilli()
			for i := range 100 {
				k.add(t, g, i, c.layout, encoder, start)
			}
			g.Shuffle(len(k.records), func(i, j int) { k.records[i], k.records[j] = k.records[j], k.records[i] })
			storeRecords(t, s, k.records)
			storeRecords(t, s, k.records[:100]) // and once more, which changes nothing

			got, err := promtest.ReadAll(t.Context(), s.ReadURL(), 0, math.MaxInt64)
			if err != nil {
				t.Fatal(err)
			}
			checkSamples(t, got, k.samples)
			for f, want := range k.others {
				slices.Sort(want)
				if got := storedKinds(t, s, f); !slices.Equal(got, slices.Compact(want)) {
					t.Errorf("family %d:\ngot\n%s\nwant\n%s", f, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
			for _, counter := range []string{"tributary_query_conflicts_total", "tributary_query_damaged_series_total"} {
				if n := metricValue(t, s.Registry, counter); n != 0 {
					t.Errorf("%s is %v, want 0", counter, n)
				}
			}
			for _, reason := range []string{"incomplete", "unreadable"} {
				if n := metricValue(t, s.Registry, "tributary_query_damaged_histograms_total", "reason", reason); n != 0 {
					t.Errorf("%v histograms are %s, want 0", n, reason)
				}
			}
		})
	}
}

// checkSamples compares what was read with what was written.
func checkSamples(t *testing.T, got []*prompb.TimeSeries, want map[string][]string) {
	t.Helper()
	seen := map[string]bool{}
	for _, ts := range got {
		b := labels.NewScratchBuilder(0)
		series := ts.ToLabels(&b, nil).String()
		if seen[series] {
			t.Errorf("%s came twice", series)
		}
		seen[series] = true
		var lines []string
		for _, p := range ts.Samples {
			lines = append(lines, fmt.Sprintf("%d %x", p.Timestamp, math.Float64bits(p.Value)))
		}
		for i := range ts.Histograms {
			lines = append(lines, fmt.Sprintf("%d %s", ts.Histograms[i].Timestamp, bitsOf(&ts.Histograms[i])))
		}
		if !slices.Equal(lines, want[series]) || len(ts.Exemplars) != 0 {
			t.Errorf("%s, %d exemplars:\ngot\n%s\nwant\n%s", series, len(ts.Exemplars), strings.Join(lines, "\n"), strings.Join(want[series], "\n"))
		}
	}
	for series, lines := range want {
		if !seen[series] && len(lines) > 0 {
			t.Errorf("%s is missing", series)
		}
	}
}

// storedKinds returns what the table holds in a family, as kindsOf has it, sorted.
func storedKinds(t *testing.T, s *system.System, f promschema.Family) []string {
	t.Helper()
	first := f.Bucket(0)
	prefix := strings.ReplaceAll(first[:len(first)-2], "_", `\_`)
	in := &timestreamquery.QueryInput{QueryString: aws.String(`SELECT * FROM "PrometheusDatabase"."PrometheusMetricsTable" WHERE measure_name LIKE '` + prefix + `%' ESCAPE '\'`)}
	client := queryClient(t, s)
	found := map[string]bool{}
	for {
		out, err := client.Query(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Rows {
			measure, at := "", ""
			var dims []promschema.Dimension
			attributes := map[string]string{}
			for i, d := range r.Data {
				name := aws.ToString(out.ColumnInfo[i].Name)
				switch {
				case d.ScalarValue == nil:
				case name == "measure_name":
					measure = *d.ScalarValue
				case name == "time":
					at = *d.ScalarValue
				case promschema.IsLayoutAttribute(name):
					attributes[name] = *d.ScalarValue
				default:
					dims = append(dims, promschema.Dimension{Name: name, Value: *d.ScalarValue})
				}
			}
			ls, err := promschema.DecodeLabels(measure, dims)
			if err != nil {
				t.Fatal(err)
			}
			ts, err := time.Parse("2006-01-02 15:04:05.000000000", at)
			if err != nil {
				t.Fatal(err)
			}
			found[fmt.Sprintf("%s %d %s", ls, ts.UnixMilli(), decodeKind(t, f, attributes))] = true
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return slices.Sorted(maps.Keys(found))
		}
	}
}

func decodeKind(t *testing.T, f promschema.Family, a map[string]string) string {
	t.Helper()
	switch f {
	case promschema.ExemplarFamily:
		ls, err := promschema.DecodeExemplar(a[promschema.ExemplarAttribute])
		if err != nil {
			t.Fatal(err)
		}
		var v float64
		if text := a[promschema.BitsAttribute]; text != "" {
			bits, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			v = promschema.FloatFromBits(bits)
		} else if v, err = strconv.ParseFloat(a[promschema.ValueAttribute], 64); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s %x", ls, math.Float64bits(v))
	case promschema.MetadataFamily:
		m, err := promschema.DecodeMetadata(a[promschema.TypeAttribute], a[promschema.HelpAttribute], a[promschema.UnitAttribute])
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%+v", m)
	case promschema.StartFamily:
		ms, err := promschema.DecodeStart(a[promschema.StartAttribute])
		if err != nil {
			t.Fatal(err)
		}
		return strconv.FormatInt(ms, 10)
	case promschema.SampleFamily: // the start timestamp of a histogram
		return a[promschema.StartAttribute]
	}
	t.Fatalf("family %d", f)
	return ""
}

// TestIncompleteHistogramIsLeftOut stores all records of a histogram but one. The samples around it are read, and the loss is
// counted.
func TestIncompleteHistogramIsLeftOut(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	r := rand.New(rand.NewPCG(1, 2))
	large := &prompb.Histogram{Count: &prompb.Histogram_CountFloat{CountFloat: 1}, PositiveSpans: []prompb.BucketSpan{{Length: 480}}}
	for range 480 {
		large.PositiveCounts = append(large.PositiveCounts, r.Float64())
	}
	stale := &prompb.Histogram{Count: &prompb.Histogram_CountInt{}, ZeroCount: &prompb.Histogram_ZeroCountInt{}, Sum: math.Float64frombits(value.StaleNaN)}
	encoder := promschema.NewHistogramEncoder()
	id, err := promschema.EncodeSeries([]labels.Label{{Name: "__name__", Value: "latency"}}, fewColumns{nil, true}, promschema.StrictLimits())
	if err != nil {
		t.Fatal(err)
	}
	_, dims, err := id.Extension()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	var records []types.Record
	add := func(ms int64, h *prompb.Histogram, missing int) {
		values, err := encoder.Values(h, 0)
		if err != nil {
			t.Fatal(err)
		}
		for piece, v := range values {
			if piece != missing {
				records = append(records, kindRecord(promschema.Family(piece).Measure("latency"), dims, ms*1e6, v))
			}
		}
	}
	add(now-3000, large, -1)
	add(now-2000, large, 1)
	add(now-1000, stale, -1)
	storeRecords(t, s, records)
	got, err := promtest.ReadAll(t.Context(), s.ReadURL(), 0, math.MaxInt64, eq("__name__", "latency"))
	if err != nil {
		t.Fatal(err)
	}
	checkSamples(t, got, map[string][]string{`{__name__="latency"}`: {
		fmt.Sprintf("%d %s", now-3000, bitsOf(large)), fmt.Sprintf("%d %s", now-1000, bitsOf(stale)),
	}})
	if n := metricValue(t, s.Registry, "tributary_query_damaged_histograms_total", "reason", "incomplete"); n != 1 {
		t.Errorf("%v incomplete histograms are counted, want 1", n)
	}
}
