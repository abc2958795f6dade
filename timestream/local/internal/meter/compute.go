// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"slices"
	"sync"
	"time"
)

// Compute units come by fours, each of which is paid by the second and for half a minute at least (Developer Guide, tcu). That four of them run
// seven statements at one time is the same page's guideline; that they do not run more, and that the service takes as long for a
// statement as this process, is our assumption, which matters little to statements that are over within half a minute.
const (
	unitsPerBlock      = 4
	statementsPerBlock = 7
	leastBilled        = 30 * time.Second
)

// Compute estimates the compute units that statements occupy together. The zero value is ready.
type Compute struct {
	mu      sync.Mutex
	running int
	// most is the number of blocks that there may be.
	most int
	// starts are when the blocks that are paid for at present began, in order.
	starts []time.Time
	at     time.Time
	paid   time.Duration // of one unit
}

// Begin notes that a statement begins to run, in an account that may have so many units (MaxQueryTCU).
func (c *Compute) Begin(now time.Time, maxUnits int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(now)
	c.most = maxUnits / unitsPerBlock
	c.running++
	for len(c.starts) < c.needed() {
		c.starts = append(c.starts, c.at)
	}
}

// End notes that one has ended.
func (c *Compute) End(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(now)
	c.running--
}

// UnitTime is what has to be paid up to now, as the time of one unit. What began is paid for half a minute.
func (c *Compute) UnitTime(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(now)
	sum := c.paid
	for _, start := range c.starts {
		sum += unitsPerBlock * max(leastBilled, ceil(c.at.Sub(start)))
	}
	return sum
}

// Reset forgets what was paid, and sets it to what another count has come to.
func (c *Compute) Reset(now time.Time, paid time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(now)
	c.paid = paid
	for i := range c.starts {
		c.starts[i] = c.at
	}
	c.starts = c.starts[:min(len(c.starts), c.needed())]
}

func (c *Compute) needed() int {
	return min((c.running+statementsPerBlock-1)/statementsPerBlock, c.most)
}

// advance ends the blocks that nobody has needed since at and whose half minute is over.
func (c *Compute) advance(now time.Time) {
	if now.Before(c.at) {
		now = c.at
	}
	surplus := len(c.starts) - c.needed()
	c.starts = slices.DeleteFunc(c.starts, func(start time.Time) bool {
		end := start.Add(leastBilled)
		if end.Before(c.at) {
			end = c.at
		}
		if surplus <= 0 || end.After(now) {
			return false
		}
		surplus--
		c.paid += unitsPerBlock * ceil(end.Sub(start))
		return true
	})
	c.at = now
}

func ceil(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }
