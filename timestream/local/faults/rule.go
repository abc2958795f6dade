// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// rule is one line of a plan. What it says does not change, but for the numbers of calls that are left.
type rule struct {
	id string
	// unnamed tells that the id was made up.
	unnamed bool
	scopes  []*scope
	// tables are patterns of database.table; nil for any call.
	tables []string
	// after is when the rule begins, counted from when it was set, and lasts how long it is in force then; zero for ever. over is the
	// time in which values go from one to the next.
	after, lasts, over time.Duration
	// calls is how many calls it is about, zero for any number.
	calls int
	// burst is how many calls may come at once under a rate; zero for those of a second.
	burst int
	// text is what errors say, reason why records are refused.
	text, reason string
	seed         uint64
	seeded       bool

	mu      sync.Mutex
	started bool
	since   time.Time
	// seen is the number of calls that it was about, hits what happened to them.
	seen  int
	hits  map[hit]int
	done  bool // calls are used up
	first *rand.Rand
	more  *rand.Rand
	// buckets are those of rate, by operation and table.
	buckets map[string]*bucket
}

// hit is what happened to an operation.
type hit struct {
	operation string
	kind      Kind
}

// scope is what a rule says about the operations that a pattern matches.
type scope struct {
	pattern string
	set     [kinds]bool
	chances [kinds]chance
	// delays are those of Latency and LatencyAfter.
	delays [kinds]delay
	rate   []float64
	hide   time.Duration
}

// chance is how often a fault happens: to the next calls, and when there are none left, with a probability, which goes through the
// points in the time of the rule.
type chance struct {
	next   int
	points []float64
}

func (c *chance) none() bool {
	return c.next == 0 && !slices.ContainsFunc(c.points, func(p float64) bool { return p > 0 })
}

// along returns the value at a share of the way through points, which are equally far from each other.
func along(points []float64, share float64) float64 {
	n := len(points) - 1
	if n < 0 {
		return 0
	}
	at := min(max(share, 0), 1) * float64(n)
	i := min(int(at), max(n-1, 0))
	if n == 0 {
		return points[0]
	}
	return points[i] + (at-float64(i))*(points[i+1]-points[i])
}

// start begins a rule that has not begun: its time counts from now, and its random numbers from its seed.
func (r *rule) start(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started {
		return
	}
	if !r.seeded {
		r.seed, r.seeded = rand.Uint64(), true
	}
	r.started, r.since = true, now
	// Two sequences: the draws of the kinds that there were first do not depend on how many there are now.
	r.first, r.more = rand.New(rand.NewPCG(r.seed, 0)), rand.New(rand.NewPCG(r.seed, 1))
	r.hits, r.buckets = map[hit]int{}, map[string]*bucket{}
}

// ended tells whether the rule's time or calls are over. It is called under mu.
func (r *rule) ended(now time.Time) bool {
	return r.done || r.lasts > 0 && now.Sub(r.since) >= r.after+r.lasts
}

// about finds what the rule says about an operation and a kind: what its name says goes before patterns, these in their order.
func (r *rule) about(operation string, k Kind) *scope {
	var found *scope
	for _, s := range r.scopes {
		if !s.set[k] {
			continue
		}
		if s.pattern == operation {
			return s
		}
		if found == nil && match(s.pattern, operation) {
			found = s
		}
	}
	return found
}

// concerns tells whether any of the rule is about an operation.
func (r *rule) concerns(operation string) bool {
	return slices.ContainsFunc(r.scopes, func(s *scope) bool { return match(s.pattern, operation) })
}

// firstKinds are the kinds whose draws come from the first sequence, in order.
var firstKinds = [...]Kind{Cut, Throttle, Error, Unavailable, InvalidEndpoint, Validation, Reject, Late, LostAnswer}

// draws are the random numbers of one call. Each call takes the same number of them, so that those of the n-th do not depend on
// what happened to the calls before it.
type draws struct {
	of                  [kinds]float64
	spread, pick, half  float64
	spreadAfter, record float64
}

func (r *rule) draw() draws {
	var d draws
	for _, k := range firstKinds {
		d.of[k] = r.first.Float64()
	}
	d.spread, d.pick, d.half = r.first.Float64(), r.first.Float64(), r.first.Float64()
	for k := range kinds {
		if !slices.Contains(firstKinds[:], k) {
			d.of[k] = r.more.Float64()
		}
	}
	d.spreadAfter, d.record = r.more.Float64(), r.more.Float64()
	return d
}

// decide adds what the rule does to a call.
func (r *rule) decide(operation string, tables func() []string, now time.Time, d *Decision) {
	if !r.concerns(operation) || r.tables != nil && !r.named(tables()) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	elapsed := now.Sub(r.since) - r.after
	if elapsed < 0 || r.ended(now) {
		return
	}
	r.seen++
	if r.calls > 0 {
		r.calls--
		r.done = r.calls == 0
	}
	way := 1.0
	if r.over > 0 {
		way = float64(elapsed) / float64(r.over)
	}
	drawn := r.draw()
	before := *d
	*d = Decision{}
	r.fill(operation, tables, now, way, &drawn, d)
	d.Count(func(k Kind) { r.hits[hit{operation, k}]++ })
	d.merge(&before)
}

