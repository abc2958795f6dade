// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/internal/fairgate"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"
	"github.com/tributary-project/tributary/services/ingest/internal/catalogue"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/otlp"
	"github.com/tributary-project/tributary/services/ingest/internal/payload"
	"github.com/tributary-project/tributary/services/ingest/internal/remotewrite"
	"github.com/tributary-project/tributary/services/ingest/internal/send"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/services/ingest/internal/store"
	"github.com/tributary-project/tributary/timestream"
)

// ErrorDomain is the domain of the google.rpc.ErrorInfo details of the service's errors.
const ErrorDomain = "tributary"

// Reasons of these details.
const (
	// ReasonCorrupt: the payload is not what it claims to be.
	ReasonCorrupt = "CORRUPT_PAYLOAD"
	// ReasonTooLarge: the message is over --ingest.max-decompressed-bytes.
	ReasonTooLarge = "DECOMPRESSED_TOO_LARGE"
	// ReasonTooMany: the message has more entries than --ingest.max-samples-per-request allows.
	ReasonTooMany = "TOO_MANY_SAMPLES"
	// ReasonInvalidRequest: some other field of the request is wrong.
	ReasonInvalidRequest = "INVALID_REQUEST"
	// ReasonTableNotFound: the destination that the request names does not exist.
	ReasonTableNotFound = "TABLE_NOT_FOUND"
	// ReasonTableNotAllowed: --allowed-tables lacks the destination that the request names.
	ReasonTableNotAllowed = "TABLE_NOT_ALLOWED"
	// ReasonOverloaded: the gate is full.
	ReasonOverloaded = "OVERLOADED"
)

// RecordWriter is the part of the Timestream write API that ingest uses; *timestreamwrite.Client satisfies it. It must not
// retry by itself. Its input is used again as soon as a call has returned. One that has *client.RecordsWriter's WriteRecordsBody
// is given ready bodies, which costs less.
type RecordWriter = store.Writer

// Querier is the part of the Timestream query API that ingest uses; *timestreamquery.Client satisfies it.
type Querier = catalogue.Querier

// appender is a store, in Prometheus' terms. Append accounts for every sample of the series in the account; the error
// says that nothing was done and the account is of no use. Repeating it is safe.
type appender interface {
	Append(context.Context, store.Destination, store.Entries, *ledger.Account) error
}

// Deps are what a service is given. All but Delta, Querier and Settings are needed.
type Deps struct {
	Writer RecordWriter
	// Delta, unless nil, makes OTLP metrics with delta temporality cumulative; --otlp.native-delta must not be set then.
	Delta DeltaConverter
	// Querier may be nil: columns are then given out as if the table were new.
	Querier    Querier
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock.
	Now func() time.Time
	// Build and Settings are shown by the status service; Target is where Timestream is, for people.
	Build    process.Build
	Settings []flags.Setting
	Target   string
}

// Service is the ingest service and the status service of its role. Register it on a gRPC server, or call it in the
// process. It works without Run, but then does not keep its catalogues fresh.
type Service struct {
	ingestv1.UnsafeIngestServiceServer
	statusv1.UnsafeStatusServiceServer

	cfg     ServiceConfig
	deps    Deps
	payload *payload.Decompressor
	decoder *remotewrite.Decoder
	otlp    *otlp.Decoder
	gate    *fairgate.Gate
	store   *store.Store
	append  appender
	sender  *send.Sender
	totals  *ledger.Totals
	started time.Time
	notices *notices

	requests *prometheus.CounterVec
	latency  prometheus.Histogram
}

var (
	_ ingestv1.IngestServiceServer = (*Service)(nil)
	_ statusv1.StatusServiceServer = (*Service)(nil)
)

