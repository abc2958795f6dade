// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang/snappy"
)

// Config says what to send, where and how fast.
type Config struct {
	// URL of remote write.
	URL      string
	Protocol Protocol
	Set      Set
	// SamplesPerRequest bounds a request.
	SamplesPerRequest int
	// Senders share the series between them, each sends one request at a time, as the shards of Prometheus do.
	Senders int
	// Spread says which series a sender takes; empty means BySeries.
	Spread Spread
	// Fill makes a sender that has few series put as many samples of each into a request as it takes, as a shard of Prometheus
	// that has to catch up does. Otherwise a request holds one sample of each series.
	Fill bool
	// Duration is how long new requests are made.
	Duration time.Duration
	// Rate is samples per second of all senders together; 0 means as fast as they are taken.
	Rate float64
	// RetryFor is how long after the end of Duration a request is still retried. What is not acknowledged by then is
	// abandoned: it may be stored or not.
	RetryFor time.Duration
	// Client sends the requests; nil means one with a connection per sender and 30 s per attempt, as in Prometheus.
	Client *http.Client
	// Warn is told of each attempt that was not acknowledged; nil means nobody is.
	Warn func(message string)
}

// Report is what came of a run.
type Report struct {
	// Elapsed is the time from the first request to the last answer.
	Elapsed time.Duration
	// Requests by outcome, and attempts, of which each request takes one or more.
	Acknowledged, Rejected, Abandoned, Attempts int
	// SamplesAcknowledged is the number of samples in acknowledged requests.
	SamplesAcknowledged int64
	// WrongCounts is how many 2xx answers to remote write 2.0 did not say that all samples were written.
	WrongCounts int
	// BytesSent is what went out in all attempts, compressed.
	BytesSent int64
	// Latencies of the attempts that were acknowledged, in ascending order.
	Latencies []time.Duration
	// LongestWait is the longest time from the first attempt of a request to its acknowledgement.
	LongestWait time.Duration
	// FirstRejection is the text of the first final error.
	FirstRejection string
	// Ledger remembers the outcome of every request.
	Ledger *Ledger
}

// SamplesPerSecond is the rate of what was acknowledged.
func (r *Report) SamplesPerSecond() float64 {
	return float64(r.SamplesAcknowledged) / r.Elapsed.Seconds()
}

// Latency returns the quantile q of Latencies, 0 if there are none.
func (r *Report) Latency(q float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[min(len(r.Latencies)-1, int(q*float64(len(r.Latencies))))]
}

// Retries is how many attempts were made again.
func (r *Report) Retries() int {
	return r.Attempts - r.Acknowledged - r.Rejected - r.Abandoned
}

// Generator makes the load of a Config as often as it is run. It is not safe for concurrent use.
type Generator struct {
	cfg     Config
	senders []*sender
	close   func()
}

// Run makes the load once.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	g, err := NewGenerator(cfg)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	return g.Run(ctx, cfg.Duration), nil
}

// NewGenerator encodes what can be encoded before the first request, so that the time of a Run is that of sending.
func NewGenerator(cfg Config) (*Generator, error) {
	if cfg.SamplesPerRequest < 1 || cfg.Senders < 1 || cfg.Set.Len() < cfg.Senders {
		return nil, fmt.Errorf("%d series, %d senders, %d samples per request: each must be positive and every sender needs a series",
			cfg.Set.Len(), cfg.Senders, cfg.SamplesPerRequest)
	}
	contentType, version, err := cfg.Protocol.header()
	if err != nil {
		return nil, err
	}
	switch cfg.Spread {
	case "", BySeries, ByTarget:
	default:
		return nil, fmt.Errorf("spread %q: there are %s and %s", cfg.Spread, BySeries, ByTarget)
	}
	g := &Generator{close: func() {}}
	if cfg.Client == nil {
		transport := &http.Transport{MaxIdleConnsPerHost: cfg.Senders, DisableCompression: true}
		g.close = transport.CloseIdleConnections
		cfg.Client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	}
	if cfg.Warn == nil {
		cfg.Warn = func(string) {}
	}
	g.cfg = cfg
	for n := range cfg.Senders {
		s := &sender{cfg: &g.cfg, contentType: contentType, version: version}
		first, step, left := cfg.Spread.share(cfg.Set.Len(), cfg.Senders, n)
		passes := 1
		if cfg.Fill {
			passes = max(1, cfg.SamplesPerRequest/left)
		}
		for ; left > 0; left -= cfg.SamplesPerRequest {
			span := Span{First: first, Step: step, Count: min(left, cfg.SamplesPerRequest)}
			s.templates = append(s.templates, newTemplate(cfg.Protocol, cfg.Set, span, passes))
			first = span.at(span.Count)
		}
		g.senders = append(g.senders, s)
	}
	return g, nil
}

// Close closes the connections.
func (g *Generator) Close() { g.close() }

