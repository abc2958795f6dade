// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/e2e/internal/load"
	"github.com/tributary-project/tributary/e2e/internal/proc"
	"github.com/tributary-project/tributary/e2e/internal/standin"
	"github.com/tributary-project/tributary/internal/grpcserver"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// Names of the scenarios.
const (
	yardstickScenario  = "prometheus"
	countingScenario   = "gateway+ingest/counting"
	fourScenario       = "four-processes"
	allScenario        = "all-in-one"
	oneSenderScenario  = "latency/1-sender"
	manySenderScenario = "latency/16-senders"
	smallScenario      = "small-requests"
	oneIngestScenario  = "scaling/1-ingest"
	twoIngestScenario  = "scaling/2-ingests"
	gatewayScenario    = "gateway-alone"
	orderScenario      = "order"
	soakScenario       = "soak"
)

// serviceLatency is how long the counting endpoint takes for a call where a scenario is about waiting.
const serviceLatency = 20 * time.Millisecond

// manySenders is how many senders the memory of the processes is bounded for.
const manySenders = 16

// scenario is one system under one load.
type scenario struct {
	name string
	// start starts the processes and says where to write.
	start func(ctx context.Context, b *bench, s *system) error
	// counted are the processes, by role, whose CPU time the rate is divided by; empty means all.
	counted []string
	// shape changes the load from the usual one; nil changes nothing.
	shape func(c *load.Config)
	// noRatio is set when a comparison with the yardstick says nothing.
	noRatio bool
}

// group is scenarios that take turns.
type group struct {
	title         string
	everyProtocol bool
	scenarios     []scenario
}

func groups() []group {
	services := []string{"gateway", "ingest"}
	return []group{
		{title: "The whole", everyProtocol: true, scenarios: []scenario{
			{name: yardstickScenario, start: startPrometheus},
			{name: countingScenario, start: startCounting(counting{ingests: 1}), counted: services},
			{name: fourScenario, start: startFour},
			{name: allScenario, start: startAll},
		}},
		{title: "Waiting for the service", scenarios: []scenario{
			{name: oneSenderScenario, start: startCounting(counting{latency: serviceLatency, ingests: 1}), counted: services, shape: func(c *load.Config) { c.Senders = 1 }},
			{name: manySenderScenario, start: startCounting(counting{latency: serviceLatency, ingests: 1}), counted: services, shape: many},
			{name: smallScenario, start: startCounting(counting{ingests: 1}), counted: services, noRatio: true, shape: func(c *load.Config) {
				c.Set, c.Senders, c.SamplesPerRequest, c.Rate = load.NewSet(40, c.Set.Run()), 4, 10, 400
			}},
		}},
		{title: "Scaling, 8 calls in flight per ingest", scenarios: []scenario{
			{name: oneIngestScenario, start: startCounting(scaling(1)), counted: services, noRatio: true, shape: many},
			{name: twoIngestScenario, start: startCounting(scaling(2)), counted: services, noRatio: true, shape: many},
		}},
		{title: "The gateway alone", scenarios: []scenario{
			{name: gatewayScenario, start: startGateway, noRatio: true, shape: func(c *load.Config) {
				c.Set = load.NewSet(c.Senders*c.SamplesPerRequest, c.Set.Run()) // full requests only
			}},
		}},
	}
}

// many is the load of many senders, their requests filled by several samples of each series.
func many(c *load.Config) { c.Senders, c.Fill = manySenders, true }

func scaling(ingests int) counting {
	return counting{latency: serviceLatency, ingests: ingests, flags: []string{"--ingest.max-inflight-writes=8"}}
}

func names() []string {
	var out []string
	for _, g := range groups() {
		for _, s := range g.scenarios {
			out = append(out, s.name)
		}
	}
	return append(out, orderScenario, soakScenario, remoteReadScenario, promqlScenario, pushDownScenario, localScenario)
}

// system is what a scenario has started.
type system struct {
	dir       string
	writeURL  string
	metrics   []string // where the metrics of each ingest are
	processes []*proc.Process
	counter   *standin.Counter
	closers   []func()
}

// stop ends the processes, front to back, and what they stood on, and removes what they left.
func (s *system) stop() error { return errors.Join(s.end(), os.RemoveAll(s.dir)) }

// end is stop for a system that has its folder from another.
func (s *system) end() error {
	var errs []error
	for i := len(s.processes) - 1; i >= 0; i-- {
		errs = append(errs, s.processes[i].Stop())
	}
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
	return errors.Join(errs...)
}

// launch starts a binary under a name that begins with its role.
func (s *system) launch(ctx context.Context, b *bench, name, binary, readyURL string, args ...string) error {
	p, err := proc.Start(ctx, name, s.dir, filepath.Join(b.bin, binary), readyURL, args...)
	if err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	return nil
}

