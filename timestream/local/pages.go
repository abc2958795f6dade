// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"encoding/base32"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
	"github.com/tributary-project/tributary/timestream/local/internal/unload"
)

// A result is cut into pages as they are asked for. Results that have more than one are kept open between the calls, each
// with a connection of its own, and are found by the token of the next page.

const (
	// tokenUses and tokenLife bound the use of one NextToken (API reference, Query).
	tokenUses = 5
	tokenLife = time.Hour
	// reusableAfter is how long an open result has to be idle before a new one may take its place.
	reusableAfter = 10 * time.Second
	// smallPage is what most results fit in; a page that outgrows it grows by four.
	smallPage = 16 << 10
)

// openResult is one open result. The page that was handed out last is kept, for a client that asks again.
type openResult struct {
	id      string
	params  uint64
	plan    *sqlplan.Plan
	conn    *duck.Conn
	rows    *duck.Rows
	cancel  context.CancelFunc
	text    []byte
	maxRows int
	charge  *charge
	// output is what was handed out or is about to be; maxBytes bounds it.
	output   output
	unloaded unload.Exported
	insights bool
	maxBytes int64

	// making is the page that is being made, if any, beside the calls; until it is ready, rows and all that fill uses are its. worked is how long
	// pages have taken.
	making *making
	worked time.Duration
	// life guards working, ending and, at the end, conn and rows.
	life            sync.Mutex
	working, ending bool

	// mu is held while a call waits for a page.
	mu   sync.Mutex
	page Page
	// seq is the number of the page that the current token stands for, uses how often it was used.
	seq, uses int
	issued    time.Time
	// chunk position, and the row that did not fit the last page.
	at      int
	inChunk bool
	carry   []byte
	// inPage is the number of rows in the page, done tells that no more follow it.
	inPage int
	done   bool
	// held is a page whose place empty ones took, emptyRun how many of these there were since the last rows, empties in all.
	held              *heldPage
	emptyRun, empties int

	// Guarded by queries.mu. ended says that the last page has been handed out.
	used  time.Time
	busy  bool
	ended bool
}

// output is the size of a result.
type output struct{ rows, bytes int64 }

// maxMetadataBytes bounds what describes the columns of a result (Developer Guide, ts-limits).
const maxMetadataBytes = 100 << 10

// metadataBytes is the size of that as JSON, which is what we take the limit to be about.
func metadataBytes(columns []qtypes.ColumnInfo) int {
	n := 0
	for i := range columns {
		n += columnBytes(&columns[i])
	}
	return n
}

func columnBytes(c *qtypes.ColumnInfo) int {
	n := len(`{"Type":{}},`)
	if c.Name != nil {
		n += len(`"Name":"",`) + len(*c.Name)
	}
	switch t := c.Type; {
	case t.ScalarType != "":
		return n + len(`"ScalarType":""`) + len(t.ScalarType)
	case t.TimeSeriesMeasureValueColumnInfo != nil:
		return n + len(`"TimeSeriesMeasureValueColumnInfo":`) + columnBytes(t.TimeSeriesMeasureValueColumnInfo)
	case t.ArrayColumnInfo != nil:
		return n + len(`"ArrayColumnInfo":`) + columnBytes(t.ArrayColumnInfo)
	default:
		return n + len(`"RowColumnInfo":[]`) + metadataBytes(t.RowColumnInfo)
	}
}

// Page is one answer of Query, with the rows as they go over the wire.
type Page struct {
	QueryID string
	// NextToken is empty on the last page.
	NextToken string
	Columns   []qtypes.ColumnInfo
	// Rows is the JSON of the rows, separated by commas, without brackets. It belongs to the page.
	Rows   []byte
	Status qtypes.QueryStatus
	// Insights is set on the last page, if it was asked for.
	Insights *qtypes.QueryInsightsResponse
}

func (r *openResult) token() string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(r.id + ":" + strconv.Itoa(r.seq)))
}

func parseToken(token string) (id string, seq int, ok bool) {
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(token)
	if err != nil {
		return "", 0, false
	}
	id, n, ok := strings.Cut(string(b), ":")
	seq, err = strconv.Atoi(n)
	return id, seq, ok && err == nil
}

