// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"reflect"

	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// Entries of two bytes on the wire become structures of up to 300 bytes. So before a slice grows, whoever gave the room is
// asked for it. Series point into the slices: one that grew as append does would leave an array behind for each time, all of
// which live as long as the series, five times the memory in the end. Instead the series that is being read moves to a
// new array, and the finished ones stay where they are.

const (
	// maxChunkBytes is about the most memory that one slice takes at a time.
	maxChunkBytes = 8 << 20
	// maxPooledBytes is the most memory that is kept for the next request: a huge one must not pin its memory.
	maxPooledBytes = 16 << 20
	// maxLabels bounds the labels of a series. No record holds so many: there are 128 dimensions, and what is packed into
	// them, eight bytes a label at the least, has 4 times 2,048 bytes (Timestream Developer Guide, ts-limits).
	maxLabels = 2000
	// faultBytes is what a fault takes with its text.
	faultBytes = 200
)

// lengths are numbers about the slices of a request.
type lengths struct {
	series, metadata, labels, samples, histograms, exemplars, exemplarLabels, slots, symbols int
}

// sizeOf is what an element takes.
func sizeOf[T any]() int { return int(reflect.TypeFor[T]().Size()) }

// reserve asks for the room for n more bytes.
func (r *Request) reserve(n int) error {
	if r.room == nil {
		return nil
	}
	return r.room(int64(r.used() + n))
}

// used is what the request holds.
func (r *Request) used() int {
	m := &r.hist
	return r.left + r.scratch + len(r.faults)*faultBytes +
		len(r.Series)*sizeOf[series.Series]() + len(r.Metadata)*sizeOf[series.Metadata]() + len(r.symbols)*sizeOf[symbol]() +
		(len(r.labels)+len(r.exemplarLabels))*sizeOf[series.Label]() + len(r.samples)*sizeOf[series.Sample]() +
		len(r.histograms)*sizeOf[series.Histogram]() + len(r.exemplars)*sizeOf[series.Exemplar]() +
		len(m.slots)*sizeOf[histogramSlot]() + len(m.spans)*sizeOf[prompb.BucketSpan]() + 8*(len(m.ints)+len(m.floats))
}

// grow makes a full slice larger that nothing points into.
func grow[T any](r *Request, s *[]T, mark *int) error {
	n := max(2*cap(*s), 64)
	if err := r.reserve(n * sizeOf[T]()); err != nil {
		return err
	}
	*s, *mark = append(make([]T, 0, n), *s...), 0
	return nil
}

// move gives a slice a new array with room for n more, and leaves behind what lies before from, which then is 0.
func move[T any](r *Request, s *[]T, mark, from *int, n int) error {
	size := sizeOf[T]()
	own := (*s)[*from:]
	n = max(len(own)+n, min(2*cap(*s), maxChunkBytes/size), 2*len(own), 64)
	if err := r.reserve(n * size); err != nil {
		return err
	}
	r.left += *from * size
	*s, *mark, *from = append(make([]T, 0, n), own...), 0, 0
	return nil
}

// Release gives the request's memory back. Nothing obtained from it may be used afterwards.
func (r *Request) Release() {
	r.account, r.room, r.name = nil, nil, symbol{}
	if r.seen != nil {
		clear(r.seen.at[:])
	}
	clear(r.faults)
	if r.capacity() > maxPooledBytes {
		return
	}
	// What earlier and larger requests left behind points into their payloads, which it would keep alive. What this one
	// leaves is overwritten by the next.
	m := &r.marks
	forget(r.Series, &m.series)
	forget(r.Metadata, &m.metadata)
	forget(r.labels, &m.labels)
	forget(r.histograms, &m.histograms)
	forget(r.exemplars, &m.exemplars)
	forget(r.exemplarLabels, &m.exemplarLabels)
	forget(r.hist.slots, &m.slots)
	forget(r.symbols, &m.symbols)
	r.decoder.pool.Put(r)
}

// capacity is what the next request would find.
func (r *Request) capacity() int {
	m := &r.hist
	return cap(r.Series)*sizeOf[series.Series]() + cap(r.Metadata)*sizeOf[series.Metadata]() + cap(r.symbols)*sizeOf[symbol]() +
		(cap(r.labels)+cap(r.exemplarLabels))*sizeOf[series.Label]() + cap(r.samples)*sizeOf[series.Sample]() +
		cap(r.histograms)*sizeOf[series.Histogram]() + cap(r.exemplars)*sizeOf[series.Exemplar]() + cap(r.faults)*sizeOf[fault]() +
		cap(m.slots)*sizeOf[histogramSlot]() + cap(m.spans)*sizeOf[prompb.BucketSpan]() + 8*(cap(m.ints)+cap(m.floats)+m.wire.capacity())
}

// forget clears what lies between the end of s and the mark that an earlier request left, and moves the mark.
func forget[T any](s []T, mark *int) {
	if n := min(*mark, cap(s)); n > len(s) {
		clear(s[len(s):n])
	}
	*mark = len(s)
}

// drop takes the end of a slice back.
func drop[T any](s []T, to int) []T {
	clear(s[to:])
	return s[:to]
}
