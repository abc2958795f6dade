// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"hash/maphash"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/shape"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// QueryOption is the type of the options that the SDK's client methods take; a DB ignores them.
type QueryOption = func(*timestreamquery.Options)

// maxRemembered bounds the ids of queries that were cancelled.
const maxRemembered = 10_000

// idPattern is that of a query's id (API reference, CancelQuery).
var idPattern = regexp.MustCompile(`^[a-zA-Z0-9]+$`)

// queries runs statements and keeps the results whose pages are still being fetched.
type queries struct {
	db   *DB
	gate chan struct{}
	seed maphash.Seed
	// streams is how many results are being handed out by QueryRows.
	streams atomic.Int64
	// waiting is how many of them wait for memory, scarce a place for the one of them that is tried.
	waiting atomic.Int64
	scarce  chan struct{}

	mu sync.Mutex
	// results by query id.
	results map[string]*openResult
	// cancelled remembers query ids.
	cancelled    map[string]time.Time
	clientTokens clientTokens
	closed       bool
	// holding is how many statements of QueryRows may hold memory, frees how many no longer do; then memory is closed and another put
	// in its place.
	holding int
	frees   uint64
	memory  chan struct{}
	// calls counts those that may still touch the database.
	calls sync.WaitGroup
}

// grant tells whether a statement's IAM action is granted.
func (db *DB) grant(action string) error {
	if db.Allowed(action) {
		return nil
	}
	return &qtypes.AccessDeniedException{Message: db.cfg.denied(action)}
}

// allowQuery tells whether an operation of the Query API may be called.
func (db *DB) allowQuery(operation string) error {
	if err := db.grant(operation); err != nil {
		return err
	}
	if !db.quotas.call(operation, db.now()) {
		return &qtypes.ThrottlingException{Message: text(textRateExceeded)}
	}
	return nil
}

func newQueries(db *DB) *queries {
	return &queries{
		db:        db,
		gate:      make(chan struct{}, db.cfg.QueryConcurrency),
		seed:      maphash.MakeSeed(),
		results:   map[string]*openResult{},
		cancelled: map[string]time.Time{},
		memory:    make(chan struct{}),
		scarce:    make(chan struct{}, 1),
	}
}

