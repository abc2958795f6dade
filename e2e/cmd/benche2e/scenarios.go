// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-project/tributary/e2e/internal/load"
	"github.com/tributary-project/tributary/e2e/internal/proc"
	"github.com/tributary-project/tributary/e2e/internal/standin"
)

// scenario is one system under load.
type scenario struct {
	name      string
	yardstick bool
	// start starts the processes and says where to write; metrics, if not empty, is where ingest's metrics are.
	start func(ctx context.Context, b *bench, s *system) error
	// counted are the processes whose CPU time the rate is divided by; empty means all.
	counted []string
}

// system is what a scenario has started.
type system struct {
	dir       string
	writeURL  string
	metrics   string
	processes []*proc.Process
	counter   *standin.Counter
	closers   []func()
}

// Scenarios that marks are about.
const (
	countingScenario = "gateway+ingest/counting"
	allScenario      = "all-in-one"
)

func scenarios() []scenario {
	return []scenario{
		{name: "prometheus", yardstick: true, start: startPrometheus},
		{name: countingScenario, start: startCounting, counted: []string{"gateway", "ingest"}},
		{name: "four-processes", start: startFour},
		{name: allScenario, start: startAll},
	}
}

func names() []string {
	var out []string
	for _, s := range scenarios() {
		out = append(out, s.name)
	}
	return out
}

// launch starts a binary of the project or Prometheus with a name of its own.
func (s *system) launch(ctx context.Context, b *bench, name, readyURL string, args ...string) error {
	p, err := proc.Start(ctx, name, s.dir, filepath.Join(b.bin, name), readyURL, args...)
	if err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	return nil
}

func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it returns at once
	if err != nil {
		return "", err
	}
	address := ln.Addr().String()
	return address, ln.Close()
}

