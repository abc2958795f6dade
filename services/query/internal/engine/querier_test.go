// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/tributary-project/tributary/services/query/internal/engine/enginetest"
	"github.com/tributary-project/tributary/services/query/internal/gate"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// filled has a float now and a minute ago of m, n, o and p.
func filled() *enginetest.Memory {
	m := &enginetest.Memory{}
	for i, name := range []string{"m", "n", "o", "p", "q", "r"} {
		for _, t := range []int64{0, 60_000} {
			m.Append(labels.FromStrings("__name__", name), 0, t, float64(i), nil)
		}
	}
	return m
}

func instant(ctx context.Context, t *testing.T, e *Engine, expr string) (*Query, *promql.Result) {
	t.Helper()
	q, err := e.Instant(ctx, Place{Database: "d", Table: "t"}, expr, Options{}, time.UnixMilli(60_000))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q, q.Exec(ctx)
}

// atMost counts what runs at the same time.
type atMost struct {
	mu        sync.Mutex
	now, most int
}

func (a *atMost) enter() (now int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now++
	a.most = max(a.most, a.now)
	return a.now
}

func (a *atMost) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now--
}

// TestSelectorsAreReadAtTheSameTime holds back every selection until as many have begun as may.
func TestSelectorsAreReadAtTheSameTime(t *testing.T) {
	m := filled()
	m.Warnings = []string{"careful"}
	var running atMost
	all := make(chan struct{})
	m.Before = func(ctx context.Context, sel series.Selection) error {
		defer running.leave()
		if running.enter() == loadsPerQuery {
			close(all)
		}
		select {
		case <-all:
		case <-ctx.Done():
			return ctx.Err()
		}
		if sel.Database != "d" || sel.Table != "t" || !sel.Kept || !sel.Starts {
			return fmt.Errorf("selection %+v", sel)
		}
		return nil
	}
	q, res := instant(t.Context(), t, newEngine(t, testConfig(), m), `sum({__name__="m"}) + sum(n) + sum(o) + sum(p) + sum(m)`)
	if res.Err != nil || len(res.Value.(promql.Vector)) != 1 {
		t.Fatalf("got %v", res)
	}
	if warnings, _ := res.Warnings.AsStrings("", 0, 0); fmt.Sprint(warnings) != "[careful]" {
		t.Errorf("warnings %v", warnings)
	}
	if running.most != loadsPerQuery {
		t.Errorf("%d at once", running.most)
	}
	// m is read once although two selectors ask for it.
	if got := q.Loaded(); got.Queries != 4 || got.Pages != 4 || got.Series != 4 || got.Samples != 4 {
		t.Errorf("loaded %+v", got)
	}
	if n := m.Open(); n != 0 {
		t.Errorf("%d sets are open", n)
	}
}

func TestSelectionsAreBoundedPerQuery(t *testing.T) {
	m := filled()
	var running atMost
	begun, release := make(chan struct{}, 10), make(chan struct{})
	m.Before = func(context.Context, series.Selection) error {
		running.enter()
		defer running.leave()
		begun <- struct{}{}
		<-release
		return nil
	}
	e := newEngine(t, testConfig(), m)
	done := make(chan *promql.Result)
	go func() {
		_, res := instant(t.Context(), t, e, "sum(m) + sum(n) + sum(o) + sum(p) + sum(q) + sum(r)")
		done <- res
	}()
	for range loadsPerQuery {
		<-begun
	}
	close(release)
	if res := <-done; res.Err != nil {
		t.Fatal(res.Err)
	}
	if running.most > loadsPerQuery {
		t.Errorf("%d at once", running.most)
	}
}

func TestErrorsOfTheStoreSurvive(t *testing.T) {
	m := filled()
	e := newEngine(t, testConfig(), m)
	for _, kind := range []series.Kind{series.Internal, series.Unavailable, series.NotFound, series.TooLarge, series.Busy, series.Unsupported} {
		m.Before = func(context.Context, series.Selection) error { return &series.Error{Kind: kind, Text: "no"} }
		for _, expr := range []string{"m", "rate(m[5m])", "timestamp(m)", "max_over_time(m[5m:1m])", "info(m)", "m smoothed"} {
			_, res := instant(t.Context(), t, e, expr)
			if got := (*series.Error)(nil); !errors.As(res.Err, &got) || got.Kind != kind {
				t.Errorf("%s: got %v, want kind %d", expr, res.Err, kind)
			}
		}
	}
	if n := m.Open(); n != 0 {
		t.Errorf("%d sets are open", n)
	}
}

// outOfTime is a context whose deadline passes when over is closed.
type outOfTime struct {
	context.Context
	over chan struct{}
}

func (c outOfTime) Done() <-chan struct{} { return c.over }

