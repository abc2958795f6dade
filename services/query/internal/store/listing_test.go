// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/services/query/internal/querytest"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// TestListingsAreCounted: what a listing returned is counted until it is released, and what it threw away is not, be it because its
// columns were out of date or because there was too much.
func TestListingsAreCounted(t *testing.T) {
	selectors := [][]*labels.Matcher{{labels.MustNewMatcher(labels.MatchEqual, "__name__", "up")}}
	b := &querytest.Backend{}
	small := testConfig()
	small.MaxBytes = 100
	s, poor := newStore(t, testConfig(), b), newStore(t, small, b)
	ctx := context.Background()
	listings := []struct {
		name string
		list func(*Store, series.Scope) (int, series.Info, error)
	}{
		{"series", func(s *Store, scope series.Scope) (int, series.Info, error) {
			out, info, err := s.Series(ctx, scope)
			return len(out), info, err
		}},
		{"names", func(s *Store, scope series.Scope) (int, series.Info, error) {
			out, info, err := s.LabelNames(ctx, scope)
			return len(out), info, err
		}},
		{"values", func(s *Store, scope series.Scope) (int, series.Info, error) {
			out, info, err := s.LabelValues(ctx, "job", scope)
			return len(out), info, err
		}},
	}
	for i, l := range listings {
		t.Run(l.name, func(t *testing.T) {
			scope := series.Scope{Selectors: selectors, StartMs: 0, EndMs: math.MaxInt64}
			held := func() int64 {
				n, info, err := l.list(s, scope)
				if err != nil || n == 0 {
					t.Fatalf("%d found, %v", n, err)
				}
				held := s.budget.Held()
				if held <= 0 {
					t.Errorf("%d bytes are counted for %d", held, n)
				}
				info.Release()
				info.Release()
				if n := s.budget.Held(); n != 0 {
					t.Errorf("%d bytes are counted after the release", n)
				}
				return held
			}
			again := s.replans.WithLabelValues("columns")
			write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", fmt.Sprint("first", i))
			held()
			before := testutil.ToFloat64(again)
			write(t, b, querytest.Budget(nil), at(t0, 1), "__name__", "up", "job", fmt.Sprint("second", i), fmt.Sprint("fresh", i), "x")
			first := held()
			if n := testutil.ToFloat64(again) - before; n != 1 {
				t.Errorf("ran again %v times", n)
			}
			if second := held(); first != second {
				t.Errorf("%d bytes were counted after an attempt in vain, %d without", first, second)
			}
			if _, info, err := l.list(poor, scope); err == nil || poor.budget.Held() != 0 {
				t.Errorf("too much: %v, %d bytes are counted", err, poor.budget.Held())
			} else {
				info.Release()
			}
			scope.EndMs = -1
			if _, info, err := l.list(s, scope); err != nil {
				t.Error(err)
			} else {
				info.Release()
			}
		})
	}
}
