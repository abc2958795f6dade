// SPDX-License-Identifier: Apache-2.0

package gateway

import "time"

// SetAfter replaces time.After, for tests that decide when the drain delay is over. The gateway must not run yet.
func (g *Gateway) SetAfter(after func(time.Duration) <-chan time.Time) { g.after = after }
