// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/internal/fairgate"
)

type metrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	bytes     *prometheus.CounterVec
	refused   *prometheus.CounterVec
	backendUp *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer, requests, buffers *fairgate.Gate) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_gateway_http_requests_total",
			Help: "HTTP requests by path and status code of the answer. 499: the client went away.",
		}, []string{"path", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "tributary_gateway_http_request_duration_seconds",
			Help:                            "Time from the header of an HTTP request to the end of its answer.",
			Buckets:                         prometheus.ExponentialBuckets(0.001, 2.5, 12), // 1 ms to 24 s
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"path"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_gateway_http_request_bytes_total",
			Help: "Bytes of request bodies as they came, compressed.",
		}, []string{"path"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_gateway_http_refused_total",
			Help: "HTTP requests that were not answered with success, by path and reason.",
		}, []string{"path", "reason"}),
		backendUp: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tributary_gateway_backend_up",
			Help: "Whether a replica of the role was reachable and serving when last asked.",
		}, []string{"role"}),
	}
	gauge := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	reg.MustRegister(m.requests, m.durations, m.bytes, m.refused, m.backendUp,
		gauge("tributary_gateway_inflight_requests", "Write and read requests being worked on; --"+maxInFlightRequestsFlag+" bounds them.", requests.Requests),
		gauge("tributary_gateway_inflight_bytes", "Memory held for bodies of requests; --"+maxInFlightBytesFlag+" bounds it.", requests.Bytes),
		gauge("tributary_gateway_callers", "Callers with requests in flight or within the last "+fairgate.Remember.String()+", between whom both bounds are shared.", func() int64 { return int64(requests.Callers()) }),
		gauge("tributary_gateway_read_buffer_bytes", "Memory held for answers to reads; --"+maxReadBufferBytesFlag+" bounds it.", buffers.Bytes),
	)
	return m
}

// refusedFor returns what counts refusals of one path.
func (m *metrics) refusedFor(path string) func(reason string) {
	return func(reason string) { m.refused.WithLabelValues(path, reason).Inc() }
}

// instrument counts and times the requests of one path, and answers 500 when h panics.
func (m *metrics) instrument(path string, logger *slog.Logger, h http.Handler) http.Handler {
	duration, bytes := m.durations.WithLabelValues(path), m.bytes.WithLabelValues(path)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w}
		body := &countingBody{ReadCloser: r.Body}
		r = r.WithContext(r.Context()) // a copy: net/http looks at the body of its own when it ends a connection
		r.Body = body
		defer func() {
			p := recover()
			if p != nil && rec.code == 0 && !isAbort(p) {
				http.Error(rec, "internal error; the log of the gateway has the details", http.StatusInternalServerError)
			}
			if rec.code == 0 {
				rec.code = http.StatusOK // what net/http sends for a handler that wrote nothing
			}
			m.requests.WithLabelValues(path, strconv.Itoa(rec.code)).Inc()
			duration.Observe(time.Since(start).Seconds())
			bytes.Add(float64(body.n))
			switch {
			case p == nil:
			case isAbort(p):
				panic(p)
			default:
				logger.Error("panic in a request; this is a bug, please report it", "path", path, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		h.ServeHTTP(rec, r)
	})
}

// isAbort tells whether a panic is net/http's way to cut an answer short.
func isAbort(p any) bool {
	err, ok := p.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// recorder remembers the status code of an answer.
type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	if r.code == 0 && code >= 200 {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// countingBody counts the bytes that are read.
type countingBody struct {
	io.ReadCloser
	n int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	return n, err
}
