// SPDX-License-Identifier: Apache-2.0

// Package wire serves a local.DB by Timestream's wire protocol: AWS JSON 1.0 over HTTP, the Write and the Query API on one
// port, told apart by X-Amz-Target. The AWS SDKs and the AWS CLI talk to it with nothing but the endpoint changed.
//
// What an operation does is left to package local. Signatures are not checked: any SigV4 header is accepted, a wrong one
// and none too, for there are no accounts. Bind the listener to an address that only trusted clients reach.
package wire

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// Options are the handler's settings; the zero value has the defaults.
type Options struct {
	// MaxBodyBytes bounds a request body, before and after decompression; 16 MiB by default.
	MaxBodyBytes int64
	// MaxInFlight bounds the requests that are handled at one time; others wait. 1024 by default.
	MaxInFlight int
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer may be nil.
	Registerer prometheus.Registerer
}

const (
	targetPrefix = "Timestream_20181101."
	contentType  = "application/x-amz-json-1.0"
	// cacheMinutes is what the service answers in DescribeEndpoints.
	cacheMinutes = 1440
)

// New returns the handler. It serves POST / and answers everything else with an error of the protocol.
func New(db *local.DB, o Options) http.Handler {
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = 16 << 20
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = 1024
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &handler{db: db, opts: o, log: o.Logger, gate: make(chan struct{}, o.MaxInFlight), operations: operations(db)}
	h.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "timestream_local", Name: "requests_total",
		Help: "Requests by operation and by error class, which is empty for success."}, []string{"operation", "error"})
	h.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "timestream_local", Name: "request_duration_seconds",
		Help: "Time from reading a request to its answer, by operation.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)}, []string{"operation"})
	if o.Registerer != nil {
		o.Registerer.MustRegister(h.requests, h.duration)
	}
	return h
}

type handler struct {
	db         *local.DB
	opts       Options
	log        *slog.Logger
	gate       chan struct{}
	operations map[string]operation
	buffers    sync.Pool
	requests   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
}

// operation handles a body and returns the answer's JSON.
type operation func(ctx context.Context, body []byte) ([]byte, error)

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	w.Header().Set("x-amzn-RequestId", requestID())
	w.Header().Set("Content-Type", contentType)
	name, known := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	op := h.operations[name]
	builtIn := name == "WriteRecords" || name == "DescribeEndpoints"
	if !known || r.Method != http.MethodPost || (op == nil && !builtIn) {
		h.requests.WithLabelValues("unknown", "UnknownOperationException").Inc()
		h.fail(w, http.StatusBadRequest, "com.amazon.coral.service#UnknownOperationException", unknownText(name), nil)
		return
	}
	select {
	case h.gate <- struct{}{}:
		defer func() { <-h.gate }()
	case <-r.Context().Done():
		return
	}
	class := h.serve(w, r, name, op)
	h.requests.WithLabelValues(name, class).Inc()
	h.duration.WithLabelValues(name).Observe(time.Since(start).Seconds())
}

// absent are operations of the service that are not served.
var absent = []string{
	"CreateBatchLoadTask", "DescribeBatchLoadTask", "ListBatchLoadTasks", "ResumeBatchLoadTask",
	"TagResource", "UntagResource", "ListTagsForResource", "PrepareQuery", "DescribeAccountSettings", "UpdateAccountSettings",
	"CreateScheduledQuery", "DescribeScheduledQuery", "ExecuteScheduledQuery", "UpdateScheduledQuery", "DeleteScheduledQuery", "ListScheduledQueries",
}

func unknownText(name string) string {
	if slices.Contains(absent, name) {
		return "timestream-local does not serve the operation " + name
	}
	return "The operation is unknown: X-Amz-Target has to be " + targetPrefix + "<operation> in a POST request"
}

// serve handles one request of a known operation and returns the class of its error.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, name string, op operation) string {
	if name == "DescribeEndpoints" {
		if !h.db.Allowed(name) {
			h.fail(w, http.StatusForbidden, namespace+"AccessDeniedException", "User is not authorized to perform: timestream:DescribeEndpoints", nil)
			return "AccessDeniedException"
		}
		h.answer(w, endpoints(r))
		return ""
	}
	buf, _ := h.buffers.Get().(*bytes.Buffer)
	if buf == nil {
		buf = new(bytes.Buffer)
	}
	defer func() {
		if buf.Cap() <= maxPooledBody {
			buf.Reset()
			h.buffers.Put(buf)
		}
	}()
	if err := h.body(r, buf); err != nil {
		return h.error(w, r, err)
	}
	var out []byte
	var err error
	if name == "WriteRecords" {
		out, err = h.writeRecords(r.Context(), buf.Bytes())
	} else {
		out, err = op(r.Context(), buf.Bytes())
	}
	if err != nil {
		return h.error(w, r, err)
	}
	h.answer(w, out)
	return ""
}

const maxPooledBody = 1 << 20

var errTooLarge = errors.New("the request body is too large")

// body reads the request into buf within the limit.
func (h *handler) body(r *http.Request, buf *bytes.Buffer) error {
	limit := h.opts.MaxBodyBytes
	if r.ContentLength > limit {
		return errTooLarge
	}
	if r.ContentLength > 0 {
		buf.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(io.LimitReader(r.Body, limit+1)); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	if int64(buf.Len()) > limit {
		return errTooLarge
	}
	switch enc := r.Header.Get("Content-Encoding"); enc {
	case "", "identity", "aws-chunked":
		return nil
	case "gzip":
	default:
		return fmt.Errorf("%w: unsupported Content-Encoding %q", errBody, enc)
	}
	packed := bytes.NewReader(bytes.Clone(buf.Bytes()))
	zr, err := gzip.NewReader(packed)
	if err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	buf.Reset()
	if _, err := buf.ReadFrom(io.LimitReader(zr, limit+1)); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	if int64(buf.Len()) > limit {
		return errTooLarge
	}
	return nil
}

func (h *handler) answer(w http.ResponseWriter, out []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	if _, err := w.Write(out); err != nil {
		h.log.Debug("answer not sent", "err", err)
	}
}

// endpoints answers DescribeEndpoints with the address that the client used, scheme included: botocore prefixes https://
// to one without.
func endpoints(r *http.Request) []byte {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	b, _ := json.Marshal(map[string]any{"Endpoints": []any{
		map[string]any{"Address": scheme + "://" + r.Host, "CachePeriodInMinutes": cacheMinutes},
	}})
	return b
}

func (h *handler) writeRecords(ctx context.Context, body []byte) ([]byte, error) {
	req := h.db.NewRequest()
	defer h.db.FreeRequest(req)
	if err := record.Decode(body, req); err != nil {
		return nil, err
	}
	n, err := h.db.Write(ctx, req)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 80)
	b = append(b, `{"RecordsIngested":{"Total":`...)
	b = strconv.AppendInt(b, int64(n.Total), 10)
	b = append(b, `,"MemoryStore":`...)
	b = strconv.AppendInt(b, int64(n.MemoryStore), 10)
	b = append(b, `,"MagneticStore":`...)
	b = strconv.AppendInt(b, int64(n.MagneticStore), 10)
	return append(b, "}}"...), nil
}

// requestID looks like the service's: 26 upper-case base32 characters.
func requestID() string {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], rand.Uint64())
	binary.LittleEndian.PutUint64(b[8:], rand.Uint64())
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
}
