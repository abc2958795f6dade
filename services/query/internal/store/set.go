// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"sync/atomic"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// set hands out a whole result.
type set struct {
	series   []series.Series
	at       series.Series
	stats    series.Stats
	warnings []string
	meter    *meter
}

// Next implements series.Set. What was handed out before is no longer held.
func (s *set) Next() bool {
	s.at = series.Series{}
	if len(s.series) == 0 {
		return false
	}
	s.at, s.series[0] = s.series[0], series.Series{}
	s.series = s.series[1:]
	return true
}

func (s *set) At() series.Series   { return s.at }
func (s *set) Err() error          { return nil }
func (s *set) Stats() series.Stats { return s.stats }
func (s *set) Warnings() []string  { return s.warnings }

// Close implements series.Set.
func (s *set) Close() {
	s.series, s.at = nil, series.Series{}
	if s.meter != nil {
		s.meter.release()
	}
}

// budget is the memory of all results together.
type budget struct {
	limit int64
	held  atomic.Int64
}

// meter counts what one selection holds. It is safe for concurrent use: statements run at the same time.
type meter struct {
	budget         *budget
	maxSamples     int64
	samples, bytes atomic.Int64
}

// Take implements rows.Meter.
func (m *meter) Take(samples, bytes int64) error {
	if n := m.samples.Add(samples); m.maxSamples > 0 && n > m.maxSamples {
		return &series.Error{Kind: series.TooLarge, Text: fmt.Sprintf("the result has more than %d samples (--%s); ask for a shorter range or fewer series", m.maxSamples, maxSamplesFlag)}
	}
	mine := m.bytes.Add(bytes)
	all := m.budget.held.Add(bytes)
	limit := m.budget.limit
	switch {
	case mine > limit:
		return &series.Error{Kind: series.TooLarge, Text: fmt.Sprintf("the result takes more than %d bytes of memory (--%s); ask for a shorter range or fewer series", limit, maxBytesFlag)}
	case all > limit:
		return &series.Error{Kind: series.Busy, Text: fmt.Sprintf("all results being read now take more than %d bytes of memory (--%s); try again", limit, maxBytesFlag)}
	}
	return nil
}

// release gives back what was taken; the meter counts from zero again.
func (m *meter) release() {
	m.samples.Store(0)
	m.budget.held.Add(-m.bytes.Swap(0))
}
