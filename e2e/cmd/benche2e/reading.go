// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/tributary-project/tributary/e2e/internal/proc"
	"github.com/tributary-project/tributary/e2e/internal/remoteread"
)

// readCase is one remote read.
type readCase struct {
	name string
	kind prompb.ReadRequest_ResponseType
	// repeat is how often the stand-in gives out what is stored of the group.
	group  history
	repeat int
	// reads is how many are measured in a round.
	reads int
	// marks: the longest time, zero when there is none, and whether memory and speed of the decoder are held to theirs.
	most            time.Duration
	memory, decoder bool
}

// series is how many series the answer has.
func (c readCase) series() int { return c.group.series * c.repeat }

// Names of the groups of reads.
const (
	remoteReadScenario = "remote-read"
	promqlScenario     = "promql"
	pushDownScenario   = "push-down"
)

// hour is an hour at 15 s.
func hour(name, group string, series int) history {
	const step, points = 15 * time.Second, 240
	return history{name: name, group: group, series: series, start: time.Now().Add(-(points + 4) * step).Truncate(step), step: step, points: points}
}

func readCases() []readCase {
	const chunks, samples = prompb.ReadRequest_STREAMED_XOR_CHUNKS, prompb.ReadRequest_SAMPLES
	thousand, five := hour("bench_read_total", "1000-series", 1000), hour("bench_read_total", "5000-series", 5000)
	return []readCase{
		{name: "1,000 × 240 in chunks", kind: chunks, group: thousand, repeat: 1, reads: 5, most: 400 * time.Millisecond, memory: true},
		{name: "5,000 × 240 in chunks", kind: chunks, group: five, repeat: 1, reads: 3, most: 1500 * time.Millisecond, memory: true, decoder: true},
		{name: "50,000 × 240 in chunks", kind: chunks, group: five, repeat: 10, reads: 1, memory: true, decoder: true},
		{name: "1,000 × 240 in samples", kind: samples, group: thousand, repeat: 1, reads: 5},
		{name: "5,000 × 240 in samples", kind: samples, group: five, repeat: 1, reads: 3},
	}
}

// readResult is what a readCase did in all its rounds.
type readResult struct {
	readCase
	done    int // reads
	count   remoteread.Count
	times   []time.Duration
	firsts  []time.Duration
	pages   float64                  // of the stand-in
	cpu     map[string]time.Duration // by role
	peak    map[string]int64         // by role, the most of all rounds
	machine proc.Machine
	client  time.Duration
}

// Roles whose cost is told.
const (
	gatewayRole = "gateway"
	queryRole   = "query"
	standInRole = "stand-in"
)

