// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/tributary-project/tributary/gateway/internal/promapi"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/grpcserver"
	"github.com/tributary-project/tributary/internal/tlsconfig"
)

// Config is what the flags say about a gateway. Where the services behind it are is not part of it: the connections
// are given to New.
type Config struct {
	// ListenAddress is where HTTP is served, host:port. Empty: nowhere, for who uses Handler.
	ListenAddress string
	// TelemetryPath is where metrics are served.
	TelemetryPath string
	// TLS of the HTTP listener.
	TLS tlsconfig.Server
	// GRPC is the gRPC listener; an empty address means none. Its MaxMessageBytes follows from MaxRequestBytes.
	GRPC grpcserver.Config

	// MaxRequestBytes bounds the body of a request as it comes, MaxDecompressedBytes what it declares to be
	// decompressed.
	MaxRequestBytes, MaxDecompressedBytes flags.Bytes
	// MaxInFlightRequests and MaxInFlightBytes bound what is being worked on; over them the answer is 503 at once. A
	// byte of a body costs about three of memory: itself, its copy in the gRPC message, and buffers of connections.
	MaxInFlightRequests int
	MaxInFlightBytes    flags.Bytes

	// WriteTimeout bounds a write from its first byte to its answer. Prometheus gives up after 30 s.
	WriteTimeout time.Duration
	// ReadTimeout bounds a read until its answer begins, and then once more until the answer was taken.
	ReadTimeout time.Duration
	// MaxReadQueries is how many queries a read request may hold, ReadConcurrency how many of them run at once.
	MaxReadQueries, ReadConcurrency int
	// MaxReadResponseBytes bounds the answer to one read, decompressed. MaxReadBufferBytes bounds the memory in which the
	// answers of all reads are put together, compressed.
	MaxReadResponseBytes, MaxReadBufferBytes flags.Bytes

	// MaxFormBytes bounds the body of a form: the parameters of a PromQL request.
	MaxFormBytes flags.Bytes
	// MaxExpressionBytes bounds an expression or selector of PromQL.
	MaxExpressionBytes flags.Bytes
	// CORSOrigin is a regular expression for the whole of an origin that browsers may read Prometheus' API from.
	CORSOrigin string

	// HealthInterval is how often the services behind the gateway are asked for their health.
	HealthInterval time.Duration
	// DrainDelay is how long a gateway that was asked to stop goes on as before, except that it says so in /-/ready, so
	// that balancers look elsewhere. DrainTimeout is how long requests in flight may take after that.
	DrainDelay, DrainTimeout time.Duration
}

// messageOverheadBytes is what a gRPC message may hold besides the body of a request.
const messageOverheadBytes = 64 << 10

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	c := Config{
		ListenAddress:        "127.0.0.1:9201",
		TelemetryPath:        "/metrics",
		GRPC:                 grpcserver.DefaultConfig("127.0.0.1:9202"),
		MaxRequestBytes:      32 << 20,
		MaxDecompressedBytes: 32 << 20,
		MaxInFlightRequests:  1024,
		MaxInFlightBytes:     128 << 20,
		WriteTimeout:         25 * time.Second,
		ReadTimeout:          2 * time.Minute,
		MaxReadQueries:       64,
		ReadConcurrency:      4,
		MaxReadResponseBytes: 256 << 20,
		MaxReadBufferBytes:   256 << 20,
		MaxFormBytes:         10 << 20, // what net/http lets a form have that nobody bounds, and so Prometheus
		MaxExpressionBytes:   512 << 10,
		CORSOrigin:           ".*",
		HealthInterval:       time.Second,
		DrainTimeout:         30 * time.Second,
	}
	c.GRPC.MaxConnectionAgeGrace = c.ReadTimeout
	return c
}

// Names of flags that appear in error texts.
const (
	maxRequestBytesFlag      = "web.max-request-bytes"
	maxDecompressedBytesFlag = "web.max-decompressed-bytes"
	maxInFlightRequestsFlag  = "web.max-inflight-requests"
	maxInFlightBytesFlag     = "web.max-inflight-bytes"
	writeTimeoutFlag         = "write.timeout"
	readTimeoutFlag          = "read.timeout"
	maxReadQueriesFlag       = "read.max-queries"
	maxReadResponseBytesFlag = "read.max-response-bytes"
	maxReadBufferBytesFlag   = "read.max-buffer-bytes"
	maxFormBytesFlag         = "web.max-form-bytes"
	maxExpressionBytesFlag   = "query.max-expression-bytes"
	corsOriginFlag           = "web.cors.origin"
)

