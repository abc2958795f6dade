// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/tributary-project/tributary/services/query/internal/native"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// memSeries is a series in memory. Nothing of it changes once it is handed out.
type memSeries struct {
	labels     labels.Labels
	floats     []series.Sample
	starts     []int64 // of floats; nil or as many
	histograms []series.Histogram
}

var _ storage.Series = (*memSeries)(nil)

// Labels implements storage.Series.
func (s *memSeries) Labels() labels.Labels { return s.labels }

// Iterator implements storage.Series.
func (s *memSeries) Iterator(again chunkenc.Iterator) chunkenc.Iterator {
	it, ok := again.(*iterator)
	if !ok {
		it = new(iterator)
	}
	*it = iterator{floats: s.floats, starts: s.starts, histograms: s.histograms}
	return it
}

// iterator goes through the floats and the histograms of a series in order of time.
type iterator struct {
	floats     []series.Sample
	starts     []int64
	histograms []series.Histogram
	// f and h are how many floats and histograms have been passed. The current sample is the next one of its sort.
	f, h int
	// current is ValNone before the first sample and after the last one.
	current chunkenc.ValueType
}

var _ chunkenc.Iterator = (*iterator)(nil)

// Next implements chunkenc.Iterator.
func (it *iterator) Next() chunkenc.ValueType {
	switch it.current {
	case chunkenc.ValFloat:
		it.f++
	case chunkenc.ValHistogram, chunkenc.ValFloatHistogram:
		it.h++
	}
	return it.choose()
}

// choose makes the earlier one of the next float and the next histogram current.
func (it *iterator) choose() chunkenc.ValueType {
	switch {
	case it.f < len(it.floats) && (it.h >= len(it.histograms) || it.floats[it.f].T < it.histograms[it.h].T):
		it.current = chunkenc.ValFloat
	case it.h >= len(it.histograms):
		it.current = chunkenc.ValNone
	case it.histograms[it.h].H.IsFloatHistogram():
		it.current = chunkenc.ValFloatHistogram
	default:
		it.current = chunkenc.ValHistogram
	}
	return it.current
}

// Seek implements chunkenc.Iterator.
func (it *iterator) Seek(t int64) chunkenc.ValueType { //nolint:govet // not io.Seeker's
	if it.current != chunkenc.ValNone && it.AtT() >= t {
		return it.current
	}
	for lo, hi := it.f, len(it.floats); ; {
		if lo >= hi {
			it.f = lo
			break
		}
		if m := int(uint(lo+hi) / 2); it.floats[m].T < t {
			lo = m + 1
		} else {
			hi = m
		}
	}
	for lo, hi := it.h, len(it.histograms); ; {
		if lo >= hi {
			it.h = lo
			break
		}
		if m := int(uint(lo+hi) / 2); it.histograms[m].T < t {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return it.choose()
}

// At implements chunkenc.Iterator.
func (it *iterator) At() (int64, float64) {
	s := &it.floats[it.f]
	return s.T, s.V
}

// AtHistogram implements chunkenc.Iterator.
func (it *iterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	at := &it.histograms[it.h]
	if h == nil {
		h = new(histogram.Histogram)
	}
	native.Read(h, at.H)
	return at.T, h
}

// AtFloatHistogram implements chunkenc.Iterator.
func (it *iterator) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	at := &it.histograms[it.h]
	if h == nil {
		h = new(histogram.FloatHistogram)
	}
	native.ReadFloat(h, at.H)
	return at.T, h
}

// AtT implements chunkenc.Iterator. Before the first sample it is the least of all times, as HistogramStatsIterator wants
// it.
func (it *iterator) AtT() int64 {
	switch it.current {
	case chunkenc.ValFloat:
		return it.floats[it.f].T
	case chunkenc.ValNone:
		return math.MinInt64
	}
	return it.histograms[it.h].T
}

// AtST implements chunkenc.Iterator. Histograms have none, as in Prometheus 3.13: its chunks of histograms do not hold start
// timestamps, and its engine gives other results with them.
func (it *iterator) AtST() int64 {
	if it.current == chunkenc.ValFloat && it.starts != nil {
		return it.starts[it.f]
	}
	return 0
}

// Err implements chunkenc.Iterator.
func (*iterator) Err() error { return nil }
