// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/tributary-project/tributary/timestream/promschema/promschematest"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// point is one sample as a reader of chunks sees it.
type point struct {
	t    int64
	bits uint64 // of a float
	h    string // a histogram
}

// text is a histogram by the bits of its numbers; a staleness marker has nothing but its sum in a chunk.
func text(h *prompb.Histogram, hint histogram.CounterResetHint) string {
	if value.IsStaleNaN(h.Sum) {
		return "stale"
	}
	bits := func(vs ...float64) (out []uint64) {
		for _, v := range vs {
			out = append(out, math.Float64bits(v))
		}
		return out
	}
	// Buckets by their place: a chunk has one layout for all its histograms, so it adds empty buckets to some.
	buckets := func(spans []prompb.BucketSpan, deltas []int64, counts []float64) map[int32]any {
		out := map[int32]any{}
		place, i, last := int32(0), 0, int64(0)
		for _, s := range spans {
			place += s.Offset
			for range s.Length {
				if len(deltas) > 0 {
					if last += deltas[i]; last != 0 {
						out[place] = last
					}
				} else if b := math.Float64bits(counts[i]); b != 0 {
					out[place] = b
				}
				i++
				place++
			}
		}
		return out
	}
	kind := "int"
	count, zero := fmt.Sprint(h.GetCountInt()), fmt.Sprint(h.GetZeroCountInt())
	if h.IsFloatHistogram() {
		kind = "float"
		count, zero = fmt.Sprint(bits(h.GetCountFloat())), fmt.Sprint(bits(h.GetZeroCountFloat()))
	}
	threshold := h.ZeroThreshold
	if threshold == 0 {
		threshold = 0 // -0 is 0 in a chunk
	}
	return fmt.Sprint(kind, " gauge=", hint == histogram.GaugeType, " ", h.Schema, bits(threshold), count, " ", zero, bits(h.Sum), " +", buckets(h.PositiveSpans, h.PositiveDeltas, h.PositiveCounts),
		" -", buckets(h.NegativeSpans, h.NegativeDeltas, h.NegativeCounts), " ", bits(h.CustomValues...))
}

// decoded is what frames hold of one series.
type decoded struct {
	labels string
	points []point
	chunks []prompb.Chunk
	frames int
}

// decode reads frames with Prometheus' code, and checks what the protocol promises of them.
func decode(t *testing.T, frames [][]byte, queryIndex int64) []*decoded {
	t.Helper()
	var out []*decoded
	for _, f := range frames {
		var res prompb.ChunkedReadResponse
		if err := res.Unmarshal(f); err != nil {
			t.Fatal(err)
		}
		if again, err := res.Marshal(); err != nil || string(again) != string(f) {
			t.Fatalf("the frame is not as prompb writes it: %x, want %x (%v)", f, again, err)
		}
		if len(res.ChunkedSeries) != 1 || res.QueryIndex != queryIndex {
			t.Fatalf("a frame of %d series for query %d", len(res.ChunkedSeries), res.QueryIndex)
		}
		s := res.ChunkedSeries[0]
		b := labels.NewScratchBuilder(0)
		name := s.ToLabels(&b, nil).String()
		if len(out) == 0 || out[len(out)-1].labels != name {
			out = append(out, &decoded{labels: name})
		}
		d := out[len(out)-1]
		d.frames++
		for _, c := range s.Chunks {
			d.add(t, c)
		}
	}
	return out
}

