// SPDX-License-Identifier: Apache-2.0

package promschema

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/timestream"
)

// MaxHistogramPieces is how many records one histogram may take.
const MaxHistogramPieces = 3

// maxHistogramBytes is how large a histogram may be before compression. 160 buckets, Prometheus' usual bound, take less
// than 2 KiB. It bounds what a reader has to make room for.
const maxHistogramBytes = 64 << 10

// Beginnings of the text of a histogram: as it is, compressed, and compressed in two or three pieces.
const (
	rawText = "h1:"
	zstdOne = "h2:"
	zstdTwo = "h2/2:"
	zstdAll = "h2/3:"
)

// attributeBytes is what an attribute that is no VARCHAR counts in a record.
const attributeBytes = 8

// TooLargeError says that something does not fit a record.
type TooLargeError struct {
	// What is too large, for people: "the histogram".
	What string
	// Size and Limit are in bytes of what would be stored.
	Size, Limit int
}

// Error says what is too large, its size and the limit.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s takes %d bytes as stored in Timestream, the limit is %d", e.What, e.Size, e.Limit)
}

// errSpans says that a histogram is not one.
var errSpans = errors.New("the spans of the histogram are not as long as its buckets are many")

// HistogramEncoder turns native histograms into records. It is safe for concurrent use, holds no other resources than
// memory, and one serves a whole process.
type HistogramEncoder struct {
	zstd    *zstd.Encoder
	scratch sync.Pool // *scratch
}

// scratch is room for one histogram on its way.
type scratch struct{ proto, packed, text []byte }

// NewHistogramEncoder returns an encoder.
func NewHistogramEncoder() *HistogramEncoder {
	// One level and one encoder, so that equal histograms have equal texts: a histogram written twice must be stored once.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(maxHistogramBytes),
		zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true), zstd.WithEncoderCRC(true))
	if err != nil {
		panic(err) // only options can be wrong, and these are constants
	}
	return &HistogramEncoder{zstd: e, scratch: sync.Pool{New: func() any { return new(scratch) }}}
}

// Values returns what h is stored as: one to three values for records of SampleFamily, SampleFamily2 and SampleFamily3, in
// this order, all at the histogram's time. Its own timestamp is not part of them. startMs is the start timestamp of the sample in
// milliseconds since the epoch, 0 when there is none. Equal histograms have equal values.
//
// The text in HistogramAttribute is `h1:` and the serialised prometheus.Histogram (AppendHistogram) in base64 without
// padding. Where that does not fit beside the other attributes it is `h2:` and the base64 of it compressed by
// zstd with a checksum. Where that does not fit either, it begins with `h2/2:` or `h2/3:` instead, and goes on in
// HistogramAttribute2 and HistogramAttribute3, which have no beginning of their own. A set of pieces that do not belong together fails
// the checksum.
//
// The error is a *TooLargeError, or says that h is no histogram.
func (e *HistogramEncoder) Values(h *prompb.Histogram, startMs int64) ([]Value, error) {
	if !spansMatch(h) {
		return nil, errSpans
	}
	s := e.scratch.Get().(*scratch)
	defer e.scratch.Put(s)
	s.proto = AppendHistogram(s.proto[:0], h, 0)
	if n := len(s.proto); n > maxHistogramBytes {
		s.proto = nil // not worth keeping
		return nil, &TooLargeError{What: "the histogram before compression", Size: n, Limit: maxHistogramBytes}
	}

	// All texts of the first record are cut from one string.
	kind := histogramKind(h)
	text, ok := AppendPlain(s.text[:0], histogramCount(h))
	count := len(text)
	room := timestream.MaxValueBytes - len(kind) - attributeBytes // the schema
	attributes := 3
	if ok {
		room, attributes = room-attributeBytes, attributes+1
	}
	text, ok = AppendPlain(text, h.Sum)
	sum := len(text)
	if ok {
		room, attributes = room-attributeBytes, attributes+1
	}
	text = strconv.AppendInt(text, int64(h.Schema), 10)
	schema := len(text)
	if startMs != 0 {
		text = strconv.AppendInt(text, startMs, 10)
		room, attributes = room-attributeBytes, attributes+1
	}
	start := len(text)

	const more = timestream.MaxValueBytes
	data, begin := s.proto, rawText
	if size := len(rawText) + base64.RawStdEncoding.EncodedLen(len(data)); size > room {
		s.packed = e.zstd.EncodeAll(s.proto, s.packed[:0])
		data = s.packed
		n := base64.RawStdEncoding.EncodedLen(len(data))
		switch {
		case len(zstdOne)+n <= room:
			begin = zstdOne
		case len(zstdTwo)+n <= room+more:
			begin = zstdTwo
		case len(zstdAll)+n <= room+(MaxHistogramPieces-1)*more:
			begin = zstdAll
		default:
			s.text = text
			return nil, &TooLargeError{What: "the compressed histogram", Size: len(zstdAll) + n, Limit: room + (MaxHistogramPieces-1)*more}
		}
	}
	text = append(text, begin...)
	text = base64.RawStdEncoding.AppendEncode(text, data)
	s.text = text
	all := string(text)
	rest := all[start:]

	first := make([]Attribute, 0, attributes+MaxHistogramPieces-1)
	piece := rest[:min(len(rest), room)]
	first = append(first, Attribute{HistogramAttribute, piece, Varchar})
	if count > 0 {
		first = append(first, Attribute{CountAttribute, all[:count], Double})
	}
	if sum > count {
		first = append(first, Attribute{SumAttribute, all[count:sum], Double})
	}
	first = append(first, Attribute{SchemaAttribute, all[sum:schema], BigInt}, Attribute{KindAttribute, kind, Varchar})
	if start > schema {
		first = append(first, Attribute{StartAttribute, all[schema:start], BigInt})
	}
	values := make([]Value, 0, MaxHistogramPieces)
	values = append(values, Value{Attributes: first[:len(first):len(first)]})
	rest = rest[len(piece):]
	for _, name := range [...]string{HistogramAttribute2, HistogramAttribute3} {
		if rest == "" {
			break
		}
		piece = rest[:min(len(rest), more)]
		rest = rest[len(piece):]
		first = append(first, Attribute{name, piece, Varchar})
		values = append(values, Value{Attributes: first[len(first)-1 : len(first) : len(first)]})
	}
	return values, nil
}

