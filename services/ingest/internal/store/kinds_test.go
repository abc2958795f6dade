// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream"
)

// bring appends entries and returns the account, which must be balanced.
func bring(t *testing.T, s *Store, in Entries) *ledger.Account {
	t.Helper()
	a := &ledger.Account{}
	for _, x := range in.Series {
		a.Receive(ledger.Samples, len(x.Samples))
		a.Receive(ledger.Histograms, len(x.Histograms))
		a.Receive(ledger.Exemplars, len(x.Exemplars))
		for _, p := range x.Samples {
			if p.StartMs != 0 {
				a.Receive(ledger.StartTimestamps, 1)
			}
		}
		for _, h := range x.Histograms {
			if h.StartMs != 0 {
				a.Receive(ledger.StartTimestamps, 1)
			}
		}
	}
	a.Receive(ledger.Metadata, len(in.Metadata))
	if err := s.Append(context.Background(), Destination{"d", "t"}, in, a); err != nil {
		t.Fatal(err)
	}
	for k, c := range a.Counts {
		if !c.Balanced() {
			t.Errorf("%s: not balanced: %+v", ledger.Kind(k), c)
		}
	}
	return a
}

func outcome(a *ledger.Account, k ledger.Kind) string {
	c := a.Counts[k]
	return fmt.Sprintf("%d stored, %d duplicate, %d rejected, %d deferred", c.Stored, c.Duplicate, c.Rejected, c.Deferred)
}

// histogram has so many buckets with counts that do not compress.
func histogram(buckets int, seed float64) *prompb.Histogram {
	h := &prompb.Histogram{
		Count: &prompb.Histogram_CountFloat{CountFloat: 100}, ZeroCount: &prompb.Histogram_ZeroCountFloat{}, Sum: seed,
		PositiveSpans: []prompb.BucketSpan{{Length: uint32(buckets)}},
	}
	for i := range buckets {
		h.PositiveCounts = append(h.PositiveCounts, math.Sqrt(seed+float64(i)))
	}
	return h
}

func families(e *ingesttest.Endpoint) map[string]int {
	out := map[string]int{}
	for _, r := range e.Stored() {
		family := "plain"
		if rest, ok := strings.CutPrefix(r.MeasureName, "__tributary_1_"); ok {
			family, _, _ = strings.Cut(rest, "_")
		}
		out[family]++
	}
	return out
}

func TestHistograms(t *testing.T) { inBothForms(t, testHistograms) }

func testHistograms(t *testing.T, form form) {
	large := func(tm, start int64, seed float64) series.Histogram {
		return series.Histogram{TimeMs: tm, StartMs: start, H: histogram(500, seed)}
	}
	give := one(1, "__name__", "h", "job", "x")
	give.Samples = nil
	give.Histograms = []series.Histogram{
		{TimeMs: 1, H: histogram(3, 1)},
		large(2, 9, 2), large(2, 9, 3), // the second is a repeat, whatever it holds
		large(3, 9, 4),
		{TimeMs: 3, StartMs: 9, H: histogram(2, 5)},
		{TimeMs: 4, H: histogram(5000, 6)},
	}
	t.Run("stored", func(t *testing.T) {
		s, e := newStore(t, form, Config{})
		a := bring(t, s, Entries{Series: []series.Series{give}})
		if got, want := outcome(a, ledger.Histograms), "3 stored, 2 duplicate, 1 rejected, 0 deferred"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := outcome(a, ledger.StartTimestamps), "2 stored, 2 duplicate, 0 rejected, 0 deferred"; got != want {
			t.Errorf("start timestamps: got %s, want %s", got, want)
		}
		if len(a.Rejections) != 1 || a.Rejections[0].Reason != ledger.HistogramTooLarge || !strings.Contains(a.Rejections[0].Examples[0], "limit") {
			t.Errorf("rejections %+v", a.Rejections)
		}
		if got := families(e); got["s"] != 3 || got["s2"] != 2 || got["s3"] == 0 || len(got) != 3 {
			t.Errorf("records %v", got)
		}
	})
	t.Run("a continuation is refused", func(t *testing.T) {
		s, e := newStore(t, form, Config{})
		e.OnWrite(func(_ ingesttest.WriteCall, records []ingesttest.Record) (r ingesttest.Reply) {
			for i, x := range records {
				if strings.HasPrefix(x.MeasureName, "__tributary_1_s2_") && x.Time == "2" {
					r.Rejected = append(r.Rejected, ingesttest.Rejected{RecordIndex: i, Reason: ingesttest.Conflict})
				}
			}
			return r
		})
		a := bring(t, s, Entries{Series: []series.Series{give}})
		if got, want := outcome(a, ledger.Histograms), "2 stored, 1 duplicate, 3 rejected, 0 deferred"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := outcome(a, ledger.StartTimestamps), "1 stored, 1 duplicate, 2 rejected, 0 deferred"; got != want {
			t.Errorf("start timestamps: got %s, want %s", got, want)
		}
	})
}