func (d *decoded) add(t *testing.T, c prompb.Chunk) {
	t.Helper()
	chunk, err := chunkenc.FromData(chunkenc.Encoding(c.Type), c.Data)
	if err != nil {
		t.Fatal(err)
	}
	first := len(d.points)
	it := chunk.Iterator(nil)
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		p := point{t: it.AtT()}
		switch typ {
		case chunkenc.ValFloat:
			_, v := it.At()
			p.bits = math.Float64bits(v)
		case chunkenc.ValHistogram:
			_, h := it.AtHistogram(nil)
			ph := prompb.FromIntHistogram(0, h)
			p.h = text(&ph, h.CounterResetHint)
		case chunkenc.ValFloatHistogram:
			_, h := it.AtFloatHistogram(nil)
			ph := prompb.FromFloatHistogram(0, h)
			p.h = text(&ph, h.CounterResetHint)
		}
		d.points = append(d.points, p)
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	n := len(d.points) - first
	if n == 0 || n > maxSamplesPerChunk || n != chunk.NumSamples() {
		t.Fatalf("a chunk of %d samples that says %d", n, chunk.NumSamples())
	}
	if c.MinTimeMs != d.points[first].t || c.MaxTimeMs != d.points[len(d.points)-1].t {
		t.Errorf("chunk from %d to %d, its samples are from %d to %d", c.MinTimeMs, c.MaxTimeMs, d.points[first].t, d.points[len(d.points)-1].t)
	}
	d.chunks = append(d.chunks, c)
}

// points is what decode should find of a series.
func points(s series.Series) []point {
	var out []point
	samples := s.Samples
	floats := func(before int64) {
		for len(samples) > 0 && samples[0].T < before {
			out = append(out, point{t: samples[0].T, bits: math.Float64bits(samples[0].V)})
			samples = samples[1:]
		}
	}
	for _, h := range s.Histograms {
		floats(h.T)
		out = append(out, point{t: h.T, h: text(h.H, histogram.CounterResetHint(h.H.ResetHint))})
	}
	floats(math.MaxInt64)
	return out
}

// pieces cuts a series at random.
func pieces(r *rand.Rand, s series.Series) []series.Series {
	var out []series.Series
	rest := s
	for {
		limit := int64(math.MaxInt64)
		if n := len(rest.Samples); n > 0 && r.IntN(4) > 0 {
			limit = rest.Samples[r.IntN(n)].T
		} else if n := len(rest.Histograms); n > 0 && r.IntN(4) > 0 {
			limit = rest.Histograms[r.IntN(n)].T
		}
		piece := series.Series{Labels: s.Labels, Continued: len(out) > 0}
		i, j := 0, 0
		for i < len(rest.Samples) && rest.Samples[i].T <= limit {
			i++
		}
		for j < len(rest.Histograms) && rest.Histograms[j].T <= limit {
			j++
		}
		piece.Samples, rest.Samples = append([]series.Sample(nil), rest.Samples[:i]...), rest.Samples[i:]
		piece.Histograms, rest.Histograms = rest.Histograms[:j], rest.Histograms[j:]
		out = append(out, piece)
		if len(rest.Samples)+len(rest.Histograms) == 0 {
			return out
		}
	}
}

// random makes up a series whose samples are of any sort, in runs.
func random(r *rand.Rand, name string) series.Series {
	s := series.Series{Labels: labels.FromStrings("__name__", name, "job", "it's", "ü", "地区")}
	at := int64(1_700_000_000_000)
	for range r.IntN(8) {
		hists := r.IntN(2) == 0
		var last *prompb.Histogram
		for range 1 + r.IntN(300) {
			at += 1 + r.Int64N(1<<r.IntN(40))
			if !hists {
				s.Samples = append(s.Samples, series.Sample{T: at, V: promschematest.Float(r)})
				continue
			}
			if last == nil || r.IntN(5) == 0 {
				last = promschematest.Histogram(r, 12)
			}
			s.Histograms = append(s.Histograms, series.Histogram{T: at, H: last})
		}
	}
	return s
}

