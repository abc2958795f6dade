// SPDX-License-Identifier: Apache-2.0

// Package send makes single WriteRecords calls: bounded in number, each attempt bounded in time, retried where waiting
// can help, and every outcome sorted into what it means for the samples. It is the only retry layer of writing. What a
// refused record was, and what to do about it, is left to the caller.
package send

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/prometheus/client_golang/prometheus"
)

// Call makes one attempt of a WriteRecords call. It may be made again with the same records: the service stores a record once.
// It must not retry by itself.
type Call func(context.Context) (*timestreamwrite.WriteRecordsOutput, error)

// Config bounds the calls.
type Config struct {
	// MaxInFlight bounds the calls of the process.
	MaxInFlight int
	// Retries is how often a call is repeated at most.
	Retries int
	// AttemptTimeout bounds one attempt.
	AttemptTimeout time.Duration
	// MinBackoff and MaxBackoff bound the pause before a repetition. It is chosen at random between the half and the whole
	// of a bound that doubles from one repetition to the next.
	MinBackoff, MaxBackoff time.Duration
}

// Sender makes calls. It is safe for concurrent use.
type Sender struct {
	cfg   Config
	slots chan struct{}
	now   func() time.Time

	attempts *prometheus.CounterVec
	retries  prometheus.Counter
	latency  prometheus.Histogram
	inFlight prometheus.Gauge
	// The names under which the awslabs connector counts, for its users' dashboards.
	connectorRequests prometheus.Counter
	connectorLatency  prometheus.Histogram

	mu     sync.Mutex
	health Health
}

// Health says how the last finished call fared.
type Health struct {
	// Known is false before the first call.
	Known bool
	// Failure is nil when Timestream answered, be it with refusals.
	Failure *Failure
}

// New returns a sender.
func New(cfg Config, reg prometheus.Registerer, now func() time.Time) *Sender {
	s := &Sender{
		cfg: cfg, slots: make(chan struct{}, cfg.MaxInFlight), now: now,
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_ingest_write_attempts_total", Help: "Attempts of WriteRecords calls, by outcome: ok, rejected_records, or the cause of the failure.",
		}, []string{"outcome"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_ingest_write_retries_total", Help: "Attempts of WriteRecords calls after the first.",
		}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_ingest_write_attempt_duration_seconds", Help: "How long attempts of WriteRecords calls took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tributary_ingest_writes_in_flight", Help: "WriteRecords calls under way; --ingest.max-inflight-writes bounds them.",
		}),
		connectorRequests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "timestream_connector_write_requests_total", Help: "WriteRecords calls. The awslabs connector's name for it.",
		}),
		connectorLatency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "timestream_connector_write_duration_seconds", Help: "How long WriteRecords calls took. The awslabs connector's name for it.",
			Buckets: prometheus.DefBuckets,
		}),
	}
	reg.MustRegister(s.attempts, s.retries, s.latency, s.inFlight, s.connectorRequests, s.connectorLatency)
	return s
}

// Health returns how the last finished call fared.
func (s *Sender) Health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

// Result is the outcome of a call. Exactly one of three holds: Failure is set, and the outcome of every record is open; or
// Invalid is set, and nothing was stored because some record is invalid; or all records but the rejected ones are stored.
type Result struct {
	// Late is how many of the stored records went to the magnetic store; Timestream tells only when it rejects none.
	Late int
	// Rejected are the records that were refused for good.
	Rejected []types.RejectedRecord
	// Invalid is the service's reason for refusing the whole call; the caller can find the culprit by halving.
	Invalid string
	// Failure says why the call has to be made again later.
	Failure *Failure
}

// Write makes a call with so many records and repeats it while that can help, the context lives and retries are left.
func (s *Sender) Write(ctx context.Context, records int, call Call) Result {
	select {
	case s.slots <- struct{}{}:
	default:
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return Result{Failure: Interrupt(ctx)}
		}
	}
	s.inFlight.Inc()
	defer func() { s.inFlight.Dec(); <-s.slots }()

	backoff := s.cfg.MinBackoff
	for attempt := 0; ; attempt++ {
		res := s.attempt(ctx, records, call)
		if res.Failure == nil || !res.Failure.retry || attempt >= s.cfg.Retries || ctx.Err() != nil {
			return res
		}
		pause := backoff/2 + rand.N(backoff/2+1)
		backoff = min(2*backoff, s.cfg.MaxBackoff)
		if deadline, ok := ctx.Deadline(); ok && s.now().Add(pause).After(deadline) {
			return res
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return res
		}
		s.retries.Inc()
	}
}

func (s *Sender) attempt(ctx context.Context, records int, call Call) Result {
	attemptCtx, cancel := context.WithTimeout(ctx, s.cfg.AttemptTimeout)
	defer cancel()
	start := s.now()
	out, err := call(attemptCtx)
	took := s.now().Sub(start).Seconds()
	s.latency.Observe(took)
	s.connectorLatency.Observe(took)
	s.connectorRequests.Inc()
	res := classify(ctx, out, err, records)
	switch {
	case res.Failure != nil:
		s.attempts.WithLabelValues(string(res.Failure.Cause)).Inc()
	case res.Invalid != "":
		s.attempts.WithLabelValues("invalid").Inc()
	case len(res.Rejected) > 0:
		s.attempts.WithLabelValues("rejected_records").Inc()
	default:
		s.attempts.WithLabelValues("ok").Inc()
	}
	if res.Failure == nil || res.Failure.Cause != Interrupted {
		s.mu.Lock()
		s.health = Health{Known: true, Failure: res.Failure}
		s.mu.Unlock()
	}
	return res
}

// Interrupt is the failure of a call that its own context ended.
func Interrupt(ctx context.Context) *Failure {
	text := "the request was cancelled before Timestream had answered"
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		text = "the request ran out of time before Timestream had answered"
	}
	return &Failure{Cause: Interrupted, Text: text}
}
