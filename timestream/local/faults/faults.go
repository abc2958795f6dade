// SPDX-License-Identifier: Apache-2.0

// Package faults decides which calls fail, and how, when somebody asked for it: throttled, refused, late, cut off, done
// without an answer. A plan is one line of text, so that a flag, an HTTP request and a test can set it. Package wire
// carries the faults out.
package faults

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is a way to fail.
type Kind uint8

// The kinds, in the order in which they are drawn. Of those up to Validation a call suffers at most one, the first.
const (
	// Cut ends the connection before anything was done.
	Cut Kind = iota
	// Throttle answers ThrottlingException.
	Throttle
	// Error answers InternalServerException.
	Error
	// Unavailable answers status 503 without a body, as a load balancer does.
	Unavailable
	// InvalidEndpoint answers InvalidEndpointException.
	InvalidEndpoint
	// Validation answers ValidationException to the whole call.
	Validation
	// Reject refuses one of the records of a WriteRecords call, chosen at random; the others are stored.
	Reject
	// Late counts what a WriteRecords call stores as stored in the magnetic store.
	Late
	// LostAnswer does what the call asks, and then ends the connection or answers InternalServerException, with equal
	// chances: the caller cannot know what happened.
	LostAnswer
	kinds // their number
)

// String returns the name of a kind in a plan.
func (k Kind) String() string {
	return [...]string{"cut", "throttle", "error", "unavailable", "invalid-endpoint", "validation", "reject", "late", "lost-answer"}[k]
}

// Operation is what a fault is about.
type Operation uint8

// The operations that fail on demand: WriteRecords and Query. The others never do.
const (
	Write Operation = iota
	Query
	operations // their number
)

// String returns the name of an operation in a plan.
func (o Operation) String() string { return [...]string{"write", "query"}[o] }

// rule says how often a fault happens: to the next `next` calls, and to the others with probability p.
type rule struct {
	p    float64
	next int
}

func (r rule) String() string {
	if r.next > 0 {
		return strconv.Itoa(r.next) + "x"
	}
	return strconv.FormatFloat(r.p, 'f', -1, 64)
}

// plan is what a text says.
type plan struct {
	rules    [operations][kinds]rule
	min, max [operations]time.Duration // latency
	seed     uint64
	seeded   bool
}

// Syntax describes the text of a plan, for help and errors.
const Syntax = "Comma-separated kind=value. Kinds: throttle, error (500), unavailable (503 without a body), cut (connection ended, nothing done), " +
	"lost-answer (done, but the connection is ended or the answer is 500), invalid-endpoint, validation; for writes also reject (one record, at random) and " +
	"late (counted as magnetic store). The value is a probability such as 0.05, or 3x for the next three calls of each operation. latency=20ms or 20ms..80ms delays every call. " +
	"write.kind and query.kind are about that operation only. seed=7 makes the sequence of faults repeatable."

// parse reads a plan. Later entries win.
func parse(text string) (*plan, error) {
	p := &plan{}
	any := false
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, value, ok := strings.Cut(entry, "=")
		if !ok {
			return nil, fmt.Errorf("%q: want kind=value", entry)
		}
		if name == "seed" {
			var err error
			if p.seed, err = strconv.ParseUint(value, 10, 64); err != nil {
				return nil, fmt.Errorf("%q: want a number from 0", entry)
			}
			p.seeded = true
			continue
		}
		if err := p.set(name, value); err != nil {
			return nil, fmt.Errorf("%q: %w", entry, err)
		}
		any = true
	}
	if !any {
		return nil, nil
	}
	return p, nil
}

func (p *plan) set(name, value string) error {
	from, to := Write, Query
	if scope, rest, ok := strings.Cut(name, "."); ok {
		switch scope {
		case Write.String():
			to = Write
		case Query.String():
			from = Query
		default:
			return fmt.Errorf("unknown operation %q: want write or query", scope)
		}
		name = rest
	}
	if name == "latency" {
		lo, hi, ok := strings.Cut(value, "..")
		if !ok {
			hi = lo
		}
		a, err := time.ParseDuration(lo)
		if err != nil {
			return fmt.Errorf("want a duration such as 20ms, or two with .. between")
		}
		b, err := time.ParseDuration(hi)
		if err != nil || a < 0 || b < a {
			return fmt.Errorf("want a duration such as 20ms, or two with .. between, the shorter one first")
		}
		for o := from; o <= to; o++ {
			p.min[o], p.max[o] = a, b
		}
		return nil
	}
	kind := kinds
	for k := range kinds {
		if k.String() == name {
			kind = k
		}
	}
	if kind == kinds {
		return fmt.Errorf("unknown kind %q", name)
	}
	if from == Query && (kind == Reject || kind == Late) {
		return fmt.Errorf("%s is about writes", kind)
	}
	r, err := parseRule(value)
	if err != nil {
		return err
	}
	for o := from; o <= to; o++ {
		p.rules[o][kind] = r
	}
	return nil
}

