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

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// part is a piece of a histogram that is in several records, the first one being 0.
type part struct {
	t     int64
	piece int
	text  string
}

// maxCandidates is how many different texts of one piece, of one series at one millisecond, are tried. There is one,
// unless different histograms were written.
const maxCandidates = 4

// histogram takes the text of a histogram or a piece of it.
func (c *Collector) histogram(e *entry, t int64, piece int, text string) error {
	if piece == 0 {
		n, err := promschema.HistogramPieces(text)
		var h *prompb.Histogram
		if err == nil && n == 1 {
			h, err = c.decoder.Decode(text)
		}
		switch {
		case err != nil:
			c.damage.Add(Damage{Histograms: 1, Example: err})
			return nil //nolint:nilerr // what is damaged is counted and left out
		case h != nil:
			return c.keep(e, t, h)
		}
	}
	// Each piece may come first. The histogram is counted as a sample when it is whole.
	if err := c.meter.Take(0, int64(unsafe.Sizeof(part{}))+int64(len(text))); err != nil {
		return err
	}
	e.parts = append(e.parts, part{t, piece, text})
	return nil
}

func (c *Collector) keep(e *entry, t int64, h *prompb.Histogram) error {
	if err := c.meter.Take(1, histogramBytes(h)); err != nil {
		return err
	}
	e.histograms = append(e.histograms, series.Histogram{T: t, H: h})
	return nil
}

// histogramBytes is about what a histogram takes in memory.
func histogramBytes(h *prompb.Histogram) int64 {
	const interfaces = 2 * 8 // what the counts point to
	n := cap(h.NegativeSpans) + cap(h.PositiveSpans) + cap(h.NegativeDeltas) + cap(h.PositiveDeltas) +
		cap(h.NegativeCounts) + cap(h.PositiveCounts) + cap(h.CustomValues)
	return int64(unsafe.Sizeof(series.Histogram{})+unsafe.Sizeof(prompb.Histogram{})) + interfaces + 8*int64(n)
}

// Complete puts the pieces of histograms together, when all rows have been added. A set of which a piece is missing is left
// out and counted. The error is the meter's.
func (c *Collector) Complete() error {
	for _, e := range c.byLabels {
		if len(e.parts) == 0 {
			continue
		}
		slices.SortFunc(e.parts, func(a, b part) int {
			return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.piece, b.piece), strings.Compare(a.text, b.text))
		})
		parts := slices.Compact(e.parts) // the same series may be stored under two encodings
		for len(parts) > 0 {
			n := 1
			for n < len(parts) && parts[n].t == parts[0].t {
				n++
			}
			if err := c.assemble(e, parts[:n]); err != nil {
				return err
			}
			parts = parts[n:]
		}
		e.parts = nil
	}
	return nil
}

// errIncomplete says why a histogram was left out.
var errIncomplete = errors.New("a record of a histogram is missing")

// assemble takes all pieces of one millisecond, sorted. Where there are pieces of several histograms, their checksums tell
// which belong together.
func (c *Collector) assemble(e *entry, parts []part) error {
	var texts [promschema.MaxHistogramPieces][]string
	begun := 0
	for _, p := range parts {
		if p.piece == 0 {
			begun++
		}
		if len(texts[p.piece]) < maxCandidates {
			texts[p.piece] = append(texts[p.piece], p.text)
		}
	}
	missing := max(begun, 1)
	for _, first := range texts[0] {
		h := c.join(first, texts[1], texts[2])
		if h == nil {
			continue
		}
		missing--
		if err := c.keep(e, parts[0].t, h); err != nil {
			return err
		}
	}
	if missing > 0 {
		at := time.UnixMilli(parts[0].t).UTC().Format(time.RFC3339Nano)
		c.damage.Add(Damage{Incomplete: missing, Example: fmt.Errorf("%w, of series %.200s at %s", errIncomplete, e.labels, at)})
	}
	return nil
}

// join returns the histogram that begins with first; nil when its other pieces are not there.
func (c *Collector) join(first string, second, third []string) *prompb.Histogram {
	n, err := promschema.HistogramPieces(first)
	if err != nil {
		return nil
	}
	if n < promschema.MaxHistogramPieces {
		third = []string{""} // none is asked for
	}
	for _, s := range second {
		for _, t := range third {
			if h, err := c.decoder.Decode([]string{first, s, t}[:n]...); err == nil {
				return h
			}
		}
	}
	return nil
}

// sortHistograms puts the histograms in order and leaves one for each millisecond; it returns how many disagreed.
func (e *entry) sortHistograms() (conflicts int64) {
	h := e.histograms
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
	e.histograms = kept
	return conflicts
}

// compareBits orders histograms of one millisecond by what they are stored as.
func compareBits(a, b series.Histogram) int {
	if a.T != b.T {
		return 0
	}
	return bytes.Compare(promschema.AppendHistogram(nil, a.H, 0), promschema.AppendHistogram(nil, b.H, 0))
}

// settle leaves one sample for each millisecond that has a float and a histogram; it returns how many there were.
func (e *entry) settle() (conflicts int64) {
	samples, histograms := e.samples[:0], e.histograms[:0]
	floats := e.samples
	for _, h := range e.histograms {
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
	clear(e.histograms[len(histograms):])
	e.samples, e.histograms = append(samples, floats...), histograms
	return conflicts
}