// measureRemoteRead measures gateway and query before an endpoint that answers from memory.
func (b *bench) measureRemoteRead(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "benche2e-")
	if err != nil {
		return err
	}
	s := &system{dir: dir}
	defer func() { err = errors.Join(err, s.stop()) }()
	fmt.Fprintf(b.progress, "%s: writing what is read …\n", remoteReadScenario)
	cases := readCases()
	store, err := b.startStore(ctx, s, []history{cases[0].group, cases[1].group})
	if err != nil {
		return err
	}
	endpoints := map[int]string{}
	standIns := map[int]*proc.Process{}
	for _, repeat := range []int{1, 10} {
		if standIns[repeat], endpoints[repeat], err = s.startResults(ctx, fmt.Sprintf("%s#%d", standInRole, repeat), store, repeat); err != nil {
			return err
		}
	}
	results := make([]*readResult, len(cases))
	for round := range b.rounds + 1 {
		for i, c := range cases {
			if round == 0 { // the stand-in learns what it will be asked, and each sample is looked at
				fmt.Fprintf(b.progress, "%s, %s: a first time, to be looked at …\n", remoteReadScenario, c.name)
				results[i] = &readResult{readCase: c, cpu: map[string]time.Duration{}, peak: map[string]int64{}}
			} else {
				fmt.Fprintf(b.progress, "%s, %s, round %d of %d …\n", remoteReadScenario, c.name, round, b.rounds)
			}
			if err := b.measureRead(ctx, s.dir, endpoints[c.repeat], standIns[c.repeat], results[i], round == 0); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	b.reads = results
	b.printReads(results)
	return nil
}

// startStore starts a timestream-local with samples in it, written by a gateway and an ingest that are gone afterwards.
func (b *bench) startStore(ctx context.Context, s *system, groups []history, flags ...string) (string, error) {
	a, err := freeAddress()
	if err != nil {
		return "", err
	}
	endpoint := "http://" + a
	args := append([]string{"--listen-address=" + a, "--admin.listen-address=", "--data-dir=" + filepath.Join(s.dir, "data"), "--memory-retention-hours=8766"}, flags...)
	if err := s.launch(ctx, b, "timestream-local", "timestream-local", endpoint+"/-/ready", args...); err != nil {
		return "", err
	}
	return endpoint, b.fill(ctx, s.dir, endpoint, groups)
}

// fill writes through a gateway and an ingest of their own.
func (b *bench) fill(ctx context.Context, dir, endpoint string, groups []history) (err error) {
	writing := &system{dir: dir}
	defer func() { err = errors.Join(err, writing.end()) }()
	if err := startServices(ctx, b, writing, endpoint, 1, nil, false); err != nil {
		return err
	}
	return send(ctx, writing.writeURL, groups)
}

// startReaders starts a query service and a gateway before an endpoint, and returns the gateway's URL and the query service's
// gRPC address.
func (s *system) startReaders(ctx context.Context, b *bench, endpoint string, queryFlags ...string) (gateway, query string, err error) {
	a, err := addresses(5)
	if err != nil {
		return "", "", err
	}
	args := append([]string{"--timestream.endpoint=" + endpoint, "--timestream.local-credentials", "--grpc.listen-address=" + a[0], "--web.listen-address=" + a[1]}, queryFlags...)
	if err := s.launch(ctx, b, queryRole, "query", "http://"+a[1]+"/-/ready", args...); err != nil {
		return "", "", err
	}
	err = s.launch(ctx, b, gatewayRole, "gateway", "http://"+a[2]+"/-/ready?role=query", "--web.listen-address="+a[2], "--grpc.listen-address="+a[3],
		"--ingest.address="+a[4], "--query.address="+a[0])
	return "http://" + a[2], a[0], err
}

// measureRead starts gateway and query, reads once to warm up, and then as often as the case says. Or it reads once and looks at
// everything.
func (b *bench) measureRead(ctx context.Context, dir, endpoint string, standIn *proc.Process, r *readResult, look bool) (err error) {
	s := &system{dir: dir}
	defer func() { err = errors.Join(err, s.end()) }()
	gateway, _, err := s.startReaders(ctx, b, endpoint)
	if err != nil {
		return err
	}
	target := gateway + "/api/v1/read"
	query := &prompb.Query{
		StartTimestampMs: r.group.start.UnixMilli(), EndTimestampMs: r.group.end().UnixMilli(),
		Matchers: []*prompb.LabelMatcher{{Name: "__name__", Value: r.group.name}, {Name: "cluster", Value: r.group.group}},
	}
	if look {
		return r.look(ctx, target, query)
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	counter := remoteread.NewCounter(&http.Client{Timeout: 5 * time.Minute, Transport: transport}, target)
	if _, err := r.read(ctx, counter, query); err != nil {
		return err
	}
	processes := append(slices.Clone(s.processes), standIn)
	given, err := readMetrics(ctx, endpoint+givenPath)
	if err != nil {
		return err
	}
	before, err := readAll(processes)
	if err != nil {
		return err
	}
	for range r.reads {
		n, err := r.read(ctx, counter, query)
		if err != nil {
			return err
		}
		r.count, r.done = n, r.done+1
		r.times, r.firsts = append(r.times, n.Last), append(r.firsts, n.First)
	}
	after, err := readAll(processes)
	if err != nil {
		return err
	}
	givenNow, err := readMetrics(ctx, endpoint+givenPath)
	if err != nil {
		return err
	}
	r.pages += givenNow[givenPages] - given[givenPages]
	r.client += after.own - before.own
	r.machine.Total += after.machine.Total - before.machine.Total
	r.machine.Idle += after.machine.Idle - before.machine.Idle
	for i, p := range processes {
		r.cpu[role(p.Name)] += after.cpu[i] - before.cpu[i]
	}
	for _, p := range s.processes {
		peak, err := p.PeakRSS()
		if err != nil {
			return err
		}
		r.peak[role(p.Name)] = max(r.peak[role(p.Name)], peak)
	}
	return nil
}

// read reads once and holds that nothing is missing.
func (c readCase) read(ctx context.Context, counter *remoteread.Counter, query *prompb.Query) (remoteread.Count, error) {
	n, err := counter.Read(ctx, query, c.kind)
	if want := int64(c.series()) * int64(c.group.points); err == nil && (n.Series != c.series() || n.Samples != want) {
		err = fmt.Errorf("%d series with %d samples, want %d with %d", n.Series, n.Samples, c.series(), want)
	}
	return n, err
}

// look reads with Prometheus' client and holds that each sample is the one that was written, of its series, in order.
func (c readCase) look(ctx context.Context, target string, query *prompb.Query) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	client, err := remote.NewReadClient("bench", &remote.ClientConfig{
		URL: &config_util.URL{URL: u}, Timeout: model.Duration(5 * time.Minute), ChunkedReadLimit: 5e7,
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{c.kind},
	}, config_util.WithKeepAlivesDisabled())
	if err != nil {
		return err
	}
	set, err := client.Read(ctx, query, false)
	if err != nil {
		return err
	}
	var it chunkenc.Iterator
	seen := 0
	last, points := "", 0
	for set.Next() {
		ls := set.At().Labels()
		name := ls.String()
		if name != last { // a series may come as several
			if last != "" && (points != c.group.points || name < last) {
				return fmt.Errorf("%s has %d samples of %d, or is not before %s", last, points, c.group.points, name)
			}
			last, points = name, 0
			seen++
		}
		pod := ls.Get("pod")
		i, err := strconv.Atoi(pod[strings.LastIndexByte(pod, '-')+1:])
		if err != nil {
			return err
		}
		block, err := strconv.Atoi(strings.TrimPrefix(ls.Get("block"), "block-"))
		if err != nil || block < 0 || block >= c.repeat {
			return fmt.Errorf("unexpected series %s", ls)
		}
		it = set.At().Iterator(it)
		for it.Next() == chunkenc.ValFloat {
			ms, v := it.At()
			if want := c.group.start.UnixMilli() + int64(points)*c.group.step.Milliseconds(); ms != want || v != c.group.value(i, ms) {
				return fmt.Errorf("%s has %v at %d", name, v, ms)
			}
			points++
		}
		if err := it.Err(); err != nil {
			return err
		}
	}
	if err := set.Err(); err != nil {
		return err
	}
	if seen != c.series() || points != c.group.points {
		return fmt.Errorf("%d series of %d", seen, c.series())
	}
	return nil
}

// readAll reads what processes, this one and the machine have done.
func readAll(processes []*proc.Process) (*costs, error) {
	return (&system{processes: processes}).readCosts()
}

// median is the middle of some times.
func median(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

// perCPUSecond is how many samples come for a second of the role's CPU time.
func (r *readResult) perCPUSecond(role string) float64 {
	return float64(r.count.Samples) * float64(r.done) / r.cpu[role].Seconds()
}

func (b *bench) printReads(results []*readResult) {
	var rows [][]string
	for _, r := range results {
		each := func(d time.Duration) string { return fmt.Sprintf("%.0f", d.Seconds()*1000/float64(r.done)) }
		rows = append(rows, []string{
			r.name, fmt.Sprintf("%.2f", median(r.times).Seconds()), milliseconds(median(r.firsts)), thousands(float64(r.count.Samples) / median(r.times).Seconds()),
			fmt.Sprintf("%.0f", r.pages/float64(r.done)), thousands(r.perCPUSecond(queryRole)), each(r.cpu[queryRole]), each(r.cpu[gatewayRole]), each(r.cpu[standInRole]), each(r.client), fmt.Sprintf("%.0f %%", 100*r.machine.IdleSince(proc.Machine{})),
			mib(float64(r.peak[queryRole])), mib(float64(r.peak[gatewayRole])),
		})
	}
	rows = append(rows,
		[]string{"awslabs connector, 1,000 × 240 (as reported)", "4.8", none, none, none, "45,000", none, none, none, none, none, none, none},
		[]string{"awslabs connector, 5,000 × 240 (as reported)", "23 to 35", none, none, none, none, none, none, none, none, none, "2,765", none})
	b.out.table(fmt.Sprintf("Remote read, a service that takes %s a page", pageLatency), []string{
		"read", "s", "first frame ms", "samples/s", "pages", "query: samples per CPU-s", "query: CPU ms", "gateway", "stand-in", "client", "machine idle", "query: peak MiB", "gateway",
	}, rows)
}
