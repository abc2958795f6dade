// SPDX-License-Identifier: Apache-2.0

// Package pages runs one statement of Timestream SQL and hands out its result page by page. It is the one retry layer
// of reading: calls that were throttled or not answered are made again, a query that nobody waits for any more is
// cancelled, and every error gets a class. What the statement is and what becomes of the rows is left to others.
package pages

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Client is the part of Timestream's query API that is used. *timestreamquery.Client satisfies it, configured not to
// retry by itself. Both calls may be made again after any error: a page asked for by the same token is the same page.
type Client interface {
	Query(context.Context, *timestreamquery.QueryInput, ...func(*timestreamquery.Options)) (*timestreamquery.QueryOutput, error)
	CancelQuery(context.Context, *timestreamquery.CancelQueryInput, ...func(*timestreamquery.Options)) (*timestreamquery.CancelQueryOutput, error)
}

const (
	// callTimeout bounds one call: the service itself gives up after 60 s (API Reference, Query).
	callTimeout = 65 * time.Second
	// cancelTimeout bounds the call that cancels a query nobody waits for.
	cancelTimeout = 2 * time.Second
	// firstDelay and maxDelay bound the pause before a call is made again; it doubles from one to the other.
	firstDelay = 100 * time.Millisecond
	maxDelay   = 5 * time.Second
	// emptyPages is how many pages without rows may follow each other at full speed. The service sends some while it
	// works; after these, each costs a pause of emptyDelay.
	emptyPages = 3
	emptyDelay = 50 * time.Millisecond
)

// Runner runs statements. It is safe for concurrent use.
type Runner struct {
	client     Client
	maxRetries int
	logger     *slog.Logger
	last       atomic.Pointer[Error]
	delay      time.Duration

	queries *prometheus.CounterVec
	pages   prometheus.Counter
	retries *prometheus.CounterVec
	errors  *prometheus.CounterVec
	cancels prometheus.Counter
	metered prometheus.Counter
}

// New returns a runner that makes a call again at most maxRetries times.
func New(client Client, maxRetries int, logger *slog.Logger, reg prometheus.Registerer) *Runner {
	f := promauto.With(reg)
	return &Runner{
		client: client, maxRetries: maxRetries, logger: logger, delay: firstDelay,
		queries: f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_timestream_queries_total", Help: "Statements begun, by what they are for: plain and extension read samples, the others the table's catalogue."}, []string{"kind"}),
		pages:   f.NewCounter(prometheus.CounterOpts{Name: "tributary_query_timestream_pages_total", Help: "Result pages read, empty ones included."}),
		retries: f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_timestream_retries_total", Help: "Calls made again, by reason."}, []string{"reason"}),
		errors:  f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_timestream_errors_total", Help: "Statements that failed for good, by reason."}, []string{"reason"}),
		cancels: f.NewCounter(prometheus.CounterOpts{Name: "tributary_query_timestream_cancelled_total", Help: "Queries cancelled because their result was no longer wanted."}),
		metered: f.NewCounter(prometheus.CounterOpts{Name: "tributary_query_metered_bytes_total", Help: "Bytes that Timestream metered for statements."}),
	}
}

// Stats is what a statement took.
type Stats struct {
	Pages int64
	// MeteredBytes is what Timestream charges for.
	MeteredBytes int64
}

// Run runs a statement and calls page for each page of the result, in order, whether it has rows or not. kind is for
// metrics. An error of page ends the run and is returned; every other error is an *Error or the end of ctx. The
// answers must not be kept.
func (r *Runner) Run(ctx context.Context, kind, statement string, page func(*timestreamquery.QueryOutput) error) (st Stats, err error) {
	r.queries.WithLabelValues(kind).Inc()
	in := &timestreamquery.QueryInput{QueryString: aws.String(statement)}
	running := "" // the query that the service still works on
	defer func() {
		r.metered.Add(float64(st.MeteredBytes))
		var e *Error
		if errors.As(err, &e) {
			r.errors.WithLabelValues(e.Class.String()).Inc()
		}
		if err != nil && running != "" {
			r.cancel(ctx, running)
		}
	}()
	for empty := 0; ; {
		out, err := r.call(ctx, in)
		if err != nil {
			return st, err
		}
		st.Pages++
		r.pages.Inc()
		if s := out.QueryStatus; s != nil {
			st.MeteredBytes = max(st.MeteredBytes, s.CumulativeBytesMetered)
		}
		running = ""
		if out.NextToken != nil {
			running = aws.ToString(out.QueryId)
		}
		if err := page(out); err != nil {
			return st, err
		}
		if out.NextToken == nil {
			return st, nil
		}
		in.NextToken = out.NextToken
		if len(out.Rows) > 0 {
			empty = 0
		} else if empty++; empty > emptyPages {
			if err := sleep(ctx, emptyDelay); err != nil {
				return st, err
			}
		}
	}
}

// call makes one call, and makes it again while that can help.
func (r *Runner) call(ctx context.Context, in *timestreamquery.QueryInput) (*timestreamquery.QueryOutput, error) {
	for attempt := 0; ; attempt++ {
		callCtx, cancel := context.WithTimeout(ctx, callTimeout)
		out, err := r.client.Query(callCtx, in)
		cancel()
		if err == nil {
			r.last.Store(nil)
			return out, nil
		}
		err = classify(ctx, err)
		var e *Error
		if !errors.As(err, &e) {
			return nil, err
		}
		r.remember(e)
		if e.Class != Throttled && e.Class != Away || attempt >= r.maxRetries {
			return nil, err
		}
		r.retries.WithLabelValues(e.Class.String()).Inc()
		pause := min(r.delay<<min(attempt, 10), maxDelay)
		pause = pause/2 + rand.N(pause/2+1)
		r.logger.Debug("Timestream call failed, trying again", "attempt", attempt+1, "pause", pause, "err", err)
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// remember keeps what says that Timestream could not be used; that a statement is wrong does not say so.
func (r *Runner) remember(e *Error) {
	switch e.Class {
	case Away, Throttled, Denied, Credentials, NoTable:
		r.last.Store(e)
	default:
		r.last.Store(nil)
	}
}

// Last returns what kept the last call from being answered, or nil.
func (r *Runner) Last() error {
	if e := r.last.Load(); e != nil {
		return e
	}
	return nil
}

// cancel tells the service that nobody waits for a query any more, since it charges for what it scans. The caller may be
// gone, so the call has a time of its own.
func (r *Runner) cancel(ctx context.Context, id string) {
	r.cancels.Inc()
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer stop()
	if _, err := r.client.CancelQuery(ctx, &timestreamquery.CancelQueryInput{QueryId: aws.String(id)}); err != nil {
		r.logger.Debug("query could not be cancelled", "query", id, "err", classify(ctx, err))
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
