// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// decodeV1 reads a prometheus.WriteRequest (prompb/remote.proto): 1 timeseries, 3 metadata.
func (r *Request) decodeV1(message []byte) error {
	if r.seen == nil {
		r.seen = new(seenLabels)
	}
	in := reader{b: message}
	seen, metadata := 0, 0
	for in.more() {
		switch field, wire := in.key(); field {
		case 1:
			if !in.want(wire, wireBytes) {
				break
			}
			seen++
			if err := r.seriesV1(in.bytes(), seen); err != nil {
				return err
			}
		case 3:
			if !in.want(wire, wireBytes) {
				break
			}
			if metadata++; metadata > r.decoder.opts.MaxSamples {
				return r.tooMany()
			}
			if err := r.metadataV1(in.bytes()); err != nil {
				return err
			}
		default:
			in.skip(wire)
		}
	}
	return in.err
}

// seriesV1 reads the series with this number, a prometheus.TimeSeries (prompb/types.proto): 1 labels, 2 samples,
// 3 exemplars, 4 histograms.
func (r *Request) seriesV1(message []byte, number int) error {
	if err := r.checkCounts(number); err != nil {
		return err
	}
	s, err := r.newSeries()
	if err != nil {
		return err
	}
	in := reader{b: message}
	var before *seenLabel // the label before, if it was seen
	for in.more() {
		field, wire := in.key()
		if field < 1 || field > 4 {
			in.skip(wire)
			continue
		}
		if !in.want(wire, wireBytes) {
			break
		}
		sub := in.bytes()
		if in.err != nil {
			break
		}
		var err error
		switch field {
		case 1:
			before, err = r.labelV1(&s, sub, before)
		case 2:
			var sample series.Sample
			if sample, err = sampleFields(sub, 2); err == nil {
				err = s.sample(r, sample)
			}
		case 3:
			err = r.exemplar(&s, sub, V1)
		case 4:
			err = r.histogram(&s, sub, V1)
		}
		if err != nil {
			return err
		}
		if err := r.checkCounts(number); err != nil {
			return err
		}
	}
	if in.err != nil {
		return in.err
	}
	return s.finish(r)
}

// seenLabels are labels of the message as their bytes were. In 1.0 each series brings all of its labels, and most of them
// are those of other series, too: comparing is cheaper than reading and hashing again. A label sits where its bytes put
// it, the last one there stays.
type seenLabels struct{ at [512]seenLabel }

type seenLabel struct {
	raw     []byte
	label   series.Label
	pair    series.Hash // of its hash
	version uint64      // counts what was kept here
	// after is a label whose name sorts before this one's, as it was at that version.
	after        *seenLabel
	afterVersion uint64
}

// place returns where a label with these bytes would be: its beginning and its end tell labels apart well enough.
func (l *seenLabels) place(raw []byte) *seenLabel {
	n := len(raw)
	if n < 8 {
		return nil
	}
	h := (binary.LittleEndian.Uint64(raw[n-8:]) ^ uint64(n)<<56 ^ uint64(raw[2])<<40) * 0x9e3779b97f4a7c15
	h ^= binary.LittleEndian.Uint64(raw)
	return &l.at[h*0xe7037ed1a0b428db>>(64-9)]
}

// labelV1 reads a label and adds it. It returns where the label is kept, nil if nowhere.
func (r *Request) labelV1(s *builder, raw []byte, before *seenLabel) (*seenLabel, error) {
	if s.full(r) {
		s.labelsCut = true
		_, _, err := labelFields(raw)
		return nil, err
	}
	place := r.seen.place(raw)
	if place == nil || !bytes.Equal(place.raw, raw) {
		name, value, err := labelFields(raw)
		if err != nil {
			return nil, err
		}
		hash := r.decoder.hash
		n, v := newSymbol(hash, name), newSymbol(hash, value)
		if place == nil || n.flags|v.flags != 0 {
			s.add(r, &n, &v)
			return nil, nil
		}
		*place = seenLabel{
			raw: raw, label: series.Label{Name: name, Value: value}, pair: series.Pair(n.hash, v.hash),
			version: place.version + 1,
		}
	}
	if before == nil || place.after != before || place.afterVersion != before.version {
		if k := len(r.labels); k > s.labels && bytes.Compare(r.labels[k-1].Name, place.label.Name) >= 0 {
			s.unsorted = true
		} else if before != nil {
			place.after, place.afterVersion = before, before.version
		}
	}
	s.hash.Add(place.pair)
	r.labels = append(r.labels, place.label)
	return place, nil
}

// labelFields reads a prometheus.Label: 1 name, 2 value.
func labelFields(message []byte) (name, value []byte, err error) {
	in := reader{b: message}
	for in.more() {
		switch field, wire := in.key(); field {
		case 1:
			if in.want(wire, wireBytes) {
				name = in.bytes()
			}
		case 2:
			if in.want(wire, wireBytes) {
				value = in.bytes()
			}
		default:
			in.skip(wire)
		}
	}
	return name, value, in.err
}

// sampleFields reads a Sample of either message: 1 value, 2 timestamp, and, where fields is 3, 3 start timestamp.
func sampleFields(message []byte, fields int) (s series.Sample, err error) {
	in := reader{b: message}
	// The usual order first.
	if len(message) > 10 && message[0] == 1<<3|wireFixed64 && message[9] == 2<<3|wireVarint {
		s.Value = math.Float64frombits(binary.LittleEndian.Uint64(message[1:]))
		in.i = 10
		s.TimeMs = int64(in.varint())
	}
	for in.more() {
		field, wire := in.key()
		switch {
		case field == 1:
			if in.want(wire, wireFixed64) {
				s.Value = math.Float64frombits(in.fixed64())
			}
		case field == 2:
			if in.want(wire, wireVarint) {
				s.TimeMs = int64(in.varint())
			}
		case field == 3 && fields == 3:
			if in.want(wire, wireVarint) {
				s.StartMs = int64(in.varint())
			}
		default:
			in.skip(wire)
		}
	}
	return s, in.err
}

// metadataV1 reads a prometheus.MetricMetadata: 1 type, 2 metric_family_name, 4 help, 5 unit.
func (r *Request) metadataV1(message []byte) error {
	var m series.Metadata
	in := reader{b: message}
	for in.more() {
		field, wire := in.key()
		switch field {
		case 1:
			if in.want(wire, wireVarint) {
				m.Type = prompb.MetricMetadata_MetricType(in.varint())
			}
		case 2, 4, 5:
			if !in.want(wire, wireBytes) {
				break
			}
			switch text := in.bytes(); field {
			case 2:
				m.Name = text
			case 4:
				m.Help = text
			default:
				m.Unit = text
			}
		default:
			in.skip(wire)
		}
	}
	if in.err != nil {
		return in.err
	}
	hash := r.decoder.hash
	m.Hash = series.MetadataHash(hash.Text(m.Name), hash.Text(m.Help), hash.Text(m.Unit), m.Type)
	return r.addMetadata(&m, validText(m.Name) && validText(m.Help) && validText(m.Unit))
}
