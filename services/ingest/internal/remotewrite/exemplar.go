// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"math"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// exemplar reads a prometheus.Exemplar, 1 labels, or an io.prometheus.write.v2.Exemplar, 1 labels_refs; 2 value and
// 3 timestamp are the same.
func (r *Request) exemplar(s *builder, message []byte, v Message) error {
	x := exemplarBuilder{start: len(r.exemplarLabels)}
	in := reader{b: message}
	for in.more() {
		field, wire := in.key()
		switch {
		case field == 1 && v == V2:
			if wire == wireVarint {
				if err := x.ref(r, in.varint()); err != nil {
					return err
				}
				break
			}
			if !in.want(wire, wireBytes) {
				break
			}
			refs := reader{b: in.bytes()}
			for refs.more() && r.before.exemplarLabels+len(r.exemplarLabels) <= labelsPerSample*r.decoder.opts.MaxSamples {
				if err := x.ref(r, refs.varint()); err != nil {
					return err
				}
			}
			if refs.err != nil {
				return refs.err
			}
		case field == 1:
			if !in.want(wire, wireBytes) {
				break
			}
			name, value, err := labelFields(in.bytes())
			if err != nil {
				return err
			}
			if err := x.add(r, name, value); err != nil {
				return err
			}
		case field == 2:
			if in.want(wire, wireFixed64) {
				x.value = math.Float64frombits(in.fixed64())
			}
		case field == 3:
			if in.want(wire, wireVarint) {
				x.timeMs = int64(in.varint())
			}
		default:
			in.skip(wire)
		}
		if err := r.checkCounts(0); err != nil {
			return err
		}
	}
	if in.err != nil {
		return in.err
	}
	r.entries++
	if len(r.exemplars) == cap(r.exemplars) {
		if err := move(r, &r.exemplars, &r.marks.exemplars, &s.exemplars, 1); err != nil {
			return err
		}
	}
	if err := x.finish(r); err != nil {
		r.exemplarLabels = drop(r.exemplarLabels, x.start)
		reason := ledger.InvalidExemplar
		if errors.Is(err, errExemplarSymbols) {
			reason = ledger.InvalidSymbols
		}
		s.faultyExemplars++
		return r.fault(fault{kind: ledger.Exemplars, reason: reason, timeMs: x.timeMs, why: err})
	}
	return nil
}

// exemplarBuilder collects one exemplar: its labels are at the end of the request's.
type exemplarBuilder struct {
	start           int
	value           float64
	timeMs          int64
	name            []byte // of a label whose value has not come yet
	hasHalf, badRef bool
}

// ref adds half a label.
func (x *exemplarBuilder) ref(r *Request, ref uint64) error {
	sym := r.symbol(uint32(ref))
	x.hasHalf = !x.hasHalf
	switch {
	case sym == nil:
		x.badRef = true
	case !x.hasHalf:
		return x.add(r, x.name, sym.text)
	default:
		x.name = sym.text
	}
	return nil
}

// add adds a label.
func (x *exemplarBuilder) add(r *Request, name, value []byte) error {
	if len(r.exemplarLabels) == cap(r.exemplarLabels) {
		r.before.exemplarLabels += x.start
		if err := move(r, &r.exemplarLabels, &r.marks.exemplarLabels, &x.start, 1); err != nil {
			return err
		}
	}
	r.exemplarLabels = append(r.exemplarLabels, series.Label{Name: name, Value: value})
	return nil
}

var (
	errExemplarSymbols   = errors.New("exemplar: its labels refer to symbols that the request does not have, or end in the middle of a label")
	errExemplarUTF8      = errors.New("exemplar: a label name or value is not UTF-8")
	errExemplarName      = errors.New("exemplar: a label without a name")
	errExemplarDuplicate = errors.New("exemplar: a label name occurs twice")
)

// finish puts the exemplar among those of the request, or returns what is wrong with its labels.
func (x *exemplarBuilder) finish(r *Request) error {
	if x.badRef || x.hasHalf {
		return errExemplarSymbols
	}
	ls := r.exemplarLabels[x.start:]
	for _, l := range ls {
		if !validText(l.Name) || !validText(l.Value) {
			return errExemplarUTF8
		}
		if len(l.Name) == 0 {
			return errExemplarName
		}
	}
	kept, twice := sortLabels(ls)
	if twice {
		return errExemplarDuplicate
	}
	r.exemplarLabels = drop(r.exemplarLabels, x.start+len(kept))
	n := len(r.exemplarLabels)
	e := series.Exemplar{Value: x.value, TimeMs: x.timeMs}
	if n > x.start {
		e.Labels = r.exemplarLabels[x.start:n:n]
	}
	r.exemplars = append(r.exemplars, e)
	return nil
}