// Query runs a statement, or fetches the next page of one (API reference, Query). A result that does not fit one page is
// answered first by an empty page with a NextToken. The query sees every record that was acknowledged before it began.
func (db *DB) Query(ctx context.Context, in *timestreamquery.QueryInput, _ ...QueryOption) (*timestreamquery.QueryOutput, error) {
	p, err := db.QueryPage(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &timestreamquery.QueryOutput{ColumnInfo: p.Columns, QueryId: &p.QueryID, QueryStatus: &p.Status, QueryInsightsResponse: p.Insights, Rows: []qtypes.Row{}}
	if p.NextToken != "" {
		out.NextToken = &p.NextToken
	}
	// The SDK's types have the names of the JSON members, so what the wire gets is read back.
	if err := json.Unmarshal(append(append([]byte{'['}, p.Rows...), ']'), &out.Rows); err != nil {
		return nil, err
	}
	return out, nil
}

// QueryPage is Query for package wire: the rows come as JSON.
func (db *DB) QueryPage(ctx context.Context, in *timestreamquery.QueryInput) (*Page, error) {
	return db.queryPage(ctx, in, false)
}

// queryPage is QueryPage, or QueryEmptyPage.
func (db *DB) queryPage(ctx context.Context, in *timestreamquery.QueryInput, empty bool) (*Page, error) {
	start := time.Now()
	p, err := db.queries.query(ctx, in, empty)
	db.metrics.queryTime.Observe(time.Since(start).Seconds())
	if err != nil {
		db.metrics.queryError.Inc()
		return nil, db.queryError(err)
	}
	return p, nil
}

// queryError makes sure that what leaves is an error of the API or of the context.
func (db *DB) queryError(err error) error {
	var api interface{ ErrorCode() string }
	if errors.As(err, &api) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var de *duck.Error
	if errors.As(err, &de) {
		if message, ok := db.executionError(de.Text); ok {
			return &qtypes.QueryExecutionException{Message: &message}
		}
	}
	db.noteFatal(err)
	db.log.Error("query failed", "err", explain(db.cfg.Dir, err))
	return queryFailed(err)
}

// executionError tells whether a failure is the statement's own, by the class that DuckDB's text begins with, and words it
// without DuckDB's suggestions.
func (db *DB) executionError(text string) (string, bool) {
	class, rest, _ := strings.Cut(text, " Error: ")
	rest, _, _ = strings.Cut(rest, "\n")
	switch class {
	case "Conversion", "Out of Range", "Invalid Input", "Mismatch Type", "Not implemented":
		return sqlplan.Failure(rest), true
	case "Out of Memory":
		return "The query needs more memory than it may use (" + db.cfg.flag("memory-limit") + "). A shorter range of time or fewer series need less.", true
	case "Catalog":
		return "A table of the query was deleted while it ran.", true
	}
	return "", false
}

func (q *queries) query(ctx context.Context, in *timestreamquery.QueryInput, empty bool) (*Page, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkQuery(in); err != nil {
		return nil, err
	}
	if err := q.enter(); err != nil {
		return nil, err
	}
	defer q.calls.Done()
	if err := q.acquire(ctx); err != nil {
		return nil, err
	}
	var own place
	defer func() { q.leave(&own) }()
	params := maphash.String(q.seed, *in.QueryString)
	if token := str(in.NextToken); token != "" {
		return q.next(ctx, token, params, maxRows(in), empty, &own)
	}
	if err := q.checkClientToken(str(in.ClientToken), params^uint64(maxRows(in))); err != nil {
		return nil, err
	}
	if wantsInsights(in) {
		if err := q.db.quotas.insights(q.db.now()); err != nil {
			return nil, err
		}
	}
	plan, err := q.compile(*in.QueryString)
	if err != nil {
		return nil, err
	}
	if plan.Unload != nil {
		if err := q.db.checkUnload(plan.Unload); err != nil {
			return nil, err
		}
	}
	fresh := func(c *charge) *openResult {
		return &openResult{id: newQueryID(), params: params, plan: plan, charge: c, maxRows: maxRows(in), maxBytes: int64(q.db.cfg.MaxResultBytes), insights: wantsInsights(in)}
	}
	c := q.db.charge(plan)
	p, err := q.run(ctx, fresh(c), empty, &own)
	if outOfMemory(err) {
		again := q.evict()
		if c.underestimated() && plan.Slices != nil || again {
			p, err = q.run(ctx, fresh(c), empty, &own)
		}
	}
	return p, err
}

// acquire takes one of the places for statements that run.
func (q *queries) acquire(ctx context.Context) error {
	select {
	case q.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *queries) release() { <-q.gate }

// compile plans a statement that the caller is allowed.
func (q *queries) compile(statement string) (*sqlplan.Plan, error) {
	return q.compileWith(statement, nil)
}

// compileWith is compile for a statement with parameters, whose values are times.
func (q *queries) compileWith(statement string, values map[string]time.Time) (*sqlplan.Plan, error) {
	now := q.db.now()
	plan, err := sqlplan.CompileWith(statement, view{q.db, now}, now, values)
	if err != nil {
		return nil, err
	}
	if err := q.db.grant(plan.Action); err != nil {
		return nil, err
	}
	if plan.Unload != nil {
		if err := q.db.grant(plan.Unload.Query.Action); err != nil {
			return nil, err
		}
	}
	if n := metadataBytes(plan.ColumnInfo()); n > maxMetadataBytes {
		return nil, queryInvalid("The metadata of the result has %d bytes, which exceeds the limit of %d.", n, maxMetadataBytes)
	}
	return plan, nil
}

// enter counts a call that may touch the database, unless it is closing.
func (q *queries) enter() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return queryInternal()
	}
	q.calls.Add(1)
	return nil
}

