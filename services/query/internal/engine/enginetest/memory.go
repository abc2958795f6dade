// SPDX-License-Identifier: Apache-2.0

// Package enginetest keeps series in memory for tests of what reads through series.Selector. It is as strict as a selector
// may be: it gives out pieces, spoils them when they are no longer the reader's, and leaves out whatever the reader did not
// ask for. It leaves durability and every limit to real stores.
package enginetest

import (
	"context"
	"math"
	"slices"
	"sort"
	"sync"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Memory is a series.Selector. It is safe for concurrent use.
type Memory struct {
	// Piece is how many samples a piece holds at most; 0 for 480.
	Piece int
	// Trusting gives out the samples themselves, not a copy that is spoilt afterwards: for benchmarks.
	Trusting bool
	// Before is called at the start of each selection; it may wait, or fail it. Nil for nothing.
	Before func(context.Context, series.Selection) error
	// Warnings are those of every selection.
	Warnings []string

	mu     sync.Mutex
	byKey  map[string]*stored
	sorted []*stored // nil after a change
	asked  []series.Selection
	given  int64
	open   int
}

type stored struct {
	labels labels.Labels
	// One entry a sample, in order of time; h is nil for a float.
	t, st []int64
	v     []float64
	h     []*prompb.Histogram
	// The same for readers that trust: floats alone.
	floats []series.Sample
	mixed  bool
}

const defaultPiece = 480

var _ series.Selector = (*Memory)(nil)

// Append adds a float, or a histogram where h is not nil. A sample at a time that the series has already takes its place. st
// is the start timestamp, 0 for none.
func (m *Memory) Append(ls labels.Labels, st, t int64, v float64, h *prompb.Histogram) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := string(ls.Bytes(nil))
	s := m.byKey[key]
	if s == nil {
		if m.byKey == nil {
			m.byKey = make(map[string]*stored)
		}
		s = &stored{labels: ls}
		m.byKey[key], m.sorted = s, nil
	}
	i, there := slices.BinarySearch(s.t, t)
	if !there {
		s.t, s.st = slices.Insert(s.t, i, t), slices.Insert(s.st, i, st)
		s.v, s.h = slices.Insert(s.v, i, v), slices.Insert(s.h, i, h)
	}
	s.st[i], s.v[i], s.h[i] = st, v, h
	s.mixed = s.mixed || h != nil || st != 0
	if !s.mixed {
		s.floats = slices.Insert(s.floats, min(i, len(s.floats)), series.Sample{T: t, V: v})
		if there {
			s.floats = slices.Delete(s.floats, i+1, i+2)
		}
	}
}

// Asked returns the selections so far.
func (m *Memory) Asked() []series.Selection {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asked)
}

// Given returns how many samples were given out so far.
func (m *Memory) Given() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.given
}