func TestExemplars(t *testing.T) { inBothForms(t, testExemplars) }

func testExemplars(t *testing.T, form form) {
	s, e := newStore(t, form, Config{})
	x := func(ms int64, v float64, id string) series.Exemplar {
		return series.Exemplar{TimeMs: ms, Value: v, Labels: []series.Label{{Name: []byte("trace_id"), Value: []byte(id)}}}
	}
	give := one(1, "__name__", "x")
	give.Samples = nil
	give.Exemplars = []series.Exemplar{x(1, 1, "a"), x(1, 1, "b"), x(1, 2, "a"), x(1, 1, "a"), x(2, 1, "a"), x(2, 1, strings.Repeat("x", 3000))}
	a := bring(t, s, Entries{Series: []series.Series{give}})
	if got, want := outcome(a, ledger.Exemplars), "4 stored, 1 duplicate, 1 rejected, 0 deferred"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := families(e); got["e"] != 4 {
		t.Errorf("records %v", got)
	}
	for _, r := range e.Stored() {
		if r.TimeUnit != "NANOSECONDS" {
			t.Errorf("record %+v", r)
		}
	}
}

func TestMetadata(t *testing.T) { inBothForms(t, testMetadata) }

func testMetadata(t *testing.T, form form) {
	s, e := newStore(t, form, Config{})
	now := time.UnixMilli(1_700_000_000_000)
	s.now = func() time.Time { return now }
	m := func(name, help string, hash uint64) series.Metadata {
		return series.Metadata{Name: []byte(name), Type: prompb.MetricMetadata_COUNTER, Help: []byte(help), Hash: hash}
	}
	both := []series.Metadata{m("a", "what", 1), m("a", "what", 1), m("b", "", 2)}
	for i, c := range []struct {
		later   time.Duration
		give    []series.Metadata
		want    string
		records int
	}{
		{0, both, "2 stored, 1 duplicate, 0 rejected, 0 deferred", 2},
		{time.Minute, both, "3 stored, 0 duplicate, 0 rejected, 0 deferred", 2}, // known
		{time.Second, []series.Metadata{m("a", "changed", 3)}, "1 stored, 0 duplicate, 0 rejected, 0 deferred", 3},
		{time.Second, []series.Metadata{m("a", strings.Repeat("x", 5000), 4)}, "0 stored, 0 duplicate, 1 rejected, 0 deferred", 3},
		{59 * time.Minute, both, "2 stored, 1 duplicate, 0 rejected, 0 deferred", 5},
	} {
		now = now.Add(c.later)
		a := bring(t, s, Entries{Metadata: c.give})
		if got := outcome(a, ledger.Metadata); got != c.want || len(e.Stored()) != c.records {
			t.Errorf("step %d: got %s and %d records, want %s and %d", i, got, len(e.Stored()), c.want, c.records)
		}
	}
}

