// SPDX-License-Identifier: Apache-2.0

// Package remotewrite turns a message of Prometheus remote write 1.0 or 2.0 into series that are valid in Prometheus'
// terms, and accounts for what is not. Decompressing the message is left to others, so is storing the series, and so is
// everything that depends on a store.
//
// The messages are read straight from the wire into slices that are used again and again: no message is built, and no
// label is copied.
package remotewrite

import (
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/prometheus/prompb"

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
	// MaxSamples bounds the series of a message, its samples, histograms and exemplars together, and its metadata; 20 times
	// as many labels, symbols and entries of histograms (spans, buckets, bounds) are accepted. The smallest entries take two
	// bytes on the wire and hundreds in memory.
	MaxSamples int
	// MaxTimeMs is the last timestamp that can be stored.
	MaxTimeMs int64
	// MaxMetricNameBytes rejects series with a longer metric name; 0 accepts all.
	MaxMetricNameBytes int
	// RejectNonFinite rejects float samples that are NaN, staleness markers included, or infinite.
	RejectNonFinite bool
}

// Errors of a message that is refused whole. They are wrapped with what was found.
var (
	// ErrCorrupt says that a message is not what it claims to be.
	ErrCorrupt = errors.New("corrupt message")
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

// Request is a decoded message. Release it when nothing of it is needed any more.
type Request struct {
	// Series are the valid ones with at least one sample, histogram or exemplar.
	Series []series.Series
	// Metadata are the valid ones that say anything: one for each message of 1.0, and one for each series of 2.0 that has
	// some, so the same thing may be said many times.
	Metadata []series.Metadata

	decoder *Decoder
	account *ledger.Account
	room    func(int64) error
	// Memory of the series. What belongs to the series that is being read is at the end of each slice.
	labels         []series.Label
	samples        []series.Sample
	histograms     []series.Histogram
	exemplars      []series.Exemplar
	exemplarLabels []series.Label
	hist           histogramMemory
	faults         []fault // of the series that is being read

	symbols []symbol    // of 2.0
	name    symbol      // of 2.0: the last metric name with metadata; neighbours often share it
	seen    *seenLabels // of 1.0
	entries int         // histograms and exemplars so far, invalid ones too
	marks   lengths     // up to where earlier requests used the slices
	before  lengths     // what the series before have in arrays that were left behind
	left    int         // the bytes of all that is in such arrays
	scratch int         // the bytes to read the largest histogram
}

// fault is a histogram or exemplar that is invalid by itself. It is accounted for when the series is known to be valid.
type fault struct {
	kind   ledger.Kind
	reason ledger.Reason
	timeMs int64
	start  bool // it has a start timestamp
	why    error
}

// Decode decodes a message and accounts for what it brings in a. What is invalid is rejected there and missing from the
// request; nothing is stored or deferred yet. The message must not change until the request is released.
//
// room, unless nil, is asked before much memory is taken, with the bytes that the request will then hold in all, the message
// not counted.
//
// The error is ErrCorrupt or ErrTooMany, wrapped, or that of room; a is then of no use.
func (d *Decoder) Decode(m Message, message []byte, a *ledger.Account, room func(bytes int64) error) (*Request, error) {
	r := d.pool.Get().(*Request)
	r.Series, r.Metadata, r.labels, r.samples = r.Series[:0], r.Metadata[:0], r.labels[:0], r.samples[:0]
	r.histograms, r.exemplars, r.exemplarLabels = r.histograms[:0], r.exemplars[:0], r.exemplarLabels[:0]
	r.hist.reset()
	r.symbols, r.entries, r.account, r.room = r.symbols[:0], 0, a, room
	r.faults, r.before, r.left, r.scratch = r.faults[:0], lengths{}, 0, 0
	var err error
	if m == V2 {
		err = r.decodeV2(message)
	} else {
		err = r.decodeV1(message)
	}
	if err != nil {
		r.Release()
		return nil, err
	}
	return r, nil
}

// labelsPerSample relates the bound on labels, symbols and entries of histograms to that on samples.
const labelsPerSample = 20

// Bytes is what the request holds, the message not counted.
func (r *Request) Bytes() int64 { return int64(r.used()) }

// checkCounts refuses messages whose entries would take far more memory than their bytes. It is asked before or right
// after every append, so no slice outgrows its bound.
func (r *Request) checkCounts(seriesSeen int) error {
	limit := r.decoder.opts.MaxSamples
	if seriesSeen <= limit && r.before.samples+len(r.samples)+r.entries <= limit && len(r.Metadata) <= limit &&
		r.before.labels+len(r.labels) <= labelsPerSample*limit && r.before.exemplarLabels+len(r.exemplarLabels) <= labelsPerSample*limit &&
		len(r.symbols) <= labelsPerSample*limit {
		return nil
	}
	return r.tooMany()
}

func (r *Request) tooMany() error {
	limit := r.decoder.opts.MaxSamples
	return fmt.Errorf("%w: more than %d series, samples or metadata, or %d labels, symbols or entries of histograms", ErrTooMany, limit, labelsPerSample*limit)
}

// addMetadata adds metadata that says anything, or rejects it. It is not valid when its text is not.
func (r *Request) addMetadata(m *series.Metadata, valid bool) error {
	if m.Type == 0 && len(m.Help) == 0 && len(m.Unit) == 0 && valid {
		return nil
	}
	r.account.Receive(ledger.Metadata, 1)
	if m.Type < 0 || m.Type > prompb.MetricMetadata_STATESET {
		valid = false
	}
	if !valid || len(m.Name) == 0 {
		r.account.Reject(ledger.Metadata, ledger.InvalidMetadata, 1, func() string { return explainMetadata(m) })
		return nil
	}
	if len(r.Metadata) == cap(r.Metadata) {
		if err := grow(r, &r.Metadata, &r.marks.metadata); err != nil {
			return err
		}
	}
	r.Metadata = append(r.Metadata, *m)
	return nil
}
