// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// histogramMemory is what the histograms of a request are made of.
type histogramMemory struct {
	slots  []histogramSlot
	spans  []prompb.BucketSpan
	ints   []int64
	floats []float64
	wire   wireHistogram
	// entries counts spans, buckets and bounds that came, whatever became of them.
	entries int
}

// histogramSlot is a histogram with what its fields point to.
type histogramSlot struct {
	h          prompb.Histogram
	countInt   prompb.Histogram_CountInt
	countFloat prompb.Histogram_CountFloat
	zeroInt    prompb.Histogram_ZeroCountInt
	zeroFloat  prompb.Histogram_ZeroCountFloat
}

func (m *histogramMemory) reset() {
	m.slots, m.spans, m.ints, m.floats, m.entries = m.slots[:0], m.spans[:0], m.ints[:0], m.floats[:0], 0
}

// wireHistogram is a Histogram message as it came.
type wireHistogram struct {
	float              bool // its count is
	count, zero        uint64
	countF, zeroF      float64
	sum, threshold     float64
	schema, hint       int32
	timeMs, startMs    int64
	negative, positive side
	custom             []float64
}

// side is one half of a histogram.
type side struct {
	spans  []histogram.Span
	deltas []int64
	counts []float64
}

func (w *wireHistogram) reset() {
	*w = wireHistogram{
		negative: side{w.negative.spans[:0], w.negative.deltas[:0], w.negative.counts[:0]},
		positive: side{w.positive.spans[:0], w.positive.deltas[:0], w.positive.counts[:0]},
		custom:   w.custom[:0],
	}
}

// capacity is how many entries there is memory for.
func (w *wireHistogram) capacity() int {
	n, p := &w.negative, &w.positive
	return cap(n.spans) + cap(n.deltas) + cap(n.counts) + cap(p.spans) + cap(p.deltas) + cap(p.counts) + cap(w.custom)
}

func (w *wireHistogram) size() int {
	n, p := &w.negative, &w.positive
	return len(n.spans) + len(n.deltas) + len(n.counts) + len(p.spans) + len(p.deltas) + len(p.counts) + len(w.custom)
}

// maxSmallHistogram is the size up to which the memory to read a histogram is not worth a question.
const maxSmallHistogram = 64 << 10

// prepare makes room for the histogram that was read.
func (m *histogramMemory) prepare(r *Request) error {
	w := &m.wire
	n, p := &w.negative, &w.positive
	if err := ensure(r, &m.slots, &r.marks.slots, 1); err != nil {
		return err
	}
	var mark int // nothing points from these
	if err := ensure(r, &m.spans, &mark, len(n.spans)+len(p.spans)); err != nil {
		return err
	}
	if err := ensure(r, &m.ints, &mark, len(n.deltas)+len(p.deltas)); err != nil {
		return err
	}
	return ensure(r, &m.floats, &mark, len(n.counts)+len(p.counts)+len(w.custom))
}

// ensure makes room for n more in a slice; what is in it stays where it is.
func ensure[T any](r *Request, s *[]T, mark *int, n int) error {
	if cap(*s)-len(*s) >= n {
		return nil
	}
	from := len(*s)
	return move(r, s, mark, &from, n)
}

// histogram reads a native histogram of the series and adds it.
func (r *Request) histogram(s *builder, message []byte, v Message) error {
	m := &r.hist
	m.wire.reset()
	// A byte of the message becomes one entry at most, which is then copied.
	if n := 8 * len(message); n > max(r.scratch, maxSmallHistogram) {
		if err := r.reserve(2 * n); err != nil {
			return err
		}
		r.scratch = n
	}
	if err := r.histogramFields(message, v); err != nil {
		return err
	}
	m.entries += m.wire.size()
	r.entries++
	start := m.wire.startMs != 0
	if start {
		s.starts++
	}
	if err := m.prepare(r); err != nil {
		return err
	}
	h, why := m.build()
	if h == nil {
		s.faultyHistograms++
		return r.fault(fault{kind: ledger.Histograms, reason: ledger.InvalidHistogram, timeMs: m.wire.timeMs, start: start, why: why})
	}
	if len(r.histograms) == cap(r.histograms) {
		if err := move(r, &r.histograms, &r.marks.histograms, &s.histograms, 1); err != nil {
			return err
		}
	}
	r.histograms = append(r.histograms, series.Histogram{TimeMs: m.wire.timeMs, StartMs: m.wire.startMs, H: h})
	return nil
}

