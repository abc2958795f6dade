// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
)

// symbol is a string of a message, with what has to be known of it, found once for all series that use it.
type symbol struct {
	text    []byte
	hash    uint64
	invalid bool // not UTF-8
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
			text := in.bytes()
			r.symbols = append(r.symbols, symbol{text, r.decoder.hash.Text(text), !validText(text)})
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
	s := r.newSeries()
	in := reader{b: message}
	for in.more() {
		switch field, wire := in.key(); field {
		case 1:
			if wire == wireVarint { // not packed, which a parser must accept too
				s.ref(r, in.varint())
				if err := r.checkCounts(0); err != nil {
					return err
				}
				break
			}
			if !in.want(wire, wireBytes) {
				break
			}
			refs := reader{b: in.bytes()}
			for refs.more() {
				s.ref(r, refs.varint())
				if err := r.checkCounts(0); err != nil {
					return err
				}
			}
			if refs.err != nil {
				return refs.err
			}
		case 2:
			if !in.want(wire, wireBytes) {
				break
			}
			sample, startMs, err := sampleFields(in.bytes())
			if err != nil {
				return err
			}
			if startMs != 0 {
				s.starts++
			}
			r.samples = append(r.samples, sample)
			if err := r.checkCounts(0); err != nil {
				return err
			}
		case 3:
			if in.want(wire, wireBytes) {
				start, err := histogramHasStart(in.bytes())
				if err != nil {
					return err
				}
				if start {
					s.starts++
				}
				s.histograms++
			}
		case 4:
			if in.want(wire, wireBytes) {
				in.bytes()
				s.exemplars++
			}
		case 5:
			if in.want(wire, wireBytes) {
				has, err := metadataV2(in.bytes())
				if err != nil {
					return err
				}
				if has {
					s.metadata++
				}
			}
		case 6:
			if wire == wireVarint {
				if in.varint() != 0 {
					s.starts++
				}
				break
			}
			in.skip(wire)
		default:
			in.skip(wire)
		}
	}
	if in.err != nil {
		return in.err
	}
	s.finish(r)
	return nil
}

// histogramHasStart looks for field 17, the start timestamp, of a Histogram.
func histogramHasStart(message []byte) (bool, error) {
	in := reader{b: message}
	has := false
	for in.more() {
		field, wire := in.key()
		if field == 17 && wire == wireVarint {
			has = in.varint() != 0
			continue
		}
		in.skip(wire)
	}
	return has, in.err
}

// metadataV2 tells whether a Metadata message says anything: senders add an empty one to every series.
func metadataV2(message []byte) (bool, error) {
	in := reader{b: message}
	has := false
	for in.more() {
		field, wire := in.key()
		if (field == 1 || field == 3 || field == 4) && wire == wireVarint {
			has = in.varint() != 0 || has
			continue
		}
		in.skip(wire)
	}
	return has, in.err
}

func (r *Request) unsupported(k ledger.Kind, n int) {
	r.account.Receive(k, n)
	r.account.Reject(k, ledger.Unsupported, n, nil)
}