// NewService returns a service. It calls nothing and starts nothing.
func NewService(cfg ServiceConfig, d Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.OTLP.NativeDelta && d.Delta != nil {
		return nil, errors.New("--otlp.native-delta: deltas are either stored as they are or made cumulative, not both")
	}
	packed, err := cfg.packedLabels()
	if err != nil {
		return nil, err
	}
	options := remotewrite.Options{
		MaxSamples:      cfg.MaxSamples,
		MaxTimeMs:       timestream.MaxTimeMs,
		RejectNonFinite: cfg.FailOnInvalidSampleValue,
	}
	if cfg.FailOnLongLabel {
		options.MaxMetricNameBytes = timestream.MaxMeasureNameBytes
	}
	sender := send.New(send.Config{
		MaxInFlight: cfg.MaxInFlightWrites, Retries: cfg.WriteRetries, AttemptTimeout: cfg.WriteTimeout,
		MinBackoff: cfg.MinBackoff, MaxBackoff: cfg.MaxBackoff,
	}, d.Registerer, d.Now)
	st := store.New(store.Config{
		Database: cfg.Database, Table: cfg.Table,
		Catalogue: catalogue.Config{
			Fixed: append(catalogue.Fixed(), cfg.labelColumns()...), Packed: packed, MaxLabelColumns: cfg.MaxLabelColumns,
		},
		CatalogueRefresh: cfg.CatalogueRefresh, Limits: cfg.limits(), CacheSize: cfg.SeriesCacheSize,
		MaxTables: cfg.MaxTables, InFlight: cfg.MaxInFlightWritesPerRequest, ShareWait: cfg.BatchWait,
	}, d.Writer, sender, d.Querier, d.Logger, d.Registerer, d.Now)
	hasher := series.NewHasher()
	s := &Service{
		cfg: cfg, deps: d,
		payload: payload.NewDecompressor(),
		decoder: remotewrite.NewDecoder(options, hasher),
		otlp:    otlp.NewDecoder(cfg.otlpOptions(d.Delta), hasher),
		gate:    newGate(cfg, d.Registerer, d.Now),
		store:   st, append: st, sender: sender,
		totals:  ledger.NewTotals(d.Registerer),
		started: d.Now(),
		notices: newNotices(d.Logger, d.Now),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_ingest_requests_total", Help: "Write requests, by outcome: ok, rejected (entries were refused for good that make it fail), deferred (the sender was told to try again), or the gRPC code of the error.",
		}, []string{"outcome"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_ingest_request_duration_seconds", Help: "How long write requests took that were decoded.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
	}
	d.Registerer.MustRegister(s.requests, s.latency)
	return s, nil
}

// Register registers the service and its status on a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	ingestv1.RegisterIngestServiceServer(r, s)
	statusv1.RegisterStatusServiceServer(r, s)
}

// Run keeps the tables' catalogues fresh until ctx ends. It returns nil.
func (s *Service) Run(ctx context.Context) error { return s.store.Run(ctx) }

// Ready tells whether the service can take requests. It can as long as it runs: while Timestream is away it says so in
// each answer, which senders understand, whereas a replica that hid would only make them see a broken connection.
func (s *Service) Ready() error { return nil }

// Write implements ingestv1.IngestServiceServer.
func (s *Service) Write(ctx context.Context, req *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
	start := s.deps.Now()
	res, outcome, err := s.write(ctx, req)
	if err != nil {
		s.requests.WithLabelValues(status.Code(err).String()).Inc()
		return nil, err
	}
	s.requests.WithLabelValues(outcome).Inc()
	s.latency.Observe(s.deps.Now().Sub(start).Seconds())
	return res, nil
}

