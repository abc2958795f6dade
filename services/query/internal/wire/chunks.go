// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Tags of prometheus.ChunkedReadResponse, prometheus.ChunkedSeries and prometheus.Chunk.
const (
	responseSeries = 1<<3 | 2
	responseIndex  = 2 << 3
	seriesChunks   = 2<<3 | 2
	chunkMinTime   = 1 << 3
	chunkMaxTime   = 2 << 3
	chunkType      = 3 << 3
	chunkData      = 4<<3 | 2
)

const (
	// maxSamplesPerChunk is how many samples Prometheus puts into a chunk that it makes of samples
	// (storage.NewSeriesToChunkEncoder).
	maxSamplesPerChunk = 120
	// maxHistogramChunkBytes ends a chunk of histograms earlier: one of 120 wide ones would be megabytes in a frame that is
	// meant to end at one. Prometheus' head ends them at 1 KiB, so readers know chunks of any length.
	maxHistogramChunkBytes = 32 << 10
)

// Lengths of the headers that the encoder of a chunk begins with (tsdb/chunkenc: the number of samples, and flags for
// histograms). A chunk is empty when it has nothing else.
const (
	xorHeaderBytes       = 2
	histogramHeaderBytes = 3
)

// ChunkEncoder turns pieces of series into frames, each one serialised prometheus.ChunkedReadResponse: one series in one
// frame, because Prometheus' own client reads no more than the first (storage/remote, chunkedSeriesSet), its labels repeated in
// each of its frames, chunks in order of time, as much of a series in one frame as its length allows. It is that client too
// that makes two series of two frames, so a frame does not end before it must.
//
// Chunks are of the three encodings that every reader of the protocol knows: XOR, histograms and float histograms.
// Start timestamps have no place in them. (An encoding with start timestamps, XOR2, exists in Prometheus' storage; the
// protocol has neither a number for it nor a way to ask for it.)
//
// Reset hints of histograms become what the header of a chunk can say, as in Prometheus' storage: an explicit reset begins a
// chunk, so do gauge histograms among others, and whether there was a reset between two chunks is worked out.
//
// An encoder is not safe for concurrent use.
type ChunkEncoder struct {
	index    int64
	maxBytes int

	// The frame that is being filled: the labels of its series, its chunks so far, and how long these may get.
	labels []byte
	chunks []byte
	left   int

	// The chunk that is being filled, nil when there is none.
	chunk      chunkenc.Chunk
	app        chunkenc.Appender
	n          int
	minT, maxT int64
	// Chunks are used again. Of histograms there are two of each sort in turn: the first sample of a chunk is compared with
	// the last one of the chunk before, through its appender.
	xor    *chunkenc.XORChunk
	ints   [2]*chunkenc.HistogramChunk
	floats [2]*chunkenc.FloatHistogramChunk
	turn   int
	// The histogram that is being added.
	h                            histogram.Histogram
	fh                           histogram.FloatHistogram
	positiveSpans, negativeSpans []histogram.Span

	// Frames that are whole: their bytes one after the other, and where each ends.
	frames []byte
	ends   []int
}

// NewChunkEncoder returns an encoder of the answer to the query of that number in its request. A frame ends once its
// chunks and labels have maxFrameBytes; it is longer than that by at most one chunk.
func NewChunkEncoder(queryIndex int64, maxFrameBytes int) *ChunkEncoder {
	return &ChunkEncoder{index: queryIndex, maxBytes: maxFrameBytes, xor: chunkenc.NewXORChunk()}
}

// Add takes the next piece of the series before when it is Continued, else of a new one. It keeps nothing of it. The error
// says that a histogram is damaged; the encoder is of no use after it.
func (e *ChunkEncoder) Add(s series.Series) error {
	if !s.Continued {
		e.Finish()
		e.labels = AppendLabels(e.labels[:0], s.Labels)
		e.left = e.maxBytes - len(e.labels)
	}
	samples, hists := s.Samples, s.Histograms
	for len(hists) > 0 {
		n := 0
		for n < len(samples) && samples[n].T < hists[0].T {
			n++
		}
		e.addFloats(samples[:n])
		samples = samples[n:]
		if err := e.addHistogram(hists[0]); err != nil {
			return fmt.Errorf("series %s at %d ms: %w", s.Labels, hists[0].T, err)
		}
		hists = hists[1:]
	}
	e.addFloats(samples)
	return nil
}

