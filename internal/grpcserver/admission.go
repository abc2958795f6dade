// SPDX-License-Identifier: Apache-2.0

package grpcserver

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

// windowBytes is what a client may send of a message that is not yet being read: a usual request, which otherwise would
// take another round trip. gRPC allows no less than 64 KiB.
const windowBytes = 128 << 10

// connectionWindowBytes is what may be under way on a connection; it costs no memory of its own.
const connectionWindowBytes = 4 << 20

// admission bounds the memory of requests before a handler, with limits of its own, sees them. gRPC decodes a whole
// message first, and its own bounds are per connection, of which anybody opens as many as he likes. So the server counts
// its calls and refuses those beyond at once. A call that waits to be read holds at most a flow-control window; of those
// being read, whose message may be as large as messages get, there are few, and the others queue.
type admission struct {
	// work are the calls of services, probes those of health checks and reflection: neither keeps out the other.
	work, probes *lane
	timeout      time.Duration
	afterFunc    func(time.Duration, func()) *time.Timer // time.AfterFunc
	logger       *slog.Logger
	refused      *prometheus.CounterVec
}

// lane is a share of the server. A slot is taken for the time given in its name.
type lane struct {
	inFlight, receiving chan struct{}
}

func newLane(calls, receiving int) *lane {
	return &lane{inFlight: make(chan struct{}, calls), receiving: make(chan struct{}, receiving)}
}

const (
	// Health checks and reflection have small messages, and clients that watch keep a call each.
	maxProbes          = 1024
	maxProbesReceiving = 4
)

func newAdmission(cfg Config, logger *slog.Logger, reg prometheus.Registerer, afterFunc func(time.Duration, func()) *time.Timer) *admission {
	a := &admission{
		work:    newLane(cfg.MaxCalls, cfg.MaxReceiving),
		probes:  newLane(maxProbes, maxProbesReceiving),
		timeout: cfg.ReceiveTimeout, afterFunc: afterFunc,
		logger: logger,
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grpc_server_refused_calls_total",
			Help: "Calls that ended before a handler saw them: over --grpc.max-calls, or not received within --grpc.receive-timeout.",
		}, []string{"reason"}),
	}
	reg.MustRegister(
		a.refused,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "grpc_server_inflight_calls", Help: "Calls in flight, without health checks and reflection; --grpc.max-calls bounds them.",
		}, func() float64 { return float64(len(a.work.inFlight)) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "grpc_server_receiving_calls", Help: "Calls whose request is being received; --grpc.max-receiving bounds them.",
		}, func() float64 { return float64(len(a.work.receiving)) }),
	)
	for _, reason := range []string{reasonMaxCalls, reasonReceiveTimeout} {
		a.refused.WithLabelValues(reason)
	}
	return a
}

const (
	reasonMaxCalls       = "max_calls"
	reasonReceiveTimeout = "receive_timeout"
)

func (a *admission) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.InTapHandle(a.tap),
		grpc.StatsHandler(a),
		grpc.ChainUnaryInterceptor(a.unary),
		grpc.ChainStreamInterceptor(a.stream),
		// Windows that grow with the bandwidth would let calls that wait hold megabytes. That of a call grows to the size of
		// its message as soon as that is read.
		grpc.StaticStreamWindowSize(windowBytes),
		grpc.StaticConnWindowSize(connectionWindowBytes),
	}
}

// call is one call that was let in.
type call struct {
	lane   *lane
	method string
	cancel context.CancelFunc
	// received ends the time in which the call counts as being received. It may be called more than once.
	received func()
}

type callKey struct{}

// tap lets a call in or refuses it, when its headers have come. It runs on the goroutine that reads the connection.
func (a *admission) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	l := a.work
	if strings.HasPrefix(info.FullMethodName, "/"+healthv1.Health_ServiceDesc.ServiceName+"/") || strings.HasPrefix(info.FullMethodName, "/grpc.reflection.") {
		l = a.probes
	}
	select {
	case l.inFlight <- struct{}{}:
	default:
		a.refused.WithLabelValues(reasonMaxCalls).Inc()
		return ctx, status.Errorf(codes.ResourceExhausted, "overloaded: %d calls in flight are the limit (--grpc.max-calls); call again later", cap(l.inFlight))
	}
	context.AfterFunc(ctx, func() { <-l.inFlight }) // it ends with the call, whatever way that ends
	ctx, cancel := context.WithCancel(ctx)
	return context.WithValue(ctx, callKey{}, &call{lane: l, method: info.FullMethodName, cancel: cancel, received: func() {}}), nil
}

// HandleRPC implements stats.Handler. The event for headers comes on the goroutine of the call, before its message is
// read: there it waits for its turn.
func (a *admission) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if _, ok := event.(*stats.InHeader); !ok {
		return
	}
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return
	}
	select {
	case c.lane.receiving <- struct{}{}:
	case <-ctx.Done():
		return // and so the message is not read
	}
	late := a.afterFunc(a.timeout, func() {
		a.refused.WithLabelValues(reasonReceiveTimeout).Inc()
		a.logger.Warn("gave up a gRPC call whose request did not come within --grpc.receive-timeout", "method", c.method, "timeout", a.timeout)
		c.cancel()
	})
	release := sync.OnceFunc(func() {
		late.Stop()
		<-c.lane.receiving
	})
	stop := context.AfterFunc(ctx, release) // for a call that never gets to its handler
	c.received = func() { stop(); release() }
}

// TagRPC implements stats.Handler.
func (a *admission) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// TagConn implements stats.Handler.
func (a *admission) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (a *admission) HandleConn(context.Context, stats.ConnStats) {}

// unary is called when the request has been read to its end.
func (a *admission) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	received(ctx)
	return handler(ctx, req)
}

// stream is called before the request is read.
func (a *admission) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, admittedStream{ss})
}

// admittedStream notes that the request, or the first of several, was read.
type admittedStream struct{ grpc.ServerStream }

func (s admittedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	received(s.Context())
	return err
}

func received(ctx context.Context) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.received()
	}
}
