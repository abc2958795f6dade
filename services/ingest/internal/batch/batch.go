// SPDX-License-Identifier: Apache-2.0

// Package batch makes WriteRecords requests of samples: sorted so that neighbours have much in common, repeats removed,
// and what all records of a request share sent once. Sending them is left to others.
package batch

import (
	"cmp"
	"slices"
	"strconv"
	"unique"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// Item is one sample of a known series.
type Item struct {
	Series *Series
	TimeMs int64
	Value  float64
	// Repeats is how many more samples of the request had this series and time.
	Repeats uint32

	order     uint32 // of arrival
	extension bool
	target    uint64 // copies, so that sorting stays in the slice
	metric    uint64
}

// NewItem returns an item; order is its place in the request. For a value that is not Plain, Extension must have
// succeeded.
func NewItem(s *Series, timeMs int64, value float64, order int) Item {
	return Item{
		Series: s, TimeMs: timeMs, Value: value, order: uint32(order),
		extension: !s.Plain(value), target: s.target, metric: s.metric,
	}
}

// Samples is how many samples of the request the item stands for.
func (it *Item) Samples() int { return 1 + int(it.Repeats) }

// WithSeries returns the item for the same sample under another encoding of its series.
func (it *Item) WithSeries(s *Series) Item {
	n := NewItem(s, it.TimeMs, it.Value, int(it.order))
	n.Repeats = it.Repeats
	return n
}

// SameRecord tells whether both become records with the same identity: sending the second after the first was refused for
// its identity is of no use.
func (it *Item) SameRecord(o *Item) bool {
	a, b := it.identity(), o.identity()
	return a.measure == b.measure && slices.Equal(a.pairs, b.pairs)
}

// Measure is the measure name of the record; plain tells that it is a plain one, whose name is the metric's own.
func (it *Item) Measure() (name string, plain bool) { return it.identity().measure, !it.extension }

func (it *Item) identity() *identity {
	if it.extension {
		return it.Series.extension.Load()
	}
	return &it.Series.plain
}

// Sort orders items so that neighbours share as much as possible, and removes all but the first to arrive of those with
// the same series and millisecond, which it counts in Repeats. It works in place.
func Sort(items []Item) []Item {
	slices.SortFunc(items, func(a, b Item) int {
		if a.target != b.target {
			return cmp.Compare(a.target, b.target)
		}
		if a.TimeMs != b.TimeMs {
			return cmp.Compare(a.TimeMs, b.TimeMs)
		}
		if a.metric != b.metric {
			return cmp.Compare(a.metric, b.metric)
		}
		if a.Series != b.Series {
			if a.Series.Hash != b.Series.Hash {
				return cmp.Compare(a.Series.Hash, b.Series.Hash)
			}
			if c := a.Series.compare(b.Series); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.order, b.order)
	})
	kept := 0
	for i := range items {
		if kept > 0 {
			last := &items[kept-1]
			if last.TimeMs == items[i].TimeMs && last.Series.Hash == items[i].Series.Hash && last.Series.compare(items[i].Series) == 0 {
				last.Repeats += 1 + items[i].Repeats
				continue
			}
		}
		items[kept] = items[i]
		kept++
	}
	return items[:kept]
}

// minOwnBatch is from how many records on the rest of a target gets a batch of its own. A batch of one target sends the
// target's labels once, which saves some 200 metered bytes a record; a call more costs half a write unit, and the
// processor time of signing and sending. From here on the first is worth more than the second.
const minOwnBatch = timestream.MaxRecordsPerWrite / 2

// Split cuts sorted items into batches. As far as possible the records of a batch have the same target; what is left of
// targets is put together in left, which is emptied first, and returned for the next time.
func Split(items, left []Item) (batches [][]Item, _ []Item) {
	const most = timestream.MaxRecordsPerWrite
	batches, left = make([][]Item, 0, len(items)/minOwnBatch+1), left[:0]
	for len(items) > 0 {
		n := 1
		for n < min(len(items), most) && items[n].target == items[0].target {
			n++
		}
		if n >= minOwnBatch {
			batches = append(batches, items[:n:n])
		} else {
			left = append(left, items[:n]...)
		}
		items = items[n:]
	}
	for rest := left; len(rest) > 0; {
		n := min(len(rest), most)
		batches = append(batches, rest[:n:n])
		rest = rest[n:]
	}
	return batches, left
}

// Builder builds one request at a time in memory that it uses again. It is not safe for concurrent use.
type Builder struct {
	input   timestreamwrite.WriteRecordsInput
	shared  types.Record
	common  []types.Dimension
	pairs   []unique.Handle[promschema.Dimension] // of common
	records []types.Record
	rest    []types.Dimension
	text    []byte
	ends    []int // of the value's text and, when it has one of its own, the time's
	strings []string
}

// Build returns the request that stores items in a table, and its size as Timestream meters it. There must be 1 to
// timestream.MaxRecordsPerWrite of them. Record i of the request is items[i]. The request is valid until the next Build.
func (b *Builder) Build(database, table *string, items []Item) (in *timestreamwrite.WriteRecordsInput, meteredBytes int) {
	b.findCommon(items)
	b.writeTexts(items)
	hoist := len(items) > 1
	first := items[0].identity()
	oneMeasure, oneTime, oneForm := hoist, hoist, true
	for i := range items[1:] {
		it := &items[i+1]
		oneTime = oneTime && it.TimeMs == items[0].TimeMs
		oneForm = oneForm && it.extension == items[0].extension
		if id := it.identity(); id != first {
			oneMeasure = oneMeasure && id.measure == first.measure
		}
	}
	commonBytes := 0
	for _, d := range b.common {
		commonBytes += len(*d.Name) + len(*d.Value)
	}
	meteredBytes = commonBytes

	b.shared = types.Record{TimeUnit: types.TimeUnitMilliseconds}
	if len(b.common) > 0 {
		b.shared.Dimensions = b.common
	}
	if oneForm {
		b.shared.MeasureValueType = types.MeasureValueTypeDouble
		if items[0].extension {
			b.shared.MeasureValueType = types.MeasureValueTypeMulti
		}
	}
	if oneMeasure {
		b.shared.MeasureName = &first.measure
		meteredBytes += len(first.measure)
	}
	if oneTime {
		meteredBytes += timeBytes
	}

	clear(b.records)
	b.records, b.rest = b.records[:0], b.rest[:0]
	next := 0 // in b.strings
	var time *string
	var lastID *identity
	var lastRest []types.Dimension
	for i := range items {
		it := &items[i]
		id := it.identity()
		var r types.Record
		if it.extension {
			var n int
			r.MeasureValues, n = attributes(promschema.ExtensionValue(it.Value))
			meteredBytes += n
			if !oneForm {
				r.MeasureValueType = types.MeasureValueTypeMulti // the others are DOUBLE by default
			}
		} else {
			r.MeasureValue = &b.strings[next]
			next++
			meteredBytes += doubleBytes
		}
		if i == 0 || it.TimeMs != items[i-1].TimeMs {
			time = &b.strings[next]
			next++
		}
		if oneTime {
			b.shared.Time = time
		} else {
			r.Time = time
			meteredBytes += timeBytes
		}
		if !oneMeasure {
			r.MeasureName = &id.measure
			meteredBytes += len(id.measure)
		}
		if id != lastID {
			lastID, lastRest = id, b.without(id)
		}
		r.Dimensions = lastRest
		meteredBytes += id.bytes - commonBytes
		b.records = append(b.records, r)
	}
	b.input = timestreamwrite.WriteRecordsInput{
		DatabaseName: database, TableName: table, CommonAttributes: &b.shared, Records: b.records,
	}
	return &b.input, meteredBytes
}

// Sizes that Timestream meters, from its Developer Guide, "Metering and pricing", writes.
const (
	timeBytes   = 8
	doubleBytes = 8
)

// WriteUnit is what writes are counted in, per request (same page).
const WriteUnit = 1024

// findCommon puts the dimensions that all items have into b.common. A single item shares nothing: its record stands for
// itself.
func (b *Builder) findCommon(items []Item) {
	b.common, b.pairs = b.common[:0], b.pairs[:0]
	if len(items) == 1 {
		return
	}
	last := items[0].identity()
	b.common, b.pairs = append(b.common, last.dimensions...), append(b.pairs, last.pairs...)
	for i := range items[1:] {
		id := items[i+1].identity()
		if id == last {
			continue
		}
		last = id
		// Both lists have the same order, so one pass finds what they share; common stays a subsequence of each.
		kept, from := 0, 0
		for c, p := range b.pairs {
			j := slices.Index(id.pairs[from:], p)
			if j < 0 {
				continue
			}
			from += j + 1
			b.pairs[kept], b.common[kept] = p, b.common[c]
			kept++
		}
		b.pairs, b.common = b.pairs[:kept], b.common[:kept]
		if kept == 0 {
			return
		}
	}
}

// without returns the dimensions of id without the common ones, which are a subsequence of them.
func (b *Builder) without(id *identity) []types.Dimension {
	switch len(b.common) {
	case 0:
		return id.dimensions
	case len(id.dimensions):
		return nil
	}
	start, c := len(b.rest), 0
	for i, p := range id.pairs {
		if c < len(b.pairs) && p == b.pairs[c] {
			c++
			continue
		}
		b.rest = append(b.rest, id.dimensions[i])
	}
	return b.rest[start:len(b.rest):len(b.rest)]
}

// writeTexts writes the values and times of all items into one string, and fills b.strings with the pieces in the order
// in which Build takes them: for each item its value unless it is an extension, and its time unless it is that of the
// item before.
func (b *Builder) writeTexts(items []Item) {
	b.text, b.ends = b.text[:0], b.ends[:0]
	for i := range items {
		it := &items[i]
		if !it.extension {
			b.text, _ = promschema.AppendPlain(b.text, it.Value)
			b.ends = append(b.ends, len(b.text))
		}
		if i == 0 || it.TimeMs != items[i-1].TimeMs {
			b.text = strconv.AppendInt(b.text, it.TimeMs, 10)
			b.ends = append(b.ends, len(b.text))
		}
	}
	text := string(b.text)
	b.strings = slices.Grow(b.strings[:0], len(b.ends))
	start := 0
	for _, end := range b.ends {
		b.strings = append(b.strings, text[start:end])
		start = end
	}
}

// attributes returns the values of an extension record, and their metered size.
func attributes(v promschema.Value) (values []types.MeasureValue, metered int) {
	values = make([]types.MeasureValue, len(v.Attributes))
	for i := range v.Attributes {
		a := &v.Attributes[i]
		values[i] = types.MeasureValue{Name: &a.Name, Value: &a.Value, Type: types.MeasureValueType(a.Type.String())}
		metered += len(a.Name)
		if a.Type == promschema.Varchar {
			metered += len(a.Value)
		} else {
			metered += doubleBytes
		}
	}
	return values, metered
}
