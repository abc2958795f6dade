// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"go.uber.org/goleak"

	"github.com/tributary-project/tributary/services/query/internal/engine/enginetest"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig has every feature on and Prometheus' limits.
func testConfig() Config {
	c := Config{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
		MaxConcurrency: 4, MaxWaiting: 4, PushDown: true,
	}
	for _, f := range c.Features.fields() {
		*f.on = true
	}
	c.Features.TypeAndUnitLabels = false
	return c
}

func newEngine(t testing.TB, c Config, s series.Selector) *Engine {
	t.Helper()
	e, err := New(c, s, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// testStorage is a storage.Storage for promqltest: what it takes goes to a Memory, what it gives comes through the engine's
// querier.
type testStorage struct {
	storage.Storage // nil: tests use no other method
	*queryable
	memory *enginetest.Memory
}

func newTestStorage(e *Engine) *testStorage {
	m := &enginetest.Memory{Piece: 7}
	e.selector = m
	return &testStorage{queryable: &queryable{engine: e}, memory: m}
}

func (s *testStorage) Querier(mint, maxt int64) (storage.Querier, error) {
	s.engine.selector = s.memory
	return s.queryable.Querier(mint, maxt)
}

func (s *testStorage) AppenderV2(context.Context) storage.AppenderV2 { return s }

func (s *testStorage) Close() error    { return nil }
func (s *testStorage) Commit() error   { return nil }
func (s *testStorage) Rollback() error { return fmt.Errorf("unexpected") }

func (s *testStorage) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, _ storage.AppendV2Options) (storage.SeriesRef, error) {
	if h == nil && fh == nil {
		s.memory.Append(ls, st, t, v, nil)
	} else {
		s.memory.Append(ls, st, t, 0, enginetest.Histogram(h, fh))
	}
	return 1, nil
}

// pushing is the engine as promqltest wants it, with everything that Instant and Range do.
type pushing struct{ *Engine }

func (p pushing) options(o promql.QueryOpts) Options {
	if o == nil {
		return Options{}
	}
	return Options{LookbackDelta: o.LookbackDelta(), PerStepStats: o.EnablePerStepStats()}
}

func (p pushing) NewInstantQuery(ctx context.Context, q storage.Queryable, o promql.QueryOpts, expr string, t time.Time) (promql.Query, error) {
	p.selector = q.(*testStorage).memory
	out, err := p.Instant(ctx, Place{}, expr, p.options(o), t)
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (p pushing) NewRangeQuery(ctx context.Context, q storage.Queryable, o promql.QueryOpts, expr string, start, end time.Time, step time.Duration) (promql.Query, error) {
	p.selector = q.(*testStorage).memory
	out, err := p.Range(ctx, Place{}, expr, p.options(o), start, end, step)
	if err != nil {
		return nil, err
	}
	return out, nil
}