// histogramKind names a histogram for people who read the table.
func histogramKind(h *prompb.Histogram) string {
	switch {
	case value.IsStaleNaN(h.Sum):
		return "stale"
	case h.ResetHint == prompb.Histogram_GAUGE:
		return "gauge histogram"
	}
	return "histogram"
}

func histogramCount(h *prompb.Histogram) float64 {
	if h.IsFloatHistogram() {
		return h.GetCountFloat()
	}
	return float64(h.GetCountInt())
}

// spansMatch tells whether spans and buckets go together. A histogram for which they do not has no meaning, and is dangerous:
// spans may claim billions of buckets.
func spansMatch(h *prompb.Histogram) bool {
	positive, negative := len(h.PositiveDeltas), len(h.NegativeDeltas)
	if h.IsFloatHistogram() {
		positive, negative = len(h.PositiveCounts), len(h.NegativeCounts)
	}
	return spansLength(h.PositiveSpans) == uint64(positive) && spansLength(h.NegativeSpans) == uint64(negative)
}

func spansLength(spans []prompb.BucketSpan) uint64 {
	n := uint64(0)
	for i := range spans {
		n += uint64(spans[i].Length)
	}
	return n
}

// HistogramPieces returns how many pieces a histogram has, by the text in HistogramAttribute. The error says that this
// build does not know the text.
func HistogramPieces(first string) (int, error) {
	switch {
	case strings.HasPrefix(first, rawText), strings.HasPrefix(first, zstdOne):
		return 1, nil
	case strings.HasPrefix(first, zstdTwo):
		return 2, nil
	case strings.HasPrefix(first, zstdAll):
		return 3, nil
	}
	return 0, fmt.Errorf("histogram %.8q…: want it to begin with %s or %s", first, rawText, zstdOne)
}

// HistogramDecoder reads histograms back. It is safe for concurrent use, holds no other resources than memory, and one
// serves a whole process.
type HistogramDecoder struct {
	zstd    *zstd.Decoder
	scratch sync.Pool // *scratch
}

// NewHistogramDecoder returns a decoder.
func NewHistogramDecoder() *HistogramDecoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxHistogramBytes), zstd.WithDecoderMaxWindow(maxHistogramBytes))
	if err != nil {
		panic(err) // only options can be wrong, and these are constants
	}
	return &HistogramDecoder{zstd: d, scratch: sync.Pool{New: func() any { return new(scratch) }}}
}

// Decode returns the histogram of these pieces, as many as HistogramPieces says of the first. Its timestamp is 0. The error says
// that something is missing or damaged.
func (d *HistogramDecoder) Decode(pieces ...string) (*prompb.Histogram, error) {
	if len(pieces) == 0 {
		return nil, errors.New("histogram: no pieces")
	}
	n, err := HistogramPieces(pieces[0])
	if err != nil {
		return nil, err
	}
	if n != len(pieces) {
		return nil, fmt.Errorf("histogram: %d pieces of %d", len(pieces), n)
	}
	s := d.scratch.Get().(*scratch)
	defer d.scratch.Put(s)
	s.text = s.text[:0]
	for _, p := range pieces {
		if len(p) > timestream.MaxValueBytes {
			return nil, fmt.Errorf("histogram: a piece of %d bytes", len(p))
		}
		s.text = append(s.text, p...)
	}
	begin := len(rawText)
	if n > 1 {
		begin = len(zstdAll)
	}
	if s.packed, err = base64.RawStdEncoding.Strict().AppendDecode(s.packed[:0], s.text[begin:]); err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	data := s.packed
	if s.text[1] != rawText[1] {
		if s.proto, err = d.zstd.DecodeAll(s.packed, s.proto[:0]); err != nil {
			return nil, fmt.Errorf("histogram: %w", err)
		}
		data = s.proto
	}
	h := &prompb.Histogram{}
	if err := h.Unmarshal(data); err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	h.Timestamp, h.XXX_unrecognized = 0, nil
	if !spansMatch(h) {
		return nil, errSpans
	}
	return h, nil
}