// histogramFields reads a prometheus.Histogram or an io.prometheus.write.v2.Histogram, which are the same but for 17, the
// start timestamp of 2.0. A list may come in several parts, packed or not.
func (r *Request) histogramFields(message []byte, v Message) error {
	w := &r.hist.wire
	room := labelsPerSample*r.decoder.opts.MaxSamples - r.hist.entries
	in := reader{b: message}
	for in.more() {
		field, wire := in.key()
		switch field {
		case 1, 4, 6, 14, 15:
			if !in.want(wire, wireVarint) {
				break
			}
			switch x := in.varint(); field {
			case 1:
				w.count, w.float = x, false
			case 4:
				w.schema = int32(unzigzag(uint64(uint32(x))))
			case 6:
				w.zero, w.zeroF = x, 0
			case 14:
				w.hint = int32(x)
			default:
				w.timeMs = int64(x)
			}
		case 2, 3, 5, 7:
			if !in.want(wire, wireFixed64) {
				break
			}
			switch x := math.Float64frombits(in.fixed64()); field {
			case 2:
				w.countF, w.float = x, true
			case 3:
				w.sum = x
			case 5:
				w.threshold = x
			default:
				w.zero, w.zeroF = 0, x
			}
		case 8:
			w.negative.span(&in, wire)
		case 9:
			w.negative.deltas = deltas(w.negative.deltas, &in, wire, room)
		case 10:
			w.negative.counts = doubles(w.negative.counts, &in, wire)
		case 11:
			w.positive.span(&in, wire)
		case 12:
			w.positive.deltas = deltas(w.positive.deltas, &in, wire, room)
		case 13:
			w.positive.counts = doubles(w.positive.counts, &in, wire)
		case 16:
			w.custom = doubles(w.custom, &in, wire)
		case 17:
			if v != V2 {
				in.skip(wire)
			} else if in.want(wire, wireVarint) {
				w.startMs = int64(in.varint())
			}
		default:
			in.skip(wire)
		}
		if w.size() > room {
			return r.tooMany()
		}
	}
	return in.err
}

func (s *side) span(in *reader, wire int) {
	if !in.want(wire, wireBytes) {
		return
	}
	var x histogram.Span
	sub := reader{b: in.bytes()}
	for sub.more() {
		field, wire := sub.key()
		if field != 1 && field != 2 {
			sub.skip(wire)
			continue
		}
		if !sub.want(wire, wireVarint) {
			break
		}
		if v := sub.varint(); field == 1 {
			x.Offset = int32(unzigzag(uint64(uint32(v))))
		} else {
			x.Length = uint32(v)
		}
	}
	if sub.err != nil {
		in.err, in.i = sub.err, len(in.b)
	}
	s.spans = append(s.spans, x)
}

// deltas reads signed numbers. It stops soon after room, for the caller to find.
func deltas(to []int64, in *reader, wire, room int) []int64 {
	if wire == wireVarint {
		return append(to, unzigzag(in.varint()))
	}
	if !in.want(wire, wireBytes) {
		return to
	}
	list := reader{b: in.bytes()}
	for list.more() && len(to) <= room {
		to = append(to, unzigzag(list.varint()))
	}
	if list.err != nil {
		in.err, in.i = list.err, len(in.b)
	}
	return to
}

