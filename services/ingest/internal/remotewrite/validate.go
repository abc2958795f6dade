// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// builder collects one series: what it brings is at the end of the request's slices, from where these began.
type builder struct {
	labels, samples, histograms, exemplars int
	faultyHistograms, faultyExemplars      int
	starts                                 int // start timestamps of samples and histograms, of the faulty ones too
	created                                int64
	metadata                               metadataRefs
	hash                                   series.Hash
	half                                   uint32 // the symbol of a label's name whose value has not come yet
	hasHalf, badRef, unsorted              bool
	labelsCut                              bool // it has more than maxLabels
	odd                                    bool // an empty or invalid name or value is among the labels
}

// newSeries begins a series, with room for all of its labels.
func (r *Request) newSeries() (builder, error) {
	r.faults = r.faults[:0]
	if cap(r.labels)-len(r.labels) < maxLabels {
		from := len(r.labels)
		r.before.labels += from
		if err := move(r, &r.labels, &r.marks.labels, &from, maxLabels); err != nil {
			return builder{}, err
		}
	}
	return builder{labels: len(r.labels), samples: len(r.samples), histograms: len(r.histograms), exemplars: len(r.exemplars)}, nil
}

// full tells whether the series has as many labels as one may have.
func (s *builder) full(r *Request) bool { return len(r.labels)-s.labels == maxLabels }

// add adds a label.
func (s *builder) add(r *Request, name, value *symbol) {
	if s.full(r) {
		s.labelsCut = true
		return
	}
	if n := len(r.labels); n > s.labels && bytes.Compare(r.labels[n-1].Name, name.text) >= 0 {
		s.unsorted = true
	}
	if len(value.text) == 0 {
		s.unsorted = true // an empty value says that the label is absent; sorting drops it
	} else {
		s.hash.Add(series.Pair(name.hash, value.hash))
	}
	s.odd = s.odd || name.flags|value.flags != 0
	r.labels = append(r.labels, series.Label{Name: name.text, Value: value.text})
}

// sample adds a sample.
func (s *builder) sample(r *Request, x series.Sample) error {
	if len(r.samples) == cap(r.samples) {
		r.before.samples += s.samples
		var mark int
		if err := move(r, &r.samples, &mark, &s.samples, 1); err != nil {
			return err
		}
	}
	r.samples = append(r.samples, x)
	return nil
}

// fault adds something invalid.
func (r *Request) fault(f fault) error {
	if len(r.faults) == cap(r.faults) {
		var mark int
		if err := grow(r, &r.faults, &mark); err != nil {
			return err
		}
	}
	r.faults = append(r.faults, f)
	return nil
}

// finish puts the series among those of the request, or accounts for its rejection.
func (s *builder) finish(r *Request) error {
	samples, histograms, exemplars := len(r.samples)-s.samples, len(r.histograms)-s.histograms, len(r.exemplars)-s.exemplars
	if samples+histograms+exemplars+len(r.faults) == 0 && s.metadata == (metadataRefs{}) {
		r.labels = r.labels[:s.labels]
		return nil
	}
	reason, name := s.check(r)
	if s.created != 0 {
		s.create(r)
	}
	a := r.account
	a.Receive(ledger.Samples, samples)
	if histograms+exemplars+len(r.faults)+s.starts > 0 {
		a.Receive(ledger.Histograms, histograms+s.faultyHistograms)
		a.Receive(ledger.Exemplars, exemplars+s.faultyExemplars)
		a.Receive(ledger.StartTimestamps, s.starts)
	}
	if reason != "" {
		return s.reject(r, reason)
	}
	if s.metadata != (metadataRefs{}) {
		if err := r.metadata(&s.metadata, name, "", r.labels[s.labels:]); err != nil {
			return err
		}
	}
	r.filter(s)
	out := series.Series{Hash: s.hash}
	if n := len(r.samples); n > s.samples {
		out.Samples = r.samples[s.samples:n:n]
	}
	if n := len(r.histograms); n > s.histograms {
		out.Histograms = r.histograms[s.histograms:n:n]
	}
	if n := len(r.exemplars); n > s.exemplars {
		out.Exemplars = r.exemplars[s.exemplars:n:n]
	}
	if out.Samples == nil && out.Histograms == nil && out.Exemplars == nil {
		r.labels = drop(r.labels, s.labels)
		return nil
	}
	n := len(r.labels)
	out.Labels = r.labels[s.labels:n:n]
	if len(r.Series) == cap(r.Series) {
		if err := grow(r, &r.Series, &r.marks.series); err != nil {
			return err
		}
	}
	r.Series = append(r.Series, out)
	return nil
}

