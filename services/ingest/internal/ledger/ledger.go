// SPDX-License-Identifier: Apache-2.0

// Package ledger accounts for everything a request brings, so that nothing is lost silently: for each kind
// received = stored + duplicate + rejected + deferred. Deciding what becomes of an entry is left to the callers.
package ledger

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// Kind is what an entry of a request is.
type Kind uint8

// The kinds, in the order of ingestv1.Ledger.
const (
	Samples Kind = iota
	Histograms
	Exemplars
	Metadata
	StartTimestamps
	Kinds // their number
)

// String returns the name of the field of ingestv1.Ledger.
func (k Kind) String() string {
	return [...]string{"samples", "histograms", "exemplars", "metadata", "start_timestamps"}[k]
}

// Reason says why an entry was refused for good. Clients and alerts match on these words: they are part of the API.
type Reason string

// Reasons found before anything is sent.
const (
	// MissingMetricName: the series has no label __name__, or an empty one.
	MissingMetricName Reason = "missing_metric_name"
	// EmptyLabelSet: the series has no label at all.
	EmptyLabelSet Reason = "empty_label_set"
	// EmptyLabelName: a label has no name.
	EmptyLabelName Reason = "empty_label_name"
	// DuplicateLabelName: a label name occurs twice in a series.
	DuplicateLabelName Reason = "duplicate_label_name"
	// InvalidUTF8: a label name or value is not UTF-8.
	InvalidUTF8 Reason = "invalid_utf8"
	// InvalidSymbols: a series of remote write 2.0, an exemplar or metadata refers to symbols that the request does not have,
	// or has half a label.
	InvalidSymbols Reason = "invalid_symbols"
	// LabelsTooLarge: the labels do not fit a record of the store.
	LabelsTooLarge Reason = "labels_too_large"
	// MetricNameTooLong: --fail-on-long-label is set and the metric name is longer than 256 bytes.
	MetricNameTooLong Reason = "metric_name_too_long"
	// NonFiniteValue: --fail-on-invalid-sample-value is set and the value is NaN or infinite.
	NonFiniteValue Reason = "non_finite_value"
	// OutOfRange: the timestamp is before 1970 or after what the store can hold.
	OutOfRange Reason = "out_of_range"
	// InvalidHistogram: the native histogram is not valid by Prometheus' rules.
	InvalidHistogram Reason = "invalid_histogram"
	// HistogramTooLarge: the native histogram does not fit the records of the store.
	HistogramTooLarge Reason = "histogram_too_large"
	// InvalidExemplar: the labels of the exemplar are not valid.
	InvalidExemplar Reason = "invalid_exemplar"
	// ExemplarTooLarge: the labels of the exemplar do not fit a record of the store.
	ExemplarTooLarge Reason = "exemplar_too_large"
	// InvalidMetadata: a metric type that is not one of the message's, or text that is not UTF-8.
	InvalidMetadata Reason = "invalid_metadata"
	// MetadataTooLarge: help and unit do not fit a record of the store.
	MetadataTooLarge Reason = "metadata_too_large"
	// DeltaTemporality: an OTLP metric with delta temporality, where that is not accepted.
	DeltaTemporality Reason = "delta_temporality"
	// Untranslatable: an OTLP data point that has no form in Prometheus.
	Untranslatable Reason = "untranslatable"
)

// Reasons that the store gives.
const (
	// Conflict: another value is stored for this series and time.
	Conflict Reason = "conflict"
	// OutOfWindow: the time is outside what the table accepts.
	OutOfWindow Reason = "out_of_window"
	// LimitExceeded: a limit of the table or of a record.
	LimitExceeded Reason = "limit_exceeded"
	// TypeConflict: the name is bound to another type in the table.
	TypeConflict Reason = "type_conflict"
	// Refused: anything else; the example has the store's words.
	Refused Reason = "refused"
)

