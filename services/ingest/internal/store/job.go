// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/tributary-project/tributary/services/ingest/internal/batch"
	"github.com/tributary-project/tributary/services/ingest/internal/catalogue"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/send"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// job is the writing of one request's samples.
type job struct {
	store *Store
	table *table
	// final: what is refused now is not encoded again.
	final bool

	left []batch.Item // memory for batch.Split

	failed atomic.Bool // failure is set

	mu      sync.Mutex
	account *ledger.Account
	failure *send.Failure
	refused []refusal // for what another encoding may cure; not final yet
	// known are the series encoded anew with only the names that the table has, after it refused others for a limit.
	known map[*batch.Series]bool
	full  bool // the table took some of these: it has no room for new names
}

// refusal is a sample whose record the table refused.
type refusal struct {
	item   batch.Item
	reason ledger.Reason
	text   string
}

// round sends items in parallel batches and waits for all. After a failure no further batch is begun: the sender will
// bring all of them again.
func (j *job) round(ctx context.Context, items []batch.Item) {
	var batches [][]batch.Item
	batches, j.left = batch.Split(items, j.left)
	workers := min(j.store.cfg.InFlight, len(batches))
	if workers <= 1 {
		for _, b := range batches {
			j.write(ctx, b)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(batches) {
					return
				}
				j.write(ctx, batches[i])
			}
		})
	}
	wg.Wait()
}

// write sends one batch. When Timestream refuses it whole because some record in it is invalid, it is halved until the
// record stands alone.
func (j *job) write(ctx context.Context, items []batch.Item) {
	if j.failed.Load() {
		return
	}
	s := j.store
	b := s.builders.Get().(*batch.Builder)
	in, bytes := b.Build(&j.table.destination.Database, &j.table.destination.Table, items)
	s.records.Observe(float64(len(items)))
	res := s.sender.Write(ctx, in)
	s.builders.Put(b)
	if res.Failure == nil && res.Invalid == "" {
		s.metered.Add(float64(bytes))
		s.units.Add(float64((bytes + batch.WriteUnit - 1) / batch.WriteUnit))
	}
	switch {
	case res.Failure != nil:
		j.fail(res.Failure)
	case res.Invalid == "":
		j.settle(items, res)
	case len(items) == 1:
		j.mu.Lock()
		j.refuse(&items[0], res.Invalid)
		j.mu.Unlock()
	default:
		s.bisected.Inc()
		j.write(ctx, items[:len(items)/2])
		j.write(ctx, items[len(items)/2:])
	}
}

func (j *job) fail(f *send.Failure) {
	j.mu.Lock()
	defer j.mu.Unlock()
	// The first failure explains the others; that the request then ran out of time says less.
	if j.failure == nil || j.failure.Cause == send.Interrupted {
		j.failure = f
	}
	j.failed.Store(true)
}

// settle accounts for a batch that Timestream answered: all but the rejected records are stored (Timestream Developer
// Guide, code samples, write).
func (j *job) settle(items []batch.Item, res send.Result) {
	rejected := make([]*string, 0, len(items)) // per item, nil when stored
	if len(res.Rejected) > 0 {
		rejected = rejected[:len(items)]
		for _, r := range res.Rejected {
			if r.RecordIndex < 0 || int(r.RecordIndex) >= len(items) {
				j.fail(&send.Failure{Cause: send.Unavailable, Text: fmt.Sprintf("Timestream rejected record %d of a batch of %d", r.RecordIndex, len(items))})
				return
			}
			text := aws.ToString(r.Reason)
			rejected[r.RecordIndex] = &text
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	c := &j.account.Counts[ledger.Samples]
	for i := range items {
		if len(rejected) > 0 && rejected[i] != nil {
			j.refuse(&items[i], *rejected[i])
			continue
		}
		c.Stored++
		j.full = j.full || j.known[items[i].Series]
		c.Duplicate += uint64(items[i].Repeats)
	}
	c.StoredLate += uint64(res.Late)
}

// refuse notes a refused record, or rejects its samples when the refusal is final. Repeats share the fate of the first:
// they are duplicates only of what is stored. The caller holds the lock.
func (j *job) refuse(it *batch.Item, text string) {
	reason := send.Reason(text)
	if !j.final && (reason == ledger.LimitExceeded || reason == ledger.TypeConflict || reason == ledger.Refused) {
		j.refused = append(j.refused, refusal{item: *it, reason: reason, text: text})
		return
	}
	j.reject(it, reason, text)
}

func (j *job) reject(it *batch.Item, reason ledger.Reason, text string) {
	j.account.Reject(ledger.Samples, reason, it.Samples(), func() string {
		return fmt.Sprintf("%s: %v at %d ms: Timestream: %s", it.Series.Text(), it.Value, it.TimeMs, send.Clip(text))
	})
}

// encodeAgain encodes refused samples anew with what the catalogue says by now. Those for which that changes nothing are
// rejected; the others are returned to be sent again.
func (j *job) encodeAgain(ctx context.Context) []batch.Item {
	refused := j.refused
	j.refused = nil
	if len(refused) == 0 || j.failure != nil {
		for i := range refused {
			j.reject(&refused[i].item, refused[i].reason, refused[i].text)
		}
		return nil
	}
	cat := j.table.catalogue
	age := minRefreshAge
	if cat.State().Degraded {
		age = minDegradedAge
	}
	refreshCtx, cancel := context.WithTimeout(ctx, refreshForRequest)
	cat.Refresh(refreshCtx, age)
	cancel()
	var again []batch.Item
	for i := range refused {
		r := &refused[i]
		measure, plain := r.item.Measure()
		var cols promschema.Columns = cat
		switch {
		case r.reason == ledger.LimitExceeded:
			cols = cat.Seen()
		case r.reason == ledger.Refused:
			// For reasons of its own. That a label has the name of an attribute which appeared after the catalogue was
			// read is one, and the words for it are not known.
			cols = seenDimensions{cat}
		case plain:
			cat.DenyMeasure(measure)
		}
		old := r.item.Series
		enc, err := j.store.encodeSeries(old.Labels, old.Hash, cat.Generation(), cols)
		if err == nil && !enc.Plain(r.item.Value) {
			err = enc.Extension()
		}
		if err != nil {
			j.reject(&r.item, r.reason, r.text)
			continue
		}
		item := r.item.WithSeries(enc)
		if item.SameRecord(&r.item) {
			j.reject(&r.item, r.reason, r.text)
			continue
		}
		j.store.reencoded.Add(float64(item.Samples()))
		if r.reason == ledger.LimitExceeded {
			if j.known == nil {
				j.known = map[*batch.Series]bool{}
			}
			j.known[enc] = true
		}
		again = append(again, item)
	}
	return again
}

// seenDimensions gives out measure names as its table does, but only the columns that the table is known to have.
type seenDimensions struct{ *catalogue.Table }

func (s seenDimensions) Dimension(label string) bool { return s.Seen().Dimension(label) }