func parseRule(value string) (rule, error) {
	if n, ok := strings.CutSuffix(value, "x"); ok {
		next, err := strconv.Atoi(n)
		if err != nil || next < 1 {
			return rule{}, fmt.Errorf("want a number of calls such as 3x")
		}
		return rule{next: next}, nil
	}
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || !(f >= 0 && f <= 1) { // NaN is neither
		return rule{}, fmt.Errorf("want a probability from 0 to 1, or a number of calls such as 3x")
	}
	return rule{p: f}, nil
}

// String returns the plan as parse reads it, with what is left of the numbers of calls; nothing when nothing is.
func (p *plan) String() string {
	var out []string
	for k := range kinds {
		out = appendEntry(out, k.String(), p.rules[Write][k].String(), p.rules[Query][k].String(), "0", k == Reject || k == Late)
	}
	out = appendEntry(out, "latency", latency(p.min[Write], p.max[Write]), latency(p.min[Query], p.max[Query]), "0s", false)
	if len(out) == 0 {
		return ""
	}
	return strings.Join(append(out, "seed="+strconv.FormatUint(p.seed, 10)), ",")
}

func appendEntry(out []string, name, write, query, none string, writesOnly bool) []string {
	if writesOnly {
		query = write
	}
	if write == query {
		if write == none {
			return out
		}
		return append(out, name+"="+write)
	}
	if write != none {
		out = append(out, "write."+name+"="+write)
	}
	if query != none {
		out = append(out, "query."+name+"="+query)
	}
	return out
}

func latency(lo, hi time.Duration) string {
	if lo == hi {
		return lo.String()
	}
	return lo.String() + ".." + hi.String()
}

// Injector decides about calls by the plan that is set. The zero value has none, and may be used by many goroutines at
// once. It is a flag.Value, and an http.Handler that shows and changes the plan.
type Injector struct {
	active atomic.Pointer[running]
}

// running is a plan that is carried out.
type running struct {
	mu   sync.Mutex
	plan plan
	rand *rand.Rand
}

// Set replaces the plan by the one that text describes (see Syntax); an empty text ends all faults. Without a seed in the
// text one is chosen, which String shows.
func (i *Injector) Set(text string) error {
	p, err := parse(text)
	if err != nil {
		return err
	}
	if p == nil {
		i.active.Store(nil)
		return nil
	}
	if !p.seeded {
		p.seed = rand.Uint64()
	}
	i.active.Store(&running{plan: *p, rand: rand.New(rand.NewPCG(p.seed, 0))})
	return nil
}

// String returns the plan in force, its seed included, or nothing.
func (i *Injector) String() string {
	if i == nil {
		return ""
	}
	r := i.active.Load()
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.plan.String()
}

// Decision is what happens to one call.
type Decision struct {
	// Delay comes first.
	Delay time.Duration
	// Instead is the fault that takes the place of the call, if Replaced.
	Instead  Kind
	Replaced bool
	// Reject tells to refuse one record; Pick, in [0, 1), which.
	Reject bool
	Pick   float64
	// Late tells to count all as stored in the magnetic store.
	Late bool
	// Lost tells to drop the answer; LostCut, to end the connection for that rather than to answer with an error.
	Lost, LostCut bool
}

// Decide decides about the next call of an operation. A nil injector, or one without a plan, lets everything pass.
func (i *Injector) Decide(o Operation) Decision {
	if i == nil {
		return Decision{}
	}
	r := i.active.Load()
	if r == nil {
		return Decision{}
	}
	return r.decide(o)
}

func (r *running) decide(o Operation) Decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Each call takes the same number of draws, so that the n-th call's do not depend on the rules.
	var hit [kinds]bool
	rules := &r.plan.rules[o]
	for k := range kinds {
		draw := r.rand.Float64()
		hit[k] = rules[k].next == 0 && draw < rules[k].p
	}
	spread, pick, half := r.rand.Float64(), r.rand.Float64(), r.rand.Float64()
	lo, hi := r.plan.min[o], r.plan.max[o]
	d := Decision{Delay: lo + time.Duration(spread*float64(hi-lo)), Pick: pick, LostCut: half < 0.5}
	// A number of calls counts those that suffer the fault.
	happens := func(k Kind) bool {
		if rules[k].next > 0 {
			rules[k].next--
			return true
		}
		return hit[k]
	}
	for k := Cut; k <= Validation; k++ {
		if happens(k) {
			d.Instead, d.Replaced = k, true
			return d
		}
	}
	if o == Write {
		d.Reject, d.Late = happens(Reject), happens(Late)
	}
	d.Lost = happens(LostAnswer)
	return d
}
