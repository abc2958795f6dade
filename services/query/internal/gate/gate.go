// SPDX-License-Identifier: Apache-2.0

// Package gate lets a bounded number of calls run and a bounded number wait for their turn.
package gate

import (
	"context"
	"errors"
	"sync/atomic"
)

// ErrFull says that too many are waiting already.
var ErrFull = errors.New("too many calls wait for their turn")

// Gate is a gate. It is safe for concurrent use.
type Gate struct {
	slots      chan struct{}
	maxWaiting int64
	waiting    atomic.Int64
}

// New returns a gate that lets running calls through at a time and maxWaiting wait.
func New(running, maxWaiting int) *Gate {
	return &Gate{slots: make(chan struct{}, running), maxWaiting: int64(maxWaiting)}
}

// Enter waits for a place, at most until ctx ends; Leave must follow when it returns nil.
func (g *Gate) Enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.maxWaiting {
		return ErrFull
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Leave gives the place back.
func (g *Gate) Leave() { <-g.slots }

// Running returns how many calls are inside.
func (g *Gate) Running() int { return len(g.slots) }

// Waiting returns how many calls wait for a place.
func (g *Gate) Waiting() int { return int(g.waiting.Load()) }