func (s *Service) write(ctx context.Context, req *ingestv1.WriteRequest) (res *ingestv1.WriteResponse, outcome string, err error) {
	kind, encoding, dest, err := s.read(req)
	if err != nil {
		return nil, "", refuse(codes.InvalidArgument, ReasonInvalidRequest, err.Error())
	}
	if !s.allowed(dest) {
		return nil, "", refuse(codes.PermissionDenied, ReasonTableNotAllowed, fmt.Sprintf("destination %s: requests may not name this table; --%s of the ingest service moves that", dest, timestream.AllowedTablesFlag))
	}
	message, hold, err := s.open(caller(ctx, req), encoding, req.GetPayload())
	if err != nil {
		return nil, "", err
	}
	defer hold.ticket.Leave()
	defer message.Release()

	ctx, cancel := s.deadline(ctx)
	defer cancel()
	account := new(ledger.Account)
	entries, release, err := s.decode(ctx, kind, message.Bytes, account, hold)
	if err != nil {
		return nil, "", undecodable(err)
	}
	defer release()
	entries.Room = hold.more
	if err := s.append.Append(ctx, dest, entries, account); err != nil {
		if full(err) {
			return nil, "", overloaded(err)
		}
		var missing *store.NotFoundError
		if errors.As(err, &missing) {
			return nil, "", refuse(codes.NotFound, ReasonTableNotFound, err.Error())
		}
		return nil, "", status.Error(codes.Internal, err.Error())
	}
	s.totals.Add(account)
	s.notices.account(ctx, kind, dest, req.GetCallerId(), account)
	res = account.Response()
	switch {
	case account.Deferral != nil:
		outcome = "deferred"
	case res.Failed(kind):
		outcome = "rejected"
	default:
		outcome = "ok"
	}
	return res, outcome, nil
}

// open decompresses a payload once the gate lets its bytes in, those of the payload and those of the message. The ticket has
// to be left exactly once, after the message is released.
func (s *Service) open(caller string, e payload.Encoding, p []byte) (*payload.Message, *hold, error) {
	first, most, err := payload.Bounds(e, p, int(s.cfg.MaxDecompressedBytes))
	if err != nil {
		return nil, nil, undecodable(err)
	}
	for {
		h, err := s.enter(caller, int64(first+len(p)))
		if err != nil {
			return nil, nil, err
		}
		m, err := s.payload.Decompress(e, p, first)
		if err == nil {
			return m, h, nil
		}
		h.ticket.Leave()
		if !errors.Is(err, payload.ErrTooLarge) || first == most {
			return nil, nil, undecodable(err)
		}
		// Its own account of its size was wrong. It may take what it can at the worst, if the gate has that.
		first = most
	}
}

// decode decodes a message by its type, as far as the gate has room for what becomes of it. release has to be called when
// nothing of the entries is needed any more.
func (s *Service) decode(ctx context.Context, t ingestv1.MessageType, message []byte, a *ledger.Account, h *hold) (_ store.Entries, release func(), err error) {
	kind := remotewrite.V1
	switch t {
	case ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS, ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS_JSON:
		format := otlp.Protobuf
		if t == ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS_JSON {
			format = otlp.JSON
		}
		decoded, err := s.otlp.Decode(ctx, format, message, a, h.room)
		if err != nil {
			return store.Entries{}, nil, err
		}
		if err := h.room(decoded.Bytes() + storeBytes(a)); err != nil {
			return store.Entries{}, nil, err
		}
		return store.Entries{Series: decoded.Series, Metadata: decoded.Metadata, Starts: true}, func() {}, nil
	case ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2:
		kind = remotewrite.V2
	}
	decoded, err := s.decoder.Decode(kind, message, a, h.room)
	if err != nil {
		return store.Entries{}, nil, err
	}
	if err := h.room(decoded.Bytes() + storeBytes(a)); err != nil {
		decoded.Release()
		return store.Entries{}, nil, err
	}
	return store.Entries{Series: decoded.Series, Metadata: decoded.Metadata, Starts: kind == remotewrite.V2}, decoded.Release, nil
}

// answerTime is what is left of a deadline for the answer to reach the caller, who otherwise learns nothing.
const answerTime = 500 * time.Millisecond

func (s *Service) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, s.cfg.Timeout)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(answerTime, deadline.Sub(s.deps.Now())/10)))
}

