// SPDX-License-Identifier: Apache-2.0

// Package engine evaluates PromQL: Prometheus' own engine over series.Selector. It loads what the selectors of an expression
// select, at the same time and each only once, asks for the last sample of each step where no more is needed, and bounds
// the queries that run, those that wait, and the samples they work on. Where series are kept, and how much memory what is
// loaded may take, is the selector's matter; how requests and results look, the caller's.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/logging"

	"github.com/tributary-project/tributary/services/query/internal/gate"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// MaxConcurrencyFlag moves the bound on queries that run, for error texts.
const MaxConcurrencyFlag = "query.max-concurrency"

// Config is what bounds an engine and how it behaves.
type Config struct {
	// MaxSamples bounds the samples that one query has in its hands at a time, as Prometheus counts them.
	MaxSamples int
	// Timeout bounds one query, its wait included.
	Timeout time.Duration
	// LookbackDelta is how long a sample counts.
	LookbackDelta time.Duration
	// MaxConcurrency is how many queries run at once, MaxWaiting how many more may wait for their turn.
	MaxConcurrency, MaxWaiting int
	// PushDown allows to ask the selector for the last sample of each step only, where that is exact.
	PushDown bool
	// Features are what Prometheus has behind --enable-feature.
	Features Features
	// ActiveQueryLog is the directory of the file queries.active, which tells after a crash what ran. Empty: none.
	ActiveQueryLog string
	// QueryLogFile takes a line of JSON for each query, as Prometheus' query log. Empty: none.
	QueryLogFile string
}

// noStepSubqueryInterval is the step of a subquery that names none: Prometheus' default evaluation interval.
const noStepSubqueryInterval = time.Minute

// Place is the table that a query is about; the store's default where a name is empty.
type Place struct {
	Database, Table string
}

// Engine evaluates queries. It is safe for concurrent use.
type Engine struct {
	cfg      Config
	selector series.Selector
	parser   parser.Parser
	engine   *promql.Engine
	gate     *gate.Gate
	close    func() error
}

// New returns an engine that reads by selector. It must be Closed. An error is about one of the
// two logs.
func New(cfg Config, selector series.Selector, logger *slog.Logger, reg prometheus.Registerer) (*Engine, error) {
	e := &Engine{
		cfg: cfg, selector: selector, parser: parser.NewParser(cfg.Features.parser()),
		gate: gate.New(cfg.MaxConcurrency, cfg.MaxWaiting),
	}
	t := &tracker{gate: e.gate, max: cfg.MaxConcurrency}
	if cfg.ActiveQueryLog != "" {
		log, err := promql.NewActiveQueryTracker(cfg.ActiveQueryLog, cfg.MaxConcurrency, logger.With("component", "active query log"))
		if err != nil {
			return nil, fmt.Errorf("active query log: %w", err)
		}
		t.log = log
	}
	e.engine = promql.NewEngine(promql.EngineOpts{
		Logger:                   logger.With("component", "query engine"),
		Reg:                      reg,
		MaxSamples:               cfg.MaxSamples,
		Timeout:                  cfg.Timeout,
		ActiveQueryTracker:       t,
		LookbackDelta:            cfg.LookbackDelta,
		NoStepSubqueryIntervalFn: func(int64) int64 { return noStepSubqueryInterval.Milliseconds() },
		EnableAtModifier:         true, // regular PromQL
		EnableNegativeOffset:     true,
		EnablePerStepStats:       cfg.Features.PerStepStats,
		EnableDelayedNameRemoval: cfg.Features.DelayedNameRemoval,
		EnableTypeAndUnitLabels:  cfg.Features.TypeAndUnitLabels,
		UseStartTimestamps:       cfg.Features.UseStartTimestamps,
		Parser:                   e.parser,
	})
	if cfg.QueryLogFile != "" {
		log, err := logging.NewJSONFileLogger(cfg.QueryLogFile)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("query log: %w", err), e.engine.Close())
		}
		e.engine.SetQueryLogger(log)
	}
	e.close = sync.OnceValue(func() error {
		e.engine.SetQueryLogger(nil)
		return e.engine.Close()
	})
	return e, nil
}

// Close ends the logs. Queries that still run are not noted any more. It may be called again.
func (e *Engine) Close() error { return e.close() }

// Parser returns the parser of the engine's queries.
func (e *Engine) Parser() parser.Parser { return e.parser }

// Running returns how many queries run.
func (e *Engine) Running() int { return e.gate.Running() }

// Waiting returns how many queries wait for their turn.
func (e *Engine) Waiting() int { return e.gate.Waiting() }

// Options are what the caller of a query may choose.
type Options struct {
	// LookbackDelta is how long a sample counts; the engine's own when it is not positive.
	LookbackDelta time.Duration
	// PerStepStats asks for the samples of each step in the statistics, if Features has them.
	PerStepStats bool
}

// Query is one query: Exec it once, and Close it when its result is no longer used.
type Query struct {
	promql.Query
	data *queryable
}

// Instant prepares a query at one moment. Errors other than the gate's and the context's are about the expression.
func (e *Engine) Instant(ctx context.Context, p Place, expr string, o Options, t time.Time) (*Query, error) {
	data := &queryable{engine: e, place: p}
	q, err := e.engine.NewInstantQuery(ctx, data, promql.NewPrometheusQueryOpts(o.PerStepStats, o.LookbackDelta), expr, t)
	if err != nil {
		return nil, err
	}
	return e.prepare(q, data), nil
}

// Range prepares a query at every step from start to end; step is at least a millisecond. Errors are as those of Instant.
func (e *Engine) Range(ctx context.Context, p Place, expr string, o Options, start, end time.Time, step time.Duration) (*Query, error) {
	data := &queryable{engine: e, place: p}
	q, err := e.engine.NewRangeQuery(ctx, data, promql.NewPrometheusQueryOpts(o.PerStepStats, o.LookbackDelta), expr, start, end, step)
	if err != nil {
		return nil, err
	}
	return e.prepare(q, data), nil
}

func (e *Engine) prepare(q promql.Query, data *queryable) *Query {
	if s, ok := q.Statement().(*parser.EvalStmt); ok && e.cfg.PushDown {
		data.pushDown = newPushDown(s)
	}
	return &Query{Query: q, data: data}
}

// Close ends the query.
func (q *Query) Close() {
	q.Cancel()
	q.Query.Close()
}

// Loaded is what a query has read.
type Loaded struct {
	series.Stats
	Series, Samples int64
}

// Loaded returns what the query has read; after Exec.
func (q *Query) Loaded() Loaded { return q.data.total() }
