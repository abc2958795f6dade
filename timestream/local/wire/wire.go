// SPDX-License-Identifier: Apache-2.0

// Package wire serves a local.DB by Timestream's wire protocol: AWS JSON 1.0 over HTTP, the Write and the Query API on one
// port, told apart by X-Amz-Target. The AWS SDKs and the AWS CLI talk to it with nothing but the endpoint changed.
//
// What an operation does is left to package local. Signatures are not checked: any SigV4 header is accepted, a wrong one
// and none too, for there are no accounts. Bind the listener to an address that only trusted clients reach.
package wire

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/smithy-go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/faults"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// Options are the handler's settings; what is zero has the default.
type Options struct {
	// MaxBodyBytes bounds a request body, before and after decompression; 16 MiB by default.
	MaxBodyBytes flags.Bytes
	// MaxInFlight bounds the requests that are read and handled at one time; others are throttled. 1024 by default.
	MaxInFlight int
	// ReadTimeout bounds the time in which the whole body must come; 10 s by default.
	ReadTimeout time.Duration
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer may be nil.
	Registerer prometheus.Registerer
	// Faults makes calls fail on demand; nil, or without a plan, none does. Its plan may be changed at any time.
	Faults *faults.Injector

	// prefix begins the names of the flags.
	prefix string
}

// DefaultOptions returns the defaults.
func DefaultOptions() Options {
	return Options{MaxBodyBytes: 16 << 20, MaxInFlight: 1024, ReadTimeout: 10 * time.Second}
}

// RegisterFlags registers one flag per limit, with the present values as defaults. The flags' names begin with prefix, as
// they do in the errors.
func (o *Options) RegisterFlags(fs *flag.FlagSet, prefix string) {
	o.prefix = prefix
	fs.Var(&o.MaxBodyBytes, prefix+"max-body-size", "Largest request body, compressed or not.")
	fs.IntVar(&o.MaxInFlight, prefix+"max-inflight-requests", o.MaxInFlight, "Requests of the Write and Query APIs that are read and handled at one time; more are throttled.")
	fs.DurationVar(&o.ReadTimeout, prefix+"read-timeout", o.ReadTimeout, "How long the body of a request may take to come.")
	if o.Faults == nil {
		o.Faults = &faults.Injector{}
	}
	fs.Var(o.Faults, prefix+"faults", "Calls over HTTP that fail, to test clients (not those of services in the same process); none by default.\n"+faults.Syntax+"\n"+FaultsPath+" shows and changes them while the process runs.")
}

// Validate names everything that is wrong with the options, by flag.
func (o *Options) Validate() error {
	var errs []error
	if o.MaxBodyBytes < 1 {
		errs = append(errs, fmt.Errorf("%s=%v: want at least 1B", o.flag("max-body-size"), &o.MaxBodyBytes))
	}
	if o.MaxInFlight < 1 {
		errs = append(errs, fmt.Errorf("%s=%d: want at least 1", o.flag("max-inflight-requests"), o.MaxInFlight))
	}
	if o.ReadTimeout <= 0 {
		errs = append(errs, fmt.Errorf("%s=%v: must be positive", o.flag("read-timeout"), o.ReadTimeout))
	}
	return errors.Join(errs...)
}

// FaultsPath is where a process serves Options.Faults; below it are its rules.
const FaultsPath = "/faults"

// flag is the name by which people know a setting.
func (o *Options) flag(name string) string { return "--" + o.prefix + name }

const (
	targetPrefix = "Timestream_20181101."
	contentType  = "application/x-amz-json-1.0"
	// cacheMinutes is what the service answers in DescribeEndpoints.
	cacheMinutes = 1440
)

