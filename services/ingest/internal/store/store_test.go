// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"github.com/tributary-project/tributary/services/ingest/internal/batch"
	"github.com/tributary-project/tributary/services/ingest/internal/catalogue"
	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/send"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream/promschema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// form is how a store gives its requests to the client.
type form string

const (
	bodies form = "ready bodies" // as the service does
	inputs form = "the SDK's inputs"
)

func inBothForms(t *testing.T, test func(*testing.T, form)) {
	for _, f := range []form{bodies, inputs} {
		t.Run(string(f), func(t *testing.T) { test(t, f) })
	}
}

func newStore(t testing.TB, f form, cfg Config) (*Store, *ingesttest.Endpoint) {
	t.Helper()
	e := ingesttest.NewEndpoint(t)
	if cfg.CacheSize == 0 {
		cfg.CacheSize = 1000
	}
	cfg.Database, cfg.Table, cfg.MaxTables, cfg.InFlight, cfg.Limits, cfg.CatalogueRefresh = "d", "t", 3, 4, promschema.StrictLimits(), time.Hour
	cfg.Catalogue = catalogue.Config{Fixed: catalogue.Fixed(), MaxLabelColumns: 100}
	sender := send.New(send.Config{MaxInFlight: 4, AttemptTimeout: time.Minute, MinBackoff: 1, MaxBackoff: 1}, prometheus.NewRegistry(), time.Now)
	var writer Writer = e.BodyWriter()
	if f == inputs {
		writer = e.Writer()
	}
	return New(cfg, writer, sender, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), time.Now), e
}

func one(hash uint64, pairs ...string) series.Series {
	s := series.Series{Hash: series.Hash{A: hash, B: labels.FromStrings(pairs...).Hash()}, Samples: []series.Sample{{TimeMs: 1, Value: 1}}}
	for _, l := range ingesttest.L(pairs...) {
		s.Labels = append(s.Labels, series.Label{Name: []byte(l.Name), Value: []byte(l.Value)})
	}
	return s
}

func appendAll(t *testing.T, s *Store, d Destination, ss ...series.Series) ledger.Counts {
	t.Helper()
	var a ledger.Account
	for _, x := range ss {
		a.Receive(ledger.Samples, len(x.Samples))
	}
	if err := s.Append(context.Background(), d, Entries{Series: ss}, &a); err != nil {
		t.Fatal(err)
	}
	c := a.Counts[ledger.Samples]
	if !c.Balanced() {
		t.Errorf("not balanced: %+v", c)
	}
	return c
}

// Series that share half a hash are still different series.
func TestHashCollisions(t *testing.T) { inBothForms(t, testHashCollisions) }

func testHashCollisions(t *testing.T, form form) {
	s, e := newStore(t, form, Config{})
	for range 3 {
		c := appendAll(t, s, Destination{"d", "t"}, one(7, "__name__", "a", "x", "1"), one(7, "__name__", "a", "x", "2"), one(7, "__name__", "b"), one(7, "__name__", "a", "x", "1"))
		if c.Stored != 3 || c.Duplicate != 1 {
			t.Errorf("got %+v", c)
		}
	}
	if len(e.Stored()) != 3 {
		t.Errorf("stored %v", e.Stored())
	}
}

// What was decoded from a request's memory does not point into it.
func TestCacheOutlivesTheRequest(t *testing.T) { inBothForms(t, testCacheOutlivesTheRequest) }

func testCacheOutlivesTheRequest(t *testing.T, form form) {
	s, e := newStore(t, form, Config{})
	x := one(1, "__name__", "name", "label", "value")
	appendAll(t, s, Destination{"d", "t"}, x)
	for _, l := range x.Labels {
		copy(l.Name, "XXXXXXXXX")
		copy(l.Value, "XXXXXXXXX")
	}
	appendAll(t, s, Destination{"d", "t"}, one(1, "__name__", "name", "label", "value"))
	if len(e.Stored()) != 1 {
		t.Errorf("stored %v", e.Stored())
	}
}