// TestChunksHoldWhatWasGiven: whatever the samples, pieces and frames, what Prometheus' code reads is what was given, to
// the bit.
func TestChunksHoldWhatWasGiven(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	seen := map[prompb.Chunk_Encoding]int{}
	for round := range 200 {
		maxBytes := []int{1, 300, 5000, 1 << 20}[round%4]
		index := int64(round % 3)
		e := NewChunkEncoder(index, maxBytes)
		var frames [][]byte
		var given []series.Series
		for i := range r.IntN(5) {
			s := random(r, fmt.Sprintf("m%d", i))
			if len(s.Samples)+len(s.Histograms) == 0 {
				continue
			}
			given = append(given, s)
			for _, p := range pieces(r, s) {
				if err := e.Add(p); err != nil {
					t.Fatal(err)
				}
				for i := range p.Samples { // they are only lent
					p.Samples[i] = series.Sample{T: -1, V: -1}
				}
				if n, _ := e.Ready(); n > 2 {
					frames = append(frames, e.Take()...)
				}
			}
		}
		e.Finish()
		frames = append(frames, e.Take()...)
		got := decode(t, frames, index)
		if len(got) != len(given) {
			t.Fatalf("got %d series, want %d", len(got), len(given))
		}
		for i, s := range given {
			if got[i].labels != s.Labels.String() {
				t.Errorf("got %s, want %s", got[i].labels, s.Labels)
			}
			want := points(s)
			for j := range min(len(want), len(got[i].points)) {
				if got[i].points[j] != want[j] {
					t.Fatalf("round %d, series %d, sample %d:\n got %v\nwant %v", round, i, j, got[i].points[j], want[j])
				}
			}
			if len(want) != len(got[i].points) {
				t.Fatalf("round %d: got %d samples, want %d", round, len(got[i].points), len(want))
			}
			total := 0
			for _, c := range got[i].chunks {
				seen[c.Type]++
				total += c.Size()
			}
			if maxBytes == 1 && got[i].frames != len(got[i].chunks) {
				t.Errorf("%d frames for %d chunks", got[i].frames, len(got[i].chunks))
			}
			if maxBytes == 1<<20 && total < maxBytes/2 && got[i].frames != 1 {
				t.Errorf("%d frames for %d bytes of chunks: readers would take it for several series", got[i].frames, total)
			}
		}
	}
	for _, typ := range []prompb.Chunk_Encoding{prompb.Chunk_XOR, prompb.Chunk_HISTOGRAM, prompb.Chunk_FLOAT_HISTOGRAM} {
		if seen[typ] == 0 {
			t.Errorf("no chunk of type %s", typ)
		}
	}
}

