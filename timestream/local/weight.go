// SPDX-License-Identifier: Apache-2.0

package local

import (
	mathbits "math/bits"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
	"github.com/tributary-project/tributary/timestream/metering"
)

// weight is a metering.Size of one record or a part of it, which is small.
type weight struct{ values, names uint32 }

func (w *weight) add(o weight) {
	w.values += o.values
	w.names += o.names
}

func (w weight) size() metering.Size {
	return metering.Size{Values: int64(w.values), Names: int64(w.names)}
}

// size is what a record of the series with this value weighs in storage: each has all its dimensions (Developer Guide,
// metering-and-pricing.storage).
func (m *mark) size(value weight) metering.Size {
	return metering.Size{Values: int64(m.values) + int64(value.values), Names: int64(m.names) + int64(value.names)}
}

// seriesWeight is what every record of a record's series weighs, but for its value. The limits of names make the first fit.
func (p *prepared) seriesWeight() (names uint16, values uint32) {
	names, values = uint16(len(p.measure)), metering.TimeBytes
	for _, dims := range [2][]record.Dimension{p.common, p.own} {
		for i := range dims {
			names += uint16(len(dims[i].Name))
			values += uint32(len(dims[i].Value))
		}
	}
	return names, values
}

// fixedWeight tells that all values of a kind weigh the same.
func fixedWeight(k kind) bool { return k != kindVarchar && k != kindMulti }

// storedWeight is the weight of the value of a stored single-measure record.
func storedWeight(c *duck.Column, k kind, i int) weight {
	switch k {
	case kindVarchar:
		return weight{values: uint32(len(c.Bytes(i)))}
	case kindBoolean:
		return weight{values: metering.BooleanBytes}
	}
	return weight{values: metering.NumberBytes}
}

// weighCommon begins the weight of a request with what is in its common attributes, which counts once. A value there has the type of the
// common attributes, or that of the first record when they name none.
func (p *preparer) weighCommon(r *record.Request) {
	p.sent = metering.Request{}
	dims := 0
	for i := range r.Records {
		dims += len(r.Records[i].Dimensions)
	}
	p.repeats.reset(dims)
	c := p.common
	for i := range c.Dimensions {
		p.sent.Size.Dimension(c.Dimensions[i].Name, c.Dimensions[i].Value)
	}
	typ := c.MeasureValueType
	if typ == "" && len(r.Records) > 0 {
		typ = r.Records[0].MeasureValueType
	}
	w := sentMeasure(c, typ)
	p.sent.Size.Add(w.size())
}

// weigh adds a record to the weight of its request, and notes what its value weighs when it is stored.
func (p *preparer) weigh(r *record.Record, out *prepared) {
	out.sent = sentMeasure(r, kindInfo[out.kind].api)
	for i := range r.Dimensions {
		out.sent.add(weight{uint32(len(r.Dimensions[i].Value)), uint32(len(r.Dimensions[i].Name))})
	}
	p.sent.Size.Add(out.sent.size())
	p.sent.Repeated += int64(out.repeated)
	switch out.kind {
	case kindMulti:
		for i := range out.values {
			out.value.add(weight{uint32(out.values[i].size()), uint32(len(out.values[i].name))})
		}
	case kindVarchar:
		out.value.values = uint32(len(out.str))
	case kindBoolean:
		out.value.values = metering.BooleanBytes
	default:
		out.value.values = metering.NumberBytes
	}
}

// sentMeasure is the weight of the time and the measure that a record of a request has itself.
func sentMeasure(r *record.Record, typ string) weight {
	w := weight{names: uint32(len(r.MeasureName))}
	if r.Has&record.Time != 0 {
		w.values += metering.TimeBytes
	}
	if r.Has&record.MeasureValue != 0 {
		w.values += uint32(metering.ValueBytes(typ, r.MeasureValue))
	}
	for i := range r.Attributes {
		a := &r.Attributes[i]
		w.add(weight{uint32(metering.ValueBytes(a.Type, a.Value)), uint32(len(a.Name))})
	}
	return w
}

// hashSet is a set of hashes, whose memory is used again.
type hashSet struct {
	slots []uint64
	mask  uint64
}

// reset empties the set and makes room for n.
func (s *hashSet) reset(n int) {
	size := 1 << mathbits.Len(uint(2*n))
	if cap(s.slots) < size {
		s.slots = make([]uint64, size)
	}
	s.slots, s.mask = s.slots[:size], uint64(size-1)
	clear(s.slots)
}

// add tells whether the hash was there. Zero stands for none, and counts as another.
func (s *hashSet) add(h uint64) bool {
	if h == 0 {
		h = 1
	}
	for i := h & s.mask; ; i = (i + 1) & s.mask {
		switch s.slots[i] {
		case h:
			return true
		case 0:
			s.slots[i] = h
			return false
		}
	}
}
