// SPDX-License-Identifier: Apache-2.0

// Package pages runs one statement of Timestream SQL and hands out its result page by page or row by row. It is the one
// retry layer of reading: calls that were throttled or not answered are made again, a query that nobody waits for any more
// is cancelled, and every error gets a class. What the statement is and what becomes of the rows is left to others.
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

	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/result"

	"github.com/tributary-project/tributary/services/query/internal/pagejson"
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
	metered *prometheus.CounterVec
	took    *prometheus.HistogramVec
}

// New returns a runner that makes a call again at most maxRetries times.
func New(client Client, maxRetries int, logger *slog.Logger, reg prometheus.Registerer) *Runner {
	f := promauto.With(reg)
	return &Runner{
		client: client, maxRetries: maxRetries, logger: logger, delay: firstDelay,
		queries: f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_timestream_queries_total", Help: "Statements begun, by what they are for: plain and extension read samples, starts their start timestamps; listing, exemplars, metadata and sql are what they are called; the others read the table's catalogue."}, []string{"kind"}),
		pages:   f.NewCounter(prometheus.CounterOpts{Name: "tributary_query_timestream_pages_total", Help: "Result pages read, empty ones included."}),
		retries: f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_timestream_retries_total", Help: "Calls made again, by reason."}, []string{"reason"}),
		errors:  f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_timestream_errors_total", Help: "Statements that failed for good, by reason."}, []string{"reason"}),
		cancels: f.NewCounter(prometheus.CounterOpts{Name: "tributary_query_timestream_cancelled_total", Help: "Queries cancelled because their result was no longer wanted."}),
		metered: f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_metered_bytes_total", Help: "Bytes that Timestream metered for statements, which is what it charges for, by what they were for."}, []string{"kind"}),
		took: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tributary_query_timestream_query_duration_seconds", Help: "Time of a statement from its first call to its last row, what is done with the rows included, by what it is for.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, []string{"kind"}),
	}
}

// Stats is what a statement took.
type Stats = result.Stats

// Run runs a statement and calls page for each page of the result, in order, whether it has rows or not. kind is for
// metrics. An error of page ends the run and is returned; every other error is an *Error or the end of ctx. The
// answers must not be kept. The next page is asked for while page has this one.
func (r *Runner) Run(ctx context.Context, kind, statement string, page func(*timestreamquery.QueryOutput) error) (Stats, error) {
	return r.run(ctx, kind, statement, r.query, func(a *answer) error { return page(a.sdk) })
}

// answer is one page of a result, by whatever call it came.
type answer struct {
	query   string // the name of the query
	token   string // asks for the next page; empty on the last
	metered int64
	rows    bool // there are some

	sdk  *timestreamquery.QueryOutput // of query
	raw  *client.Page                 // of queryPage
	page pagejson.Page
}

// release gives back the memory of a page.
func (a *answer) release() {
	if a.raw != nil {
		a.raw.Release()
	}
}

// ask makes one call.
type ask func(context.Context, *timestreamquery.QueryInput) (answer, error)

// query asks for a page through the SDK.
func (r *Runner) query(ctx context.Context, in *timestreamquery.QueryInput) (answer, error) {
	out, err := r.client.Query(ctx, in)
	if err != nil {
		return answer{}, err
	}
	a := answer{query: aws.ToString(out.QueryId), token: aws.ToString(out.NextToken), rows: len(out.Rows) > 0, sdk: out}
	if s := out.QueryStatus; s != nil {
		a.metered = s.CumulativeBytesMetered
	}
	return a, nil
}

// fetched is what became of asking for a page.
type fetched struct {
	answer
	err error
}

// run reads the pages of a statement, one ahead of use: a page is asked for as soon as its token is known, and at most two
// are held.
func (r *Runner) run(ctx context.Context, kind, statement string, ask ask, use func(*answer) error) (st Stats, err error) {
	began := time.Now()
	r.queries.WithLabelValues(kind).Inc()
	in := &timestreamquery.QueryInput{QueryString: aws.String(statement)}
	running := "" // the query that the service still works on
	defer func() {
		r.metered.WithLabelValues(kind).Add(float64(st.MeteredBytes))
		r.took.WithLabelValues(kind).Observe(time.Since(began).Seconds())
		r.count(err)
		if err != nil && running != "" {
			r.cancel(ctx, running)
		}
	}()
	ahead, stop := context.WithCancel(ctx)
	defer stop()
	took := func(a *answer) {
		st.Pages++
		r.pages.Inc()
		st.MeteredBytes = max(st.MeteredBytes, a.metered)
		running = ""
		if a.token != "" {
			running = a.query
		}
	}
	page := r.fetch(ahead, in, ask, 0)
	for empty := 0; ; {
		if page.err != nil {
			return st, page.err
		}
		took(&page.answer)
		var next chan fetched
		if page.token != "" {
			var pause time.Duration
			if page.rows {
				empty = 0
			} else if empty++; empty > emptyPages {
				pause = emptyDelay
			}
			// A page is a call of its own, as for the SDK's paginator; the SDK makes another ClientToken.
			in.NextToken, in.ClientToken = aws.String(page.token), nil
			next = make(chan fetched, 1)
			go func() { next <- r.fetch(ahead, in, ask, pause) }()
		}
		err := use(&page.answer)
		page.release()
		if next == nil {
			return st, err
		}
		if err == nil {
			// What came early is not for a caller who has left meanwhile.
			if err = context.Cause(ctx); err == nil {
				page = <-next
				continue
			}
		}
		stop()
		if page = <-next; page.err == nil {
			took(&page.answer)
			page.release()
		}
		return st, err
	}
}

// count counts a statement that failed for good.
func (r *Runner) count(err error) {
	var e *Error
	if errors.As(err, &e) {
		r.errors.WithLabelValues(e.Class.String()).Inc()
	}
}

// fetch asks for a page after a pause.
func (r *Runner) fetch(ctx context.Context, in *timestreamquery.QueryInput, ask ask, pause time.Duration) (f fetched) {
	if pause > 0 {
		if f.err = sleep(ctx, pause); f.err != nil {
			return f
		}
	}
	f.err = r.call(ctx, func() (again bool, err error) {
		callCtx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		f.answer, err = ask(callCtx, in)
		return true, err
	})
	return f
}

// call makes a call, and makes it again while that can help and the call allows it.
func (r *Runner) call(ctx context.Context, do func() (again bool, err error)) error {
	for attempt := 0; ; attempt++ {
		again, err := do()
		if err == nil {
			r.last.Store(nil)
			return nil
		}
		err = classify(ctx, err)
		var e *Error
		if !errors.As(err, &e) {
			return err
		}
		r.remember(e)
		if e.Class != Throttled && e.Class != Away || !again || attempt >= r.maxRetries {
			return err
		}
		r.retries.WithLabelValues(e.Class.String()).Inc()
		pause := min(r.delay<<min(attempt, 10), maxDelay)
		pause = pause/2 + rand.N(pause/2+1)
		r.logger.Debug("Timestream call failed, trying again", "attempt", attempt+1, "pause", pause, "err", err)
		if err := sleep(ctx, pause); err != nil {
			return err
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
