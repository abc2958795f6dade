// SPDX-License-Identifier: Apache-2.0

package local

import "time"

// company is whom a transaction waits for: clients that send the next request when the last one is answered. Those just answered
// are on their way again while others wait in the queue; without a moment's patience the clients of a busy table take turns in
// transactions of half their number each, which cost the same as whole ones. The wait ends when as many are there as were
// a transaction ago, or maxPatience after the answers, so it is over before anybody who comes later.
type company struct {
	// size is how many requests were in hand or in the queue when the last transaction was answered, until when they are expected.
	size  int
	until time.Time
	timer *time.Timer
}

// maxPatience is the longest wait: less than most commits take.
const maxPatience = time.Millisecond

func newCompany() company {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return company{timer: t}
}

// answered notes how many requests there were at the end of a transaction, and how long that took: a wait of more than half of it
// would not pay.
func (c *company) answered(size int, took time.Duration) {
	c.size, c.until = size, time.Now().Add(min(took/2, maxPatience))
}

// await tells whether more than n requests are expected soon; then it has set the timer to when they are not any more.
func (c *company) await(n int) bool {
	if n >= c.size {
		return false
	}
	left := time.Until(c.until)
	if left <= 0 {
		return false
	}
	c.timer.Reset(left)
	return true
}