// Finish ends the last series. More may be added.
func (e *ChunkEncoder) Finish() {
	e.endChunk()
	e.endFrame()
	e.app = nil
}

// Ready returns how many frames are whole, and their bytes.
func (e *ChunkEncoder) Ready() (frames, bytes int) { return len(e.ends), len(e.frames) }

// Take returns the frames that are whole and forgets them: they are the caller's.
func (e *ChunkEncoder) Take() [][]byte {
	out := make([][]byte, len(e.ends))
	begin := 0
	for i, end := range e.ends {
		out[i] = e.frames[begin:end:end]
		begin = end
	}
	// The next lot will be about as long.
	e.frames, e.ends = make([]byte, 0, len(e.frames)+len(e.frames)/8), e.ends[:0]
	return out
}

func (e *ChunkEncoder) addFloats(samples []series.Sample) {
	for len(samples) > 0 {
		if e.chunk != e.xor || e.n >= maxSamplesPerChunk {
			e.endChunk()
			e.xor.Reset(empty(e.xor.Bytes(), xorHeaderBytes))
			e.begin(e.xor)
		}
		some := samples[:min(len(samples), maxSamplesPerChunk-e.n)]
		samples = samples[len(some):]
		if e.n == 0 {
			e.minT = some[0].T
		}
		for i := range some {
			e.app.Append(0, some[i].T, some[i].V)
		}
		e.n += len(some)
		e.maxT = some[len(some)-1].T
	}
}

func (e *ChunkEncoder) addHistogram(in series.Histogram) error {
	h := in.H
	if err := checkSpans(h); err != nil {
		return err
	}
	float := h.IsFloatHistogram()
	want := chunkenc.EncHistogram
	if float {
		want = chunkenc.EncFloatHistogram
	}
	prev := e.app // of the chunk before, when this one begins a chunk
	if e.chunk == nil || e.chunk.Encoding() != want || e.n >= maxSamplesPerChunk || len(e.chunk.Bytes()) >= maxHistogramChunkBytes {
		e.endChunk()
		e.begin(e.emptyHistogramChunk(float))
	}
	var next chunkenc.Chunk
	var recoded bool
	var err error
	if float {
		e.floatHistogram(h)
		next, recoded, e.app, err = e.app.AppendFloatHistogram(prev, 0, in.T, &e.fh, false)
	} else {
		e.histogram(h)
		next, recoded, e.app, err = e.app.AppendHistogram(prev, 0, in.T, &e.h, false)
	}
	if err != nil {
		return err
	}
	if next != nil {
		if !recoded { // it begins with this sample
			e.endChunk()
		}
		e.chunk = next
	}
	if e.n == 0 {
		e.minT = in.T
	}
	e.maxT = in.T
	e.n++
	return nil
}

// checkSpans refuses what chunkenc takes on trust. That spans are as long as buckets are many is known.
func checkSpans(h *prompb.Histogram) error {
	for _, spans := range [][]prompb.BucketSpan{h.PositiveSpans, h.NegativeSpans} {
		for i := range spans {
			if i > 0 && spans[i].Offset < 0 {
				return fmt.Errorf("span %d of a histogram goes back by %d buckets", i, -int64(spans[i].Offset))
			}
		}
	}
	return nil
}

// begin goes on with an empty chunk.
func (e *ChunkEncoder) begin(c chunkenc.Chunk) {
	app, err := c.Appender()
	if err != nil {
		panic(err) // of an empty chunk: it has nothing to read
	}
	e.chunk, e.app = c, app
}

func (e *ChunkEncoder) emptyHistogramChunk(float bool) chunkenc.Chunk {
	e.turn ^= 1
	if float {
		c := e.floats[e.turn]
		if c == nil {
			c = chunkenc.NewFloatHistogramChunk()
			e.floats[e.turn] = c
		}
		c.Reset(empty(c.Bytes(), histogramHeaderBytes))
		return c
	}
	c := e.ints[e.turn]
	if c == nil {
		c = chunkenc.NewHistogramChunk()
		e.ints[e.turn] = c
	}
	c.Reset(empty(c.Bytes(), histogramHeaderBytes))
	return c
}