func (r *openResult) status(progress float64) qtypes.QueryStatus {
	return qtypes.QueryStatus{ProgressPercentage: progress, CumulativeBytesScanned: r.charge.scanned, CumulativeBytesMetered: r.charge.metered}
}

// keep takes a result in among the open ones.
func (q *queries) keep(r *openResult) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return queryInternal()
	}
	if err := q.makeRoom(); err != nil {
		return err
	}
	r.used = time.Now()
	q.results[r.id] = r
	return nil
}

// makeRoom is called under mu before a result is added. When there are too many, the one that has been idle longest goes: at once
// if its last page has been handed out, so that it could only be asked for that again.
func (q *queries) makeRoom() error {
	if len(q.results) < q.db.cfg.OpenResults {
		return nil
	}
	var oldest *openResult
	for _, o := range q.results {
		if !o.busy && (oldest == nil || o.ended && !oldest.ended || o.ended == oldest.ended && o.used.Before(oldest.used)) {
			oldest = o
		}
	}
	if oldest == nil || !oldest.ended && time.Since(oldest.used) < reusableAfter {
		return q.tooManyOpen()
	}
	delete(q.results, oldest.id)
	oldest.close()
	return nil
}

// tooManyOpen is called under mu.
func (q *queries) tooManyOpen() error {
	return &qtypes.ThrottlingException{Message: text("%s: %d results are open (%s)", textRateExceeded, len(q.results), q.db.cfg.flag("query.open-results"))}
}

// next answers a call with a NextToken. The same token gives the same page again, up to five times; the token of that page
// takes its place.
func (q *queries) next(ctx context.Context, token string, params uint64, maxRows int, empty bool, p *place) (*Page, error) {
	id, seq, ok := parseToken(token)
	if !ok {
		return nil, queryInvalid(textBadToken)
	}
	r, err := q.take(id)
	if err != nil {
		return nil, err
	}
	defer q.giveBack(r)
	if r.params != params || seq < r.seq || seq > r.seq+1 || q.db.now().Sub(r.issued) > tokenLife {
		return nil, queryInvalid(textBadToken)
	}
	if seq == r.seq && r.uses > 0 {
		if r.uses >= tokenUses {
			return nil, queryInvalid(textBadToken)
		}
		r.uses++
		again := r.page
		return &again, nil
	}
	first := seq == r.seq // the rows that wait for the first token
	if !first && r.page.NextToken == "" {
		return nil, queryInvalid(textBadToken)
	}
	if maxRows > 0 && r.making == nil {
		r.maxRows = maxRows
	}
	switch {
	case !first || r.making != nil:
		rows, last, err := q.await(ctx, r, p, func() ([]byte, bool, error) { return r.following(empty) })
		late := errors.Is(err, lateError{})
		if ctx.Err() != nil || err != nil && !late {
			// A page half made cannot be made again.
			if q.drop(r) {
				return nil, &qtypes.ConflictException{Message: text(textQueryCanceled)}
			}
			return nil, errors.Join(ctx.Err(), err)
		}
		r.seq, r.issued = seq, q.db.now()
		r.page.Rows, r.done = rows, last
	case r.skips(empty):
		r.held = &heldPage{r.page.Rows, r.done}
		r.page.Rows, r.done = nil, false
	}
	r.uses = 1
	r.page.Status = r.status(r.progress())
	r.page.NextToken = ""
	if r.done {
		r.page.Status.ProgressPercentage = 100
		if err := q.complete(r); err != nil {
			return nil, err
		}
	} else {
		r.seq++
		r.page.NextToken = r.token()
		r.seq--
	}
	answer := r.page
	return &answer, nil
}

// complete adds to the last page what is known at the end.
func (q *queries) complete(r *openResult) (err error) {
	if r.insights {
		if r.page.Insights, err = q.db.insights(r.plan, r.output); err == nil && r.plan.Unload != nil {
			u := r.unloaded
			r.page.Insights.UnloadPartitionCount, r.page.Insights.UnloadWrittenRows, r.page.Insights.UnloadWrittenBytes = &u.Partitions, &u.Rows, &u.Bytes
		}
	}
	return err
}