// Run sends until the duration is over or ctx ends, then lets requests in flight end within Config.RetryFor. A request that
// is not acknowledged is no error here; it is in the report. What this run sends no earlier one did.
func (g *Generator) Run(ctx context.Context, d time.Duration) *Report {
	sending, stop := context.WithTimeout(ctx, d)
	defer stop()
	retrying, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	context.AfterFunc(sending, func() { time.AfterFunc(g.cfg.RetryFor, giveUp) })

	start := time.Now()
	var wg sync.WaitGroup
	for _, s := range g.senders {
		s.report, s.requests = Report{}, nil
		wg.Go(func() { s.run(sending, retrying) })
	}
	wg.Wait()
	report := &Report{Elapsed: time.Since(start), Ledger: &Ledger{Run: g.cfg.Set.Run(), Series: g.cfg.Set.Len()}}
	for _, s := range g.senders {
		report.add(&s.report)
		report.Ledger.Requests = append(report.Ledger.Requests, s.requests...)
	}
	sort.Slice(report.Latencies, func(a, b int) bool { return report.Latencies[a] < report.Latencies[b] })
	return report
}

func (r *Report) add(o *Report) {
	r.Acknowledged += o.Acknowledged
	r.Rejected += o.Rejected
	r.Abandoned += o.Abandoned
	r.Attempts += o.Attempts
	r.SamplesAcknowledged += o.SamplesAcknowledged
	r.WrongCounts += o.WrongCounts
	r.BytesSent += o.BytesSent
	r.Latencies = append(r.Latencies, o.Latencies...)
	r.LongestWait = max(r.LongestWait, o.LongestWait)
	if r.FirstRejection == "" {
		r.FirstRejection = o.FirstRejection
	}
}

// sender sends the series of its templates over and over.
type sender struct {
	cfg                  *Config
	contentType, version string
	templates            []*template
	report               Report
	requests             []Request
	raw                  []byte
	last                 int64 // the latest timestamp that was used, in milliseconds
}

// run makes requests until sending ends, each retried until retrying ends.
func (s *sender) run(sending, retrying context.Context) {
	var due time.Time
	for {
		// All requests of one turn bear the same timestamps, which no earlier turn had.
		timestampMs := max(time.Now().UnixMilli(), s.last+1)
		s.last = timestampMs + int64(s.templates[0].passes) - 1
		for _, t := range s.templates {
			if s.cfg.Rate > 0 {
				due = s.pace(sending, due, t.samples())
			}
			if sending.Err() != nil {
				return
			}
			s.raw = t.appendRequest(s.raw[:0], timestampMs)
			// A body of its own for each request: the transport may still read it after an early answer.
			outcome := s.deliver(retrying, snappy.Encode(nil, s.raw), t.samples())
			for p := range t.passes {
				s.requests = append(s.requests, Request{Span: t.span, TimestampMs: timestampMs + int64(p), Outcome: outcome})
			}
		}
	}
}

// pace waits until due and returns when the request after this one of n samples is. A sender that fell behind by more than
// a second does not catch up with what it missed.
func (s *sender) pace(ctx context.Context, due time.Time, n int) time.Time {
	interval := time.Duration(float64(n*s.cfg.Senders) / s.cfg.Rate * float64(time.Second))
	now := time.Now()
	if due.IsZero() {
		due = now.Add(rand.N(interval + 1)) // senders do not march in step
	}
	if now.Sub(due) > time.Second {
		due = now
	}
	sleep(ctx, due.Sub(now))
	return due.Add(interval)
}

// deliver sends the body until it is acknowledged, rejected or ctx ends, with the waits of Prometheus: from 30 ms doubled
// up to 5 s, or what Retry-After says. 429 counts as final, as it does in a default Prometheus.
func (s *sender) deliver(ctx context.Context, body []byte, samples int) Outcome {
	first, wait := time.Now(), 30*time.Millisecond
	for {
		began := time.Now()
		status, header, err := s.attempt(ctx, body)
		s.report.Attempts++
		s.report.BytesSent += int64(len(body))
		switch {
		case err == nil && status/100 == 2:
			now := time.Now()
			s.report.Acknowledged++
			s.report.SamplesAcknowledged += int64(samples)
			s.report.Latencies = append(s.report.Latencies, now.Sub(began))
			s.report.LongestWait = max(s.report.LongestWait, now.Sub(first))
			if s.cfg.Protocol == V2 && header.Get("X-Prometheus-Remote-Write-Samples-Written") != strconv.Itoa(samples) {
				s.report.WrongCounts++
			}
			return Acknowledged
		case status/100 == 4:
			s.report.Rejected++
			s.report.FirstRejection = err.Error()
			s.cfg.Warn(err.Error())
			return Rejected
		case ctx.Err() != nil:
			s.report.Abandoned++
			return Abandoned
		}
		s.cfg.Warn(err.Error())
		pause := wait
		if n, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
			pause = time.Duration(n) * time.Second
		}
		sleep(ctx, pause)
		wait = min(2*wait, 5*time.Second)
	}
}

// attempt sends the body once. The error is set for everything but a 2xx; the status is 0 without an answer.
func (s *sender) attempt(ctx context.Context, body []byte) (status int, header http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", s.contentType)
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", s.version)
	req.Header.Set("User-Agent", "tributary-loadgen")
	res, err := s.cfg.Client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	// The status line is the answer; a body that breaks off after it changes nothing.
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if res.StatusCode/100 != 2 {
		return res.StatusCode, res.Header, fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(text)))
	}
	return res.StatusCode, res.Header, nil
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
