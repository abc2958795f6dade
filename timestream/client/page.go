// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	// MaxPage bounds an answer of Query in bytes. The service's pages hold up to 1 MB of rows, and up to 100 KB of what
	// describes their columns (Timestream Developer Guide, ts-limits).
	MaxPage = 8 << 20
	// usualPage is what an answer takes at most when the service keeps its limits; larger buffers are not kept.
	usualPage = 2 << 20
	// step is what the sizes of buffers are multiples of, and the size of the first one when no length is announced.
	step = 64 << 10
)

// ErrPageTooLarge says that an answer of Query is longer than MaxPage.
var ErrPageTooLarge = fmt.Errorf("the page is larger than %d MiB, which no page of Timestream is", MaxPage>>20)

// Page is an answer of Query as it came.
type Page struct {
	body []byte
	pool *sync.Pool
}

// Body returns the JSON document. It is valid until Release.
func (p *Page) Body() []byte { return p.body }

// Release gives the memory back; the page must not be used after it.
func (p *Page) Release() {
	if cap(p.body) <= usualPage {
		p.body = p.body[:0]
		p.pool.Put(p)
	}
}

// page returns an empty page.
func (q *Querier) page() *Page {
	if p, ok := q.pages.Get().(*Page); ok {
		return p
	}
	return &Page{pool: &q.pages}
}

// QueryPage is Query with its answer left as it came: the SDK makes each value of it several objects in memory, which costs
// some seventy times what reading it without them does. All else is the SDK's: signature, endpoints, connections and
// errors. The caller releases the page.
func (q *Querier) QueryPage(ctx context.Context, in *timestreamquery.QueryInput) (*Page, error) {
	raw := &rawAnswer{page: q.page()}
	_, err := q.Query(ctx, in, func(o *timestreamquery.Options) { o.APIOptions = append(o.APIOptions, raw.replace) })
	if err != nil {
		raw.page.Release()
		return nil, err
	}
	return raw.page, nil
}

// rawAnswer takes the place of the step that reads an answer of Query.
type rawAnswer struct {
	page *Page
	sdk  middleware.DeserializeMiddleware
}

// deserializer is the name of that step.
const deserializer = "OperationDeserializer"

// replace puts the step into the stack of steps of one call.
func (a *rawAnswer) replace(stack *middleware.Stack) (err error) {
	a.sdk, err = stack.Deserialize.Swap(deserializer, a)
	return err
}

// ID implements middleware.DeserializeMiddleware.
func (*rawAnswer) ID() string { return deserializer }

// HandleDeserialize keeps the body of a success, and leaves every other answer to the SDK.
func (a *rawAnswer) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, metadata, err := next.HandleDeserialize(ctx, in)
	if err != nil {
		return out, metadata, err
	}
	res, ok := out.RawResponse.(*smithyhttp.Response)
	if !ok || res.StatusCode < 200 || res.StatusCode >= 300 {
		return a.sdk.HandleDeserialize(ctx, in, middleware.DeserializeHandlerFunc(func(context.Context, middleware.DeserializeInput) (middleware.DeserializeOutput, middleware.Metadata, error) {
			return out, metadata, nil
		}))
	}
	if err := a.page.read(res.Body, res.ContentLength); err != nil {
		if errors.Is(err, ErrPageTooLarge) {
			// What is left is not worth reading, and a connection that is closed is not used again.
			_ = res.Body.Close()
		}
		return out, metadata, &smithy.DeserializationError{Err: err}
	}
	out.Result = &timestreamquery.QueryOutput{}
	return out, metadata, nil
}

// read reads a body; length is what was announced, or negative.
func (p *Page) read(r io.Reader, length int64) error {
	if length > MaxPage {
		return ErrPageTooLarge
	}
	p.body = p.body[:0]
	p.grow(max(int(length), 0) + 1) // the end is seen without growing
	for {
		if len(p.body) == cap(p.body) {
			if len(p.body) > MaxPage {
				return ErrPageTooLarge
			}
			p.grow(min(2*len(p.body), MaxPage+1))
		}
		n, err := r.Read(p.body[len(p.body):cap(p.body)])
		p.body = p.body[:len(p.body)+n]
		switch {
		case len(p.body) > MaxPage:
			return ErrPageTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the page: %w", err)
		}
	}
}

// grow makes room for n bytes and a little more, so that pages of nearly the same size fit into each other's memory.
func (p *Page) grow(n int) {
	if cap(p.body) < n {
		n = (n + step - 1) / step * step
		body := make([]byte, len(p.body), n)
		copy(body, p.body)
		p.body = body
	}
}
