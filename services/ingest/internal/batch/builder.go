// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/metering"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// Builder builds one WriteRecords request at a time in memory that it uses again: Plan, and then Body or Input. Record i of
// the request is item i. It is not safe for concurrent use.
type Builder struct {
	// The plan: what all records have is sent once.
	common       []handle
	commonBytes  int
	measure      *identity // whose measure name all have; nil: each its own
	oneTime      bool
	oneForm      bool // all are MULTI, or none is
	milliseconds bool // all times are whole milliseconds

	body []byte

	input   timestreamwrite.WriteRecordsInput
	shared  types.Record
	records []types.Record
	dims    []types.Dimension
	rest    []types.Dimension
	text    []byte
	ends    []int // of the value's text and, when it has one of its own, the time's
	strings []string
}

// Plan decides what the records of items share. There must be 1 to timestream.MaxRecordsPerWrite items. It returns the size of
// the request as Timestream meters it.
func (b *Builder) Plan(items []Item) (meteredBytes int) {
	first := &items[0]
	hoist := len(items) > 1 // a single record stands for itself
	b.findCommon(items)
	b.oneTime, b.oneForm, b.milliseconds, b.measure = hoist, true, first.timeNs() == 0, nil
	oneMeasure := hoist
	for i := range items[1:] {
		it := &items[i+1]
		b.oneTime = b.oneTime && it.TimeMs == first.TimeMs
		b.milliseconds = b.milliseconds && it.timeNs() == 0
		b.oneForm = b.oneForm && it.id.multi == first.id.multi
		if it.id != first.id {
			oneMeasure = oneMeasure && it.id.measure == first.id.measure
		}
	}
	b.oneTime = b.oneTime && b.milliseconds
	meteredBytes = b.commonBytes
	if oneMeasure {
		b.measure = first.id
		meteredBytes += len(first.id.measure)
	}
	if b.oneTime {
		meteredBytes += metering.TimeBytes
	}
	for i := range items {
		it := &items[i]
		meteredBytes += it.id.bytes - b.commonBytes
		if !b.oneTime {
			meteredBytes += metering.TimeBytes
		}
		if !oneMeasure {
			meteredBytes += len(it.id.measure)
		}
		if !it.id.multi {
			meteredBytes += metering.NumberBytes
			continue
		}
		for _, a := range it.attributes() {
			meteredBytes += len(a.Name)
			if a.Type == promschema.Varchar {
				meteredBytes += len(a.Value)
			} else {
				meteredBytes += metering.NumberBytes
			}
		}
	}
	return meteredBytes
}

// attributes are the values of an extension record.
func (it *Item) attributes() []promschema.Attribute {
	if it.Extra != nil {
		return it.Extra.Value.Attributes
	}
	return promschema.ExtensionValue(it.Value).Attributes
}

// findCommon finds the dimensions that all items have. A single item shares nothing.
func (b *Builder) findCommon(items []Item) {
	b.common, b.commonBytes = b.common[:0], 0
	if len(items) == 1 {
		return
	}
	last := items[0].id
	b.common = append(b.common, last.pairs...)
	for i := range items[1:] {
		id := items[i+1].id
		if id == last {
			continue
		}
		last = id
		// Both lists have the same order, so one pass finds what they share; common stays a subsequence of each.
		kept, from := 0, 0
		for _, p := range b.common {
			at := from
			for at < len(id.pairs) && id.pairs[at] != p {
				at++
			}
			if at == len(id.pairs) {
				continue
			}
			from = at + 1
			b.common[kept] = p
			kept++
		}
		b.common = b.common[:kept]
		if kept == 0 {
			return
		}
	}
	for _, p := range b.common {
		d := p.Value().Dimension
		b.commonBytes += len(d.Name) + len(d.Value)
	}
}

// Body returns the request of the planned items as the JSON document that the API takes. It is valid until the next Body.
func (b *Builder) Body(database, table string, items []Item) []byte {
	out := append(b.body[:0], `{"DatabaseName":`...)
	out = appendString(out, database)
	out = append(out, `,"TableName":`...)
	out = appendString(out, table)
	out = append(out, `,"CommonAttributes":{`...)
	first := &items[0]
	comma := false
	member := func() {
		if comma {
			out = append(out, ',')
		}
		comma = true
	}
	if len(b.common) > 0 {
		member()
		out = append(out, `"Dimensions":[`...)
		for i, p := range b.common {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, p.Value().json...)
		}
		out = append(out, ']')
	}
	if b.measure != nil {
		member()
		out = append(out, b.measure.measureJSON...)
	}
	if b.oneForm {
		member()
		out = append(out, valueType(first.id.multi)...)
	}
	if b.oneTime {
		member()
		out = append(strconv.AppendInt(append(out, `"Time":"`...), first.TimeMs, 10), '"')
	}
	if b.milliseconds {
		member()
		out = append(out, `"TimeUnit":"MILLISECONDS"`...)
	}
	out = append(out, `},"Records":[`...)
	for i := range items {
		if i > 0 {
			out = append(out, ',')
		}
		out = b.appendRecord(out, &items[i])
	}
	out = append(out, `]}`...)
	b.body = out
	return out
}

func valueType(multi bool) string {
	if multi {
		return `"MeasureValueType":"MULTI"`
	}
	return `"MeasureValueType":"DOUBLE"`
}

