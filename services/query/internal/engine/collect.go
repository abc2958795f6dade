// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/prometheus/prometheus/storage"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// collect reads a set to its end. Samples are copied, sixteen bytes each, into blocks that hold many series: no allocation
// for a series, nothing in them that the garbage collector has to look at.
func collect(in series.Set) (out []storage.Series, samples int64, err error) {
	var (
		floats arena[series.Sample]
		starts arena[int64]
		hists  arena[series.Histogram]
		spare  []memSeries
		s      *memSeries
	)
	for in.Next() {
		p := in.At()
		if !p.Continued || s == nil {
			if len(spare) == 0 {
				spare = make([]memSeries, min(max(16, len(out)), 1024))
			}
			s, spare = &spare[0], spare[1:]
			s.labels = p.Labels
			out = append(out, s)
		}
		samples += int64(len(p.Samples) + len(p.Histograms))
		if p.Starts != nil && s.starts == nil && len(s.floats) > 0 { // the pieces before had none
			s.starts = starts.extend(nil, make([]int64, len(s.floats)))
		}
		switch {
		case p.Starts != nil:
			s.starts = starts.extend(s.starts, p.Starts)
		case s.starts != nil:
			s.starts = starts.extend(s.starts, make([]int64, len(p.Samples)))
		}
		s.floats = floats.extend(s.floats, p.Samples)
		s.histograms = hists.extend(s.histograms, p.Histograms)
	}
	if err := in.Err(); err != nil {
		return nil, samples, err
	}
	return out, samples, nil
}

// Blocks of an arena have so many elements: few for a small query, a megabyte of samples for a large one.
const (
	minBlock = 1 << 8
	maxBlock = 1 << 16
)

// arena gives out slices that lie in large blocks, one after the other.
type arena[T any] struct{ block []T }

// extend returns s with more behind it. s is nil or what extend returned last.
func (a *arena[T]) extend(s, more []T) []T {
	if len(more) == 0 {
		return s
	}
	need := len(s) + len(more)
	if cap(a.block)-len(a.block) < len(more) {
		size := min(max(2*cap(a.block), minBlock), maxBlock)
		if size < need { // one that grows without end is copied as often as append would
			size = need + need/2
		}
		a.block = append(make([]T, 0, size), s...)
	}
	a.block = append(a.block, more...)
	n := len(a.block)
	return a.block[n-need : n : n]
}
