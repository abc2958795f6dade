// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tributary-project/tributary/e2e/internal/load"
	"github.com/tributary-project/tributary/e2e/internal/standin"
	"github.com/tributary-project/tributary/timestream/metering"
)

// ordering is how well the records of requests were put together, for one way in which requests are filled.
type ordering struct {
	spread load.Spread
	sent   float64 // bytes per sample of some requests as they were sent
	best   float64 // bytes per sample of the best order found for the same requests
	how    string  // that order
}

// measureOrder lets the endpoint decode and meter each call for a while, by the Developer Guide's rule and not by ingest's own
// account, which must agree to the byte; and it looks for the best order that takes no account of time.
func (b *bench) measureOrder(ctx context.Context, p load.Protocol) error {
	var rows, orders [][]string
	for _, spread := range []load.Spread{load.BySeries, load.ByTarget} {
		fmt.Fprintf(b.progress, "%s, remote write %d.0, requests by %s …\n", orderScenario, p, spread)
		r, o, err := b.watchCalls(ctx, p, spread)
		if err != nil {
			return err
		}
		rows = append(rows, r.costRow())
		orders = append(orders, []string{r.name, fmt.Sprintf("%.1f", o.sent), fmt.Sprintf("%.1f", o.best), fmt.Sprintf("%.3f", o.sent/o.best), o.how})
		b.orders = append(b.orders, o)
	}
	b.out.table(fmt.Sprintf("What requests hold, remote write %d.0: what is written", p),
		[]string{"requests", "metered KiB per 1,000 samples", "of the connector's", "write units per 1,000", "body bytes per sample", "calls per 1,000", "records per call"}, rows)
	b.out.table("Order of records", []string{"requests", "metered bytes per sample", "best order found", "of it", ".which"}, orders)
	return nil
}

// watchCalls measures one way of filling requests.
func (b *bench) watchCalls(ctx context.Context, p load.Protocol, spread load.Spread) (_ *result, o ordering, err error) {
	sc := scenario{name: "by " + string(spread), start: startCounting(counting{ingests: 1}), shape: func(c *load.Config) { c.Spread = spread }}
	s, g, err := b.begin(ctx, sc, p)
	if err != nil {
		return nil, o, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	defer g.Close()
	// Ingest learns from the first requests how records are best ordered.
	if err := taken(g.Run(ctx, b.warmUp)); err != nil {
		return nil, o, err
	}
	before, err := s.read(ctx)
	if err != nil {
		return nil, o, err
	}
	var w watched
	s.counter.Watch(w.see)
	report := g.Run(ctx, min(time.Second, b.duration))
	s.counter.Watch(nil)
	if err := errors.Join(ctx.Err(), taken(report), w.err); err != nil {
		return nil, o, err
	}
	after, err := s.read(ctx)
	if err != nil {
		return nil, o, err
	}
	if says := after.spent.meteredBytes - before.spent.meteredBytes; says != float64(w.metered) {
		return nil, o, fmt.Errorf("ingest says that %.0f bytes were metered; its calls come to %d", says, w.metered)
	}
	r := &result{name: sc.name}
	if err := r.addMemory(s.processes); err != nil {
		return nil, o, err
	}
	r.add(sc, report, before, after)
	o, err = w.best(b.load.SamplesPerRequest)
	o.spread = spread
	return r, o, err
}

// watched is what was seen of calls.
type watched struct {
	mu       sync.Mutex
	err      error
	metered  int64
	records  int64
	requests map[string][][]standin.Record // calls by timestamp, which all records of a request have
}

func (w *watched) see(c *standin.Call, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.err = err
		return
	}
	w.metered += int64(c.Metered())
	w.records += int64(len(c.Records))
	if w.requests == nil {
		w.requests = map[string][][]standin.Record{}
	}
	byTime := map[string][]standin.Record{}
	for _, r := range c.Flat() {
		byTime[*r.Time] = append(byTime[*r.Time], r)
	}
	for t, records := range byTime {
		w.requests[t] = append(w.requests[t], records)
	}
}

// searched is how many requests a best order is looked for in.
const searched = 10

