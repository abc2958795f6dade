// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"sync"

	"github.com/tributary-project/tributary/services/query/internal/budget"
	"github.com/tributary-project/tributary/services/query/internal/rows"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// nothing is the set of a selection that cannot match.
type nothing struct{}

func (nothing) Next() bool          { return false }
func (nothing) At() series.Series   { return series.Series{} }
func (nothing) Err() error          { return nil }
func (nothing) Stats() series.Stats { return series.Stats{} }
func (nothing) Warnings() []string  { return nil }
func (nothing) Close()              {}

// set hands out what statements find, while they run.
type set struct {
	store   *Store
	cancel  context.CancelCauseFunc
	sources []*source
	running *sync.WaitGroup
	merger  *rows.Merger
	explain func(error) error
	// meter counts what the caller keeps; nil when he keeps nothing. samples counts what he was given.
	meter      *budget.Meter
	samples    int64
	maxSamples int64

	err      error
	ended    bool
	stats    series.Stats
	warnings []string
}

// Next implements series.Set.
func (s *set) Next() bool {
	if s.ended {
		return false
	}
	var err error
	if s.merger.Next() {
		if err = s.count(s.merger.At()); err == nil {
			return true
		}
	} else if err = s.merger.Err(); err != nil {
		err = s.explain(err)
	}
	s.end(err)
	return false
}

// count counts what is given out.
func (s *set) count(x series.Series) error {
	s.samples += int64(len(x.Samples) + len(x.Histograms))
	if s.maxSamples > 0 && s.samples > s.maxSamples {
		return &series.Error{Kind: series.TooLarge, Text: fmt.Sprintf("the result has more than %d samples (--%s); ask for a shorter range or fewer series", s.maxSamples, maxSamplesFlag)}
	}
	if s.meter == nil {
		return nil
	}
	return s.meter.Take(rows.SeriesBytes(x))
}

// end accounts for what was read.
func (s *set) end(err error) {
	s.ended = true
	s.err = err
	// Start timestamps of series after the last one with samples are not wanted any more.
	s.cancel(nil)
	s.running.Wait()
	var damage rows.Damage
	s.stats.Conflicts += s.merger.Conflicts()
	for _, src := range s.sources {
		src.account(&s.stats)
		damage.Add(src.damage)
	}
	s.warnings = s.store.damaged(damage)
}

// At implements series.Set.
func (s *set) At() series.Series { return s.merger.At() }

// Err implements series.Set.
func (s *set) Err() error { return s.err }

// Stats implements series.Set.
func (s *set) Stats() series.Stats { return s.stats }

// Warnings implements series.Set.
func (s *set) Warnings() []string { return s.warnings }

// Close implements series.Set.
func (s *set) Close() {
	s.cancel(nil)
	if !s.ended {
		s.ended = true
		s.running.Wait()
	}
	if s.meter != nil {
		s.meter.Release()
	}
	for _, src := range s.sources {
		src.meter.Release()
	}
}
