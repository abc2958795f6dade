// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"math"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// decodeV1 reads a prometheus.WriteRequest (prompb/remote.proto): 1 timeseries, 3 metadata.
func (r *Request) decodeV1(message []byte) error {
	in := reader{b: message}
	seen := 0
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
			if in.want(wire, wireBytes) {
				in.bytes()
				r.unsupported(ledger.Metadata, 1)
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
	s := r.newSeries()
	in := reader{b: message}
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
		switch field {
		case 1:
			name, value, err := labelV1(sub)
			if err != nil {
				return err
			}
			hash := r.decoder.hash
			s.add(r, symbol{name, hash.Text(name), !validText(name)}, symbol{value, hash.Text(value), !validText(value)})
		case 2:
			sample, _, err := sampleFields(sub)
			if err != nil {
				return err
			}
			r.samples = append(r.samples, sample)
		case 3:
			s.exemplars++
		case 4:
			s.histograms++
		}
		if err := r.checkCounts(number); err != nil {
			return err
		}
	}
	if in.err != nil {
		return in.err
	}
	s.finish(r)
	return nil
}

// labelV1 reads a prometheus.Label: 1 name, 2 value.
func labelV1(message []byte) (name, value []byte, err error) {
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

// sampleFields reads a Sample of either message: 1 value, 2 timestamp, and in 2.0 3 start timestamp.
func sampleFields(message []byte) (s series.Sample, startMs int64, err error) {
	in := reader{b: message}
	for in.more() {
		switch field, wire := in.key(); field {
		case 1:
			if in.want(wire, wireFixed64) {
				s.Value = math.Float64frombits(in.fixed64())
			}
		case 2:
			if in.want(wire, wireVarint) {
				s.TimeMs = int64(in.varint())
			}
		case 3:
			if wire == wireVarint {
				startMs = int64(in.varint())
				break
			}
			in.skip(wire)
		default:
			in.skip(wire)
		}
	}
	return s, startMs, in.err
}
