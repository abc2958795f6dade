// SPDX-License-Identifier: Apache-2.0

// Package remotewrite turns the payload of a write request, Prometheus remote write 1.0 or 2.0, into series that are
// valid in Prometheus' terms, and accounts for what is not. Storing them is left to others, and so is everything that
// depends on a store.
//
// The messages are read straight from the wire into slices that are used again and again: no message is built, and no
// label is copied.
package remotewrite

import (
	"errors"
	"fmt"
	"sync"

	"github.com/golang/snappy"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// Message is the type of a message.
type Message uint8

// The messages.
const (
	// V1 is prometheus.WriteRequest.
	V1 Message = iota + 1
	// V2 is io.prometheus.write.v2.Request, release candidates 3 and 4.
	V2
)

// Options say what is accepted beyond what Prometheus itself demands.
type Options struct {
	// MaxDecompressedBytes bounds a message after decompression.
	MaxDecompressedBytes int
	// MaxSamples bounds the series and the samples of a message; 20 times as many labels and symbols are accepted. The
	// smallest entries take two bytes on the wire and a hundred in memory.
	MaxSamples int
	// MaxTimeMs is the last timestamp that can be stored.
	MaxTimeMs int64
	// MaxMetricNameBytes rejects series with a longer metric name; 0 accepts all.
	MaxMetricNameBytes int
	// RejectNonFinite rejects samples that are NaN, staleness markers included, or infinite.
	RejectNonFinite bool
}

// Errors of a payload that is refused whole. They are wrapped with what was found.
var (
	// ErrCorrupt says that a payload is not what it claims to be.
	ErrCorrupt = errors.New("corrupt payload")
	// ErrTooLarge says that a message is over MaxDecompressedBytes.
	ErrTooLarge = errors.New("message too large")
	// ErrTooMany says that a message has more entries than MaxSamples allows.
	ErrTooMany = errors.New("too many entries")
)

// Decoder decodes messages. It is safe for concurrent use.
type Decoder struct {
	opts Options
	hash *series.Hasher
	pool sync.Pool
}

// NewDecoder returns a decoder.
func NewDecoder(o Options, h *series.Hasher) *Decoder {
	d := &Decoder{opts: o, hash: h}
	d.pool.New = func() any { return &Request{decoder: d} }
	return d
}

// Request is a decoded message. Release it when its series are no longer needed.
type Request struct {
	// Series are the valid ones with at least one sample.
	Series []series.Series

	decoder *Decoder
	plain   []byte // decompressed payload
	// borrowed: labels and symbols point into a payload that was not compressed, which must not outlive its request.
	borrowed bool
	labels   []series.Label
	samples  []series.Sample
	// bounds are the places of Series[i] in labels and samples while those may still move.
	bounds  []bounds
	symbols []symbol
	account *ledger.Account
}

type bounds struct{ labels, labelsEnd, samples, samplesEnd int }

// maxPooledBytes is the largest buffer that is kept for the next request: one huge request must not pin its memory.
const maxPooledBytes = 8 << 20

// Release gives the request's memory back. Nothing obtained from it may be used afterwards.
func (r *Request) Release() {
	if cap(r.plain) > maxPooledBytes || cap(r.labels) > maxPooledBytes/48 || cap(r.samples) > maxPooledBytes/16 || cap(r.symbols) > maxPooledBytes/40 {
		return
	}
	if r.borrowed {
		clear(r.labels[:cap(r.labels)])
		clear(r.symbols[:cap(r.symbols)])
	}
	r.account = nil
	r.decoder.pool.Put(r)
}

// maxRatio is more than snappy's block format can compress: its densest element has 3 bytes for 64. A few bytes that
// claim to be megabytes get no memory.
const maxRatio = 22

// DecodedBytes returns how large a payload becomes by its own account, without decompressing it.
func DecodedBytes(payload []byte, compressed bool) (int, error) {
	if !compressed {
		return len(payload), nil
	}
	n, err := snappy.DecodedLen(payload)
	if err != nil {
		return 0, fmt.Errorf("%w: snappy block header: %w", ErrCorrupt, err)
	}
	if n > len(payload)*maxRatio {
		return 0, fmt.Errorf("%w: snappy block of %d bytes claims to hold %d", ErrCorrupt, len(payload), n)
	}
	return n, nil
}

// Decode decodes a payload, snappy's block format when compressed, and accounts for what it brings in a. What is invalid
// is rejected there and missing from Series; nothing is stored or deferred yet. The payload must not change until the
// request is released.
//
// The error is ErrCorrupt, ErrTooLarge or ErrTooMany, wrapped; a is then of no use.
func (d *Decoder) Decode(m Message, compressed bool, payload []byte, a *ledger.Account) (*Request, error) {
	n, err := DecodedBytes(payload, compressed)
	if err != nil {
		return nil, err
	}
	if n > d.opts.MaxDecompressedBytes {
		return nil, fmt.Errorf("%w: %d bytes decompressed, the limit is %d", ErrTooLarge, n, d.opts.MaxDecompressedBytes)
	}
	r := d.pool.Get().(*Request)
	r.Series, r.labels, r.samples, r.bounds, r.symbols = r.Series[:0], r.labels[:0], r.samples[:0], r.bounds[:0], r.symbols[:0]
	r.account, r.borrowed = a, !compressed
	if err := r.decode(m, compressed, payload); err != nil {
		r.Release()
		return nil, err
	}
	return r, nil
}

func (r *Request) decode(m Message, compressed bool, payload []byte) error {
	if compressed {
		// The block format states its length first, and a decoder that is given room for exactly that fails on
		// anything else: the limit above holds after decompression too.
		out, err := snappy.Decode(r.plain[:cap(r.plain)], payload)
		if err != nil {
			return fmt.Errorf("%w: snappy: %w", ErrCorrupt, err)
		}
		r.plain, payload = out, out
	}
	var err error
	if m == V2 {
		err = r.decodeV2(payload)
	} else {
		err = r.decodeV1(payload)
	}
	if err != nil {
		return err
	}
	for i, b := range r.bounds {
		r.Series[i].Labels = r.labels[b.labels:b.labelsEnd:b.labelsEnd]
		r.Series[i].Samples = r.samples[b.samples:b.samplesEnd:b.samplesEnd]
	}
	return nil
}

// checkCounts refuses messages whose entries would take far more memory than their bytes. It is asked after every
// append, so no slice outgrows its bound.
func (r *Request) checkCounts(seriesSeen int) error {
	limit := r.decoder.opts.MaxSamples
	if seriesSeen <= limit && len(r.samples) <= limit && len(r.labels) <= labelsPerSample*limit && len(r.symbols) <= labelsPerSample*limit {
		return nil
	}
	return fmt.Errorf("%w: more than %d series or samples, or %d labels or symbols", ErrTooMany, limit, labelsPerSample*limit)
}

// labelsPerSample relates the bound on labels to that on samples.
const labelsPerSample = 20