// fill is decide for a rule alone.
func (r *rule) fill(operation string, tables func() []string, now time.Time, way float64, drawn *draws, d *Decision) {
	happens := func(k Kind) bool {
		s := r.about(operation, k)
		if s == nil {
			return false
		}
		c := &s.chances[k]
		if c.next > 0 { // a number of calls counts those that suffer the fault
			c.next--
			return true
		}
		return drawn.of[k] < along(c.points, way)
	}
	late := func(k Kind, spread float64) time.Duration {
		if s := r.about(operation, k); s != nil && drawn.of[k] < s.delays[k].share {
			return s.delays[k].at(spread)
		}
		return 0
	}
	d.Delay = late(Latency, drawn.spread)
	d.Pick, d.LostCut, d.Text, d.Reason = drawn.pick, drawn.half < 0.5, r.text, r.reason
	for k := Cut; k <= Stuck; k++ {
		if k == Rate {
			s := r.about(operation, Rate)
			d.Replaced = s != nil && !r.admit(operation, tables(), along(s.rate, way), now)
		} else {
			d.Replaced = happens(k)
		}
		if d.Replaced {
			d.Instead = k
			return
		}
	}
	switch operation {
	case writeRecords:
		d.Reject, d.Late = happens(Reject), happens(Late)
		if s := r.about(operation, RejectShare); s != nil {
			d.RejectShare, d.RejectSeed = along(s.chances[RejectShare].points, way), math.Float64bits(drawn.record)
		}
		if s := r.about(operation, Hide); s != nil {
			d.Hide = s.hide
		}
	case query:
		d.EmptyPage = happens(EmptyPage)
	}
	d.Lost, d.CutAfter, d.ResetAfter = happens(LostAnswer), happens(CutAfter), happens(ResetAfter)
	d.Truncate, d.StuckAfter = happens(Truncate), happens(StuckAfter)
	d.DelayAfter = late(LatencyAfter, drawn.spreadAfter)
}

// merge adds what earlier rules decided, which goes first where both cannot be.
func (d *Decision) merge(before *Decision) {
	d.Delay += before.Delay
	d.DelayAfter += before.DelayAfter
	d.Late, d.EmptyPage = d.Late || before.Late, d.EmptyPage || before.EmptyPage
	d.CutAfter, d.ResetAfter = d.CutAfter || before.CutAfter, d.ResetAfter || before.ResetAfter
	d.Truncate, d.StuckAfter = d.Truncate || before.Truncate, d.StuckAfter || before.StuckAfter
	d.Hide = max(d.Hide, before.Hide)
	if before.Lost {
		d.Lost, d.LostCut = true, before.LostCut
	}
	if before.Reject || before.RejectShare > 0 {
		d.Reject, d.Pick, d.RejectShare, d.RejectSeed, d.Reason = before.Reject, before.Pick, before.RejectShare, before.RejectSeed, before.Reason
	}
}

// named tells whether one of the tables matches.
func (r *rule) named(tables []string) bool {
	return slices.ContainsFunc(tables, func(t string) bool {
		return slices.ContainsFunc(r.tables, func(p string) bool { return match(p, t) })
	})
}

// bucket is what is left of a rate and of its burst.
type bucket struct {
	left float64
	at   time.Time
}

// maxBuckets bounds the tables that have a rate of their own; further ones share one.
const maxBuckets = 1000

// admit tells whether a call keeps to a rate: each operation on each table has its own, and a call on several tables needs a place
// in all of them.
func (r *rule) admit(operation string, tables []string, rate float64, now time.Time) bool {
	if len(tables) == 0 {
		tables = []string{""}
	}
	burst := float64(r.burst)
	if burst == 0 {
		burst = max(1, math.Ceil(rate))
	}
	taken := make([]*bucket, 0, len(tables))
	for _, t := range tables {
		key := operation + " " + t
		b := r.buckets[key]
		if b == nil && len(r.buckets) >= maxBuckets {
			key = ""
			b = r.buckets[key]
		}
		if b == nil {
			b = &bucket{left: burst, at: now}
			r.buckets[key] = b
		}
		b.left = min(burst, b.left+rate*now.Sub(b.at).Seconds())
		b.at = now
		if b.left < 1 {
			return false
		}
		taken = append(taken, b)
	}
	for _, b := range taken {
		b.left--
	}
	return true
}

// match tells whether a text matches a pattern, in which * stands for any characters.
func match(pattern, text string) bool {
	// The last * is tried again with one more character whenever what follows it does not fit.
	star, from := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
