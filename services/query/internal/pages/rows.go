// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/result"

	"github.com/tributary-project/tributary/services/query/internal/pagejson"
)

// pageClient is what a Client can do besides: give out an answer of Query as it came. *client.Querier can. Errors are
// those of Query.
type pageClient interface {
	QueryPage(context.Context, *timestreamquery.QueryInput) (*client.Page, error)
}

// rowClient is what a Client can do besides that has the database in the same process: give out the rows of a statement
// without pages. row is called for each, in order, and what it is given is valid until it returns; its error ends the
// statement and is returned as it is. Other errors are the SDK's, as Query returns them; the statistics count also then.
type rowClient interface {
	QueryRows(ctx context.Context, statement string, kinds []result.Kind, row func(result.Row) error) (result.Stats, error)
}

// Rows runs a statement and calls row for each row of the result, in order. kinds are those of the columns, kind is for
// metrics. What row is given is valid until it returns. An error of row ends the run and is returned as it is; every other
// error is an *Error or the end of ctx. It takes the shortest way that the client offers: rows, pages as they came, or the
// SDK's values.
func (r *Runner) Rows(ctx context.Context, kind, statement string, kinds []result.Kind, row func(result.Row) error) (Stats, error) {
	if c, ok := r.client.(rowClient); ok {
		return r.inProcess(ctx, c, kind, statement, kinds, row)
	}
	d := pagejson.NewDecoder(kinds)
	var refused error
	each := func(x result.Row) error {
		refused = row(x)
		return refused
	}
	ask, read := r.query, func(a *answer) error { return d.SDKRows(a.sdk.Rows, each) }
	if c, ok := r.client.(pageClient); ok {
		ask = func(ctx context.Context, in *timestreamquery.QueryInput) (answer, error) {
			return queryPage(ctx, c, in)
		}
		read = func(a *answer) error { return d.Rows(&a.page, each) }
	}
	return r.run(ctx, kind, statement, ask, func(a *answer) error {
		err := read(a)
		if err == nil || refused != nil {
			return refused
		}
		// The rows before it have been given out, so the page cannot be asked for again.
		return classify(ctx, &smithy.DeserializationError{Err: err})
	})
}

// queryPage asks for a page as it came.
func queryPage(ctx context.Context, c pageClient, in *timestreamquery.QueryInput) (answer, error) {
	raw, err := c.QueryPage(ctx, in)
	if err != nil {
		return answer{}, err
	}
	page, err := pagejson.Parse(raw.Body())
	if err != nil {
		raw.Release()
		return answer{}, &smithy.DeserializationError{Err: err}
	}
	return answer{query: page.QueryID, token: page.NextToken, metered: page.MeteredBytes, rows: page.HasRows(), raw: raw, page: page}, nil
}

// inProcess is Rows of a database in the same process. A call of it has no time limit but that of ctx: it lasts as long as
// the rows are being read. It is made again as long as no row has been given out.
func (r *Runner) inProcess(ctx context.Context, c rowClient, kind, statement string, kinds []result.Kind, row func(result.Row) error) (st Stats, err error) {
	began := time.Now()
	r.queries.WithLabelValues(kind).Inc()
	defer func() {
		r.pages.Add(float64(st.Pages))
		r.metered.WithLabelValues(kind).Add(float64(st.MeteredBytes))
		r.took.WithLabelValues(kind).Observe(time.Since(began).Seconds())
		r.count(err)
	}()
	given := false
	var refused error
	err = r.call(ctx, func() (bool, error) {
		took, failed := c.QueryRows(ctx, statement, kinds, func(x result.Row) error {
			given = true
			refused = row(x)
			return refused
		})
		st.Pages += took.Pages
		st.MeteredBytes += took.MeteredBytes
		if refused != nil {
			failed = nil // of the call; what row said is returned below
		}
		return !given, failed
	})
	if refused != nil {
		return st, refused
	}
	return st, err
}
