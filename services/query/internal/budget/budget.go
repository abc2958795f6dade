// SPDX-License-Identifier: Apache-2.0

// Package budget bounds the memory of all results that are being put together. What takes how much is for those to say who
// hold it.
package budget

import (
	"fmt"
	"sync/atomic"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Flag moves the bound.
const Flag = "query.max-result-bytes"

// Budget is the memory of all results together. It is safe for concurrent use.
type Budget struct {
	limit int64
	held  atomic.Int64
}

// New returns a budget of so many bytes.
func New(limit int64) *Budget { return &Budget{limit: limit} }

// Held returns how many bytes are held.
func (b *Budget) Held() int64 { return b.held.Load() }

// Meter counts what one result holds. It is safe for concurrent use.
type Meter struct {
	budget *Budget
	bytes  atomic.Int64
}

// Meter returns a meter that holds nothing.
func (b *Budget) Meter() *Meter { return &Meter{budget: b} }

// Take counts bytes before they are held. The error is a *series.Error; what was refused is counted too, until Release.
func (m *Meter) Take(bytes int64) error {
	mine := m.bytes.Add(bytes)
	all := m.budget.held.Add(bytes)
	limit := m.budget.limit
	switch {
	case mine > limit:
		return &series.Error{Kind: series.TooLarge, Text: fmt.Sprintf("the result takes more than %d bytes of memory (--%s); ask for a shorter range or fewer series", limit, Flag)}
	case all > limit:
		return &series.Error{Kind: series.Busy, Text: fmt.Sprintf("all results being read now take more than %d bytes of memory (--%s); try again", limit, Flag)}
	}
	return nil
}

// Held returns how many bytes were taken and not given back.
func (m *Meter) Held() int64 { return m.bytes.Load() }

// Return gives back some of what was taken.
func (m *Meter) Return(bytes int64) {
	m.bytes.Add(-bytes)
	m.budget.held.Add(-bytes)
}

// Release gives back what was taken; the meter counts from zero again.
func (m *Meter) Release() { m.budget.held.Add(-m.bytes.Swap(0)) }
