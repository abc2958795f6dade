// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Source is pieces sorted by labels, those of a series in order of time.
type Source interface {
	// Next returns the next piece, which the caller Releases, or nil at the end.
	Next() (*Piece, error)
}

// Held is a Source of pieces that are there already.
type Held []*Piece

// Next implements Source.
func (h *Held) Next() (*Piece, error) {
	if len(*h) == 0 {
		return nil, nil
	}
	p := (*h)[0]
	(*h)[0] = nil
	*h = (*h)[1:]
	return p, nil
}

// Merger puts sources together into series. It reads no further ahead than one piece of each. It is not safe for concurrent
// use.
type Merger struct {
	streams []*stream
	starts  []*stream
	// at is what was given out last, and labels whose it is.
	at      series.Series
	labels  labels.Labels
	active  []*stream // those that may have more of the series
	scratch Piece
	// inForce are the start timestamps of the series, the first being the one in force; buffer holds those of the samples.
	inForce []Start
	buffer  []int64

	conflicts int64
	began     bool
	err       error
}

// stream is a source with the piece that is to be read next, and how much of that has been read.
type stream struct {
	source              Source
	head                *Piece
	samples, histograms int
}

func (s *stream) advance() (err error) {
	if s.head != nil {
		s.head.Release()
	}
	s.samples, s.histograms = 0, 0
	s.head, err = s.source.Next()
	return err
}

// upTo returns the samples of the head up to a time, and passes over them.
func (s *stream) upTo(t int64) ([]series.Sample, []series.Histogram) {
	f, h := s.head.Samples[s.samples:], s.head.Histograms[s.histograms:]
	if n := len(f); n > 0 && f[n-1].T > t {
		f = f[:searchSample(f, t)]
	}
	if n := len(h); n > 0 && h[n-1].T > t {
		i, _ := slices.BinarySearchFunc(h, t+1, func(x series.Histogram, t int64) int { return cmp.Compare(x.T, t) })
		h = h[:i]
	}
	s.samples += len(f)
	s.histograms += len(h)
	return f, h
}

// searchSample returns how many of the samples are not later than t.
func searchSample(f []series.Sample, t int64) int {
	i, j := 0, len(f)
	for i < j {
		if m := int(uint(i+j) >> 1); f[m].T <= t {
			i = m + 1
		} else {
			j = m
		}
	}
	return i
}

func (s *stream) done() bool {
	return s.samples == len(s.head.Samples) && s.histograms == len(s.head.Histograms)
}

// NewMerger returns a merger of samples, and of the start timestamps that belong to them.
func NewMerger(samples, starts []Source) *Merger {
	m := &Merger{}
	for _, s := range samples {
		m.streams = append(m.streams, &stream{source: s})
	}
	for _, s := range starts {
		m.starts = append(m.starts, &stream{source: s})
	}
	return m
}

// Next moves to the next piece; false at the end and after an error.
func (m *Merger) Next() bool {
	if m.err != nil {
		return false
	}
	if !m.began {
		m.began = true
		for _, s := range append(m.streams[:len(m.streams):len(m.streams)], m.starts...) {
			if m.err = s.advance(); m.err != nil {
				return false
			}
		}
	}
	more, err := m.next()
	m.err = err
	if !more || err != nil {
		m.at = series.Series{}
		return false
	}
	return true
}

func (m *Merger) next() (bool, error) {
	continued := true
	for _, s := range m.active {
		for s.head != nil && labels.Equal(s.head.Labels, m.labels) && s.done() {
			if err := s.advance(); err != nil {
				return false, err
			}
		}
	}
	m.active = slices.DeleteFunc(m.active, func(s *stream) bool { return s.head == nil || !labels.Equal(s.head.Labels, m.labels) })
	if len(m.active) == 0 {
		continued = false
		if !m.nextSeries() {
			return false, nil
		}
		if err := m.seekStarts(); err != nil {
			return false, err
		}
	}
	m.piece(continued)
	return true, nil
}

// nextSeries finds the first of the series that are left.
func (m *Merger) nextSeries() bool {
	for _, s := range m.streams {
		if s.head == nil {
			continue
		}
		c := -1
		if len(m.active) > 0 {
			c = labels.Compare(s.head.Labels, m.labels)
		}
		switch {
		case c < 0:
			m.labels, m.active = s.head.Labels, append(m.active[:0], s)
		case c == 0:
			m.active = append(m.active, s)
		}
	}
	return len(m.active) > 0
}

// piece gives out what is known to be whole: a source may have more after the last sample of its head, but nothing before.
func (m *Merger) piece(continued bool) {
	until := m.active[0].head.last()
	for _, s := range m.active[1:] {
		until = min(until, s.head.last())
	}
	m.at = series.Series{Labels: m.labels, Continued: continued}
	parts := 0
	for _, s := range m.active {
		f, h := s.upTo(until)
		if len(f)+len(h) == 0 {
			continue
		}
		if parts++; parts == 1 {
			m.at.Samples, m.at.Histograms = f, h
			continue
		}
		if parts == 2 {
			m.scratch.Samples = append(m.scratch.Samples[:0], m.at.Samples...)
			m.scratch.Histograms = append(m.scratch.Histograms[:0], m.at.Histograms...)
		}
		m.scratch.Samples = append(m.scratch.Samples, f...)
		m.scratch.Histograms = append(m.scratch.Histograms, h...)
	}
	if parts > 1 {
		m.conflicts += m.scratch.settle()
		m.at.Samples, m.at.Histograms = m.scratch.Samples, m.scratch.Histograms
	}
	m.applyStarts()
}

// seekStarts reads the start timestamps of the series at hand.
func (m *Merger) seekStarts() error {
	m.inForce = m.inForce[:0]
	for _, s := range m.starts {
		for s.head != nil {
			c := labels.Compare(s.head.Labels, m.labels)
			if c > 0 {
				break
			}
			if c == 0 {
				m.inForce = append(m.inForce, s.head.Starts...)
			}
			if err := s.advance(); err != nil {
				return err
			}
		}
	}
	p := Piece{Starts: m.inForce}
	p.settle()
	return nil
}

// applyStarts gives each sample the start timestamp that is in force.
func (m *Merger) applyStarts() {
	if len(m.inForce) == 0 || len(m.at.Samples) == 0 || m.inForce[0].T > m.at.Samples[len(m.at.Samples)-1].T {
		return
	}
	m.buffer = m.buffer[:0]
	for _, x := range m.at.Samples {
		for len(m.inForce) > 1 && m.inForce[1].T <= x.T {
			m.inForce = m.inForce[1:]
		}
		ms := int64(0)
		if m.inForce[0].T <= x.T {
			ms = m.inForce[0].Ms
		}
		m.buffer = append(m.buffer, ms)
	}
	m.at.Starts = m.buffer
}

// At returns what Next moved to. Its samples are valid until the next Next.
func (m *Merger) At() series.Series { return m.at }

// Err returns why Next returned false; nil at the end.
func (m *Merger) Err() error { return m.err }

// Conflicts counts samples that were left out because the same series has another one at the same millisecond.
func (m *Merger) Conflicts() int64 { return m.conflicts }