// create gives the series' created timestamp to what has none of its own.
func (s *builder) create(r *Request) {
	for i := s.samples; i < len(r.samples); i++ {
		if x := &r.samples[i]; x.StartMs == 0 {
			x.StartMs = s.created
			s.starts++
		}
	}
	for i := s.histograms; i < len(r.histograms); i++ {
		if x := &r.histograms[i]; x.StartMs == 0 {
			x.StartMs = s.created
			s.starts++
		}
	}
	for i := range r.faults {
		if f := &r.faults[i]; f.kind == ledger.Histograms && !f.start {
			f.start = true
			s.starts++
		}
	}
}

// reject rejects all that an invalid series brings.
func (s *builder) reject(r *Request, reason ledger.Reason) error {
	ls := r.labels[s.labels:]
	example := func() string { return explain(reason, ls) }
	a := r.account
	a.Reject(ledger.Samples, reason, len(r.samples)-s.samples, example)
	a.Reject(ledger.Histograms, reason, len(r.histograms)-s.histograms+s.faultyHistograms, example)
	a.Reject(ledger.Exemplars, reason, len(r.exemplars)-s.exemplars+s.faultyExemplars, example)
	a.Reject(ledger.StartTimestamps, reason, s.starts, example)
	if s.metadata != (metadataRefs{}) {
		if err := r.metadata(&s.metadata, nil, reason, ls); err != nil {
			return err
		}
	}
	r.labels = drop(r.labels, s.labels)
	r.samples = r.samples[:s.samples]
	r.histograms = drop(r.histograms, s.histograms)
	r.exemplars = drop(r.exemplars, s.exemplars)
	return nil
}

// check returns why the series is invalid, or "" when it is valid, and its metric name: its labels are then sorted and
// without empty values.
func (s *builder) check(r *Request) (reason ledger.Reason, name []byte) {
	ls := r.labels[s.labels:]
	if s.badRef || s.hasHalf {
		return ledger.InvalidSymbols, nil
	}
	if s.labelsCut {
		return ledger.LabelsTooLarge, nil
	}
	if s.odd {
		for _, l := range ls {
			if !validText(l.Name) || !validText(l.Value) {
				return ledger.InvalidUTF8, nil
			}
			if len(l.Name) == 0 {
				return ledger.EmptyLabelName, nil
			}
		}
	}
	if s.unsorted {
		kept, twice := sortLabels(ls)
		if twice {
			return ledger.DuplicateLabelName, nil
		}
		ls = kept
		r.labels = drop(r.labels, s.labels+len(kept))
	}
	if len(ls) == 0 {
		return ledger.EmptyLabelSet, nil
	}
	for _, l := range ls {
		if string(l.Name) == model.MetricNameLabel {
			if limit := r.decoder.opts.MaxMetricNameBytes; limit > 0 && len(l.Value) > limit {
				return ledger.MetricNameTooLong, nil
			}
			return "", l.Value
		}
	}
	return ledger.MissingMetricName, nil
}

// sortLabels sorts labels by name and drops those without a value, unless a name occurs twice.
func sortLabels(ls []series.Label) (kept []series.Label, twice bool) {
	slices.SortStableFunc(ls, func(a, b series.Label) int { return bytes.Compare(a.Name, b.Name) })
	for i := 1; i < len(ls); i++ {
		if bytes.Equal(ls[i-1].Name, ls[i].Name) {
			return ls, true
		}
	}
	kept = ls[:0]
	for _, l := range ls {
		if len(l.Value) > 0 {
			kept = append(kept, l)
		}
	}
	return kept, false
}