// A start timestamp that could not be stored, or metadata, is stored the next time.
func TestWhatWasNotStoredIsNotKnown(t *testing.T) { inBothForms(t, testWhatWasNotStoredIsNotKnown) }

func testWhatWasNotStoredIsNotKnown(t *testing.T, form form) {
	s, e := newStore(t, form, Config{})
	give := one(1, "__name__", "c")
	give.Samples[0].StartMs = 1
	all := Entries{Series: []series.Series{give}, Metadata: []series.Metadata{{Name: []byte("c"), Help: []byte("h"), Hash: 1}}}
	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		return ingesttest.Reply{Class: "ThrottlingException", Status: 429}
	})
	a := bring(t, s, all)
	for _, k := range []ledger.Kind{ledger.Samples, ledger.Metadata, ledger.StartTimestamps} {
		if got, want := outcome(a, k), "0 stored, 0 duplicate, 0 rejected, 1 deferred"; got != want {
			t.Errorf("%s: got %s, want %s", k, got, want)
		}
	}
	e.OnWrite(nil)
	bring(t, s, all)
	if got := families(e); got["plain"] != 1 || got["m"] != 1 || got["c"] != 1 {
		t.Errorf("records %v", got)
	}
}

func TestStartTimestamps(t *testing.T) { inBothForms(t, testStartTimestamps) }

func testStartTimestamps(t *testing.T, form form) {
	const hour, stale = 3_600_000, -1 // a staleness marker has no start, and ends none
	s, e := newStore(t, form, Config{})
	for i, c := range []struct {
		give    [][2]int64 // time, start
		want    string
		records int
		mute    bool // a message that cannot have start timestamps
	}{
		{give: [][2]int64{{10, 5}, {11, 5}, {12, 5}}, want: "3 stored, 0 duplicate, 0 rejected, 0 deferred", records: 1},
		{give: [][2]int64{{13, 5}}, want: "1 stored, 0 duplicate, 0 rejected, 0 deferred", records: 1},
		{give: [][2]int64{{14, 5}, {15, 14}, {16, 14}}, want: "3 stored, 0 duplicate, 0 rejected, 0 deferred", records: 2},
		{give: [][2]int64{{17, 0}}, want: "0 stored, 0 duplicate, 0 rejected, 0 deferred", records: 2, mute: true},
		{give: [][2]int64{{17, 14}, {18, 0}}, want: "1 stored, 0 duplicate, 0 rejected, 0 deferred", records: 3}, // from 18 on there is none
		{give: [][2]int64{{19, 0}}, want: "0 stored, 0 duplicate, 0 rejected, 0 deferred", records: 3},
		{give: [][2]int64{{20, 14}}, want: "1 stored, 0 duplicate, 0 rejected, 0 deferred", records: 4},
		{give: [][2]int64{{9, 5}}, want: "1 stored, 0 duplicate, 0 rejected, 0 deferred", records: 5}, // of the past: not known to hold there
		{give: [][2]int64{{30, 14}}, want: "1 stored, 0 duplicate, 0 rejected, 0 deferred", records: 5},
		{give: [][2]int64{{25, 21}}, want: "1 stored, 0 duplicate, 0 rejected, 0 deferred", records: 7}, // late: after it 14 holds again
		{give: [][2]int64{{40, 39}, {40, 39}}, want: "2 stored, 0 duplicate, 0 rejected, 0 deferred", records: 8},
		{give: [][2]int64{{42, 41}, {42, 40}}, want: "1 stored, 1 duplicate, 0 rejected, 0 deferred", records: 9}, // the first of one time wins
		{give: [][2]int64{{50, 50}, {90, 50}}, want: "2 stored, 0 duplicate, 0 rejected, 0 deferred", records: 10},
		{give: [][2]int64{{60, 55}, {61, 55}}, want: "2 stored, 0 duplicate, 0 rejected, 0 deferred", records: 13}, // late again: 60, 61, and 50 from 62 on
		{give: [][2]int64{{hour + 40, 50}}, want: "1 stored, 0 duplicate, 0 rejected, 0 deferred", records: 13},
		{give: [][2]int64{{hour + 50, 50}}, want: "1 stored, 0 duplicate, 0 rejected, 0 deferred", records: 14}, // old records expire
		{give: [][2]int64{{hour + 60, stale}}, want: "0 stored, 0 duplicate, 0 rejected, 0 deferred", records: 14},
		{give: [][2]int64{{hour + 70, 50}}, want: "1 stored, 0 duplicate, 0 rejected, 0 deferred", records: 14},
	} {
		x := one(1, "__name__", "c", "job", "x")
		x.Samples = nil
		for _, p := range c.give {
			if p[1] == stale {
				x.Samples = append(x.Samples, series.Sample{TimeMs: p[0], Value: math.Float64frombits(value.StaleNaN)})
				continue
			}
			x.Samples = append(x.Samples, series.Sample{TimeMs: p[0], StartMs: p[1], Value: 1})
		}
		a := bring(t, s, Entries{Series: []series.Series{x}, Starts: !c.mute})
		if got := outcome(a, ledger.StartTimestamps); got != c.want || families(e)["c"] != c.records {
			t.Errorf("step %d: got %s and %d records, want %s and %d", i, got, families(e)["c"], c.want, c.records)
		}
	}
}

