// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bytes"

	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// symbol is a string of a message, with what has to be known of it, found once for all series that use it.
type symbol struct {
	text []byte
	hash series.Hash
	// after is one more than the number of a symbol that sorts before this one, 0 when none is known: label names follow
	// each other in the same order in one series after the other.
	after uint32
	flags symbolFlags
}

type symbolFlags uint8

const (
	symbolEmpty   symbolFlags = 1 << iota
	symbolInvalid             // not UTF-8
)

func newSymbol(hash *series.Hasher, text []byte) symbol {
	s := symbol{text: text, hash: hash.Text(text)}
	if len(text) == 0 {
		s.flags = symbolEmpty
	} else if !validText(text) {
		s.flags = symbolInvalid
	}
	return s
}

// decodeV2 reads an io.prometheus.write.v2.Request: 4 symbols, 5 timeseries. Symbols may come after the series that use
// them, so all are read first.
func (r *Request) decodeV2(message []byte) error {
	seen := 0
	in := reader{b: message}
	for in.more() {
		field, wire := in.key()
		switch field {
		case 4:
			if !in.want(wire, wireBytes) {
				break
			}
			if len(r.symbols) == cap(r.symbols) {
				if err := grow(r, &r.symbols, &r.marks.symbols); err != nil {
					return err
				}
			}
			r.symbols = append(r.symbols, newSymbol(r.decoder.hash, in.bytes()))
		case 5:
			if in.want(wire, wireBytes) {
				in.bytes()
				seen++
			}
		default:
			in.skip(wire)
		}
		if err := r.checkCounts(seen); err != nil {
			return err
		}
	}
	if in.err != nil {
		return in.err
	}
	in = reader{b: message}
	for in.more() {
		field, wire := in.key()
		if field != 5 {
			in.skip(wire)
			continue
		}
		if err := r.seriesV2(in.bytes()); err != nil {
			return err
		}
	}
	return in.err
}

// seriesV2 reads an io.prometheus.write.v2.TimeSeries: 1 labels_refs, 2 samples, 3 histograms, 4 exemplars, 5 metadata,
// and 6, the created timestamp of release candidate 3, which later moved to each sample.
func (r *Request) seriesV2(message []byte) error {
	s, err := r.newSeries()
	if err != nil {
		return err
	}
	in := reader{b: message}
	for in.more() {
		field, sub := in.shortBytes(5)
		if field == 0 {
			var wire int
			field, wire = in.key()
			switch {
			case field == 1 && wire == wireVarint: // not packed, which a parser must accept too
				s.ref(r, in.varint())
				if err := r.checkCounts(0); err != nil {
					return err
				}
				continue
			case field == 6 && wire == wireVarint:
				s.created = int64(in.varint())
				continue
			case field < 1 || field > 5:
				in.skip(wire)
				continue
			case !in.want(wire, wireBytes):
				continue
			}
			if sub = in.bytes(); in.err != nil {
				break
			}
		}
		var err error
		switch field {
		case 1:
			err = s.refs(r, sub)
		case 2:
			var sample series.Sample
			if sample, err = sampleFields(sub, 3); err != nil {
				break
			}
			if sample.StartMs != 0 {
				s.starts++
			}
			err = s.sample(r, sample)
		case 3:
			err = r.histogram(&s, sub, V2)
		case 4:
			err = r.exemplar(&s, sub, V2)
		default:
			err = s.metadata.read(sub)
		}
		if err == nil && r.before.samples+len(r.samples)+r.entries > r.decoder.opts.MaxSamples {
			err = r.tooMany()
		}
		if err != nil {
			return err
		}
	}
	if in.err != nil {
		return in.err
	}
	return s.finish(r)
}

// ref adds half a label.
func (s *builder) ref(r *Request, ref uint64) {
	ref = uint64(uint32(ref))
	if ref >= uint64(len(r.symbols)) {
		s.badRef = true
		s.hasHalf = !s.hasHalf
		return
	}
	if !s.hasHalf {
		s.half, s.hasHalf = uint32(ref), true
		return
	}
	s.hasHalf = false
	if !s.badRef {
		s.add(r, &r.symbols[s.half], &r.symbols[ref])
	}
}

// refs adds labels, packed as senders pack them.
func (s *builder) refs(r *Request, b []byte) error {
	in := reader{b: b}
	for in.more() {
		if n := len(r.labels) + len(b)/2; !s.hasHalf && n-s.labels <= maxLabels && r.before.labels+n <= labelsPerSample*r.decoder.opts.MaxSamples {
			in.i = s.usual(r, b, in.i)
			if !in.more() {
				break
			}
		}
		s.ref(r, in.varint())
		if err := r.checkCounts(0); err != nil {
			return err
		}
	}
	return in.err
}

