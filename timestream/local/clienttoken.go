// SPDX-License-Identifier: Apache-2.0

package local

import (
	"hash/maphash"
	"time"
)

const (
	// clientTokenWindow is how long a ClientToken may be repeated for the same request, and clientTokenLife when it is as good as new (API
	// reference, Query); between the two it fails.
	clientTokenWindow = 5 * time.Minute
	clientTokenLife   = 4 * time.Hour
	// maxClientTokens bounds those that are remembered; the oldest go first.
	maxClientTokens = 1 << 16
)

// clientTokens remembers what each ClientToken stood for. The zero value remembers none.
type clientTokens struct {
	// known is by the hash of the token.
	known map[uint64]clientToken
	// order has the hashes by age; next is the place of the oldest when it is full.
	order []uint64
	next  int
}

type clientToken struct {
	params uint64
	at     time.Time
}

// check refuses a token that must not be used now, and remembers a new one. The SDKs send one of their own with every call and repeat it
// when they retry: the statement then runs again, which for a read is the same. The class and the texts are ours.
func (c *clientTokens) check(token, params uint64, now time.Time) error {
	have, ok := c.known[token]
	if age := now.Sub(have.at); ok && age < clientTokenLife {
		switch {
		case have.params != params:
			return queryInvalid("The ClientToken was used before with other parameters.")
		case age >= clientTokenWindow:
			return queryInvalid("The ClientToken was used before, more than %v ago.", clientTokenWindow)
		}
		return nil
	}
	if c.known == nil {
		c.known = map[uint64]clientToken{}
	}
	c.known[token] = clientToken{params, now}
	switch {
	case ok: // it keeps its place
	case len(c.order) < maxClientTokens:
		c.order = append(c.order, token)
	default:
		delete(c.known, c.order[c.next])
		c.order[c.next] = token
		c.next = (c.next + 1) % maxClientTokens
	}
	return nil
}

// checkClientToken checks the ClientToken of a call, if it has one.
func (q *queries) checkClientToken(token string, params uint64) error {
	if token == "" {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.clientTokens.check(maphash.String(q.seed, token), params, q.db.now())
}
