// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/result"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// part is a piece of a histogram that is in several records, the first one being 0.
type part struct {
	t     int64
	piece int
	text  string
	// startMs is the start timestamp in the same record.
	startMs int64
}

// maxCandidates is how many different texts of one piece, of one series at one millisecond, are tried. There is one,
// unless different histograms were written.
const maxCandidates = 4

// histogram takes the text of a histogram or a piece of it.
func (r *Reader) histogram(e *entry, t int64, start *result.Cell, piece int, text string) error {
	ms, err := startOf(start)
	if err != nil {
		return err
	}
	if piece == 0 {
		n, err := promschema.HistogramPieces(text)
		var h *prompb.Histogram
		if err == nil && n == 1 {
			h, err = r.cfg.Decoder.Decode(text)
		}
		switch {
		case err != nil:
			r.damage.Add(Damage{Histograms: 1, Example: err})
			return nil //nolint:nilerr // what is damaged is counted and left out
		case h != nil:
			return r.keep(e, e.piece, series.Histogram{T: t, StartMs: ms, H: h})
		}
	}
	// Each piece may come first.
	if err := r.hold(e, int64(unsafe.Sizeof(part{}))+int64(len(text))); err != nil {
		return err
	}
	e.parts = append(e.parts, part{t, piece, text, ms})
	return nil
}

func (r *Reader) keep(e *entry, p *Piece, h series.Histogram) error {
	if err := r.hold(e, histogramBytes(h.H)); err != nil {
		return err
	}
	p.Histograms = append(p.Histograms, h)
	return nil
}

// histogramBytes is about what a histogram takes in memory.
func histogramBytes(h *prompb.Histogram) int64 {
	const interfaces = 2 * 8 // what the counts point to
	n := cap(h.NegativeSpans) + cap(h.PositiveSpans) + cap(h.NegativeDeltas) + cap(h.PositiveDeltas) +
		cap(h.NegativeCounts) + cap(h.PositiveCounts) + cap(h.CustomValues)
	return int64(unsafe.Sizeof(series.Histogram{})+unsafe.Sizeof(prompb.Histogram{})) + interfaces + 8*int64(n)
}

// complete puts the pieces of histograms together, when all rows of their milliseconds have been read. A set of which a piece is
// missing is left out and counted. The error is the meter's.
func (r *Reader) complete(e *entry, p *Piece) error {
	if len(e.parts) == 0 {
		return nil
	}
	slices.SortFunc(e.parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.piece, b.piece), strings.Compare(a.text, b.text), cmp.Compare(a.startMs, b.startMs))
	})
	parts := slices.Compact(e.parts) // the same series may be stored under two encodings
	for len(parts) > 0 {
		n := 1
		for n < len(parts) && parts[n].t == parts[0].t {
			n++
		}
		if err := r.assemble(e, p, parts[:n]); err != nil {
			return err
		}
		parts = parts[n:]
	}
	return nil
}

// errIncomplete says why a histogram was left out.
var errIncomplete = errors.New("a record of a histogram is missing")

// assemble takes all pieces of one millisecond, sorted. Where there are pieces of several histograms, their checksums tell
// which belong together.
func (r *Reader) assemble(e *entry, p *Piece, parts []part) error {
	var texts [promschema.MaxHistogramPieces][]string
	var starts []int64
	begun := 0
	for _, x := range parts {
		if x.piece == 0 {
			begun++
		}
		if len(texts[x.piece]) < maxCandidates {
			texts[x.piece] = append(texts[x.piece], x.text)
			if x.piece == 0 {
				starts = append(starts, x.startMs)
			}
		}
	}
	missing := max(begun, 1)
	for i, first := range texts[0] {
		h := r.join(first, texts[1], texts[2])
		if h == nil {
			continue
		}
		missing--
		if err := r.keep(e, p, series.Histogram{T: parts[0].t, StartMs: starts[i], H: h}); err != nil {
			return err
		}
	}
	if missing > 0 {
		at := time.UnixMilli(parts[0].t).UTC().Format(time.RFC3339Nano)
		r.damage.Add(Damage{Incomplete: missing, Example: fmt.Errorf("%w, of series %.200s at %s", errIncomplete, e.labels, at)})
	}
	return nil
}

// join returns the histogram that begins with first; nil when its other pieces are not there.
func (r *Reader) join(first string, second, third []string) *prompb.Histogram {
	n, err := promschema.HistogramPieces(first)
	if err != nil {
		return nil
	}
	if n < promschema.MaxHistogramPieces {
		third = []string{""} // none is asked for
	}
	for _, s := range second {
		for _, t := range third {
			if h, err := r.cfg.Decoder.Decode([]string{first, s, t}[:n]...); err == nil {
				return h
			}
		}
	}
	return nil
}

// sortHistograms puts the histograms in order and leaves one for each millisecond; it returns how many disagreed.
func (p *Piece) sortHistograms() (conflicts int64) {
	h := p.Histograms
	ordered := true
	for i := 1; i < len(h) && ordered; i++ {
		ordered = h[i-1].T < h[i].T
	}
	if ordered {
		return 0
	}
	slices.SortFunc(h, func(a, b series.Histogram) int {
		return cmp.Or(cmp.Compare(a.T, b.T), promschema.HistogramRank(b.H)-promschema.HistogramRank(a.H), compareBits(a, b))
	})
	kept := h[:1]
	for _, x := range h[1:] {
		last := kept[len(kept)-1]
		switch {
		case x.T != last.T:
			kept = append(kept, x)
		case compareBits(x, last) != 0:
			conflicts++
		}
	}
	clear(h[len(kept):])
	p.Histograms = kept
	return conflicts
}

// compareBits orders histograms of one millisecond by what they are stored as.
func compareBits(a, b series.Histogram) int {
	if a.T != b.T {
		return 0
	}
	return bytes.Compare(promschema.AppendHistogram(nil, a.H, 0), promschema.AppendHistogram(nil, b.H, 0))
}

// settleSorts leaves one sample for each millisecond that has a float and a histogram; it returns how many there were.
func (p *Piece) settleSorts() (conflicts int64) {
	samples, histograms := p.Samples[:0], p.Histograms[:0]
	floats := p.Samples
	for _, h := range p.Histograms {
		for len(floats) > 0 && floats[0].T < h.T {
			samples, floats = append(samples, floats[0]), floats[1:]
		}
		if len(floats) > 0 && floats[0].T == h.T {
			conflicts++
			if promschema.Rank(floats[0].V) > promschema.HistogramRank(h.H) {
				continue // the float is taken with the next histogram, or after the last
			}
			floats = floats[1:]
		}
		histograms = append(histograms, h)
	}
	clear(p.Histograms[len(histograms):])
	p.Samples, p.Histograms = append(samples, floats...), histograms
	return conflicts
}