func TestChunksOfOneSeries(t *testing.T) {
	float := func(n int) (out []series.Sample) {
		for i := range n {
			out = append(out, series.Sample{T: int64(i) * 15_000, V: float64(i)})
		}
		return out
	}
	// counter is a histogram whose buckets have these counts, from bucket `offset` on.
	counter := func(at int64, hint prompb.Histogram_ResetHint, offset int32, counts ...uint64) series.Histogram {
		h := &prompb.Histogram{ResetHint: hint, Sum: 1, PositiveSpans: []prompb.BucketSpan{{Offset: offset, Length: uint32(len(counts))}}}
		total, last := uint64(0), int64(0)
		for _, c := range counts {
			h.PositiveDeltas = append(h.PositiveDeltas, int64(c)-last)
			last = int64(c)
			total += c
		}
		h.Count, h.ZeroCount = &prompb.Histogram_CountInt{CountInt: total}, &prompb.Histogram_ZeroCountInt{}
		return series.Histogram{T: at, H: h}
	}
	const (
		unknown = prompb.Histogram_UNKNOWN
		yes     = prompb.Histogram_YES
		no      = prompb.Histogram_NO
		gauge   = prompb.Histogram_GAUGE
	)
	many := func(n int, hint prompb.Histogram_ResetHint) (out []series.Histogram) {
		for i := range n {
			out = append(out, counter(int64(i), hint, 0, uint64(i)))
		}
		return out
	}
	const (
		u = chunkenc.UnknownCounterReset
		r = chunkenc.CounterReset
		k = chunkenc.NotCounterReset
		g = chunkenc.GaugeType
	)
	for _, tt := range []struct {
		name  string
		give  series.Series
		want  []int                         // samples of each chunk
		flags []chunkenc.CounterResetHeader // of each chunk of histograms
	}{
		{"nothing", series.Series{}, nil, nil},
		{"one", series.Series{Samples: float(1)}, []int{1}, nil},
		{"as many as a chunk takes", series.Series{Samples: float(120)}, []int{120}, nil},
		{"one more", series.Series{Samples: float(121)}, []int{120, 1}, nil},
		{"the beginning of time", series.Series{Samples: []series.Sample{{T: 0, V: 0}}}, []int{1}, nil},
		{"histograms that go on", series.Series{Histograms: []series.Histogram{counter(1, unknown, 0, 1), counter(2, unknown, 0, 2), counter(3, no, 0, 2, 1)}}, []int{3}, []chunkenc.CounterResetHeader{u}},
		{"a reset that is said", series.Series{Histograms: []series.Histogram{counter(1, unknown, 0, 1), counter(2, yes, 0, 2)}}, []int{1, 1}, []chunkenc.CounterResetHeader{u, r}},
		{"a reset that shows", series.Series{Histograms: []series.Histogram{counter(1, unknown, 0, 9), counter(2, unknown, 0, 2)}}, []int{1, 1}, []chunkenc.CounterResetHeader{u, r}},
		{"a first one with a hint", series.Series{Histograms: []series.Histogram{counter(1, yes, 0, 9)}}, []int{1}, []chunkenc.CounterResetHeader{r}},
		{"a bucket that is gone", series.Series{Histograms: []series.Histogram{counter(1, unknown, 0, 1, 1), counter(2, unknown, 1, 9)}}, []int{1, 1}, []chunkenc.CounterResetHeader{u, r}},
		{"gauges", series.Series{Histograms: []series.Histogram{counter(1, gauge, 0, 9), counter(2, gauge, 0, 1), counter(3, gauge, 5, 1)}}, []int{3}, []chunkenc.CounterResetHeader{g}},
		{"gauge after counter", series.Series{Histograms: []series.Histogram{counter(1, unknown, 0, 1), counter(2, gauge, 0, 1)}}, []int{1, 1}, []chunkenc.CounterResetHeader{u, g}},
		{"more than a chunk takes: what comes after is compared with what was before", series.Series{Histograms: many(250, unknown)}, []int{120, 120, 10}, []chunkenc.CounterResetHeader{u, k, k}},
		{"more gauges than a chunk takes", series.Series{Histograms: many(121, gauge)}, []int{120, 1}, []chunkenc.CounterResetHeader{g, g}},
		{"a stale marker of a float among histograms", series.Series{
			Histograms: []series.Histogram{counter(1, unknown, 0, 1), counter(2, unknown, 0, 2), counter(5, unknown, 0, 3)},
			Samples:    []series.Sample{{T: 3, V: math.Float64frombits(value.StaleNaN)}},
		}, []int{2, 1, 1}, []chunkenc.CounterResetHeader{u, u}},
		{"both sorts in turn", series.Series{
			Histograms: []series.Histogram{counter(2, unknown, 0, 1), counter(4, unknown, 0, 2)},
			Samples:    []series.Sample{{T: 1}, {T: 3}, {T: 5}},
		}, []int{1, 1, 1, 1, 1}, []chunkenc.CounterResetHeader{u, u}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.give.Labels = labels.FromStrings("__name__", "m")
			e := NewChunkEncoder(0, 1<<20)
			if err := e.Add(tt.give); err != nil {
				t.Fatal(err)
			}
			e.Finish()
			frames := e.Take()
			if tt.want == nil {
				if len(frames) != 0 {
					t.Fatalf("got %d frames", len(frames))
				}
				return
			}
			got := decode(t, frames, 0)[0]
			var sizes []int
			var flags []chunkenc.CounterResetHeader
			for _, c := range got.chunks {
				chunk, err := chunkenc.FromData(chunkenc.Encoding(c.Type), c.Data)
				if err != nil {
					t.Fatal(err)
				}
				sizes = append(sizes, chunk.NumSamples())
				if c.Type != prompb.Chunk_XOR {
					flags = append(flags, chunkenc.CounterResetHeader(c.Data[2])&chunkenc.CounterResetHeader(chunkenc.CounterResetHeaderMask))
				}
			}
			if !reflect.DeepEqual(sizes, tt.want) {
				t.Errorf("got chunks of %v, want %v", sizes, tt.want)
			}
			if !reflect.DeepEqual(flags, tt.flags) {
				t.Errorf("got flags %x, want %x", flags, tt.flags)
			}
		})
	}
}