// read checks everything but the payload.
func (s *Service) read(req *ingestv1.WriteRequest) (m ingestv1.MessageType, e payload.Encoding, d store.Destination, err error) {
	switch m = req.GetMessageType(); m {
	case ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1, ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2,
		ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS, ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS_JSON:
	default:
		return m, e, d, fmt.Errorf("message_type %s: want MESSAGE_TYPE_REMOTE_WRITE_V1, MESSAGE_TYPE_REMOTE_WRITE_V2, MESSAGE_TYPE_OTLP_METRICS or MESSAGE_TYPE_OTLP_METRICS_JSON", m)
	}
	switch x := req.GetEncoding(); x {
	case ingestv1.Encoding_ENCODING_UNSPECIFIED:
		e = payload.Plain
	case ingestv1.Encoding_ENCODING_SNAPPY:
		e = payload.Snappy
	case ingestv1.Encoding_ENCODING_ZSTD:
		e = payload.Zstd
	case ingestv1.Encoding_ENCODING_GZIP:
		e = payload.Gzip
	default:
		return m, e, d, fmt.Errorf("encoding %s: want ENCODING_UNSPECIFIED, ENCODING_SNAPPY, ENCODING_ZSTD or ENCODING_GZIP", x)
	}
	if n := len(req.GetCallerId()); n > maxCallerBytes || !utf8.ValidString(req.GetCallerId()) {
		return m, e, d, fmt.Errorf("caller_id has %d bytes: want UTF-8 of at most %d", n, maxCallerBytes)
	}
	d = store.Destination{Database: s.cfg.Database, Table: s.cfg.Table}
	if n := req.GetDestination().GetDatabase(); n != "" {
		d.Database = n
	}
	if n := req.GetDestination().GetTable(); n != "" {
		d.Table = n
	}
	if !timestream.ValidTableName(d.Database) {
		return m, e, d, fmt.Errorf("destination.database %.100q: %s", d.Database, timestream.TableNameRule)
	}
	if !timestream.ValidTableName(d.Table) {
		return m, e, d, fmt.Errorf("destination.table %.100q: %s", d.Table, timestream.TableNameRule)
	}
	return m, e, d, nil
}

const maxCallerBytes = 128

// allowed tells whether a request may write to a table. Whoever reaches the service could otherwise write wherever its
// credentials can.
func (s *Service) allowed(d store.Destination) bool {
	return d == store.Destination{Database: s.cfg.Database, Table: s.cfg.Table} || s.cfg.AllowedTables.Allows(d.Database, d.Table)
}

// undecodable is the gRPC error for a payload that is refused whole.
func undecodable(err error) error {
	switch {
	case full(err):
		return overloaded(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	case errors.Is(err, otlp.ErrDelta):
		return status.Error(codes.Internal, err.Error())
	case errors.Is(err, otlp.ErrTooLarge):
		return refuse(codes.InvalidArgument, ReasonTooLarge, fmt.Sprintf("%s; the limit is %d times --ingest.max-decompressed-bytes of the ingest service, and smaller batches of the sender avoid it", err, labelBytesPerByte))
	case errors.Is(err, payload.ErrTooLarge):
		return refuse(codes.InvalidArgument, ReasonTooLarge, err.Error()+"; --ingest.max-decompressed-bytes of the ingest service moves it, and smaller batches of the sender avoid it")
	case errors.Is(err, remotewrite.ErrTooMany), errors.Is(err, otlp.ErrTooMany):
		return refuse(codes.InvalidArgument, ReasonTooMany, err.Error()+"; --ingest.max-samples-per-request of the ingest service moves the limit, and smaller batches of the sender avoid it")
	}
	return refuse(codes.InvalidArgument, ReasonCorrupt, err.Error())
}

// refuse is a gRPC error with its reason as a detail.
func refuse(code codes.Code, reason, text string, more ...*errdetails.RetryInfo) error {
	st, err := status.New(code, text).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: ErrorDomain})
	if err != nil {
		return status.Error(code, text)
	}
	for _, d := range more {
		if with, err := st.WithDetails(d); err == nil {
			st = with
		}
	}
	return st.Err()
}