// usual adds labels as long as there is nothing odd about them, and returns where that ends: their references are numbers
// of one or two bytes, which the message has, and neither name nor value is empty or invalid. Most of the time that
// decoding takes is spent here.
func (s *builder) usual(r *Request, b []byte, i int) int {
	symbols, labels := r.symbols, r.labels
	var hash series.Hash
	last := uint32(0) // last is one more than the number of the name before, 0 when it is not known
	for i+4 <= len(b) || i+2 <= len(b) && b[i]|b[i+1] < 0x80 {
		k := i + 2
		n := uint32(b[i])
		v := uint32(b[i+1])
		if n >= 0x80 {
			if v >= 0x80 {
				break
			}
			n = n&0x7f | v<<7
			v = uint32(b[i+2])
			k = i + 3
		}
		if v >= 0x80 {
			if k >= len(b) || b[k] >= 0x80 {
				break
			}
			v = v&0x7f | uint32(b[k])<<7
			k++
		}
		if n >= uint32(len(symbols)) || v >= uint32(len(symbols)) {
			break
		}
		name, value := &symbols[n], &symbols[v]
		if name.flags|value.flags != 0 {
			break
		}
		if last == 0 {
			if len(labels) > s.labels && bytes.Compare(labels[len(labels)-1].Name, name.text) >= 0 {
				s.unsorted = true
			}
		} else if name.after != last {
			if bytes.Compare(symbols[last-1].text, name.text) >= 0 {
				s.unsorted = true
			} else {
				name.after = last
			}
		}
		last = n + 1
		hash.Add(series.Pair(name.hash, value.hash))
		labels = append(labels, series.Label{Name: name.text, Value: value.text})
		i = k
	}
	s.hash.Add(hash)
	r.labels = labels
	return i
}

// metadataRefs are the Metadata of a series of 2.0.
type metadataRefs struct {
	kind       prompb.MetricMetadata_MetricType
	help, unit uint32
}

// read reads a Metadata message: 1 type, 3 help_ref, 4 unit_ref. Senders add an empty one to every series.
func (m *metadataRefs) read(message []byte) error {
	in := reader{b: message}
	for in.more() {
		field, wire := in.key()
		if field != 1 && field != 3 && field != 4 {
			in.skip(wire)
			continue
		}
		if !in.want(wire, wireVarint) {
			break
		}
		switch v := in.varint(); field {
		case 1:
			m.kind = prompb.MetricMetadata_MetricType(v)
		case 3:
			m.help = uint32(v)
		default:
			m.unit = uint32(v)
		}
	}
	return in.err
}

// metadata adds the metadata of a series of 2.0. Its metric has this name, unless the series is invalid for a reason.
func (r *Request) metadata(refs *metadataRefs, name []byte, reason ledger.Reason, ls []series.Label) error {
	m := series.Metadata{Name: name, Type: refs.kind}
	help, unit := r.symbol(refs.help), r.symbol(refs.unit)
	valid := help != nil && unit != nil
	if valid {
		m.Help, m.Unit = help.text, unit.text
		valid = (help.flags|unit.flags)&symbolInvalid == 0
	}
	if reason != "" {
		if m.Type != 0 || len(m.Help)+len(m.Unit) > 0 || !valid {
			r.account.Receive(ledger.Metadata, 1)
			r.account.Reject(ledger.Metadata, reason, 1, func() string { return explain(reason, ls) })
		}
		return nil
	}
	if help == nil || unit == nil {
		r.account.Receive(ledger.Metadata, 1)
		r.account.Reject(ledger.Metadata, ledger.InvalidSymbols, 1, func() string {
			return "metadata of " + series.Quote(name) + ": its help or unit refers to symbols that the request does not have"
		})
		return nil
	}
	if valid {
		// The same symbol again?
		if last := r.name.text; len(last) != len(name) || &last[0] != &name[0] {
			r.name = symbol{text: name, hash: r.decoder.hash.Text(name)}
		}
		m.Hash = series.MetadataHash(r.name.hash, help.hash, unit.hash, m.Type)
	}
	return r.addMetadata(&m, valid)
}

// symbol returns a symbol, nil when the message does not have it.
func (r *Request) symbol(ref uint32) *symbol {
	if int(ref) < len(r.symbols) {
		return &r.symbols[ref]
	}
	return nil
}