func TestCacheIsBounded(t *testing.T) {
	const size = 320
	c := newCache(size)
	key := func(i int) uint64 { return uint64(i) * 0x9e3779b97f4a7c15 }
	hot := one(key(0), "__name__", "hot")
	labelsOf := func(s series.Series, generation uint64) *batch.Series {
		ls := copyLabels(s.Labels)
		enc, err := promschema.EncodeSeries(ls, all{}, promschema.StrictLimits())
		if err != nil {
			t.Fatal(err)
		}
		return batch.NewSeries(ls, s.Hash, 1, generation, enc)
	}
	c.add(labelsOf(hot, 5))
	for i := 1; i < 5000; i++ {
		c.add(labelsOf(one(key(i), "__name__", fmt.Sprint("m", i)), 5))
		if c.get(1, &hot, 5) == nil {
			t.Fatalf("the series in use went after %d others", i)
		}
	}
	if n := c.size(); n > size || n < size/2 {
		t.Errorf("%d series, the bound is %d", n, size)
	}
	if c.get(1, &hot, 6) != nil {
		t.Error("encoded with an older catalogue")
	}
	if c.get(2, &hot, 5) != nil {
		t.Error("encoded for another table")
	}
}

type all struct{}

func (all) Dimension(string) bool { return true }
func (all) Measure(string) bool   { return true }

// Whatever tables callers name, few are kept; the configured one stays in use.
func TestTablesAreBounded(t *testing.T) { inBothForms(t, testTablesAreBounded) }

func testTablesAreBounded(t *testing.T, form form) {
	s, e := newStore(t, form, Config{})
	for i := range 20 {
		appendAll(t, s, Destination{"d", "t"}, one(1, "__name__", "m"))
		appendAll(t, s, Destination{"d", fmt.Sprint("t", i)}, one(1, "__name__", "m"))
		if len(s.tables) > 3 || s.tables[Destination{"d", "t"}] == nil {
			t.Fatalf("tables %v", s.tables)
		}
	}
	seen := map[string]bool{}
	for _, c := range e.Calls() {
		seen[c.TableName] = true
	}
	if len(seen) != 21 {
		t.Errorf("written to %v", seen)
	}
}

// After a failure no new batch is begun: the sender brings all of it again.
func TestFailureEndsTheRequest(t *testing.T) { inBothForms(t, testFailureEndsTheRequest) }

func testFailureEndsTheRequest(t *testing.T, form form) {
	s, e := newStore(t, form, Config{})
	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		return ingesttest.Reply{Class: "AccessDeniedException", Status: 403}
	})
	var ss []series.Series
	for i := range 3000 {
		ss = append(ss, one(uint64(i), "__name__", fmt.Sprint("m", i)))
	}
	if c := appendAll(t, s, Destination{"d", "t"}, ss...); c.Deferred != 3000 {
		t.Errorf("got %+v", c)
	}
	if n := len(e.Calls()); n > 8 {
		t.Errorf("%d calls of 30", n)
	}
}

// An answer that lists records which were not sent leaves the outcome of the batch open.
func TestRejectionOfUnknownRecord(t *testing.T) { inBothForms(t, testRejectionOfUnknownRecord) }

func testRejectionOfUnknownRecord(t *testing.T, form form) {
	s, e := newStore(t, form, Config{})
	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		return ingesttest.Reply{Rejected: []ingesttest.Rejected{{RecordIndex: 1, Reason: "?"}}}
	})
	if c := appendAll(t, s, Destination{"d", "t"}, one(1, "__name__", "m")); c.Deferred != 1 {
		t.Errorf("got %+v", c)
	}
}

// Many requests at once, few series: the cache, the catalogue and the accounts hold.
func TestConcurrentRequests(t *testing.T) { inBothForms(t, testConcurrentRequests) }

func testConcurrentRequests(t *testing.T, form form) {
	s, e := newStore(t, form, Config{CacheSize: 32})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 10 {
				var ss []series.Series
				for k := range 250 {
					x := one(uint64(k)*0x9e3779b97f4a7c15, "__name__", fmt.Sprint("m", k%50), "job", fmt.Sprint(k))
					x.Samples[0].TimeMs = int64(i)
					ss = append(ss, x)
				}
				if c := appendAll(t, s, Destination{"d", fmt.Sprint("t", g%2)}, ss...); c.Stored != 250 {
					t.Errorf("got %+v", c)
				}
			}
		})
	}
	wg.Wait()
	if len(e.Stored()) != 2500 {
		t.Errorf("%d records", len(e.Stored()))
	}
}

func TestCopyLabels(t *testing.T) {
	x := one(1, "__name__", "m", "a", "", "é", strings.Repeat("x", 1000))
	got := copyLabels(x.Labels)
	for i, l := range x.Labels {
		if got[i].Name != string(l.Name) || got[i].Value != string(l.Value) {
			t.Errorf("label %d: got %q, want %q", i, got[i], l)
		}
	}
}
