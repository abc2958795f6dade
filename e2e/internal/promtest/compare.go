// SPDX-License-Identifier: Apache-2.0

package promtest

import (
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
)

// Comparison is what became of a set of samples, in samples.
type Comparison struct {
	// Equal have labels, timestamp and bits in common. Missing are wanted and not there, Different have other bits,
	// Foreign are there and not wanted.
	Equal, Missing, Different, Foreign int
	// Examples describe the first few that are not equal.
	Examples []string
}

// OK tells whether both sides are the same.
func (c *Comparison) OK() bool { return c.Missing+c.Different+c.Foreign == 0 }

func (c *Comparison) String() string {
	return fmt.Sprintf("%d equal, %d missing, %d different, %d foreign: %v", c.Equal, c.Missing, c.Different, c.Foreign, c.Examples)
}

func (c *Comparison) example(format string, args ...any) {
	if len(c.Examples) < 10 {
		c.Examples = append(c.Examples, fmt.Sprintf(format, args...))
	}
}

// Compare compares series by labels, timestamp and the bits of values. That labels or samples of a series come in the wrong
// order counts as a difference, for readers rely on it.
func Compare(want, got []*prompb.TimeSeries) *Comparison {
	c := &Comparison{}
	index := make(map[string]map[int64]uint64, len(want))
	for _, s := range want {
		samples := make(map[int64]uint64, len(s.Samples))
		for _, p := range s.Samples {
			samples[p.Timestamp] = math.Float64bits(p.Value)
		}
		index[key(s)] = samples
	}
	for _, s := range got {
		k := key(s)
		wanted := index[k]
		for n := 1; n < len(s.Labels); n++ {
			if s.Labels[n-1].Name >= s.Labels[n].Name {
				c.Different++
				c.example("labels of %s are not sorted", k)
			}
		}
		for n, p := range s.Samples {
			bits, ok := wanted[p.Timestamp]
			switch {
			case !ok:
				c.Foreign++
				c.example("%s has %s at %d, which is not wanted, or there twice", k, describe(math.Float64bits(p.Value)), p.Timestamp)
			case n > 0 && s.Samples[n-1].Timestamp >= p.Timestamp:
				c.Different++
				c.example("%s has %d after %d", k, p.Timestamp, s.Samples[n-1].Timestamp)
			case bits != math.Float64bits(p.Value):
				c.Different++
				c.example("%s at %d: got %s, want %s", k, p.Timestamp, describe(math.Float64bits(p.Value)), describe(bits))
			default:
				c.Equal++
			}
			delete(wanted, p.Timestamp)
		}
	}
	for _, s := range want {
		k := key(s)
		for _, p := range s.Samples {
			if _, left := index[k][p.Timestamp]; left {
				c.Missing++
				c.example("%s misses %s at %d", k, describe(math.Float64bits(p.Value)), p.Timestamp)
			}
		}
	}
	return c
}

// describe prints a value and, where the value does not tell all, its bits.
func describe(bits uint64) string {
	v := math.Float64frombits(bits)
	switch {
	case value.IsStaleNaN(v):
		return "a staleness marker"
	case math.IsNaN(v):
		return fmt.Sprintf("NaN %#x", bits)
	}
	return fmt.Sprintf("%v (%#x)", v, bits)
}