// A float that is no plain record and a histogram of one series and time are records of one identity: never in one call.
func TestHistogramBesideSpecialFloat(t *testing.T) { inBothForms(t, testHistogramBesideSpecialFloat) }

func testHistogramBesideSpecialFloat(t *testing.T, form form) {
	x := one(1, "__name__", "m", "job", "x")
	x.Samples = []series.Sample{{TimeMs: 1, Value: math.NaN()}, {TimeMs: 2, Value: 1}}
	x.Histograms = []series.Histogram{{TimeMs: 1, H: histogram(2, 1)}, {TimeMs: 2, H: histogram(2, 2)}}
	for _, wait := range []time.Duration{0, time.Millisecond} {
		s, e := newStore(t, form, Config{ShareWait: wait})
		a := bring(t, s, Entries{Series: []series.Series{x}})
		if got, want := outcome(a, ledger.Samples), "2 stored, 0 duplicate, 0 rejected, 0 deferred"; got != want {
			t.Errorf("samples: got %s, want %s", got, want)
		}
		// What Timestream makes of a second value at one time: the endpoint finds out about one call with both.
		if got, want := outcome(a, ledger.Histograms), "1 stored, 0 duplicate, 1 rejected, 0 deferred"; got != want {
			t.Errorf("histograms: got %s, want %s", got, want)
		}
		if len(e.Calls()) != 2 {
			t.Errorf("%d calls", len(e.Calls()))
		}
	}
}

// Who comes to a shared batch while the last one leaves it gets a batch of his own.
func TestComingWhileTheLastOneLeaves(t *testing.T) { inBothForms(t, testComingWhileTheLastOneLeaves) }

func testComingWhileTheLastOneLeaves(t *testing.T, form form) {
	s, e := newStore(t, form, Config{ShareWait: time.Hour})
	tab := s.table(Destination{"d", "t"})
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		left := make(chan struct{})
		go func() {
			defer close(left)
			var a ledger.Account
			a.Receive(ledger.Samples, 1)
			if err := s.Append(ctx, Destination{"d", "t"}, Entries{Series: []series.Series{one(1, "__name__", "leaves")}}, &a); err != nil {
				t.Error(err)
			}
		}()
		awaitAboard(tab, 1)
		tab.sharing.Lock()
		stayed := make(chan *ledger.Account, 1)
		go func() { stayed <- bring(t, s, Entries{Series: []series.Series{one(2, "__name__", "stays")}}) }()
		cancel()
		tab.sharing.Unlock()
		<-left
		waitIsOver(s, tab, 1)
		if got, want := outcome(<-stayed, ledger.Samples), "1 stored, 0 duplicate, 0 rejected, 0 deferred"; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if len(e.Stored()) == 0 {
		t.Error("nothing stored")
	}
}

