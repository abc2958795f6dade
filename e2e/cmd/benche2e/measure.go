// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-project/tributary/e2e/internal/load"
	"github.com/tributary-project/tributary/e2e/internal/proc"
)

// result is what a scenario did in all its rounds.
type result struct {
	name    string
	noRatio bool

	elapsed   time.Duration
	counted   time.Duration // CPU time of the processes that count
	all       time.Duration // CPU time of all processes and this one
	samples   int64
	requests  int
	retries   int
	latencies []time.Duration
	processes []*processCost
	machine   proc.Machine // what the machine did

	spent *spending // nil when there is no ingest
	calls callCosts // at the counting endpoint; zero without one
}

// processCost is what a process cost.
type processCost struct {
	name       string
	cpu        time.Duration
	peak, last int64 // resident bytes
}

// callCosts are what a counting endpoint saw.
type callCosts struct{ records, requests, bodyBytes int64 }

// spending is what ingest says of what it wrote.
type spending struct{ meteredBytes, units, calls float64 }

// The metrics of ingest behind spending.
const (
	meteredMetric = "tributary_ingest_metered_bytes_total"
	unitsMetric   = "tributary_ingest_write_units_total"
	callsMetric   = "tributary_ingest_batch_records_count"
)

// begin makes a system and a generator of load for it.
func (b *bench) begin(ctx context.Context, sc scenario, p load.Protocol) (s *system, g *load.Generator, err error) {
	dir, err := os.MkdirTemp("", "benche2e-")
	if err != nil {
		return nil, nil, err
	}
	s = &system{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if err := sc.start(ctx, b, s); err != nil {
		return nil, nil, err
	}
	cfg := b.load
	cfg.URL, cfg.Protocol = s.writeURL, p
	cfg.Set = load.NewSet(b.series, "bench") // the same for all: their requests have the same bytes
	if sc.shape != nil {
		sc.shape(&cfg)
	}
	g, err = load.NewGenerator(cfg)
	return s, g, err
}

// measure starts a scenario, warms it up, puts it under load, stops it, and adds to the result.
func (b *bench) measure(ctx context.Context, sc scenario, p load.Protocol, r *result) (err error) {
	s, g, err := b.begin(ctx, sc, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	defer g.Close()
	if err := taken(g.Run(ctx, b.warmUp)); err != nil {
		return err
	}
	before, err := s.read(ctx)
	if err != nil {
		return err
	}
	report := g.Run(ctx, b.duration)
	if err := errors.Join(ctx.Err(), taken(report)); err != nil {
		return err
	}
	// The metrics are read outside of the time that counts: before it at the beginning, after it at the end.
	after, err := s.readCosts()
	if err != nil {
		return err
	}
	if after.spent, err = s.spending(ctx); err != nil {
		return err
	}
	if s.counter != nil && after.calls.records-before.calls.records != report.SamplesAcknowledged {
		return fmt.Errorf("%d samples acknowledged, %d records counted", report.SamplesAcknowledged, after.calls.records-before.calls.records)
	}
	if err := r.addMemory(s.processes); err != nil {
		return err
	}
	r.add(sc, report, before, after)
	return nil
}

// taken returns an error unless all of the load was.
func taken(r *load.Report) error {
	if r.Rejected > 0 || r.Abandoned > 0 || r.WrongCounts > 0 || r.Acknowledged == 0 {
		return fmt.Errorf("%d requests acknowledged, %d rejected (%s), %d abandoned, %d with wrong counts: the load was not taken", r.Acknowledged, r.Rejected, r.FirstRejection, r.Abandoned, r.WrongCounts)
	}
	return nil
}

// costs are readings at one moment.
type costs struct {
	own     time.Duration
	cpu     []time.Duration // by process
	machine proc.Machine
	calls   callCosts
	spent   *spending
}

// read reads all: ingest's metrics, and then what reading them must not count for.
func (s *system) read(ctx context.Context) (*costs, error) {
	spent, err := s.spending(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.readCosts()
	if err != nil {
		return nil, err
	}
	c.spent = spent
	return c, nil
}

// readCosts reads everything but ingest's metrics.
func (s *system) readCosts() (*costs, error) {
	c := &costs{}
	for _, p := range s.processes {
		cpu, err := p.CPU()
		if err != nil {
			return nil, err
		}
		c.cpu = append(c.cpu, cpu)
	}
	var err error
	if c.own, err = proc.Own(); err != nil {
		return nil, err
	}
	if c.machine, err = proc.ReadMachine(); err != nil {
		return nil, err
	}
	if s.counter != nil {
		c.calls = callCosts{s.counter.Records(), s.counter.Requests(), s.counter.BodyBytes()}
	}
	return c, nil
}

func (r *result) add(sc scenario, report *load.Report, before, after *costs) {
	r.elapsed += report.Elapsed
	r.samples += report.SamplesAcknowledged
	r.requests += report.Acknowledged
	r.retries += report.Retries()
	r.latencies = append(r.latencies, report.Latencies...)
	slices.Sort(r.latencies)
	r.machine.Total += after.machine.Total - before.machine.Total
	r.machine.Idle += after.machine.Idle - before.machine.Idle
	r.all += after.own - before.own
	r.calls.records += after.calls.records - before.calls.records
	r.calls.requests += after.calls.requests - before.calls.requests
	r.calls.bodyBytes += after.calls.bodyBytes - before.calls.bodyBytes
	if after.spent != nil {
		if r.spent == nil {
			r.spent = &spending{}
		}
		r.spent.meteredBytes += after.spent.meteredBytes - before.spent.meteredBytes
		r.spent.units += after.spent.units - before.spent.units
		r.spent.calls += after.spent.calls - before.spent.calls
	}
	for i, p := range r.processes {
		cpu := after.cpu[i] - before.cpu[i]
		p.cpu += cpu
		r.all += cpu
		if len(sc.counted) == 0 || slices.Contains(sc.counted, role(p.name)) {
			r.counted += cpu
		}
	}
}

// addMemory notes what the processes have resident.
func (r *result) addMemory(processes []*proc.Process) error {
	for i, p := range processes {
		if len(r.processes) <= i {
			r.processes = append(r.processes, &processCost{name: p.Name})
		}
		peak, err := p.PeakRSS()
		if err != nil {
			return err
		}
		last, err := p.RSS()
		if err != nil {
			return err
		}
		c := r.processes[i]
		c.peak, c.last = max(c.peak, peak), last
	}
	return nil
}

// spending adds up what the ingests say; nil when there is none.
func (s *system) spending(ctx context.Context) (*spending, error) {
	if len(s.metrics) == 0 {
		return nil, nil //nolint:nilnil // there is nothing to read, and that is no error
	}
	var sum spending
	for _, url := range s.metrics {
		families, err := readMetrics(ctx, url)
		if err != nil {
			return nil, err
		}
		for name, to := range map[string]*float64{meteredMetric: &sum.meteredBytes, unitsMetric: &sum.units, callsMetric: &sum.calls} {
			v, found := families[name]
			if !found {
				return nil, fmt.Errorf("%s has no %s", url, name)
			}
			*to += v
		}
	}
	return &sum, nil
}

// readMetrics returns the sums of metrics by name, labels left out.
func readMetrics(ctx context.Context, url string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	out := map[string]float64{}
	sc := bufio.NewScanner(res.Body)
	for sc.Scan() {
		if strings.HasPrefix(sc.Text(), "#") {
			continue
		}
		// Values of labels may hold spaces, the value of the metric does not.
		i := strings.LastIndexByte(sc.Text(), ' ')
		if i < 0 {
			continue
		}
		v, err := strconv.ParseFloat(sc.Text()[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", url, sc.Text(), err)
		}
		name, _, _ := strings.Cut(sc.Text()[:i], "{")
		out[name] += v
	}
	return out, sc.Err()
}

func (r *result) perSecond() float64 { return float64(r.samples) / r.elapsed.Seconds() }

func (r *result) perCPUSecond() float64 { return float64(r.samples) / r.counted.Seconds() }

// idle is the part of the time in which the machine's cores had nothing to do.
func (r *result) idle() float64 { return r.machine.IdleSince(proc.Machine{}) }

func (r *result) latency(q float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[min(len(r.latencies)-1, int(q*float64(len(r.latencies))))]
}

// process returns what a process of the role cost at most, and nil when there is none.
func (r *result) process(name string) *processCost {
	var most *processCost
	for _, p := range r.processes {
		if role(p.name) == name && (most == nil || p.peak > most.peak) {
			most = p
		}
	}
	return most
}
