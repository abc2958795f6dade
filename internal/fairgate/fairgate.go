// SPDX-License-Identifier: Apache-2.0

// Package fairgate bounds what a process holds in flight, how many requests and how many bytes for them, and shares it
// between callers. Nobody queues: over a bound the answer comes at once, and the sender, who has the data, waits. What an
// overload is answered with, and who a caller is, is left to the users.
//
// The rule: up to half of a bound anybody may take what is free. Beyond that a caller is refused who holds his share
// already, which is the bound divided by the callers of the last while. A caller who is alone has all of it; one that
// floods leaves the rest to the others.
package fairgate

import (
	"container/list"
	"fmt"
	"sync"
	"time"
)

const (
	// Remember is how long a caller counts after his last request. Who is told to come again does so within seconds;
	// meanwhile his share has to become free.
	Remember = 15 * time.Second
	// maxIdle bounds the callers that are remembered without anything in flight; beyond, the one not seen for longest
	// is forgotten.
	maxIdle = 1024
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
	limits Limits
	now    func() time.Time

	mu       sync.Mutex
	requests int64
	bytes    int64
	callers  map[string]*caller
	idle     *list.List // of *caller with nothing in flight, the one seen last at the back
}

// caller is one that has something in flight, or had a while ago.
type caller struct {
	name     string
	requests int64
	bytes    int64
	seen     time.Time
	idle     *list.Element // nil while something is in flight
}

// New returns a gate with nothing in flight. now is the clock.
func New(l Limits, now func() time.Time) *Gate {
	return &Gate{limits: l, now: now, callers: map[string]*caller{}, idle: list.New()}
}

// FullError says which bound was met.
type FullError struct {
	// What is "requests" or "bytes".
	What  string
	Limit int64
	Flag  string
	// Share is what the caller may hold while the gate is over half full, when it was that which refused him; 0 when the
	// gate is full.
	Share int64
}

func (e *FullError) Error() string {
	if e.Share > 0 {
		return fmt.Sprintf("overloaded: more than half of %d %s are in flight (--%s) and this caller's share is %d; send it again later", e.Limit, e.What, e.Flag, e.Share)
	}
	return fmt.Sprintf("overloaded: %d %s in flight are the limit (--%s); send it again later", e.Limit, e.What, e.Flag)
}

// Requests is the number of requests in flight.
func (g *Gate) Requests() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.requests
}

// Bytes is the number of bytes in flight.
func (g *Gate) Bytes() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bytes
}

// Callers is the number of callers between whom the gate is shared: those with something in flight and those seen
// within Remember.
func (g *Gate) Callers() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(g.now())
	return len(g.callers)
}

// Enter admits one request of the given caller that holds so many bytes, or returns a *FullError. An admitted request
// must Leave.
func (g *Gate) Enter(name string, bytes int64) (*Ticket, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.forget(now)
	c := g.see(name, now)
	if err := g.refuseRequest(c); err != nil {
		return nil, err
	}
	if err := g.refuseBytes(c, bytes, c.requests+1); err != nil {
		return nil, err
	}
	if c.idle != nil {
		g.idle.Remove(c.idle)
		c.idle = nil
	}
	g.requests++
	c.requests++
	g.bytes += bytes
	c.bytes += bytes
	return &Ticket{gate: g, caller: c, bytes: bytes}, nil
}

// forget lets go of the callers that were not seen for a while.
func (g *Gate) forget(now time.Time) {
	for front := g.idle.Front(); front != nil; front = g.idle.Front() {
		c := front.Value.(*caller) //nolint:errcheck // there is nothing else in it
		if g.idle.Len() <= maxIdle && now.Sub(c.seen) < Remember {
			return
		}
		g.idle.Remove(front)
		delete(g.callers, c.name)
	}
}

// see finds or makes the caller of that name, who is asking now.
func (g *Gate) see(name string, now time.Time) *caller {
	c := g.callers[name]
	if c == nil {
		c = &caller{name: name}
		c.idle = g.idle.PushBack(c)
		g.callers[name] = c
	}
	c.seen = now
	if c.idle != nil {
		g.idle.MoveToBack(c.idle)
	}
	return c
}

func (g *Gate) refuseRequest(c *caller) error {
	limit := g.limits.Requests
	if limit <= 0 {
		return nil
	}
	if g.requests >= limit {
		return &FullError{What: "requests", Limit: limit, Flag: g.limits.RequestsFlag}
	}
	if share := g.share(limit); 2*(g.requests+1) > limit && c.requests >= share {
		return &FullError{What: "requests", Limit: limit, Flag: g.limits.RequestsFlag, Share: share}
	}
	return nil
}

// refuseBytes says why a caller who would then have so many requests may not take n more bytes. The share does not bind
// his only request: it may be as large as requests get.
func (g *Gate) refuseBytes(c *caller, n, requests int64) error {
	limit := g.limits.Bytes
	if limit <= 0 {
		return nil
	}
	if g.bytes+n > limit {
		return &FullError{What: "bytes", Limit: limit, Flag: g.limits.BytesFlag}
	}
	if share := g.share(limit); requests > 1 && 2*(g.bytes+n) > limit && c.bytes+n > share {
		return &FullError{What: "bytes", Limit: limit, Flag: g.limits.BytesFlag, Share: share}
	}
	return nil
}

// share is what each of the present callers may hold of a bound. Nobody's is nothing.
func (g *Gate) share(limit int64) int64 { return max(1, limit/int64(max(1, len(g.callers)))) }

// Ticket is one admitted request. Take may be called by several goroutines at once; Leave is called once, after them.
type Ticket struct {
	gate   *Gate
	caller *caller
	bytes  int64 // under the gate's lock
}

// Take reserves n more bytes for the request, or returns a *FullError and reserves none. They are given back by Leave.
func (t *Ticket) Take(n int64) error {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.refuseBytes(t.caller, n, t.caller.requests); err != nil {
		return err
	}
	g.bytes += n
	t.caller.bytes += n
	t.bytes += n
	return nil
}

// Leave gives back the request and its bytes.
func (t *Ticket) Leave() {
	g, c := t.gate, t.caller
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes -= t.bytes
	c.bytes -= t.bytes
	t.bytes = 0
	g.requests--
	c.requests--
	if c.requests == 0 {
		c.seen = g.now()
		c.idle = g.idle.PushBack(c)
	}
}