func (c outOfTime) Err() error {
	select {
	case <-c.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestTheEndOfTheContextEndsAll(t *testing.T) {
	for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
		t.Run(want.Error(), func(t *testing.T) {
			m := filled()
			var begun, ended atomic.Int64
			ctx, end := context.WithCancel(t.Context())
			defer end()
			if errors.Is(want, context.DeadlineExceeded) {
				over := make(chan struct{})
				ctx, end = outOfTime{context.WithoutCancel(t.Context()), over}, func() { close(over) }
			}
			m.Before = func(ctx context.Context, _ series.Selection) error {
				if begun.Add(1) == 2 {
					end()
				}
				<-ctx.Done()
				ended.Add(1)
				return ctx.Err()
			}
			_, res := instant(ctx, t, newEngine(t, testConfig(), m), "m + n")
			if !errors.Is(res.Err, want) {
				t.Errorf("got %v", res.Err)
			}
			if begun.Load() != ended.Load() {
				t.Errorf("%d selections began, %d had ended when the query had", begun.Load(), ended.Load())
			}
		})
	}
}

func TestQueriesThatRunAndWaitAreBounded(t *testing.T) {
	c := testConfig()
	c.MaxConcurrency, c.MaxWaiting = 1, 1
	m := filled()
	begun, release := make(chan struct{}, 10), make(chan struct{})
	m.Before = func(context.Context, series.Selection) error {
		begun <- struct{}{}
		<-release
		return nil
	}
	e := newEngine(t, c, m)
	done := make(chan error, 2)
	run := func() {
		q, err := e.Instant(context.Background(), Place{}, "m", Options{}, time.UnixMilli(0))
		if err == nil {
			err = q.Exec(context.Background()).Err
			q.Close()
		}
		done <- err
	}
	go run()
	<-begun
	go run()
	for e.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	_, err := e.Instant(t.Context(), Place{}, "m", Options{}, time.UnixMilli(0))
	if !errors.Is(err, gate.ErrFull) || !strings.Contains(err.Error(), "--query.max-concurrency") || e.Running() != 1 {
		t.Errorf("got %v with %d running", err, e.Running())
	}
	close(release)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestLogs(t *testing.T) {
	dir := t.TempDir()
	c := testConfig()
	c.ActiveQueryLog, c.QueryLogFile = filepath.Join(dir, "active"), filepath.Join(dir, "queries.log")
	m := filled()
	var active string
	m.Before = func(context.Context, series.Selection) error {
		b, err := os.ReadFile(filepath.Join(c.ActiveQueryLog, "queries.active"))
		active = strings.Trim(string(b), "\x00")
		return err
	}
	e, err := New(c, m, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if _, res := instant(t.Context(), t, e, "m + 1"); res.Err != nil {
		t.Error(res.Err)
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	// A query that outlives the logs is none the worse.
	m.Before = nil
	if _, res := instant(t.Context(), t, e, "m + 2"); res.Err != nil {
		t.Error(res.Err)
	}
	logged, err := os.ReadFile(c.QueryLogFile)
	if err != nil || !strings.Contains(string(logged), `"query":"m + 1"`) || strings.Contains(string(logged), "m + 2") {
		t.Errorf("query log: %s, %v", logged, err)
	}
	if !strings.Contains(active, `"query":"m + 1"`) {
		t.Errorf("active queries: %s", active)
	}
	c.ActiveQueryLog = filepath.Join(c.QueryLogFile, "x")
	if _, err := New(c, m, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), "active query log") {
		t.Errorf("a log that cannot be: %v", err)
	}
	c.ActiveQueryLog, c.QueryLogFile = "", dir
	if _, err := New(c, m, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), "query log") {
		t.Errorf("a log that cannot be: %v", err)
	}
}

func TestParseFeatures(t *testing.T) {
	f, unknown := ParseFeatures("promql-per-step-stats, use-start-timestamps,,native-histograms,nope")
	if want := (Features{PerStepStats: true, UseStartTimestamps: true}); f != want || fmt.Sprint(unknown) != "[native-histograms nope]" {
		t.Errorf("got %+v, %v", f, unknown)
	}
	f, unknown = ParseFeatures(strings.Join(FeatureNames(), ","))
	for _, x := range f.fields() {
		if !*x.on {
			t.Errorf("%s is off", x.name)
		}
	}
	if len(unknown) != 0 {
		t.Errorf("unknown: %v", unknown)
	}
	if f, unknown := ParseFeatures(""); f != (Features{}) || unknown != nil {
		t.Errorf("of nothing: %+v, %v", f, unknown)
	}
	// What is off is refused.
	e := newEngine(t, Config{MaxSamples: 1, Timeout: time.Minute, MaxConcurrency: 1}, filled())
	for _, expr := range []string{"info(m)", "m smoothed", "rate(m[1m+1m])"} {
		if _, err := e.Parser().ParseExpr(expr); err == nil {
			t.Errorf("%s was parsed", expr)
		}
	}
}

func TestTheQuerierListsNothing(t *testing.T) {
	q, err := (&queryable{engine: newEngine(t, testConfig(), filled())}).Querier(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := q.LabelNames(t.Context(), nil); err == nil {
		t.Error("names")
	}
	if _, _, err := q.LabelValues(t.Context(), "a", nil); err == nil {
		t.Error("values")
	}
	// Without hints the range is the querier's.
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
	n := 0
	for set.Next() {
		n++
	}
	if set.Err() != nil || n != 1 || set.Next() {
		t.Errorf("%d series, %v", n, set.Err())
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}

}
