// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/tributary-project/tributary/services/query/internal/native"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// loadsPerQuery is how many selectors of one query are read at the same time.
const loadsPerQuery = 4

// queryable is the storage of one query.
type queryable struct {
	engine   *Engine
	place    Place
	pushDown *pushDown // nil for none

	mu     sync.Mutex
	loaded Loaded
}

var _ storage.Queryable = (*queryable)(nil)

func (q *queryable) add(l Loaded) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.loaded.Queries += l.Queries
	q.loaded.Pages += l.Pages
	q.loaded.MeteredBytes += l.MeteredBytes
	q.loaded.Conflicts += l.Conflicts
	q.loaded.Series += l.Series
	q.loaded.Samples += l.Samples
}

func (q *queryable) total() Loaded {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.loaded
}

// Querier implements storage.Queryable.
func (q *queryable) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{data: q, mint: mint, maxt: maxt, slots: make(chan struct{}, loadsPerQuery), loads: make(map[string]*load)}, nil
}

// querier reads for one query. Select starts to read at once, so that the selectors of an expression are read at the same
// time although the engine takes their series one selector after the other; selectors that ask for the same are read once.
// Close ends what still runs, waits for it, and closes the sets: until then their store counts the memory of what they gave.
type querier struct {
	data       *queryable
	mint, maxt int64
	slots      chan struct{}

	running sync.WaitGroup
	mu      sync.Mutex
	loads   map[string]*load
	ends    []context.CancelFunc
}

var _ storage.Querier = (*querier)(nil)

// Select implements storage.Querier. Series are always sorted.
func (q *querier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	sel := series.Selection{
		Database: q.data.place.Database, Table: q.data.place.Table, Matchers: matchers,
		StartMs: q.mint, EndMs: q.maxt,
		LastPerStep: q.data.pushDown.lastPerStep(hints),
		Starts:      q.data.engine.cfg.Features.UseStartTimestamps,
		Kept:        true,

		HistogramLeadMs: native.Lead,
	}
	if hints != nil {
		sel.StartMs, sel.EndMs = hints.Start, hints.End
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	key := keyOf(sel)
	l, ok := q.loads[key]
	if !ok {
		ctx, end := context.WithCancel(ctx)
		l = &load{done: make(chan struct{})}
		q.loads[key], q.ends = l, append(q.ends, end)
		q.running.Go(func() { q.run(ctx, l, sel) })
	}
	return &set{ctx: ctx, load: l, at: -1}
}

// keyOf is equal for selections that have the same result.
func keyOf(s series.Selection) string {
	var b strings.Builder
	fmt.Fprint(&b, s.StartMs, " ", s.EndMs)
	if p := s.LastPerStep; p != nil {
		fmt.Fprint(&b, " ", p.AlignMs, " ", p.StepMs)
	}
	for _, m := range s.Matchers {
		fmt.Fprintf(&b, " %q %d %q", m.Name, m.Type, m.Value)
	}
	return b.String()
}

// Close implements storage.Querier.
func (q *querier) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, end := range q.ends {
		end()
	}
	q.running.Wait()
	for _, l := range q.loads {
		if l.set != nil {
			l.set.Close()
		}
	}
	q.loads, q.ends = nil, nil
	return nil
}

// errNotServed says what no expression asks for.
var errNotServed = errors.New("the querier of the engine lists no labels")

// LabelValues implements storage.Querier; the engine does not use it.
func (*querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errNotServed
}

// LabelNames implements storage.Querier; the engine does not use it.
func (*querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errNotServed
}

// load is one selection that is read, or was. The rest may be used once done is closed.
type load struct {
	done     chan struct{}
	set      series.Set // open, for the memory that it stands for; nil if there is none
	series   []storage.Series
	warnings annotations.Annotations
	err      error
}

func (q *querier) run(ctx context.Context, l *load, sel series.Selection) {
	defer close(l.done)
	select {
	case q.slots <- struct{}{}:
	case <-ctx.Done():
		l.err = ctx.Err()
		return
	}
	defer func() { <-q.slots }()
	in, err := q.data.engine.selector.Select(ctx, sel)
	if err != nil {
		l.err = err
		return
	}
	l.set = in
	var samples int64
	l.series, samples, l.err = collect(native.KnownResets(in, sel.StartMs))
	for _, w := range in.Warnings() {
		l.warnings.Add(errors.New(w))
	}
	q.data.add(Loaded{Stats: in.Stats(), Series: int64(len(l.series)), Samples: samples})
}

// set hands out a load once it is there.
type set struct {
	ctx  context.Context
	load *load
	at   int
	err  error
}

// Next implements storage.SeriesSet.
func (s *set) Next() bool {
	if s.err != nil {
		return false
	}
	if s.at < 0 {
		select {
		case <-s.load.done:
			s.err = s.load.err
		case <-s.ctx.Done():
			s.err = s.ctx.Err()
		}
		if s.err != nil {
			return false
		}
	}
	if s.at+1 >= len(s.load.series) {
		return false
	}
	s.at++
	return true
}

// At implements storage.SeriesSet.
func (s *set) At() storage.Series { return s.load.series[s.at] }

// Err implements storage.SeriesSet.
func (s *set) Err() error { return s.err }

// Warnings implements storage.SeriesSet.
func (s *set) Warnings() annotations.Annotations {
	select {
	case <-s.load.done:
		return s.load.warnings
	default:
		return nil
	}
}