// New returns the handler. It serves POST / and answers everything else with an error of the protocol, so that it can stand
// for all paths that nothing else is served on.
func New(db *local.DB, o Options) http.Handler {
	defaults := DefaultOptions()
	o.MaxBodyBytes = cmp.Or(o.MaxBodyBytes, defaults.MaxBodyBytes)
	o.MaxInFlight = cmp.Or(o.MaxInFlight, defaults.MaxInFlight)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, defaults.ReadTimeout)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &handler{db: db, opts: o, log: o.Logger, gate: make(chan struct{}, o.MaxInFlight), operations: operations(db), emptyPage: queryBy(db.QueryEmptyPage), calm: &faults.Decision{}}
	h.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "timestream_local", Name: "requests_total",
		Help: "Requests by operation and by error class, which is empty for success."}, []string{"operation", "error"})
	h.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "timestream_local", Name: "request_duration_seconds",
		Help: "Time from reading a request to its answer, by operation.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)}, []string{"operation"})
	h.faults = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "timestream_local", Name: "faults_total",
		Help: "Faults on demand (" + o.flag("faults") + ") by operation and kind."}, []string{"operation", "kind"})
	if o.Registerer != nil {
		o.Registerer.MustRegister(h.requests, h.duration, h.faults)
	}
	if o.Faults != nil {
		o.Faults.LogTo(o.Logger)
		if o.Registerer != nil {
			o.Registerer.MustRegister(o.Faults)
		}
	}
	return h
}

type handler struct {
	db         *local.DB
	opts       Options
	log        *slog.Logger
	gate       chan struct{}
	operations map[string]operation
	emptyPage  operation
	// calm is the decision about every call while there are no rules.
	calm     *faults.Decision
	buffers  sync.Pool
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	faults   *prometheus.CounterVec
}

// operation handles a body and returns the answer's JSON.
type operation func(ctx context.Context, body []byte) ([]byte, error)

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	w.Header().Set("x-amzn-RequestId", requestID())
	w.Header().Set("Content-Type", contentType)
	// A body that trickles must not hold its place for ever; the time is lifted once it is there. net/http itself reads the
	// rest of one that nobody wanted, within the same time. A writer without deadlines has the whole body already.
	_ = http.NewResponseController(w).SetReadDeadline(start.Add(h.opts.ReadTimeout)) //nolint:errcheck // see above
	name, known := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	op := h.operations[name]
	builtIn := name == "WriteRecords" || name == "DescribeEndpoints"
	if !known || r.Method != http.MethodPost || r.URL.Path != "/" || (op == nil && !builtIn) {
		h.requests.WithLabelValues("unknown", "UnknownOperationException").Inc()
		status := http.StatusBadRequest
		if r.Method != http.MethodPost || r.URL.Path != "/" {
			status = http.StatusNotFound // it is no call of the API at all
		}
		h.fail(w, r, status, "com.amazon.coral.service#UnknownOperationException", unknownText(r), nil)
		return
	}
	select {
	case h.gate <- struct{}{}:
		defer func() { <-h.gate }()
	default:
		// Those that waited would hold their connections and hide the load from the caller's own backing off.
		h.requests.WithLabelValues(name, "ThrottlingException").Inc()
		w.Header().Set("Connection", "close")
		h.fail(w, r, http.StatusTooManyRequests, namespace+"ThrottlingException", fmt.Sprintf("Request rate limit exceeded: %d requests are being handled (%s)", h.opts.MaxInFlight, h.opts.flag("max-inflight-requests")), nil)
		return
	}
	class := h.guarded(w, r, name, op)
	h.requests.WithLabelValues(name, class).Inc()
	h.duration.WithLabelValues(name).Observe(time.Since(start).Seconds())
	switch class {
	case classReset:
		reset(w)
		fallthrough
	case classCut:
		panic(http.ErrAbortHandler) // net/http ends the connection
	}
}

func unknownText(r *http.Request) string {
	return fmt.Sprintf("The operation is unknown: want POST / with X-Amz-Target %s and the name of an operation, not %s %s with %q",
		targetPrefix, beginning(r.Method), beginning(r.URL.Path), beginning(r.Header.Get("X-Amz-Target")))
}

// maxShown is how much of a request's own words an answer repeats.
const maxShown = 100

func beginning(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return s[:maxShown] + "…"
}

