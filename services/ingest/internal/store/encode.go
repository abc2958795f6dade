// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"time"
	"unique"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/services/ingest/internal/batch"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream/promschema"
)

const (
	// metadataAge is how long metadata is not stored again while it stays the same.
	metadataAge = time.Hour
	// maxRecentMetadata bounds the entries that are remembered as stored, 16 bytes each and more.
	maxRecentMetadata = 100_000
)

// encoder turns the entries of a request into items, and rejects those that cannot be stored.
type encoder struct {
	store   *Store
	table   *table
	account *ledger.Account
	items   []batch.Item
	order   *batch.Order
	nowMs   int64
	// histograms tells that there are some.
	histograms bool
}

// Of what a series takes that is not in the cache. Equal dimensions share their text, but the whole text is its key.
const (
	seriesBytes = 600
	labelBytes  = 80
)

// ask asks for the room of a series that is to be encoded.
func ask(room func(int64) error, sr *series.Series) error {
	if room == nil {
		return nil
	}
	n := seriesBytes + labelBytes*len(sr.Labels)
	for _, l := range sr.Labels {
		n += len(l.Name) + len(l.Value)
	}
	return room(int64(n))
}

// encode makes the items. The error is that of the entries' Room.
func (e *encoder) encode(in Entries) error {
	generation := e.table.catalogue.Generation()
	for i := range in.Series {
		sr := &in.Series[i]
		enc := e.store.cache.get(e.table.id, sr, generation)
		if enc == nil {
			if err := ask(in.Room, sr); err != nil {
				return err
			}
			var err error
			if enc, err = e.store.encodeSeries(e.table, copyLabels(sr.Labels), sr.Hash, generation, e.table.catalogue); err != nil {
				e.rejectSeries(sr, err)
				continue
			}
			e.store.cache.add(enc)
		}
		starts := starts{}
		for _, x := range sr.Samples {
			if !enc.Plain(x.Value) {
				if err := enc.Extend(promschema.SampleFamily); err != nil {
					e.rejectSample(sr, x, err)
					continue
				}
			}
			e.items = append(e.items, batch.NewItem(enc, e.order, x.TimeMs, x.Value, len(e.items)))
			if x.StartMs != 0 || in.Starts {
				e.start(sr, enc, x, &starts)
			}
		}
		for _, h := range sr.Histograms {
			e.histogram(sr, enc, h)
		}
		for _, x := range sr.Exemplars {
			e.exemplar(sr, enc, x)
		}
	}
	if len(in.Metadata) > 0 {
		e.metadata(in.Metadata)
	}
	return nil
}

func (e *encoder) histogram(sr *series.Series, enc *batch.Series, h series.Histogram) {
	reject := func(reason ledger.Reason, err error) {
		e.account.Reject(ledger.Histograms, reason, 1, func() string {
			return fmt.Sprintf("%s at %d ms: %s", series.Text(sr.Labels), h.TimeMs, err)
		})
		if h.StartMs != 0 {
			e.account.Reject(ledger.StartTimestamps, reason, 1, nil)
		}
	}
	values, err := e.store.histograms.Values(h.H, h.StartMs)
	if err != nil {
		reject(ledger.HistogramTooLarge, fmt.Errorf("%w; use a lower resolution or fewer buckets", err))
		return
	}
	families := [...]promschema.Family{promschema.SampleFamily, promschema.SampleFamily2, promschema.SampleFamily3}
	for i := range values {
		if err := enc.Extend(families[i]); err != nil {
			reject(seriesReason(err), err)
			return
		}
	}
	e.histograms = true
	var set *batch.Set
	for i := range values {
		x := &batch.Extra{Kind: ledger.Histograms, Family: families[i], Value: values[i], StartMs: h.StartMs}
		if len(values) > 1 {
			if set == nil {
				set = &batch.Set{First: x, Left: len(values)}
			}
			x.Set = set
		}
		e.items = append(e.items, batch.NewExtra(enc, e.order, h.TimeMs, x, len(e.items)))
	}
}