// role is the name of a process without its number.
func role(name string) string {
	if head, number, ok := strings.Cut(name, "#"); ok && number != "" {
		return head
	}
	return name
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
	return s.launch(ctx, b, "prometheus", "prometheus", "http://"+a+"/-/ready", "--config.file="+config, "--web.enable-remote-write-receiver",
		"--storage.tsdb.path="+filepath.Join(s.dir, "data"), "--web.listen-address="+a)
}

// counting is a gateway and some ingests before an endpoint that only counts.
type counting struct {
	latency time.Duration
	ingests int
	flags   []string // of ingest
}

func startCounting(c counting) func(ctx context.Context, b *bench, s *system) error {
	return func(ctx context.Context, b *bench, s *system) error {
		s.counter = &standin.Counter{Latency: c.latency}
		srv := httptest.NewServer(s.counter)
		s.closers = append(s.closers, srv.Close)
		return startServices(ctx, b, s, srv.URL, c.ingests, c.flags, false)
	}
}

func startFour(ctx context.Context, b *bench, s *system) error {
	a, err := freeAddress()
	if err != nil {
		return err
	}
	if err := s.launch(ctx, b, "timestream-local", "timestream-local", "http://"+a+"/-/ready", "--listen-address="+a, "--admin.listen-address=", "--data-dir="+filepath.Join(s.dir, "data")); err != nil {
		return err
	}
	return startServices(ctx, b, s, "http://"+a, 1, nil, true)
}

// startServices starts what stands before an endpoint. The ingests are replicas behind one name, as in a cluster: each has
// a loopback address of its own and all have the same port.
func startServices(ctx context.Context, b *bench, s *system, endpoint string, ingests int, ingestFlags []string, withQuery bool) error {
	a, err := addresses(5)
	if err != nil {
		return err
	}
	store := []string{"--timestream.endpoint=" + endpoint, "--timestream.local-credentials"}
	_, port, err := net.SplitHostPort(a[0])
	if err != nil {
		return err
	}
	var hosts []net.IP
	for i := range ingests {
		host, name := net.IPv4(127, 0, 0, byte(i+1)), "ingest"
		if ingests > 1 {
			name += "#" + strconv.Itoa(i+1)
		}
		web, err := freeAddress()
		if err != nil {
			return err
		}
		args := append(append([]string{"--grpc.listen-address=" + net.JoinHostPort(host.String(), port), "--web.listen-address=" + web}, store...), ingestFlags...)
		if err := s.launch(ctx, b, name, "ingest", "http://"+web+"/-/ready", args...); err != nil {
			return err
		}
		hosts = append(hosts, host)
		s.metrics = append(s.metrics, "http://"+web+"/metrics")
	}
	if withQuery {
		if err := s.launch(ctx, b, "query", "query", "http://"+a[2]+"/-/ready", append(store, "--grpc.listen-address="+a[1], "--web.listen-address="+a[2])...); err != nil {
			return err
		}
	}
	ingest := a[0]
	if ingests > 1 {
		names, err := serveNames(hosts)
		if err != nil {
			return err
		}
		s.closers = append(s.closers, names.close)
		ingest = "dns://" + names.address + "/ingest.test.:" + port
	}
	return s.startGateway(ctx, b, a[3], a[4], ingest, a[1])
}

func (s *system) startGateway(ctx context.Context, b *bench, web, grpc, ingest, query string) error {
	s.writeURL = "http://" + web + "/api/v1/write"
	return s.launch(ctx, b, "gateway", "gateway", "http://"+web+"/-/ready?role=ingest", "--web.listen-address="+web, "--grpc.listen-address="+grpc,
		"--ingest.address="+ingest, "--query.address="+query)
}

func startAll(ctx context.Context, b *bench, s *system) error {
	a, err := addresses(3)
	if err != nil {
		return err
	}
	s.writeURL, s.metrics = "http://"+a[0]+"/api/v1/write", []string{"http://" + a[0] + "/metrics"}
	return s.launch(ctx, b, "tributary", "tributary", "http://"+a[0]+"/-/ready", "all",
		"--web.listen-address="+a[0], "--grpc.listen-address="+a[1], "--local.listen-address="+a[2], "--data-dir="+filepath.Join(s.dir, "data"))
}

// yes is an ingest service that stores nothing and says that it stored a full request.
type yes struct {
	ingestv1.UnimplementedIngestServiceServer

	answer *ingestv1.WriteResponse
}

func (y yes) Write(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
	return y.answer, nil
}

// startGateway starts a gateway before an ingest service in this process, so that what it costs is its own.
func startGateway(ctx context.Context, b *bench, s *system) error {
	n := uint64(b.load.SamplesPerRequest)
	server, err := grpcserver.New(grpcserver.DefaultConfig("127.0.0.1:0"), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	ingestv1.RegisterIngestServiceServer(server.GRPC, yes{answer: &ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{Samples: &ingestv1.Counts{Received: n, Stored: n}}}})
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() { _ = server.Serve(serving); close(ended) }()
	s.closers = append(s.closers, func() { stop(); <-ended })
	a, err := addresses(3)
	if err != nil {
		return err
	}
	return s.startGateway(ctx, b, a[0], a[1], server.Addr().String(), a[2])
}
