// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"

	"github.com/tributary-project/tributary/services/query/internal/querytest"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// made is a selector that gives out pieces that next makes: the i-th, or false at the end.
type made struct {
	next   func(i int) (series.Series, bool)
	err    error // instead of the end
	pieces atomic.Int64
	closed atomic.Bool
}

func (m *made) Select(ctx context.Context, _ series.Selection) (series.Set, error) {
	return &madeSet{m: m, ctx: ctx}, nil
}

type madeSet struct {
	m   *made
	ctx context.Context
	at  series.Series
	err error
}

func (s *madeSet) Next() bool {
	if s.err = s.ctx.Err(); s.err != nil {
		return false
	}
	// What the piece before lent is not to be used any more.
	for i := range s.at.Samples {
		s.at.Samples[i] = series.Sample{T: -1, V: math.NaN()}
	}
	var ok bool
	if s.at, ok = s.m.next(int(s.m.pieces.Add(1)) - 1); !ok {
		s.err = s.m.err
	}
	return ok
}
func (s *madeSet) At() series.Series   { return s.at }
func (s *madeSet) Err() error          { return s.err }
func (s *madeSet) Stats() series.Stats { return series.Stats{Queries: 3, Pages: 5, Conflicts: 1} }
func (s *madeSet) Warnings() []string  { return []string{"a warning"} }
func (s *madeSet) Close()              { s.m.closed.Store(true) }

// startWith serves reads of a selector over a real listener until the test ends.
func startWith(t *testing.T, selector series.Selector, set func(*Config)) *running {
	t.Helper()
	r := &running{backend: &querytest.Backend{}, reg: prometheus.NewRegistry()}
	cfg := DefaultConfig()
	cfg.ListenAddress, cfg.GRPC.ListenAddress = "", ""
	if set != nil {
		set(&cfg)
	}
	s, err := New(cfg, Deps{Timestream: querytest.Client(t, r.backend), Logger: slog.New(slog.DiscardHandler), Registry: r.reg})
	if err != nil {
		t.Fatal(err)
	}
	s.selector = selector
	r.Service = s
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	s.Register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	r.conn, err = grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	r.client = queryv1.NewQueryServiceClient(r.conn)
	t.Cleanup(func() {
		_ = r.conn.Close()
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

// pieces gives out n series of so many samples each, in pieces.
func pieces(n, samples, perPiece int) func(i int) (series.Series, bool) {
	each := (samples + perPiece - 1) / perPiece
	return func(i int) (series.Series, bool) {
		which, piece := i/each, i%each
		if which == n {
			return series.Series{}, false
		}
		s := series.Series{Labels: labels.FromStrings("__name__", "m", "nr", fmt.Sprintf("%06d", which)), Continued: piece > 0}
		for j := piece * perPiece; j < min((piece+1)*perPiece, samples); j++ {
			s.Samples = append(s.Samples, series.Sample{T: t0 + int64(j)*1000, V: math.Sqrt(float64(which * j))})
		}
		return s, true
	}
}

func chunksRequest() *queryv1.ReadRequest {
	return &queryv1.ReadRequest{
		Matchers: []*queryv1.LabelMatcher{nameIs("m")}, EndMs: math.MaxInt64,
		ResponseType: queryv1.ResponseType_RESPONSE_TYPE_STREAMED_XOR_CHUNKS, QueryIndex: 7,
	}
}

// chunks collects a stream of chunks as series of samples.
func (r *running) chunks(t *testing.T, req *queryv1.ReadRequest) (out []prompb.TimeSeries, messages []*queryv1.ReadFrames, trailer *queryv1.ReadTrailer, err error) {
	t.Helper()
	stream, err := r.client.Read(t.Context(), req)
	if err != nil {
		return nil, nil, nil, err
	}
	for n := 0; ; n++ {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, messages, trailer, nil
		}
		if err != nil {
			return out, messages, nil, err
		}
		switch m := m.GetMessage().(type) {
		case *queryv1.ReadResponse_Header:
			if n != 0 || m.Header.GetResponseType() != queryv1.ResponseType_RESPONSE_TYPE_STREAMED_XOR_CHUNKS {
				t.Errorf("message %d is the header %v", n, m.Header)
			}
		case *queryv1.ReadResponse_Frames:
			messages = append(messages, m.Frames)
			for _, f := range m.Frames.GetFrames() {
				out = addFrame(t, out, f, req.GetQueryIndex())
			}
		case *queryv1.ReadResponse_Trailer:
			trailer = m.Trailer
		default:
			t.Errorf("message %d is a %T", n, m)
		}
	}
}

func addFrame(t *testing.T, out []prompb.TimeSeries, frame []byte, index int64) []prompb.TimeSeries {
	t.Helper()
	var res prompb.ChunkedReadResponse
	if err := res.Unmarshal(frame); err != nil {
		t.Fatal(err)
	}
	if res.QueryIndex != index {
		t.Errorf("got query index %d, want %d", res.QueryIndex, index)
	}
	s := res.ChunkedSeries[0]
	if len(out) == 0 || fmt.Sprint(out[len(out)-1].Labels) != fmt.Sprint(s.Labels) {
		out = append(out, prompb.TimeSeries{Labels: s.Labels})
	}
	ts := &out[len(out)-1]
	for _, c := range s.Chunks {
		chunk, err := chunkenc.FromData(chunkenc.Encoding(c.Type), c.Data)
		if err != nil {
			t.Fatal(err)
		}
		it := chunk.Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			at, v := it.At()
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: at, Value: v})
		}
	}
	return out
}

