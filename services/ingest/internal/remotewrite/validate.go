// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// builder collects one series: its labels and samples are the tails of the request's slices.
type builder struct {
	labels, samples                         int // where they begin
	hash                                    uint64
	half                                    symbol // of a label whose value has not come yet
	hasHalf                                 bool
	badRef                                  bool
	unsorted                                bool
	reason                                  ledger.Reason // of the first fault found
	histograms, exemplars, metadata, starts int
}

func (r *Request) newSeries() builder {
	return builder{labels: len(r.labels), samples: len(r.samples)}
}

// ref adds half a label.
func (s *builder) ref(r *Request, ref uint64) {
	if ref >= uint64(len(r.symbols)) {
		s.badRef = true
		s.hasHalf = !s.hasHalf
		return
	}
	if !s.hasHalf {
		s.half, s.hasHalf = r.symbols[ref], true
		return
	}
	s.hasHalf = false
	if !s.badRef {
		s.add(r, s.half, r.symbols[ref])
	}
}

// add adds a label.
func (s *builder) add(r *Request, name, value symbol) {
	if n := len(r.labels); n > s.labels && bytes.Compare(r.labels[n-1].Name, name.text) >= 0 {
		s.unsorted = true
	}
	if len(value.text) == 0 {
		s.unsorted = true // an empty value says that the label is absent; sorting drops it
	} else {
		s.hash += series.Pair(name.hash, value.hash)
	}
	switch {
	case s.reason != "":
	case name.invalid || value.invalid:
		s.reason = ledger.InvalidUTF8
	case len(name.text) == 0:
		s.reason = ledger.EmptyLabelName
	}
	r.labels = append(r.labels, series.Label{Name: name.text, Value: value.text})
}

// finish puts the series among those of the request, or accounts for its rejection.
func (s *builder) finish(r *Request) {
	n := len(r.samples) - s.samples
	r.account.Receive(ledger.Samples, n)
	if n == 0 && s.histograms == 0 && s.exemplars == 0 && s.metadata == 0 && s.starts == 0 {
		r.labels = r.labels[:s.labels]
		return
	}
	reason := s.check(r)
	ls := r.labels[s.labels:]
	if s.histograms > 0 {
		why := reason
		if why == "" {
			why = ledger.Unsupported
		}
		r.account.Receive(ledger.Histograms, s.histograms)
		r.account.Reject(ledger.Histograms, why, s.histograms, func() string {
			if why == ledger.Unsupported {
				return series.Text(ls) + ": native histograms are not stored yet"
			}
			return explain(why, ls)
		})
	}
	r.unsupported(ledger.Exemplars, s.exemplars)
	r.unsupported(ledger.Metadata, s.metadata)
	r.unsupported(ledger.StartTimestamps, s.starts)
	if reason != "" {
		r.account.Reject(ledger.Samples, reason, n, func() string { return explain(reason, ls) })
		r.samples, r.labels = r.samples[:s.samples], r.labels[:s.labels]
		return
	}
	r.filter(s.samples, ls)
	if len(r.samples) == s.samples {
		r.labels = r.labels[:s.labels]
		return
	}
	r.Series = append(r.Series, series.Series{Hash: s.hash})
	r.bounds = append(r.bounds, bounds{s.labels, len(r.labels), s.samples, len(r.samples)})
}

// check returns why the series is invalid, or "" when it is valid: its labels are then sorted and without empty values.
func (s *builder) check(r *Request) ledger.Reason {
	switch {
	case s.badRef || s.hasHalf:
		return ledger.InvalidSymbols
	case s.reason != "":
		return s.reason
	}
	ls := r.labels[s.labels:]
	if s.unsorted {
		slices.SortStableFunc(ls, func(a, b series.Label) int { return bytes.Compare(a.Name, b.Name) })
		kept := ls[:0]
		for i, l := range ls {
			if i > 0 && bytes.Equal(ls[i-1].Name, l.Name) {
				return ledger.DuplicateLabelName
			}
			if len(l.Value) > 0 {
				kept = append(kept, l)
			}
		}
		ls = kept
		r.labels = r.labels[:s.labels+len(kept)]
	}
	if len(ls) == 0 {
		return ledger.EmptyLabelSet
	}
	for _, l := range ls {
		if string(l.Name) == model.MetricNameLabel {
			if limit := r.decoder.opts.MaxMetricNameBytes; limit > 0 && len(l.Value) > limit {
				return ledger.MetricNameTooLong
			}
			return ""
		}
	}
	return ledger.MissingMetricName
}

// filter removes the samples from start on that cannot be stored, and accounts for them.
func (r *Request) filter(start int, ls []series.Label) {
	o := &r.decoder.opts
	kept := start
	for _, x := range r.samples[start:] {
		switch {
		case x.TimeMs < 0 || x.TimeMs > o.MaxTimeMs:
			r.account.Reject(ledger.Samples, ledger.OutOfRange, 1, func() string {
				return fmt.Sprintf("%s: timestamp %d ms is outside 0 to %d", series.Text(ls), x.TimeMs, o.MaxTimeMs)
			})
			continue
		case o.RejectNonFinite && (math.IsNaN(x.Value) || math.IsInf(x.Value, 0)):
			r.account.Reject(ledger.Samples, ledger.NonFiniteValue, 1, func() string {
				return fmt.Sprintf("%s: %v at %d ms; --fail-on-invalid-sample-value refuses it", series.Text(ls), x.Value, x.TimeMs)
			})
			continue
		}
		r.samples[kept] = x
		kept++
	}
	r.samples = r.samples[:kept]
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
		ledger.MetricNameTooLong:  "its metric name is longer than 256 bytes; --fail-on-long-label refuses it",
	}[reason]
	return series.Text(ls) + ": " + why
}

func validText(b []byte) bool { return utf8.Valid(b) }
