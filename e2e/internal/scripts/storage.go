// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"time"

	"github.com/golang/snappy"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/tributary-project/tributary/e2e/internal/rw"
)

// Storage is a storage.Storage that is elsewhere: it is written by remote write 2.0 and, where there is a URL for it, read by
// Prometheus' own client of remote read.
type Storage struct {
	// URL is the base URL of the gateway before it.
	URL string
	// Read answers selects; nil when all queries are evaluated elsewhere.
	Read storage.Queryable
	// Shift is added to all times on their way out, and taken off on their way back.
	Shift time.Duration
	// OnWrite runs after each write, OnClose when the storage closes. Both may be nil.
	OnWrite func()
	OnClose func() error
}

var _ storage.Storage = (*Storage)(nil)

// Querier implements storage.Queryable.
func (s *Storage) Querier(mint, maxt int64) (storage.Querier, error) {
	if s.Read == nil {
		return nil, errors.New("this storage is not read here")
	}
	return Shifted(s.Read, s.Shift.Milliseconds(), mint, maxt)
}

// ChunkQuerier implements storage.ChunkQueryable; no engine needs it.
func (*Storage) ChunkQuerier(int64, int64) (storage.ChunkQuerier, error) {
	return nil, errors.New("no chunks here")
}

// Appender implements storage.Appendable; scripts use the second version.
func (*Storage) Appender(context.Context) storage.Appender {
	panic("scripts load by AppenderV2")
}

// AppenderV2 implements storage.AppendableV2.
func (s *Storage) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &appender{ctx: ctx, s: s, series: map[string]int{}}
}

// StartTime implements storage.Storage.
func (*Storage) StartTime() (int64, error) { return 0, nil }

// Close implements storage.Storage.
func (s *Storage) Close() error {
	if s.OnClose == nil {
		return nil
	}
	return s.OnClose()
}

// appender collects samples and writes them with one request.
type appender struct {
	ctx     context.Context
	s       *Storage
	series  map[string]int
	request writev2.Request
	symbols *writev2.SymbolsTable
}

// Append implements storage.AppenderV2.
func (a *appender) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, _ storage.AppendV2Options) (storage.SeriesRef, error) {
	if a.symbols == nil {
		symbols := writev2.NewSymbolTable()
		a.symbols = &symbols
	}
	key := string(ls.Bytes(nil))
	n, ok := a.series[key]
	if !ok {
		n = len(a.request.Timeseries)
		a.series[key] = n
		a.request.Timeseries = append(a.request.Timeseries, writev2.TimeSeries{LabelsRefs: a.symbols.SymbolizeLabels(ls, nil)})
	}
	shift := a.s.Shift.Milliseconds()
	if st != 0 {
		st += shift
	}
	series := &a.request.Timeseries[n]
	switch {
	case h != nil:
		p := writev2.FromIntHistogram(t+shift, h)
		p.StartTimestamp = st
		series.Histograms = append(series.Histograms, p)
	case fh != nil:
		p := writev2.FromFloatHistogram(t+shift, fh)
		p.StartTimestamp = st
		series.Histograms = append(series.Histograms, p)
	default:
		series.Samples = append(series.Samples, writev2.Sample{Timestamp: t + shift, Value: v, StartTimestamp: st})
	}
	return storage.SeriesRef(n + 1), nil
}

// Commit implements storage.AppenderTransaction. All must be stored.
func (a *appender) Commit() error {
	if len(a.request.Timeseries) == 0 {
		return nil
	}
	a.request.Symbols = a.symbols.Symbols()
	body, err := a.request.Marshal()
	if err != nil {
		return err
	}
	answer, err := rw.Post(a.ctx, a.s.URL+"/api/v1/write", rw.V2.ContentType(), snappy.Encode(nil, body))
	if err != nil {
		return err
	}
	if a.s.OnWrite != nil {
		a.s.OnWrite()
	}
	if answer.Status != http.StatusNoContent {
		return fmt.Errorf("remote write: %d %s", answer.Status, answer.Text)
	}
	return nil
}

// Rollback implements storage.AppenderTransaction.
func (a *appender) Rollback() error {
	a.request = writev2.Request{}
	return nil
}

// Shifted returns a querier of series whose times are later by shift, in milliseconds, than those that callers name and get.
func Shifted(of storage.Queryable, shift, mint, maxt int64) (storage.Querier, error) {
	q, err := of.Querier(mint+shift, maxt+shift)
	if err != nil {
		return nil, err
	}
	return shiftedQuerier{q, shift}, nil
}

type shiftedQuerier struct {
	storage.Querier

	shift int64
}