// doubles reads floats: each takes as many bytes here as on the wire, so they need no bound of their own while they are
// read.
func doubles(to []float64, in *reader, wire int) []float64 {
	if wire == wireFixed64 {
		return append(to, math.Float64frombits(in.fixed64()))
	}
	if !in.want(wire, wireBytes) {
		return to
	}
	list := reader{b: in.bytes()}
	for list.more() {
		to = append(to, math.Float64frombits(list.fixed64()))
	}
	if list.err != nil {
		in.err, in.i = list.err, len(in.b)
	}
	return to
}

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// build makes a histogram of the message as Prometheus 3.13 understands it (storage/remote/write_handler.go): which
// buckets count depends on the type of the count alone, higher resolutions than it stores are reduced, and the rest has to
// be valid by its own rules, whose words are returned.
func (m *histogramMemory) build() (*prompb.Histogram, error) {
	w := &m.wire
	if w.float {
		return m.buildFloat()
	}
	h := histogram.Histogram{
		Schema: w.schema, ZeroThreshold: w.threshold, ZeroCount: w.zero, Count: w.count, Sum: w.sum,
		PositiveSpans: w.positive.spans, PositiveBuckets: w.positive.deltas,
		NegativeSpans: w.negative.spans, NegativeBuckets: w.negative.deltas, CustomValues: bounds(w.custom),
	}
	if reducible(h.Schema) {
		if err := h.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
			return nil, err
		}
	}
	if err := h.Validate(); err != nil {
		return nil, err
	}
	slot := m.slot(h.Schema, h.PositiveSpans, h.NegativeSpans)
	slot.countInt.CountInt, slot.zeroInt.ZeroCountInt = h.Count, h.ZeroCount
	slot.h.Count, slot.h.ZeroCount = &slot.countInt, &slot.zeroInt
	m.ints, slot.h.PositiveDeltas = keep(m.ints, h.PositiveBuckets)
	m.ints, slot.h.NegativeDeltas = keep(m.ints, h.NegativeBuckets)
	return &slot.h, nil
}

func (m *histogramMemory) buildFloat() (*prompb.Histogram, error) {
	w := &m.wire
	h := histogram.FloatHistogram{
		Schema: w.schema, ZeroThreshold: w.threshold, ZeroCount: w.zeroF, Count: w.countF, Sum: w.sum,
		PositiveSpans: w.positive.spans, PositiveBuckets: w.positive.counts,
		NegativeSpans: w.negative.spans, NegativeBuckets: w.negative.counts, CustomValues: bounds(w.custom),
	}
	if reducible(h.Schema) {
		if err := h.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
			return nil, err
		}
	}
	if err := h.Validate(); err != nil {
		return nil, err
	}
	slot := m.slot(h.Schema, h.PositiveSpans, h.NegativeSpans)
	slot.countFloat.CountFloat, slot.zeroFloat.ZeroCountFloat = h.Count, h.ZeroCount
	slot.h.Count, slot.h.ZeroCount = &slot.countFloat, &slot.zeroFloat
	m.floats, slot.h.PositiveCounts = keep(m.floats, h.PositiveBuckets)
	m.floats, slot.h.NegativeCounts = keep(m.floats, h.NegativeBuckets)
	return &slot.h, nil
}

func reducible(schema int32) bool {
	return histogram.IsExponentialSchemaReserved(schema) && schema > histogram.ExponentialSchemaMax
}

// bounds returns nil for no bounds, as the published decoder does: the rules tell nil from empty.
func bounds(custom []float64) []float64 {
	if len(custom) == 0 {
		return nil
	}
	return custom
}

// slot returns a new histogram with what integer and float ones have in common.
func (m *histogramMemory) slot(schema int32, positive, negative []histogram.Span) *histogramSlot {
	w := &m.wire
	hint := prompb.Histogram_ResetHint(histogram.CounterResetHint(w.hint)) // a byte, as Prometheus has it
	if hint > prompb.Histogram_GAUGE {
		hint = prompb.Histogram_UNKNOWN
	}
	m.slots = append(m.slots, histogramSlot{h: prompb.Histogram{
		Sum: w.sum, Schema: schema, ZeroThreshold: w.threshold, ResetHint: hint,
	}})
	slot := &m.slots[len(m.slots)-1]
	slot.h.PositiveSpans = m.keepSpans(positive)
	slot.h.NegativeSpans = m.keepSpans(negative)
	m.floats, slot.h.CustomValues = keep(m.floats, w.custom)
	return slot
}

func (m *histogramMemory) keepSpans(spans []histogram.Span) []prompb.BucketSpan {
	if len(spans) == 0 {
		return nil
	}
	start := len(m.spans)
	for _, s := range spans {
		m.spans = append(m.spans, prompb.BucketSpan{Offset: s.Offset, Length: s.Length})
	}
	return m.spans[start:len(m.spans):len(m.spans)]
}

// keep appends a list to the memory of the request, and returns both; nil for an empty one.
func keep[T any](memory, list []T) (all, kept []T) {
	if len(list) == 0 {
		return memory, nil
	}
	start := len(memory)
	memory = append(memory, list...)
	return memory, memory[start:len(memory):len(memory)]
}