// awaitAboard waits until the open batch of a table has so many members.
func awaitAboard(tab *table, members int) {
	for {
		tab.sharing.Lock()
		there := tab.open != nil && tab.open.aboard == members
		tab.sharing.Unlock()
		if there {
			return
		}
		time.Sleep(time.Millisecond) // polling a condition
	}
}

// waitIsOver sends the open batch of a table as soon as it has so many members, as the end of ShareWait would: a busy machine
// may need longer than any wait to bring them together.
func waitIsOver(s *Store, tab *table, members int) {
	awaitAboard(tab, members)
	tab.sharing.Lock()
	defer tab.sharing.Unlock()
	s.leave(tab, tab.open)
}

// Small requests that come together share a call, and each is told about its own records.
func TestSmallRequestsShareABatch(t *testing.T) { inBothForms(t, testSmallRequestsShareABatch) }

func testSmallRequestsShareABatch(t *testing.T, form form) {
	s, e := newStore(t, form, Config{ShareWait: time.Hour}) // it is not needed: together they fill a batch
	e.OnWrite(func(_ ingesttest.WriteCall, records []ingesttest.Record) (r ingesttest.Reply) {
		for i, x := range records {
			if x.MeasureName == "bad" {
				r.Rejected = append(r.Rejected, ingesttest.Rejected{RecordIndex: i, Reason: ingesttest.Conflict})
			}
		}
		return r
	})
	const requests = timestream.MaxRecordsPerWrite / 2
	var wg sync.WaitGroup
	var got [requests]string
	for i := range requests {
		wg.Go(func() {
			name := fmt.Sprint("m", i)
			if i%10 == 0 {
				name = "bad"
			}
			a := bring(t, s, Entries{Series: []series.Series{one(uint64(i), "__name__", name, "job", fmt.Sprint(i)), one(uint64(i+100), "__name__", name, "job", fmt.Sprint(i), "k", "v")}})
			got[i] = outcome(a, ledger.Samples)
		})
	}
	wg.Wait()
	for i := range got {
		want := "2 stored, 0 duplicate, 0 rejected, 0 deferred"
		if i%10 == 0 {
			want = "0 stored, 0 duplicate, 2 rejected, 0 deferred"
		}
		if got[i] != want {
			t.Errorf("request %d: got %s, want %s", i, got[i], want)
		}
	}
	if n := len(e.Calls()); n > requests/3 {
		t.Errorf("%d calls for %d requests", n, requests)
	}
}

// The same entry of two requests is never in one call, and each hears what became of its own.
func TestSharedBatchesKeepEntriesApart(t *testing.T) {
	inBothForms(t, testSharedBatchesKeepEntriesApart)
}

