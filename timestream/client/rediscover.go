// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// Writer is a write client that discovers its endpoint anew when Timestream says that the one it knows has moved
// (InvalidEndpointException; Developer Guide, "The endpoint discovery pattern"). The SDK keeps a discovered endpoint for
// the time it was told, a day, whatever the endpoint answers. The failed call is not repeated: that is the caller's.
type Writer struct {
	client atomic.Pointer[timestreamwrite.Client]
}

// NewWriter returns a writer that begins with c.
func NewWriter(c *timestreamwrite.Client) *Writer {
	w := &Writer{}
	w.client.Store(c)
	return w
}

// WriteRecords is that of the SDK's client.
func (w *Writer) WriteRecords(ctx context.Context, in *timestreamwrite.WriteRecordsInput, opts ...func(*timestreamwrite.Options)) (*timestreamwrite.WriteRecordsOutput, error) {
	c := w.client.Load()
	out, err := c.WriteRecords(ctx, in, opts...)
	w.rediscover(c, err)
	return out, err
}

// rediscover replaces c when err, which it returned, says that its endpoint has moved.
func (w *Writer) rediscover(c *timestreamwrite.Client, err error) {
	var moved *wtypes.InvalidEndpointException
	if errors.As(err, &moved) {
		// A new client with the same options has discovered nothing yet; connections and credentials are shared.
		w.client.CompareAndSwap(c, timestreamwrite.New(c.Options()))
	}
}

// Querier is the same for queries.
type Querier struct {
	client atomic.Pointer[timestreamquery.Client]
	pages  sync.Pool // of *Page
}

// NewQuerier returns a querier that begins with c.
func NewQuerier(c *timestreamquery.Client) *Querier {
	q := &Querier{}
	q.client.Store(c)
	return q
}

// Query is that of the SDK's client.
func (q *Querier) Query(ctx context.Context, in *timestreamquery.QueryInput, opts ...func(*timestreamquery.Options)) (*timestreamquery.QueryOutput, error) {
	c := q.client.Load()
	out, err := c.Query(ctx, in, opts...)
	var moved *qtypes.InvalidEndpointException
	if errors.As(err, &moved) {
		q.client.CompareAndSwap(c, timestreamquery.New(c.Options()))
	}
	return out, err
}

// CancelQuery is that of the SDK's client.
func (q *Querier) CancelQuery(ctx context.Context, in *timestreamquery.CancelQueryInput, opts ...func(*timestreamquery.Options)) (*timestreamquery.CancelQueryOutput, error) {
	return q.client.Load().CancelQuery(ctx, in, opts...)
}