// take locks an open result for a call.
func (q *queries) take(id string) (*openResult, error) {
	q.mu.Lock()
	if _, cancelled := q.cancelled[id]; cancelled {
		q.mu.Unlock()
		return nil, &qtypes.ConflictException{Message: text(textQueryCanceled)}
	}
	r := q.results[id]
	if r == nil || r.busy {
		q.mu.Unlock()
		return nil, queryInvalid(textBadToken)
	}
	r.busy = true
	q.mu.Unlock()
	r.mu.Lock()
	return r, nil
}

func (q *queries) giveBack(r *openResult) {
	r.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	r.busy, r.ended = false, r.done
	r.used = time.Now()
	if q.results[r.id] != r { // cancelled while the page was made
		r.close()
	}
}

// drop ends a result and tells whether it was cancelled before.
func (q *queries) drop(r *openResult) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.results, r.id)
	r.close()
	_, cancelled := q.cancelled[r.id]
	return cancelled
}

// fill makes a page: rows up to the limits, and whether they were the last. The row that no longer fits is carried to the
// next page.
func (r *openResult) fill() (page []byte, last bool, err error) {
	limit := r.maxRows
	if limit == 0 {
		limit = timestream.MaxRowsPerPage
	}
	r.inPage = 0
	add := func(row []byte) {
		switch need := len(page) + len(row) + 1; {
		case need <= cap(page):
		case cap(page) == 0 && need < smallPage:
			page = make([]byte, 0, smallPage)
		default:
			page = append(make([]byte, 0, max(need, min(4*cap(page), timestream.MaxPageBytes))), page...)
		}
		if r.inPage > 0 {
			page = append(page, ',')
		}
		page = append(page, row...)
		r.inPage++
	}
	if r.carry != nil {
		add(r.carry)
		r.carry = nil
	}
	for {
		row, err := r.row()
		if err != nil {
			return nil, false, err
		}
		if row == nil {
			r.close()
			return page, true, nil
		}
		if len(row) > timestream.MaxPageBytes {
			return nil, false, &qtypes.QueryExecutionException{Message: text(textRowTooLarge)}
		}
		r.output.rows++
		if r.output.bytes += int64(len(row)); r.output.bytes > r.maxBytes {
			return nil, false, &qtypes.QueryExecutionException{Message: text("The result of the query exceeds the limit of %d bytes.", r.maxBytes)}
		}
		if r.inPage >= limit || len(page)+len(row)+1 > timestream.MaxPageBytes {
			r.carry = append([]byte(nil), row...)
			return page, false, nil
		}
		add(row)
	}
}

// row returns the JSON of the next row, nil at the end. It is valid until the next call.
func (r *openResult) row() ([]byte, error) {
	if r.plan.SQL == "" {
		if r.at >= len(r.plan.Static) {
			return nil, nil
		}
		r.at++
		r.text = r.plan.AppendStatic(r.text[:0], r.at-1)
		return r.text, nil
	}
	if r.rows == nil {
		return nil, nil
	}
	for !r.inChunk || r.at >= r.rows.Size() {
		if !r.rows.Next() {
			return nil, r.rows.Err()
		}
		r.inChunk, r.at = true, 0
	}
	r.at++
	var err error
	r.text, err = r.plan.AppendRow(r.text[:0], r.rows.Columns(), r.at-1)
	return r.text, err
}

// paging tells whether there are results of which not all pages have been handed out.
func (q *queries) paging() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.results {
		if !r.ended {
			return true
		}
	}
	return false
}

// closeIdle ends results that nobody has asked a page of for so long, and returns how many of them were not read to their end.
func (q *queries) closeIdle(idle time.Duration) (unread int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, r := range q.results {
		if !r.busy && time.Since(r.used) > idle {
			if r.open() {
				unread++
			}
			delete(q.results, id)
			r.close()
		}
	}
	return unread
}

// open counts the results that have more to give. One that has ended is kept for a client that asks for its last page again, as long
// as its place is not needed.
func (q *queries) open() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := int(q.streams.Load())
	for _, r := range q.results {
		if !r.ended {
			n++
		}
	}
	return n
}
