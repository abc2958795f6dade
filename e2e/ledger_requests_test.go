// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math"
	"strings"

	promhistogram "github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tributary-project/tributary/e2e/internal/rw"
)

// The kinds of entries, by the names that the ledger has for them.
const (
	kindSamples    = "samples"
	kindHistograms = "histograms"
	kindExemplars  = "exemplars"
	kindMetadata   = "metadata"
	kindStarts     = "start_timestamps"
)

func ledgerKinds() []string {
	return []string{kindSamples, kindHistograms, kindExemplars, kindMetadata, kindStarts}
}

// point is where an entry of a series is.
type point struct {
	series string
	ms     int64
}

// ledgerRequest is a request and what its maker knows of it.
type ledgerRequest struct {
	protocol rw.Protocol
	message  []byte
	// sent is how many entries of each kind the message holds.
	sent map[string]uint64
	// invalid are samples that are refused before anything is sent to the store, future those that the store refuses for
	// their time: by reason, and in number.
	invalid map[string]uint64
	future  uint64
	// repeats are entries whose series and millisecond an earlier one of the request has.
	repeats map[string]uint64
	// floats and histograms are the entries that can be stored, the first of each series and millisecond: their bits.
	// Other requests have them too where contested says so, perhaps with other values.
	floats     map[point]uint64
	contested  map[point]bool
	histograms map[point]string
}

// requestMaker makes the requests of one sender. Its series are its own, except for the contested ones.
type requestMaker struct {
	generator
	sender, made int
	nowMs        int64
	series       []labels.Labels
}

// seriesPerSender are used again from request to request.
const seriesPerSender = 40

func newRequestMaker(g generator, sender int, nowMs int64) *requestMaker {
	m := &requestMaker{generator: g, sender: sender, nowMs: nowMs}
	for i := range seriesPerSender {
		m.series = append(m.series, g.series(sender*1000+i, 1400))
	}
	return m
}

// seriesOf is the name under which points of a series are kept.
func seriesOf(ls []rw.Label) string {
	var b strings.Builder
	for _, l := range ls {
		fmt.Fprintf(&b, "%q=%q,", l.Name, l.Value)
	}
	return b.String()
}

// contestedSeries are written by all senders. Their labels have columns from the start, so that each has one encoding: the
// store sees conflicts only between records of one encoding.
func contestedSeries(n int) rw.Series {
	return rw.New("__name__", "contested", "instance", fmt.Sprint(n), "job", "ledger")
}

// The messages of a series' first labels are the first symbols of a 2.0 message, behind the empty one.
const (
	symbolOfJob    = 5 // of "job" in the first series, whose labels are __name__, instance, job
	symbolOfLedger = 6
)

// next makes a request.
func (m *requestMaker) next(p rw.Protocol) *ledgerRequest {
	r := &ledgerRequest{
		protocol: p, sent: map[string]uint64{}, invalid: map[string]uint64{}, repeats: map[string]uint64{},
		floats: map[point]uint64{}, contested: map[point]bool{}, histograms: map[point]string{},
	}
	var body rw.Request
	// Of what only this request has, each entry has a millisecond of its own.
	start, step := m.nowMs-3_600_000+int64(m.made)*1000, int64(0)
	m.made++
	tick := func() int64 {
		step++
		return start + step
	}
	add := func(s rw.Series) {
		for _, x := range s.Samples {
			if x.StartMs != 0 && p == rw.V2 {
				r.sent[kindStarts]++
			}
		}
		r.sent[kindSamples] += uint64(len(s.Samples))
		r.sent[kindHistograms] += uint64(len(s.Histograms))
		r.sent[kindExemplars] += uint64(len(s.Exemplars))
		if s.Metadata != nil && p == rw.V2 {
			r.sent[kindMetadata]++
		}
		body.Series = append(body.Series, s)
	}
	add(m.contestedSeries(r))
	for range 20 + m.IntN(150) {
		one := rw.Of(m.series[m.IntN(len(m.series))])
		switch m.IntN(12) {
		case 0:
			add(m.contestedSeries(r))
		case 1, 2:
			m.addHistograms(r, &one, tick)
			add(one)
		case 3:
			m.addInvalid(r, tick(), add)
		case 4:
			if m.IntN(3) == 0 { // no later than the store takes
				one = one.At(m.nowMs+7_200_000+step, m.float())
				r.future++
				add(one)
				continue
			}
			ms, v := m.nowMs-8*3_600_000+int64(m.made)*1000+step, m.float() // for the magnetic store
			step++
			r.floats[point{seriesOf(one.Labels), ms}] = math.Float64bits(v)
			add(one.At(ms, v))
		default:
			m.addFloats(r, &one, tick)
			if m.IntN(4) == 0 {
				one.Exemplars = append(one.Exemplars, m.exemplar(p, tick()))
			}
			if m.IntN(4) == 0 {
				one.Metadata = joined(numberField(1, 1+m.Uint64N(7)), numberField(3, symbolOfLedger), numberField(4, symbolOfJob))
			}
			add(one)
		}
	}
	if p == rw.V1 {
		for i := range m.IntN(4) {
			body.Metadata = append(body.Metadata, joined(numberField(1, m.Uint64N(8)), textField(2, fmt.Sprintf("family_%d_%d", m.sender, i)), textField(4, m.text(20)), textField(5, "s")))
			r.sent[kindMetadata]++
		}
	}
	r.message = body.Encode(p)
	return r
}

