// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"sync"
	"time"
)

// cell holds one value that is read anew when it is older than wanted. Those who want it at the same time share one
// reading, but only one that began after what each of them asks for: an earlier one may have missed what they know of.
type cell[T any] struct {
	mu      sync.Mutex
	known   bool
	value   T
	began   time.Time     // when the reading of value began
	running chan struct{} // closed when the reading in progress ends; nil without one
}

// get returns a value whose reading began after the given moment. The reading runs in the goroutine, and under the
// context, of one who wants it; when that fails, only he is told, and the next one tries.
func (c *cell[T]) get(ctx context.Context, after time.Time, now func() time.Time, read func(context.Context) (T, error)) (T, error) {
	for {
		c.mu.Lock()
		if c.known && (after.IsZero() || c.began.After(after)) {
			defer c.mu.Unlock()
			return c.value, nil
		}
		if wait := c.running; wait != nil {
			c.mu.Unlock()
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				var none T
				return none, context.Cause(ctx)
			}
		}
		done := make(chan struct{})
		c.running = done
		c.mu.Unlock()
		return c.read(ctx, done, now, read)
	}
}

func (c *cell[T]) read(ctx context.Context, done chan struct{}, now func() time.Time, read func(context.Context) (T, error)) (v T, err error) {
	began := now()
	ok := false
	defer func() { // also when read panics
		c.mu.Lock()
		defer c.mu.Unlock()
		if ok {
			c.known, c.value, c.began = true, v, began
		}
		c.running = nil
		close(done)
	}()
	v, err = read(ctx)
	ok = err == nil
	return v, err
}

// peek returns the value if there is one, however old.
func (c *cell[T]) peek() T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value
}