// RegisterFlags registers the flags with the present values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.ListenAddress, "web.listen-address", c.ListenAddress, "Address to listen on for write and read requests, metrics and the status page. The Timestream connector listened on all addresses (:9201); nothing authenticates callers yet, so the default is the loopback address.")
	fs.StringVar(&c.TelemetryPath, "web.telemetry-path", c.TelemetryPath, "Path of the metrics.")
	c.TLS.RegisterFlags(fs, "", "HTTP")
	c.GRPC.RegisterFlags(fs)
	fs.Var(&c.MaxRequestBytes, maxRequestBytesFlag, "Largest body of a request as it comes, compressed. Larger ones are answered 413. The services behind the gateway need a limit at least as high.")
	fs.Var(&c.MaxDecompressedBytes, maxDecompressedBytesFlag, "Largest body of a request after decompression, as its snappy header declares it. Larger ones are answered 413.")
	fs.IntVar(&c.MaxInFlightRequests, maxInFlightRequestsFlag, c.MaxInFlightRequests, "How many write and read requests are worked on at once. Further ones are answered 503 with Retry-After. 0: no limit.")
	fs.Var(&c.MaxInFlightBytes, maxInFlightBytesFlag, "How many bytes of request bodies are held at once; a byte costs about three of memory. Requests beyond are answered 503 with Retry-After. 0: no limit.")
	fs.DurationVar(&c.WriteTimeout, writeTimeoutFlag, c.WriteTimeout, "Time for a write request from its first byte to its answer. Below the sender's own, which is 30s in Prometheus (remote_timeout).")
	fs.DurationVar(&c.ReadTimeout, readTimeoutFlag, c.ReadTimeout, "Time for a read request until its answer begins, and again until the answer was taken.")
	fs.IntVar(&c.MaxReadQueries, maxReadQueriesFlag, c.MaxReadQueries, "How many queries one read request may hold. More are answered 400.")
	fs.IntVar(&c.ReadConcurrency, "read.concurrency", c.ReadConcurrency, "How many queries of one read request run at once.")
	fs.Var(&c.MaxReadResponseBytes, maxReadResponseBytesFlag, "Largest answer to a read request, decompressed. Larger ones are answered 400, as Prometheus does over its sample limit.")
	fs.Var(&c.MaxReadBufferBytes, maxReadBufferBytesFlag, "Memory for the answers of all reads in flight: those of remote read are put together compressed, those of the Prometheus API are held back up to 1 MiB each, and messages in the JSON mapping count five times. Reads beyond are answered 503. 0: no limit.")
	fs.Var(&c.MaxFormBytes, maxFormBytesFlag, "Largest form that parameters of the Prometheus API may come in. Larger ones are answered 413. Parsed, a form counts four times against --web.max-inflight-bytes.")
	fs.Var(&c.MaxExpressionBytes, maxExpressionBytesFlag, "Longest expression of PromQL, and longest selector of a listing. Longer ones are answered 400, and so are those with more than 250 brackets open at a place or 3000 names, numbers and operators. The query service has a flag of the same name.")
	fs.StringVar(&c.CORSOrigin, corsOriginFlag, c.CORSOrigin, "Regular expression for the origins that scripts in browsers may read the Prometheus API from. It is fully anchored. Example: 'https?://(domain1|domain2)\\.com'.")
	fs.DurationVar(&c.HealthInterval, "backend.health-interval", c.HealthInterval, "How often the ingest and query services are asked for their health.")
	fs.DurationVar(&c.DrainDelay, "web.drain-delay", c.DrainDelay, "How long to go on as before when asked to stop, while /-/ready already answers 503, so that a load balancer looks elsewhere first. Set it to the interval of the balancer's probe times its threshold.")
	fs.DurationVar(&c.DrainTimeout, "web.drain-timeout", c.DrainTimeout, "How long HTTP requests in flight may take when the process stops.")
}

// Validate names everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !strings.HasPrefix(c.TelemetryPath, "/") || strings.ContainsAny(c.TelemetryPath, "{} ") || c.TelemetryPath == "/" {
		bad("--web.telemetry-path=%q: want a path such as /metrics", c.TelemetryPath)
	}
	if _, err := promapi.Origin(c.CORSOrigin); err != nil {
		bad("--%s=%q: %w", corsOriginFlag, c.CORSOrigin, err)
	}
	const maxMessage = 1 << 30 // gRPC itself ends at 2 GiB
	for _, b := range []struct {
		flag     string
		value    flags.Bytes
		min, max flags.Bytes
	}{
		{maxRequestBytesFlag, c.MaxRequestBytes, 1, maxMessage},
		{maxDecompressedBytesFlag, c.MaxDecompressedBytes, 1, maxMessage},
		{maxFormBytesFlag, c.MaxFormBytes, 1, maxMessage},
		{maxExpressionBytesFlag, c.MaxExpressionBytes, 1, maxMessage},
		{maxReadResponseBytesFlag, c.MaxReadResponseBytes, 1, 1 << 31}, // snappy's length ends at 4 GiB
	} {
		if b.value < b.min || b.value > b.max {
			bad("--%s=%s: want %s to %s", b.flag, b.value.String(), b.min.String(), b.max.String())
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		min   time.Duration
	}{
		{writeTimeoutFlag, c.WriteTimeout, time.Millisecond},
		{readTimeoutFlag, c.ReadTimeout, time.Millisecond},
		{"backend.health-interval", c.HealthInterval, time.Millisecond},
		{"web.drain-delay", c.DrainDelay, 0},
		{"web.drain-timeout", c.DrainTimeout, 0},
	} {
		if d.value < d.min {
			bad("--%s=%s: want at least %s", d.flag, d.value, d.min)
		}
	}
	for _, n := range []struct {
		flag       string
		value, min int
	}{
		{maxInFlightRequestsFlag, c.MaxInFlightRequests, 0},
		{maxReadQueriesFlag, c.MaxReadQueries, 1},
		{"read.concurrency", c.ReadConcurrency, 1},
	} {
		if n.value < n.min {
			bad("--%s=%d: want at least %d", n.flag, n.value, n.min)
		}
	}
	if c.MaxInFlightBytes != 0 && c.MaxInFlightBytes < c.MaxRequestBytes {
		bad("--%s=%s is less than one body may hold (--%s=%s)", maxInFlightBytesFlag, c.MaxInFlightBytes.String(), maxRequestBytesFlag, c.MaxRequestBytes.String())
	}
	if c.GRPC.ListenAddress != "" {
		errs = append(errs, c.GRPC.Validate())
	}
	return errors.Join(errs...)
}

// IngestMessageBytes is the message limit for a connection to the ingest service.
func (c Config) IngestMessageBytes() int { return int(c.MaxRequestBytes) + messageOverheadBytes }

// QueryMessageBytes is the message limit for a connection to the query service: one series may be a whole answer.
func (c Config) QueryMessageBytes() int { return int(c.MaxReadResponseBytes) + messageOverheadBytes }