// addFloats adds a few samples, and now and then one again, or another value for the same time.
func (m *requestMaker) addFloats(r *ledgerRequest, s *rw.Series, tick func() int64) {
	key := seriesOf(s.Labels)
	for range 1 + m.IntN(5) {
		x := rw.Sample{TimeMs: tick(), Value: m.float()}
		if r.protocol == rw.V2 && m.IntN(3) == 0 {
			x.StartMs = m.nowMs - 7_200_000
		}
		s.Samples = append(s.Samples, x)
		r.floats[point{key, x.TimeMs}] = math.Float64bits(x.Value)
		if m.IntN(8) == 0 {
			again := x
			if m.IntN(2) == 0 {
				again.Value = m.float()
			}
			s.Samples = append(s.Samples, again)
			r.repeats[kindSamples]++
		}
	}
}

// contestedSeries adds a sample whose series and time other requests have too.
func (m *requestMaker) contestedSeries(r *ledgerRequest) rw.Series {
	s := contestedSeries(m.IntN(5))
	for range 1 + m.IntN(2) {
		x := rw.Sample{TimeMs: m.nowMs - 60_000 + int64(m.IntN(10)), Value: 1 + float64(m.IntN(2))}
		s.Samples = append(s.Samples, x)
		at := point{seriesOf(s.Labels), x.TimeMs}
		if r.contested[at] {
			r.repeats[kindSamples]++
			continue
		}
		r.floats[at], r.contested[at] = math.Float64bits(x.Value), true
	}
	return s
}

// addHistograms adds native histograms of every sort.
func (m *requestMaker) addHistograms(r *ledgerRequest, s *rw.Series, tick func() int64) {
	key := seriesOf(s.Labels)
	for range 1 + m.IntN(3) {
		ms, n := tick(), int64(1+m.IntN(20))
		var h prompb.Histogram
		switch m.IntN(8) {
		case 0:
			h = prompb.FromIntHistogram(ms, tsdbutil.GenerateTestGaugeHistogram(n))
		case 1:
			h = prompb.FromFloatHistogram(ms, tsdbutil.GenerateTestFloatHistogram(n))
		case 2:
			h = prompb.FromFloatHistogram(ms, tsdbutil.GenerateTestGaugeFloatHistogram(n))
		case 3:
			h = prompb.FromIntHistogram(ms, tsdbutil.GenerateTestCustomBucketsHistogram(n))
		case 4:
			h = prompb.FromFloatHistogram(ms, tsdbutil.GenerateTestCustomBucketsFloatHistogram(n))
		case 5:
			h = prompb.FromIntHistogram(ms, &promhistogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)})
		case 6:
			h = prompb.FromIntHistogram(ms, tsdbutil.GenerateTestHistogramWithHint(int(n), promhistogram.CounterReset))
		default:
			h = prompb.FromIntHistogram(ms, tsdbutil.GenerateTestHistogram(n))
		}
		b, err := h.Marshal()
		if err != nil {
			panic(err) // cannot be: it is a valid message
		}
		s.Histograms = append(s.Histograms, b)
		r.histograms[point{key, ms}] = string(b)
		if m.IntN(10) == 0 {
			s.Histograms = append(s.Histograms, b)
			r.repeats[kindHistograms]++
		}
	}
}

// addInvalid adds a series that is refused, with the reason that has to be given.
func (m *requestMaker) addInvalid(r *ledgerRequest, ms int64, add func(rw.Series)) {
	reason := []string{"missing_metric_name", "empty_label_set", "empty_label_name", "duplicate_label_name", "invalid_utf8", "labels_too_large", "out_of_range", "invalid_symbols"}[m.IntN(8)]
	var s rw.Series
	switch reason {
	case "missing_metric_name":
		s = rw.Raw("job", "ledger")
	case "empty_label_set":
	case "empty_label_name":
		s = rw.Raw("", "v", "__name__", "refused")
	case "duplicate_label_name":
		s = rw.Raw("__name__", "refused", "a", "1", "a", "2")
	case "invalid_utf8":
		s = rw.Raw("__name__", "refused", "a", "\xff")
	case "labels_too_large":
		s = rw.Raw("__name__", "refused", "a", strings.Repeat("x", 9000))
	case "out_of_range":
		s, ms = rw.Raw("__name__", "refused"), -1
	case "invalid_symbols":
		if r.protocol == rw.V1 {
			return
		}
		s = rw.Raw()
		s.Refs = []uint64{1, 2, 1 << 20, 2}
	}
	for i := range 1 + m.IntN(3) {
		s = s.At(ms-int64(i)*1000, m.float())
		r.invalid[reason]++
	}
	add(s)
}

// exemplar returns an exemplar that no other has the value of.
func (m *requestMaker) exemplar(p rw.Protocol, ms int64) []byte {
	label := bytesField(1, joined(textField(1, "job"), textField(2, "ledger")))
	if p == rw.V2 {
		label = bytesField(1, protowire.AppendVarint(protowire.AppendVarint(nil, symbolOfJob), symbolOfLedger))
	}
	v := protowire.AppendFixed64(protowire.AppendTag(nil, 2, protowire.Fixed64Type), math.Float64bits(float64(m.sender)+float64(ms)/1e15))
	return joined(label, v, numberField(3, uint64(ms)))
}

func joined(fields ...[]byte) []byte {
	var b []byte
	for _, f := range fields {
		b = append(b, f...)
	}
	return b
}

func numberField(n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}

func textField(n protowire.Number, content string) []byte { return bytesField(n, []byte(content)) }

func bytesField(n protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), content)
}
