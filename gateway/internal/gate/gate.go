// SPDX-License-Identifier: Apache-2.0

// Package gate bounds what a process holds in flight: how many requests, and how many bytes for them. Nobody queues:
// over a bound the answer comes at once, and the sender, who has the data, waits. What an overload is answered with is
// left to the caller.
package gate

import (
	"fmt"
	"sync/atomic"
)

// Limits are the bounds and the names of the flags that move them, for error texts. A bound of 0 means none.
type Limits struct {
	Requests     int64
	RequestsFlag string
	Bytes        int64
	BytesFlag    string
}

// Gate counts requests and bytes in flight. It is safe for concurrent use.
type Gate struct {
	limits   Limits
	requests atomic.Int64
	bytes    atomic.Int64
}

// New returns a gate with nothing in flight.
func New(l Limits) *Gate { return &Gate{limits: l} }

// FullError says which bound was met.
type FullError struct {
	// What is "requests" or "bytes".
	What  string
	Limit int64
	Flag  string
}

func (e *FullError) Error() string {
	return fmt.Sprintf("overloaded: %d %s in flight are the limit (--%s); send it again later", e.Limit, e.What, e.Flag)
}

// Requests is the number of requests in flight.
func (g *Gate) Requests() int64 { return g.requests.Load() }

// Bytes is the number of bytes in flight.
func (g *Gate) Bytes() int64 { return g.bytes.Load() }

// Enter admits one request, or returns a *FullError. An admitted request must Leave.
func (g *Gate) Enter() (*Ticket, error) {
	if n := g.requests.Add(1); g.limits.Requests > 0 && n > g.limits.Requests {
		g.requests.Add(-1)
		return nil, &FullError{"requests", g.limits.Requests, g.limits.RequestsFlag}
	}
	return &Ticket{gate: g}, nil
}

// Ticket is one admitted request. Take may be called by several goroutines at once; Leave is called once, after them.
type Ticket struct {
	gate  *Gate
	bytes atomic.Int64
}

// Take reserves n more bytes for the request, or returns a *FullError and reserves none. They are given back by Leave.
func (t *Ticket) Take(n int64) error {
	l := t.gate.limits
	if total := t.gate.bytes.Add(n); l.Bytes > 0 && total > l.Bytes {
		t.gate.bytes.Add(-n)
		return &FullError{"bytes", l.Bytes, l.BytesFlag}
	}
	t.bytes.Add(n)
	return nil
}

// Leave gives back the request and its bytes.
func (t *Ticket) Leave() {
	t.gate.bytes.Add(-t.bytes.Swap(0))
	t.gate.requests.Add(-1)
}
