// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/tributary-project/tributary/e2e/internal/randql"
	"github.com/tributary-project/tributary/e2e/internal/scripts"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

var differentialCount = flag.Int("differential.count", 400, "how many expressions TestDifferential asks")

// TestDifferential asks our API and an engine over Prometheus' own storage the same random expressions about the same random
// data: the answers are equal, to the bit.
func TestDifferential(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(newSeed(t), 1))

	s := system.Start(t, system.Options{App: allFeatures})
	end := time.Now().Add(-time.Minute).Truncate(time.Second)
	start := end.Add(-3 * time.Hour)
	schema := randql.DefaultSchema(start, end)
	own := teststorage.New(t)
	ours := &scripts.Storage{URL: s.URL}
	if err := randql.Load(t.Context(), r, schema, own, ours); err != nil {
		t.Fatal(err)
	}
	reference := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() }, EnableDelayedNameRemoval: true,
		UseStartTimestamps: true, Parser: parser.NewParser(promqltest.TestParserOpts),
	})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	api := &scripts.API{Client: &http.Client{Transport: transport}}

	g := randql.New(r, schema)
	for _, expr := range []string{"-1 * 0", "vector(-1 * 0)", "NaN", "-Inf", `"it's"`, "time()", "1e-320"} {
		q := question{expr: expr, from: end, to: end}
		if difference := randql.Diff(q.ask(t.Context(), api, ours), q.ask(t.Context(), reference, own), randql.Expr{}); difference != "" {
			t.Errorf("%s\n%s", q, difference)
		}
	}
	empty, failed, warned := 0, 0, 0
	for n := range *differentialCount {
		e := g.Next()
		at := start.Add(time.Duration(r.Int64N(int64(end.Sub(start) + 10*time.Minute)))).Truncate(time.Millisecond)
		q := question{expr: e.Text, from: at, to: at}
		if n%2 == 1 {
			q.step = time.Duration(1+r.IntN(900)) * time.Second
			if r.IntN(4) == 0 {
				q.step = time.Duration(1000+r.IntN(300_000)) * time.Millisecond
			}
			q.to = at.Add(time.Duration(r.IntN(60)) * q.step)
		}
		want, got := q.ask(t.Context(), reference, own), q.ask(t.Context(), api, ours)
		switch {
		case want.Err != nil:
			failed++
		case isEmpty(want.Value):
			empty++
		case len(want.Warnings) > 0:
			warned++
		}
		if difference := randql.Diff(got, want, e); difference != "" {
			t.Errorf("%s\n%s", q, difference)
		}
	}
	t.Logf("%d expressions: %d gave nothing, %d an error, %d came with annotations", *differentialCount, empty, failed, warned)
	if empty+failed > *differentialCount*3/4 {
		t.Errorf("only %d of %d expressions gave something", *differentialCount-empty-failed, *differentialCount)
	}
}

// question is an expression and when it is evaluated; a step of 0 is an instant query.
type question struct {
	expr     string
	from, to time.Time
	step     time.Duration
}

func (q question) String() string {
	if q.step == 0 {
		return fmt.Sprintf("%s at %d ms", q.expr, q.from.UnixMilli())
	}
	return fmt.Sprintf("%s from %d to %d ms every %s", q.expr, q.from.UnixMilli(), q.to.UnixMilli(), q.step)
}

func (q question) ask(ctx context.Context, engine promql.QueryEngine, over storage.Queryable) *promql.Result {
	var query promql.Query
	var err error
	if q.step == 0 {
		query, err = engine.NewInstantQuery(ctx, over, nil, q.expr, q.from)
	} else {
		query, err = engine.NewRangeQuery(ctx, over, nil, q.expr, q.from, q.to, q.step)
	}
	if err != nil {
		return &promql.Result{Err: err}
	}
	// It is not closed: results are compared after this, and Close would hand their memory to the next.
	return query.Exec(ctx)
}

func isEmpty(v parser.Value) bool {
	switch v := v.(type) {
	case promql.Vector:
		return len(v) == 0
	case promql.Matrix:
		return len(v) == 0
	default:
		return false
	}
}