// empty returns the memory of a chunk with nothing but its header in it.
func empty(b []byte, header int) []byte {
	b = b[:header]
	clear(b)
	return b
}

// endChunk puts the chunk into the frame, and ends the frame when that fills it.
func (e *ChunkEncoder) endChunk() {
	if e.chunk == nil || e.n == 0 {
		return
	}
	data := e.chunk.Bytes()
	size := chunkTimeSize(e.minT) + chunkTimeSize(e.maxT) + 2 + 1 + uvarintSize(uint64(len(data))) + len(data)
	before := len(e.chunks)
	b := slices.Grow(e.chunks, 1+binary.MaxVarintLen64+size)
	b = binary.AppendUvarint(append(b, seriesChunks), uint64(size))
	b = appendChunkTime(b, chunkMinTime, e.minT)
	b = appendChunkTime(b, chunkMaxTime, e.maxT)
	b = append(b, chunkType, byte(e.chunk.Encoding()), chunkData)
	b = binary.AppendUvarint(b, uint64(len(data)))
	e.chunks = append(b, data...)
	e.chunk, e.n = nil, 0
	if e.left -= len(e.chunks) - before; e.left <= 0 {
		e.endFrame()
	}
}

func chunkTimeSize(t int64) int {
	if t == 0 {
		return 0
	}
	return 1 + uvarintSize(uint64(t))
}

func appendChunkTime(dst []byte, tag byte, t int64) []byte {
	if t == 0 {
		return dst
	}
	return binary.AppendUvarint(append(dst, tag), uint64(t))
}

// endFrame writes the frame of the chunks that there are.
func (e *ChunkEncoder) endFrame() {
	if len(e.chunks) == 0 {
		return
	}
	b := append(e.frames, responseSeries)
	b = binary.AppendUvarint(b, uint64(len(e.labels)+len(e.chunks)))
	b = append(append(b, e.labels...), e.chunks...)
	if e.index != 0 {
		b = binary.AppendUvarint(append(b, responseIndex), uint64(e.index))
	}
	e.frames, e.ends = b, append(e.ends, len(b))
	e.chunks, e.left = e.chunks[:0], e.maxBytes-len(e.labels)
}

// histogram fills e.h, which borrows the buckets of h. chunkenc keeps none of its slices, and where it changes the layout of
// a histogram it puts others in their place.
func (e *ChunkEncoder) histogram(h *prompb.Histogram) {
	e.setSpans(h)
	e.h = histogram.Histogram{
		CounterResetHint: histogram.CounterResetHint(h.ResetHint),
		Schema:           h.Schema,
		ZeroThreshold:    h.ZeroThreshold,
		ZeroCount:        h.GetZeroCountInt(),
		Count:            h.GetCountInt(),
		Sum:              h.Sum,
		PositiveSpans:    e.positiveSpans,
		NegativeSpans:    e.negativeSpans,
		PositiveBuckets:  h.PositiveDeltas,
		NegativeBuckets:  h.NegativeDeltas,
		CustomValues:     h.CustomValues,
	}
}

// floatHistogram is histogram for a float histogram.
func (e *ChunkEncoder) floatHistogram(h *prompb.Histogram) {
	e.setSpans(h)
	e.fh = histogram.FloatHistogram{
		CounterResetHint: histogram.CounterResetHint(h.ResetHint),
		Schema:           h.Schema,
		ZeroThreshold:    h.ZeroThreshold,
		ZeroCount:        h.GetZeroCountFloat(),
		Count:            h.GetCountFloat(),
		Sum:              h.Sum,
		PositiveSpans:    e.positiveSpans,
		NegativeSpans:    e.negativeSpans,
		PositiveBuckets:  h.PositiveCounts,
		NegativeBuckets:  h.NegativeCounts,
		CustomValues:     h.CustomValues,
	}
}

func (e *ChunkEncoder) setSpans(h *prompb.Histogram) {
	e.positiveSpans = appendSpans(e.positiveSpans[:0], h.PositiveSpans)
	e.negativeSpans = appendSpans(e.negativeSpans[:0], h.NegativeSpans)
}

func appendSpans(dst []histogram.Span, spans []prompb.BucketSpan) []histogram.Span {
	for i := range spans {
		dst = append(dst, histogram.Span{Offset: spans[i].Offset, Length: spans[i].Length})
	}
	return dst
}