func (q shiftedQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	if hints != nil {
		h := *hints
		h.Start, h.End = h.Start+q.shift, h.End+q.shift
		hints = &h
	}
	return &shiftedSet{SeriesSet: q.Querier.Select(ctx, sorted, hints, ms...), shift: q.shift}
}

// shiftedSet holds each series whole and hands it out anew. Prometheus' own iterator over SAMPLES is not given to the engine: it
// skips a histogram when it is sought for a time that it has passed (concreteSeriesIterator.Seek moves its place among the
// histograms before it finds that it may stay), and the engine does just that. What came over the wire is what counts here.
type shiftedSet struct {
	storage.SeriesSet

	shift int64
	at    storage.Series
	err   error
}

func (s *shiftedSet) Next() bool {
	if s.err != nil || !s.SeriesSet.Next() {
		return false
	}
	series := s.SeriesSet.At()
	it := series.Iterator(nil)
	var samples []chunks.Sample
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		x := sample{kind: kind}
		switch kind {
		case chunkenc.ValHistogram:
			x.t, x.h = it.AtHistogram(nil)
		case chunkenc.ValFloatHistogram:
			x.t, x.fh = it.AtFloatHistogram(nil)
		default:
			x.t, x.f = it.At()
		}
		if x.st = it.AtST(); x.st != 0 {
			x.st -= s.shift
		}
		x.t -= s.shift
		samples = append(samples, x)
	}
	s.err = it.Err()
	s.at = storage.NewListSeries(series.Labels(), samples)
	return s.err == nil
}

func (s *shiftedSet) At() storage.Series { return s.at }

func (s *shiftedSet) Err() error { return errors.Join(s.err, s.SeriesSet.Err()) }

// sample is a chunks.Sample. Histograms are handed out as copies: who gets one may change it.
type sample struct {
	kind  chunkenc.ValueType
	st, t int64
	f     float64
	h     *histogram.Histogram
	fh    *histogram.FloatHistogram
}

func (s sample) T() int64                 { return s.t }
func (s sample) ST() int64                { return s.st }
func (s sample) F() float64               { return s.f }
func (s sample) H() *histogram.Histogram  { return s.h.Copy() }
func (s sample) Type() chunkenc.ValueType { return s.kind }
func (s sample) Copy() chunks.Sample      { return s }

func (s sample) FH() *histogram.FloatHistogram {
	if s.fh == nil {
		return s.h.ToFloat(nil)
	}
	return s.fh.Copy()
}

// Reader is Prometheus' client of remote read. The engine asks the same again and again (every instant evaluation runs at six
// moments, and as a range): an answer is kept until Forget.
type Reader struct {
	storage.Queryable

	next http.RoundTripper
	mu   sync.Mutex
	kept map[string]*keptResponse
}

type keptResponse struct {
	status int
	header http.Header
	body   []byte
}

// NewReader returns a reader of a URL that accepts answers of these types, in order of preference.
func NewReader(readURL string, next http.RoundTripper, types ...prompb.ReadRequest_ResponseType) (*Reader, error) {
	u, err := url.Parse(readURL)
	if err != nil {
		return nil, err
	}
	client, err := remote.NewReadClient("scripts", &remote.ClientConfig{
		URL: &config_util.URL{URL: u}, Timeout: model.Duration(time.Minute), ChunkedReadLimit: config.DefaultChunkedReadLimit, AcceptedResponseTypes: types,
	})
	if err != nil {
		return nil, err
	}
	r := &Reader{next: next, kept: map[string]*keptResponse{}}
	client.(*remote.Client).Client = &http.Client{Transport: r}
	r.Queryable = remote.NewSampleAndChunkQueryableClient(client, labels.EmptyLabels(), nil, true, nil)
	return r, nil
}

// Forget makes the reader ask again.
func (r *Reader) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.kept)
}

// RoundTrip implements http.RoundTripper.
func (r *Reader) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if err := req.Body.Close(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	k := r.kept[string(body)]
	r.mu.Unlock()
	if k == nil {
		again := req.Clone(req.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		res, err := r.next.RoundTrip(again)
		if err != nil {
			return nil, err
		}
		answer, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			return nil, err
		}
		k = &keptResponse{res.StatusCode, res.Header, answer}
		r.mu.Lock()
		r.kept[string(body)] = k
		r.mu.Unlock()
	}
	return &http.Response{
		Status: http.StatusText(k.status), StatusCode: k.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: k.header.Clone(), Body: io.NopCloser(bytes.NewReader(k.body)), ContentLength: int64(len(k.body)), Request: req,
	}, nil
}

// Handler is a transport to a handler in this process.
type Handler struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (h Handler) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result(), nil
}