func (e *encoder) exemplar(sr *series.Series, enc *batch.Series, x series.Exemplar) {
	reject := func(reason ledger.Reason, err error) {
		e.account.Reject(ledger.Exemplars, reason, 1, func() string {
			return fmt.Sprintf("%s: exemplar at %d ms: %s", series.Text(sr.Labels), x.TimeMs, err)
		})
	}
	ls := make([]labels.Label, len(x.Labels))
	for i, l := range x.Labels {
		ls[i] = labels.Label{Name: string(l.Name), Value: string(l.Value)}
	}
	value, err := promschema.ExemplarValue(ls, x.Value)
	if err != nil {
		reject(ledger.ExemplarTooLarge, err)
		return
	}
	if err := enc.Extend(promschema.ExemplarFamily); err != nil {
		reject(seriesReason(err), err)
		return
	}
	e.items = append(e.items, batch.NewExtra(enc, e.order, x.TimeMs, &batch.Extra{
		Kind: ledger.Exemplars, Family: promschema.ExemplarFamily, Value: value, TimeNs: promschema.ExemplarTimeNs(x.TimeMs, ls, x.Value),
	}, len(e.items)))
}

// metadata encodes what was not stored lately.
func (e *encoder) metadata(all []series.Metadata) {
	known := 0
	var here map[uint64]int // where in items
	for i := range all {
		m := &all[i]
		if e.store.metadata.has(metadataKey(e.table, m.Hash), e.nowMs) {
			known++
			continue
		}
		if at, have := here[m.Hash]; have {
			e.items[at].Repeats++
			continue
		}
		reject := func(err error) {
			e.account.Reject(ledger.Metadata, ledger.MetadataTooLarge, 1, func() string {
				return fmt.Sprintf("metadata of %s: %s", series.Quote(m.Name), err)
			})
		}
		entry := promschema.Metadata{Type: m.Type, Help: string(m.Help), Unit: string(m.Unit)}
		value, err := promschema.MetadataValue(entry)
		if err != nil {
			reject(err)
			continue
		}
		metric, err := batch.NewMetric(string(m.Name), series.Hash{A: m.Hash})
		if err != nil {
			reject(err)
			continue
		}
		if here == nil {
			here = map[uint64]int{}
		}
		here[m.Hash] = len(e.items)
		e.items = append(e.items, batch.NewExtra(metric, e.order, e.nowMs, &batch.Extra{
			Kind: ledger.Metadata, Family: promschema.MetadataFamily, Value: value, TimeNs: promschema.MetadataTimeNs(e.nowMs, entry), Hash: m.Hash,
		}, len(e.items)))
	}
	e.account.Store(ledger.Metadata, known)
}

func metadataKey(t *table, hash uint64) uint64 { return hash ^ t.id*0x9e3779b97f4a7c15 }

// rejectSeries rejects all that a series brings.
func (e *encoder) rejectSeries(sr *series.Series, err error) {
	reason := seriesReason(err)
	example := func() string { return series.Text(sr.Labels) + ": " + err.Error() }
	starts := 0
	for _, x := range sr.Samples {
		if x.StartMs != 0 {
			starts++
		}
	}
	for _, h := range sr.Histograms {
		if h.StartMs != 0 {
			starts++
		}
	}
	e.account.Reject(ledger.Samples, reason, len(sr.Samples), example)
	e.account.Reject(ledger.Histograms, reason, len(sr.Histograms), example)
	e.account.Reject(ledger.Exemplars, reason, len(sr.Exemplars), example)
	e.account.Reject(ledger.StartTimestamps, reason, starts, nil)
}

func (e *encoder) rejectSample(sr *series.Series, x series.Sample, err error) {
	reason := seriesReason(err)
	e.account.Reject(ledger.Samples, reason, 1, func() string {
		return fmt.Sprintf("%s: %v at %d ms: %s", series.Text(sr.Labels), x.Value, x.TimeMs, err)
	})
	if x.StartMs != 0 {
		e.account.Reject(ledger.StartTimestamps, reason, 1, nil)
	}
}

// seriesReason is the word for a series that promschema refuses.
func seriesReason(err error) ledger.Reason {
	var e *promschema.SeriesError
	if errors.As(err, &e) && e.Reason == promschema.ReasonNoName {
		return ledger.MissingMetricName
	}
	return ledger.LabelsTooLarge
}

// copyLabels copies labels out of a request. Equal ones share their text with those of other series: a table has few
// names, and most values belong to many series.
func copyLabels(ls []series.Label) []labels.Label {
	out := make([]labels.Label, len(ls))
	for i, l := range ls {
		out[i] = labels.Label(unique.Make(promschema.Dimension{Name: string(l.Name), Value: string(l.Value)}).Value())
	}
	return out
}
