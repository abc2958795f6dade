// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"

	"github.com/tributary-project/tributary/services/ingest/internal/batch"
	"github.com/tributary-project/tributary/services/ingest/internal/send"
	"github.com/tributary-project/tributary/timestream/metering"
)

// write sends one batch, which belongs to the jobs that its items name as their owners, all of one table. When Timestream
// refuses it whole because some record in it is invalid, it is halved until the record stands alone.
func (s *Store) write(ctx context.Context, owners []*job, items []batch.Item) {
	if !slices.ContainsFunc(owners, func(j *job) bool { return !j.failed.Load() }) {
		return
	}
	res := s.call(ctx, owners[0].table, items)
	switch {
	case res.Failure != nil:
		for i := range items {
			if i == 0 || items[i].Owner != items[i-1].Owner {
				owners[items[i].Owner].fail(res.Failure)
			}
		}
	case res.Invalid == "":
		s.settle(owners, items, res)
	case len(items) == 1:
		j := owners[items[0].Owner]
		j.mu.Lock()
		if !j.gone {
			j.refuse(&items[0], res.Invalid)
		}
		j.mu.Unlock()
	default:
		s.bisected.Inc()
		s.write(ctx, owners, items[:len(items)/2])
		s.write(ctx, owners, items[len(items)/2:])
	}
}

// call makes one WriteRecords call, repetitions included.
func (s *Store) call(ctx context.Context, t *table, items []batch.Item) send.Result {
	b := s.builders.Get().(*batch.Builder)
	bytes := b.Plan(items)
	use := &use{done: func() { s.builders.Put(b) }}
	use.begin()
	defer use.end()
	var call send.Call
	if w, ok := s.writer.(BodyWriter); ok {
		body := b.Body(t.destination.Database, t.destination.Table, items)
		call = func(ctx context.Context) (*timestreamwrite.WriteRecordsOutput, error) {
			use.begin()
			return w.WriteRecordsBody(ctx, body, use.end)
		}
	} else {
		in := b.Input(&t.destination.Database, &t.destination.Table, items)
		call = func(ctx context.Context) (*timestreamwrite.WriteRecordsOutput, error) {
			return s.writer.WriteRecords(ctx, in)
		}
	}
	s.records.Observe(float64(len(items)))
	res := s.sender.Write(ctx, len(items), call)
	if res.Failure == nil && res.Invalid == "" {
		s.metered.Add(float64(bytes))
		s.units.Add(float64(metering.Units(int64(bytes))))
	}
	return res
}

// use counts who still needs a builder's memory: the call, and each attempt whose body may still be read by a connection.
type use struct {
	n    atomic.Int32
	done func()
}

func (u *use) begin() { u.n.Add(1) }

func (u *use) end() {
	if u.n.Add(-1) == 0 {
		u.done()
	}
}

// settle accounts for a batch that Timestream answered: all but the rejected records are stored (Timestream Developer
// Guide, code samples, write).
func (s *Store) settle(owners []*job, items []batch.Item, res send.Result) {
	var rejected []*string // per item, nil when stored
	if len(res.Rejected) > 0 {
		rejected = make([]*string, len(items))
		for _, r := range res.Rejected {
			if r.RecordIndex < 0 || int(r.RecordIndex) >= len(items) {
				f := &send.Failure{Cause: send.Unavailable, Text: fmt.Sprintf("Timestream rejected record %d of a batch of %d", r.RecordIndex, len(items))}
				for _, j := range owners {
					j.fail(f)
				}
				return
			}
			text := aws.ToString(r.Reason)
			rejected[r.RecordIndex] = &text
		}
	}
	late := newLateness(items, res.Late)
	var locked *job
	for i := range items {
		it := &items[i]
		if j := owners[it.Owner]; j != locked {
			if locked != nil {
				locked.mu.Unlock()
			}
			locked = j
			locked.mu.Lock()
		}
		switch {
		case locked.gone:
		case rejected != nil && rejected[i] != nil:
			locked.refuse(it, *rejected[i])
		default:
			locked.stored(it, late.next(it))
		}
	}
	locked.mu.Unlock()
}

// lateness tells which records went to the magnetic store. Timestream tells only how many; a record goes there when it is
// older than what the memory store retains, so they are the oldest.
type lateness struct {
	untilMs int64 // those before it are late
	ties    int   // and so many of those at it
}

func newLateness(items []batch.Item, n int) lateness {
	if n <= 0 {
		return lateness{}
	}
	times := make([]int64, len(items))
	for i := range items {
		times[i] = items[i].TimeMs
	}
	slices.Sort(times)
	l := lateness{untilMs: times[min(n, len(times))-1]}
	before, _ := slices.BinarySearch(times, l.untilMs)
	l.ties = n - before
	return l
}

func (l *lateness) next(it *batch.Item) bool {
	if it.TimeMs == l.untilMs && l.ties > 0 {
		l.ties--
		return true
	}
	return it.TimeMs < l.untilMs
}
