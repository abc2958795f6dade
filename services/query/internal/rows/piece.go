// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream/promschema"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Start is the start timestamp Ms that is in force from T on; 0 for none.
type Start struct{ T, Ms int64 }

// Piece is some samples of a series, each sort in order of time with one for a millisecond.
type Piece struct {
	Labels     labels.Labels
	Samples    []series.Sample
	Histograms []series.Histogram
	// Starts are records of start timestamps. A statement that reads them reads no samples.
	Starts []Start
}

// pieces keeps the memory of pieces that were read.
var pieces = sync.Pool{New: func() any { return new(Piece) }}

// NewPiece returns an empty piece, whose memory may have been another's.
func NewPiece(ls labels.Labels) *Piece {
	p, _ := pieces.Get().(*Piece)
	p.Labels = ls
	return p
}

// keptSamples is how much of a piece's memory is kept for others.
const keptSamples = 16 << 10

// Release gives up a piece.
func (p *Piece) Release() {
	if cap(p.Samples) > keptSamples {
		p.Samples = nil
	}
	if cap(p.Histograms) > keptSamples {
		p.Histograms = nil
	}
	if cap(p.Starts) > keptSamples {
		p.Starts = nil
	}
	clear(p.Histograms)
	p.Labels, p.Samples, p.Histograms, p.Starts = labels.EmptyLabels(), p.Samples[:0], p.Histograms[:0], p.Starts[:0]
	pieces.Put(p)
}

func (p *Piece) len() int { return len(p.Samples) + len(p.Histograms) }

// first returns the time of the first sample.
func (p *Piece) first() int64 {
	t := int64(math.MaxInt64)
	if len(p.Samples) > 0 {
		t = p.Samples[0].T
	}
	if len(p.Histograms) > 0 {
		t = min(t, p.Histograms[0].T)
	}
	return t
}

// last returns the time of the last sample.
func (p *Piece) last() int64 {
	t := int64(math.MinInt64)
	if n := len(p.Samples); n > 0 {
		t = p.Samples[n-1].T
	}
	if n := len(p.Histograms); n > 0 {
		t = max(t, p.Histograms[n-1].T)
	}
	return t
}

// dropUntil leaves out the samples up to a time.
func (p *Piece) dropUntil(t int64) {
	p.Samples = slices.DeleteFunc(p.Samples, func(x series.Sample) bool { return x.T <= t })
	p.Histograms = slices.DeleteFunc(p.Histograms, func(x series.Histogram) bool { return x.T <= t })
	p.Starts = slices.DeleteFunc(p.Starts, func(x Start) bool { return x.T <= t })
}

// settle puts the samples in order and leaves one for each millisecond; it returns how many disagreed with the one that stays.
// Of samples that disagree the one of the higher rank stays (promschema.Rank); equal ranks are told apart by their bits, so
// that the order in which rows came plays no part.
func (p *Piece) settle() (conflicts int64) {
	conflicts = p.sortSamples()
	if len(p.Histograms) > 0 {
		conflicts += p.sortHistograms() + p.settleSorts()
	}
	slices.SortStableFunc(p.Starts, func(a, b Start) int { return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(a.Ms, b.Ms)) })
	return conflicts
}

func (p *Piece) sortSamples() (conflicts int64) {
	s := p.Samples
	ordered := true
	for i := 1; i < len(s) && ordered; i++ {
		ordered = s[i-1].T < s[i].T
	}
	if ordered {
		return 0
	}
	slices.SortFunc(s, func(a, b series.Sample) int {
		switch {
		case a.T != b.T:
			return cmp.Compare(a.T, b.T)
		case promschema.Rank(a.V) != promschema.Rank(b.V):
			return promschema.Rank(b.V) - promschema.Rank(a.V)
		}
		return cmp.Compare(math.Float64bits(a.V), math.Float64bits(b.V))
	})
	kept := s[:1]
	for _, x := range s[1:] {
		last := kept[len(kept)-1]
		switch {
		case x.T != last.T:
			kept = append(kept, x)
		case math.Float64bits(x.V) != math.Float64bits(last.V):
			conflicts++
		}
	}
	p.Samples = kept
	return conflicts
}