// TestWideHistogramsEndChunks: a chunk of 120 of them would be longer than a frame.
func TestWideHistogramsEndChunks(t *testing.T) {
	h := &prompb.Histogram{Count: &prompb.Histogram_CountFloat{}, ZeroCount: &prompb.Histogram_ZeroCountFloat{}, ResetHint: prompb.Histogram_GAUGE,
		PositiveSpans: []prompb.BucketSpan{{Length: 2000}}}
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		h.PositiveCounts = append(h.PositiveCounts, r.Float64())
	}
	s := series.Series{Labels: labels.FromStrings("__name__", "m")}
	for i := range int64(120) {
		s.Histograms = append(s.Histograms, series.Histogram{T: i, H: h})
	}
	e := NewChunkEncoder(0, 1<<20)
	if err := e.Add(s); err != nil {
		t.Fatal(err)
	}
	e.Finish()
	for _, c := range decode(t, e.Take(), 0)[0].chunks {
		if len(c.Data) > maxHistogramChunkBytes+20_000 {
			t.Errorf("a chunk of %d bytes", len(c.Data))
		}
	}
}

func TestDamagedHistogram(t *testing.T) {
	e := NewChunkEncoder(0, 1<<20)
	err := e.Add(series.Series{Labels: labels.FromStrings("__name__", "m"), Histograms: []series.Histogram{{T: 5, H: &prompb.Histogram{
		PositiveSpans: []prompb.BucketSpan{{Length: 1}, {Offset: -1, Length: 1}}, PositiveDeltas: []int64{1, 1},
	}}}})
	if want := `series {__name__="m"} at 5 ms: span 1 of a histogram goes back by 1 buckets`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// FuzzChunks: no histogram that the layout can hold makes chunkenc panic, and all come back.
func FuzzChunks(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint8(10))
	f.Fuzz(func(t *testing.T, a, b uint64, n uint8) {
		r := rand.New(rand.NewPCG(a, b))
		s := series.Series{Labels: labels.FromStrings("__name__", "m")}
		spans := func() (out []prompb.BucketSpan, total int) {
			for i := range r.IntN(4) {
				s := prompb.BucketSpan{Offset: int32(r.IntN(4)), Length: uint32(r.IntN(4))}
				switch {
				case r.IntN(20) == 0:
					s.Offset = math.MaxInt32 - int32(r.IntN(2))
				case i == 0:
					s.Offset -= 2
				}
				out = append(out, s)
				total += int(s.Length)
			}
			return out, total
		}
		for i := range int64(n) + 1 {
			if r.IntN(10) == 0 {
				s.Samples = append(s.Samples, series.Sample{T: i, V: math.Float64frombits(r.Uint64())})
				continue
			}
			h := &prompb.Histogram{Schema: int32(r.IntN(2)), Sum: promschematest.Float(r), ResetHint: prompb.Histogram_ResetHint(r.IntN(4)), ZeroThreshold: float64(r.IntN(2))}
			float := r.IntN(3) == 0
			if float {
				h.Count, h.ZeroCount = &prompb.Histogram_CountFloat{CountFloat: promschematest.Float(r)}, &prompb.Histogram_ZeroCountFloat{}
			} else {
				h.Count, h.ZeroCount = &prompb.Histogram_CountInt{CountInt: uint64(i)}, &prompb.Histogram_ZeroCountInt{ZeroCountInt: r.Uint64N(2)}
			}
			if r.IntN(5) == 0 {
				h.Schema, h.CustomValues = -53, []float64{0.001 * float64(r.IntN(3)), 1, promschematest.Float(r)}
			}
			var np, nn int
			h.PositiveSpans, np = spans()
			h.NegativeSpans, nn = spans()
			for range np {
				if float {
					h.PositiveCounts = append(h.PositiveCounts, promschematest.Float(r))
				} else {
					h.PositiveDeltas = append(h.PositiveDeltas, r.Int64N(3)-1)
				}
			}
			for range nn {
				if float {
					h.NegativeCounts = append(h.NegativeCounts, promschematest.Float(r))
				} else {
					h.NegativeDeltas = append(h.NegativeDeltas, int64(r.Uint64()))
				}
			}
			s.Histograms = append(s.Histograms, series.Histogram{T: i, H: h})
		}
		e := NewChunkEncoder(0, 1<<20)
		if err := e.Add(s); err != nil {
			t.Fatal(err)
		}
		e.Finish()
		total := 0
		for _, d := range decode(t, e.Take(), 0) {
			total += len(d.points)
		}
		if total != len(s.Samples)+len(s.Histograms) {
			t.Errorf("got %d samples, want %d", total, len(s.Samples)+len(s.Histograms))
		}
	})
}