// guarded answers also when the server is at fault. net/http would end the connection, and the client would not learn that the same
// request may fail again.
func (h *handler) guarded(w http.ResponseWriter, r *http.Request, name string, op operation) (class string) {
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("panic while serving a request", "operation", name, "panic", p, "stack", string(debug.Stack()))
			h.fail(w, r, http.StatusInternalServerError, namespace+"InternalServerException", textInternal, nil)
			class = "InternalServerException"
		}
	}()
	return h.serve(w, r, name, op)
}

// serve handles one request of a known operation and returns the class of its error.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, name string, op operation) string {
	if name == "DescribeEndpoints" {
		return h.onDemand(w, r, name, nil, func(*faults.Decision) ([]byte, error) {
			if !h.db.Allowed(name) {
				return nil, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "User is not authorized to perform: timestream:" + name}
			}
			return endpoints(r), nil
		})
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
		w.Header().Set("Connection", "close") // what is left of the body is not waited for
		return h.error(w, r, err)
	}
	if len(bytes.TrimSpace(buf.Bytes())) == 0 {
		// Members are what counts, and there are none; which of them are required is then said.
		buf.Reset()
		buf.WriteString("{}")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) //nolint:errcheck // net/http goes on reading to see the client leave
	return h.onDemand(w, r, name, buf.Bytes(), func(fault *faults.Decision) ([]byte, error) {
		switch {
		case name == "WriteRecords":
			return h.writeRecords(r.Context(), buf.Bytes(), fault)
		case fault.EmptyPage:
			return h.emptyPage(r.Context(), buf.Bytes())
		}
		return op(r.Context(), buf.Bytes())
	})
}

const (
	maxPooledBody = 1 << 20
	// startBytes is what a body gets before any of it has come: most fit.
	startBytes = 64 << 10
)

var (
	errTooLarge = errors.New("the request body is too large")
	errTooSlow  = errors.New("the request body did not come in time")
)

func (h *handler) tooLarge() error {
	return fmt.Errorf("%w: the limit is %d bytes (%s)", errTooLarge, h.opts.MaxBodyBytes, h.opts.flag("max-body-size"))
}

// body reads the request into buf within the limits of size and time.
func (h *handler) body(r *http.Request, buf *bytes.Buffer) error {
	limit := int64(h.opts.MaxBodyBytes)
	if r.ContentLength > limit {
		return h.tooLarge()
	}
	if r.ContentLength > 0 {
		// Memory beyond this is taken as the body arrives, whatever its length claims.
		buf.Grow(int(min(r.ContentLength, startBytes)) + bytes.MinRead)
	}
	switch _, err := buf.ReadFrom(io.LimitReader(r.Body, limit+1)); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %d bytes came within %v (%s)", errTooSlow, buf.Len(), h.opts.ReadTimeout, h.opts.flag("read-timeout"))
	case err != nil:
		return fmt.Errorf("%w: %w", errBody, err)
	case int64(buf.Len()) > limit:
		return h.tooLarge()
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
		return h.tooLarge()
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
// to one without. The service answers a host alone, and so the SDK for JavaScript takes the whole address for one and keeps
// its own scheme and port.
func endpoints(r *http.Request) []byte {
	host := r.Host
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && host == "" {
		// A request of HTTP/1.0 need not name a host.
		host = at.String()
	}
	address := "http://" + host
	if r.TLS != nil {
		address = "https://" + host
	}
	if strings.HasPrefix(r.UserAgent(), "aws-sdk-js/") {
		address = strings.TrimSuffix(host, ":"+(&url.URL{Host: host}).Port())
	}
	b, _ := json.Marshal(map[string]any{"Endpoints": []any{
		map[string]any{"Address": address, "CachePeriodInMinutes": cacheMinutes},
	}})
	return b
}

func (h *handler) writeRecords(ctx context.Context, body []byte, fault *faults.Decision) ([]byte, error) {
	req := h.db.NewRequest()
	defer h.db.FreeRequest(req)
	if err := record.Decode(body, req); err != nil {
		return nil, err
	}
	n, err := h.write(ctx, req, fault)
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
