// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	smithyauth "github.com/aws/smithy-go/auth"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// order is that of all items here.
var order = NewOrder()

type everything struct{}

func (everything) Dimension(l string) bool { return !strings.HasPrefix(l, "packed") }
func (everything) Measure(m string) bool   { return m != "bound" }

func newSeries(t testing.TB, ls []labels.Label) *Series {
	t.Helper()
	slices.SortFunc(ls, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	enc, err := promschema.EncodeSeries(ls, everything{}, promschema.ObservedLimits())
	if err != nil {
		t.Fatal(err)
	}
	s := NewSeries(ls, series.Hash{A: labels.New(ls...).Hash()}, 0, 0, enc)
	if err := s.Extend(promschema.SampleFamily); err != nil {
		t.Fatal(err)
	}
	return s
}

// expand converts a request to what its wire form says, and merges the common attributes.
func expand(t testing.TB, in *timestreamwrite.WriteRecordsInput) []ingesttest.Record {
	t.Helper()
	str := func(p *string) string {
		if p == nil {
			return ""
		}
		return *p
	}
	record := func(r types.Record) ingesttest.Record {
		out := ingesttest.Record{MeasureName: str(r.MeasureName), MeasureValue: str(r.MeasureValue), MeasureValueType: string(r.MeasureValueType), Time: str(r.Time), TimeUnit: string(r.TimeUnit)}
		for _, d := range r.Dimensions {
			out.Dimensions = append(out.Dimensions, ingesttest.Dimension{Name: *d.Name, Value: *d.Value})
		}
		for _, v := range r.MeasureValues {
			out.MeasureValues = append(out.MeasureValues, ingesttest.MeasureValue{Name: *v.Name, Value: *v.Value, Type: string(v.Type)})
		}
		return out
	}
	c := ingesttest.WriteCall{DatabaseName: *in.DatabaseName, TableName: *in.TableName}
	if in.CommonAttributes != nil {
		c.CommonAttributes = record(*in.CommonAttributes)
	}
	for _, r := range in.Records {
		c.Records = append(c.Records, record(r))
	}
	out, err := c.Expand()
	if err != nil {
		t.Fatalf("%v\n%+v", err, c)
	}
	return out
}

// alone is the record of an item by itself.
func alone(it Item) ingesttest.Record {
	r := ingesttest.Record{TimeUnit: "MILLISECONDS", Time: fmt.Sprint(it.TimeMs), MeasureValueType: "DOUBLE"}
	dims := it.Series.encoded.Dimensions
	r.MeasureName = it.Series.encoded.Measure
	if it.Extra != nil {
		r.MeasureName, r.MeasureValueType = it.Extra.Family.Measure(it.Series.encoded.Metric), "MULTI"
		_, dims, _ = it.Series.encoded.Extension()
		if it.Extra.TimeNs != 0 {
			r.Time, r.TimeUnit = fmt.Sprint(it.Extra.TimeNs), "NANOSECONDS"
		}
		for _, a := range it.Extra.Value.Attributes {
			r.MeasureValues = append(r.MeasureValues, ingesttest.MeasureValue{Name: a.Name, Value: a.Value, Type: a.Type.String()})
		}
	} else if text, ok := promschema.AppendPlain(nil, it.Value); ok && r.MeasureName != "" {
		r.MeasureValue = string(text)
	} else {
		r.MeasureName, dims, _ = it.Series.encoded.Extension()
		r.MeasureValueType = "MULTI"
		for _, a := range promschema.ExtensionValue(it.Value).Attributes {
			r.MeasureValues = append(r.MeasureValues, ingesttest.MeasureValue{Name: a.Name, Value: a.Value, Type: a.Type.String()})
		}
	}
	for _, d := range dims {
		r.Dimensions = append(r.Dimensions, ingesttest.Dimension(d))
	}
	return r
}

// metered is the size of a record by itself, after the Developer Guide's formula.
func metered(r ingesttest.Record) int {
	n := 8 + len(r.MeasureName)
	for _, d := range r.Dimensions {
		n += len(d.Name) + len(d.Value)
	}
	if r.MeasureValueType == "DOUBLE" {
		return n + 8
	}
	for _, v := range r.MeasureValues {
		n += len(v.Name) + 8
		if v.Type == "VARCHAR" {
			n += len(v.Value) - 8
		}
	}
	return n
}

func randomItems(t testing.TB, r *rand.Rand, n int) []Item {
	var all []*Series
	for range 1 + r.IntN(12) {
		ls := ingesttest.L("__name__", []string{"up", "a:b", "bound", "a--b", "m"}[r.IntN(5)])
		for _, name := range []string{"job", "instance", "le", "x", "packed1", "packed2", "zone"} {
			if r.IntN(3) > 0 {
				ls = append(ls, ingesttest.L(name, fmt.Sprint("v", r.IntN(2)))...)
			}
		}
		all = append(all, newSeries(t, ls))
	}
	values := []float64{0, 1, -1.5, 0.1, math.NaN(), math.Inf(1), math.Copysign(0, -1), math.Float64frombits(value.StaleNaN), 1e300}
	special := r.IntN(3)
	var items []Item
	for i := range n {
		v := values[r.IntN(4)]
		if special > 0 {
			v = values[r.IntN(len(values))]
		}
		items = append(items, NewItem(all[r.IntN(len(all))], order, 1_700_000_000_000+int64(r.IntN(3)), v, i))
		if special == 2 && r.IntN(4) == 0 {
			items[i] = randomExtra(t, r, all[r.IntN(len(all))], i)
		}
	}
	return items
}

// randomExtra is an item that is no float sample.
func randomExtra(t testing.TB, r *rand.Rand, s *Series, n int) Item {
	t.Helper()
	x := &Extra{Kind: ledger.Exemplars, Family: promschema.ExemplarFamily}
	ms := 1_700_000_000_000 + int64(r.IntN(3))
	switch r.IntN(3) {
	case 0:
		x.Kind, x.Family, x.Value = ledger.StartTimestamps, promschema.StartFamily, promschema.StartValue(int64(r.IntN(3)))
	case 1:
		entry := promschema.Metadata{Type: 1, Help: []string{"what \"it\" is\n", "é\u2028\\", ""}[r.IntN(3)]}
		var err error
		if x.Value, err = promschema.MetadataValue(entry); err != nil {
			t.Fatal(err)
		}
		x.Kind, x.Family, x.TimeNs = ledger.Metadata, promschema.MetadataFamily, promschema.MetadataTimeNs(ms, entry)
		if s, err = NewMetric("m", series.Hash{A: 1}); err != nil {
			t.Fatal(err)
		}
	default:
		ls := ingesttest.L("trace_id", fmt.Sprint(r.IntN(3)))
		var err error
		if x.Value, err = promschema.ExemplarValue(ls, 1); err != nil {
			t.Fatal(err)
		}
		x.TimeNs = promschema.ExemplarTimeNs(ms, ls, 1)
	}
	if err := s.Extend(x.Family); err != nil {
		t.Fatal(err)
	}
	return NewExtra(s, order, ms, x, n)
}

// Whatever is hoisted, the records that arrive are those that each item would have been by itself, in the order of the
// items, and what all share is sent once.
func TestBatchesExpandToTheSameRecords(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var b Builder
	db, table := "d", "t"
	for range 500 {
		items := new(Sorter).Sort(randomItems(t, r, 1+r.IntN(250)))
		batches, _ := Split(items, nil)
		for _, batch := range batches {
			bytes := b.Plan(batch)
			in := b.Input(&db, &table, batch)
			sameAsBody(t, in, b.Body(db, table, batch))
			got := expand(t, in)
			if len(got) != len(batch) {
				t.Fatalf("%d records of %d items", len(got), len(batch))
			}
			sum := 0
			for i := range batch {
				want := alone(batch[i])
				if got[i].Key() != want.Key() || got[i].Value() != want.Value() || got[i].MeasureValueType != want.MeasureValueType {
					t.Fatalf("record %d: got %+v, want %+v", i, got[i], want)
				}
				sum += metered(want)
			}
			if bytes > sum || len(batch) == 1 && bytes != sum {
				t.Fatalf("metered %d bytes, %d without hoisting", bytes, sum)
			}
			checkHoisted(t, in, got)
		}
	}
}

// sameAsBody checks that a ready body means what the SDK would send for the input.
func sameAsBody(t *testing.T, in *timestreamwrite.WriteRecordsInput, body []byte) {
	t.Helper()
	var sent []byte
	c := timestreamwrite.New(timestreamwrite.Options{
		Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, BaseEndpoint: aws.String("http://127.0.0.1:1"), Retryer: aws.NopRetryer{},
		EndpointDiscovery: timestreamwrite.EndpointDiscoveryOptions{EnableEndpointDiscovery: aws.EndpointDiscoveryDisabled},
		HTTPClient: doer(func(r *http.Request) (*http.Response, error) {
			var err error
			sent, err = io.ReadAll(r.Body)
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, err
		}),
		AuthSchemeResolver: anonymous{},
	})
	if _, err := c.WriteRecords(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	if err := json.Unmarshal(sent, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %s\nwant %s", body, sent)
	}
}

type doer func(*http.Request) (*http.Response, error)

func (f doer) Do(r *http.Request) (*http.Response, error) { return f(r) }

// anonymous signs nothing.
type anonymous struct{}

func (anonymous) ResolveAuthSchemes(context.Context, *timestreamwrite.AuthResolverParameters) ([]*smithyauth.Option, error) {
	return []*smithyauth.Option{{SchemeID: smithyauth.SchemeIDAnonymous}}, nil
}

// checkHoisted checks that nothing which all records share is left in them.
func checkHoisted(t *testing.T, in *timestreamwrite.WriteRecordsInput, all []ingesttest.Record) {
	t.Helper()
	if len(all) < 2 {
		return
	}
	count := map[ingesttest.Dimension]int{}
	measures, times := map[string]bool{}, map[string]bool{}
	for _, r := range all {
		for _, d := range r.Dimensions {
			count[d]++
		}
		measures[r.MeasureName], times[r.Time] = true, true
	}
	milliseconds := !slices.ContainsFunc(all, func(r ingesttest.Record) bool { return r.TimeUnit != "MILLISECONDS" })
	shared := 0
	for _, n := range count {
		if n == len(all) {
			shared++
		}
	}
	c := in.CommonAttributes
	if len(c.Dimensions) != shared || (c.MeasureName != nil) != (len(measures) == 1) || (c.Time != nil) != (len(times) == 1 && milliseconds) {
		t.Errorf("hoisted %d dimensions of %d, measure name %v of %d, time %v of %d", len(c.Dimensions), shared, c.MeasureName != nil, len(measures), c.Time != nil, len(times))
	}
}

func TestMeteredBytes(t *testing.T) {
	// The Developer Guide's example counts common attributes once: here 8+3+1+8+3 shared, and 4+2+8 for each.
	var items []Item
	for i, host := range []string{"h1", "h2"} {
		items = append(items, NewItem(newSeries(t, ingesttest.L("__name__", "up", "job", "x", "zone", "eu-west1", "host", host)), order, 1000, float64(i), i))
	}
	got := new(Builder).Plan(new(Sorter).Sort(items))
	if want := len("up") + len("job") + len("x") + len("zone") + len("eu-west1") + 8 + 2*(len("host")+len("h1")+8); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}

func TestSortRemovesRepeats(t *testing.T) {
	a := newSeries(t, ingesttest.L("__name__", "a", "job", "x"))
	again := newSeries(t, ingesttest.L("__name__", "a", "job", "x")) // the same series, encoded twice
	b := newSeries(t, ingesttest.L("__name__", "b", "job", "x"))
	twin := newSeries(t, ingesttest.L("__name__", "a", "job", "x", "k", "v")) // another series
	twin.Hash = series.Hash{A: a.Hash.A, B: 1}                                // the same in one half
	items := new(Sorter).Sort([]Item{
		NewItem(a, order, 1, 10, 0), NewItem(b, order, 1, 11, 1), NewItem(twin, order, 1, 12, 2), NewItem(again, order, 1, math.NaN(), 3), NewItem(a, order, 2, 14, 4),
		NewItem(twin, order, 1, 15, 5), NewItem(a, order, 1, 10, 6), NewItem(a, order, 2, 14, 7),
	})
	got := map[string]string{}
	for _, it := range items {
		got[fmt.Sprint(it.Series.Text(), it.TimeMs)] = fmt.Sprint(it.Value, "+", it.Repeats)
	}
	want := map[string]string{`a{job="x"}1`: "10+2", `b{job="x"}1`: "11+0", `a{job="x", k="v"}1`: "12+1", `a{job="x"}2`: "14+1"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSortNeverLosesASample(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		items := randomItems(t, r, 1+r.IntN(100))
		n := len(items)
		first := map[string]Item{}
		for _, it := range items {
			k := fmt.Sprint(it.Series.Text(), it.TimeMs, it.family(), it.timeNs())
			if _, have := first[k]; !have {
				first[k] = it
			}
		}
		sum := 0
		out := new(Sorter).Sort(items)
		for _, it := range out {
			sum += it.Entries()
			if w := first[fmt.Sprint(it.Series.Text(), it.TimeMs, it.family(), it.timeNs())]; w.order != it.order {
				t.Fatalf("kept %+v, the first to arrive is %+v", it, w)
			}
		}
		if sum != n || len(out) != len(first) {
			t.Fatalf("%d samples in %d items of %d in %d", sum, len(out), n, len(first))
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		give, want []int // records by target; records by batch
	}{
		{nil, nil},
		{[]int{1}, []int{1}},
		{[]int{100}, []int{100}},
		{[]int{98, 98, 98}, []int{98, 98, 98}},
		{[]int{250}, []int{100, 100, 50}},
		{[]int{110, 110, 110}, []int{100, 100, 100, 30}},
		{[]int{10, 99, 10, 49, 50}, []int{99, 50, 69}},
		{[]int{40, 40, 40}, []int{100, 20}},
	} {
		var items []Item
		total := 0
		for target, n := range c.give {
			s := newSeries(t, ingesttest.L("__name__", "m", "job", fmt.Sprint(target)))
			for i := range n {
				items = append(items, NewItem(s, order, int64(i), 1, total))
				total++
			}
		}
		var got []int
		seen := map[string]bool{}
		batches, _ := Split(new(Sorter).Sort(items), nil)
		for _, b := range batches {
			got = append(got, len(b))
			for _, it := range b {
				seen[fmt.Sprint(it.Series.Text(), it.TimeMs)] = true
			}
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) || len(seen) != total {
			t.Errorf("%v: got %v, want %v; %d of %d", c.give, got, c.want, len(seen), total)
		}
	}
}

func TestSameRecord(t *testing.T) {
	ls := func() []labels.Label { return ingesttest.L("__name__", "a", "job", "x") }
	a, b := NewItem(newSeries(t, ls()), order, 1, 1, 0), NewItem(newSeries(t, ls()), order, 1, 1, 0)
	if !a.SameRecord(&b) {
		t.Error("the same encoding twice is another record")
	}
	enc, err := promschema.EncodeSeries(ls(), deny{}, promschema.StrictLimits())
	if err != nil {
		t.Fatal(err)
	}
	s := NewSeries(ls(), series.Hash{A: 1}, 0, 0, enc)
	if err := s.Extend(promschema.SampleFamily); err != nil {
		t.Fatal(err)
	}
	c := a.WithSeries(s)
	if a.SameRecord(&c) {
		t.Error("plain and extension are the same record")
	}
	if m, plain := c.Measure(); plain || !strings.HasPrefix(m, "__tributary_1_s_") {
		t.Errorf("measure %s, plain %v", m, plain)
	}
}

type deny struct{}

func (deny) Dimension(string) bool { return true }
func (deny) Measure(string) bool   { return false }

func TestLabelsOfASeries(t *testing.T) {
	want := ingesttest.L("__name__", "a", "job", "x", "é", "a=\"b\"\n")
	if got := newSeries(t, slices.Clone(want)).Labels(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
