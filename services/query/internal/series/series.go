// SPDX-License-Identifier: Apache-2.0

// Package series says what reading means, in Prometheus' terms: a selection goes in, series come out. The protocol side
// of the service knows only this; a store implements Selector and may be anything.
package series

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
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
	// H must not be changed. Its own timestamp is 0. Its spans are as long as its buckets are many; nothing else of it has been
	// checked.
	H *prompb.Histogram
}

// Series is one series with its samples, floats and histograms each in order of time. A millisecond has one sample of
// either sort.
type Series struct {
	Labels     labels.Labels
	Samples    []Sample
	Histograms []Histogram
}

// Hints are what Prometheus tells about the expression behind a selection. They never change what is correct.
type Hints struct {
	StepMs, StartMs, EndMs, RangeMs int64
	Func                            string
	Grouping                        []string
	By                              bool
}

// Selection is what is to be read: all matchers must hold, both bounds are included. An absent label has the empty value.
type Selection struct {
	// Database and Table name the place; the store's default where they are empty.
	Database, Table string
	Matchers        []*labels.Matcher
	StartMs, EndMs  int64
	Hints           Hints
}

// Selector finds series. It is safe for concurrent use.
type Selector interface {
	// Select returns the series that match, sorted by labels, each once, each with all of its samples in the range and at
	// least one. The caller must Close the set. A Select that fails before the first series may fail here or in the set.
	Select(context.Context, Selection) (Set, error)
}

// Set is an iterator over series. It is not safe for concurrent use.
type Set interface {
	// Next moves to the next series; false at the end and after an error.
	Next() bool
	// At returns the series that Next moved to. It is the caller's until the next call of Next.
	At() Series
	// Err returns why Next returned false; nil at the end.
	Err() error
	// Stats and Warnings are whole once Next has returned false.
	Stats() Stats
	Warnings() []string
	// Close releases what the set holds.
	Close()
}

// Stats is what a selection took.
type Stats struct {
	// Queries are the statements run for samples, Pages the result pages they took.
	Queries, Pages int64
	// MeteredBytes is what the store charges for.
	MeteredBytes int64
	// Conflicts counts samples that were left out because the same series has another value at the same millisecond.
	Conflicts int64
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