// best compares some requests of n records with their best orders; how is that of the last. Timestamps with more records are
// those of requests that came in the same millisecond; they are left out.
func (w *watched) best(n int) (o ordering, err error) {
	var requests [][][]standin.Record
	for _, t := range slices.Sorted(maps.Keys(w.requests)) {
		records := 0
		for _, call := range w.requests[t] {
			records += len(call)
		}
		if records == n {
			requests = append(requests, w.requests[t])
		}
	}
	if len(requests) == 0 {
		return o, fmt.Errorf("none of %d requests has %d records and a time of its own", len(w.requests), n)
	}
	k := min(searched, len(requests))
	for i := range k {
		s := newSearch(requests[i*len(requests)/k])
		bytes, how := s.best()
		o.sent += float64(s.cost(s.sent)) / float64(n*k)
		o.best += float64(bytes) / float64(n*k)
		o.how = how
	}
	return o, nil
}

// search looks for a good way to put records into calls.
type search struct {
	records [][]int  // what each record has that may be common, as indices: time, measure name, dimensions
	size    []int    // what each of these is metered at
	values  [][]int  // of each record, by the index of a dimension's name: which of records it is, -1 without
	names   []string // of dimensions, the measure name among them
	sent    [][]int  // the calls as they were
}

func newSearch(calls [][]standin.Record) *search {
	s := &search{}
	ids, nameIDs := map[string]int{}, map[string]int{}
	for _, call := range calls {
		var sent []int
		for _, r := range call {
			var rec, values []int
			have := func(name, value string, size int) {
				id, ok := ids[name+"\xff"+value]
				if !ok {
					id = len(s.size)
					ids[name+"\xff"+value] = id
					s.size = append(s.size, size)
				}
				n, ok := nameIDs[name]
				if !ok {
					n = len(s.names)
					nameIDs[name] = n
					s.names = append(s.names, name)
				}
				for len(values) <= n {
					values = append(values, -1)
				}
				rec, values[n] = append(rec, id), id
			}
			have("the time", *r.Time, metering.TimeBytes)
			have("the metric", *r.MeasureName, len(*r.MeasureName))
			for _, d := range r.Dimensions {
				have(d.Name, d.Value, len(d.Name)+len(d.Value))
			}
			sent = append(sent, len(s.records))
			s.records, s.values = append(s.records, rec), append(s.values, values)
		}
		s.sent = append(s.sent, sent)
	}
	return s
}

// cost is what calls with these records are metered at.
func (s *search) cost(calls [][]int) int {
	sum := 0
	count := make([]int, len(s.size))
	for _, call := range calls {
		for _, i := range call {
			sum += metering.NumberBytes
			for _, p := range s.records[i] {
				sum += s.size[p]
				count[p]++
			}
		}
		for _, p := range s.records[call[0]] {
			if count[p] == len(call) {
				sum -= (len(call) - 1) * s.size[p]
			}
		}
		for _, i := range call {
			for _, p := range s.records[i] {
				count[p] = 0
			}
		}
	}
	return sum
}

// best is the least cost that was found: of the calls as they were sent, of sorting by every two dimensions, of filling call by
// call with the record that adds least, and of exchanging records between calls and moving them from there on.
func (s *search) best() (bytes int, how string) {
	bytes = math.MaxInt
	var calls [][]int
	try := func(name string, candidate [][]int) {
		if c := s.cost(candidate); c < bytes {
			calls, bytes, how = candidate, c, name
		}
	}
	for a := range s.names {
		for b := range s.names {
			order := make([]int, len(s.records))
			for i := range order {
				order[i] = i
			}
			slices.SortStableFunc(order, func(x, y int) int {
				if d := s.value(x, a) - s.value(y, a); d != 0 {
					return d
				}
				return s.value(x, b) - s.value(y, b)
			})
			try("by "+s.names[a]+" and "+s.names[b], slices.Collect(slices.Chunk(order, maxRecords)))
		}
	}
	sorted, bySort := how, calls
	filled := s.fill()
	try("record by record", filled)
	try("as sent", s.sent)
	for _, heat := range []float64{0, 20, 200} {
		try(fmt.Sprintf("%s, exchanged at %.0f", sorted, heat), s.exchange(bySort, heat))
		try(fmt.Sprintf("record by record, exchanged at %.0f", heat), s.exchange(filled, heat))
		try(fmt.Sprintf("as sent, exchanged at %.0f", heat), s.exchange(s.sent, heat))
	}
	return bytes, how
}

