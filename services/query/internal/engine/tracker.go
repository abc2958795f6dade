// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/prometheus/prometheus/promql"

	"github.com/tributary-project/tributary/services/query/internal/gate"
)

// tracker bounds the queries that run and that wait, for Prometheus' engine.
type tracker struct {
	gate *gate.Gate
	max  int

	// log is nil when there is none. It is a file in memory, not to be touched once it is closed.
	mu  sync.Mutex
	log *promql.ActiveQueryTracker
}

var _ promql.QueryTracker = (*tracker)(nil)

// notLogged is the place of a query that the log does not have.
const notLogged = -1

// GetMaxConcurrent implements promql.QueryTracker.
func (t *tracker) GetMaxConcurrent() int { return t.max }

// Insert implements promql.QueryTracker.
func (t *tracker) Insert(ctx context.Context, query string) (int, error) {
	if err := t.gate.Enter(ctx); err != nil {
		return notLogged, fmt.Errorf("wait for one of %d queries to end (--%s): %w", t.max, MaxConcurrencyFlag, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log == nil {
		return notLogged, nil
	}
	i, err := t.log.Insert(ctx, query) // does not wait: it has as many places as the gate
	if err != nil {
		t.gate.Leave()
		return notLogged, err
	}
	return i, nil
}

// Delete implements promql.QueryTracker.
func (t *tracker) Delete(i int) {
	defer t.gate.Leave()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log != nil && i != notLogged {
		t.log.Delete(i)
	}
}

// Close implements promql.QueryTracker.
func (t *tracker) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	log := t.log
	if t.log = nil; log == nil {
		return nil
	}
	return log.Close()
}