func addresses(n int) ([]string, error) {
	out := make([]string, n)
	var err error
	for i := range out {
		if out[i], err = freeAddress(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func startPrometheus(ctx context.Context, b *bench, s *system) error {
	a, err := freeAddress()
	if err != nil {
		return err
	}
	config := filepath.Join(s.dir, "prometheus.yml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return err
	}
	s.writeURL = "http://" + a + "/api/v1/write"
	return s.launch(ctx, b, "prometheus", "http://"+a+"/-/ready", "--config.file="+config, "--web.enable-remote-write-receiver",
		"--storage.tsdb.path="+filepath.Join(s.dir, "data"), "--web.listen-address="+a)
}

func startCounting(ctx context.Context, b *bench, s *system) error {
	s.counter = &standin.Counter{}
	srv := httptest.NewServer(s.counter)
	s.closers = append(s.closers, srv.Close)
	return startServices(ctx, b, s, srv.URL, false)
}

func startFour(ctx context.Context, b *bench, s *system) error {
	a, err := freeAddress()
	if err != nil {
		return err
	}
	if err := s.launch(ctx, b, "timestream-local", "http://"+a+"/-/ready", "--listen-address="+a, "--data-dir="+filepath.Join(s.dir, "data")); err != nil {
		return err
	}
	return startServices(ctx, b, s, "http://"+a, true)
}

func startServices(ctx context.Context, b *bench, s *system, endpoint string, withQuery bool) error {
	a, err := addresses(6)
	if err != nil {
		return err
	}
	store := []string{"--timestream.endpoint=" + endpoint, "--timestream.local-credentials"}
	if err := s.launch(ctx, b, "ingest", "http://"+a[1]+"/-/ready", append(store, "--grpc.listen-address="+a[0], "--web.listen-address="+a[1])...); err != nil {
		return err
	}
	if withQuery {
		if err := s.launch(ctx, b, "query", "http://"+a[3]+"/-/ready", append(store, "--grpc.listen-address="+a[2], "--web.listen-address="+a[3])...); err != nil {
			return err
		}
	}
	s.writeURL, s.metrics = "http://"+a[4]+"/api/v1/write", "http://"+a[1]+"/metrics"
	return s.launch(ctx, b, "gateway", "http://"+a[4]+"/-/ready?role=ingest", "--web.listen-address="+a[4], "--grpc.listen-address="+a[5],
		"--ingest.address="+a[0], "--query.address="+a[2])
}

func startAll(ctx context.Context, b *bench, s *system) error {
	a, err := addresses(3)
	if err != nil {
		return err
	}
	p, err := proc.Start(ctx, "tributary", s.dir, filepath.Join(b.bin, "tributary"), "http://"+a[0]+"/-/ready", "all",
		"--web.listen-address="+a[0], "--grpc.listen-address="+a[1], "--local.listen-address="+a[2], "--data-dir="+filepath.Join(s.dir, "data"))
	if err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	s.writeURL, s.metrics = "http://"+a[0]+"/api/v1/write", "http://"+a[0]+"/metrics"
	return nil
}

// result is one row.
type result struct {
	name     string
	report   *load.Report
	counted  time.Duration
	byProc   []string
	peakRSS  int64   // of all processes together, bytes
	metered  float64 // bytes; negative when unknown
	recorded int64   // records that the counting endpoint took; 0 without one
}

// measure starts a scenario, warms it up, puts it under load and stops it.
func (b *bench) measure(ctx context.Context, sc scenario) (_ *result, err error) {
	dir, err := os.MkdirTemp("", "benche2e-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &system{dir: dir}
	defer func() {
		for i := len(s.processes) - 1; i >= 0; i-- {
			err = errors.Join(err, s.processes[i].Stop())
		}
		for _, c := range s.closers {
			c()
		}
	}()
	if err := sc.start(ctx, b, s); err != nil {
		return nil, err
	}
	cfg := b.load
	cfg.URL = s.writeURL
	cfg.Set = load.NewSet(b.series, sc.name)
	warm := cfg
	warm.Duration = 3 * time.Second
	if _, err := load.Run(ctx, warm); err != nil {
		return nil, err
	}
	before, err := cpuTimes(s.processes)
	if err != nil {
		return nil, err
	}
	meteredBefore, err := s.metered(ctx)
	if err != nil {
		return nil, err
	}
	recordsBefore := int64(0)
	if s.counter != nil {
		recordsBefore = s.counter.Records()
	}
	report, err := load.Run(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if report.Rejected > 0 || report.Abandoned > 0 || report.WrongCounts > 0 {
		return nil, fmt.Errorf("%d requests rejected (%s), %d abandoned, %d with wrong counts: the load was not taken", report.Rejected, report.FirstRejection, report.Abandoned, report.WrongCounts)
	}
	after, err := cpuTimes(s.processes)
	if err != nil {
		return nil, err
	}
	r := &result{name: sc.name, report: report, metered: -1}
	if meteredAfter, err := s.metered(ctx); err != nil {
		return nil, err
	} else if meteredAfter >= 0 {
		r.metered = meteredAfter - meteredBefore
	}
	if s.counter != nil {
		if r.recorded = s.counter.Records() - recordsBefore; r.recorded != report.SamplesAcknowledged {
			return nil, fmt.Errorf("%d samples acknowledged, %d records counted", report.SamplesAcknowledged, r.recorded)
		}
	}
	for i, p := range s.processes {
		rss, err := p.PeakRSS()
		if err != nil {
			return nil, err
		}
		r.peakRSS += rss
		cpu := after[i] - before[i]
		if len(sc.counted) == 0 || contains(sc.counted, p.Name) {
			r.counted += cpu
		}
		r.byProc = append(r.byProc, fmt.Sprintf("%s %.1f/%d", p.Name, cpu.Seconds(), rss>>20))
	}
	return r, nil
}

func cpuTimes(ps []*proc.Process) ([]time.Duration, error) {
	out := make([]time.Duration, len(ps))
	for i, p := range ps {
		var err error
		if out[i], err = p.CPU(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// meteredMetric is ingest's count of the bytes that Timestream meters for what was written.
const meteredMetric = "tributary_ingest_metered_bytes_total"

// metered reads it; -1 when the scenario has none.
func (s *system) metered(ctx context.Context) (float64, error) {
	if s.metrics == "" {
		return -1, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.metrics, nil)
	if err != nil {
		return 0, err
	}
	res, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	sum, found := 0.0, false
	for sc := bufio.NewScanner(res.Body); sc.Scan(); {
		name, value, ok := strings.Cut(sc.Text(), " ")
		if family, _, _ := strings.Cut(name, "{"); !ok || family != meteredMetric {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("%s has no %s", s.metrics, meteredMetric)
	}
	return sum, nil
}

func (r *result) perCPUSecond() float64 {
	return float64(r.report.SamplesAcknowledged) / r.counted.Seconds()
}

func (r *result) print(w io.Writer, yardstick float64) {
	ratio, metered := "-", "-"
	if yardstick > 0 {
		ratio = fmt.Sprintf("%.2f", r.perCPUSecond()/yardstick)
	}
	if r.metered >= 0 {
		metered = fmt.Sprintf("%.0f", r.metered/1024/float64(r.report.SamplesAcknowledged)*1000)
	}
	fmt.Fprintf(w, "%-34s %12.0f %14.0f %9s %10s %12s  %s\n", r.name, r.report.SamplesPerSecond(), r.perCPUSecond(), ratio,
		fmt.Sprintf("%d/%d", r.report.Latency(0.5).Milliseconds(), r.report.Latency(0.99).Milliseconds()), metered, strings.Join(r.byProc, ", "))
}