// maxRecords is how many records a call has at most (Timestream Developer Guide, ts-limits).
const maxRecords = 100

func (s *search) value(record, name int) int {
	if v := s.values[record]; name < len(v) {
		return v[name]
	}
	return -1
}

// fill fills call after call with the record that adds least.
func (s *search) fill() (out [][]int) {
	left := make([]int, len(s.records))
	for i := range left {
		left[i] = i
	}
	common := make([]bool, len(s.size))
	for len(left) > 0 {
		call := left[:1:1]
		left = left[1:]
		clear(common)
		shared := 0
		for _, p := range s.records[call[0]] {
			common[p], shared = true, shared+s.size[p]
		}
		for len(call) < maxRecords && len(left) > 0 {
			at, least, keeps := 0, math.MaxInt, 0
			for i, r := range left {
				own, both := 0, 0
				for _, p := range s.records[r] {
					if common[p] {
						both += s.size[p]
					} else {
						own += s.size[p]
					}
				}
				// What the others lose by it, and what it brings itself.
				if cost := (shared-both)*len(call) + own; cost < least {
					at, least, keeps = i, cost, both
				}
			}
			r := left[at]
			left = slices.Delete(left, at, at+1)
			call = append(call, r)
			if keeps != shared {
				was := slices.Clone(common)
				clear(common)
				for _, p := range s.records[r] {
					common[p] = was[p]
				}
				shared = keeps
			}
		}
		out = append(out, call)
	}
	return out
}

// exchanges is how often an exchange is tried.
const exchanges = 200_000

// exchange swaps records between calls, or moves one where there is room, if that helps, and at first now and then if it does
// not: the more heat, the more often (simulated annealing, heat in bytes).
func (s *search) exchange(calls [][]int, heat float64) [][]int {
	out := make([][]int, len(calls))
	count := make([][]int, len(calls)) // by call: how many records have it
	saved := make([]int, len(calls))
	change := func(c, record, by int) {
		for _, p := range s.records[record] {
			count[c][p] += by
		}
	}
	for c := range calls {
		out[c], count[c] = slices.Clone(calls[c]), make([]int, len(s.size))
		for _, i := range out[c] {
			change(c, i, 1)
		}
		saved[c] = s.saves(count[c], out[c][0], len(out[c]))
	}
	if len(out) < 2 {
		return out
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range exchanges {
		a, b := random.IntN(len(out)), random.IntN(len(out))
		if a == b {
			continue
		}
		i, j := random.IntN(len(out[a])), random.IntN(len(out[b]))
		x, y := out[a][i], out[b][j]
		temperature := heat*(1-float64(n)/exchanges) + 1e-9
		helps := func(nowA, nowB int) bool {
			gain := nowA + nowB - saved[a] - saved[b]
			if gain < 0 && random.Float64() >= math.Exp(float64(gain)/temperature) {
				return false
			}
			saved[a], saved[b] = nowA, nowB
			return true
		}
		if len(out[b]) < maxRecords && len(out[a]) > 1 && n%2 == 0 {
			change(a, x, -1)
			change(b, x, 1)
			if !helps(s.saves(count[a], out[a][(i+1)%len(out[a])], len(out[a])-1), s.saves(count[b], x, len(out[b])+1)) {
				change(a, x, 1)
				change(b, x, -1)
				continue
			}
			out[a], out[b] = slices.Delete(out[a], i, i+1), append(out[b], x)
			continue
		}
		change(a, x, -1)
		change(a, y, 1)
		change(b, y, -1)
		change(b, x, 1)
		if !helps(s.saves(count[a], y, len(out[a])), s.saves(count[b], x, len(out[b]))) {
			change(a, x, 1)
			change(a, y, -1)
			change(b, y, 1)
			change(b, x, -1)
			continue
		}
		out[a][i], out[b][j] = y, x
	}
	return out
}

// saves is what a call of n records saves by what all of them have, one of which is given.
func (s *search) saves(count []int, one, n int) int {
	sum := 0
	for _, p := range s.records[one] {
		if count[p] == n {
			sum += s.size[p]
		}
	}
	return sum * (n - 1)
}