// Open returns how many sets have not been closed.
func (m *Memory) Open() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// Select implements series.Selector.
func (m *Memory) Select(ctx context.Context, sel series.Selection) (series.Set, error) {
	m.mu.Lock()
	m.asked = append(m.asked, sel)
	m.mu.Unlock()
	if m.Before != nil {
		if err := m.Before(ctx, sel); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sorted == nil {
		for _, s := range m.byKey {
			m.sorted = append(m.sorted, s)
		}
		slices.SortFunc(m.sorted, func(a, b *stored) int { return labels.Compare(a.labels, b.labels) })
	}
	piece := m.Piece
	if piece == 0 {
		piece = defaultPiece
	}
	m.open++
	out := &set{memory: m, ctx: ctx, at: -1, warnings: m.Warnings, spoil: !m.Trusting}
	for _, s := range m.sorted {
		if !matches(s.labels, sel.Matchers) {
			continue
		}
		if m.Trusting && !s.mixed && sel.LastPerStep == nil {
			lo := sort.Search(len(s.floats), func(i int) bool { return s.floats[i].T >= sel.StartMs })
			hi := sort.Search(len(s.floats), func(i int) bool { return s.floats[i].T > sel.EndMs })
			for i := lo; i < hi; i += piece {
				out.pieces = append(out.pieces, series.Series{Labels: s.labels, Continued: i > lo, Samples: s.floats[i:min(i+piece, hi)]})
			}
			m.given += int64(max(0, hi-lo))
			continue
		}
		out.cut(s, s.needed(sel), sel, piece)
	}
	for _, p := range out.pieces {
		if !m.Trusting {
			m.given += int64(len(p.Samples) + len(p.Histograms))
		}
	}
	return out, nil
}

func matches(ls labels.Labels, ms []*labels.Matcher) bool {
	for _, m := range ms {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// needed returns the places of the samples that the selection cannot do without.
func (s *stored) needed(sel series.Selection) []int {
	var out []int
	last, at := int64(0), -1 // the window of the last float, and its place in out
	for i, t := range s.t {
		from := sel.StartMs
		if s.h[i] != nil {
			from -= sel.HistogramLeadMs
		}
		if t < from || t > sel.EndMs {
			continue
		}
		if p := sel.LastPerStep; p != nil && s.h[i] == nil {
			w := window(t, p)
			if at >= 0 && w == last {
				out = slices.Delete(out, at, at+1)
			}
			last, at = w, len(out)
		}
		out = append(out, i)
	}
	return out
}

// window is the k of series.LastPerStep: the least for which t is not after AlignMs+k·StepMs.
func window(t int64, p *series.LastPerStep) int64 {
	k := (t - p.AlignMs) / p.StepMs
	if (t-p.AlignMs)%p.StepMs > 0 {
		k++
	}
	return k
}

// cut adds the samples of a series in pieces.
func (x *set) cut(s *stored, at []int, sel series.Selection, piece int) {
	for first := 0; first < len(at); first += piece {
		p := series.Series{Labels: s.labels, Continued: first > 0}
		starts := false
		for _, i := range at[first:min(first+piece, len(at))] {
			if h := s.h[i]; h != nil {
				st := s.st[i]
				if !sel.Starts {
					st = 0
				}
				p.Histograms = append(p.Histograms, series.Histogram{T: s.t[i], StartMs: st, H: h})
				continue
			}
			p.Samples = append(p.Samples, series.Sample{T: s.t[i], V: s.v[i]})
			p.Starts = append(p.Starts, s.st[i])
			starts = starts || s.st[i] != 0
		}
		if !starts || !sel.Starts {
			p.Starts = nil
		}
		x.pieces = append(x.pieces, p)
	}
}

type set struct {
	memory   *Memory
	ctx      context.Context
	pieces   []series.Series
	at       int
	err      error
	warnings []string
	spoil    bool
}

// Next implements series.Set.
func (x *set) Next() bool {
	if x.at >= 0 && x.spoil {
		p := x.pieces[x.at]
		for i := range p.Samples {
			p.Samples[i] = series.Sample{T: math.MinInt64, V: math.Inf(-1)}
		}
		clear(p.Starts)
		clear(p.Histograms)
	}
	if x.err = x.ctx.Err(); x.err != nil || x.at+1 >= len(x.pieces) {
		x.pieces, x.at = nil, -1
		return false
	}
	x.at++
	return true
}

func (x *set) At() series.Series   { return x.pieces[x.at] }
func (x *set) Err() error          { return x.err }
func (x *set) Stats() series.Stats { return series.Stats{Queries: 1, Pages: 1} }
func (x *set) Warnings() []string  { return x.warnings }

// Close implements series.Set.
func (x *set) Close() {
	x.memory.mu.Lock()
	defer x.memory.mu.Unlock()
	x.memory.open--
}

// Histogram is the stored form of a histogram of either sort; one of the two is nil.
func Histogram(h *histogram.Histogram, fh *histogram.FloatHistogram) *prompb.Histogram {
	var p prompb.Histogram
	if fh != nil {
		p = prompb.FromFloatHistogram(0, fh.Copy())
	} else {
		p = prompb.FromIntHistogram(0, h.Copy())
	}
	return &p
}
