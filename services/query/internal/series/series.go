// SPDX-License-Identifier: Apache-2.0

// Package series says what reading means, in Prometheus' terms: a selection goes in, series come out. The protocol side
// of the service knows only this; a store implements Selector and may be anything.
package series

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/timestream/promschema"
)

// Sample is one sample.
type Sample struct {
	// T is milliseconds since 1970 UTC.
	T int64
	V float64
}

// Histogram is one sample that is a native histogram.
type Histogram struct {
	// T is milliseconds since 1970 UTC.
	T int64
	// StartMs is its start (created) timestamp in milliseconds since 1970; 0 for none, or when the selection did not ask.
	StartMs int64
	// H must not be changed. Its own timestamp is 0. Its spans are as long as its buckets are many; nothing else of it has been
	// checked.
	H *prompb.Histogram
}

// Series is a series, or a piece of one, with samples, floats and histograms each in order of time. A millisecond has one
// sample of either sort.
type Series struct {
	Labels labels.Labels
	// Continued says that this is a further piece of the series before, which has the same labels: all its samples are
	// later.
	Continued bool
	Samples   []Sample
	// Starts are the start (created) timestamps of Samples in milliseconds since 1970, one for each, 0 for none. Nil when none
	// has one, or when the selection did not ask.
	Starts     []int64
	Histograms []Histogram
}

// LastPerStep says that of the floats of a series only some are needed: of all in (AlignMs+(k-1)·StepMs, AlignMs+k·StepMs], for
// each integer k, the last one. More may be given out. Histograms are all needed: each tells of the next whether the counter was
// reset.
type LastPerStep struct {
	// AlignMs may be any number, StepMs is positive.
	AlignMs, StepMs int64
}

// Selection is what is to be read: all matchers must hold, both bounds are included. An absent label has the empty value.
type Selection struct {
	// Database and Table name the place; the store's default where they are empty.
	Database, Table string
	Matchers        []*labels.Matcher
	StartMs, EndMs  int64
	// LastPerStep may leave samples out; nil asks for all of them.
	LastPerStep *LastPerStep
	// Starts asks for start timestamps.
	Starts bool
	// HistogramLeadMs asks for histograms, of any series that is selected, of so many milliseconds before the range too: the one
	// before the first tells whether the counter was reset. A series may then have none in the range.
	HistogramLeadMs int64
	// MaxSamples is how many samples the set gives out before it fails; 0 for no bound.
	MaxSamples int64
	// Kept says that the caller keeps what he is given until he closes the set: its memory is counted, and bounded, until then.
	Kept bool
}

// Selector finds series. It is safe for concurrent use.
type Selector interface {
	// Select returns the series that match, sorted by labels, each once, each with its samples in the range and at least one.
	// The caller must Close the set. A Select that fails before the first series may fail here or in the set.
	Select(context.Context, Selection) (Set, error)
}

// Set is an iterator over series, piece by piece. It is not safe for concurrent use.
type Set interface {
	// Next moves to the next series, or the next piece of the series before; false at the end and after an error.
	Next() bool
	// At returns what Next moved to. Its labels may be kept; its samples are the caller's until the next call of Next, the
	// histograms that they point to for good.
	At() Series
	// Err returns why Next returned false; nil at the end.
	Err() error
	// Stats and Warnings are whole once Next has returned false.
	Stats() Stats
	Warnings() []string
	// Close releases what the set holds, and ends what still runs for it.
	Close()
}

// Stats is what a selection or a listing took.
type Stats struct {
	// Queries are the statements run for it, Pages the result pages they took.
	Queries, Pages int64
	// MeteredBytes is what the store charges for.
	MeteredBytes int64
	// Conflicts counts samples that were left out because the same series has another value at the same millisecond.
	Conflicts int64
}

// Info is what the caller should know of a listing.
type Info struct {
	Stats    Stats
	Warnings []string
	// Free gives back the memory that is counted for the result; nil when there is none. Callers call Release.
	Free func()
}

// Release says that the caller no longer holds the result: until then its memory is counted. It must be called once the listing has
// succeeded, and may be called again and on the zero value.
func (i Info) Release() {
	if i.Free != nil {
		i.Free()
	}
}

// Scope is which series a listing is about: those that have a sample in the range, bounds included, and that one of the
// selectors selects.
type Scope struct {
	// Database and Table name the place; the store's default where they are empty.
	Database, Table string
	// Selectors are sets of matchers, all of which must hold; none selects every series.
	Selectors      [][]*labels.Matcher
	StartMs, EndMs int64
	// Limit is how many are returned at most; 0 for all. Info has a warning when there are more.
	Limit int
}

// Lister finds out what series there are. It is safe for concurrent use.
type Lister interface {
	// Series returns label sets, sorted, each once. As with all listings, what it returns counts as held until Info.Release.
	Series(context.Context, Scope) ([]labels.Labels, Info, error)
	// LabelNames returns the names of labels, sorted, each once.
	LabelNames(context.Context, Scope) ([]string, Info, error)
	// LabelValues returns the values of a label other than the empty one, sorted, each once.
	LabelValues(ctx context.Context, name string, s Scope) ([]string, Info, error)
}

// Exemplar is one exemplar.
type Exemplar struct {
	// T is milliseconds since 1970 UTC.
	T      int64
	V      float64
	Labels labels.Labels
}

// Exemplars is a series with its exemplars in order of time.
type Exemplars struct {
	Labels    labels.Labels
	Exemplars []Exemplar
}

// ExemplarReader finds exemplars. It is safe for concurrent use.
type ExemplarReader interface {
	// Exemplars returns the exemplars in the range of every series that the scope selects, sorted by labels.
	Exemplars(context.Context, Scope) ([]Exemplars, Info, error)
}

// MetricMetadata is what is known of a metric: several entries when its targets do not agree, each once.
type MetricMetadata struct {
	Metric  string
	Entries []promschema.Metadata
}

// MetadataReader finds metadata. It is safe for concurrent use.
type MetadataReader interface {
	// Metadata returns the entries in force in the range, sorted by metric; of one metric, or of all when it is empty.
	Metadata(ctx context.Context, s Scope, metric string) ([]MetricMetadata, Info, error)
}

// Kind says what an Error means to who asked.
type Kind uint8

// The kinds of error.
const (
	// Internal: a bug of ours.
	Internal Kind = iota
	// Unavailable: the store cannot be used now.
	Unavailable
	// NotFound: the place that the caller named does not exist.
	NotFound
	// TooLarge: the result is over a limit that waiting does not move.
	TooLarge
	// Busy: what runs at the same time takes all there is; waiting helps.
	Busy
	// Unsupported: the store holds something that this build cannot read.
	Unsupported
)

// Error is why a selection failed.
type Error struct {
	Kind Kind
	// Text is for the caller: what, where, which limit and which flag moves it. It holds no part of a credential.
	Text string
	// Err is the cause, for the log; may be nil.
	Err error
}

// Error returns the text and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