// Counts is what became of the entries of one kind.
type Counts struct {
	Received, Stored, StoredLate, Duplicate, Rejected, Deferred uint64
}

// Balanced tells whether every entry is accounted for.
func (c Counts) Balanced() bool {
	return c.Received == c.Stored+c.Duplicate+c.Rejected+c.Deferred && c.StoredLate <= c.Stored
}

// Rejection is one reason for which entries of one kind were refused.
type Rejection struct {
	Kind     Kind
	Reason   Reason
	Count    uint64
	Examples []string
}

// MaxExamples is how many examples of a rejection are kept.
const MaxExamples = 3

// Deferral says why a request has to be sent again.
type Deferral struct {
	// Cause is one of a small set of words, for metrics.
	Cause string
	// Text is for people; no credentials.
	Text string
	// Detail is for the log; no credentials either.
	Detail string
	// RetryAfter is how long the sender should wait.
	RetryAfter time.Duration
}

// Account is that of one request. It is not safe for concurrent use.
type Account struct {
	Counts     [Kinds]Counts
	Rejections []Rejection
	// Deferral is nil unless something is deferred.
	Deferral *Deferral
}

// Receive counts n entries that came.
func (a *Account) Receive(k Kind, n int) { a.Counts[k].Received += uint64(n) }

// Store counts n entries that the store accepted.
func (a *Account) Store(k Kind, n int) { a.Counts[k].Stored += uint64(n) }

// Reject counts n entries refused for good. example is called only when an example is still wanted; nil means none.
func (a *Account) Reject(k Kind, r Reason, n int, example func() string) {
	if n == 0 {
		return
	}
	a.Counts[k].Rejected += uint64(n)
	i := slices.IndexFunc(a.Rejections, func(x Rejection) bool { return x.Kind == k && x.Reason == r })
	if i < 0 {
		i = len(a.Rejections)
		a.Rejections = append(a.Rejections, Rejection{Kind: k, Reason: r})
	}
	x := &a.Rejections[i]
	x.Count += uint64(n)
	if example != nil && len(x.Examples) < MaxExamples {
		x.Examples = append(x.Examples, example())
	}
}

// Defer says that the request has to be sent again. Nothing counts as rejected in this attempt: what was, and what has no
// outcome yet, is deferred, because the sender will bring all of it again.
func (a *Account) Defer(d Deferral) {
	a.Deferral = &d
	a.Rejections = nil
	for i := range a.Counts {
		c := &a.Counts[i]
		c.Rejected = 0
		c.Deferred = c.Received - c.Stored - c.Duplicate
	}
}

// Response returns the answer that a gRPC client gets.
func (a *Account) Response() *ingestv1.WriteResponse {
	res := &ingestv1.WriteResponse{Ledger: Proto(a.Counts)}
	slices.SortStableFunc(a.Rejections, func(x, y Rejection) int { return cmp.Compare(y.Count, x.Count) })
	for _, r := range a.Rejections {
		res.Rejections = append(res.Rejections, &ingestv1.Rejection{
			Kind: r.Kind.String(), Reason: string(r.Reason), Count: r.Count, Examples: r.Examples,
		})
	}
	if a.Deferral != nil {
		res.DeferredReason = a.Deferral.Text
		res.RetryAfter = durationpb.New(a.Deferral.RetryAfter)
	}
	return res
}

// Proto returns the counts as the API has them.
func Proto(counts [Kinds]Counts) *ingestv1.Ledger {
	of := func(k Kind) *ingestv1.Counts {
		c := counts[k]
		return &ingestv1.Counts{
			Received: c.Received, Stored: c.Stored, StoredLate: c.StoredLate,
			Duplicate: c.Duplicate, Rejected: c.Rejected, Deferred: c.Deferred,
		}
	}
	return &ingestv1.Ledger{
		Samples: of(Samples), Histograms: of(Histograms), Exemplars: of(Exemplars),
		Metadata: of(Metadata), StartTimestamps: of(StartTimestamps),
	}
}
