// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tributary-project/tributary/services/ingest/internal/batch"
	"github.com/tributary-project/tributary/services/ingest/internal/catalogue"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/send"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// job is the writing of what one request brings.
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
	// gone: the request has left a batch that it shares; its account is closed.
	gone bool
	// known are the series encoded anew with only the names that the table has, after it refused others for a limit.
	known map[*batch.Series]bool
	full  bool // the table took some of these: it has no room for new names
}

// refusal is an entry whose record the table refused.
type refusal struct {
	item   batch.Item
	reason ledger.Reason
	text   string
}

// round sends items in parallel batches and waits for all. After a failure no further batch is begun: the sender will
// bring all of them again.
func (j *job) round(ctx context.Context, items []batch.Item) {
	var batches [][]batch.Item
	clear(j.left) // what an earlier round left would stay behind what this one leaves
	batches, j.left = batch.Split(items, j.left)
	crew := []*job{j}
	workers := min(j.store.cfg.InFlight, len(batches))
	if workers <= 1 {
		for _, b := range batches {
			j.store.write(ctx, crew, b)
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
				j.store.write(ctx, crew, batches[i])
			}
		})
	}
	wg.Wait()
}

func (j *job) fail(f *send.Failure) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.gone {
		return
	}
	// The first failure explains the others; that the request then ran out of time says less.
	if j.failure == nil || j.failure.Cause == send.Interrupted {
		j.failure = f
	}
	j.failed.Store(true)
}

// stored accounts for an item that was stored. The caller holds the lock.
func (j *job) stored(it *batch.Item, late bool) {
	x := it.Extra
	if x != nil && x.Set != nil {
		x.Set.Left--
		x.Set.Late = x.Set.Late || late
		if x.Set.Left > 0 || x.Set.Refused {
			return
		}
		x, late = x.Set.First, x.Set.Late
	}
	j.full = j.full || j.known[it.Series]
	j.count(it.Kind(), it.Unique(), it.Duplicates(), late)
	if x == nil {
		return
	}
	switch x.Kind {
	case ledger.Histograms:
		if x.StartMs != 0 {
			j.count(ledger.StartTimestamps, 1, int(x.StartRepeats), late)
		}
	case ledger.StartTimestamps:
		if x.InForce {
			it.Series.StoredStart(x.StartMs, it.TimeMs, x.LatestMs)
		}
	case ledger.Metadata:
		j.store.metadata.add(metadataKey(j.table, x.Hash), it.TimeMs)
	}
}

func (j *job) count(k ledger.Kind, stored, duplicate int, late bool) {
	c := &j.account.Counts[k]
	c.Stored += uint64(stored)
	c.Duplicate += uint64(duplicate)
	if late {
		c.StoredLate += uint64(stored)
	}
}

// refuse notes a refused record, or rejects its entries when the refusal is final. Repeats share the fate of the first:
// they are duplicates only of what is stored. The caller holds the lock.
func (j *job) refuse(it *batch.Item, text string) {
	reason := send.Reason(text)
	curable := reason == ledger.LimitExceeded || reason == ledger.TypeConflict || reason == ledger.Refused
	if !j.final && curable && it.Kind() != ledger.Metadata { // whose records have no labels to encode in another way
		j.refused = append(j.refused, refusal{item: *it, reason: reason, text: text})
		return
	}
	j.reject(it, reason, text)
}

func (j *job) reject(it *batch.Item, reason ledger.Reason, text string) {
	x := it.Extra
	if x != nil && x.Set != nil {
		if x.Set.Refused {
			return
		}
		x.Set.Refused = true
		x = x.Set.First
	}
	j.account.Reject(it.Kind(), reason, it.Entries(), func() string {
		what := ""
		switch it.Kind() {
		case ledger.Samples:
			what = fmt.Sprintf(" %v", it.Value)
		case ledger.Histograms:
			what = " histogram"
		case ledger.Exemplars:
			what = " exemplar"
		case ledger.Metadata:
			what = " metadata"
		case ledger.StartTimestamps:
			what = fmt.Sprintf(" start timestamp %d", x.StartMs)
		}
		return fmt.Sprintf("%s:%s at %d ms: %s", it.Series.Text(), what, it.TimeMs, explain(reason, text, it.TimeMs > j.store.now().UnixMilli()))
	})
	if x != nil && x.Kind == ledger.Histograms && x.StartMs != 0 {
		j.account.Reject(ledger.StartTimestamps, reason, 1+int(x.StartRepeats), nil)
	}
}

// explain says why the table refused a record, and what to do about it where that is known. For a conflict Timestream's own words
// advise a higher record version, which no sender has. future tells that the record's time is still to come.
func explain(reason ledger.Reason, text string, future bool) string {
	switch reason {
	case ledger.Conflict:
		return "another value is stored for this time; where two senders write one series, give each an external label"
	case ledger.OutOfWindow:
		if future {
			return "Timestream: " + send.Clip(text) + " (check clocks)"
		}
		return "Timestream: " + send.Clip(text) + " (widen the table's retention or allow magnetic-store writes)"
	case ledger.LimitExceeded:
		return "Timestream: " + send.Clip(text) + " (fewer label names or metrics, or a table of their own)"
	}
	return "Timestream: " + send.Clip(text)
}

// encodeAgain encodes refused entries anew with what the catalogue says by now. Those for which that changes nothing are
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
		enc, err := j.store.encodeSeries(j.table, old.Labels(), old.Hash, cat.Generation(), cols)
		if err == nil {
			err = r.item.Extend(enc)
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
		j.store.reencoded.Add(float64(item.Entries()))
		if r.reason == ledger.LimitExceeded {
			if j.known == nil {
				j.known = map[*batch.Series]bool{}
			}
			j.known[enc] = true
		}
		item.Owner = 0
		again = append(again, item)
	}
	return again
}

// seenDimensions gives out measure names as its table does, but only the columns that the table is known to have.
type seenDimensions struct{ *catalogue.Table }

func (s seenDimensions) Dimension(label string) bool { return s.Seen().Dimension(label) }