// TestReadInPieces: both forms of an answer hold the same, whatever the pieces are.
func TestReadInPieces(t *testing.T) {
	for _, tt := range []struct{ n, samples, perPiece int }{{0, 1, 1}, {1, 1, 1}, {3, 1000, 1}, {1000, 240, 240}, {1000, 240, 100}, {2, 200_000, 5000}} {
		t.Run(fmt.Sprintf("%d series of %d samples in pieces of %d", tt.n, tt.samples, tt.perPiece), func(t *testing.T) {
			m := &made{next: pieces(tt.n, tt.samples, tt.perPiece)}
			r := startWith(t, m, nil)
			got, messages, trailer, err := r.chunks(t, chunksRequest())
			if err != nil {
				t.Fatal(err)
			}
			if !m.closed.Load() {
				t.Error("the set was not closed")
			}
			for i, f := range messages {
				size := 0
				for _, frame := range f.GetFrames() {
					size += len(frame)
				}
				// A piece may end some frames at once; here it is less than one message.
				if size > 1<<20+sendBytes+5000*16 || i < len(messages)-1 && size < sendBytes && len(f.GetFrames()) < sendFrames {
					t.Errorf("message %d of %d has %d frames of %d bytes", i, len(messages), len(f.GetFrames()), size)
				}
			}
			if st := trailer.GetStats(); st.GetSeries() != uint64(tt.n) || st.GetSamples() != uint64(tt.n*tt.samples) || st.GetPages() != 5 || len(trailer.GetWarnings()) != 1 {
				t.Errorf("got trailer %v", trailer)
			}
			req := chunksRequest()
			req.ResponseType, m.next = queryv1.ResponseType_RESPONSE_TYPE_SAMPLES, pieces(tt.n, tt.samples, tt.perPiece)
			m.pieces.Store(0)
			want, _, err := r.read(t, req)
			if err != nil {
				t.Fatal(err)
			}
			if len(want) != tt.n || len(got) != tt.n {
				t.Fatalf("%d series as samples, %d as chunks, want %d", len(want), len(got), tt.n)
			}
			for i := range want {
				if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) || len(want[i].Samples) != tt.samples {
					t.Fatalf("series %d: got %.500s, want %.500s", i, got[i].String(), want[i].String())
				}
			}
			if n := testutil.ToFloat64(r.metrics.series); n != float64(2*tt.n) {
				t.Errorf("metric of series: got %v", n)
			}
		})
	}
}

// TestChunksBreakOff: what fails after some frames were sent ends the stream with a status and no trailer.
func TestChunksBreakOff(t *testing.T) {
	m := &made{next: pieces(2000, 240, 240), err: &series.Error{Kind: series.Unavailable, Text: "the store is away"}}
	r := startWith(t, m, nil)
	got, _, trailer, err := r.chunks(t, chunksRequest())
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the store is away") || trailer != nil || len(got) == 0 {
		t.Errorf("got %d series, trailer %v, error %v", len(got), trailer, err)
	}
	damaged := series.Series{Labels: labels.FromStrings("__name__", "m"), Histograms: []series.Histogram{{T: 5, H: &prompb.Histogram{
		PositiveSpans: []prompb.BucketSpan{{Length: 1}, {Offset: -1, Length: 1}}, PositiveDeltas: []int64{1, 1},
	}}}}
	r = startWith(t, &made{next: func(int) (series.Series, bool) { return damaged, true }}, nil)
	if _, _, _, err = r.chunks(t, chunksRequest()); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), `{__name__="m"} at 5 ms`) {
		t.Errorf("got %v", err)
	}
}

// TestChunksWaitForTheReader: a result without an end is not read on while nobody takes it, and ends with its caller.
func TestChunksWaitForTheReader(t *testing.T) {
	m := &made{next: pieces(math.MaxInt32, 240, 240)}
	r := startWith(t, m, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := r.client.Read(ctx, chunksRequest())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	// It stands still once the windows of the connection are full.
	last := int64(-1)
	for deadline := time.Now().Add(2 * time.Minute); m.pieces.Load() != last; time.Sleep(200 * time.Millisecond) {
		if last = m.pieces.Load(); time.Now().After(deadline) {
			t.Fatal("it is read on and on")
		}
	}
	if last > 50_000 {
		t.Errorf("%d series were read for nobody", last)
	}
	cancel()
	for deadline := time.Now().Add(2 * time.Minute); !m.closed.Load(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the read goes on without its caller")
		}
	}
}

func TestLongSeriesAsSamples(t *testing.T) {
	set := func(c *Config) { c.MaxResultBytes, c.MaxConcurrent = 1<<20, 2 }
	r := startWith(t, &made{next: pieces(1, 100_000, 1000)}, set)
	req := chunksRequest()
	if _, _, _, err := r.chunks(t, req); err != nil {
		t.Errorf("as chunks: %v", err)
	}
	r = startWith(t, &made{next: pieces(1, 100_000, 1000)}, set)
	req.ResponseType = queryv1.ResponseType_RESPONSE_TYPE_SAMPLES
	_, _, err := r.read(t, req)
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "--query.max-result-bytes=1MiB") || !strings.Contains(err.Error(), `nr="000000"`) {
		t.Errorf("as samples: got %v", err)
	}
}
