// SPDX-License-Identifier: Apache-2.0

package native

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Lead is how far before a range its histograms have to be read (series.Selection's HistogramLeadMs), in milliseconds: the one
// before the first in the range tells of that. It is two minutes longer than the lookback of an instant selector is by default;
// after a longer gap the hint stays unknown.
const Lead = 7 * 60_000

// KnownResets returns a set that gives out what another does from startMs on, which is closed with it. Where the stored hint of a
// histogram is unknown, and the sample before is a histogram of the same sort and layout without a reset between them, the hint is
// "no reset". Prometheus scrapes histograms without hints and finds this out when it stores them; readers of its storage rely on
// it.
func KnownResets(of series.Set, startMs int64) series.Set { return &set{Set: of, startMs: startMs} }

type set struct {
	series.Set
	startMs int64

	at         series.Series
	given      bool // a piece of the series has been given out
	histograms []series.Histogram
	hinter     hinter
}

// Next implements series.Set.
func (s *set) Next() bool {
	for s.Set.Next() {
		x := s.Set.At()
		if !x.Continued {
			s.given = false
			s.hinter.begin()
		}
		if len(x.Histograms) > 0 {
			s.histograms = s.hinter.hint(append(s.histograms[:0], x.Histograms...), x.Samples)
			lead := 0
			for lead < len(s.histograms) && s.histograms[lead].T < s.startMs {
				lead++
			}
			x.Histograms = s.histograms[lead:]
		} else {
			s.hinter.floats(x.Samples)
		}
		if len(x.Samples)+len(x.Histograms) == 0 {
			continue
		}
		x.Continued = s.given
		s.given, s.at = true, x
		return true
	}
	s.at = series.Series{}
	return false
}

// At implements series.Set.
func (s *set) At() series.Series { return s.at }

// hinter goes through the samples of one series.
type hinter struct {
	now, before histogram.FloatHistogram
	// known says that before is the latest histogram, at beforeMs, of floats or not; floatMs is the time of the latest float.
	known    bool
	float    bool
	beforeMs int64
	floatMs  int64
}

func (h *hinter) begin() { h.known, h.beforeMs, h.floatMs = false, math.MinInt64, math.MinInt64 }

// floats notes floats without histograms among them.
func (h *hinter) floats(samples []series.Sample) {
	if n := len(samples); n > 0 {
		h.floatMs = samples[n-1].T
	}
}

// hint sets the hints of histograms, among which there are floats. A histogram is copied before it is changed.
func (h *hinter) hint(histograms []series.Histogram, floats []series.Sample) []series.Histogram {
	f := 0
	for i := range histograms {
		x := &histograms[i]
		for f < len(floats) && floats[f].T < x.T {
			h.floatMs = floats[f].T
			f++
		}
		adjacent := h.known && h.float == x.H.IsFloatHistogram() && h.floatMs < h.beforeMs
		switch hint := histogram.CounterResetHint(x.H.ResetHint); {
		case hint != histogram.UnknownCounterReset:
			h.known = hint != histogram.GaugeType && !value.IsStaleNaN(x.H.Sum)
			if h.known {
				ReadFloat(&h.before, x.H)
			}
		default:
			ReadFloat(&h.now, x.H)
			if adjacent && h.now.Schema == h.before.Schema && h.now.ZeroThreshold == h.before.ZeroThreshold && !h.now.DetectReset(&h.before) {
				known := *x.H
				known.ResetHint = prompb.Histogram_NO
				x.H = &known
			}
			h.now, h.before = h.before, h.now
			h.known = !value.IsStaleNaN(x.H.Sum)
		}
		h.float, h.beforeMs = x.H.IsFloatHistogram(), x.T
	}
	h.floats(floats[f:])
	return histograms
}