func (b *Builder) appendRecord(out []byte, it *Item) []byte {
	out = append(out, '{')
	if len(it.id.pairs) > len(b.common) {
		out = append(out, `"Dimensions":[`...)
		rest := b.common
		start := len(out)
		for _, p := range it.id.pairs {
			if len(rest) > 0 && p == rest[0] {
				rest = rest[1:]
				continue
			}
			if len(out) > start {
				out = append(out, ',')
			}
			out = append(out, p.Value().json...)
		}
		out = append(out, ']', ',')
	}
	if b.measure == nil {
		out = append(append(out, it.id.measureJSON...), ',')
	}
	if !it.id.multi {
		out = append(out, `"MeasureValue":"`...)
		out, _ = promschema.AppendPlain(out, it.Value)
		out = append(out, '"')
	} else {
		if !b.oneForm {
			out = append(append(out, valueType(true)...), ',') // the others are DOUBLE by default
		}
		out = append(out, `"MeasureValues":[`...)
		for i, a := range it.attributes() {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(append(append(out, `{"Name":"`...), a.Name...), `","Type":"`...) // a name of the layout: nothing to escape
			out = append(append(out, a.Type.String()...), `","Value":`...)
			out = append(appendString(out, a.Value), '}')
		}
		out = append(out, ']')
	}
	if !b.oneTime {
		if ns := it.timeNs(); ns != 0 {
			// The others have milliseconds, which is the default where it is not said for all.
			out = append(strconv.AppendInt(append(out, `,"TimeUnit":"NANOSECONDS","Time":"`...), ns, 10), '"')
		} else {
			out = append(strconv.AppendInt(append(out, `,"Time":"`...), it.TimeMs, 10), '"')
		}
	}
	return append(out, '}')
}

// Input returns the same request as Body as the input of the SDK's client. It is valid until the next Input.
func (b *Builder) Input(database, table *string, items []Item) *timestreamwrite.WriteRecordsInput {
	first := &items[0]
	b.writeTexts(items)
	b.shared = types.Record{}
	if len(b.common) > 0 {
		b.dims = b.dims[:0]
		rest := b.common
		for i, p := range first.id.pairs {
			if len(rest) > 0 && p == rest[0] {
				b.dims, rest = append(b.dims, first.id.input()[i]), rest[1:]
			}
		}
		b.shared.Dimensions = b.dims
	}
	if b.measure != nil {
		b.shared.MeasureName = &b.measure.measure
	}
	if b.oneForm {
		b.shared.MeasureValueType = types.MeasureValueTypeDouble
		if first.id.multi {
			b.shared.MeasureValueType = types.MeasureValueTypeMulti
		}
	}
	if b.milliseconds {
		b.shared.TimeUnit = types.TimeUnitMilliseconds
	}
	clear(b.records)
	b.records, b.rest = b.records[:0], b.rest[:0]
	next := 0 // in b.strings
	var time *string
	var lastID *identity
	var lastRest []types.Dimension
	for i := range items {
		it := &items[i]
		var r types.Record
		if it.id.multi {
			r.MeasureValues = values(it.attributes())
			if !b.oneForm {
				r.MeasureValueType = types.MeasureValueTypeMulti
			}
		} else {
			r.MeasureValue = &b.strings[next]
			next++
		}
		if b.ownTime(items, i) {
			time = &b.strings[next]
			next++
		}
		if b.oneTime {
			b.shared.Time = time
		} else {
			r.Time = time
			if it.timeNs() != 0 {
				r.TimeUnit = types.TimeUnitNanoseconds
			}
		}
		if b.measure == nil {
			r.MeasureName = &it.id.measure
		}
		if it.id != lastID {
			lastID, lastRest = it.id, b.without(it.id)
		}
		r.Dimensions = lastRest
		b.records = append(b.records, r)
	}
	b.input = timestreamwrite.WriteRecordsInput{
		DatabaseName: database, TableName: table, CommonAttributes: &b.shared, Records: b.records,
	}
	return &b.input
}

// without returns the dimensions of id without the common ones, which are a subsequence of them.
func (b *Builder) without(id *identity) []types.Dimension {
	switch len(b.common) {
	case 0:
		return id.input()
	case len(id.pairs):
		return nil
	}
	start, c := len(b.rest), 0
	all := id.input()
	for i, p := range id.pairs {
		if c < len(b.common) && p == b.common[c] {
			c++
			continue
		}
		b.rest = append(b.rest, all[i])
	}
	return b.rest[start:len(b.rest):len(b.rest)]
}

// ownTime tells whether the text of an item's time is not that of the item before.
func (b *Builder) ownTime(items []Item, i int) bool {
	return i == 0 || items[i].TimeMs != items[i-1].TimeMs || items[i].timeNs() != items[i-1].timeNs()
}

// writeTexts writes the values and times of all items into one string, and fills b.strings with the pieces in the order
// in which Input takes them: for each item its value unless it is an extension, and its time unless it is that of the
// item before.
func (b *Builder) writeTexts(items []Item) {
	b.text, b.ends = b.text[:0], b.ends[:0]
	for i := range items {
		it := &items[i]
		if !it.id.multi {
			b.text, _ = promschema.AppendPlain(b.text, it.Value)
			b.ends = append(b.ends, len(b.text))
		}
		if b.ownTime(items, i) {
			t := it.timeNs()
			if t == 0 {
				t = it.TimeMs
			}
			b.text = strconv.AppendInt(b.text, t, 10)
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

func values(attributes []promschema.Attribute) []types.MeasureValue {
	out := make([]types.MeasureValue, len(attributes))
	for i, a := range attributes {
		out[i] = types.MeasureValue{Name: aws.String(a.Name), Value: aws.String(a.Value), Type: types.MeasureValueType(a.Type.String())}
	}
	return out
}
