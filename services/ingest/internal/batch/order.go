// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/tributary-project/tributary/timestream/metering"
)

// Order says by which labels items are sorted, so that the records of a batch share what is dearest to send with each. Which
// labels those are depends on what requests hold: Learn finds out.
type Order struct {
	labels  []string
	version uint16
}

// maxOrderLabels is how many labels an order has at most: a sort key has room for so many hashes.
const maxOrderLabels = 3

// NewOrder returns the order to begin with: by target, as Prometheus names it, then by metric.
func NewOrder() *Order { return &Order{[]string{"job", "instance", model.MetricNameLabel}, 1} }

// String names the labels.
func (o *Order) String() string { return strings.Join(o.labels, ", ") }

// sortKey holds hashes of the values of the order's labels, the first in the highest bits. Series that agree in a label agree in
// its part of the key; that others may too costs little.
type sortKey uint64

const (
	firstBits = 20
	otherBits = 14
	keyBits   = firstBits + (maxOrderLabels-1)*otherBits // leaves room for an order's version
)

// group is the first label's part of a key.
func (k sortKey) group() uint32 { return uint32(k >> (2 * otherBits)) }

func (k sortKey) with(position int, hash uint32) sortKey {
	if position == 0 {
		return k | sortKey(hash>>(32-firstBits))<<(2*otherBits)
	}
	return k | sortKey(hash>>(32-otherBits))<<(otherBits*(maxOrderLabels-1-position))
}

// sortKey returns where an order puts the series. It is computed once and kept beside the order's version.
func (s *Series) sortKey(o *Order) sortKey {
	if p := s.place.Load(); uint16(p>>keyBits) == o.version {
		return sortKey(p & (1<<keyBits - 1))
	}
	var k sortKey
	for i, name := range o.labels {
		k = k.with(i, fnv(s.value(name)))
	}
	s.place.Store(uint64(o.version)<<keyBits | uint64(k))
	return k
}

// value returns the value of a label, empty when the series has none.
func (s *Series) value(name string) string {
	for k := s.key; k != ""; {
		n := strings.IndexByte(k, endOfName)
		v := n + 1 + strings.IndexByte(k[n+1:], endOfValue)
		if k[:n] == name {
			return k[n+1 : v]
		}
		k = k[v+1:]
	}
	return ""
}

func fnv(s string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint32(s[i])) * 16777619
	}
	// The bits that a key takes are the highest, which the last characters hardly reach.
	return h ^ h<<13 ^ h>>17
}

const (
	// MaxLearned is how many items Learn looks at.
	MaxLearned = 2000
	// maxTried is how many labels it tries at each place.
	maxTried = 24
	// callBytes is what a call costs more than its bytes: half a write unit, by rounding up.
	callBytes = metering.WriteUnit / 2
	// worthwhile is by how much a new order has to be better, since every series' place is computed anew.
	worthwhile = 0.97
)

// Learn returns the order by which items, those of a usual request, cost least: o, or one that is better by a few per cent. It
// chooses one label after the other, which takes some tens of milliseconds. Items are not changed.
func (o *Order) Learn(items []Item) *Order {
	items = items[:min(len(items), MaxLearned)]
	names := labelNames(items)
	hashes := make(map[string][]uint32, len(names))
	for _, name := range names {
		of := make([]uint32, len(items))
		for i := range items {
			of[i] = fnv(items[i].Series.value(name))
		}
		hashes[name] = of
	}
	var b Builder
	var sorter Sorter
	var left []Item
	work := make([]Item, len(items))
	cost := func(labels []string) int {
		copy(work, items)
		for i := range work {
			work[i].key = 0
			for position, name := range labels {
				if of := hashes[name]; of != nil {
					work[i].key = work[i].key.with(position, of[i])
				}
			}
		}
		sorter.Arrange(work)
		var batches [][]Item
		batches, left = Split(work, left)
		sum := 0
		for _, batch := range batches {
			sum += b.Plan(batch) + callBytes
		}
		return sum
	}
	var best []string
	bestCost := -1
	for range maxOrderLabels {
		var next []string
		for _, name := range names {
			if slices.Contains(best, name) {
				continue
			}
			tried := append(slices.Clone(best), name)
			if c := cost(tried); bestCost < 0 || c < bestCost {
				next, bestCost = tried, c
			}
		}
		if next == nil {
			break
		}
		best = next
	}
	if best == nil || slices.Equal(best, o.labels) || float64(bestCost) > worthwhile*float64(cost(o.labels)) {
		return o
	}
	return &Order{best, max(1, o.version+1)}
}

// labelNames returns the names of the labels that take most bytes in items.
func labelNames(items []Item) []string {
	bytes := map[string]int{}
	for i := range items {
		for _, l := range items[i].Series.Labels() {
			bytes[l.Name] += len(l.Name) + len(l.Value)
		}
	}
	names := make([]string, 0, len(bytes))
	for name := range bytes {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if bytes[a] != bytes[b] {
			return bytes[b] - bytes[a]
		}
		return strings.Compare(a, b)
	})
	return names[:min(len(names), maxTried)]
}