// filter removes from a valid series what cannot be stored, and accounts for it.
func (r *Request) filter(s *builder) {
	strict, latest := r.decoder.opts.RejectNonFinite, uint64(r.decoder.opts.MaxTimeMs)
	ls := r.labels[s.labels:]
	samples := r.samples[s.samples:]
	kept := 0
	for i := range samples {
		x := &samples[i]
		// A negative time is a huge one here.
		if uint64(x.TimeMs) > latest || strict && (math.IsNaN(x.Value) || math.IsInf(x.Value, 0)) {
			r.rejectSample(x, ls)
			continue
		}
		if uint64(x.StartMs) > latest {
			r.rejectStart(&x.StartMs, ls)
		}
		if kept != i {
			samples[kept] = *x
		}
		kept++
	}
	r.samples = r.samples[:s.samples+kept]

	histograms := r.histograms[s.histograms:]
	kept = 0
	for i := range histograms {
		x := &histograms[i]
		if uint64(x.TimeMs) > latest {
			r.rejectTime(ledger.Histograms, x.TimeMs, ls)
			if x.StartMs != 0 {
				r.account.Reject(ledger.StartTimestamps, ledger.OutOfRange, 1, nil)
			}
			continue
		}
		if uint64(x.StartMs) > latest {
			r.rejectStart(&x.StartMs, ls)
		}
		histograms[kept] = *x
		kept++
	}
	r.histograms = drop(r.histograms, s.histograms+kept)

	exemplars := r.exemplars[s.exemplars:]
	kept = 0
	for i := range exemplars {
		x := &exemplars[i]
		if uint64(x.TimeMs) > latest {
			r.rejectTime(ledger.Exemplars, x.TimeMs, ls)
			continue
		}
		exemplars[kept] = *x
		kept++
	}
	r.exemplars = drop(r.exemplars, s.exemplars+kept)

	for i := range r.faults {
		f := &r.faults[i]
		r.account.Reject(f.kind, f.reason, 1, func() string { return fmt.Sprintf("%s at %d ms: %v", series.Text(ls), f.timeMs, f.why) })
		if f.start {
			r.account.Reject(ledger.StartTimestamps, f.reason, 1, nil)
		}
	}
}

func (r *Request) rejectSample(x *series.Sample, ls []series.Label) {
	reason := ledger.OutOfRange
	if uint64(x.TimeMs) > uint64(r.decoder.opts.MaxTimeMs) {
		r.rejectTime(ledger.Samples, x.TimeMs, ls)
	} else {
		reason = ledger.NonFiniteValue
		r.account.Reject(ledger.Samples, reason, 1, func() string {
			return fmt.Sprintf("%s: %v at %d ms; --fail-on-invalid-sample-value refuses it", series.Text(ls), x.Value, x.TimeMs)
		})
	}
	if x.StartMs != 0 {
		r.account.Reject(ledger.StartTimestamps, reason, 1, nil)
	}
}

// rejectStart rejects a start timestamp; what it belongs to is stored without.
func (r *Request) rejectStart(startMs *int64, ls []series.Label) {
	r.rejectTime(ledger.StartTimestamps, *startMs, ls)
	*startMs = 0
}

func (r *Request) rejectTime(k ledger.Kind, ms int64, ls []series.Label) {
	r.account.Reject(k, ledger.OutOfRange, 1, func() string {
		return fmt.Sprintf("%s: timestamp %d ms is outside 0 to %d", series.Text(ls), ms, r.decoder.opts.MaxTimeMs)
	})
}

// explain is the example of a rejected series.
func explain(reason ledger.Reason, ls []series.Label) string {
	why := map[ledger.Reason]string{
		ledger.MissingMetricName:  "no metric name (label __name__)",
		ledger.EmptyLabelSet:      "no labels",
		ledger.EmptyLabelName:     "a label without a name",
		ledger.DuplicateLabelName: "a label name occurs twice",
		ledger.InvalidUTF8:        "a label name or value is not UTF-8",
		ledger.InvalidSymbols:     "its labels refer to symbols that the request does not have, or end in the middle of a label",
		ledger.LabelsTooLarge:     fmt.Sprintf("more than %d labels, which no record can hold", maxLabels),
		ledger.MetricNameTooLong:  "its metric name is longer than 256 bytes; --fail-on-long-label refuses it",
	}[reason]
	return series.Text(ls) + ": " + why
}

// explainMetadata is the example of rejected metadata.
func explainMetadata(m *series.Metadata) string {
	why := "its text is not UTF-8"
	switch {
	case m.Type < 0 || m.Type > prompb.MetricMetadata_STATESET:
		why = fmt.Sprintf("type %d; there are 0 to %d", m.Type, prompb.MetricMetadata_STATESET)
	case len(m.Name) == 0:
		why = "no name"
	}
	return "metadata of " + series.Quote(m.Name) + ": " + why
}

func validText(b []byte) bool { return utf8.Valid(b) }