// checkQuery checks the constraints of the API model (API reference, Query).
func checkQuery(in *timestreamquery.QueryInput) error {
	var v shape.Violations
	v.Statement(in.QueryString, "queryString")
	shape.Number(&v, in.MaxRows, 1, timestream.MaxRowsPerPage, "maxRows")
	v.Text(in.ClientToken, false, 32, 128, "clientToken")
	v.Text(in.NextToken, false, 1, 2048, "nextToken")
	if i := in.QueryInsights; i != nil {
		if i.Mode == "" {
			v.Null("queryInsights.mode")
		}
		shape.Enum(&v, i.Mode, "queryInsights.mode", qtypes.QueryInsightsModeEnabledWithRateControl, qtypes.QueryInsightsModeDisabled)
	}
	return v.AsQuery()
}

func maxRows(in *timestreamquery.QueryInput) int {
	if in.MaxRows != nil {
		return int(*in.MaxRows)
	}
	return 0
}

// run starts a statement and makes the first answer.
func (q *queries) run(ctx context.Context, r *openResult, empty bool, own *place) (*Page, error) {
	plan, kept := r.plan, false
	// The statement outlives the call when there are more pages, so its context is its own; while the call lasts, the caller's end is its end.
	life, cancel := context.WithCancel(q.db.background)
	r.cancel = cancel
	defer func() {
		if !kept {
			r.close()
		}
	}()
	rows, last, err := q.await(ctx, r, own, func() (page []byte, last bool, err error) {
		if plan.SQL != "" {
			if r.conn, err = q.db.duck.Connect(); err != nil {
				return nil, false, err
			}
			if r.rows, err = q.db.read(life, r.conn, plan, r.charge); err != nil {
				return nil, false, err
			}
		}
		if plan.Unload != nil {
			return r.unload(q.db.buckets)
		}
		return r.fill()
	})
	late := errors.Is(err, lateError{})
	if err != nil && !late {
		return nil, errors.Join(ctx.Err(), err)
	}
	r.page = Page{QueryID: r.id, Columns: plan.ColumnInfo(), Rows: rows}
	if !late && last && (r.maxRows == 0 || r.inPage < r.maxRows) && !r.skips(empty) {
		r.page.Status = r.status(100)
		return &r.page, q.complete(r)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// The result does not fit, which one of just MaxRows rows does not either (API reference, Query): the rows wait for the
	// first token.
	r.done = last
	first := r.page
	first.Rows = nil
	first.Status = r.status(0)
	r.seq, r.issued = 1, q.db.now()
	first.NextToken = r.token()
	if err := q.keep(r); err != nil {
		return nil, err
	}
	kept = true
	return &first, nil
}

// newQueryID looks like the service's: upper-case base32.
func newQueryID() string {
	var b [15]byte
	rand.Read(b[:])
	return "AE" + base32.StdEncoding.EncodeToString(b[:])
}

// CancelQuery ends a query whose pages are still being fetched (API reference, query_CancelQuery). It may be repeated.
func (db *DB) CancelQuery(_ context.Context, in *timestreamquery.CancelQueryInput, _ ...QueryOption) (*timestreamquery.CancelQueryOutput, error) {
	if err := db.allowQuery("CancelQuery"); err != nil {
		return nil, err
	}
	var v shape.Violations
	id := v.Text(in.QueryId, true, 1, 64, "queryId")
	v.Pattern(in.QueryId, idPattern, "[a-zA-Z0-9]+", "queryId")
	if err := v.AsQuery(); err != nil {
		return nil, err
	}
	q := db.queries
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.cancelled[id]; ok {
		return &timestreamquery.CancelQueryOutput{CancellationMessage: text("The query %s is already cancelled.", id)}, nil
	}
	r := q.results[id]
	if r == nil {
		return nil, queryInvalid("The query %s is not running.", id)
	}
	now := db.now()
	if len(q.cancelled) >= maxRemembered {
		for k, at := range q.cancelled {
			if now.Sub(at) > tokenLife || len(q.cancelled) >= maxRemembered {
				delete(q.cancelled, k)
			}
		}
	}
	q.cancelled[id] = now
	delete(q.results, id)
	r.cancel()
	if !r.busy {
		r.close()
	}
	return &timestreamquery.CancelQueryOutput{CancellationMessage: text("The query %s was cancelled.", id)}, nil
}

// close refuses new calls, waits for those that run (the background context has ended, so they do) and frees all.
func (q *queries) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.calls.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, r := range q.results {
		delete(q.results, id)
		r.close()
	}
}