func BenchmarkChunkEncoder(b *testing.B) {
	ls := labels.FromStrings("__name__", "http_requests_total", "cluster", "eu-1", "instance", "host-1:9100", "job", "api", "namespace", "production")
	r := rand.New(rand.NewPCG(1, 2))
	counter := series.Series{Labels: ls}
	gauge := series.Series{Labels: ls}
	total := 0.0
	for i := range int64(240) {
		at := 1_700_000_000_000 + i*15_000 + r.Int64N(20)
		total += float64(r.IntN(200))
		counter.Samples = append(counter.Samples, series.Sample{T: at, V: total})
		gauge.Samples = append(gauge.Samples, series.Sample{T: at, V: r.NormFloat64()})
	}
	hists := series.Series{Labels: ls}
	counts := make([]int64, 24)
	for i := range int64(240) {
		h := &prompb.Histogram{Schema: 3, ZeroCount: &prompb.Histogram_ZeroCountInt{}, PositiveSpans: []prompb.BucketSpan{{Offset: -3, Length: 10}, {Offset: 4, Length: 14}}}
		sum, last := int64(0), int64(0)
		for j := range counts {
			counts[j] += r.Int64N(5)
			h.PositiveDeltas = append(h.PositiveDeltas, counts[j]-last)
			last = counts[j]
			sum += counts[j]
		}
		h.Count, h.Sum = &prompb.Histogram_CountInt{CountInt: uint64(sum)}, float64(sum)*1.7
		hists.Histograms = append(hists.Histograms, series.Histogram{T: 1_700_000_000_000 + i*15_000, H: h})
	}
	for _, bb := range []struct {
		name string
		s    series.Series
	}{{"counter", counter}, {"random", gauge}, {"histograms of 24 buckets", hists}} {
		b.Run(bb.name, func(b *testing.B) {
			e := NewChunkEncoder(0, 1<<20)
			bytes := 0
			b.ReportAllocs()
			for b.Loop() {
				if err := e.Add(bb.s); err != nil {
					b.Fatal(err)
				}
				if _, n := e.Ready(); n > 64<<10 {
					bytes += n
					e.Take()
				}
			}
			samples := float64(b.N * (len(bb.s.Samples) + len(bb.s.Histograms)))
			b.ReportMetric(samples/b.Elapsed().Seconds()/1e6, "Msamples/s")
			b.ReportMetric(float64(bytes)/samples, "B/sample")
		})
	}
}
