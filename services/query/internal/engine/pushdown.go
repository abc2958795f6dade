// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// pushDown knows which selectors of one query need no more than the last sample of each step.
//
// An instant selector has, at a step t, the value of the newest sample in (t-offset-lookback, t-offset], and none if that
// sample is a staleness marker. The moments t-offset are A, A+step, A+2·step, …, where A is the first of them, and every sample
// up to A+k·step lies in one of the windows (A+(j-1)·step, A+j·step] with j ≤ k. The newest of them is the last sample of its
// window. So a store that keeps the last sample of each window keeps every sample that is the newest one at some step, and
// cannot make an older one look newest, staleness markers being samples like others. The lookback takes part only in
// whether the newest sample counts.
//
// A query at one moment is the same with a single window, (A-lookback, A].
//
// This holds where the engine evaluates a selector at exactly these moments and reads single samples there. It does not
// hold under a subquery (other moments), for smoothed and anchored selectors (they read neighbours), for what info() selects (it
// leaves offsets out), and where histogram_count(), histogram_sum() or histogram_avg() let the engine compare each histogram
// with the one before to find counter resets. A query with one of these is left alone as a whole. Selectors with the @
// modifier are read once, over a lookback, and left alone too: timestamp() evaluates them at another moment than it reads.
type pushDown struct {
	// spanMs is what End-Start of a selector's hints is if it is evaluated at every step.
	spanMs, lookbackMs int64
	// stepMs is the query's; the lookback at one moment.
	stepMs int64
}

// newPushDown returns nil when the query is left alone.
func newPushDown(s *parser.EvalStmt) *pushDown {
	start, end := timestamp.FromTime(s.Start), timestamp.FromTime(s.End)
	p := &pushDown{lookbackMs: s.LookbackDelta.Milliseconds(), stepMs: s.Interval.Milliseconds()}
	p.spanMs = end - start + p.lookbackMs - 1
	if s.Interval == 0 {
		p.stepMs = p.lookbackMs
	}
	if p.stepMs <= 0 || p.lookbackMs <= 0 {
		return nil
	}
	exact := true
	parser.Inspect(s.Expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.SubqueryExpr:
			exact = false
		case *parser.VectorSelector:
			// Of an evaluation at one step the span does not tell whether there is an @ modifier.
			exact = exact && !n.Smoothed && !n.Anchored && !n.SkipHistogramBuckets && (n.Timestamp == nil || end > start)
		case *parser.Call:
			exact = exact && n.Func.Name != "info"
		}
		return nil
	})
	if !exact {
		return nil
	}
	return p
}

// lastPerStep returns what the selector with these hints needs; nil is all samples.
func (p *pushDown) lastPerStep(h *storage.SelectHints) *series.LastPerStep {
	if p == nil || h == nil || h.Range != 0 || h.End-h.Start != p.spanMs {
		return nil
	}
	return &series.LastPerStep{AlignMs: h.Start + p.lookbackMs - 1, StepMs: p.stepMs}
}