func testSharedBatchesKeepEntriesApart(t *testing.T, form form) {
	s, e := newStore(t, form, Config{ShareWait: 20 * time.Millisecond})
	var wg sync.WaitGroup
	var mu sync.Mutex
	outcomes := map[string]int{}
	for i := range 12 {
		wg.Go(func() {
			x := one(1, "__name__", "m", "job", "x")
			x.Samples[0].Value = float64(i % 2) // the endpoint keeps the first of two values, and refuses the other
			a := bring(t, s, Entries{Series: []series.Series{x}})
			mu.Lock()
			outcomes[outcome(a, ledger.Samples)]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if outcomes["1 stored, 0 duplicate, 0 rejected, 0 deferred"] != 6 || outcomes["0 stored, 0 duplicate, 1 rejected, 0 deferred"] != 6 || len(e.Stored()) != 1 {
		t.Errorf("got %v", outcomes)
	}
}

// Who leaves a shared batch is told that the outcome is open; the others are not disturbed, and with nobody left the call ends.
func TestLeavingASharedBatch(t *testing.T) { inBothForms(t, testLeavingASharedBatch) }

func testLeavingASharedBatch(t *testing.T, form form) {
	s, e := newStore(t, form, Config{ShareWait: time.Hour})
	tab := s.table(Destination{"d", "t"})
	reached, release := make(chan struct{}), make(chan struct{})
	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		close(reached)
		<-release
		return ingesttest.Reply{}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var left, stayed ledger.Account
	for i, x := range []struct {
		ctx context.Context
		a   *ledger.Account
	}{{ctx, &left}, {context.Background(), &stayed}} {
		wg.Go(func() {
			x.a.Receive(ledger.Samples, 1)
			if err := s.Append(x.ctx, Destination{"d", "t"}, Entries{Series: []series.Series{one(uint64(i), "__name__", fmt.Sprint("m", i))}}, x.a); err != nil {
				t.Error(err)
			}
			if x.a == &left {
				close(release)
			}
		})
	}
	waitIsOver(s, tab, 2)
	<-reached
	cancel()
	wg.Wait()
	if got, want := outcome(&left, ledger.Samples), "0 stored, 0 duplicate, 0 rejected, 1 deferred"; got != want {
		t.Errorf("who left: got %s, want %s", got, want)
	}
	if got, want := outcome(&stayed, ledger.Samples), "1 stored, 0 duplicate, 0 rejected, 0 deferred"; got != want {
		t.Errorf("who stayed: got %s, want %s", got, want)
	}

	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		cancel()
		return ingesttest.Reply{Hang: true}
	})
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	wg.Go(func() { waitIsOver(s, tab, 1) })
	defer wg.Wait()
	var a ledger.Account
	a.Receive(ledger.Samples, 1)
	if err := s.Append(ctx, Destination{"d", "t"}, Entries{Series: []series.Series{one(9, "__name__", "m9")}}, &a); err != nil || a.Deferral == nil {
		t.Errorf("got %v, %+v", err, a)
	}
	// That the call ended too is goleak's to find.
}

// A request that fills a batch is never held.
func TestFullRequestsDoNotWait(t *testing.T) { inBothForms(t, testFullRequestsDoNotWait) }

func testFullRequestsDoNotWait(t *testing.T, form form) {
	s, e := newStore(t, form, Config{ShareWait: time.Hour})
	var ss []series.Series
	for i := range 120 {
		ss = append(ss, one(uint64(i), "__name__", fmt.Sprint("m", i)))
	}
	if a := bring(t, s, Entries{Series: ss}); a.Counts[ledger.Samples].Stored != 120 || len(e.Calls()) != 2 {
		t.Errorf("got %s in %d calls", outcome(a, ledger.Samples), len(e.Calls()))
	}
}

// A table's records are sorted by what its requests hold: here the label by which they agree is none that is known beforehand.
func TestOrderIsLearned(t *testing.T) { inBothForms(t, testOrderIsLearned) }

func testOrderIsLearned(t *testing.T, form form) {
	s, e := newStore(t, form, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	var ss []series.Series
	for i := range 1000 {
		room := fmt.Sprintf("a building far away, room %d", i%10)
		ss = append(ss, one(uint64(i)*0x9e3779b97f4a7c15, "__name__", fmt.Sprint("m", i%100), "job", "x", "instance", fmt.Sprint(i), "room", room))
	}
	shared := func() int {
		n := 0
		for _, c := range e.Calls() {
			if len(c.CommonAttributes.Dimensions) == 2 { // job and room
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(time.Minute); ; {
		before := shared()
		for i := range ss {
			ss[i].Samples[0].TimeMs++
		}
		bring(t, s, Entries{Series: ss})
		if shared()-before == 10 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the order was not learned")
		}
	}
}
